"""What a mechanism is: noise that can be drawn, and what is known of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, overload

import numpy as np

from rsmooth import _core
from rsmooth._arrays import real
from rsmooth._check import dimension, integer
from rsmooth._grid import grid_of
from rsmooth._perturb import perturb
from rsmooth.bounds import radii

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import torch

    from rsmooth._streams import Seed
    from rsmooth.rule import Bound

    Floats = npt.NDArray[np.float64]

T = TypeVar("T")
F = TypeVar("F", bound="np.floating[Any]")

__all__ = ["Mechanism", "Profile", "rule_of"]


@dataclass(frozen=True)
class Profile:
    """What is known of a mechanism under shifts of one norm in one dimension: the parts that bounds are computed from.

    Every part is optional, holds for every shift of size at most r, and does not decrease in r. It is called with flat
    arrays of float64 of one length, from any thread, and returns as many values.

    Attributes
    ----------
    mr : callable of r, or None
        D_MR(r), the maximal relative Rényi divergence: the supremum over orders α > 1 of D_α / α, in both directions.
        "renyi" needs it.
    epsilon : callable of r, or None
        ε(r) of pure differential privacy: every event's probability changes by a factor within [e^-ε, e^ε]. "pure-dp"
        and "pixeldp" need it.
    delta : callable of (r, epsilon), or None
        The δ of approximate differential privacy. "pixeldp" can use it.
    tradeoff : callable of (r, alpha), or None
        The most that the probability of an event can become if it was alpha: one minus the trade-off function, the
        power of the best test at level alpha. "neyman-pearson" and "hockey-stick" need it.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Profile
    >>> Profile(epsilon=lambda r: r / 0.1).epsilon(np.array([0.05]))  # a mechanism that is 10 r-private
    array([0.5])
    """

    mr: Callable[[Floats], npt.ArrayLike] | None = None
    epsilon: Callable[[Floats], npt.ArrayLike] | None = None
    delta: Callable[[Floats, Floats], npt.ArrayLike] | None = None
    tradeoff: Callable[[Floats, Floats], npt.ArrayLike] | None = None

    def __post_init__(self) -> None:
        for name in ("mr", "epsilon", "delta", "tradeoff"):
            part = getattr(self, name)
            if part is not None and not callable(part):
                raise TypeError(f"{name} must be callable or None, got {type(part).__name__}")


class Mechanism(ABC):
    """A mechanism x ↦ x + z. Use `Gaussian`, `Exponential` or `Laplace`, or derive your own.

    A mechanism of your own says how its noise is drawn and what is known of it; radii, divergences and the bounds that
    hold follow. What it says is taken at its word: a radius is as sound as the profile.

    Attributes
    ----------
    name : str
        What results call it.

    Examples
    --------
    A shift by δ moves the logarithm of the logistic density by at most ‖δ‖₁ / scale:

    >>> import numpy as np
    >>> from rsmooth import Mechanism, Profile
    >>> class Logistic(Mechanism):
    ...     name = "logistic"
    ...     def sample(self, shape, *, seed=None, first=0, dtype="float32", out=None, threads=None):
    ...         draws = [np.random.default_rng([seed, first + i]).logistic(size=shape[1:]) for i in range(shape[0])]
    ...         return np.array(draws, dtype)
    ...     def profile(self, norm, dim, *, grid=None):
    ...         lipschitz = {1: 1, 2: dim**0.5, np.inf: dim}[norm]
    ...         return Profile(epsilon=lambda r: lipschitz * r)
    >>> Logistic().holding(1)
    ('pure-dp', 'pixeldp')
    >>> float(Logistic().radius(0.9, 0.1, norm=1, dim=64).round(6))  # ln 5
    1.609438
    """

    name: ClassVar[str]

    @property
    def parameter(self) -> float | None:
        """What the noise scales with, in the units of the inputs; None where no one number says it."""
        return None

    @abstractmethod
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: npt.DTypeLike = "float32",
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Draw this mechanism's noise.

        Parameters
        ----------
        shape, seed, first, dtype, out, threads
            As for `rsmooth.sample_linf`.

        Returns
        -------
        numpy.ndarray or type of out
            ``shape[0]`` draws of ``prod(shape[1:])`` coordinates each. Draw i is draw number ``first + i`` of the
            seed's stream, whatever the shape of the call.
        """

    @abstractmethod
    def profile(self, norm: float, dim: int, *, grid: int | None = None) -> Profile:
        """Return what is known of the mechanism.

        Parameters
        ----------
        norm : {1, 2, math.inf}
            Norm of the shift.
        dim : int
            Number d of coordinates of an input.
        grid : int or None
            Where given, draws are rounded to multiples of 1 / grid.

        Returns
        -------
        Profile
            Of shifts measured in `norm`.
        """

    def expected_linf(self, dim: int) -> float | None:  # noqa: ARG002
        """Return the magnitude E‖z‖∞ of the noise in `dim` coordinates, in the units of the inputs; None if unknown."""
        return None

    @overload
    def perturb(
        self,
        x: npt.NDArray[F],
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: None = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> npt.NDArray[F]: ...
    @overload
    def perturb(
        self,
        x: npt.NDArray[np.integer[Any]],
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: None = None,
        threads: int | None = None,
        grid: int,
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def perturb(
        self,
        x: torch.Tensor,
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: None = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> torch.Tensor: ...
    @overload
    def perturb(
        self,
        x: memoryview,
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: None = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> npt.NDArray[Any]: ...
    @overload
    def perturb(
        self,
        x: Any,
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: T,
        threads: int | None = None,
        grid: int | None = None,
    ) -> T: ...
    def perturb(
        self,
        x: Any,
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: Any = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> Any:
        """Add noise to each input of a batch; see `rsmooth._perturb.perturb`."""
        return perturb(self, x, copies=copies, seed=seed, first=first, out=out, threads=threads, grid=grid)

    def noise_error(self, dim: int, grid: int) -> float:  # noqa: ARG002
        """Return how far a draw on a grid may be from its law, in total variation.

        A mechanism of your own that overrides this says that its `sample` takes ``grid=`` and draws integers that count
        steps of ``1 / grid``; without it, the mechanism cannot be used on a grid.

        Raises
        ------
        ValueError
            If the mechanism has no law on a grid.
        """
        raise ValueError(f"grid must be None: the {self.name} mechanism has no exact law")

    def radius(
        self,
        p1: npt.ArrayLike,
        p2: npt.ArrayLike,
        *,
        norm: float,
        dim: int,
        bound: Bound = "tightest",
        grid: int | None = None,
    ) -> Floats:
        """Return the radius that class probabilities certify.

        Parameters
        ----------
        p1, p2 : array_like of float
            Lower bound on the top class's probability and upper bound on every other's, broadcast against each other. A
            p2 above 1 - p1 means 1 - p1.
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        dim : int
            Number d of coordinates of an input.
        bound : {"tightest", "renyi", "neyman-pearson", "hockey-stick", "pure-dp", "pixeldp"}
            How p1 and p2 become a radius: the largest radius of the bounds that hold, or one of those that `holding`
            names.
        grid : int or None
            Where given, inputs and draws are multiples of 1 / grid.

        Returns
        -------
        ndarray of float64
            Radii, in the units of the inputs, rounded down; 0 where p1 <= p2.

        Raises
        ------
        ValueError
            If a probability, the norm, the dimension, the grid or the bound is not allowed; the message names it.

        Examples
        --------
        >>> import rsmooth
        >>> float(rsmooth.Gaussian(0.5).radius(0.9, 0.1, norm=2, dim=3072).round(6))
        0.640776
        """
        return radii(rule_of(self, norm=norm, dim=dim, bound=bound, grid=grid), p1, p2)[0]

    def mr_divergence(self, r: npt.ArrayLike, *, norm: float, dim: int) -> Floats:
        """Return the guarantee D_MR: the maximal relative Rényi divergence under shifts of norm at most `r`.

        Parameters
        ----------
        r : array_like of float
            Norm of the shift, at least 0.
        norm : {1, 2, math.inf}
            The norm meant.
        dim : int
            Number d of coordinates of an input.

        Returns
        -------
        ndarray of float64
            Upper bound on sup over orders α > 1 of D_α(x + z ‖ x' + z) / α.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, or the profile has no such part; the message says which.

        Examples
        --------
        >>> import math, rsmooth
        >>> float(rsmooth.Gaussian(0.5).mr_divergence(0.5, norm=2, dim=100))
        0.5
        >>> float(rsmooth.Exponential(0.5).mr_divergence(0.5, norm=math.inf, dim=100))
        0.5
        """
        shifts = real(r, "r").astype(np.float64)
        wrong = np.argwhere(~(shifts >= 0) | np.isinf(shifts))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            where = f"[{', '.join(map(str, at))}]" if at else ""
            raise ValueError(f"r{where} must be finite and at least 0, got {shifts[at]}")
        divergence = self.profile(norm, dimension(dim)).mr
        if divergence is None:
            raise ValueError(f"the divergence D_MR of the {self.name} mechanism is not known for norm {norm}")
        return np.asarray(divergence(shifts.ravel()), np.float64).reshape(shifts.shape)

    def holding(self, norm: float, dim: int = 1, *, grid: int | None = None) -> tuple[Bound, ...]:
        """Return the bounds that hold for this mechanism.

        Parameters
        ----------
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        dim : int
            Number of coordinates of an input.
        grid : int or None
            As for `radius`.

        Returns
        -------
        tuple of str
            Their names, in the order of the documentation.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed.

        Examples
        --------
        >>> import rsmooth
        >>> rsmooth.Gaussian(0.5).holding(2)
        ('renyi', 'neyman-pearson', 'hockey-stick', 'pixeldp')
        """
        return cast("tuple[Bound, ...]", tuple(_core.holding(self._subject(norm, dim, grid), norm, dim, grid)))

    def depends_on_dim(self, norm: float) -> bool:  # noqa: ARG002
        """Tell whether radii in `norm` depend on the number of coordinates; True where that is not known."""
        return True

    def _subject(self, norm: float, dim: int, grid: int | None) -> tuple[str, float] | Profile:
        """Return what the core computes bounds from."""
        found = self.profile(norm, dim, grid=grid)
        if not isinstance(found, Profile):
            raise TypeError(f"profile of {type(self).__name__} must return a Profile, got {type(found).__name__}")
        return found


def rule_of(mechanism: Mechanism, *, norm: float, dim: int, bound: str, grid: int | None = None) -> _core.Rule:
    """Return the core's rule that turns probabilities into radii, with all arguments checked."""
    if not isinstance(mechanism, Mechanism):
        raise TypeError(f"mechanism must be a Mechanism, such as Gaussian, got {type(mechanism).__name__}")
    if isinstance(norm, bool) or not isinstance(norm, (int, float)):
        raise TypeError(f"norm must be 1, 2 or math.inf, got {type(norm).__name__}")
    if not isinstance(bound, str):
        raise TypeError(f"bound must be a str, got {type(bound).__name__}")
    dim = integer("dim", dim, 1, 2**63 - 1)
    grid = grid_of("grid", grid)
    # The core refuses a wrong norm before a profile of the caller's is asked for it.
    if norm not in (1, 2, float("inf")):
        raise ValueError(f"norm must be 1, 2 or math.inf, got {norm}")
    return _core.Rule(mechanism._subject(norm, dim, grid), float(norm), dim, bound, grid)  # noqa: SLF001
