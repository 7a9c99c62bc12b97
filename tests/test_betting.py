"""Betting scores: certificates are those of the scores at hand, and wrong at most alpha of the time."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Gaussian, SmoothedClassifier
from rsmooth.certificates.betting import BettingScoreCertificates, BettingScores, certify_scores
from rsmooth.certificates.fullinformation import FullInformation
from rsmooth.certificates.kind import Form
from rsmooth.certificates.means import mean_bound
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


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_certificates_are_those_of_the_scores_to_the_bit(runner_up):
    rng = np.random.default_rng(0)
    kept = units_of(rng.dirichlet([6, 2, 1, 1], size=(20, 600)) * 0.999)
    rule = replace(RULE, alpha=0.01, runner_up=runner_up)
    found = BettingScores().certify(kept[:, :100].copy(), kept[:, 100:], rule, n=500)
    selected = kept[:, :100, :-1].sum(axis=1, dtype=np.int64).argmax(axis=1)
    settings = {"norm": 2, "dim": 1, "alpha": 0.01, "runner_up": runner_up}
    expected = certify_scores(kept[:, 100:, :-1] / 65535, selected, Gaussian(0.5), **settings)
    for name in ("prediction", "radius", "p1", "p2"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
    assert (found.radius > 0).all()
    # Two bounds share alpha, one has it all.
    level = 0.005 if runner_up == "second" else 0.01
    p1 = [float(mean_bound(row[100:, top] / 65535, level)) for row, top in zip(kept, selected, strict=True)]
    assert found.p1 == pytest.approx(p1, abs=1e-12)
    assert (found.p1 <= p1).all()


@pytest.mark.parametrize("noise_error", [0.0, 0.1])
def test_a_certificate_is_wrong_at_most_alpha_of_the_time(noise_error):
    """Two scores of equal means under the mechanism's law; draws of another as far from it as is paid for."""
    trials, n, alpha = 1000, 300, 0.2
    rng = np.random.default_rng(1)
    units = np.zeros((trials, n + 20, 3), np.int64)
    high = rng.random((trials, n + 20)) < 0.5
    units[..., 0] = np.where(high, 45_000, 20_000)
    units[..., 1], units[..., 2] = 65_000 - units[..., 0], 535
    # The noise that is drawn shows the first class alone now and then.
    units[rng.random((trials, n + 20)) < noise_error] = [65_535, 0, 0]
    selection = np.broadcast_to([[[65_535, 0, 0]]], (trials, 20, 3)).copy()
    rule = replace(RULE, alpha=alpha, noise_error=noise_error)
    found = BettingScores().certify(selection, units[:, 20:], rule)
    mean, most = 32_500 / 65_535, stats.binom.isf(1e-6, trials, alpha)
    missed = (found.p1 > mean) | (found.p2 < mean)
    assert missed[found.radius > 0].all()
    assert missed.sum() <= most
    # The test can tell: what is not paid, or a mean that is taken as it comes, is wrong more often.
    if noise_error:
        unpaid = BettingScores().certify(selection, units[:, 20:], replace(rule, noise_error=0.0))
        assert ((unpaid.p1 > mean) | (unpaid.p2 < mean)).sum() > most
    assert (units[:, 20:, 0].mean(axis=1) > units[:, 20:, 1].mean(axis=1)).sum() > most


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_what_the_noise_costs_is_taken_off_p1_and_added_to_p2(runner_up):
    kept = units_of(np.random.default_rng(2).dirichlet([9, 2, 1], size=(5, 400)))
    rules = [replace(RULE, runner_up=runner_up, noise_error=error) for error in (0.0, 0.01, 1e-13)]
    free, paid, little = (BettingScores().certify(kept[:, :50].copy(), kept[:, 50:], rule) for rule in rules)
    assert paid.p1 == pytest.approx(free.p1 - 0.01, abs=1e-15)
    assert (little.p1 < free.p1).all()
    if runner_up == "second":
        assert paid.p2 == pytest.approx(np.minimum(free.p2 + 0.01, 1 - paid.p1), abs=1e-15)
        assert (little.p2 > free.p2).all()
    assert (paid.p2 <= np.nextafter(1 - paid.p1, 2)).all()
    assert (paid.radius < free.radius).all()


def test_radii_of_a_network_are_larger_than_by_sums_of_its_scores(trained):
    data = load_data("digits")
    images = torch.stack([data[i][0] for i in range(12)])
    smoothed = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16)
    settings = {"n0": 100, "n": 1000, "norm": 2, "seed": 0}
    betting, full, sums = (
        smoothed.certify(images, kind=kind("logits"), **settings)
        for kind in (BettingScores, FullInformation, SoftScores)
    )
    assert isinstance(betting, BettingScoreCertificates)
    assert (betting.kind, betting.interval, betting.exact) == ("betting-scores", "betting", True)
    assert betting.noise_error > 0
    assert betting.draws.tolist() == [1100] * 12
    # The same scores as both others count.
    assert (betting.counts == full.counts).all()
    assert (betting.counts.sum(axis=1, dtype=np.int64) == sums.counts[:, 0]).all()
    assert (betting.radius >= sums.radius).all()
    assert betting.radius.mean() > 1.02 * sums.radius.mean() > 0
    both = (betting.radius > 0) & (sums.radius > 0)
    assert (betting.prediction[both] == sums.prediction[both]).all()
    # What one counted certifies the other.
    again = BettingScores().certify(full.selection, full.counts, replace(full.rule, runner_up="complement"))
    assert (again.radius == betting.under(runner_up="complement").radius).all()


def test_certificates_are_saved_and_certified_anew(tmp_path):
    smoothed = SmoothedClassifier(lambda x: 4 * x, Gaussian(0.25), num_classes=2)
    x = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    found = smoothed.certify(x, kind=BettingScores("logits"), n0=100, n=1000, norm=2, seed=0)
    assert found.prediction.tolist() == [1, -1]
    assert found.radius[1] == 0
    found.save(tmp_path / "found.npz")
    read = BettingScoreCertificates.load(tmp_path / "found.npz")
    assert read.radius.tolist() == found.radius.tolist()
    assert read.under(alpha=0.1).radius[0] > found.radius[0]
    # What is forged is found, and other norms and bounds are of the same counts.
    forged = replace(found, p1=np.minimum(found.p1 + 0.01, 1))
    assert forged.difference(forged.under()) is not None
    forged.save(tmp_path / "forged.npz")
    with pytest.raises(ValueError, match=r"p1 must be .*, as the counts give it, got"):
        BettingScoreCertificates.load(tmp_path / "forged.npz")
    for changes in ({"norm": np.inf}, {"bound": "renyi"}, {"norm": 1, "bound": "pixeldp"}, {"alpha": 0.1, "norm": 1}):
        again = found.under(**changes)
        anew = BettingScores().certify(found.selection, found.counts, replace(found.rule, **changes))
        for name in ("prediction", "radius", "p1", "p2"):
            assert getattr(again, name).tolist() == getattr(anew, name).tolist()
        assert again.rule == anew.rule
        # Where one bound certifies nothing, the class is still there for another.
        assert again.under(norm=2, bound="tightest", alpha=0.001).radius.tolist() == found.radius.tolist()
    with pytest.raises(ValueError, match='interval must be "betting" for betting scores'):
        read.under(interval="empirical-bernstein")


def test_the_class_is_the_one_that_separate_draws_select():
    kept = units_of(np.random.default_rng(3).dirichlet([9, 2, 1], size=(2, 300)))
    other = kept[..., [1, 0, 2, 3]]
    for kind in (BettingScores(), FullInformation()):
        assert kind.certify(kept.copy(), kept, RULE).prediction.tolist() == [0, 0]
        assert kind.certify(other.copy(), kept, RULE).prediction.tolist() == [-1, -1]


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_few_draws_certify_nothing_and_are_no_error(draws):
    kept = units_of(np.full((1, draws, 2), [0.9, 0.1]))
    for kind in (BettingScores(), FullInformation()):
        found = kind.certify(kept.copy(), kept, RULE, n=draws)
        assert found.prediction.tolist() == [-1]


KEPT = units_of(np.random.default_rng(0).dirichlet([3, 1], size=(2, 60)))


@pytest.mark.parametrize(
    ("selection", "tally", "changes", "n", "message"),
    [
        (None, KEPT, {}, 60, "selection must be scores of separate draws for betting scores, got None"),
        (KEPT, KEPT, {}, 60, "selection must be of separate draws"),
        (KEPT.copy(), KEPT, {}, 59, "counts[0] must be the scores of 59 draws, got those of 60"),
        (KEPT.copy(), KEPT.view(StoppedCounts), {}, 60, "draws that were stopped by their votes"),
        (KEPT.copy(), KEPT[:, :, :1], {}, 60, "counts must have the shape (N, n, K + 1) with K of at least 2"),
        (KEPT.copy(), KEPT, {"interval": "clopper-pearson"}, 60, 'interval must be "betting" for betting scores'),
    ],
)
def test_bad_input_is_refused_by_name(selection, tally, changes, n, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BettingScores().certify(selection, tally, replace(RULE, **changes), n=n)


def test_it_is_checked_before_anything_is_drawn():
    with pytest.raises(ValueError, match="bound must be"):
        BettingScores().check(replace(RULE, bound="pure-dp"), Form(3))
    BettingScores().check(replace(RULE, bound="hockey-stick"), Form(3))
