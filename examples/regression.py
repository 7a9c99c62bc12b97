"""How far can a perturbation move what a regression says?

The median of a regression's answers under noise moves little: here that of a model of the progress of diabetes in a
year, from ten measurements that are known to within some error. For four patients it prints the interval that holds the
median whatever is done to the measurements within each radius, in standard deviations of a measurement.

Run it: python examples/regression.py [draws]
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from rsmooth import Gaussian
from rsmooth.certificates.percentile import certify_percentile

RADII = (0.0, 0.1, 0.25)


def main(draws: int = 10_000) -> None:
    """Fit the regression on noisy measurements, and certify its median for patients that it has not seen."""
    noise = Gaussian(0.25)
    x, y = load_diabetes(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    noisy = noise.perturb(x[:400], copies=10, seed=0)
    model = Ridge().fit(noisy.reshape(-1, x.shape[1]), np.repeat(y[:400], 10))

    patients = x[400:404]
    copies = noise.perturb(patients, copies=draws, seed=1)
    answers = np.stack([model.predict(each) for each in copies])
    found = certify_percentile(answers, RADII, noise, norm=2, dim=x.shape[1])
    print("median    " + "".join(f"   within {radius:<8g}" for radius in RADII))
    for median, lower, upper in zip(np.median(answers, axis=1), found.lower, found.upper, strict=True):
        within = [f"{low:7.1f} to {high:5.1f}" for low, high in zip(lower, upper, strict=True)]
        print(f"{median:6.1f}    " + "".join(within))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
