"""Soft scores: certificates of mean scores, such as mean softmax probabilities, instead of votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth._arrays import refuse_no_class, shared
from rsmooth.certificates.means import anytime_mean, largest_anytime_mean
from rsmooth.certificates.prediction import hoped_scores, scaled_scores
from rsmooth.certificates.result import Certificates, StoppedCounts
from rsmooth.certificates.scores import UNITS, ScoreKind, probabilities
from rsmooth.certificates.stoppable import Stoppable
from rsmooth.certificates.topclass import classes_of, native_integers
from rsmooth.rule import Interval, MeanInterval  # noqa: TC001  # Fields are read with their types.

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Form
    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]

__all__ = ["SoftScoreCertificates", "SoftScores"]


@dataclass(frozen=True, eq=False, repr=False)
class SoftScoreCertificates(Certificates):
    """The certificates of N inputs from mean scores, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws, no perturbation of input i of norm at most
    ``radius[i]`` changes that class ``prediction[i]`` has the highest mean score. Where ``prediction[i]`` is −1 nothing
    is said.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The class, or −1.
    p1, p2 : ndarray of float64, shape (N,)
        Lower confidence bound of the class's mean score, upper confidence bound of every other's.
    counts : ndarray of int64, shape (N, 2, K + 1)
        For each class the sum of its scores and of their squares, in units of 1 / 65535 and of its square; the last
        class has what the others' scores leave of 1.
    selection : ndarray of int64, shape (N, 2, K + 1) or (N,)
        The sums of separate draws, or the classes that were asked for.

    The others are those of `rsmooth.Certificates`; `order` is NaN.
    """

    @property
    def _kind(self) -> SoftScores:
        return SoftScores()


@dataclass(frozen=True)
class SoftScores(ScoreKind, Stoppable):
    """Mean scores, such as mean softmax probabilities, instead of votes.

    A score counts in whole units of 1 / 65535, rounded down. What is certified is the mean of scores so rounded, which
    are scores as well; their sums and those of their squares are whole numbers, and all that is kept.

    Parameters
    ----------
    scores : {"probabilities", "logits"}
        What the model returns: scores of at least 0 and of sum at most 1, or logits, of which softmax makes them.

    Raises
    ------
    ValueError
        If it is neither.

    Notes
    -----
    The theorem is that of `rsmooth.certificates.betting.certify_scores`, and so are the levels. The bounds on means are
    those of `rsmooth.certificates.means.anytime_mean`, which ask for a mean and a variance alone, and hold for draws
    that are stopped by looking at them.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.certificates.softscores import SoftScores
    >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.25), num_classes=2)
    >>> x = torch.tensor([[0.2, 0.8]])
    >>> smoothed.certify(x, kind=SoftScores("logits"), n=1000, norm=2, seed=0).radius.round(3)
    array([0.076])
    """

    name: ClassVar[str] = "soft-scores"
    as_votes: ClassVar[bool] = True
    counted: ClassVar[str] = "scores"
    interval: ClassVar[Interval | MeanInterval] = "anytime"
    # Sums of squares, those that are hoped for as well, are below 2⁶³.
    most: ClassVar[int] = 2**30

    def tally(self, rows: int, form: Form) -> NDArray[np.int64]:
        """Return sums of nothing, shape (rows, 2, K + 1)."""
        return np.zeros((rows, 2, form.classes + 1), np.int64)

    def add(
        self,
        tally: NDArray[np.int64],
        rows: NDArray[np.int64],
        numbers: NDArray[np.int64],  # noqa: ARG002
        observations: NDArray[np.int64],
    ) -> None:
        """Add the units of observation i and their squares to ``tally[rows[i]]``."""
        np.add.at(tally[:, 0], rows, observations)
        np.add.at(tally[:, 1], rows, observations**2)

    def drawn(self, tally: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many draws each row is of."""
        drawn: NDArray[np.int64] = tally[:, 0].sum(axis=1) // UNITS
        return drawn

    def moved(self, recorded: NDArray[Any], found: NDArray[Any]) -> float:
        """Return by how many votes' worth of scores two tallies differ; 0 is for equal ones alone.

        A vote moves its sums by 2 · 65535 in all. Of the squares, on which the variance rests, the Euclidean norm of
        the scores' deviations from their mean is compared, which a vote moves by at most 65535 and rounding by less:
        it is never moved by more than the scores are.
        """
        if np.array_equal(recorded, found):
            return 0.0
        sums = np.abs(recorded[:, 0] - found[:, 0]).sum() / 2
        norms = np.abs(self._deviations(recorded) - self._deviations(found)).max()
        return max(float(sums), float(norms), np.finfo(float).tiny) / UNITS

    def _deviations(self, tally: NDArray[Any]) -> Floats:
        """Return for each row and class the norm of the scores' deviations from their mean."""
        sums, squares = (tally[:, part].astype(np.float64) for part in (0, 1))
        drawn = np.maximum(self.drawn(tally), 1)[:, None]
        norms: Floats = np.sqrt(np.maximum(squares - sums**2 / drawn, 0.0))
        return norms

    def _impossible(self, tally: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows no scores come to: of a score s in units, s² is from 0 to 65535 s."""
        sums, squares = (tally[:, part].astype(np.float64) for part in (0, 1))
        drawn = np.maximum(self.drawn(tally), 1)[:, None]
        # Whole numbers below 2⁵³ are exact; the bound that is made of them is rounded twice.
        least = sums**2 / drawn * (1 - 2**-50)
        wrong: NDArray[np.bool_] = np.any((sums < 0) | (squares < least) | (squares > sums * UNITS), axis=1)
        return wrong

    def columns(self, name: str, tally: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return a tally as columns of a table."""
        classes = range(tally.shape[2])
        parts = {"sum": tally[:, 0], "square": tally[:, 1]}
        return {f"{name}_{part}_{k}": sums[:, k] for part, sums in parts.items() for k in classes}

    def read(self, name: str, recorded: Any, classes: int, most: int) -> NDArray[Any]:
        """Return the sums that a record holds; refuse what no scores can come to."""
        try:
            sums = np.array(recorded)
        except ValueError:
            sums = np.empty(0)
        if sums.shape != (2, classes + 1) or sums.dtype.kind != "i":
            raise ValueError(f"{name} must have {classes + 1} sums of scores and as many of squares, got {recorded}")
        total = int(sums[0].sum())
        if self._impossible(sums[None])[0] or total % UNITS or total > most * UNITS:
            raise ValueError(f"{name} has sums that no scores come to: {recorded}")
        return sums

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> SoftScoreCertificates:
        """Return what the sums prove.

        Parameters
        ----------
        selection : ndarray of int64, shape (N, 2, K + 1) or (N,)
            Sums of separate draws, of which the largest wins, or classes.
        tally : ndarray of int64, shape (N, 2, K + 1)
            The sums.
        rule : Rule
            How they become certificates; its interval must be "anytime".
        labels, threads
            Not looked at.
        n : int or None
            Refuse sums of another number of draws.

        Returns
        -------
        SoftScoreCertificates
            One a row.

        Raises
        ------
        ValueError
            If the sums are not of whole draws, no scores come to them, or another argument is not as above.
        TypeError
            If they are not integers.
        """
        if rule.interval != self.interval:
            raise ValueError(f'interval must be "{self.interval}" for soft scores, got {rule.interval!r}')
        if selection is None:
            raise ValueError("selection must be classes or sums of separate draws for soft scores, got None")
        counts, chosen = native_integers(tally, "counts"), native_integers(selection, "selection")
        if counts.ndim != 3 or counts.shape[1] != 2 or counts.shape[2] < 3:  # noqa: PLR2004
            raise ValueError(f"counts must have the shape (N, 2, K + 1) with K of at least 2, got {counts.shape}")
        if shared(chosen, counts):
            raise ValueError("selection must be of separate draws, got the memory of counts")
        sums = counts[:, 0, :-1]
        classes = _selected(chosen, counts)
        refuse_no_class("selection", classes, sums.shape[1])
        drawn = self.drawn(counts)
        lost = np.flatnonzero((counts[:, 0].sum(axis=1) != drawn * UNITS) | (drawn != (drawn if n is None else n)))
        if len(lost):
            wanted = "whole draws" if n is None else f"n = {n} draws"
            raise ValueError(
                f"counts[{lost[0]}] must be the sums of {wanted}, got {counts[lost[0], 0].sum() / UNITS:g}"
            )
        wrong = np.flatnonzero(self._impossible(counts))
        if len(wrong):
            raise ValueError(f"counts[{wrong[0]}] must be sums of scores and of their squares, got others")
        p1, p2 = probabilities(lambda level: _bounds(np.asarray(counts), classes, drawn, level), rule)
        radius = rule.radius(p1, p2)
        return SoftScoreCertificates(
            prediction=np.where(radius > 0, classes, -1),
            radius=radius,
            p1=p1,
            p2=p2,
            order=np.full(len(radius), np.nan),
            counts=counts,
            selection=chosen,
            **rule.settings,
            stopped=isinstance(counts, StoppedCounts),
        )

    def best(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return sums of scores that are 1 for the class."""
        return np.array([0]), n * np.array([[[UNITS, 0, 0], [UNITS**2, 0, 0]]])

    def scaled(self, tally: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums of so many draws if they keep coming as they did."""
        return scaled_scores(tally, draws, UNITS)

    def hoped(
        self,
        selection: NDArray[np.int64],
        tally: NDArray[np.int64],
        n: int,
        better: float,
        *,
        labels: NDArray[np.int64] | None = None,  # noqa: ARG002
    ) -> Sequence[NDArray[np.int64]]:
        """Return sums of `n` draws that are better for the class, and worse for every other."""
        return [hoped_scores(tally, _selected(selection, tally), n, better, UNITS)]


def _selected(selection: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the classes that sums of separate draws select, or that are given."""
    chosen = selection[:, 0, :-1].copy() if selection.ndim == 3 else selection  # noqa: PLR2004
    return classes_of(chosen, "selection", counts[:, 0, :-1])


def _bounds(
    counts: NDArray[Any], classes: NDArray[np.int64], drawn: NDArray[np.int64], level: float
) -> tuple[Floats, Floats]:
    """Return the lower bound on each class's mean score and the largest upper bound on another's."""
    n = drawn[:, None]
    own = np.arange(counts.shape[2] - 1) == classes[:, None]
    sums, squares = counts[:, 0, :-1], counts[:, 1, :-1]
    lower = anytime_mean(sums[own] / UNITS, squares[own] / UNITS**2, drawn.astype(np.float64), level)
    # Of 1 less the scores; these are whole numbers.
    missing, others = n * UNITS - sums, (len(counts), counts.shape[2] - 2)
    spread = n * UNITS**2 - 2 * UNITS * sums + squares
    upper = largest_anytime_mean(
        (missing[~own] / UNITS).reshape(others), (spread[~own] / UNITS**2).reshape(others), drawn.astype(float), level
    )
    return lower, upper
