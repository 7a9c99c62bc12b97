"""`rsmooth assess`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rsmooth._digits import digits
from rsmooth._norms import norm_named
from rsmooth.cli._common import app, console_for
from rsmooth.theory.assess import MARKS, assess_builtin

if TYPE_CHECKING:
    from rsmooth.theory.assess import Assessment


@app.command()
def assess(  # noqa: PLR0917
    norm: Annotated[str, typer.Option(help="Norm of the perturbations: 2 or inf.")] = "inf",
    radius: Annotated[float, typer.Option(help="Their largest norm, in pixels in [0, 1].")] = 0.01,
    epsilon: Annotated[float, typer.Option(help="The divergence D_MR allowed.")] = 0.5,
    dims: Annotated[str, typer.Option(help="Dimensions: LOW:HIGH (decades), or a list with commas.")] = "10:1e7",
    seed: Annotated[int, typer.Option(min=0, help="Names the draws that are measured.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where to save the figure (needs rsmooth[plot]).")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Compare the noise that each mechanism needs with what any mechanism needs.

    Example: rsmooth assess --norm inf --radius 0.01 --epsilon 0.5 --dims 10:1e7 --plot gap.png
    """
    if plot is not None:
        try:
            from rsmooth.plots import gap_figure, save  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    found = assess_builtin(norm=norm_named(norm), radius=radius, epsilon=epsilon, dims=parse_dims(dims), seed=seed)
    console = console_for()
    console.print(f"Noise needed for D_MR ≤ {epsilon:g} within radius {radius:g}, norm {norm}. {found[0].caveat}")
    console.print("Measured: the mean of draws, and Student's interval of 99.9%.")
    for each in found:
        console.print(_assessment_table(each))
    if json_ is not None:
        json_.write_text(json.dumps([each.to_dict() for each in found], indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        save(gap_figure(found), plot)


def parse_dims(text: str) -> list[int]:
    """Read the command line's dimensions: ``10:1e7`` (each decade, and the marks between) or ``10,3072``.

    Parameters
    ----------
    text : str
        Two whole numbers and a colon, or whole numbers and commas.

    Returns
    -------
    list of int
        Dimensions in rising order, without doubles.

    Raises
    ------
    ValueError
        If the text is neither.

    Examples
    --------
    >>> from rsmooth.cli.assess import parse_dims
    >>> parse_dims("10:1e4")
    [10, 100, 1000, 3072, 10000]
    """
    low, colon, high = text.partition(":")
    if not colon:
        return sorted({_whole(part, text) for part in text.split(",")})
    start, end = _whole(low, text), _whole(high, text)
    if start > end:
        raise ValueError(f"dims must run from low to high, got {text!r}")
    decades = {start * 10**power for power in range(len(str(end)))}
    return sorted(dim for dim in {*decades, *MARKS.values(), end} if start <= dim <= end)


def _whole(part: str, text: str) -> int:
    try:
        number = float(part)
    except ValueError:
        number = math.nan
    if not (number >= 1 and number.is_integer()):
        raise ValueError(f"dims must be whole numbers of at least 1, like 10:1e7 or 10,3072, got {part!r} in {text!r}")
    return int(number)


def _assessment_table(assessment: Assessment) -> Table:
    table = Table(title=f"\n{assessment.mechanism}: {assessment.verdict}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("d", "scale", "E‖z‖∞", "measured", "criterion", "gap"):
        table.add_column(heading, justify="right")
    names = {dim: f"{name} " for name, dim in MARKS.items()}
    for row in assessment.rows:
        exact = "no formula" if row.magnitude is None else digits(row.magnitude)
        measured = "too large"
        if row.measured is not None:
            half = row.measured.upper - row.measured.mean
            decimals = max(-math.floor(math.log10(half)), 0)
            measured = f"{row.measured.mean:,.{decimals}f} ± {half:,.{decimals}f}"
        values = (digits(row.scale), exact, measured, digits(row.criterion), digits(row.gap))
        table.add_row(f"{names.get(row.dim, '')}{row.dim:,}", *values)
    return table
