"""Certificates of mean scores: the mean is missed at most alpha of the time, and radii follow from the means."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rsmooth import Gaussian, Uniform, clopper_pearson
from rsmooth.certificates.betting import certify_scores
from rsmooth.certificates.kind import Form
from rsmooth.certificates.means import anytime_mean, mean_bound
from rsmooth.certificates.softscores import SoftScores
from rsmooth.rule import Rule

INTERVALS = ["betting", "empirical-bernstein"]
LAWS = {
    "coin": (lambda rng, shape: (rng.random(shape) < 0.5).astype(float), 0.5),
    "nearly certain": (lambda rng, shape: (rng.random(shape) < 0.97).astype(float), 0.97),
    "rare": (lambda rng, shape: (rng.random(shape) < 0.03).astype(float), 0.03),
    "smooth": (lambda rng, shape: rng.beta(9, 1, shape), 0.9),
    "heavy at both ends": (lambda rng, shape: rng.beta(0.2, 0.3, shape), 0.4),
    "constant": (lambda _, shape: np.full(shape, 0.7), 0.7),
}
TESTS = len(LAWS) * len(INTERVALS) * 2


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize("name", LAWS)
def test_the_mean_is_missed_at_most_alpha_of_the_time(name, side, interval):
    draw, mean = LAWS[name]
    trials, n, alpha = 10_000, 60, 0.1
    bound = mean_bound(draw(np.random.default_rng(len(name)), (trials, n)), alpha, side=side, interval=interval)
    missed = int((bound > mean).sum() if side == "lower" else (bound < mean).sum())
    # The most misses that chance gives with a probability above 1e-6, over all these tests together.
    assert missed <= stats.binom.isf(1e-6 / TESTS, trials, alpha)
    assert ((bound >= 0) & (bound <= 1)).all()


def test_a_level_that_is_too_high_would_miss_more_often():
    """The test above can tell a wrong level from a right one."""
    draw, mean = LAWS["coin"]
    bound = mean_bound(draw(np.random.default_rng(0), (10_000, 60)), 0.9, interval="betting")
    assert (bound > mean).sum() > stats.binom.isf(1e-6, 10_000, 0.1)


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_the_betting_bound_is_where_the_wealth_reaches_one_over_alpha(side):
    """The wealth once more, draw by draw."""
    x = np.random.default_rng(3).beta(3, 1, 200)
    alpha = 0.01
    found = float(mean_bound(x, alpha, side=side))
    x, m = (x, found) if side == "lower" else (1 - x, 1 - found)

    def wealth(m):
        total, sum_x, spread = 1.0, 0.5, 0.25
        for i, value in enumerate(x, start=1):
            stake = min(math.sqrt(2 * math.log(1 / alpha) / (len(x) * spread / i)), 0.75 / m)
            total *= 1 + stake * (value - m)
            sum_x += value
            spread += (value - sum_x / (i + 1)) ** 2
        return total

    assert wealth(m - 1e-7) > 1 / alpha > wealth(m + 1e-7)


def test_betting_is_the_tighter_interval_and_near_the_exact_one_for_votes():
    rng = np.random.default_rng(1)
    smooth = rng.beta(9, 1, (20, 2000))
    assert (mean_bound(smooth, 0.001) > mean_bound(smooth, 0.001, interval="empirical-bernstein")).all()
    votes = (rng.random((20, 2000)) < 0.9).astype(float)
    exact = clopper_pearson(votes.sum(axis=1).astype(int), 2000, 0.001)
    gap = (exact - mean_bound(votes, 0.001)) / (votes.mean(axis=1) - exact)
    assert gap.max() < 0.3
    # Where scores vary little, their means are known better than shares of votes.
    assert (mean_bound(smooth, 0.001) > exact.max()).mean() > 0.5 or smooth.mean() < votes.mean()


def test_radii_are_those_of_the_bounds_on_the_means():
    rng = np.random.default_rng(2)
    scores = rng.dirichlet([6, 2, 1, 1], size=(8, 400))
    found = certify_scores(scores, np.zeros(8, int), Gaussian(0.5), norm=2, dim=10, alpha=0.01)
    p1 = mean_bound(scores[:, :, 0], 0.005)
    p2 = np.max([mean_bound(scores[:, :, i], 0.005, side="upper") for i in (1, 2, 3)], axis=0)
    assert found.p1 == pytest.approx(p1, rel=1e-9)
    assert found.p2 == pytest.approx(np.minimum(p2, 1 - p1), rel=1e-9)
    expected = 0.25 * (stats.norm.ppf(found.p1) - stats.norm.ppf(found.p2))
    assert found.radius == pytest.approx(expected, rel=1e-12)
    complement = certify_scores(
        scores, np.zeros(8, int), Gaussian(0.5), norm=2, dim=10, alpha=0.01, runner_up="complement"
    )
    assert complement.radius == pytest.approx(0.5 * stats.norm.ppf(mean_bound(scores[:, :, 0], 0.01)), rel=1e-8)
    assert certify_scores(scores, np.full(8, 3), Gaussian(0.5), norm=2, dim=10).prediction.tolist() == [-1] * 8


def test_certificates_are_wrong_at_most_alpha_of_the_time():
    alpha, trials = 0.1, 1500
    rng = np.random.default_rng(4)
    # Two classes with the same mean: each certificate of either is a wrong one.
    scores = rng.dirichlet([2, 2, 1], size=(trials, 40))
    found = certify_scores(scores, np.zeros(trials, int), Gaussian(1), norm=2, dim=1, alpha=alpha)
    missed = (found.prediction >= 0) | (found.p1 > 0.4) | (found.p2 < 0.4)
    assert missed.sum() <= stats.binom.isf(1e-6, trials, alpha)


@pytest.mark.parametrize("shift", [0.3, 0.8])
def test_the_mean_score_after_a_shift_is_within_what_the_radius_says(shift):
    """A steep logistic score under Gaussian and uniform noise in one dimension, means by quadrature."""
    for mechanism, law, norm in ((Gaussian(0.5), stats.norm(scale=0.5), 2), (Uniform(1.0), stats.uniform(-1, 2), 1)):
        z = law.ppf((np.arange(20_000) + 0.5) / 20_000)
        means = [(1 / (1 + np.exp(-8 * (0.45 - shift * move + z)))).mean() for move in (0, 1)]
        radius = float(mechanism.radius(means[0], 1 - means[0], norm=norm, dim=1))
        if radius > shift:
            assert means[1] > 0.5
        assert radius > 0


def test_single_precision_softmax_rows_are_taken():
    logits = np.random.default_rng(5).normal(size=(2, 100, 10)).astype(np.float32)
    scores = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    assert (scores.sum(axis=2, dtype=np.float64) > 1).any()
    assert certify_scores(scores, [0, 1], Gaussian(1), norm=2, dim=1).radius.shape == (2,)


def call(scores=None, classes=(0,), **settings):
    scores = np.full((1, 5, 2), 0.5) if scores is None else np.asarray(scores)
    return certify_scores(scores, classes, Gaussian(1), **{"norm": 2, "dim": 1} | settings)


BAD = [
    (lambda: call([[[0.5, 0.5], [math.nan, 0.5]]]), r"scores\[0, 1, 0\] must be at least 0 and at most 1, got nan"),
    (lambda: call([[[0.5, 0.5], [-0.1, 0.5]]]), r"scores\[0, 1, 0\] must be at least 0 and at most 1, got -0.1"),
    (lambda: call([[[0.5, 0.5], [0.9, 0.5]]]), r"scores\[0, 1\] must have a sum of at most 1, got 1.4"),
    (lambda: call([[0.5, 0.5]]), r"scores must have the shape \(N, n, K\)"),
    (lambda: call(classes=[2]), r"classes\[0\] must be a class from 0 to 1, got 2"),
    (lambda: call(classes=[0, 1]), r"classes must have the shape \(1,\), got \(2,\)"),
    (lambda: call(runner_up="third"), 'runner_up must be "second" or "complement", got \'third\''),
    (lambda: call(interval="hoeffding"), 'interval must be "betting" or "empirical-bernstein", got \'hoeffding\''),
    (lambda: call(alpha=0), "alpha must be a number above 0 and below 1, got 0"),
    (lambda: mean_bound([], 0.1), "scores must have at least 1 draws"),
    (lambda: mean_bound([0.5], 0.1, interval="empirical-bernstein"), "scores must have at least 2 draws"),
    (lambda: mean_bound([0.5, 1.5], 0.1), r"scores\[1\] must be at least 0 and at most 1, got 1.5"),
    (lambda: mean_bound([0.5, 0.5], 0.1, side="both"), 'side must be "lower" or "upper"'),
]


@pytest.mark.parametrize(("refused", "message"), BAD)
def test_bad_input_is_refused_by_name(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


# Sums in place of scores


RULE = Rule(Gaussian(0.5), norm=2, dim=10, alpha=0.01, interval="anytime")


def sums_of(scores):
    """Return the tally of scores (N, n, K), draw by draw, and what they count as."""
    units = np.floor(scores * 65535).astype(np.int64)
    units = np.concatenate([units, 65535 - units.sum(axis=2, keepdims=True)], axis=2)
    tally = SoftScores().tally(len(scores), Form(classes=scores.shape[2]))
    for row, draws in enumerate(units):
        SoftScores().add(tally, np.full(len(draws), row), np.arange(len(draws)), draws)
    return tally, units[..., :-1] / 65535


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_sums_prove_what_the_scores_prove(runner_up):
    scores = np.random.default_rng(4).dirichlet([6, 2, 1, 1], size=(20, 500)) * 0.999
    tally, counted = sums_of(scores)
    rule = replace(RULE, runner_up=runner_up)
    found = SoftScores().certify(np.zeros(20, int), tally, rule, n=500)

    def lower(x):
        return anytime_mean(x.sum(axis=1), (x**2).sum(axis=1), np.full(20, 500.0), 0.005 if second else 0.01)

    second = runner_up == "second"
    p1 = lower(counted[..., 0])
    p2 = (
        np.min([1 - p1, np.max([1 - lower(1 - counted[..., i]) for i in (1, 2, 3)], axis=0)], axis=0)
        if second
        else 1 - p1
    )
    assert found.p1 == pytest.approx(p1, abs=1e-9)
    assert found.p2 == pytest.approx(p2, abs=1e-9)
    assert found.radius == pytest.approx(0.25 * (stats.norm.ppf(p1) - stats.norm.ppf(p2)), abs=1e-8)
    assert (found.radius > 0).all()
    # No less than by the empirical Bernstein inequality, of as many draws as these.
    whole = {"norm": 2, "dim": 10, "alpha": 0.01, "runner_up": runner_up, "interval": "empirical-bernstein"}
    assert (found.radius > certify_scores(counted, np.zeros(20, int), Gaussian(0.5), **whole).radius).all()
    paid = SoftScores().certify(np.zeros(20, int), tally, replace(rule, noise_error=0.01), n=500)
    assert paid.p1 == pytest.approx(found.p1 - 0.01, abs=1e-15)
    assert (paid.p2 >= found.p2 + 0.009).all() if runner_up == "second" else (paid.p2 >= 1 - paid.p1).all()


def test_a_certificate_from_sums_is_wrong_at_most_alpha_of_the_time():
    """Two scores whose means are equal, so that every certificate is wrong; and a mean just below its bound."""
    trials, n, alpha = 20_000, 80, 0.2
    rng = np.random.default_rng(5)
    high = rng.random((trials, n)) < 0.5
    scores = np.stack([np.where(high, 0.8, 0.2), np.where(high, 0.2, 0.8)], axis=2)
    units = np.floor(scores * 65535).astype(np.int64)
    tally = np.zeros((trials, 2, 3), np.int64)
    tally[:, 0, :2], tally[:, 1, :2] = units.sum(axis=1), (units**2).sum(axis=1)
    tally[:, 0, 2] = n * 65535 - tally[:, 0, :2].sum(axis=1)
    found = SoftScores().certify(np.zeros(trials, int), tally, replace(RULE, alpha=alpha), n=n)
    mean = (units[0, 0, 0] + units[0, 0, 1]) / 2 / 65535
    missed = (found.p1 > mean) | (found.p2 < mean)
    assert missed.sum() <= stats.binom.isf(1e-6, trials, alpha)
    # The test can tell: one standard deviation for each side fails it.
    spread = scores[:, :, 0].std(axis=1, ddof=1) / np.sqrt(n)
    assert (np.abs(scores[:, :, 0].mean(axis=1) - mean) > spread).sum() > stats.binom.isf(1e-6, trials, alpha)


def test_what_counts_of_scores_is_a_distribution():
    torch = pytest.importorskip("torch")
    kind = SoftScores("logits")
    logits = torch.tensor([[3.0, 1.0, 0.0], [1e4, 0.0, 0.0], [math.nan, 0, 0], [0.0, -math.inf, 0]])
    units = kind.observe(logits)
    assert units[:2].sum(dim=1).tolist() == [65535, 65535]
    assert units[1].tolist() == [65535, 0, 0, 0]
    assert kind.faulty(units.numpy()).tolist() == [0, 0, -1, -1]
    rounded = SoftScores().observe(torch.tensor([[1.0004, 0.0, 0.0], [0.4, 0.4, 0.1]]))
    assert rounded[0].tolist() == [65535, 0, 0, 0]
    assert rounded[1].sum() == 65535
    assert rounded[1, 3] >= 6553
    # Half precision, whose softmax sums to more or less than 1 by a few thousandths of a thousandth.
    half = torch.randn(500, 40, generator=torch.Generator().manual_seed(0)).softmax(dim=1).half()
    assert SoftScores().observe(half).min() >= 0


BAD_SUMS = [
    (lambda tally: {"tally": tally[:, :1]}, r"counts must have the shape \(N, 2, K \+ 1\) with K of at least 2"),
    (lambda tally: {"tally": tally + 1}, "must be the sums of n = 40 draws"),
    (lambda _: {"n": 41}, r"counts\[0\] must be the sums of n = 41 draws, got 40"),
    (lambda _: {"selection": None}, "selection must be classes or sums of separate draws"),
    (lambda _: {"selection": np.array([3])}, r"selection\[0\] must be a class from 0 to 2, got 3"),
    (lambda _: {"selection": np.array([0, 0])}, "selection must have the shape"),
    (lambda tally: {"selection": tally}, "selection must be of separate draws, got the memory of counts"),
    (lambda _: {"rule": replace(RULE, interval="betting")}, 'interval must be "anytime" for soft'),
    (lambda tally: {"tally": tally * [[[1], [0]]]}, r"counts\[0\] must be sums of scores and of their squares"),
    (lambda tally: {"tally": tally * [[[1], [65536]]]}, r"counts\[0\] must be sums of scores and of their squares"),
    (
        lambda tally: {"tally": np.add(tally, [[[-(2**22), 2**22, 0, 0], [0, 0, 0, 0]]])},
        r"counts\[0\] must be sums of scores and of their squares",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_SUMS)
def test_sums_that_are_none_are_refused_by_name(change, message):
    tally, _ = sums_of(np.random.default_rng(6).dirichlet([3, 1, 1], size=(1, 40)))
    given = {"selection": np.array([0]), "tally": tally, "rule": RULE, "n": 40, **change(tally)}
    with pytest.raises(ValueError, match=message):
        SoftScores().certify(given["selection"], given["tally"], given["rule"], n=given["n"])
    with pytest.raises(ValueError, match="scores must be probabilities or logits, got 'odds'"):
        SoftScores("odds")


def test_squares_that_the_scores_do_not_have_are_found_by_verification():
    """A forged tally with the least squares that its sums allow, of no variance, passed for the draws' own."""
    tally, scores = sums_of(np.random.default_rng(7).dirichlet([3, 1, 1], size=(1, 400)))
    forged = tally.copy()
    forged[:, 1] = -(-(tally[:, 0] ** 2) // 400)
    honest, more = (SoftScores().certify(np.array([0]), each, RULE).radius for each in (tally, forged))
    assert more > honest + 0.01
    # So many votes' worth as the norm of the deviations that were taken away.
    assert SoftScores().moved(tally, forged) == pytest.approx(np.sqrt(400) * scores.std(axis=1).max(), rel=1e-3)
    assert SoftScores().moved(tally, forged) > 1
    # Equality is the equality of every number.
    for part in (0, 1):
        off = tally.copy()
        off[0, part, 0] += 1
        assert 0 < SoftScores().moved(tally, off) <= 1
    assert SoftScores().moved(tally, tally.copy()) == 0


def test_rounding_of_every_score_is_less_than_a_vote():
    rng = np.random.default_rng(8)
    scores = rng.dirichlet([3, 1, 1], size=(1, 1000)) * 0.99
    tally, _ = sums_of(scores)
    again, _ = sums_of(np.clip(scores + rng.choice([-1e-4, 1e-4], size=scores.shape), 0, 1))
    assert 0 < SoftScores().moved(tally, again) <= 1
