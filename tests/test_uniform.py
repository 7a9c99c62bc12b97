"""Uniform noise on a cube: its law, and radii against overlaps of cubes."""

import math
import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy import stats

import reference
import rsmooth
from rsmooth import Uniform, certify_counts
from rsmooth.mechanisms import mechanism_named

NORMS = [1, 2, math.inf]


# The law


@pytest.mark.parametrize("dim", [1, 15, 16, 17, 255, 256, 257, 3072])
def test_values_are_those_of_the_documented_layout(dim):
    first = 2**32 - 2
    doubles = Uniform(0.5).sample((5, dim), seed=11, first=first, dtype="float64")
    singles = Uniform(0.5).sample((5, dim), seed=11, first=first)
    for i in range(5):
        expected = reference.uniform(reference.key_of(11), first + i, dim, 0.5)
        assert (doubles[i] == expected).all()
        np.testing.assert_allclose(singles[i], expected, atol=2**-25)


DIGESTS = {
    "float32": "5132c1b529efb68948b57962140df47cd3c71d815763ab419c7856f6b6fa2857",
    "float64": "9652102963ff96ab0793388eb3cc0ae813185cb4c7986355fa7873f2d1e2f681",
    "float16": "d9c591c0360ebab4e9c5ef7530ebbb600c447975f89610502c1ff076d341bc3c",
}


DIGEST = """
import hashlib, rsmooth
for dtype in ("float32", "float64", "float16"):
    draws = rsmooth.Uniform(0.01).sample((200, 3072), seed=20, first=2**40, dtype=dtype)
    print(hashlib.sha256(draws.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("simd", rsmooth.build_info()["simd_supported"])
def test_values_never_change_whatever_the_vector_instructions(simd):
    ran = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env=os.environ | {"RSMOOTH_SIMD": simd},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == list(DIGESTS.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 64, 1000])
def test_the_noise_is_uniform(dim, dtype):
    sample = np.sort(np.asarray(Uniform(0.7).sample((10**6 // dim, dim), seed=dim, dtype=dtype), np.float64).ravel())
    at, n = stats.uniform(-0.7, 1.4).cdf(sample), sample.size
    statistic = max((np.arange(1, n + 1) / n - at).max(), (at - np.arange(n) / n).max())
    assert stats.kstwo.sf(statistic, n) > 1e-9
    assert abs(sample).max() <= np.float32(0.7)


def test_a_width_that_single_precision_cannot_hold_is_rounded_up():
    rounded = np.float32(0.7) if float(np.float32(0.7)) >= 0.7 else np.nextafter(np.float32(0.7), np.float32(1))
    single = Uniform(0.7).sample((1000, 10), seed=3)
    assert (single == Uniform(float(rounded)).sample((1000, 10), seed=3)).all()


@pytest.mark.parametrize("dim", [1, 2, 50])
def test_expected_linf_is_what_samples_show(dim):
    norms = abs(Uniform(0.5).sample((20_000, dim), seed=1, dtype="float64")).max(axis=1)
    z = (norms.mean() - Uniform(0.5).expected_linf(dim)) / (norms.std() / math.sqrt(norms.size))
    assert 2 * stats.norm.sf(abs(z)) > 1e-9
    assert Uniform(0.5).expected_linf(dim) == pytest.approx(0.5 * dim / (dim + 1), rel=1e-15)


# Radii


def exact_radius(norm, dim, gap):
    """The radius for a half-width of 1."""
    each = 2 * (1 - (1 - gap / 2) ** (mpf(1) / dim))
    return {1: gap, 2: mpmath.sqrt(dim) * each, math.inf: each}[norm]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3, 3072, 10**9])
def test_radii_are_never_above_the_formula_and_within_1e_14_below(norm, dim):
    rng = np.random.default_rng(0)
    p1 = np.concatenate([rng.random(200), 1 - 10.0 ** -rng.uniform(0, 15, 100), [1.0]])
    p2 = np.minimum(p1, 1 - p1) * (1 - 10.0 ** -rng.uniform(0, 9, 301))
    p1, p2 = p1[p1 > p2], p2[p1 > p2]
    radius = Uniform(0.3).radius(p1, p2, norm=norm, dim=dim)
    with mpmath.workdps(60):
        for a, b, r in zip(p1, p2, radius, strict=True):
            exact = mpf(0.3) * exact_radius(norm, dim, mpf(float(a)) - mpf(float(b)))
            assert 0 < 1 - mpf(float(r)) / exact < 1e-14


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3, 10, 100])
def test_no_shift_within_the_radius_uncovers_more_of_the_cube_than_the_gap_allows(norm, dim):
    """Whatever the classifier, p1 loses and p2 gains at most the uncovered share: twice that may not pass p1 - p2."""
    rng = np.random.default_rng(dim)
    for gap in (0.01, 0.5, 0.9, 1.0):
        p1 = (1 + gap) / 2
        radius = float(Uniform(0.5).radius(p1, p1 - gap, norm=norm, dim=dim))
        shifts = rng.random((5000, dim)) ** rng.choice([0, 0.2, 1, 4, 30], size=(5000, 1))
        shifts[: len(shifts) // 2] *= rng.random((len(shifts) // 2, dim)) < 0.3
        shifts[0], shifts[1] = 1, np.eye(dim)[0]
        shifts *= radius / np.maximum(np.linalg.norm(shifts, norm, axis=1, keepdims=True), 1e-300)
        uncovered = 1 - np.maximum(1 - shifts, 0).prod(axis=1)
        assert (2 * uncovered <= gap * (1 + 1e-12)).all()
        # And one shift attains it.
        assert 2 * uncovered.max() == pytest.approx(gap, rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_a_classifier_flips_just_beyond_the_radius(norm):
    """Class A is what the shift uncovers of the cube, B what it covers anew; the rest is shared to meet p1 and p2.

    In three dimensions, by counting draws: under the worst shift A loses the uncovered share and B gains it.
    """
    dim, p1, p2, n = 3, 0.75, 0.15, 400_000
    worst = np.array({1: [1, 0, 0], 2: [3**-0.5] * 3, math.inf: [1, 1, 1]}[norm])
    radius = float(Uniform(0.5).radius(p1, p2, norm=norm, dim=dim))
    z = Uniform(0.5).sample((n, dim), seed=4, dtype="float64")
    coin = np.random.default_rng(5).random(n)
    for factor, flips in ((0.96, False), (1.04, True)):
        shift = factor * radius * worst
        lost = 1 - np.prod(1 - np.abs(shift))

        def votes(points, shift=shift, lost=lost):
            left = (points < shift - 0.5).any(axis=1)  # in the cube, not in the shifted one
            new = (points > 0.5).any(axis=1)  # in the shifted cube alone
            share = coin * (1 - lost)
            a = left | (~new & (share < p1 - lost))
            return a.mean(), (new | (~new & ~left & (share > 1 - lost - p2))).mean()

        before, after = votes(z), votes(z + shift)
        assert before == pytest.approx((p1, p2), abs=0.005)
        assert (after[1] > after[0]) == flips


def test_the_profile_is_a_trade_off_curve_alone():
    profile = Uniform(0.5).profile(1, 10)
    assert profile.mr is None
    assert profile.epsilon is None
    assert profile.delta is None
    np.testing.assert_allclose(profile.tradeoff([0.0, 0.1, 0.5, 2.0], [0.2, 0.2, 0.3, 0.1]), [0.2, 0.3, 0.8, 1.0])
    for norm in NORMS:
        assert Uniform(0.5).holding(norm, 10) == ("neyman-pearson", "hockey-stick")
    assert not Uniform(0.5).depends_on_dim(1)
    assert Uniform(0.5).depends_on_dim(2)


def test_what_needs_a_divergence_is_refused():
    with pytest.raises(ValueError, match="D_MR of the uniform mechanism is not known"):
        Uniform(0.5).mr_divergence(0.1, norm=1, dim=3)
    with pytest.raises(ValueError, match="mechanism must be one whose divergence D_MR is finite, got uniform"):
        Uniform.scale_for(0.1, 0.5, norm=1, dim=3)
    with pytest.raises(ValueError, match='"neyman-pearson" or "hockey-stick" for the uniform mechanism, got "renyi"'):
        Uniform(0.5).radius(0.9, 0.1, norm=1, dim=3, bound="renyi")
    with pytest.raises(ValueError, match="half_width must be a finite number above 0, got 0"):
        Uniform(0)


def test_it_is_a_mechanism_like_the_others():
    assert mechanism_named("uniform", 0.5) == Uniform(0.5)
    found = certify_counts([[990, 10], [500, 500]], Uniform(0.5), norm=1, dim=3072)
    assert found.prediction.tolist() == [0, -1]
    assert found.radius[0] == pytest.approx(0.5 * (found.p1[0] - found.p2[0]), rel=1e-14)
    x = np.full((2, 3), 0.25, np.float32)
    noise = Uniform(0.5).sample((8, 3), seed=7).reshape(2, 4, 3)
    assert (Uniform(0.5).perturb(x, copies=4, seed=7) == x[:, None] + noise).all()
    assert rsmooth.Uniform(0.5).parameter == 0.5
