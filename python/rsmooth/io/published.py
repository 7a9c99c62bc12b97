"""The result files of locuslab/smoothing and its descendants: their columns, read and written.

A row has an input's predicted class and an ℓ2 radius σ Φ⁻¹(p1), printed with few digits; the votes are lost. The files
that this package writes have the settings behind the radii in further columns, which the field's readers ignore.
"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from rsmooth.io import tables
from rsmooth.mechanisms import Gaussian

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from rsmooth.certificates.topclass import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.results import Run

__all__ = ["COLUMNS", "Printed", "is_published", "probability", "published_text", "read_published"]

COLUMNS = ("idx", "label", "predict", "radius")
"""The first columns of such a file."""


class Printed(NamedTuple):
    """Consecutive rows of a result file."""

    kept: pa.Table
    """All columns, as text."""
    prediction: NDArray[np.int64]
    """The class; -1 for an abstention."""
    p1: NDArray[np.float64]
    """A probability whose lower bound the radius proves, rounded down."""


def is_published(source: Path) -> bool:
    """Tell by its columns whether a file is a result file; its name may be anything.

    Parameters
    ----------
    source : pathlib.Path
        The file.

    Returns
    -------
    bool
        Whether its first line begins with `COLUMNS`, separated by tabs.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with source.open("rb") as file:
        header = file.readline(2**16).decode("utf-8", "replace").rstrip("\r\n")
    return tuple(header.split("\t")[: len(COLUMNS)]) == COLUMNS


def read_published(source: Path, mechanism: Mechanism) -> Iterator[tuple[Printed, float]]:
    """Iterate over the rows of a result file, some at a time, each time with the share of the file that is read.

    Parameters
    ----------
    source : pathlib.Path
        The file.
    mechanism : Gaussian
        The one it was made with.

    Yields
    ------
    tuple of Printed and float
        The rows and the share.

    Raises
    ------
    ValueError
        If the mechanism is another, or a row contradicts it or holds no result.
    OSError
        If it cannot be read.
    """
    if not isinstance(mechanism, Gaussian):
        message = f"{source} holds radii: mechanism must be the Gaussian that they were computed for, got {mechanism!r}"
        raise ValueError(message)  # noqa: TRY004
    wanted = {"mechanism": mechanism.name, "parameter": mechanism.sigma, "norm": "2"}
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        names = file.readline().decode().rstrip("\r\n").split("\t")
        file.seek(0)
        try:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=tables.PIECE_BYTES // 2),
                parse_options=pa_csv.ParseOptions(delimiter="\t"),
                convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )
            for batch in reader:
                table = pa.table(batch)
                if len(table):
                    tables.check_settings(source, table, start, wanted)
                    rows = enumerate(zip(*(table.column(n).to_pylist() for n in ("predict", "radius")), strict=True))
                    read = [_row(source, start + i, predict, text, mechanism.sigma) for i, (predict, text) in rows]
                    classes, p1 = zip(*read, strict=True)
                    yield Printed(table, np.array(classes, np.int64), np.array(p1)), min(1.0, file.tell() / size)
                start += len(table)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source}: {error}") from error


def _row(source: Path, row: int, predict: str, text: str, sigma: float) -> tuple[int, float]:
    """Return the class and the lower bound on its probability that a printed radius tells."""
    try:
        prediction, printed = int(predict), Decimal(text)
    except (ValueError, InvalidOperation, TypeError):
        prediction, printed = 0, Decimal(-1)
    if prediction < -1 or not printed.is_finite() or printed < 0:
        message = f"predict and radius must be a class or -1 and a radius of at least 0, got {predict!r} and {text!r}"
        raise tables.row_error(source, row, message)
    return prediction, probability(printed, sigma) if prediction >= 0 else probability(Decimal(0), sigma)


def probability(printed: Decimal, sigma: float) -> float:
    """Return the least p1 that a printed radius can stand for, rounded down: Φ(radius / σ).

    Half a unit of the last digit is taken off, as printing may have rounded up by so much.

    Parameters
    ----------
    printed : decimal.Decimal
        The radius, with its digits as printed.
    sigma : float
        The standard deviation of the noise.

    Returns
    -------
    float
        Never above Φ of the least radius that is printed so.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from rsmooth.io.published import probability
    >>> round(probability(Decimal("0.25"), 0.25), 6)
    0.836457
    """
    half_unit = Decimal(1).scaleb(int(printed.as_tuple().exponent)) / 2
    radius = max(0.0, float(printed - half_unit))
    # erfc is good to a few units in the last place, and its argument is rounded; 2**-48 of the result covers both.
    return 0.5 * math.erfc(-radius / (sigma * math.sqrt(2))) * (1 - 2**-48)


def published_text(run: Run, found: Certificates) -> str:
    """Return a run's certificates as a result file, in full precision, with the settings behind them.

    Parameters
    ----------
    run : Run
        The run.
    found : Certificates
        Those of its finished examples.

    Returns
    -------
    str
        Lines of cells between tabs, without quotation marks: ``idx label predict radius correct time`` and
        `rsmooth.io.tables.SETTINGS`.
    """
    settings = tables.settings_of(found)
    tail = "\t".join("" if value is None else str(value) for value in settings.values())
    lines = ["\t".join((*COLUMNS, "correct", "time", *settings))]
    certified = zip(run.records.items(), found.prediction.tolist(), found.radius.tolist(), strict=True)
    for (index, record), prediction, radius in certified:
        label, took = record["label"], timedelta(seconds=record["seconds"])
        lines.append(f"{index}\t{label}\t{prediction}\t{radius!r}\t{int(prediction == label)}\t{took}\t{tail}")
    return "\n".join(lines) + "\n"
