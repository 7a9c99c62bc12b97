"""The norms in which perturbations are measured, and how they are written."""

from __future__ import annotations

import math

# In files and commands, and in figures and tables.
TEXTS = {1.0: "1", 2.0: "2", math.inf: "inf"}
SYMBOLS = {1.0: "ℓ₁", 2.0: "ℓ₂", math.inf: "ℓ∞"}


def norm_text(norm: float) -> str:
    """Return how files and commands write `norm`, which must be 1, 2 or math.inf."""
    if norm not in TEXTS:
        raise ValueError(f"norm must be 1, 2 or math.inf, got {norm!r}")
    return TEXTS[norm]


def norm_named(text: str) -> float:
    """Return the norm that `norm_text` writes as `text`."""
    for norm, name in TEXTS.items():
        if text == name:
            return norm
    raise ValueError(f"norm must be 1, 2 or inf, got {text!r}")
