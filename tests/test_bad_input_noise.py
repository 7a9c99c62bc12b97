"""What the samplers and mechanisms refuse, and with which words."""

import math

import numpy as np
import pytest
import torch

import rsmooth
from rsmooth import Exponential, Gaussian, Laplace

READ_ONLY = np.zeros((2, 3), np.float32)
READ_ONLY.flags.writeable = False

linf, gaussian, laplace = rsmooth.sample_linf, rsmooth.sample_gaussian, rsmooth.sample_laplace
X = np.zeros((2, 3), np.float32)

REFUSED = [
    (lambda: linf((2, 3), 0.0), ValueError, "sigma must be a finite number above 0, got 0.0"),
    (lambda: gaussian((2, 3), -1), ValueError, "sigma must be a finite number above 0, got -1.0"),
    (lambda: laplace((2, 3), math.nan), ValueError, "scale must be a finite number above 0, got nan"),
    (lambda: laplace((2, 3), math.inf), ValueError, "scale must be a finite number above 0, got inf"),
    (lambda: linf((2, 3), "1"), TypeError, "sigma must be a number, got '1' of type str"),
    (lambda: linf((2, 3), None), TypeError, "sigma must be a number, got None of type NoneType"),
    (lambda: linf((2, 3), True), TypeError, "sigma must be a number, got True of type bool"),
    (lambda: gaussian((2, 3), 1e-40), ValueError, "sigma must be between 1.17549"),
    (lambda: gaussian((2, 3), 1e38), ValueError, "for float32 noise of 3 coordinates, got 1"),
    (lambda: linf((2, 3), 1e4, dtype="float16"), ValueError, "for float16 noise of 3 coordinates, got 10000"),
    (lambda: linf((2, -3), 1.0), ValueError, "shape[1] must be between 0 and"),
    (lambda: linf((2, 3.0), 1.0), TypeError, "shape[1] must be an integer, got 3.0 of type float"),
    (lambda: linf((), 1.0), ValueError, "shape must have at least one axis, the draws, got ()"),
    (lambda: linf((2, 3), 1.0, seed=-1), ValueError, "seed must be at least 0, got -1"),
    (lambda: linf((2, 3), 1.0, seed=1.5), TypeError, "seed must be an integer, got 1.5 of type float"),
    (lambda: linf((2, 3), 1.0, seed=True), TypeError, "seed must be an integer, got True of type bool"),
    (lambda: linf((2, 3), 1.0, first=-1), ValueError, "first must be between 0 and 18446744073709551614, got -1"),
    (lambda: linf((2, 3), 1.0, first=2**64 - 1), ValueError, "first must be between 0 and 18446744073709551614"),
    (lambda: linf((2, 3), 1.0, threads=0), ValueError, "threads must be between 1 and 65536, got 0"),
    (lambda: linf((2, 3), 1.0, threads=2.0), TypeError, "threads must be an integer, got 2.0 of type float"),
    (lambda: linf((2, 3), 1.0, dtype="int32"), ValueError, "dtype must be one of float32, float64, float16, bfloat16"),
    (lambda: linf((2, 3), 1.0, dtype="bfloat16"), ValueError, "dtype bfloat16 needs out="),
    (lambda: linf((2, 3), 1.0, out=X.T), ValueError, "out must be C-contiguous, got strides"),
    (lambda: linf((2, 3), 1.0, out=X[:, :2]), ValueError, "out must be C-contiguous, got strides"),
    (lambda: linf((2, 3), 1.0, out=torch.zeros(3, 2).T), ValueError, "out must be C-contiguous, got strides (4, 8)"),
    (
        lambda: linf((2, 3), 1.0, out=X[:1]),
        ValueError,
        "out must have shape (2, 3), or be flat with 6 elements, got (1, 3)",
    ),
    (lambda: linf((2, 3), 1.0, out=READ_ONLY), ValueError, "out must be writable, got a read-only buffer"),
    (lambda: linf((2, 3), 1.0, out=b"." * 24), TypeError, "out must be of type float32, float64, float16 or bfloat16"),
    (lambda: linf((2, 3), 1.0, out=X.astype("i4")), TypeError, "out must be of type float32"),
    (lambda: linf((2, 3), 1.0, out=X.astype(">f4")), TypeError, "out must be of type float32"),
    (
        lambda: linf((2, 3), 1.0, out=[0.0] * 6),
        TypeError,
        "out must be a NumPy array, a torch tensor or another buffer",
    ),
    (lambda: linf((2, 3), 1.0, out=torch.zeros(2, 3, device="meta")), ValueError, "out must be in host memory"),
    (lambda: Gaussian(0), ValueError, "sigma must be a finite number above 0, got 0.0"),
    (lambda: Exponential(-0.1), ValueError, "sigma must be a finite number above 0, got -0.1"),
    (lambda: Laplace(math.inf), ValueError, "scale must be a finite number above 0, got inf"),
    (lambda: Gaussian(1).perturb(X, copies=0), ValueError, "copies must be between 1 and"),
    (lambda: Gaussian(1).perturb(X, copies=1.0), TypeError, "copies must be an integer, got 1.0 of type float"),
    (lambda: Gaussian(1).perturb(X.astype(int)), TypeError, "x must be of type float32"),
    (lambda: Gaussian(1).perturb(X.astype(">f4")), TypeError, "x must be of type float32"),
    (lambda: Gaussian(1).perturb(torch.zeros(2, 3, dtype=torch.complex64)), TypeError, "x must be of type float32"),
    (lambda: Gaussian(1).perturb([1.0]), TypeError, "x must be a NumPy array, a torch tensor or another buffer"),
    (
        lambda: Gaussian(1).perturb(np.float32(1).reshape(())),
        ValueError,
        "x must be a batch of shape (N, *S), got shape",
    ),
    (lambda: Gaussian(1).perturb(torch.tensor(1.0)), ValueError, "x must be a batch of shape (N, *S), got shape ()"),
    (lambda: Gaussian(1).perturb(X, first=-1), ValueError, "first must be between 0 and 18446744073709551614, got -1"),
    (
        lambda: Gaussian(1).perturb(X, copies=3, first=2**64 - 5),
        ValueError,
        "first must be between 0 and 1844674407370955",
    ),
    (lambda: Gaussian(1).perturb(X, first=1.0), TypeError, "first must be an integer, got 1.0 of type float"),
    (
        lambda: Gaussian(1).perturb(X, first=[1, -2]),
        ValueError,
        "first[1] must be between 0 and 18446744073709551615, got -2",
    ),
    (
        lambda: Gaussian(1).perturb(X, copies=3, first=[2**64 - 2, 1]),
        ValueError,
        "first[0] must be between 0 and 18446744073709551613, got 18446744073709551614",
    ),
    (
        lambda: Gaussian(1).perturb(X, first=[1, 2, 3]),
        ValueError,
        "first must be an integer, or 2 of them, one an input",
    ),
    (lambda: Gaussian(1).perturb(X, first=np.ones(2)), TypeError, "first must be integers, got float64"),
    (lambda: Gaussian(1).perturb(X, first=[1.0, 2.0]), TypeError, "first[0] must be an integer, got 1.0 of type float"),
    (
        lambda: Gaussian(1).perturb(X, first=[True, False]),
        TypeError,
        "first[0] must be an integer, got True of type bool",
    ),
    (lambda: Gaussian(1).perturb(X, seed=-1), ValueError, "seed must be at least 0, got -1"),
    (lambda: Gaussian(1).perturb(X, seed=True), TypeError, "seed must be an integer, got True of type bool"),
    (lambda: Gaussian(1).perturb(X, threads=0), ValueError, "threads must be between 1 and 65536, got 0"),
    (
        lambda: Gaussian(1).perturb(X, out=np.zeros((2, 3))),
        TypeError,
        "out must be of the type of the noisy copies, float32, got float64",
    ),
    (
        lambda: Gaussian(1).perturb(X, out=np.zeros((3, 2), "f4")),
        ValueError,
        "out must have shape (2, 3), or be flat with 6",
    ),
    (
        lambda: Gaussian(1).perturb(X, out=np.zeros(12, "f4")[::2]),
        ValueError,
        "out must be C-contiguous where it is flat",
    ),
    (lambda: Gaussian(1).perturb(X + 1, out=READ_ONLY), ValueError, "out must be writable, got a read-only buffer"),
    (lambda: Gaussian(1).perturb(X, out=X.reshape(-1)), ValueError, "out must not share memory with x"),
    (lambda: Gaussian(1).perturb(X, out=X), ValueError, "out must not share memory with x"),
    (lambda: Gaussian(1).expected_linf(0), ValueError, "dim must be at least 1, got 0"),
    (lambda: Gaussian(1).expected_linf(2.0), TypeError, "dim must be an integer, got 2.0 of type float"),
    (lambda: Gaussian(1).mr_divergence(-1, norm=2, dim=3), ValueError, "r must be finite and at least 0, got -1.0"),
    (lambda: Laplace(1).mr_divergence([0, math.nan], norm=1, dim=3), ValueError, "r[1] must be finite and at least 0"),
    (lambda: Gaussian(1).mr_divergence(1, norm=3, dim=3), ValueError, "norm must be 1, 2 or math.inf, got 3"),
    (
        lambda: Exponential(1).mr_divergence(1, norm="inf", dim=3),
        ValueError,
        "norm must be 1, 2 or math.inf, got 'inf'",
    ),
    (lambda: Gaussian.scale_for(0, 1, norm=2, dim=3), ValueError, "r must be a finite number above 0, got 0.0"),
    (lambda: Gaussian.scale_for(1, -1, norm=2, dim=3), ValueError, "epsilon must be a finite number above 0, got -1.0"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert not X.any()
