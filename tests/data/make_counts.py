"""Counts and levels to try bounds on, for the scripts beside this one."""

from __future__ import annotations

import random


def cases(
    *, seed: int, total: int, small: int, large: tuple[int, ...], decades: float, alphas: tuple[float, ...]
) -> list[tuple[int, int, float]]:
    """Return (k, n, alpha): at the edges, in the centre and between.

    First all counts of n up to `small` and some of each n in `large`, at each of `alphas`; then, up to `total`, random
    ones of n up to 10**`decades`.
    """
    rng = random.Random(seed)  # noqa: S311
    found = [(k, n, alpha) for n in range(1, small + 1) for k in range(1, n + 1) for alpha in alphas]
    for n in large:
        found += [(k, n, alpha) for k in (1, 2, n // 2, n // 2 + 1, n - 1, n) for alpha in alphas]
    while len(found) < total:
        n = round(10 ** rng.uniform(0, decades))
        k = rng.choice(
            [
                min(n, rng.randint(1, 3)),
                max(1, n - rng.randint(0, 2)),
                (n + 1) // 2,
                rng.randint(1, n),
                max(1, round(n ** rng.random())),
                max(1, n - round(n ** rng.random())),
            ]
        )
        found.append((k, n, 0.5 * 10 ** -rng.uniform(0, 11.69)))
    return found
