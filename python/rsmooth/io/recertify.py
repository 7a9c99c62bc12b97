"""Counts, in files or of a run, to files of radii: another bound, norm or alpha without new inference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from rsmooth._norms import norm_text
from rsmooth._settings import given
from rsmooth.certificates import refuse_other_counts
from rsmooth.certificates.topclass import TopClass
from rsmooth.io import tables
from rsmooth.io.counts import STOPPED, integers, read_counts
from rsmooth.io.files import write_atomically
from rsmooth.io.published import is_published, probability, published_text, read_published, tells_p1
from rsmooth.mechanisms import Gaussian
from rsmooth.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rsmooth.certificates.kind import Kind
    from rsmooth.certificates.topclass import Certificates
    from rsmooth.io.counts import Piece
    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.results import Run

__all__ = ["Summary", "recertify", "recertify_run"]


@dataclass(frozen=True)
class Summary:
    """What a recertified file holds.

    Attributes
    ----------
    rows : int
        Number of inputs.
    abstained : int
        How many of them got no certificate.
    largest : float
        The largest radius.
    basis : str or None
        What the certificates of a run rest on, in a sentence.
    """

    rows: int
    abstained: int
    largest: float
    basis: str | None = field(default=None, repr=False)


def recertify(
    source: Path,
    out: Path,
    mechanism: Mechanism,
    *,
    kind: Kind = TopClass(),  # noqa: B008
    norm: float,
    dim: int | None = None,
    alpha: float | None = None,
    bound: str = "tightest",
    runner_up: Literal["second", "complement"] | None = None,
    interval: str | None = None,
    selection: Path | None = None,
    progress: Callable[[float], object] = lambda _: None,
) -> Summary:
    r"""Certify every row of a file of counts and write the certificates to another.

    Parameters
    ----------
    source : pathlib.Path
        One of

        - a ``.npy`` array of integers, shape (N, K);
        - a ``.csv``, ``.tsv`` or ``.parquet`` table with the votes in columns ``count_0`` … ``count_{K-1}``, and
          optionally those of separate draws in ``selection_0`` … or the class they chose in ``selected``; Parquet may
          hold lists, ``counts`` and ``selection``, instead. Votes of draws that were stopped by them are called
          ``stopped_count_0`` …, and need the interval ``"anytime"``;
        - a result file of locuslab/smoothing (tab-separated, columns ``idx label predict radius …``), of whatever name.
          Its counts are unknown, but its radius σ Φ⁻¹(p1) gives p1; since it is printed with few digits, half a unit
          of the last one is taken off first. `mechanism` must be the Gaussian that the file was made with, and
          p2 = 1 - p1. A file that says that its radii are of another bound, or of a separate p2, is refused.

        A table that says which settings it comes from (the columns that this function writes) is refused where they
        contradict what is asked for; how its counts were drawn (``interval``, ``grid``, ``noise_error``) is taken from
        it.
    out : pathlib.Path
        Where to write, as ``.csv``, ``.tsv`` or ``.parquet``: all columns of a table (those named like a column that is
        added get ``input_`` before their name), ``prediction``, ``radius``, ``p1``, ``p2``, ``order``, and the settings
        behind them: ``mechanism``, ``parameter``, ``norm``, ``dim``, ``bound``, ``alpha``, ``runner_up``, ``interval``,
        ``grid``, ``noise_error``, ``kind``. Nothing is written where an error occurs.
    mechanism : Mechanism
        The mechanism whose draws were counted.
    kind : Kind
        What to certify by the votes. One that certifies labels takes those in a column ``label``, if there is one, and
        otherwise what separate draws chose.
    norm, bound
        As for `rsmooth.certify_counts`.
    alpha, runner_up, interval
        As for `rsmooth.certify_counts`; None is 0.001, "second" and what the file says or "clopper-pearson". A result
        file has no counts that they could be applied to, and must be given none.
    dim : int or None
        Number of coordinates of an input; None is what the file says, or, where the radius does not depend on it, none.
    selection : pathlib.Path, optional
        For a ``.npy`` source, the ``.npy`` array of what separate draws chose: counts (N, K) or classes (N,).
    progress : callable
        Called now and then with the share of the input that is done.

    Returns
    -------
    Summary
        Of the rows written.

    Raises
    ------
    ValueError
        If a file's format or a row is unusable (the message names file, row and value), or an argument is not allowed.
    OSError
        If a file cannot be read or written.

    Examples
    --------
    >>> import pathlib, tempfile, rsmooth
    >>> from rsmooth.io.recertify import recertify
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, out = pathlib.Path(folder, "counts.csv"), pathlib.Path(folder, "radii.csv")
    ...     _ = source.write_text("image,count_0,count_1,selected\ncat,990,10,0\ndog,480,520,1\n")
    ...     recertify(source, out, rsmooth.Gaussian(0.5), norm=2)
    Summary(rows=2, abstained=1, largest=0.9794398953828755)
    """
    tables.check_suffix(out)
    refuse_other_counts(kind, TopClass.counted, source)
    asked = given(alpha=alpha, runner_up=runner_up, interval=interval)
    rule: dict[str, Any] = {"norm": norm, "dim": dim, "bound": bound}
    pieces: Iterator[tuple[pa.Table, float]]
    if source.suffix not in (".npy", ".parquet") and selection is None and is_published(source):
        lost = [*asked, *(["kind"] if kind != TopClass() else [])]
        if lost:
            raise ValueError(
                f"{' and '.join(lost)} cannot be applied to {source}: it holds radii, whose votes are lost"
            )
        pieces = _from_radii(source, mechanism, rule)
    else:
        usual = {"alpha": Rule.alpha, "runner_up": Rule.runner_up}
        pieces = _from_counts(source, selection, mechanism, kind, rule | usual, asked)
    rows = abstained = 0
    largest = 0.0

    def write(file: IO[bytes]) -> None:
        nonlocal rows, abstained, largest
        writer: Any = None
        for table, done in pieces:
            if writer is None:
                writer = tables.writer(file, table.schema, out.suffix)
            writer.write_table(table)
            rows += len(table)
            abstained += int((table["prediction"].to_numpy() < 0).sum())
            largest = max(largest, float(table["radius"].to_numpy().max()))
            progress(done)
        if writer is None:
            raise ValueError(f"{source} has no rows")
        writer.close()

    write_atomically(out, write)
    return Summary(rows, abstained, largest)


def recertify_run(
    run: Run,
    out: Path,
    *,
    kind: Kind | None = None,
    norm: float | None = None,
    alpha: float | None = None,
    bound: str | None = None,
    runner_up: str | None = None,
    interval: str | None = None,
) -> Summary:
    """Certify the finished examples of a run from their counts and write the certificates to a file.

    Parameters
    ----------
    run : Run
        What `rsmooth.run.results.read_run` returns.
    out : pathlib.Path
        Where to write. ``.tsv`` gets the columns of locuslab/smoothing's result files, ``idx label predict radius
        correct time``, in full precision, and the columns of settings that `recertify` adds. ``.csv`` and ``.parquet``
        get ``index``, ``label``, ``image`` (its digest), ``selection_0`` …, ``count_0`` …, ``seconds``, ``prediction``,
        ``radius``, ``p1``, ``p2``, ``order`` and the settings. Counts of draws that were stopped are called
        ``stopped_count_0`` …. Nothing is written where an error occurs.
    kind
        As for `rsmooth.run.results.Run.certificates`.
    norm, alpha, bound, runner_up, interval
        As for `rsmooth.certify_counts`; None is what the run was asked for.

    Returns
    -------
    Summary
        Of the rows written.

    Raises
    ------
    ValueError
        If an argument is not allowed, as an `interval` that does not hold for draws that were stopped, or a `kind` that
        counts something else.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.io.recertify import recertify_run
    >>> from rsmooth.run.results import read_run
    >>> recertify_run(read_run(Path("run")), Path("radii.tsv"), bound="neyman-pearson")  # doctest: +SKIP
    """
    tables.check_suffix(out)
    if out.suffix == ".tsv" and run.rule.kind.answer != "class":
        what = f"kind {run.rule.kind.name!r}, as result files are of classes"
        raise ValueError(f"out must end in .csv or .parquet for {what}, got {out}")
    found = run.certificates(kind=kind, norm=norm, alpha=alpha, bound=bound, runner_up=runner_up, interval=interval)

    def write(file: IO[bytes]) -> None:
        if out.suffix == ".tsv":
            file.write(published_text(run, found).encode())
            return
        table = _run_table(run, found)
        with tables.writer(file, table.schema, out.suffix) as writer:
            writer.write_table(table)

    write_atomically(out, write)
    return Summary(len(found), int(found.abstained.sum()), float(found.radius.max()), found.basis)


def _run_table(run: Run, found: Certificates) -> pa.Table:
    told = found.columns(run.column("label"))
    columns = {"index": list(run.records), **told, "image": run.column("image")}
    # Not to be taken for counts of a fixed number of draws.
    tested = STOPPED if found.stopped else "count"
    for prefix, votes in (("selection", run.column("selection")), (tested, run.column("counts"))):
        columns |= run.rule.kind.columns(prefix, votes)
    columns |= {"seconds": run.column("seconds"), **{name: getattr(found, name) for name in tables.RESULTS[1:]}}
    return pa.table({**columns, **tables.columns_of(tables.settings_of(found), len(found))})


def _from_radii(source: Path, mechanism: Mechanism, rule: dict[str, Any]) -> Iterator[tuple[pa.Table, float]]:
    """Iterate over the certificates of a result file's rows."""
    if not isinstance(mechanism, Gaussian):
        message = f"{source} holds radii: mechanism must be the Gaussian that they were computed for, got {mechanism!r}"
        raise ValueError(message)  # noqa: TRY004
    wanted = {"mechanism": mechanism.name, "parameter": mechanism.sigma, "norm": "2", "kind": TopClass.name}
    wanted["dim"] = rule["dim"]
    start = 0
    for (kept, prediction, printed, cut), done in read_published(source):
        tables.check_settings(source, kept, start, wanted)
        dim = _dim(source, kept, start, mechanism, rule)
        told = tables.stated(source, kept, start)
        if told and not tells_p1(told):
            raise tables.row_error(
                source,
                start,
                "radii tell p1 only where bound is neyman-pearson or tightest and runner_up is complement, got "
                f"{told.get('bound')} and {told.get('runner_up')}: certify the run, or a table with its votes",
            )
        start += len(kept)
        if cut:
            raise tables.row_error(source, start, "the line is cut short, and the last: remove it")
        p1 = np.array([probability(radius, mechanism.sigma) for radius in printed])
        radius = mechanism.radius(p1, 1 - p1, **{**rule, "dim": dim or 1})
        results = (np.where(radius > 0, prediction, -1), radius, p1, 1 - p1, np.full(len(p1), np.nan))
        certified = dict(zip(tables.RESULTS, results, strict=True))
        settings = tables.settings(mechanism, **{**rule, "dim": dim}, alpha=None, runner_up="complement", interval=None)
        columns = tables.columns_of(settings, len(kept))
        for name in {"alpha", "interval"} & set(kept.column_names):
            columns[name] = kept.column(name).cast(tables.SETTINGS[name])
        yield _joined(kept, {**certified, **columns}), done


def _dim(source: Path, table: pa.Table, start: int, mechanism: Mechanism, rule: dict[str, Any]) -> int | None:
    """Return the coordinates of an input that are asked for, or else told; None where they do not matter."""
    dim: int | None = rule["dim"] or tables.stated(source, table, start, ("dim",)).get("dim")
    if dim is None and mechanism.depends_on_dim(rule["norm"]):
        raise ValueError(
            f"dim must be given: the radius of {mechanism!r} in norm {norm_text(rule['norm'])} depends on it, and "
            f"{source} does not tell it"
        )
    return dim


def _from_counts(  # noqa: PLR0917
    source: Path, selection: Path | None, mechanism: Mechanism, kind: Kind, rule: dict[str, Any], asked: dict[str, Any]
) -> Iterator[tuple[pa.Table, float]]:
    """Iterate over the certificates of a file of counts, under what it says of them but for what is asked for."""
    start = 0
    for piece, done in read_counts(source, selection):
        here = {**rule, **tables.stated(source, piece.kept, start, tables.DRAWN), **asked}
        here["dim"] = _dim(source, piece.kept, start, mechanism, rule)
        settings = tables.settings(mechanism, **here, kind=kind.claim)
        # The counts do not depend on the rest.
        wanted = {name: settings[name] for name in ("mechanism", "parameter", "dim")}
        tables.check_settings(source, piece.kept, start, wanted)
        certificates = _certify(source, start, piece, kind, Rule(mechanism, **{**here, "dim": here["dim"] or 1}))
        results = {name: getattr(certificates, name) for name in tables.RESULTS}
        yield _joined(piece.kept, {**results, **tables.columns_of(settings, len(certificates))}), done
        start += len(certificates)


def _certify(source: Path, start: int, piece: Piece, kind: Kind, rule: Rule) -> Certificates:
    """Certify a piece; an error names the row of the file."""
    labels = None
    if kind.takes_labels and "label" in piece.kept.column_names:
        labels = integers(source, piece.kept.column("label"), "label", start)
    elif kind.takes_labels and piece.selection is None:
        raise ValueError(
            f"{source} must have the classes to certify in a column label, or what separate draws chose, for kind "
            f"{kind.name!r}"
        )
    try:
        return kind.certify(piece.selection, piece.counts, rule, labels=labels)
    except ValueError as error:
        index = getattr(error, "index", None)
        if not index:
            raise
        name, row = error.argument, start + index[0]  # type: ignore[attr-defined]
        here, there = (f"{name}[{', '.join(map(str, at))}]" for at in (index, (row, *index[1:])))
        raise tables.row_error(source, row, str(error).replace(here, there, 1)) from error


def _joined(kept: pa.Table, added: dict[str, Any]) -> pa.Table:
    """Return a table with further columns; those of the same names get ``input_`` before theirs."""
    names: list[str] = []
    for name in kept.column_names:
        while name in added or name in names:
            name = f"input_{name}"  # noqa: PLW2901
        names.append(name)
    columns = [
        *kept.columns,
        *(each if isinstance(each, (pa.Array, pa.ChunkedArray)) else pa.array(each) for each in added.values()),
    ]
    return pa.table(columns, names=[*names, *added])
