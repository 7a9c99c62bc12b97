"""How many draws buy which radius?

A certificate of the Gaussian mechanism in ℓ₂, for networks that answer noisy copies with another class this often:
never, once in 1,000, in 100, in 10. The votes are those that are expected; nothing is sampled. Every curve rises to the
radius that the true probability has, and a vote without any other class to the end.

Run it: python examples/how_many_draws.py [figure.png]
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from rsmooth import Gaussian, certify_counts
from rsmooth._digits import below

SHARES = (0.0, 0.001, 0.01, 0.1)
DRAWS = np.unique(np.geomspace(10, 1_000_000, 60).round().astype(int))


def radii(share: float, draws: np.ndarray) -> np.ndarray:
    """Return the radius, in units of σ, where `share` of so many draws go to one other class."""
    other = np.ceil(share * draws).astype(int)
    counts = np.stack([draws - other, other], axis=1)
    found = certify_counts(counts, Gaussian(1), norm=2, dim=1, selection=np.zeros(len(draws), int), alpha=0.001)
    return found.radius


def main(figure: str | None = None) -> None:
    """Print a table of radii, and draw the curves if a file is named."""
    shown = np.array([100, 1000, 10_000, 100_000, 1_000_000])
    print("draws      " + "".join(f"{n:>11,}" for n in shown))
    for share in SHARES:
        print(f"{share:>6.1%} else" + "".join(f"{below(radius):>10}σ" for radius in radii(share, shown)))
    if figure is not None:
        made = Figure(figsize=(6.4, 3.6), dpi=120, layout="constrained")
        axes = made.add_subplot()
        for share, style in zip(SHARES, ("-", "--", "-.", ":"), strict=True):
            axes.plot(DRAWS, radii(share, DRAWS), style, color="black", label=f"{share:.1%} of the votes elsewhere")
        axes.set(xscale="log", xlabel="draws", ylabel="certified radius / σ", ylim=(0, None))
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        made.savefig(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
