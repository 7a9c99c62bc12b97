"""Votes for classes: how they are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._arrays import refuse_no_class
from rsmooth.certificates.kind import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Form

__all__ = ["Votes"]


class Votes(Kind):
    """What kinds have in common that count a model's votes for classes."""

    def observe(self, output: Any) -> Any:
        """Return each row's class, on the output's device.

        Parameters
        ----------
        output : torch.Tensor, shape (B, K) or (B,)
            Scores, or labels: integers.

        Returns
        -------
        torch.Tensor of int64, shape (B,)
            The class with the highest score, or the label; −1 where a score is not finite or a label is negative.

        Raises
        ------
        ValueError
            If the output has another shape.
        """
        if output.ndim == 1 and not output.is_floating_point():
            return output.long().clamp(min=-1)
        if output.ndim != 2:  # noqa: PLR2004
            raise ValueError(f"output must be scores (B, K) or integer labels (B,), got {tuple(output.shape)}")
        return output.argmax(dim=1).masked_fill(~output.isfinite().all(dim=1), -1)

    def tally(self, rows: int, form: Form) -> NDArray[np.int64]:
        """Return counts of nothing, shape (rows, K)."""
        return np.zeros((rows, form.classes), np.int64)

    def add(
        self,
        tally: NDArray[np.int64],
        rows: NDArray[np.int64],
        numbers: NDArray[np.int64],  # noqa: ARG002
        observations: NDArray[np.int64],
    ) -> None:
        """Count observation i in row ``rows[i]`` of `tally`.

        Parameters
        ----------
        tally : ndarray of int64, shape (N, K)
            Is changed.
        rows, numbers, observations : ndarray of int64, shape (B,)
            Rows, numbers of draws, which nothing depends on, and classes.

        Raises
        ------
        ValueError
            If an observation is no class.
        """
        classes = tally.shape[1]
        refuse_no_class("observations", observations, classes)
        if len(rows):
            # A batch is of few rows: the table between the first and the last of them is small.
            low, high = int(rows.min()), int(rows.max()) + 1
            cells = (rows - low) * classes + observations
            tally[low:high] += np.bincount(cells, minlength=(high - low) * classes).reshape(-1, classes)
