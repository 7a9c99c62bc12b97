"""The exact grid noise written down a second time, in integers: docs/exact.md is the definition.

Bits come from reference.py, thresholds from mpmath at 400 bits, everything after them is integer arithmetic.
"""

import functools

import mpmath
import numpy as np

from reference import HIGH, LOW, RADIUS, blocks, words

BITS = 400


def bits(key, draw, dim):
    """Return the coordinates' 64 bits as Python integers."""
    return [
        int(high) << 32 | int(low)
        for high, low in zip(words(key, draw, HIGH, dim), words(key, draw, LOW, dim), strict=True)
    ]


def magnitudes(survival):
    """Return 2**63 times P(|Z| >= m), rounded, for m = 1, 2, ... while it is not 0."""
    with mpmath.workprec(BITS):
        thresholds = []
        while (threshold := int(mpmath.nint(survival(len(thresholds) + 1) * 2**63))) > 0:
            thresholds.append(threshold)
        return thresholds


@functools.cache
def gaussian_thresholds(sigma, grid):
    return magnitudes(lambda m: mpmath.erfc((m - mpmath.mpf("0.5")) / (mpmath.mpf(sigma) * grid * mpmath.sqrt(2))))


@functools.cache
def laplace_thresholds(scale, grid):
    return magnitudes(lambda m: mpmath.exp(-(m - mpmath.mpf("0.5")) / (mpmath.mpf(scale) * grid)))


@functools.cache
def radius_thresholds(sigma, grid, dim):
    """Return a half-width r, and 2**64 P(R <= r), 2**64 P(R <= r + 1), ..., rounded."""
    with mpmath.workprec(BITS):
        steps = mpmath.mpf(sigma) * grid
        mode = int(dim * steps)
        spread = int(steps * (16 * dim**0.5 + 100)) + 2
        first = max(0, mode - spread)
        q = mpmath.exp(-1 / steps)
        weights = [mpmath.mpf(2 * r + 1) ** dim * q**r for r in range(first, mode + spread)]
        total = mpmath.fsum(weights)
        sums, running = [], mpmath.mpf(0)
        for weight in weights:
            running += weight
            sums.append(int(mpmath.nint(running / total * 2**64)))
        return first, sums


def independent(thresholds, key, draw, dim):
    values = []
    ascending = np.array(thresholds[::-1], np.uint64)
    for word in bits(key, draw, dim):
        rest = word & (2**63 - 1)
        magnitude = len(thresholds) - int(np.searchsorted(ascending, np.uint64(rest), side="right"))
        values.append(-magnitude if word >> 63 else magnitude)
    return np.array(values)


def gaussian(key, draw, dim, sigma, grid):
    return independent(gaussian_thresholds(sigma, grid), key, draw, dim)


def laplace(key, draw, dim, scale, grid):
    return independent(laplace_thresholds(scale, grid), key, draw, dim)


def exponential(key, draw, dim, sigma, grid):
    first, sums = radius_thresholds(sigma, grid, dim)
    high, low = (int(word) for word in blocks(key, draw, RADIUS, 0)[0][:2])
    radius = first + sum(threshold <= (high << 32 | low) for threshold in sums)
    return np.array([(word * (2 * radius + 1) >> 64) - radius for word in bits(key, draw, dim)])


LAWS = {"gaussian": gaussian, "laplace": laplace, "exponential": exponential}
