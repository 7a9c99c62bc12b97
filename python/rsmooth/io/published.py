"""The result files of locuslab/smoothing and its descendants: their columns, read and written.

A row has an input's predicted class and an ℓ2 radius σ Φ⁻¹(p1), printed with few digits; the votes are lost. The files
that this package writes have the settings behind the radii in further columns, which the field's readers ignore.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from rsmooth.certificates.topclass import TopClass
from rsmooth.io import tables
from rsmooth.mechanisms import Gaussian
from rsmooth.rule import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from rsmooth.certificates.topclass import Certificates
    from rsmooth.run.results import Run

__all__ = ["COLUMNS", "Printed", "is_published", "probability", "published_text", "read_published", "tells_p1"]

COLUMNS = ("idx", "label", "predict", "radius")
"""The first columns of such a file."""


class Printed(NamedTuple):
    """Consecutive rows of a result file."""

    kept: pa.Table
    """All columns, as text."""
    prediction: NDArray[np.int64]
    """The class; -1 for an abstention."""
    radius: list[Decimal]
    """With its digits as printed."""
    cut: bool
    """Whether half a line, which is left out, follows at the end of the file."""


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


def tells_p1(known: Mapping[str, Any]) -> bool:
    """Tell whether radii of these settings are σ Φ⁻¹(p1) with p2 = 1 − p1, so that p1 can be had of them.

    Parameters
    ----------
    known : mapping
        What a file says of the settings behind it, as `rsmooth.io.tables.stated` returns it.

    Returns
    -------
    bool
        Whether they are ℓ2 radii of the class with the most votes, of the Gaussian's own bound, and of no separate p2.
    """
    plain = {"mechanism": Gaussian.name, "norm": 2.0, "runner_up": "complement"}
    return (
        all(known.get(name) == value for name, value in plain.items())
        and known.get("bound") in ("neyman-pearson", BOUNDS[0])
        and known.get("kind", TopClass.name) == TopClass.name
    )


def read_published(source: Path) -> Iterator[tuple[Printed, float]]:
    """Iterate over the rows of a result file, some at a time, each time with the share of the file that is read.

    Parameters
    ----------
    source : pathlib.Path
        The file. Its last line may be cut short, lacking both cells and its end, where its writer was stopped.

    Yields
    ------
    tuple of Printed and float
        The rows and the share.

    Raises
    ------
    ValueError
        If a line has another number of cells than the first, or holds no result.
    OSError
        If it cannot be read.
    """
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        names = _cells(file.readline())
        if len(set(names)) != len(names):
            raise ValueError(f"{source}, line 1: columns must have names of their own, got {', '.join(names)}")
        while lines := file.readlines(tables.PIECE_BYTES // 2):
            rows, cut = [_cells(line) for line in lines], False
            if file.tell() == size:
                while rows and rows[-1] == [""]:
                    rows.pop()
                if cut := bool(rows) and not lines[-1].endswith(b"\n") and len(rows[-1]) < len(names):
                    rows.pop()
            for number, row in enumerate(rows):
                if len(row) != len(names):
                    raise tables.row_error(source, start + number, f"there must be {len(names)} cells, got {len(row)}")
            kept = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)})
            cells = zip(kept.column("predict").to_pylist(), kept.column("radius").to_pylist(), strict=True)
            read = [_row(source, start + number, *pair) for number, pair in enumerate(cells)]
            classes, radii = [prediction for prediction, _ in read], [radius for _, radius in read]
            if rows or cut:
                yield Printed(kept, np.array(classes, np.int64), radii, cut), file.tell() / size
            start += len(rows)


def _cells(line: bytes) -> list[str]:
    return line.decode("utf-8", "replace").rstrip("\r\n").split("\t")


def _row(source: Path, row: int, predict: str, text: str) -> tuple[int, Decimal]:
    """Return the class and the radius that a row has."""
    try:
        printed = Decimal(text)
    except InvalidOperation:
        printed = Decimal(-1)
    # The last digit of a double has a place above the 400th.
    sound = printed.is_finite() and 0 <= float(printed) < math.inf and int(printed.as_tuple().exponent) > -400  # noqa: PLR2004
    if not sound or not re.fullmatch("-1|[0-9]{1,18}", predict):
        message = f"predict and radius must be a class or -1 and a radius of at least 0, got {predict!r} and {text!r}"
        raise tables.row_error(source, row, message)
    prediction = int(predict)
    return prediction, printed if prediction >= 0 else Decimal(0)


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
        ``rsmooth.io.tables.SETTINGS``.
    """
    settings = tables.settings_of(found)
    tail = "\t".join("" if value is None else str(value) for value in settings.values())
    lines = ["\t".join((*COLUMNS, "correct", "time", *settings))]
    certified = zip(run.records.items(), found.prediction.tolist(), found.radius.tolist(), strict=True)
    for (index, record), prediction, radius in certified:
        label, took = record["label"], timedelta(seconds=record["seconds"])
        lines.append(f"{index}\t{label}\t{prediction}\t{radius!r}\t{int(prediction == label)}\t{took}\t{tail}")
    return "\n".join(lines) + "\n"
