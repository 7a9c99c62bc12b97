"""What discrete distributions and densities share: from an integral to a divergence, and its supremum over orders.

Notation: L = ln p/q is the logarithm of the likelihood ratio. All divergences rest on one integral of a function that
is nowhere negative,

    J = ∫ p k(L), k(L) = (exp(tL) - 1)/t - 1 + exp(-L), t = order - 1,

for (exp((order - 1) D) - 1)/t = ∫ p (exp(tL) - 1)/t, and the rest of k integrates to ∫ q - p = 0. So D = log1p(t J)/t
loses no digits where p and q are close or the order is near 1, where it is J itself, the Kullback-Leibler divergence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rsmooth.theory._values import OUTWARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsmooth.theory._values import Floats


class MaximalRelative(NamedTuple):
    """The value of D_MR, and an order that shows it."""

    value: float
    """sup over orders α > 1 of D_α / α: not below the true one, above it by less than 1e-9 of it, or by some 2e-4 where
    D_α / α hardly depends on α."""
    order: float
    """The order at which the largest D_α / α was seen; 1 stands for the limit α → 1."""


def log_excess(log_p: Floats, log_q: Floats, ratio: Floats, t: float) -> Floats:
    """Return ln(p k(L)) with `ratio` = L = ln p/q: ln q where p = 0, and nothing overflows."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alone = np.inf if t >= 0 else log_p + np.log(-1 / t - 1)
        lone = np.where(np.isneginf(log_p), log_q, alone)
        # p k(L) = (p^α q^(1-α) - p)/t - p + q, in units of its largest term.
        power = log_p + t * ratio
        unit = np.maximum(np.maximum(power, log_p), log_q)
        growth = -np.expm1(-np.abs(t * ratio)) / abs(t) if t else np.abs(ratio)
        first = np.sign(ratio) * np.exp(np.maximum(power, log_p) - unit) * growth
        close = np.exp(log_p - unit) * np.expm1(-ratio)
        second = np.where(np.abs(ratio) < 1, close, np.exp(log_q - unit) - np.exp(log_p - unit))
        value = unit + np.log(first + second)
        # Near L = 0 the terms cancel: k = Σ (t^(n-1) + (-1)^n) L^n / n! from n = 2 on, here in powers of L max(1, |t|).
        size = max(1.0, abs(t))
        near = np.abs(ratio) * size < 1e-2  # noqa: PLR2004
        small = np.where(near, ratio, 0.0) * size
        terms = [((t / size) ** (n - 1) + (-1) ** n * size ** (1 - n)) / size / math.factorial(n) for n in range(2, 10)]
        series = np.polyval(terms[::-1], small)
        value = np.where(near, log_p + 2 * np.log(np.abs(small)) + np.log(series), value)
        return np.where(np.isneginf(log_p) | np.isneginf(log_q), lone, value)


def from_excess(log_excess: float, t: float) -> float:
    """Return D = log1p(t J)/t from ln J."""
    large = 700.0
    if t == 0:
        return math.exp(log_excess) if log_excess < large else math.inf
    if t > 0 and log_excess + math.log(t) > 0:
        return float(np.logaddexp(0.0, log_excess + math.log(t))) / t
    inside = t * math.exp(log_excess)
    # J = -1/t for disjoint supports and an order below 1.
    return math.log1p(inside) / t if inside > -1 else math.inf


def supremum(curve: Callable[[float], float], largest_order: float) -> MaximalRelative:
    """Return the supremum of D_α / α over orders from 1 to the largest, rounded up.

    K(t) = t D_{1+t} is convex and K(0) = 0, so that between two orders K is at most its chord, and
    D_α / α = K / (t (t + 1)) at most the chord's. Intervals whose bound exceeds the best value seen are halved.
    """
    most = 1000
    t = np.concatenate([[0.0], np.geomspace(1e-7 * (largest_order - 1), largest_order - 1, 48)])
    divergences = np.array([curve(1 + each) for each in t])
    while True:
        seen = divergences / (1 + t)
        best = int(seen.argmax())
        bounds = _chord_bounds(t, t * divergences)
        open_ = np.flatnonzero(bounds > seen[best] * (1 + 5e-10))
        if not open_.size or t.size + open_.size > most:
            value = max(float(seen[best]), float(bounds.max()))
            return MaximalRelative(value * OUTWARD, float(1 + t[best]))
        middle = (t[open_] + t[open_ + 1]) / 2
        t = np.insert(t, open_ + 1, middle)
        divergences = np.insert(divergences, open_ + 1, [curve(1 + each) for each in middle])


def _chord_bounds(t: Floats, cumulant: Floats) -> Floats:
    """Return the largest chord(t) / (t (t + 1)) over each interval of `t`."""
    left, right = t[:-1], t[1:]
    slope = np.diff(cumulant) / np.diff(t)
    # At most 0, as the cumulant is convex and starts at 0.
    start = np.minimum(cumulant[:-1] - slope * left, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The slope is at least 0 too, but for the rounding of divergences around 1e-16.
        peak = np.where(slope > 0, np.clip((np.sqrt(start**2 - slope * start) - start) / slope, left, right), left)
        return np.where(left == 0, slope, (start + slope * peak) / (peak * (peak + 1)))


def log_sum(values: Floats) -> float:
    """Return ln Σ exp(values)."""
    largest = float(values.max())
    if math.isinf(largest):
        return largest
    return largest + math.log(math.fsum(np.exp(values - largest)))
