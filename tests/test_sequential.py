"""The sequential test of one radius: its level, its thresholds, and what a plan makes of any test."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Exponential, Gaussian
from rsmooth.certificates.topclass import TopClass
from rsmooth.run.plan import SequentialPlan
from rsmooth.sequential import BettingTest, _log_wealth, least_probability


def test_least_probability_certifies_its_radius_and_less_does_not():
    for mechanism, norm, bound in (
        (Gaussian(0.5), 2, "neyman-pearson"),
        (Gaussian(0.5), 2, "renyi"),
        (Exponential(0.01), math.inf, "pure-dp"),
    ):
        radius = 0.5 if norm == 2 else 0.01
        p = least_probability(mechanism, radius, norm=norm, dim=64, bound=bound)
        assert mechanism.radius(p, 1 - p, norm=norm, dim=64, bound=bound) >= radius
        q = p - 1e-12
        assert mechanism.radius(q, 1 - q, norm=norm, dim=64, bound=bound) < radius
    with pytest.raises(ValueError, match="radius 1000 is more than"):
        least_probability(Gaussian(0.5), 1000, norm=2, dim=64, bound="renyi")


@pytest.mark.parametrize("threshold", [0.5, 0.84, 0.99])
def test_betting_certifies_a_false_claim_with_at_most_alpha(threshold):
    alpha, trials, n = 0.05, 20_000, 3200
    test = BettingTest(threshold, alpha, n)
    rng = np.random.default_rng(1)
    votes, drawn = np.zeros(trials, np.int64), 0
    certified, open_ = np.zeros(trials, bool), np.ones(trials, bool)
    while drawn < n:
        # At the hypothesis' edge, where certifying is likeliest, and looking as often as it can hurt.
        step = 4
        votes += rng.binomial(step, threshold, trials)
        drawn += step
        # Many trials have the same votes: each number of them is judged once.
        distinct, place = np.unique(votes, return_inverse=True)
        decided = test.decide(distinct, np.full(len(distinct), drawn))[place]
        certified |= open_ & (decided > 0)
        # Those that it abandons go on: futility must not be what keeps the level.
        open_ &= decided <= 0
    # The exact critical value for 20,000 trials at a false-alarm rate of 1e-7.
    assert certified.sum() <= stats.binom.isf(1e-7, trials, alpha)
    assert certified.any()


def test_betting_refuses_what_no_draws_can_certify():
    with pytest.raises(ValueError, match="n = 20 draws cannot certify this radius even if all agree"):
        BettingTest(0.9, 0.001, 20)


@pytest.mark.parametrize("gap", [3e-15, 1e-12, 1e-10, 3e-8])
def test_thresholds_next_to_1_are_decided_as_exact_arithmetic_does(gap):
    from mpmath import log, mp, mpf

    mp.dps = 60
    m = 1 - gap
    n = math.ceil(20 / gap)
    test = BettingTest(m, 0.05, n)
    bets = [mpf(0)] + [mpf(2) ** -i for i in range(1, 21)] + [1 - mpf(2) ** -i for i in range(2, 11)]
    for votes, draws in ((n, n), (n // 2, n // 2), (n - 1, n), (n - 40, n), (0, 10), (99, 100)):
        decision = int(test.decide(np.array([votes]), np.array([draws]))[0])
        lost, exact = draws - votes, mpf(m)
        for_, against = (
            log(sum(((1 - (1 - p) * t) / p) ** k * t**rest for t in bets) / len(bets))
            for p, k, rest in ((exact, votes, lost), (1 - exact, lost, votes))
        )
        expected = 1 if for_ >= log(20) else -1 if against >= log(20) else 0
        # Nothing of these is so near the edge that the margin could turn it.
        assert min(abs(for_ - log(20)), abs(against - log(20))) > 1e-6
        assert decision == expected, (votes, draws, for_, against)


@pytest.mark.parametrize("m", [0.5, 0.84, 1 - 2.0**-20, 1 - 1e-10, 1 - 3e-15, 1e-10, 3e-15])
def test_wealth_is_never_above_the_true_one_and_hardly_below(m):
    from mpmath import log, mp, mpf

    mp.dps = 60
    bets = [mpf(0)] + [mpf(2) ** -i for i in range(1, 21)] + [1 - mpf(2) ** -i for i in range(2, 11)]
    scale = round(1 / min(m, 1 - m))
    for draws, against in ((10, 0), (100, 3), (scale, 1), (5 * scale, 3), (30 * scale, 12)):
        votes = draws - against
        exact = log(sum(((1 - (1 - mpf(m)) * t) / mpf(m)) ** votes * t**against for t in bets) / len(bets))
        ours = _log_wealth(np.array([votes]), np.array([draws]), m)[0]
        assert exact - max(1e-9, abs(exact) * 1e-12) <= ours <= exact


def test_plan_stops_where_whatever_decides_says():
    class Hundred:
        def decide(self, votes, draws):
            assert (votes <= draws).all()
            return (draws >= 100).astype(np.int8)

    examples = [(index, torch.zeros(4)) for index in range(5)]
    plan = SequentialPlan(examples, TopClass(3), n0=10, n=1000, size=64, root=np.random.SeedSequence(0), test=Hundred())
    batch = 0
    while (draws := plan.compose(batch)) is not None:
        assert sum(each.count for each in draws) <= 64
        plan.record(batch, np.full(sum(each.count for each in draws), 2))
        batch += 1
    selection, counts = plan.tally()
    assert selection.tolist() == [[0, 0, 10]] * 5
    assert (counts[:, 2] >= 100).all()
    assert (counts.sum(axis=1) < 100 + 64).all()
    # What was drawn beyond the decision, before it was known, is not counted.
    assert (counts.sum(axis=1) == plan.judged).all()
    assert (plan.asked[1::2] > plan.judged).any()
