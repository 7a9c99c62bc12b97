"""Which draws of which examples a batch is made of, and where their observations are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._streams import example_stream
from rsmooth.certificates.kind import Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt
    import torch

    from rsmooth.certificates.kind import Kind

__all__ = ["Draws", "Tally", "batches_of"]


@dataclass(frozen=True, eq=False)
class Draws:
    """Consecutive draws of one stream around one example.

    Attributes
    ----------
    example : torch.Tensor
        On the host, contiguous, float32 or float64: noise is added to it as it is.
    key : numpy.random.SeedSequence
        Names the stream.
    first, count : int
        Which of its draws.
    name : str
        What errors call the example.
    row : int
        Where the caller counts them.
    """

    example: torch.Tensor
    key: np.random.SeedSequence
    first: int
    count: int
    name: str
    row: int


def batches_of(
    examples: Iterable[tuple[int, torch.Tensor]],
    wanted: list[tuple[int, int]],
    *,
    root: np.random.SeedSequence,
    size: int,
) -> Iterator[list[Draws]]:
    """Cut the draws of all examples, one after the other, into batches of `size`; the last may be smaller.

    Parameters
    ----------
    examples : iterable of (int, torch.Tensor)
        Numbers among `root`'s examples, and images.
    wanted : list of (int, int)
        Purposes and the number of draws for each. Each has a row: ``position * len(wanted) + its place here``.
    root : numpy.random.SeedSequence
        Names the streams.
    size : int
        Draws in a batch.

    Yields
    ------
    list of Draws
        The batches.
    """
    batch: list[Draws] = []
    room = size
    for position, (number, example) in enumerate(examples):
        for part, (purpose, draws) in enumerate(wanted):
            key, drawn = example_stream(root, number, purpose), 0
            while drawn < draws:
                count = min(room, draws - drawn)
                row = position * len(wanted) + part
                batch.append(Draws(example, key, drawn, count, f"example {number}", row))
                drawn += count
                room -= count
                if not room:
                    yield batch
                    batch, room = [], size
    if batch:
        yield batch


class Tally:
    """What draws were observed to give, counted by row as a kind counts it.

    Parameters
    ----------
    kind : Kind
        What is counted.
    rows : int
        How many rows.
    classes : int
        The number of the model's classes; 0 where it answers with numbers.
    draws : int
        The most draws of a row.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.torch.draws import Draws, Tally
    >>> tally = Tally(TopClass(), 2, classes=3, draws=10)
    >>> tally.add([Draws(torch.zeros(4), np.random.SeedSequence(0), 0, 2, "x", 1)], np.array([0, 2]))
    >>> tally.counts
    array([[0, 0, 0],
           [1, 0, 1]])
    """

    def __init__(self, kind: Kind, rows: int, *, classes: int, draws: int) -> None:
        self.kind, self.rows, self.form = kind, rows, Form(classes, draws)
        self.made: npt.NDArray[Any] | None = None

    @property
    def counts(self) -> npt.NDArray[Any]:
        """The tallies, a row each."""
        if self.made is None:
            self.made = self.kind.tally(self.rows, self.form)
        return self.made

    def add(self, batch: list[Draws], observations: npt.NDArray[Any]) -> None:
        """Add a batch's observations to the rows that its draws name."""
        if self.made is None:
            self.form = self.form._replace(shape=observations.shape[1:])
        rows = np.repeat([draws.row for draws in batch], [draws.count for draws in batch])
        numbers = np.concatenate([np.arange(draws.first, draws.first + draws.count) for draws in batch])
        self.kind.add(self.counts, rows, numbers, observations)
