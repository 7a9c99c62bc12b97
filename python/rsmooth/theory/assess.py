"""Assessment of mechanisms (Definition 4): the noise one needs, against what any mechanism needs.

docs/assess.md shows how to read the result, docs/theorems.md has the statements and proofs.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

import numpy as np

from rsmooth._check import integer, positive
from rsmooth._streams import sequence_of
from rsmooth.confidence import clopper_pearson
from rsmooth.mechanisms import Exponential, Gaussian, Laplace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from rsmooth._streams import Seed

__all__ = [
    "MARKS",
    "Assessable",
    "Assessment",
    "Growth",
    "Measured",
    "Row",
    "assess",
    "assess_builtin",
    "criterion",
    "fit_growth",
    "lower_bound",
    "measure_linf",
    "needed_scale",
    "parse_dims",
]

MARKS = {"CIFAR-10": 3 * 32 * 32, "ImageNet": 3 * 224 * 224}
"""Dimensions of well-known inputs."""

# Measuring one mechanism in one dimension draws at most `WORK` numbers, and holds at most `HELD` or one draw at a time.
WORK = 250_000_000
HELD = 4_000_000
DRAWS = 21, 10_001


class Assessable(Protocol):
    """What a mechanism x ↦ x + z needs for an assessment. Gaussian, Exponential and Laplace have it.

    The mechanism is taken at every scale c: noise c z, whose D_MR under a shift of r is that of z under r / c.
    """

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    def sample(self, shape: tuple[int, int], *, seed: np.random.SeedSequence) -> ArrayLike:
        """Return ``shape[0]`` draws of ``shape[1]`` coordinates; other seeds give independent draws."""

    def mr_divergence(self, r: float, *, norm: float, dim: int) -> SupportsFloat:
        """Return a bound on D_MR, both ways, under shifts of norm at most `r`; it must not fall as `r` grows."""

    def expected_linf(self, dim: int) -> float | None:
        """Return E‖z‖∞ in `dim` coordinates, or None where there is no formula: it is measured then."""


@dataclass(frozen=True)
class Measured:
    """E‖z‖∞ as sampling shows it."""

    mean: float
    lower: float
    upper: float
    alpha: float
    """Probability with which the interval misses, if the mean of the draws is normal (Student's t)."""
    draws: int


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
class Growth:
    """How the gap grows in d, from a line fitted to its logarithm."""

    law: str
    """What a power of fits better: "log d" or "d"."""
    exponent: float
    """Of the better fit."""
    log_exponent: float
    """Slope of ln gap against ln ln d."""
    power_exponent: float
    """Slope of ln gap against ln d."""

    @property
    def appropriate(self) -> bool:
        """Whether the mechanism's noise is the least possible, up to powers of log d."""
        return self.law == "log d"

    @property
    def verdict(self) -> str:
        """What the growth says of the mechanism, in a few words."""
        if self.appropriate:
            return f"appropriate: gap grows as (log d)^{self.exponent:.2f}"
        return f"not appropriate: gap grows as d^{self.exponent:.2f}"


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
        """What the criterion is good for at this ε."""
        theorem = "4.2" if self.norm == 2 else "5.2"  # noqa: PLR2004
        if self.epsilon > 1:
            return (
                f"epsilon = {self.epsilon:g} is beyond the range of Theorem {theorem}, ε ≤ O(1): "
                "the criterion need not be a lower bound here."
            )
        return f"The criterion is Theorem {theorem}'s lower bound up to a constant factor, for ε ≤ O(1)."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers, strings, lists and dicts, ready for JSON (the norm ∞ as "inf").

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
        norm = "inf" if math.isinf(self.norm) else self.norm
        return {**asdict(self), "norm": norm, "verdict": self.verdict, "caveat": self.caveat}


def assess(
    mechanism: Assessable,
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
    mechanism : Assessable
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
        child = np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, dim))
        unit = measure_linf(mechanism, dim, alpha=alpha, seed=child)
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
    """Assess the Gaussian, the Exponential and the Laplace mechanism, each with draws of its own.

    Parameters
    ----------
    norm, radius, epsilon, dims, alpha, seed
        As for `assess`.

    Returns
    -------
    list of Assessment
        In this order.

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
    found = []
    for number, mechanism in enumerate((Gaussian(1), Exponential(1), Laplace(1))):
        child = np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, number))
        found.append(assess(mechanism, norm=norm, radius=radius, epsilon=epsilon, dims=dims, alpha=alpha, seed=child))
    return found


def criterion(*, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Magnitude that any mechanism needs, up to a constant factor: r/√ε for p = 2 and r√(d/ε) for p = ∞.

    Parameters
    ----------
    norm : {2, math.inf}
        Norm p of the perturbations.
    radius : float
        Their largest norm r, finite and above 0.
    epsilon : float
        D_MR allowed, finite and above 0. The theorems hold for ε ≤ O(1).
    dim : int
        Number d of coordinates.

    Returns
    -------
    float
        In the units of the radius.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed.

    References
    ----------
    .. [1] Zheng, Wang, Li and Xu, "Towards Assessment of Randomized Mechanisms for Certifying Adversarial Robustness",
       Theorems 4.2 and 5.2.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.assess import criterion
    >>> criterion(norm=math.inf, radius=0.01, epsilon=0.25, dim=100)
    0.2
    """
    radius, epsilon, dim = positive("radius", radius), positive("epsilon", epsilon), integer("dim", dim, 1, None)
    return radius * math.sqrt((dim if _is_infinite(norm) else 1) / epsilon)


def lower_bound(*, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Magnitude below which no mechanism can be: the criteria with constants, as docs/theorems.md proves them.

    (r/8) (1/√(2ε) - 1) for both norms; for p = ∞ also (r/8) (√(ln 2 (3d/4 - 1)/ε) - 1).

    Parameters
    ----------
    norm, radius, epsilon, dim
        As for `criterion`.

    Returns
    -------
    float
        In the units of the radius; 0 where ε is too large for the proof to say anything.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed.

    Examples
    --------
    >>> import math
    >>> from rsmooth.theory.assess import lower_bound
    >>> round(lower_bound(norm=math.inf, radius=0.01, epsilon=0.25, dim=3072), 4)
    0.0986
    """
    radius, epsilon, dim = positive("radius", radius), positive("epsilon", epsilon), integer("dim", dim, 1, None)
    information = max(0.5, math.log(2) * (0.75 * dim - 1)) if _is_infinite(norm) else 0.5
    return max(radius / 8 * (math.sqrt(information / epsilon) - 1), 0.0)


def needed_scale(mechanism: Assessable, *, norm: float, radius: float, epsilon: float, dim: int) -> float:
    """Smallest scale c for which noise c z has D_MR at most ε under shifts of the radius, by bisection, rounded up.

    Parameters
    ----------
    mechanism : Assessable
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


def measure_linf(mechanism: Assessable, dim: int, *, alpha: float = 0.001, seed: Seed = None) -> Measured | None:
    """Measure E‖z‖∞ by sampling, with Student's interval, in pieces of a bounded size.

    The interval is exact for normal maxima and approximate for others: E‖z‖∞ of an unbounded law has no exact one.

    Parameters
    ----------
    mechanism : Assessable
        Draws z.
    dim : int
        Number of coordinates, at least 1.
    alpha : float
        Probability with which the interval may miss, above 0 and below 1.
    seed : int, numpy.random.SeedSequence or None
        Names the draws.

    Returns
    -------
    Measured or None
        From 21 to 10,001 draws and at most 250 million coordinates; None where 21 draws would be more.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, or the draws have another shape or are not finite.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.theory.assess import measure_linf
    >>> found = measure_linf(rsmooth.Exponential(1), 1000, seed=0)
    >>> found.draws, found.lower < 1000 < found.upper
    (10001, True)
    """
    dim = integer("dim", dim, 1, None)
    # An odd number: Student's quantile is then one of Clopper and Pearson's.
    draws = (min(max(WORK // dim, DRAWS[0]), DRAWS[1]) - 1) // 2 * 2 + 1
    if draws * dim > WORK:
        return None
    root = sequence_of(seed)
    norms = np.empty(draws)
    rows = max(HELD // dim, 1)
    for start in range(0, draws, rows):
        part = norms[start : start + rows]
        child = np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, start))
        z = np.asarray(mechanism.sample((part.size, dim), seed=child))
        if z.shape != (part.size, dim):
            raise ValueError(f"mechanism {mechanism.name!r} must sample the shape {(part.size, dim)}, got {z.shape}")
        np.maximum(z.max(axis=1), -z.min(axis=1), out=part)
    if not np.isfinite(norms).all():
        raise ValueError(
            f"mechanism {mechanism.name!r} must sample finite numbers, got {norms[~np.isfinite(norms)][0]}"
        )
    freedom = draws - 1
    # For T of Student's law with f degrees of freedom, (1 + T/√(f + T²))/2 is Beta(f/2, f/2).
    share = float(clopper_pearson(freedom // 2, freedom - 1, alpha / 2))
    quantile = math.sqrt(freedom) * (0.5 - share) / math.sqrt(share * (1 - share))
    mean, margin = float(norms.mean()), quantile * float(norms.std(ddof=1)) / math.sqrt(draws)
    return Measured(mean, mean - margin, mean + margin, alpha, draws)


def fit_growth(dims: Sequence[int], gaps: Sequence[float]) -> Growth | None:
    """Fit the growth of gaps in d: a power of log d or a power of d, whichever leaves smaller squares.

    Parameters
    ----------
    dims : sequence of int
        Dimensions; those below 3, whose log log is not above 0, are left out.
    gaps : sequence of float
        The gap in each, above 0.

    Returns
    -------
    Growth or None
        None for fewer than three different dimensions.

    Raises
    ------
    ValueError
        If the lengths differ or a gap is not finite and above 0.

    Examples
    --------
    >>> from rsmooth.theory.assess import fit_growth
    >>> fit_growth([10, 100, 1000], [1.0, 10.0, 100.0]).verdict
    'not appropriate: gap grows as d^1.00'
    """
    if len(dims) != len(gaps):
        raise ValueError(f"gaps must be as many as dims, {len(dims)}, got {len(gaps)}")
    points = [(float(dim), positive(f"gaps[{i}]", gap)) for i, (dim, gap) in enumerate(zip(dims, gaps, strict=True))]
    used = np.log([point for point in points if point[0] >= 3])  # noqa: PLR2004
    if len(np.unique(used[:, :1])) < 3:  # noqa: PLR2004
        return None
    log_exponent, log_rest = _slope(np.log(used[:, 0]), used[:, 1])
    power_exponent, power_rest = _slope(used[:, 0], used[:, 1])
    if log_rest <= power_rest:
        return Growth("log d", log_exponent, log_exponent, power_exponent)
    return Growth("d", power_exponent, log_exponent, power_exponent)


def parse_dims(text: str) -> list[int]:
    """Read the command line's dimensions: ``10:1e7`` (each decade, and the marks between) or ``10,3072``.

    Parameters
    ----------
    text : str
        Two whole numbers and a colon, or whole numbers and commas.

    Returns
    -------
    list of int
        Dimensions in rising order, without doubles.

    Raises
    ------
    ValueError
        If the text is neither.

    Examples
    --------
    >>> from rsmooth.theory.assess import parse_dims
    >>> parse_dims("10:1e4")
    [10, 100, 1000, 3072, 10000]
    """
    low, colon, high = text.partition(":")
    if not colon:
        return sorted({_whole(part, text) for part in text.split(",")})
    start, end = _whole(low, text), _whole(high, text)
    if start > end:
        raise ValueError(f"dims must run from low to high, got {text!r}")
    decades = {start * 10**power for power in range(len(str(end)))}
    return sorted(dim for dim in {*decades, *MARKS.values(), end} if start <= dim <= end)


def _whole(part: str, text: str) -> int:
    try:
        number = float(part)
    except ValueError:
        number = math.nan
    if not (number >= 1 and number.is_integer()):
        raise ValueError(f"dims must be whole numbers of at least 1, like 10:1e7 or 10,3072, got {part!r} in {text!r}")
    return int(number)


def _is_infinite(norm: float) -> bool:
    if norm not in (2, math.inf):
        raise ValueError(f"norm must be 2 or math.inf, for which there are criteria, got {norm!r}")
    return norm == math.inf


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of the fitted line and the sum of squares it leaves."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    return slope, float(((y - slope * x) ** 2).sum())
