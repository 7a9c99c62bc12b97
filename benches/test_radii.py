"""The radius engine beside what a user would write with NumPy and SciPy, in one run."""

import numpy as np
import pytest
from scipy import optimize, stats

from ratios import ratio
from rsmooth import Gaussian, certify_counts, renyi_sup

ROWS = 4_000_000
GOLDEN_ROWS = 400_000
SCIPY_ROWS = 1000

ratio(
    "renyi_sup, 4 M random rows",
    "vectorised NumPy golden section",
    ours="renyi_sup",
    theirs="numpy golden section",
    at_least=200,
    ours_units=ROWS,
    theirs_units=GOLDEN_ROWS,
)
ratio(
    "renyi_sup, 4 M random rows",
    "scipy minimize_scalar per row",
    ours="renyi_sup",
    theirs="scipy minimize_scalar",
    at_least=13_000,
    ours_units=ROWS,
    theirs_units=SCIPY_ROWS,
)
ratio(
    "certify_counts, 1 M x 10 int64",
    "SciPy's Clopper-Pearson p1 and p2 alone",
    ours="certify 10",
    theirs="scipy interval",
    at_least=15,
)
ratio(
    "certify_counts, 1 M x 1000 int32",
    "counts.max(axis=1)",
    ours="certify 1000",
    theirs="numpy max",
    at_least=0.5,
)


def pairs(rows):
    rng = np.random.default_rng(0)
    p1, p2 = np.sort(rng.random((2, rows)), axis=0)[::-1]
    return p1.copy(), np.minimum(p2, 1 - p1)


def plain(order, p1, p2):
    """The bound as it is printed; it cancels where p1 is near p2."""
    s = 1 - order
    return np.log(1 - p1 - p2 + 2 * ((p1**s + p2**s) / 2) ** (1 / s)) / order


def golden_section(p1, p2, steps=40):
    cut = (5**0.5 - 1) / 2
    low, high = np.full_like(p1, 1 + 1e-9), np.full_like(p1, 1.6)
    left, right = high - cut * (high - low), low + cut * (high - low)
    at_left, at_right = plain(left, p1, p2), plain(right, p1, p2)
    for _ in range(steps):
        down = at_left < at_right
        low, high = np.where(down, low, left), np.where(down, right, high)
        new = np.where(down, high - cut * (high - low), low + cut * (high - low))
        at_new = plain(new, p1, p2)
        left, right = np.where(down, new, right), np.where(down, left, new)
        at_left, at_right = np.where(down, at_new, at_right), np.where(down, at_left, at_new)
    return -np.minimum(at_left, at_right)


def per_row(p1, p2):
    bounds = (1 + 1e-9, 1.6)
    return [
        -optimize.minimize_scalar(plain, bounds=bounds, args=(a, b), method="bounded", options={"xatol": 1e-8}).fun
        for a, b in zip(p1, p2, strict=True)
    ]


def votes(rows, classes, dtype, draws=100_000, seed=1):
    """Counts of a classifier that is sure of some inputs and unsure of others."""
    rng = np.random.default_rng(seed)
    found = np.empty((rows, classes), dtype)
    for start in range(0, rows, 10_000):
        part = found[start : start + 10_000]
        share = rng.dirichlet(np.full(10, 0.3), size=len(part))
        part[:, :10] = rng.multinomial(draws, share)
        part[:, 10:] = rng.integers(0, 2, (len(part), classes - 10))
    return found


def test_renyi_sup(timed):
    p1, p2 = pairs(ROWS)
    out = np.empty(ROWS)
    timed("renyi_sup", lambda: renyi_sup(p1, p2, out=out))


def test_numpy_golden_section(timed):
    p1, p2 = pairs(GOLDEN_ROWS)
    timed("numpy golden section", lambda: golden_section(p1, p2), rounds=3)


def test_scipy_minimize_scalar(timed):
    p1, p2 = pairs(SCIPY_ROWS)
    timed("scipy minimize_scalar", lambda: per_row(p1, p2), rounds=3)


def test_certify_10_classes(timed):
    counts = votes(1_000_000, 10, np.int64)
    timed("certify 10", lambda: certify_counts(counts, Gaussian(0.5), norm=2, dim=3072))


def test_scipy_clopper_pearson(timed):
    draws = 100_000
    other, top = np.sort(votes(1_000_000, 10, np.int64, draws), axis=1)[:, -2:].T

    def bounds():
        stats.beta.ppf(0.0005, top, draws - top + 1)
        stats.beta.isf(0.0005, other + 1, draws - other)

    timed("scipy interval", bounds, rounds=1)


@pytest.fixture(scope="module")
def wide():
    return votes(1_000_000, 1000, np.int32, draws=10_000)


def test_certify_1000_classes(timed, wide):
    timed("certify 1000", lambda: certify_counts(wide, Gaussian(0.5), norm=2, dim=150_528), rounds=3)


def test_numpy_max(timed, wide):
    timed("numpy max", lambda: wide.max(axis=1), rounds=3)


SIZES = [10**3, 10**4, 10**5, 10**6, 10**7]


@pytest.mark.parametrize("rows", SIZES)
def test_renyi_sup_cost_per_row(timed, rows):
    p1, p2 = pairs(rows)
    out = np.empty(rows)
    timed(f"renyi_sup at {rows}", lambda: renyi_sup(p1, p2, out=out, threads=1), rounds=5)


@pytest.mark.parametrize("rows", SIZES)
def test_certify_cost_per_row(timed, rows):
    counts = np.resize(votes(min(rows, 10**5), 10, np.int32, draws=1000), (rows, 10))
    timed(f"certify at {rows}", lambda: certify_counts(counts, Gaussian(0.5), norm=2, dim=3072, threads=1), rounds=5)


for size in SIZES[:-1]:
    for what in ("renyi_sup", "certify"):
        ratio(
            f"{what}, cost per row at {size:,} rows",
            f"at {SIZES[-1]:,} (1 thread; flat: 0.77 to 1.3)",
            ours=f"{what} at {size}",
            theirs=f"{what} at {SIZES[-1]}",
            at_least=0.77,
            ours_units=size,
            theirs_units=SIZES[-1],
        )
