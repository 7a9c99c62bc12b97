"""A result: certificates of inputs whose true classes are known, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._norms import norm_text
from rsmooth._settings import given
from rsmooth.certificates import KINDS, counted_of, kind_named, kind_type, refuse_other_counts
from rsmooth.certificates.accuracy import CertifiedRadii
from rsmooth.certificates.topclass import TopClass
from rsmooth.mechanisms import MECHANISMS
from rsmooth.rule import BOUNDS

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.certificates.kind import Answer, Kind
    from rsmooth.certificates.result import Certificates
    from rsmooth.mechanisms import Mechanism

__all__ = ["LostVotesError", "Result", "RowError", "describe", "kind_of"]

# For what is no class.
_ALL = np.ones((), bool)

# How tables and figures write a mechanism's parameter.
PARAMETERS = {"sigma": "σ", "scale": "b"}


class LostVotesError(ValueError):
    """What is asked for would take votes, or noise, that the source does not tell."""


class RowError(ValueError):
    """What is wrong with a row of a result."""

    def __init__(self, origin: str, row: int, problem: str) -> None:
        super().__init__(f"{origin}, row {row} (the first is 0): {problem}")
        self.row, self.problem = row, problem


def describe(mechanism: Mechanism) -> str:
    """Return what tables and figures call a mechanism: its name and, where it has one, its parameter."""
    if mechanism.parameter is None:
        return mechanism.name
    name = getattr(mechanism, "parameter_name", "parameter")
    return f"{mechanism.name}, {PARAMETERS.get(name, name)} = {mechanism.parameter:.3g}"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Certificates of N inputs whose true classes are known.

    It is what `rsmooth.results.read.read_result` makes of a run, a file of this package or a result file of the field,
    and what plots, tables and reports start from; `of` makes one of certificates at hand. Its attributes stay as they
    are named here: others build on them.

    Attributes
    ----------
    name : str
        What tables and figures call it.
    source : pathlib.Path or None
        The folder or file that it was read from.
    index : ndarray of int64, shape (N,)
        The numbers of the inputs in their data set, each once.
    labels : ndarray, shape (N, …)
        The true classes, int64; of kinds that are of numbers the true ones, float64; of maps those of classes.
    prediction : ndarray, shape (N, …)
        The certified classes, −1 for an abstention; or numbers, NaN for one; or maps.
    radius : ndarray of float64, shape (N,)
        The radii, in `norm` and the units of the inputs; 0 for an abstention.
    norm : float
        1, 2 or ``math.inf``.
    certificates : Certificates or None
        With the votes, the draws' seed and all settings; None where the votes are lost. The attributes below say what
        is known either way.
    mechanism : Mechanism or None
        Whose noise it was; None where that is not told, or is code that may not be imported.
    noise : str
        What tables and figures call the mechanism; empty where nothing is known of it.
    dim : int or None
        Coordinates of an input.
    bound, runner_up, interval : str or None
        As of `Certificates`.
    kind : str
        The kind of certificate, as `rsmooth.certificates.kind_named` takes it; `radius` is of what it claims.
    alpha : float or None
        The failure probability of each certificate.
    grid : int or None
        Where given, inputs and draws are multiples of 1 / grid, and the certificates are exact.
    p1, p2 : ndarray of float64, shape (N,), or None
        Lower confidence bound of the selected class's probability, and upper confidence bound of every other's.
        None where that is not known, or the certificates are of no probabilities.
    draws : ndarray of int64, shape (N,), or None
        How many draws each input took, those that select with them, whether or not a claim needs them; None where that
        is not known.
    selection : ndarray, shape (N, …), or None
        What the draws that select gave, as `Certificates.selection` has it, also where the certificates are of labels
        and have no use for it.
    seconds : ndarray of float64, shape (N,), or None
        How long each input took.
    images : ndarray of str, shape (N,), or None
        Digests of the inputs.
    notes : tuple of str
        What a reader of the numbers should know: sentences without a full stop.

    Raises
    ------
    ValueError
        If the arrays do not fit, are empty, name an input twice or hold a value that is not allowed.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64, selection=[0] * 3)
    >>> result = Result.of("mine", found, [0, 0, 1])
    >>> result
    Result('mine': 3 inputs, 1 abstained; gaussian, σ = 0.5, norm 2, bound tightest)
    >>> result.certified.accuracy([0.0, 0.5]).round(3)
    array([0.667, 0.333])
    """

    name: str
    source: Path | None
    index: NDArray[np.int64]
    labels: NDArray[Any]
    prediction: NDArray[Any]
    radius: NDArray[np.float64]
    norm: float
    certificates: Certificates | None = None
    mechanism: Mechanism | None = None
    noise: str = ""
    dim: int | None = None
    kind: str = TopClass.name
    bound: str | None = None
    runner_up: str | None = None
    interval: str | None = None
    alpha: float | None = None
    grid: int | None = None
    p1: NDArray[np.float64] | None = None
    p2: NDArray[np.float64] | None = None
    draws: NDArray[np.int64] | None = None
    selection: NDArray[Any] | None = None
    seconds: NDArray[np.float64] | None = None
    images: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.index):
            raise ValueError(f"{self.origin} has no rows")
        for name in ("labels", "prediction", "radius", "p1", "p2", "draws", "seconds", "images"):
            value = getattr(self, name)
            wanted = self.index.shape
            if name in ("labels", "prediction") and self.answer == "map":
                wanted += self.prediction.shape[1:]
            if value is not None and value.shape != wanted:
                raise ValueError(f"{name} must have the shape {wanted}, got {value.shape}")
        numbers, first = np.unique(self.index, return_index=True)
        if len(numbers) != len(self.index):
            again = int(np.setdiff1d(np.arange(len(self.index)), first)[0])
            raise RowError(self.origin, again, f"input {self.index[again]} has a row already")
        of_class = self.answer == "class"
        for name, values, right, allowed in (
            ("index", self.index, self.index >= 0, "at least 0"),
            ("label", self.labels, self.labels >= 0 if of_class else _ALL, "a class"),
            ("prediction", self.prediction, self.prediction >= -1 if of_class else _ALL, "a class or -1"),
            ("radius", self.radius, (self.radius >= 0) & (self.radius < np.inf), "finite and at least 0"),
        ):
            if not right.all():
                row = int(right.argmin())
                raise RowError(self.origin, row, f"{name} must be {allowed}, got {values[row]}")
        for name, least, most in (("p1", 0, 1), ("p2", 0, 1), ("draws", 1, 2**53)):
            values = getattr(self, name)
            if values is not None and (wrong := np.flatnonzero(~((values >= least) & (values <= most)))).size:
                raise RowError(
                    self.origin, wrong[0], f"{name} must be at least {least} and at most {most}, got {values[wrong[0]]}"
                )
        norm_text(self.norm)

    @classmethod
    def of(
        cls,
        name: str,
        certificates: Certificates,
        labels: ArrayLike,
        *,
        source: Path | None = None,
        draws: NDArray[np.int64] | None = None,
        selection: NDArray[Any] | None = None,
        seconds: NDArray[np.float64] | None = None,
        images: NDArray[np.str_] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Result:
        """Return the result that certificates and true classes are.

        Parameters
        ----------
        name : str
            What tables and figures call it.
        certificates : Certificates
            Of N inputs.
        labels : array_like, shape (N, …)
            Their true classes: integers, or what the kind of certificate has for them.
        draws, selection : ndarray, optional
            As the attributes; those of the certificates, if left out.
        source, seconds, images, notes
            As the attributes.

        Raises
        ------
        ValueError
            If `labels` have another shape, or there are no inputs.
        TypeError
            If `labels` are not integers, or not real numbers where these are what is certified.
        """
        truth, number = np.asarray(labels), kind_of(certificates.kind).answer == "number"
        if truth.dtype.kind not in ("iuf" if number else "iu"):
            raise TypeError(f"labels must be {'real numbers' if number else 'integers'}, got dtype {truth.dtype}")
        return cls(
            name=name,
            source=source,
            index=certificates.indices,
            labels=truth.astype(np.float64 if number else np.int64),
            certificates=certificates,
            draws=certificates.draws if draws is None else draws,
            selection=certificates.selection if selection is None else selection,
            seconds=seconds,
            images=images,
            notes=notes,
            **_known(certificates),
        )

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""
        return self.name if self.source is None else str(self.source)

    @cached_property
    def certified(self) -> CertifiedRadii:
        """The radii within which the true classes are certified: their shares, intervals and mean."""
        if self.certificates is not None:
            return self.certificates.certified(self.labels)
        return CertifiedRadii(self.right.astype(int), self.radius, np.ones(len(self), int))

    @property
    def answer(self) -> Answer:
        """What the model answers an input with, as `rsmooth.certificates.kind.Kind` says it."""
        return kind_of(self.kind).answer

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which inputs' predictions are right, shape (N,).

        Raises
        ------
        ValueError
            If predictions are maps, parts of which may be right.
        """
        if self.answer == "map":
            raise ValueError(f"{self.origin} is of maps, whose pixels are right or not, and not of inputs that are")
        return kind_of(self.kind).right(self.prediction, self.labels)

    @property
    def abstained(self) -> int:
        """How many inputs have no certificate: no class is predicted, or its radius is 0, as files print small ones."""
        return len(self) - int((self.radius > 0).sum())

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.index)

    def __repr__(self) -> str:
        """Describe where the radii come from."""
        return (
            f"Result({self.name!r}: {len(self)} inputs, {self.abstained} abstained; {self.noise or 'noise not told'}, "
            f"norm {norm_text(self.norm)}, bound {self.bound})"
        )

    def under(
        self,
        *,
        kind: Kind | None = None,
        norm: float | None = None,
        bound: str | None = None,
        alpha: float | None = None,
        runner_up: str | None = None,
        interval: str | None = None,
    ) -> Result:
        """Return what the same counts prove as another kind of certificate, or under other settings.

        Where the votes are lost but p1 and p2 are known, another bound or norm can still be had of them. What the radii
        were made under already changes nothing: the ℓ2 radii of the field are those of ``neyman-pearson`` and
        ``tightest`` alike.

        Parameters
        ----------
        kind
            What to certify; None is the result's own kind. Votes serve the top class and any top k, the scores of each
            draw betting scores and full information. A kind that certifies labels takes the result's.
        norm, bound, alpha, runner_up, interval
            As for `rsmooth.certify_counts`; None leaves a setting as it is.

        Returns
        -------
        Result
            Of the same inputs.

        Raises
        ------
        LostVotesError
            If it would take votes that are lost, or noise that is not told; a ValueError.
        ValueError
            If a setting is not allowed, or the kind is one of other counts.
        """
        wanted = self._changes(given(norm=norm, bound=bound, alpha=alpha, runner_up=runner_up, interval=interval))
        other = None if kind is None or kind.claim == self.kind else kind
        if other is not None:
            found = self._as(other, wanted)
            return replace(self, certificates=found, **_known(found))
        if self.certificates is not None:
            if not wanted:
                return self
            found = self.certificates.under(**wanted)
            return replace(self, certificates=found, **_known(found))
        if wanted == {"bound": BOUNDS[0]} and self.bound == "neyman-pearson" and self.norm == 2:  # noqa: PLR2004
            return self
        for name in ("alpha", "runner_up", "interval"):
            if name in wanted:
                raise LostVotesError(f"{name} cannot be applied to {self.origin}, whose votes are lost")
        if not wanted:
            return self
        if self.mechanism is None or self.p1 is None or self.p2 is None:
            unknown = "p1" if self.mechanism is not None else "sigma" if self.noise in MECHANISMS else "mechanism"
            raise LostVotesError(
                f"{' and '.join(wanted)} cannot be applied to {self.origin}, whose votes are lost: its {unknown} "
                "would have to be known"
            )
        measure = self.norm if norm is None else norm
        if self.dim is None and self.mechanism.depends_on_dim(measure):
            raise LostVotesError(
                f"norm cannot be {norm_text(measure)} for {self.origin}: the radius depends on the number of "
                "coordinates of an input, dim, which it does not tell"
            )
        chosen: Any = bound or self.bound or BOUNDS[0]
        radius = np.asarray(
            self.mechanism.radius(self.p1, self.p2, norm=measure, dim=self.dim or 1, bound=chosen, grid=self.grid)
        )
        prediction = np.where(radius > 0, self.prediction, -1)
        return replace(
            self, norm=measure, bound=chosen, radius=np.where(prediction < 0, 0.0, radius), prediction=prediction
        )

    def _changes(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the settings asked for that would change the result: what cannot fail holds at every level."""
        held = self.alpha == 0 and 0 < asked.get("alpha", 0) < 1
        return {
            name: value
            for name, value in asked.items()
            if value != getattr(self, name) and not (held and name == "alpha")
        }

    def _as(self, kind: Kind, changes: dict[str, Any]) -> Certificates:
        """Return what the same counts prove as another kind."""
        own = self.certificates
        if own is None:
            raise LostVotesError(f"kind {kind.claim!r} cannot be had of {self.origin}, whose votes are lost")
        refuse_other_counts(kind, counted_of(self.kind), self.origin)
        labels = self.labels if kind.takes_labels else None
        found = kind.certify(self.selection, own.counts, replace(own.rule, **changes), labels=labels)
        found = replace(found, seed=own.seed, indices=own.indices)
        return found.for_real_inputs() if own.real_inputs else found

    def to_arrow(self) -> pa.Table:
        """Return the result as a table of pyarrow, one row an input.

        Returns
        -------
        pyarrow.Table
            Columns ``index``, ``label``, ``prediction``, ``radius``; those of `Certificates.to_arrow`, votes included,
            where there are certificates, or else ``p1`` and ``p2`` if known; and ``draws``, ``seconds``, ``image`` if
            they are. Whatever reads Arrow takes the result itself as well, as ``polars.DataFrame(result)`` does.

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        """
        import pyarrow as pa  # noqa: PLC0415

        columns: dict[str, Any] = {"index": self.index, "label": self.labels}
        if self.certificates is None:
            columns |= {"prediction": self.prediction, "radius": self.radius, "p1": self.p1, "p2": self.p2}
            metadata = None
        else:
            table = self.certificates.to_arrow()
            columns |= {name: table.column(name) for name in table.column_names if name != "index"}
            metadata = table.schema.metadata
        columns |= {"draws": self.draws, "seconds": self.seconds, "image": self.images}
        return pa.table({name: each for name, each in columns.items() if each is not None}, metadata=metadata)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the result to whatever reads Arrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def kind_of(text: str) -> Kind:
    """Return a kind of certificates that answers and is right as those that say so: of classes, if they are a user's.

    Not all tell every setting of theirs.
    """
    name = text.split(maxsplit=1)[0]
    return kind_named(text) if name in KINDS and kind_type(name).answer != TopClass.answer else TopClass()


def _known(found: Certificates) -> dict[str, Any]:
    """Return the fields of a result that its certificates tell."""
    names = (
        *("prediction", "radius", "norm", "mechanism", "dim"),
        *("kind", "bound", "runner_up", "interval", "alpha", "grid", "p1", "p2"),
    )
    known = {name: getattr(found, name) for name in names} | {"noise": describe(found.mechanism)}
    if np.isnan(found.p1).all():
        # The certificates are of no probabilities.
        known |= {"p1": None, "p2": None}
    return known
