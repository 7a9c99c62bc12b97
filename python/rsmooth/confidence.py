"""Confidence bounds on probabilities from counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rsmooth import _core
from rsmooth._arrays import common_shape, in_pieces, integers, real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["clopper_pearson"]


def clopper_pearson(
    k: ArrayLike, n: ArrayLike, alpha: ArrayLike, *, side: Literal["lower", "upper"] = "lower"
) -> Floats:
    """Exact one-sided confidence bound on a probability, rounded outward.

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
    if side not in ("lower", "upper"):
        raise ValueError(f'side must be "lower" or "upper", got {side!r}')
    arrays = [integers(k, "k"), integers(n, "n"), real(alpha, "alpha")]
    shape = common_shape(k=arrays[0], n=arrays[1], alpha=arrays[2])
    bound = np.empty(shape)

    def fill(first: int, k: Any, n: Any, alpha: Floats, bound: Floats) -> None:
        _core.clopper_pearson(k, n, alpha, side == "upper", bound, (first, shape))

    in_pieces(fill, arrays, [np.int64, np.int64, np.float64], [bound])
    return bound[()]
