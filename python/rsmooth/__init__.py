"""Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.

A classifier f is smoothed by voting over f(x + z); the votes certify a radius in which no perturbation of x can change
the result. The package draws z (`sample_linf`, `sample_gaussian`, `sample_laplace`, and the mechanisms' ``perturb``),
turns votes into radii (`certify_counts`, `renyi_sup`, `clopper_pearson`, `anytime`) and does both for a torch model
(`SmoothedClassifier`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rsmooth.bounds import renyi_sup
from rsmooth.certificates.topclass import Certificates, certify_counts
from rsmooth.certificates.topk import TopKCertificates, certify_topk
from rsmooth.confidence import anytime, clopper_pearson
from rsmooth.mechanisms import Exponential, Gaussian, Laplace, Mechanism, Profile, Uniform
from rsmooth.noise import build_info, sample_gaussian, sample_laplace, sample_linf

if TYPE_CHECKING:
    from rsmooth.torch.classifier import SmoothedClassifier
    from rsmooth.torch.prefetch import prefetch_noise

__all__ = [
    "Certificates",
    "Exponential",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "Profile",
    "TopKCertificates",
    "Uniform",
    "anytime",
    "build_info",
    "certify_counts",
    "certify_topk",
    "clopper_pearson",
    "renyi_sup",
    "sample_gaussian",
    "sample_laplace",
    "sample_linf",
]

# These need torch, which everything else here does without: they are imported when they are asked for.
if TYPE_CHECKING or find_spec("torch") is not None:
    __all__ += ["SmoothedClassifier", "prefetch_noise"]

__version__: str = build_info()["version"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "prefetch_noise":
            from rsmooth.torch.prefetch import prefetch_noise  # noqa: PLC0415

            return prefetch_noise
        if name == "SmoothedClassifier":
            from rsmooth.torch.classifier import SmoothedClassifier  # noqa: PLC0415

            return SmoothedClassifier
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
