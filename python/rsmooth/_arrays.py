"""Array arguments of the compiled half: checked, broadcast, and handed over a piece at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def real(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array


def integers(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
        raise ValueError(f"{name} must be at most 2**53, got {array.max()}")
    return array


def refuse_no_class(name: str, values: NDArray[Any], classes: int) -> None:
    """Refuse values of which one is no class, a number from 0 to ``classes - 1``."""
    wrong = (values < 0) | (values >= classes)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        where = ", ".join(map(str, at))
        raise ValueError(f"{name}[{where}] must be a class from 0 to {classes - 1}, got {values[at]}")


def shared(one: ArrayLike, other: ArrayLike) -> bool:
    """Tell whether arrays have memory in common, as columns of a table have not; True where that is hard to say."""
    try:
        return np.shares_memory(np.asarray(one), np.asarray(other), max_work=10**6)  # type: ignore[arg-type]  # Its stub knows no other bound than none.
    except RuntimeError:
        # NumPy's TooHardError, which not every version has at the same place.
        return True


def common_shape(**arrays: NDArray[Any]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = " and ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"the shapes must broadcast, got {shapes}") from None


def output(out: Floats | None, shape: tuple[int, ...]) -> Floats:
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


def in_pieces(fill: Callable[..., None], inputs: list[NDArray[Any]], dtypes: list[Any], outputs: list[Floats]) -> None:
    """Call `fill` with the number of the first element and one-dimensional pieces of all arrays, in C order.

    Broadcasting and conversion happen a piece at a time, so that no whole array is copied, and an interrupt is
    answered between pieces.
    """
    pieces = np.nditer(  # type: ignore[call-overload]  # NumPy's stub wants the flags as literals.
        [*inputs, *outputs],
        flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"],
        # Not "contig": with it, NumPy before 2.3 hands out memory that nobody has written where an input is both
        # broadcast and converted.
        op_flags=[["readonly", "aligned"]] * len(inputs) + [["writeonly", "no_broadcast"]] * len(outputs),
        op_dtypes=[*dtypes, *[np.float64] * len(outputs)],
        order="C",
        casting="unsafe",
        buffersize=1 << 20,
    )
    first = 0
    with pieces:
        for piece in pieces:
            fill(first, *map(np.ascontiguousarray, piece[: len(inputs)]), *piece[len(inputs) :])
            first += piece[0].size
