"""The noise stream written down a second time, in NumPy, from its documented layout (docs/noise.md).

It shares no code with the package and computes in double precision with NumPy's own functions.
"""

import numpy as np

HIGH, LOW, RADIUS = 0, 1, 2
CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4")


def key_of(seed):
    return np.random.SeedSequence(seed).generate_state(8, np.uint32)


def blocks(key, draw, region, numbers):
    """Return the ChaCha8 blocks of the given numbers, of shape (blocks, 16)."""
    numbers = np.atleast_1d(np.asarray(numbers, np.uint32))
    start = np.empty((16, numbers.size), np.uint32)
    fixed = [*CONSTANTS, *key, 0, region, draw % 2**32, draw // 2**32]
    start[:] = np.array(fixed, np.uint32)[:, None]
    start[12] = numbers
    x = start.copy()

    def quarter(a, b, c, d):
        for left, right, mixed, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[left] += x[right]
            x[mixed] ^= x[left]
            x[mixed] = (x[mixed] << np.uint32(by)) | (x[mixed] >> np.uint32(32 - by))

    for _ in range(4):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return (x + start).T


def words(key, draw, region, dim):
    """Return the words of coordinates 0 … dim - 1."""
    i = np.arange(dim)
    table = blocks(key, draw, region, np.arange((dim + 255) // 256 * 16))
    return table[16 * (i // 256) + i % 16, i % 256 // 16].astype(np.uint64)


def bits(key, draw, dim):
    """Return the coordinates' 64 bits, made odd."""
    return words(key, draw, HIGH, dim) << np.uint64(32) | words(key, draw, LOW, dim) | np.uint64(1)


def unit(number):
    """Return odd 64-bit numbers as uniform numbers in (0, 1), with the distance from 1 for those near it."""
    return number / 2.0**64, (~number + np.uint64(1)) / 2.0**64


def minus_log(number):
    below, above = unit(number)
    return np.where(below < 0.75, -np.log(below), -np.log1p(-above))


def radius(key, draw, dim, sigma):
    """Return the Gamma(dim + 1, sigma) variable of a draw, and how many attempts it took."""
    shape = dim + 2 / 3
    for attempt in range(1000):
        eight = blocks(key, draw, RADIUS, attempt // 2)[0].astype(np.uint64)[attempt % 2 * 8 :][:8]
        length, angle, test = ((eight[i] << np.uint64(32)) | eight[i + 1] | np.uint64(1) for i in (0, 2, 4))
        normal = np.sqrt(2 * minus_log(length)) * np.cos(2 * np.pi * (angle / 2.0**64))
        root = 1 + normal / (3 * np.sqrt(shape))
        if root > 0 and -minus_log(test) < normal**2 / 2 + shape * (1 - root**3 + 3 * np.log(root)):
            return shape * root**3 * sigma, attempt + 1
    raise AssertionError


def linf(key, draw, dim, sigma):
    return radius(key, draw, dim, sigma)[0] * (bits(key, draw, dim).astype(np.int64) / 2.0**63)


def gaussian(key, draw, dim, sigma):
    padded = (dim + 31) // 32 * 32
    first, second = bits(key, draw, padded).reshape(-1, 2, 16).swapaxes(0, 1)
    length = sigma * np.sqrt(2 * minus_log(first))
    angle = 2 * np.pi * (second.astype(np.int64) / 2.0**64)
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1).reshape(-1)[:dim]


def laplace(key, draw, dim, scale):
    number = bits(key, draw, dim)
    sign = np.where(number >> np.uint64(63), -1.0, 1.0)
    return sign * scale * minus_log(number << np.uint64(1) | np.uint64(1))


def uniform(key, draw, dim, half_width):
    return half_width * (bits(key, draw, dim).astype(np.int64) / 2.0**63)


LAWS = {"linf": linf, "gaussian": gaussian, "laplace": laplace, "uniform": uniform}
