"""How the gap between noise and criterion grows with the dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rsmooth._check import positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = [
    "Growth",
    "fit_growth",
]


@dataclass(frozen=True)
class Growth:
    """How the gap grows in d, from a line fitted to its logarithm."""

    law: str
    """What a power of fits better: "log d" or "d"."""
    exponent: float
    """Of the better fit."""
    log_exponent: float
    """Slope of ln gap against ln ln d."""
    power_exponent: float
    """Slope of ln gap against ln d."""

    @property
    def appropriate(self) -> bool:
        """Whether the mechanism's noise is the least possible, up to powers of log d."""
        return self.law == "log d"

    @property
    def verdict(self) -> str:
        """What the growth says of the mechanism, in a few words."""
        if self.appropriate:
            return f"appropriate: gap grows as (log d)^{self.exponent:.2f}"
        return f"not appropriate: gap grows as d^{self.exponent:.2f}"


def fit_growth(dims: Sequence[int], gaps: Sequence[float]) -> Growth | None:
    """Fit the growth of gaps in d: a power of log d or a power of d, whichever leaves smaller squares.

    Parameters
    ----------
    dims : sequence of int
        Dimensions; those below 3, whose log log is not above 0, are left out.
    gaps : sequence of float
        The gap in each, above 0.

    Returns
    -------
    Growth or None
        None for fewer than three different dimensions.

    Raises
    ------
    ValueError
        If the lengths differ or a gap is not finite and above 0.

    Examples
    --------
    >>> from rsmooth.theory.growth import fit_growth
    >>> fit_growth([10, 100, 1000], [1.0, 10.0, 100.0]).verdict
    'not appropriate: gap grows as d^1.00'
    """
    if len(dims) != len(gaps):
        raise ValueError(f"gaps must be as many as dims, {len(dims)}, got {len(gaps)}")
    points = [(float(dim), positive(f"gaps[{i}]", gap)) for i, (dim, gap) in enumerate(zip(dims, gaps, strict=True))]
    used = np.log([point for point in points if point[0] >= 3])  # noqa: PLR2004
    if len(np.unique(used[:, :1])) < 3:  # noqa: PLR2004
        return None
    log_exponent, log_rest = _slope(np.log(used[:, 0]), used[:, 1])
    power_exponent, power_rest = _slope(used[:, 0], used[:, 1])
    if log_rest <= power_rest:
        return Growth("log d", log_exponent, log_exponent, power_exponent)
    return Growth("d", power_exponent, log_exponent, power_exponent)


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of the fitted line and the sum of squares it leaves."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    return slope, float(((y - slope * x) ** 2).sum())
