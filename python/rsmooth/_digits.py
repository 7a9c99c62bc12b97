"""How people are shown numbers: to so many digits, radii and p1 rounded down, p2 up."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal

import numpy as np


def digits(value: float) -> str:
    """Return a number of at least 0 with four digits."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(value))
    return f"{value:,.{max(3 - size, 0)}f}" if -5 < size < 9 else f"{value:.3e}"  # noqa: PLR2004


def below(radius: float) -> str:
    """Return a radius of at least 0, or p1, with four digits, rounded down."""
    exact = _exact(radius)
    return digits(float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 3), ROUND_DOWN)))


def floor(p1: float, places: int) -> str:
    """Return a number of at least 0 with so many places behind the point, rounded down."""
    return str(_exact(p1).quantize(Decimal(1).scaleb(-places), ROUND_DOWN))


def whole(value: float) -> str:
    """Return a number as it was given, with all of its digits."""
    return np.format_float_positional(value, trim="-")


def _exact(value: float) -> Decimal:
    # As it is written: 0.3 is 0.3, whatever its bits.
    return Decimal(repr(float(value)))
