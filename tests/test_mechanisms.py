"""The mechanisms' guarantees and magnitudes."""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from rsmooth import Exponential, Gaussian, Laplace


@pytest.mark.parametrize("dim", [1, 2, 3, 10, 255, 256, 257, 3072, 150_528, 10**7])
def test_expected_linf_agrees_with_mpmath(dim):
    with mpmath.workdps(30):
        # 1 - (2Φ(t) - 1)^d through erfc, which keeps its digits in the tail.
        integrand = lambda t: (
            -mpmath.expm1(dim * mpmath.log1p(-mpmath.erfc(t / mpmath.sqrt(2)))) if t else mpmath.mpf(1)
        )
        middle = math.sqrt(2 * math.log(dim + 1))
        exact = mpmath.quad(integrand, [0, middle / 2, middle, middle + 1, middle + 3, middle + 8, mpmath.inf])
        assert Gaussian(0.5).expected_linf(dim) == pytest.approx(float(exact / 2), rel=1e-12)
        assert Laplace(0.5).expected_linf(dim) == pytest.approx(float(mpmath.harmonic(dim) / 2), rel=1e-12)
    assert Exponential(0.5).expected_linf(dim) == dim / 2


@pytest.mark.parametrize("mechanism", [Gaussian(0.5), Exponential(0.5), Laplace(0.5)])
def test_expected_linf_is_what_samples_show(mechanism):
    norms = abs(mechanism.sample((20_000, 50), seed=1, dtype="float64")).max(axis=1)
    z = (norms.mean() - mechanism.expected_linf(50)) / (norms.std() / math.sqrt(norms.size))
    assert 2 * stats.norm.sf(abs(z)) > 1e-9


def test_mr_divergence_is_that_of_the_theorems():
    r = np.array([0.0, 0.1, 0.5, 3.0])
    s, d = 0.5, 100
    np.testing.assert_allclose(Gaussian(s).mr_divergence(r, norm=2, dim=d), r**2 / (2 * s**2))  # Theorem 4.1
    np.testing.assert_allclose(Gaussian(s).mr_divergence(r, norm=math.inf, dim=d), d * r**2 / (2 * s**2))  # Theorem 5.3
    pure = np.minimum(r / s, r**2 / (2 * s**2))
    np.testing.assert_allclose(Exponential(s).mr_divergence(r, norm=math.inf, dim=d), pure)  # Theorem 5.1
    np.testing.assert_allclose(Laplace(s).mr_divergence(r, norm=1, dim=d), pure)


@pytest.mark.parametrize("kind", [Gaussian, Exponential, Laplace])
@pytest.mark.parametrize("norm", [1, 2, math.inf])
@pytest.mark.parametrize("epsilon", [0.1, 1.9, 2.1, 30.0])
def test_scale_for_is_the_scale_at_which_the_divergence_is_epsilon(kind, norm, epsilon):
    mechanism = kind.scale_for(0.3, epsilon, norm=norm, dim=64)
    assert type(mechanism) is kind
    assert float(mechanism.mr_divergence(0.3, norm=norm, dim=64)) == pytest.approx(epsilon, rel=1e-12)


@pytest.mark.parametrize("mechanism", [Gaussian(0.3), Exponential(0.3), Laplace(0.3)])
@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_the_renyi_radius_is_where_the_divergence_reaches_the_sup(mechanism, norm):
    from rsmooth import renyi_sup

    p1 = np.array([0.55, 0.9, 0.999, 0.999999])
    radius = mechanism.radius(p1, 1 - p1, norm=norm, dim=64, bound="renyi")
    np.testing.assert_allclose(mechanism.mr_divergence(radius, norm=norm, dim=64), renyi_sup(p1, 1 - p1), rtol=1e-11)


def laplace_divergence(order, shift):
    """D_α of a one-dimensional Laplace law of scale 1 and its shift, in closed form."""
    a = order
    first = np.log(a / (2 * a - 1)) + (a - 1) * shift
    second = np.log((a - 1) / (2 * a - 1)) - a * shift
    return np.logaddexp(first, second) / (a - 1)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_laplace_mr_divergence_is_never_below_that_of_any_shift(norm):
    """Independent coordinates: divergences add. Shifts of one norm, spread over few or many of 64 coordinates."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        used = rng.integers(1, 65)
        shift = np.zeros(64)
        shift[:used] = rng.random(used) ** rng.choice([0, 1, 5])
        size = 10 ** rng.uniform(-1, 2)
        shift *= size / np.linalg.norm(shift, norm)
        orders = 1 + 10.0 ** np.linspace(-2, 3, 60)
        relative = max(laplace_divergence(order, shift).sum() / order for order in orders)
        assert relative <= Laplace(1.0).mr_divergence(size, norm=norm, dim=64) * (1 + 1e-9)
