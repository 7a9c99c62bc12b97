"""Certified accuracy: what certificates come to over inputs whose true classes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rsmooth.confidence import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CertifiedRadii", "OfLabels"]


class CertifiedRadii:
    """The radii within which the true classes of N inputs are certified: 0 where another class is, or none.

    Abstentions count as errors: they stay in every denominator.

    Parameters
    ----------
    prediction : array_like of int, shape (N,)
        The certified classes; −1 for an abstention.
    radius : array_like of float, shape (N,)
        Their radii.
    labels : array_like of int, shape (N,)
        The true classes.

    Raises
    ------
    ValueError
        If `labels` has another shape, or there are no inputs.
    TypeError
        If `labels` are not integers.

    Attributes
    ----------
    values : ndarray of float64, shape (N,)
        The radii in ascending order.

    Examples
    --------
    >>> from rsmooth.certificates.accuracy import CertifiedRadii
    >>> certified = CertifiedRadii(prediction=[0, 0, -1, 2], radius=[0.5, 0.75, 0.0, 1.0], labels=[0, 0, 0, 1])
    >>> certified.values
    array([0.  , 0.  , 0.5 , 0.75])
    >>> certified.accuracy([0.0, 0.5]), certified.mean(), certified.radius_at(0.5)
    (array([0.5 , 0.25]), 0.3125, 0.5)
    """

    def __init__(self, prediction: ArrayLike, radius: ArrayLike, labels: ArrayLike) -> None:
        truth, classes = np.asarray(labels), np.asarray(prediction)
        if truth.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got dtype {truth.dtype}")
        if truth.shape != classes.shape:
            raise ValueError(f"labels must have the shape {classes.shape}, got {truth.shape}")
        if not truth.size:
            raise ValueError("the accuracy of no inputs is undefined")
        self.values: NDArray[np.float64] = np.sort(np.where(classes == truth, radius, 0.0))

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.values)

    def number(self, radii: ArrayLike) -> NDArray[np.int64]:
        """Return how many inputs are predicted correctly with a radius above each of `radii`."""
        at = np.asarray(radii)
        if at.dtype.kind not in "fiu":
            raise TypeError(f"radii must be real numbers, got dtype {at.dtype}")
        if not (at >= 0).all():
            raise ValueError(f"radii must be at least 0, got {at[~(at >= 0)].ravel()[0]}")
        return np.asarray(len(self) - np.searchsorted(self.values, at, side="right"))

    def accuracy(self, radii: ArrayLike) -> NDArray[np.float64]:
        """Return the share of all inputs that are predicted correctly with a radius above each of `radii`."""
        return np.asarray(self.number(radii) / len(self))[()]

    def interval(self, radii: ArrayLike, *, alpha: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of the Clopper-Pearson interval of the accuracy, the inputs taken for a random sample."""
        found = self.number(radii)
        return (
            clopper_pearson(found, len(self), alpha / 2, side="lower"),
            clopper_pearson(found, len(self), alpha / 2, side="upper"),
        )

    def steps(self) -> NDArray[np.float64]:
        """Return the radii at which the accuracy changes, ascending, 0 among them."""
        return np.unique(np.append(self.values, 0.0))

    def radius_at(self, accuracy: float) -> float:
        """Return the largest radius below which the accuracy is at least `accuracy` everywhere; 0 if it never is."""
        if isinstance(accuracy, bool) or not isinstance(accuracy, (int, float)):
            raise TypeError(f"accuracy must be a number, got {type(accuracy).__name__}")
        if not 0 < accuracy <= 1:
            raise ValueError(f"accuracy must be above 0 and at most 1, got {accuracy}")
        # Shares are compared as `accuracy` gives them, so that no rounding asks for an input too many.
        needed = 1 + int(np.searchsorted(np.arange(1, len(self)) / len(self), accuracy))
        return float(self.values[len(self) - needed])

    def mean(self) -> float:
        """Return the average certified radius."""
        return float(self.values.mean())


class OfLabels:
    """The methods of certificates that take the true classes; a class that has them has `prediction` and `radius`."""

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]

    def certified(self, labels: ArrayLike) -> CertifiedRadii:
        """Return the radii within which the true classes are certified, of which the other methods are numbers.

        Parameters
        ----------
        labels : array_like of int, shape (N,)
            The true classes.

        Returns
        -------
        CertifiedRadii
            Of the N inputs.

        Raises
        ------
        ValueError
            If `labels` has another shape, or there are no inputs.
        TypeError
            If `labels` are not integers.
        """
        return CertifiedRadii(self.prediction, self.radius, labels)

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
        return self.certified(labels).accuracy(radii)

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
        return self.certified(labels).interval(radii, alpha=alpha)

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
        array([0.   , 0.06 , 0.979])
        """
        return self.certified(labels).steps()

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
        (0.06, 0.0)
        """
        return self.certified(labels).radius_at(accuracy)

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
        0.347
        """
        return self.certified(labels).mean()
