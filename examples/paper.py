"""The experiments of the paper on CIFAR-10, and some that it does not have.

Each experiment is one `rsmooth train` and one `rsmooth certify`, printed as they are run; both go on where they were
stopped when this script is run again. The votes of each are then written to ``counts/NAME.parquet``, and
`examples/paper_figures.py` makes every figure and table from these files alone.

Run it: python examples/paper.py --data cifar10.npz --out paper [--size cpu] [--only figures --only dimensions …]
"""

from __future__ import annotations

import argparse
import math
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rsmooth import Exponential, Gaussian, Mechanism
from rsmooth.zoo.data import load_data

GROUPS = ("figures", "dimensions", "recipes")

# Of an image of CIFAR-10.
DIM = 3 * 32 * 32


@dataclass(frozen=True)
class Size:
    """How large the experiments are: what a machine allows.

    Attributes
    ----------
    model : str
        The network.
    epochs : int
        Passes over the images in a training.
    budget : int
        The same of the recipes that are compared; where they are not `published`, it counts passes of the network.
    published : bool
        Whether recipes have as many copies and steps as published, rather than as few as they make sense with.
    skip, n : int
        Every how-manieth test image is certified, and the draws of one. Not fewer draws with ``--until``: the radius at
        50% would be one of those asked for.
    options : tuple of str
        Options of both commands.
    """

    model: str
    epochs: int
    budget: int
    published: bool
    skip: int
    n: int
    options: tuple[str, ...] = ("--channels-last",)


FAST = ("--precision", "bfloat16", "--channels-last")

SIZES = {
    "trial": Size("cifar_resnet20", epochs=1, budget=1, published=False, skip=1000, n=200, options=FAST),
    "cpu": Size("cifar_resnet20", epochs=2, budget=4, published=False, skip=20, n=1000, options=FAST),
    "gpu": Size("cifar_resnet110", epochs=90, budget=150, published=True, skip=20, n=100_000),
}

# Recipes for σ = 0.5 as published, and with as few copies and steps as they make sense with: how often such a step runs
# the network on an image, forward and back, and its options.
RECIPES = {
    "noisy": ((), 1, ()),
    "stability-pair": ((), 2, ()),
    "consistency": (("--weight", "10"), 2, ("--weight", "10")),
    "smoothadv": (("--radius", "0.25"), 3, ("--radius", "0.25", "--copies", "1", "--steps", "2", "--warm-up", "0")),
    "smoothmix": ((), 3, ("--copies", "1", "--steps", "1", "--warm-up", "0")),
    "macer": ((), 3, ("--copies", "3")),
}


@dataclass(frozen=True)
class Experiment:
    """A training and a certification under one mechanism.

    Attributes
    ----------
    name : str
        Of its folders and files.
    mechanism : Mechanism
        Whose noise trains and certifies.
    norm : str
        Of the run; its counts are certified in others as well.
    side : int
        Of the images, in pixels.
    epochs : int
        Passes over the images in the training.
    skip : int
        Every how-manieth test image is certified.
    recipe : tuple of str
        Options of the training.
    """

    name: str
    mechanism: Mechanism
    norm: str
    epochs: int
    skip: int
    side: int = 32
    recipe: tuple[str, ...] = ()


def exponential(expected: float, side: int = 32) -> Exponential:
    """Return the Exponential mechanism with this E‖z‖∞."""
    return Exponential(expected / (3 * side * side))


def experiments(group: str, size: Size) -> list[Experiment]:
    """Return a group's experiments, the most telling first."""
    common = (size.epochs, size.skip)
    if group == "figures":
        return [
            *(Experiment(f"gaussian-{sigma:g}", Gaussian(sigma), "2", *common) for sigma in (0.25, 0.12, 0.5, 1.0)),
            *(Experiment(f"exponential-{mean:g}", exponential(mean), "inf", *common) for mean in (0.25, 0.5, 1.0)),
        ]
    if group == "recipes":
        found = []
        for name, (published, passes, least) in RECIPES.items():
            options, epochs = (published, size.budget) if size.published else (least, max(1, size.budget // passes))
            recipe = ("--recipe", name, *options)
            found.append(Experiment(f"recipe-{name}", Gaussian(0.5), "2", epochs, 2 * size.skip, recipe=recipe))
        return found
    # With 32 pixels they are among the figures' experiments.
    expected, found = Gaussian(0.12).expected_linf(DIM), []
    # Small images take less arithmetic, and more passes to be recognised at all.
    for side, more, skip in ((8, 6, size.skip), (16, 3, size.skip), (64, 0.5, 4 * size.skip)):
        common = (math.ceil(size.epochs * more), skip, side)
        same = Gaussian(expected / Gaussian(1.0).expected_linf(3 * side * side))
        found += [
            Experiment(f"side-{side}-gaussian", same, "2", *common),
            Experiment(f"side-{side}-exponential", exponential(0.25, side), "inf", *common),
            Experiment(f"side-{side}-gaussian-fixed", Gaussian(0.12), "2", *common),
        ]
    return found


def images_of(data: str, side: int, out: Path) -> str:
    """Return what ``--data`` is for CIFAR-10 with images of this many pixels a side, and make it if need be.

    Smaller images are means of squares, larger ones are interpolated linearly; both are rounded to 8 bits, so that
    exact noise applies.
    """
    if side == 32:
        return data
    path = out / f"cifar10-{side}.npz"
    if not path.exists():
        arrays = {}
        for split in ("train", "test"):
            source = load_data(data, split=split)
            resized = []
            for start in range(0, len(source), 1000):
                images = torch.stack([source[i][0] for i in range(start, min(start + 1000, len(source)))])
                mode = {"mode": "area"} if side < 32 else {"mode": "bilinear", "align_corners": False}
                images = torch.nn.functional.interpolate(images, size=(side, side), **mode)
                resized.append((images * 255).round().byte().numpy())
            arrays[f"{split}_images"] = np.concatenate(resized)
            arrays[f"{split}_labels"] = np.array([source[i][1] for i in range(len(source))])
        np.savez(path, **arrays)
    return str(path)


def rsmooth(*arguments: object) -> None:
    """Run a command of rsmooth, after printing it."""
    words = [str(argument) for argument in arguments]
    print("$ rsmooth", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "rsmooth", *words], check=True)  # noqa: S603


def do(experiment: Experiment, size: Size, *, data: str, start: str | None, out: Path) -> None:
    """Train, certify, and write the counts of one experiment."""
    images = images_of(data, experiment.side, out)
    mechanism = experiment.mechanism
    noise = ("--mechanism", mechanism.name, "--sigma", repr(mechanism.parameter))
    trained, run = out / "trained" / experiment.name, out / "runs" / experiment.name
    # From a trained network, an epoch or two suffice; the average of the weights stands in for small rates at the end.
    rates = ("--lr", 0.03, "--schedule", "constant", "--ema", 0.99) if start else ("--lr", 0.1)
    fit = ("--epochs", experiment.epochs, *rates, "--augment", "crop-flip", "--workers", 1)
    rsmooth(
        *("train", "--model", start or size.model, "--data", images, *noise, *fit),
        *(*size.options, *experiment.recipe, "--out", trained),
    )
    rsmooth(
        *("certify", "--model", trained / "checkpoint.pt", "--data", images, *noise, "--norm", experiment.norm),
        *("--n", size.n, "--skip", experiment.skip, "--seed", 7, *size.options, "--out", run),
    )
    rsmooth("radii", run, "-o", out / "counts" / f"{experiment.name}.parquet")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="CIFAR-10, as rsmooth's --data: cifar10 or an .npz of it")
    parser.add_argument("--out", type=Path, default=Path("paper"), help="folder of everything that is made")
    parser.add_argument("--size", choices=SIZES, default="cpu", help="how large the experiments are")
    parser.add_argument("--only", choices=GROUPS, action="append", help="these groups of experiments alone")
    parser.add_argument("--start", help="a checkpoint to start from, rather than from fresh weights")
    arguments = parser.parse_args()
    (arguments.out / "counts").mkdir(parents=True, exist_ok=True)
    for group in arguments.only or GROUPS:
        for experiment in experiments(group, SIZES[arguments.size]):
            do(experiment, SIZES[arguments.size], data=arguments.data, start=arguments.start, out=arguments.out)


if __name__ == "__main__":
    main()
