"""What SmoothedClassifier refuses, and how it says so."""

import math

import numpy as np
import pytest
import torch

from rsmooth import Exponential, Gaussian, SmoothedClassifier

X = np.full((2, 4), 0.5, np.float32)


class Outputs(torch.nn.Module):
    """Returns what it was told to."""

    def __init__(self, make=lambda x: x[:, :2]):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


def nan_above(x):
    return torch.where(x[:, :2] > 0.9, math.nan, x[:, :2])


def smoothed(make=lambda x: x[:, :2], mechanism=Gaussian(0.25), num_classes=2, **keywords):  # noqa: B008
    return SmoothedClassifier(Outputs(make), mechanism, num_classes, **keywords)


def certify(x=X, **changes):
    return smoothed().certify(x, **{"n": 50, "norm": 2, **changes})


def changed(at, value, dtype=np.float32):
    x = X.astype(dtype)
    x[at] = value
    return x


CASES = [
    # SmoothedClassifier
    (
        lambda: SmoothedClassifier(len, Gaussian(1), 2),
        TypeError,
        "model must be a torch.nn.Module, got builtin_function_or_method",
    ),
    (lambda: smoothed(mechanism=0.25), TypeError, "mechanism must be a Mechanism, got float"),
    (lambda: smoothed(num_classes=1), ValueError, "num_classes must be at least 2, got 1"),
    (lambda: smoothed(num_classes=2.0), TypeError, "num_classes must be an integer, got 2.0 of type float"),
    # x
    (
        lambda: certify(torch.ones(2, 4, dtype=torch.int64)),
        TypeError,
        "x must be floating-point numbers or uint8, or integers on a grid, got int64",
    ),
    (lambda: certify(X > 0), TypeError, "x must be floating-point numbers or uint8, or integers on a grid, got bool"),
    (lambda: certify("cat"), TypeError, "x must be an array or tensor of floating-point numbers, got str"),
    (lambda: certify(X + 0j), TypeError, "x must be an array or tensor of floating-point numbers, got ndarray"),
    (lambda: certify(np.float32(0.5)), ValueError, "x must be a batch of shape (N, *S), got shape ()"),
    (
        lambda: certify(changed((1, 2), 1.5)),
        ValueError,
        "x must be in [0, 1], got 1.5 at x[1, 2]; normalise inside the model",
    ),
    (lambda: certify(changed((0, 3), -0.5)), ValueError, "x must be in [0, 1], got -0.5 at x[0, 3]"),
    (lambda: certify(changed((1, 0), math.nan)), ValueError, "x must be in [0, 1], got nan at x[1, 0]"),
    (lambda: certify(changed((1, 0), math.inf)), ValueError, "x must be in [0, 1], got inf at x[1, 0]"),
    (lambda: certify(np.empty((2, 0), np.float32)), ValueError, "dim must be "),
    # numbers
    (lambda: certify(n=0), ValueError, "n must be between 1 and 9007199254740992, got 0"),
    (lambda: certify(n=1e5), TypeError, "n must be an integer, got 100000.0 of type float"),
    (lambda: certify(n0=0), ValueError, "n0 must be between 1 and 9007199254740992, got 0"),
    (lambda: certify(n0=True), TypeError, "n0 must be an integer, got True of type bool"),
    (lambda: certify(batch_size=0), ValueError, "batch_size must be between 1 and 2147483648, got 0"),
    (lambda: certify(indices=[3, -1]), ValueError, "indices[1] must be between 0 and 4294967295, got -1"),
    (lambda: certify(indices=[2**32, 1]), ValueError, "indices[0] must be between 0 and 4294967295, got 4294967296"),
    (lambda: certify(indices=[7, 7]), ValueError, "indices must differ, got 7 at 0 and at 1"),
    (lambda: certify(indices=[1]), ValueError, "indices must have the shape (2,), one for each example, got (1,)"),
    (lambda: certify(indices=[1.0, 2.0]), TypeError, "indices must be integers, got float64"),
    # the domain
    (lambda: smoothed(domain=(1, 0)), ValueError, "domain must be two finite numbers, the lower first, or None"),
    (lambda: smoothed(domain=1), TypeError, "domain must be a pair of numbers or None, got 1"),
    (lambda: smoothed(domain=(-1, 2)).predict(X * 5), ValueError, "x must be in [-1, 2], got 2.5 at x[0, 0]"),
    (
        lambda: smoothed(domain=None).predict(np.full_like(X, math.inf)),
        ValueError,
        "x must be finite, got inf at x[0, 0]",
    ),
    (lambda: certify(seed=-1), ValueError, "seed must be at least 0, got -1"),
    (lambda: certify(seed="0"), TypeError, "seed must be an integer, got '0' of type str"),
    (lambda: certify(alpha=0), ValueError, "alpha must be a number above 0 and below 1, got 0"),
    (lambda: certify(norm=3), ValueError, "norm must be 1, 2 or math.inf, got 3"),
    (lambda: certify(bound="pure-dp"), ValueError, 'for the gaussian mechanism, got "pure-dp"'),
    (lambda: certify(runner_up="third"), ValueError, 'runner_up must be "second" or "complement", got \'third\''),
    (lambda: smoothed().predict(X, alpha=1.0), ValueError, "alpha must be a number above 0 and below 1, got 1"),
    (lambda: smoothed().predict(X, alpha=-1), ValueError, "alpha must be a finite number above 0, got -1.0"),
    (lambda: smoothed().predict(X, alpha="1"), TypeError, "alpha must be a number, got '1' of type str"),
    (lambda: smoothed().predict(X, n=0), ValueError, "n must be between 1 and 9007199254740992, got 0"),
    # the model's output
    (
        lambda: smoothed(lambda x: x).certify(X, n0=10, n=10, norm=2),
        ValueError,
        "the model must return logits of shape (40, 2), got (40, 4)",
    ),
    (lambda: smoothed(lambda x: x.argmax(1)).predict(X, n=5), ValueError, "logits of shape (10, 2), got (10,)"),
    (lambda: smoothed(lambda x: x[:1, :2]).predict(X, n=5), ValueError, "logits of shape (10, 2), got (1, 2)"),
    (lambda: smoothed(lambda x: (x, x)).predict(X, n=5), ValueError, "logits of shape (10, 2), got tuple"),
    (
        lambda: smoothed(lambda x: x[:, :2] * math.nan, Exponential(0.1)).certify(
            X, n0=3, n=9, norm=2, indices=[40, 41]
        ),
        ValueError,
        "the model's output is not finite for 3 noisy copies of example 40: that is no vote",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_refuses(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_one_unusable_output_in_many_is_refused():
    with pytest.raises(ValueError, match=r"not finite for [0-9]+ noisy copies of example 1:"):
        smoothed(nan_above, Gaussian(0.01)).certify(changed((1, 0), 0.875), n=5000, norm=2, seed=1)


def test_bad_settings_are_refused_before_the_model_runs():
    def never(_):
        raise AssertionError

    for changes in ({"alpha": 2.0}, {"bound": "tight"}, {"norm": 0}, {"runner_up": ""}, {"n": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be"):
            smoothed(never).certify(X, **{"norm": 2, **changes})
    with pytest.raises(ValueError, match="alpha must be"):
        smoothed(never).predict(X, alpha=1.0)
