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
