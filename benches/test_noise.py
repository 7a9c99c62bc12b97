"""The samplers beside the memory's own speed and beside what a user would write instead.

100 MB of float32, larger than the caches, under a fresh seed for each round, into the same kind of buffer for all.
"Fill" writes a constant into it.
"""

import itertools

import numpy as np
import pytest
import torch

import rsmooth
from ratios import ratio

DIMS = [3072, 150_528]
BYTES = 100 * 2**20
SEEDS = itertools.count()

SIGMA = 0.25

# Exact noise counts steps of 1 / GRID, the grid of 8-bit images.
GRID = 255


def buffer(dim):
    """Return what a training loop has, a tensor: its memory starts at a cache line, NumPy's own mostly does not."""
    return torch.zeros(BYTES // 4 // dim, dim)


def gamma(rows, dim):
    return torch.from_numpy(np.random.default_rng(next(SEEDS)).gamma(dim + 1, SIGMA, (rows, 1)).astype(np.float32))


def ours(sampler, threads=None):
    return lambda out: lambda: sampler(out.shape, SIGMA, seed=next(SEEDS), out=out, threads=threads)


def fill(out):
    return lambda: out.fill_(SIGMA)


def torch_linf(out):
    return lambda: out.uniform_(-1, 1).mul_(gamma(*out.shape))


def rs4a_linf(out):
    """The expression of the reference code of Yang et al. 2020 for this law: (2 rand - 1) times a Gamma radius."""
    return lambda: (2 * torch.rand(out.shape) - 1) * gamma(*out.shape)


def numpy_linf(out):
    array = out.numpy()

    def draw():
        generator = np.random.default_rng(next(SEEDS))
        generator.random(out=array, dtype=np.float32)
        array.__imul__(2).__isub__(1).__imul__(gamma(*out.shape).numpy())

    return draw


def torch_normal(out):
    return lambda: out.normal_(0, SIGMA)


def numpy_normal(out):
    array = out.numpy()
    return lambda: np.random.default_rng(next(SEEDS)).standard_normal(out=array, dtype=np.float32)


def perturb(out):
    x = torch.rand(1, out.shape[1])
    return lambda: rsmooth.Gaussian(SIGMA).perturb(x, copies=len(out), seed=next(SEEDS), out=out[None])


def perturb_linf(out):
    x = torch.rand(1, out.shape[1])
    return lambda: rsmooth.Exponential(SIGMA).perturb(x, copies=len(out), seed=next(SEEDS), out=out[None])


def exact(mechanism):
    """Integers of the exact law in the narrowest type, as many as there are floats in the buffer."""

    def make(out):
        integers = np.zeros(tuple(out.shape), mechanism.sample((0, out.shape[1]), grid=GRID).dtype)
        return lambda: mechanism.sample(integers.shape, seed=next(SEEDS), grid=GRID, out=integers)

    return make


def perturb_exact(out):
    x = torch.randint(0, 256, (1, out.shape[1]), dtype=torch.uint8)
    return lambda: rsmooth.Gaussian(SIGMA).perturb(x, copies=len(out), seed=next(SEEDS), grid=GRID, out=out[None])


def copy(out):
    x = torch.rand(out.shape[1])
    return lambda: out.copy_(x)


CASES = {
    "fill": fill,
    "sample_linf": ours(rsmooth.sample_linf),
    "sample_linf, 1 thread": ours(rsmooth.sample_linf, threads=1),
    "torch uniform_.mul_": torch_linf,
    "rs4a": rs4a_linf,
    "numpy random(out=)": numpy_linf,
    "fill again": fill,
    "sample_gaussian": ours(rsmooth.sample_gaussian),
    "sample_gaussian, 1 thread": ours(rsmooth.sample_gaussian, threads=1),
    "torch normal_": torch_normal,
    "numpy standard_normal(out=)": numpy_normal,
    "sample_laplace": ours(rsmooth.sample_laplace),
    "copy": copy,
    "Exponential.perturb": perturb_linf,
    "Gaussian.perturb": perturb,
    "Gaussian.sample(grid=)": exact(rsmooth.Gaussian(SIGMA)),
    "Laplace.sample(grid=)": exact(rsmooth.Laplace(SIGMA)),
    "Exponential.sample(grid=)": exact(rsmooth.Exponential(0.01)),
    "Gaussian.perturb(grid=)": perturb_exact,
}

AIMS = [
    ("sample_linf", "fill", 0.9),
    ("sample_linf", "torch uniform_.mul_", 20),
    ("sample_linf", "rs4a", 30),
    ("sample_linf", "numpy random(out=)", 0),
    ("sample_linf", "sample_linf, 1 thread", 1.6),
    ("sample_gaussian", "fill again", 0.5),
    ("Gaussian.sample(grid=)", "sample_gaussian", 1),
    ("Laplace.sample(grid=)", "sample_laplace", 1),
    ("Exponential.sample(grid=)", "sample_linf", 0.9),
    ("Gaussian.perturb(grid=)", "Gaussian.perturb", 1),
    ("sample_gaussian", "torch normal_", 8),
    ("sample_gaussian", "numpy standard_normal(out=)", 15),
    ("sample_gaussian", "sample_gaussian, 1 thread", 1.6),
    ("sample_laplace", "fill again", 0),
    ("Exponential.perturb", "copy", 0.8),
    ("Gaussian.perturb", "copy", 0),
]

for d in DIMS:
    for name, other, aim in AIMS:
        ratio(f"{name}, d = {d}", other, ours=(name, d), theirs=(other, d), at_least=aim)


# One CIFAR-10 image, as small calls come: an int for a seed, the draw named by its number.
IMAGE = torch.rand(1, 3, 32, 32)
ONE = torch.empty_like(IMAGE)
SMALL = {
    "torch.randn_like": lambda: torch.randn_like(IMAGE),
    "x + sigma * torch.randn_like": lambda: IMAGE + SIGMA * torch.randn_like(IMAGE),
    "sample_gaussian": lambda: rsmooth.sample_gaussian(IMAGE.shape, SIGMA, seed=1, first=7, out=ONE),
    "sample_laplace": lambda: rsmooth.sample_laplace(IMAGE.shape, SIGMA, seed=1, first=7, out=ONE),
    "sample_linf": lambda: rsmooth.sample_linf(IMAGE.shape, SIGMA, seed=1, first=7, out=ONE),
    "Gaussian.perturb": lambda: rsmooth.Gaussian(SIGMA).perturb(IMAGE, seed=1, first=7),
}

for name in ("sample_gaussian", "sample_laplace", "sample_linf"):
    ratio(f"{name}, one image", "torch.randn_like", ours=(name, 1), theirs=("torch.randn_like", 1), at_least=1)
ratio(
    "Gaussian.perturb, one image",
    "x + sigma * torch.randn_like",
    ours=("Gaussian.perturb", 1),
    theirs=("x + sigma * torch.randn_like", 1),
    at_least=1,
)


@pytest.mark.parametrize("name", SMALL)
def test_one_image(timed, name):
    call = SMALL[name]

    def calls():
        for _ in range(1000):
            call()

    timed((name, 1), calls)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", CASES)
def test_noise(timed, name, dim):
    timed((name, dim), CASES[name](buffer(dim)))
