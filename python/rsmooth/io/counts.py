"""Files of counts, of any size: read some rows at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from rsmooth.certificates.result import StoppedCounts
from rsmooth.io import tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["STOPPED", "Piece", "integers", "read_counts", "read_table", "votes_in"]

# How columns of counts begin whose draws were stopped by the votes.
STOPPED = "stopped_count"


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a file of counts.

    Attributes
    ----------
    kept : pyarrow.Table
        The file's columns; none for an array.
    counts : ndarray of integers, shape (N, K)
        The votes; `StoppedCounts`, where the file says that their draws were stopped.
    selection : ndarray of integers, shape (N, K) or (N,), or None
        What separate draws voted for or chose.
    """

    kept: pa.Table
    counts: NDArray[Any]
    selection: NDArray[Any] | None


def read_counts(source: Path, selection: Path | None) -> Iterator[tuple[Piece, float]]:
    """Iterate over a file's rows, some at a time, each time with the share of the file that is read.

    Parameters
    ----------
    source : pathlib.Path
        A ``.npy`` array or a ``.csv``, ``.tsv`` or ``.parquet`` table, as `rsmooth.io.recertify.recertify` says.
    selection : pathlib.Path or None
        For an array, that of what separate draws chose.

    Returns
    -------
    iterator of tuple of Piece and float
        The rows and the share.

    Raises
    ------
    ValueError
        If the format or a row is unusable; the message names file, row and value.
    OSError
        If a file cannot be read.
    """
    if source.suffix == ".npy":
        if selection is not None and selection.samefile(source):
            raise ValueError(f"selection must come from separate draws, got the counts themselves, {source}")
        return _array_pieces(source, selection)
    if selection is not None:
        raise ValueError(f"selection is for .npy counts; {source} must hold it in columns of its own")
    if source.suffix not in (".parquet", *tables.DELIMITERS):
        raise ValueError(
            f"{source} must be .npy, .csv, .tsv, .parquet or begin with the columns of a result file, "
            "idx label predict radius"
        )
    return ((_piece(source, table, start), share) for table, start, share in read_table(source))


def read_table(source: Path) -> Iterator[tuple[pa.Table, int, float]]:
    """Iterate over a table's rows, some at a time.

    Parameters
    ----------
    source : pathlib.Path
        A ``.csv``, ``.tsv`` or ``.parquet`` table.

    Yields
    ------
    tuple of pyarrow.Table, int and float
        The rows, the number of the first, and the share of the file that is read.

    Raises
    ------
    ValueError
        If it is no such table.
    OSError
        If it cannot be read.
    """
    return _parquet_rows(source) if source.suffix == ".parquet" else _text_rows(source)


def _array_pieces(source: Path, selection: Path | None) -> Iterator[tuple[Piece, float]]:
    counts = _load(source)
    if counts.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"{source} must have the shape (N, K), got {counts.shape}")
    chosen = None if selection is None else _load(selection)
    if chosen is not None and len(chosen) != len(counts):
        raise ValueError(f"{selection} must have {len(counts)} rows, as {source} has, got {len(chosen)}")
    step = max(1, tables.PIECE_BYTES // max(1, counts[:1].nbytes))
    for start in range(0, len(counts), step):
        rows = slice(start, start + step)
        piece = Piece(pa.table({}), counts[rows], None if chosen is None else chosen[rows])
        yield piece, min(1.0, (start + step) / len(counts))


def _load(source: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(source, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{source} is not a .npy array: {error}") from error
    if array.dtype.kind not in "iu" or array.ndim == 0:
        raise ValueError(f"{source} must hold an array of integers, got {array.dtype} of shape {array.shape}")
    return array


def _parquet_rows(source: Path) -> Iterator[tuple[pa.Table, int, float]]:
    try:
        file = pa_parquet.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source} is not a Parquet file: {error}") from error
    with file:
        total, done = file.metadata.num_rows, 0
        width = max(1, file.metadata.row_group(0).total_byte_size // max(1, total)) if total else 1
        for batch in file.iter_batches(batch_size=max(1024, tables.PIECE_BYTES // width)):
            done += batch.num_rows
            if batch.num_rows:
                yield pa.table(batch), done - batch.num_rows, done / total


def _text_rows(source: Path) -> Iterator[tuple[pa.Table, int, float]]:
    delimiter = tables.DELIMITERS[source.suffix]
    with source.open("rb") as file:
        header = file.readline(2**16).decode("utf-8", "replace").rstrip("\r\n").split(delimiter)
    whole = [name for name in header if re.fullmatch(rf"({STOPPED}|count|selection)_\d+|selected", name)]
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        try:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=tables.PIECE_BYTES // 2),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter),
                convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(whole, pa.int64())),
            )
            for batch in reader:
                if batch.num_rows:
                    yield pa.table(batch), start, min(1.0, file.tell() / size)
                start += batch.num_rows
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source}: {error}") from error


def votes_in(source: Path, table: pa.Table, start: int) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Return the counts and the selection that rows of a table have; None where they have none."""
    counts = _votes(source, table, "count", "counts", start)
    stopped = _votes(source, table, STOPPED, f"{STOPPED}s", start)
    if stopped is not None:
        if counts is not None:
            raise ValueError(f"{source} must have columns count_0, … or {STOPPED}_0, …, and not both")
        counts = stopped.view(StoppedCounts)
    selection = _votes(source, table, "selection", "selection", start)
    if selection is None and "selected" in table.column_names:
        selection = integers(source, table.column("selected"), "selected", start)
    return counts, selection


def _piece(source: Path, table: pa.Table, start: int) -> Piece:
    counts, selection = votes_in(source, table, start)
    if counts is None:
        raise ValueError(
            f"{source} must have columns count_0, count_1, … or counts, got {', '.join(table.column_names)}"
        )
    return Piece(table, counts, selection)


def _votes(source: Path, table: pa.Table, prefix: str, whole: str, start: int) -> NDArray[Any] | None:
    if whole in table.column_names:
        column = table.column(whole).combine_chunks()
        if column.null_count:
            raise tables.row_error(source, start + _first_null(column), f"{whole} is missing")
        if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
            return integers(source, table.column(whole), whole, start)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(lengths != lengths[0])
        if wrong.size:
            row = start + int(wrong[0])
            message = f"{whole} must have {lengths[0]} entries, got {lengths[wrong[0]]}"
            raise tables.row_error(source, row, message)
        return integers(source, column.flatten(), whole, start, per_row=int(lengths[0])).reshape(len(column), -1)
    numbers = sorted(int(n[1]) for name in table.column_names if (n := re.fullmatch(rf"{prefix}_(\d+)", name)))
    if not numbers:
        return None
    if numbers != list(range(len(numbers))):
        raise ValueError(
            f"{source} must have columns {prefix}_0 to {prefix}_{numbers[-1]} without a gap, got {numbers}"
        )
    columns = [integers(source, table.column(f"{prefix}_{i}"), f"{prefix}_{i}", start) for i in numbers]
    return np.stack(columns, axis=1)


def integers(source: Path, column: Any, name: str, start: int, per_row: int = 1) -> NDArray[Any]:
    """Return a column of integers; an error names the first row without one."""
    if column.null_count:
        row = start + _first_null(column) // per_row
        raise tables.row_error(source, row, f"{name} is missing")
    if not pa.types.is_integer(column.type):
        for i, cell in enumerate(column.to_pylist()):
            if not (isinstance(cell, str) and re.fullmatch(r"-?\d{1,18}", cell)):
                raise tables.row_error(source, start + i // per_row, f"{name} must be an integer, got {cell!r}")
        raise ValueError(f"{source}: {name} must be integers, got {column.type}")
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values


def _first_null(column: Any) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]) if column.null_count else 0
