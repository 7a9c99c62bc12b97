"""What a kind of certificate is: what is counted of a model's outputs, and what the counts prove."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from rsmooth._arrays import refuse_no_class
from rsmooth._check import integer
from rsmooth.rule import Enumeration, Interval, MeanInterval  # noqa: TC001  # Fields are read with their types.

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.certificates.result import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Rule

__all__ = ["Answer", "Form", "Kind"]

Answer = Literal["class", "map", "number"]
"""What a model answers a row with: see `Kind`."""


class Form(NamedTuple):
    """What the observations are like that a tally is of."""

    classes: int = 0
    """The number K of classes; 0 where the model answers with numbers."""
    draws: int = 0
    """The most observations of a row."""
    shape: tuple[int, ...] = ()
    """The shape of an observation."""


class Kind(ABC):
    """A statistic of a model's outputs over noisy copies, and the claim that its tallies prove.

    A kind is a frozen dataclass whose fields are its settings (`rsmooth._settings.setting`), listed in
    ``rsmooth.certificates.KINDS``. Models, runs, verification, tables and figures know no more of certificates than
    this: the model's answers become observations, observations a tally for each example and purpose, and tallies
    become `rsmooth.Certificates`.

    Attributes
    ----------
    name : str
        What commands and runs call it.
    answer : {"class", "map", "number"}
        What the model answers a row with: scores (K) or a label; a map of them, ``(K, *S)`` or ``(*S)``; or a number.
    counted : str
        What the tallies are of, in words; kinds of the same have the same tallies.
    interval : str
        How tallies become bounds where nobody says.
    takes_labels : bool
        Whether the examples' own labels are certified where they are known, rather than what separate draws select.
    stepwise : bool
        Whether rounding leaves most observations as they are, so that one it moves is worth a warning.
    as_votes : bool
        Whether the radius of a certificate is what its bound gives for votes of the same p1 and p2.
    most : int
        The most draws that a tally holds.
    reads : frozenset of str
        The settings that say how the model's outputs are read, which no claim depends on.
    faults : dict of int to str
        What is wrong with an observation, by the negative numbers that `observe` gives.
    """

    name: ClassVar[str]
    answer: ClassVar[Answer] = "class"
    counted: ClassVar[str] = "votes"
    interval: ClassVar[Interval | MeanInterval | Enumeration] = "clopper-pearson"
    takes_labels: ClassVar[bool] = False
    stepwise: ClassVar[bool] = True
    as_votes: ClassVar[bool] = False
    most: ClassVar[int] = 2**53
    reads: ClassVar[frozenset[str]] = frozenset()
    faults: ClassVar[dict[int, str]] = {-1: "is not finite"}

    @property
    def text(self) -> str:
        """The kind and its settings in words, as ``run.json`` has them: ``top-k k=3``."""
        return self._text(but=frozenset())

    @property
    def claim(self) -> str:
        """The kind and those of its settings that the claim depends on, as `rsmooth.Certificates.kind` has them."""
        return self._text(but=self.reads)

    def _text(self, *, but: frozenset[str]) -> str:
        names = (each.name for each in fields(self) if each.name not in but)  # type: ignore[arg-type]
        return " ".join((self.name, *(f"{name}={getattr(self, name)}" for name in names)))

    def copies(
        self,
        mechanism: Mechanism,
        example: Any,
        out: Any,
        *,
        seed: np.random.SeedSequence,
        first: int,
        grid: int | None,
    ) -> None:
        """Write copies of an example, those that the model is asked about: with the mechanism's noise.

        Parameters
        ----------
        mechanism : Mechanism
            The mechanism.
        example : array or torch.Tensor, shape ``(*S)``
            The example, as for `rsmooth.Mechanism.perturb`.
        out : array or torch.Tensor, shape ``(count, *S)``
            Where they go.
        seed : numpy.random.SeedSequence
            The example's stream (`rsmooth._streams.example_stream`).
        first : int
            The number of the first copy.
        grid : int or None
            Steps in 1, of exact noise.
        """
        mechanism.perturb(example[None], copies=len(out), seed=seed, first=first, grid=grid, out=out[None])

    def noise_error(self, mechanism: Mechanism, dim: int, grid: int | None) -> float:
        """Return what certificates pay for the distance of a copy from its law, in total variation."""
        return 0.0 if grid is None else mechanism.noise_error(dim, grid)

    def settled(self, *, n0: int | None, n: int | None, alpha: float | None) -> tuple[int, int, float]:
        """Return the draws that select and that test, and the level: what is asked for, or where it is None the usual.

        Raises
        ------
        ValueError
            If a number of draws is below 1 or above `most`, or another is asked for than the kind has.
        """
        return (
            100 if n0 is None else integer("n0", n0, 1, self.most),
            100_000 if n is None else integer("n", n, 1, self.most),
            0.001 if alpha is None else alpha,
        )

    @abstractmethod
    def observe(self, output: Any) -> Any:
        """Return what is observed of each row of a model's output.

        Parameters
        ----------
        output : torch.Tensor, shape (B, …)
            What `answer` says, on any device.

        Returns
        -------
        torch.Tensor, shape (B, …)
            On the same device. Where nothing can be observed of a row, its first entry is a key of `faults`.

        Raises
        ------
        ValueError
            If the output has another shape.
        """

    def faulty(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """Return what is wrong with each observation: a key of `faults`, or 0."""
        first = observations.reshape(len(observations), -1)[:, 0]
        codes: NDArray[np.int64] = np.minimum(first, 0)
        return codes

    def apart(self, before: Any, after: Any) -> Any:
        """Return by what share of a vote, from 0 to 1, each row's observations differ: tensors, as `observe` gives."""
        return (before != after).reshape(len(before), -1).double().mean(dim=1)

    @abstractmethod
    def tally(self, rows: int, form: Form) -> NDArray[Any]:
        """Return tallies of `rows` rows before anything was observed."""

    @abstractmethod
    def add(
        self, tally: NDArray[Any], rows: NDArray[np.int64], numbers: NDArray[np.int64], observations: NDArray[Any]
    ) -> None:
        """Add observation i, which is without fault, to row ``rows[i]`` of `tally`, which is changed.

        It is of the row's draw ``numbers[i]``. A run that goes on may come by them in any order, so what a tally says
        of their order follows these.
        """

    @abstractmethod
    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,
        n: int | None = None,
        threads: int | None = None,
    ) -> Certificates:
        """Return the certificates that the tallies prove.

        Parameters
        ----------
        selection : ndarray or None
            Tallies of separate draws.
        tally : ndarray
            The tallies, a row an example.
        rule : Rule
            How they become certificates.
        labels : ndarray or None
            The examples' labels, for a kind that `takes_labels`.
        n : int or None
            Refuse tallies of another number of draws.
        threads : int or None
            As for `rsmooth.certify_counts`.
        """

    def check(self, rule: Rule, form: Form) -> None:
        """Refuse a rule or a number of classes for which there are no certificates of this kind.

        Raises
        ------
        ValueError
            If `certify` would refuse it of any tallies; the message is the same.
        """
        nothing = self.tally(0, form)
        self.certify(nothing.copy(), nothing, rule)

    def labels_of(self, labels: ArrayLike, rows: int, classes: int) -> NDArray[Any]:
        """Return examples' labels as `certify` takes them.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The labels.
        rows, classes : int
            How many examples and classes there are.

        Raises
        ------
        ValueError
            If a label is no class, there are more or fewer than examples, or the kind has no use for labels.
        TypeError
            If they are not integers.
        """
        if not self.takes_labels:
            raise ValueError(f"labels must be None for kind {self.name!r}, which certifies what draws select")
        known = np.asarray(labels)
        if known.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got dtype {known.dtype}")
        if known.shape != (rows,):
            raise ValueError(f"labels must have the shape {(rows,)}, got {known.shape}")
        refuse_no_class("labels", known, classes)
        return known

    def drawn(self, tally: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many draws each row of a tally is of."""
        drawn: NDArray[np.int64] = tally.sum(axis=tuple(range(1, tally.ndim)))
        return drawn

    def right(self, prediction: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which predictions are right of examples with these labels; an abstention is not."""
        return np.asarray(prediction == labels)

    def moved(self, recorded: NDArray[Any], found: NDArray[Any]) -> float:
        """Return by how many votes two tallies of as many draws differ; 0 is for equal ones alone."""
        return float(np.abs(recorded - found).sum()) / 2

    def columns(self, name: str, tally: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return a tally as columns of a table, whose names begin with `name`; none where it would be too many."""
        return {f"{name}_{k}": tally[:, k] for k in range(tally.shape[1])}

    def write(self, tally: NDArray[Any]) -> Any:
        """Return the tally of a row as a record holds it, in terms of JSON."""
        return tally.tolist()

    def read(self, name: str, recorded: Any, classes: int, most: int) -> NDArray[Any]:
        """Return the tally of a row that a record holds.

        Parameters
        ----------
        name : str
            What messages call the record.
        recorded : object
            What JSON was read to.
        classes : int
            The number of the model's classes.
        most : int
            The most draws that it can be of.

        Raises
        ------
        ValueError
            If no run can have written it.
        """
        whole = isinstance(recorded, list) and all(type(each) is int and 0 <= each <= most for each in recorded)
        if not whole or len(recorded) != classes:
            raise ValueError(f"{name} must have {classes} numbers of votes, got {recorded}")
        return np.array(recorded)
