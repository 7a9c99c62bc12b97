"""Segmentation: every pixel's class certified at once, with abstentions, by Holm's method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rsmooth.certificates.topclass import native_integers
from rsmooth.confidence import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound

__all__ = ["SegmentationCertificates", "add_maps", "certify_segmentation"]


class SegmentationCertificates(NamedTuple):
    """The certified pixels of one image.

    With confidence 1 − alpha over the draws, *all at once*: no perturbation of the image of norm at most `radius`
    changes the smoothed model's class from ``prediction[pixel]`` at any pixel where that is not −1.

    Attributes
    ----------
    prediction : ndarray of int64, the shape of the map
        The certified classes; −1 where the pixel abstains.
    radius : float
        The radius, the same for every certified pixel, in the units of the input.
    """

    prediction: NDArray[np.int64]
    radius: float


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
        If the maps have another shape than the tally, a class does not exist, or the tally is not in C order.
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
    wrong = np.argwhere((given < 0) | (given >= classes))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(f"maps[{', '.join(map(str, at))}] must be a class from 0 to {classes - 1}, got {given[at]}")
    flat = tally.reshape(-1)
    cells = np.arange(0, flat.size, classes) + given.reshape(len(given), flat.size // classes).astype(np.int64)
    flat += np.bincount(cells.ravel(), minlength=flat.size).astype(tally.dtype)


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
    """Certify the classes of the pixels of one image, all at once.

    Parameters
    ----------
    counts : array_like of int, shape (..., K)
        For each pixel the votes of its K classes: of n draws of noise each, the same for every pixel.
    classes : array_like of int, shape (...) or (..., K)
        For each pixel the class to certify, or the counts of draws that choose it (the lowest class where several are
        largest). It must not depend on `counts`.
    mechanism : Mechanism
        The mechanism that drew the noise.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured, of the perturbation of the whole image.
    dim : int
        The number of coordinates of the image that is perturbed.
    alpha : float
        The probability that any pixel's certificate is wrong, above 0 and below 1.
    tau : float
        The probability that the class of a certified pixel has at least, above 0.5 and below 1. A larger one gives a
        larger radius and more abstentions.
    bound : str
        How `tau` becomes a radius, as for `rsmooth.certify_counts`.

    Returns
    -------
    SegmentationCertificates
        The classes and the radius.

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
    >>> counts = [[990, 10], [760, 240], [130, 870]]
    >>> found = certify_segmentation(counts, [0, 0, 1], Gaussian(0.5), norm=2, dim=3)
    >>> found.prediction, round(found.radius, 3)
    (array([ 0, -1,  1]), 0.337)
    """
    votes, chosen = native_integers(counts, "counts"), native_integers(classes, "classes")
    if votes.ndim < 2 or votes.shape[-1] < 2 or votes.size == 0:  # noqa: PLR2004
        raise ValueError(f"counts must have the shape (..., K) with K of at least 2, got {votes.shape}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be a number above 0 and below 1, got {alpha}")
    if not 0.5 < tau < 1:  # noqa: PLR2004
        raise ValueError(f"tau must be above 0.5 and below 1, got {tau}")
    width = votes.shape[-1]
    if np.may_share_memory(votes, chosen):
        raise ValueError("classes must be chosen by separate draws, got the memory of counts")
    if chosen.shape == votes.shape:
        chosen = chosen.argmax(axis=-1)
    elif chosen.shape != votes.shape[:-1]:
        raise ValueError(f"classes must have the shape {votes.shape[:-1]} or {votes.shape}, got {chosen.shape}")
    labels, table = chosen.reshape(-1).astype(np.int64), votes.reshape(-1, width)
    wrong = np.flatnonzero((labels < 0) | (labels >= width))
    if len(wrong):
        at = ", ".join(map(str, np.unravel_index(int(wrong[0]), chosen.shape)))
        raise ValueError(f"classes[{at}] must be a class from 0 to {width - 1}, got {labels[wrong[0]]}")
    n = _votes(table, votes.shape)
    own = np.take_along_axis(table, labels[:, None], axis=1)[:, 0].astype(np.int64)
    order = np.argsort(-own, kind="stable")
    pixels = len(own)
    levels = np.nextafter(alpha / (pixels - np.arange(pixels)), 0)
    held = np.logical_and.accumulate(clopper_pearson(own[order], n, levels) >= tau)
    prediction = np.full(pixels, -1, np.int64)
    prediction[order[held]] = labels[order[held]]
    radius = float(mechanism.radius(tau, 1 - tau, norm=norm, dim=dim, bound=bound))
    if radius == 0:
        prediction[:] = -1
    return SegmentationCertificates(prediction.reshape(chosen.shape), radius)


def _votes(table: NDArray[Any], shape: tuple[int, ...]) -> int:
    """Return how many votes every pixel has; `shape` is that of the counts that were given."""
    negative = np.flatnonzero(table < 0)
    if len(negative):
        at = ", ".join(map(str, np.unravel_index(int(negative[0]), shape)))
        raise ValueError(f"counts[{at}] must be a count of at least 0, got {table.flat[negative[0]]}")
    sums = table.sum(axis=1, dtype=np.int64)
    n = int(sums[0])
    if n == 0:
        raise ValueError("counts must be of at least 1 vote for each pixel, got 0")
    wrong = np.flatnonzero(sums != n)
    if len(wrong):
        at = ", ".join(map(str, np.unravel_index(int(wrong[0]), shape[:-1])))
        raise ValueError(f"counts[{at}] must be of as many votes as the first pixel, {n}, got {sums[wrong[0]]}")
    return n
