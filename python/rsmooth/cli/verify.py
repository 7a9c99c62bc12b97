"""`rsmooth verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rsmooth._streams import sequence_of
from rsmooth.cli._common import (
    NEEDS_RUN,
    DeviceName,
    app,
    console_for,
    device_of,
    keep_memory,
    progress_bar,
)


@app.command()
def verify(  # noqa: PLR0917
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    sample: Annotated[int, typer.Option(min=0, help="How many examples to draw again.")] = 20,
    model: Annotated[str | None, typer.Option(help="The model, where it is not where the run says.")] = None,
    data: Annotated[str | None, typer.Option(help="The data, likewise.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are, likewise.")] = None,
    arch: Annotated[str | None, typer.Option(help="Its architecture, where that is code.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of an example's votes that may differ; a single one may where it is not 0.")
    ] = 1e-4,
    seed: Annotated[int | None, typer.Option(min=0, help="Chooses the examples; fresh if left out.")] = None,
    device: DeviceName = "auto",
) -> None:
    """Check a run: every radius from its counts, and the counts of some examples by drawing them again.

    Ends with status 1 where anything is not as recorded. Other hardware, which rounds the model's arithmetic otherwise,
    may need a larger --tolerance.

    Example: rsmooth verify run --sample 20
    """
    from rsmooth.run.results import read_run  # noqa: PLC0415

    try:
        from rsmooth.run.verify import check_records, check_sources, recount  # noqa: PLC0415
        from rsmooth.zoo.checkpoints import load_model  # noqa: PLC0415
        from rsmooth.zoo.data import load_data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    keep_memory()
    read = read_run(run)
    console = console_for()
    console.print(read.summary())
    problems = check_records(read)
    console.print(f"certificates computed again from {len(read.records):,} examples' counts: {_verdict(problems)}")
    if read.missing:
        problems.append(f"{_counted(read.missing, 'example')} asked for but not finished")
    if not sample:
        console.print("model and data: not compared, nor any example drawn again (--sample 0)")
    else:
        settings, told = read.settings, read.told
        source = _trusted(run, "model", model, told.get("model"))
        images = load_data(
            _trusted(run, "data", data, told.get("data")),
            split=told.get("split", "test"),
            root=root or Path(str(told.get("root", "data"))),
        )
        network = load_model(
            source,
            num_classes=settings["num_classes"],
            arch=_trusted(run, "arch", arch, settings["arch"]) if Path(source).exists() else None,
            normalization=settings["normalization"],
        )
        others = check_sources(read, network, images)
        console.print(f"model and data: {_verdict(others)}")
        problems += others
        if not others:
            chooser = sequence_of(seed)
            with progress_bar(console) as bar:
                task = bar.add_task("draw again", total=None)
                again = recount(
                    read,
                    network,
                    images,
                    sample=sample,
                    seed=chooser,
                    tolerance=tolerance,
                    device=device_of(device),
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
            console.print(
                f"{len(again.moved):,} examples drawn again (--seed {chooser.entropy}), {again.draws:,} draws, "
                f"{sum(again.moved.values()):,} votes differ: {_verdict(again.problems)}"
            )
            problems += again.problems
    if problems:
        more = f"and {len(problems) - 10:,} more" if len(problems) > 10 else ""  # noqa: PLR2004
        raise ValueError("\n".join([f"{run} is not as recorded:", *problems[:10], more]).rstrip())


def _trusted(run: Path, name: str, given: str | None, said: Any) -> str:
    """Return what the user gives or else the run says, which may be a stranger's and have no code run."""
    if given is not None:
        return given
    if not isinstance(said, str):
        raise ValueError(f"{run} does not say where its {name} came from: give --{name}")  # noqa: TRY004
    path = Path(said)
    no_code = {"model": path.is_file(), "data": path.is_dir() or path.suffix in (".npz", ".npy"), "arch": False}
    if ":" in said and not no_code[name]:
        raise ValueError(f"{run} says {name} {said!r}, which is code: give it with --{name} to have it run")
    return said


def _verdict(problems: list[str]) -> str:
    return _counted(len(problems), "problem") if problems else "as recorded"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
