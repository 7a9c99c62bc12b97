"""Seeds and the streams that they name."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from rsmooth._check import integer

Seed: TypeAlias = "int | np.random.SeedSequence | None"


def sequence_of(seed: Seed) -> np.random.SeedSequence:
    """Return the SeedSequence that `seed` stands for; None is fresh entropy, which the result records."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if seed is not None:
        seed = integer("seed", seed, 0, None)
    return np.random.SeedSequence(seed)


def key_of(seed: Seed) -> list[int]:
    """Return the 256-bit key of `seed`'s stream as eight words."""
    return [int(word) for word in sequence_of(seed).generate_state(8, np.uint32)]


def draws_from(first: Any, count: int) -> int:
    """Return `first` checked: `count` draws from there on have numbers below 2**64."""
    return integer("first", first, 0, 2**64 - count)


def child(key: np.random.SeedSequence, *words: int) -> np.random.SeedSequence:
    """Return the sequence whose spawn key is `key`'s with `words` behind it."""
    return np.random.SeedSequence(key.entropy, spawn_key=(*key.spawn_key, *words), pool_size=key.pool_size)


def torch_seed(key: np.random.SeedSequence) -> int:
    """Return the seed of a torch generator for a stream: 63 bits."""
    return int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))
