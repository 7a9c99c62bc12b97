"""Which draws a group of examples needs, batch by batch, and what their votes come to.

A batch's draws depend on the settings, the group and the votes of earlier batches, and on nothing else: neither on how
fast the model is, nor on where a run was interrupted. So a batch is always the same batch, down to the rounding of the
model's arithmetic.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rsmooth._streams import ESTIMATION, SELECTION, example_stream
from rsmooth.torch.draws import Draws, add_votes, batches_of
from rsmooth.torch.voter import AHEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Kind
    from rsmooth.torch.voter import Votes

__all__ = ["FixedPlan", "Plan", "SequentialPlan", "composition"]

# The fewest draws of one example in a batch of a sequential plan that has more of them to make.
LEAST = 16


def composition(batch: list[Draws], images: Sequence[str]) -> str:
    """Return a digest of which draws of which images make up a batch of a group.

    Parameters
    ----------
    batch : list of Draws
        The batch.
    images : sequence of str
        The digests of the group's images.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> from rsmooth.run.plan import composition
    >>> composition([], [])
    '71857576257465c7'
    """
    content = [(images[each.row // 2], each.row, each.first, each.count) for each in batch]
    return hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()


class Stopping(Protocol):
    """Decides when an example has draws enough."""

    def decide(self, votes: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return 0 where the selected class's votes, of so many draws, ask for more of them."""


class Plan(Protocol):
    """The batches of a group.

    Batch b may be composed when the votes of all batches up to b − `AHEAD` are recorded.
    """

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None from the number on where there are no more."""

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""

    def done(self) -> float:
        """Return how many examples are done, by the votes so far; those in flight may count in part."""

    def tally(self) -> tuple[Votes, Votes]:
        """Return the votes of the draws that selected and of those that tested, both of shape (N, K)."""


class FixedPlan:
    """n0 and n draws of each example, one example after the other.

    Parameters
    ----------
    examples : list of (int, torch.Tensor)
        Numbers among `root`'s examples, and images.
    kind : Kind
        What is counted.
    n0, n, size : int
        Draws of an example that select and that test its class; draws in a batch.
    root : numpy.random.SeedSequence
        Names the streams.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.run.plan import FixedPlan
    >>> plan = FixedPlan([(7, torch.zeros(4))], TopClass(2), n0=1, n=4, size=3, root=np.random.SeedSequence(0))
    >>> [(draws.row, draws.first, draws.count) for draws in plan.compose(0)]
    [(0, 0, 1), (1, 0, 2)]
    >>> [(draws.row, draws.first, draws.count) for draws in plan.compose(1)]
    [(1, 2, 2)]
    >>> plan.compose(2) is None
    True
    >>> plan.record(0, np.array([1, 0, 1]))
    >>> plan.record(1, np.array([1, 1]))
    >>> plan.tally()
    (array([[0, 1]]), array([[1, 3]]))
    """

    def __init__(
        self,
        examples: list[tuple[int, torch.Tensor]],
        kind: Kind,
        *,
        n0: int,
        n: int,
        size: int,
        root: np.random.SeedSequence,
    ) -> None:
        self.kind, self.draws, self.finished = kind, n0 + n, 0
        self.batches = list(batches_of(examples, [(SELECTION, n0), (ESTIMATION, n)], root=root, size=size))
        self.counts = kind.tally(2 * len(examples))

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None from the number on where there are no more."""
        return self.batches[number] if number < len(self.batches) else None

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""
        add_votes(self.kind, self.counts, self.batches[number], votes)
        self.finished += len(votes)

    def done(self) -> float:
        """Return how many examples are done, those in flight in part."""
        return self.finished / self.draws

    def tally(self) -> tuple[Votes, Votes]:
        """Return the votes of the draws that selected and of those that tested."""
        return self.counts[::2].copy(), self.counts[1::2].copy()


class SequentialPlan:
    """n0 draws of each example, then as many as `test` takes to decide, shared among those undecided.

    Parameters
    ----------
    examples, kind, n0, size, root
        As for `FixedPlan`.
    n : int
        The most draws that an example gets beside the first.
    test : Stopping
        Decides.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.run.plan import SequentialPlan
    >>> from rsmooth.sequential import BettingTest
    >>> test = BettingTest(threshold=0.6, alpha=0.01, n=1000)
    >>> root = np.random.SeedSequence(0)
    >>> plan = SequentialPlan([(7, torch.zeros(4))], TopClass(2), n0=10, n=1000, size=20, root=root, test=test)
    >>> number = 0
    >>> while (batch := plan.compose(number)) is not None:  # All vote for class 1.
    ...     plan.record(number, np.full(sum(draws.count for draws in batch), 1))
    ...     number += 1
    >>> plan.tally()
    (array([[ 0, 10]]), array([[ 0, 10]]))
    """

    def __init__(
        self,
        examples: list[tuple[int, torch.Tensor]],
        kind: Kind,
        *,
        n0: int,
        n: int,
        size: int,
        root: np.random.SeedSequence,
        test: Stopping,
    ) -> None:
        self.examples, self.kind, self.n0, self.n, self.size, self.test = examples, kind, n0, n, size, test
        self.keys = [
            [example_stream(root, number, purpose) for number, _ in examples] for purpose in (SELECTION, ESTIMATION)
        ]
        # Rows 2 i and 2 i + 1 are example i's selection and estimation, as in a fixed plan.
        self.asked = np.zeros(2 * len(examples), np.int64)
        self.counts = kind.tally(2 * len(examples))
        self.judged = np.zeros(len(examples), np.int64)
        self.decision = np.zeros(len(examples), np.int8)
        self.turn = 0
        self.batches: dict[int, list[Draws]] = {}
        self.votes: dict[int, Votes] = {}
        self.applied = 0

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None from the number on where there are no more."""
        self._apply(number - AHEAD + 1)
        batch: list[Draws] = []
        room: int = self.size
        for selecting in np.flatnonzero(self.asked[::2] < self.n0):
            row = 2 * int(selecting)
            room -= self._ask(batch, row, min(room, self.n0 - int(self.asked[row])))
            if not room:
                break
        open_ = np.flatnonzero((self.decision == 0) & (self.asked[1::2] < self.n))
        if room and len(open_):
            # In turn, beginning behind the last one served.
            open_ = np.roll(open_, -int(np.searchsorted(open_, self.turn)))
            share = max(LEAST, -(-room // len(open_)))
            for example in open_:
                row = 2 * int(example) + 1
                room -= self._ask(batch, row, min(share, room, self.n - int(self.asked[row])))
                self.turn = int(example) + 1
                if not room:
                    break
        if not batch:
            return None
        self.batches[number] = batch
        return batch

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""
        self.votes[number] = votes

    def done(self) -> float:
        """Return how many examples are decided or have all their draws."""
        return float(((self.decision != 0) | (self.asked[1::2] == self.n)).sum())

    def tally(self) -> tuple[Votes, Votes]:
        """Return the votes of the draws that selected and of those that tested."""
        self._apply(len(self.batches))
        return self.counts[::2].copy(), self.counts[1::2].copy()

    def _ask(self, batch: list[Draws], row: int, count: int) -> int:
        index, name = row // 2, f"example {self.examples[row // 2][0]}"
        example = self.examples[index][1]
        batch.append(Draws(example, self.keys[row % 2][index], int(self.asked[row]), count, name, row))
        self.asked[row] += count
        return count

    def _apply(self, end: int) -> None:
        """Judge by the votes of the batches before `end`, one batch after the other."""
        while self.applied < end:
            batch, votes = self.batches.pop(self.applied), self.votes.pop(self.applied)
            self.batches[self.applied] = []
            self.applied += 1
            rows = np.repeat([draws.row for draws in batch], [draws.count for draws in batch])
            # What an example was drawn beyond its decision is not counted.
            counted = self.decision[rows // 2] == 0
            self.kind.add(self.counts, rows[counted], votes[counted])
            drawn = self.counts[1::2].sum(axis=1)
            self._judge(np.flatnonzero((self.decision == 0) & (drawn > self.judged)))

    def _judge(self, examples: NDArray[np.int64]) -> None:
        """Ask the test about examples whose class is selected and that have draws that test it."""
        if len(examples):
            top = self.counts[::2][examples].argmax(axis=1)
            drawn = self.counts[1::2][examples].sum(axis=1)
            self.decision[examples] = self.test.decide(self.counts[1::2][examples, top], drawn)
            self.judged[examples] = drawn
