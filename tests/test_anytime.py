"""What the anytime bounds promise: against a table to 50 digits, and by exact probabilities over every path of draws.

Looking after every draw is the worst that a rule of stopping can do, so that "the bound is wrong after some draw" with
probability at most alpha covers every rule. Those probabilities are sums over all paths, not simulations.
"""

import csv
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.stats import binom, multinomial, norm

from rsmooth import _core, clopper_pearson

DATA = Path(__file__).parent / "data"
LOOKS = 3000
ALPHAS = [0.25, 0.05, 0.001]
PROBABILITIES = np.array([0.001, 0.01, 0.1, 0.3, 0.45, 0.5, 0.55, 0.7, 0.9, 0.977, 0.99, 0.99865, 0.9999])


def bounds(k, n, alpha, side="lower"):
    k, n, alpha = np.broadcast_arrays(np.asarray(k, np.int64), np.asarray(n, np.int64), np.asarray(alpha, float))
    out = np.empty(k.shape)
    flat = [np.ascontiguousarray(x).ravel() for x in (k, n, alpha)]
    _core.confidence_bound("anytime", *flat, side == "upper", out.reshape(-1), (0, list(k.shape)))
    return out


def ln_wealth(k, n, m):
    k, n, m = np.broadcast_arrays(np.asarray(k, np.int64), np.asarray(n, np.int64), np.asarray(m, float))
    out = np.empty(k.shape)
    flat = [np.ascontiguousarray(x).ravel() for x in (k, n, m)]
    _core.anytime_ln_wealth(*flat, out.reshape(-1), (0, list(k.shape)))
    return out


def least_counts(reached, looks=LOOKS):
    """For n = 0, …, looks the least k with ``reached(k, n)``, which increases with k; n + 1 where none has it."""
    n = np.arange(looks + 1)
    low, high = np.full(looks + 1, -1), n + 1
    high[0] = 1
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, n)
        asked = (high - low > 1) & (n > 0)
        yes = np.zeros(looks + 1, bool)
        yes[1:] = reached(middle[1:], n[1:])
        low, high = np.where(asked & ~yes, middle, low), np.where(asked & yes, middle, high)
        low[0] = 0
    return high


def reaching(p, least, most=None):
    """Probabilities, for draws of probabilities `p`, that the count ever gets to `least` before it falls to `most`.

    `least` is one for all of `p` or has a row for each.
    """
    p = np.atleast_1d(p)[:, None]
    least = np.broadcast_to(least, (len(p), np.shape(least)[-1]))
    mass, total = np.zeros((len(p), least.shape[1] + 1)), np.zeros(len(p))
    mass[:, 0] = 1
    for n in range(1, least.shape[1]):
        mass[:, 1 : n + 1] = mass[:, 1 : n + 1] * (1 - p) + mass[:, :n] * p
        mass[:, :1] *= 1 - p
        # Only from the lowest mark on is there anything to be counted.
        start = least[:, n].min()
        top = mass[:, start : n + 1]
        there = np.arange(start, n + 1) >= least[:, n : n + 1]
        total += top.sum(axis=1, where=there)
        top[there] = 0
        if most is not None:
            mass[:, : most[n] + 1] = 0
    return total


# The table


@pytest.fixture(scope="module")
def table():
    with (DATA / "anytime.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    k, n = (np.array([int(row[name]) for row in rows]) for name in ("k", "n"))
    alpha = np.array([float(row["alpha"]) for row in rows])
    return rows, k, n, alpha


def relative(found, rows, name):
    with mpmath.workdps(40):
        return np.array([float(mpf(float(x)) / mpf(row[name]) - 1) for x, row in zip(found, rows, strict=True)])


def test_bounds_are_outward_and_within_1e_12_of_the_table(table):
    rows, k, n, alpha = table
    low = relative(bounds(k, n, alpha), rows, "lower")
    high = relative(bounds(n - k, n, alpha, "upper"), rows, "one_minus_lower")
    assert (low <= 0).all()
    assert (high >= 0).all()
    # Of fewer votes than ln 1/alpha wealth can be all but constant in p, and the bound is then worth little.
    firm = k >= -np.log(alpha)
    assert firm.sum() > 400
    assert low[firm].min() > -1e-12
    assert high.max() < 1e-12
    assert low.min() > -1e-9


def test_complements_close_to_zero_keep_their_digits(table):
    _, k, n, alpha = table
    y = bounds(n - k, n, alpha, "upper")
    assert y.min() < 1e-15
    assert (1 - bounds(k, n, alpha) >= y * (1 - 1e-15)).all()


# The premises of Ville's inequality: no more than 1 to begin with, and nothing gained in the mean


@pytest.mark.parametrize("m", PROBABILITIES)
def test_wealth_is_worth_one_and_no_more_at_the_true_probability(m):
    for n in (1, 2, 10, 100, LOOKS):
        k = np.arange(n + 1)
        mean = np.exp(binom.logpmf(k, n, m) + ln_wealth(k, n, m)).sum()
        assert 1 - 1e-9 < mean < 1 + 1e-11


def test_a_draw_gains_nothing_in_the_mean_where_the_probability_is_no_larger():
    n = np.repeat(np.arange(120), 120)
    k = np.minimum(np.tile(np.arange(120), 120), n)
    for m in PROBABILITIES:
        now = ln_wealth(k, n, m)
        hit, miss = np.exp(ln_wealth(k + 1, n + 1, m) - now), np.exp(ln_wealth(k, n + 1, m) - now)
        assert (m * hit + (1 - m) * miss < 1 + 1e-11).all()
        assert (hit >= miss).all()


def test_wealth_decreases_with_the_threshold():
    m = np.linspace(0, 1, 2001)
    for k, n in [(0, 50), (1, 50), (25, 50), (50, 50), (99_000, 100_000)]:
        assert (np.diff(ln_wealth(k, n, m)) < 1e-11).all()


# Exact probabilities of ever being wrong


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_bound_is_ever_wrong_with_probability_alpha_at_most(alpha):
    low = [least_counts(lambda k, n, p=p: bounds(k, n, alpha) >= p) for p in PROBABILITIES]
    # k draws in the class are n - k outside of it.
    high = [least_counts(lambda k, n, p=p: bounds(n - k, n, alpha, "upper") <= 1 - p) for p in PROBABILITIES]
    wrong = np.array([reaching(PROBABILITIES, low), reaching(PROBABILITIES, high)])
    assert (wrong <= alpha).all()
    # And not by being far away, where 3,000 draws are many.
    assert (wrong[:, (PROBABILITIES > 0.25) & (PROBABILITIES < 0.95)] > 0.55 * alpha).all()


def test_bounds_and_wealth_agree():
    k, n = np.array([(k, n) for n in range(1, 90) for k in range(n + 1)]).T
    for m in PROBABILITIES:
        assert ((bounds(k, n, 0.01) >= m) == (ln_wealth(k, n, m) >= math.log(100))).all()


def broken_by_maximum(k, n, m):
    """The likelihood ratio at the most likely probability: the best bet in hindsight, which nobody made."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(k > 0, k * np.log(k / (n * m)), 0)
        ratio = ratio + np.where(k < n, (n - k) * np.log((n - k) / (n * (1 - m))), 0)
    return np.where(k > n * m, ratio, 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_likelihood_ratio_at_its_maximum_would_be_found_wrong_too_often(p):
    alpha = 0.05
    assert reaching(p, least_counts(lambda k, n: broken_by_maximum(k, n, p) >= -math.log(alpha)))[0] > 2 * alpha


@pytest.mark.parametrize("alpha", [0.25, 0.05])
@pytest.mark.parametrize("p", [0.5, 0.7, 0.9])
def test_one_and_a_half_times_the_money_would_be_found_wrong_too_often(p, alpha):
    least = least_counts(lambda k, n: ln_wealth(k, n, p) + math.log(1.5) >= -math.log(alpha))
    assert reaching(p, least)[0] > alpha


# Whole rules


def threshold(radius, sigma=0.25):
    return float(norm.cdf(radius / sigma))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("radius", [0, 0.25, 0.5, 0.75])
def test_selection_decision_and_abandonment_certify_wrongly_with_probability_alpha_at_most(radius, alpha):
    m, n0 = threshold(radius), 12
    least = least_counts(lambda k, n: ln_wealth(k, n, m) >= -math.log(alpha))
    most = np.arange(LOOKS + 1) - least_counts(lambda j, n: ln_wealth(j, n, 1 - m) >= math.log(20))
    for classes in [
        (m, 1 - m),
        (m - 0.01, (1 - m + 0.01) / 2, (1 - m + 0.01) / 2),
        (0.5, 0.3, 0.2),
        (m * 0.9, 1 - m * 0.9),
    ]:
        certified = reaching(np.array(classes), least, most)
        first = [votes for votes in itertools.product(range(n0 + 1), repeat=len(classes)) if sum(votes) == n0]
        selected = np.zeros(len(classes))
        np.add.at(selected, [int(np.argmax(votes)) for votes in first], multinomial.pmf(first, n0, classes))
        wrong = np.array(classes) <= m
        assert (selected * certified)[wrong].sum() <= alpha


@pytest.mark.parametrize("alpha", ALPHAS)
def test_selecting_by_the_same_draws_against_the_complement_is_right_at_half_alpha(alpha):
    least = least_counts(lambda k, n: ln_wealth(k, n, 0.5) >= -math.log(alpha / 2))
    # Of two classes of the same probability, whichever comes to the top is certified wrongly.
    n = np.arange(LOOKS + 1)
    both = reaching(0.5, least) * 2
    either = reaching(0.5, least, n - least) * 2
    assert either[0] <= both[0] <= alpha
    # The sum over classes is no less than the probability of their union.
    for classes in [(0.5, 0.25, 0.25), (0.5, 0.5), (0.49, 0.49, 0.02), (1 / 3,) * 3, (0.1,) * 10, (0.4, 0.4, 0.2)]:
        assert reaching(np.array(classes), least).sum() <= alpha
    # A class with more than one half is certified wrongly where its bound is above its probability.
    for p in (0.51, 0.6, 0.9):
        wrong = least_counts(lambda k, n, p=p: bounds(k, n, alpha / 2) >= p)
        assert reaching(p, wrong)[0] + reaching(1 - p, least)[0] <= alpha


@pytest.mark.parametrize("alpha", [0.25, 0.05])
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize(
    "classes", [(0.4, 0.35, 0.25), (0.5, 0.45, 0.05), (1 / 3,) * 3, (0.6, 0.2, 0.2), (0.45, 0.55, 0)]
)
def test_the_runner_ups_bound_holds_after_every_draw(classes, separate, alpha):
    looks = 150
    lower_at, upper_at = (alpha / 2, alpha / 2) if separate else (alpha / 6, alpha / 4)
    k, n = np.tril_indices(looks + 1)[::-1]
    lower, upper = np.zeros((looks + 1,) * 2), np.ones((looks + 1,) * 2)
    drawn = n > 0
    lower[n[drawn], k[drawn]] = bounds(k[drawn], n[drawn], lower_at)
    upper[n[drawn], k[drawn]] = bounds(k[drawn], n[drawn], upper_at, "upper")
    a, b = np.meshgrid(np.arange(looks + 1), np.arange(looks + 1), indexing="ij")
    mass = np.zeros((looks + 2,) * 2)
    mass[0, 0] = 1
    wrong = 0.0
    for n in range(1, looks + 1):
        drawn = mass * classes[2]
        drawn[1:] += mass[:-1] * classes[0]
        drawn[:, 1:] += mass[:, :-1] * classes[1]
        mass = drawn
        counts = np.stack([a, b, np.maximum(n - a - b, 0)])
        selected = np.zeros_like(a) if separate else counts.argmax(axis=0)
        chosen = np.take_along_axis(counts, selected[None], 0)[0]
        others = np.where(np.arange(3)[:, None, None] == selected, -1, counts)
        p1 = lower[n, chosen]
        p2 = np.minimum(upper[n, others.max(axis=0)], 1 - p1)
        truth = np.array(classes)
        rival = np.array([np.delete(truth, c).max() for c in range(3)])
        false = (p1 >= truth[selected]) | (p2 <= rival[selected])
        if not separate:
            false &= p1 > p2
        false &= a + b <= n
        wrong += mass[:-1, :-1][false].sum()
        mass[:-1, :-1][false] = 0
    assert wrong <= alpha


def test_selecting_by_the_same_draws_would_be_found_wrong_too_often_at_alpha():
    alpha, n = 0.25, np.arange(LOOKS + 1)
    least = least_counts(lambda k, n: ln_wealth(k, n, 0.5) >= -math.log(alpha))
    assert 2 * reaching(0.5, least, n - least)[0] > alpha


# The edges


def test_no_vote_claims_nothing_and_unanimity_costs_little():
    assert (bounds(0, [1, 10, 2**53], 0.5) == 0).all()
    assert (bounds([1, 10, 2**53], [1, 10, 2**53], 0.5, "upper") == 1).all()
    n = np.array([10**3, 10**5, 10**7, 2**53])
    best = -np.expm1(np.log(0.001) / n)
    assert (bounds(0, n, 0.001, "upper") < 1.4 * best).all()


@pytest.mark.parametrize("alpha", [0.001, 0.0005])
def test_a_fixed_n_costs_less_than_three_percent_of_the_radius(alpha):
    n = 100_000
    misses = np.unique(np.concatenate([np.arange(100), np.geomspace(100, n / 10, 200).astype(int)]))
    ours = -norm.ppf(bounds(misses, n, alpha, "upper"))
    exact = -norm.ppf(clopper_pearson(misses, n, alpha, side="upper"))
    assert (ours / exact).min() > 0.97


@pytest.mark.parametrize(
    ("k", "n", "alpha", "message"),
    [
        (1, 0, 0.1, r"n\[1\] must be an integer from 1 to 2\*\*53, got 0"),
        (1, 2**53 + 1, 0.1, r"n\[1\] must be an integer from 1 to 2\*\*53"),
        (-1, 5, 0.1, r"k\[1\] must be an integer from 0 to n, which is 5 there, got -1"),
        (6, 5, 0.1, r"k\[1\] must be an integer from 0 to n, which is 5 there, got 6"),
        (1, 5, 0.0, r"alpha\[1\] must be a number above 0 and below 1, got 0"),
        (1, 5, 1.0, r"alpha\[1\] must be a number above 0 and below 1, got 1"),
        (1, 5, math.nan, r"alpha\[1\] must be a number above 0 and below 1, got NaN"),
    ],
)
def test_bad_elements_are_named(k, n, alpha, message):
    with pytest.raises(ValueError, match=message):
        bounds([1, k], [2, n], [0.5, alpha])


@pytest.mark.parametrize("m", [-0.1, 1.1, math.nan])
def test_a_threshold_that_is_no_probability_is_named(m):
    with pytest.raises(ValueError, match=r"m\[1\] must be a number from 0 to 1"):
        ln_wealth(1, 2, [0.5, m])


def test_every_instruction_set_gives_the_same_bits():
    code = """
import numpy as np
from rsmooth import _core
n = np.arange(1, 4001) ** 4
out = np.empty(4000)
_core.confidence_bound("anytime", n - n // 7, n, np.full(4000, 0.001), False, out, (0, [4000]))
print(out.tobytes().hex())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"RSMOOTH_SIMD": level},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for level in _core.build_info()["simd_supported"]
    }
    assert len(digests) == 1
