"""Bounds: from probabilities to radii."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from rsmooth import _core
from rsmooth._arrays import common_shape, in_pieces, output, real
from rsmooth._check import worker_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["radii", "renyi_sup"]


@overload
def renyi_sup(
    p1: ArrayLike,
    p2: ArrayLike,
    *,
    return_order: Literal[False] = False,
    out: Floats | None = None,
    threads: int | None = None,
) -> Floats: ...
@overload
def renyi_sup(
    p1: ArrayLike,
    p2: ArrayLike,
    *,
    return_order: Literal[True],
    out: Floats | None = None,
    threads: int | None = None,
) -> tuple[Floats, Floats]: ...
def renyi_sup(
    p1: ArrayLike,
    p2: ArrayLike,
    *,
    return_order: bool = False,
    out: Floats | None = None,
    threads: int | None = None,
) -> Floats | tuple[Floats, Floats]:
    r"""Supremum over the order of the Rényi bound, rounded down.

    :math:`S(p_1, p_2) = \sup_{\alpha > 1} -\frac{1}{\alpha} \ln(1 - p_1 - p_2 + 2 M_{1-\alpha}(p_1, p_2))`, where
    :math:`M_s` is the power mean of exponent s. No perturbation for which the mechanism's maximal relative Rényi
    divergence is at most S changes the vote.

    Parameters
    ----------
    p1, p2 : array_like of float
        Lower bound of the top class's probability and upper bound of every other's; they are broadcast against each
        other. A p2 above 1 - p1 means 1 - p1.
    return_order : bool
        Whether to return the maximising order as well.
    out : ndarray of float64, optional
        Where to put the supremum: C-contiguous, writable, of the broadcast shape.
    threads : int, optional
        Number of threads; all cores by default. The result does not depend on it.

    Returns
    -------
    value : ndarray of float64
        The supremum: never above the true one, below it by less than 1e-13 of it. 0 where ``p1 <= p2``, infinite where
        ``p1 == 1`` and ``p2 == 0``. Scalar arguments give a scalar, as NumPy's functions do.
    order : ndarray of float64
        Only with `return_order`: the order at which `value` is attained, from 1 (the limit) to 1.5; NaN where
        ``p1 <= p2``.

    Raises
    ------
    ValueError
        If a p1 or p2 is NaN or outside [0, 1], the shapes do not fit, or `out` or `threads` is no use.
    TypeError
        If p1 or p2 are not real numbers, or `out` is not an array of float64.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Theorem 3.2.
    .. [2] Li, Chen, Wang and Carin, "Certified Adversarial Robustness with Additive Noise", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import renyi_sup
    >>> value, order = renyi_sup([0.9, 0.6], [0.1, 0.2], return_order=True)
    >>> np.round(value, 4)
    array([0.5324, 0.114 ])
    >>> np.round(order, 3)
    array([1.467, 1.324])
    """
    top, other = real(p1, "p1"), real(p2, "p2")
    shape = common_shape(p1=top, p2=other)
    value = output(out, shape)
    order = np.empty(shape) if return_order else None
    threads = worker_count(threads)

    def fill(first: int, p1: Floats, p2: Floats, value: Floats, order: Floats | None = None) -> None:
        _core.renyi_sup(p1, p2, value, order, threads, (first, shape))

    in_pieces(fill, [top, other], [np.float64, np.float64], [value] if order is None else [value, order])
    result = value if out is not None else value[()]
    return result if order is None else (result, order[()])


def radii(rule: _core.Rule, p1: ArrayLike, p2: ArrayLike, *, threads: int | None = None) -> tuple[Floats, Floats]:
    """Return the radii that `rule` certifies, and the Rényi orders that give them (NaN for other bounds).

    The probabilities are those of the mechanisms' method ``radius``, which documents them.
    """
    top, other = real(p1, "p1"), real(p2, "p2")
    shape = common_shape(p1=top, p2=other)
    radius, order = np.empty(shape), np.empty(shape)
    threads = worker_count(threads)

    def fill(first: int, p1: Floats, p2: Floats, radius: Floats, order: Floats) -> None:
        _core.radius_of(p1, p2, rule, radius, order, threads, (first, shape))

    in_pieces(fill, [top, other], [np.float64, np.float64], [radius, order])
    return radius[()], order[()]
