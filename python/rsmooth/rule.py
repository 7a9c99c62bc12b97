"""How tallies become certificates: the one place for these settings and their checks."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rsmooth import _core
from rsmooth.mechanisms.base import rule_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.mechanisms import Mechanism

    Floats = NDArray[np.float64]

__all__ = [
    "BOUNDS",
    "ENUMERATION",
    "INTERVALS",
    "MEAN_INTERVALS",
    "RUNNER_UPS",
    "Bound",
    "Enumeration",
    "Interval",
    "MeanInterval",
    "Rule",
    "RunnerUp",
    "holds_when_stopped",
]

_registry = _core.registry()

# What the settings may be, from the core's registry.
BOUNDS: tuple[str, ...] = (_registry["tightest"], *(bound["name"] for bound in _registry["bounds"]))
INTERVALS: tuple[str, ...] = tuple(interval["name"] for interval in _registry["intervals"])

# The same for type checkers, which cannot ask the registry.
Bound = Literal["tightest", "renyi", "neyman-pearson", "hockey-stick", "pure-dp", "pixeldp"]
Interval = Literal["clopper-pearson", "anytime"]
RunnerUp = Literal["second", "complement"]

# How scores become bounds on their means, where votes become bounds on probabilities.
MeanInterval = Literal["betting", "empirical-bernstein"]
MEAN_INTERVALS: tuple[str, ...] = get_args(MeanInterval)

# Where all copies there are were counted, whose shares are the probabilities themselves.
Enumeration = Literal["enumeration"]
ENUMERATION: Enumeration = "enumeration"

RUNNER_UPS: tuple[str, ...] = get_args(RunnerUp)


def holds_when_stopped(interval: str) -> bool:
    """Tell whether an interval holds for draws that were stopped by looking at the votes."""
    return any(known["stopped"] for known in _registry["intervals"] if known["name"] == interval)


@dataclass(frozen=True)
class Rule:
    """How tallies become certificates.

    Attributes
    ----------
    mechanism : Mechanism
        The mechanism whose draws are counted.
    norm : {1, 2, math.inf}
        The norm in which radii are measured.
    dim : int
        The number of coordinates of an input.
    alpha, bound, runner_up, interval, grid, noise_error
        As for `rsmooth.certify_counts`. `interval` may also be one for means (`MEAN_INTERVALS`), where scores are
        counted, or `ENUMERATION`, where all copies there are: nothing is left to chance, and `alpha` is 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is not allowed; the message names it.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.rule import Rule
    >>> Rule(Gaussian(0.5), norm=2, dim=3072).bound
    'tightest'
    """

    mechanism: Mechanism
    norm: float
    dim: int
    alpha: float = 0.001
    bound: Bound = "tightest"
    runner_up: RunnerUp = "second"
    interval: Interval | MeanInterval | Enumeration = "clopper-pearson"
    grid: int | None = None
    noise_error: float = 0.0

    def __post_init__(self) -> None:
        if self.runner_up not in RUNNER_UPS:
            raise ValueError(f'runner_up must be "second" or "complement", got {self.runner_up!r}')
        if not isinstance(self.interval, str):
            raise TypeError(f"interval must be a str, got {type(self.interval).__name__}")
        for name in ("alpha", "noise_error"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {type(value).__name__}")
            object.__setattr__(self, name, float(value))
        # The core checks what it is asked even of no rows. It counts votes of draws alone.
        if self.interval == ENUMERATION:
            if self.alpha != 0:
                raise ValueError(f"alpha must be 0 where all copies are counted: none fails, got {self.alpha}")
            replace(self, interval="clopper-pearson", alpha=0.5)
        elif self.interval in MEAN_INTERVALS:
            replace(self, interval="clopper-pearson")
        else:
            none = np.empty(0)
            self.apply(np.empty((0, 2), np.int64), np.empty(0, np.int64), none, none.copy(), none.copy(), none.copy())
        object.__setattr__(self, "norm", float(self.norm))
        object.__setattr__(self, "dim", int(self.dim))

    @property
    def settings(self) -> dict[str, Any]:
        """What certificates keep of the rule that made them, by the names of their fields."""
        return {each.name: getattr(self, each.name) for each in fields(Rule)}

    def radius(self, p1: Floats, p2: Floats) -> Floats:
        """Return the radii that probabilities certify, as `rsmooth.Mechanism.radius`."""
        found: Floats = np.asarray(
            self.mechanism.radius(p1, p2, norm=self.norm, dim=self.dim, bound=self.bound, grid=self.grid)
        )
        return found

    def apply(  # noqa: PLR0917
        self,
        counts: NDArray[Any],
        prediction: NDArray[np.int64],
        radius: Floats,
        p1: Floats,
        p2: Floats,
        order: Floats,
        *,
        separate: bool = False,
        n: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Certify rows of counts into the other arrays; `prediction` holds the selected classes if `separate`."""
        rule = rule_of(self.mechanism, norm=self.norm, dim=self.dim, bound=self.bound, grid=self.grid)
        complement = self.runner_up == "complement"
        _core.certify(
            counts,
            rule,
            self.alpha,
            complement,
            self.interval,
            separate,
            n,
            self.noise_error,
            prediction,
            radius,
            p1,
            p2,
            order,
            threads,
        )
