"""Segmentation: every pixel's class certified at once, with abstentions, by Holm's method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth._arrays import refuse_no_class
from rsmooth._settings import check_fields, setting
from rsmooth.certificates.accuracy import CertifiedRadii
from rsmooth.certificates.kind import Answer, Kind
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.topclass import classes_of, native_integers, refuse_stopped
from rsmooth.confidence import clopper_pearson
from rsmooth.io.packed import packed, unpacked
from rsmooth.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.certificates.kind import Form
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound

__all__ = ["Segmentation", "SegmentationCertificates", "add_maps", "certify_segmentation"]


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationCertificates(Certificates):
    """The certified pixels of N images, with all that is needed to check them.

    For image i, with confidence 1 − `alpha` over the draws, *all at once*: no perturbation of the image of norm at most
    ``radius[i]`` changes the smoothed model's class from ``prediction[i, pixel]`` at any pixel where that is not −1.
    `certified_accuracy` and its like take maps for labels, and count the pixels whose label is not −1.

    Attributes
    ----------
    tau : float
        The probability that the class of a certified pixel has at least.
    prediction : ndarray of int64, shape (N, ...)
        The certified classes; −1 where the pixel abstains.
    radius : ndarray of float64, shape (N,)
        The radius, the same for every certified pixel, in the units of the input; 0 where all of an image's abstain.
    p1, p2 : ndarray of float64, shape (N,)
        What the probabilities of certified pixels are bounded by: `tau` less `noise_error`, and what is left of 1.
    counts : ndarray of integers, shape (N, ..., K)
        The votes of each pixel.
    selection : ndarray of integers, shape (N, ..., K) or (N, ...)
        The votes of separate draws, or the classes, that chose each pixel's class.

    The others are those of `rsmooth.Certificates`; `order` is NaN.
    """

    tau: float = field(kw_only=True)

    @property
    def _kind(self) -> Segmentation:
        return Segmentation(self.tau)

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Of which images no pixel is certified, shape (N,)."""
        none: NDArray[np.bool_] = self.radius == 0
        return none

    def certified_accuracy_interval(
        self,
        labels: ArrayLike,  # noqa: ARG002
        radii: ArrayLike,  # noqa: ARG002
        *,
        alpha: float = 0.05,  # noqa: ARG002
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Refuse: the pixels of an image are no random sample.

        Parameters
        ----------
        labels, radii, alpha
            As for `rsmooth.Certificates`.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError("the accuracy over pixels has no interval: those of an image depend on each other")

    def certified(self, labels: ArrayLike) -> CertifiedRadii:
        """Return the radii of the pixels whose class is certified and true, 0 for others that have a class."""
        truth = np.asarray(labels)
        if truth.shape != self.prediction.shape:
            raise ValueError(f"labels must have the shape {self.prediction.shape}, got {truth.shape}")
        pixels = np.broadcast_to(self._beside(self.radius), truth.shape)
        counted = truth >= 0
        return CertifiedRadii(self.prediction[counted], pixels[counted], truth[counted])

    def columns(self, labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return of each image how many pixels count, are certified, and are so rightly."""
        axes = tuple(range(1, self.prediction.ndim))
        certified, counted = self.prediction >= 0, labels >= 0
        right = certified & (self.prediction == labels)
        parts = {"pixels": counted, "certified_pixels": certified & counted, "right_pixels": right}
        return {name: part.sum(axis=axes) for name, part in parts.items()}

    def _beside(self, each: NDArray[Any]) -> NDArray[Any]:
        """Return a value of each image as one that goes with its pixels."""
        return each.reshape(-1, *(1,) * (self.prediction.ndim - 1))

    def _kept(self, where: NDArray[np.bool_]) -> NDArray[Any]:
        return np.where(self._beside(where), self.prediction, -1)


def add_maps(tally: NDArray[np.integer], maps: ArrayLike) -> None:
    """Count the classes of every pixel of a batch of maps in one pass.

    Parameters
    ----------
    tally : ndarray of integers, shape (..., K)
        Counts for each pixel and class, of a map of shape (...), in C order; is changed.
    maps : array_like of int, shape (B, ...)
        The classes of B maps.

    Raises
    ------
    ValueError
        If the maps have another shape than the tally, a class does not exist, or the tally is too narrow or not in C
        order.
    TypeError
        If `maps` are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.segmentation import add_maps
    >>> tally = np.zeros((1, 2, 3), np.int64)
    >>> add_maps(tally, [[[0, 2]], [[0, 1]]])
    >>> tally.tolist()
    [[[2, 0, 0], [0, 1, 1]]]
    """
    given = native_integers(maps, "maps")
    if given.ndim == 0 or given.shape[1:] != tally.shape[:-1]:
        raise ValueError(f"maps must have the shape (B, {', '.join(map(str, tally.shape[:-1]))}), got {given.shape}")
    if not tally.flags.c_contiguous:
        raise ValueError("tally must be in C order")
    classes = tally.shape[-1]
    refuse_no_class("maps", given, classes)
    flat = tally.reshape(-1)
    cells = np.arange(0, flat.size, classes) + given.reshape(len(given), flat.size // classes).astype(np.int64)
    more = np.bincount(cells.ravel(), minlength=flat.size)
    if (flat > np.iinfo(flat.dtype).max - more).any():
        raise ValueError(f"tally must be of integers that hold the counts, got {flat.dtype}")
    flat += more.astype(tally.dtype)


def certify_segmentation(
    counts: ArrayLike,
    classes: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    tau: float = 0.75,
    bound: Bound = "tightest",
) -> SegmentationCertificates:
    """Certify the classes of the pixels of each image, all at once.

    Parameters
    ----------
    counts : array_like of int, shape (N, ..., K)
        For each image and pixel the votes of its K classes: of n draws of noise each, the same for every pixel.
    classes : array_like of int, shape (N, ...) or (N, ..., K)
        For each pixel the class to certify, or the counts of draws that choose it (the lowest class where several are
        largest). It must not depend on `counts`.
    mechanism : Mechanism
        The mechanism that drew the noise.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured, of the perturbation of the whole image.
    dim : int
        The number of coordinates of the image that is perturbed.
    alpha : float
        For each image the probability that any pixel's certificate is wrong, above 0 and below 1.
    tau : float
        The probability that the class of a certified pixel has at least, above 0.5 and below 1. A larger one gives a
        larger radius and more abstentions.
    bound : str
        How `tau` becomes a radius, as for `rsmooth.certify_counts`.

    Returns
    -------
    SegmentationCertificates
        Of the N images.

    Raises
    ------
    ValueError
        If pixels differ in the number of votes, a count is negative, a class does not exist, the shapes do not fit, or
        another argument is not as above.
    TypeError
        If `counts` or `classes` are not integers.

    Notes
    -----
    *Radius.* A class of probability at least τ keeps the vote within the radius of p1 = τ, p2 = 1 - τ: σΦ⁻¹(τ) for the
    Gaussian. If that of a pixel is exactly τ the certificate is right as well, so a wrong one is one of a class of
    probability below τ [1]_.

    *Confidence.* Holm's method [2]_ for the m hypotheses "the pixel's class has a probability below τ", whose p-values
    are those of the binomial test. Take the pixels from the most votes down; the i-th is certified if its p-value is at
    most alpha / (m - i + 1) and all before it were. *Proof.* Of the m₀ true hypotheses let j be the one met first. At
    most m - m₀ were rejected before it, so its level is at most alpha / m₀. Any false rejection needs this one's
    p-value to be at most alpha / m₀, and by the union bound one of m₀ p-values is that small with a probability of at
    most alpha, however the pixels depend on each other. ∎ A p-value is at most a level where the Clopper-Pearson lower
    bound at that level is at least τ.

    References
    ----------
    .. [1] Fischer, Baader and Vechev, "Scalable Certified Segmentation via Randomized Smoothing", ICML 2021.
    .. [2] Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.segmentation import certify_segmentation
    >>> counts = [[[990, 10], [760, 240], [130, 870]]]  # one image of three pixels
    >>> found = certify_segmentation(counts, [[0, 0, 1]], Gaussian(0.5), norm=2, dim=3)
    >>> found.prediction, found.radius.round(3)
    (array([[ 0, -1,  1]]), array([0.337]))
    """
    rule = Rule(mechanism, norm=norm, dim=dim, alpha=alpha, bound=bound)
    return _certify(rule, native_integers(counts, "counts"), native_integers(classes, "classes"), "classes", tau)


@dataclass(frozen=True)
class Segmentation(Kind):
    """Votes for the class of each pixel, as proof of all certified pixels of an image at once.

    Parameters
    ----------
    tau : float
        The probability that the class of a certified pixel has at least, above 0.5 and below 1. A larger one gives a
        larger radius and more abstentions.

    Raises
    ------
    ValueError
        If `tau` is not allowed.
    TypeError
        If it is no number.

    Notes
    -----
    `certify_segmentation` has the theorem. Tallies hold a count for each pixel and class.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.certificates.segmentation import Segmentation
    >>> model = lambda x: torch.stack([0.5 - x, x - 0.5], dim=1)  # scores (B, 2, 4, 4) of bright and dark pixels
    >>> smoothed = SmoothedClassifier(model, Gaussian(0.25), num_classes=2)
    >>> image = torch.eye(4)
    >>> found = smoothed.certify(image[None], kind=Segmentation(tau=0.75), n=1000, norm=2, seed=0)
    >>> (found.prediction == image.numpy()).all(), found.radius.round(3)
    (np.True_, array([0.169]))
    """

    name: ClassVar[str] = "segmentation"
    answer: ClassVar[Answer] = "map"
    counted: ClassVar[str] = "votes of pixels"
    tau: float = setting("Probability that the class of a certified pixel has at least.", default=0.75)

    def __post_init__(self) -> None:
        """Check the setting."""
        check_fields(self)
        if not 0.5 < self.tau < 1:  # noqa: PLR2004
            raise ValueError(f"tau must be above 0.5 and below 1, got {self.tau}")

    def observe(self, output: Any) -> Any:
        """Return the class of each pixel.

        Parameters
        ----------
        output : torch.Tensor, shape ``(B, K, *S)`` or ``(B, *S)``
            Scores, or labels: integers.

        Returns
        -------
        torch.Tensor of int64, shape ``(B, *S)``
            The classes with the highest scores, or the labels; −1 for a map of which a score is not finite.
        """
        if not output.is_floating_point():
            return output.long()
        finite = output.isfinite().flatten(1).all(dim=1)
        return output.argmax(dim=1).masked_fill(~finite.reshape(-1, *[1] * (output.ndim - 2)), -1)

    def tally(self, rows: int, form: Form) -> NDArray[np.int64]:
        """Return counts of nothing, shape ``(rows, *S, K)``."""
        return np.zeros((rows, *form.shape, form.classes), np.int64)

    def add(
        self,
        tally: NDArray[np.int64],
        rows: NDArray[np.int64],
        numbers: NDArray[np.int64],  # noqa: ARG002
        observations: NDArray[np.int64],
    ) -> None:
        """Count map i in ``tally[rows[i]]``."""
        for row in np.unique(rows).tolist():
            add_maps(tally[row], observations[rows == row])

    def moved(self, recorded: NDArray[Any], found: NDArray[Any]) -> float:
        """Return by how many votes two tallies differ at the pixel where they differ most."""
        return float(np.abs(recorded - found).sum(axis=-1).max(initial=0)) / 2

    def columns(self, name: str, tally: NDArray[Any]) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Return no columns: the votes of every pixel are the run's to keep."""
        return {}

    def write(self, tally: NDArray[Any]) -> dict[str, Any]:
        """Return the votes of an image's pixels as a record holds them."""
        return packed(tally)

    def read(self, name: str, recorded: Any, classes: int, most: int) -> NDArray[Any]:
        """Return the votes that a record holds; refuse what no draws can come to."""
        votes = unpacked(name, recorded)
        fits = votes.dtype.kind == "i" and votes.ndim > 1 and votes.shape[-1] == classes and votes.size
        sums = votes.sum(axis=-1) if fits else votes
        if not fits or (votes < 0).any() or sums.min() != sums.max() or sums.max() > most:
            raise ValueError(
                f"{name} must have the votes of the same number of draws, at most {most:,}, for each pixel and "
                f"{classes} classes, got {votes.dtype} of shape {votes.shape}"
            )
        return votes

    def drawn(self, tally: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many maps each row is of: the votes of its first pixel."""
        classes = tally.shape[-1]
        drawn: NDArray[np.int64] = tally.reshape(len(tally), math.prod(tally.shape[1:-1]), classes)[:, 0].sum(axis=1)
        return drawn

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> SegmentationCertificates:
        """Return what the votes prove.

        Parameters
        ----------
        selection : ndarray of int64, shape ``(N, *S, K)`` or ``(N, *S)``
            Counts of separate draws, of which each pixel's largest wins, or classes.
        tally : ndarray of int64, shape ``(N, *S, K)``
            The votes.
        rule : Rule
            How they become certificates; its interval must be "clopper-pearson".
        labels, threads
            Not looked at.
        n : int or None
            Refuse another number of votes.

        Returns
        -------
        SegmentationCertificates
            One an image.

        Raises
        ------
        ValueError, TypeError
            As `certify_segmentation`.
        """
        if selection is None:
            raise ValueError("selection must be classes or counts of separate draws for segmentation, got None")
        votes, chosen = native_integers(tally, "counts"), native_integers(selection, "selection")
        return _certify(rule, votes, chosen, "selection", self.tau, n)


def _certify(  # noqa: PLR0917
    rule: Rule, votes: NDArray[Any], chosen: NDArray[Any], name: str, tau: float, n: int | None = None
) -> SegmentationCertificates:
    """Certify the classes that `chosen`, the argument `name`, says."""
    if rule.interval != Segmentation.interval:
        raise ValueError(f'interval must be "{Segmentation.interval}" for segmentation, got {rule.interval!r}')
    refuse_stopped(votes, rule.interval)
    if votes.ndim < 2 or votes.shape[-1] < 2:  # noqa: PLR2004
        raise ValueError(f"counts must have the shape (N, ..., K) with K of at least 2, got {votes.shape}")
    tau = Segmentation(tau).tau
    classes = classes_of(chosen, name, votes)
    refuse_no_class(name, classes, votes.shape[-1])
    images, pixels = len(votes), math.prod(votes.shape[1:-1])
    prediction = np.full((images, pixels), -1, np.int64)
    if prediction.size:
        drawn = _drawn(votes, n)
        own = np.take_along_axis(votes, classes[..., None], axis=-1).reshape(images, pixels).astype(np.int64)
        order = np.argsort(-own, axis=1, kind="stable")
        levels = np.nextafter(rule.alpha / (pixels - np.arange(pixels)), 0)
        lower = clopper_pearson(np.take_along_axis(own, order, axis=1), drawn, levels)
        held = np.logical_and.accumulate(lower >= tau, axis=1)
        flat = classes.reshape(images, pixels)
        np.put_along_axis(prediction, order, np.where(held, np.take_along_axis(flat, order, axis=1), -1), axis=1)
    # What is at least tau under the law of the draws is at least so much under the mechanism's.
    p1 = np.full(images, np.nextafter(tau - rule.noise_error, 0) if rule.noise_error else tau)
    p2 = np.nextafter(1 - p1, 1)
    radius = rule.radius(p1, p2)
    prediction[radius == 0] = -1
    return SegmentationCertificates(
        prediction=prediction.reshape(classes.shape),
        radius=np.where((prediction >= 0).any(axis=1), radius, 0.0),
        p1=p1,
        p2=p2,
        order=np.full(images, np.nan),
        counts=votes,
        selection=chosen,
        **rule.settings,
        tau=tau,
    )


def _drawn(votes: NDArray[Any], n: int | None) -> int:
    """Return how many votes every pixel of every image has."""
    negative = np.argwhere(votes < 0)
    if len(negative):
        at = tuple(negative[0].tolist())
        raise ValueError(f"counts[{', '.join(map(str, at))}] must be a count of at least 0, got {votes[at]}")
    sums = votes.sum(axis=-1, dtype=np.int64)
    drawn = int(sums.flat[0]) if n is None else n
    if not drawn:
        raise ValueError("counts must be of at least 1 vote for each pixel, got 0")
    wrong = np.argwhere(sums != drawn)
    if len(wrong):
        at = tuple(wrong[0].tolist())
        wanted = "as many votes as the first pixel" if n is None else "n votes"
        raise ValueError(f"counts[{', '.join(map(str, at))}] must be of {wanted}, {drawn}, got {sums[at]}")
    return drawn
