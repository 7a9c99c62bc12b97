"""Draws until the certified accuracies of a table are known, where 100,000 an image are the custom: simulated.

`python -m pytest benches/test_until.py -s` prints the numbers of docs/anytime.md; it takes some minutes. The plan and
the decisions are those of runs; votes are drawn with the probabilities that the published radii tell: the count k of
n = 100,000 whose Clopper-Pearson bound gives the printed radius, as k / n. An image that abstained has told nothing but
that its class has less than 0.504 of the votes: either all are put at 1/2, which is the worst and not to be decided, or
evenly between 0.374 and 0.504, where they are as dense as those above.
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from rsmooth import Gaussian, anytime, build_info, clopper_pearson
from rsmooth.certificates.topclass import TopClass
from rsmooth.rule import Rule
from rsmooth.run.work import EXAMPLES_IN_GROUP
from rsmooth.stopping import Until
from rsmooth.torch.plan import UntilPlan
from rsmooth.torch.voter import AHEAD

SIGMA, ALPHA, PUBLISHED_ALPHA, N0, N, SIZE = 0.25, 0.001, 0.01, 100, 100_000, 1000
RADII = (0, 0.25, 0.5, 0.75)
RUNS = 20


def published(abstained):
    text = (Path(__file__).parent / "data" / "published_radii_0.25.txt").read_text()
    radii = np.array(" ".join(line for line in text.splitlines() if not line.startswith("#")).split(), float)
    counts = np.arange(N // 2, N + 1)
    certified = SIGMA * norm.ppf(clopper_pearson(counts, N, PUBLISHED_ALPHA))
    p = counts[np.abs(certified[None] - np.abs(radii)[:, None]).argmin(axis=1)] / N
    none = np.flatnonzero(radii == 0)
    p[none] = 0.5 if abstained == "half" else 0.504 - 0.13 * (np.arange(len(none)) + 0.5) / len(none)
    return p, radii > 0


def rule(bound="neyman-pearson"):
    return Rule(Gaussian(SIGMA), norm=2, dim=3072, alpha=ALPHA, bound=bound, runner_up="complement", interval="anytime")


def played(p, stopping, seed, budget=None):
    """Return the counts that a run's plan ends with, in groups as it has them, votes told as late as they may be."""
    rng = np.random.default_rng(seed)
    found = []
    for start in range(0, len(p), EXAMPLES_IN_GROUP):
        group = p[start : start + EXAMPLES_IN_GROUP]
        examples = [(index, torch.zeros(1)) for index in range(len(group))]
        plan = UntilPlan(
            examples,
            TopClass(),
            classes=2,
            n0=N0,
            n=N,
            size=SIZE,
            root=np.random.SeedSequence(0),
            stopping=stopping,
            budget=None if budget is None else budget * len(group) // len(p),
        )
        waiting, number = [], 0
        while (batch := plan.compose(number)) is not None or waiting:
            if batch is not None:
                rows, counts = (np.array([getattr(each, name) for each in batch]) for name in ("row", "count"))
                # The class that is tested is the published one.
                chance = np.where(rows % 2 == 0, 1, group[rows // 2])
                waiting.append((number, (rng.random(counts.sum()) >= np.repeat(chance, counts)).astype(np.int64)))
                number += 1
            while waiting and (batch is None or len(waiting) == AHEAD):
                plan.record(*waiting.pop(0))
        found.append(plan.tally()[1])
    return np.concatenate(found)


def certified(counts, right):
    radius = SIGMA * np.maximum(norm.ppf(anytime(counts[:, 0], counts.sum(axis=1), ALPHA)), 0)
    return ((radius[:, None] > np.array(RADII)) & right[:, None]).mean(axis=0), (radius * right).mean()


def fixed(p, right, n=N, seed=0):
    votes = np.random.default_rng(seed).binomial(n, p, (20, len(p)))
    radius = SIGMA * np.maximum(norm.ppf(clopper_pearson(votes, n, ALPHA)), 0)
    held = (radius[..., None] > np.array(RADII)) & right[:, None]
    return held.mean(axis=(0, 1)), (radius * right).mean()


@pytest.mark.parametrize("radii", [RADII, *((radius,) for radius in RADII)], ids=str)
@pytest.mark.parametrize("abstained", ["spread", "half"])
def test_draws_until_the_radii_are_decided(benchmark, abstained, radii):
    p, right = published(abstained)
    stopping = Until(TopClass(), rule(), N, radii)

    def simulate():
        runs = [played(p, stopping, seed) for seed in range(RUNS)]
        drawn = np.array([counts.sum(axis=1) for counts in runs])
        accuracy = np.mean([certified(counts, right)[0] for counts in runs], axis=0)
        return N0 + drawn.mean(), (drawn == N).mean(), accuracy

    draws, to_the_end, accuracy = benchmark.pedantic(simulate)
    lost = (100 * (fixed(p, right)[0] - accuracy)).round(2)
    asked = np.isin(RADII, radii)
    print(
        f"\nabstained: {abstained}, until {radii}: {draws:,.0f} draws, {(N0 + N) / draws:.1f} times fewer; "
        f"{to_the_end:.1%} went on to the end; points lost {lost[asked]}"
    )
    benchmark.extra_info.update(draws=draws, lost=list(lost[asked]))


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_draws_until_more_would_not_widen_the_radius(benchmark, width):
    p, right = published("spread")
    stopping = Until(TopClass(), rule(), N, width=width)
    counts = benchmark.pedantic(lambda: played(p, stopping, 0))
    draws = N0 + counts.sum(axis=1).mean()
    acr, theirs, same = certified(counts, right)[1], fixed(p, right)[1], fixed(p, right, int(draws))[1]
    print(
        f"\nwidth {width}: {draws:,.0f} draws, {(N0 + N) / draws:.1f} times fewer; ACR {acr / theirs - 1:+.2%}, "
        f"as many draws for every image {same / theirs - 1:+.2%}"
    )


@pytest.mark.parametrize("draws", [500, 1000, 2000, 4000])
def test_a_budget(benchmark, draws):
    p, right = published("spread")
    stopping = Until(TopClass(), rule(), N, RADII)
    counts = benchmark.pedantic(lambda: played(p, stopping, 0, draws * len(p)))
    accuracy, theirs, same = certified(counts, right)[0], fixed(p, right)[0], fixed(p, right, draws - N0)[0]
    spent = N0 + counts.sum(axis=1).mean()
    print(
        f"\n{draws} draws an image ({spent:,.0f} spent): certified accuracy {(100 * accuracy).round(1)}, as many for "
        f"every image {(100 * same).round(1)}, 100,000 {(100 * theirs).round(1)}"
    )


@pytest.mark.parametrize("alpha", [0.001, 0.0005])
def test_radii_at_a_fixed_number_of_draws(alpha):
    shares = np.array([0, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1])
    misses = np.rint(shares * N).astype(np.int64)
    ours = norm.isf(anytime(misses, N, alpha, side="upper"))
    exact = norm.isf(clopper_pearson(misses, N, alpha, side="upper"))
    print(f"\nalpha {alpha}, share of other votes {shares}: radius {(100 * (ours / exact - 1)).round(2)}%")


def test_a_million_rows(benchmark):
    rng = np.random.default_rng(0)
    n = np.full(10**6, N)
    k = N - rng.integers(0, N // 2, 10**6)
    started = time.process_time()
    benchmark.pedantic(lambda: anytime(k, n, ALPHA))
    took = time.process_time() - started
    print(f"\na million rows: {took:.2f} s of processor time on {build_info()['threads']} threads")
