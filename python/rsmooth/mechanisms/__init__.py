"""The mechanisms x ↦ x + z: those of the package, and what a mechanism of your own has to say."""

from rsmooth.mechanisms.base import Mechanism, Profile
from rsmooth.mechanisms.builtin import MECHANISMS, Exponential, Gaussian, Laplace, Uniform, mechanism_named
from rsmooth.mechanisms.registered import BuiltIn

__all__ = [
    "MECHANISMS",
    "BuiltIn",
    "Exponential",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "Profile",
    "Uniform",
    "mechanism_named",
]
