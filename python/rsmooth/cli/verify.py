"""`rsmooth verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsmooth.cli._common import (
    NEEDS_RUN,
    DeviceName,
    app,
    console_for,
    device_of,
    keep_memory,
    progress_bar,
)

# Problems that are told one by one.
TOLD = 10


@app.command()
def verify(  # noqa: PLR0917
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    sample: Annotated[int, typer.Option(min=0, help="How many examples to draw again.")] = 20,
    model: Annotated[str | None, typer.Option(help="The model, if it is not where the run says.")] = None,
    data: Annotated[str | None, typer.Option(help="The data, likewise.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are, likewise.")] = None,
    arch: Annotated[str | None, typer.Option(help="Its architecture, if that is code.")] = None,
    mechanism: Annotated[str | None, typer.Option(help="Its mechanism, if that is code.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of an example's votes that may differ; a single one may unless it is 0.")
    ] = 1e-4,
    seed: Annotated[int | None, typer.Option(min=0, help="Chooses the examples; fresh if left out.")] = None,
    device: DeviceName = "auto",
) -> None:
    """Check a run: every radius from its counts, and the counts of some examples by drawing them again.

    Ends with status 1 if anything is not as recorded. Other hardware, which rounds the model's arithmetic otherwise,
    may need a larger --tolerance.

    Example: rsmooth verify run --sample 20
    """
    try:
        from rsmooth.run import verify as steps  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    keep_memory()
    console = console_for()
    problems = []
    with progress_bar(console) as bar:
        task = bar.add_task("draw again", total=None)
        for check in steps.verify(
            run,
            sample=sample,
            seed=seed,
            tolerance=tolerance,
            model=model,
            data=data,
            root=root,
            arch=arch,
            mechanism=mechanism,
            device=device_of(device) if sample else "cpu",
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        ):
            console.print(str(check))
            problems += check.problems or []
    if problems:
        more = f"and {len(problems) - TOLD:,} more" if len(problems) > TOLD else ""
        raise ValueError("\n".join([f"{run} is not as recorded:", *map(str, problems[:TOLD]), more]).rstrip())
