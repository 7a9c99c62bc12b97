"""Inputs on a grid: whole numbers of steps of 1/g, which exact noise is added to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth import _core
from rsmooth._buffers import DTYPES
from rsmooth._check import integer

if TYPE_CHECKING:
    from numpy.typing import NDArray


# What uint8 stands for everywhere: 255ths.
BYTE = 255

# The finest grid, and the largest input in steps: sums with noise fit 32 bits.
FINEST: int = _core.MAX_GRID
LARGEST = 2**30

# On the coarsest grid that serves, a step is so small a share of the noise's scale.
STEPS_A_SCALE = 4


def grid_of(name: str, grid: Any) -> int | None:
    """Return `grid` checked: None, or an int of at least 1."""
    return None if grid is None else integer(name, grid, 1, FINEST)


def coarsest(levels: int, scale: float) -> int:
    """Return the coarsest grid ``levels * 2**k`` on which a step is at most a quarter of the noise's scale.

    Inputs on the grid `levels` are on every such grid; one step is then small beside the radii to be certified.

    Parameters
    ----------
    levels : int
        The inputs are multiples of ``1 / levels``: 255 for 8-bit images.
    scale : float
        The noise's standard deviation or scale.

    Returns
    -------
    int
        The grid.

    Raises
    ------
    ValueError
        If the scale is too small for the finest grid.

    Examples
    --------
    >>> from rsmooth._grid import coarsest
    >>> coarsest(255, 0.25), coarsest(255, 1 / 3072)
    (255, 16320)
    """
    grid = levels
    while grid * scale < STEPS_A_SCALE:
        grid *= 2
        if grid > FINEST:
            raise ValueError(f"scale must be at least {STEPS_A_SCALE / FINEST:.3g} for a grid of {levels}, got {scale}")
    return grid


def steps_of(name: str, x: Any, grid: int) -> NDArray[np.int32]:
    """Return an input in steps of 1/`grid`, in the memory layout that it has.

    Parameters
    ----------
    name : str
        What messages call the input.
    x : array or torch.Tensor
        uint8, which counts 255ths; other integers, which count steps; or floating-point numbers, each the nearest of
        its type to a multiple of ``1 / grid``.
    grid : int
        Steps in 1.

    Returns
    -------
    ndarray of int32
        Of the shape of `x`.

    Raises
    ------
    ValueError
        If a value is not on the grid or too large; the message names where and what it is.
    TypeError
        If `x` is of another type.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth._grid import steps_of
    >>> steps_of("x", np.array([0, 128, 255], np.uint8), 510)
    array([  0, 256, 510], dtype=int32)
    >>> steps_of("x", np.array([0.0, 0.5, 1.0]), 510)
    array([  0, 255, 510], dtype=int32)
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        tensor = x.detach().cpu()
        # NumPy has no bfloat16; float32 holds all of its numbers, and what is nearest is asked of the tensor's type.
        if tensor.dtype == torch.bfloat16:
            return _from_floats(
                name, tensor.float().numpy(), grid, lambda q: torch.from_numpy(q).bfloat16().float().numpy()
            )
        x = tensor.numpy()
    values = np.asarray(x)
    if values.dtype.kind == "f":
        kind = values.dtype.type
        return _from_floats(name, values, grid, lambda quotient: quotient.astype(kind))
    if values.dtype == np.uint8:
        if grid % BYTE:
            raise ValueError(
                f"grid must be a multiple of {BYTE} for {name} of type uint8, which counts 255ths, got {grid}"
            )
        # 255·2³¹/255 would leave the range; an input of at most 1 never does.
        scaled: NDArray[np.int32] = np.multiply(values, grid // BYTE, dtype=np.int64).astype(np.int32, order="K")
        return scaled
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers or floating-point numbers on the grid, got {values.dtype}")
    _refuse(
        name, values, (values > LARGEST) | (values < -LARGEST), f"between {-LARGEST} and {LARGEST} steps of 1/{grid}"
    )
    steps: NDArray[np.int32] = values.astype(np.int32, order="K")
    return steps


def _from_floats(name: str, values: NDArray[Any], grid: int, nearest: Any) -> NDArray[np.int32]:
    # In float64, whose quotients of integers below 2³¹ round to the same numbers of any shorter type as exact ones do.
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.rint(values.astype(np.float64) * grid)
        off = ~(nearest(steps / grid) == values) | ~(np.abs(steps) <= LARGEST)
    _refuse(name, values, off, f"a multiple of 1/{grid} rounded to its type, at most {LARGEST} steps from 0")
    whole: NDArray[np.int32] = steps.astype(np.int32, order="K")
    return whole


def _refuse(name: str, values: NDArray[Any], wrong: NDArray[np.bool_], allowed: str) -> None:
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"[{', '.join(map(str, at))}]" if at else ""
        raise ValueError(f"{name}{where} must be {allowed}, got {values[at]}")


def float_of(x: Any) -> str:
    """Return the name of the type in which noisy copies of an input on a grid are written: its own, or float32."""
    name = str(getattr(x, "dtype", "")).removeprefix("torch.")
    return name if name in DTYPES else "float32"
