"""The norms in which perturbations are measured."""

from __future__ import annotations

import math


def by_norm(norm: float, *, one: float, two: float, infinity: float) -> float:
    """Return the value for `norm`, which must be 1, 2 or math.inf."""
    values = {1: one, 2: two, math.inf: infinity}
    if norm not in values:
        raise ValueError(f"norm must be 1, 2 or math.inf, got {norm!r}")
    return values[norm]
