"""Rényi divergences, D_MR and PixelDP: Definitions 1 to 3, Lemmas 1 and 4, Theorem 3.1, Corollary 1 and Theorem 5.1.

Statistical tests compare p-values with LEVEL; critical values are exact (scipy.stats.kstwo, the binomial law). Some 50
comparisons are made with fixed seeds.
"""

import math
import pkgutil
import re
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import rsmooth
from rsmooth import Exponential, Gaussian, Laplace
from rsmooth.theory.closed_forms import gaussian_renyi, laplace_mr, laplace_renyi
from rsmooth.theory.densities import density_mr_divergence, density_renyi_divergence
from rsmooth.theory.pixeldp import pixeldp_delta, pixeldp_epsilon, pixeldp_epsilon_at
from rsmooth.theory.renyi import is_robust, mr_divergence, renyi_divergence
from rsmooth.theory.scores import certify_scores, score_bounds

LEVEL = 1e-9
ORDERS = [1e-3, 0.3, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 1.001, 1.5, 2.0, 10.0, 1000.0]


def exact_renyi(p, q, order):
    """D_α in 60 digits from the definition."""
    with mpmath.workdps(60):
        p, q, order = [mpmath.mpf(x) for x in p], [mpmath.mpf(x) for x in q], mpmath.mpf(order)
        p, q = [x / mpmath.fsum(p) for x in p], [x / mpmath.fsum(q) for x in q]
        if order == 1:
            return float(mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a))
        terms = [a**order * b ** (1 - order) for a, b in zip(p, q, strict=True) if a and b]
        return float(mpmath.log(mpmath.fsum(terms)) / (order - 1))


def exact_laplace(shift, order):
    with mpmath.workdps(60):
        s, a = mpmath.mpf(shift), mpmath.mpf(order)
        if a == 1:
            return float(s - 1 + mpmath.exp(-s))
        if a == mpmath.mpf("0.5"):
            return float(-2 * mpmath.log(mpmath.exp(-s / 2) * (1 + s / 2)))
        part = a / (2 * a - 1) * mpmath.exp((a - 1) * s) + (a - 1) / (2 * a - 1) * mpmath.exp(-a * s)
        return float(mpmath.log(part) / (a - 1))


def normal(mean, sigma=1.0):
    return lambda x: -(((x - mean) / sigma) ** 2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))


def laplace(mean):
    return lambda x: -abs(x - mean) - math.log(2)


def distributions(size):
    weights = st.lists(st.floats(1e-12, 1), min_size=size, max_size=size)
    return weights.map(lambda values: np.array(values) / math.fsum(values))


# Rényi divergence


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("closeness", [1.0, 1e-3, 1e-6])
def test_renyi_divergence_is_its_definition(order, closeness):
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(6))
    # Binary fractions of sum exactly 1 on both sides, so that both calculations see the same distributions.
    p = np.round(p * 2**40) / 2**40
    p[-1] = 1 - p[:-1].sum()
    change = np.round(closeness * p[0] * 2**39) / 2**40
    q = p + np.array([-change, change, 0, 0, 0, 0])
    assert float(renyi_divergence(p, q, order)) == pytest.approx(exact_renyi(p, q, order), rel=1e-11)


def test_renyi_divergence_at_infinity_is_the_largest_log_ratio():
    assert float(renyi_divergence([0.5, 0.5, 0], [0.1, 0.4, 0.5], math.inf)) == pytest.approx(math.log(5))
    assert float(renyi_divergence([0.5, 0.5], [0.1, 0.9], 1e308)) == pytest.approx(math.log(5))


def test_mismatched_supports_give_infinity_not_nan():
    beyond, within = [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]
    assert (renyi_divergence(beyond, within, [1, 1.5, 2, math.inf]) == math.inf).all()
    below = renyi_divergence(beyond, within, 0.5)
    assert float(below) == pytest.approx(2 * math.log(2))  # -2 ln Σ √(pq)
    assert (renyi_divergence([1, 0], [0, 1], [0.1, 0.5, 1, 2, math.inf]) == math.inf).all()
    assert mr_divergence(beyond, within) == (math.inf, 1.0)
    # Within q's support nothing is infinite, and outcomes of no probability at all change nothing.
    assert float(renyi_divergence([1, 0, 0], [0.5, 0.5, 0], 2)) == pytest.approx(math.log(2))


@settings(deadline=None)
@given(distributions(5), distributions(5))
def test_renyi_divergence_rises_with_the_order_and_is_zero_only_for_equals(p, q):
    values = renyi_divergence(p, q, [*ORDERS, math.inf])
    assert (values >= 0).all()
    assert (np.diff(values) >= -1e-9 * values[1:] - 1e-15).all()
    assert (renyi_divergence(p, p, ORDERS) == 0).all()


@settings(deadline=None)
@given(distributions(4), distributions(4), st.floats(0.01, 0.99))
def test_skew_symmetry_of_orders_below_one(p, q, order):
    there, back = renyi_divergence(p, q, order), renyi_divergence(q, p, 1 - order)
    assert float(there) / order == pytest.approx(float(back) / (1 - order), rel=1e-8, abs=1e-30)


# Definition 2: D_MR


@settings(deadline=None, max_examples=50)
@given(distributions(4), distributions(4))
def test_definition_2_mr_divergence_is_never_below_any_order_and_is_attained(p, q):
    value, order = mr_divergence(p, q)
    orders = 1 + np.concatenate([[0], np.geomspace(1e-6, 1e6, 400)])
    relative = renyi_divergence(p, q, orders) / orders
    assert value >= relative.max()
    assert value <= float(renyi_divergence(p, q, order)) / order * (1 + 2e-9) + 1e-300


def test_definition_2_the_supremum_can_be_anywhere():
    """D_α / α falls for two even outcomes, and peaks far inside for rare outcomes of large ratio."""
    assert mr_divergence([0.6, 0.4], [0.4, 0.6]).order == 1
    p, q = np.array([1 - 1e-12, 1e-12]), np.array([1 - 1e-30, 1e-30])
    value, order = mr_divergence(p, q)
    grid = np.geomspace(1.0, 1e2, 20_000)
    relative = renyi_divergence(p, q, grid) / grid
    assert value == pytest.approx(relative.max(), rel=1e-8)
    assert order == pytest.approx(grid[relative.argmax()], rel=1e-3)
    assert 2 < order < 3


@pytest.mark.parametrize("rare", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("ratio", [1e3, 1e8])
def test_definition_2_errs_upward_between_the_orders_that_were_tried(rare, ratio):
    p, q = np.array([1 - rare, rare]), np.array([1 - rare / ratio, rare / ratio])
    value, order = mr_divergence(p, q)
    peak = optimize.minimize_scalar(
        lambda each: -exact_renyi(p, q, each) / each, bounds=(order * 0.9, order * 1.1), options={"xatol": 1e-9}
    )
    assert value >= -peak.fun
    assert value == pytest.approx(-peak.fun, rel=1e-8)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([4.041103995092274e-28, 2.4490017742468562e-14, 0.9999999999999755], None),  # one ulp apart, orders to 1e42
        ([1 / 3 + 5e-17, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]),
        ([1.0, 1e-300], [1.0, 1e-20]),
        ([1.0, 1e-20], [1.0, 1e-300]),
    ],
)
def test_definition_2_of_distributions_at_the_edge_of_rounding(p, q):
    q = [4.041103995092266e-28, *p[1:]] if q is None else q
    value, order = mr_divergence(p, q)
    assert 0 <= value < math.inf
    assert order >= 1
    assert value >= float(renyi_divergence(p, q, 1))


def test_definition_3_is_a_predicate_with_a_witness_order():
    p, q = [0.99, 0.01], [1 - 1e-10, 1e-10]
    exact = mr_divergence(p, q).value
    robust, fragile = is_robust(p, q, exact * 1.001), is_robust(p, q, exact * 0.999)
    assert robust.holds
    assert not fragile.holds
    assert float(renyi_divergence(p, q, fragile.order)) / fragile.order > exact * 0.999
    # Both directions count.
    assert is_robust(q, p, exact * 0.999) == fragile


@settings(deadline=None, max_examples=100)
@given(distributions(6), distributions(6), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_corollary_1_no_map_raises_d_mr(p, q, target):
    merged = [np.bincount(target, each, minlength=4) for each in (p, q)]
    assert mr_divergence(*merged).value <= mr_divergence(p, q).value * (1 + 2e-9) + 1e-15


@settings(deadline=None, max_examples=50)
@given(distributions(4), distributions(4), st.lists(distributions(3), min_size=4, max_size=4))
def test_corollary_1_no_random_map_raises_d_mr(p, q, channel):
    assert mr_divergence(p @ channel, q @ channel).value <= mr_divergence(p, q).value * (1 + 2e-9) + 1e-15


def flip_bound(p1, p2, order):
    """The least D_α(q ‖ p) of a q whose top class is not p's, in 40 digits."""
    with mpmath.workdps(40):
        p1, p2, power = mpmath.mpf(p1), mpmath.mpf(p2), 1 - mpmath.mpf(order)
        mean = ((p1**power + p2**power) / 2) ** (1 / power)
        return float(-mpmath.log(1 - p1 - p2 + 2 * mean))


def flipped(p, q):
    """q with its entries at p's two largest exchanged where that takes the top class from p's."""
    top, second = np.argsort(p)[::-1][:2]
    if q[top] > q[second]:
        q = q.copy()
        q[[top, second]] = q[[second, top]]
    return q


@settings(deadline=None)
@given(distributions(4), distributions(4), st.floats(1.01, 50))
def test_lemmas_2_and_3_no_flip_of_the_top_class_is_within_the_bound_of_any_order(p, q, order):
    second, top = np.sort(p)[-2:]
    bound = flip_bound(top, second, order)
    assert float(renyi_divergence(flipped(p, q), p, order)) >= bound * (1 - 1e-9) - 1e-12


@pytest.mark.parametrize("order", [1.01, 1.5, 4.0])
def test_lemmas_2_and_3_the_bound_of_each_order_is_attained(order):
    p = np.array([0.6, 0.3, 0.1])
    mean = ((0.6 ** (1 - order) + 0.3 ** (1 - order)) / 2) ** (1 / (1 - order))
    tie = np.array([mean, mean, 0.1])
    attained = renyi_divergence(tie / tie.sum(), p, order)
    assert float(attained) == pytest.approx(flip_bound(0.6, 0.3, order), rel=1e-12)


@settings(deadline=None)
@given(distributions(4), distributions(4))
def test_theorem_3_2_no_flip_of_the_top_class_is_within_the_supremum(p, q):
    second, top = np.sort(p)[-2:]
    # The shares sum to 1 up to rounding, which renyi_sup does not forgive.
    supremum = rsmooth.renyi_sup(top, min(second, 1 - top))
    assert mr_divergence(flipped(p, q), p).value >= supremum * (1 - 1e-12) - 1e-15


# Closed forms


@pytest.mark.parametrize("order", [0.01, 0.5, 0.999, 1.0, 1.001, 2.0, 30.0])
@pytest.mark.parametrize("shift", [0.01, 1.0, 3.0])
def test_theorem_4_1_gaussian_closed_form_agrees_with_quadrature(shift, order):
    numeric = density_renyi_divergence(normal(0), normal(shift), order, points=[0, shift])
    assert float(numeric) == pytest.approx(float(gaussian_renyi(shift, order)), rel=1e-8)
    assert float(gaussian_renyi(shift, order)) == pytest.approx(
        order * float(Gaussian(1).mr_divergence(shift, norm=2, dim=9)), rel=1e-15
    )


@pytest.mark.parametrize("order", [*ORDERS, 0.5 + 1e-12, 1 + 1e-14, 1e8, 1e300])
@pytest.mark.parametrize("shift", [1e-12, 1e-6, 1e-3, 0.1, 1.0, 10.0, 500.0])
def test_laplace_closed_form_agrees_with_mpmath(shift, order):
    if shift * order < 1e6 or order > 1e299:
        exact = exact_laplace(shift, order) if order < 1e299 else shift
        assert float(laplace_renyi(shift, order)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("order", [0.01, 0.5, 0.999, 1.0, 1.001, 2.0, 30.0])
@pytest.mark.parametrize("shift", [0.01, 1.0, 3.0])
def test_laplace_closed_form_agrees_with_quadrature(shift, order):
    numeric = density_renyi_divergence(laplace(0), laplace(shift), order, points=[0, shift])
    assert float(numeric) == pytest.approx(float(laplace_renyi(shift, order)), rel=1e-8)


def test_laplace_order_infinity_is_pure_dp():
    assert laplace_renyi([0.0, 0.5, 3.0], math.inf).tolist() == [0.0, 0.5, 3.0]
    assert gaussian_renyi([0.0, 0.5], math.inf).tolist() == [0.0, math.inf]


def test_quadrature_of_other_scales_supports_and_infinite_divergences():
    wide, narrow = normal(2, 1e3), normal(2, 1e-3)
    exact = math.log(1e6) + 1e-12 / 2 - 0.5  # KL of the narrow from the wide
    assert float(density_renyi_divergence(narrow, wide, 1, points=[2])) == pytest.approx(exact, rel=1e-8)
    with pytest.raises(ValueError, match="does not settle"):
        density_renyi_divergence(wide, narrow, 2, points=[2])
    uniform = lambda end: lambda x: np.where((x > 0) & (x < end), -math.log(end), -np.inf)
    half = density_renyi_divergence(uniform(1), uniform(2), [0.5, 1, 3], lower=0, upper=2, points=[1])
    np.testing.assert_allclose(half, math.log(2), rtol=1e-10)
    assert float(density_renyi_divergence(uniform(2), uniform(1), 2, lower=0, upper=2, points=[1])) == math.inf


def test_definition_2_of_densities():
    value, order = density_mr_divergence(laplace(0), laplace(2), points=[0, 2])
    assert value == pytest.approx(float(laplace_mr(2)), rel=1e-7)
    assert order == 1
    # Flat in the order: the bracket is as wide as it may get.
    value, _order = density_mr_divergence(normal(0), normal(2), points=[0, 2], largest_order=4)
    assert 2 * (1 - 1e-9) <= value < 2 * (1 + 1e-3)


@pytest.mark.parametrize("shift", np.geomspace(1e-6, 100, 25))
def test_laplace_relative_divergence_falls_with_the_order(shift):
    orders = 1 + np.concatenate([[0], np.geomspace(1e-9, 1e6, 200)])
    relative = laplace_renyi(shift, orders) / orders
    assert (np.diff(relative) <= 1e-12 * relative[:-1]).all()
    assert float(laplace_mr(shift)) == pytest.approx(relative[0], rel=1e-14)


@pytest.mark.parametrize("mechanism", [Exponential(0.5), Laplace(0.5)])
def test_theorem_5_1_both_forms_are_above_the_exact_divergence(mechanism):
    norm = math.inf if isinstance(mechanism, Exponential) else 1
    r = np.geomspace(1e-6, 1e3, 200)
    exact, guarantee = laplace_mr(r / 0.5), mechanism.mr_divergence(r, norm=norm, dim=50)
    assert (guarantee >= exact * (1 - 1e-12)).all()
    for order in (1 + 1e-6, 1.5, 3, 100):
        assert (laplace_renyi(r / 0.5, order) <= order * np.minimum(r / 0.5, r**2 / 0.5) * (1 + 1e-12)).all()


def exponential_ratio(z, shift, sigma):
    """Logarithm of the Exponential mechanism's density over that of its shift."""
    return (abs(z - shift).max(axis=1) - abs(z).max(axis=1)) / sigma


@pytest.mark.parametrize("dim", [1, 2, 3, 50])
@pytest.mark.parametrize("shift", [0.3, 2.0])
def test_theorem_5_1_likelihood_ratio_of_the_exponential_has_the_laplace_law(dim, shift):
    """Under the shift r·1, L = (|c - s| - |c|) in units of sigma with c ~ Laplace, whatever the dimension.

    L has atoms at -s and s, so their shares get binomial tests and the part between a Kolmogorov-Smirnov test: with
    L = s - 2c for 0 < c < s, c is exponential on that interval.
    """
    sigma, n = 0.5, 100_000
    z = rsmooth.sample_linf((n, dim), sigma, seed=1000 * dim + int(shift), dtype="float64")
    ratio = exponential_ratio(z, shift * sigma, sigma)
    ends = (ratio > shift * (1 - 1e-9)).sum(), (ratio < -shift * (1 - 1e-9)).sum()
    for count, chance in zip(ends, (0.5, math.exp(-shift) / 2), strict=True):
        assert stats.binomtest(int(count), n, chance).pvalue > LEVEL
    inside = (shift - ratio[abs(ratio) < shift * (1 - 1e-9)]) / 2
    test = stats.kstest(inside, lambda c: np.expm1(-c) / math.expm1(-shift), method="exact")
    assert test.pvalue > LEVEL


@pytest.mark.parametrize("dim", [2, 3])
def test_theorem_5_1_no_shift_of_the_norm_is_worse_than_the_corner(dim):
    """E exp((α - 1) L) is convex in the shift, hence largest at a corner: seen on common draws."""
    z = rsmooth.sample_linf((200_000, dim), 1.0, seed=dim, dtype="float64")
    rng = np.random.default_rng(dim)
    corner = np.exp(exponential_ratio(z, np.ones(dim), 1.0))
    for _ in range(10):
        other = rng.uniform(-1, 1, dim)
        other[0] = 1.0
        other_moments = np.exp(exponential_ratio(z, other, 1.0))
        # Both in [1/e, e]: Hoeffding's bound on the mean of their difference, at LEVEL.
        margin = (math.e - 1 / math.e) * 2 * math.sqrt(-math.log(LEVEL) / (2 * len(z)))
        assert other_moments.mean() <= corner.mean() + margin


@pytest.mark.parametrize("seed", range(5))
def test_theorem_5_3_a_shift_of_infinity_norm_r_is_one_of_length_r_root_d(seed):
    dim, sigma, r = 50, 0.5, 0.1
    delta = np.random.default_rng(seed).uniform(-r, r, dim)
    exact = gaussian_renyi(np.linalg.norm(delta) / sigma, 1.0)
    guarantee = float(Gaussian(sigma).mr_divergence(r, norm=math.inf, dim=dim))
    assert float(exact) <= guarantee
    corner = gaussian_renyi(np.linalg.norm(np.full(dim, r)) / sigma, 1.0)
    assert float(corner) == pytest.approx(guarantee, rel=1e-14)


# PixelDP


def gaussian_delta(shift, epsilon):
    """The exact δ of the Gaussian mechanism (Balle and Wang, 2018, Theorem 8)."""
    with mpmath.workdps(50):
        s, e = mpmath.mpf(shift), mpmath.mpf(epsilon)
        return mpmath.ncdf(s / 2 - e / s) - mpmath.exp(e) * mpmath.ncdf(-s / 2 - e / s)


@pytest.mark.parametrize("delta", [0.3, 1e-2, 1e-5, 1e-12, 1e-50])
@pytest.mark.parametrize("shift", [1e-3, 0.1, 1.0, 5.0])
def test_theorem_3_1_is_above_the_exact_gaussian_curve(shift, delta):
    epsilon = float(pixeldp_epsilon(shift**2 / 2, delta))
    assert gaussian_delta(shift, epsilon) <= delta
    assert epsilon == pytest.approx(shift**2 / 2 + shift * math.sqrt(2 * math.log(1 / delta)), rel=1e-12)


def test_theorem_3_1_is_lemma_4_at_the_best_order():
    divergence, delta = 0.3, 1e-6
    orders = 1 + np.geomspace(1e-3, 1e4, 100_001)
    single = pixeldp_epsilon_at(orders, orders * divergence, delta)
    assert float(pixeldp_epsilon(divergence, delta)) == pytest.approx(single.min(), rel=1e-7)
    assert (single >= float(pixeldp_epsilon(divergence, delta)) * (1 - 1e-12)).all()


@settings(deadline=None, max_examples=100)
@given(distributions(4), distributions(4), st.floats(1e-9, 0.9), st.floats(1.01, 100))
def test_lemma_4_and_theorem_3_1_hold_for_discrete_distributions(p, q, delta, order):
    """Definition 1 with the converted (ε, δ), in terms of the smallest δ that each ε allows."""
    single = float(pixeldp_epsilon_at(order, renyi_divergence(p, q, order), delta))
    assert pixeldp_delta(p, q, single) <= delta
    assert pixeldp_delta(p, q, float(pixeldp_epsilon(mr_divergence(p, q).value, delta))) <= delta


def test_definition_1_is_the_worst_set():
    p, q, epsilon = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), 0.1
    sets = [[i for i in range(3) if mask >> i & 1] for mask in range(8)]
    worst = max(p[each].sum() - math.exp(epsilon) * q[each].sum() for each in sets)
    assert pixeldp_delta(p, q, epsilon) == pytest.approx(worst, rel=1e-14)


@pytest.mark.parametrize("method", ["hoeffding", "bernstein"])
@pytest.mark.parametrize("law", [stats.beta(8, 2), stats.bernoulli(0.05), stats.uniform(0.4, 0.2)])
def test_score_bounds_hold_as_often_as_they_say(law, method):
    alpha, repeats = 0.05, 4000
    scores = law.rvs((200, repeats), random_state=np.random.default_rng(3)).astype(float)
    lower, upper = score_bounds(scores, alpha, method=method)
    for misses in ((lower > law.mean()).sum(), (upper < law.mean()).sum()):
        assert stats.binomtest(int(misses), repeats, alpha, alternative="greater").pvalue > LEVEL


def test_score_bounds_are_the_published_formulas():
    scores = np.array([0.2, 0.4, 0.9, 0.5])
    n, alpha = 4, 0.5
    log = math.log(2 / alpha)
    bernstein = math.sqrt(2 * scores.var(ddof=1) * log / n) + 7 * log / (3 * (n - 1))
    hoeffding = math.sqrt(math.log(1 / alpha) / (2 * n))
    assert score_bounds(scores, alpha, method="hoeffding")[0] == pytest.approx(0.5 - hoeffding, rel=1e-9)
    assert [float(x) for x in score_bounds(scores, alpha)] == [max(0.5 - bernstein, 0), min(0.5 + bernstein, 1)]


@pytest.mark.parametrize(("mechanism", "norm"), [(Gaussian(0.5), 2), (Laplace(0.5), 1)])
def test_lemma_1_holds_at_the_certified_radius_and_fails_beyond(mechanism, norm):
    rng = np.random.default_rng(5)
    scores = rng.dirichlet([20, 3, 1], 20_000)
    found = certify_scores(scores, mechanism, norm=norm, dim=64)
    assert found.prediction == 0
    assert found.lower < 20 / 24 and found.upper > 3 / 24  # noqa: PT018

    def robust(radius):
        """Some (ε, δ) that the mechanism gives at the radius fulfils Lemma 1."""
        if norm == 1:
            return found.lower > math.exp(2 * radius / 0.5) * found.upper
        epsilon = np.linspace(1e-3, 1, 20_000)
        delta = 1.25 * np.exp(-((0.5 * epsilon / radius) ** 2) / 2)
        return bool((found.lower > np.exp(2 * epsilon) * found.upper + (1 + np.exp(epsilon)) * delta).any())

    assert robust(found.radius * 0.999)
    assert not robust(found.radius * 1.001)


def test_each_bound_of_scores_gets_its_share_of_alpha():
    scores = np.random.default_rng(6).dirichlet([20, 3, 1], 1000)
    found = certify_scores(scores, Gaussian(0.5), norm=2, dim=64, alpha=0.01, method="hoeffding")
    # 2 K bounds of a failure probability of alpha / (2 K) each.
    margin = math.sqrt(math.log(6 / 0.01) / 2000)
    assert found.lower == pytest.approx(scores[:, 0].mean() - margin, rel=1e-9)
    assert found.upper == pytest.approx(scores[:, 1].mean() + margin, rel=1e-9)


def test_scores_of_sum_above_one_are_certified_less_not_more():
    scores = np.tile([0.9, 0.5], (100_000, 1))
    found = certify_scores(scores, Laplace(1), norm=1, dim=4)
    assert found.prediction == -1
    lower, upper = certify_scores(np.tile([0.6, 0.3], (100_000, 1)), Laplace(1), norm=1, dim=4)[2:]
    assert lower < 0.6
    assert upper > 0.3


def test_scores_that_do_not_separate_the_classes_abstain():
    found = certify_scores(np.full((100, 3), 1 / 3), Gaussian(1), norm=2, dim=4)
    assert (found.prediction, found.radius) == (-1, 0.0)


def test_the_theorems_page_names_tests_and_code_that_exist():
    root = Path(__file__).parent.parent
    page = (root / "docs" / "theorems.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((root / "tests").glob("test_*.py")))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 15
    assert not [name for name in sorted(named) if f"def {name}(" not in tests]
    table = page[: page.index("## Printed slips")]
    code = [word for line in table.splitlines() if line.startswith("| [") for word in re.findall(r"`([^`]+)`", line)]
    code += re.findall(r"`(theory\.[\w.]+)`", page)
    assert len(code) > 40
    for name in {word for word in code if not word.startswith(("test_", "mr_divergence("))}:
        if name.startswith("rust/"):
            assert (root / name).is_file(), name
        else:
            # Imports what is on the way: `theory.renyi.mr_divergence`, `Gaussian.mr_divergence`, `renyi_sup`.
            assert pkgutil.resolve_name(f"rsmooth.{name}") is not None
