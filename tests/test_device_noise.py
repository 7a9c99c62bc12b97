"""Noise that torch draws: its laws, its addressing, and what is refused.

Only GPUs have generators fit for it. These tests let it run on the CPU, whose generators are good enough for tests.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile
from rsmooth.torch import device
from rsmooth.torch.device import BLOCK, LAWS, DeviceNoise
from rsmooth.torch.draws import Draws
from rsmooth.torch.voter import Voter

CPU = torch.device("cpu")
KEY = np.random.SeedSequence(7)

# Chance that one of these tests fails without an error, all seeds being fixed.
FALSE_ALARM = 1e-6


@pytest.fixture(autouse=True)
def _any_device(monkeypatch):
    monkeypatch.setattr(device, "GENERATORS", {"cuda", "cpu"})


def drawn(mechanism, count, shape, *, first=0, key=KEY, example=None):
    example = torch.zeros(shape) if example is None else example
    return DeviceNoise(mechanism, CPU).noisy(Draws(example, key, first, count, "x", 0))


MECHANISMS = [Gaussian(0.25), Laplace(0.25), Exponential(0.05)]


def coordinate_law(mechanism, dim):
    """The distribution function of one coordinate; of the Exponential mechanism's, by quadrature over R."""
    if mechanism.name == "gaussian":
        return stats.norm(scale=mechanism.sigma).cdf
    if mechanism.name == "laplace":
        return stats.laplace(scale=mechanism.scale).cdf
    radii = stats.gamma(dim + 1, scale=mechanism.sigma).ppf((np.arange(20_000) + 0.5) / 20_000)
    return lambda z: np.array([(np.clip(each / radii, -1, 1).mean() + 1) / 2 for each in np.atleast_1d(z)])


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
@pytest.mark.parametrize("dim", [1, 3])
def test_coordinates_have_the_law(mechanism, dim):
    z = drawn(mechanism, 3000, (dim,)).numpy().astype(np.float64)
    for coordinate in range(dim):
        assert stats.kstest(z[:, coordinate], coordinate_law(mechanism, dim)).pvalue > FALSE_ALARM


@pytest.mark.parametrize("dim", [1, 2, 5, 60])
def test_exponential_noise_has_gamma_distributed_norms(dim):
    """‖z‖∞ ~ Gamma(d, sigma): R ~ Gamma(d + 1), not Gamma(d), whose norms are too short."""
    norms = drawn(Exponential(0.05), 20_000, (dim,)).abs().amax(dim=1).numpy()
    assert stats.kstest(norms, stats.gamma(dim, scale=0.05).cdf).pvalue > FALSE_ALARM
    # The test tells the shapes apart.
    short = norms * np.random.default_rng(0).beta(dim, 1, len(norms))
    assert stats.kstest(short, stats.gamma(dim, scale=0.05).cdf).pvalue < FALSE_ALARM


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_mean_and_variance_are_those_of_the_hosts_noise(mechanism):
    shape, draws = (2, 3, 3), 4000
    z = drawn(mechanism, draws, shape).flatten(1).double().numpy()
    dim = z.shape[1]
    variance = {"gaussian": 0.25**2, "laplace": 2 * 0.25**2, "exponential": 0.05**2 * (dim + 1) * (dim + 2) / 3}
    square = (z**2).mean(axis=1)
    error = square.std() / np.sqrt(draws)
    assert abs(square.mean() - variance[mechanism.name]) < stats.norm.isf(FALSE_ALARM / 2) * error
    # Each coordinate's mean, and two coordinates' product, are 0.
    for sample in (*z.T, z[:, 0] * z[:, 1]):
        assert abs(sample.mean()) < stats.norm.isf(FALSE_ALARM / 40) * sample.std() / np.sqrt(draws)
    host = mechanism.sample((draws, *shape), seed=1).reshape(draws, dim)
    assert stats.ks_2samp(z[:, 0], host[:, 0]).pvalue > FALSE_ALARM


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_a_draw_is_named_by_its_number(mechanism):
    whole = drawn(mechanism, 5 * BLOCK, (4, 2))
    for first, count in ((0, 1), (3, 5), (BLOCK - 1, 2), (BLOCK, BLOCK), (7, 3 * BLOCK), (5 * BLOCK - 1, 1)):
        assert torch.equal(drawn(mechanism, count, (4, 2), first=first), whole[first : first + count])
    # No two draws, blocks or streams are alike.
    assert len(torch.unique(whole.flatten(1), dim=0)) == 5 * BLOCK
    assert not torch.equal(whole, drawn(mechanism, 5 * BLOCK, (4, 2), key=np.random.SeedSequence(8)))


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_the_image_is_added(mechanism):
    image = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    noise = drawn(mechanism, 20, (4, 2), first=3)
    assert torch.equal(drawn(mechanism, 20, (4, 2), first=3, example=image), image + noise)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_votes_are_of_the_same_law_as_on_the_host(mechanism):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 4))
        model[1].bias.copy_(torch.tensor([-1.9, 1.9]))
    image, n = torch.full((1, 2, 2), 0.5), 4000
    counts = {}
    for noise in ("host", "device"):
        voter = Voter(model, mechanism, 2, noise=noise)
        batches = [[Draws(image, KEY, first, 160, "x", 0)] for first in range(0, n, 160)]
        counts[noise] = np.bincount(np.concatenate([votes for _, votes in voter.votes(batches, size=160)]), minlength=2)
    assert stats.fisher_exact([counts["host"], counts["device"]]).pvalue > FALSE_ALARM
    assert 0.5 < counts["device"][0] / n < 0.95


class Twice(Mechanism):
    """A mechanism of one's own."""

    name = "twice"

    def sample(self, shape, *, seed=None, first=0, dtype="float32", out=None, threads=None):  # noqa: ARG002
        return np.zeros(shape, dtype)

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile()


def test_a_mechanism_without_a_device_law_is_refused():
    """It was given the Exponential's."""

    class Gaussian2(Gaussian):
        pass

    class Named(Twice):
        name = "exponential"

    for mechanism in (Twice(), Named(), Gaussian2(1)):
        with pytest.raises(
            ValueError, match=r'noise must be "host" for .*: torch draws gaussian, laplace, exponential'
        ):
            Voter(torch.nn.Identity(), mechanism, 2, noise="device")
    assert sorted(LAWS) == ["exponential", "gaussian", "laplace"]


def test_devices_whose_generators_are_too_small_are_refused(monkeypatch):
    monkeypatch.setattr(device, "GENERATORS", {"cuda"})
    with pytest.raises(ValueError, match='noise must be "host" where the model is on a cpu device, got "device"'):
        Voter(torch.nn.Identity(), Gaussian(1), 2, noise="device")
