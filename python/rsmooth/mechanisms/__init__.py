"""The mechanisms x ↦ x + z: the three of the package, and what a mechanism of your own has to say."""

from rsmooth.mechanisms.base import Mechanism, Profile
from rsmooth.mechanisms.builtin import MECHANISMS, BuiltIn, Exponential, Gaussian, Laplace, mechanism_named

__all__ = ["MECHANISMS", "BuiltIn", "Exponential", "Gaussian", "Laplace", "Mechanism", "Profile", "mechanism_named"]
