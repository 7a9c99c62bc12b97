"""When an example has draws enough, judged by its votes while they come in.

What a certificate claims rests on the anytime interval, which holds at whatever moment one stops. Nothing here is part
of the claim: rules of stopping only trade draws for certificates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._check import integer, positive
from rsmooth._digits import below
from rsmooth.certificates.topclass import certify_under
from rsmooth.rule import holds_when_stopped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]
    Counts = NDArray[Any]

__all__ = ["Until", "radii_of"]

# How far above what is predicted, in standard deviations, votes to come are thought possible.
HOPE = 3.0

# At how many numbers of draws it is asked when a radius will be certified.
HORIZONS = 12


@dataclass(frozen=True)
class Until:
    """Ends an example when the answer at some radii, or the radius to within a width, is known.

    The lower end of its radius is what its votes certify. The upper end is what all `n` draws would certify if the
    votes still to come were three standard deviations better than those so far predict, by a beta-binomial law [1]_
    [2]_. A radius below the lower end is certified, one from the upper end on is abandoned, about which nothing is
    said.

    Attributes
    ----------
    rule : Rule
        How votes become certificates; its interval holds for draws that are stopped.
    n : int
        The most draws there will be.
    radii : tuple of float
        The radii, at least 0, ascending.
    width : float or None
        Instead of `radii`: end when the upper end is at most ``1 + width`` times the lower one.

    Raises
    ------
    ValueError
        If a value is not allowed, or a radius cannot be certified by `n` draws however they come out.

    References
    ----------
    .. [1] Lan, Simon and Halperin, "Stochastically curtailed testing in long-term clinical trials", 1982.
    .. [2] Spiegelhalter, Freedman and Blackburn, "Monitoring clinical trials: conditional or predictive power?", 1986.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian
    >>> from rsmooth.rule import Rule
    >>> from rsmooth.stopping import Until
    >>> until = Until(Rule(Gaussian(0.5), norm=2, dim=64, interval="anytime"), n=10_000, radii=(0, 0.25, 0.5))
    >>> counts = np.array([[999, 1], [80, 20], [10, 90]])
    >>> until.ends(np.zeros(3, np.int64), counts)[0].round(2)
    array([1.11, 0.12, 0.  ])
    >>> until.known(np.zeros(3, np.int64), counts)
    array([ True, False,  True])
    """

    rule: Rule
    n: int
    radii: tuple[float, ...] = ()
    width: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not holds_when_stopped(self.rule.interval):
            raise ValueError(
                f"interval must hold for draws that are stopped, as anytime does, got {self.rule.interval}"
            )
        integer("n", self.n, 1, 2**53)
        if (self.width is None) == (not self.radii):
            raise ValueError("until or width must be given, and not both")
        if self.width is not None:
            positive("width", self.width)
            return
        object.__setattr__(self, "radii", radii_of(self.radii))
        unanimous = certify_under(self.rule, np.array([[self.n, 0]]), np.array([0])).radius[0]
        if not unanimous > self.radii[-1]:
            raise ValueError(
                f"until must be of radii below {below(unanimous)}, which n = {self.n} draws certify if all agree, got "
                f"{self.radii[-1]:g}: more draws, more noise or a smaller radius are needed"
            )

    def ends(self, selection: Counts, counts: Counts) -> tuple[Floats, Floats]:
        """Return the lower and the upper end of each example's radius.

        Parameters
        ----------
        selection : ndarray of integers, shape (N, K) or (N,)
            What separate draws voted for or chose.
        counts : ndarray of int64, shape (N, K)
            The votes so far, at least one and at most `n` of each example.

        Returns
        -------
        lower, upper : ndarray of float64, shape (N,)
            The ends.
        """
        lower = certify_under(self.rule, counts, selection).radius
        chosen = selection if selection.ndim == 1 else selection.argmax(axis=1)
        top, second, draws = _hoped(*_leading(chosen, counts), self.n)
        return lower, self._radii(top, second, draws, counts.shape[1])

    def known(self, selection: Counts, counts: Counts) -> NDArray[np.bool_]:
        """Tell which examples have draws enough, by votes as for `ends`."""
        lower, upper = self.ends(selection, counts)
        if self.width is not None:
            narrow: NDArray[np.bool_] = upper <= (1 + self.width) * lower
            return narrow
        at = np.array(self.radii)
        decided: NDArray[np.bool_] = np.all((lower[:, None] > at) | (upper[:, None] <= at), axis=1)
        return decided

    def needed(self, selection: Counts, counts: Counts) -> Floats:
        """Return about how many more draws the next radius takes, by votes as for `ends`.

        Returns
        -------
        ndarray of float64, shape (N,)
            Draws until the least radius that is open is certified, if votes keep coming as they did; infinite where
            `n` draws will not do, or where none is open.
        """
        lower, upper = self.ends(selection, counts)
        at = np.array(self.radii)
        open_ = (lower[:, None] <= at) & (upper[:, None] > at)
        wanted = np.where(open_.any(axis=1), at[open_.argmax(axis=1)], math.inf)
        chosen = selection if selection.ndim == 1 else selection.argmax(axis=1)
        top, second, drawn = _leading(chosen, counts)
        # The last is `n` exactly.
        growth = (self.n / drawn[:, None]) ** (np.arange(1, HORIZONS + 1) / HORIZONS)
        draws = np.ceil(drawn[:, None] * growth).astype(np.int64).clip(max=self.n)
        votes, others = (np.floor(each[:, None] * (draws / drawn[:, None])).astype(np.int64) for each in (top, second))
        found = self._radii(votes.ravel(), others.ravel(), draws.ravel(), counts.shape[1]).reshape(draws.shape)
        reached = found > wanted[:, None]
        more = np.take_along_axis(draws, reached.argmax(axis=1)[:, None], axis=1)[:, 0] - drawn
        return np.where(reached.any(axis=1), more, math.inf)

    def _radii(self, top: Counts, second: Counts, draws: Counts, classes: int) -> Floats:
        """Return the radii of so many draws with so many votes for the class and, if it can be, its runner-up."""
        rest = draws - top
        second = np.minimum(np.maximum(second, -(-rest // (classes - 1))), rest)
        behind = np.clip(rest[:, None] - second[:, None] * np.arange(classes - 1), 0, second[:, None])
        counts = np.concatenate([top[:, None], behind], axis=1)
        return certify_under(self.rule, counts, np.zeros(len(top), np.int64)).radius


def radii_of(until: Any) -> tuple[float, ...]:
    """Return radii, ascending, each once.

    Raises
    ------
    ValueError
        If there are none, or one is negative or not finite.
    TypeError
        If they are not numbers.
    """
    if isinstance(until, (str, bytes)) or not hasattr(until, "__iter__"):
        raise TypeError(f"until must be a sequence of radii, got {until!r} of type {type(until).__name__}")
    radii = []
    for i, radius in enumerate(until):
        if isinstance(radius, (bool, str, bytes)) or not hasattr(radius, "__float__"):
            raise TypeError(f"until[{i}] must be a number, got {radius!r} of type {type(radius).__name__}")
        radii.append(float(radius))
        if not 0 <= radii[-1] < math.inf:
            raise ValueError(f"until[{i}] must be finite and at least 0, got {radii[-1]}")
    if not radii:
        raise ValueError("until must be of at least one radius, got none")
    return tuple(sorted(set(radii)))


def _leading(chosen: Counts, counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Return the votes of the chosen classes, the most of any other, and the draws."""
    top = np.take_along_axis(counts, chosen[:, None], axis=1)[:, 0]
    others = counts.copy()
    np.put_along_axis(others, chosen[:, None], -1, axis=1)
    return top, others.max(axis=1), counts.sum(axis=1)


def _hoped(top: Counts, second: Counts, drawn: Counts, n: int) -> tuple[Counts, Counts, Counts]:
    """Return the same after `n` draws, if those to come are better than predicted by so many standard deviations."""

    def to_come(votes: Counts, better: float) -> Floats:
        p = (votes + 1) / (drawn + 2)
        deviation = np.sqrt((n - drawn) * p * (1 - p) * ((n + 2) / (drawn + 2)))
        clipped: Floats = np.clip((n - drawn) * p + better * deviation, 0, n - drawn)
        return clipped

    most = top + np.floor(to_come(top, HOPE)).astype(np.int64)
    least = second + np.ceil(to_come(second, -HOPE)).astype(np.int64)
    return most, least, np.full_like(drawn, n)
