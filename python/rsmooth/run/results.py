"""What a certification run has found: its records as arrays, and what their counts certify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth.certificates.topclass import Certificates, certify_counts
from rsmooth.mechanisms import MECHANISMS
from rsmooth.run.store import check_types, read_examples, read_settings, seed_of
from rsmooth.sequential import OUTCOMES, TESTS, SequentialTest, least_probability

if TYPE_CHECKING:
    from pathlib import Path
    from types import UnionType

    from numpy.typing import NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.store import Settings

__all__ = ["Rule", "Run", "read_run"]

# What the record of an example has.
RECORD: dict[str, type | UnionType] = {
    "index": int,
    "label": int,
    "image": str,
    "selection": list,
    "counts": list,
    "prediction": int,
    "radius": float,
    "p1": float,
    "p2": float,
    "seconds": float,
}


@dataclass(frozen=True)
class Rule:
    """How the votes of a run become certificates.

    Attributes
    ----------
    mechanism : Gaussian, Exponential or Laplace
        The noise.
    norm, dim, alpha, bound, runner_up
        As for `rsmooth.certify_counts`.
    n : int
        Draws of an example that test its class; at most, with `radius`.
    radius : float or None
        The one radius that a sequential test certifies, or None.
    test : str
        That test's name, in `rsmooth.sequential.TESTS`.

    Raises
    ------
    ValueError
        If `radius` cannot be certified with `n` draws.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.run.results import Rule
    >>> rule = Rule(Gaussian(0.5), norm=2, dim=64, alpha=0.001, bound="neyman-pearson", n=1000, radius=0.25)
    >>> rule.certificates([[0, 50], [30, 20]], [[1, 59], [6, 4]]).radius
    array([0.25, 0.  ])
    """

    mechanism: Mechanism
    norm: float
    dim: int
    alpha: float
    bound: str
    n: int
    runner_up: str = "second"
    radius: float | None = None
    test: str | None = "betting"

    def __post_init__(self) -> None:
        """Check the values."""
        if self.radius is not None and self.test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, got {self.test!r}")
        none = np.empty((0, 2), np.int64)
        self.certificates(none, none)

    @cached_property
    def sequential_test(self) -> SequentialTest | None:
        """The test of `radius`; None where there is none."""
        if self.radius is None or self.test is None:
            return None
        threshold = least_probability(self.mechanism, self.radius, norm=self.norm, dim=self.dim, bound=self.bound)
        return TESTS[self.test](threshold, self.alpha, self.n)

    def certificates(self, selection: Any, counts: Any) -> Certificates:
        """Certify examples.

        Parameters
        ----------
        selection, counts : array_like of int, shape (N, K)
            Votes of the draws that select and that test. Those of a sequential test are all up to when it stopped.

        Returns
        -------
        Certificates
            With `radius`: that radius where it is certified, p1 the probability that the test rejects and p2 the rest;
            elsewhere an abstention, about which nothing is said (p1 = 0, p2 = 1).
        """
        return self._judged(np.asarray(selection), np.asarray(counts))[0]

    def _judged(self, selection: NDArray[Any], counts: NDArray[Any]) -> tuple[Certificates, NDArray[np.int8] | None]:
        """Return the certificates and what the test decided; None where there is none."""
        test = self.sequential_test
        found = certify_counts(
            counts,
            self.mechanism,
            norm=self.norm,
            dim=self.dim,
            alpha=self.alpha,
            bound=self.bound,
            selection=selection,
            runner_up=self.runner_up,  # type: ignore[arg-type]
        )
        if test is None or self.radius is None:
            return found, None
        top = np.argmax(selection, axis=1)
        votes = np.take_along_axis(counts, top[:, None], axis=1)[:, 0].astype(np.int64)
        decisions = test.decide(votes, counts.sum(axis=1, dtype=np.int64))
        certified = decisions > 0
        p1 = np.where(certified, test.threshold, 0.0)
        certificates = replace(
            found,
            prediction=np.where(certified, top, -1),
            radius=np.where(certified, self.radius, 0.0),
            p1=p1,
            p2=1 - p1,
            order=np.full(len(found), np.nan),
            runner_up="complement",
        )
        return certificates, decisions

    def records(self, selection: Any, counts: Any) -> list[dict[str, Any]]:
        """Return what a record says of each example's certificate.

        Parameters
        ----------
        selection, counts
            As for `certificates`.

        Returns
        -------
        list of dict
            ``prediction``, ``radius``, ``p1`` and ``p2``; with `radius`, also the test's ``outcome``.
        """
        found, decisions = self._judged(np.asarray(selection), np.asarray(counts))
        names = ("prediction", "radius", "p1", "p2")
        columns = {name: getattr(found, name).tolist() for name in names}
        if decisions is not None:
            columns["outcome"] = [OUTCOMES[each] for each in decisions.tolist()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, eq=False)
class Run:
    """A run's folder, read.

    Attributes
    ----------
    folder : pathlib.Path
        Where it is.
    settings, told, build : dict
        What it was asked for, where its model and data came from, and with which versions it was begun.
    seed : numpy.random.SeedSequence
        Names its streams.
    records : dict
        The finished examples' records by index.
    damaged : list of str
        Where lines are that cannot be read.
    """

    folder: Path
    settings: Settings
    told: Settings
    build: Settings
    seed: np.random.SeedSequence
    records: dict[int, dict[str, Any]]
    damaged: list[str]

    @property
    def indices(self) -> range:
        """The examples that were asked for."""
        return range(0, self.settings["max"], self.settings["skip"])

    @cached_property
    def rule(self) -> Rule:
        """How its counts become its certificates."""
        settings = self.settings
        names = ("dim", "alpha", "bound", "n", "runner_up", "radius", "test")
        if settings["mechanism"] not in MECHANISMS:
            raise ValueError(f"mechanism must be one of {', '.join(MECHANISMS)}, got {settings['mechanism']!r}")
        mechanism = MECHANISMS[settings["mechanism"]](settings["sigma"])
        return Rule(mechanism, norm=float(settings["norm"]), **{name: settings[name] for name in names})

    def column(self, name: str) -> NDArray[Any]:
        """Return what all records have under a name, in order of their indices: numbers, votes or text."""
        return np.array([record[name] for record in self.records.values()])

    def certificates(
        self,
        *,
        norm: float | None = None,
        alpha: float | None = None,
        bound: str | None = None,
        runner_up: str | None = None,
    ) -> Certificates:
        """Certify the finished examples from their counts, as the run did or otherwise.

        Parameters
        ----------
        norm, alpha, bound, runner_up
            As for `rsmooth.certify_counts`; None is what the run was asked for.

        Returns
        -------
        Certificates
            In order of the examples' indices.

        Raises
        ------
        ValueError
            If the run certified one radius, whose counts were stopped by its own test and tell nothing else, or an
            argument is not allowed.
        """
        rule = self.rule
        given = {"norm": norm, "alpha": alpha, "bound": bound, "runner_up": runner_up}
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None and value != getattr(rule, name)
        }
        if changes and rule.radius is not None:
            name, value = next(iter(changes.items()))
            raise ValueError(
                f"{self.folder} certified the radius {rule.radius:g} alone: its draws stopped when that was decided, "
                f"and {name} cannot be {value!r} instead of {getattr(rule, name)!r}"
            )
        return replace(
            replace(rule, **changes).certificates(self.column("selection"), self.column("counts")), seed=self.seed
        )

    def measures(self, certificates: Certificates) -> dict[str, Any]:
        """Return what certificates of the run come to, as JSON can hold it.

        Parameters
        ----------
        certificates : Certificates
            What `certificates` returned.

        Returns
        -------
        dict
            The settings, and over all finished examples, abstentions counted as errors: ``accuracy`` (of the vote),
            ``radius_at_half`` (at a certified accuracy of 50%), ``average_certified_radius``, and the certified
            accuracy with its 95% interval at every radius where it changes.
        """
        labels, settings, found = self.column("label"), self.settings, certificates
        radii = found.steps(labels)
        lower, upper = found.certified_accuracy_interval(labels, radii)
        return {
            "run": str(self.folder),
            "mechanism": found.mechanism.name,
            "sigma": found.mechanism.parameter,
            "norm": "inf" if np.isinf(found.norm) else f"{found.norm:g}",
            "bound": found.bound,
            "runner_up": found.runner_up,
            "alpha": found.alpha,
            "n0": settings["n0"],
            "n": settings["n"],
            "asked_radius": settings["radius"],
            "examples": len(found),
            "asked_examples": len(self.indices),
            "abstained": int((found.prediction < 0).sum()),
            "accuracy": float(found.certified_accuracy(labels, 0.0)),
            "radius_at_half": found.radius_at(labels, 0.5),
            "average_certified_radius": found.average_radius(labels),
            "radii": radii.tolist(),
            "certified_accuracy": found.certified_accuracy(labels, radii).tolist(),
            "lower": lower.tolist(),
            "upper": upper.tolist(),
        }

    @property
    def missing(self) -> int:
        """How many of the examples that were asked for are not finished."""
        return len(self.indices) - len(self.records)

    def summary(self) -> str:
        """Return a line about how far it is, for people."""
        damaged = f", {len(self.damaged)} damaged lines" if self.damaged else ""
        return f"{self.folder}: {len(self.records):,} of {len(self.indices):,} examples finished{damaged}"


def read_run(folder: Path) -> Run:
    """Read a run's folder, finished or not.

    Parameters
    ----------
    folder : pathlib.Path
        What `rsmooth.run.certify.certify` wrote.

    Returns
    -------
    Run
        Its settings and the records of its finished examples.

    Raises
    ------
    ValueError
        If it holds no run, none of whose examples is finished, or its settings are damaged.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.run.results import read_run
    >>> run = read_run(Path("run"))  # doctest: +SKIP
    >>> run.certificates(bound="neyman-pearson").radius  # doctest: +SKIP
    """
    kept = read_settings(folder)
    if kept is None:
        raise ValueError(f"{folder} holds no run: it has no run.json")
    records, damaged = read_examples(folder)
    if not records:
        raise ValueError(f"{folder} holds no finished example")
    run = Run(folder, kept["settings"], kept["told"], kept["build"], seed_of(kept["seed"]), records, damaged)
    for index, record in records.items():
        _check(run, index, record)
    return run


def _check(run: Run, index: int, record: dict[str, Any]) -> None:
    """Refuse a record that the run cannot have written."""
    name, settings = f"{run.folder}: the record of example {index}", run.settings
    check_types(name, record, RECORD if settings["radius"] is None else {**RECORD, "outcome": str})
    if index not in run.indices:
        raise ValueError(f"{name} is of an example that was not asked for")
    drawn = []
    for votes in ("selection", "counts"):
        whole = all(type(each) is int and 0 <= each <= settings["n0"] + settings["n"] for each in record[votes])
        if not whole or len(record[votes]) != settings["num_classes"]:
            raise ValueError(f"{name} must have {settings['num_classes']} numbers of votes, got {record[votes]}")
        drawn.append(sum(record[votes]))
    tested = settings["n"]
    if settings["radius"] is not None and record["outcome"] != OUTCOMES[0]:
        tested = min(max(drawn[1], 1), tested)
    if drawn != [settings["n0"], tested]:
        raise ValueError(
            f"{name} has {drawn[0]:,} and {drawn[1]:,} votes where {settings['n0']:,} and {tested:,} were drawn"
        )
