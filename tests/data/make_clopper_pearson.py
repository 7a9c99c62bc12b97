"""Write clopper_pearson.csv: 5,000 exact lower bounds p and 1 - p, which are 10,000 exact bounds.

Run `python tests/data/make_clopper_pearson.py`; it needs SciPy for first guesses and takes ten minutes. The binomial
tail is summed term by term to 40 digits, which shares no step with the library's continued fraction, and its logarithm
is solved by Newton's method in the logit of p. As P(X >= k; p) = P(n - X <= n - k; 1 - p), 1 - p is the upper bound for
n - k.
"""

from __future__ import annotations

import csv
from pathlib import Path

from make_counts import cases
from mpmath import mp, mpf
from scipy.special import betaincinv

CASES = cases(
    seed=4,
    total=5000,
    small=7,
    large=(100, 10**4, 10**6, 10**9),
    decades=9,
    alphas=(0.5, 0.25, 0.05, 0.001, 5e-4, 1e-6, 1e-12),
)

mp.dps = 40
DIGITS = 20


def ln_tail_and_slope(k: int, n: int, logit: mpf) -> tuple[mpf, mpf]:
    """ln P(X >= k) and its derivative in the logit of p."""
    odds = mp.exp(logit)
    p, q = odds / (1 + odds), 1 / (1 + odds)
    term = total = mpf(1)
    for j in range(k, n):
        term *= odds * (n - j) / (j + 1)
        total += term
        if term < total * mpf("1e-35"):
            break
    ln_choose = mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)
    # dP/dp = k P(X = k)/p, and dp/dlogit = pq.
    return ln_choose + k * mp.log(p) + (n - k) * mp.log(q) + mp.log(total), k * q / total


def lower(k: int, n: int, alpha: float) -> tuple[mpf, mpf]:
    """The p with P(X >= k) = alpha, and 1 - p."""
    start = min(max(float(betaincinv(k, n - k + 1, alpha)), 1e-30), 1 - 1e-15)
    logit = mp.log(start) - mp.log(1 - mpf(start))
    for _ in range(50):
        ln_tail, slope = ln_tail_and_slope(k, n, logit)
        step = (mp.log(mpf(alpha)) - ln_tail) / slope
        logit += step
        # Newton's next step is the square of this one times a slope of at most 1e9.
        if abs(step) < mpf("1e-16"):
            return 1 / (1 + mp.exp(-logit)), 1 / (1 + mp.exp(logit))
    raise AssertionError(f"no convergence for {k}, {n}, {alpha}")


def main() -> None:
    """Write the table beside this script."""
    with Path(__file__).with_name("clopper_pearson.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["k", "n", "alpha", "lower", "one_minus_lower"])
        for k, n, alpha in CASES:
            p, q = lower(k, n, alpha)
            table.writerow([k, n, alpha, mp.nstr(p, DIGITS), mp.nstr(q, DIGITS)])


if __name__ == "__main__":
    main()
