"""`rsmooth train`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from rsmooth.cli._common import (
    MECHANISM_HELP,
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
    progress_bar,
    resumable,
)


@app.command()
def train(  # noqa: PLR0917
    model: Annotated[
        str, typer.Option(help="Architecture (cifar_resnet110, resnet50, …) or a checkpoint to start from.")
    ],
    data: DataName,
    mechanism: Annotated[str, typer.Option(help=f"none, {MECHANISM_HELP}")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoint.pt and log.csv.")],
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Of the noise, in pixels in [0, 1].")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="The learning rate falls to a tenth after each third.")] = 90,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 256,
    lr: Annotated[float, typer.Option(help="Learning rate at first.")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Nesterov's.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Factor of the weights' squared norm.")] = 1e-4,
    augment: Annotated[
        str | None, typer.Option(help="none, crop-flip or resized-crop-flip; by data set if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    device: DeviceName = "auto",
    precision: PrecisionName = "float32",
    channels_last: ChannelsLast = False,  # noqa: FBT002
    compile_: Compile = False,  # noqa: FBT002
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    root: Root = Path("data"),
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download CIFAR-10.")] = False,  # noqa: FBT002
    test: Annotated[bool, typer.Option(help="Test on the test images after each epoch.")] = True,  # noqa: FBT002
) -> None:
    """Train a network on noisy images; the same command resumes where it was stopped.

    Example: rsmooth train --model cifar_resnet110 --data cifar10 --mechanism gaussian --sigma 0.25 --out trained
    """
    try:
        from rsmooth.training.loop import Epoch, Training  # noqa: PLC0415
        from rsmooth.training.loop import train as run_train  # noqa: PLC0415
        from rsmooth.zoo.checkpoints import load_model  # noqa: PLC0415
        from rsmooth.zoo.data import NoSplitError, load_data  # noqa: PLC0415
        from rsmooth.zoo.networks import build_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    keep_memory()
    images = load_data(data, split="train", root=root, download=download)
    tested = None
    if test:
        with suppress(NoSplitError):
            tested = load_data(data, split="test", root=root)
    if images.classes is None:
        raise ValueError(f"{data} does not record its number of classes: give the data set an attribute classes")
    if Path(model).exists():
        network = load_model(model, num_classes=images.classes, arch=arch, normalization=normalization)
    else:
        network = build_model(model, images.classes, normalization=normalization, seed=seed)
    training = Training(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        augmentation=images.augmentation if augment is None else augment,
        precision=precision,
        channels_last=channels_last,
        compile=compile_,
    )
    if mechanism == "none" and sigma is not None:
        raise ValueError(f"--mechanism none has no sigma, got {sigma}")
    noise = None if mechanism == "none" else mechanism_of(mechanism, sigma)
    console = console_for()
    console.print(f"{network.arch}, {noise or 'no noise'}, {len(images):,} images of {data}, seed {seed}, to {out}/")
    with resumable(out), progress_bar(console) as bar:
        task = bar.add_task("train", total=epochs * len(images))

        def report(epoch: Epoch) -> None:
            on_test = "" if epoch.test_accuracy is None else f", test {epoch.test_accuracy:.1%}"
            console.print(
                f"epoch {epoch.epoch}/{epochs}: learning rate {epoch.learning_rate:g}, loss {epoch.loss:.4f}, "
                f"noisy accuracy {epoch.accuracy:.1%}{on_test}, {epoch.seconds:.0f} s"
            )

        run_train(
            network,
            images,
            noise,
            training,
            seed=seed,
            test=tested,
            out=out,
            device=device_of(device),
            workers=workers,
            progress=lambda done: bar.advance(task, done),
            report=report,
        )
    code = f" --arch {network.arch}" if ":" in network.arch else ""
    console.print(f"{out / 'checkpoint.pt'}: rsmooth certify --model {out / 'checkpoint.pt'}{code} …")
