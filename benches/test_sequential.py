"""Draws that a sequential test takes where 100,000 are the custom, on published radii taken for the truth."""

from pathlib import Path

import numpy as np
from scipy.stats import norm

from rsmooth.sequential import BettingTest

SIGMA, RADIUS, N, STEP = 0.5, 0.5, 100_000, 20


def test_draws_on_published_radii(benchmark):
    lines = (Path(__file__).parent / "data" / "published_radii.txt").read_text().splitlines()
    radii = np.array(" ".join(line for line in lines if not line.startswith("#")).split(), float)
    p = np.where(radii == 0, 0.5, norm.cdf(np.abs(radii) / SIGMA))
    test = BettingTest(float(norm.cdf(RADIUS / SIGMA)), 0.001, N)

    def simulate():
        rng = np.random.default_rng(0)
        votes, draws, decision = (np.zeros(len(p), np.int64) for _ in range(3))
        while len(open_ := np.flatnonzero((decision == 0) & (draws < N))):
            votes[open_] += rng.binomial(STEP, p[open_])
            decision[open_] = test.decide(votes[open_], draws[open_] + STEP)
            draws[open_] += STEP
        return draws.mean(), ((decision == 1) & (radii > 0)).mean()

    mean, certified = benchmark.pedantic(simulate)
    benchmark.extra_info.update(draws=mean, certified=certified, fixed_scheme=float((radii >= RADIUS).mean()))
    print(f"\n{mean:,.0f} draws, certified {certified:.1%} (fixed scheme {(radii >= RADIUS).mean():.1%})")
    assert mean < N
