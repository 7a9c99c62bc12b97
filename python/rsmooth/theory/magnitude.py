"""The magnitude E‖z‖∞ of a mechanism's noise, measured by sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsmooth._check import integer
from rsmooth._streams import child, sequence_of
from rsmooth.confidence import clopper_pearson

if TYPE_CHECKING:
    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism


__all__ = [
    "Measured",
    "measure_linf",
]

# Measuring one mechanism in one dimension draws at most `WORK` numbers, and holds at most `HELD` or one draw at a time.
WORK = 250_000_000
HELD = 4_000_000
DRAWS = 21, 10_001


@dataclass(frozen=True)
class Measured:
    """E‖z‖∞ as sampling shows it."""

    mean: float
    lower: float
    upper: float
    alpha: float
    """Probability with which the interval misses, if the mean of the draws is normal (Student's t)."""
    draws: int


def measure_linf(mechanism: Mechanism, dim: int, *, alpha: float = 0.001, seed: Seed = None) -> Measured | None:
    """Measure E‖z‖∞ by sampling, with Student's interval, in pieces of a bounded size.

    The interval is exact for normal maxima and approximate for others: E‖z‖∞ of an unbounded law has no exact one.

    Parameters
    ----------
    mechanism : Mechanism
        Draws z.
    dim : int
        Number of coordinates, at least 1.
    alpha : float
        Probability with which the interval may miss, above 0 and below 1.
    seed : int, numpy.random.SeedSequence or None
        Names the draws.

    Returns
    -------
    Measured or None
        From 21 to 10,001 draws and at most 250 million coordinates; None where 21 draws would be more.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, or the draws have another shape or are not finite.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.theory.magnitude import measure_linf
    >>> found = measure_linf(rsmooth.Exponential(1), 1000, seed=0)
    >>> found.draws, found.lower < 1000 < found.upper
    (10001, True)
    """
    dim = integer("dim", dim, 1, None)
    # An odd number: Student's quantile is then one of Clopper and Pearson's.
    draws = (min(max(WORK // dim, DRAWS[0]), DRAWS[1]) - 1) // 2 * 2 + 1
    if draws * dim > WORK:
        return None
    root = sequence_of(seed)
    norms = np.empty(draws)
    rows = max(HELD // dim, 1)
    for start in range(0, draws, rows):
        part = norms[start : start + rows]
        z = np.asarray(mechanism.sample((part.size, dim), seed=child(root, start)))
        if z.shape != (part.size, dim):
            raise ValueError(f"mechanism {mechanism.name!r} must sample the shape {(part.size, dim)}, got {z.shape}")
        np.maximum(z.max(axis=1), -z.min(axis=1), out=part)
    if not np.isfinite(norms).all():
        raise ValueError(
            f"mechanism {mechanism.name!r} must sample finite numbers, got {norms[~np.isfinite(norms)][0]}"
        )
    freedom = draws - 1
    # For T of Student's law with f degrees of freedom, (1 + T/√(f + T²))/2 is Beta(f/2, f/2).
    share = float(clopper_pearson(freedom // 2, freedom - 1, alpha / 2))
    quantile = math.sqrt(freedom) * (0.5 - share) / math.sqrt(share * (1 - share))
    mean, margin = float(norms.mean()), quantile * float(norms.std(ddof=1)) / math.sqrt(draws)
    return Measured(mean, mean - margin, mean + margin, alpha, draws)
