"""The norms in which perturbations are measured."""

from __future__ import annotations

import math


def by_norm(norm: float, *, one: float, two: float, infinity: float) -> float:
    """Return the value for `norm`, which must be 1, 2 or math.inf."""
    values = {1: one, 2: two, math.inf: infinity}
    if norm not in values:
        raise ValueError(f"norm must be 1, 2 or math.inf, got {norm!r}")
    return values[norm]


# How files and commands write a norm, and how figures and tables do.
TEXTS = {1.0: "1", 2.0: "2", math.inf: "inf"}
SYMBOLS = {1.0: "ℓ₁", 2.0: "ℓ₂", math.inf: "ℓ∞"}


def norm_text(norm: float) -> str:
    """Return how files and commands write `norm`, which must be 1, 2 or math.inf."""
    by_norm(norm, one=1, two=2, infinity=math.inf)
    return TEXTS[norm]


def norm_named(text: str) -> float:
    """Return the norm that `norm_text` writes as `text`."""
    for norm, name in TEXTS.items():
        if text == name:
            return norm
    raise ValueError(f"norm must be 1, 2 or inf, got {text!r}")
