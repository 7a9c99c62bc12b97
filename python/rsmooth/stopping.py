"""When an example has draws enough, judged by its tally while it grows.

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
from rsmooth.rule import holds_when_stopped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.certificates.stoppable import Stoppable
    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]
    Tallies = NDArray[Any]

__all__ = ["Until", "radii_of"]

# How far above what is predicted, in standard deviations, draws to come are thought possible.
HOPE = 3.0

# At how many numbers of draws it is asked when a radius will be certified.
HORIZONS = 12


@dataclass(frozen=True)
class Until:
    """Ends an example when the answer at some radii, or the radius to within a width, is known.

    The lower end of its radius is what its tally certifies. The upper end is what all `n` draws would certify if those
    still to come were three standard deviations better than those so far predict [1]_ [2]_, as the kind says; for votes
    by a beta-binomial law. A radius below the lower end is certified, one from the upper end on is abandoned, about
    which nothing is said.

    Attributes
    ----------
    kind : Stoppable
        What is counted and certified.
    rule : Rule
        How tallies become certificates; its interval holds for draws that are stopped.
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
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.rule import Rule
    >>> from rsmooth.stopping import Until
    >>> rule = Rule(Gaussian(0.5), norm=2, dim=64, interval="anytime")
    >>> until = Until(TopClass(), rule, n=10_000, radii=(0, 0.25, 0.5))
    >>> counts = np.array([[999, 1], [80, 20], [10, 90]])
    >>> until.ends(np.zeros(3, np.int64), counts)[0].round(2)
    array([1.11, 0.12, 0.  ])
    >>> until.known(np.zeros(3, np.int64), counts)
    array([ True, False,  True])
    """

    kind: Stoppable
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
        integer("n", self.n, 1, self.kind.most)
        if (self.width is None) == (not self.radii):
            raise ValueError("until or width must be given, and not both")
        if self.width is not None:
            positive("width", self.width)
            return
        object.__setattr__(self, "radii", radii_of(self.radii))
        most = self._certified(*self.kind.best(self.n), None)[0]
        if not most > self.radii[-1]:
            raise ValueError(
                f"until must be of radii below {below(most)}, which n = {self.n} draws certify if all agree, got "
                f"{self.radii[-1]:g}: more draws, more noise or a smaller radius are needed"
            )

    def ends(self, selection: Tallies, tally: Tallies, labels: Tallies | None = None) -> tuple[Floats, Floats]:
        """Return the lower and the upper end of each example's radius.

        Parameters
        ----------
        selection : ndarray, shape (N, …)
            Tallies of separate draws, or what they chose.
        tally : ndarray, shape (N, …)
            The tallies so far, each of at least one and at most `n` draws.
        labels : ndarray or None
            The examples' labels, for a kind that takes them.

        Returns
        -------
        lower, upper : ndarray of float64, shape (N,)
            The ends.
        """
        hoped = self.kind.hoped(selection, tally, self.n, HOPE, labels=labels)
        upper: Floats = np.max([self._certified(selection, each, labels) for each in hoped], axis=0)
        return self._certified(selection, tally, labels), upper

    def known(self, selection: Tallies, tally: Tallies, labels: Tallies | None = None) -> NDArray[np.bool_]:
        """Tell which examples have draws enough, by tallies as for `ends`."""
        lower, upper = self.ends(selection, tally, labels)
        if self.width is not None:
            narrow: NDArray[np.bool_] = upper <= (1 + self.width) * lower
            return narrow
        at = np.array(self.radii)
        decided: NDArray[np.bool_] = np.all((lower[:, None] > at) | (upper[:, None] <= at), axis=1)
        return decided

    def needed(self, selection: Tallies, tally: Tallies, labels: Tallies | None = None) -> Floats:
        """Return about how many more draws the next radius takes, by tallies as for `ends`.

        Returns
        -------
        ndarray of float64, shape (N,)
            Draws until the least radius that is open is certified, if they keep coming as they did; infinite where
            `n` draws will not do, or where none is open.
        """
        lower, upper = self.ends(selection, tally, labels)
        at = np.array(self.radii)
        open_ = (lower[:, None] <= at) & (upper[:, None] > at)
        wanted = np.where(open_.any(axis=1), at[open_.argmax(axis=1)], math.inf)
        drawn = self.kind.drawn(tally)
        # The last is `n` exactly.
        growth = (self.n / drawn[:, None]) ** (np.arange(1, HORIZONS + 1) / HORIZONS)
        draws = np.ceil(drawn[:, None] * growth).astype(np.int64).clip(max=self.n)
        rows = np.arange(len(tally)).repeat(HORIZONS)
        scaled = self.kind.scaled(tally[rows], draws.ravel())
        found = self._certified(selection[rows], scaled, None if labels is None else labels[rows]).reshape(draws.shape)
        reached = found > wanted[:, None]
        more = np.take_along_axis(draws, reached.argmax(axis=1)[:, None], axis=1)[:, 0] - drawn
        return np.where(reached.any(axis=1), more, math.inf)

    def _certified(self, selection: Tallies, tally: Tallies, labels: Tallies | None) -> Floats:
        return self.kind.certify(selection, tally, self.rule, labels=labels).radius


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
