"""Splitting noise: exact ℓ1 certificates of inputs of few levels, such as 8-bit images, without any sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._check import integer
from rsmooth.certificates.accuracy import OfLabels
from rsmooth.certificates.topclass import native_integers
from rsmooth.mechanisms import Uniform

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth._streams import Seed

__all__ = ["Splitting", "SplittingCertificates"]


@dataclass(frozen=True, eq=False)
class SplittingCertificates(OfLabels):
    """The certificates of N inputs. Nothing in them is left to chance.

    No input of the same levels at an ℓ1 distance of at most ``radius[i]`` has another prediction than
    ``prediction[i]``.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The class with the most votes, the lowest where several have them.
    radius : ndarray of float64, shape (N,)
        The radius where the levels run from 0 to 1: a multiple of 1 / levels.
    counts : ndarray of int64, shape (N, K)
        How many of each input's copies got each class.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    counts: NDArray[np.int64]


class Splitting:
    """The splitting of inputs of whole levels 0 … `levels` at cuts that are `spacing` levels apart.

    A copy of an input says of each coordinate only between which two cuts it lies: it holds the middle between them.
    The cuts lie between levels, and copy t of all `spacing` copies has the cuts of coordinate i at t + vᵢ + ½, modulo
    the spacing, with offsets vᵢ that are fixed once and for all inputs. The smoothed classifier's prediction is the
    class that most of the copies get.

    Parameters
    ----------
    levels : int
        The highest level: 255 for 8-bit images.
    spacing : int
        The levels from cut to cut, and the number of copies: 2λ · levels for the half-width λ of uniform noise in [0,
        1]. Radii grow with it, up to half of it in levels, and so does what is lost of the input.
    shape : int or sequence of int
        The shape of an input.
    seed : int, numpy.random.SeedSequence or None
        Names the offsets.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Notes
    -----
    *Theorem* [1]_. If the most voted class has c votes and class j has cⱼ, it keeps its place against j at every input
    within D levels in ℓ1 where c - cⱼ > 2D, or where it is 2D and j is the higher class.

    *Proof.* Moving coordinate i by one level, from x to x + 1, crosses the cut at x + ½, which is one of the cuts for
    exactly one t. So a move by D levels in all changes at most D copies, and a changed copy takes at most one vote from
    the class and gives at most one to j. ∎

    It holds as far as the model is a function of its input: the same copy must get the same class, whatever the batch.
    With uniform noise of half-width λ the radius would be the same λ (p1 - p2), for bounds that draws give.

    References
    ----------
    .. [1] Levine and Feizi, "Improved, Deterministic Smoothing for L1 Certified Robustness", ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.splitting import Splitting
    >>> splitting = Splitting(levels=255, spacing=400, shape=(8, 8), seed=0)
    >>> images = np.full((1, 8, 8), 200, np.uint8)
    >>> copies = splitting.copies(images)  # rsmooth.torch.split has a model vote on them
    >>> copies.shape, copies.dtype
    ((1, 400, 8, 8), dtype('float32'))
    >>> bright = (copies.mean(axis=(2, 3)) > 0.4).astype(int)  # a model
    >>> votes = np.stack([(bright == 0).sum(axis=1), (bright == 1).sum(axis=1)], axis=1)
    >>> splitting.certify(votes).radius.round(3)
    array([0.78])
    """

    def __init__(self, levels: int, spacing: int, shape: Any, *, seed: Seed) -> None:
        self.levels = integer("levels", levels, 1, 2**24)
        self.spacing = integer("spacing", spacing, 1, 2**31 - 1)
        unit = Uniform(0.5).sample((1, *np.atleast_1d(shape)), seed=seed, dtype="float64")[0] + 0.5
        self.offsets: NDArray[np.int64] = np.minimum((unit * self.spacing).astype(np.int64), self.spacing - 1)

    def copies(self, inputs: ArrayLike, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Return copies of inputs, all of them or some.

        Parameters
        ----------
        inputs : array_like of int, shape ``(N, *shape)``
            Whole levels from 0 to `levels`.
        first : int
            The number of the first copy.
        count : int, optional
            How many, at most `spacing` - `first`, which it is if left out.

        Returns
        -------
        ndarray of float32, shape ``(N, count, *shape)``
            The copies, with levels scaled to [0, 1].

        Raises
        ------
        ValueError
            If a level or a number is not allowed or the shapes do not fit.
        TypeError
            If `inputs` are not integers.
        """
        x = native_integers(inputs, "inputs")
        if x.ndim == 0 or x.shape[1:] != self.offsets.shape:
            raise ValueError(f"inputs must have the shape (N, *{self.offsets.shape}), got {x.shape}")
        wrong = np.argwhere((x < 0) | (x > self.levels))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            raise ValueError(f"inputs[{', '.join(map(str, at))}] must be between 0 and {self.levels}, got {x[at]}")
        first = integer("first", first, 0, self.spacing)
        count = self.spacing - first if count is None else integer("count", count, 0, self.spacing - first)
        numbers = np.arange(first, first + count).reshape(-1, *(1,) * self.offsets.ndim)
        cut = (numbers + self.offsets) % self.spacing
        # A cut is at cut + ½ and every `spacing` levels from there; twice everything, so that halves are whole.
        low = (x[:, None].astype(np.int64) - cut - 1) // self.spacing * self.spacing + cut
        ends = np.maximum(2 * low + 1, 0) + np.minimum(2 * (low + self.spacing) + 1, 2 * self.levels)
        middle: NDArray[np.float32] = (ends / (4 * self.levels)).astype(np.float32)
        return middle

    def certify(self, counts: ArrayLike) -> SplittingCertificates:
        """Return what the votes of all copies prove.

        Parameters
        ----------
        counts : array_like of int, shape (N, K)
            For each input how many of its `spacing` copies got each class.

        Returns
        -------
        SplittingCertificates
            Of the N inputs.

        Raises
        ------
        ValueError
            If a count is negative, a row's sum is not the number of copies, or there is a single class.
        TypeError
            If `counts` are not integers.
        """
        votes = native_integers(counts, "counts")
        if votes.ndim != 2 or votes.shape[1] < 2:  # noqa: PLR2004
            raise ValueError(f"counts must have the shape (N, K) with K of at least 2, got {votes.shape}")
        votes = votes.astype(np.int64)
        wrong = np.argwhere(votes < 0)
        if len(wrong):
            i, j = (int(at) for at in wrong[0])
            raise ValueError(f"counts[{i}, {j}] must be a count of at least 0, got {votes[i, j]}")
        sums = votes.sum(axis=1)
        lost = np.flatnonzero(sums != self.spacing)
        if len(lost):
            at = int(lost[0])
            raise ValueError(f"counts[{at}] must be a row of {self.spacing} votes, got a row with the sum {sums[at]}")
        prediction = votes.argmax(axis=1)
        lead = votes.max(axis=1, keepdims=True) - votes
        lower = np.arange(votes.shape[1]) < prediction[:, None]
        steps = (lead - lower) // 2
        np.put_along_axis(steps, prediction[:, None], self.spacing, axis=1)
        return SplittingCertificates(prediction, steps.min(axis=1) / self.levels, votes)
