"""The mechanisms of the package. Their laws and what is known of them are in the core, a file each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rsmooth._imports import imported
from rsmooth.mechanisms.base import Mechanism
from rsmooth.mechanisms.registered import BuiltIn

__all__ = ["MECHANISMS", "Exponential", "Gaussian", "Laplace", "Uniform", "mechanism_named"]


@dataclass(frozen=True)
class Gaussian(BuiltIn):
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
    parameter_name: ClassVar[str] = "sigma"


@dataclass(frozen=True)
class Exponential(BuiltIn):
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
    parameter_name: ClassVar[str] = "sigma"


@dataclass(frozen=True)
class Laplace(BuiltIn):
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
    parameter_name: ClassVar[str] = "scale"


@dataclass(frozen=True)
class Uniform(BuiltIn):
    """The Uniform mechanism: independent coordinates, uniform in [-half_width, half_width].

    It certifies ℓ1 radii up to its half-width. A shift can leave the cube, so that no Rényi divergence is finite and no
    pure differential privacy holds: of the bounds only those from the trade-off curve are there.

    Parameters
    ----------
    half_width : float
        Half the cube's edge in the units of the inputs (pixels in [0, 1]), finite and above 0.

    Raises
    ------
    ValueError
        If `half_width` is not allowed.

    References
    ----------
    .. [1] Yang, Duan, Hu, Salman, Razenshteyn and Li, "Randomized Smoothing of All Shapes and Sizes", ICML 2020.

    Examples
    --------
    >>> import rsmooth
    >>> float(rsmooth.Uniform(0.5).radius(0.9, 0.1, norm=1, dim=3072).round(6))
    0.4
    """

    half_width: float

    name: ClassVar[str] = "uniform"
    parameter_name: ClassVar[str] = "half_width"


# By the names that people and files call them.
MECHANISMS: dict[str, type[BuiltIn]] = {kind.name: kind for kind in (Gaussian, Exponential, Laplace, Uniform)}


def mechanism_named(name: str, parameter: float | None = None, *, allow_code: bool = False) -> Mechanism:
    """Return the mechanism that a name and a parameter stand for.

    Parameters
    ----------
    name : str
        "gaussian", "exponential", "laplace" or "uniform"; or "package.module:name", a mechanism or what makes one.
    parameter : float or None
        What the mechanism is made with; None where `name` needs nothing.
    allow_code : bool
        Whether "package.module:name" may be imported, which runs that module's code.

    Returns
    -------
    Mechanism
        The mechanism.

    Raises
    ------
    ValueError
        If there is no such mechanism, it takes no such parameter, or its code may not run.
    TypeError
        If what `name` stands for is no mechanism.

    Examples
    --------
    >>> from rsmooth.mechanisms import mechanism_named
    >>> mechanism_named("laplace", 0.5)
    Laplace(scale=0.5)
    """
    if name in MECHANISMS:
        if parameter is None:
            raise ValueError(f"{MECHANISMS[name].parameter_name} must be given for the {name} mechanism, got None")
        return MECHANISMS[name](parameter)
    if ":" not in name:
        raise ValueError(f'mechanism must be one of {", ".join(MECHANISMS)} or "package.module:name", got {name!r}')
    if not allow_code:
        raise ValueError(f"mechanism {name!r} must be imported, which runs code, and that is not allowed here")
    found = imported(name)
    if not isinstance(found, Mechanism):
        found = found() if parameter is None else found(parameter)
    if not isinstance(found, Mechanism):
        raise TypeError(f"mechanism {name!r} must be or make a Mechanism, got {type(found).__name__}")
    return found
