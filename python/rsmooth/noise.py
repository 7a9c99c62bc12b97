"""Noise as a function of (seed, draw, coordinate): the samplers, and what they share.

The same seed, draw number and coordinate give the same value whatever the number of threads, the shape of the call,
the processor and its vector instructions. docs/noise.md says what is promised across versions.
"""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rsmooth import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Seed = int | np.random.SeedSequence | None

__all__ = ["build_info", "sample_gaussian", "sample_laplace", "sample_linf"]

T = TypeVar("T")

DTYPES = ("float32", "float64", "float16", "bfloat16")


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
    return _sample("exponential", "sigma", sigma, shape, seed, first, dtype, out, threads)


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
    return _sample("gaussian", "sigma", sigma, shape, seed, first, dtype, out, threads)


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
    return _sample("laplace", "scale", scale, shape, seed, first, dtype, out, threads)


def build_info() -> dict[str, Any]:
    """Tell how the compiled half of the package was built and what it runs on.

    Returns
    -------
    dict
        ``version``, ``noise_layout`` (the version of the map from (seed, draw, coordinate) to values), ``simd`` (the
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
    1
    """
    return _core.build_info()


def sequence_of(seed: Seed) -> np.random.SeedSequence:
    """Return the SeedSequence that `seed` stands for; None is fresh entropy, which the result records."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if seed is not None:
        seed = integer("seed", seed, 0, None)
    return np.random.SeedSequence(seed)


def key_of(seed: Seed) -> list[int]:
    """Return the 256-bit key of `seed`'s stream as eight words."""
    return [int(word) for word in sequence_of(seed).generate_state(8, np.uint32)]


def integer(name: str, value: Any, low: int, high: int | None) -> int:
    """Return `value` as an int of at least `low` and, unless None, at most `high`."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    value = value.__index__()
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Return `value` as a float that is finite and above 0."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} must be a finite number above 0, got {number}")
    return number


def worker_count(threads: Any) -> int | None:
    """Return `threads` checked: None or an int of at least 1."""
    return None if threads is None else integer("threads", threads, 1, 2**16)


def draws_from(first: Any, count: int) -> int:
    """Return `first` checked: `count` draws from there on have numbers below 2**64."""
    return integer("first", first, 0, 2**64 - count)


def shape_of(shape: Any) -> tuple[int, ...]:
    """Return `shape` as a tuple of at least one size."""
    sizes = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if not sizes:
        raise ValueError("shape must have at least one axis, the draws, got ()")
    return tuple(integer(f"shape[{axis}]", size, 0, 2**63 - 1) for axis, size in enumerate(sizes))


def flat_view(name: str, array: Any) -> tuple[npt.NDArray[Any], str, tuple[int, ...]]:
    """Return a flat view of `array`'s memory (bfloat16 as uint16), the name of its element type, and its shape."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        if array.device.type != "cpu":
            raise ValueError(f"{name} must be in host memory, got a tensor on {array.device}")
        if not array.is_contiguous():
            raise ValueError(f"{name} must be C-contiguous, got strides {tuple(array.stride())}")
        tensor = array.detach()
        if tensor.dtype == torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(np.uint16).reshape(-1), "bfloat16", tuple(tensor.shape)
        view = tensor.numpy()
    else:
        try:
            view = array if isinstance(array, np.ndarray) else np.asarray(memoryview(array))
        except TypeError as error:
            message = f"{name} must be a NumPy array, a torch tensor or another buffer, got {type(array).__name__}"
            raise TypeError(message) from error
        if not view.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous, got strides {view.strides} for shape {view.shape}")
    if view.dtype not in (np.float32, np.float64, np.float16) or not view.dtype.isnative:
        raise TypeError(f"{name} must be of type float32, float64, float16 or bfloat16 (torch), got {view.dtype}")
    return view.reshape(-1), view.dtype.name, view.shape


def target(shape: tuple[int, ...], dtype: npt.DTypeLike, out: T) -> tuple[T | npt.NDArray[Any], npt.NDArray[Any], str]:
    """Return what to hand back, the flat view to write into and the name of its type, for `out` or a new array."""
    if out is None:
        name = _dtype_name(dtype)
        if name == "bfloat16":
            raise ValueError("dtype bfloat16 needs out=, a torch tensor of that type: NumPy has no such type")
        made = np.empty(shape, name)
        return made, made.reshape(-1), name
    view, name, given = flat_view("out", out)
    if given not in (shape, (prod(shape),)):
        raise ValueError(f"out must have shape {shape}, or be flat with {prod(shape)} elements, got {given}")
    if not view.flags.writeable:
        raise ValueError("out must be writable, got a read-only buffer")
    return out, view, name


def _dtype_name(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}")
    return str(name)


def _sample(  # noqa: PLR0917
    mechanism: str,
    parameter: str,
    value: Any,
    shape: Any,
    seed: Seed,
    first: Any,
    dtype: npt.DTypeLike,
    out: Any,
    threads: Any,
) -> Any:
    value = positive(parameter, value)
    sizes = shape_of(shape)
    first = draws_from(first, sizes[0])
    result, view, _ = target(sizes, dtype, out)
    key = key_of(seed)
    workers = worker_count(threads)
    if view.size:
        _core.fill(mechanism, value, key, first, prod(sizes[1:]), view, fresh=out is None, threads=workers)
    return result
