"""`rsmooth attack`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rsmooth._digits import whole
from rsmooth._norms import SYMBOLS, norm_named
from rsmooth.cli._common import (
    NEEDS_RUN,
    DeviceName,
    app,
    console_for,
    device_of,
    keep_memory,
    progress_bar,
)
from rsmooth.io.files import write_atomically


@app.command()
def attack(  # noqa: PLR0917
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    radius: Annotated[
        list[float], typer.Option(help="Radius of the attack's ball, in the units of the inputs; repeatable.")
    ],
    norm: Annotated[str | None, typer.Option(help="Norm of the ball: 2 or inf; the run's if left out.")] = None,
    max_: Annotated[int, typer.Option("--max", min=1, help="How many examples, spread over the run's.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the attack.")] = 10,
    copies: Annotated[int, typer.Option(min=1, help="Noisy copies that its gradients are of.")] = 16,
    n: Annotated[int, typer.Option(min=1, help="Fresh draws that then decide the class.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    model: Annotated[str | None, typer.Option(help="The model, if it is not where the run says.")] = None,
    data: Annotated[str | None, typer.Option(help="The data, likewise.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are, likewise.")] = None,
    arch: Annotated[str | None, typer.Option(help="Its architecture, if that is code.")] = None,
    mechanism: Annotated[str | None, typer.Option(help="Its mechanism, if that is code.")] = None,
    device: DeviceName = "auto",
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Attack the smoothed classifier of a run; print its accuracy under attack beside the certified one.

    The attack is SmoothAdv's. What it leaves right is an upper end to the accuracy within the radius, what is certified
    a lower one.

    Example: rsmooth attack run --radius 0.25 --radius 0.5 --max 100
    """
    try:
        from rsmooth.run.attack import attack_run  # noqa: PLC0415
        from rsmooth.run.results import read_run  # noqa: PLC0415
        from rsmooth.run.verify import check_sources, sources  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    keep_memory()
    found = read_run(run, mechanism=mechanism)
    network, images = sources(found, model=model, data=data, root=root, arch=arch)
    if problems := check_sources(found, network, images):
        raise ValueError(f"the model and the data are not those of {run}: {problems[0]}")
    console = console_for()
    with progress_bar(console) as bar:
        task = bar.add_task("attack", total=None)
        attacked = attack_run(
            found,
            network,
            images,
            radii=radius,
            norm=None if norm is None else norm_named(norm),
            examples=max_,
            steps=steps,
            copies=copies,
            n=n,
            seed=seed,
            device=device_of(device),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json_ is not None:
        settings = {"steps": steps, "copies": copies, "n": n, "seed": seed}
        text = json.dumps({**attacked.record(), **settings}, indent=1) + "\n"
        write_atomically(json_, lambda file: file.write(text.encode()))
    table = Table(
        box=SIMPLE_HEAD,
        caption=f"{len(attacked.indices):,} examples, 95% intervals. Certified: a lower end; under attack: an upper.",
        caption_justify="left",
    )
    for heading in (f"{SYMBOLS[attacked.norm]} radius", "certified", "", "under attack", ""):
        table.add_column(heading, justify="right")
    for row in attacked.rows():
        table.add_row(
            whole(row["radius"]),
            f"{row['certified_accuracy']:.1%}",
            f"{row['certified_lower']:.1%} to {row['certified_upper']:.1%}",
            f"{row['accuracy']:.1%}",
            f"{row['lower']:.1%} to {row['upper']:.1%}",
        )
    console.print(table)
