"""Write grid_thresholds.csv: thresholds of the exact laws, rounded to integers, by mpmath's functions at 400 bits.

Run `python tests/data/make_grid_thresholds.py`; it takes ten seconds. Of a law with few thresholds all are there, of
others the outermost, the innermost and some between. For the exponential m is the half-width R, and 2**64 P(R <= m) its
threshold.
"""

import csv
from pathlib import Path

import mpmath

mpmath.mp.prec = 400

# Scale and grid, from the narrowest that is allowed to the widest.
INDEPENDENT = [(0.0625, 1), (0.25, 1), (0.1, 5), (1.5, 1), (0.25, 255), (0.3, 4369), (1.0, 65536)]
# Scale, grid and coordinates.
CUBES = [
    (0.0625, 1, 1),
    (0.1, 255, 1),
    (0.25, 1, 3),
    (0.01, 255, 3072),
    (1 / 1200, 130_560, 3072),
    (0.002, 255, 150_528),
]


def gaussian(sigma, grid, m):
    return mpmath.erfc((m - mpmath.mpf(1) / 2) / (mpmath.mpf(sigma) * grid) / mpmath.sqrt(2)) * 2**63


def laplace(scale, grid, m):
    return mpmath.exp(-(m - mpmath.mpf(1) / 2) / (mpmath.mpf(scale) * grid)) * 2**63


def largest(threshold):
    """Return the last m whose threshold is not 0."""
    low, high = 1, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if threshold(middle) >= 0.5 else (low, middle)
    return low


def some(first, last):
    """Return all of first … last if they are few, else both ends and some between."""
    if last - first < 400:
        return list(range(first, last + 1))
    spread = [first + (last - first) * i // 60 for i in range(61)]
    return sorted({*range(first, first + 20), *spread, *range(last - 19, last + 1)})


def cube(sigma, grid, dim):
    """Return the half-widths from some first one on with 2⁶⁴·P(R ≤ r) for each, not rounded."""
    steps = mpmath.mpf(sigma) * grid
    mode = int(dim * steps)
    spread = int(steps * (16 * dim**0.5 + 100)) + 2
    first = max(0, mode - spread)

    def log_weight(r):
        return dim * mpmath.log(2 * r + 1) - r / steps

    top = log_weight(mode)
    sums, total = [], mpmath.mpf(0)
    for r in range(first, mode + spread):
        total += mpmath.exp(log_weight(r) - top)
        sums.append(total)
    return first, [s / total * 2**64 for s in sums]


def main():
    rows = []
    for name, law in (("gaussian", gaussian), ("laplace", laplace)):
        for scale, grid in INDEPENDENT:
            last = largest(lambda m, of=law, s=scale, g=grid: of(s, g, m))
            rows += [(name, repr(scale), grid, 1, m, int(mpmath.nint(law(scale, grid, m)))) for m in some(1, last)]
    for sigma, grid, dim in CUBES:
        first, values = cube(sigma, grid, dim)
        integers = [int(mpmath.nint(value)) for value in values]
        kept = [i for i, value in enumerate(integers) if 0 < value < 2**64]
        rows += [("exponential", repr(sigma), grid, dim, first + i, integers[i]) for i in some(kept[0], kept[-1])]
    with Path(__file__).with_name("grid_thresholds.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["law", "scale", "grid", "dim", "m", "threshold"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
