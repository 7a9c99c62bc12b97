"""The digits data set that scikit-learn carries: 1,797 scans of handwritten digits, 8 by 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Digits", "load_digits"]


@dataclass(frozen=True)
class Digits:
    """Images and labels, and which of them are for testing.

    Attributes
    ----------
    images : ndarray of float32, shape (1797, 1, 8, 8)
        Values in [0, 1], multiples of 1/16.
    labels : ndarray of int64, shape (1797,)
        The digits.
    train, test : ndarray of int64
        Indices of 1,437 and 360 images.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def load_digits() -> Digits:
    """Load the data set, split into the same stratified halves every time.

    Returns
    -------
    Digits
        All images, and 360 of them for testing.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> from rsmooth.run.digits import load_digits
    >>> digits = load_digits()
    >>> digits.images[digits.test].shape
    (360, 1, 8, 8)
    """
    from sklearn import datasets, model_selection  # noqa: PLC0415

    images, labels = datasets.load_digits(return_X_y=True)
    train, test = model_selection.train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    return Digits((images / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64), train, test)
