"""What any mechanism needs: the criteria of Theorems 4.2 and 5.2, and a bound with proven constants."""

from __future__ import annotations

import math

from rsmooth._check import integer, positive

__all__ = [
    "criterion",
    "lower_bound",
]


def criterion(*, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Magnitude that any mechanism needs, up to a constant factor: r/√ε for p = 2 and r√(d/ε) for p = ∞.

    Parameters
    ----------
    norm : {2, math.inf}
        Norm p of the perturbations.
    radius : float
        Their largest norm r, finite and above 0.
    epsilon : float
        D_MR allowed, finite and above 0. The theorems hold for ε ≤ O(1).
    dim : int
        Number d of coordinates.

    Returns
    -------
    float
        In the units of the radius.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Theorems 4.2 and 5.2.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.criteria import criterion
    >>> criterion(norm=math.inf, radius=0.01, epsilon=0.25, dim=100)
    0.2
    """
    radius, epsilon, dim = positive("radius", radius), positive("epsilon", epsilon), integer("dim", dim, 1, None)
    return radius * math.sqrt((dim if _is_infinite(norm) else 1) / epsilon)


def lower_bound(*, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Magnitude below which no mechanism can be: the criteria with constants, as docs/theorems.md proves them.

    (r/8) (1/√(2ε) - 1) for both norms; for p = ∞ also (r/8) (√(ln 2 (3d/4 - 1)/ε) - 1).

    Parameters
    ----------
    norm, radius, epsilon, dim
        As for `criterion`.

    Returns
    -------
    float
        In the units of the radius; 0 where ε is too large for the proof to say anything.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.criteria import lower_bound
    >>> round(lower_bound(norm=math.inf, radius=0.01, epsilon=0.25, dim=3072), 4)
    0.0986
    """
    radius, epsilon, dim = positive("radius", radius), positive("epsilon", epsilon), integer("dim", dim, 1, None)
    information = max(0.5, math.log(2) * (0.75 * dim - 1)) if _is_infinite(norm) else 0.5
    return max(radius / 8 * (math.sqrt(information / epsilon) - 1), 0.0)


def _is_infinite(norm: float) -> bool:
    if norm not in (2, math.inf):
        raise ValueError(f"norm must be 2 or math.inf, for which there are criteria, got {norm!r}")
    return norm == math.inf
