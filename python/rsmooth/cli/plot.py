"""`rsmooth plot`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsmooth.certificates.topclass import TopClass
from rsmooth.cli._common import app
from rsmooth.cli._results import (
    KIND,
    Alpha,
    BoundNames,
    Dim,
    KindName,
    Labels,
    NormName,
    RunnerUp,
    Sigmas,
    Sources,
    TrustedMechanism,
    gathered,
)
from rsmooth.io.files import write_atomically

if TYPE_CHECKING:
    from rsmooth.results.result import Result


@app.command(cls=KIND.command)
def plot(
    *,
    context: typer.Context,
    results: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="The figure: .png, .pdf or .svg.")],
    label: Labels = None,
    kind: KindName = None,
    norm: NormName = None,
    bound: BoundNames = None,
    alpha: Alpha = None,
    runner_up: RunnerUp = None,
    sigma: Sigmas = None,
    dim: Dim = None,
    mechanism: TrustedMechanism = None,
    colour: Annotated[
        list[str] | None, typer.Option("--colour", "--color", help="A name or #RRGGBB; once for each result.")
    ] = None,
    p1: Annotated[
        bool, typer.Option("--p1", help="Draw the distribution of p1, the bound on the vote's share, instead.")
    ] = False,
    bands: Annotated[bool, typer.Option(help="Shade the 95% interval of each curve.")] = True,
    size: Annotated[str, typer.Option(help="Width and height in inches, as 6.4x4.2.")] = "6.4x4.2",
    title: Annotated[str | None, typer.Option(help="Title of the figure; certified accuracy if left out.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Draw certified accuracy against the radius, and print a table.

    Runs, files and published results are drawn together, in the order that they are given. Abstentions count as errors.
    Of several bounds, each result gets those that hold for its mechanism. Bands are Clopper-Pearson intervals, the
    images taken for a random sample. Of folders that `rsmooth train` wrote, the loss and the accuracy of each epoch are
    drawn instead.

    Example: rsmooth plot gaussian-run exponential-run --norm inf --bound renyi --bound pure-dp -o linf.png

    Example: rsmooth plot run cohen/sigma_0.25 --label ours --label "Cohen et al." --size 3.3x2.4 -o figure.pdf

    Example: rsmooth plot trained -o training.png
    """
    try:
        from rsmooth.plots import certified_accuracy_figure, p1_figure, save, training_figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    inches = _inches(size)
    if p1 and bound:
        raise ValueError("--bound cannot be given with --p1, which no bound has made")
    title = ("" if p1 else "Certified accuracy") if title is None else title
    if all((folder / "log.csv").is_file() for folder in results):
        from rsmooth.training.log import read_log  # noqa: PLC0415

        given = {
            "label": label,
            "kind": kind,
            "norm": norm,
            "bound": bound,
            "alpha": alpha,
            "sigma": sigma,
            "runner-up": runner_up,
            "dim": dim,
            "mechanism": mechanism,
            "p1": p1,
            "colour": colour,
            "json": json_,
        }
        if beside := [f"--{name}" for name, value in given.items() if value]:
            raise ValueError(f"{', '.join(beside)} cannot be given for trainings, whose logs are drawn")
        save(training_figure({folder.name: read_log(folder / "log.csv") for folder in results}), out)
        return
    from rsmooth.results.measures import measures  # noqa: PLC0415
    from rsmooth.results.table import results_table  # noqa: PLC0415

    found = gathered(
        results,
        labels=label,
        kind=KIND.made(context),
        norm=norm,
        bounds=bound,
        alpha=alpha,
        runner_up=runner_up,
        mechanism=mechanism,
        sigmas=sigma,
        dim=dim,
    )
    several = len({each.kind for each in found}) > 1
    curves = [replace(each, name=_described(each, labelled=bool(label), several=several)) for each in found]
    draw = p1_figure if p1 else certified_accuracy_figure
    save(draw(curves, title=title, colours=colour or (), size=inches, bands=bands), out)
    if json_ is not None:
        rows = [measures(each) for each in found]
        write_atomically(json_, lambda file: file.write((json.dumps(rows, indent=1) + "\n").encode()))
    typer.echo(results_table([measures(each, [0.0]) for each in found], "markdown"), nl=False)


def _described(result: Result, *, labelled: bool, several: bool) -> str:
    """Return what the legend calls a result: its label alone where that was given and there are not several kinds."""
    kind = "" if result.kind == TopClass.name else f", {result.kind}"
    if labelled:
        return f"{result.name}{kind}" if several else result.name
    return f"{result.name}: {result.noise}{kind}"


def _inches(text: str) -> tuple[float, float]:
    """Return the width and height that a text says."""
    try:
        width, height = map(float, text.split("x"))
    except ValueError:
        width = height = 0.0
    if not (1 <= width <= 100 and 1 <= height <= 100):  # noqa: PLR2004
        raise ValueError(f"size must be WIDTHxHEIGHT in inches from 1 to 100, as 6.4x4.2, got {text!r}")
    return width, height
