"""The hockey-stick bound: against its formula, against Neyman-Pearson, and against one divergence at a time."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy import stats

from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile, Uniform

OWN = [(Gaussian(0.5), 2), (Exponential(0.5), math.inf), (Laplace(0.5), 1), (Uniform(0.5), 1)]


def radius(mechanism, p1, p2, bound="hockey-stick", *, norm, dim=3):
    return mechanism.radius(p1, p2, norm=norm, dim=dim, bound=bound)


def pairs(n=300, seed=1):
    """Pairs p1 > p2 near each other, near 0 and 1, and with p1 + p2 near 1."""
    rng = np.random.default_rng(seed)
    p1 = np.concatenate([rng.random(n), 1 - 10.0 ** -rng.uniform(0, 12, n)])
    p2 = np.minimum(p1, 1 - p1) * np.concatenate([1 - 10.0 ** -rng.uniform(0, 9, n), 10.0 ** -rng.uniform(0, 100, n)])
    p2[::5] = (1 - p1)[::5]
    return p1[p1 > p2], p2[p1 > p2]


def normal_quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def laplace_quantile(p):
    return mpmath.log(2 * p) if p <= 0.5 else -mpmath.log(2 * (1 - p))


@pytest.mark.parametrize(
    ("mechanism", "norm", "quantile"),
    [
        (*OWN[0], normal_quantile),
        (*OWN[1], laplace_quantile),
        (*OWN[2], laplace_quantile),
        (*OWN[3], lambda p: 2 * p - 1),
    ],
)
def test_hockey_stick_is_never_above_the_formula_and_close_below(mechanism, norm, quantile):
    p1, p2 = pairs()
    found = radius(mechanism, p1, p2, norm=norm)
    with mpmath.workdps(60):
        for a, b, r in zip(p1, p2, found, strict=True):
            a, b = mpf(float(a)), mpf(float(b))  # noqa: PLW2901
            top = min((1 + a - b) / 2, max(a, 1 - b))
            exact = mechanism.parameter * quantile(top)
            assert mpf(float(r)) <= exact
            # Of a gap or a tail of x, doubles near ½ or 1 know some 2⁻⁵²/x.
            assert exact - mpf(float(r)) <= exact * 1e-14 + mechanism.parameter * 2e-15 / min(1 - top, 1)


@pytest.mark.parametrize(("mechanism", "norm"), OWN)
def test_hockey_stick_is_never_above_neyman_pearson_and_equals_it_where_p2_is_one_minus_p1(mechanism, norm):
    p1, p2 = pairs()
    tight, loose = (radius(mechanism, p1, p2, bound, norm=norm) for bound in ("neyman-pearson", "hockey-stick"))
    assert (loose <= tight * (1 + 1e-9)).all()
    p1 = p1[p1 > 0.5]
    tight, loose = (radius(mechanism, p1, 1 - p1, bound, norm=norm) for bound in ("neyman-pearson", "hockey-stick"))
    assert (loose == tight).all()


@given(st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_tightest_never_gains_from_hockey_stick(a, b):
    p1, p2 = max(a, b), min(a, b, 1 - max(a, b))
    for mechanism in (Gaussian(0.5), Exponential(0.5), Laplace(0.5), Uniform(0.5)):
        for norm in (1, 2, math.inf):
            best = radius(mechanism, p1, p2, "tightest", norm=norm)
            assert radius(mechanism, p1, p2, norm=norm) <= best * (1 + 1e-9)


def test_known_values():
    assert radius(Gaussian(1), 0.6, 0.1, norm=2) == pytest.approx(stats.norm.ppf(0.75), rel=1e-14)
    assert radius(Gaussian(1), 0.6, 0.1, "neyman-pearson", norm=2) == pytest.approx(0.76745, abs=1e-5)
    assert radius(Gaussian(1), 0.3, 0.3, norm=2) == 0
    assert radius(Gaussian(1), 1.0, 0.0, norm=2) == math.inf


def hockey_stick(gamma, s):
    """The divergence of unit normal laws at distance s, less 1 - gamma where that is positive."""
    return (
        stats.norm.cdf(s / 2 - np.log(gamma) / s)
        - gamma * stats.norm.cdf(-s / 2 - np.log(gamma) / s)
        - np.maximum(1 - gamma, 0)
    )


@pytest.mark.parametrize(("p1", "p2"), [(0.6, 0.1), (0.9, 0.1), (0.99, 0.001), (0.4, 0.2), (0.35, 0.3)])
def test_the_radius_is_the_best_over_the_divergences_of_both_kinds(p1, p2):
    """Each gamma by itself, of either side of 1, with its own budget."""
    gamma = np.exp(np.linspace(-8, 8, 20_001))
    budget = np.where(gamma >= 1, 1 - gamma * (1 - p1 + p2), gamma * (1 + p1 - p2) - 1) / 2
    found = float(radius(Gaussian(1), p1, p2, norm=2))
    assert (hockey_stick(gamma, found * (1 - 1e-4)) < budget).any()
    assert not (hockey_stick(gamma, found * (1 + 1e-6)) < budget).any()


def test_a_vote_can_flip_just_beyond_the_radius_of_a_binary_classifier():
    """Class A where z < σΦ⁻¹(p1): the shift that the radius allows brings it to ½, and no further."""
    for p1 in (0.55, 0.9, 0.9999):
        r = float(radius(Gaussian(0.5), p1, 1 - p1, norm=2))
        after = stats.norm.cdf(stats.norm.ppf(p1) - np.array([r * (1 - 1e-9), r * (1 + 1e-9)]) / 0.5)
        assert after[0] > 0.5 > after[1]


def test_a_curve_of_the_callers_own_is_enough():
    class Own(Mechanism):
        name = "own"

        def sample(self, shape, **settings):
            raise NotImplementedError

        def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
            return Profile(tradeoff=lambda r, p: stats.norm.cdf(stats.norm.ppf(p) + r / 0.5))

    assert Own().holding(2) == ("neyman-pearson", "hockey-stick")
    p1, p2 = np.array([0.6, 0.9, 0.99]), np.array([0.1, 0.05, 0.01])
    assert radius(Own(), p1, p2, norm=2) == pytest.approx(radius(Gaussian(0.5), p1, p2, norm=2), rel=1e-9)
