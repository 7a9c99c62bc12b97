"""`rsmooth plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rsmooth._norms import norm_named
from rsmooth.cli._common import (
    BOUND_HELP,
    app,
    console_for,
    digits,
)
from rsmooth.io.files import write_atomically
from rsmooth.rule import BOUNDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rsmooth.run.results import Run


@app.command()
def plot(  # noqa: PLR0917
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of trainings.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The figure: .png, .pdf or .svg.")],
    norm: Annotated[str | None, typer.Option(help="Norm of the radius: 1, 2 or inf; the runs' if left out.")] = None,
    bound: Annotated[
        list[str] | None, typer.Option(help=f"{BOUND_HELP} Repeatable; each run's own if left out.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Failure probability; each run's own if left out.")] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="The runs' mechanism, if that is code: package.module:name.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the figure.")] = "Certified accuracy",
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Draw the certified accuracy of runs against the radius, with 95% intervals, and print a table.

    Abstentions count as errors. Of several bounds, each run gets those that hold for its mechanism. Of folders that
    `rsmooth train` wrote, the loss and the accuracy of each epoch are drawn instead.

    Example: rsmooth plot gaussian-run exponential-run --norm inf --bound renyi --bound pure-dp -o linf.png

    Example: rsmooth plot trained -o training.png
    """
    from rsmooth.run.results import read_run  # noqa: PLC0415

    try:
        from rsmooth.plots import Curve, certified_accuracy_figure, describe, training_figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    if all((folder / "log.csv").is_file() for folder in runs):
        from rsmooth.training.log import read_log  # noqa: PLC0415

        given = {"norm": norm, "bound": bound, "alpha": alpha, "mechanism": mechanism, "json": json_}
        if beside := [f"--{name}" for name, value in given.items() if value]:
            raise ValueError(f"{', '.join(beside)} cannot be given for trainings, whose logs are drawn")
        _save(training_figure({folder.name: read_log(folder / "log.csv") for folder in runs}), out)
        return
    console = console_for()
    curves, rows = [], []
    for folder in runs:
        run = read_run(folder, mechanism=mechanism)
        if run.missing or run.damaged:
            console.print(run.summary())
        measure = run.rule.norm if norm is None else norm_named(norm)
        for each in _holding(run, measure, bound):
            found = run.certificates(norm=measure, alpha=alpha, bound=each)
            curves.append(Curve(f"{folder.name}: {describe(found.mechanism)}", found, run.column("label")))
            rows.append(run.measures(found))
    if len({each["norm"] for each in rows}) > 1:
        raise ValueError("norm must be given where runs certify in several norms: --norm 1, 2 or inf")
    _save(certified_accuracy_figure(curves, title=title), out)
    if json_ is not None:
        write_atomically(json_, lambda file: file.write((json.dumps(rows, indent=1) + "\n").encode()))
    console.print(_measures_table(rows))


def _save(figure: Figure, out: Path) -> None:
    kind = out.suffix[1:]
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"out must end in .png, .pdf or .svg, got {out}")
    write_atomically(out, lambda file: figure.savefig(file, format=kind))


def _holding(run: Run, norm: float, bounds: list[str] | None) -> list[str]:
    """Return those of `bounds` that hold for a run's mechanism; its own, where none are asked for."""
    if not bounds:
        return [run.rule.bound]
    holding = (BOUNDS[0], *run.rule.mechanism.holding(norm, run.rule.dim))
    wrong = [name for name in bounds if name not in BOUNDS]
    found = [name for name in bounds if name in holding]
    if wrong or not found:
        mechanism = run.rule.mechanism.name
        raise ValueError(
            f"bound must be one of {', '.join(holding)} for the {mechanism} mechanism of {run.folder}, "
            f"got {', '.join(wrong or bounds)}"
        )
    return found


def _measures_table(rows: list[dict[str, Any]]) -> Table:
    caption = (
        "abst.: examples without a certificate. right: certified and right. r50: radius at 50% certified accuracy. "
        "ACR: average certified radius. Abstentions count as errors."
    )
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    for heading in ("run", "mechanism", "σ", "norm", "bound", "examples", "abst.", "right", "r50", "ACR"):
        table.add_column(heading, justify="left" if heading in ("run", "mechanism", "bound") else "right")
    for row in rows:
        radii = (row["radius_at_half"], row["average_certified_radius"])
        table.add_row(
            Path(row["run"]).name,
            row["mechanism"],
            "" if row["sigma"] is None else f"{row['sigma']:.4g}",
            row["norm"],
            row["bound"],
            f"{row['examples']:,}",
            f"{row['abstained']:,}",
            f"{row['accuracy']:.1%}",
            *(digits(each) if each else "0" for each in radii),
        )
    return table
