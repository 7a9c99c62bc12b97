"""Splitting noise: exact ℓ1 certificates of inputs of few levels, such as 8-bit images, without any sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth._buffers import view_of
from rsmooth._check import integer
from rsmooth._grid import grid_of, steps_of
from rsmooth._streams import SPLITTING, child, root_of, sequence_of
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.topclass import native_integers, refuse_stopped
from rsmooth.certificates.votes import Votes
from rsmooth.mechanisms import Uniform
from rsmooth.rule import ENUMERATION, Enumeration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth._streams import Seed
    from rsmooth.certificates.kind import Form
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Rule

__all__ = ["Splitting", "SplittingCertificates", "split"]

# The most levels from cut to cut: offsets are those of exact noise, of at most 65,536 steps to either side.
WIDEST = 2**17

# Numbers of copies that are made at a time, so that they stay in the processor's cache.
CACHED = 2**15

# How far a half-width may be, as a share, from the half of a whole number of levels that it stands for.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class SplittingCertificates(Certificates):
    """The certificates of N inputs, with all that is needed to check them. Nothing in them is left to chance.

    Certificate i says: no input on the grid at an ℓ1 distance of at most ``radius[i]`` has another prediction than
    ``prediction[i]``. That rests on the model's being one function of its input, whatever the batch around it.

    Attributes
    ----------
    prediction : ndarray of int64, shape (N,)
        The smoothed classifier's class, that with the most votes, the lowest where several have them. It is known where
        the radius is 0 as well.
    radius : ndarray of float64, shape (N,)
        The radius: a multiple of 1 / `grid`.
    p1, p2 : ndarray of float64, shape (N,)
        The share of the copies that get the class, and the largest share of another one (or of all others, by
        `runner_up`): the probabilities themselves.
    counts : ndarray of integers, shape (N, K)
        How many of each input's copies get each class. They are no draws, and prove nothing by `certify_counts`.
    alpha : float
        0.
    interval : str
        "enumeration".

    The others are those of `rsmooth.Certificates`; `order` is NaN, `selection` None and `noise_error` 0.
    """

    @property
    def _kind(self) -> Splitting:
        return Splitting()

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Of which inputs nothing is said but what their own class is, shape (N,): the radius is 0."""
        return np.asarray(self.radius == 0)

    @property
    def basis(self) -> str:
        """What the certificates rest on, in a sentence."""
        number = spacing_of(self.mechanism, self.grid)
        rounded = ", of inputs rounded to it" if self.real_inputs else ""
        return (
            f"deterministic, on the grid of 1/{self.grid}{rounded}: all {number:,} copies of each input voted, and "
            "nothing is left to chance; they rest on the model being one function of its input (docs/certificates.md)"
        )

    @property
    def counted(self) -> str:
        """What a table calls the votes, which are not of draws."""
        return "copies"


def spacing_of(mechanism: Mechanism, grid: int | None) -> int:
    """Return the levels from cut to cut, which is the number of copies: 2λ · grid.

    Raises
    ------
    ValueError
        If it is no whole number, there is no grid, or the mechanism is another than `Uniform`.

    Examples
    --------
    >>> from rsmooth import Uniform
    >>> from rsmooth.certificates.splitting import spacing_of
    >>> spacing_of(Uniform(0.5), 255)
    255
    """
    if not isinstance(mechanism, Uniform):
        raise ValueError(f"mechanism must be uniform for kind {Splitting.name!r}, got {mechanism!r}")  # noqa: TRY004
    if grid is None:
        raise ValueError(f"grid must be that of the inputs' levels for kind {Splitting.name!r}, got None")
    width = 2 * mechanism.half_width * grid
    spacing = round(width)
    if spacing < 1 or not math.isclose(width, spacing, rel_tol=ROUNDING):
        near = [each / (2 * grid) for each in (math.floor(width), math.floor(width) + 1) if each]
        raise ValueError(
            f"half_width, a run's sigma, must be a multiple of 1/{2 * grid} for kind {Splitting.name!r} on the grid of "
            f"1/{grid}, such as {' or '.join(map(repr, near))}, got {mechanism.half_width!r}"
        )
    return integer(f"2 half_width grid, the copies of an input for kind {Splitting.name!r},", spacing, 1, WIDEST)


def split(
    x: Any,
    spacing: int,
    *,
    grid: int,
    seed: Seed,
    first: int = 0,
    count: int | None = None,
    out: Any = None,
) -> NDArray[np.float32]:
    """Return copies of inputs, all of them or some, each split at cuts that are `spacing` levels apart.

    A copy says of each coordinate only between which two cuts it lies: it holds the middle between them, in [0, 1]. The
    cuts lie between levels: copy t has those of coordinate i at t + vᵢ + ½, modulo `spacing`, with offsets vᵢ that are
    the same for all inputs.

    Parameters
    ----------
    x : array or torch.Tensor, shape ``(N, *S)``
        Inputs on the grid, as for `rsmooth.Mechanism.perturb`, from 0 to 1.
    spacing : int
        The levels from cut to cut, and the number of copies: 2λ · grid for the half-width λ of uniform noise.
    grid : int
        The highest level: 255 for 8-bit images.
    seed : int, numpy.random.SeedSequence or None
        Names the offsets: exact uniform integers of ``SeedSequence(entropy, spawn_key=(*spawn_key, 5))``. They are
        those of `rsmooth.SmoothedClassifier.certify` and of runs with the same seed.
    first : int
        The number of the first copy.
    count : int, optional
        How many; `spacing` if left out. Copy ``t + spacing`` is copy t.
    out : array or torch.Tensor of float32, shape ``(N, count, *S)``, optional
        Where to write them.

    Returns
    -------
    ndarray of float32, shape ``(N, count, *S)``
        The copies.

    Raises
    ------
    ValueError
        If an input is off the grid or outside [0, 1], or another argument is not allowed.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.splitting import split
    >>> images = np.full((1, 2, 2), 200, np.uint8)
    >>> split(images, 255, grid=255, seed=0).shape
    (1, 255, 2, 2)
    >>> split(images, 255, grid=255, seed=0, first=7, count=1).round(3)
    array([[[[0.691, 0.464],
             [0.477, 0.664]]]], dtype=float32)
    """
    spacing, top = integer("spacing", spacing, 1, WIDEST), grid_of("grid", integer("grid", grid, 1, None))
    assert top is not None  # noqa: S101
    steps = steps_of("x", x, top)
    if not steps.ndim:
        raise ValueError("x must be a batch of shape (N, *S), got shape ()")
    wrong = np.argwhere((steps < 0) | (steps > top))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(f"x[{', '.join(map(str, at))}] must be from 0 to {top} steps of 1/{top}, got {steps[at]}")
    first = integer("first", first, 0, 2**62)
    count = spacing if count is None else integer("count", count, 0, 2**62)
    offsets = Uniform(0.5).sample((1, *steps.shape[1:]), seed=child(sequence_of(seed), SPLITTING), grid=spacing)
    made = np.empty((len(steps), count, *steps.shape[1:]), np.float32) if out is None else view_of("out", out)[0]
    # Between cuts at low + ½ and a spacing above; twice everything, so that halves are whole.
    lows = np.arange(-spacing, top)
    middles = (np.maximum(2 * lows + 1, 0) + np.minimum(2 * (lows + spacing) + 1, 2 * top)) / (4 * top)
    table = middles.astype(np.float32)
    # From copy to copy the cut below a level moves up by one, until it would be above: then it is a spacing lower, at
    # low = level - spacing. In this copy.
    lowest = ((steps - offsets.astype(np.int32)) % np.int32(spacing))[:, None]
    numbers = ((first + np.arange(count)) % spacing).astype(np.int32).reshape(-1, *(1,) * (steps.ndim - 1))
    rows = max(1, CACHED // max(1, steps.size))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        places = numbers[part] - lowest
        places += (places < 0) * np.int32(spacing)
        places += steps[:, None]
        # None is clipped: it is what has NumPy write without a copy.
        np.take(table, places, out=made[:, part], mode="clip")
    return made


@dataclass(frozen=True)
class Splitting(Votes, Enumerated):
    """Votes of all copies that splitting noise makes of an input: ℓ1 certificates that no chance is left in.

    It takes the place of `rsmooth.Uniform` noise, whose radii λ (p1 - p2) it has, for inputs on a grid, from 0 to 1,
    such as 8-bit images. There are ``2 half_width · grid`` copies of an input, and the model is asked about all: `n`,
    `n0` and `alpha` are left out, and certificates have alpha 0.

    Notes
    -----
    *Copies.* They are those of `split`, with offsets of the seed, the same for all examples whatever their index: the
    smoothed classifier is one function. Draw t of an example is copy t.

    *Theorem* [1]_. If the most voted class has c votes and class j has cⱼ, it keeps its place against j at every input
    within D levels in ℓ1 where c - cⱼ > 2D, or where it is 2D and j is the higher class.

    *Proof.* Moving coordinate i by one level, from x to x + 1, crosses the cut at x + ½, which is one of the cuts for
    exactly one t. So a move by D levels in all changes at most D copies, and a changed copy takes at most one vote from
    the class and gives at most one to j. ∎

    It holds as far as the model is a function of its input: the same copy must get the same class, whatever the batch.
    The radius is λ (p1 - p2) rounded down to levels, as that of uniform noise under every bound that holds for it, with
    the shares themselves in place of confidence bounds. With ``runner_up="complement"`` all other classes count as one.

    References
    ----------
    .. [1] Levine and Feizi, "Improved, Deterministic Smoothing for L1 Certified Robustness", ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import SmoothedClassifier, Uniform
    >>> from rsmooth.certificates.splitting import Splitting
    >>> smoothed = SmoothedClassifier(lambda x: (x.mean(dim=(1, 2)) > 0.4).long(), Uniform(0.5), num_classes=2)
    >>> images = np.full((1, 8, 8), 200, np.uint8)
    >>> found = smoothed.certify(images, kind=Splitting(), norm=1, seed=0)
    >>> found.prediction, found.radius.round(3), found.counts
    (array([1]), array([0.498]), array([[  0, 255]]))
    """

    name: ClassVar[str] = "splitting"
    counted: ClassVar[str] = "votes of all copies"
    interval: ClassVar[Enumeration] = ENUMERATION

    def number(self, mechanism: Mechanism, grid: int | None) -> int:
        """Return how many copies of an input there are: ``2 half_width · grid``.

        Raises
        ------
        ValueError
            If that is no whole number, there is no grid, or the mechanism is another than `Uniform`.
        """
        return spacing_of(mechanism, grid)

    def copies(
        self,
        mechanism: Mechanism,
        example: Any,
        out: Any,
        *,
        seed: np.random.SeedSequence,
        first: int,
        grid: int | None,
    ) -> None:
        """Write copies of an example, as `split` makes them with the root of the example's stream."""
        spacing = self.number(mechanism, grid)
        assert grid is not None  # noqa: S101
        split(example[None], spacing, grid=grid, seed=root_of(seed), first=first, count=len(out), out=out[None])

    def check(self, rule: Rule, form: Form) -> None:
        """Refuse a rule, a number of classes or of copies for which there are no certificates of this kind.

        Raises
        ------
        ValueError
            If `certify` would refuse it of any tallies; the message is the same.
        """
        super().check(rule, form)
        self._complete(rule, form.draws or None)

    def certify(
        self,
        selection: NDArray[np.int64] | None,
        tally: NDArray[np.int64],
        rule: Rule,
        *,
        labels: NDArray[np.int64] | None = None,  # noqa: ARG002
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> SplittingCertificates:
        """Return what the votes of all copies prove.

        Parameters
        ----------
        selection : ndarray of int64, shape (N, K), or None
            Votes that select: there are none.
        tally : ndarray of int64, shape (N, K)
            For each input how many of its copies got each class.
        rule : Rule
            How they become certificates: of norm 1, `alpha` 0 and the `interval` "enumeration".
        labels, threads
            Not looked at.
        n : int or None
            Refuse another number of copies.

        Returns
        -------
        SplittingCertificates
            One a row.

        Raises
        ------
        ValueError
            If a count is negative, a row's sum is not the number of copies, there is a single class, or the rule is not
            as above.
        TypeError
            If the counts are not integers.
        """
        spacing = self._complete(rule, n)
        votes = native_integers(tally, "counts")
        refuse_stopped(votes, rule.interval)
        if votes.ndim != 2 or votes.shape[1] < 2:  # noqa: PLR2004
            raise ValueError(f"counts must have the shape (N, K) with K of at least 2, got {votes.shape}")
        votes = votes.astype(np.int64)
        wrong = np.argwhere(votes < 0)
        if len(wrong):
            i, j = (int(at) for at in wrong[0])
            raise ValueError(f"counts[{i}, {j}] must be a count of at least 0, got {votes[i, j]}")
        sums = votes.sum(axis=1)
        lost = np.flatnonzero(sums != spacing)
        if len(lost):
            at = int(lost[0])
            raise ValueError(f"counts[{at}] must be a row of {spacing} votes, got a row with the sum {sums[at]}")
        if selection is not None and np.any(selection):
            raise ValueError("selection must be of no votes where all copies are counted")
        rows = np.arange(len(votes))
        prediction = votes.argmax(axis=1)
        most = votes[rows, prediction]
        # Each class, or as if it had all votes that the prediction has not.
        others = votes if rule.runner_up == "second" else np.broadcast_to(spacing - most[:, None], votes.shape)
        lower = np.arange(votes.shape[1]) < prediction[:, None]
        steps = (most[:, None] - others - lower) // 2
        steps[rows, prediction] = spacing
        rest = np.where(np.arange(votes.shape[1]) == prediction[:, None], 0, others).max(axis=1)
        return SplittingCertificates(
            prediction=prediction,
            radius=np.maximum(steps.min(axis=1), 0) / rule.grid,
            p1=most / spacing,
            p2=rest / spacing,
            order=np.full(len(votes), np.nan),
            counts=votes,
            selection=None,
            **rule.settings,
        )

    def _complete(self, rule: Rule, n: int | None) -> int:
        """Return how many votes a row has; refuse rules that are not of all copies."""
        spacing = self.number(rule.mechanism, rule.grid)
        for name, wanted in (("norm", 1), ("interval", ENUMERATION), ("noise_error", 0)):
            if getattr(rule, name) != wanted:
                raise ValueError(f"{name} must be {wanted} for kind {self.name!r}, got {getattr(rule, name)}")
        if n not in (None, spacing):
            raise ValueError(
                f"n must be left out for kind {self.name!r}, or {spacing}, the number of all copies, got {n}"
            )
        return spacing

    def columns(self, name: str, tally: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return a tally as columns of a table; they are not called counts, which are of draws."""
        return super().columns("copies", tally) if name == "count" else {}
