"""How figures and reports look: colours and the names of bounds."""

from __future__ import annotations

from rsmooth import _core

# Okabe and Ito's palette, which colour-blind readers tell apart, darkest first.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# What legends call the bounds.
LABELS = {"tightest": "tightest bound", **{each["name"]: each["label"] for each in _core.registry()["bounds"]}}
