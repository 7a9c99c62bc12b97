"""Reading results: runs, files of this package and result files of the field become one kind of object."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rsmooth._digits import below
from rsmooth.certificates import KINDS, counted_of, kind_named, kind_type
from rsmooth.certificates.result import Certificates, StoppedCounts
from rsmooth.certificates.topclass import TopClass
from rsmooth.io import tables
from rsmooth.io.counts import integers, read_table, votes_in
from rsmooth.io.published import is_published, probability, read_published, tells_p1
from rsmooth.mechanisms import MECHANISMS, Gaussian, mechanism_named
from rsmooth.results.result import Result, RowError, describe, kind_of
from rsmooth.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rsmooth.mechanisms import Mechanism

__all__ = ["read_result"]

# What the radii of the field's result files are: of the Gaussian, σ Φ⁻¹(p1).
FIELD = {"mechanism": Gaussian.name, "norm": 2.0, "bound": "neyman-pearson", "runner_up": "complement"}


def read_result(
    source: Path,
    *,
    name: str | None = None,
    mechanism: str | None = None,
    sigma: float | None = None,
    dim: int | None = None,
) -> Result:
    r"""Read the certificates, with true classes, that a run or a file holds.

    Parameters
    ----------
    source : pathlib.Path
        One of

        - the folder of a run, finished or not;
        - a ``.csv``, ``.tsv`` or ``.parquet`` table that `rsmooth radii` wrote, of a run or of a table that has the
          true classes in a column ``label``, and the inputs' numbers in ``index`` or ``idx`` (or else in order). With
          its votes, if it has them, of which the radii are computed again; without them, a radius must be at most what
          the p1 and p2 beside it give;
        - a result file of locuslab/smoothing or its descendants, of whatever name: tab-separated ``idx label predict
          radius …``, radii of three digits or four. Its ``correct`` is not looked at (in files of denoisers it is a
          running count), its ``time`` may be ``15.4`` or ``0:00:15``, and it may stop early, in the middle of its last
          line. Its votes are lost. If it does not say otherwise its radii are σ Φ⁻¹(p1) in ℓ2, `bound`
          ``neyman-pearson`` and `runner_up` ``complement``; they are taken as printed.
    name : str, optional
        What tables and figures call it; that of the folder or file, if left out.
    mechanism : str, optional
        The mechanism, where that is code (``package.module:name``) and may be imported.
    sigma : float, optional
        Of a result file of the field, which does not tell it. p1 is then known, with half a unit of the radius's last
        digit taken off, and with it other bounds.
    dim : int, optional
        Coordinates of an input, where the source does not tell.

    Returns
    -------
    Result
        In the order of the source; `Result.notes` says what of it is missing or was left out.

    Raises
    ------
    ValueError
        If it is none of these, or damaged: the message names the file, the line or row, and the column; or if `sigma`
        or `dim` contradict it.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.results.read import read_result
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "sigma_0.25")
    ...     rows = ["idx label predict radius correct time", "0 3 3 0.421 1 0:00:15", "20 8 8 0.0725 1 0:00:14", "40 6"]
    ...     _ = file.write_text("\n".join(rows).replace(" ", "\t"))
    ...     result = read_result(file)
    >>> result
    Result('sigma_0.25': 2 inputs, 0 abstained; gaussian, norm 2, bound neyman-pearson)
    >>> result.notes
    ('stops early: line 4 is cut short and was left out',)
    """
    if source.is_dir():
        found = _of_run(source, mechanism)
    elif source.suffix not in (".npy", ".npz", ".parquet") and is_published(source):
        found = _at_its_line(source, _of_published, sigma, mechanism)
    elif source.suffix in (".parquet", *tables.DELIMITERS):
        found = _at_its_line(source, _of_table, mechanism, dim)
    else:
        raise ValueError(
            f"{source} must be the folder of a run, a .csv, .tsv or .parquet that `rsmooth radii` wrote, or begin with "
            "the columns of a result file, idx label predict radius"
        )
    stated = getattr(found.mechanism, "parameter", None)
    if sigma is not None and stated != sigma:
        raise ValueError(f"sigma is {stated} in {source}, got {sigma}")
    if dim is not None and found.dim not in (None, dim):
        raise ValueError(f"dim is {found.dim} in {source}, got {dim}")
    return replace(found, name=name or found.name, dim=found.dim or dim)


def _at_its_line(source: Path, read: Callable[..., Result], *arguments: Any) -> Result:
    """Read a file; what is wrong with a row of its result is said of its line."""
    try:
        return read(source, *arguments)
    except RowError as error:
        raise tables.row_error(source, error.row, error.problem) from error


def _of_run(folder: Path, mechanism: str | None) -> Result:
    # It needs what a run needs, which readers of files may lack.
    from rsmooth.run.results import read_run  # noqa: PLC0415

    run = read_run(folder, mechanism=mechanism)
    certificates = run.certificates()
    if not isinstance(certificates, Certificates):
        raise ValueError(f"{folder} must certify classes, got {type(certificates).__name__}")  # noqa: TRY004
    notes = []
    if run.missing:
        notes.append(f"not finished: {len(run.records):,} of {len(run.indices):,} examples")
    if run.rule.kind.answer == "map":
        notes.append("certified accuracy is the share of pixels, which has no interval: those of an image depend")
    if run.damaged:
        notes.append(f"damaged lines were left out: {len(run.damaged):,}")
    return Result.of(
        folder.resolve().name,
        certificates,
        run.column("label"),
        source=folder,
        draws=run.draws,
        selection=run.column("selection"),
        seconds=run.column("seconds").astype(float),
        images=run.column("image"),
        notes=tuple(notes),
    )


def _of_published(source: Path, sigma: float | None, mechanism: str | None) -> Result:
    pieces = [piece for piece, _ in read_published(source)]
    if not pieces:
        raise ValueError(f"{source} has no rows")
    table = pa.concat_tables([piece.kept for piece in pieces])
    printed = [radius for piece in pieces for radius in piece.radius]
    told = tables.stated(source, table, 0)
    own = bool(told)
    known = told if own else {**FIELD, "parameter": sigma}
    noise = _mechanism(source, known, mechanism)
    p1 = None
    if isinstance(noise, Gaussian) and tells_p1(known):
        p1 = np.array([probability(radius, noise.sigma) for radius in printed])
    notes = []
    if pieces[-1].cut:
        notes.append(f"stops early: line {len(table) + 2} is cut short and was left out")
    seconds = None
    if "time" in table.column_names:
        cells = table.column("time").to_pylist()
        seconds = np.array([_seconds(source, row, cell) for row, cell in enumerate(cells)])
    return Result(
        name=source.stem if source.suffix in (".tsv", ".csv", ".txt") else source.name,
        source=source,
        index=_whole(source, table, "idx"),
        labels=_whole(source, table, "label"),
        prediction=np.concatenate([piece.prediction for piece in pieces]),
        radius=np.array([float(radius) for radius in printed]),
        p1=p1,
        p2=None if p1 is None else 1 - p1,
        seconds=seconds,
        notes=tuple(notes),
        **_told(known, noise),
    )


def _of_table(source: Path, mechanism: str | None, dim: int | None) -> Result:
    pieces = [(table, start) for table, start, _ in read_table(source)]
    if not pieces:
        raise ValueError(f"{source} has no rows")
    table = pa.concat_tables([piece for piece, _ in pieces], promote_options="permissive")
    if "certified_pixels" in table.column_names:
        raise ValueError(f"{source} is of maps, whose pixels it does not have: give the folder of the run")
    missing = {"label", "prediction", "radius", "mechanism", "parameter"} - set(table.column_names)
    if missing:
        raise ValueError(
            f"{source} must have the columns label, prediction, radius and the settings that `rsmooth radii` writes; "
            f"it has no {', '.join(sorted(missing))}"
        )
    told = tables.stated(source, table, 0)
    noise = _mechanism(source, told, mechanism)
    votes = [votes_in(source, piece, start) for piece, start in pieces]
    number = next((each for each in ("index", "idx") if each in table.column_names), None)
    index = np.arange(len(table)) if number is None else integers(source, table.column(number), number, 0)
    labels, prediction = (_answers(source, table, each, told) for each in ("label", "prediction"))
    columns: dict[str, Any] = {each: _numbers(source, table, each) for each in ("radius", "p1", "p2")}
    others: dict[str, Any] = {
        "name": source.stem,
        "source": source,
        "seconds": _numbers(source, table, "seconds"),
        "images": np.array(table.column("image").to_pylist(), str) if "image" in table.column_names else None,
    }
    columns["prediction"] = prediction
    counts, chosen = (_joined(each) for each in zip(*votes, strict=True))
    if counts is not None:
        selecting = 0 if chosen is None or chosen.ndim == 1 else chosen.sum(axis=1)
        others["draws"] = (counts.sum(axis=1) + selecting).astype(np.int64)
    lost = {"alpha", "runner_up", "interval", "dim"} - set(told) or any(each is None for each in columns.values())
    kind = str(told.get("kind", TopClass.name))
    if noise is None or lost or counts is None or counted_of(kind) != TopClass.counted:
        others |= {"index": index.astype(np.int64), "labels": labels}
        name = kind.split(maxsplit=1)[0]
        if not (name in KINDS and kind_type(name).as_votes):
            columns |= {"p1": None, "p2": None}
        found = Result(**columns, **others, **_told(told, noise))
        _refuse_larger(found, found.dim or dim)
        # Probabilities of another kind give no other radii here.
        return found if kind == TopClass.name else replace(found, p1=None, p2=None)
    tested = counts.view(StoppedCounts) if isinstance(votes[0][0], StoppedCounts) else counts
    try:
        rule = Rule(noise, **{each.name: told[each.name] for each in fields(Rule)[1:] if each.name in told})
        named = kind_named(kind)
        certified = named.certify(chosen, tested, rule, labels=labels if named.takes_labels else None)
        again = replace(certified, indices=index)
        wrong = replace(again, **columns).difference(again)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{source}: {error}") from error
    if wrong is not None:
        raise RowError(str(source), *wrong)
    return Result.of(certificates=again, labels=labels, selection=chosen, **others)


def _refuse_larger(found: Result, dim: int | None) -> None:
    """Refuse radii that are larger than what the p1 and p2 beside them give."""
    if found.mechanism is None or found.p1 is None or found.p2 is None:
        return
    if dim is None and found.mechanism.depends_on_dim(found.norm):
        return
    bound: Any = found.bound
    try:
        most = found.mechanism.radius(found.p1, found.p2, norm=found.norm, dim=dim or 1, bound=bound, grid=found.grid)
    except ValueError as error:
        raise ValueError(f"{found.origin}: {error}") from error
    # But for what other machines round otherwise.
    larger = np.flatnonzero((found.radius > most) & ~np.isclose(found.radius, most, rtol=1e-6, atol=1e-9))
    if larger.size:
        row = int(larger[0])
        allowed = f"at most {below(most[row])}, which its p1 and p2 give under {bound}"
        raise RowError(found.origin, row, f"radius must be {allowed}, got {found.radius[row]}")


def _joined(pieces: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """Return the votes of all pieces of a table; None where it has none."""
    there = [np.asarray(each) for each in pieces if each is not None]
    return np.concatenate(there) if there else None


def _answers(source: Path, table: pa.Table, name: str, told: dict[str, Any]) -> NDArray[Any]:
    """Return a column of classes, or of numbers where these are what is certified: NaN where there is none."""
    if kind_of(str(told.get("kind", TopClass.name))).answer != "number":
        return integers(source, table.column(name), name, 0).astype(np.int64)
    found = _numbers(source, table, name)
    return np.full(len(table), np.nan) if found is None else found


def _told(known: dict[str, Any], noise: Mechanism | None) -> dict[str, Any]:
    """Return the fields of a result that the settings of a file tell."""
    names = ("kind", "dim", "bound", "runner_up", "interval", "alpha", "grid")
    found = {"kind": TopClass.name, **{name: known.get(name) for name in names if name in known}}
    return {
        **found,
        "norm": known["norm"],
        "mechanism": noise,
        "noise": describe(noise) if noise else known["mechanism"],
    }


def _mechanism(source: Path, known: dict[str, Any], trusted: str | None) -> Mechanism | None:
    """Return the mechanism that a file tells; None where that is code that may not be imported, or has no parameter."""
    for name in ("mechanism", "norm", "bound"):
        if name not in known:
            raise tables.row_error(source, 0, f"{name} must say what the radius is of, got nothing")
    parameter = known.get("parameter")
    if known["mechanism"] in MECHANISMS:
        return None if parameter is None else mechanism_named(known["mechanism"], parameter)
    if trusted is None:
        return None
    found = mechanism_named(trusted, parameter, allow_code=True)
    if found.name != known["mechanism"]:
        raise ValueError(f"mechanism must be the {known['mechanism']} of {source}, got {trusted}, the {found.name}")
    return found


def _whole(source: Path, table: pa.Table, name: str) -> NDArray[np.int64]:
    """Return a column of text as integers."""
    cells = table.column(name).to_pylist()
    for row, cell in enumerate(cells):
        if not re.fullmatch(r"\d{1,18}", cell):
            raise tables.row_error(source, row, f"{name} must be an integer of at least 0, got {cell!r}")
    return np.array(cells, np.int64)


def _numbers(source: Path, table: pa.Table, name: str) -> NDArray[np.float64] | None:
    """Return a column of numbers; None where there is no such column, or nothing in it."""
    if name not in table.column_names or table.column(name).null_count == len(table):
        return None
    column = table.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        for row, cell in enumerate(column.to_pylist()):
            if not _is_number(cell):
                raise tables.row_error(source, row, f"{name} must be a number, got {cell!r}")
        raise ValueError(f"{source}: {name} must be numbers, got {column.type}")
    return np.asarray(column.to_numpy(), np.float64)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _seconds(source: Path, row: int, cell: str) -> float:
    """Return the seconds that the time of a row says, ``15.4`` or ``0:00:15``."""
    if parts := re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)", cell):
        days, hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not re.fullmatch(r"\d+(\.\d*)?(e-?\d+)?", cell):
        raise tables.row_error(source, row, f"time must be seconds or hours:minutes:seconds, got {cell!r}")
    return float(cell)
