"""Noisy copies of inputs: x + z of a mechanism, written in one pass."""

from __future__ import annotations

import math
import sys
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from rsmooth import _core
from rsmooth._buffers import view_of
from rsmooth._check import integer, worker_count
from rsmooth._grid import float_of, grid_of, steps_of
from rsmooth._streams import draws_from, key_of, sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import BuiltIn, Mechanism

    Array = npt.NDArray[Any]

__all__ = ["perturb"]


def perturb(
    mechanism: Mechanism,
    x: Any,
    *,
    copies: int | None = None,
    seed: Seed = None,
    first: Any = 0,
    out: Any = None,
    threads: int | None = None,
    grid: int | None = None,
) -> Any:
    """Add a mechanism's noise to each input of a batch.

    Parameters
    ----------
    mechanism : Mechanism
        Whose noise.
    x : array or torch.Tensor, shape ``(N, *S)``
        Inputs, always a batch: the coordinates of a draw belong together (the Exponential mechanism scales them all by
        one radius), and no two inputs share a draw unless `first` says so. A NumPy array, torch tensor or other buffer
        of float32, float64, float16 or (torch) bfloat16, with any strides.
    copies : int or None
        Noisy copies of each input, at least 1; None is one, without an axis of its own.
    seed : int, numpy.random.SeedSequence or None
        Names the stream, as for `rsmooth.sample_linf`.
    first : int or N ints
        Number of the first draw: copy j of input i gets draw ``first + i * copies + j``, or ``first[i] + j`` where
        there is a number for each input, so that a shuffled batch can name its examples.
    out : writable buffer, optional
        Where to put the copies: of the result's shape, or flat, and of the type of `x`.
    threads : int or None
        Threads to use at most; None is one for each processor.
    grid : int or None
        Where given, `x` holds uint8, which counts 255ths, other integers, which count steps of ``1 / grid``, or
        floating-point numbers on the grid, each the nearest of its type to a multiple of ``1 / grid``. With X the input
        and Z the exact noise in steps, the result is the float nearest to (X + Z) / grid, of the type of `x`, float32
        for integers: a function of integers, whose certificates rest on no property of floating point (docs/exact.md).

    Returns
    -------
    numpy.ndarray, torch.Tensor or type of out
        x + z of shape ``(N, *S)``, or ``(N, copies, *S)``: a tensor where `x` is one, on its device, with its gradient;
        `out` where given. The sum is computed in float32 (float64 for float64) and rounded once. Coordinates are
        numbered in C order of S whatever the strides of `x`, which the result repeats: channels-last inputs have
        channels-last copies.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, rsmooth
    >>> x = np.full((2, 3, 8, 8), 0.5, np.float32)
    >>> noisy = rsmooth.Exponential(0.01).perturb(x, copies=50, seed=7)
    >>> noisy.shape
    (2, 50, 3, 8, 8)
    >>> z = rsmooth.sample_linf((100, 3, 8, 8), 0.01, seed=7)
    >>> bool((noisy == x[:, None] + z.reshape(noisy.shape)).all())
    True
    >>> alone = rsmooth.Exponential(0.01).perturb(x[1:], copies=50, seed=7, first=[50])
    >>> bool((alone[0] == noisy[1]).all())
    True
    >>> bytes_ = np.full((2, 3, 8, 8), 128, np.uint8)
    >>> exact = rsmooth.Gaussian(0.25).perturb(bytes_, seed=7, grid=255)
    >>> z = rsmooth.Gaussian(0.25).sample((2, 3, 8, 8), seed=7, grid=255)
    >>> bool((exact == ((128 + z) / 255).astype(np.float32)).all())
    True
    """
    tensor = not isinstance(x, np.ndarray) and hasattr(x, "requires_grad")
    if tensor and (x.requires_grad or not x.is_cpu):
        from rsmooth.torch.perturb import perturb_tensor  # noqa: PLC0415

        return perturb_tensor(mechanism, x, copies=copies, seed=seed, first=first, out=out, threads=threads, grid=grid)
    grid = grid_of("grid", grid)
    inputs, kind = view_of("x", x) if grid is None else (steps_of("x", x, grid), float_of(x))
    given = inputs.shape
    shape, each, first = plan(given, copies, first)
    if grid is not None and kind == "bfloat16" and not built_in(mechanism):
        raise TypeError(f"x must not be bfloat16 on a grid: the noise of {mechanism!r} is added in NumPy's types")
    if grid is None and kind in ("float16", "bfloat16") and not built_in(mechanism):
        wide = x.float() if tensor else inputs.astype(np.float32)
        noisy = perturb(mechanism, wide, copies=copies, seed=seed, first=first, threads=threads)
        noisy = noisy.to(x.dtype) if tensor else noisy.astype(inputs.dtype)
        if out is None:
            return noisy
        _checked(out, shape, kind, inputs)[...] = view_of("x", noisy)[0]
        return out
    fresh = out is None
    result = _empty(x, inputs, shape, kind) if fresh else out
    view = view_of("out", result)[0] if fresh else _checked(out, shape, kind, inputs)
    into = view if view.flags.c_contiguous else np.empty(shape, view.dtype)
    if grid is None:
        draw(mechanism, into, given[1:], inputs, each=each, seed=seed, first=first, fresh=fresh, threads=threads)
    else:
        draw_on_grid(mechanism, into, given[1:], inputs, each=each, seed=seed, first=first, threads=threads, grid=grid)
    if into is not view:
        view[...] = into
    return result


def plan(given: tuple[int, ...], copies: Any, first: Any) -> tuple[tuple[int, ...], int, int | Array]:
    """Return the result's shape for inputs of shape `given`, the copies of each, and `first` checked."""
    if not given:
        raise ValueError("x must be a batch of shape (N, *S), got shape ()")
    each = 1 if copies is None else integer("copies", copies, 1, 2**62)
    shape = given if copies is None else (given[0], each, *given[1:])
    if type(first) is not int:
        numbers = first.detach().cpu().numpy() if hasattr(first, "detach") else first
        if np.ndim(numbers):
            return shape, each, _numbers(numbers, given[0], each)
        first = numbers[()] if isinstance(numbers, np.ndarray) else numbers
    return shape, each, draws_from(first, given[0] * each)


def built_in(mechanism: Mechanism) -> TypeGuard[BuiltIn]:
    """Tell whether the core draws the mechanism's noise; a subclass may draw its own."""
    return type(mechanism).__module__ == "rsmooth.mechanisms.builtin"


def draw(
    mechanism: Mechanism,
    into: Array,
    single: tuple[int, ...],
    inputs: Array | None,
    *,
    each: int,
    seed: Seed,
    first: int | Array,
    fresh: bool,
    threads: int | None,
) -> None:
    """Write noise of the shape `single`, or `inputs` plus it, `each` draws an input, into a contiguous array."""
    workers = worker_count(threads)
    if inputs is not None and not inputs.flags.c_contiguous:
        inputs = np.ascontiguousarray(inputs)
    if built_in(mechanism):
        key = key_of(seed)
        if into.size:
            _core.fill(
                mechanism.name,
                mechanism.parameter,
                key,
                first,
                prod(single),
                into.reshape(-1),
                inputs=None if inputs is None else inputs.reshape(-1),
                copies=each,
                fresh=fresh,
                threads=workers,
            )
        return
    settings = {"dtype": into.dtype.name, "threads": workers}
    for rows, z in _own_draws(mechanism, into, single, each=each, seed=seed, first=first, settings=settings):
        into.reshape(-1, each, *single)[rows] = z
    if inputs is not None and into.size:
        into.reshape(-1, each, *single)[...] += inputs[:, None]


def draw_on_grid(
    mechanism: Mechanism,
    into: Array,
    single: tuple[int, ...],
    steps: Array,
    *,
    each: int,
    seed: Seed,
    first: int | Array,
    threads: int | None,
    grid: int,
) -> None:
    """Write the floats of (X + Z) / `grid` into a contiguous array, X the inputs' `steps`, `each` draws an input."""
    workers = worker_count(threads)
    steps = np.ascontiguousarray(steps)
    if built_in(mechanism):
        key, law = key_of(seed), (mechanism.name, mechanism.parameter, grid)
        if into.size:
            flat = into.reshape(-1)
            _core.grid_sums(law, key, first, prod(single), steps.reshape(-1), flat, copies=each, threads=workers)
        return
    mechanism.noise_error(prod(single), grid)
    settings = {"grid": grid, "threads": workers}
    for rows, z in _own_draws(mechanism, into, single, each=each, seed=seed, first=first, settings=settings):
        if z.dtype.kind not in "iu":
            raise TypeError(f"{mechanism!r} must draw integers on a grid, got {z.dtype}")
        into.reshape(-1, each, *single)[rows] = (steps[rows, None] + z.astype(np.int64)) / grid


def _own_draws(
    mechanism: Mechanism,
    into: Array,
    single: tuple[int, ...],
    *,
    each: int,
    seed: Seed,
    first: int | Array,
    settings: dict[str, Any],
) -> Iterator[tuple[slice, Array]]:
    """Iterate over the inputs whose draws have consecutive numbers, with what a mechanism of the user's draws."""
    if not into.size:
        return
    source, inputs = sequence_of(seed), into.size // (each * prod(single))
    runs = [(first, inputs)] if isinstance(first, int) else [(int(number), 1) for number in first]
    start = 0
    for number, count in runs:
        shape = (count * each, *single)
        z = np.asarray(mechanism.sample(shape, seed=source, first=number, **settings))
        if z.shape != shape:
            raise ValueError(f"{mechanism!r} must draw noise of shape {shape}, got {z.shape}")
        yield slice(start, start + count), z.reshape(count, each, *single)
        start += count


def layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int] | None:
    """Return the axes behind the first as memory has them, outermost first; None where that is C order."""
    distance: float = math.inf
    distances = {}
    for axis in range(1, len(shape)):
        # An axis of length 1, or along which nothing moves, stays behind the one before it.
        if shape[axis] > 1 and strides[axis] > 0:
            distance = strides[axis]
        distances[axis] = distance
    axes = sorted(distances, key=lambda axis: -distances[axis])
    return None if axes == list(distances) else axes


def laid_out(make: Callable[[tuple[int, ...]], Any], shape: tuple[int, ...], axes: list[int] | None) -> Any:
    """Return what `make` makes of a shape, of shape `shape` with its last axes in memory as `axes` says."""
    if axes is None:
        return make(shape)
    ahead = len(shape) - len(axes)
    order = [*range(ahead), *(axis - 1 + ahead for axis in axes)]
    made = make(tuple(shape[axis] for axis in order))
    back = [order.index(axis) for axis in range(len(shape))]
    return made.transpose(back) if isinstance(made, np.ndarray) else made.permute(back)


def _empty(x: Any, inputs: Array, shape: tuple[int, ...], kind: str) -> Any:
    """Return a new array or tensor of a shape and type, of the layout of `x`."""
    if hasattr(x, "new_empty"):
        make = partial(x.new_empty, dtype=getattr(sys.modules["torch"], kind))
    else:
        make = partial(np.empty, dtype=kind)
    return laid_out(make, shape, None if inputs.flags.c_contiguous else layout(inputs.shape, inputs.strides))


def _checked(out: Any, shape: tuple[int, ...], kind: str, inputs: Array) -> Array:
    """Return `out`'s memory as an array of the result's shape."""
    view, found = view_of("out", out)
    if view.shape != shape:
        if view.shape != (prod(shape),):
            raise ValueError(f"out must have shape {shape}, or be flat with {prod(shape)} elements, got {view.shape}")
        if not view.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous where it is flat, got strides {view.strides}")
        view = view.reshape(shape)
    if found != kind:
        raise TypeError(f"out must be of the type of the noisy copies, {kind}, got {found}")
    if not view.flags.writeable:
        raise ValueError("out must be writable, got a read-only buffer")
    if np.may_share_memory(view, inputs):
        raise ValueError("out must not share memory with x")
    return view


def _numbers(numbers: Any, rows: int, each: int) -> Array:
    """Return the number of each input's first draw, checked."""
    if np.shape(numbers) != (rows,):
        raise ValueError(f"first must be an integer, or {rows} of them, one an input, got shape {np.shape(numbers)}")
    if not rows:
        return np.empty(0, np.uint64)
    if not isinstance(numbers, np.ndarray):
        # NumPy would make floating-point numbers of large integers and small ones.
        checked = [integer(f"first[{at}]", number, 0, 2**64 - each) for at, number in enumerate(numbers)]
        return np.array(checked, np.uint64)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"first must be integers, got {numbers.dtype}")
    for at in (int(numbers.argmin()), int(numbers.argmax())):
        integer(f"first[{at}]", numbers[at], 0, 2**64 - each)
    return np.ascontiguousarray(numbers, np.uint64)
