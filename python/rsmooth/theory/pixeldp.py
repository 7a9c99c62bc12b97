"""PixelDP: what Rényi divergences and D_MR say of it, and its δ for two discrete distributions.

docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsmooth.theory._values import OUTWARD, as_chances, as_distributions, as_numbers, as_sizes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from rsmooth.theory._values import Floats

__all__ = [
    "pixeldp_delta",
    "pixeldp_epsilon",
    "pixeldp_epsilon_at",
]


def pixeldp_epsilon(divergence: ArrayLike, delta: ArrayLike) -> Floats:
    """Convert a D_MR guarantee to PixelDP: (ε + 2 √(ε ln(1/δ)), δ), with ε the `divergence` (Theorem 3.1).

    Parameters
    ----------
    divergence : array_like of float
        D_MR, finite and at least 0.
    delta : array_like of float
        PixelDP's δ, above 0 and below 1, broadcast against `divergence`.

    Returns
    -------
    ndarray of float64
        PixelDP's ε, rounded up.

    Raises
    ------
    ValueError
        If a divergence or a delta is not allowed.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Theorem 3.1, as docs/theorems.md reads it.
    .. [2] Bun and Steinke, "Concentrated Differential Privacy", 2016, Proposition 1.3.

    Examples
    --------
    >>> from rsmooth.theory.pixeldp import pixeldp_epsilon
    >>> round(float(pixeldp_epsilon(0.125, 1e-5)), 4)
    2.5243
    """
    value, chance = as_sizes("divergence", divergence), as_chances("delta", delta)
    return np.asarray((value + 2 * np.sqrt(value * -np.log(chance))) * OUTWARD)[()]


def pixeldp_epsilon_at(order: ArrayLike, divergence: ArrayLike, delta: ArrayLike) -> Floats:
    """Convert a bound on the Rényi divergence of one order to PixelDP: (D_α + ln(1/δ) / (α - 1), δ) (Lemma 4).

    Parameters
    ----------
    order : array_like of float
        Orders α above 1; infinity gives D_∞ itself.
    divergence : array_like of float
        D_α, finite and at least 0.
    delta : array_like of float
        PixelDP's δ, above 0 and below 1; all three are broadcast against each other.

    Returns
    -------
    ndarray of float64
        PixelDP's ε, rounded up.

    Raises
    ------
    ValueError
        If an order, a divergence or a delta is not allowed.

    References
    ----------
    .. [1] Mironov, "Rényi Differential Privacy", 2017, Proposition 3.

    Examples
    --------
    >>> from rsmooth.theory.pixeldp import pixeldp_epsilon_at
    >>> round(float(pixeldp_epsilon_at(2.0, 0.25, 1e-5)), 4)
    11.7629
    """
    orders = as_numbers("order", order, lambda x: x > 1, "above 1")
    value, chance = as_sizes("divergence", divergence), as_chances("delta", delta)
    return np.asarray((value - np.log(chance) / (orders - 1)) * OUTWARD)[()]


def pixeldp_delta(p: ArrayLike, q: ArrayLike, epsilon: float) -> float:
    """Smallest δ for which P(S) <= exp(ε) Q(S) + δ for every set S: Definition 1 for one pair of inputs.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`.
    epsilon : float
        PixelDP's ε, finite and at least 0.

    Returns
    -------
    float
        The sum of the positive parts of p - exp(ε) q.

    Raises
    ------
    ValueError
        As `renyi_divergence`, or if `epsilon` is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.pixeldp import pixeldp_delta
    >>> round(pixeldp_delta([0.5, 0.5], [0.25, 0.75], 0.1), 4)
    0.2237
    """
    top, bottom = as_distributions(p, q)
    # A smaller ε has a larger δ; exp overflows beyond this one.
    factor = np.exp(np.minimum(as_sizes("epsilon", epsilon), 700.0))
    return math.fsum(np.maximum(top - factor * bottom, 0.0))
