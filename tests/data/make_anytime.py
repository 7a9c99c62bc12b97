"""Write anytime.csv: lower anytime bounds p and 1 - p to 50 digits, of which 20 are kept.

Run `python tests/data/make_anytime.py`; it takes a minute. The wealth is written down here once more, in the plain form
s^k / (1 + (s - 1) m)^n, and its logarithm is solved for m by bisection of the logit and then by the secant method.
1 - p is the upper bound for n - k.
"""

from __future__ import annotations

import csv
from pathlib import Path

from make_counts import cases
from mpmath import mp, mpf

CASES = cases(
    seed=7,
    total=800,
    small=5,
    large=(100, 10**5, 10**9, 2**53),
    decades=15.95,
    alphas=(0.9, 0.5, 0.05, 0.001, 5e-4, 1e-12),
)

mp.dps = 50
DIGITS = 20

# The gamblers: the odds ratio's logarithm, and the share of the money.
GRID = [mpf(2) ** (-25 + j // 2) * (mpf(3) / 2 if j % 2 else 1) for j in range(63)]
SHARES = [1 / (9 + mpf(j - 48) ** 2) for j in range(63)]
SURE = mpf(1) / 32
GAMBLERS = [(lam, share * (1 - SURE) / sum(SHARES)) for lam, share in zip(GRID, SHARES, strict=True)] + [
    (mpf(700), SURE)
]
TABLE = [(lam, mp.log(weight), mp.expm1(lam)) for lam, weight in GAMBLERS]


def ln_wealth(k: int, n: int, logit: mpf) -> mpf:
    """ln W(k, n, m) at the m with this logit."""
    m = 1 / (1 + mp.exp(-logit))
    terms = [ln_weight + k * lam - n * mp.log1p(grow * m) for lam, ln_weight, grow in TABLE]
    most = max(terms)
    return most + mp.log(sum(mp.exp(term - most) for term in terms if term > most - 120))


def lower(k: int, n: int, alpha: float) -> tuple[mpf, mpf]:
    """The p with W(k, n, p) = 1/alpha, and 1 - p."""
    wanted = -mp.log(mpf(alpha))
    low, high = mpf(-1500), mpf(60)
    at_low, at_high = (ln_wealth(k, n, logit) - wanted for logit in (low, high))
    while high - low > 1 or at_low - at_high > 1:
        middle = (low + high) / 2
        at_middle = ln_wealth(k, n, middle) - wanted
        if at_middle >= 0:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    points = [(low, at_low), (high, at_high)]
    for _ in range(100):
        (before, at_before), (last, at_last) = points[-2:]
        if abs(at_last) < mpf("1e-28"):
            return 1 / (1 + mp.exp(-last)), 1 / (1 + mp.exp(last))
        following = last - at_last * (last - before) / (at_last - at_before)
        if not low < following < high:
            following = (low + high) / 2
        points.append((following, ln_wealth(k, n, following) - wanted))
        low, high = (following, high) if points[-1][1] >= 0 else (low, following)
    raise AssertionError(f"no convergence for {k}, {n}, {alpha}")


def main() -> None:
    """Write the table beside this script."""
    with Path(__file__).with_name("anytime.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["k", "n", "alpha", "lower", "one_minus_lower"])
        for k, n, alpha in CASES:
            p, q = lower(k, n, alpha)
            table.writerow([k, n, alpha, mp.nstr(p, DIGITS), mp.nstr(q, DIGITS)])


if __name__ == "__main__":
    main()
