"""Bounds on the mean of numbers in [0, 1], such as scores, whatever their law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from rsmooth._arrays import real

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.rule import MeanInterval

    Floats = NDArray[np.float64]

__all__ = ["anytime_mean", "largest_anytime_mean", "mean_bound"]

# Wealth may be this share of 1 / (candidate) at most, so that no single score loses more than that share of it.
MOST_STAKED = 0.75

# What `anytime_mean` bets; each bet has as much of the money.
BETS = np.concatenate([1 - 0.5 ** np.arange(1, 6), 0.5 ** np.arange(1.5, 12.5, 0.5)])

# −ln(1 − λ) − λ of each, rounded up.
COSTS = -np.log1p(-BETS) - BETS + 1e-15 * BETS

# Steps of the search for the bound, which ends where what is left is this small; every step keeps a bound that holds.
STEPS, CLOSE = 60, 1e-10


def mean_bound(
    scores: ArrayLike,
    alpha: float,
    *,
    side: Literal["lower", "upper"] = "lower",
    interval: MeanInterval = "betting",
) -> Floats:
    """One-sided confidence bound on the mean of independent numbers in [0, 1].

    Parameters
    ----------
    scores : array_like of float, shape (..., n)
        n independent draws of each number, in [0, 1]: at least 1, for "empirical-bernstein" 2.
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
        If a number is outside [0, 1], there are too few draws, or another argument is not as above.
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
    >>> from rsmooth.certificates.means import mean_bound
    >>> scores = np.random.default_rng(0).beta(9, 1, size=1000)
    >>> [round(float(mean_bound(scores, 0.001, interval=i)), 4) for i in ("betting", "empirical-bernstein")]
    [0.8886, 0.8718]
    """
    # In memory draw by draw, whatever was given: NumPy sums pairwise along such an axis alone.
    x = real(scores, "scores").astype(np.float64, order="C")
    wrong = np.argwhere(~((x >= 0) & (x <= 1)))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(f"scores[{', '.join(map(str, at))}] must be at least 0 and at most 1, got {x[at]}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be a number above 0 and below 1, got {alpha}")
    if side not in {"lower", "upper"}:
        raise ValueError(f'side must be "lower" or "upper", got {side!r}')
    if interval not in _LOWER:
        raise ValueError(f'interval must be "betting" or "empirical-bernstein", got {interval!r}')
    lower, least = _LOWER[interval], 1 if interval == "betting" else 2
    if x.ndim == 0 or x.shape[-1] < least:
        raise ValueError(f"scores must have at least {least} draws along the last axis, got shape {x.shape}")
    if side == "lower":
        return lower(x, alpha)
    # 1 - x is rounded by less than 2⁻⁵³, and so is the difference.
    upper: Floats = np.minimum(1 - lower(1 - x, alpha) + 2**-52, 1.0)
    return upper


def anytime_mean(total: Floats, squares: Floats, drawn: Floats, alpha: float) -> Floats:
    """Lower confidence bounds on means of numbers in [0, 1] that hold at every number of draws at once.

    Parameters
    ----------
    total, squares : ndarray of float64, shape (N,)
        Sums of the draws so far, and of their squares, each rounded once.
    drawn : ndarray of float64, shape (N,)
        How many draws, at least 1.
    alpha : float
        The failure probability: at some number of draws the bound misses the mean with at most this probability.

    Returns
    -------
    ndarray of float64, shape (N,)
        The bounds, from 0 to 1.

    Notes
    -----
    Bet the share λ < 1 against the hypothesis that the mean is m: with y = x/m - 1, which is at least -1, the wealth is
    ∏ (1 + λy). If the mean is at most m no draw gains on average, so that the mean of the wealths of several λ reaches
    1/α, ever, with a probability of at most α (Ville). It decreases in m. Let ψ = -ln(1 - λ) - λ. As (ln(1 + u) - u)/u²
    increases with u, ln(1 + λy) ≥ λy - ψy² for every y of at least -1 [1]_, and so the wealth of λ is at least exp(λ Σy
    - ψ Σy²), which takes the two sums alone. Any m at which the mean of these is 1/α is a lower bound: it exceeds the
    true mean μ only if the wealths against μ, which are no less, reach 1/α.

    References
    ----------
    .. [1] Fan, Grama and Liu, "Exponential inequalities for martingales with applications", EJP 2015, Lemma 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.means import anytime_mean
    >>> scores = np.random.default_rng(0).beta(9, 1, size=1000)
    >>> anytime_mean(scores.sum(keepdims=True), (scores**2).sum(keepdims=True), np.array([1000.0]), 0.001).round(4)
    array([0.8811])
    """
    low, high = np.zeros(len(total)), np.minimum(total / drawn, 1.0)
    for _ in range(STEPS):
        if not (high - low > CLOSE).any():
            break
        middle = (low + high) / 2
        enough = _reached(total, squares, drawn, middle, alpha)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return low


def largest_anytime_mean(total: Floats, squares: Floats, drawn: Floats, alpha: float) -> Floats:
    """Upper confidence bounds on the largest of several means, by `anytime_mean` of 1 less the draws.

    Parameters
    ----------
    total, squares : ndarray of float64, shape (N, K)
        Sums of 1 less the draws, and of their squares, each rounded once.
    drawn : ndarray of float64, shape (N,)
        How many draws.
    alpha : float
        The failure probability of each of the K bounds.

    Returns
    -------
    ndarray of float64, shape (N,)
        Above each of the K upper bounds, or the largest of them.
    """

    def upper(rows: NDArray[np.int64], classes: NDArray[np.int64]) -> Floats:
        lower = anytime_mean(total[rows, classes], squares[rows, classes], drawn[rows], alpha)
        return np.nextafter(1 - lower, 2)

    rows = np.arange(len(total))
    largest = upper(rows, total.argmin(axis=1))
    # Most of the others are far below it, for which one look is enough.
    below = np.nextafter(1 - largest, 2)[:, None]
    open_ = np.nonzero(~_reached(total, squares, drawn[:, None], below, alpha))
    np.maximum.at(largest, open_[0], upper(*open_))
    return np.minimum(largest, 1.0)


def _reached(total: Floats, squares: Floats, drawn: Floats, m: Floats, alpha: float) -> NDArray[np.bool_]:
    """Tell where the wealth of `anytime_mean` against the mean m is 1 / alpha or more, roundings counted."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first, second, n = (each[..., None] for each in (total / m, squares / m**2, drawn))
        gained = BETS * (first - n) - COSTS * (second - 2 * first + n)
        # Each term has a few roundings, of 2⁻⁵³ of itself.
        gained = gained - 2**-49 * (BETS * (first + n) + COSTS * (second + 2 * first + n))
        most = gained.max(axis=-1, keepdims=True)
        wealth = most[..., 0] + np.log(np.exp(gained - most).mean(axis=-1))
        reached: NDArray[np.bool_] = wealth >= np.log(1 / alpha) * (1 + 1e-14) + 1e-12
    return reached


def _bernstein(x: Floats, alpha: float) -> Floats:
    n = x.shape[-1]
    log = np.log(2 / alpha)
    bound = x.mean(axis=-1) - np.sqrt(2 * x.var(axis=-1, ddof=1) * log / n) - 7 * log / (3 * (n - 1))
    # Sums of n numbers in [0, 1], their roundings counted one by one, are this well known.
    lower: Floats = np.maximum(bound - 1e-15 * n - 1e-14, 0.0)
    return lower


def _betting(x: Floats, alpha: float) -> Floats:
    n = x.shape[-1]
    stakes = _stakes(x, alpha)
    # Each factor's logarithm has a few roundings, and their pairwise sum no more for each.
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
