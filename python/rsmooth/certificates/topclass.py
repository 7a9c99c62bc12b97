"""Counts to certificates, for whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rsmooth import _core
from rsmooth._check import worker_count
from rsmooth.bounds import rule_of
from rsmooth.confidence import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.bounds import Mechanism

__all__ = ["Certificates", "certify_counts"]


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """The certificates of N inputs, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws behind its counts, no perturbation of input i of norm
    at most ``radius[i]`` changes the smoothed classifier's vote from ``prediction[i]``. Where ``prediction[i]`` is −1
    the row abstains, ``radius[i]`` is 0 and nothing is said.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The certified class, or −1 for an abstention.
    radius : ndarray of float64, shape (N,)
        The radius, in units of the input and in `norm`; positive except where the row abstains.
    p1, p2 : ndarray of float64, shape (N,)
        Lower confidence bound of the selected class's probability and upper confidence bound of every other's.
    order : ndarray of float64, shape (N,)
        The Rényi order that gives the radius; NaN for other bounds and for abstentions.
    counts : ndarray of integers, shape (N, K)
        The votes, as they were given.
    selection : ndarray of integers, shape (N, K) or (N,), or None
        The votes or classes that selected the class, as they were given; None if `counts` did.
    mechanism
        The mechanism whose draws were counted.
    norm : float
        The norm of the perturbation: 1, 2 or ``math.inf``.
    dim : int
        The number of coordinates of an input.
    alpha : float
        The failure probability of each certificate.
    bound, runner_up : str
        How p1 and p2 became a radius, and how p2 was bounded.
    seed : numpy.random.SeedSequence or None
        What `SmoothedClassifier.certify` drew its noise from; None where the counts came from elsewhere.
    indices : ndarray of int64, shape (N,), or None
        The inputs' numbers among `seed`'s examples.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    p1: NDArray[np.float64]
    p2: NDArray[np.float64]
    order: NDArray[np.float64]
    counts: NDArray[Any]
    selection: NDArray[Any] | None
    mechanism: Mechanism
    norm: float
    dim: int
    alpha: float
    bound: str
    runner_up: str
    seed: np.random.SeedSequence | None = None
    indices: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.prediction)

    def __repr__(self) -> str:
        """Describe the settings and summarise the radii."""
        abstained = int((self.prediction < 0).sum())
        median = f", median radius {np.median(self.radius):.4g}" if len(self) else ""
        return (
            f"Certificates({len(self)} inputs, {abstained} abstained{median}; {self.mechanism!r}, norm={self.norm}, "
            f"dim={self.dim}, alpha={self.alpha}, bound={self.bound!r}, runner_up={self.runner_up!r})"
        )

    def certified_accuracy(self, labels: ArrayLike, radii: ArrayLike) -> NDArray[np.float64]:
        """Share of all inputs that are predicted correctly with a radius above each of `radii`.

        Abstentions count as errors: they stay in the denominator. The comparison is strict, so that ``radii=0`` gives
        the share of correct predictions.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The true classes.
        radii : array_like of float
            Radii, of any shape.

        Returns
        -------
        ndarray of float64
            The certified accuracy at each radius, of the shape of `radii` (a scalar for a scalar).

        Raises
        ------
        ValueError
            If `labels` has another shape, there are no inputs, or a radius is NaN or negative.
        TypeError
            If `labels` are not integers or `radii` not real numbers.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64,
        ...                               selection=[0, 0, 0])
        >>> certificates.certified_accuracy([0, 0, 0], [0.0, 0.5]).round(3)
        array([0.667, 0.333])
        """
        return np.asarray(self._certified(labels, radii) / len(self))[()]

    def certified_accuracy_interval(
        self, labels: ArrayLike, radii: ArrayLike, *, alpha: float = 0.05
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clopper-Pearson interval of the certified accuracy at each radius, the inputs taken for a random sample.

        Parameters
        ----------
        labels, radii
            As for `certified_accuracy`.
        alpha : float
            The probability that the interval at one radius misses the accuracy over all inputs there could be.

        Returns
        -------
        tuple of ndarray of float64
            Its lower and its upper end, of the shape of `radii` (scalars for a scalar).

        Raises
        ------
        ValueError, TypeError
            As `certified_accuracy`, or if `alpha` is not above 0 and below 1.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10]] * 30, Gaussian(0.5), norm=2, dim=64, selection=[0] * 30)
        >>> lower, upper = certificates.certified_accuracy_interval([0] * 30, [0.5, 1.5])
        >>> lower.round(3), upper.round(3)
        (array([0.884, 0.   ]), array([1.   , 0.116]))
        """
        held = self._certified(labels, radii)
        return (
            clopper_pearson(held, len(self), alpha / 2, side="lower"),
            clopper_pearson(held, len(self), alpha / 2, side="upper"),
        )

    def steps(self, labels: ArrayLike) -> NDArray[np.float64]:
        """Radii at which `certified_accuracy` changes, ascending, 0 among them.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The true classes.

        Returns
        -------
        ndarray of float64
            The radii.

        Raises
        ------
        ValueError, TypeError
            As `certified_accuracy`.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64,
        ...                               selection=[0, 0, 0])
        >>> certificates.steps([0, 0, 0]).round(3)
        array([0.   , 0.048, 0.798])
        """
        return np.unique(np.append(self._held(labels), 0.0))

    def radius_at(self, labels: ArrayLike, accuracy: float) -> float:
        """Largest radius below which the certified accuracy is at least `accuracy` everywhere.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The true classes.
        accuracy : float
            Above 0 and at most 1.

        Returns
        -------
        float
            The radius; 0 where even the share of right predictions is below `accuracy`.

        Raises
        ------
        ValueError, TypeError
            As `certified_accuracy`, or if `accuracy` is not allowed.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64,
        ...                               selection=[0, 0, 0])
        >>> round(certificates.radius_at([0, 0, 0], 0.5), 3), certificates.radius_at([0, 0, 0], 0.9)
        (0.048, 0.0)
        """
        if isinstance(accuracy, bool) or not isinstance(accuracy, (int, float)):
            raise TypeError(f"accuracy must be a number, got {type(accuracy).__name__}")
        if not 0 < accuracy <= 1:
            raise ValueError(f"accuracy must be above 0 and at most 1, got {accuracy}")
        held = self._held(labels)
        # Shares are compared as `certified_accuracy` gives them, so that no rounding asks for an input too many.
        needed = 1 + int(np.searchsorted(np.arange(1, len(held)) / len(held), accuracy))
        return float(held[len(held) - needed])

    def average_radius(self, labels: ArrayLike) -> float:
        """Average certified radius: the mean over all inputs, those not predicted correctly counted as 0.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The true classes.

        Returns
        -------
        float
            The mean.

        Raises
        ------
        ValueError, TypeError
            As `certified_accuracy`.

        References
        ----------
        .. [1] Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", 2020.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64,
        ...                               selection=[0, 0, 0])
        >>> round(certificates.average_radius([0, 0, 0]), 3)
        0.282
        """
        return float(self._held(labels).mean())

    def _certified(self, labels: ArrayLike, radii: ArrayLike) -> NDArray[np.int64]:
        """Return how many inputs are predicted correctly with a radius above each of `radii`."""
        at = np.asarray(radii)
        if at.dtype.kind not in "fiu":
            raise TypeError(f"radii must be real numbers, got dtype {at.dtype}")
        held = self._held(labels)
        if not (at >= 0).all():
            raise ValueError(f"radii must be at least 0, got {at[~(at >= 0)].ravel()[0]}")
        return np.asarray(len(held) - np.searchsorted(held, at, side="right"))

    def _held(self, labels: ArrayLike) -> NDArray[np.float64]:
        """Return the radii in which the true class is certified, 0 where it is not, in ascending order."""
        truth = np.asarray(labels)
        if truth.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got dtype {truth.dtype}")
        if truth.shape != self.prediction.shape:
            raise ValueError(f"labels must have the shape {self.prediction.shape}, got {truth.shape}")
        if not len(self):
            raise ValueError("the accuracy of no inputs is undefined")
        return np.sort(np.where(self.prediction == truth, self.radius, 0.0))


def certify_counts(
    counts: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    bound: str = "renyi",
    selection: ArrayLike | None = None,
    runner_up: Literal["second", "complement"] = "second",
    threads: int | None = None,
) -> Certificates:
    """Turn vote counts into certificates.

    Parameters
    ----------
    counts : array_like of int, shape (N, K)
        For each input the votes of its K ≥ 2 classes, of any integer type. An array in C order is not copied, and the
        result refers to it.
    mechanism : Gaussian, Exponential or Laplace
        The mechanism whose draws were counted.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured.
    dim : int
        The number of coordinates of an input.
    alpha : float
        The failure probability of each certificate, above 0 and below 1.
    bound : {"renyi", "neyman-pearson", "pure-dp", "pixeldp"}
        How p1 and p2 become a radius. "neyman-pearson" holds for Gaussian alone, "pure-dp" for the others alone.
    selection : array_like of int, shape (N, K) or (N,), optional
        What chose each input's class: counts of *separate* draws, of which the largest wins (the lowest class where
        several are largest), or the classes themselves. Never pass `counts` again here. Without it the class with the
        largest count is chosen, and the confidence bounds are those of selection on the same draws.
    runner_up : {"second", "complement"}
        Whether p2 is the upper bound of the largest other count (or 1 - p1 if that is less), at the price of sharing
        alpha between p1 and p2, or 1 - p1.
    threads : int, optional
        Number of threads; all cores by default. The result does not depend on it.

    Returns
    -------
    Certificates
        The certificates of the N inputs.

    Raises
    ------
    ValueError
        If a count is negative, a row's sum is 0 or above 2**53, the shapes do not fit, a selected class does not exist,
        or `norm`, `dim`, `alpha`, `bound`, `runner_up` or `threads` is not as above.
    TypeError
        If `counts` or `selection` are not integers, or `mechanism` is no mechanism.

    Notes
    -----
    The Clopper-Pearson levels are: with `selection`, alpha/2 for each of p1 and p2 ("second") or alpha for p1
    ("complement"); without it, alpha/(2K) for p1 and alpha/4 for p2, or alpha/2 for p1. ``docs/radii.md`` proves them.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> certificates = certify_counts([[9, 990, 1], [400, 350, 250]], Gaussian(0.25), norm=2, dim=3072,
    ...                               selection=[1, 0])
    >>> certificates.prediction
    array([ 1, -1])
    >>> certificates.radius.round(4)
    array([0.4033, 0.    ])
    """
    votes = _counts(counts, "counts")
    if votes.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"counts must have the shape (N, K), got {votes.shape}")
    if runner_up not in ("second", "complement"):
        raise ValueError(f'runner_up must be "second" or "complement", got {runner_up!r}')
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(f"alpha must be a number, got {type(alpha).__name__}")
    rule = rule_of(mechanism, norm=norm, dim=dim, bound=bound)
    threads = worker_count(threads)
    rows = len(votes)
    chosen = None if selection is None else _counts(selection, "selection")
    if chosen is None:
        prediction = np.empty(rows, np.int64)
    elif chosen.shape == votes.shape:
        prediction = np.empty(rows, np.int64)
        _core.top_classes(chosen, prediction)
    elif chosen.shape == (rows,):
        prediction = chosen.astype(np.int64)
    else:
        raise ValueError(f"selection must have the shape {votes.shape} or {(rows,)}, got {chosen.shape}")
    radius, p1, p2, order = (np.empty(rows) for _ in range(4))
    _core.certify(
        votes,
        rule,
        float(alpha),
        runner_up == "complement",
        chosen is not None,
        prediction,
        radius,
        p1,
        p2,
        order,
        threads,
    )
    return Certificates(
        prediction=prediction,
        radius=radius,
        p1=p1,
        p2=p2,
        order=order,
        counts=votes,
        selection=chosen,
        mechanism=mechanism,
        norm=float(norm),
        dim=rule[3],
        alpha=float(alpha),
        bound=bound,
        runner_up=runner_up,
    )


def _counts(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    # The core takes aligned numbers of the machine's byte order.
    return np.require(array, array.dtype.newbyteorder("="), "A")
