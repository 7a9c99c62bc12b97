"""Which draws a group of examples needs, batch by batch, and what their votes come to.

A batch's draws depend on the settings, the group and the votes of earlier batches, and on nothing else: neither on how
fast the model is, nor on where a run was interrupted. So a batch is always the same batch, down to the rounding of the
model's arithmetic.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rsmooth._streams import ESTIMATION, SELECTION, example_stream
from rsmooth.torch.draws import Draws, Tally, batches_of
from rsmooth.torch.voter import AHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Kind
    from rsmooth.torch.voter import Voter, Votes

__all__ = ["LEAST", "FixedPlan", "Plan", "UntilPlan", "composition", "waves"]

# The fewest draws of one example in a batch of a plan that stops, if it has more of them to make.
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
    >>> from rsmooth.torch.plan import composition
    >>> composition([], [])
    '71857576257465c7'
    """
    content = [(images[each.row // 2], each.row, each.first, each.count) for each in batch]
    return hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()


class Stopping(Protocol):
    """Decides when an example has draws enough, as `rsmooth.stopping.Until` does."""

    def known(self, selection: Votes, tally: Votes, labels: NDArray[Any] | None) -> NDArray[np.bool_]:
        """Tell which examples have draws enough, by the tallies of those that selected and those that tested."""

    def needed(self, selection: Votes, tally: Votes, labels: NDArray[Any] | None) -> NDArray[np.float64]:
        """Return about how many more draws the examples take."""


class Plan(Protocol):
    """The batches of a group.

    Batch b may be composed when the votes of all batches up to b − `AHEAD` are recorded.
    """

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None where there are no more, or none before all votes are recorded.

        Where it was None it may be asked again when they are: `waves` does.
        """

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""

    def done(self) -> float:
        """Return how many examples are done, by the votes so far; those in flight may count in part."""

    def tally(self) -> tuple[Votes, Votes]:
        """Return the tallies of the draws that selected and of those that tested, such as votes (N, K)."""


class FixedPlan:
    """n0 and n draws of each example, one example after the other.

    Parameters
    ----------
    examples : list of (int, torch.Tensor)
        Numbers among `root`'s examples, and images.
    kind : Kind
        What is counted.
    classes : int
        The number K of the model's classes.
    n0, n, size : int
        Draws of an example that select and that test its class; draws in a batch.
    root : numpy.random.SeedSequence
        Names the streams.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.torch.plan import FixedPlan
    >>> root = np.random.SeedSequence(0)
    >>> plan = FixedPlan([(7, torch.zeros(4))], TopClass(), classes=2, n0=1, n=4, size=3, root=root)
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
        classes: int,
        n0: int,
        n: int,
        size: int,
        root: np.random.SeedSequence,
    ) -> None:
        self.draws, self.finished = n0 + n, 0
        self.batches = list(batches_of(examples, [(SELECTION, n0), (ESTIMATION, n)], root=root, size=size))
        self.tallies = Tally(kind, 2 * len(examples), classes=classes, draws=max(n0, n))

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None from the number on where there are no more."""
        return self.batches[number] if number < len(self.batches) else None

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""
        self.tallies.add(self.batches[number], votes)
        self.finished += len(votes)

    def done(self) -> float:
        """Return how many examples are done, those in flight in part."""
        return self.finished / self.draws

    def tally(self) -> tuple[Votes, Votes]:
        """Return the votes of the draws that selected and of those that tested."""
        return self.tallies.counts[::2].copy(), self.tallies.counts[1::2].copy()


class UntilPlan:
    """n0 draws of each example, then as many as it takes until enough is known, shared among those that are open.

    An example is open while its votes do not tell enough and it has fewer than `n` draws. Those in flight when it ends
    are counted with the others, and may open it again.

    Parameters
    ----------
    examples, kind, classes, n0, size, root
        As for `FixedPlan`.
    n : int
        The most draws that an example gets beside the first.
    stopping : Stopping
        Decides.
    labels : ndarray or None
        The examples' labels, where the kind certifies them.
    budget : int or None
        The most draws of all examples together. Where given, what takes the fewest more draws is served first, rather
        than all in turn: that ends as many as can be. Each gets `n0` and `LEAST` before that.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.rule import Rule
    >>> from rsmooth.stopping import Until
    >>> from rsmooth.torch.plan import UntilPlan
    >>> rule = Rule(Gaussian(0.25), norm=2, dim=4, alpha=0.01, interval="anytime")
    >>> stopping = Until(TopClass(), rule, n=1000, radii=(0, 0.1))
    >>> root = np.random.SeedSequence(0)
    >>> settings = {"classes": 2, "n0": 10, "n": 1000, "size": 20, "root": root, "stopping": stopping}
    >>> plan = UntilPlan([(7, torch.zeros(4))], TopClass(), **settings)
    >>> number = 0
    >>> while (batch := plan.compose(number)) is not None:  # All vote for class 1.
    ...     plan.record(number, np.full(sum(draws.count for draws in batch), 1))
    ...     number += 1
    >>> plan.tally()
    (array([[ 0, 10]]), array([[ 0, 70]]))
    """

    def __init__(
        self,
        examples: list[tuple[int, torch.Tensor]],
        kind: Kind,
        *,
        classes: int,
        n0: int,
        n: int,
        size: int,
        root: np.random.SeedSequence,
        stopping: Stopping,
        labels: NDArray[Any] | None = None,
        budget: int | None = None,
    ) -> None:
        self.examples, self.n0, self.n, self.size = examples, n0, n, size
        self.kind, self.stopping, self.labels, self.budget = kind, stopping, labels, budget
        self.keys = [
            [example_stream(root, number, purpose) for number, _ in examples] for purpose in (SELECTION, ESTIMATION)
        ]
        # Rows 2 i and 2 i + 1 are example i's selection and estimation, as in a fixed plan.
        self.asked = np.zeros(2 * len(examples), np.int64)
        self.tallies = Tally(kind, 2 * len(examples), classes=classes, draws=max(n0, n))
        self.judged = np.zeros(len(examples), np.int64)
        self.known = np.zeros(len(examples), bool)
        self.needed = np.full(len(examples), float(min(LEAST, n)))
        self.turn = self.most_done = 0
        self.batches: dict[int, list[Draws]] = {}
        self.votes: dict[int, Votes] = {}
        self.applied = 0

    def compose(self, number: int) -> list[Draws] | None:
        """Return the draws of a batch; None where there are no more, or none before all votes are recorded."""
        self._apply(number - AHEAD + 1)
        batch = self._next()
        if not batch and self.applied + len(self.votes) == number:
            # All that was asked for is known, which may have opened examples again.
            self._apply(number)
            batch = self._next()
        if not batch:
            return None
        self.batches[number] = batch
        return batch

    def record(self, number: int, votes: Votes) -> None:
        """Take the votes of a batch."""
        self.votes[number] = votes

    def done(self) -> float:
        """Return how many examples were known or had all their draws at some time."""
        self.most_done = max(self.most_done, int((self.known | (self.asked[1::2] == self.n)).sum()))
        return float(self.most_done)

    def tally(self) -> tuple[Votes, Votes]:
        """Return the votes of the draws that selected and of those that tested."""
        self._apply(len(self.batches))
        return self.tallies.counts[::2].copy(), self.tallies.counts[1::2].copy()

    def _next(self) -> list[Draws]:
        """Return the draws of the next batch, by the votes so far."""
        batch: list[Draws] = []
        room: int = self.size
        if self.budget is not None:
            room = min(room, self.budget - int(self.asked.sum()))
        for selecting in np.flatnonzero(self.asked[::2] < self.n0):
            row = 2 * int(selecting)
            room -= self._ask(batch, row, min(room, self.n0 - int(self.asked[row])))
            if not room:
                break
        open_ = np.flatnonzero(~self.known & (self.asked[1::2] < self.n))
        if self.budget is not None:
            room = self._serve_soonest(batch, open_, room)
            open_ = open_[self.asked[1::2][open_] < self.n]
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
        return batch

    def _serve_soonest(self, batch: list[Draws], open_: NDArray[np.int64], room: int) -> int:
        """Ask for what examples need, beginning with the least; return how much room is left."""
        rows = 2 * open_ + 1
        in_flight = self.asked[rows] - self.judged[open_]
        for at in np.argsort(self.needed[open_], kind="stable"):
            more = self.needed[open_[at]] - in_flight[at]
            if not room or more == np.inf:
                break
            if more > 0:
                row = int(rows[at])
                room -= self._ask(batch, row, min(max(LEAST, int(more)), room, self.n - int(self.asked[row])))
        return room

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
            self.tallies.add(batch, votes)
            drawn = self.kind.drawn(self.tallies.counts[1::2])
            self._judge(np.flatnonzero(drawn > self.judged))
            self.judged = drawn

    def _judge(self, examples: NDArray[np.int64]) -> None:
        """Ask about examples whose class is selected and that have new draws that test it."""
        if len(examples):
            labels = None if self.labels is None else self.labels[examples]
            seen = self.tallies.counts[::2][examples], self.tallies.counts[1::2][examples], labels
            self.known[examples] = self.stopping.known(*seen)
            if self.budget is not None:
                self.needed[examples] = self.stopping.needed(*seen)


def waves(
    voter: Voter, batches: Callable[[], Iterable[list[Draws]]], *, size: int
) -> Iterator[tuple[list[Draws], Votes]]:
    """Iterate over votes on what `batches` gives, called anew until it gives none: votes in flight may ask for more.

    Parameters
    ----------
    voter : Voter
        Votes.
    batches : callable
        Returns what there is to ask for, by all votes yielded so far.
    size : int
        Rows of every batch, as for `Voter.votes`.

    Yields
    ------
    tuple
        As `Voter.votes`.
    """
    more = True
    while more:
        more = False
        for each in voter.votes(batches(), size=size):
            more = True
            yield each
