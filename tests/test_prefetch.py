"""Noise drawn ahead equals noise drawn when asked for."""

import threading

import pytest
import torch

from rsmooth import Exponential, Gaussian, Mechanism
from rsmooth.torch.prefetch import prefetch, prefetch_noise
from rsmooth.training.step import draw_noise

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batches_are_the_stream_in_order(device, dtype):
    whole = Exponential(0.01).sample((700, 100), seed=4, first=5, out=torch.empty(700, 100, dtype=dtype))
    batches = prefetch_noise(Exponential(0.01), (7, 100), 100, seed=4, first=5, dtype=dtype, device=device)
    assert torch.equal(torch.cat([batch.cpu().clone() for batch in batches]), whole)


class Careless(Mechanism):
    """A mechanism that returns arrays of its own, and of its own type."""

    name = "careless"

    def sample(self, shape, *, seed=None, first=0, dtype="float32", **_):
        return Gaussian(0.5).sample(shape, seed=seed, first=first, dtype="float64").astype(dtype)

    def profile(self, norm, dim, *, grid=None):
        return Gaussian(0.5).profile(norm, dim, grid=grid)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_mechanism_that_ignores_the_buffer_is_drawn_all_the_same(dtype):
    exact = torch.from_numpy(Gaussian(0.5).sample((9, 4), seed=4, dtype="float64"))
    batches = prefetch_noise(Careless(), (3, 4), 3, seed=4, dtype=dtype)
    assert torch.equal(torch.cat([batch.clone() for batch in batches]), exact.to(dtype))
    out = torch.full((9, 4), torch.nan)
    draw_noise(Careless(), out, seed=4, first=0, grid=None)
    assert torch.equal(out, exact.float())


def test_noise_of_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(Careless, "sample", lambda _self, shape, **_: Gaussian(1).sample((shape[0], 1)))
    with pytest.raises(ValueError, match=r"must draw noise of shape \(3, 4\), got \(3, 1\)"):
        next(iter(prefetch_noise(Careless(), (3, 4), 1)))


def test_fresh_entropy_is_drawn_once():
    first, second = (batch.clone() for batch in prefetch_noise(Gaussian(1), (3, 5), 2))
    assert not torch.equal(first, second)


def test_parts_of_a_buffer_can_be_batches():
    def fill(i, buffer):
        return buffer[: i + 1].fill_(i)

    shapes = [tuple(b.shape) for _, b in prefetch(fill, range(4), (4, 2), dtype=torch.float32, device="cpu")]
    assert shapes == [(1, 2), (2, 2), (3, 2), (4, 2)]


def test_an_error_of_the_thread_is_raised_where_batches_are_used():
    def fill(i, buffer):
        if i == 2:
            raise RuntimeError("no more")
        return buffer

    batches = prefetch(fill, range(5), (2,), dtype=torch.float32, device="cpu")
    with pytest.raises(RuntimeError, match="no more"):
        for _ in batches:
            pass


def test_leaving_early_ends_the_thread():
    for _ in prefetch_noise(Gaussian(1), (2, 3), 1000, seed=1):
        break
    assert not [thread for thread in threading.enumerate() if thread.name == "rsmooth-prefetch"]


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"batches": -1}, ValueError, "batches must be at least 0, got -1"),
        ({"batches": 1.0}, TypeError, "batches must be an integer, got 1.0"),
        ({"shape": ()}, ValueError, "shape must have at least one axis"),
        ({"first": 2**64 - 3}, ValueError, "first must be between 0 and"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(keywords, error, words):
    given = {"shape": (2, 3), "batches": 2, "seed": 1} | keywords
    with pytest.raises(error) as caught:
        prefetch_noise(Gaussian(1), given.pop("shape"), given.pop("batches"), **given)
    assert words in str(caught.value)
