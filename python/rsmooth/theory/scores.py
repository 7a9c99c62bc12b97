"""PixelDP's certificate from expected scores: the baseline that certified counts are compared with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rsmooth.theory._values import OUTWARD, as_chances, as_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from rsmooth.mechanisms import Mechanism
    from rsmooth.theory._values import Floats

__all__ = [
    "ScoreCertificate",
    "certify_scores",
    "score_bounds",
]


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
    >>> from rsmooth.theory.scores import score_bounds
    >>> lower, upper = score_bounds(np.linspace(0.79, 0.81, 1000), 0.001)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.7815, 0.8185)
    """
    values = as_numbers("scores", scores, lambda x: (x >= 0) & (x <= 1), "from 0 to 1")
    if values.ndim == 0 or len(values) < 2:  # noqa: PLR2004
        raise ValueError(f"scores must be of at least 2 draws, got shape {values.shape}")
    level = float(as_chances("alpha", alpha))
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
    >>> from rsmooth.theory.scores import certify_scores
    >>> scores = np.tile([0.9, 0.1], (100_000, 1))
    >>> certificate = certify_scores(scores, rsmooth.Laplace(0.5), norm=1, dim=64)
    >>> certificate.prediction, round(certificate.radius, 3)
    (0, 0.549)
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or values.shape[1] < 2:  # noqa: PLR2004
        raise ValueError(f"scores must have the shape (n, K) with K of at least 2, got {values.shape}")
    level = float(as_chances("alpha", alpha))
    lower, upper = score_bounds(values, level / (2 * values.shape[1]), method=method)
    top = int(lower.argmax())
    high = float(np.delete(upper, top).max())
    # Radii are for p1 + p2 <= 1. Lowering a lower bound is always right.
    low = min(float(lower[top]), 1 - high)
    radius = float(mechanism.radius(low, high, norm=norm, dim=dim, bound="pixeldp"))
    return ScoreCertificate(top if radius > 0 else -1, radius, low, high)
