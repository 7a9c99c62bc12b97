"""Inputs and labels in NumPy's files."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NoSplitError", "Pairs", "read_arrays"]


class NoSplitError(ValueError):
    """A data set has no such part."""


@dataclass(frozen=True)
class Pairs:
    """Inputs and labels in arrays."""

    images: NDArray[Any]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], Any]:
        return self.images[index], self.labels[index]


def read_arrays(path: Path, split: str, answer: str = "class") -> Pairs:
    """Return the inputs and labels of a ``.npz`` or ``.npy`` file; `rsmooth.zoo.data.load_data` says what it may hold.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    split : {"train", "test"}
        Which part, where it has parts.
    answer : {"class", "map", "number"}
        What labels are.

    Returns
    -------
    Pairs
        Inputs ``(N, *S)``, the channels of images first, and labels.

    Raises
    ------
    NoSplitError
        If there is no such part.
    ValueError
        If it is damaged or holds something else.
    OSError
        If it cannot be read.
    """
    images, labels = _load_npy(path) if path.suffix == ".npy" else _load_npz(path, split)
    each = {"class": "one integer label", "number": "one number", "map": "a map of integers"}[answer]
    kinds = "iuf" if answer == "number" else "iu"
    shape = labels.shape[:1] if answer == "map" and labels.ndim > 1 else labels.shape
    if labels.dtype.kind not in kinds or shape != images.shape[:1] or (answer == "map" and labels.ndim == 1):
        raise ValueError(
            f"{path} must have {each} an image, got {labels.dtype} of shape {labels.shape} for images of shape "
            f"{images.shape}"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"{path} must hold images of uint8 or floating-point numbers, got {images.dtype}")
    if images.ndim == 4 and images.shape[3] in (1, 3):  # noqa: PLR2004
        if images.shape[1] in (1, 3):
            raise ValueError(
                f"{path} must hold inputs whose channels can be told from the other axes, got {images.shape}: both "
                "axis 1 and axis 3 may be channels"
            )
        images = images.transpose(0, 3, 1, 2)
    return Pairs(images, labels)


def _load_npy(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    beside = path.with_name(f"{path.stem}_labels.npy")
    with _readable(path, "a .npy array of numbers"):
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    with _readable(beside, "a .npy array of numbers"):
        return images, np.load(beside, allow_pickle=False)


def _load_npz(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    kind = "an .npz file of arrays of numbers"
    # NumPy leaves files that it cannot read open.
    with path.open("rb") as file, _readable(path, kind), np.load(file, allow_pickle=False) as arrays:
        prefix = "" if "images" in arrays else f"{split}_"
        missing = [name for name in (f"{prefix}images", f"{prefix}labels") if name not in arrays]
        if missing:
            raise NoSplitError(f"{path} has no arrays {' and '.join(missing)}, got {', '.join(arrays)}")
        return arrays[f"{prefix}images"], arrays[f"{prefix}labels"]


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """Name the file that NumPy cannot read. NumPy's own message advises loading pickles, which run code."""
    try:
        yield
    except (FileNotFoundError, NoSplitError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is not {kind}, or it is damaged") from error
