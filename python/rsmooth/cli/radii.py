"""`rsmooth radii`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsmooth._digits import below
from rsmooth._norms import norm_named
from rsmooth.certificates.topclass import TopClass
from rsmooth.cli._common import (
    BOUND_HELP,
    MECHANISM_HELP,
    PRESET_HELP,
    app,
    console_for,
    mechanism_of,
    preset_of,
    progress_bar,
)
from rsmooth.cli._results import KIND, KindName


@app.command(cls=KIND.command)
def radii(  # noqa: PLR0917
    context: typer.Context,
    counts: Annotated[
        Path, typer.Argument(help="Folder of a run, counts (.npy, .csv, .tsv, .parquet) or a result file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .tsv.")],
    kind: KindName = None,  # noqa: ARG001
    mechanism: Annotated[
        str | None, typer.Option(help=f"Whose draws were counted; a run records it: {MECHANISM_HELP}")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", "--scale", help="Its sigma or scale, in the units of the inputs; likewise."),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Norm of the radius: 1, 2 or inf; a run's own if left out.")] = None,
    bound: Annotated[
        str | None, typer.Option(help=f"{BOUND_HELP} A run's own if left out; for files, tightest.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Failure probability of each certificate; a run's own if left out, 0.001 for counts."),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(help="Coordinates of an input, if the radius depends on it and the file does not tell."),
    ] = None,
    runner_up: Annotated[
        str | None, typer.Option(help="second or complement (1 - p1); a run's own if left out, second for counts.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            help="clopper-pearson, or anytime for stopped draws; a run's own if left out, clopper-pearson for counts."
        ),
    ] = None,
    selection: Annotated[Path | None, typer.Option(help="For .npy counts: .npy of what separate draws chose.")] = None,
) -> None:
    """Turn the counts of a run or of a file into a file of certified radii; files larger than memory are fine.

    Tables have the votes in columns count_0, count_1, …, what separate draws chose in selection_0, … or selected, and
    for a kind that certifies labels those in label; their other columns are kept. Result files are those of
    locuslab/smoothing and its descendants, whose columns a run's .tsv has too. What is written says which settings it
    comes from.

    Example: rsmooth radii run --bound neyman-pearson -o radii.tsv

    Example: rsmooth radii counts.parquet --mechanism gaussian --sigma 0.25 --norm 2 -o radii.parquet

    Example: rsmooth radii run --kind top-k --k 3 -o top3.parquet
    """
    from rsmooth.io.recertify import recertify, recertify_run  # noqa: PLC0415

    console = console_for()
    measure = None if norm is None else norm_named(norm)
    asked = KIND.made(context)
    rule = preset_of(preset, bound=bound, alpha=alpha, runner_up=runner_up, interval=interval)
    if counts.is_dir():
        from rsmooth.run.results import read_run  # noqa: PLC0415

        run = read_run(counts, mechanism=mechanism)
        given = {"mechanism": mechanism, "sigma": sigma, "dim": dim, "selection": selection}
        for name, value in given.items():
            if value not in (None, run.settings.get(name)):
                raise ValueError(f"{name} is {run.settings.get(name, 'kept with the counts')} in {counts}, got {value}")
        if run.missing or run.damaged:
            console.print(run.summary())
        summary = recertify_run(run, out, kind=asked, norm=measure, **rule)
    else:
        missing = [f"--{name}" for name, value in (("mechanism", mechanism), ("norm", norm)) if value is None]
        if mechanism is None or measure is None:
            raise ValueError(f"{counts} is not a run, so its settings are not recorded: give {' and '.join(missing)}")
        with progress_bar(console) as bar:
            task = bar.add_task(counts.name, total=1.0)
            summary = recertify(
                counts,
                out,
                mechanism_of(mechanism, sigma),
                kind=asked or TopClass(),
                norm=measure,
                dim=dim,
                selection=selection,
                progress=lambda share: bar.update(task, completed=share),
                **rule,
            )
    console.print(
        f"{out}: {summary.rows:,} rows, {summary.abstained:,} abstained, largest radius {below(summary.largest)}"
    )
    if summary.basis is not None:
        console.print(summary.basis)
