"""Mean scores of draws that are stopped by their scores: bounds that hold after every draw, by sums alone."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy import stats

from rsmooth import Gaussian, SmoothedClassifier
from rsmooth.certificates import means
from rsmooth.certificates.means import BETS, anytime_mean, largest_anytime_mean
from rsmooth.certificates.prediction import hoped_scores, hoped_votes, scaled_scores
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.scores import UNITS
from rsmooth.certificates.softscores import SoftScoreCertificates, SoftScores
from rsmooth.rule import Rule
from rsmooth.stopping import Until
from test_softscores import LAWS

ALPHA = 0.1
TESTS = 2 * len(LAWS) + 2


def critical(trials):
    return stats.binom.isf(1e-6 / TESTS, trials, ALPHA)


def ever_missed(draw, mean, trials=1000, looks=400):
    """Return how many of so many sequences have a lower bound above the mean after some number of draws."""
    x = draw(np.random.default_rng(0), (trials, looks))
    total, squares, missed = x.cumsum(axis=1), (x**2).cumsum(axis=1), np.zeros(trials, bool)
    for n in np.unique(np.geomspace(1, looks, 60).astype(int)):
        at = ~missed
        bound = anytime_mean(total[at, n - 1], squares[at, n - 1], np.full(at.sum(), float(n)), ALPHA)
        missed[at] = bound > mean
    return missed.sum()


@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize("name", LAWS)
def test_the_mean_is_ever_missed_with_probability_alpha_at_most(name, side):
    draw, mean = LAWS[name]
    if side == "upper":
        found = ever_missed(lambda rng, shape: 1 - draw(rng, shape), 1 - mean)
    else:
        found = ever_missed(draw, mean)
    assert found <= critical(1000)


def wealth(x, m):
    """Return what the bets against a mean of m come to, draw by draw and to 40 digits: of these Ville's premises hold.

    Each factor is 1 on average where the mean is m, less where it is less, and at least 0.
    """
    with mpmath.workdps(40):
        y = [mpf(float(each)) / mpf(float(m)) - 1 for each in x]
        return mpmath.fsum(mpmath.fprod(1 + mpf(bet) * each for each in y) for bet in BETS) / len(BETS)


def bound_of(x, alpha):
    return float(anytime_mean(*(each.sum(keepdims=True) for each in (x, x**2, np.ones(len(x)))), alpha)[0])


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("alpha", [0.1, 0.001])
@pytest.mark.parametrize("n", [20, 300, 3000])
def test_wealth_is_one_over_alpha_where_the_sums_say_so(name, alpha, n):
    x = LAWS[name][0](np.random.default_rng(n), n)
    m = bound_of(x, alpha)
    assert 0 <= m <= x.mean()
    assert m == 0 or wealth(x, m) >= 1 / mpf(alpha)
    # And the bound is not far below.
    log = math.log(len(BETS) / alpha)
    assert x.mean() - m < 1.5 * math.sqrt(2 * x.var() * log / n) + 2 * log / n


def test_costs_and_levels_that_are_too_low_would_be_found(monkeypatch):
    x = LAWS["nearly certain"][0](np.random.default_rng(0), 300)
    assert wealth(x, bound_of(x, 2 * ALPHA)) < 1 / ALPHA
    monkeypatch.setattr(means, "COSTS", 0.9 * means.COSTS)
    assert wealth(x, bound_of(x, ALPHA)) < 1 / ALPHA


def test_the_largest_upper_bound_is_above_that_of_every_class():
    rng = np.random.default_rng(2)
    missing = 1 - rng.dirichlet([0.2] * 12, size=(40, 200))
    total, squares, drawn = missing.sum(axis=1), (missing**2).sum(axis=1), np.full(40, 200.0)
    found = largest_anytime_mean(total, squares, drawn, 0.01)
    each = [1 - anytime_mean(total[:, i], squares[:, i], drawn, 0.01) for i in range(12)]
    assert (found >= np.max(each, axis=0) - 1e-9).all()
    assert found == pytest.approx(np.max(each, axis=0), abs=1e-8)


# The kind


def sums_of(scores):
    """Return the tally of scores (N, n, K)."""
    units = np.floor(scores * UNITS).astype(np.int64)
    units = np.concatenate([units, UNITS - units.sum(axis=-1, keepdims=True)], axis=-1)
    return np.stack([units.sum(axis=1), (units**2).sum(axis=1)], axis=1)


def rule(alpha=ALPHA, interval="anytime", **settings):
    return Rule(Gaussian(1), norm=2, dim=1, alpha=alpha, interval=interval, **settings)


def stopped(stopping, shares, trials, step):
    """Return the tallies that examples end with by the rule that runs stop by."""
    rng, tally = np.random.default_rng(3), np.zeros((trials, 2, len(shares)), np.int64)
    open_ = np.arange(trials)
    for _ in range(0, stopping.n, step):
        # What a draw leaves of 1 is the last of the shares.
        tally[open_] += sums_of(rng.dirichlet(shares, size=(len(open_), step))[..., :-1])
        open_ = open_[~stopping.known(np.zeros(len(open_), np.int64), tally[open_])]
    return tally


@pytest.mark.parametrize(
    ("shares", "radius"), [((2, 2, 1), 0.0), ((4, 2, 2), stats.norm.ppf(0.5) / 2 - stats.norm.ppf(0.25) / 2)]
)
def test_stopped_certificates_of_mean_scores_are_false_with_probability_alpha_at_most(shares, radius):
    trials, truth = 2000, np.array(shares) / sum(shares)
    stopping = Until(SoftScores(), rule(), 300, (0, radius))
    tally = stopped(stopping, shares, trials, 10)
    found = SoftScores().certify(np.zeros(trials, np.int64), tally.view(StoppedCounts), rule())
    # Rounded down, means are less by half a unit.
    false = (found.radius > radius + 1e-4) | (found.p1 > truth[0]) | (found.p2 < truth[1] - 1 / UNITS)
    assert false.sum() <= critical(trials)
    assert len(np.unique(SoftScores().drawn(tally))) > 5
    assert found.stopped


def test_scores_of_stopped_draws_are_certified_by_no_other_interval():
    tally = sums_of(np.random.default_rng(4).dirichlet([8, 1, 1], size=(3, 100))[..., :2]).view(StoppedCounts)
    classes = np.zeros(3, np.int64)
    for interval in ("empirical-bernstein", "clopper-pearson"):
        with pytest.raises(ValueError, match='interval must be "anytime" for soft scores'):
            SoftScores().certify(classes, tally, rule(interval=interval))
    found = SoftScores().certify(classes, tally, rule())
    assert (found.radius > 0).all()
    with pytest.raises(ValueError, match='interval must be "anytime" for soft scores'):
        found.under(interval="empirical-bernstein")
    complement = found.under(runner_up="complement")
    assert complement.p2 == pytest.approx(1 - complement.p1)
    moved = SoftScores().certify(classes, tally, rule(noise_error=0.01))
    assert moved.p1 == pytest.approx(found.p1 - 0.01)


def test_saved_stopped_scores_are_read_as_stopped(tmp_path):
    tally = sums_of(np.random.default_rng(5).dirichlet([8, 1, 1], size=(3, 100))[..., :2]).view(StoppedCounts)
    found = SoftScores().certify(np.zeros(3, np.int64), tally, rule())
    found.save(tmp_path / "found.npz")
    again = SoftScoreCertificates.load(tmp_path / "found.npz")
    assert again.stopped
    assert type(again.counts) is StoppedCounts
    assert (again.radius == found.radius).all()


@pytest.mark.parametrize("n", [400, 10_000, 10**6])
@pytest.mark.parametrize("classes", [2, 10, 300])
def test_scores_to_come_are_scores_and_leave_those_that_are_there(n, classes):
    rng = np.random.default_rng([6, classes])
    constant = np.full((20, 40, classes), 1 / classes)
    for scores in (
        rng.dirichlet([0.1] * classes, size=(20, 40)),
        rng.dirichlet([9] * classes, size=(20, 40)),
        constant,
    ):
        tally = sums_of(scores)
        asked = rng.integers(0, classes, 20)
        hoped = hoped_scores(tally, asked, n, 3, UNITS)
        scaled = scaled_scores(tally, np.full(20, n), UNITS)
        for each in (hoped, scaled):
            assert (SoftScores().drawn(each) == n).all()
            assert SoftScores().certify(asked, each, rule(), n=n).radius.shape == (20,)
        assert (hoped[:, 0, :-1] >= tally[:, 0, :-1]).all()
        before, after = (each[np.arange(20), 0, asked] / UNITS for each in (tally, hoped))
        assert (after / n >= before / 40 - 1e-4).all()
    assert (hoped_scores(tally, asked, 40, 3, UNITS)[:, 0] == tally[:, 0]).all()


def test_of_scores_that_are_votes_the_same_is_hoped_as_of_votes():
    votes = np.random.default_rng(7).multinomial(200, [0.6, 0.3, 0.1], size=50)
    tally = np.stack([votes * UNITS, votes * UNITS**2], axis=1)
    tally = np.concatenate([tally, np.zeros((50, 2, 1), np.int64)], axis=2)
    asked = np.zeros(50, np.int64)
    (expected,) = hoped_votes(votes, asked, 5000, 3)
    hoped = hoped_scores(tally, asked, 5000, 3, UNITS)[:, 0] / UNITS
    assert hoped[:, 0] == pytest.approx(expected[:, 0], abs=1)
    assert hoped[:, 1] == pytest.approx(expected[:, 2], abs=1)


def test_no_scores_certify_more_than_the_best():
    best = SoftScores().certify(*SoftScores().best(50), rule()).radius[0]
    scores = np.random.default_rng(8).dirichlet([0.05, 0.01, 0.01], size=(200, 50))[..., :2]
    found = SoftScores().certify(np.zeros(200, np.int64), sums_of(scores), rule()).radius
    assert 0 < found.max() <= best
    with pytest.raises(ValueError, match=r"until must be of radii below .*, which n = 50 draws certify if all agree"):
        Until(SoftScores(), rule(), 50, (best,))


def test_sums_of_squares_are_within_integers_up_to_the_most_draws():
    """Of more draws squares would be taken modulo 2⁶⁴, and be those of no scores."""
    rule, most = Rule(Gaussian(0.5), norm=2, dim=4, interval="anytime"), SoftScores.most
    until = Until(SoftScores(), rule, most, radii=(0,))
    rare = np.array([[[UNITS, 0, 0], [UNITS**2, 0, 0]], [[UNITS // 2, UNITS - UNITS // 2, 0], [2**30, 2**30, 0]]])
    lower, upper = until.ends(np.zeros(2, np.int64), rare)
    assert (lower <= upper).all()
    assert (until.needed(np.zeros(2, np.int64), rare) > 0).all()
    for asked in (
        lambda: Until(SoftScores(), rule, most + 1, radii=(0,)),
        lambda: SoftScores().settled(n0=None, n=most + 1, alpha=None),
        lambda: SoftScores().settled(n0=most + 1, n=None, alpha=None),
    ):
        with pytest.raises(ValueError, match=rf"n0? must be between 1 and {most}, got {most + 1}"):
            asked()


def test_a_smoothed_classifier_ends_where_mean_scores_are_known():
    def model(x):
        return np.stack([x[:, 0], 1 - x[:, 0]], axis=1) * 4

    smoothed = SmoothedClassifier(model, Gaussian(0.25), 2)
    settings = {"kind": SoftScores("logits"), "n0": 20, "n": 20_000, "norm": 2, "batch_size": 100, "seed": 3}
    x = np.array([[0.9], [0.7], [0.5]], np.float32)
    found = smoothed.certify(x, until=(0, 0.05), **settings)
    assert (found.interval, found.stopped, type(found.counts)) == ("anytime", True, StoppedCounts)
    drawn = SoftScores().drawn(found.counts)
    assert drawn[0] < drawn[1] < 20_000
    assert (found.radius[:2] > 0.05).all()
