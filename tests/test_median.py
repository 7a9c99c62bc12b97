"""Certified percentiles: never narrower than what a shift does, and missed at most alpha of the time."""

import math

import numpy as np
import pytest
from scipy import stats

from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile, Uniform
from rsmooth.certificates.median import Median
from rsmooth.certificates.percentile import certify_percentile
from rsmooth.rule import Rule

LAWS = [
    (Gaussian(0.5), 2, stats.norm(scale=0.5)),
    (Laplace(0.5), 1, stats.laplace(scale=0.5)),
    (Exponential(0.5), math.inf, stats.laplace(scale=0.5)),
    (Uniform(0.5), 1, stats.uniform(-0.5, 1)),
]


@pytest.mark.parametrize(("mechanism", "norm", "law"), LAWS[:2])
@pytest.mark.parametrize("percentile", [0.5, 0.1])
def test_the_worst_shift_is_inside_at_most_alpha_of_the_time_not(mechanism, norm, law, percentile):
    """f(x) = x: a shift by r moves every percentile by r, which is the worst there is."""
    trials, n, alpha, r = 20_000, 200, 0.1, 0.2
    outputs = law.rvs(size=(trials, n), random_state=1)
    found = certify_percentile(outputs, r, mechanism, norm=norm, dim=1, percentile=percentile, alpha=alpha)
    quantile = law.ppf(percentile)
    low, high = (found.lower > quantile - r).sum(), (found.upper < quantile + r).sum()
    # Eight comparisons.
    most = stats.binom.isf(1e-6 / 8, trials, alpha / 2)
    assert max(low, high) <= most
    # And hardly fewer than that, where the level is the exact one: the binomial jumps.
    share = stats.binom.cdf(np.arange(n + 1), n, law.cdf(quantile - r))
    expected = share[share <= alpha / 2].max(initial=0.0)
    assert low >= stats.binom.ppf(1e-6 / 8, trials, expected)


def test_ends_are_the_order_statistics_that_the_binomial_law_allows():
    n, alpha, r = 500, 0.01, 0.3
    outputs = np.arange(1.0, n + 1)[None]
    found = certify_percentile(outputs, r, Gaussian(0.5), norm=2, dim=1, alpha=alpha)
    a, b = stats.norm.cdf([-r / 0.5, r / 0.5])
    # The largest k with P(Bin(n, a) < k) ≤ α/2, the smallest with P(Bin(n, b) ≥ k) ≤ α/2.
    k = np.arange(n + 2)
    assert found.lower[0] == k[stats.binom.cdf(k - 1, n, a) <= alpha / 2].max()
    assert found.upper[0] == k[stats.binom.sf(k - 1, n, b) <= alpha / 2].min()
    assert found.estimate[0] == 250


@pytest.mark.parametrize(("mechanism", "norm", "law"), LAWS)
def test_percentiles_after_any_shift_lie_between_those_of_the_curve(mechanism, norm, law):
    """With so many equally spaced draws that confidence costs little: functions that are no monotone ones too."""
    z = law.ppf((np.arange(20_001) + 0.5) / 20_001)
    for f in (lambda x: x, np.sin, lambda x: np.abs(x - 0.1), lambda x: np.where(x > 0.2, 1.0, 0.0)):
        for r in (0.05, 0.3):
            found = certify_percentile(f(z)[None], r, mechanism, norm=norm, dim=1)
            for shift in (-r, -r / 3, r / 2, r):
                after = np.sort(f(z + shift))[10_000]
                assert found.lower[0] <= after <= found.upper[0]


def test_no_radius_is_a_confidence_interval_and_too_large_a_one_says_nothing():
    outputs = np.random.default_rng(0).normal(size=(3, 1000))
    found = certify_percentile(outputs, [0.0, 0.2, 5.0], Gaussian(0.5), norm=2, dim=1)
    assert found.lower.shape == (3, 3)
    assert (np.diff(found.lower, axis=1) <= 0).all()
    assert (np.diff(found.upper, axis=1) >= 0).all()
    assert (found.lower[:, 0] < found.estimate).all()
    assert (found.estimate < found.upper[:, 0]).all()
    assert (found.lower[:, 2] == -np.inf).all()
    assert (found.upper[:, 2] == np.inf).all()
    # Uniform noise leaves its cube: even the largest output is no bound then.
    far = certify_percentile(outputs, 0.6, Uniform(0.5), norm=1, dim=1)
    assert (far.upper == np.inf).all()
    assert (far.lower == -np.inf).all()


def test_infinite_outputs_are_ordered_like_others():
    outputs = np.r_[np.full(40, -np.inf), np.arange(920.0), np.full(40, np.inf)][None]
    found = certify_percentile(outputs, 0.05, Gaussian(0.5), norm=2, dim=1)
    assert np.isfinite([found.lower[0], found.upper[0], found.estimate[0]]).all()


class Pure(Mechanism):
    name = "own"

    def sample(self, shape, **settings):
        raise NotImplementedError

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile(epsilon=lambda r: r)


BAD = [
    ({"outputs": [[1.0, math.nan]]}, r"outputs\[0, 1\] must not be NaN"),
    ({"outputs": [1.0, 2.0]}, r"outputs must have the shape \(N, n\) with n of at least 1, got \(2,\)"),
    ({"radii": [0.1, -1]}, r"radii\[1\] must be finite and at least 0, got -1"),
    ({"radii": [[0.1]]}, r"radii must have the shape \(M,\) or \(\), got \(1, 1\)"),
    ({"percentile": 1.0}, "percentile must be above 0 and below 1, got 1.0"),
    ({"alpha": 0.0}, "alpha must be a number above 0 and below 1, got 0"),
    ({"dim": 0}, "dim must be at least 1, got 0"),
    ({"norm": 3}, "norm must be 1, 2 or math.inf, got 3"),
    ({"mechanism": Pure()}, "mechanism must be one whose trade-off curve is known for norm 2, got own"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_input_is_refused_by_name(changed, message):
    settings = {"outputs": [[1.0, 2.0]], "radii": 0.1, "mechanism": Gaussian(1), "norm": 2, "dim": 1} | changed
    with pytest.raises(ValueError, match=message):
        certify_percentile(settings.pop("outputs"), settings.pop("radii"), settings.pop("mechanism"), **settings)


def test_outputs_beyond_the_tolerance_by_rounding_are_beyond():
    """0.1 + 0.2 is further than 0.1 from 0.2, and 1e16 + 2 further than 1.5 from 1e16."""
    for value, tolerance, output in ((0.2, 0.1, 0.1 + 0.2), (1e16, 1.5, 1e16 + 2), (-1e16, 1.5, -1e16 - 2)):
        rule = Rule(Gaussian(0.5), norm=2, dim=4)
        found = Median(tolerance).certify(None, np.full((1, 1000), output), rule, labels=np.array([value]))
        assert found.radius[0] == 0
