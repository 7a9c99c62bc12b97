"""Arrays, tensors and other buffers as flat views of their memory."""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

DTYPES = ("float32", "float64", "float16", "bfloat16")

# What noise on a grid is drawn in.
INTEGERS = ("int16", "int32")

# By NumPy's types, in the machine's byte order.
NAMES = {np.dtype(name): name for name in (*DTYPES[:3], *INTEGERS)}


def view_of(name: str, array: Any, kinds: tuple[str, ...] = DTYPES) -> tuple[npt.NDArray[Any], str]:
    """Return `array`'s memory as an array of its shape and strides (bfloat16 as uint16), and the name of its type.

    The type must be one of `kinds`.
    """
    if isinstance(array, np.ndarray):
        view = array
    elif (torch := sys.modules.get("torch")) is not None and isinstance(array, torch.Tensor):
        if not array.is_cpu:
            raise ValueError(f"{name} must be in host memory, got a tensor on {array.device}")
        tensor = array.detach() if array.requires_grad else array
        if tensor.dtype is torch.bfloat16 and "bfloat16" in kinds:
            return tensor.view(torch.int16).numpy().view(np.uint16), "bfloat16"
        view = tensor.numpy() if tensor.dtype is not torch.bfloat16 else np.empty(0, np.void)
    else:
        try:
            view = np.asarray(memoryview(array))
        except TypeError as error:
            message = f"{name} must be a NumPy array, a torch tensor or another buffer, got {type(array).__name__}"
            raise TypeError(message) from error
    kind = NAMES.get(view.dtype)
    if kind not in kinds:
        given = view.dtype if view.dtype.kind != "V" else "bfloat16"
        allowed = " or ".join(kinds) if kinds == INTEGERS else "float32, float64, float16 or bfloat16 (torch)"
        raise TypeError(f"{name} must be of type {allowed}, got {given}")
    return view, kind


def flat_view(name: str, array: Any, kinds: tuple[str, ...] = DTYPES) -> tuple[npt.NDArray[Any], str, tuple[int, ...]]:
    """Return a flat view of contiguous memory, the name of its element type, and its shape."""
    view, kind = view_of(name, array, kinds)
    if not view.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {view.strides} for shape {view.shape}")
    return view.reshape(-1), kind, view.shape


def target(
    shape: tuple[int, ...], dtype: npt.DTypeLike | None, out: T, kinds: tuple[str, ...] = DTYPES
) -> tuple[T | npt.NDArray[Any], npt.NDArray[Any], str]:
    """Return what to hand back, the flat view to write into and the name of its type, for `out` or a new array."""
    if out is None:
        name = _dtype_name(dtype, kinds)
        if name == "bfloat16":
            raise ValueError("dtype bfloat16 needs out=, a torch tensor of that type: NumPy has no such type")
        made = np.empty(shape, name)
        return made, made.reshape(-1), name
    view, name, given = flat_view("out", out, kinds)
    if given not in (shape, (prod(shape),)):
        raise ValueError(f"out must have shape {shape}, or be flat with {prod(shape)} elements, got {given}")
    if not view.flags.writeable:
        raise ValueError("out must be writable, got a read-only buffer")
    return out, view, name


def _dtype_name(dtype: Any, kinds: tuple[str, ...]) -> str:
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in kinds:
        raise ValueError(f"dtype must be one of {', '.join(kinds)}, got {name!r}")
    return str(name)
