"""Models that are pure functions of their input and make floating-point certificates false, each with two inputs.

The sum x + z of floating-point numbers is rounded, and how many low bits that costs depends on x. A model that looks
at the low bits knows x from x + z: it returns class 0 for noisy copies of one input, whatever the noise is, and class 1
for most noisy copies of another. Neither the noise nor the model depends on anything but the seed and the input, so
that no test of either can object; what is broken is the theorem about real numbers (Jin, Ohrimenko and Rubinstein 2022;
Voráček and Hein 2023).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rsmooth import Exponential, Gaussian, Laplace


class Lattice(torch.nn.Module):
    """Class 0 where every coordinate is a multiple of `step`, class 1 elsewhere."""

    def __init__(self, step, dtype=torch.float32):
        super().__init__()
        self.step = step
        # What makes the classifier add noise in this type.
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=dtype))

    def forward(self, x):
        coarse = (torch.remainder(x.flatten(1) / self.step, 1) == 0).all(dim=1)
        return torch.stack([coarse, ~coarse], dim=1).to(self.weight.dtype)


@dataclass(frozen=True)
class Attack:
    """A model, a mechanism, and an input whose certificate covers another input of another class."""

    name: str
    mechanism: Any
    norm: float
    step: float
    certified: np.ndarray
    flipped: np.ndarray
    # A grid that both inputs are on.
    grid: int = 256

    @property
    def model(self):
        return Lattice(self.step, torch.float64 if self.certified.dtype == np.float64 else torch.float32)

    @property
    def distance(self):
        return float(np.linalg.norm((self.certified - self.flipped).ravel().astype(np.float64), self.norm))


def _zeroed(dtype):
    """One half everywhere, and the same with two coordinates 0, where sums keep bits that sums with ½ lose."""
    half = np.full((1, 8, 8), 0.5, dtype)
    other = half.copy()
    other[0, 0, :2] = 0
    return half, other


def _near_zero(dtype):
    """2⁻⁷ everywhere, and 0: the radii of the Exponential mechanism reach so far in 192 dimensions."""
    return np.full((3, 8, 8), 2.0**-7, dtype), np.zeros((3, 8, 8), dtype)


SCALE = 0.25
SLOPE = SCALE / 192

ATTACKS = [
    Attack("gaussian, float32", Gaussian(SCALE), 2, 2.0**-25, *_zeroed(np.float32)),
    Attack("gaussian, float64", Gaussian(SCALE), 2, 2.0**-54, *_zeroed(np.float64)),
    Attack("laplace, float32", Laplace(SCALE), 1, 2.0**-25, *_zeroed(np.float32)),
    Attack("laplace, float64", Laplace(SCALE), 1, 2.0**-54, *_zeroed(np.float64)),
    Attack("exponential, float32", Exponential(SLOPE), math.inf, 2.0**-31, *_near_zero(np.float32)),
    Attack("exponential, float64", Exponential(SLOPE), math.inf, 2.0**-60, *_near_zero(np.float64)),
]
