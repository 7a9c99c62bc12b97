"""Votes for the top class: how they are counted, and what the counts prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth import _core
from rsmooth._arrays import shared
from rsmooth._check import integer, worker_count
from rsmooth.certificates.prediction import hoped_votes, scaled_votes
from rsmooth.certificates.result import Certificates, StoppedCounts
from rsmooth.certificates.stoppable import Stoppable
from rsmooth.certificates.votes import Votes
from rsmooth.rule import Rule, holds_when_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, Interval, RunnerUp

__all__ = ["Certificates", "TopClass", "certify_counts"]


def certify_counts(
    counts: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    bound: Bound = "tightest",
    selection: ArrayLike | None = None,
    runner_up: RunnerUp = "second",
    interval: Interval = "clopper-pearson",
    n: int | None = None,
    noise_error: float = 0.0,
    grid: int | None = None,
    threads: int | None = None,
) -> Certificates:
    """Turn vote counts into certificates.

    Parameters
    ----------
    counts : array_like of int, shape (N, K)
        For each input the votes of its K ≥ 2 classes, of any integer type. An array in C order is not copied, and the
        result refers to it.
    mechanism : Mechanism
        The mechanism whose draws were counted.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured.
    dim : int
        The number of coordinates of an input.
    alpha : float
        The failure probability of each certificate, above 0 and below 1.
    bound : {"tightest", "renyi", "neyman-pearson", "hockey-stick", "pure-dp", "pixeldp"}
        How p1 and p2 become a radius: the largest radius of the bounds that hold, or one of those that
        ``mechanism.holding(norm)`` names. All are computed from the same p1 and p2, so that the level is the same.
    selection : array_like of int, shape (N, K) or (N,), optional
        What chose each input's class: counts of *separate* draws, of which the largest wins (the lowest class where
        several are largest), or the classes themselves. `counts` themselves are refused. Without it the class with the
        largest count is chosen, and the confidence bounds are those of selection on the same draws.
    runner_up : {"second", "complement"}
        Whether p2 is the upper bound of the largest other count (or 1 - p1 if that is less), at the price of sharing
        alpha between p1 and p2, or 1 - p1.
    interval : {"clopper-pearson", "anytime"}
        How counts become bounds on probabilities: by `clopper_pearson`, for numbers of draws that were fixed
        beforehand, or by `anytime`, for draws that were stopped at whatever moment (docs/anytime.md).
    n : int, optional
        Refuse rows of another sum: draws that were lost or counted twice.
    noise_error : float
        How far, in total variation, a draw's law may be from the mechanism's, at least 0 and below 1: p1 is that much
        smaller and p2 larger.
    grid : int, optional
        Where given, inputs and draws are multiples of 1 / grid.
    threads : int, optional
        Number of threads; all cores by default. The result does not depend on it.

    Returns
    -------
    Certificates
        The certificates of the N inputs.

    Raises
    ------
    ValueError
        If a count is negative, a row's sum is 0, above 2**53 or not `n`, the shapes do not fit, a selected class does
        not exist, `selection` is or shares memory with `counts`, `counts` are `StoppedCounts` and `interval` does not
        hold for them, or another argument is not as above.
    TypeError
        If `counts` or `selection` are not integers, or `mechanism` is no Mechanism.

    Notes
    -----
    The levels of the confidence bounds are: with `selection`, alpha/2 for each of p1 and p2 ("second") or alpha for p1
    ("complement"); without it, alpha/(2K) for p1 and alpha/4 for p2, or alpha/2 for p1. ``docs/radii.md`` proves them,
    ``docs/anytime.md`` for every n at once.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> certificates = certify_counts([[9, 990, 1], [400, 350, 250]], Gaussian(0.25), norm=2, dim=3072,
    ...                               selection=[1, 0])
    >>> certificates.prediction
    array([ 1, -1])
    >>> certificates.radius.round(4)
    array([0.493, 0.   ])
    """
    rule = Rule(
        mechanism,
        norm=norm,
        dim=dim,
        alpha=alpha,
        bound=bound,
        runner_up=runner_up,
        interval=interval,
        grid=grid,
        noise_error=noise_error,
    )
    return certify_under(rule, counts, selection, n=n, threads=threads)


def certify_under(
    rule: Rule, counts: ArrayLike, selection: ArrayLike | None, *, n: int | None = None, threads: int | None = None
) -> Certificates:
    """Turn vote counts into certificates as `rule` says; the other arguments are those of `certify_counts`."""
    votes = votes_of(counts, rule.interval)
    n = None if n is None else integer("n", n, 1, 2**53)
    threads = worker_count(threads)
    stopped, rows = isinstance(votes, StoppedCounts), len(votes)
    chosen, prediction = None, np.empty(rows, np.int64)
    if selection is not None:
        chosen = native_integers(selection, "selection")
        prediction = classes_of(chosen, "selection", votes, hint="; leave it out to select by the same draws")
    radius, p1, p2, order = (np.empty(rows) for _ in range(4))
    rule.apply(np.asarray(votes), prediction, radius, p1, p2, order, separate=chosen is not None, n=n, threads=threads)
    return Certificates(
        prediction=prediction,
        radius=radius,
        p1=p1,
        p2=p2,
        order=order,
        counts=votes,
        selection=chosen,
        **rule.settings,
        stopped=stopped,
    )


@dataclass(frozen=True)
class TopClass(Votes, Stoppable):
    """Votes for the class with the highest score: the kind of certificate that `certify_counts` gives.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.kind import Form
    >>> from rsmooth.certificates.topclass import TopClass
    >>> kind = TopClass()
    >>> tally = kind.tally(2, Form(classes=3))
    >>> kind.add(tally, np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([2, 2, 0]))
    >>> tally
    array([[0, 0, 2],
           [1, 0, 0]])
    """

    name: ClassVar[str] = "top-class"
    as_votes: ClassVar[bool] = True

    def certify(
        self,
        selection: NDArray[np.int64] | None,
        tally: NDArray[np.int64],
        rule: Rule,
        *,
        labels: NDArray[np.int64] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,
    ) -> Certificates:
        """Return what the tallies prove.

        Parameters
        ----------
        selection : ndarray of int64, shape (N, K) or (N,), or None
            What selected each row's class, as for `certify_counts`.
        tally : ndarray of int64, shape (N, K)
            The votes.
        rule : Rule
            How they become certificates.
        labels
            Not looked at: the class is the one that `selection` says.
        n, threads
            As for `certify_counts`.

        Returns
        -------
        Certificates
            One a row.

        Raises
        ------
        ValueError, TypeError
            As `certify_counts`.
        """
        return certify_under(rule, tally, selection, n=n, threads=threads)

    def best(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return votes that are all for the class."""
        return np.array([0]), np.array([[n, 0]])

    def scaled(self, tally: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the votes of so many draws if they keep coming as they did."""
        return scaled_votes(tally, draws)

    def hoped(
        self,
        selection: NDArray[np.int64],
        tally: NDArray[np.int64],
        n: int,
        better: float,
        *,
        labels: NDArray[np.int64] | None = None,  # noqa: ARG002
    ) -> Sequence[NDArray[np.int64]]:
        """Return votes of `n` draws that are better for the class, and worse for its runner-up."""
        return hoped_votes(tally, classes_of(selection, "selection", tally), n, better)


def classes_of(
    chosen: NDArray[Any], name: str, votes: NDArray[Any], *, counts: bool = True, hint: str = ""
) -> NDArray[np.int64]:
    """Return the class that each row of votes is asked about, an array that may be changed.

    Parameters
    ----------
    chosen : ndarray of integers, shape (...) or (..., K)
        The classes, or counts of separate draws, of which the largest wins (the lowest class where several are).
    name : str
        What messages call it.
    votes : ndarray of integers, shape (..., K)
        The counts that test the classes.
    counts : bool
        Whether `chosen` may be counts.
    hint : str
        What else to say where `chosen` are the votes themselves.

    Raises
    ------
    ValueError
        If `chosen` has another shape, or shares memory with `votes`.
    """
    if shared(chosen, votes):
        raise ValueError(f"{name} must be of separate draws, got the memory of counts{hint}")
    classes = votes.shape[:-1]
    if counts and chosen.shape == votes.shape:
        table = np.asarray(chosen).reshape(-1, votes.shape[-1])
        found = np.empty(len(table), np.int64)
        _core.top_classes(table, found)
        return found.reshape(classes)
    if chosen.shape != classes:
        allowed = f"{votes.shape} or {classes}" if counts else f"{classes}"
        raise ValueError(f"{name} must have the shape {allowed}, got {chosen.shape}")
    return np.array(chosen, np.int64)


def votes_of(counts: ArrayLike, interval: str) -> NDArray[Any]:
    """Return counts as the core takes them, after refusing those for which `interval` does not hold."""
    votes = native_integers(counts, "counts")
    if votes.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"counts must have the shape (N, K), got {votes.shape}")
    refuse_stopped(votes, interval)
    return votes


def refuse_stopped(votes: NDArray[Any], interval: str) -> None:
    """Refuse counts of draws that were stopped by their votes under an interval that holds for a fixed number alone."""
    if isinstance(votes, StoppedCounts) and not holds_when_stopped(interval):
        raise ValueError(
            "counts must be of numbers of draws that were fixed beforehand, got draws that were stopped by their "
            f"votes, for which the interval {interval!r} does not hold"
        )


def native_integers(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return integers as aligned numbers of the machine's byte order, without a copy where they are that."""
    array = np.asanyarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if not isinstance(array, StoppedCounts):
        array = np.asarray(array)
    return np.require(array, array.dtype.newbyteorder("="), "A")
