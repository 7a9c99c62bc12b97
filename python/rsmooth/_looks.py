"""How figures and reports look: colours and the names of bounds."""

from __future__ import annotations

from rsmooth import _core

# Okabe and Ito's palette, which colour-blind readers tell apart; the first four also differ in lightness.
COLOURS = ("#000000", "#0072B2", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")

# What legends call the bounds.
LABELS: dict[str, str] = {
    "tightest": "tightest bound",
    **{each["name"]: each["label"] for each in _core.registry()["bounds"]},
}
