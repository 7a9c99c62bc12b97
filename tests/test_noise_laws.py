"""The laws of the noise.

Every test compares a p-value with LEVEL. Critical values are exact: the Kolmogorov-Smirnov statistic's finite-sample
law (scipy.stats.kstwo), the binomial, normal, chi-squared and gamma laws; the one central limit says so. Some 150
comparisons are made, so that with noise that follows its law exactly the whole file fails with probability below 1e-6.
Seeds are fixed.
"""

import numpy as np
import pytest
from scipy import stats

import rsmooth

LEVEL = 1e-9


def assert_law(sample, cdf):
    """Kolmogorov-Smirnov test of a sample of independent values."""
    sample = np.sort(np.asarray(sample, np.float64).ravel())
    n = sample.size
    at = cdf(sample)
    statistic = max((np.arange(1, n + 1) / n - at).max(), (at - np.arange(n) / n).max())
    p = stats.kstwo.sf(statistic, n)
    assert p > LEVEL, f"n = {n}, D = {statistic}, p = {p}"


def assert_share(k, n, p):
    """Exact two-sided binomial test of k successes in n trials."""
    value = stats.binomtest(int(k), int(n), p).pvalue
    assert value > LEVEL, f"n = {n}, k = {k}, k/n = {k / n}, p = {p}, p-value = {value}"


def assert_unrelated(a, b):
    """Exact test that pairs of independent symmetric values agree in sign, and in being large, half of the time."""
    assert_share((np.signbit(a) == np.signbit(b)).sum(), a.size, 0.5)
    large_a, large_b = (np.abs(v) > np.median(np.abs(v)) for v in (a, b))
    k, n = (large_a == large_b).sum(), a.size
    # Given the halves, the agreements are hypergeometric: narrower than the binomial law that is used here.
    assert_share(k, n, 0.5)


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 3072])
def test_linf_norm_is_gamma(dim):
    """[Z20] Corollary 2: ‖z‖∞ ~ Gamma(d, σ)."""
    z = rsmooth.sample_linf((20_000 if dim < 100 else 5_000, dim), 0.3, seed=dim, dtype="float64")
    assert_law(abs(z).max(axis=1), stats.gamma(dim, scale=0.3).cdf)


@pytest.mark.parametrize("dim", [2, 3, 64, 3072])
def test_linf_noise_is_uniform_on_the_cube_surface_given_its_norm(dim):
    n = 20_000 if dim < 100 else 2_000
    z = rsmooth.sample_linf((n, dim), 0.3, seed=100 + dim, dtype="float64")
    face = abs(z).argmax(axis=1)
    norm = abs(z)[np.arange(n), face]
    assert_law(np.delete(z.ravel(), np.arange(n) * dim + face) / np.repeat(norm, dim - 1), stats.uniform(-1, 2).cdf)
    assert_share((face < dim // 2).sum(), n, (dim // 2) / dim)
    assert_share((face % 2 == 0).sum(), n, ((dim + 1) // 2) / dim)
    assert_share((z[np.arange(n), face] > 0).sum(), n, 0.5)
    # The norm says nothing of the face.
    assert_share(((norm > np.median(norm)) == (face < dim // 2)).sum(), n, 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 64, 1000])
def test_gaussian_noise_is_normal(dim, dtype):
    z = rsmooth.sample_gaussian((10**6 // dim, dim), 0.7, seed=dim, dtype=dtype)
    assert_law(z, stats.norm(scale=0.7).cdf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 64, 1000])
def test_laplace_noise_is_laplace(dim, dtype):
    z = rsmooth.sample_laplace((10**6 // dim, dim), 0.7, seed=dim, dtype=dtype)
    assert_law(z, stats.laplace(scale=0.7).cdf)


@pytest.mark.parametrize("name", ["sample_linf", "sample_gaussian", "sample_laplace"])
def test_coordinates_draws_keys_and_streams_are_unrelated(name):
    def draw(seed, first=0):
        return getattr(rsmooth, name)((2_000, 513), 1.0, seed=seed, first=first)

    z = draw(0)
    for lag in (1, 16, 32, 256):  # neighbours, pairs of the Gaussian law, groups of blocks
        assert_unrelated(z[:, :-lag].ravel(), z[:, lag:].ravel())
    assert_unrelated(z[:-1].ravel(), z[1:].ravel())
    assert_unrelated(z.ravel(), draw(1).ravel())
    assert_unrelated(z.ravel(), draw(0, first=2**32).ravel())
    assert_unrelated(z.ravel(), draw(np.random.SeedSequence(0).spawn(1)[0]).ravel())


def test_gaussian_moments_up_to_the_fourth():
    n = 10**7
    z = rsmooth.sample_gaussian((n // 1000, 1000), 1.0, seed=4).ravel().astype(np.float64)
    assert 2 * stats.norm.sf(abs(z.sum()) / np.sqrt(n)) > LEVEL
    assert 2 * min(stats.chi2.cdf((z**2).sum(), n), stats.chi2.sf((z**2).sum(), n)) > LEVEL
    # Sums of cubes and fourth powers: the central limit at n = 10⁷, with variances 15 and 96.
    assert 2 * stats.norm.sf(abs((z**3).sum()) / np.sqrt(15 * n)) > LEVEL
    assert 2 * stats.norm.sf(abs((z**4).sum() - 3 * n) / np.sqrt(96 * n)) > LEVEL


@pytest.mark.parametrize(("name", "law", "far"), [("gaussian", stats.norm, 5), ("laplace", stats.laplace, 14)])
def test_tails_have_their_share(name, law, far):
    n, beyond = 4 * 10**7, {}
    for first in range(0, n // 4096, 2048):
        z = getattr(rsmooth, f"sample_{name}")((2048, 4096), 1.0, seed=8, first=first)
        for x in (far - 1, far):
            beyond[x] = beyond.get(x, 0) + int((abs(z) > x).sum())
    drawn = len(range(0, n // 4096, 2048)) * 2048 * 4096
    for x, k in beyond.items():
        assert_share(k, drawn, 2 * law.sf(x))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "law", "reach"), [("gaussian", stats.norm, 5.5), ("laplace", stats.laplace, 15)])
def test_a_billion_values_follow_their_law(name, law, reach):
    """A histogram of 2³⁰ values, and the tails beyond it, cell by cell."""
    cells, rows, dim = 1000, 4096, 4096
    counts, drawn, largest = np.zeros(cells, np.int64), 0, 0.0
    out = np.empty((rows, dim), np.float32)
    while drawn < 2**30:
        getattr(rsmooth, f"sample_{name}")(out.shape, 1.0, seed=30, first=drawn // dim, out=out)
        counts += np.histogram(out, cells, range=(-reach, reach))[0]
        largest = max(largest, float(abs(out).max()))
        drawn += out.size
    expected = np.diff(law.cdf(np.linspace(-reach, reach, cells + 1)))
    level = LEVEL / cells
    low, high = stats.binom.ppf([[level / 2], [1 - level / 2]], drawn, expected)
    wrong = np.flatnonzero((counts < low) | (counts > high))
    assert not wrong.size, [(i, counts[i], drawn * expected[i]) for i in wrong]
    # The law of the largest of that many.
    at = 2 * law.sf(largest)
    assert LEVEL / 2 < -np.expm1(drawn * np.log1p(-at)) < 1 - LEVEL / 2


@pytest.mark.slow
def test_a_billion_linf_values_follow_their_law():
    """2²⁰ draws in 1,024 dimensions: the radial law, and a histogram of z / ‖z‖∞ off the largest coordinate."""
    cells, rows, dim = 1000, 4096, 1024
    counts, norms = np.zeros(cells, np.int64), []
    out = np.empty((rows, dim), np.float32)
    for first in range(0, 2**20, rows):
        rsmooth.sample_linf(out.shape, 1.0, seed=31, first=first, out=out)
        norm = abs(out).max(axis=1)
        norms.append(norm)
        scaled = out / norm[:, None]
        counts += np.histogram(scaled[abs(scaled) < 1], cells, range=(-1, 1))[0]
    assert_law(np.concatenate(norms), stats.gamma(dim).cdf)
    low, high = stats.binom.ppf([LEVEL / cells / 2, 1 - LEVEL / cells / 2], counts.sum(), 1 / cells)
    assert ((counts >= low) & (counts <= high)).all()
