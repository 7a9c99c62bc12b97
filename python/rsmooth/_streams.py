"""Seeds and the streams that they name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from rsmooth._check import integer

Seed: TypeAlias = "int | np.random.SeedSequence | None"

# What an example's draws are for: the last word of its streams' spawn keys. Each purpose has a stream of its own.
SELECTION, ESTIMATION, PREDICTION, CHECKING, ATTACKING = range(5)

# What all examples share: the only word behind the root's.
SPLITTING = 5


def sequence_of(seed: Seed) -> np.random.SeedSequence:
    """Return the SeedSequence that `seed` stands for; None is fresh entropy, which the result records."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if seed is not None:
        seed = integer("seed", seed, 0, None)
    return np.random.SeedSequence(seed)


def key_of(seed: Seed) -> tuple[int, ...]:
    """Return the 256-bit key of `seed`'s stream as eight words."""
    if type(seed) is int and seed >= 0:
        return _key(seed, (), 4)
    sequence = sequence_of(seed)
    if seed is not None and isinstance(sequence.entropy, int):
        return _key(sequence.entropy, sequence.spawn_key, sequence.pool_size)
    return _words(sequence)


@lru_cache(maxsize=256)
def _key(entropy: int, spawn_key: tuple[int, ...], pool_size: int) -> tuple[int, ...]:
    return _words(np.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=pool_size))


def _words(sequence: np.random.SeedSequence) -> tuple[int, ...]:
    return tuple(sequence.generate_state(8, np.uint32).tolist())


def draws_from(first: Any, count: int) -> int:
    """Return `first` checked: `count` draws from there on have numbers below 2**64."""
    return integer("first", first, 0, 2**64 - count)


def child(key: np.random.SeedSequence, *words: int) -> np.random.SeedSequence:
    """Return the sequence whose spawn key is `key`'s with `words` behind it."""
    return np.random.SeedSequence(key.entropy, spawn_key=(*key.spawn_key, *words), pool_size=key.pool_size)


def example_stream(root: np.random.SeedSequence, index: int, purpose: int) -> np.random.SeedSequence:
    """Return the stream of example `index` among `root`'s for a purpose."""
    return child(root, index, purpose)


def root_of(stream: np.random.SeedSequence) -> np.random.SeedSequence:
    """Return the root that `example_stream` was given."""
    return np.random.SeedSequence(stream.entropy, spawn_key=stream.spawn_key[:-2], pool_size=stream.pool_size)


def torch_seed(key: np.random.SeedSequence) -> int:
    """Return the seed of a torch generator for a stream: 63 bits."""
    return int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))
