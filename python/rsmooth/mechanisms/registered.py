"""What the mechanisms of the package share: their laws and what is known of them are in the core."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

import numpy as np

from rsmooth import _core
from rsmooth._check import dimension, integer, positive
from rsmooth._grid import FINEST
from rsmooth._norms import norm_text
from rsmooth.mechanisms.base import Mechanism, Profile
from rsmooth.noise import sample, sample_on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    from rsmooth._streams import Seed
    from rsmooth.rule import Bound

    Floats = npt.NDArray[np.float64]

T = TypeVar("T")

__all__ = ["BuiltIn"]

# Pairs of probabilities from barely certified to all but certain.
PROBES = 1 - 10.0 ** -np.array([0.31, 1, 3, 9, 15])


class BuiltIn(Mechanism):
    """A mechanism of the core's registry: a dataclass of one field, its parameter."""

    parameter_name: ClassVar[str]

    if TYPE_CHECKING:

        def __init__(self, parameter: float, /) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, self.parameter_name, positive(self.parameter_name, self.parameter))

    @property
    def parameter(self) -> float:
        """Standard deviation or scale of the noise, in the units of the inputs."""
        return getattr(self, self.parameter_name)  # type: ignore[no-any-return]

    @overload
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: Literal["float32"] | None = None,
        out: None = None,
        threads: int | None = None,
        grid: None = None,
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: npt.DTypeLike | None = None,
        out: None = None,
        threads: int | None = None,
        grid: int,
    ) -> npt.NDArray[np.signedinteger[Any]]: ...
    @overload
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: npt.DTypeLike | None = None,
        out: None = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> npt.NDArray[Any]: ...
    @overload
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: npt.DTypeLike | None = None,
        out: T,
        threads: int | None = None,
        grid: int | None = None,
    ) -> T: ...
    def sample(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        first: int = 0,
        dtype: npt.DTypeLike | None = None,
        out: Any = None,
        threads: int | None = None,
        grid: int | None = None,
    ) -> Any:
        """Draw this mechanism's noise.

        Parameters
        ----------
        shape, seed, first, out, threads
            As for `rsmooth.sample_linf`.
        dtype : data-type or None
            As for `rsmooth.sample_linf`; on a grid "int16" or "int32". None is float32, or the narrowest integer that
            holds every draw.
        grid : int or None
            Where given, draws are integers that count steps of ``1 / grid``, of the exact law: docs/exact.md says what
            that is, and `noise_error` how exact.

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
        >>> rsmooth.Gaussian(0.25).sample((1, 5), seed=1, grid=255)
        array([[ 82, -24, -99,  58, -88]], dtype=int16)
        """
        if grid is not None:
            return sample_on_grid(
                self.name, self.parameter, grid, shape, seed=seed, first=first, dtype=dtype, out=out, threads=threads
            )
        dtype = "float32" if dtype is None else dtype
        return sample(self.name, self.parameter, shape, seed=seed, first=first, dtype=dtype, out=out, threads=threads)

    def noise_error(self, dim: int, grid: int) -> float:
        """Return how far a draw on a grid may be from its law, in total variation.

        Parameters
        ----------
        dim : int
            Number of coordinates of a draw.
        grid : int
            Draws count steps of ``1 / grid``.

        Returns
        -------
        float
            An upper bound for a whole draw, if the cipher's bits are uniform: what `rsmooth.certify_counts` takes off
            probabilities as `noise_error`.

        Raises
        ------
        ValueError
            If the noise is too narrow or too wide for the grid, or an argument is not allowed.

        Examples
        --------
        >>> import rsmooth
        >>> rsmooth.Gaussian(0.25).noise_error(3072, 255) < 1e-12
        True
        """
        law = (self.name, self.parameter, integer("grid", grid, 1, FINEST))
        return float(_core.grid_law(law, dimension(dim))["total_variation"])

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
            The curves as the core evaluates them, to within rounding. Radii are computed from their closed inverses,
            which are rounded down.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed.

        Examples
        --------
        >>> import math, numpy as np, rsmooth
        >>> profile = rsmooth.Exponential(0.5).profile(math.inf, 3072)
        >>> profile.epsilon(np.array([0.25]))
        array([0.5])
        >>> profile.delta is None
        True
        """
        norm_text(norm)
        dim = dimension(dim)

        def at(part: str, r: npt.ArrayLike, beside: npt.ArrayLike = 0.0) -> Floats:
            shifts, others = np.broadcast_arrays(*(np.asarray(values, np.float64) for values in (r, beside)))
            value = np.empty(shifts.size)
            _core.part_at(self.name, self.parameter, norm, dim, grid, part, shifts.flatten(), others.flatten(), value)
            return value.reshape(shifts.shape)

        parts = _core.parts(self.name, self.parameter, norm, dim, grid)
        return Profile(**{part: partial(at, part) for part in parts})

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
        Self
            Of this class, with the least parameter at which `mr_divergence`, as it is computed, is not above `epsilon`.

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
        shift, divergence = positive("r", r), positive("epsilon", epsilon)
        return cls(_core.parameter_for(cls.name, shift, divergence, norm, dimension(dim)))

    def expected_linf(self, dim: int) -> float:
        """Return the magnitude E‖z‖∞ of the noise in `dim` coordinates.

        Gaussian: σ∫₀^∞ 1 - (2Φ(t) - 1)^d dt, by quadrature. Exponential: dσ. Laplace: b times the d-th harmonic number.
        Uniform: d/(d + 1) times the half-width.

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
        return _core.expected_linf(self.name, self.parameter, dimension(dim))

    def depends_on_dim(self, norm: float) -> bool:
        """Tell whether radii in `norm` depend on the number of coordinates.

        Parameters
        ----------
        norm : {1, 2, math.inf}
            Norm of the perturbation.

        Returns
        -------
        bool
            Whether those of any bound that holds do.

        Raises
        ------
        ValueError
            If the norm is none of these.

        Examples
        --------
        >>> import math, rsmooth
        >>> rsmooth.Gaussian(0.5).depends_on_dim(2), rsmooth.Gaussian(0.5).depends_on_dim(math.inf)
        (False, True)
        """

        def differ(bound: Bound) -> bool:
            one, four = (self.radius(PROBES, 1 - PROBES, norm=norm, dim=dim, bound=bound) for dim in (1, 4))
            return bool((one != four).any())

        return any(differ(bound) for bound in self.holding(norm))

    def _subject(self, norm: float, dim: int, grid: int | None) -> tuple[str, float]:  # noqa: ARG002
        return self.name, self.parameter
