"""Divergences between a law and its shift that have closed forms: the Gaussian's and the Laplace law's.

docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsmooth.theory._values import as_orders, as_sizes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from rsmooth.theory._values import Floats

__all__ = [
    "gaussian_renyi",
    "laplace_mr",
    "laplace_renyi",
]


def gaussian_renyi(shift: ArrayLike, order: ArrayLike) -> Floats:
    """Rényi divergence between a Gaussian and its shift: α shift² / 2.

    Parameters
    ----------
    shift : array_like of float
        Euclidean length of the shift over sigma, finite and at least 0.
    order : array_like of float
        Orders α above 0, infinity included, broadcast against `shift`.

    Returns
    -------
    ndarray of float64
        In nats. D_MR is shift² / 2, the same at every order (Theorem 4.1).

    Raises
    ------
    ValueError
        If a shift or an order is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.closed_forms import gaussian_renyi
    >>> gaussian_renyi(0.5, [1, 2, 4]).tolist()
    [0.125, 0.25, 0.5]
    """
    shifts, orders = np.broadcast_arrays(as_sizes("shift", shift), as_orders(order))
    with np.errstate(invalid="ignore"):
        return np.where(shifts == 0, 0.0, orders * shifts**2 / 2)[()]


def laplace_renyi(shift: ArrayLike, order: ArrayLike) -> Floats:
    r"""Rényi divergence between a Laplace distribution and its shift, exactly.

    :math:`\frac{1}{\alpha-1} \ln(\frac{\alpha}{2\alpha-1} e^{(\alpha-1)s} + \frac{\alpha-1}{2\alpha-1} e^{-\alpha s})`,
    computed without cancellation. It is that of the Exponential mechanism, in any dimension, for the shift whose
    coordinates are all s sigma in magnitude, and no other shift of that ∞-norm has a larger one at any order from 1.

    Parameters
    ----------
    shift : array_like of float
        The shift s over the scale, finite and at least 0.
    order : array_like of float
        Orders α above 0, 1 and infinity included, broadcast against `shift`.

    Returns
    -------
    ndarray of float64
        In nats; relative error below 1e-12.

    Raises
    ------
    ValueError
        If a shift or an order is not allowed.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.closed_forms import laplace_renyi
    >>> laplace_renyi(1.0, [1, 2, math.inf]).round(4)
    array([0.3679, 0.6191, 1.    ])
    """
    shifts, orders = np.broadcast_arrays(as_sizes("shift", shift), as_orders(order))
    # D_α = α / (1 - α) D_{1-α}, as the two directions are alike: orders of at least 1/2 are enough.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = orders < 0.5  # noqa: PLR2004
        alpha = np.where(small, 1 - orders, orders)
        factor = np.where(small, orders / (1 - orders), 1.0)
        t = alpha - 1
        x = (2 * alpha - 1) * shifts
        # (1 - exp(-x)) / x, which is 1 at 0.
        share = np.where(x > 0, -np.expm1(-x) / x, 1.0)
        width = shifts * share
        value = shifts * _one_minus_share(x) + width * _one_minus_log1p_share(-t * width)
    return (factor * np.where(np.isinf(orders) | (shifts == 0), shifts, value))[()]


def laplace_mr(shift: ArrayLike) -> Floats:
    """Maximal relative Rényi divergence between a Laplace distribution and its shift: s - 1 + exp(-s).

    D_α / α falls with the order, so that its supremum is the Kullback-Leibler divergence. It is also the Exponential
    mechanism's D_MR, exactly, for shifts of ∞-norm s sigma in any dimension. Theorem 5.1's min(s, s²/2) is above it,
    and agrees as s → 0 and s → ∞.

    Parameters
    ----------
    shift : array_like of float
        The shift s over the scale, finite and at least 0.

    Returns
    -------
    ndarray of float64
        Of the shape of `shift`.

    Raises
    ------
    ValueError
        If a shift is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.closed_forms import laplace_mr
    >>> laplace_mr([0.5, 1, 2]).round(4)
    array([0.1065, 0.3679, 1.1353])
    """
    shifts = as_sizes("shift", shift)
    return (shifts * _one_minus_share(shifts))[()]


def _one_minus_share(x: Floats) -> Floats:
    """Return 1 - (1 - exp(-x)) / x for x >= 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 1 + np.expm1(-x) / x
    near = np.where(x < 1, x, 0.0)
    series = near * np.polyval([(-1) ** n / math.factorial(n + 2) for n in range(20, -1, -1)], near)
    return np.where(x < 1, series, far)


def _one_minus_log1p_share(y: Floats) -> Floats:
    """Return 1 - log1p(y) / y for y > -1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 1 - np.log1p(y) / y
    near = np.where(np.abs(y) < 0.1, y, 0.0)  # noqa: PLR2004
    series = near * np.polyval([(-1) ** n / (n + 2) for n in range(16, -1, -1)], near)
    return np.where(np.abs(y) < 0.1, series, far)  # noqa: PLR2004
