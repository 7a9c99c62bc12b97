"""`rsmooth certify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from rsmooth._digits import below
from rsmooth.certificates import KINDS, kind_type
from rsmooth.cli._choices import Choice
from rsmooth.cli._common import (
    MODEL_HELP,
    NEEDS_RUN,
    PRESET_HELP,
    DataName,
    DeviceName,
    OpenArch,
    OpenNormalization,
    Root,
    app,
    console_for,
    device_of,
    either,
    keep_memory,
    preset_of,
    progress_bar,
    resumable,
)
from rsmooth.cli._options import with_options
from rsmooth.run.spec import USUAL_KIND, Spec

KIND = Choice("kind", USUAL_KIND.name, KINDS, kind_type)


@app.command(cls=KIND.command)
@with_options(Spec, but={"kind"})
def certify(  # noqa: PLR0917
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    data: DataName,
    given: dict[str, Any],
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    kind: Annotated[  # noqa: ARG001
        str, typer.Option(help=f"What is certified: {either(KINDS)}; --kind NAME --help shows its options.")
    ] = USUAL_KIND.name,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Names all draws; fresh and kept in the run if left out.")
    ] = None,
    device: DeviceName = "auto",
    split: Annotated[str, typer.Option(help="Part of the data set: test or train.")] = "test",
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes, if neither the model nor the data set records it.")
    ] = None,
    root: Root = Path("data"),
    real_inputs: Annotated[  # noqa: FBT002
        bool, typer.Option("--real-inputs", help="Tell also what holds for inputs rounded to the grid first.")
    ] = False,
) -> None:
    """Certify a model on a data set; the same command resumes where it was stopped.

    Processes that torchrun starts share the work: torchrun --nproc-per-node=2 -m -- rsmooth certify …, where the
    dashes alone keep torchrun from taking --n and --max for its own.

    Example: rsmooth certify --model model.pt --data cifar10 --mechanism gaussian --sigma 0.25 --norm 2 --out run

    Example: rsmooth certify --model model.pt --data cifar10 --mechanism gaussian --sigma 0.25 --norm 2 --kind top-k
    --k 3 --out top3
    """
    try:
        from rsmooth.run.certify import certify as run_certify  # noqa: PLC0415
        from rsmooth.run.results import read_run  # noqa: PLC0415
        from rsmooth.zoo.checkpoints import load_model  # noqa: PLC0415
        from rsmooth.zoo.data import load_data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    spec = Spec(**preset_of(preset, **given), kind=KIND.made(context))
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    keep_memory()
    answer = spec.kind.answer
    if answer == "number" and classes is not None:
        raise ValueError(f"--classes must be left out for kind {spec.kind.name!r}, which is of numbers, got {classes}")
    images = load_data(
        data, split="train" if split == "train" else "test", root=root, domain=spec.bounds, answer=answer
    )
    network = load_model(
        model,
        num_classes=images.classes if classes is None else classes,
        arch=arch,
        normalization=normalization,
        example=images[0][0] if len(images) else None,
        answer=answer,
    )
    if classes is not None and network.num_classes != classes:
        raise ValueError(f"{model} has {network.num_classes} classes, but --classes {classes} was given")
    console = console_for(quiet=os.environ.get("RANK", "0") != "0")
    with resumable(out), progress_bar(console) as bar:
        task = bar.add_task("certify", total=None)
        run_certify(
            out,
            network,
            images,
            spec,
            seed=seed,
            device=device_of(device),
            told={"model": model, "data": data, "split": split, "root": str(root)},
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    run = read_run(out, mechanism=spec.mechanism)
    found = run.certificates()
    right = found.certified_accuracy(run.column("label"), 0.0)
    of = " of pixels" if answer == "map" else ""
    if run.head.subject.code.startswith("unknown"):
        console.print(f"{out}: the model's code is not part of the run's fingerprint ({run.head.subject.code})")
    console.print(
        f"{out}: {len(found):,} examples, {right:.1%}{of} certified and right, "
        f"{found.abstained.sum():,} without a certificate, seed {run.seed.entropy}"
    )
    if real_inputs:
        rounded = found.for_real_inputs()
        right = rounded.certified_accuracy(run.column("label"), 0.0)
        console.print(
            f"real inputs, rounded to the grid first: {right:.1%}{of} certified and right, median radius "
            f"{below(np.median(rounded.radius))} instead of {below(np.median(found.radius))}"
        )
    console.print(found.basis)
    if found.grid is not None and found.grid > images.levels:
        near = int(((found.radius > 0) & (found.radius * images.levels < 1)).sum())
        console.print(
            f"{near:,} of {len(found):,} radii are below 1/{images.levels}, within which there is no other image of "
            f"{images.levels + 1} levels"
        )
