"""What a certification run has found: its records as arrays, and what their counts certify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._settings import check_types, given
from rsmooth.certificates import refuse_other_counts
from rsmooth.io.packed import unpacked
from rsmooth.run.rule import RunRule, rule_of
from rsmooth.run.spec import read_head
from rsmooth.run.store import read_examples

if TYPE_CHECKING:
    from pathlib import Path
    from types import UnionType

    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Kind
    from rsmooth.certificates.result import Certificates
    from rsmooth.run.spec import Head, Spec

__all__ = ["Run", "read_run"]

# What the record of an example has.
RECORD: dict[str, type | UnionType] = {
    "index": int,
    "label": int | float | dict,
    "image": str,
    "selection": list | dict,
    "counts": list | dict,
    "prediction": int | float | dict | None,
    "radius": float,
    "p1": float | None,
    "p2": float | None,
    "seconds": float,
}


# What labels and predictions are, by what the model answers with; maps are packed.
ANSWERS: dict[str, dict[str, type | UnionType]] = {
    "class": {"label": int, "prediction": int},
    "number": {"label": float, "prediction": float | None},
    "map": {"label": dict, "prediction": dict},
}


@dataclass(frozen=True, eq=False)
class Run:
    """A run's folder, read.

    Attributes
    ----------
    folder : pathlib.Path
        Where it is.
    head : Head
        What it was asked for, of what model and data, and from which seed.
    records : dict
        The finished examples' records by index.
    arrays : dict
        Of each, by its entry, the arrays that it holds: tallies, and maps.
    damaged : list of str
        Where lines are that cannot be read.
    trusted : str or None
        The mechanism, where that is code and may be imported.
    """

    folder: Path
    head: Head
    records: dict[int, dict[str, Any]]
    arrays: dict[int, dict[str, NDArray[Any]]]
    damaged: list[str]
    trusted: str | None = None

    @property
    def spec(self) -> Spec:
        """What it was asked for."""
        return self.head.spec

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, as ``run.json`` has them."""
        return self.head.settings

    @property
    def seed(self) -> np.random.SeedSequence:
        """Names its streams."""
        return self.head.seed

    @property
    def indices(self) -> range:
        """The examples that were asked for."""
        return range(0, self.settings["max"], self.spec.skip)

    @cached_property
    def rule(self) -> RunRule:
        """How its counts become its certificates."""
        name, subject = self.spec.mechanism, self.head.subject
        if ":" in name and name != self.trusted:
            raise ValueError(
                f"{self.folder} names code for mechanism, {name!r}: untrusted runs may not import code; to run it, "
                "give it with --mechanism"
            )
        return rule_of(self.spec, dim=subject.dim, num_classes=subject.num_classes, allow_code=True)

    def column(self, name: str) -> NDArray[Any]:
        """Return what all records have under a name, in order of their indices: numbers, tallies, maps or text."""
        return np.array([self.entry(index, name) for index in self.records])

    def entry(self, index: int, name: str) -> Any:
        """Return what the record of an example has under a name: a number, text, or an array."""
        return self.arrays[index].get(name, self.records[index][name])

    @property
    def draws(self) -> NDArray[np.int64]:
        """How many draws each finished example took, those that select with them, whether or not a claim needs them."""
        selection, counts = (self.spec.kind.drawn(self.column(name)) for name in ("selection", "counts"))
        drawn: NDArray[np.int64] = selection + counts
        return drawn

    def certificates(
        self,
        *,
        norm: float | None = None,
        alpha: float | None = None,
        bound: str | None = None,
        runner_up: str | None = None,
        interval: str | None = None,
        kind: Kind | None = None,
    ) -> Certificates:
        """Certify the finished examples from their counts, as the run did or otherwise.

        Parameters
        ----------
        norm, alpha, bound, runner_up, interval
            As for `rsmooth.certify_counts`; None is what the run was asked for.
        kind : Kind or None
            What to certify by the same counts; None is what the run was asked for. Votes serve the top class and any
            top k.

        Returns
        -------
        Certificates
            In order of the examples' indices.

        Raises
        ------
        ValueError
            If an argument is not allowed, as an `interval` that does not hold for draws that were stopped, or a `kind`
            that counts something else.
        """
        changes = given(norm=norm, alpha=alpha, bound=bound, runner_up=runner_up, interval=interval, kind=kind)
        if kind is not None:
            refuse_other_counts(kind, self.rule.kind.counted, self.folder)
        tallies = self.column("selection"), self.column("counts")
        found = replace(self.rule, **changes).certificates(*tallies, self.column("label"))
        return replace(found, seed=self.seed, indices=np.array(list(self.records)))

    @property
    def missing(self) -> int:
        """How many of the examples that were asked for are not finished."""
        return len(self.indices) - len(self.records)

    def summary(self) -> str:
        """Return a line about how far it is, for people."""
        damaged = f", damaged lines: {len(self.damaged):,}" if self.damaged else ""
        return f"{self.folder}: {len(self.records):,} of {len(self.indices):,} examples finished{damaged}"


def read_run(folder: Path, *, mechanism: str | None = None) -> Run:
    """Read a run's folder, finished or not.

    Parameters
    ----------
    folder : pathlib.Path
        What `rsmooth.run.certify.certify` wrote.
    mechanism : str or None
        The run's mechanism, where that is code (``package.module:name``) and may be imported.

    Returns
    -------
    Run
        Its settings and the records of its finished examples.

    Raises
    ------
    ValueError
        If it holds no run, or one with no finished example, its settings are damaged, or a record cannot be its own.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.run.results import read_run
    >>> run = read_run(Path("run"))  # doctest: +SKIP
    >>> run.certificates(bound="neyman-pearson").radius  # doctest: +SKIP
    """
    head = read_head(folder)
    if head is None:
        raise ValueError(f"{folder} holds no run: it has no run.json")
    records, damaged = read_examples(folder, head.digest)
    if not records:
        raise ValueError(f"{folder} holds no finished example")
    run = Run(folder, head, records, {}, damaged, mechanism)
    for index, record in records.items():
        run.arrays[index] = _arrays(run, index, record)
    return run


def _arrays(run: Run, index: int, record: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a record; refuse one that the run cannot have written."""
    name, spec, classes = f"{run.folder}: the record of example {index}", run.spec, run.head.subject.num_classes
    check_types(name, record, RECORD | ANSWERS[spec.kind.answer])
    if index not in run.indices:
        raise ValueError(f"{name} is of an example that was not asked for")
    tallies = {
        each: spec.kind.read(f"{name}: {each}", record[each], classes, spec.n0 + spec.n)
        for each in ("selection", "counts")
    }
    drawn = [int(spec.kind.drawn(tally[None])[0]) for tally in tallies.values()]
    tested = min(max(drawn[1], 1), spec.n) if spec.stops else spec.n
    if drawn != [spec.n0, tested]:
        raise ValueError(f"{name} has {drawn[0]:,} and {drawn[1]:,} votes where {spec.n0:,} and {tested:,} were drawn")
    maps = {
        each: unpacked(f"{name}: {each}", record[each])
        for each, kind in ANSWERS[spec.kind.answer].items()
        if kind is dict
    }
    found = tallies | maps
    first = next(iter(run.arrays.values()), found)
    for each in maps and found:
        if found[each].shape != first[each].shape:
            raise ValueError(
                f"{name} has {each} of shape {found[each].shape}, those before it are of {first[each].shape}"
            )
    if spec.kind.answer != "number":
        _refuse_no_classes(name, np.asarray(found.get("label", record["label"])), tallies["counts"], classes, maps)
    return found


def _refuse_no_classes(name: str, label: NDArray[Any], counts: NDArray[Any], classes: int, maps: Any) -> None:
    """Refuse a label that is no class, or no map of classes of the model's shape, of which −1 counts neither way."""
    shape, least = (counts.shape[:-1], -1) if maps else ((), 0)
    if label.shape != shape or label.dtype.kind != "i" or not (least <= label.min() and label.max() < classes):
        what = f"a map of the shape {shape} with classes" if maps else "a class"
        got = f"{label.dtype} of shape {label.shape}" if maps else label
        raise ValueError(f"{name} must have for a label {what} from {least} to {classes - 1}, got {got}")
