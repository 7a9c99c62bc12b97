"""Soft scores: certificates of mean scores, such as mean softmax probabilities, instead of votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rsmooth._arrays import real
from rsmooth.rule import RUNNER_UPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound

    Floats = NDArray[np.float64]

__all__ = ["ScoreCertificates", "certify_scores", "mean_bound"]

# Wealth may be this share of 1 / (candidate) at most, so that no single score loses more than that share of it.
MOST_STAKED = 0.75

# Steps of the search for the bound, which ends where what is left is this small; every step keeps a bound that holds.
STEPS, CLOSE = 60, 1e-10

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
    interval: Literal["betting", "empirical-bernstein"] = "betting",
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
        How scores become bounds on their means; see `mean_bound`.

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
    wrong = np.flatnonzero((chosen < 0) | (chosen >= width))
    if len(wrong):
        raise ValueError(f"classes[{wrong[0]}] must be a class from 0 to {width - 1}, got {chosen[wrong[0]]}")
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


def mean_bound(
    scores: ArrayLike,
    alpha: float,
    *,
    side: Literal["lower", "upper"] = "lower",
    interval: Literal["betting", "empirical-bernstein"] = "betting",
) -> Floats:
    """One-sided confidence bound on the mean of independent numbers in [0, 1].

    Parameters
    ----------
    scores : array_like of float, shape (..., n)
        n ≥ 2 independent draws of each number, in [0, 1].
    alpha : float
        The failure probability, above 0 and below 1: the bound misses the mean at most this often.
    side : {"lower", "upper"}
        Which bound.
    interval : {"betting", "empirical-bernstein"}
        How. "betting" is the tighter one.

    Returns
    -------
    ndarray of float64
        The bounds, of shape (...).

    Raises
    ------
    ValueError
        If a number is outside [0, 1], there are fewer than 2 draws, or another argument is not as above.
    TypeError
        If `scores` are not real numbers.

    Notes
    -----
    *Empirical Bernstein* [1]_: mean - √(2V ln(2/α) / n) - 7 ln(2/α) / (3(n - 1)), V the sample variance.

    *Betting* [2]_. Bet against the hypothesis that the mean is m: start with a wealth of 1 and stake, before draw i, a
    share λᵢ ≥ 0 that depends on the earlier draws alone, so that the wealth is W(m) = ∏ (1 + λᵢ (xᵢ - m)). With λᵢ ≤
    0.75 / m it stays positive. If the mean is at most m, the expected wealth is at most 1, and P(W(m) ≥ 1/α) ≤ α by
    Markov's inequality. Every factor, with λᵢ the smaller of a number that does not depend on m and of 0.75 / m,
    decreases in m, and so does W: the largest m with W(m) ≥ 1/α, or 0, exceeds the mean μ only if W(μ) ≥ 1/α. λᵢ is
    √(2 ln(1/α) / (n Vᵢ)), Vᵢ the variance of the draws before i and of a prior one. Upper bounds are lower ones of 1 -
    x.

    References
    ----------
    .. [1] Maurer and Pontil, "Empirical Bernstein Bounds and Sample Variance Penalization", COLT 2009, Theorem 4.
    .. [2] Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.softscores import mean_bound
    >>> scores = np.random.default_rng(0).beta(9, 1, size=1000)
    >>> [round(float(mean_bound(scores, 0.001, interval=i)), 4) for i in ("betting", "empirical-bernstein")]
    [0.8886, 0.8718]
    """
    x = real(scores, "scores").astype(np.float64)
    wrong = np.argwhere(~((x >= 0) & (x <= 1)))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(f"scores[{', '.join(map(str, at))}] must be at least 0 and at most 1, got {x[at]}")
    if x.ndim == 0 or x.shape[-1] < 2:  # noqa: PLR2004
        raise ValueError(f"scores must have at least 2 draws along the last axis, got shape {x.shape}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be a number above 0 and below 1, got {alpha}")
    if side not in {"lower", "upper"}:
        raise ValueError(f'side must be "lower" or "upper", got {side!r}')
    if interval not in _LOWER:
        raise ValueError(f'interval must be "betting" or "empirical-bernstein", got {interval!r}')
    lower = _LOWER[interval]
    if side == "lower":
        return lower(x, alpha)
    # 1 - x is rounded by less than 2⁻⁵³, and so is the difference.
    upper: Floats = np.minimum(1 - lower(1 - x, alpha) + 2**-52, 1.0)
    return upper


def _bernstein(x: Floats, alpha: float) -> Floats:
    n, log = x.shape[-1], np.log(2 / alpha)
    bound = x.mean(axis=-1) - np.sqrt(2 * x.var(axis=-1, ddof=1) * log / n) - 7 * log / (3 * (n - 1))
    # Sums of n numbers in [0, 1], their roundings counted one by one, are this well known.
    lower: Floats = np.maximum(bound - 1e-15 * n, 0.0)
    return lower


def _betting(x: Floats, alpha: float) -> Floats:
    n = x.shape[-1]
    stakes = _stakes(x, alpha)
    # Each factor's logarithm has a few roundings.
    needed = np.log(1 / alpha) + 1e-15 * n * 8

    def log_wealth(m: Floats) -> Floats:
        at = m[..., None]
        with np.errstate(divide="ignore"):
            staked = np.minimum(stakes, MOST_STAKED / at)
        total: Floats = np.log1p(staked * (x - at)).sum(axis=-1)
        return total

    # At `low` the wealth is enough. Steps of the secant, and of bisection now and then.
    low, high = np.zeros(x.shape[:-1]), x.mean(axis=-1)
    at_low, at_high = log_wealth(low), log_wealth(high)
    certain = at_low >= needed
    high = np.where(at_high >= needed, 1.0, high)
    at_high = log_wealth(high)
    for step in range(STEPS):
        if not (certain & (high - low > CLOSE)).any():
            break
        fall = np.where(at_low > at_high, at_low - at_high, 1.0)
        share = np.clip((at_low - needed) / fall, 0.01, 0.99) if step % 3 else 0.5
        middle = low + share * (high - low)
        found = log_wealth(middle)
        enough = found >= needed
        low, at_low = np.where(enough, middle, low), np.where(enough, found, at_low)
        high, at_high = np.where(enough, high, middle), np.where(enough, at_high, found)
    return np.where(certain, low, 0.0)


def _stakes(x: Floats, alpha: float) -> Floats:
    """Return √(2 ln(1/α) / (n V)), V from the draws before each, with one of value ½ and variance ¼ before them all."""
    n = x.shape[-1]
    seen = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(x, axis=-1)) / (seen + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2, axis=-1)) / (seen + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variances[..., :-1]], axis=-1)
    stakes: Floats = np.sqrt(2 * np.log(1 / alpha) / (n * before))
    return stakes


_LOWER: dict[str, Callable[[Floats, float], Floats]] = {"betting": _betting, "empirical-bernstein": _bernstein}


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
