# The compiled half of rsmooth. Use the functions of the package, which check their arguments' types.

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

__all__ = [
    "GRID_LAYOUT_VERSION",
    "MAX_GRID",
    "Rule",
    "anytime_ln_wealth",
    "build_info",
    "certify",
    "certify_topk",
    "confidence_bound",
    "expected_linf",
    "fill",
    "grid_fill",
    "grid_law",
    "grid_sums",
    "holding",
    "parameter_for",
    "part_at",
    "parts",
    "radius_of",
    "registry",
    "renyi_sup",
    "top_classes",
]

GRID_LAYOUT_VERSION: int
MAX_GRID: int

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

# Exact noise on a grid. Flat arrays; bfloat16 travels as uint16.

_GridLaw: TypeAlias = tuple[str, float, int]  # mechanism, sigma or scale, grid

def grid_fill(
    law: _GridLaw,
    key: Sequence[int],
    first: int | NDArray[np.uint64],
    dim: int,
    out: NDArray[np.int16] | NDArray[np.int32],
    *,
    threads: int | None = None,
) -> None: ...
def grid_sums(
    law: _GridLaw,
    key: Sequence[int],
    first: int | NDArray[np.uint64],
    dim: int,
    inputs: NDArray[np.uint8] | NDArray[np.int32],
    out: NDArray[Any],
    *,
    copies: int = 1,
    threads: int | None = None,
) -> None: ...
def grid_law(law: _GridLaw, dim: int) -> dict[str, Any]: ...
def build_info() -> dict[str, Any]: ...

# The registry of mechanisms and bounds, and profiles. `norm` is 1, 2 or infinity, and a subject the name and parameter
# of a mechanism of the registry or an object with the attributes of rsmooth.Profile.

@final
class Rule:
    def __new__(cls, subject: object, norm: float, dim: int, bound: str, grid: int | None = None) -> Self: ...

def registry() -> dict[str, Any]: ...
def holding(subject: object, norm: float, dim: int, grid: int | None = None) -> list[str]: ...
def parts(name: str, parameter: float, norm: float, dim: int, grid: int | None = None) -> list[str]: ...
def part_at(
    name: str,
    parameter: float,
    norm: float,
    dim: int,
    grid: int | None,
    part: str,
    r: NDArray[np.float64],
    beside: NDArray[np.float64],
    value: NDArray[np.float64],
) -> None: ...
def expected_linf(name: str, parameter: float, dim: int) -> float: ...
def parameter_for(name: str, r: float, epsilon: float, order: float, dim: int) -> float: ...

# Confidence bounds, the Rényi supremum, radii and certificates. Flat arrays; a place is the number of the first element
# among arrays of a shape, for errors.

_Place: TypeAlias = tuple[int, Sequence[int]]

def renyi_sup(
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    value: NDArray[np.float64],
    order: NDArray[np.float64] | None,
    threads: int | None,
    place: _Place,
) -> None: ...
def confidence_bound(
    interval: str,
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: NDArray[np.float64],
    upper: bool,
    bound: NDArray[np.float64],
    place: _Place,
) -> None: ...
def anytime_ln_wealth(
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    m: NDArray[np.float64],
    ln_wealth: NDArray[np.float64],
    place: _Place,
) -> None: ...
def radius_of(
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    rule: Rule,
    radius: NDArray[np.float64],
    order: NDArray[np.float64],
    threads: int | None,
    place: _Place,
) -> None: ...
def top_classes(selection: NDArray[np.integer], prediction: NDArray[np.int64]) -> None: ...
def certify(
    counts: NDArray[np.integer],
    rule: Rule,
    alpha: float,
    complement: bool,
    interval: str,
    separate: bool,
    n: int | None,
    noise_error: float,
    prediction: NDArray[np.int64],
    radius: NDArray[np.float64],
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    order: NDArray[np.float64],
    threads: int | None,
) -> None: ...
def certify_topk(
    counts: NDArray[np.integer],
    rule: Rule,
    bound: str,
    k: int,
    alpha: float,
    interval: str,
    n: int | None,
    noise_error: float,
    prediction: NDArray[np.int64],
    radius: NDArray[np.float64],
    p1: NDArray[np.float64],
    p2: NDArray[np.float64],
    threads: int | None,
) -> None: ...
