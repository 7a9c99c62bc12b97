"""What the bounds and certificates refuse, and how they say so."""

import math

import numpy as np
import pytest

from rsmooth import Gaussian, certify_counts, clopper_pearson, renyi_sup
from rules import radius_of

GOOD = np.array([[90, 10], [80, 20]])
READ_ONLY = np.empty(1)
READ_ONLY.flags.writeable = False


def certify(counts=GOOD, mechanism=Gaussian(1), **changes):  # noqa: B008
    return certify_counts(counts, mechanism, **{"norm": 2, "dim": 4, **changes})


def radius(p1=0.9, p2=0.1, mechanism=Gaussian(1), **changes):  # noqa: B008
    return radius_of(mechanism, p1, p2, **{"norm": 2, "dim": 4, **changes})


# One case a line reads better than three.

CASES = [
    # renyi_sup
    (lambda: renyi_sup([0.9, math.nan], 0.1), ValueError, "p1[1] must be a probability from 0 to 1, got NaN"),
    (lambda: renyi_sup(0.9, math.nan), ValueError, "p2 must be a probability from 0 to 1, got NaN"),
    (lambda: renyi_sup(1.5, 0), ValueError, "p1 must be a probability from 0 to 1, got 1.5"),
    (
        lambda: renyi_sup([[0.9], [0.8]], [0.1, -0.1]),
        ValueError,
        "p2[0, 1] must be a probability from 0 to 1, got -0.1",
    ),
    (lambda: renyi_sup(math.inf, 0), ValueError, "p1 must be a probability from 0 to 1, got inf"),
    (lambda: renyi_sup(True, 0.1), TypeError, "p1 must be real numbers, got dtype bool"),
    (lambda: renyi_sup("a", 0.1), TypeError, "p1 must be real numbers, got dtype <U1"),
    (lambda: renyi_sup(0.9, 0.1j), TypeError, "p2 must be real numbers, got dtype complex128"),
    (lambda: renyi_sup([0.9] * 2, [0.1] * 3), ValueError, "the shapes must broadcast, got p1 (2,) and p2 (3,)"),
    (lambda: renyi_sup([0.9], 0.1, out=np.empty(2)), ValueError, "out must have the shape (1,), got (2,)"),
    (lambda: renyi_sup([0.9], 0.1, out=READ_ONLY), ValueError, "out must be C-contiguous, aligned and writable"),
    (
        lambda: renyi_sup([0.9] * 2, 0.1, out=np.empty(4)[::2]),
        ValueError,
        "out must be C-contiguous, aligned and writable",
    ),
    (lambda: renyi_sup([0.9], 0.1, out=np.empty(1, "f4")), TypeError, "out must be an array of float64, got float32"),
    (lambda: renyi_sup([0.9], 0.1, out=[0.0]), TypeError, "out must be an array of float64, got list"),
    (lambda: renyi_sup(0.9, 0.1, threads=0), ValueError, "threads must be between 1 and 65536, got 0"),
    (lambda: renyi_sup(0.9, 0.1, threads=1.5), TypeError, "threads must be an integer, got 1.5 of type float"),
    # clopper_pearson
    (lambda: clopper_pearson(-1, 10, 0.1), ValueError, "k must be an integer from 0 to n, which is 10 there, got -1"),
    (
        lambda: clopper_pearson([1, 11], 10, 0.1),
        ValueError,
        "k[1] must be an integer from 0 to n, which is 10 there, got 11",
    ),
    (lambda: clopper_pearson(0, 0, 0.1), ValueError, "n must be an integer from 1 to 2**53, got 0"),
    (lambda: clopper_pearson(0, 2**53 + 1, 0.1), ValueError, "n must be an integer from 1 to 2**53"),
    (lambda: clopper_pearson(0, np.uint64(2**63), 0.1), ValueError, "n must be at most 2**53, got 9223372036854775808"),
    (lambda: clopper_pearson(1, 2, 0), ValueError, "alpha must be a number above 0 and below 1, got 0"),
    (
        lambda: clopper_pearson(1, 2, [0.1, math.nan]),
        ValueError,
        "alpha[1] must be a number above 0 and below 1, got NaN",
    ),
    (lambda: clopper_pearson(1.0, 2, 0.1), TypeError, "k must be integers, got dtype float64"),
    (lambda: clopper_pearson(1, 2, 0.1, side="both"), ValueError, 'side must be "lower" or "upper", got \'both\''),
    # radius_of
    (lambda: radius(p1=-1), ValueError, "p1 must be a probability from 0 to 1, got -1"),
    (lambda: radius(norm=3), ValueError, "norm must be 1, 2 or math.inf, got 3"),
    (lambda: radius(norm="2"), TypeError, "norm must be 1, 2 or math.inf, got str"),
    (lambda: radius(dim=0), ValueError, "dim must be between 1 and 9223372036854775807, got 0"),
    (lambda: radius(dim=2.0), TypeError, "dim must be an integer, got 2.0 of type float"),
    (
        lambda: radius(bound="tight"),
        ValueError,
        'bound must be "tightest", "renyi", "neyman-pearson", "hockey-stick", "pure-dp" or "pixeldp", got "tight"',
    ),
    (
        lambda: radius(bound="pure-dp"),
        ValueError,
        'hockey-stick" or "pixeldp" for the gaussian mechanism, got "pure-dp"',
    ),
    (lambda: radius(grid=0), ValueError, "grid must be between 1 and 16777216, got 0"),
    (lambda: radius(grid=1.5), TypeError, "grid must be an integer, got 1.5 of type float"),
    (lambda: radius(mechanism="gaussian"), TypeError, "mechanism must be a Mechanism, such as Gaussian, got str"),
    # certify_counts
    (lambda: certify([[90, 10], [80, -2]]), ValueError, "counts[1, 1] must be a count of at least 0, got -2"),
    (
        lambda: certify([[90, 10], [0, 0]]),
        ValueError,
        "counts[1] must be a row of counts whose sum is from 1 to 2**53, got a row with the sum 0",
    ),
    (lambda: certify(np.full((1, 2), 2**63, np.uint64)), ValueError, "got a row with the sum 18446744073709551616"),
    (lambda: certify(GOOD / 1), TypeError, "counts must be integers, got dtype float64"),
    (lambda: certify(GOOD > 0), TypeError, "counts must be integers, got dtype bool"),
    (lambda: certify([1, 2]), ValueError, "counts must have the shape (N, K), got (2,)"),
    (lambda: certify([[1], [2]]), ValueError, "counts must be of at least 2 classes, shape (N, K), got 1"),
    (lambda: certify(selection=[0, 2]), ValueError, "selection[1] must be a class from 0 to 1, got 2"),
    (lambda: certify(selection=[-1, 0]), ValueError, "selection[0] must be a class from 0 to 1, got -1"),
    (lambda: certify(selection=[0]), ValueError, "selection must have the shape (2, 2) or (2,), got (1,)"),
    (lambda: certify(selection=[0.0, 1.0]), TypeError, "selection must be integers, got dtype float64"),
    (
        lambda: certify(selection=[[1, 0], [0, 0]]),
        ValueError,
        "selection[1] must be a row of counts whose sum is from 1 to 2**53",
    ),
    (lambda: certify(alpha=0), ValueError, "alpha must be a number above 0 and below 1, got 0"),
    (lambda: certify(alpha=math.nan), ValueError, "alpha must be a number above 0 and below 1, got NaN"),
    (lambda: certify(alpha="0.1"), TypeError, "alpha must be a number, got str"),
    (lambda: certify(interval="wald"), ValueError, 'interval must be "clopper-pearson" or "anytime", got "wald"'),
    (lambda: certify(interval=None), TypeError, "interval must be a str, got NoneType"),
    (lambda: certify(noise_error=1), ValueError, "noise_error must be a number of at least 0 and below 1, got 1"),
    (lambda: certify(noise_error=-1e-9), ValueError, "noise_error must be a number of at least 0 and below 1, got -"),
    (lambda: certify(noise_error=math.nan), ValueError, "noise_error must be a number of at least 0 and below 1, got"),
    (lambda: certify(n=99), ValueError, "counts[0] must be a row of n = 99 votes, got a row with the sum 100"),
    (lambda: certify([[90, 10], [90, 11]], n=100), ValueError, "counts[1] must be a row of n = 100 votes"),
    (lambda: certify(n=0), ValueError, "n must be between 1 and 9007199254740992, got 0"),
    (lambda: certify(selection=GOOD), ValueError, "selection must be of separate draws, got the memory of counts"),
    (
        lambda: certify(selection=GOOD[:, 0]),
        ValueError,
        "selection must be of separate draws, got the memory of counts",
    ),
    (lambda: certify(runner_up="third"), ValueError, 'runner_up must be "second" or "complement", got \'third\''),
    (lambda: certify(threads=-1), ValueError, "threads must be between 1 and 65536, got -1"),
    (lambda: certify(dim=-1), ValueError, "dim must be between 1 and 9223372036854775807, got -1"),
    # Certificates
    (lambda: certify().certified_accuracy([0], 0.1), ValueError, "labels must have the shape (2,), got (1,)"),
    (lambda: certify().certified_accuracy([0.0, 1.0], 0.1), TypeError, "labels must be integers, got dtype float64"),
    (lambda: certify().certified_accuracy([0, 1], [0.1, -1]), ValueError, "radii must be at least 0, got -1.0"),
    (lambda: certify().certified_accuracy([0, 1], math.nan), ValueError, "radii must be at least 0, got nan"),
    (
        lambda: certify(np.empty((0, 2), int)).certified_accuracy(np.empty(0, int), 0),
        ValueError,
        "the accuracy of no inputs",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[case[2][:50] for case in CASES])
def test_bad_input_is_refused_by_name_index_and_value(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("call", "argument", "index"),
    [
        (lambda: renyi_sup([[0.9], [0.8]], [0.1, -0.1]), "p2", (0, 1)),
        (lambda: renyi_sup(1.5, 0), "p1", ()),
        (lambda: renyi_sup(np.where(np.arange(2**21) == 2**20 + 7, 2, 0.9), 0.1), "p1", (2**20 + 7,)),
        (lambda: certify([[90, 10], [80, -2]]), "counts", (1, 1)),
        (lambda: certify(selection=[0, 2]), "selection", (1,)),
        (lambda: certify(alpha=0), "alpha", ()),
    ],
)
def test_errors_carry_the_argument_and_the_index_as_values(call, argument, index):
    with pytest.raises(ValueError, match=argument) as caught:
        call()
    assert (caught.value.argument, caught.value.index) == (argument, index)
