"""Bounds: from counts to probabilities, and from probabilities to radii."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np

from rsmooth import _core
from rsmooth.noise import integer, worker_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["clopper_pearson", "radius_of", "renyi_sup"]


class Mechanism(Protocol):
    """What a radius depends on: the mechanism's name, and its sigma or scale."""

    @property
    def name(self) -> str:
        """One of "gaussian", "exponential" and "laplace"."""

    @property
    def parameter(self) -> float:
        """The standard deviation or scale."""


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
        other. Their sum may not exceed 1 (2**-52 is allowed for the rounding of ``1 - p1``).
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
        If a p1 or p2 is NaN or outside [0, 1], a sum exceeds 1, the shapes do not fit, or `out` or `threads` is no use.
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
    top, other = _real(p1, "p1"), _real(p2, "p2")
    shape = _shape(p1=top, p2=other)
    value = _output(out, shape)
    order = np.empty(shape) if return_order else None
    threads = worker_count(threads)

    def fill(first: int, p1: Floats, p2: Floats, value: Floats, order: Floats | None = None) -> None:
        _core.renyi_sup(p1, p2, value, order, threads, first, shape)

    _in_pieces(fill, [top, other], [np.float64, np.float64], [value] if order is None else [value, order])
    result = value if out is not None else value[()]
    return result if order is None else (result, order[()])


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
    arrays = [_integer(k, "k"), _integer(n, "n"), _real(alpha, "alpha")]
    shape = _shape(k=arrays[0], n=arrays[1], alpha=arrays[2])
    bound = np.empty(shape)

    def fill(first: int, k: Any, n: Any, alpha: Floats, bound: Floats) -> None:
        _core.clopper_pearson(k, n, alpha, side == "upper", bound, first, shape)

    _in_pieces(fill, arrays, [np.int64, np.int64, np.float64], [bound])
    return bound[()]


def radius_of(
    mechanism: Mechanism,
    p1: ArrayLike,
    p2: ArrayLike,
    *,
    norm: float,
    dim: int,
    bound: str = "renyi",
    threads: int | None = None,
) -> tuple[Floats, Floats]:
    """Radii that `bound` certifies for `mechanism`, and the Rényi orders (NaN for other bounds).

    The arguments are those of the mechanisms' method ``radius``, which documents them.
    """
    top, other = _real(p1, "p1"), _real(p2, "p2")
    shape = _shape(p1=top, p2=other)
    radius, order = np.empty(shape), np.empty(shape)
    rule = rule_of(mechanism, norm=norm, dim=dim, bound=bound)
    threads = worker_count(threads)

    def fill(first: int, p1: Floats, p2: Floats, radius: Floats, order: Floats) -> None:
        _core.radius_of(p1, p2, rule, radius, order, threads, first, shape)

    _in_pieces(fill, [top, other], [np.float64, np.float64], [radius, order])
    return radius[()], order[()]


def rule_of(mechanism: Mechanism, *, norm: float, dim: int, bound: str) -> tuple[str, float, float, int, str]:
    """Return the core's description of a rule, of the right types."""
    if not isinstance(getattr(mechanism, "name", None), str) or not hasattr(mechanism, "parameter"):
        raise TypeError(f"mechanism must be a Gaussian, Exponential or Laplace, got {type(mechanism).__name__}")
    if isinstance(norm, bool) or not isinstance(norm, (int, float)):
        raise TypeError(f"norm must be 1, 2 or math.inf, got {type(norm).__name__}")
    if not isinstance(bound, str):
        raise TypeError(f"bound must be a str, got {type(bound).__name__}")
    return mechanism.name, float(mechanism.parameter), float(norm), integer("dim", dim, 1, 2**63 - 1), bound


def _real(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array


def _integer(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
        raise ValueError(f"{name} must be at most 2**53, got {array.max()}")
    return array


def _shape(**arrays: NDArray[Any]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = " and ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"the shapes must broadcast, got {shapes}") from None


def _output(out: Floats | None, shape: tuple[int, ...]) -> Floats:
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray) or out.dtype != np.float64 or not out.dtype.isnative:
        kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out must be an array of float64, got {kind}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError("out must be C-contiguous, aligned and writable")
    return out


def _in_pieces(fill: Callable[..., None], inputs: list[NDArray[Any]], dtypes: list[Any], outputs: list[Floats]) -> None:
    """Call `fill` with the number of the first element and one-dimensional pieces of all arrays, in C order.

    Broadcasting and conversion happen a piece at a time, so that no whole array is copied, and an interrupt is
    answered between pieces.
    """
    # NumPy's stub does not know "contig", which buffers broadcast and strided inputs.
    pieces = np.nditer(  # type: ignore[call-overload]
        [*inputs, *outputs],
        flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"],
        op_flags=[["readonly", "contig", "aligned"]] * len(inputs) + [["writeonly", "no_broadcast"]] * len(outputs),
        op_dtypes=[*dtypes, *[np.float64] * len(outputs)],
        order="C",
        casting="unsafe",
        buffersize=1 << 20,
    )
    first = 0
    with pieces:
        for piece in pieces:
            fill(first, *piece)
            first += piece[0].size
