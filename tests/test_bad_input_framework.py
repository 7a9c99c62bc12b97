"""What the divergences and the assessment refuse, and how they say so."""

import math

import numpy as np
import pytest

from rsmooth import Gaussian, Mechanism, Profile
from rsmooth.cli.assess import parse_dims
from rsmooth.theory.assess import assess, needed_scale
from rsmooth.theory.closed_forms import gaussian_renyi, laplace_mr, laplace_renyi
from rsmooth.theory.criteria import criterion, lower_bound
from rsmooth.theory.densities import density_mr_divergence, density_renyi_divergence
from rsmooth.theory.growth import fit_growth
from rsmooth.theory.magnitude import measure_linf
from rsmooth.theory.pixeldp import pixeldp_delta, pixeldp_epsilon, pixeldp_epsilon_at
from rsmooth.theory.renyi import is_robust, mr_divergence, renyi_divergence
from rsmooth.theory.scores import certify_scores, score_bounds

P, Q = [0.5, 0.5], [0.25, 0.75]
SCORES = np.full((10, 2), 0.5)


def normal(x):
    return -(x**2) / 2 - math.log(2 * math.pi) / 2


class Broken(Mechanism):
    """A mechanism with one fault."""

    name = "broken"

    def __init__(self, divergence=lambda r: 0 * r, draws=None):
        self.divergence, self.draws = divergence, draws

    def sample(self, shape, **_):
        return np.ones(shape) if self.draws is None else self.draws

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile(mr=self.divergence)


def judge(mechanism=Gaussian(1), **changes):  # noqa: B008
    return assess(mechanism, **{"norm": 2, "radius": 0.1, "epsilon": 0.5, "dims": [10], "seed": 0, **changes})


def certify(scores=SCORES, **changes):
    return certify_scores(scores, Gaussian(1), **{"norm": 2, "dim": 4, **changes})


CASES = [
    # orders
    (lambda: renyi_divergence(P, Q, 0), ValueError, "order must be above 0, got 0.0"),
    (lambda: renyi_divergence(P, Q, [1, -2]), ValueError, "order[1] must be above 0, got -2.0"),
    (lambda: renyi_divergence(P, Q, math.nan), ValueError, "order must be above 0, got nan"),
    (lambda: renyi_divergence(P, Q, "2"), TypeError, "order must be real numbers, got dtype <U1"),
    (lambda: gaussian_renyi(1, 0), ValueError, "order must be above 0, got 0.0"),
    (lambda: laplace_renyi(1, -1), ValueError, "order must be above 0, got -1.0"),
    (lambda: density_renyi_divergence(normal, normal, math.inf), ValueError, "order must be finite for densities"),
    (lambda: pixeldp_epsilon_at(1, 0.1, 0.1), ValueError, "order must be above 1, got 1.0"),
    # distributions
    (lambda: renyi_divergence([0.5, 0.4], Q, 2), ValueError, "p must sum to 1, got 0.9, off by -0.1"),
    (lambda: renyi_divergence(P, [0.5, 0.5 + 1e-6], 2), ValueError, "q must sum to 1, got 1.000001, off by 1e-06"),
    (lambda: mr_divergence([1.5, -0.5], Q), ValueError, "p[1] must be finite and at least 0, got -0.5"),
    (lambda: mr_divergence(P, [math.nan, 1]), ValueError, "q[0] must be finite and at least 0, got nan"),
    (lambda: mr_divergence(P, [1]), ValueError, "p and q must have one length, got 2 and 1"),
    (lambda: mr_divergence([P], [Q]), ValueError, "p must have the shape (K,) with K of at least 1, got (1, 2)"),
    (lambda: mr_divergence([], []), ValueError, "p must have the shape (K,) with K of at least 1, got (0,)"),
    (lambda: mr_divergence([True, False], Q), TypeError, "p must be real numbers, got dtype bool"),
    # densities
    (
        lambda: density_renyi_divergence(lambda x: normal(x) + 0.1, normal, 2),
        ValueError,
        "log_p must be the logarithm of a density: its integral is 1.1051",
    ),
    (
        lambda: density_renyi_divergence(normal, normal, 2, lower=0),
        ValueError,
        "log_p must be the logarithm of a density: its integral is 0.5",
    ),
    (
        lambda: density_renyi_divergence(normal, lambda x: x * math.nan, 2),
        ValueError,
        "the integral does not settle: a density is NaN",
    ),
    (
        lambda: density_renyi_divergence(normal, normal, 2, lower=1, upper=1),
        ValueError,
        "lower must be below upper, got 1 and 1",
    ),
    (
        lambda: density_mr_divergence(normal, normal, largest_order=1),
        ValueError,
        "largest_order must be finite and above 1, got 1",
    ),
    # closed forms and conversions
    (lambda: laplace_mr(-1), ValueError, "shift must be finite and at least 0, got -1.0"),
    (lambda: gaussian_renyi([0, math.inf], 2), ValueError, "shift[1] must be finite and at least 0, got inf"),
    (lambda: is_robust(P, Q, 0), ValueError, "epsilon must be a finite number above 0, got 0.0"),
    (lambda: pixeldp_epsilon(-0.1, 0.1), ValueError, "divergence must be finite and at least 0, got -0.1"),
    (lambda: pixeldp_epsilon(0.1, [0.1, 1]), ValueError, "delta[1] must be above 0 and below 1, got 1.0"),
    (lambda: pixeldp_epsilon(0.1, 0), ValueError, "delta must be above 0 and below 1, got 0.0"),
    (lambda: pixeldp_delta(P, Q, -1), ValueError, "epsilon must be finite and at least 0, got -1.0"),
    # scores
    (lambda: score_bounds([0.5, 1.5], 0.1), ValueError, "scores[1] must be from 0 to 1, got 1.5"),
    (lambda: score_bounds([0.5, -0.5], 0.1), ValueError, "scores[1] must be from 0 to 1, got -0.5"),
    (lambda: score_bounds([0.5, math.nan], 0.1), ValueError, "scores[1] must be from 0 to 1, got nan"),
    (lambda: score_bounds([0.5], 0.1), ValueError, "scores must be of at least 2 draws, got shape (1,)"),
    (lambda: score_bounds([0.5, 0.5], 0), ValueError, "alpha must be above 0 and below 1, got 0.0"),
    (
        lambda: score_bounds([0.5, 0.5], 0.1, method="exact"),
        ValueError,
        'method must be "bernstein" or "hoeffding", got \'exact\'',
    ),
    (lambda: certify(SCORES[:, 0]), ValueError, "scores must have the shape (n, K) with K of at least 2, got (10,)"),
    (lambda: certify(SCORES * 2.5), ValueError, "scores[0, 0] must be from 0 to 1, got 1.25"),
    (lambda: certify(alpha=1), ValueError, "alpha must be above 0 and below 1, got 1.0"),
    (lambda: certify(norm=3), ValueError, "norm must be 1, 2 or math.inf, got 3"),
    # assessment
    (lambda: judge(norm=1), ValueError, "norm must be 2 or math.inf, for which there are criteria, got 1"),
    (lambda: judge(radius=0), ValueError, "radius must be a finite number above 0, got 0.0"),
    (lambda: judge(epsilon=math.inf), ValueError, "epsilon must be a finite number above 0, got inf"),
    (lambda: judge(dims=[10, 0]), ValueError, "dims[1] must be at least 1, got 0"),
    (lambda: judge(dims=[10.0]), TypeError, "dims[0] must be an integer, got 10.0 of type float"),
    (lambda: judge(dims=[]), ValueError, "dims must name at least one dimension"),
    (lambda: judge(alpha=2), ValueError, "alpha must be a number above 0 and below 1, got 1"),
    (lambda: judge(Broken()), ValueError, "mechanism 'broken' must have an mr_divergence that passes epsilon = 0.5"),
    (
        lambda: judge(Broken(lambda r: math.nan * r)),
        ValueError,
        "as the shift grows from 2**-200 to 2**200, got nan at first",
    ),
    (
        lambda: judge(Broken(lambda r: r), dims=[10**9]),
        ValueError,
        "dims must be at most 11904761 for a mechanism without a formula, got 1000000000",
    ),
    (
        lambda: measure_linf(Broken(draws=np.ones(3)), 10),
        ValueError,
        "mechanism 'broken' must sample the shape (10001, 10), got (3,)",
    ),
    (
        lambda: measure_linf(Broken(draws=np.full((10_001, 2), math.nan)), 2),
        ValueError,
        "mechanism 'broken' must sample finite numbers, got nan",
    ),
    (lambda: measure_linf(Gaussian(1), 0), ValueError, "dim must be at least 1, got 0"),
    (
        lambda: criterion(norm=2, radius=1, epsilon=-1, dim=1),
        ValueError,
        "epsilon must be a finite number above 0, got -1.0",
    ),
    (
        lambda: lower_bound(norm="2", radius=1, epsilon=1, dim=1),
        ValueError,
        "norm must be 2 or math.inf, for which there are criteria, got '2'",
    ),
    (
        lambda: needed_scale(Gaussian(1), norm=5, radius=1, epsilon=1, dim=1),
        ValueError,
        "norm must be 1, 2 or math.inf, got 5",
    ),
    (lambda: fit_growth([10, 20], [1.0]), ValueError, "gaps must be as many as dims, 2, got 1"),
    (lambda: fit_growth([10, 20], [1.0, 0.0]), ValueError, "gaps[1] must be a finite number above 0, got 0.0"),
    (
        lambda: parse_dims("10:x"),
        ValueError,
        "dims must be whole numbers of at least 1, like 10:1e7 or 10,3072, got 'x' in '10:x'",
    ),
    (lambda: parse_dims("10,2.5"), ValueError, "got '2.5' in '10,2.5'"),
    (lambda: parse_dims("0:10"), ValueError, "got '0' in '0:10'"),
    (lambda: parse_dims("1:inf"), ValueError, "got 'inf' in '1:inf'"),
    (lambda: parse_dims("100:10"), ValueError, "dims must run from low to high, got '100:10'"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[case[2][:50] for case in CASES])
def test_bad_input_is_refused_by_name_index_and_value(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert type(caught.value) is error
