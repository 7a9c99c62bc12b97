"""The names of mechanisms and bounds, as the core lists them, for help texts, messages and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsmooth import _core

if TYPE_CHECKING:
    from collections.abc import Iterable

_REGISTRY: dict[str, Any] = _core.registry()

MECHANISMS: tuple[str, ...] = tuple(each["name"] for each in _REGISTRY["mechanisms"])
TIGHTEST: str = _REGISTRY["tightest"]

# What figures call the bounds.
BOUNDS: dict[str, str] = {each["name"]: each["label"] for each in _REGISTRY["bounds"]}
LABELS = {TIGHTEST: TIGHTEST, **BOUNDS}


def either(names: Iterable[str]) -> str:
    """Return names as a sentence has them: a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
