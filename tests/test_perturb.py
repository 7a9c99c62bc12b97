"""Noisy copies: which draw each input gets, layouts, gradients, devices, mechanisms of one's own."""

import itertools

import numpy as np
import pytest
import torch

from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile

BUILT_IN = [Gaussian(0.25), Exponential(0.02), Laplace(0.25)]


class Counting(Mechanism):
    """Noise that names its draw and coordinate: draw number + coordinate / 1000."""

    name = "counting"

    def sample(self, shape, *, seed=None, first=0, dtype="float32", out=None, threads=None):  # noqa: ARG002
        sizes = tuple(shape)
        coordinates = np.arange(int(np.prod(sizes[1:]))).reshape(sizes[1:]) / 1000
        draws = first + np.arange(sizes[0], dtype=np.float64)
        return (draws.reshape(-1, *(1,) * (len(sizes) - 1)) + coordinates).astype(dtype)

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile()


@pytest.mark.parametrize("mechanism", [*BUILT_IN, Counting()], ids=lambda each: each.name)
@pytest.mark.parametrize("copies", [None, 1, 3])
@pytest.mark.parametrize("single", [(), (5,), (17,), (3, 4, 4), (700,)])
def test_each_input_gets_the_draws_that_it_names(mechanism, copies, single):
    x = np.random.default_rng(0).random((6, *single)).astype(np.float32)
    each = copies or 1
    z = mechanism.sample((100, *single), seed=4)
    firsts = [40, 7, 8, 9, 90, 40]
    for first, numbers in ((11, 11 + each * np.arange(6)), (firsts, firsts)):
        noisy = mechanism.perturb(x, copies=copies, seed=4, first=first)
        assert noisy.shape == ((6, *single) if copies is None else (6, copies, *single))
        noisy = noisy.reshape(6, each, *single)
        for i, j in itertools.product(range(6), range(each)):
            assert np.array_equal(noisy[i, j], x[i] + z[numbers[i] + j])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("rows", "dim", "copies"), [(4000, 70, 1), (900, 3, 200), (3, 3072, 100), (5, 70_001, 2)])
def test_numbers_for_each_input_are_drawn_whatever_the_threads(threads, rows, dim, copies):
    x = np.random.default_rng(0).random((rows, dim)).astype(np.float32)
    order = np.random.default_rng(1).permutation(rows)
    for mechanism in BUILT_IN:
        plain = mechanism.perturb(x, copies=copies, seed=2, first=5, threads=1)
        shuffled = mechanism.perturb(x[order], copies=copies, seed=2, first=5 + order * copies, threads=threads)
        assert np.array_equal(shuffled, plain[order])


def test_numbers_may_be_tensors_and_as_large_as_streams_are():
    x = np.zeros((2, 40), np.float32)
    plain = Gaussian(1).perturb(x, seed=1, first=2**64 - 2)
    assert np.array_equal(plain, Gaussian(1).perturb(x, seed=1, first=np.array([2**64 - 2, 2**64 - 1], np.uint64)))
    assert np.array_equal(plain[::-1], Gaussian(1).perturb(x, seed=1, first=[2**64 - 1, 2**64 - 2]))
    ids = torch.tensor([12, 3])
    assert np.array_equal(Gaussian(1).perturb(x, seed=1, first=ids), Gaussian(1).perturb(x, seed=1, first=[12, 3]))


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
    "sliced": lambda x: torch.cat([x, x], dim=3)[..., :5],
    "every other": lambda x: torch.cat([x, x], dim=0).reshape(2, -1, 3, 4, 5).transpose(0, 1).flatten(0, 1)[::2],
    "batch last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
}


@pytest.mark.parametrize("mechanism", [*BUILT_IN, Counting()], ids=lambda each: each.name)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("copies", [None, 2])
def test_strides_change_neither_draws_nor_values(mechanism, layout, copies):
    plain = torch.rand(6, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    x = LAYOUTS[layout](plain)
    assert torch.equal(x, plain)
    assert not x.is_contiguous()
    settings = {"copies": copies, "seed": 1, "first": [5, 3, 9, 30, 12, 0]}
    expected = mechanism.perturb(plain, **settings)
    assert torch.equal(mechanism.perturb(x, **settings), expected)
    assert np.array_equal(mechanism.perturb(x.numpy(), **settings), expected.numpy())
    out = torch.empty(expected.shape[::-1]).permute(*range(expected.ndim)[::-1])
    assert mechanism.perturb(x, out=out, **settings) is out
    assert torch.equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_memory_format_is_kept(dtype):
    x = torch.rand(6, 3, 4, 5).to(dtype=dtype, memory_format=torch.channels_last)
    assert Gaussian(1).perturb(x).is_contiguous(memory_format=torch.channels_last)
    assert Gaussian(1).perturb(x, copies=4).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    deep = torch.rand(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert Gaussian(1).perturb(deep).is_contiguous(memory_format=torch.channels_last_3d)
    assert Gaussian(1).perturb(torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)).is_contiguous()


@pytest.mark.parametrize("mechanism", [*BUILT_IN, Counting()], ids=lambda each: each.name)
@pytest.mark.parametrize("copies", [None, 3])
def test_gradients_pass_and_sum_over_copies(mechanism, copies):
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    noisy = mechanism.perturb(x, copies=copies, seed=1, first=[4, 9])
    assert noisy.requires_grad
    assert torch.equal(noisy.detach(), mechanism.perturb(x.detach(), copies=copies, seed=1, first=[4, 9]))
    weight = torch.rand(noisy.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((noisy**2 * weight).sum(), x)
    expected = 2 * noisy.detach() * weight
    assert torch.allclose(gradient, expected if copies is None else expected.sum(dim=1))
    with torch.no_grad():
        assert not mechanism.perturb(x, copies=copies, seed=1).requires_grad
    assert not mechanism.perturb(x.detach(), copies=copies, seed=1).requires_grad
    assert torch.autograd.gradgradcheck(lambda x: mechanism.perturb(x, copies=copies, seed=1) ** 3, (x,))
    with pytest.raises(ValueError, match="out must be None where x requires a gradient"):
        mechanism.perturb(x, out=torch.empty(2, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mechanism_of_ones_own_rounds_the_sum_once(dtype):
    x = torch.rand(3, 8).to(dtype)
    z = torch.from_numpy(Counting().sample((3, 8)))
    assert torch.equal(Counting().perturb(x), (x.float() + z).to(dtype))
    out = torch.empty(3, 8, dtype=dtype)
    assert Counting().perturb(x, out=out) is out
    assert torch.equal(out, (x.float() + z).to(dtype))


def test_a_subclass_draws_its_own_noise():
    class Shifted(Gaussian):
        def sample(self, shape, **settings):
            return super().sample(shape, **settings) + 100

    x = np.zeros((2, 40), np.float32)
    assert np.array_equal(Shifted(1).perturb(x, seed=1), 100 + Gaussian(1).perturb(x, seed=1))


def test_noise_of_another_shape_is_refused():
    class Short(Counting):
        def sample(self, shape, **settings):
            return super().sample((shape[0] - 1, *shape[1:]), **settings)

    with pytest.raises(ValueError, match=r"must draw noise of shape \(2, 3\), got \(1, 3\)"):
        Short().perturb(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_no_inputs_have_no_copies(shape):
    for mechanism in (Gaussian(1), Counting()):
        assert mechanism.perturb(np.empty(shape, np.float32), first=[0] * shape[0]).shape == shape
        assert mechanism.perturb(np.empty(shape, np.float32), copies=2).shape == (shape[0], 2, shape[1])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_noise_on_a_gpu_is_that_on_the_host(dtype):
    x = torch.rand(6, 3, 4, 5).to(dtype=dtype, memory_format=torch.channels_last)
    settings = {"copies": 2, "seed": 1, "first": [5, 3, 9, 30, 12, 0]}
    host, device = Exponential(0.1).perturb(x, **settings), Exponential(0.1).perturb(x.cuda(), **settings)
    assert torch.equal(host, device.cpu())
    assert device.stride() == host.stride()
