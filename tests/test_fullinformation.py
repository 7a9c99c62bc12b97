"""Full-information certificates: never wrong where the scores' law is known, and seldom where draws must tell it."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Gaussian, Laplace, Mechanism, Profile, SmoothedClassifier, Uniform
from rsmooth.certificates.fullinformation import FullInformation, FullInformationCertificates
from rsmooth.certificates.kind import Form
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.softscores import SoftScores
from rsmooth.rule import Rule
from rsmooth.zoo.data import load_data

RULE = Rule(Gaussian(0.5), norm=2, dim=1, interval="betting")


def units_of(scores):
    """Return scores (N, n, K) as they are kept."""
    units = np.floor(scores * 65535).astype(np.uint16)
    rest = 65535 - units.sum(axis=2, keepdims=True, dtype=np.int64)
    return np.concatenate([units, rest.astype(np.uint16)], axis=2)


SCORES = {
    "a slope": lambda x: 1 / (1 + np.exp(-3 * x - 1)),
    "a wave": lambda x: 0.6 + 0.3 * np.sin(4 * x),
    "a wave on a slope": lambda x: 1 / (1 + np.exp(-x - 1 - np.cos(5 * x))),
    "nearly constant": lambda x: 0.7 + 0.02 * np.tanh(x),
    "a step": lambda x: np.where(x > -0.4, 0.95, 0.2),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("mechanism", "norm", "law"),
    [(Gaussian(0.5), 2, stats.norm(scale=0.5)), (Laplace(0.5), 1, stats.laplace(scale=0.5))],
)
def test_the_class_keeps_the_highest_mean_within_the_radius(name, mechanism, norm, law):
    """One coordinate, where means after every shift are integrals."""
    score = SCORES[name]
    z = law.rvs(size=(1, 6000), random_state=np.random.default_rng(0))
    kept = units_of(np.stack([score(z), 1 - score(z)], axis=2))
    rule = replace(RULE, mechanism=mechanism, norm=norm)
    found = FullInformation().certify(kept[:, :1000].copy(), kept[:, 1000:], rule, n=5000)
    grid = law.ppf((np.arange(4001) + 0.5) / 4001)
    radius = float(found.radius[0])
    assert radius > 0.02
    means = [score(grid + shift).mean() for shift in np.linspace(-radius, radius, 41)]
    assert min(means) > 0.5
    # Something is made of the scores: no radius is a tenth of where the class is lost, if it is.
    lost = [abs(shift) for shift in np.linspace(-20, 20, 401) if score(grid + shift).mean() < 0.5]
    assert not lost or radius > min(lost) / 10


def test_less_is_certified_than_where_the_class_is_lost_and_more_than_by_means_alone(trained):
    data = load_data("digits")
    images = torch.stack([data[i][0] for i in range(8)])
    smoothed = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16)
    settings = {"n0": 200, "n": 2000, "norm": 2, "seed": 0}
    full, means = (smoothed.certify(images, kind=kind("logits"), **settings) for kind in (FullInformation, SoftScores))
    assert isinstance(full, FullInformationCertificates)
    assert full.exact
    # The same scores.
    assert full.counts.shape == (8, 2000, 11)
    assert (full.counts.sum(axis=1, dtype=np.int64) == means.counts[:, 0]).all()
    assert (full.prediction[full.radius > 0] == means.selection[:, 0, :-1].argmax(axis=1)[full.radius > 0]).all()
    assert full.radius.mean() > 1.05 * means.radius.mean() > 0
    assert full.draws.tolist() == [2200] * 8
    assert (full.order[full.radius > 0] > 1).all()


def test_a_certificate_is_wrong_at_most_alpha_of_the_time():
    """Scores of equal means: every certificate is wrong."""
    trials, alpha = 800, 0.2
    rng = np.random.default_rng(0)
    high = rng.random((trials, 150)) < 0.5
    score = np.where(high, 0.7, 0.3)
    kept = units_of(np.stack([score, 1 - score], axis=2))
    # Of exactly equal means, and the same for both classes.
    kept[..., 0] = np.where(high, 45_000, 20_000)
    kept[..., 1], kept[..., 2] = 65_000 - kept[..., 0], 535
    found = FullInformation().certify(kept[:, :50].copy(), kept[:, 50:], replace(RULE, alpha=alpha))
    wrong = (found.radius > 0).sum()
    assert 0 < wrong <= stats.binom.isf(1e-6, trials, alpha)
    # The test can tell: a mean that is taken as it comes is wrong half of the time.
    assert (score[:, 50:].mean(axis=1) > 0.5).sum() > stats.binom.isf(1e-6, trials, alpha)


def test_radii_are_where_the_divergence_meets_the_budget():
    """A large and a tiny budget, and none: of the Gaussian the divergence is r² / 2σ²."""
    kept, ratios = units_of(np.random.default_rng(1).dirichlet([30, 2, 2], size=(3, 1200))), []
    for sigma in (1e-8, 0.5, 1e6):
        found = FullInformation().certify(kept[:, :200].copy(), kept[:, 200:], replace(RULE, mechanism=Gaussian(sigma)))
        ratios.append(found.radius / sigma)
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-9)
    assert ratios[2] == pytest.approx(ratios[1], rel=1e-9)
    assert (ratios[0] > 1).all()
    paid = FullInformation().certify(kept[:, :200].copy(), kept[:, 200:], replace(RULE, noise_error=0.01))
    plain = FullInformation().certify(kept[:, :200].copy(), kept[:, 200:], RULE)
    assert (paid.radius < plain.radius).all()
    nothing = units_of(np.full((1, 300, 2), 0.5))
    assert FullInformation().certify(nothing[:, :100].copy(), nothing[:, 100:], RULE).prediction.tolist() == [-1]


def test_certificates_are_saved_and_certified_anew(tmp_path):
    smoothed = SmoothedClassifier(lambda x: 4 * x, Gaussian(0.25), num_classes=2)
    x = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    found = smoothed.certify(x, kind=FullInformation("logits"), n0=100, n=1000, norm=2, seed=0)
    assert found.prediction.tolist() == [1, -1]
    found.save(tmp_path / "found.npz")
    read = FullInformationCertificates.load(tmp_path / "found.npz")
    assert read.kind == "full-information"
    assert (read.under(norm=np.inf).radius < found.radius)[0]
    # Parts of the examples and other batches draw the same.
    part = smoothed.certify(
        x[1:], indices=[1], batch_size=7, kind=FullInformation("logits"), n0=100, n=1000, norm=2, seed=0
    )
    assert (part.counts == found.counts[1:]).all()


class Pure(Mechanism):
    name = "own"

    def sample(self, shape, **settings):
        raise NotImplementedError

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile(epsilon=lambda r: r)


KEPT = units_of(np.random.default_rng(0).dirichlet([3, 1], size=(2, 60)))


@pytest.mark.parametrize(
    ("selection", "tally", "changes", "n", "message"),
    [
        (None, KEPT, {}, 60, "selection must be scores of separate draws for full information, got None"),
        (KEPT, KEPT, {}, 60, "selection must be of separate draws"),
        (KEPT[:1].copy(), KEPT, {}, 60, "selection must be of separate draws of (2, 3), got (1, 60, 3)"),
        (KEPT.copy(), KEPT, {}, 59, "counts[0] must be the scores of 59 draws, got those of 60"),
        (KEPT.copy(), KEPT[:, :0], {}, None, "counts[0] must be the scores of some draws, got those of 0"),
        (KEPT.copy(), KEPT.view(StoppedCounts), {}, None, "draws that were stopped by their votes"),
        (KEPT.copy(), np.minimum(KEPT, 60_000) // 2, {}, 60, "counts[0] must be the scores of 60 draws"),
        (
            KEPT.copy(),
            KEPT[:, :, 0],
            {},
            60,
            "counts must have the shape (N, n, K + 1) with K of at least 2, got (2, 60)",
        ),
        (KEPT.copy(), KEPT, {"bound": "neyman-pearson"}, 60, 'bound must be "tightest" or "renyi"'),
        (KEPT.copy(), KEPT, {"runner_up": "complement"}, 60, 'runner_up "second" for full information'),
        (KEPT.copy(), KEPT, {"interval": "empirical-bernstein"}, 60, 'interval must be "betting" for full information'),
        (KEPT.copy(), KEPT, {"mechanism": Pure()}, 60, "mechanism must be one whose divergence D_MR is known, got own"),
        (KEPT.copy(), KEPT, {"mechanism": Uniform(1.0), "norm": 1}, 60, "divergence D_MR is known, got uniform"),
    ],
)
def test_bad_input_is_refused_by_name(selection, tally, changes, n, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FullInformation().certify(selection, tally, replace(RULE, **changes), n=n)


def test_logits_and_small_numbers_of_draws_are_refused_before_much_is_drawn():
    smoothed = SmoothedClassifier(lambda x: 4 * x, Gaussian(0.25), num_classes=2)
    x = torch.tensor([[0.2, 0.8]])
    with pytest.raises(ValueError, match="the model's output is outside"):
        smoothed.certify(x, kind=FullInformation(), n=10, norm=2)
    with pytest.raises(ValueError, match="bound must be"):
        smoothed.certify(x, kind=FullInformation("logits"), n=10, norm=2, bound="neyman-pearson")
    assert FullInformation().tally(2, Form(3, 5)).shape == (2, 5, 4)
