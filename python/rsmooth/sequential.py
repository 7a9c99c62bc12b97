"""A sequential test of a class's probability: is one radius certified, with as few draws as that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsmooth._check import integer, positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.mechanisms import Mechanism

    Decisions = NDArray[np.int8]

__all__ = ["OUTCOMES", "BettingTest", "least_probability"]

# An example whose class has the probability asked for is abandoned with at most this probability. Abandoning claims
# nothing, so that this is no matter of soundness: it trades draws for certificates.
FUTILITY = 0.05

# Alternatives to a probability m are 1 − (1 − m) t for these t, from far above m to just above it.
BETS = np.concatenate([[0.0], 2.0 ** -np.arange(1, 21), 1 - 2.0 ** -np.arange(2, 11)])


def least_probability(mechanism: Mechanism, radius: float, *, norm: float, dim: int, bound: str) -> float:
    """Return a probability of the top class that certifies `radius` where the runner-up has all the rest.

    Parameters
    ----------
    mechanism : Gaussian, Exponential or Laplace
        The mechanism.
    radius : float
        Finite and above 0.
    norm, dim, bound
        As for ``mechanism.radius``.

    Returns
    -------
    float
        The least p, to within rounding and never below it, with ``mechanism.radius(p, 1 - p, …) >= radius``.

    Raises
    ------
    ValueError
        If no p below 1 certifies `radius`, or an argument is not allowed.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.sequential import least_probability
    >>> round(least_probability(Gaussian(0.5), 0.5, norm=2, dim=3072, bound="neyman-pearson"), 6)  # Φ(1)
    0.841345
    """
    radius = positive("radius", radius)

    def reaches(p: float) -> bool:
        return bool(mechanism.radius(p, 1 - p, norm=norm, dim=dim, bound=bound) >= radius)

    low, high = 0.5, math.nextafter(1, 0)
    if not reaches(high):
        raise ValueError(f"radius {radius:g} is more than {mechanism} certifies with any number of draws")
    # Radii grow with p, so that whatever is above `high` certifies what `high` does.
    while high - low > math.ulp(high):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class BettingTest:
    """An e-process against the hypothesis that a class has at most a certain probability, asked while draws come in.

    A gambler who starts with 1 bets on each draw at odds that are fair or worse for him while the hypothesis holds. By
    Ville's inequality his wealth then ever reaches 1 / alpha with probability at most alpha, so that reaching it at any
    time whatever certifies. His wealth is the mean of `BETS` gamblers', each of which holds another probability above
    m for true and bets Kelly's share, so that it is a function of the numbers of draws and votes alone.

    Attributes
    ----------
    threshold : float
        The probability m, at least 1/2 and below 1.
    alpha : float
        Probability of certifying while the class has no more than `threshold`.
    n : int
        The most draws there will be.

    Raises
    ------
    ValueError
        If a value is not allowed, or `n` draws could not certify however they come out.

    References
    ----------
    Ville, "Étude critique de la notion de collectif", 1939; Waudby-Smith, Ramdas, "Estimating means of bounded random
    variables by betting", 2024; Voráček, "Treatment of Statistical Estimation Problems in Randomized Smoothing for
    Adversarial Robustness", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.sequential import BettingTest
    >>> test = BettingTest(threshold=0.84, alpha=0.001, n=100_000)
    >>> test.decide(np.array([100, 100, 50]), np.array([100, 120, 100]))
    array([ 1,  0, -1], dtype=int8)
    """

    threshold: float
    alpha: float
    n: int

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0.5 <= self.threshold < 1:  # noqa: PLR2004
            raise ValueError(f"threshold must be at least 1/2 and below 1, got {self.threshold}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be above 0 and below 1, got {self.alpha}")
        integer("n", self.n, 1, 2**53)
        unanimous = np.array([self.n])
        if self.decide(unanimous, unanimous)[0] <= 0:
            raise ValueError(
                f"n = {self.n} draws cannot certify this radius even if all agree: more draws or a smaller radius are "
                "needed"
            )

    def decide(self, votes: NDArray[np.int64], draws: NDArray[np.int64]) -> Decisions:
        """Judge examples, after however many draws.

        Parameters
        ----------
        votes, draws : ndarray of int64, shape (N,)
            The class's votes, and all of them.

        Returns
        -------
        ndarray of int8, shape (N,)
            1: the class has more than `threshold`. −1: it has less, most likely. 0: go on.
        """
        above = _log_wealth(votes, draws, self.threshold) >= -math.log(self.alpha)
        below = _log_wealth(draws - votes, draws, 1 - self.threshold) >= -math.log(FUTILITY)
        return np.where(above, 1, np.where(below, -1, 0)).astype(np.int8)


# What decisions are called.
OUTCOMES = {1: "certified", -1: "abandoned", 0: "undecided"}


def _log_wealth(votes: NDArray[np.int64], draws: NDArray[np.int64], m: float) -> NDArray[np.float64]:
    """Return the logarithm of the wealth against "a vote has probability at most m", never above the true value.

    A gambler who believes in q > m multiplies his wealth by q / m at a vote and by (1 − q) / (1 − m) otherwise, on
    average by 1 + (p − m)(q − m) / (m (1 − m)) <= 1 where p <= m. With 1 − q = (1 − m) t the second is t itself and the
    first 1 + (1 − m)(1 − t) / m, in which nothing cancels however near m is to 1.
    """
    with np.errstate(divide="ignore"):
        won, lost = np.log1p((1 - m) * (1 - BETS) / m), np.log(BETS)
    for_, against = votes[:, None].astype(np.float64), (draws - votes)[:, None].astype(np.float64)
    # The first gambler is sure: without a draw against him he has lost nothing, with one everything.
    lost[0] = 0
    gains, losses = for_ * won, against * lost
    sure = np.zeros((len(votes), len(BETS)))
    sure[:, 0] = np.where(against[:, 0] > 0, -np.inf, 0)
    # Each logarithm, product and sum is good to a few units in the last place, as 1 - m and 1 - t are exact; many more
    # are taken off.
    margin = 2.0**-48 * (np.abs(gains) + np.abs(losses) + 1)
    return np.logaddexp.reduce(gains + losses + sure - margin, axis=1) - math.log(len(BETS)) - 2.0**-40  # type: ignore[no-any-return]
