"""Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.

A classifier f is smoothed by voting over f(x + z); the votes certify a radius in which no perturbation of x can change
the result. The package draws z (`sample_linf`, `sample_gaussian`, `sample_laplace`, and the mechanisms' ``perturb``),
turns votes into radii (`certify_counts`, `renyi_sup`, `clopper_pearson`) and does both for a torch model
(`SmoothedClassifier`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsmooth.bounds import clopper_pearson, renyi_sup
from rsmooth.mechanisms import Exponential, Gaussian, Laplace
from rsmooth.noise import build_info, sample_gaussian, sample_laplace, sample_linf
from rsmooth.radii import Certificates, certify_counts

if TYPE_CHECKING:
    from rsmooth.prefetch import prefetch_noise
    from rsmooth.smooth import SmoothedClassifier

__all__ = [
    "Certificates",
    "Exponential",
    "Gaussian",
    "Laplace",
    "SmoothedClassifier",
    "build_info",
    "certify_counts",
    "clopper_pearson",
    "prefetch_noise",
    "renyi_sup",
    "sample_gaussian",
    "sample_laplace",
    "sample_linf",
]

__version__: str = build_info()["version"]


def __getattr__(name: str) -> Any:
    # These need torch, which everything else here does without.
    if name == "prefetch_noise":
        from rsmooth.prefetch import prefetch_noise  # noqa: PLC0415

        return prefetch_noise
    if name == "SmoothedClassifier":
        from rsmooth.smooth import SmoothedClassifier  # noqa: PLC0415

        return SmoothedClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
