"""What the probabilities' bounds and the radii of single pairs promise, against tables and high-precision formulas."""

import csv
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from rsmooth import Exponential, Gaussian, Laplace, clopper_pearson, renyi_sup
from rules import radius_of

DATA = Path(__file__).parent / "data"

MECHANISMS = [(Gaussian(0.5), 2), (Exponential(0.5), math.inf), (Laplace(0.5), 1)]
RULES = [(m, norm, b) for m, norm in MECHANISMS for b in m.holding(norm)]

# The Gaussian's PixelDP bound is a maximum that has none; it has a test of its own, as hockey-stick has.
CLOSED_FORMS = [
    r for r in RULES if r[2] not in {"renyi", "hockey-stick"} and (r[0].name, r[2]) != ("gaussian", "pixeldp")
]


def table(name):
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def pairs(n=400, seed=1):
    """Valid pairs p1 > p2 > 0, close to each other and to the domain's edges too."""
    rng = np.random.default_rng(seed)
    p1 = np.concatenate([rng.random(n), 1 - 10.0 ** -rng.uniform(0, 15, n), 10.0 ** -rng.uniform(0, 30, n)])
    p2 = np.minimum(p1 * (1 - 10.0 ** -rng.uniform(0, 12, 3 * n)), 1 - p1)
    p2[::3] = (np.minimum(p1, 1 - p1) * 10.0 ** -rng.uniform(0, 200, 3 * n))[::3]
    p2[1::7] = (1 - p1)[1::7]
    keep = (p1 > p2) & (p2 > 0)
    return p1[keep], p2[keep]


# The supremum


@pytest.fixture(scope="module")
def supremum():
    rows = table("renyi_sup.csv")
    p1, p2 = (np.array([float.fromhex(row[name]) for row in rows]) for name in ("p1", "p2"))
    value, order = renyi_sup(p1, p2, return_order=True)
    return rows, p1, p2, value, order


def test_renyi_sup_is_never_above_the_true_supremum(supremum):
    rows, _, _, value, _ = supremum
    with mpmath.workdps(60):
        assert all(mpf(float(v)) < mpf(row["value"]) for v, row in zip(value, rows, strict=True))


def test_renyi_sup_is_within_1e_13_below_the_true_supremum(supremum):
    rows, p1, _, value, _ = supremum
    with mpmath.workdps(60):
        below = [float(1 - mpf(float(v)) / mpf(row["value"])) for v, row in zip(value, rows, strict=True)]
    # Subnormal results have fewer digits.
    assert max(b for b, p in zip(below, p1, strict=True) if p > 1e-290) < 1e-13


def test_the_table_covers_the_domain(supremum):
    rows, p1, p2, _, _ = supremum
    gap = (p1 - p2) / p1
    assert gap.min() < 1e-9
    assert p1[p1 < 1].max() >= 1 - 1e-15
    assert p2.min() == 5e-324
    assert (p1 + p2 == 1).sum() > 20
    assert max(float(row["order"]) for row in rows) <= 1.5


def test_the_order_attains_the_supremum(supremum):
    rows, p1, p2, value, order = supremum
    assert ((order >= 1) & (order <= 1.5)).all()
    true = np.array([float(row["order"]) for row in rows])
    apart = (p1 - p2 > 0.01 * p1) & (p1 > 1e-290)
    assert np.abs(order - true)[apart].max() < 1e-6
    with mpmath.workdps(700):
        for a, b, v, o in list(zip(p1, p2, value, order, strict=True))[::40]:
            s = 1 - mpf(float(o))
            a, b = mpf(float(a)), mpf(float(b))  # noqa: PLW2901
            mean = ((a**s + b**s) / 2) ** (1 / s) if s else mpmath.sqrt(a * b)
            at_order = -mpmath.log(1 - a - b + 2 * mean) / mpf(float(o))
            assert 0 <= 1 - mpf(float(v)) / at_order < (1e-13 if a > 1e-290 else 1)


def test_renyi_sup_has_its_limits():
    value, order = renyi_sup([0.5, 0.3, 0.0, 0.9, 1.0, 1.0], [0.5, 0.4, 0.0, 0.0, 0.0, 2**-53], return_order=True)
    assert value[:3].tolist() == [0, 0, 0]
    assert np.isnan(order[:3]).all()
    assert value[3] == pytest.approx(-math.log1p(-0.9), rel=1e-13)
    assert order[3] == 1
    assert value[4] == math.inf
    assert math.isfinite(value[5])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1e-9, 1))
def test_renyi_sup_increases_in_p1_and_decreases_in_p2(a, b, c, share):
    p2, p1 = sorted((a, min(b, 1 - a)))
    more = p1 + share * (1 - p1 - p2) * c
    less = p2 * (1 - share)
    rounding = 1 - 2e-14
    value = renyi_sup(p1, p2)
    if more + p2 <= 1:
        assert renyi_sup(max(more, p1), p2) >= value * rounding
    assert renyi_sup(p1, less) >= value * rounding


def test_p2_may_be_one_minus_p1_whatever_the_rounding():
    p1 = np.random.default_rng(3).random(10_000)
    assert (renyi_sup(p1, 1 - p1) > 0).sum() == (p1 > 0.5).sum()
    # 1 - 1e-17 rounds to 1; the value must hold for the pair that was meant.
    value, order = renyi_sup(1.0, 1e-17, return_order=True)
    with mpmath.workdps(60):
        p2, s = mpf(1e-17), 1 - mpf(float(order))
        meant = -mpmath.log(2 * (((1 - p2) ** s + p2**s) / 2) ** (1 / s)) / mpf(float(order))
    assert 0 < 1 - value / meant < 1e-13


def test_arrays_are_broadcast_converted_and_written_in_place():
    p1 = np.array([[0.9], [0.7]], dtype=np.float32)
    value = renyi_sup(p1, [0.01, 0.02, 0.1])
    assert value.shape == (2, 3)
    assert value[1, 2] == renyi_sup(float(p1[1, 0]), 0.1)
    out = np.empty((2, 3))
    assert renyi_sup(p1, [0.01, 0.02, 0.1], out=out) is out
    assert (out == value).all()
    assert isinstance(renyi_sup(0.9, 0.1), float)
    assert renyi_sup([], []).shape == (0,)
    # Strided, reversed, transposed, of another byte order, and longer than one piece of the work.
    many = np.linspace(0.5, 0.9, 2**21 + 5)
    expected = renyi_sup(many, 0.1)
    assert (renyi_sup(many[::-2], 0.1) == expected[::-2]).all()
    assert (renyi_sup(many.astype(">f8"), np.full(many.shape, 0.1)[::-1]) == expected).all()
    square = many[:100].reshape(10, 10)
    assert (renyi_sup(square.T, 0.1) == renyi_sup(square, 0.1).T).all()
    both = np.linspace(0.5, 0.9, 50)
    expected = renyi_sup(both, 1 - both)
    assert (renyi_sup(both, 1 - both, out=both) == expected).all()


def test_the_result_does_not_depend_on_threads_or_neighbours():
    p1, p2 = pairs(3000)
    value, order = renyi_sup(p1, p2, return_order=True)
    for threads in (1, 2, 3):
        again, orders = renyi_sup(p1, p2, return_order=True, threads=threads)
        assert (again == value).all()
        assert (orders == order).all()
    few = slice(7, 40)
    assert (renyi_sup(p1[few], p2[few]) == value[few]).all()
    assert [renyi_sup(a, b) for a, b in zip(p1[few], p2[few], strict=True)] == value[few].tolist()


# Clopper-Pearson


@pytest.fixture(scope="module")
def intervals():
    rows = table("clopper_pearson.csv")
    k, n = (np.array([int(row[name]) for row in rows]) for name in ("k", "n"))
    alpha = np.array([float(row["alpha"]) for row in rows])
    lower, upper = clopper_pearson(k, n, alpha), clopper_pearson(n - k, n, alpha, side="upper")
    with mpmath.workdps(30):
        low = np.array([float(mpf(float(v)) / mpf(row["lower"]) - 1) for v, row in zip(lower, rows, strict=True)])
        up = np.array(
            [float(mpf(float(v)) / mpf(row["one_minus_lower"]) - 1) for v, row in zip(upper, rows, strict=True)]
        )
    return low, up


def test_clopper_pearson_errs_outward_only(intervals):
    low, up = intervals
    assert len(low) + len(up) == 10_000
    assert low.max() <= 0
    assert up.min() >= 0


def test_clopper_pearson_is_within_1e_12_of_the_exact_bound(intervals):
    low, up = intervals
    assert low.min() > -1e-12
    assert up.max() < 1e-12


def test_clopper_pearson_at_the_edges():
    assert clopper_pearson(0, 10, 0.001) == 0
    assert clopper_pearson(10, 10, 0.001, side="upper") == 1
    assert clopper_pearson(10, 10, 0.001) == pytest.approx(0.001**0.1, rel=1e-14)
    assert clopper_pearson(0, 10, 0.001, side="upper") == pytest.approx(1 - 0.001**0.1, rel=1e-14)


def test_clopper_pearson_agrees_with_scipy_at_any_alpha():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    n = rng.integers(2, 2000, 2000)
    k = 1 + (rng.random(2000) * (n - 1)).astype(int)
    alpha = rng.uniform(0.001, 0.999, 2000)
    assert clopper_pearson(k, n, alpha) == pytest.approx(stats.beta.ppf(alpha, k, n - k + 1), rel=1e-9)
    k -= 1
    assert clopper_pearson(k, n, alpha, side="upper") == pytest.approx(stats.beta.isf(alpha, k + 1, n - k), rel=1e-9)


# Radii


def exact_radius(law, bound, p1, p2):
    """The radius for scale 1 in the mechanism's own norm, by the formula alone."""
    if bound == "neyman-pearson":
        of = quantile if law == "gaussian" else laplace_quantile
        return (of(p1) - of(p2)) / 2
    if bound == "pure-dp":
        ln = mpmath.log
        return max(-ln(1 - p1 + p2), ln(p1 / p2) / 2, ln((1 - p2) / (1 - p1)) / 2 if p1 < 1 else 0, ln(1 + p1 - p2))
    return mpmath.log(p1 / p2) / 2


def quantile(p):
    """The normal quantile, by Newton's method on the logarithm of the distribution function."""
    if p > 0.5:
        return -quantile(1 - p)
    x = -mpmath.sqrt(-2 * mpmath.log(2 * p)) if p < 0.25 else mpf(0)
    for _ in range(200):
        cdf = mpmath.erfc(-x / mpmath.sqrt(2)) / 2
        step = mpmath.log(p / cdf) * cdf / mpmath.npdf(x)
        x += step
        if abs(step) < mpf(10) ** -40:
            return x
    raise AssertionError


def laplace_quantile(p):
    """The quantile of the standard Laplace law."""
    return mpmath.log(2 * p) if p <= 0.5 else -mpmath.log(2 * (1 - p))


def laplace_cdf(x):
    return mpmath.exp(x) / 2 if x < 0 else 1 - mpmath.exp(-x) / 2


@pytest.mark.parametrize(("mechanism", "norm", "bound"), CLOSED_FORMS)
def test_radii_are_never_above_the_formula_and_close_below(mechanism, norm, bound):
    p1, p2 = pairs(100)
    radius, order = radius_of(mechanism, p1, p2, norm=norm, dim=10, bound=bound)
    assert np.isnan(order).all()
    # Where p1 and p2 are close, the quantiles' difference is known to fewer digits.
    close = 1e-9 if (mechanism.name, bound) == ("gaussian", "neyman-pearson") else 1e-14
    with mpmath.workdps(60):
        for a, b, r in zip(p1, p2, radius, strict=True):
            exact = mechanism.parameter * exact_radius(mechanism.name, bound, mpf(float(a)), mpf(float(b)))
            assert 0 < 1 - mpf(float(r)) / exact < close, (a, b, r)


def test_pixeldp_is_the_best_over_epsilon_and_delta():
    p1, p2 = pairs(100)
    p1, p2 = p1[p2 < 0.999 * p1], p2[p2 < 0.999 * p1]
    radius, _ = radius_of(Gaussian(1), p1, p2, norm=2, dim=1, bound="pixeldp")
    top = np.minimum(1, 0.5 * np.log(p1 / p2))
    epsilon = np.linspace(0, 1, 4001)[1:, None] * top
    delta = (p1 - p2 - p2 * np.expm1(2 * epsilon)) / (1 + np.exp(epsilon))
    with np.errstate(invalid="ignore", divide="ignore"):
        best = np.nanmax(np.where(delta > 0, epsilon / np.sqrt(2 * np.log(1.25 / delta)), 0), axis=0)
    assert radius == pytest.approx(best, rel=1e-5)


def test_the_gaussian_pixeldp_radius_is_never_above_the_best_over_epsilon():
    optimize = pytest.importorskip("scipy.optimize")
    p1, p2 = (values[::7] for values in pairs(100))
    p1, p2 = p1[p2 < 0.99 * p1], p2[p2 < 0.99 * p1]
    radius, _ = radius_of(Gaussian(1), p1, p2, norm=2, dim=1, bound="pixeldp")

    def at(epsilon, a, b, functions):
        delta = (a - b - b * functions.expm1(2 * epsilon)) / (1 + functions.exp(epsilon))
        return epsilon / functions.sqrt(2 * functions.log(1.25 / delta)) if delta > 0 else 0

    for a, b, r in zip(p1.tolist(), p2.tolist(), radius, strict=True):
        top = min(1, 0.5 * math.log(a / b))
        found = optimize.minimize_scalar(
            lambda epsilon, a=a, b=b: -at(epsilon, a, b, math),
            bounds=(0, top),
            method="bounded",
            options={"xatol": 1e-9},
        )
        with mpmath.workdps(40):
            best = max(at(mpf(epsilon), mpf(a), mpf(b), mpmath) for epsilon in (found.x, 1.0) if epsilon <= top)
            assert 2e-14 < 1 - mpf(float(r)) / best < 1e-9


def test_renyi_radii_solve_the_guarantees():
    p1, p2 = pairs()
    sup = renyi_sup(p1, p2)
    gaussian, order = radius_of(Gaussian(0.5), p1, p2, norm=2, dim=9)
    assert gaussian**2 / (2 * 0.5**2) == pytest.approx(sup, rel=1e-13)
    assert ((order >= 1) & (order <= 1.5)).all()
    for mechanism, norm in ((Exponential(0.5), math.inf), (Laplace(0.5), 1)):
        r = radius_of(mechanism, p1, p2, norm=norm, dim=9)[0] / 0.5
        assert np.minimum(r, r * r / 2) == pytest.approx(sup, rel=1e-13)


def test_radii_are_converted_between_norms_where_that_is_valid():
    own = {(m.name, bound): radius_of(m, 0.9, 0.05, norm=norm, dim=16, bound=bound)[0] for m, norm, bound in RULES}
    factors = {"gaussian": (1, 1, 1 / 4), "exponential": (1, 1, 1), "laplace": (1, 1 / 4, 1 / 16)}
    for mechanism, _, bound in RULES:
        if (mechanism.name, bound) == ("laplace", "renyi"):
            continue  # Better than a conversion: test_mechanisms.py.
        for norm, factor in zip((1, 2, math.inf), factors[mechanism.name], strict=True):
            radius, _ = radius_of(mechanism, 0.9, 0.05, norm=norm, dim=16, bound=bound)
            assert radius == pytest.approx(factor * own[mechanism.name, bound], rel=1e-14)


@given(st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_renyi_is_never_above_the_tight_bounds(a, b):
    p1 = max(a, b)
    p2 = min(a, b, 1 - p1)
    for mechanism, norm, tight in (
        (Gaussian(1), 2, "neyman-pearson"),
        (Exponential(1), math.inf, "pure-dp"),
        (Laplace(1), 1, "pure-dp"),
        (Laplace(1), 1, "neyman-pearson"),
    ):
        loose = radius_of(mechanism, p1, p2, norm=norm, dim=3)[0]
        assert loose <= radius_of(mechanism, p1, p2, norm=norm, dim=3, bound=tight)[0]


@given(st.floats(0, 1), st.floats(0, 1))
def test_every_bound_certifies_exactly_where_p1_is_above_p2(a, b):
    p1 = max(a, b)
    p2 = min(a, b, 1 - p1)
    for mechanism, norm, bound in RULES:
        radius, _ = radius_of(mechanism, p1, p2, norm=norm, dim=2, bound=bound)
        # Hockey-stick uses p1 - p2 beside ½, where doubles do not tell a gap below 2⁻⁵² from none.
        exempt = p1 <= 1e-290 or (bound == "hockey-stick" and p1 - p2 < 2**-51)
        assert (radius > 0) == (p1 > p2 and (not exempt or radius > 0))
        assert not math.isnan(radius)


def test_gaussian_half_space_flips_just_beyond_the_neyman_pearson_radius():
    # f(x) = [x < t]: under N(x, σ²) the vote flips where x passes t, and Φ((t - x)/σ) = p1.
    for t in (0.01, 0.5, 3.0):
        p1 = float(mpmath.ncdf(t))
        radius, _ = radius_of(Gaussian(1), p1, 1 - p1, norm=2, dim=1, bound="neyman-pearson")
        assert t * (1 - 1e-9) < radius < t * (1 + 1e-13 / (1 - p1))


def test_laplace_half_line_flips_just_beyond_the_pure_dp_radius():
    # f(x) = [x < t]: P(z < t) = 1 - exp(-t/b)/2 for t > 0.
    for t in (0.01, 0.5, 3.0):
        p1 = -math.expm1(-t) / 2 + 0.5
        radius, _ = radius_of(Laplace(1), p1, 1 - p1, norm=1, dim=1, bound="pure-dp")
        assert radius == pytest.approx(t, rel=1e-12)


def test_the_neyman_pearson_radius_is_attained_by_a_classifier_under_laplace_noise():
    """Votes for class A where c <= σψ(p1), for B where c >= σψ(1 − p2): c moves by the shift and is a Laplace variable.

    It is the coordinate that moves for the Laplace mechanism in ℓ1, and (max + min)/2 for the Exponential one in ℓ∞.
    """
    for p1, p2 in [(0.9, 0.01), (0.9, 0.1), (0.4, 0.1), (0.999, 1e-6), (0.6, 0.3999)]:
        for mechanism, norm in ((Laplace(0.5), 1), (Exponential(0.5), math.inf)):
            radius = mpf(float(radius_of(mechanism, p1, p2, norm=norm, dim=9, bound="neyman-pearson")[0]))
            with mpmath.workdps(50):
                for part, top in ((1 - 1e-12, True), (1 + 1e-12, False)):
                    shift = radius * part / mechanism.parameter
                    a = laplace_cdf(laplace_quantile(mpf(p1)) - shift)
                    b = laplace_cdf(laplace_quantile(mpf(p2)) + shift)
                    assert (a > b) == top


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("p", [(0.9, 0.01), (0.4, 0.1)])
def test_the_neyman_pearson_radius_is_attained_under_drawn_noise_of_the_exponential_mechanism(dim, p):
    stats = pytest.importorskip("scipy.stats")
    p1, p2 = p
    z = Exponential(1).sample((400_000, dim), seed=dim, dtype="float64")
    middle = (z.max(axis=1) + z.min(axis=1)) / 2
    radius, _ = radius_of(Exponential(1), p1, p2, norm=math.inf, dim=dim, bound="neyman-pearson")
    for part, top in ((0.95, "a"), (1.05, "b")):
        a = int((middle + part * radius <= float(laplace_quantile(mpf(p1)))).sum())
        b = int((middle + part * radius >= float(laplace_quantile(1 - mpf(p2)))).sum())
        won = a if top == "a" else b
        # Were the other ahead or level, this many would come with a probability below 1e-9.
        assert won > stats.binom.isf(1e-9, a + b, 0.5)


@given(st.lists(st.floats(-6, 6), min_size=2, max_size=8), st.floats(0, 3))
def test_no_union_of_intervals_grows_more_than_the_laplace_curve_says(ends, shift):
    ends = sorted(ends[: len(ends) // 2 * 2])
    inside = [
        (laplace_cdf(mpf(b)) - laplace_cdf(mpf(a)), laplace_cdf(b - mpf(shift)) - laplace_cdf(a - mpf(shift)))
        for a, b in zip(ends[::2], ends[1::2], strict=True)
    ]
    before, after = (float(sum(column)) for column in zip(*inside, strict=True))
    most = Laplace(1).profile(1, 1).tradeoff([shift], [min(before, 1.0)])[0]
    assert after <= most + 1e-12


@given(st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_neyman_pearson_is_never_below_pure_dp_nor_above_half_as_much_again(a, b):
    p1 = max(a, b)
    p2 = min(a, b, 1 - p1)
    for mechanism, norm in ((Exponential(1), math.inf), (Laplace(1), 1)):
        tight, pure = (
            radius_of(mechanism, p1, p2, norm=norm, dim=3, bound=bound)[0] for bound in ("neyman-pearson", "pure-dp")
        )
        assert pure * (1 - 1e-14) <= tight
        assert tight <= 1.5 * pure or math.isinf(tight)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
@pytest.mark.parametrize("grid", [None, 255])
@pytest.mark.parametrize("mechanism", [Gaussian(0.5), Exponential(0.01), Laplace(0.5)])
def test_tightest_is_the_largest_radius_of_the_bounds_that_hold(mechanism, norm, grid):
    p1, p2 = pairs(300)
    radius, order = radius_of(mechanism, p1, p2, norm=norm, dim=16, bound="tightest", grid=grid)
    found = {
        b: radius_of(mechanism, p1, p2, norm=norm, dim=16, bound=b, grid=grid) for b in mechanism.holding(norm, 16)
    }
    best = np.max([radii for radii, _ in found.values()], axis=0)
    # Where one bound is never below the others, it alone is computed, and rounding may say otherwise.
    assert (radius <= best).all()
    assert radius == pytest.approx(best, rel=1e-9)
    renyi = ~np.isnan(order)
    assert (radius[renyi] == found["renyi"][0][renyi]).all()
    assert (order[renyi] == found["renyi"][1][renyi]).all()
    assert renyi.any() == (mechanism.name == "laplace" and norm != 1)


@pytest.mark.parametrize("sigma", [1e-5, 0.001, 0.01, 1.0])
def test_on_a_grid_the_exponential_mechanism_pays_for_its_trade_off_curve_alone(sigma):
    p1, p2 = pairs(50)
    free, on_grid = (
        radius_of(Exponential(sigma), p1, p2, norm=math.inf, dim=9, bound="neyman-pearson", grid=grid)[0]
        for grid in (None, 255)
    )
    with mpmath.workdps(50):
        cost = 2 * mpf(sigma) * mpmath.log(mpmath.cosh(1 / (2 * 255 * mpf(sigma))))
        for a, b, r in zip(p1, p2, on_grid, strict=True):
            exact = mpf(sigma) * exact_radius("exponential", "neyman-pearson", mpf(float(a)), mpf(float(b))) - cost
            assert mpf(float(r)) <= max(exact, 0)
            assert exact - mpf(float(r)) < 1e-13 * (exact + 2 * cost)
    assert (on_grid < free).all()
    for mechanism in (Gaussian(sigma), Laplace(sigma), Exponential(sigma)):
        for bound in mechanism.holding(1):
            if mechanism.name != "exponential" or bound not in {"neyman-pearson", "hockey-stick"}:
                settings = {"norm": 1, "dim": 9, "bound": bound}
                plain, other = (radius_of(mechanism, p1, p2, **settings, grid=grid)[0] for grid in (None, 255))
                assert (plain == other).all()


def test_a_p2_above_one_minus_p1_means_one_minus_p1():
    p1 = np.array([0.5, 0.6, 0.9, 0.999, 1.0])
    for p2 in (1.0, 0.7):
        for mechanism, norm, bound in RULES:
            settings = {"norm": norm, "dim": 3, "bound": bound}
            assert (
                radius_of(mechanism, p1, p2, **settings)[0] == radius_of(mechanism, p1, 1 - p1, **settings)[0]
            ).all()
    assert renyi_sup(0.9, 0.8) == renyi_sup(0.9, 1 - 0.9)
    # With p1 below one half, no p2 that is above 1 - p1 leaves anything to certify.
    assert renyi_sup(0.3, 0.9) == 0
