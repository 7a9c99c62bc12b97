"""Scores: what counts of them, and what the kinds of certificates share that are of mean scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth._arrays import shared
from rsmooth._settings import check_fields, setting
from rsmooth.certificates.eachdraw import EachDraw
from rsmooth.certificates.kind import Kind
from rsmooth.certificates.topclass import native_integers, refuse_stopped
from rsmooth.io.packed import unpacked
from rsmooth.rule import Interval, MeanInterval  # noqa: TC001  # Fields are read with their types.

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Form
    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]

__all__ = ["SLACK", "UNITS", "EachScore", "ScoreKind", "probabilities", "selected"]

# What the parts of 1 are that scores are counted in, so that a score fits into two bytes.
UNITS = 2**16 - 1

# Rows of scores are normalised where single precision makes their sum exceed 1 by no more than this.
SLACK = 1e-3

# What a model may return.
SCORES = ("probabilities", "logits")

HINT = ' (of logits, softmax makes scores: SoftScores("logits"), --scores logits)'


@dataclass(frozen=True)
class ScoreKind(Kind):
    """What kinds share whose observations are scores.

    A score counts in whole units of 1 / 65535, rounded down. What is certified is the mean of scores so rounded, which
    are scores as well.

    Parameters
    ----------
    scores : {"probabilities", "logits"}
        What the model returns: scores of at least 0 and of sum at most 1, or logits, of which softmax makes them.

    Raises
    ------
    ValueError
        If it is neither.
    """

    stepwise: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset({"scores"})
    faults: ClassVar[dict[int, str]] = {
        -1: "is not finite",
        -2: f"sums to more than 1{HINT}",
        -3: f"is outside [0, 1]{HINT}",
    }
    scores: str = setting(
        f"What the model returns: {' or '.join(SCORES)}, of which softmax is taken.", default=SCORES[0]
    )

    def __post_init__(self) -> None:
        """Check the setting."""
        check_fields(self)
        if self.scores not in SCORES:
            raise ValueError(f"scores must be {' or '.join(SCORES)}, got {self.scores!r}")

    def observe(self, output: Any) -> Any:
        """Return each row's scores in units, and what they leave of 1.

        Parameters
        ----------
        output : torch.Tensor, shape (B, K)
            Scores or logits, on any device.

        Returns
        -------
        torch.Tensor of int64, shape (B, K + 1)
            Rows of sum 65535.

        Raises
        ------
        ValueError
            If the output has another shape or is of integers.
        """
        if output.ndim != 2 or not output.is_floating_point():  # noqa: PLR2004
            raise ValueError("the model must return scores, of shape (B, K), for soft scores; got labels or integers")
        scores = output.double()
        if self.scores == "logits":
            scores = scores.softmax(dim=1)
        sums = scores.sum(dim=1, keepdim=True)
        units = (scores / sums.clamp(min=1) * UNITS).floor().long()
        units = _beside(units, UNITS - units.sum(dim=1, keepdim=True))
        units = units.masked_fill(sums > 1 + SLACK, -2)
        units = units.masked_fill(((scores < 0) | (scores > 1 + SLACK)).any(dim=1, keepdim=True), -3)
        return units.masked_fill(~output.isfinite().all(dim=1, keepdim=True), -1)

    def apart(self, before: Any, after: Any) -> Any:
        """Return how far the scores of each row are apart in total variation."""
        return (before - after).abs().sum(dim=1).double() / (2 * UNITS)


@dataclass(frozen=True)
class EachScore(ScoreKind, EachDraw):
    """What kinds share that keep all scores, as whole units of 1 / 65535: (n0 + n) (K + 1) times two bytes a row."""

    counted: ClassVar[str] = "scores of each draw"
    interval: ClassVar[Interval | MeanInterval] = "betting"

    def tally(self, rows: int, form: Form) -> NDArray[Any]:
        """Return room for scores, all 0, shape (rows, draws, K + 1)."""
        return np.zeros((rows, form.draws, form.classes + 1), np.uint16)

    def drawn(self, tally: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many draws each row has."""
        drawn: NDArray[np.int64] = tally.any(axis=2).sum(axis=1)
        return drawn

    def moved(self, recorded: NDArray[Any], found: NDArray[Any]) -> float:
        """Return by how many votes' worth the scores of two tallies differ, draw by draw; 0 is for equal ones alone."""
        drawn = recorded.shape[1]
        return float(np.abs(recorded.astype(np.int64) - found[:, :drawn]).sum()) / (2 * UNITS)

    def read(self, name: str, recorded: Any, classes: int, most: int) -> NDArray[Any]:
        """Return the scores that a record holds; refuse what no model can have answered."""
        units = unpacked(name, recorded)
        fits = units.dtype.kind == "i" and units.ndim == 2 and units.shape[1] == classes + 1  # noqa: PLR2004
        if not fits or len(units) > most or (units < 0).any() or (units.sum(axis=1) != UNITS).any():
            raise ValueError(
                f"{name} must have the scores of at most {most:,} draws for {classes} classes and the rest of "
                f"{UNITS}, got {units.dtype} of shape {units.shape}"
            )
        return units.astype(np.uint16)

    def checked(
        self, selection: NDArray[Any] | None, tally: NDArray[Any], rule: Rule, n: int | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
        """Return what `certify` is given, without the room that was left over, and the classes that are selected.

        Parameters
        ----------
        selection : ndarray of integers, shape (N, n0, K + 1), or None
            The scores of separate draws, which select the class of the highest mean.
        tally : ndarray of integers, shape (N, n, K + 1)
            The scores. Rows of 0 at the end, of all examples, are room that was left over.
        rule : Rule
            Its interval must be "betting".
        n : int or None
            Refuse another number of draws.

        Returns
        -------
        tuple of ndarray
            `selection`, `tally` and the classes (N,).

        Raises
        ------
        ValueError
            If an argument is not as above, a row is of no scores or of draws that were stopped by them, or the draws
            are not separate ones.
        TypeError
            If scores are not integers.
        """
        kind = self.name.replace("-", " ")
        if rule.interval != self.interval:
            raise ValueError(f'interval must be "{self.interval}" for {kind}, got {rule.interval!r}')
        if selection is None:
            raise ValueError(f"selection must be scores of separate draws for {kind}, got None")
        counts, pilot = self._units(tally, "counts", n), self._units(selection, "selection", None)
        refuse_stopped(counts, rule.interval)
        if shared(selection, tally) or pilot.shape[::2] != counts.shape[::2]:
            raise ValueError(f"selection must be of separate draws of {counts.shape[::2]}, got {pilot.shape}")
        return pilot, counts, selected(pilot)

    def _units(self, given: NDArray[Any], name: str, n: int | None) -> NDArray[Any]:
        """Return scores without the room that was left over."""
        units = native_integers(given, name)
        if units.ndim != 3 or units.shape[2] < 3:  # noqa: PLR2004
            raise ValueError(f"{name} must have the shape (N, n, K + 1) with K of at least 2, got {units.shape}")
        if not len(units):
            return units
        drawn = self.drawn(units)
        wanted = int(drawn[0]) if n is None else n
        sums = units[:, :wanted].sum(axis=2, dtype=np.int64)
        wrong = np.flatnonzero((drawn != wanted) | (sums != UNITS).any(axis=1) | (units < 0).any(axis=(1, 2)))
        if len(wrong) or not wanted:
            at = int(wrong[0]) if len(wrong) else 0
            raise ValueError(f"{name}[{at}] must be the scores of {wanted or 'some'} draws, got those of {drawn[at]}")
        return units[:, :wanted]


def selected(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class of the highest mean score of each row of draws, shape (N, n0, K + 1)."""
    classes: NDArray[np.int64] = scores[..., :-1].sum(axis=1, dtype=np.int64).argmax(axis=1)
    return classes


def probabilities(bounds: Callable[[float], tuple[Floats, Floats]], rule: Rule) -> tuple[Floats, Floats]:
    """Return p1 and p2 of mean scores: what the noise costs is moved out of p1 and into p2, all rounded outward.

    Parameters
    ----------
    bounds : callable
        Takes a level and returns, for N inputs, the lower bounds at that level on their classes' means, and the largest
        of the other classes' upper bounds, each at that level.
    rule : Rule
        Says whether p2 is of these or 1 − p1, which costs no share of its alpha.

    Returns
    -------
    tuple of ndarray of float64, shape (N,)
        p1 and p2.
    """
    second = rule.runner_up == "second"
    lower, others = bounds(rule.alpha / 2 if second else rule.alpha)
    p1 = np.maximum(np.nextafter(lower - rule.noise_error, 0), 0.0)
    p2 = np.nextafter(1 - p1, 2)
    if second:
        p2 = np.minimum(p2, np.nextafter(others + rule.noise_error, 2))
    return p1, np.minimum(p2, 1.0)


def _beside(units: Any, rest: Any) -> Any:
    """Return tensors of integers side by side, without importing torch."""
    joined = units.new_empty((len(units), units.shape[1] + 1))
    joined[:, :-1], joined[:, -1:] = units, rest
    return joined
