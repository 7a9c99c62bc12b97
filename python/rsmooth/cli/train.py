"""`rsmooth train`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsmooth.cli._choices import Choice
from rsmooth.cli._common import (
    MECHANISM_HELP,
    NEEDS_RUN,
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
    mechanism_of,
    progress_bar,
    resumable,
)
from rsmooth.cli._options import with_options
from rsmooth.run.spec import bounds_of
from rsmooth.training.recipes import RECIPES, recipe_type
from rsmooth.training.settings import Training

if TYPE_CHECKING:
    from rsmooth.training.log import Epoch


RECIPE = Choice("recipe", "noisy", RECIPES, recipe_type)


@app.command(cls=RECIPE.command)
@with_options(Training)
def train(  # noqa: PLR0917
    model: Annotated[
        str, typer.Option(help="Architecture (cifar_resnet110, resnet50, …) or a checkpoint to start from.")
    ],
    data: DataName,
    mechanism: Annotated[str, typer.Option(help=f"none, {MECHANISM_HELP}")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoint.pt and log.csv.")],
    given: dict[str, Any],
    context: typer.Context,
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Of the noise, in the inputs' units: pixels in [0, 1].")
    ] = None,
    recipe: Annotated[  # noqa: ARG001
        str, typer.Option(help=f"{either(RECIPES)}; --recipe NAME --help shows its options.")
    ] = "noisy",
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    device: DeviceName = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes, if neither the model nor the data set records it.")
    ] = None,
    domain: Annotated[
        str, typer.Option(help="Lowest and highest value of an input, or none: any finite value.")
    ] = "0,1",
    root: Root = Path("data"),
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download CIFAR-10.")] = False,  # noqa: FBT002
    test: Annotated[bool, typer.Option(help="Test on the test images after each epoch.")] = True,  # noqa: FBT002
    tensorboard: Annotated[  # noqa: FBT002
        bool, typer.Option("--tensorboard", help="Write TensorBoard's files to the folder too.")
    ] = False,
) -> None:
    """Train a network on noisy images; the same command resumes where it was stopped.

    Processes that torchrun starts share each step: torchrun --nproc-per-node=2 -m -- rsmooth train …

    Example: rsmooth train --model cifar_resnet110 --data cifar10 --mechanism gaussian --sigma 0.25 --out trained

    Example: rsmooth train --model cifar_resnet20 --data cifar10 --mechanism gaussian --sigma 0.5 --recipe consistency
    --weight 10 --copies 2 --out trained
    """
    try:
        from rsmooth.training.loop import train as run_train  # noqa: PLC0415
        from rsmooth.zoo.checkpoints import load_model  # noqa: PLC0415
        from rsmooth.zoo.data import NoSplitError, load_data  # noqa: PLC0415
        from rsmooth.zoo.networks import build_model  # noqa: PLC0415

        method = RECIPE.made(context)
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    training = Training(**given)
    keep_memory()
    bounds = bounds_of(domain)
    images = load_data(data, split="train", root=root, download=download, domain=bounds)
    tested = None
    if test:
        with suppress(NoSplitError):
            tested = load_data(data, split="test", root=root, domain=bounds)
    known = images.classes if classes is None else classes
    if Path(model).exists():
        network = load_model(model, num_classes=known, arch=arch, normalization=normalization)
    elif known is None:
        raise ValueError(f"{data} does not record its number of classes: give --classes")
    else:
        network = build_model(model, known, normalization=normalization, seed=seed)
    if mechanism == "none" and sigma is not None:
        raise ValueError(f"--mechanism none has no sigma, got {sigma}")
    noise = None if mechanism == "none" else mechanism_of(mechanism, sigma)
    console = console_for(quiet=os.environ.get("RANK", "0") != "0")
    console.print(
        f"{network.arch}, {noise or 'no noise'}, {method}, {len(images):,} images of {data}, seed {seed}, to {out}/"
    )
    with resumable(out), progress_bar(console) as bar:
        task = bar.add_task("train", total=training.epochs * len(images))

        def report(epoch: Epoch) -> None:
            on_test = "" if epoch.test_accuracy is None else f", test {epoch.test_accuracy:.1%}"
            console.print(
                f"epoch {epoch.epoch}/{training.epochs}: learning rate {epoch.learning_rate:g}, loss {epoch.loss:.4f}, "
                f"noisy accuracy {epoch.accuracy:.1%}{on_test}, {epoch.seconds:.0f} s"
            )

        run_train(
            network,
            images,
            noise,
            training,
            recipe=method,
            seed=seed,
            test=tested,
            out=out,
            device=device_of(device),
            workers=workers,
            tensorboard=tensorboard,
            progress=lambda done: bar.advance(task, done),
            report=report,
        )
    code = f" --arch {network.arch}" if ":" in network.arch else ""
    console.print(f"{out / 'checkpoint.pt'}: rsmooth certify --model {out / 'checkpoint.pt'}{code} …")
