"""Assessment of mechanisms (Definition 4): the noise one needs, against what any mechanism needs.

docs/assess.md shows how to read the result, docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rsmooth._check import integer, positive
from rsmooth._norms import norm_text
from rsmooth._streams import child, sequence_of
from rsmooth.mechanisms import MECHANISMS, mechanism_named
from rsmooth.theory.criteria import criterion
from rsmooth.theory.growth import fit_growth
from rsmooth.theory.magnitude import DRAWS, WORK, Measured, measure_linf

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism
    from rsmooth.theory.growth import Growth


__all__ = [
    "MARKS",
    "Assessment",
    "Row",
    "assess",
    "assess_builtin",
    "needed_scale",
]

MARKS = {"CIFAR-10": 3 * 32 * 32, "ImageNet": 3 * 224 * 224}
"""Dimensions of well-known inputs."""


@dataclass(frozen=True)
class Row:
    """The assessment in one dimension."""

    dim: int
    scale: float
    """The scale c at which the mechanism's D_MR under shifts of the radius is ε."""
    magnitude: float | None
    """E‖z‖∞ of the noise at that scale by formula, None where there is none."""
    measured: Measured | None
    """The same by sampling, None where that would be too much work."""
    criterion: float
    gap: float
    """Magnitude (measured where there is no formula) over criterion."""


@dataclass(frozen=True)
class Assessment:
    """A mechanism's noise against the criterion, over dimensions."""

    mechanism: str
    norm: float
    radius: float
    epsilon: float
    rows: tuple[Row, ...]
    growth: Growth | None
    """None for fewer than three dimensions of at least 3."""

    @property
    def verdict(self) -> str:
        """What the growth of the gap says, or that it takes more dimensions to tell."""
        return self.growth.verdict if self.growth else "takes three dimensions or more"

    @property
    def caveat(self) -> str:
        """What the criterion means at this ε."""
        theorem = "4.2" if self.norm == 2 else "5.2"  # noqa: PLR2004
        if self.epsilon > 1:
            return (
                f"epsilon = {self.epsilon:g} is beyond the range of Theorem {theorem}, ε ≤ O(1): "
                "the criterion need not be a lower bound here."
            )
        return f"The criterion is Theorem {theorem}'s lower bound up to a constant factor, for ε ≤ O(1)."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers, strings, lists and dicts, ready for JSON (the norm as "2" or "inf").

        Returns
        -------
        dict
            The fields, and ``verdict`` and ``caveat``.

        Examples
        --------
        >>> import math, rsmooth
        >>> from rsmooth.theory.assess import assess
        >>> found = assess(rsmooth.Gaussian(1), norm=math.inf, radius=0.01, epsilon=0.5, dims=[10], seed=0)
        >>> found.to_dict()["norm"], found.to_dict()["rows"][0]["dim"]
        ('inf', 10)
        """
        return {**asdict(self), "norm": norm_text(self.norm), "verdict": self.verdict, "caveat": self.caveat}


def assess(
    mechanism: Mechanism,
    *,
    norm: float,
    radius: float,
    epsilon: float,
    dims: Iterable[int],
    alpha: float = 0.001,
    seed: Seed = None,
) -> Assessment:
    """Assess a mechanism: the magnitude E‖z‖∞ it needs for D_MR at most ε within a radius, against the criterion.

    Parameters
    ----------
    mechanism : Mechanism
        At any scale; Gaussian(1), say, or your own.
    norm : {2, math.inf}
        Norm of the perturbations.
    radius : float
        Their largest norm, in the units of the inputs, finite and above 0.
    epsilon : float
        The D_MR allowed, finite and above 0.
    dims : iterable of int
        Numbers d of coordinates, each at least 1.
    alpha : float
        Failure probability of each measured interval.
    seed : int, numpy.random.SeedSequence or None
        Names the draws that are measured.

    Returns
    -------
    Assessment
        A row for each dimension, and the growth of the gap.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, or the mechanism's guarantee never reaches `epsilon`.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Definition 4, Theorems 4.2 and 5.2.

    Examples
    --------
    >>> import math, rsmooth
    >>> from rsmooth.theory.assess import assess
    >>> dims = [10, 100, 1000]
    >>> assess(rsmooth.Exponential(1), norm=math.inf, radius=0.01, epsilon=0.5, dims=dims, seed=0).verdict
    'not appropriate: gap grows as d^0.50'
    """
    sizes = [integer(f"dims[{i}]", dim, 1, None) for i, dim in enumerate(dims)]
    if not sizes:
        raise ValueError("dims must name at least one dimension")
    root = sequence_of(seed)
    rows = []
    for dim in sizes:
        least = criterion(norm=norm, radius=radius, epsilon=epsilon, dim=dim)
        scale = needed_scale(mechanism, norm=norm, radius=radius, epsilon=epsilon, dim=dim)
        formula = mechanism.expected_linf(dim)
        unit = measure_linf(mechanism, dim, alpha=alpha, seed=child(root, dim))
        measured = unit and Measured(unit.mean * scale, unit.lower * scale, unit.upper * scale, alpha, unit.draws)
        magnitude = None if formula is None else float(formula) * scale
        if magnitude is not None:
            gap = magnitude / least
        elif measured:
            gap = measured.mean / least
        else:
            raise ValueError(f"dims must be at most {WORK // DRAWS[0]} for a mechanism without a formula, got {dim}")
        rows.append(Row(dim, scale, magnitude, measured, least, gap))
    growth = fit_growth([row.dim for row in rows], [row.gap for row in rows])
    return Assessment(mechanism.name, norm, float(radius), float(epsilon), tuple(rows), growth)


def assess_builtin(
    *, norm: float, radius: float, epsilon: float, dims: Sequence[int], alpha: float = 0.001, seed: Seed = None
) -> list[Assessment]:
    """Assess each built-in mechanism whose divergence D_MR is known, with draws of its own.

    Parameters
    ----------
    norm, radius, epsilon, dims, alpha, seed
        As for `assess`.

    Returns
    -------
    list of Assessment
        In the order of the registry.

    Raises
    ------
    ValueError
        As `assess`.

    Examples
    --------
    >>> from rsmooth.theory.assess import assess_builtin
    >>> for found in assess_builtin(norm=2, radius=0.5, epsilon=0.5, dims=[10, 100, 1000], seed=0):
    ...     print(found.mechanism, found.growth.law)
    gaussian log d
    exponential d
    laplace log d
    """
    root = sequence_of(seed)
    setting: dict[str, Any] = {"norm": norm, "radius": radius, "epsilon": epsilon, "dims": dims, "alpha": alpha}
    mechanisms = [mechanism_named(name, 1.0) for name in MECHANISMS]
    return [
        assess(mechanism, **setting, seed=child(root, number))
        for number, mechanism in enumerate(mechanisms)
        # Of uniform noise no divergence is finite.
        if mechanism.profile(norm, 1).mr is not None
    ]


def needed_scale(mechanism: Mechanism, *, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Smallest scale c for which noise c z has D_MR at most ε under shifts of the radius, by bisection, rounded up.

    Parameters
    ----------
    mechanism : Mechanism
        Draws z.
    norm, radius, epsilon, dim
        As for `criterion`.

    Returns
    -------
    float
        The scale; the mechanism's guarantee at radius / scale is at most `epsilon`.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, or there is no such scale.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.theory.assess import needed_scale
    >>> round(needed_scale(rsmooth.Gaussian(1), norm=2, radius=0.5, epsilon=0.5, dim=10), 12)
    0.5
    """
    radius, epsilon = positive("radius", radius), positive("epsilon", epsilon)
    doublings, halvings = 200, 60

    def enough(power: float) -> bool:
        return float(mechanism.mr_divergence(2.0**-power, norm=norm, dim=dim)) <= epsilon

    # Powers of 2 of scale / radius: `low` is not enough, `high` is.
    low, high = -doublings, doublings
    if enough(low) or not enough(high):
        at = float(mechanism.mr_divergence(2.0**-high, norm=norm, dim=dim))
        raise ValueError(
            f"mechanism {mechanism.name!r} must have an mr_divergence that passes epsilon = {epsilon} as the shift "
            f"grows from 2**-{high} to 2**{high}, got {at} at first"
        )
    low_power, high_power = float(low), float(high)
    for _ in range(halvings):
        middle = (low_power + high_power) / 2
        low_power, high_power = (low_power, middle) if enough(middle) else (middle, high_power)
    # The factor keeps radius / scale, rounded, from exceeding the shift that was found to be enough.
    return float(radius * 2.0**high_power * (1 + 2**-50))
