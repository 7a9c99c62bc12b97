"""`rsmooth certify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rsmooth.cli._common import (
    NEEDS_RUN,
    ChannelsLast,
    Compile,
    DataName,
    DeviceName,
    OpenArch,
    OpenNormalization,
    PrecisionName,
    Root,
    app,
    console_for,
    device_of,
    keep_memory,
    mechanism_of,
    norm_of,
    progress_bar,
    resumable,
)


@app.command()
def certify(  # noqa: PLR0917
    model: Annotated[str, typer.Option(help="A checkpoint (.pt, .pth.tar, .safetensors), or package.module:name.")],
    data: DataName,
    mechanism: Annotated[str, typer.Option(help="gaussian, exponential or laplace.")],
    sigma: Annotated[float, typer.Option("--sigma", "--scale", help="Of the noise, in pixels in [0, 1].")],
    norm: Annotated[str, typer.Option(help="Norm of the radius: 1, 2 or inf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    n0: Annotated[int, typer.Option(help="Draws that select an example's class.")] = 100,
    n: Annotated[int, typer.Option(help="Draws that test it; at most, with --radius.")] = 100_000,
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    bound: Annotated[str, typer.Option(help="renyi, neyman-pearson, pure-dp or pixeldp.")] = "renyi",
    runner_up: Annotated[str, typer.Option(help="second, or complement: p2 = 1 - p1.")] = "second",
    radius: Annotated[float | None, typer.Option(help="Certify this radius, with as few draws as it takes.")] = None,
    test: Annotated[str, typer.Option(help="How, with --radius: betting or stages.")] = "betting",
    skip: Annotated[int, typer.Option(help="Certify every k-th example.")] = 1,
    max_: Annotated[int | None, typer.Option("--max", help="Only examples of an index below this.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Noisy copies the model gets at once; by the images' size and the device if left out."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Names all draws; fresh and kept in the run if left out.")
    ] = None,
    noise: Annotated[str, typer.Option(help="Who draws: host (the same everywhere) or device (torch).")] = "host",
    device: DeviceName = "auto",
    precision: PrecisionName = "float32",
    channels_last: ChannelsLast = False,  # noqa: FBT002
    compile_: Compile = False,  # noqa: FBT002
    split: Annotated[str, typer.Option(help="Part of the data set: test or train.")] = "test",
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes, where neither model nor data says.")
    ] = None,
    root: Root = Path("data"),
) -> None:
    """Certify a model on a data set; the same command goes on where it was stopped.

    Processes that torchrun starts share the work: torchrun --nproc-per-node=2 -m -- rsmooth certify …, where the
    dashes alone keep torchrun from taking --n and --max for its own.

    Example: rsmooth certify --model model.pt --data cifar10 --mechanism gaussian --sigma 0.25 --norm 2 --out run
    """
    try:
        from rsmooth.run.certify import Order  # noqa: PLC0415
        from rsmooth.run.certify import certify as run_certify  # noqa: PLC0415
        from rsmooth.run.results import read_run  # noqa: PLC0415
        from rsmooth.zoo.checkpoints import load_model  # noqa: PLC0415
        from rsmooth.zoo.data import load_data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    keep_memory()
    images = load_data(data, split="train" if split == "train" else "test", root=root)
    known = images.classes if classes is None else classes
    if known is None:
        raise ValueError(f"{data} does not say how many classes it has: give --classes")
    network = load_model(model, num_classes=known, arch=arch, normalization=normalization)
    if classes is not None and network.num_classes != classes:
        raise ValueError(f"{model} has {network.num_classes} classes, but --classes {classes} was given")
    order = Order(
        norm=norm_of(norm),
        n0=n0,
        n=n,
        alpha=alpha,
        bound=bound,
        runner_up=runner_up,
        radius=radius,
        test=test,
        skip=skip,
        max=max_,
        batch_size=batch_size,
        noise=noise,
        precision=precision,
        channels_last=channels_last,
        compile=compile_,
    )
    console = console_for(quiet=os.environ.get("RANK", "0") != "0")
    with resumable(out), progress_bar(console) as bar:
        task = bar.add_task("certify", total=None)
        run_certify(
            out,
            network,
            images,
            mechanism_of(mechanism, sigma),
            order,
            seed=seed,
            device=device_of(device),
            told={"model": model, "data": data, "split": split, "root": str(root)},
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    run = read_run(out)
    found = run.certificates()
    right = found.certified_accuracy(run.column("label"), 0.0)
    console.print(
        f"{out}: {len(found):,} examples, {right:.1%} certified and right, {(found.prediction < 0).sum():,} without a "
        f"certificate, seed {run.seed.entropy}"
    )
