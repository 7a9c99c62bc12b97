"""Confidence bounds on probabilities from counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rsmooth import _core
from rsmooth._arrays import common_shape, in_pieces, integers, real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["anytime", "clopper_pearson"]

Side = Literal["lower", "upper"]


def clopper_pearson(k: ArrayLike, n: ArrayLike, alpha: ArrayLike, *, side: Side = "lower") -> Floats:
    """Exact one-sided confidence bound on a probability, rounded outward.

    It holds for a number of trials that was fixed before they were looked at; `anytime` for any other.

    Parameters
    ----------
    k : array_like of int
        Successes.
    n : array_like of int
        Trials, from 1 to 2**53.
    alpha : array_like of float
        The failure probability, above 0 and below 1: the bound misses the true probability at most this often.
    side : {"lower", "upper"}
        Which bound.

    Returns
    -------
    ndarray of float64
        The bound, of the arguments' broadcast shape (a scalar for scalars). A lower bound is never above the exact one
        and an upper bound never below it; they differ from it by less than 1e-12, relatively.

    Raises
    ------
    ValueError
        If a k, n or alpha is outside its domain, the shapes do not fit, or `side` is unknown.
    TypeError
        If k or n are not integers or alpha is not a real number.

    References
    ----------
    .. [1] Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
       Biometrika 26 (1934).

    Examples
    --------
    >>> from rsmooth import clopper_pearson
    >>> round(float(clopper_pearson(990, 1000, 0.001)), 6)
    0.976036
    >>> clopper_pearson([0, 10], 10, 0.001, side="upper").round(6).tolist()
    [0.498813, 1.0]
    """
    return _bound("clopper-pearson", k, n, alpha, side)


def anytime(k: ArrayLike, n: ArrayLike, alpha: ArrayLike, *, side: Side = "lower") -> Floats:
    """One-sided confidence bound on a probability that holds after every trial at once, rounded outward.

    Whoever looks at the trials and stops when he likes, for whatever reason, may take it: with probability
    1 - `alpha` it holds for all n together. At a fixed n of 100,000 it costs 0.6 to 2.1% of a Gaussian radius.

    Parameters
    ----------
    k : array_like of int
        Successes among the first n trials.
    n : array_like of int
        Trials so far, from 1 to 2**53.
    alpha : array_like of float
        The failure probability, above 0 and below 1: with at most this probability the bound ever misses the true
        probability.
    side : {"lower", "upper"}
        Which bound.

    Returns
    -------
    ndarray of float64
        The bound, of the arguments' broadcast shape (a scalar for scalars). A lower bound is never above the exact one
        and an upper bound never below it.

    Raises
    ------
    ValueError
        If a k, n or alpha is outside its domain, the shapes do not fit, or `side` is unknown.
    TypeError
        If k or n are not integers or alpha is not a real number.

    References
    ----------
    .. [1] Ville, "Étude critique de la notion de collectif", 1939.
    .. [2] Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024.

    Examples
    --------
    >>> from rsmooth import anytime
    >>> round(float(anytime(990, 1000, 0.001)), 6)
    0.970836
    >>> anytime([0, 10], 10, 0.001, side="upper").round(6).tolist()
    [0.584636, 1.0]
    """
    return _bound("anytime", k, n, alpha, side)


def _bound(interval: str, k: ArrayLike, n: ArrayLike, alpha: ArrayLike, side: str) -> Floats:
    if side not in ("lower", "upper"):
        raise ValueError(f'side must be "lower" or "upper", got {side!r}')
    arrays = [integers(k, "k"), integers(n, "n"), real(alpha, "alpha")]
    shape = common_shape(k=arrays[0], n=arrays[1], alpha=arrays[2])
    bound = np.empty(shape)

    def fill(first: int, k: Any, n: Any, alpha: Floats, bound: Floats) -> None:
        _core.confidence_bound(interval, k, n, alpha, side == "upper", bound, (first, shape))

    in_pieces(fill, arrays, [np.int64, np.int64, np.float64], [bound])
    return bound[()]
