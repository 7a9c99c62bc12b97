"""Full information: certificates from how scores are distributed over the noise, not from their means alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth.certificates.means import mean_bound
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.scores import UNITS, EachScore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]

__all__ = ["FullInformation", "FullInformationCertificates"]

# The weights and exponents that are tried on the draws that select.
WEIGHTS = np.linspace(0.1, 1, 10)
EXPONENTS = 1 + np.geomspace(0.2, 500, 40)

# What the budget is less than as computed: some thousand times what logarithms and powers are rounded by.
SAFETY = 1e-9

# Steps of the search for the radius: doublings, then halvings.
DOUBLINGS, HALVINGS = 1100, 60


@dataclass(frozen=True, eq=False, repr=False)
class FullInformationCertificates(Certificates):
    """The certificates of N inputs from all of their scores, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws, no perturbation of input i of norm at most
    ``radius[i]`` changes that class ``prediction[i]`` has the highest mean score. Where ``prediction[i]`` is −1 nothing
    is said.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The class, or −1.
    order : ndarray of float64, shape (N,)
        The Rényi order that gives the radius; NaN for abstentions.
    counts, selection : ndarray of uint16, shapes (N, n, K + 1) and (N, n0, K + 1)
        The scores of each draw in units of 1 / 65535, and what they leave of 1.

    The others are those of `rsmooth.Certificates`; `p1` and `p2` are NaN.
    """

    @property
    def _kind(self) -> FullInformation:
        return FullInformation()


@dataclass(frozen=True)
class FullInformation(EachScore):
    """Mean scores by all that is known of their distribution: larger radii where scores vary less than votes.

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
    Let φ be the class's score less the largest other score of a draw. For a weight w in (0, 1] and an exponent b > 1,
    the class keeps the highest mean score within r if D_MR(r) < -(1 - 1/b) ln E(1 - wφ)^b: docs/certificates.md has the
    proof. w and b are those that promise most by the draws that select; the mean is then bounded from above, by
    betting (`rsmooth.certificates.means.mean_bound`), on the others. The published certificate [1]_ is for a ball of
    one f-divergence; here it is one of each Rényi order, of which the best is taken.

    All scores are kept, as whole units of 1 / 65535: (n0 + n) (K + 1) times two bytes for each example.

    References
    ----------
    .. [1] Dvijotham et al., "A Framework for Robustness Certification of Smoothed Classifiers Using f-Divergences",
       ICLR 2020.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.certificates.fullinformation import FullInformation
    >>> from rsmooth.certificates.softscores import SoftScores
    >>> smoothed = SmoothedClassifier(lambda x: 4 * x, Gaussian(0.25), num_classes=2)
    >>> x = torch.tensor([[0.2, 0.8]])
    >>> settings = {"n0": 200, "n": 5000, "norm": 2, "seed": 0}
    >>> [smoothed.certify(x, kind=kind("logits"), **settings).radius.round(3) for kind in (SoftScores, FullInformation)]
    [array([0.255]), array([0.387])]
    """

    name: ClassVar[str] = "full-information"

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> FullInformationCertificates:
        """Return what the scores prove.

        Parameters
        ----------
        selection : ndarray of integers, shape (N, n0, K + 1)
            The scores of separate draws, which select the class, the weight and the exponent.
        tally : ndarray of integers, shape (N, n, K + 1)
            The scores. Rows of 0 at the end, of all examples, are room that was left over.
        rule : Rule
            How they become certificates: its interval must be "betting", its bound "tightest" or "renyi".
        labels, threads
            Not looked at.
        n : int or None
            Refuse another number of draws.

        Returns
        -------
        FullInformationCertificates
            One a row.

        Raises
        ------
        ValueError
            If the mechanism's divergence is not known, or another argument is not as above or as
            `rsmooth.certificates.scores.EachScore.checked` takes it.
        TypeError
            If scores are not integers.
        """
        if rule.bound not in ("tightest", "renyi") or rule.runner_up != "second":
            raise ValueError(
                'bound must be "tightest" or "renyi" and runner_up "second" for full information, got '
                f"{rule.bound!r} and {rule.runner_up!r}"
            )
        mr = rule.mechanism.profile(rule.norm, rule.dim, grid=rule.grid).mr
        if mr is None:
            raise ValueError(f"mechanism must be one whose divergence D_MR is known, got {rule.mechanism.name}")
        pilot, counts, classes = self.checked(selection, tally, rule, n)
        budgets, orders = np.zeros(len(counts)), np.full(len(counts), np.nan)
        for i, best in enumerate(classes.tolist()):
            weight, power = _fitted(_lead(pilot[i], best), counts.shape[1], rule.alpha)
            # A number in [0, 1] whose mean, times (1 + w)^b, is what the theorem asks for.
            shares = ((1 - weight * _lead(counts[i], best)) / (1 + weight)) ** power
            mean = float(mean_bound(shares.clip(0, 1), rule.alpha, side="upper")) + rule.noise_error
            budget = -(1 - 1 / power) * (np.log(mean) + power * np.log1p(weight))
            budgets[i], orders[i] = budget - SAFETY * (abs(budget) + power), power / (power - 1)
        radius = _radius(mr, np.maximum(budgets, 0.0))
        nothing = np.full(len(radius), np.nan)
        return FullInformationCertificates(
            prediction=np.where(radius > 0, classes, -1),
            radius=radius,
            p1=nothing,
            p2=nothing.copy(),
            order=np.where(radius > 0, orders, np.nan),
            counts=counts,
            selection=pilot,
            **rule.settings,
        )


def _lead(units: NDArray[Any], best: int) -> Floats:
    """Return a class's score less the largest other one, of each draw."""
    scores = units[:, :-1].astype(np.float64) / UNITS
    lead: Floats = scores[:, best] - np.delete(scores, best, axis=1).max(axis=1)
    return lead


def _fitted(lead: Floats, n: int, alpha: float) -> tuple[float, float]:
    """Return the weight and the exponent of the largest budget that `n` draws would prove, if they came out like these.

    Nothing of the certificate rests on it.
    """
    shares = (1 - WEIGHTS[:, None] * lead) / (1 + WEIGHTS[:, None])
    powers = shares[:, None, :] ** EXPONENTS[:, None]
    log = np.log(1 / alpha)
    mean = powers.mean(axis=2) + np.sqrt(2 * powers.var(axis=2) * log / n) + log / n
    budget = -(1 - 1 / EXPONENTS) * (np.log(mean) + EXPONENTS * np.log1p(WEIGHTS[:, None]))
    weight, power = np.unravel_index(int(budget.argmax()), budget.shape)
    return float(WEIGHTS[weight]), float(EXPONENTS[power])


def _radius(mr: Any, budgets: Floats) -> Floats:
    """Return radii at which the divergence is below the budgets, the largest but for rounding."""

    def below(r: Floats) -> NDArray[np.bool_]:
        return np.asarray(mr(r), np.float64) < budgets

    low, high = np.zeros(len(budgets)), np.ones(len(budgets))
    if not len(budgets):
        return low
    for _ in range(DOUBLINGS):
        more = below(high)
        if not more.any():
            break
        low, high = np.where(more, high, low), np.where(more, 2 * high, high)
    # Small radii take halvings too before there is a digit of them.
    for _ in range(DOUBLINGS):
        if not ((low == 0) & (budgets > 0) & (high > np.finfo(float).tiny)).any():
            break
        half = high / 2
        fits = below(half)
        low, high = np.where((low == 0) & fits, half, low), np.where((low == 0) & ~fits, half, high)
    for _ in range(HALVINGS):
        middle = low + (high - low) / 2
        fits = below(middle)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.where(budgets > 0, low, 0.0)
