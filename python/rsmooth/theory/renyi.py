"""Rényi divergence, its maximal relative form D_MR, and robustness, of discrete distributions.

docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rsmooth._check import positive
from rsmooth.theory._curves import MaximalRelative, from_excess, log_excess, log_sum, supremum
from rsmooth.theory._values import as_distributions, as_orders

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from rsmooth.theory._values import Floats

__all__ = [
    "MaximalRelative",
    "Robustness",
    "is_robust",
    "mr_divergence",
    "renyi_divergence",
]


class Robustness(NamedTuple):
    """Whether two distributions are within D_MR of ε in both directions (Definition 3), and the order that decides."""

    holds: bool
    """Whether they are."""
    order: float
    """The order of the largest D_α / α: where `holds` is false, the witness."""
    divergence: MaximalRelative
    """D_MR of the direction in which it is larger."""


def renyi_divergence(p: ArrayLike, q: ArrayLike, order: ArrayLike) -> Floats:
    """Rényi divergence D_α(p ‖ q) of two discrete distributions.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        Probabilities; they sum to 1 within 1e-9, and are divided by their sums.
    order : array_like of float
        Orders α above 0. 1 is the Kullback-Leibler divergence, infinity the logarithm of the largest ratio p/q.

    Returns
    -------
    ndarray of float64
        Divergences in nats, of the shape of `order`: infinite where the supports say so, never NaN.

    Raises
    ------
    ValueError
        If an order is NaN or not above 0, a probability is negative or not finite, the probabilities do not sum to 1,
        or the shapes differ.

    References
    ----------
    .. [1] van Erven and Harremoës, "Rényi divergence and Kullback-Leibler divergence", 2014.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.renyi import renyi_divergence
    >>> renyi_divergence([0.5, 0.5], [0.25, 0.75], [0.5, 1, 2, math.inf]).round(4)
    array([0.0693, 0.1438, 0.2877, 0.6931])
    >>> float(renyi_divergence([0.5, 0.5], [1, 0], 2))
    inf
    """
    top, bottom = as_distributions(p, q)
    orders = as_orders(order)
    curve = _discrete_curve(top, bottom)
    return np.reshape([curve(float(each)) for each in orders.ravel()], orders.shape)[()]


def mr_divergence(p: ArrayLike, q: ArrayLike) -> MaximalRelative:
    """Maximal relative Rényi divergence D_MR(p ‖ q) = sup over α > 1 of D_α(p ‖ q) / α (Definition 2).

    D_α / α is not monotone in general: rare outcomes of huge ratio put the supremum at a large order. It is found by
    cutting intervals of orders until the largest bound of any of them is within 1e-9 of a value seen.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`.

    Returns
    -------
    MaximalRelative
        The value, rounded up, and an order; infinite where `q` misses a part of p's support.

    Raises
    ------
    ValueError
        As `renyi_divergence`.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Definition 2.

    Examples
    --------
    >>> from rsmooth.theory.renyi import mr_divergence
    >>> value, order = mr_divergence([0.99, 0.01], [1 - 1e-10, 1e-10])
    >>> round(value, 4), round(order, 2)
    (7.0361, 1.81)
    """
    top, bottom = as_distributions(p, q)
    curve = _discrete_curve(top, bottom)
    # D_α <= D_∞, so that orders beyond D_∞ / D_1 cannot have the largest D_α / α.
    nearest, largest = curve(1.0), curve(math.inf)
    if not 0 < nearest < math.inf:
        return MaximalRelative(nearest, 1.0)
    return supremum(curve, min(max(2.0, largest / nearest), 1e300))


def is_robust(p: ArrayLike, q: ArrayLike, epsilon: float) -> Robustness:
    """Tell whether D_MR(p ‖ q) and D_MR(q ‖ p) are at most ε: Definition 3 for one pair of inputs.

    For a mechanism and all pairs of inputs within r: ``mechanism.mr_divergence(r, norm=..., dim=...) <= epsilon``.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`: the outputs' distributions at two inputs.
    epsilon : float
        The divergence allowed, finite and above 0.

    Returns
    -------
    Robustness
        ``holds`` is false where D_MR is within 1e-9 (relative) of ε and cannot be told from above it.

    Raises
    ------
    ValueError
        As `renyi_divergence`, or if `epsilon` is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.renyi import is_robust
    >>> is_robust([0.6, 0.4], [0.5, 0.5], 0.1).holds
    True
    >>> is_robust([0.99, 0.01], [1 - 1e-10, 1e-10], 0.1).holds
    False
    """
    epsilon = positive("epsilon", epsilon)
    worst = max(mr_divergence(p, q), mr_divergence(q, p))
    return Robustness(worst.value <= epsilon, worst.order, worst)


def _discrete_curve(p: Floats, q: Floats) -> Callable[[float], float]:
    """Return the divergence of two checked distributions as a function of the order."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_p, log_q = np.log(p), np.log(q)
        # p - q is exact where p and q are close.
        ratio = np.where((p > q / 2) & (p < 2 * q), np.log1p((p - q) / q), log_p - log_q)
    # No ratio is below 1 everywhere; rounding may say so.
    largest = max(float(ratio[p > 0].max()), 0.0)

    def curve(order: float) -> float:
        # D_α <= D_∞, and powers of that size overflow.
        if order > 1e300:  # noqa: PLR2004
            return largest
        return from_excess(log_sum(log_excess(log_p, log_q, ratio, order - 1)), order - 1)

    return curve
