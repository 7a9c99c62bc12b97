"""Certificates: what counts prove, with all that is needed to check it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._digits import below
from rsmooth._settings import given
from rsmooth.certificates._saved import load, save, to_arrow
from rsmooth.certificates.accuracy import OfLabels
from rsmooth.rule import Rule

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray
    from typing_extensions import Self

    from rsmooth.certificates.kind import Kind
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, Enumeration, Interval, MeanInterval, RunnerUp

__all__ = ["Certificates", "StoppedCounts"]

# The arrays that the other fields give.
COMPUTED = ("prediction", "radius", "p1", "p2")


class StoppedCounts(np.ndarray):
    """Counts of draws that were stopped by looking at the votes.

    Such counts favour whatever was looked for, so that an interval for a fixed number of draws would miss more often
    than it says; `certify_counts` therefore refuses them, parts and copies of them, under such an interval.
    """


@dataclass(frozen=True, eq=False, repr=False)
class Certificates(OfLabels):
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
    bound, runner_up, interval : str
        How p1 and p2 became a radius, how p2 was bounded, and how counts became bounds on probabilities.
    grid : int or None
        Where given, inputs and draws are multiples of 1 / grid.
    noise_error : float
        How far, in total variation, the draws' law may have been from the mechanism's: p1 and p2 are bounds under the
        mechanism's law.
    seed : numpy.random.SeedSequence or None
        What `SmoothedClassifier.certify` drew its noise from; None where the counts came from elsewhere.
    indices : ndarray of int64, shape (N,)
        The numbers of the inputs: in their data set, and among `seed`'s examples. 0, 1, … unless given.
    stopped : bool
        Whether the number of draws depended on the votes. `counts` are then `StoppedCounts`, which
        `certify_counts` refuses under an interval that holds for a fixed number of draws alone.
    real_inputs : bool
        Whether the radii are of real inputs that are rounded to the grid, as `for_real_inputs` returns them.
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
    bound: Bound
    runner_up: RunnerUp
    interval: Interval | MeanInterval | Enumeration = "clopper-pearson"
    grid: int | None = None
    noise_error: float = 0.0
    seed: np.random.SeedSequence | None = None
    indices: NDArray[np.int64] = None  # type: ignore[assignment]  # Never None once made.
    stopped: bool = False
    real_inputs: bool = False

    def __post_init__(self) -> None:
        indices = np.arange(len(self.prediction)) if self.indices is None else np.asarray(self.indices)
        if indices.shape != (len(self.prediction),) or indices.dtype.kind not in "iu":
            raise ValueError(
                f"indices must be {len(self.prediction)} integers, got shape {indices.shape} of {indices.dtype}"
            )
        object.__setattr__(self, "indices", indices.astype(np.int64))
        if self.stopped:
            object.__setattr__(self, "counts", self.counts.view(StoppedCounts))

    @property
    def kind(self) -> str:
        """The kind of certificate, with those of its settings that the claim depends on: ``top-k k=3``."""
        return self._kind.claim

    @property
    def _kind(self) -> Kind:
        """What certifies the counts."""
        from rsmooth.certificates.topclass import TopClass  # noqa: PLC0415  # It makes what is defined here.

        return TopClass()

    @property
    def rule(self) -> Rule:
        """How the counts became certificates: what another kind takes that certifies the same counts."""
        return Rule(**{each.name: getattr(self, each.name) for each in fields(Rule)})

    @property
    def counted(self) -> str:
        """What a table calls the counts: those that are not of a fixed number of draws have another name."""
        return "stopped_counts" if self.stopped else "counts"

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Of which inputs nothing is said, shape (N,)."""
        return self.prediction < 0

    @property
    def draws(self) -> NDArray[np.int64]:
        """How many draws each input took, those that selected its class with them where they are known."""
        drawn, selection = self._kind.drawn(np.asarray(self.counts)), self.selection
        separate = selection is not None and selection.ndim == self.counts.ndim
        return drawn + self._kind.drawn(np.asarray(selection)) if separate else drawn

    def columns(self, labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return what a table says of inputs of these true classes, and of their predictions, a number a row."""
        return {"label": labels, "prediction": self.prediction}

    @property
    def exact(self) -> bool:
        """Whether nothing of the certificates rests on floating-point noise: inputs and draws were on a grid."""
        return self.grid is not None

    @property
    def below_step(self) -> int:
        """How many radii of exact certificates are positive but below a step of the grid, where no other input is."""
        return (
            0
            if self.grid is None or self.real_inputs
            else int(((self.radius > 0) & (self.radius * self.grid < 1)).sum())
        )

    @property
    def basis(self) -> str:
        """What the certificates rest on, in a sentence."""
        if self.grid is None:
            return (
                "noise in floating point: these certificates rest on theorems about real numbers, which rounding can "
                "break (docs/exact.md)"
            )
        if self.real_inputs:
            return (
                f"exact, of inputs rounded to the grid of 1/{self.grid}: {self.noise_error:.2g} was paid for the law "
                "of the noise"
            )
        below = f"{self.below_step:,} of {len(self):,} radii" if self.below_step else "no radius"
        verb = "are" if self.below_step > 1 else "is"
        return (
            f"exact, on the grid of 1/{self.grid}: {self.noise_error:.2g} was paid for the law of the noise; {below} "
            f"{verb} below one step, within which there is no other input"
        )

    def for_real_inputs(self) -> Self:
        """Return what exact certificates say of inputs that are rounded to the grid before noise is added.

        Rounding moves an input by at most half a step in each coordinate, which is 1 / 2g in ℓ∞, √d / 2g in ℓ2 and
        d / 2g in ℓ1. The classifier that rounds first and is smoothed then keeps its prediction within that much less
        than the radius, for every real input.

        Returns
        -------
        Certificates
            With smaller radii, rounded down; an abstention where nothing is left. Under other settings (`under`) and in
            files they stay of real inputs. Those that already are of real inputs are returned as they are.

        Raises
        ------
        ValueError
            If the certificates are not exact.

        Examples
        --------
        >>> import numpy as np
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0], grid=255)
        >>> float((certificates.radius - certificates.for_real_inputs().radius)[0].round(6))  # 8 / 510
        0.015686
        """
        if self.grid is None:
            raise ValueError("certificates must be exact, got those of floating-point noise: their inputs are real")
        if self.real_inputs:
            return self
        size = {1: self.dim, 2: math.sqrt(self.dim), math.inf: 1}[self.norm]
        moved = size / (2 * self.grid) * (1 + 4 * np.finfo(float).eps)
        radius = np.maximum((self.radius - moved) * (1 - np.finfo(float).eps), 0.0)
        return replace(self, radius=radius, prediction=self._kept(radius > 0), real_inputs=True)

    def _kept(self, where: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the predictions, of some inputs that of an abstention."""
        return np.where(where, self.prediction, -1)

    def under(
        self,
        *,
        norm: float | None = None,
        alpha: float | None = None,
        bound: str | None = None,
        runner_up: str | None = None,
        interval: str | None = None,
    ) -> Self:
        """Certify the same counts under other settings; nothing is drawn again.

        Parameters
        ----------
        norm, alpha, bound, runner_up, interval
            As for `rsmooth.certify_counts`; None leaves a setting as it is.

        Returns
        -------
        Certificates
            Of the same inputs.

        Raises
        ------
        ValueError
            If a setting is not allowed, as an `interval` that does not hold for draws that were stopped.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0])
        >>> certificates.radius.round(3), certificates.under(bound="renyi", alpha=0.01).radius.round(3)
        (array([0.979]), array([0.827]))
        """
        changes = given(norm=norm, alpha=alpha, bound=bound, runner_up=runner_up, interval=interval)
        found = replace(self._certify(replace(self.rule, **changes)), seed=self.seed, indices=self.indices)
        return found.for_real_inputs() if self.real_inputs else found

    def _certify(self, rule: Rule) -> Self:
        """Certify the counts under another rule."""
        return self._kind.certify(self.selection, self.counts, rule)  # type: ignore[return-value]

    def difference(self, again: Certificates) -> tuple[int, str] | None:
        """Return the first row, and what is wrong with it, that is not as computed again from the counts.

        Parameters
        ----------
        again : Certificates
            What `under` returns of these.

        Returns
        -------
        tuple of int and str, or None
            None where all is the same, but for what other machines round otherwise.

        Raises
        ------
        ValueError
            If an array has another shape or type.

        Examples
        --------
        >>> from dataclasses import replace
        >>> from rsmooth import Gaussian, certify_counts
        >>> found = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0])
        >>> replace(found, radius=found.radius + 8).difference(found)[0]
        0
        """
        for name in COMPUTED:
            mine, computed = getattr(self, name), getattr(again, name)
            if mine.shape != computed.shape or mine.dtype.kind not in "iuf":
                raise ValueError(
                    f"{name} must be numbers of the shape {computed.shape}, got {mine.dtype} of {mine.shape}"
                )
            wrong = np.argwhere(~np.isclose(mine, computed, rtol=1e-6, atol=1e-9, equal_nan=True))
            if len(wrong):
                at = tuple(wrong[0].tolist())
                return at[0], f"{name} must be {computed[at]}, as the counts give it, got {mine[at]}"
        return None

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.prediction)

    def __repr__(self) -> str:
        """Describe the settings and summarise the radii."""
        abstained = int(self.abstained.sum())
        median = f", median radius {below(np.median(self.radius))}" if len(self) else ""
        return (
            f"{type(self).__name__}({len(self)} inputs, {abstained} abstained{median}; {self.mechanism!r}, "
            f"norm={self.norm}, dim={self.dim}, alpha={self.alpha}, bound={self.bound!r}, runner_up={self.runner_up!r})"
        )

    def save(self, path: str | Path) -> None:
        """Write the certificates to a file, which appears whole or not at all.

        Parameters
        ----------
        path : str or pathlib.Path
            A file for NumPy's format .npz; its folder must exist. `load` reads it again.

        Raises
        ------
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from rsmooth import Certificates, Gaussian, certify_counts
        >>> certificates = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     certificates.save(pathlib.Path(folder, "found.npz"))
        ...     Certificates.load(pathlib.Path(folder, "found.npz")).radius.round(3)
        array([0.979])
        """
        save(self, path)

    @classmethod
    def load(cls, path: str | Path, *, mechanism: Mechanism | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or pathlib.Path
            The file. It is data: nothing in it is run.
        mechanism : Mechanism, optional
            The mechanism, where the certificates are those of one of your own.

        Returns
        -------
        Certificates
            As they were, certified again from their counts.

        Raises
        ------
        ValueError
            If the file was not written by `save`, its settings are not allowed, its certificates are not what its
            counts give, or `mechanism` is needed or another one than was saved.
        OSError
            If the file cannot be read.
        """
        return load(cls, path, mechanism)

    def to_arrow(self) -> pa.Table:
        """Return the certificates as a table of pyarrow, one row an input.

        Returns
        -------
        pyarrow.Table
            Columns ``index``, ``prediction``, ``radius``, ``p1``, ``p2``, ``order``, ``counts`` (lists; called
            ``stopped_counts`` where votes stopped the draws) and, if there, ``selection``. The settings are JSON in the
            schema's metadata, under ``rsmooth``.

        Raises
        ------
        ImportError
            If pyarrow is not installed.

        Examples
        --------
        >>> from rsmooth import Gaussian, certify_counts
        >>> certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0]).to_arrow().column_names
        ['index', 'prediction', 'radius', 'p1', 'p2', 'order', 'counts', 'selection']
        """
        return to_arrow(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the certificates to whatever reads Arrow: ``polars.DataFrame(certificates)``, ``pyarrow.table``, …."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)
