"""Noise as a function of (seed, draw, coordinate): the samplers, and what they share.

The same seed, draw number and coordinate give the same value whatever the number of threads, the shape of the call,
the processor and its vector instructions. docs/noise.md says what is promised across versions.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np

from rsmooth import _core
from rsmooth._buffers import INTEGERS, target
from rsmooth._check import integer, positive, shape_of, worker_count
from rsmooth._grid import FINEST
from rsmooth._streams import draws_from, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rsmooth._streams import Seed

T = TypeVar("T")

__all__ = ["build_info", "sample_gaussian", "sample_laplace", "sample_linf"]


@overload
def sample_linf(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: Literal["float32"] = "float32",
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float32]: ...
@overload
def sample_linf(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike,
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]: ...
@overload
def sample_linf(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: T,
    threads: int | None = None,
) -> T: ...
def sample_linf(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    r"""Draw noise of density proportional to exp(-‖z‖∞ / sigma).

    This is the noise of the Exponential mechanism: z = R u with R ~ Gamma(d + 1, sigma) and u uniform in [-1, 1]^d, so
    that ‖z‖∞ ~ Gamma(d, sigma) and E‖z‖∞ = d sigma.

    Parameters
    ----------
    shape : int or sequence of int
        ``shape[0]`` draws of d = ``prod(shape[1:])`` coordinates each. d of at most 2**36.
    sigma : float
        Scale of the density, finite and above 0, in the units of the inputs the noise is for.
    seed : int, numpy.random.SeedSequence or None
        Names the stream. None takes fresh entropy from the operating system: the draws cannot be repeated.
    first : int
        Number of the first draw in the stream: ``sample_linf((10, d), s, seed=1)[4:]`` equals
        ``sample_linf((6, d), s, seed=1, first=4)``.
    dtype : {"float32", "float64", "float16", "bfloat16"}
        Type of the result. bfloat16 needs `out`. Not looked at where `out` is given, whose type counts.
    out : writable C-contiguous buffer, optional
        Where to put the draws: a NumPy array, a torch tensor on the CPU (pinned or not) or a memoryview, of the given
        shape, or flat with as many elements.
    threads : int or None
        Threads to use at most; None is one for each processor.

    Returns
    -------
    numpy.ndarray or type of out
        A new array of the given shape, or `out` itself.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    References
    ----------
    [Z20] Zheng, Wang, Li, Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
    2020, appendix B and Corollary 2.

    Examples
    --------
    >>> import rsmooth
    >>> z = rsmooth.sample_linf((4, 3, 32, 32), sigma=0.01, seed=0)
    >>> z.shape, z.dtype
    ((4, 3, 32, 32), dtype('float32'))
    >>> bool((z[2:] == rsmooth.sample_linf((2, 3, 32, 32), sigma=0.01, seed=0, first=2)).all())
    True
    """
    return sample(
        "exponential", positive("sigma", sigma), shape, seed=seed, first=first, dtype=dtype, out=out, threads=threads
    )


@overload
def sample_gaussian(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: Literal["float32"] = "float32",
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float32]: ...
@overload
def sample_gaussian(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike,
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]: ...
@overload
def sample_gaussian(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: T,
    threads: int | None = None,
) -> T: ...
def sample_gaussian(
    shape: int | Sequence[int],
    sigma: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Draw independent normal coordinates of mean 0 and standard deviation `sigma`.

    Parameters
    ----------
    shape : int or sequence of int
        ``shape[0]`` draws of ``prod(shape[1:])`` coordinates each.
    sigma : float
        Standard deviation, finite and above 0, in the units of the inputs the noise is for.
    seed, first, dtype, out, threads
        As for `sample_linf`.

    Returns
    -------
    numpy.ndarray or type of out
        A new array of the given shape, or `out` itself. Values reach 9.4 standard deviations (probability 2**-64).

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import rsmooth
    >>> z = rsmooth.sample_gaussian((1000, 100), sigma=0.5, seed=0)
    >>> 0.49 < float(z.std()) < 0.51
    True
    """
    return sample(
        "gaussian", positive("sigma", sigma), shape, seed=seed, first=first, dtype=dtype, out=out, threads=threads
    )


@overload
def sample_laplace(
    shape: int | Sequence[int],
    scale: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: Literal["float32"] = "float32",
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float32]: ...
@overload
def sample_laplace(
    shape: int | Sequence[int],
    scale: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike,
    out: None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]: ...
@overload
def sample_laplace(
    shape: int | Sequence[int],
    scale: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: T,
    threads: int | None = None,
) -> T: ...
def sample_laplace(
    shape: int | Sequence[int],
    scale: float,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: npt.DTypeLike = "float32",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Draw independent coordinates of density exp(-abs(z) / scale) / (2 scale).

    Parameters
    ----------
    shape : int or sequence of int
        ``shape[0]`` draws of ``prod(shape[1:])`` coordinates each.
    scale : float
        Scale of the density, finite and above 0, in the units of the inputs the noise is for.
    seed, first, dtype, out, threads
        As for `sample_linf`.

    Returns
    -------
    numpy.ndarray or type of out
        A new array of the given shape, or `out` itself. Magnitudes reach 43 scales (probability 2**-63).

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import rsmooth
    >>> z = rsmooth.sample_laplace((1000, 100), scale=0.5, seed=0)
    >>> 0.49 < float(abs(z).mean()) < 0.51
    True
    """
    return sample(
        "laplace", positive("scale", scale), shape, seed=seed, first=first, dtype=dtype, out=out, threads=threads
    )


def build_info() -> dict[str, Any]:
    """Tell how the compiled half of the package was built and what it runs on.

    Returns
    -------
    dict
        ``version``, ``noise_layout`` and ``grid_layout`` (the versions of the maps from (seed, draw, coordinate) to
        values and to steps of a grid), ``simd`` (the
        vector instructions in use: the widest of ``simd_supported``, or the one that the environment variable
        RSMOOTH_SIMD names) and ``threads`` (how many `threads` = None stands for).

    Raises
    ------
    ValueError
        If RSMOOTH_SIMD names vector instructions that this processor lacks.

    Examples
    --------
    >>> import rsmooth
    >>> rsmooth.build_info()["noise_layout"]
    2
    """
    return {**_core.build_info(), "grid_layout": _core.GRID_LAYOUT_VERSION}


def sample(
    mechanism: str,
    parameter: float,
    shape: int | Sequence[int],
    *,
    seed: Seed,
    first: int,
    dtype: npt.DTypeLike,
    out: Any,
    threads: int | None,
) -> Any:
    """Draw the noise of a mechanism of the registry; the other arguments are those of `sample_linf`."""
    sizes = shape_of(shape)
    first = draws_from(first, sizes[0])
    result, view, _ = target(sizes, dtype, out)
    key = key_of(seed)
    workers = worker_count(threads)
    if view.size:
        _core.fill(mechanism, parameter, key, first, prod(sizes[1:]), view, fresh=out is None, threads=workers)
    return result


def sample_on_grid(
    mechanism: str,
    parameter: float,
    grid: int,
    shape: int | Sequence[int],
    *,
    seed: Seed,
    first: int,
    dtype: npt.DTypeLike | None,
    out: Any,
    threads: int | None,
) -> Any:
    """Draw a registry mechanism's exact noise in steps of 1 / grid; without a type, in the narrowest that fits."""
    sizes = shape_of(shape)
    first = draws_from(first, sizes[0])
    dim = prod(sizes[1:])
    law = (mechanism, parameter, integer("grid", grid, 1, FINEST))
    if dtype is None and out is None:
        narrow = not dim or _core.grid_law(law, dim)["largest"] <= np.iinfo(np.int16).max
        dtype = INTEGERS[0] if narrow else INTEGERS[1]
    result, view, _ = target(sizes, dtype, out, INTEGERS)
    key = key_of(seed)
    workers = worker_count(threads)
    if view.size:
        _core.grid_fill(law, key, first, dim, view, threads=workers)
    return result
