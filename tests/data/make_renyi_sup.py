"""Write renyi_sup.csv: the Rényi supremum and its order computed to 60 digits, over the whole domain.

Run `python tests/data/make_renyi_sup.py`. The order is found by bisection on the derivative of the plain formula, which
shares no step with the library's: with the working precision used here cancellation does not matter.
The search begins
from [1, 1.5] and widens should the maximum lie above; the script fails if one ever does.
"""

from __future__ import annotations

import csv
import random
from fractions import Fraction
from math import floor, log10
from pathlib import Path

from mpmath import mp, mpf

DIGITS = 60


def objective(order: mpf, p1: mpf, p2: mpf) -> mpf:
    """-ln(1 - p1 - p2 + 2 M)/order."""
    s = 1 - order
    mean = ((p1**s + p2**s) / 2) ** (1 / s) if s else mp.sqrt(p1 * p2)
    return -mp.log(1 - p1 - p2 + 2 * mean) / order


def slope(order: mpf, p1: mpf, p2: mpf) -> mpf:
    """The sign of the objective's derivative: order² times it, from d ln M/ds in closed form."""
    s = 1 - order
    a, b = p1**s, p2**s
    if s:
        mean = ((a + b) / 2) ** (1 / s)
        ln_slope = (a * mp.log(p1) + b * mp.log(p2)) / (a + b) / s - mp.log((a + b) / 2) / s**2
    else:
        mean = mp.sqrt(p1 * p2)
        ln_slope = mp.log(p1 / p2) ** 2 / 8
    inside = 1 - p1 - p2 + 2 * mean
    return order * 2 * mean * ln_slope / inside + mp.log(inside)


def supremum(p1: mpf, p2: mpf) -> tuple[mpf, mpf]:
    """Return the supremum over order > 1 and where it is (1 for the limit)."""
    low, high = mpf(1), mpf(3) / 2
    if slope(low, p1, p2) <= 0:
        return objective(low, p1, p2), low
    if slope(high, p1, p2) > 0:
        raise AssertionError(f"the maximum for {p1}, {p2} is above order 1.5")
    # The value's error is the square of the order's.
    for _ in range(110):
        middle = (low + high) / 2
        if slope(middle, p1, p2) > 0:
            low = middle
        else:
            high = middle
    return objective(low, p1, p2), low


def pairs() -> list[tuple[float, float]]:
    """Floats that cover the domain and its edges."""
    rng = random.Random(20)  # noqa: S311
    gaps = [10.0**-k for k in range(1, 13)]
    tops = [1 - 10.0**-k for k in range(1, 16)]
    found = [(p, 1 - p) for p in [*tops, 0.5 + 2**-52, 0.500001, 0.51, 0.6, 0.75, 0.8]]
    found += [(p, (1 - p) * share) for p in tops for share in (0.999, 0.5, 0.1, 1e-3, 1e-9, 1e-30, 1e-300)]
    found += [(p, p - gap) for gap in gaps for p in (0.5, 0.45, 0.3, 0.2, 0.11, 1e-2, 1e-5) if p > gap]
    found += [(0.5 + gap / 2, 0.5 - gap / 2) for gap in gaps]
    found += [(1.0, p2) for p2 in (2**-53, 1e-17, 1e-20, 1e-50, 1e-100, 1e-200, 1e-300, 1e-308, 1e-320, 5e-324)]
    found += [(p1, p2) for p1 in (0.99, 0.5, 0.2, 1e-10) for p2 in (1e-20, 1e-100, 1e-300, 1e-308, 1e-320, 5e-324)]
    found += [(1e-300, 5e-301), (1e-307, 1e-310), (1e-310, 1e-312), (1e-310, 9.99e-311), (5e-324 * 3, 5e-324)]
    for _ in range(500):
        a, b = rng.random(), rng.random()
        found.append((max(a, b), min(a, b)))
        found.append((a, min(a, 1 - a) * 10 ** -rng.uniform(0, 20)))
        found.append((a, a * (1 - 10 ** -rng.uniform(0, 12))))
        found.append((1 - 10 ** -rng.uniform(0, 15), 10 ** -rng.uniform(0, 20)))
    return [(p1, p2) for p1, p2 in found if p1 > p2 > 0 and Fraction(p1) + Fraction(p2) <= 1]


def main() -> None:
    """Write the table beside this script."""
    with Path(__file__).with_name("renyi_sup.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["p1", "p2", "value", "order"])
        for p1, p2 in pairs():
            # 1 minus a number of the size of (p1 - p2)² is formed on the way.
            with mp.workdps(2 * DIGITS - 2 * floor(log10(p1 - p2))):
                value, order = supremum(mpf(p1), mpf(p2))
                table.writerow([p1.hex(), p2.hex(), mp.nstr(value, 40), mp.nstr(order, 20)])


if __name__ == "__main__":
    main()
