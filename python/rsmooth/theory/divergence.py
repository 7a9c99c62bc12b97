"""Rényi divergences, the maximal relative Rényi divergence D_MR, and PixelDP.

Notation: L = ln p/q is the likelihood ratio's logarithm. All divergences rest on one integral of a function that is
nowhere negative,

    J = ∫ p k(L), k(L) = (exp(tL) - 1)/t - 1 + exp(-L), t = order - 1,

for (exp((order - 1) D) - 1)/t = ∫ p (exp(tL) - 1)/t, and the rest of k integrates to ∫ q - p = 0. So D = log1p(t J)/t
loses no digits where p and q are close or the order is near 1, where it is J itself, the Kullback-Leibler divergence.
docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from rsmooth._check import positive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism

    Floats = NDArray[np.float64]
    LogDensity = Callable[[Floats], Floats]

__all__ = [
    "MaximalRelative",
    "Robustness",
    "ScoreCertificate",
    "certify_scores",
    "density_mr_divergence",
    "density_renyi_divergence",
    "gaussian_renyi",
    "is_robust",
    "laplace_mr",
    "laplace_renyi",
    "mr_divergence",
    "pixeldp_delta",
    "pixeldp_epsilon",
    "pixeldp_epsilon_at",
    "renyi_divergence",
    "score_bounds",
]

# Widens what rounding of a few operations could have made too small.
OUTWARD = 1 + 1e-13


class MaximalRelative(NamedTuple):
    """The value of D_MR, and an order that shows it."""

    value: float
    """sup over orders α > 1 of D_α / α: not below the true one, above it by less than 1e-9 of it, or by some 2e-4 where
    D_α / α hardly depends on α."""
    order: float
    """The order at which the largest D_α / α was seen; 1 stands for the limit α → 1."""


class Robustness(NamedTuple):
    """Whether two distributions are within D_MR of ε in both directions (Definition 3), and the order that decides."""

    holds: bool
    """Whether they are."""
    order: float
    """The order of the largest D_α / α: where `holds` is false, the witness."""
    divergence: MaximalRelative
    """D_MR of the direction in which it is larger."""


class ScoreCertificate(NamedTuple):
    """What PixelDP certifies from expected scores."""

    prediction: int
    """The certified class, or -1: abstain."""
    radius: float
    """In the units of the inputs; 0 for an abstention."""
    lower: float
    """Lower confidence bound of the top class's expected score."""
    upper: float
    """Upper confidence bound of every other class's expected score."""


def renyi_divergence(p: ArrayLike, q: ArrayLike, order: ArrayLike) -> Floats:
    """Rényi divergence D_α(p ‖ q) of two discrete distributions.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        Probabilities; they sum to 1 within 1e-9, and are divided by their sums.
    order : array_like of float
        Orders α above 0. 1 is the Kullback-Leibler divergence, infinity the logarithm of the largest ratio p/q.

    Returns
    -------
    ndarray of float64
        Divergences in nats, of the shape of `order`: infinite where the supports say so, never NaN.

    Raises
    ------
    ValueError
        If an order is NaN or not above 0, a probability is negative or not finite, the probabilities do not sum to 1,
        or the shapes differ.

    References
    ----------
    .. [1] van Erven and Harremoës, "Rényi divergence and Kullback-Leibler divergence", 2014.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.divergence import renyi_divergence
    >>> renyi_divergence([0.5, 0.5], [0.25, 0.75], [0.5, 1, 2, math.inf]).round(4)
    array([0.0693, 0.1438, 0.2877, 0.6931])
    >>> float(renyi_divergence([0.5, 0.5], [1, 0], 2))
    inf
    """
    top, bottom = _pair(p, q)
    orders = _orders(order)
    curve = _discrete_curve(top, bottom)
    return np.reshape([curve(float(each)) for each in orders.ravel()], orders.shape)[()]


def mr_divergence(p: ArrayLike, q: ArrayLike) -> MaximalRelative:
    """Maximal relative Rényi divergence D_MR(p ‖ q) = sup over α > 1 of D_α(p ‖ q) / α (Definition 2).

    D_α / α is not monotone in general: rare outcomes of huge ratio put the supremum at a large order. It is found by
    cutting intervals of orders until the largest bound of any of them is within 1e-9 of a value seen.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`.

    Returns
    -------
    MaximalRelative
        The value, rounded up, and an order; infinite where `q` misses a part of p's support.

    Raises
    ------
    ValueError
        As `renyi_divergence`.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Definition 2.

    Examples
    --------
    >>> from rsmooth.theory.divergence import mr_divergence
    >>> value, order = mr_divergence([0.99, 0.01], [1 - 1e-10, 1e-10])
    >>> round(value, 4), round(order, 2)
    (7.0361, 1.81)
    """
    top, bottom = _pair(p, q)
    curve = _discrete_curve(top, bottom)
    # D_α <= D_∞, so that orders beyond D_∞ / D_1 cannot have the largest D_α / α.
    nearest, largest = curve(1.0), curve(math.inf)
    if not 0 < nearest < math.inf:
        return MaximalRelative(nearest, 1.0)
    return _supremum(curve, min(max(2.0, largest / nearest), 1e300))


def density_renyi_divergence(
    log_p: LogDensity,
    log_q: LogDensity,
    order: ArrayLike,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    points: Sequence[float] = (0.0,),
) -> Floats:
    """Rényi divergence D_α(p ‖ q) of two densities on the line, by adaptive Gauss-Legendre quadrature.

    Parameters
    ----------
    log_p, log_q : callable
        Natural logarithms of the densities, for arrays of points; -inf where a density is 0.
    order : array_like of float
        Finite orders α above 0.
    lower, upper : float
        The interval, which may be infinite, outside which both densities are 0.
    points : sequence of float
        Where the densities bend, or most of their mass lies.

    Returns
    -------
    ndarray of float64
        Divergences in nats, of the shape of `order`; relative error about 1e-10 for densities that are smooth between
        the points.

    Raises
    ------
    ValueError
        If an order is not allowed, the interval is empty, a density does not integrate to 1 (within 1e-9) or an
        integral does not settle, which it does not where the divergence is infinite because of the tails.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.theory.divergence import density_renyi_divergence
    >>> normal = lambda mean: lambda x: -((x - mean) ** 2) / 2 - np.log(2 * np.pi) / 2
    >>> density_renyi_divergence(normal(0.0), normal(0.5), [0.5, 1, 2]).round(9)
    array([0.0625, 0.125 , 0.25  ])
    """
    orders = _orders(order)
    if not np.isfinite(orders).all():
        raise ValueError("order must be finite for densities: quadrature cannot see the largest ratio")
    curve = _density_curve(log_p, log_q, lower, upper, points)
    return np.reshape([curve(float(each)) for each in orders.ravel()], orders.shape)[()]


def density_mr_divergence(
    log_p: LogDensity,
    log_q: LogDensity,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    points: Sequence[float] = (0.0,),
    largest_order: float = 100.0,
) -> MaximalRelative:
    """Maximal relative Rényi divergence of two densities on the line, over orders up to a largest.

    Parameters
    ----------
    log_p, log_q, lower, upper, points
        As for `density_renyi_divergence`.
    largest_order : float
        Where to stop, above 1. Orders beyond can matter only if D_∞ exceeds this order times the value found.

    Returns
    -------
    MaximalRelative
        The supremum over orders from 1 to `largest_order`, and an order that shows it.

    Raises
    ------
    ValueError
        As `density_renyi_divergence`, or if `largest_order` is not finite and above 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.theory.divergence import density_mr_divergence, laplace_mr
    >>> laplace = lambda mean: lambda x: -abs(x - mean) - np.log(2)
    >>> value, order = density_mr_divergence(laplace(0.0), laplace(0.7), points=[0, 0.7])
    >>> order, bool(abs(value - laplace_mr(0.7)) < 1e-8)
    (1.0, True)
    """
    if not 1 < largest_order < math.inf:
        raise ValueError(f"largest_order must be finite and above 1, got {largest_order}")
    return _supremum(_density_curve(log_p, log_q, lower, upper, points), largest_order)


def gaussian_renyi(shift: ArrayLike, order: ArrayLike) -> Floats:
    """Rényi divergence between a Gaussian and its shift: α shift² / 2.

    Parameters
    ----------
    shift : array_like of float
        Euclidean length of the shift over sigma, finite and at least 0.
    order : array_like of float
        Orders α above 0, infinity included, broadcast against `shift`.

    Returns
    -------
    ndarray of float64
        In nats. D_MR is shift² / 2, the same at every order (Theorem 4.1).

    Raises
    ------
    ValueError
        If a shift or an order is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.divergence import gaussian_renyi
    >>> gaussian_renyi(0.5, [1, 2, 4]).tolist()
    [0.125, 0.25, 0.5]
    """
    shifts, orders = np.broadcast_arrays(_sizes("shift", shift), _orders(order))
    with np.errstate(invalid="ignore"):
        return np.where(shifts == 0, 0.0, orders * shifts**2 / 2)[()]


def laplace_renyi(shift: ArrayLike, order: ArrayLike) -> Floats:
    r"""Rényi divergence between a Laplace distribution and its shift, exactly.

    :math:`\frac{1}{\alpha-1} \ln(\frac{\alpha}{2\alpha-1} e^{(\alpha-1)s} + \frac{\alpha-1}{2\alpha-1} e^{-\alpha s})`,
    computed without cancellation. It is that of the Exponential mechanism, in any dimension, for the shift whose
    coordinates are all s sigma in magnitude, and no other shift of that ∞-norm has a larger one at any order from 1.

    Parameters
    ----------
    shift : array_like of float
        The shift s over the scale, finite and at least 0.
    order : array_like of float
        Orders α above 0, 1 and infinity included, broadcast against `shift`.

    Returns
    -------
    ndarray of float64
        In nats; relative error below 1e-12.

    Raises
    ------
    ValueError
        If a shift or an order is not allowed.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.divergence import laplace_renyi
    >>> laplace_renyi(1.0, [1, 2, math.inf]).round(4)
    array([0.3679, 0.6191, 1.    ])
    """
    shifts, orders = np.broadcast_arrays(_sizes("shift", shift), _orders(order))
    # D_α = α / (1 - α) D_{1-α}, as the two directions are alike: orders of at least 1/2 are enough.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = orders < 0.5  # noqa: PLR2004
        alpha = np.where(small, 1 - orders, orders)
        factor = np.where(small, orders / (1 - orders), 1.0)
        t = alpha - 1
        x = (2 * alpha - 1) * shifts
        # (1 - exp(-x)) / x, which is 1 at 0.
        share = np.where(x > 0, -np.expm1(-x) / x, 1.0)
        width = shifts * share
        value = shifts * _one_minus_share(x) + width * _one_minus_log1p_share(-t * width)
    return (factor * np.where(np.isinf(orders) | (shifts == 0), shifts, value))[()]


def laplace_mr(shift: ArrayLike) -> Floats:
    """Maximal relative Rényi divergence between a Laplace distribution and its shift: s - 1 + exp(-s).

    D_α / α falls with the order, so that its supremum is the Kullback-Leibler divergence. It is also the Exponential
    mechanism's D_MR, exactly, for shifts of ∞-norm s sigma in any dimension. Theorem 5.1's min(s, s²/2) is above it,
    and agrees as s → 0 and s → ∞.

    Parameters
    ----------
    shift : array_like of float
        The shift s over the scale, finite and at least 0.

    Returns
    -------
    ndarray of float64
        Of the shape of `shift`.

    Raises
    ------
    ValueError
        If a shift is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.divergence import laplace_mr
    >>> laplace_mr([0.5, 1, 2]).round(4)
    array([0.1065, 0.3679, 1.1353])
    """
    shifts = _sizes("shift", shift)
    return (shifts * _one_minus_share(shifts))[()]


def is_robust(p: ArrayLike, q: ArrayLike, epsilon: float) -> Robustness:
    """Tell whether D_MR(p ‖ q) and D_MR(q ‖ p) are at most ε: Definition 3 for one pair of inputs.

    For a mechanism and all pairs of inputs within r: ``mechanism.mr_divergence(r, norm=..., dim=...) <= epsilon``.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`: the outputs' distributions at two inputs.
    epsilon : float
        The divergence allowed, finite and above 0.

    Returns
    -------
    Robustness
        ``holds`` is false where D_MR is within 1e-9 (relative) of ε and cannot be told from above it.

    Raises
    ------
    ValueError
        As `renyi_divergence`, or if `epsilon` is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.divergence import is_robust
    >>> is_robust([0.6, 0.4], [0.5, 0.5], 0.1).holds
    True
    >>> is_robust([0.99, 0.01], [1 - 1e-10, 1e-10], 0.1).holds
    False
    """
    epsilon = positive("epsilon", epsilon)
    worst = max(mr_divergence(p, q), mr_divergence(q, p))
    return Robustness(worst.value <= epsilon, worst.order, worst)


def pixeldp_epsilon(divergence: ArrayLike, delta: ArrayLike) -> Floats:
    """Convert a D_MR guarantee to PixelDP: (ε + 2 √(ε ln(1/δ)), δ), with ε the `divergence` (Theorem 3.1).

    Parameters
    ----------
    divergence : array_like of float
        D_MR, finite and at least 0.
    delta : array_like of float
        PixelDP's δ, above 0 and below 1, broadcast against `divergence`.

    Returns
    -------
    ndarray of float64
        PixelDP's ε, rounded up.

    Raises
    ------
    ValueError
        If a divergence or a delta is not allowed.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Theorem 3.1, as docs/theorems.md reads it.
    .. [2] Bun and Steinke, "Concentrated Differential Privacy", 2016, Proposition 1.3.

    Examples
    --------
    >>> from rsmooth.theory.divergence import pixeldp_epsilon
    >>> round(float(pixeldp_epsilon(0.125, 1e-5)), 4)
    2.5243
    """
    value, chance = _sizes("divergence", divergence), _chances("delta", delta)
    return np.asarray((value + 2 * np.sqrt(value * -np.log(chance))) * OUTWARD)[()]


def pixeldp_epsilon_at(order: ArrayLike, divergence: ArrayLike, delta: ArrayLike) -> Floats:
    """Convert a bound on the Rényi divergence of one order to PixelDP: (D_α + ln(1/δ) / (α - 1), δ) (Lemma 4).

    Parameters
    ----------
    order : array_like of float
        Orders α above 1; infinity gives D_∞ itself.
    divergence : array_like of float
        D_α, finite and at least 0.
    delta : array_like of float
        PixelDP's δ, above 0 and below 1; all three are broadcast against each other.

    Returns
    -------
    ndarray of float64
        PixelDP's ε, rounded up.

    Raises
    ------
    ValueError
        If an order, a divergence or a delta is not allowed.

    References
    ----------
    .. [1] Mironov, "Rényi Differential Privacy", 2017, Proposition 3.

    Examples
    --------
    >>> from rsmooth.theory.divergence import pixeldp_epsilon_at
    >>> round(float(pixeldp_epsilon_at(2.0, 0.25, 1e-5)), 4)
    11.7629
    """
    orders = _checked("order", order, lambda x: x > 1, "above 1")
    value, chance = _sizes("divergence", divergence), _chances("delta", delta)
    return np.asarray((value - np.log(chance) / (orders - 1)) * OUTWARD)[()]


def pixeldp_delta(p: ArrayLike, q: ArrayLike, epsilon: float) -> float:
    """Smallest δ for which P(S) <= exp(ε) Q(S) + δ for every set S: Definition 1 for one pair of inputs.

    Parameters
    ----------
    p, q : array_like of float, shape (K,)
        As for `renyi_divergence`.
    epsilon : float
        PixelDP's ε, finite and at least 0.

    Returns
    -------
    float
        The sum of the positive parts of p - exp(ε) q.

    Raises
    ------
    ValueError
        As `renyi_divergence`, or if `epsilon` is not allowed.

    Examples
    --------
    >>> from rsmooth.theory.divergence import pixeldp_delta
    >>> round(pixeldp_delta([0.5, 0.5], [0.25, 0.75], 0.1), 4)
    0.2237
    """
    top, bottom = _pair(p, q)
    # A smaller ε has a larger δ; exp overflows beyond this one.
    factor = np.exp(np.minimum(_sizes("epsilon", epsilon), 700.0))
    return math.fsum(np.maximum(top - factor * bottom, 0.0))


def score_bounds(
    scores: ArrayLike, alpha: float, *, method: Literal["bernstein", "hoeffding"] = "bernstein"
) -> tuple[Floats, Floats]:
    """Bound expected scores from independent draws' scores in [0, 1].

    Parameters
    ----------
    scores : array_like of float, shape (n, ...)
        The scores, each in [0, 1]; draws along the first axis, at least 2.
    alpha : float
        Failure probability of each single bound, above 0 and below 1.
    method : {"bernstein", "hoeffding"}
        Empirical Bernstein, mean ± (√(2 V l / n) + 7 l / (3 (n - 1))) with V the sample variance and l = ln(2/alpha),
        or Hoeffding, mean ± √(ln(1/alpha) / (2 n)), which is narrower only for few draws or scores near 0 and 1 in
        even parts.

    Returns
    -------
    lower, upper : ndarray of float64
        Of the shape of `scores` without the first axis, rounded outward and cut to [0, 1].

    Raises
    ------
    ValueError
        If a score is NaN or outside [0, 1], there are fewer than 2 draws, or `alpha` or `method` is not allowed.

    References
    ----------
    .. [1] Maurer and Pontil, "Empirical Bernstein Bounds and Sample Variance Penalization", 2009, Theorem 4.
    .. [2] Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", 1963.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.theory.divergence import score_bounds
    >>> lower, upper = score_bounds(np.linspace(0.79, 0.81, 1000), 0.001)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.7815, 0.8185)
    """
    values = _checked("scores", scores, lambda x: (x >= 0) & (x <= 1), "from 0 to 1")
    if values.ndim == 0 or len(values) < 2:  # noqa: PLR2004
        raise ValueError(f"scores must be of at least 2 draws, got shape {values.shape}")
    level = float(_chances("alpha", alpha))
    n = len(values)
    mean = values.mean(axis=0)
    if method == "bernstein":
        log = math.log(2 / level)
        margin = np.sqrt(2 * values.var(axis=0, ddof=1) * log / n) + 7 * log / (3 * (n - 1))
    elif method == "hoeffding":
        margin = np.full(mean.shape, math.sqrt(-math.log(level) / (2 * n)))
    else:
        raise ValueError(f'method must be "bernstein" or "hoeffding", got {method!r}')
    margin = margin * OUTWARD + 1e-15
    return np.maximum(mean - margin, 0.0), np.minimum(mean + margin, 1.0)


def certify_scores(
    scores: ArrayLike,
    mechanism: Mechanism,
    *,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    method: Literal["bernstein", "hoeffding"] = "bernstein",
) -> ScoreCertificate:
    """Certify the largest expected score by PixelDP's Lemma 1: E_k > exp(2ε) max E_i + (1 + exp(ε)) δ.

    The baseline that certified counts are compared with. Within the radius, no perturbation changes which class has the
    largest expected score.

    Parameters
    ----------
    scores : array_like of float, shape (n, K)
        Scores of the K classes for each of n draws of one input, each in [0, 1], as softmax gives them. Where two
        classes' scores sum to more than 1, less is certified than Lemma 1 allows.
    mechanism : Gaussian, Laplace or Exponential
        Whose noise the draws were.
    norm : {1, 2, math.inf}
        Norm of the perturbation: 2 for the Gaussian and 1 for the Laplace mechanism are PixelDP's.
    dim : int
        Number d of coordinates of an input.
    alpha : float
        Failure probability of the certificate, above 0 and below 1. The same draws select and estimate, so each of the
        2 K bounds gets its share.
    method : {"bernstein", "hoeffding"}
        As for `score_bounds`.

    Returns
    -------
    ScoreCertificate
        Prediction (-1: abstain), radius, and the two bounds.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.

    References
    ----------
    .. [1] Lecuyer, Atlidakis, Geambasu, Hsu and Jana, "Certified Robustness to Adversarial Examples with Differential
       Privacy", 2019, Lemma 1 and Proposition 1.

    Examples
    --------
    >>> import numpy as np, rsmooth
    >>> from rsmooth.theory.divergence import certify_scores
    >>> scores = np.tile([0.9, 0.1], (100_000, 1))
    >>> certificate = certify_scores(scores, rsmooth.Laplace(0.5), norm=1, dim=64)
    >>> certificate.prediction, round(certificate.radius, 3)
    (0, 0.549)
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or values.shape[1] < 2:  # noqa: PLR2004
        raise ValueError(f"scores must have the shape (n, K) with K of at least 2, got {values.shape}")
    level = float(_chances("alpha", alpha))
    lower, upper = score_bounds(values, level / (2 * values.shape[1]), method=method)
    top = int(lower.argmax())
    high = float(np.delete(upper, top).max())
    # Radii are for p1 + p2 <= 1. Lowering a lower bound is always right.
    low = min(float(lower[top]), 1 - high)
    radius = float(mechanism.radius(low, high, norm=norm, dim=dim, bound="pixeldp"))
    return ScoreCertificate(top if radius > 0 else -1, radius, low, high)


def _log_excess(log_p: Floats, log_q: Floats, ratio: Floats, t: float) -> Floats:
    """Return ln(p k(L)) with `ratio` = L = ln p/q: ln q where p = 0, and nothing overflows."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alone = np.inf if t >= 0 else log_p + np.log(-1 / t - 1)
        lone = np.where(np.isneginf(log_p), log_q, alone)
        # p k(L) = (p^α q^(1-α) - p)/t - p + q, in units of its largest term.
        power = log_p + t * ratio
        unit = np.maximum(np.maximum(power, log_p), log_q)
        growth = -np.expm1(-np.abs(t * ratio)) / abs(t) if t else np.abs(ratio)
        first = np.sign(ratio) * np.exp(np.maximum(power, log_p) - unit) * growth
        close = np.exp(log_p - unit) * np.expm1(-ratio)
        second = np.where(np.abs(ratio) < 1, close, np.exp(log_q - unit) - np.exp(log_p - unit))
        value = unit + np.log(first + second)
        # Near L = 0 the terms cancel: k = Σ (t^(n-1) + (-1)^n) L^n / n! from n = 2 on, here in powers of L max(1, |t|).
        size = max(1.0, abs(t))
        near = np.abs(ratio) * size < 1e-2  # noqa: PLR2004
        small = np.where(near, ratio, 0.0) * size
        terms = [((t / size) ** (n - 1) + (-1) ** n * size ** (1 - n)) / size / math.factorial(n) for n in range(2, 10)]
        series = np.polyval(terms[::-1], small)
        value = np.where(near, log_p + 2 * np.log(np.abs(small)) + np.log(series), value)
        return np.where(np.isneginf(log_p) | np.isneginf(log_q), lone, value)


def _from_excess(log_excess: float, t: float) -> float:
    """Return D = log1p(t J)/t from ln J."""
    large = 700.0
    if t == 0:
        return math.exp(log_excess) if log_excess < large else math.inf
    if t > 0 and log_excess + math.log(t) > 0:
        return float(np.logaddexp(0.0, log_excess + math.log(t))) / t
    inside = t * math.exp(log_excess)
    # J = -1/t for disjoint supports and an order below 1.
    return math.log1p(inside) / t if inside > -1 else math.inf


def _discrete_curve(p: Floats, q: Floats) -> Callable[[float], float]:
    """Return the divergence of two checked distributions as a function of the order."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_p, log_q = np.log(p), np.log(q)
        # p - q is exact where p and q are close.
        ratio = np.where((p > q / 2) & (p < 2 * q), np.log1p((p - q) / q), log_p - log_q)
    # No ratio is below 1 everywhere; rounding may say so.
    largest = max(float(ratio[p > 0].max()), 0.0)

    def curve(order: float) -> float:
        # D_α <= D_∞, and powers of that size overflow.
        if order > 1e300:  # noqa: PLR2004
            return largest
        return _from_excess(_log_sum(_log_excess(log_p, log_q, ratio, order - 1)), order - 1)

    return curve


def _density_curve(
    log_p: LogDensity, log_q: LogDensity, lower: float, upper: float, points: Sequence[float]
) -> Callable[[float], float]:
    """Return the divergence of two densities, checked here, as a function of the order."""
    if not lower < upper:
        raise ValueError(f"lower must be below upper, got {lower} and {upper}")
    # x = u / (1 - u²) takes (-1, 1) to the line.
    ends = np.array([lower, upper, *points], np.float64)
    with np.errstate(invalid="ignore"):
        folded = np.where(np.isinf(ends), np.sign(ends), 2 * ends / (1 + np.sqrt(1 + 4 * ends**2)))
    cuts = np.concatenate([folded, np.linspace(folded[0], folded[1], 9)])
    edges = np.unique(cuts[(cuts >= folded[0]) & (cuts <= folded[1])])

    def integral(log_integrand: LogDensity) -> float:
        def unfolded(u: Floats) -> Floats:
            gap = (1 - u) * (1 + u)
            # Panels that shrink towards an end of the line until u is coarse there have not settled: NaN says so.
            with np.errstate(divide="ignore", invalid="ignore"):
                values = log_integrand(u / gap) + np.log1p(u**2) - 2 * np.log(gap)
            return np.where(gap > 1e-14, values, np.nan)  # noqa: PLR2004

        return _log_integral(unfolded, edges)

    for name, density in (("log_p", log_p), ("log_q", log_q)):
        total = math.exp(integral(density))
        if not abs(total - 1) <= 1e-9:  # noqa: PLR2004
            raise ValueError(
                f"{name} must be the logarithm of a density: its integral is {total:.12g}, off 1 by {total - 1:g}"
            )

    def curve(order: float) -> float:
        def excess(x: Floats) -> Floats:
            top, bottom = np.asarray(log_p(x)), np.asarray(log_q(x))
            with np.errstate(invalid="ignore"):
                return _log_excess(top, bottom, top - bottom, order - 1)

        return _from_excess(integral(excess), order - 1)

    return curve


def _log_integral(log_integrand: LogDensity, edges: Floats) -> float:
    """Return ln ∫ exp(log_integrand): panels are halved until halving changes the sum by less than 1e-11 of it."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    rounds, most = 45, 20_000

    def panels(left: Floats, right: Floats) -> Floats:
        half = (right - left)[:, None] / 2
        values = log_integrand((left + right)[:, None] / 2 + half * nodes) + np.log(weights * half)
        return np.array([_log_sum(row) for row in values])

    left, right = edges[:-1], edges[1:]
    whole = panels(left, right)
    settled: list[float] = []
    for _ in range(rounds):
        middle = (left + right) / 2
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        halves = panels(left, right)
        total = _log_sum(np.array([*settled, *halves]))
        if math.isinf(total):
            return total
        if math.isnan(total) or left.size > most:
            break
        both = np.logaddexp(*np.split(halves, 2))
        moving = np.abs(np.exp(both - total) - np.exp(whole - total)) > 1e-11  # noqa: PLR2004
        if not moving.any():
            return total
        settled.extend(both[~moving])
        again = np.tile(moving, 2)
        left, right, whole = left[again], right[again], halves[again]
    raise ValueError(
        "the integral does not settle: a density is NaN, needs points= where it bends, or the divergence is infinite"
    )


def _supremum(curve: Callable[[float], float], largest_order: float) -> MaximalRelative:
    """Return the supremum of D_α / α over orders from 1 to the largest, rounded up.

    K(t) = t D_{1+t} is convex and K(0) = 0, so that between two orders K is at most its chord, and
    D_α / α = K / (t (t + 1)) at most the chord's. Intervals whose bound exceeds the best value seen are halved.
    """
    most = 1000
    t = np.concatenate([[0.0], np.geomspace(1e-7 * (largest_order - 1), largest_order - 1, 48)])
    divergences = np.array([curve(1 + each) for each in t])
    while True:
        seen = divergences / (1 + t)
        best = int(seen.argmax())
        bounds = _chord_bounds(t, t * divergences)
        open_ = np.flatnonzero(bounds > seen[best] * (1 + 5e-10))
        if not open_.size or t.size + open_.size > most:
            value = max(float(seen[best]), float(bounds.max()))
            return MaximalRelative(value * OUTWARD, float(1 + t[best]))
        middle = (t[open_] + t[open_ + 1]) / 2
        t = np.insert(t, open_ + 1, middle)
        divergences = np.insert(divergences, open_ + 1, [curve(1 + each) for each in middle])


def _chord_bounds(t: Floats, cumulant: Floats) -> Floats:
    """Return the largest chord(t) / (t (t + 1)) over each interval of `t`."""
    left, right = t[:-1], t[1:]
    slope = np.diff(cumulant) / np.diff(t)
    # At most 0, as the cumulant is convex and starts at 0.
    start = np.minimum(cumulant[:-1] - slope * left, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The slope is at least 0 too, but for the rounding of divergences around 1e-16.
        peak = np.where(slope > 0, np.clip((np.sqrt(start**2 - slope * start) - start) / slope, left, right), left)
        return np.where(left == 0, slope, (start + slope * peak) / (peak * (peak + 1)))


def _log_sum(values: Floats) -> float:
    """Return ln Σ exp(values)."""
    largest = float(values.max())
    if math.isinf(largest):
        return largest
    return largest + math.log(math.fsum(np.exp(values - largest)))


def _one_minus_share(x: Floats) -> Floats:
    """Return 1 - (1 - exp(-x)) / x for x >= 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 1 + np.expm1(-x) / x
    near = np.where(x < 1, x, 0.0)
    series = near * np.polyval([(-1) ** n / math.factorial(n + 2) for n in range(20, -1, -1)], near)
    return np.where(x < 1, series, far)


def _one_minus_log1p_share(y: Floats) -> Floats:
    """Return 1 - log1p(y) / y for y > -1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 1 - np.log1p(y) / y
    near = np.where(np.abs(y) < 0.1, y, 0.0)  # noqa: PLR2004
    series = near * np.polyval([(-1) ** n / (n + 2) for n in range(16, -1, -1)], near)
    return np.where(np.abs(y) < 0.1, series, far)  # noqa: PLR2004


def _pair(p: ArrayLike, q: ArrayLike) -> tuple[Floats, Floats]:
    """Return two distributions checked, divided by their sums."""
    pair = []
    for name, given in (("p", p), ("q", q)):
        values = _sizes(name, given)
        if values.ndim != 1 or not values.size:
            raise ValueError(f"{name} must have the shape (K,) with K of at least 1, got {values.shape}")
        total = math.fsum(values)
        if not abs(total - 1) <= 1e-9:  # noqa: PLR2004
            raise ValueError(f"{name} must sum to 1, got {total:.12g}, off by {total - 1:g}")
        pair.append(values / total)
    if pair[0].size != pair[1].size:
        raise ValueError(f"p and q must have one length, got {pair[0].size} and {pair[1].size}")
    return pair[0], pair[1]


def _orders(order: ArrayLike) -> Floats:
    return _checked("order", order, lambda x: x > 0, "above 0")


def _sizes(name: str, given: ArrayLike) -> Floats:
    return _checked(name, given, lambda x: (x >= 0) & (x < math.inf), "finite and at least 0")


def _chances(name: str, given: ArrayLike) -> Floats:
    return _checked(name, given, lambda x: (x > 0) & (x < 1), "above 0 and below 1")


def _checked(name: str, given: ArrayLike, good: Callable[[Floats], NDArray[np.bool_]], allowed: str) -> Floats:
    """Return `given` as float64, if all of it is good."""
    array: NDArray[Any] = np.asarray(given)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    values = array.astype(np.float64)
    wrong = np.argwhere(~good(values))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        where = f"[{', '.join(map(str, at))}]" if at else ""
        raise ValueError(f"{name}{where} must be {allowed}, got {values[at]}")
    return values
