"""Betting on scores: certificates of mean scores by bets on the score of each draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

import numpy as np

from rsmooth._arrays import real, refuse_no_class
from rsmooth.certificates.means import mean_bound
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.scores import SLACK, UNITS, EachScore, probabilities, selected
from rsmooth.rule import MEAN_INTERVALS, RUNNER_UPS, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, MeanInterval

    Floats = NDArray[np.float64]

__all__ = ["BettingScoreCertificates", "BettingScores", "ScoreCertificates", "certify_scores"]


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

    `BettingScores` is the same for a model's draws, whose scores it keeps.

    Scores of a sum above 1 by rounding are divided by it; the certificates are of the scores so normalised.

    References
    ----------
    .. [1] Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.betting import certify_scores
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
    if interval not in MEAN_INTERVALS:
        raise ValueError(f'interval must be "betting" or "empirical-bernstein", got {interval!r}')
    rule = Rule(mechanism, norm=norm, dim=dim, alpha=alpha, bound=bound, runner_up=runner_up, interval=interval)
    p1, p2 = _probabilities(given, chosen, rule)
    radius = rule.radius(p1, p2)
    return ScoreCertificates(np.where(radius > 0, chosen, -1), radius, p1, p2)


@dataclass(frozen=True, eq=False, repr=False)
class BettingScoreCertificates(Certificates):
    """The certificates of N inputs from betting on their scores, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws, no perturbation of input i of norm at most
    ``radius[i]`` changes that class ``prediction[i]`` has the highest mean score. Where ``prediction[i]`` is −1 nothing
    is said.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The class, or −1.
    p1, p2 : ndarray of float64, shape (N,)
        Lower confidence bound of the class's mean score, upper confidence bound of every other's.
    counts, selection : ndarray of uint16, shapes (N, n, K + 1) and (N, n0, K + 1)
        The scores of each draw in units of 1 / 65535, and what they leave of 1.

    The others are those of `rsmooth.Certificates`; `order` is NaN.
    """

    @property
    def _kind(self) -> BettingScores:
        return BettingScores()

    def _certify(self, rule: Rule) -> BettingScoreCertificates:
        if rule == self.rule or rule != replace(self.rule, norm=rule.norm, bound=rule.bound):
            return super()._certify(rule)
        # The bounds on the means, which take the time, depend on neither norm nor bound.
        pilot = np.asarray(self.selection)
        return _certificates(pilot, self.counts, selected(pilot), self.p1, self.p2, rule)


@dataclass(frozen=True)
class BettingScores(EachScore):
    """Mean scores, bounded by betting on the scores of each draw: larger radii than those of their sums.

    Parameters
    ----------
    scores : {"probabilities", "logits"}
        As for `rsmooth.certificates.softscores.SoftScores`.

    Raises
    ------
    ValueError
        If it is neither.

    Notes
    -----
    The claim is that of `rsmooth.certificates.softscores.SoftScores`, and the certificates are what `certify_scores`
    gives for the scores that are kept, in whole units of 1 / 65535. All of them are kept, as
    `rsmooth.certificates.fullinformation.FullInformation` does: what was counted for one certifies the other.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.certificates.betting import BettingScores
    >>> from rsmooth.certificates.softscores import SoftScores
    >>> smoothed = SmoothedClassifier(lambda x: 4 * x, Gaussian(0.25), num_classes=2)
    >>> x = torch.tensor([[0.2, 0.8]])
    >>> settings = {"n0": 200, "n": 1000, "norm": 2, "seed": 0}
    >>> [smoothed.certify(x, kind=kind("logits"), **settings).radius.round(3) for kind in (SoftScores, BettingScores)]
    [array([0.229]), array([0.236])]
    """

    name: ClassVar[str] = "betting-scores"
    as_votes: ClassVar[bool] = True

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> BettingScoreCertificates:
        """Return what the scores prove.

        Parameters
        ----------
        selection : ndarray of integers, shape (N, n0, K + 1)
            The scores of separate draws, which select the class of the highest mean.
        tally : ndarray of integers, shape (N, n, K + 1)
            The scores. Rows of 0 at the end, of all examples, are room that was left over.
        rule : Rule
            How they become certificates; its interval must be "betting".
        labels, threads
            Not looked at.
        n : int or None
            Refuse another number of draws.

        Returns
        -------
        BettingScoreCertificates
            One a row.

        Raises
        ------
        ValueError, TypeError
            As `rsmooth.certificates.scores.EachScore.checked`.
        """
        pilot, counts, classes = self.checked(selection, tally, rule, n)
        p1, p2 = _probabilities((each[:, :-1] / UNITS for each in counts), classes, rule)
        return _certificates(pilot, counts, classes, p1, p2, rule)


def _certificates(  # noqa: PLR0917
    pilot: NDArray[Any], counts: NDArray[Any], classes: NDArray[np.int64], p1: Floats, p2: Floats, rule: Rule
) -> BettingScoreCertificates:
    """Return the certificates of classes whose p1 and p2 are known."""
    radius = rule.radius(p1, p2)
    return BettingScoreCertificates(
        prediction=np.where(radius > 0, classes, -1),
        radius=radius,
        p1=p1,
        p2=p2,
        order=np.full(len(radius), np.nan),
        counts=counts,
        selection=pilot,
        **rule.settings,
    )


def _probabilities(scores: Iterable[Floats], classes: NDArray[Any], rule: Rule) -> tuple[Floats, Floats]:
    """Return p1 and p2 of classes by scores (n, K) of each input."""
    # It refuses those of votes.
    interval = cast("MeanInterval", rule.interval)

    def bounds(level: float) -> tuple[Floats, Floats]:
        lower, others = np.zeros(len(classes)), np.ones(len(classes))
        for i, (row, label) in enumerate(zip(scores, classes, strict=True)):
            lower[i] = mean_bound(row[:, label], level, side="lower", interval=interval)
            if rule.runner_up == "second":
                rest = np.delete(row, label, axis=1).T
                others[i] = mean_bound(rest, level, side="upper", interval=interval).max()
        return lower, others

    return probabilities(bounds, rule)


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
