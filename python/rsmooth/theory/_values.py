"""Arguments of this folder's functions: arrays of numbers, with the values that are allowed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsmooth._arrays import real

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# Widens what rounding of a few operations could have made too small.
OUTWARD = 1 + 1e-13


def as_distributions(p: ArrayLike, q: ArrayLike) -> tuple[Floats, Floats]:
    """Return two distributions checked, divided by their sums."""
    pair = []
    for name, given in (("p", p), ("q", q)):
        values = as_sizes(name, given)
        if values.ndim != 1 or not values.size:
            raise ValueError(f"{name} must have the shape (K,) with K of at least 1, got {values.shape}")
        total = math.fsum(values)
        if not abs(total - 1) <= 1e-9:  # noqa: PLR2004
            raise ValueError(f"{name} must sum to 1, got {total:.12g}, off by {total - 1:g}")
        pair.append(values / total)
    if pair[0].size != pair[1].size:
        raise ValueError(f"p and q must have one length, got {pair[0].size} and {pair[1].size}")
    return pair[0], pair[1]


def as_orders(order: ArrayLike) -> Floats:
    return as_numbers("order", order, lambda x: x > 0, "above 0")


def as_sizes(name: str, given: ArrayLike) -> Floats:
    return as_numbers(name, given, lambda x: (x >= 0) & (x < math.inf), "finite and at least 0")


def as_chances(name: str, given: ArrayLike) -> Floats:
    return as_numbers(name, given, lambda x: (x > 0) & (x < 1), "above 0 and below 1")


def as_numbers(name: str, given: ArrayLike, good: Callable[[Floats], NDArray[np.bool_]], allowed: str) -> Floats:
    """Return `given` as float64, if all of it is good."""
    values = real(given, name).astype(np.float64)
    wrong = np.argwhere(~good(values))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        where = f"[{', '.join(map(str, at))}]" if at else ""
        raise ValueError(f"{name}{where} must be {allowed}, got {values[at]}")
    return values
