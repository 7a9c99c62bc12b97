"""Every figure and table of docs/paper.md, from the files of counts that `examples/paper.py` wrote.

Run it: python examples/paper_figures.py docs/paper [--out docs/img] [--published smoothing/data/certify]
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from paper import RECIPES

from rsmooth import Gaussian
from rsmooth._digits import below
from rsmooth.results.read import read_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsmooth.results.result import Result

BOUNDS = ("renyi", "tightest")
PUBLISHED = ("renyi", "neyman-pearson")
GAUSSIANS, EXPONENTIALS = (0.12, 0.25, 0.5, 1.0), (0.25, 0.5, 1.0)
SIDES = (8, 16, 32, 64)

# Pixels a side of the figures' experiments.
HERE = 32

# The certified accuracy at which radii of different dimensions are compared: of 8 by 8 pixels, not half are recognised.
LEVEL = 0.4

# Resampled images behind an interval.
RESAMPLES = 2000


@dataclass(frozen=True)
class Law:
    """How a radius is said to change with the number d of coordinates.

    Attributes
    ----------
    title : str
        What the figure calls it.
    file : str
        The experiments' name, of the number of pixels a side.
    here : str
        The experiment's name with 32 pixels.
    norm : float
        Of the radius.
    predicted : callable
        The law, up to a factor.
    label : str
        The law, written.
    """

    title: str
    file: str
    here: str
    norm: float
    predicted: Callable[[int], float]
    label: str


def gaussian(dim: int) -> float:
    """Return the σ of a Gaussian mechanism with a fixed E‖z‖∞, up to a factor."""
    return 1 / Gaussian(1.0).expected_linf(dim)


LAWS = (
    Law("Gaussian, ℓ₂, fixed E‖z‖∞", "side-{}-gaussian", "gaussian-0.12", 2, gaussian, "1/√log d"),
    Law(
        "Gaussian, ℓ∞, fixed E‖z‖∞",
        *("side-{}-gaussian", "gaussian-0.12", math.inf),
        *(lambda dim: gaussian(dim) / math.sqrt(dim), "1/√(d log d)"),
    ),
    Law(
        "Exponential, ℓ∞, fixed E‖z‖∞", "side-{}-exponential", "exponential-0.25", math.inf, lambda dim: 1 / dim, "1/d"
    ),
    Law("Gaussian, ℓ₂, fixed σ", "side-{}-gaussian-fixed", "gaussian-0.12", 2, lambda _: 1.0, "constant"),
)


def radius_at_half(result: Result) -> float:
    """Return the radius at 50% certified accuracy."""
    return result.certified.radius_at(0.5)


def resampled_radii(result: Result, generator: np.random.Generator) -> np.ndarray:
    """Return the radius at `LEVEL` of resampled images, as often as `RESAMPLES`."""
    right = np.where(result.prediction == result.labels, result.radius, 0.0)
    drawn = np.sort(right[generator.integers(len(right), size=(RESAMPLES, len(right)))], axis=1)
    return drawn[:, len(right) - math.ceil(LEVEL * len(right))]


def rows_of(table: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown; its first row is the head."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([head, "|" + "---|" * len(table[0]), *rows])


def half_table(folder: Path) -> str:
    """Return the radii at 50% certified accuracy of each mechanism, under the paper's bound and the tightest."""
    table = [("mechanism", "norm", "images", "draws an image", *BOUNDS, "ratio", "at or above 1/255")]
    for name, norm in (
        *((f"gaussian-{sigma:g}", 2) for sigma in GAUSSIANS),
        *((f"gaussian-{sigma:g}", math.inf) for sigma in GAUSSIANS),
        *((f"exponential-{mean:g}", math.inf) for mean in EXPONENTIALS),
    ):
        found = [read_result(folder / f"{name}.parquet").under(norm=norm, bound=bound) for bound in BOUNDS]
        halves = [radius_at_half(each) for each in found]
        above = int((found[1].radius >= 1 / 255).sum())
        table.append(
            (
                found[0].noise,
                "ℓ₂" if norm == 2 else "ℓ∞",
                str(len(found[0])),
                f"{found[0].draws.mean():,.0f}",
                *(below(half) for half in halves),
                f"{halves[1] / halves[0]:.2f}" if halves[0] else "",
                f"{above} of {len(found[0])}" if norm != 2 else "",
            )
        )
    return rows_of(table)


def published_table(folder: Path) -> str:
    """Return the radii at 50% of locuslab/smoothing's networks, from the result files in its ``data/certify``."""
    table = [("network", "images", *(f"{norm}, {bound}" for norm in ("ℓ₂", "ℓ∞") for bound in PUBLISHED))]
    for network, dim, scales in (
        ("cifar10/resnet110", 3 * 32 * 32, ("0.12", "0.25", "0.50", "1.00")),
        ("imagenet/resnet50", 3 * 224 * 224, ("0.25", "0.50", "1.00")),
    ):
        for scale in scales:
            path = folder / network / f"noise_{scale}" / "test" / f"sigma_{scale}"
            result = read_result(path, sigma=float(scale), dim=dim)
            halves = [
                radius_at_half(result.under(norm=norm, bound=bound)) for norm in (2, math.inf) for bound in PUBLISHED
            ]
            table.append((f"{network}, σ = {float(scale):g}", str(len(result)), *(below(half) for half in halves)))
    return rows_of(table)


def recipe_table(folder: Path) -> str:
    """Return certified accuracy and average radius of each recipe, under Cohen's bound."""
    radii = (0, 0.25, 0.5, 0.75, 1.0)
    table = [("recipe", *(f"{radius:g}" for radius in radii), "ACR")]
    for recipe in RECIPES:
        result = read_result(folder / f"recipe-{recipe}.parquet")
        certified = result.under(bound="neyman-pearson", runner_up="complement").certified
        table.append((recipe, *(f"{share:.3f}" for share in certified.accuracy(radii)), below(certified.mean())))
    return rows_of(table)


def slope(dims: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the slope of log radius against log d by least squares, along the last axis."""
    x = np.log(dims) - np.log(dims).mean()
    return np.log(radii) @ x / (x @ x)


def dimensions(folder: Path, out: Path) -> str:
    """Draw the radius against d for each law, and return the slopes, predicted and measured."""
    generator = np.random.default_rng(0)
    figure = Figure(figsize=(9, 7), dpi=110, layout="constrained")
    dims = np.array([3 * side * side for side in SIDES])
    heads = (f"{dim:,}" for dim in dims)
    table = [
        ("law", "predicted", "its slope", "measured", "95% interval", "32 to 64", *(f"r/scale, d = {d}" for d in heads))
    ]
    for law, axes in zip(LAWS, figure.subplots(2, 2).flat, strict=True):
        names = (law.here if side == HERE else law.file.format(side) for side in SIDES)
        found = [read_result(folder / f"{name}.parquet").under(norm=law.norm, bound="tightest") for name in names]
        radii = np.array([each.certified.radius_at(LEVEL) for each in found])
        resampled = np.stack([resampled_radii(each, generator) for each in found], axis=1)
        low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
        line = np.array([law.predicted(int(dim)) for dim in dims])
        line *= np.exp(np.mean(np.log(radii / line)))
        axes.errorbar(dims, radii, (radii - low, high - radii), fmt="o", color="#0072B2", capsize=3, label="measured")
        axes.plot(dims, line, "--", color="#D55E00", label=f"law: {law.label}")
        axes.set(xscale="log", yscale="log", title=law.title, xlabel="d", ylabel=f"radius at {LEVEL:.0%}")
        axes.set_xticks(dims, [f"{dim:,}" for dim in dims])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        measured = slope(dims, resampled[(resampled > 0).all(axis=1)])
        table.append(
            (
                law.title,
                law.label,
                f"{round(float(slope(dims, line)), 2) + 0.0:.2f}",
                f"{float(slope(dims, radii)):.2f}",
                "{:.2f} to {:.2f}".format(*np.quantile(measured, (0.025, 0.975))),
                f"{float(slope(dims[-2:], radii[-2:])):.2f}",
                *(below(r / each.mechanism.parameter) for r, each in zip(radii, found, strict=True)),
            )
        )
    figure.savefig(out / "paper-dimensions.png")
    return rows_of(table)


def curves(folder: Path, out: Path) -> None:
    """Draw the paper's figures 1 to 3: certified accuracy against radius, under its bound and the tightest."""
    gaussians = {f"gaussian-{sigma:g}": f"Gaussian, σ = {sigma:g}" for sigma in GAUSSIANS}
    exponentials = {f"exponential-{mean:g}": f"Exponential, E‖z‖∞ = {mean:g}" for mean in EXPONENTIALS}
    for file, labels, norm in (
        ("paper-1.png", gaussians, "2"),
        ("paper-2.png", gaussians, "inf"),
        ("paper-3.png", exponentials, "inf"),
    ):
        paths = [str(folder / f"{name}.parquet") for name in labels]
        named = [word for label in labels.values() for word in ("--label", label)]
        bounds = [word for bound in BOUNDS for word in ("--bound", bound)]
        words = ["plot", *paths, *named, "--norm", norm, *bounds, "-o", str(out / file)]
        subprocess.run([sys.executable, "-m", "rsmooth", *words], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=Path, help="folder of the files of counts")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figures")
    parser.add_argument("--published", type=Path, help="data/certify of a checkout of locuslab/smoothing")
    arguments = parser.parse_args()
    if arguments.published:
        print(published_table(arguments.published), end="\n\n")
    print(half_table(arguments.counts), end="\n\n")
    print(recipe_table(arguments.counts), end="\n\n")
    print(dimensions(arguments.counts, arguments.out))
    curves(arguments.counts, arguments.out)


if __name__ == "__main__":
    main()
