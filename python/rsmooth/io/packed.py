"""Arrays in JSON: compressed bytes as text, for what would be too many numbers."""

from __future__ import annotations

import base64
import binascii
import zlib
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["packed", "unpacked"]

# How elements may be kept, the narrowest first.
WHOLE = ("<u1", "<u2", "<u4", "<i8")
REAL = "<f8"


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """Return what JSON can hold of an array of whole or real numbers.

    Parameters
    ----------
    array : ndarray of integers or floats
        The array.

    Returns
    -------
    dict
        ``type`` of the elements, little-endian and as narrow as they allow; ``shape``; and ``zlib``, the compressed
        elements in C order as base64.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.io.packed import packed, unpacked
    >>> content = packed(np.array([[3, 300]]))
    >>> content["type"], content["shape"]
    ('<u2', [1, 2])
    >>> unpacked("counts", content)
    array([[  3, 300]])
    """
    kind = REAL
    if array.dtype.kind in "iu":
        low, high = (0, 0) if not array.size else (int(array.min()), int(array.max()))
        kind = next((each for each in WHOLE[:-1] if low >= 0 and high <= np.iinfo(each).max), WHOLE[-1])
    # The fast level: what is counted has long repeats, or is noise.
    content = zlib.compress(np.ascontiguousarray(array, kind).tobytes(), 1)
    return {"type": kind, "shape": list(array.shape), "zlib": base64.b64encode(content).decode()}


def unpacked(name: str, content: Any) -> NDArray[Any]:
    """Return the array that `packed` was given.

    Parameters
    ----------
    name : str
        What messages call it.
    content : object
        What JSON was read to.

    Returns
    -------
    ndarray of int64 or float64
        The array, which takes no more memory than its shape says.

    Raises
    ------
    ValueError
        If `packed` did not write it.
    """
    try:
        kind, shape = content["type"], tuple(content["shape"])
        whole = all(type(size) is int and size >= 0 for size in shape)
        if kind not in (*WHOLE, REAL) or not whole:
            raise ValueError(f"no array has the type {kind!r} and the shape {shape}")  # noqa: TRY301
        size = prod(shape) * np.dtype(kind).itemsize
        # One byte more than there should be, to see that there is none.
        raw = zlib.decompressobj().decompress(base64.b64decode(content["zlib"], validate=True), size + 1)
        if len(raw) != size:
            raise ValueError(f"there are not {size:,} bytes in it")  # noqa: TRY301
        found = np.frombuffer(raw, kind).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error, zlib.error) as error:
        raise ValueError(f"{name} is no array as runs pack them: {error}") from error
    return found.astype(np.float64 if kind == REAL else np.int64)
