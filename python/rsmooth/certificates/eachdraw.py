"""Kinds of certificates that keep what was observed of each draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsmooth.certificates.kind import Kind
from rsmooth.io.packed import packed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EachDraw"]


class EachDraw(Kind):
    """What kinds share whose tallies have room for each draw's observation, in the order of the draws."""

    def add(
        self, tally: NDArray[Any], rows: NDArray[np.int64], numbers: NDArray[np.int64], observations: NDArray[Any]
    ) -> None:
        """Put observation i where row ``rows[i]`` has that of its draw ``numbers[i]``."""
        tally[rows, numbers] = observations

    def columns(self, name: str, tally: NDArray[Any]) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Return no columns: what was observed of every draw is the run's to keep."""
        return {}

    def write(self, tally: NDArray[Any]) -> dict[str, Any]:
        """Return what was observed of a row's draws as a record holds it."""
        return packed(tally[: int(self.drawn(tally[None])[0])])
