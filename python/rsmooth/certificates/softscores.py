"""Soft scores: certificates of mean scores, such as mean softmax probabilities, instead of votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from rsmooth._arrays import real, refuse_no_class, shared
from rsmooth._settings import check_fields, setting
from rsmooth.certificates.kind import Kind
from rsmooth.certificates.means import bernstein, mean_bound
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.topclass import classes_of, native_integers, refuse_stopped
from rsmooth.rule import RUNNER_UPS, MeanInterval  # Fields are read with their types.

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.certificates.kind import Form
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, Rule

    Floats = NDArray[np.float64]

__all__ = ["ScoreCertificates", "SoftScoreCertificates", "SoftScores", "certify_scores"]

# What the parts of 1 are that scores are counted in, so that a score fits into two bytes.
UNITS = 2**16 - 1

# What a model may return.
SCORES = ("probabilities", "logits")

HINT = ' (of logits, softmax makes scores: SoftScores("logits"), --scores logits)'

# Rows of scores are normalised where single precision makes their sum exceed 1 by no more than this.
SLACK = 1e-3


class ScoreCertificates(NamedTuple):
    """The certificates of N inputs from mean scores.

    With confidence 1 − alpha over the draws, no perturbation of input i of norm at most ``radius[i]`` changes that
    class ``prediction[i]`` has the highest mean score. Where ``prediction[i]`` is −1 nothing is said.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The class, or −1.
    radius : ndarray of float64, shape (N,)
        The radius, in units of the input; 0 where nothing is said.
    p1, p2 : ndarray of float64, shape (N,)
        Lower confidence bound of the class's mean score, upper confidence bound of every other's.
    """

    prediction: NDArray[np.int64]
    radius: Floats
    p1: Floats
    p2: Floats


def certify_scores(
    scores: ArrayLike,
    classes: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    bound: Bound = "tightest",
    runner_up: Literal["second", "complement"] = "second",
    interval: MeanInterval = "betting",
) -> ScoreCertificates:
    """Turn scores into certificates of the class with the highest mean score.

    Parameters
    ----------
    scores : array_like of float, shape (N, n, K)
        For each input and draw the model's scores, at least 0 and of sum at most 1, such as softmax probabilities.
    classes : array_like of int, shape (N,)
        For each input the class to certify. It must not depend on `scores`: what separate draws chose.
    mechanism : Mechanism
        The mechanism that drew the noise.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured.
    dim : int
        The number of coordinates of an input.
    alpha : float
        The failure probability of each certificate, above 0 and below 1.
    bound : str
        As for `rsmooth.certify_counts`.
    runner_up : {"second", "complement"}
        Whether p2 is the largest upper bound of the other means (at most 1 - p1), or 1 - p1.
    interval : {"betting", "empirical-bernstein"}
        How scores become bounds on their means; see `rsmooth.certificates.means.mean_bound`.

    Returns
    -------
    ScoreCertificates
        Of the N inputs.

    Raises
    ------
    ValueError
        If a score is not finite or below 0, the scores of a draw sum to more than 1, a class does not exist, the shapes
        do not fit, or another argument is not as above.
    TypeError
        If `scores` are not real numbers or `classes` not integers.

    Notes
    -----
    *Radius.* Draw a class at random, with the scores as probabilities: the mean scores are the class probabilities of
    this random vote, so that every bound for votes holds. For the Gaussian the tightest radius is
    σ/2 (Φ⁻¹(p1) - Φ⁻¹(p2)) [1]_.

    *Confidence.* p1 is at level alpha / 2 (alpha with "complement"). For p2 each other class has an upper bound at
    level alpha / 2, and the largest counts. That needs no factor K: the class b, other than the one certified, with the
    largest true mean is a fixed one, and the largest upper bound is at least b's.

    Scores of a sum above 1 by rounding are divided by it; the certificates are of the scores so normalised.

    References
    ----------
    .. [1] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.softscores import certify_scores
    >>> top = np.random.default_rng(0).beta(9, 1, size=(1, 1000))
    >>> scores = np.stack([top, 1 - top], axis=-1)
    >>> certify_scores(scores, [0], Gaussian(0.5), norm=2, dim=3072).radius.round(3)
    array([0.607])
    """
    given, chosen = _scores(scores), np.asarray(classes)
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"classes must be integers, got dtype {chosen.dtype}")
    rows, _, width = given.shape
    if chosen.shape != (rows,):
        raise ValueError(f"classes must have the shape {(rows,)}, got {chosen.shape}")
    refuse_no_class("classes", chosen, width)
    if runner_up not in RUNNER_UPS:
        raise ValueError(f'runner_up must be "second" or "complement", got {runner_up!r}')
    each = alpha if runner_up == "complement" else alpha / 2
    p1, p2 = np.empty(rows), np.empty(rows)
    for i, (row, label) in enumerate(zip(given, chosen, strict=True)):
        p1[i] = mean_bound(row[:, label], each, side="lower", interval=interval)
        p2[i] = np.nextafter(1 - p1[i], 1)
        if runner_up == "second":
            others = np.delete(row, label, axis=1).T
            p2[i] = min(p2[i], mean_bound(others, each, side="upper", interval=interval).max())
    radius = mechanism.radius(p1, p2, norm=norm, dim=dim, bound=bound)
    return ScoreCertificates(np.where(radius > 0, chosen, -1), radius, p1, p2)


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
    def kind(self) -> str:
        """The kind of certificate, without how scores were made of the model's outputs."""
        return SoftScores.name

    @property
    def draws(self) -> NDArray[np.int64]:
        """How many draws each input took, those that selected its class with them where they are known."""
        selection = np.asarray(self.selection)
        selecting: Any = SoftScores().drawn(selection) if selection.ndim > 1 else 0
        drawn: NDArray[np.int64] = SoftScores().drawn(self.counts) + selecting
        return drawn

    def _certify(self, rule: Rule) -> SoftScoreCertificates:
        return SoftScores().certify(self.selection, self.counts, rule)


@dataclass(frozen=True)
class SoftScores(Kind):
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
    The theorem is that of `certify_scores`, and so are the levels. The bounds on means are those of the empirical
    Bernstein inequality (`rsmooth.certificates.means.mean_bound`), which asks for a mean and a variance alone.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.certificates.softscores import SoftScores
    >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.25), num_classes=2)
    >>> x = torch.tensor([[0.2, 0.8]])
    >>> smoothed.certify(x, kind=SoftScores("logits"), n=1000, norm=2, seed=0).radius.round(3)
    array([0.068])
    """

    name: ClassVar[str] = "soft-scores"
    counted: ClassVar[str] = "scores"
    interval: ClassVar[MeanInterval] = "empirical-bernstein"
    stepwise: ClassVar[bool] = False
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

    def tally(self, rows: int, form: Form) -> NDArray[np.int64]:
        """Return sums of nothing, shape (rows, 2, K + 1)."""
        return np.zeros((rows, 2, form.classes + 1), np.int64)

    def add(self, tally: NDArray[np.int64], rows: NDArray[np.int64], observations: NDArray[np.int64]) -> None:
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
            fits = sums.shape == (2, classes + 1) and sums.dtype.kind == "i"
        except ValueError:
            fits = False
        if not fits:
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
            How they become certificates; its interval must be "empirical-bernstein".
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
        refuse_stopped(counts, rule.interval)
        if counts.ndim != 3 or counts.shape[1] != 2 or counts.shape[2] < 3:  # noqa: PLR2004
            raise ValueError(f"counts must have the shape (N, 2, K + 1) with K of at least 2, got {counts.shape}")
        if shared(chosen, counts):
            raise ValueError("selection must be of separate draws, got the memory of counts")
        sums = counts[:, 0, :-1]
        classes = classes_of(chosen[:, 0, :-1].copy() if chosen.ndim == 3 else chosen, "selection", sums)  # noqa: PLR2004
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
        p1, p2 = self._bounds(counts, classes, drawn, rule)
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
        )

    @staticmethod
    def _bounds(
        counts: NDArray[Any], classes: NDArray[np.int64], drawn: NDArray[np.int64], rule: Rule
    ) -> tuple[Floats, Floats]:
        """Return the lower bound on each class's mean score and the upper bound on every other's."""
        level = rule.alpha if rule.runner_up == "complement" else rule.alpha / 2
        sums, squares = (counts[:, part, :-1].astype(np.float64) for part in (0, 1))
        lower, upper = np.zeros_like(sums), np.ones_like(sums)
        for n in np.unique(drawn[drawn > 1]).tolist():
            rows = drawn == n
            mean = sums[rows] / (n * UNITS)
            # The sums are exact, and what is made of them is rounded by some units of 2⁻⁵³ of the first term.
            spread = n * squares[rows]
            variance = np.maximum(spread - sums[rows] ** 2 + 2**-50 * spread, 0.0) / (n * (n - 1) * UNITS**2)
            lower[rows] = bernstein(mean, variance, n, level) - 1e-14
            upper[rows] = 1 - bernstein(1 - mean, variance, n, level) + 1e-14
        at = classes[:, None]
        p1 = np.maximum(np.take_along_axis(lower, at, axis=1)[:, 0] - rule.noise_error, 0.0)
        p2 = np.nextafter(1 - p1, 1)
        if rule.runner_up == "second":
            np.put_along_axis(upper, at, 0.0, axis=1)
            p2 = np.minimum(p2, np.nextafter(upper.max(axis=1) + rule.noise_error, 1))
        return p1, np.minimum(p2, 1.0)


def _scores(scores: ArrayLike) -> Floats:
    """Return scores checked, in double precision, with rows of a sum above 1 by rounding divided by it."""
    given = real(scores, "scores")
    if given.ndim != 3 or given.shape[2] < 2:  # noqa: PLR2004
        raise ValueError(f"scores must have the shape (N, n, K) with K of at least 2, got {given.shape}")
    given = given.astype(np.float64)
    wrong = np.argwhere(~((given >= 0) & (given <= 1 + SLACK)))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(f"scores[{', '.join(map(str, at))}] must be at least 0 and at most 1, got {given[at]}")
    sums = given.sum(axis=2)
    wrong = np.argwhere(sums > 1 + SLACK)
    if len(wrong):
        i, j = (int(i) for i in wrong[0])
        raise ValueError(f"scores[{i}, {j}] must have a sum of at most 1, got {sums[i, j]}")
    normalised: Floats = given / np.maximum(sums, 1.0)[..., None]
    return normalised


def _beside(units: Any, rest: Any) -> Any:
    """Return tensors of integers side by side, without importing torch."""
    joined = units.new_empty((len(units), units.shape[1] + 1))
    joined[:, :-1], joined[:, -1:] = units, rest
    return joined
