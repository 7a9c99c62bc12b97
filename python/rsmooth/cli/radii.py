"""`rsmooth radii`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsmooth._norms import norm_named
from rsmooth.cli._common import (
    app,
    console_for,
    mechanism_of,
    progress_bar,
)


@app.command()
def radii(  # noqa: PLR0917
    counts: Annotated[
        Path, typer.Argument(help="Folder of a run, counts (.npy, .csv, .tsv, .parquet) or a locuslab result file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .tsv.")],
    mechanism: Annotated[
        str | None, typer.Option(help="The mechanism counted: gaussian, exponential or laplace; a run says itself.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Its sigma or scale, in pixels in [0, 1]; likewise.")
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Norm of the radius: 1, 2 or inf; a run's own if left out.")] = None,
    bound: Annotated[
        str | None, typer.Option(help="renyi (of files if left out), neyman-pearson, pure-dp or pixeldp.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Failure probability of each certificate; for files 0.001 if left out.")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Coordinates of an input, where the radius depends on it.")] = None,
    runner_up: Annotated[str | None, typer.Option(help="second (of files if left out), or complement: 1 - p1.")] = None,
    selection: Annotated[Path | None, typer.Option(help="For .npy counts: .npy of what separate draws chose.")] = None,
) -> None:
    """Turn the counts of a run or of a file into a file of certified radii; files larger than memory are fine.

    Tables have the votes in columns count_0, count_1, … and what separate draws chose in selection_0, … or selected;
    their other columns are kept. A run's .tsv has the columns of locuslab's result files.

    Example: rsmooth radii run --bound neyman-pearson -o radii.tsv

    Example: rsmooth radii counts.parquet --mechanism gaussian --sigma 0.25 --norm 2 --bound renyi -o radii.parquet
    """
    from rsmooth.io.recertify import recertify, recertify_run  # noqa: PLC0415
    from rsmooth.run.results import read_run  # noqa: PLC0415

    console = console_for()
    measure = None if norm is None else norm_named(norm)
    if counts.is_dir():
        run = read_run(counts)
        given = {"mechanism": mechanism, "sigma": sigma, "dim": dim, "selection": selection}
        for name, value in given.items():
            if value not in (None, run.settings.get(name)):
                raise ValueError(f"{name} is {run.settings.get(name, 'kept with the counts')} in {counts}, got {value}")
        if run.missing or run.damaged:
            console.print(run.summary())
        summary = recertify_run(run, out, norm=measure, alpha=alpha, bound=bound, runner_up=runner_up)
    else:
        missing = [f"--{name}" for name, value in (("mechanism", mechanism), ("norm", norm)) if value is None]
        if mechanism is None or measure is None:
            raise ValueError(f"{counts} is no run, whose counts say what they are: give {' and '.join(missing)}")
        with progress_bar(console) as bar:
            task = bar.add_task(counts.name, total=1.0)
            summary = recertify(
                counts,
                out,
                mechanism_of(mechanism, sigma),
                norm=measure,
                dim=dim,
                alpha=0.001 if alpha is None else alpha,
                bound=bound or "renyi",
                runner_up=runner_up or "second",
                selection=selection,
                progress=lambda share: bar.update(task, completed=share),
            )
    console.print(
        f"{out}: {summary.rows:,} rows, {summary.abstained:,} abstained, largest radius {summary.largest:.6g}"
    )
