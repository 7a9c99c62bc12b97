"""The mechanisms x ↦ x + z: each owns its sampling and its guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth import bounds
from rsmooth._check import dimension, positive
from rsmooth._norms import by_norm
from rsmooth._perturb import perturb
from rsmooth.noise import sample_gaussian, sample_laplace, sample_linf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    from rsmooth._streams import Seed

    Sampler = Callable[..., Any]
    Floats = npt.NDArray[np.float64]

__all__ = ["MECHANISMS", "Exponential", "Gaussian", "Laplace", "Mechanism"]


class Mechanism:
    """What the three mechanisms share. Use `Gaussian`, `Exponential` or `Laplace`."""

    name: ClassVar[str]
    # The bounds that hold for it, the paper's first.
    bounds: ClassVar[tuple[str, ...]]
    _sampler: ClassVar[Sampler]

    @property
    def parameter(self) -> float:
        """Standard deviation or scale of the noise, in the units of the inputs."""
        raise NotImplementedError

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
            ``shape[0]`` draws of ``prod(shape[1:])`` coordinates each.

        Raises
        ------
        ValueError, TypeError
            As `rsmooth.sample_linf`.

        Examples
        --------
        >>> import rsmooth
        >>> rsmooth.Gaussian(0.25).sample((2, 5), seed=1).shape
        (2, 5)
        """
        return type(self)._sampler(  # noqa: SLF001
            shape, self.parameter, seed=seed, first=first, dtype=dtype, out=out, threads=threads
        )

    def perturb(
        self,
        x: Any,
        *,
        copies: int | None = None,
        seed: Seed = None,
        first: Any = 0,
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Add noise to each input of a batch; see `rsmooth._perturb.perturb`."""
        return perturb(self, x, copies=copies, seed=seed, first=first, out=out, threads=threads)

    def radius(self, p1: npt.ArrayLike, p2: npt.ArrayLike, *, norm: float, dim: int, bound: str = "renyi") -> Floats:
        """Return the radius that class probabilities certify.

        Parameters
        ----------
        p1, p2 : array_like of float
            Lower bound on the top class's probability and upper bound on every other's, broadcast against each other.
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        dim : int
            Number d of coordinates of an input.
        bound : {"renyi", "neyman-pearson", "pure-dp", "pixeldp"}
            How p1 and p2 become a radius; docs/radii.md says which hold for which mechanism.

        Returns
        -------
        ndarray of float64
            Radii, in the units of the inputs, rounded down; 0 where p1 <= p2.

        Raises
        ------
        ValueError
            If a probability, the norm, the dimension or the bound is not allowed; the message names it.

        Examples
        --------
        >>> import rsmooth
        >>> float(rsmooth.Gaussian(0.5).radius(0.9, 0.1, norm=2, dim=3072, bound="neyman-pearson").round(6))
        0.640776
        """
        radius, _order = bounds.radius_of(self, p1, p2, norm=norm, dim=dim, bound=bound)
        return radius

    def mr_divergence(self, r: npt.ArrayLike, *, norm: float, dim: int) -> Floats:
        """Return the guarantee D_MR: the maximal relative Rényi divergence under shifts of norm at most `r`.

        With s = r / parameter: Gaussian, s²/2 for the 2-norm ([Z20] Theorem 4.1) and d s²/2 for the ∞-norm (Theorem
        5.3). Exponential, min(s, s²/2) for the ∞-norm (Theorem 5.1). Laplace, min(s, s²/2) for the 1-norm; its
        coordinates are independent, so that their divergences add up to min(√d s, s²/2) for the 2-norm and
        d min(s, s²/2) for the ∞-norm. Other norms through ‖δ‖∞ <= ‖δ‖₂ <= ‖δ‖₁.

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
            If an argument has a value that is not allowed; the message names it.

        Examples
        --------
        >>> import math, rsmooth
        >>> float(rsmooth.Gaussian(0.5).mr_divergence(0.5, norm=2, dim=100))
        0.5
        >>> float(rsmooth.Exponential(0.5).mr_divergence(0.5, norm=math.inf, dim=100))
        0.5
        """
        radii = np.asarray(r, np.float64)
        wrong = np.argwhere(~(radii >= 0) | np.isinf(radii))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            where = f"[{', '.join(map(str, at))}]" if at else ""
            raise ValueError(f"r{where} must be finite and at least 0, got {radii[at]}")
        linear, square = self._sizes(norm, dimension(dim))
        shift = radii / self.parameter
        quadratic = square * shift**2 / 2
        return np.asarray(quadratic if linear is None else np.minimum(linear * shift, quadratic))

    @classmethod
    def scale_for(cls, r: float, epsilon: float, *, norm: float, dim: int) -> Self:
        """Return the mechanism of least noise whose `mr_divergence` at `r` is at most `epsilon`.

        Parameters
        ----------
        r, epsilon : float
            Shift and divergence, both finite and above 0.
        norm : {1, 2, math.inf}
            Norm of the shift.
        dim : int
            Number d of coordinates of an input.

        Returns
        -------
        Gaussian, Exponential or Laplace
            Of this class.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed; the message names it.

        Examples
        --------
        >>> import math, rsmooth
        >>> rsmooth.Exponential.scale_for(0.01, 4.0, norm=math.inf, dim=3072)
        Exponential(sigma=0.0025)
        """
        shift, epsilon = positive("r", r), positive("epsilon", epsilon)
        linear, square = cls._sizes(norm, dimension(dim))
        quadratic = shift * math.sqrt(square / (2 * epsilon))
        parameter = quadratic if linear is None else min(linear * shift / epsilon, quadratic)
        # The subclasses are dataclasses of one field, their parameter.
        return cls(parameter)  # type: ignore[call-arg]

    def expected_linf(self, dim: int) -> float:
        """Return the magnitude E‖z‖∞ of the noise in `dim` coordinates.

        Gaussian: σ∫₀^∞ 1 - (2Φ(t) - 1)^d dt, by quadrature. Exponential: dσ. Laplace: b times the d-th harmonic number.

        Parameters
        ----------
        dim : int
            Number d of coordinates, at least 1.

        Returns
        -------
        float
            In the units of the inputs; relative error below 1e-12.

        Raises
        ------
        ValueError
            If `dim` is below 1.

        Examples
        --------
        >>> import rsmooth
        >>> rsmooth.Exponential(0.5).expected_linf(10)
        5.0
        """
        return self.parameter * self._unit_linf(dimension(dim))

    @staticmethod
    def _sizes(norm: float, dim: int) -> tuple[float | None, float]:
        """Return the factors of s (None: no such term) and of s²/2 in D_MR."""
        raise NotImplementedError

    @staticmethod
    def _unit_linf(dim: int) -> float:
        """Return E‖z‖∞ for a parameter of 1."""
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(Mechanism):
    """The Gaussian mechanism: independent N(0, sigma²) coordinates.

    Parameters
    ----------
    sigma : float
        Standard deviation in the units of the inputs (pixels in [0, 1]), finite and above 0.

    Raises
    ------
    ValueError
        If `sigma` is not allowed.

    Examples
    --------
    >>> import rsmooth
    >>> rsmooth.Gaussian(0.25)
    Gaussian(sigma=0.25)
    """

    sigma: float

    name: ClassVar[str] = "gaussian"
    bounds: ClassVar[tuple[str, ...]] = ("renyi", "neyman-pearson", "pixeldp")
    _sampler: ClassVar[Sampler] = staticmethod(sample_gaussian)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive("sigma", self.sigma))

    @property
    def parameter(self) -> float:
        """The standard deviation."""
        return self.sigma

    @staticmethod
    def _sizes(norm: float, dim: int) -> tuple[float | None, float]:
        return None, by_norm(norm, one=1, two=1, infinity=dim)

    @staticmethod
    def _unit_linf(dim: int) -> float:
        # The integrand falls from 1 to 0 around √(2 ln d), within some 1/√(ln d). Beyond `end` it is below 1e-17.
        end = math.sqrt(2 * math.log(dim)) + 9
        nodes, weights = np.polynomial.legendre.leggauss(64)
        panels = 32
        width = end / panels
        points = (np.arange(panels)[:, None] + (nodes + 1) / 2) * width
        beyond = [math.erfc(t / math.sqrt(2)) for t in points.ravel()]
        inside = [1.0 if tail == 1 else -math.expm1(dim * math.log1p(-tail)) for tail in beyond]
        return float(np.reshape(inside, points.shape) @ weights @ np.full(panels, width / 2))


@dataclass(frozen=True)
class Exponential(Mechanism):
    """The Exponential mechanism: noise of density proportional to exp(-‖z‖∞ / sigma).

    Parameters
    ----------
    sigma : float
        Scale in the units of the inputs (pixels in [0, 1]), finite and above 0; E‖z‖∞ is d times it.

    Raises
    ------
    ValueError
        If `sigma` is not allowed.

    Examples
    --------
    >>> import rsmooth
    >>> rsmooth.Exponential(0.01)
    Exponential(sigma=0.01)
    """

    sigma: float

    name: ClassVar[str] = "exponential"
    bounds: ClassVar[tuple[str, ...]] = ("renyi", "pure-dp", "pixeldp")
    _sampler: ClassVar[Sampler] = staticmethod(sample_linf)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive("sigma", self.sigma))

    @property
    def parameter(self) -> float:
        """The scale."""
        return self.sigma

    @staticmethod
    def _sizes(norm: float, dim: int) -> tuple[float | None, float]:  # noqa: ARG004
        return by_norm(norm, one=1, two=1, infinity=1), 1

    @staticmethod
    def _unit_linf(dim: int) -> float:
        return float(dim)


@dataclass(frozen=True)
class Laplace(Mechanism):
    """The Laplace mechanism: independent coordinates of density exp(-abs(z) / scale) / (2 scale).

    Parameters
    ----------
    scale : float
        Scale b in the units of the inputs (pixels in [0, 1]), finite and above 0.

    Raises
    ------
    ValueError
        If `scale` is not allowed.

    Examples
    --------
    >>> import rsmooth
    >>> rsmooth.Laplace(0.25)
    Laplace(scale=0.25)
    """

    scale: float

    name: ClassVar[str] = "laplace"
    bounds: ClassVar[tuple[str, ...]] = ("renyi", "pure-dp", "pixeldp")
    _sampler: ClassVar[Sampler] = staticmethod(sample_laplace)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", positive("scale", self.scale))

    @property
    def parameter(self) -> float:
        """The scale."""
        return self.scale

    @staticmethod
    def _sizes(norm: float, dim: int) -> tuple[float | None, float]:
        return by_norm(norm, one=1, two=math.sqrt(dim), infinity=dim), by_norm(norm, one=1, two=1, infinity=dim)

    @staticmethod
    def _unit_linf(dim: int) -> float:
        exact = 256
        if dim <= exact:
            return math.fsum(1 / i for i in range(1, dim + 1))
        return math.log(dim) + np.euler_gamma + 1 / (2 * dim) - 1 / (12 * dim**2) + 1 / (120 * dim**4)


# By the names that people and files call them.
MECHANISMS: dict[str, Callable[[float], Mechanism]] = {
    "gaussian": Gaussian,
    "exponential": Exponential,
    "laplace": Laplace,
}
