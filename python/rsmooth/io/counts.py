"""Counts, in files or of a run, to files of radii: another bound, norm or alpha without new inference."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from rsmooth.certificates.topclass import certify_counts
from rsmooth.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from rsmooth.certificates.topclass import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.results import Run

__all__ = ["Summary", "recertify", "recertify_run"]

# What is read, certified and written at a time.
PIECE_BYTES = 32 * 2**20

DELIMITERS = {".csv": ",", ".tsv": "\t"}

# The columns that the result files of locuslab/smoothing and its descendants begin with.
PUBLISHED = ("idx", "label", "predict", "radius")

RESULTS = ("prediction", "radius", "p1", "p2", "order")


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
    """

    rows: int
    abstained: int
    largest: float


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of the input: the columns to keep, and the counts or else the published class and p1."""

    kept: pa.Table
    counts: NDArray[Any] | None = None
    selection: NDArray[Any] | None = None
    published: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None


def recertify(
    source: Path,
    out: Path,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int | None = None,
    alpha: float = 0.001,
    bound: str = "renyi",
    runner_up: str = "second",
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
          hold lists, ``counts`` and ``selection``, instead;
        - a result file of locuslab/smoothing (tab-separated, columns ``idx label predict radius …``), of whatever name.
          Its counts are unknown, but its radius σ Φ⁻¹(p1) tells p1; since it is printed with few digits, half a unit
          of the last one is taken off first. `mechanism` must be the Gaussian that the file was made with, and
          p2 = 1 - p1.
    out : pathlib.Path
        Where to write, as ``.csv``, ``.tsv`` or ``.parquet``: all columns of a table (those named like a result get
        ``input_`` before their name), and ``prediction``, ``radius``, ``p1``, ``p2``, ``order``. Nothing is written
        where an error occurs.
    mechanism : Gaussian, Exponential or Laplace
        The mechanism whose draws were counted.
    norm, alpha, bound, runner_up
        As for `rsmooth.certify_counts`.
    dim : int or None
        Number of coordinates of an input. Where the radius does not depend on it, None will do.
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
    >>> from rsmooth.io.counts import recertify
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, out = pathlib.Path(folder, "counts.csv"), pathlib.Path(folder, "radii.csv")
    ...     _ = source.write_text("image,count_0,count_1,selected\ncat,990,10,0\ndog,480,520,1\n")
    ...     recertify(source, out, rsmooth.Gaussian(0.5), norm=2)
    Summary(rows=2, abstained=1, largest=0.7975243123480302)
    """
    _check_suffix(out)
    if source.suffix != ".npy" and selection is not None:
        raise ValueError(f"selection is for .npy counts; {source} must hold it in columns of its own")
    settings = {"norm": norm, "dim": _dimension(mechanism, norm, dim), "bound": bound}
    rows = abstained = 0
    largest = 0.0

    def write(file: IO[bytes]) -> None:
        nonlocal rows, abstained, largest
        writer: Any = None
        for piece, done in _pieces(source, selection, mechanism):
            results = _certify(piece, mechanism, settings, alpha, runner_up, source, rows)
            table = _with_results(piece.kept, results)
            if writer is None:
                writer = _writer(file, table.schema, out.suffix)
            writer.write_table(table)
            rows += len(results["radius"])
            abstained += int((results["prediction"] < 0).sum())
            largest = max(largest, float(results["radius"].max(initial=0.0)))
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
    norm: float | None = None,
    alpha: float | None = None,
    bound: str | None = None,
    runner_up: str | None = None,
) -> Summary:
    """Certify the finished examples of a run from their counts and write the certificates to a file.

    Parameters
    ----------
    run : Run
        What `rsmooth.run.results.read_run` returns.
    out : pathlib.Path
        Where to write. ``.tsv`` gets the columns of locuslab/smoothing's result files, ``idx label predict radius
        correct time``, in full precision; ``.csv`` and ``.parquet`` get ``index``, ``label``, ``image`` (its digest),
        ``selection_0`` …, ``count_0`` …, ``seconds``, ``prediction``, ``radius``, ``p1``, ``p2`` and ``order``. Where
        one radius was certified, the counts are called ``stopped_count_0`` …, as they tell of no other, and there is
        ``outcome``. Nothing is written where an error occurs.
    norm, alpha, bound, runner_up
        As for `rsmooth.certify_counts`; None is what the run was asked for.

    Returns
    -------
    Summary
        Of the rows written.

    Raises
    ------
    ValueError
        If the run certified one radius and other settings are asked for, or an argument is not allowed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.io.counts import recertify_run
    >>> from rsmooth.run.results import read_run
    >>> recertify_run(read_run(Path("run")), Path("radii.tsv"), bound="neyman-pearson")  # doctest: +SKIP
    """
    _check_suffix(out)
    found = run.certificates(norm=norm, alpha=alpha, bound=bound, runner_up=runner_up)

    def write(file: IO[bytes]) -> None:
        if out.suffix == ".tsv":
            file.write(_published_text(run, found).encode())
            return
        table = _run_table(run, found)
        with _writer(file, table.schema, out.suffix) as writer:
            writer.write_table(table)

    write_atomically(out, write)
    return Summary(len(found), int((found.prediction < 0).sum()), float(found.radius.max()))


def _check_suffix(out: Path) -> None:
    if out.suffix not in (*DELIMITERS, ".parquet"):
        raise ValueError(f"out must end in .csv, .tsv or .parquet, got {out}")


def _published_text(run: Run, found: Certificates) -> str:
    """Return a result file as locuslab/smoothing writes it, without quotation marks, but for its rounding."""
    lines = ["\t".join((*PUBLISHED, "correct", "time"))]
    certified = zip(run.records.items(), found.prediction.tolist(), found.radius.tolist(), strict=True)
    for (index, record), prediction, radius in certified:
        label, took = record["label"], timedelta(seconds=record["seconds"])
        lines.append(f"{index}\t{label}\t{prediction}\t{radius!r}\t{int(prediction == label)}\t{took}")
    return "\n".join(lines) + "\n"


def _run_table(run: Run, found: Certificates) -> pa.Table:
    columns = {"index": list(run.records), "label": run.column("label"), "image": run.column("image")}
    # Under a name that nothing takes for counts: those of a test that stopped tell of its radius alone.
    tested = "count" if run.rule.radius is None else "stopped_count"
    for prefix, votes in (("selection", run.column("selection")), (tested, run.column("counts"))):
        columns |= {f"{prefix}_{k}": votes[:, k] for k in range(votes.shape[1])}
    columns |= {"seconds": run.column("seconds"), **{name: getattr(found, name) for name in RESULTS}}
    if run.rule.radius is not None:
        columns["outcome"] = run.column("outcome")
    return pa.table(columns)


def _dimension(mechanism: Mechanism, norm: float, dim: int | None) -> int:
    needed = {"gaussian": (math.inf,), "exponential": (), "laplace": (2, math.inf)}[mechanism.name]
    if dim is None and norm in needed:
        raise ValueError(f"dim must be given: the {mechanism.name} mechanism's radius in norm {norm:g} depends on it")
    return 1 if dim is None else dim


def _certify(  # noqa: PLR0917
    piece: Piece,
    mechanism: Mechanism,
    settings: dict[str, Any],
    alpha: float,
    runner_up: Any,
    source: Path,
    start: int,
) -> dict[str, NDArray[Any]]:
    if piece.published is not None:
        prediction, p1 = piece.published
        radius = mechanism.radius(p1, 1 - p1, **settings)
        results = (np.where(radius > 0, prediction, -1), radius, p1, 1 - p1, np.full(len(p1), np.nan))
        return dict(zip(RESULTS, results, strict=True))
    try:
        certificates = certify_counts(
            piece.counts,  # type: ignore[arg-type]
            mechanism,
            alpha=alpha,
            runner_up=runner_up,
            selection=piece.selection,
            **settings,
        )
    except ValueError as error:
        where = re.match(r"(counts|selection)\[(\d+)", str(error))
        if where is None:
            raise
        row = start + int(where[2])
        message = str(error).replace(where[0], f"{where[1]}[{row}", 1)
        raise ValueError(f"{source}, row {row} (the first is 0): {message}") from error
    return {name: getattr(certificates, name) for name in RESULTS}


def _with_results(kept: pa.Table, results: dict[str, NDArray[Any]]) -> pa.Table:
    names = [f"input_{name}" if name in RESULTS else name for name in kept.column_names]
    columns = [*kept.columns, *(pa.array(values) for values in results.values())]
    return pa.table(columns, names=[*names, *results])


def _writer(file: IO[bytes], schema: pa.Schema, suffix: str) -> Any:
    if suffix == ".parquet":
        return pa_parquet.ParquetWriter(file, schema)
    return pa_csv.CSVWriter(file, schema, write_options=pa_csv.WriteOptions(delimiter=DELIMITERS[suffix]))


def _pieces(source: Path, selection: Path | None, mechanism: Mechanism) -> Iterator[tuple[Piece, float]]:
    """Iterate over the input's pieces, each with the share of the input that ends with it."""
    if source.suffix == ".npy":
        return _array_pieces(source, selection)
    if source.suffix == ".parquet":
        return _parquet_pieces(source)
    with source.open("rb") as file:
        header = file.readline(2**16).decode("utf-8", "replace").rstrip("\r\n")
    if tuple(header.split("\t")[: len(PUBLISHED)]) == PUBLISHED:
        if mechanism.name != "gaussian":
            raise ValueError(f"{source} holds radii of the gaussian mechanism, got mechanism {mechanism.name!r}")
        return _published_pieces(source, mechanism.parameter)
    if source.suffix not in DELIMITERS:
        raise ValueError(f"{source} must be .npy, .csv, .tsv, .parquet or have the columns {' '.join(PUBLISHED)}")
    return _text_pieces(source, header.split(DELIMITERS[source.suffix]))


def _array_pieces(source: Path, selection: Path | None) -> Iterator[tuple[Piece, float]]:
    counts = _load(source)
    if counts.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"{source} must have the shape (N, K), got {counts.shape}")
    chosen = None if selection is None else _load(selection)
    if chosen is not None and len(chosen) != len(counts):
        raise ValueError(f"{selection} must have {len(counts)} rows, as {source} has, got {len(chosen)}")
    step = max(1, PIECE_BYTES // max(1, counts[:1].nbytes))
    for start in range(0, len(counts), step):
        rows = slice(start, start + step)
        piece = Piece(pa.table({}), counts[rows], None if chosen is None else chosen[rows])
        yield piece, min(1.0, (start + step) / len(counts))


def _load(source: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(source, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{source} is no .npy array: {error}") from error
    if array.dtype.kind not in "iu" or array.ndim == 0:
        raise ValueError(f"{source} must hold an array of integers, got {array.dtype} of shape {array.shape}")
    return array


def _parquet_pieces(source: Path) -> Iterator[tuple[Piece, float]]:
    try:
        file = pa_parquet.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source} is no Parquet file: {error}") from error
    with file:
        total, done = file.metadata.num_rows, 0
        width = max(1, file.metadata.row_group(0).total_byte_size // max(1, total)) if total else 1
        for batch in file.iter_batches(batch_size=max(1024, PIECE_BYTES // width)):
            done += batch.num_rows
            if batch.num_rows:
                yield _table_piece(source, pa.table(batch), done - batch.num_rows), done / total


def _text_pieces(source: Path, header: list[str]) -> Iterator[tuple[Piece, float]]:
    integers = [name for name in header if re.fullmatch(r"(count|selection)_\d+|selected", name)]
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        try:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=PIECE_BYTES // 2),
                parse_options=pa_csv.ParseOptions(delimiter=DELIMITERS[source.suffix]),
                convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(integers, pa.int64())),
            )
            for batch in reader:
                if batch.num_rows:
                    yield _table_piece(source, pa.table(batch), start), min(1.0, file.tell() / size)
                start += batch.num_rows
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source}: {error}") from error


def _table_piece(source: Path, table: pa.Table, start: int) -> Piece:
    counts = _votes(source, table, "count", "counts", start)
    if counts is None:
        raise ValueError(
            f"{source} must have columns count_0, count_1, … or counts, got {', '.join(table.column_names)}"
        )
    selection = _votes(source, table, "selection", "selection", start)
    if selection is None and "selected" in table.column_names:
        selection = _integers(source, table.column("selected"), "selected", start)
    return Piece(table, counts, selection)


def _votes(source: Path, table: pa.Table, prefix: str, whole: str, start: int) -> NDArray[Any] | None:
    if whole in table.column_names:
        column = table.column(whole).combine_chunks()
        if column.null_count:
            raise ValueError(f"{source}, row {start + _first_null(column)} (the first is 0): {whole} is missing")
        if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
            return _integers(source, table.column(whole), whole, start)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(lengths != lengths[0])
        if wrong.size:
            row = start + int(wrong[0])
            message = f"{whole} must have {lengths[0]} entries, got {lengths[wrong[0]]}"
            raise ValueError(f"{source}, row {row} (the first is 0): {message}")
        return _integers(source, column.flatten(), whole, start, per_row=int(lengths[0])).reshape(len(column), -1)
    numbers = sorted(int(n[1]) for name in table.column_names if (n := re.fullmatch(rf"{prefix}_(\d+)", name)))
    if not numbers:
        return None
    if numbers != list(range(len(numbers))):
        raise ValueError(
            f"{source} must have columns {prefix}_0 to {prefix}_{numbers[-1]} without a gap, got {numbers}"
        )
    columns = [_integers(source, table.column(f"{prefix}_{i}"), f"{prefix}_{i}", start) for i in numbers]
    return np.stack(columns, axis=1)


def _integers(source: Path, column: Any, name: str, start: int, per_row: int = 1) -> NDArray[Any]:
    if column.null_count:
        row = start + _first_null(column) // per_row
        raise ValueError(f"{source}, row {row} (the first is 0): {name} is missing")
    if not pa.types.is_integer(column.type):
        raise ValueError(f"{source}: {name} must be integers, got {column.type}")
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values


def _first_null(column: Any) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]) if column.null_count else 0


def _published_pieces(source: Path, sigma: float) -> Iterator[tuple[Piece, float]]:
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        names = file.readline().decode().rstrip("\r\n").split("\t")
        file.seek(0)
        try:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=PIECE_BYTES // 2),
                parse_options=pa_csv.ParseOptions(delimiter="\t"),
                convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )
            for batch in reader:
                table = pa.table(batch)
                if len(table):
                    rows = enumerate(zip(*(table.column(n).to_pylist() for n in ("predict", "radius")), strict=True))
                    read = [_published_row(source, start + i, predict, text, sigma) for i, (predict, text) in rows]
                    classes, p1 = zip(*read, strict=True)
                    published = (np.array(classes, np.int64), np.array(p1))
                    yield Piece(table, published=published), min(1.0, file.tell() / size)
                start += len(table)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source}: {error}") from error


def _published_row(source: Path, row: int, predict: str, text: str, sigma: float) -> tuple[int, float]:
    """Return the class and the lower bound on its probability that a printed radius tells."""
    try:
        prediction, printed = int(predict), Decimal(text)
    except (ValueError, InvalidOperation, TypeError):
        prediction, printed = 0, Decimal(-1)
    if prediction < -1 or not printed.is_finite() or printed < 0:
        message = f"predict and radius must be a class or -1 and a radius of at least 0, got {predict!r} and {text!r}"
        raise ValueError(f"{source}, row {row} (the first is 0): {message}")
    half_unit = Decimal(1).scaleb(int(printed.as_tuple().exponent)) / 2
    radius = max(0.0, float(printed - half_unit)) if prediction >= 0 else 0.0
    # erfc is good to a few units in the last place; so many are taken off.
    return prediction, 0.5 * math.erfc(-radius / (sigma * math.sqrt(2))) * (1 - 2**-48)
