"""What a type checker must make of a user's code: mypy and pyright read this file, nothing runs it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import assert_type

import rsmooth
from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile, SmoothedClassifier, Uniform
from rsmooth.certificates.splitting import Splitting
from rsmooth.training.loop import train
from rsmooth.training.recipes.noisy import Noisy
from rsmooth.training.settings import Training

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rsmooth.rule import Bound
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model


def samplers(out: npt.NDArray[np.float64], tensor: torch.Tensor) -> None:
    assert_type(rsmooth.sample_linf((4, 3), 0.1), "npt.NDArray[np.float32]")
    assert_type(rsmooth.sample_gaussian(4, sigma=0.1, seed=1, dtype="float64"), "npt.NDArray[Any]")
    assert_type(rsmooth.sample_laplace([4, 3], scale=0.1, out=out), "npt.NDArray[np.float64]")
    assert_type(rsmooth.sample_linf((4, 3), 0.1, out=tensor, threads=1), torch.Tensor)


def draws(mechanism: Gaussian, out: torch.Tensor, grid: int | None) -> None:
    assert_type(mechanism.sample((4, 3)), "npt.NDArray[np.float32]")
    assert_type(mechanism.sample((4, 3), dtype="float64"), "npt.NDArray[Any]")
    assert_type(mechanism.sample((4, 3), grid=255), "npt.NDArray[np.signedinteger[Any]]")
    assert_type(mechanism.sample((4, 3), grid=grid), "npt.NDArray[Any]")
    assert_type(mechanism.sample((4, 3), out=out), torch.Tensor)


def copies(mechanism: Mechanism, tensor: torch.Tensor, half: npt.NDArray[np.float16]) -> None:
    assert_type(mechanism.perturb(half, copies=2, seed=1), "npt.NDArray[np.float16]")
    assert_type(mechanism.perturb(tensor, first=[3, 1, 2]), torch.Tensor)
    assert_type(mechanism.perturb(half, out=tensor), torch.Tensor)
    assert_type(mechanism.perturb(np.zeros((2, 3), np.uint8), grid=255), "npt.NDArray[np.float32]")
    assert_type(mechanism.perturb(half, grid=255), "npt.NDArray[np.float16]")
    mechanism.perturb(np.zeros((2, 3), np.uint8))  # type: ignore[type-var]  # Integers need a grid.


def certificates(counts: Sequence[Sequence[int]], bounds: tuple[Bound, ...], own: Mechanism) -> None:
    for mechanism in (Gaussian(0.5), Exponential(0.1), Laplace(scale=0.1), Uniform(0.5), own):
        for bound in (*bounds, *mechanism.holding(2)):
            found = rsmooth.certify_counts(counts, mechanism, norm=math.inf, dim=64, bound=bound)
            assert_type(found, rsmooth.Certificates)
            assert_type(found.radius, "npt.NDArray[np.float64]")
            rsmooth.certify_counts(counts, mechanism, norm=2, dim=64, bound=found.bound, runner_up=found.runner_up)
    rsmooth.certify_counts(counts, Gaussian(0.5), norm=2, dim=64, bound="tighest")  # type: ignore[arg-type]
    rsmooth.certify_counts(counts, 0.5, norm=2, dim=64)  # type: ignore[arg-type]
    rsmooth.certify_count(counts)  # type: ignore[attr-defined]
    assert_type(Exponential.scale_for(0.01, 4.0, norm=math.inf, dim=3072), Exponential)
    assert_type(rsmooth.certify_topk(counts, [0], own, k=1, norm=2, dim=64), rsmooth.TopKCertificates)


def classifiers(model: torch.nn.Module, images: torch.Tensor) -> None:
    smoothed = SmoothedClassifier(model, Gaussian(0.25), num_classes=10)
    assert_type(smoothed.predict(images), "npt.NDArray[np.int64]")
    assert_type(smoothed.certify(images, norm=2, until=(0, 0.25)), rsmooth.Certificates)
    smoothed.certify(images, norm=2, runner_up="third")  # type: ignore[arg-type]
    split = SmoothedClassifier(model, Uniform(0.5), num_classes=10, grid=255)
    assert_type(split.certify(images, kind=Splitting(), norm=1), rsmooth.Certificates)


def trainings(model: Model, data: Data) -> None:
    train(model, data, Gaussian(0.25), Training(epochs=1), recipe=Noisy(), seed=0)
    train(model, data, Gaussian(0.25), Training(epochs=1), recipe="noisy", seed=0)  # type: ignore[arg-type]


class Logistic(Mechanism):
    """A mechanism of a user's own, with every type written down."""

    name = "logistic"

    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Any = None,
        first: int = 0,
        dtype: npt.DTypeLike = "float32",
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        return np.random.default_rng(seed).logistic(size=shape).astype(dtype)

    def profile(self, norm: float, dim: int, *, grid: int | None = None) -> Profile:
        def epsilon(r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return r * dim

        return Profile(epsilon=epsilon)


assert_type(Logistic().radius([0.9], [0.1], norm=1, dim=64), "npt.NDArray[np.float64]")
