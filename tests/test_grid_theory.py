"""docs/exact.md, statement by statement, by enumeration and in exact arithmetic."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest


def psi(p):
    """Return the quantile of the standard Laplace law."""
    return math.log(2 * p) if p <= 0.5 else -math.log(2 * (1 - p))


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_multiply_high_has_the_total_variation_stated(bits):
    """Floor(u N / 2**bits) for every u and N: at most N/4 words' worth from uniform."""
    words = 2**bits
    for n in range(1, words):
        counts = np.bincount(np.arange(words) * n // words, minlength=n)
        distance = sum(abs(Fraction(int(count), words) - Fraction(1, n)) for count in counts) / 2
        assert distance <= Fraction(n, 4 * words)


@pytest.mark.parametrize("half", [3, 4])
def test_the_low_half_is_read_wherever_it_matters(half):
    """The rule of the high word alone, for every word of twice `half` bits and every N."""
    base = 2**half
    for n, high, low in itertools.product(range(1, base, 2), range(base), range(base)):
        product = high * n
        settled = product % base <= base - n
        full = (high * base + low) * n // base**2
        if settled:
            assert product // base == full
        assert (product + low * n // base) // base == full


def test_rounded_thresholds_are_within_the_total_variation_stated():
    """Random laws rounded to multiples of 2**-k: at most (M + 1)/2 units, M the number of thresholds that are not 0."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        k = int(rng.integers(2, 9))
        masses = rng.exponential(size=int(rng.integers(1, 30))) ** 3
        integers = [int(mass * 10**6) + 1 for mass in masses]
        law = [Fraction(i, sum(integers)) for i in integers]
        survival = [sum(law[m:]) for m in range(1, len(law))]
        # Halves go up, as `round` has them.
        rounded = [Fraction(math.floor(s * 2**k + Fraction(1, 2)), 2**k) for s in survival]
        drawn = [a - b for a, b in itertools.pairwise([Fraction(1), *rounded, Fraction(0)])]
        distance = sum(abs(a - b) for a, b in zip(law, drawn, strict=True)) / 2
        thresholds = sum(r > 0 for r in rounded)
        assert distance <= Fraction(thresholds + 1, 2 ** (k + 1))


def test_derivatives_of_the_normal_density_are_largest_at_0():
    """|phi^(2J)| <= (2J - 1)!!/sqrt(2 pi), by which the series' remainder is bounded."""
    x = np.linspace(0, 12, 4001)
    for j in range(1, 12):
        hermite = np.polynomial.hermite_e.hermeval(x, [0] * (2 * j) + [1])
        bound = math.prod(range(1, 2 * j, 2))
        assert (np.abs(hermite) * np.exp(-(x**2) / 2) <= bound * (1 + 1e-12)).all()


def test_the_remainder_of_a_cell_is_within_its_bound():
    with mpmath.workprec(300):
        for width, middle in itertools.product([mpmath.mpf(1) / 8, mpmath.mpf(1) / 100], [0, 1, 3.3]):
            half = width / 2
            exact = mpmath.ncdf(middle + half) - mpmath.ncdf(middle - half)
            for terms in range(1, 9):
                a = [mpmath.npdf(middle)]
                for n in range(2 * terms - 2):
                    before = a[n - 1] if n else 0
                    a.append(-(a[n] * middle * half + before * half**2) / (n + 1))
                series = width * sum(a[2 * j] / (2 * j + 1) for j in range(terms))
                bound = (
                    width
                    * (half**2 / 2) ** terms
                    / (mpmath.sqrt(2 * mpmath.pi) * (2 * terms + 1) * mpmath.factorial(terms))
                )
                assert abs(series - exact) <= bound


def test_the_mixture_of_cubes_is_the_discrete_exponential():
    """Sum over R of (2R+1)^d q^R (1 - q) / (2R+1)^d 1{|Z| <= R} is q^|Z| for every point of the plane, exactly."""
    q, reach = Fraction(2, 3), 4
    for z in itertools.product(range(-reach, reach + 1), repeat=2):
        norm = max(map(abs, z))
        # The geometric tail from R = reach on in closed form.
        mixture = sum((1 - q) * q**r for r in range(norm, reach)) + q**reach
        assert mixture == q**norm


@pytest.mark.parametrize("steps", [0.25, 0.7, 1.0, 3.0])
def test_one_step_across_one_half_costs_at_most_the_stated(steps):
    """The largest -ln 4a(1 - b) under b <= e^s a and 1 - a <= e^s (1 - b), by a grid and by the vertex."""
    s = 1 / steps
    bound = s + 2 * math.log(math.cosh(s / 2))
    vertex = 1 / (1 + math.exp(s))
    assert -math.log(4 * vertex**2) == pytest.approx(bound, rel=1e-12)
    a = np.linspace(1e-6, 0.5, 1500)[:, None]
    b = np.linspace(0.5, 1 - 1e-6, 1500)[None, :]
    feasible = (b <= math.exp(s) * a) & (1 - a <= math.exp(s) * (1 - b))
    assert (-np.log(4 * a * (1 - b)))[feasible].max() <= bound + 1e-12


def worst_case(p, q, target):
    """Return the least Q(A) over randomised sets A with P(A) >= target (Neyman and Pearson)."""
    order = np.argsort(q / p, kind="stable")
    p, q = p[order], q[order]
    total = np.cumsum(p)
    at = min(int(np.searchsorted(total, target)), p.size - 1)
    taken = total[at - 1] if at else 0.0
    return q[:at].sum() + q[at] * max(0.0, target - taken) / p[at]


def certified(p, q, p1, p2):
    """Return whether every function with P(A) >= p1 and P(B) <= p2 has Q(A) > Q(B)."""
    return worst_case(p, q, p1) > 1 - worst_case(p, q, 1 - p2)


def shifted(steps, shift):
    """Return the discrete exponential at 0 and at `shift` on one box of lattice points."""
    reach = int((25 + 15 / len(shift)) * steps) + 6
    axes = np.meshgrid(*[np.arange(-reach, reach + 1 + by) for by in shift], indexing="ij")
    here = np.exp(-np.max(np.abs(axes), axis=0) / steps).ravel()
    there = np.exp(-np.max([abs(axis - by) for axis, by in zip(axes, shift, strict=True)], axis=0) / steps).ravel()
    return here / here.sum(), there / there.sum()


def continuous_radius(steps, p1, p2):
    """Return the radius of the continuous law, in grid steps."""
    return steps / 2 * (psi(p1) - psi(p2))


def radius(steps, p1, p2):
    """Return the radius on the grid, in grid steps."""
    return continuous_radius(steps, p1, p2) - 2 * steps * math.log(math.cosh(0.5 / steps))


PROBABILITIES = [
    (0.6, 0.4),
    (0.6, 0.1),
    (0.9, 0.05),
    (0.99, 0.001),
    (0.4, 0.3),
    (0.5, 0.2),
    (0.55, 0.001),
    (0.999, 1e-6),
]


@pytest.mark.parametrize("steps", [0.3, 0.8, 2.0, 5.0])
@pytest.mark.parametrize(("p1", "p2"), PROBABILITIES)
def test_the_radius_on_the_grid_holds_at_every_shift_below_it_on_the_line(steps, p1, p2):
    for shift in range(1, math.ceil(radius(steps, p1, p2))):
        assert certified(*shifted(steps, [shift]), p1, p2)


@pytest.mark.parametrize("steps", [0.3, 0.8, 1.5])
@pytest.mark.parametrize(("p1", "p2"), PROBABILITIES)
def test_the_radius_on_the_grid_holds_at_every_shift_below_it_in_the_plane(steps, p1, p2):
    shifts = range(math.ceil(radius(steps, p1, p2)))
    for shift in itertools.combinations_with_replacement(shifts, 2):
        assert not any(shift) or certified(*shifted(steps, shift), p1, p2)


def test_the_radius_of_the_continuous_law_would_be_too_large_on_the_grid():
    failures = 0
    for steps, p1 in itertools.product([0.3, 0.5, 0.8, 1.2], np.linspace(0.51, 0.999, 40)):
        for p2 in np.geomspace(1e-6, 1 - p1, 20):
            shift = math.ceil(continuous_radius(steps, p1, p2)) - 1
            if shift >= 1 and not certified(*shifted(steps, [shift]), p1, p2):
                failures += 1
                assert shift >= radius(steps, p1, p2)
    assert failures > 0
