"""Votes still to come, as those seen predict them: whole votes of so many draws, better by so many deviations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rsmooth import Gaussian
from rsmooth.certificates.prediction import hoped_votes, scaled_votes
from rsmooth.certificates.topclass import TopClass
from rsmooth.certificates.topk import TopK
from rsmooth.rule import Rule

BETTER = 3
RULE = Rule(Gaussian(1), norm=2, dim=1, alpha=0.3, interval="anytime")


def votes_of(classes, draws, rows, seed=0):
    rng = np.random.default_rng([seed, classes])
    shares = np.stack([rng.dirichlet(np.full(classes, a)) for a in rng.choice([0.02, 0.3, 1, 30], rows)])
    return np.stack([rng.multinomial(int(rng.integers(1, draws + 1)), each) for each in shares])


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (3, 2), (10, 1), (10, 4), (1000, 5)])
@pytest.mark.parametrize("n", [20, 3000, 10**9, 2**53])
def test_hoped_votes_are_votes_of_so_many_draws_and_take_none_back_from_the_class(classes, k, n):
    seen = votes_of(classes, min(n, 3000), 400)
    asked = np.random.default_rng(1).integers(0, classes, 400)
    asked[::2] = seen[::2].argmax(axis=1)
    own = np.arange(classes) == asked[:, None]
    found = hoped_votes(seen, asked, n, BETTER, k)
    assert len(found) == k
    for votes in found:
        assert (votes.sum(axis=1) == n).all()
        assert (votes >= 0).all()
        assert (votes[own] >= seen[own]).all()


@pytest.mark.parametrize("k", [1, 3])
def test_nothing_is_hoped_for_when_all_draws_are_made(k):
    seen = np.random.default_rng(0).multinomial(5000, [0.4, 0.3, 0.2, 0.1], size=100)
    for votes in hoped_votes(seen, np.zeros(100, np.int64), 5000, BETTER, k):
        assert (votes[:, 0] == seen[:, 0]).all()
        assert (votes[:, 1:] == np.sort(seen[:, 1:])).all()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_hope_is_so_many_deviations_of_beta_binomial_numbers(k):
    """Of the class, and of the t smallest among the k largest others in sum."""
    seen, n, drawn = np.array([[500, 130, 20, 220, 110, 20]]), 8000, 1000
    found = hoped_votes(seen, np.array([0]), n, BETTER, k)
    for t, votes in enumerate(found, 1):
        before, after = (np.sort(each[0, 1:])[-k:][:t].sum() for each in (seen, votes))
        for count, to, better in ((500, votes[0, 0], BETTER), (before, after, -BETTER)):
            law = stats.betabinom(n - drawn, count + 1, drawn - count + 1)
            # Its deviation is taken for 1 in 2,000 larger than it is; then there is rounding.
            assert to == pytest.approx(count + law.mean() + better * law.std(), abs=1 + t + law.std() / 500)


def test_no_votes_within_the_deviations_certify_more_than_what_is_hoped_of_the_top_class():
    n = 24
    for seen in np.random.default_rng(0).multinomial(16, [0.45, 0.25, 0.2, 0.1], size=25):
        p = (seen + 1) / 18
        deviation = BETTER * np.sqrt((n - 16) * p * (1 - p) * (n + 2) / 18)
        most, least = ((n - 16) * p + side * deviation for side in (1, -1))
        most = int(seen[0] + np.floor(np.clip(most[0], 0, n - 16)))
        least = (seen + np.ceil(np.clip(least, 0, n - 16)))[1:].max()
        within = [
            (n - sum(others), *others)
            for others in itertools.product(range(n + 1), repeat=3)
            if 0 <= n - sum(others) <= most and max(others) >= least
        ]
        best = TopClass().certify(np.zeros(len(within), int), np.array(within), RULE).radius.max()
        (hoped,) = TopClass().hoped(np.array([0]), seen[None], n, BETTER)
        assert TopClass().certify(np.array([0]), hoped, RULE).radius[0] == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("kind", [TopClass(), TopK(k=3)])
def test_no_votes_certify_more_than_the_best(kind):
    best = kind.certify(*kind.best(9), RULE).radius[0]
    all_ = np.array([each for each in itertools.product(range(10), repeat=4) if sum(each) == 9])
    assert kind.certify(np.zeros(len(all_), int), all_, RULE).radius.max() == best > 0


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_scaled_votes_keep_their_shares_to_within_a_vote(classes):
    seen = votes_of(classes, 3000, 300)
    drawn = seen.sum(axis=1)
    for draws in (drawn, drawn + 1, 7 * drawn, np.full(300, 10**12)):
        scaled = scaled_votes(seen, draws)
        assert (scaled.sum(axis=1) == draws).all()
        assert (scaled >= 0).all()
        assert np.abs(scaled - seen * (draws / drawn)[:, None]).max() < 1 + 1e-3
