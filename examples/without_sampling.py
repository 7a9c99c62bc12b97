"""What does ℓ₁ certification without sampling gain?

The digits have 17 levels, and of uniform noise in ℓ₁ there is a form that needs no draws: the image is quantised in a
fixed number of ways, and the model looks at all of them. A nearest-centroid model is certified by it and by uniform
noise of the same width, with as many draws as there are quantisations, and with a hundred times as many.

Run it: python examples/without_sampling.py [images]
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestCentroid

from rsmooth import SmoothedClassifier, Uniform
from rsmooth._digits import below
from rsmooth.certificates.splitting import Splitting, split

LEVELS, SPACING = 16, 64


def main(images: int = 100) -> None:
    """Certify test images both ways, and print the mean radius and the share of right certificates."""
    x, y = load_digits(return_X_y=True)
    training = split(x[:1400:10] / LEVELS, SPACING, grid=LEVELS, seed=0)
    model = NearestCentroid().fit(training.reshape(-1, 64), np.repeat(y[:1400:10], SPACING))
    smoothed = SmoothedClassifier(model, Uniform(SPACING / LEVELS / 2), num_classes=10, grid=LEVELS)

    test, labels = x[1400:][:images] / LEVELS, y[1400:][:images]
    report(f"all {SPACING} quantisations", smoothed.certify(test, kind=Splitting(), norm=1, seed=0), labels)
    for draws in (SPACING, 100 * SPACING):
        report(f"{draws:,} draws", smoothed.certify(test, n=draws, norm=1, alpha=0.001, seed=0), labels)


def report(what: str, found: object, labels: np.ndarray) -> None:
    """Print what certificates come to."""
    right = found.prediction == labels
    print(f"{what:>22}: {right.mean():.0%} certified and right, mean ℓ₁ radius {below((found.radius * right).mean())}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
