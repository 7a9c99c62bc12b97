"""Votes for the top class: what is counted and what it proves. Gives way to certificates/topclass.py's TopClass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Tally = npt.NDArray[np.int64]


class TopClass:
    """Votes for one of `num_classes` classes."""

    name = "top-class"

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def observe(self, output: Any) -> Any:
        """Return the largest entry's number in each row of scores (B, K); -1 where they are not finite."""
        return output.argmax(dim=1).masked_fill_(~output.isfinite().all(dim=1), -1)

    def tally(self, rows: int) -> Tally:
        """Return counts of nothing."""
        return np.zeros((rows, self.num_classes), np.int64)

    def add(self, tally: Tally, rows: npt.NDArray[np.int64], observations: Tally) -> None:
        """Add observation i to row ``rows[i]``."""
        if len(rows):
            low, high = int(rows.min()), int(rows.max()) + 1
            table = np.bincount(
                (rows - low) * self.num_classes + observations, minlength=(high - low) * self.num_classes
            )
            tally[low:high] += table.reshape(-1, self.num_classes)
