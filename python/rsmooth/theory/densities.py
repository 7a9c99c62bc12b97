"""Rényi divergence and D_MR of densities on the line, by quadrature.

docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsmooth.theory._curves import MaximalRelative, from_excess, log_excess, log_sum, supremum
from rsmooth.theory._values import as_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from rsmooth.theory._values import Floats

    LogDensity = Callable[[Floats], Floats]

__all__ = [
    "density_mr_divergence",
    "density_renyi_divergence",
]


def density_renyi_divergence(
    log_p: LogDensity,
    log_q: LogDensity,
    order: ArrayLike,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    points: Sequence[float] = (0.0,),
) -> Floats:
    """Rényi divergence D_α(p ‖ q) of two densities on the line, by adaptive Gauss-Legendre quadrature.

    Parameters
    ----------
    log_p, log_q : callable
        Natural logarithms of the densities, for arrays of points; -inf where a density is 0.
    order : array_like of float
        Finite orders α above 0.
    lower, upper : float
        The interval, which may be infinite, outside which both densities are 0.
    points : sequence of float
        Where the densities bend, or most of their mass lies.

    Returns
    -------
    ndarray of float64
        Divergences in nats, of the shape of `order`; relative error about 1e-10 for densities that are smooth between
        the points.

    Raises
    ------
    ValueError
        If an order is not allowed, the interval is empty, a density does not integrate to 1 (within 1e-9) or an
        integral does not settle, which it does not where the divergence is infinite because of the tails.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.theory.densities import density_renyi_divergence
    >>> normal = lambda mean: lambda x: -((x - mean) ** 2) / 2 - np.log(2 * np.pi) / 2
    >>> density_renyi_divergence(normal(0.0), normal(0.5), [0.5, 1, 2]).round(9)
    array([0.0625, 0.125 , 0.25  ])
    """
    orders = as_orders(order)
    if not np.isfinite(orders).all():
        raise ValueError("order must be finite for densities: quadrature cannot see the largest ratio")
    curve = _density_curve(log_p, log_q, lower, upper, points)
    return np.reshape([curve(float(each)) for each in orders.ravel()], orders.shape)[()]


def density_mr_divergence(
    log_p: LogDensity,
    log_q: LogDensity,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    points: Sequence[float] = (0.0,),
    largest_order: float = 100.0,
) -> MaximalRelative:
    """Maximal relative Rényi divergence of two densities on the line, over orders up to a largest.

    Parameters
    ----------
    log_p, log_q, lower, upper, points
        As for `density_renyi_divergence`.
    largest_order : float
        Where to stop, above 1. Orders beyond can matter only if D_∞ exceeds this order times the value found.

    Returns
    -------
    MaximalRelative
        The supremum over orders from 1 to `largest_order`, and an order that shows it.

    Raises
    ------
    ValueError
        As `density_renyi_divergence`, or if `largest_order` is not finite and above 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.theory.closed_forms import laplace_mr
    >>> from rsmooth.theory.densities import density_mr_divergence
    >>> laplace = lambda mean: lambda x: -abs(x - mean) - np.log(2)
    >>> value, order = density_mr_divergence(laplace(0.0), laplace(0.7), points=[0, 0.7])
    >>> order, bool(abs(value - laplace_mr(0.7)) < 1e-8)
    (1.0, True)
    """
    if not 1 < largest_order < math.inf:
        raise ValueError(f"largest_order must be finite and above 1, got {largest_order}")
    return supremum(_density_curve(log_p, log_q, lower, upper, points), largest_order)


def _density_curve(
    log_p: LogDensity, log_q: LogDensity, lower: float, upper: float, points: Sequence[float]
) -> Callable[[float], float]:
    """Return the divergence of two densities, checked here, as a function of the order."""
    if not lower < upper:
        raise ValueError(f"lower must be below upper, got {lower} and {upper}")
    # x = u / (1 - u²) takes (-1, 1) to the line.
    ends = np.array([lower, upper, *points], np.float64)
    with np.errstate(invalid="ignore"):
        folded = np.where(np.isinf(ends), np.sign(ends), 2 * ends / (1 + np.sqrt(1 + 4 * ends**2)))
    cuts = np.concatenate([folded, np.linspace(folded[0], folded[1], 9)])
    edges = np.unique(cuts[(cuts >= folded[0]) & (cuts <= folded[1])])

    def integral(log_integrand: LogDensity) -> float:
        def unfolded(u: Floats) -> Floats:
            gap = (1 - u) * (1 + u)
            # Panels that shrink towards an end of the line until u is coarse there have not settled: NaN says so.
            with np.errstate(divide="ignore", invalid="ignore"):
                values = log_integrand(u / gap) + np.log1p(u**2) - 2 * np.log(gap)
            return np.where(gap > 1e-14, values, np.nan)  # noqa: PLR2004

        return _log_integral(unfolded, edges)

    for name, density in (("log_p", log_p), ("log_q", log_q)):
        total = math.exp(integral(density))
        if not abs(total - 1) <= 1e-9:  # noqa: PLR2004
            raise ValueError(
                f"{name} must be the logarithm of a density: its integral is {total:.12g}, off 1 by {total - 1:g}"
            )

    def curve(order: float) -> float:
        def excess(x: Floats) -> Floats:
            top, bottom = np.asarray(log_p(x)), np.asarray(log_q(x))
            with np.errstate(invalid="ignore"):
                return log_excess(top, bottom, top - bottom, order - 1)

        return from_excess(integral(excess), order - 1)

    return curve


def _log_integral(log_integrand: LogDensity, edges: Floats) -> float:
    """Return ln ∫ exp(log_integrand): panels are halved until halving changes the sum by less than 1e-11 of it."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    rounds, most = 45, 20_000

    def panels(left: Floats, right: Floats) -> Floats:
        half = (right - left)[:, None] / 2
        values = log_integrand((left + right)[:, None] / 2 + half * nodes) + np.log(weights * half)
        return np.array([log_sum(row) for row in values])

    left, right = edges[:-1], edges[1:]
    whole = panels(left, right)
    settled: list[float] = []
    for _ in range(rounds):
        middle = (left + right) / 2
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        halves = panels(left, right)
        total = log_sum(np.array([*settled, *halves]))
        if math.isinf(total):
            return total
        if math.isnan(total) or left.size > most:
            break
        both = np.logaddexp(*np.split(halves, 2))
        moving = np.abs(np.exp(both - total) - np.exp(whole - total)) > 1e-11  # noqa: PLR2004
        if not moving.any():
            return total
        settled.extend(both[~moving])
        again = np.tile(moving, 2)
        left, right, whole = left[again], right[again], halves[again]
    raise ValueError(
        "the integral does not settle: a density is NaN, needs points= where it bends, or the divergence is infinite"
    )
