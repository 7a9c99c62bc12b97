"""Checks of arguments, with messages that name the argument, what is allowed and what was given."""

from __future__ import annotations

from typing import Any

import numpy as np


def integer(name: str, value: Any, low: int, high: int | None) -> int:
    """Return `value` as an int of at least `low` and, unless None, at most `high`."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    value = value.__index__()
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Return `value` as a float that is finite and above 0."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} must be a finite number above 0, got {number}")
    return number


def worker_count(threads: Any) -> int | None:
    """Return `threads` checked: None or an int of at least 1."""
    return None if threads is None else integer("threads", threads, 1, 2**16)


def shape_of(shape: Any) -> tuple[int, ...]:
    """Return `shape` as a tuple of at least one size."""
    sizes = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if not sizes:
        raise ValueError("shape must have at least one axis, the draws, got ()")
    for axis, size in enumerate(sizes):
        # To write the name of an argument takes longer than to check it.
        if type(size) is not int or not 0 <= size < 2**63:
            integer(f"shape[{axis}]", size, 0, 2**63 - 1)
    return tuple(map(int, sizes))


def dimension(dim: int) -> int:
    """Return `dim` checked: an int of at least 1."""
    return integer("dim", dim, 1, None)
