"""Draws until the certified accuracies of a table are known, where 100,000 an image are the custom: simulated.

`python -m pytest benches/test_anytime.py -s` prints the numbers of docs/anytime.md; it takes some minutes. Votes are
drawn with the probabilities that the published radii tell: the count k of n = 100,000 whose Clopper-Pearson bound gives
the printed radius, as k / n. An image that abstained has told nothing but that its class has less than 0.505 of the
votes: either all are put at 1/2, which is the worst and not to be decided, or evenly between 0.375 and 0.505, where
they are as dense as those above.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from rsmooth import _core, clopper_pearson

SIGMA, ALPHA, FUTILITY, N, STEP = 0.25, 0.001, 0.05, 100_000, 20
RADII = (0, 0.25, 0.5, 0.75)
LOOKS = np.arange(STEP, N + 1, STEP)
RUNS = 20


def published(abstained):
    text = (Path(__file__).parent / "data" / "published_radii_0.25.txt").read_text()
    radii = np.array(" ".join(line for line in text.splitlines() if not line.startswith("#")).split(), float)
    counts = np.arange(N // 2, N + 1)
    certified = SIGMA * norm.ppf(clopper_pearson(counts, N, ALPHA))
    p = counts[np.abs(certified[None] - np.abs(radii)[:, None]).argmin(axis=1)] / N
    none = np.flatnonzero(radii == 0)
    p[none] = 0.5 if abstained == "half" else 0.505 - 0.13 * (np.arange(len(none)) + 0.5) / len(none)
    return p, radii > 0


def ln_wealth(k, n, m):
    out = np.empty(len(n))
    _core.anytime_ln_wealth(k, n, np.full(len(n), float(m)), out, (0, [len(n)]))
    return out


def bounds(k, n, alpha, side="lower"):
    out = np.empty(len(n))
    _core.anytime(k, n, np.full(len(n), alpha), side == "upper", out, (0, [len(n)]))
    return out


def least(reached):
    """The least k with ``reached(k, n)`` at every look, or n + 1."""
    low, high = np.full(len(LOOKS), -1), LOOKS + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        yes = reached(middle, LOOKS)
        low, high = np.where(yes, low, middle), np.where(yes, middle, high)
    return high


def first(reached):
    return np.where(reached.any(axis=1), reached.argmax(axis=1), len(LOOKS))


def abandoned_by_test(m, _certified):
    """The count up to which the class has less than m, at level 5%."""
    return LOOKS - least(lambda j, n: ln_wealth(j, n, 1 - m) >= -math.log(FUTILITY))


def abandoned_by_prediction(_m, certified):
    """The count up to which the votes to come reach what is needed at the end with probability 0.13% (3 deviations)."""

    def hopeless(j, n):
        k = n - j
        p = (k + 1) / (n + 2)
        deviation = np.sqrt((N - n) * p * (1 - p) * (N + 2) / (n + 2))
        return certified[-1] - k - (N - n) * p > 3 * deviation

    return LOOKS - least(hopeless)


RULES = {"5% test": abandoned_by_test, "prediction": abandoned_by_prediction}


@pytest.mark.parametrize("abstained", ["half", "spread"])
@pytest.mark.parametrize("rule", RULES)
def test_draws_until_the_radii_are_decided(benchmark, rule, abstained):
    p, right = published(abstained)
    thresholds = norm.cdf(np.array(RADII) / SIGMA)
    certified = [least(lambda k, n, m=m: ln_wealth(k, n, m) >= -math.log(ALPHA)) for m in thresholds]
    abandoned = [RULES[rule](m, walls) for m, walls in zip(thresholds, certified, strict=True)]

    def simulate():
        rng = np.random.default_rng(0)
        rows = []
        for _ in range(RUNS):
            votes = rng.binomial(STEP, p[:, None], (len(p), len(LOOKS))).cumsum(axis=1)
            fixed = clopper_pearson(votes[:, -1], N, ALPHA)
            up = np.array([first(votes >= walls) for walls in certified])
            down = np.array([first(votes <= walls) for walls in abandoned])
            ended = np.minimum(np.minimum(up, down), len(LOOKS) - 1)
            accuracy = ((up < len(LOOKS)) & (up <= down) & right).mean(axis=1)
            theirs = ((fixed > thresholds[:, None]) & right).mean(axis=1)
            all_ended = LOOKS[ended.max(axis=0)]
            rows.append([all_ended.mean(), (all_ended == N).mean(), *LOOKS[ended].mean(axis=1), *accuracy, *theirs])
        return np.mean(rows, axis=0)

    draws, undecided, *rest = benchmark.pedantic(simulate)
    one, accuracy, theirs = np.array(rest).reshape(3, -1)
    print(
        f"\nabstained: {abstained}, abandoned by {rule}: {draws:,.0f} draws, {N / draws:.1f} times fewer; "
        f"{undecided:.1%} went on to the end\n  one radius: {one.round()} draws, {(N / one).round(1)} times fewer"
        f"\n  certified accuracy {(100 * accuracy).round(2)}, fixed n {(100 * theirs).round(2)}, "
        f"points lost {(100 * (theirs - accuracy)).round(2)}"
    )
    benchmark.extra_info.update(draws=draws, one=list(one), lost=list(theirs - accuracy))


@pytest.mark.parametrize("width", [0.05, 0.02])
@pytest.mark.parametrize("upper_end", ["interval", "projection"])
def test_draws_until_the_radius_is_known_to_a_width(benchmark, upper_end, width):
    """Upper end: that of the interval at 5%, or the radius that the last draw would give if votes came at that rate."""
    p, right = published("spread")
    looks = np.unique(np.geomspace(100, N, 400).astype(int))

    def radius(probability):
        return SIGMA * np.maximum(norm.ppf(probability), 0)

    def simulate():
        rng = np.random.default_rng(0)
        total, ours, theirs = 0, 0.0, 0.0
        for _ in range(RUNS // 4):
            votes, open_ = np.zeros(len(p), np.int64), np.arange(len(p))
            found = np.zeros(len(p))
            fixed = np.zeros(len(p))
            for before, n in zip(np.append(0, looks[:-1]), looks, strict=True):
                votes += rng.binomial(n - before, p)
                k, draws = votes[open_], np.full(len(open_), n)
                lower, upper = radius(bounds(k, draws, ALPHA)), bounds(k, draws, FUTILITY, "upper")
                if upper_end == "projection":
                    last = np.minimum(np.floor(k + (N - n) * upper).astype(np.int64), N)
                    reach = radius(bounds(last, np.full(len(open_), N), ALPHA))
                else:
                    reach = radius(upper)
                found[open_] = lower
                ended = (reach <= (1 + width) * lower) | (upper <= 0.5) | (n == N)
                total += n * ended.sum()
                open_ = open_[~ended]
            fixed = radius(clopper_pearson(votes, N, ALPHA))
            ours, theirs = ours + (found * right).sum(), theirs + (fixed * right).sum()
        return total / len(p) / (RUNS // 4), ours / theirs

    draws, acr = benchmark.pedantic(simulate)
    print(f"\nwidth {width}, {upper_end}: {draws:,.0f} draws, {N / draws:.1f} times fewer; ACR {acr - 1:+.2%}")


@pytest.mark.parametrize("alpha", [0.001, 0.0005])
def test_radii_at_a_fixed_number_of_draws(alpha):
    shares = np.array([0, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1])
    misses = np.rint(shares * N).astype(np.int64)
    ours = norm.isf(bounds(misses, np.full(len(misses), N), alpha, "upper"))
    exact = norm.isf(clopper_pearson(misses, N, alpha, side="upper"))
    print(f"\nalpha {alpha}, share of other votes {shares}: radius {(100 * (ours / exact - 1)).round(2)}%")


def test_a_million_rows(benchmark):
    rng = np.random.default_rng(0)
    n = np.full(10**6, N)
    k = N - rng.integers(0, N // 2, 10**6)
    benchmark.pedantic(lambda: bounds(k, n, ALPHA), rounds=3)
    print(f"\na million rows: {benchmark.stats.stats.median:.2f} s on {_core.build_info()['threads']} threads")
