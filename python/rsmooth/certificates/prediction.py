"""Votes and scores that are still to come, predicted from those that were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[Any]

__all__ = ["hoped_scores", "hoped_votes", "scaled_scores", "scaled_votes"]


def scaled_votes(votes: Counts, draws: NDArray[np.int64]) -> Counts:
    """Return the votes of more draws that keep coming as they did.

    Parameters
    ----------
    votes : ndarray of int64, shape (N, K)
        The votes so far.
    draws : ndarray of int64, shape (N,)
        The sums of the rows to be.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.prediction import scaled_votes
    >>> scaled_votes(np.array([[7, 2, 1]]), np.array([25]))
    array([[17,  5,  3]])
    """
    ends = votes.cumsum(axis=1)
    growth = (draws / np.maximum(ends[:, -1], 1))[:, None]
    scaled = np.minimum(np.floor(ends * growth).astype(np.int64), draws[:, None])
    scaled[:, -1] = draws
    return np.diff(scaled, axis=1, prepend=0)


def hoped_votes(votes: Counts, asked: Counts, n: int, better: float, k: int = 1) -> list[Counts]:
    """Return the votes of `n` draws if those to come are so many standard deviations better than predicted.

    Better for a class, and worse for the t smallest among the k largest others, in sum: for each t from 1 to k one
    outcome, as every t has a radius (`rsmooth.certify_topk`). Smaller classes shrink with those t, so
    that none takes their place. What is left of `n` goes to the classes that are larger, in their proportions, and
    where there are none to the smallest up to a common level.

    Parameters
    ----------
    votes : ndarray of int64, shape (N, K)
        The votes so far, at least one of each row and at most `n`.
    asked : ndarray of int64, shape (N,)
        The class of each row.
    n : int
        The sum of each row to be.
    better : float
        How many deviations.
    k : int
        How many others count, below K.

    Returns
    -------
    list of ndarray of int64, shape (N, K)
        The outcomes, in each of which the other classes have their votes in ascending order.

    Notes
    -----
    Of n − m draws to come, classes that have v of m votes in sum get a beta-binomial number, as a uniform prior of
    their probability has it: (n − m)(v + 1)/(m + 2) on average.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.prediction import hoped_votes
    >>> for votes in hoped_votes(np.array([[500, 400, 60, 40]]), np.array([0]), 2000, better=3, k=2):
    ...     print(votes)
    [[1067   59   89  785]]
    [[1067   80  111  742]]
    """
    own = np.arange(votes.shape[1]) == asked[:, None]
    drawn, seen = votes.sum(axis=1), votes[own]
    others = np.sort(votes[~own].reshape(len(votes), votes.shape[1] - 1), axis=1)
    # Rounding, too, leaves room for the votes that there are already.
    total = others.sum(axis=1)
    room = np.maximum((n - seen) * (1 - 2**-50), total) / np.maximum(total, 1)

    def to_come(count: Counts, better: float) -> NDArray[np.float64]:
        p = (count + 1) / (drawn + 2)
        deviation = np.sqrt((n - drawn) * p * (1 - p) * ((n + 2) / (drawn + 2)))
        clipped: NDArray[np.float64] = np.clip((n - drawn) * p + better * deviation, 0, n - drawn)
        return clipped

    most = seen + np.floor(to_come(seen, better)).astype(np.int64)
    outcomes = []
    for t in range(1, k + 1):
        few = others[:, others.shape[1] - k :][:, :t].sum(axis=1)
        least = few + np.ceil(to_come(few, -better))
        share = np.minimum(least, few * room)[:, None]
        rest = np.floor(others * share / np.maximum(few, 1)[:, None]).astype(np.int64)
        top = np.minimum(most, n - rest.sum(axis=1))
        if t < k:
            larger = others.shape[1] - k + t
            rest[:, larger:] = scaled_votes(others[:, larger:], n - top - rest[:, :larger].sum(axis=1))
        else:
            rest = _filled(rest, n - top)
        outcome = np.empty_like(votes)
        outcome[own], outcome[~own] = top, rest.ravel()
        outcomes.append(outcome)
    return outcomes


def _filled(votes: Counts, draws: Counts) -> Counts:
    """Return ascending votes with the smallest raised to a level, so that their sums are `draws`."""
    spare = draws - votes.sum(axis=1)
    filled = np.arange(1, votes.shape[1] + 1)
    level = np.min(-(-(votes.cumsum(axis=1) + spare[:, None]) // filled), axis=1, keepdims=True)
    found = np.maximum(votes, level)
    # A level that is no whole number is one lower for some.
    lower: Counts = found - (filled <= (found.sum(axis=1) - draws)[:, None])
    return lower


def scaled_scores(sums: Counts, draws: NDArray[np.int64], units: int) -> Counts:
    """Return the sums of scores, and of their squares, of more draws that keep coming as they did.

    Parameters
    ----------
    sums : ndarray of int64, shape (N, 2, K + 1)
        The sums so far, as `rsmooth.certificates.softscores.SoftScores` has them.
    draws : ndarray of int64, shape (N,)
        How many draws it is to be.
    units : int
        What a draw's scores sum to.
    """
    growth = draws * units / sums[:, 0].sum(axis=1)
    squares = (sums[:, 1] * growth[:, None]).astype(np.int64)
    return _of_scores(scaled_votes(sums[:, 0], draws * units), squares, draws, units)


def hoped_scores(sums: Counts, asked: Counts, n: int, better: float, units: int) -> Counts:
    """Return the sums of `n` draws if those to come are so many standard deviations better than predicted.

    Better for a class, and worse for every other one; what is left goes to none.

    Parameters
    ----------
    sums : ndarray of int64, shape (N, 2, K + 1)
        The sums so far, as `rsmooth.certificates.softscores.SoftScores` has them, of at least one draw.
    asked : ndarray of int64, shape (N,)
        The class of each row.
    n : int
        How many draws it is to be.
    better : float
        How many deviations.
    units : int
        What a draw's scores sum to.

    Notes
    -----
    Scores to come have the mean and the variance of those seen and of two more, 0 and 1: of votes that is the law of
    `hoped_votes`.
    """
    drawn = sums[:, :1].sum(axis=2) // units
    mean = (sums[:, 0] / units + 1) / (drawn + 2)
    variance = np.maximum((sums[:, 1] / units**2 + 1) / (drawn + 2) - mean**2, 0.0)
    deviation = np.sqrt((n - drawn) * variance * ((n + 2) / (drawn + 2)))
    own = np.arange(mean.shape[1]) == asked[:, None]
    to_come = np.clip((n - drawn) * mean + np.where(own, better, -better) * deviation, 0, n - drawn)
    hoped = sums[:, 0] + np.floor(to_come * units).astype(np.int64)
    hoped[:, -1] = 0
    others = np.where(own, 0, hoped).sum(axis=1)
    hoped[own] = np.minimum(hoped[own], n * units - others)
    hoped[:, -1] = n * units - hoped.sum(axis=1)
    more = (hoped - sums[:, 0]) / units
    squares = (n - drawn) * variance + more**2 / np.maximum(n - drawn, 1)
    return _of_scores(hoped, sums[:, 1] + (squares * units**2).astype(np.int64), np.full(len(sums), n), units)


def _of_scores(sums: Counts, squares: Counts, drawn: Counts, units: int) -> Counts:
    """Return sums, and sums of squares moved to where scores can have them."""
    least = np.ceil(sums.astype(np.float64) ** 2 / drawn[:, None]).astype(np.int64)
    return np.stack([sums, np.clip(squares, least, sums * units)], axis=1)
