"""Why exact certificates: a model of ten lines that makes floating-point certificates false, and no exact one.

The model is a pure function of its input: class 0 if every pixel is a multiple of 2⁻²⁵, else class 1. An image of grey
(one half everywhere) is certified for class 0 within an ℓ₂ radius of 0.946, with all votes. Set two pixels to 0, at a
distance of 0.71, and class 1 has 72% of the votes: the sum 0.5 + z, rounded to float32, has lost the bits that 0 + z
keeps. On a grid, where the noisy image is a function of x + z for real noise z, the same attack changes nothing.

Run it: python examples/float_attack.py [figure.png]
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rsmooth import Gaussian, SmoothedClassifier
from rsmooth._digits import below

GRID = 256
DRAWS = 100_000


class Lattice(torch.nn.Module):
    """Class 0 where every pixel is a multiple of 2⁻²⁵, class 1 elsewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of a batch."""
        coarse = (torch.remainder(x.flatten(1) * 2**25, 1) == 0).all(dim=1)
        return torch.stack([coarse, ~coarse], dim=1).float()


def images() -> np.ndarray:
    """Return a grey image and seven others, with one more of its pixels black in each."""
    found = np.full((8, 1, 8, 8), 0.5, np.float32)
    for black in range(8):
        found[black].reshape(-1)[:black] = 0
    return found


def main(figure: str | None = None) -> None:
    """Certify the images in floating point and exactly, print both, and draw what the votes do."""
    x = images()
    distances = np.linalg.norm((x - x[0]).reshape(len(x), -1), axis=1)
    print("        distance  " + "  ".join(f"{d:6.3f}" for d in distances))
    results = {}
    for name, grid in (("float", None), ("exact", GRID)):
        smoothed = SmoothedClassifier(Lattice(), Gaussian(0.25), 2, grid=grid)
        found = smoothed.certify(x, n=DRAWS, norm=2, seed=1)
        share = found.counts[:, 0] / DRAWS
        print(f"{name}: class 0 has  " + "  ".join(f"{100 * s:5.1f}%" for s in share))
        print(f"       the grey image is certified for class {found.prediction[0]} within {below(found.radius[0])}")
        false = (share < 0.5) & (distances <= found.radius[0])
        print(f"       of the {len(x)} images within that radius {false.sum()} are of class 1\n")
        results[name] = (share, found.radius[0])
    if figure is not None:
        draw(distances, results).savefig(figure)


def draw(distances: np.ndarray, results: dict[str, tuple[np.ndarray, float]]) -> Figure:
    """Draw the votes of class 0 against the distance, beside the certified radius."""
    made = Figure(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    axes = made.add_subplot()
    styles = {"float": ("#D55E00", "o-"), "exact": ("#0072B2", "s-")}
    for name, (share, radius) in results.items():
        colour, style = styles[name]
        axes.plot(distances, share, style, color=colour, label=f"{name}: class 0, certified within {below(radius)}")
        axes.axvline(radius, color="black", linestyle="--", linewidth=1)
    axes.axhspan(0, 0.5, color="grey", alpha=0.12, linewidth=0)
    axes.text(0.02, 0.03, "class 1 has won", fontsize="small", color="#444444")
    axes.text(radius - 0.01, 0.5, "certified radius", fontsize="small", rotation=90, va="bottom", ha="right")
    axes.set(xlabel="ℓ₂ distance from the certified image", ylabel="votes", ylim=(0, 1.05), xlim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(fontsize="small", loc="upper right", bbox_to_anchor=(1, 0.93))
    axes.grid(alpha=0.3)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
