"""Draws that end when enough is known: what may be claimed of them, and which draws they are.

The claim rests on the anytime interval, which holds whenever one stops. Here the rule of stopping itself, as runs use
it, is followed over all paths of votes: what it certifies is wrong with probability alpha at most.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from rsmooth import Exponential, Gaussian, SmoothedClassifier, anytime, certify_counts, clopper_pearson
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.topclass import TopClass
from rsmooth.rule import Rule
from rsmooth.stopping import Until
from rsmooth.torch.draws import Draws
from rsmooth.torch.plan import LEAST, UntilPlan

SIGMA = 0.25


def until(radii, n, *, alpha=0.05, runner_up="complement", **settings):
    rule = Rule(Gaussian(SIGMA), norm=2, dim=64, alpha=alpha, runner_up=runner_up, interval="anytime")
    return Until(TopClass(), rule, n, radii, **settings)


# What is claimed


def certified_wrongly(stopping, p, radii, looks, interval):
    """Return the probability, for each radius, that an example ends certified by `interval` although p does not reach.

    It is a sum over all paths of a class of probability p, looked at after every draw.
    """
    mass, wrong = np.array([1.0]), np.zeros(len(radii))
    beyond = np.array([p <= norm.cdf(r / SIGMA) for r in radii])
    for n in range(1, looks + 1):
        mass = np.append(mass, 0) * (1 - p) + np.append(0, mass) * p
        k = np.arange(n + 1)
        counts = np.stack([k, n - k], axis=1)
        ended = stopping.known(np.zeros(n + 1, np.int64), counts) | (n == looks)
        found = SIGMA * norm.ppf(interval(k[ended], n, stopping.rule.alpha))
        wrong += ((found[:, None] > radii) * mass[ended, None]).sum(axis=0) * beyond
        mass = np.where(ended, 0, mass)
    return wrong


@pytest.mark.parametrize("p", [0.45, 0.5, 0.6, 0.8, norm.cdf(0.25 / SIGMA), 0.9])
@pytest.mark.parametrize("alpha", [0.25, 0.05])
def test_what_ends_certified_is_wrong_with_probability_alpha_at_most(p, alpha):
    radii = np.array([0.0, 0.1, 0.25])
    wrong = certified_wrongly(until(tuple(radii), 200, alpha=alpha), p, radii, 200, anytime)
    assert (wrong <= alpha).all()


def test_clopper_pearson_bounds_of_draws_that_were_stopped_would_be_wrong_too_often():
    """The same sum for a rule that certifies too early: it ends where the bound for a fixed number is high enough."""

    class Early:
        rule = until((0,), 200).rule

        def known(self, _selection, counts, _labels=None):
            return clopper_pearson(counts[:, 0], counts.sum(axis=1), self.rule.alpha) > 0.5

    assert certified_wrongly(Early(), 0.5, np.array([0.0]), 200, clopper_pearson)[0] > 3 * 0.05


def test_ends_are_the_certificate_and_what_all_draws_would_give_at_best():
    stopping = until((0, 0.25), 10_000, runner_up="second")
    rng = np.random.default_rng(0)
    counts = rng.multinomial(500, [0.5, 0.3, 0.15, 0.05], size=200)
    selection = rng.integers(0, 2, 200)
    lower, upper = stopping.ends(selection, counts)
    found = certify_counts(
        counts.view(StoppedCounts), Gaussian(SIGMA), norm=2, dim=64, alpha=0.05, selection=selection, interval="anytime"
    )
    assert np.array_equal(lower, found.radius)
    assert (upper >= lower).all()
    # All draws made: nothing is to come.
    counts = rng.multinomial(10_000, [0.5, 0.3, 0.15, 0.05], size=200)
    lower, upper = stopping.ends(selection, counts)
    assert np.array_equal(lower, upper)
    assert stopping.known(selection, counts).all()


def test_hope_is_three_standard_deviations_of_the_votes_to_come():
    stopping, n = until((0, 0.25), 10_000), 400
    counts = np.array([[k, n - k] for k in range(150, 350, 10)])
    _, upper = stopping.ends(np.zeros(len(counts), np.int64), counts)
    p = (counts[:, 0] + 1) / (n + 2)
    deviation = np.sqrt(9600 * p * (1 - p) * 10_002 / (n + 2))
    most = counts[:, 0] + np.floor(9600 * p + 3 * deviation).astype(int)
    expected = SIGMA * np.maximum(norm.ppf(anytime(most, 10_000, 0.05)), 0)
    np.testing.assert_allclose(upper, expected, rtol=1e-9)


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_what_is_abandoned_would_hardly_have_been_certified(runner_up):
    n, radii = 3000, (0, 0.25)
    stopping = until(radii, n, runner_up=runner_up)
    rng = np.random.default_rng(1)
    lost = hopeless = 0
    for classes in ((0.5, 0.45, 0.05), (0.55, 0.4, 0.05), (0.86, 0.1, 0.04), (0.8, 0.12, 0.08)):
        counts, abandoned = np.zeros((500, 3), np.int64), np.zeros((500, 2), bool)
        for _ in range(n // 20):
            counts += rng.multinomial(20, classes, size=500)
            lower, upper = stopping.ends(np.zeros(500, np.int64), counts)
            abandoned |= (upper[:, None] <= radii) & (counts.sum(axis=1)[:, None] < n)
        lost += (abandoned & (lower[:, None] > radii)).sum()
        hopeless += abandoned.sum()
    # Three deviations at any of 150 looks; the sums of all are 4,000.
    assert lost <= 40
    assert hopeless > 500


@pytest.mark.parametrize(
    ("mechanism", "length", "radii", "bound"),
    [(Exponential(0.01), math.inf, (0, 0.01), "renyi"), (Gaussian(SIGMA), 1, (0, 0.1), "pixeldp")],
)
def test_every_bound_and_norm_ends(mechanism, length, radii, bound):
    rule = Rule(mechanism, norm=length, dim=64, bound=bound, interval="anytime")
    stopping = Until(TopClass(), rule, 5000, radii)
    counts = np.array([[5, 5, 5], [999, 1, 0], [90, 10, 0], [10, 90, 10]])
    assert stopping.known(np.zeros(4, np.int64), counts).tolist() == [False, True, False, True]


def test_a_width_ends_where_more_draws_would_not_make_the_radius_so_much_larger():
    stopping = until((), 10_000, width=0.05)
    votes = np.array([[900, 100], [8900, 1000], [500, 500], [100, 900]])
    lower, upper = stopping.ends(np.zeros(4, np.int64), votes)
    assert stopping.known(np.zeros(4, np.int64), votes).tolist() == (upper <= 1.05 * lower).tolist()
    assert stopping.known(np.zeros(4, np.int64), votes).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"radii": (0, 0.9), "n": 500},
            r"until must be of radii below 0.\d+, which n = 500 draws certify if all agree",
        ),
        ({"radii": (0,), "n": 5}, "until must be of radii below 0, which n = 5 draws certify if all agree, got 0"),
        ({"radii": (), "n": 5}, "until or width must be given, and not both"),
        ({"radii": (0,), "n": 5, "width": 0.1}, "until or width must be given, and not both"),
        ({"radii": (), "n": 5, "width": -1}, "width must be a finite number above 0"),
    ],
)
def test_what_cannot_be_decided_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        until(alpha=0.001, **arguments)


def test_an_interval_that_does_not_hold_is_refused():
    with pytest.raises(ValueError, match="interval must hold for draws that are stopped, as anytime does"):
        Until(TopClass(), Rule(Gaussian(1), norm=2, dim=1), 1000, (0,))


# Which draws


class Voting:
    """Votes as a model would whose classes have certain probabilities: a function of stream and draw alone."""

    def __init__(self, probabilities):
        self.probabilities = np.asarray(probabilities)

    def votes(self, batch: list[Draws]):
        found = []
        for draws in batch:
            uniform = np.random.default_rng(draws.key).random(draws.first + draws.count)[draws.first :]
            found.append(np.searchsorted(self.probabilities[draws.row // 2].cumsum(), uniform, side="right"))
        return np.concatenate(found).clip(max=self.probabilities.shape[1] - 1)


def played(probabilities, stopping, *, size=64, late=2, **settings):
    """Return a plan that was played through, the votes of a batch told when `late` others were asked for."""
    examples = [(index, torch.zeros(4)) for index in range(len(probabilities))]
    voting, root = Voting(probabilities), np.random.SeedSequence(0)
    settings |= {"classes": np.shape(probabilities)[1], "size": size, "root": root, "stopping": stopping}
    plan = UntilPlan(examples, TopClass(), n0=20, n=stopping.n, **settings)
    waiting, number = [], 0
    while True:
        batch = plan.compose(number)
        if batch is not None:
            assert 0 < sum(each.count for each in batch) <= size
            waiting.append((number, batch))
            number += 1
        elif not waiting:
            return plan
        while waiting and (batch is None or len(waiting) > late):
            told, draws = waiting.pop(0)
            plan.record(told, voting.votes(draws))


PROBABILITIES = [[p, 0.7 * (1 - p), 0.3 * (1 - p)] for p in (0.99, 0.9, 0.85, 0.7, 0.55, 0.5, 0.4)]


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_a_plan_draws_until_every_example_is_known_by_all_its_votes(runner_up):
    stopping = until((0, 0.25), 3000, runner_up=runner_up)
    plan = played(PROBABILITIES, stopping)
    selection, counts = plan.tally()
    assert (selection.sum(axis=1) == 20).all()
    drawn = counts.sum(axis=1)
    assert (stopping.known(selection, counts) | (drawn == 3000)).all()
    # The clear ones end early, and nothing that was drawn is left out.
    assert drawn[0] < 300 < drawn.max() <= 3000
    assert (drawn == plan.asked[1::2]).all()


def test_a_plan_makes_the_same_draws_whenever_votes_are_told():
    stopping = until((0, 0.25), 3000)
    plans = [played(PROBABILITIES, stopping, late=late) for late in (0, 1, 2)]
    for plan in plans[1:]:
        assert all(np.array_equal(*pair) for pair in zip(plan.tally(), plans[0].tally(), strict=True))


def test_votes_in_flight_may_open_an_example_again():
    class Flips:
        """Known at exactly 32 draws, and from 200 on."""

        n = 1000

        def known(self, _selection, counts, _labels=None):
            drawn = counts.sum(axis=1)
            return (drawn == 32) | (drawn >= 200)

    _, counts = played([[0.9, 0.1]], Flips(), size=16).tally()
    assert 200 <= counts.sum() < 300


@pytest.mark.parametrize("budget", [3000, 6000, 12_000])
def test_a_budget_is_kept_and_buys_more_than_serving_all_in_turn(budget):
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.uniform(0.5, 1, 40), rng.uniform(0.45, 0.55, 20)])
    probabilities = np.stack([p, 0.6 * (1 - p), 0.4 * (1 - p)], axis=1)
    stopping = until((0, 0.25), 20_000)

    def bought(plan):
        selection, counts = plan.tally()
        assert (counts.sum(axis=1) >= LEAST).all()
        assert counts.sum() + selection.sum() <= budget
        return int((stopping.ends(selection, counts)[0][:, None] > np.array([0, 0.25])).sum())

    soonest = bought(played(probabilities, stopping, budget=budget))

    class InTurn(UntilPlan):
        def _serve_soonest(self, _batch, _open, room):
            return room

    examples = [(index, torch.zeros(4)) for index in range(60)]
    voting, number = Voting(probabilities), 0
    plan = InTurn(
        examples,
        TopClass(),
        classes=3,
        n0=20,
        n=20_000,
        size=64,
        root=np.random.SeedSequence(0),
        stopping=stopping,
        budget=budget,
    )
    while (batch := plan.compose(number)) is not None:
        plan.record(number, voting.votes(batch))
        number += 1
    assert soonest > bought(plan)


def test_what_is_needed_is_about_what_it_takes():
    stopping = until((0, 0.25), 100_000)
    k = np.array([650, 860, 990, 520])
    counts = np.stack([k, 1000 - k], axis=1)
    needed = stopping.needed(np.zeros(4, np.int64), counts)
    # 0.65 certifies 0 and never 0.25; 0.99 has both.
    assert needed[0] == np.inf
    assert needed[2] == np.inf
    for i, radius in ((1, 0.25), (3, 0.0)):
        share, after = k[i] / 1000, int(1000 + needed[i])
        assert SIGMA * norm.ppf(anytime(int(share * after), after, 0.05)) > radius
        half = int(1000 + needed[i] / 3)
        assert not SIGMA * norm.ppf(anytime(int(share * half), half, 0.05)) > radius


# The smoothed classifier


class Linear(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x[:, 0], 0.5 - 0 * x[:, 0]], dim=1)


def test_a_smoothed_classifier_ends_where_radii_are_known():
    x = torch.tensor([[1.0], [0.8], [0.6], [0.5], [0.2]])
    smoothed = SmoothedClassifier(Linear(), Gaussian(SIGMA), 2)
    radii, told = (0, 0.2), []
    settings = {"n0": 50, "n": 4000, "norm": 2, "alpha": 0.01, "seed": 3}
    found = smoothed.certify(x, until=radii, batch_size=100, progress=told.append, **settings)
    drawn = found.counts.sum(axis=1)
    assert (found.interval, found.stopped, type(found.counts)) == ("anytime", True, StoppedCounts)
    assert sum(told) == drawn.sum() + 250
    assert drawn[0] < 1000
    assert (found.radius > 0.2).tolist() == [True, True, False, False, True]
    assert found.prediction[3] == -1 or found.radius[3] < 0.05
    # Its draws are the first of those that a fixed number takes.
    whole = smoothed.certify(x, batch_size=100, **settings)
    assert np.array_equal(whole.selection, found.selection)
    assert (found.counts <= whole.counts).all()
    for bound, length in (("renyi", 2), ("neyman-pearson", math.inf)):
        again = certify_counts(
            found.counts,
            found.mechanism,
            norm=length,
            dim=1,
            bound=bound,
            selection=found.selection,
            interval="anytime",
        )
        assert again.stopped
    with pytest.raises(ValueError, match="draws that were fixed beforehand"):
        certify_counts(found.counts, found.mechanism, norm=2, dim=1, selection=found.selection)


@pytest.mark.parametrize(
    ("radii", "error", "message"),
    [
        ((0, 9), ValueError, "until must be of radii below"),
        (0.5, TypeError, "until must be a sequence of radii"),
        ((-1,), ValueError, "until.0. must be finite and at least 0"),
    ],
)
def test_radii_that_cannot_be_asked_for_are_refused(radii, error, message):
    smoothed = SmoothedClassifier(Linear(), Gaussian(SIGMA), 2)
    with pytest.raises(error, match=message):
        smoothed.certify(torch.tensor([[1.0]]), n=1000, norm=2, until=radii)


def test_no_examples_give_no_certificates():
    smoothed = SmoothedClassifier(Linear(), Gaussian(SIGMA), 2)
    assert len(smoothed.certify(torch.zeros(0, 1), n=1000, norm=2, until=(0,))) == 0
