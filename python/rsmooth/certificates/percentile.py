"""Percentiles: certified intervals for the percentiles of a real output, such as a regression's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rsmooth._arrays import real
from rsmooth._check import dimension
from rsmooth.confidence import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism

    Floats = NDArray[np.float64]

__all__ = ["PercentileCertificates", "certify_percentile"]

# Above what a trade-off curve, as it is evaluated, can be off by.
ROUNDING = 1e-13


class PercentileCertificates(NamedTuple):
    """The certified intervals of N inputs at M radii.

    With confidence 1 − alpha over the draws, for each input and radius: whatever the perturbation of norm at most the
    radius, the percentile of the output lies from ``lower`` to ``upper``.

    Attributes
    ----------
    estimate : ndarray of float64, shape (N,)
        The percentile of the outputs that were drawn, no bound.
    lower, upper : ndarray of float64, shape (N, M), or (N,) for a single radius
        The ends of the intervals, infinite where there are too few draws to say.
    """

    estimate: Floats
    lower: Floats
    upper: Floats


def certify_percentile(
    outputs: ArrayLike,
    radii: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    percentile: float = 0.5,
    alpha: float = 0.001,
    grid: int | None = None,
    noise_error: float = 0.0,
) -> PercentileCertificates:
    """Bound a percentile of a real output under every perturbation within each radius.

    Parameters
    ----------
    outputs : array_like of float, shape (N, n)
        For each input the model's output for n draws of noise.
    radii : array_like of float, shape (M,) or ()
        The norms of the perturbations, finite and at least 0.
    mechanism : Mechanism
        The mechanism that drew the noise. Its trade-off curve in `norm` must be known.
    norm : {1, 2, math.inf}
        The norm meant.
    dim : int
        The number of coordinates of an input.
    percentile : float
        Which percentile, above 0 and below 1: 0.5 is the median.
    alpha : float
        The failure probability of each interval, above 0 and below 1.
    grid, noise_error
        As for `rsmooth.certify_counts`.

    Returns
    -------
    PercentileCertificates
        The intervals.

    Raises
    ------
    ValueError
        If an output is NaN, a radius is not allowed, the shapes do not fit, nothing is known of the mechanism's
        trade-off curve, or another argument is not as above.
    TypeError
        If `outputs` or `radii` are not real numbers.

    Notes
    -----
    Let h_a(x) be the a-th percentile of f(x + z), the least y with P(f ≤ y) ≥ a, and B the trade-off curve at the
    radius. Then h_a(x) ≤ h_p(x + δ) ≤ h_b(x) with a = 1 - B(1 - p) and b = B(p): for the Gaussian Φ(Φ⁻¹(p) ∓ r/σ) [1]_.

    *Proof.* The curve bounds probabilities at x by those at x + δ as well: that is the shift by -δ. At y = h_p(x + δ)
    the event f > y has at most 1 - p there, hence at most B(1 - p) at x, so that P(f ≤ y) ≥ a at x, and h_a(x) ≤ y. For
    any y < h_p(x + δ) the event f ≤ y has less than p there, hence less than B(p) at x (B is concave and below 1 at p,
    so it increases strictly up to there), and h_b(x) > y. Where B(p) is 1, nothing is said of the upper end. ∎

    *Confidence.* The k-th smallest of n outputs is above h_a only if fewer than k of them are at most h_a, which is to
    say with a probability of at most P(Bin(n, a) < k); it is below h_b only if k of them are, with at most P(Bin(n, b)
    ≥ k). The largest k of the one kind and the smallest of the other with a probability of at most alpha / 2 are taken,
    whatever the outputs' law. An interval is for one input and one radius.

    References
    ----------
    .. [1] Chiang, Curry, Abdelkader, Kumar, Dickerson and Goldstein, "Detection as Regression: Certified Object
       Detection with Median Smoothing", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.percentile import certify_percentile
    >>> outputs = Gaussian(0.5).sample((2000, 1), seed=0).T  # f(x) = x at x = 0
    >>> found = certify_percentile(outputs, [0.0, 0.25], Gaussian(0.5), norm=2, dim=1)
    >>> found.lower.round(2), found.upper.round(2)
    (array([[-0.06, -0.32]]), array([[0.05, 0.31]]))
    """
    drawn, shifts = real(outputs, "outputs").astype(np.float64), real(radii, "radii").astype(np.float64)
    if drawn.ndim != 2 or drawn.shape[1] == 0:  # noqa: PLR2004
        raise ValueError(f"outputs must have the shape (N, n) with n of at least 1, got {drawn.shape}")
    wrong = np.argwhere(np.isnan(drawn))
    if len(wrong):
        raise ValueError(f"outputs[{wrong[0][0]}, {wrong[0][1]}] must not be NaN")
    if shifts.ndim > 1:
        raise ValueError(f"radii must have the shape (M,) or (), got {shifts.shape}")
    if not ((shifts >= 0) & np.isfinite(shifts)).all():
        at = np.flatnonzero(~((shifts >= 0) & np.isfinite(shifts)))[0]
        raise ValueError(f"radii[{at}] must be finite and at least 0, got {shifts.ravel()[at]}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be a number above 0 and below 1, got {alpha}")
    if not 0 < percentile < 1:
        raise ValueError(f"percentile must be above 0 and below 1, got {percentile}")
    if not 0 <= noise_error < 1:
        raise ValueError(f"noise_error must be at least 0 and below 1, got {noise_error}")
    curve = mechanism.profile(norm, dimension(dim), grid=grid).tradeoff
    if curve is None:
        raise ValueError(f"mechanism must be one whose trade-off curve is known for norm {norm}, got {mechanism.name}")
    flat = shifts.ravel()
    below = 1 - np.asarray(curve(flat, np.full(flat.shape, 1 - percentile)), np.float64)
    above = np.asarray(curve(flat, np.full(flat.shape, percentile)), np.float64)
    below, above = below - ROUNDING - noise_error, above + ROUNDING + noise_error
    if np.isnan(below).any() or np.isnan(above).any():
        raise ValueError("the mechanism's trade-off curve must not be NaN")
    n = drawn.shape[1]
    counts = np.arange(n + 1)
    # P(Bin(n, a) < k) ≤ α/2 where the upper bound of k - 1 is at most a; P(Bin(n, b) ≥ k) ≤ α/2 where the lower one of
    # k is at least b. Both bounds grow with the count.
    k_low = np.searchsorted(clopper_pearson(counts, n, alpha / 2, side="upper"), below, side="right")
    k_high = np.searchsorted(clopper_pearson(counts, n, alpha / 2, side="lower"), above, side="left")
    ordered = np.sort(drawn, axis=1)
    padded = np.concatenate([np.full((len(drawn), 1), -np.inf), ordered, np.full((len(drawn), 1), np.inf)], axis=1)
    shape = (len(drawn), *shifts.shape)
    lower = padded[:, np.minimum(k_low, n)].reshape(shape)
    upper = padded[:, np.where(above >= 1, n + 1, np.minimum(k_high, n + 1))].reshape(shape)
    return PercentileCertificates(ordered[:, min(int(np.ceil(percentile * n)), n) - 1], lower, upper)
