# The compiled half of rsmooth. Use the functions of the package, which check their arguments' types.

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["build_info", "certify", "clopper_pearson", "fill", "radius_of", "renyi_sup", "top_classes"]

def fill(
    name: str,
    parameter: float,
    key: Sequence[int],
    first: int | NDArray[np.uint64],
    dim: int,
    out: NDArray[Any],
    *,
    inputs: NDArray[Any] | None = None,
    copies: int = 1,
    fresh: bool = False,
    threads: int | None = None,
) -> None: ...
def build_info() -> dict[str, Any]: ...

# Confidence bounds, the Rényi supremum, radii and certificates. Flat arrays; `first` and `shape` serve errors only.

_Rule: TypeAlias = tuple[str, float, float, int, str]  # mechanism, sigma or scale, norm, dim, bound

def renyi_sup(
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    value: NDArray[np.float64],
    order: NDArray[np.float64] | None,
    threads: int | None,
    first: int,
    shape: Sequence[int],
) -> None: ...
def clopper_pearson(
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: NDArray[np.float64],
    upper: bool,
    bound: NDArray[np.float64],
    first: int,
    shape: Sequence[int],
) -> None: ...
def radius_of(
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    rule: _Rule,
    radius: NDArray[np.float64],
    order: NDArray[np.float64],
    threads: int | None,
    first: int,
    shape: Sequence[int],
) -> None: ...
def top_classes(selection: NDArray[np.integer], prediction: NDArray[np.int64]) -> None: ...
def certify(
    counts: NDArray[np.integer],
    rule: _Rule,
    alpha: float,
    complement: bool,
    separate: bool,
    prediction: NDArray[np.int64],
    radius: NDArray[np.float64],
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    order: NDArray[np.float64],
    threads: int | None,
) -> None: ...
