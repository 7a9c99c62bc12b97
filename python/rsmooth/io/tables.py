"""What files of certificates have in common: their formats, the settings they carry, and how errors name a row."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from rsmooth._norms import norm_named, norm_text
from rsmooth.certificates.topclass import TopClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from rsmooth.certificates.topclass import Certificates
    from rsmooth.mechanisms import Mechanism

__all__ = [
    "DELIMITERS",
    "DRAWN",
    "RESULTS",
    "SETTINGS",
    "check_settings",
    "check_suffix",
    "row_error",
    "settings",
    "stated",
    "writer",
]

# What is read, certified and written at a time.
PIECE_BYTES = 32 * 2**20

DELIMITERS = {".csv": ",", ".tsv": "\t"}

RESULTS = ("prediction", "radius", "p1", "p2", "order")
"""Columns of a certificate."""

SETTINGS: dict[str, pa.DataType] = {
    "mechanism": pa.string(),
    "parameter": pa.float64(),
    "norm": pa.string(),
    "dim": pa.int64(),
    "bound": pa.string(),
    "alpha": pa.float64(),
    "runner_up": pa.string(),
    "interval": pa.string(),
    "grid": pa.int64(),
    "noise_error": pa.float64(),
    "kind": pa.string(),
}
"""Columns of the settings behind a certificate, the same in every row."""

DRAWN = ("interval", "grid", "noise_error")
"""Those that say how counts were drawn."""

# What a cell is turned into, of whatever type its file's format gave it.
KINDS: dict[str, Callable[[Any], Any]] = {
    "mechanism": str,
    "parameter": float,
    "norm": lambda cell: norm_named(str(cell)),
    "dim": int,
    "bound": str,
    "alpha": float,
    "runner_up": str,
    "interval": str,
    "grid": int,
    "noise_error": float,
    "kind": str,
}


def settings(mechanism: Mechanism, *, norm: float, dim: int | None, **others: Any) -> dict[str, Any]:
    """Return the values of the columns `SETTINGS`, None where there is none.

    Parameters
    ----------
    mechanism : Mechanism
        Whose draws were counted.
    norm, dim
        Of the certificates; None is a dimension that they do not depend on.
    **others
        ``bound``, ``alpha`` and ``runner_up``; ``interval``, ``grid``, ``noise_error`` and ``kind`` where they are not
        the defaults of `rsmooth.certify_counts`.

    Returns
    -------
    dict
        By column, in their order.
    """
    own = {"mechanism": mechanism.name, "parameter": mechanism.parameter}
    usual = {"interval": "clopper-pearson", "grid": None, "noise_error": 0.0, "kind": TopClass.name}
    found = {**own, "norm": norm_text(norm), "dim": dim, **usual, **others}
    return {name: found[name] for name in SETTINGS}


def settings_of(found: Certificates) -> dict[str, Any]:
    """Return the `settings` of certificates."""
    names = ("norm", "dim", "bound", "alpha", "runner_up", "interval", "grid", "noise_error", "kind")
    return settings(found.mechanism, **{name: getattr(found, name) for name in names})


def columns_of(values: Mapping[str, Any], rows: int) -> dict[str, pa.Array]:
    """Return columns of `settings`, repeated for each row."""
    return {name: pa.repeat(pa.scalar(values[name], kind), rows) for name, kind in SETTINGS.items()}


def check_settings(source: Path, table: pa.Table, start: int, wanted: Mapping[str, Any]) -> None:
    """Refuse rows that say they come from other settings than `wanted`.

    Parameters
    ----------
    source : pathlib.Path
        The file, for the message.
    table : pyarrow.Table
        Some of its rows. Those without the columns ``mechanism`` and ``parameter`` say nothing.
    start : int
        The number of the first.
    wanted : mapping
        Some of the values of `settings`; None is not compared, and neither is an empty cell.

    Raises
    ------
    ValueError
        If a row contradicts them; the message names file, row and setting.
    """
    if not {"mechanism", "parameter"} <= set(table.column_names):
        return
    for name, value in wanted.items():
        if value is None or name not in table.column_names:
            continue
        column = table.column(name)
        for stated in column.unique().to_pylist():
            if stated in (None, "") or _same(stated, value):
                continue
            row = start + pa_compute.index(column, pa.scalar(stated, column.type)).as_py()
            raise row_error(source, row, f"{name} is {stated!r} there, but {value!r} was asked for")


def stated(source: Path, table: pa.Table, start: int, names: Iterable[str] = SETTINGS) -> dict[str, Any]:
    """Return what rows say of the settings behind them.

    Parameters
    ----------
    source, table, start
        As for `check_settings`.
    names : iterable of str
        The settings that are asked for.

    Returns
    -------
    dict
        By column, as far as they are told: text, numbers, and ``norm`` as a number.

    Raises
    ------
    ValueError
        If rows say different things, or name a grid and no noise_error; the message names file, row and setting.
    """
    found: dict[str, Any] = {}
    if not {"mechanism", "parameter"} <= set(table.column_names):
        return found
    for name in (each for each in names if each in table.column_names):
        told = table.column(name)
        values = told.unique().to_pylist()
        if len(values) > 1:
            row = start + pa_compute.index(told, pa.scalar(values[1], told.type)).as_py()
            raise row_error(source, row, f"{name} is {values[1]!r} there, {values[0]!r} in the rows before")
        if values and values[0] not in (None, ""):
            try:
                found[name] = KINDS[name](values[0])
            except ValueError as error:
                wanted = "1, 2 or inf" if name == "norm" else f"of type {KINDS[name].__name__}"
                raise row_error(source, start, f"{name} must be {wanted}, got {values[0]!r}") from error
    if "grid" in found and "noise_error" not in found:
        raise row_error(source, start, "noise_error must say what the noise on the grid costs, got nothing")
    return found


def _same(stated: Any, value: Any) -> bool:
    """Tell whether a cell, of whatever type its file's format gave it, holds the value."""
    try:
        return bool(type(value)(stated) == value)
    except ValueError:
        return False


def row_error(source: Path, row: int, message: str) -> ValueError:
    """Return an error about a row of a file: by its line, where the file is text, the first being its columns."""
    where = f"row {row} (the first is 0)" if source.suffix in (".npy", ".parquet") else f"line {row + 2}"
    return ValueError(f"{source}, {where}: {message}")


def check_suffix(out: Path) -> None:
    """Refuse the name of a file to write in a format that there is not."""
    if out.suffix not in (*DELIMITERS, ".parquet"):
        raise ValueError(f"out must end in .csv, .tsv or .parquet, got {out}")


def writer(file: IO[bytes], schema: pa.Schema, suffix: str) -> Any:
    """Return what writes tables of a schema to a file, in the format of its name's suffix."""
    if suffix == ".parquet":
        return pa_parquet.ParquetWriter(file, schema)
    return pa_csv.CSVWriter(file, schema, write_options=pa_csv.WriteOptions(delimiter=DELIMITERS[suffix]))
