"""Training recipes: what a training minimises, a file each.

A recipe is a frozen dataclass of `rsmooth._settings.setting`s with a ``name``, the number of noisy ``copies`` of an
image, and ``loss(step)``, made of pure functions on logits and labels that serve any other loop as well. It is listed
here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from rsmooth.training.recipes.consistency import Consistency, SmoothAdvConsistency
from rsmooth.training.recipes.macer import Macer
from rsmooth.training.recipes.noisy import Noisy
from rsmooth.training.recipes.smoothadv import SmoothAdv
from rsmooth.training.recipes.smoothmix import SmoothMix
from rsmooth.training.recipes.stability import Stability, StabilityPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from rsmooth.training.step import Step

__all__ = ["RECIPES", "Loss", "Recipe"]


class Loss(Protocol):
    """What a training asks of a recipe."""

    @property
    def name(self) -> str:
        """What commands and checkpoints call it."""

    @property
    def copies(self) -> int:
        """Noisy copies of an image in a step, which can be drawn ahead."""

    def loss(self, step: Step) -> torch.Tensor:
        """Return the loss of a step."""


RECIPES: dict[str, type[Any]] = {
    each.name: each
    for each in (
        Noisy,
        Stability,
        StabilityPair,
        SmoothAdv,
        Macer,
        Consistency,
        SmoothAdvConsistency,
        SmoothMix,
    )
}


@dataclass(frozen=True)
class Recipe:
    """A recipe by name, with its settings.

    Attributes
    ----------
    name : str
        A name in `RECIPES`.
    settings : mapping
        Its fields; those left out have their defaults.

    Raises
    ------
    TypeError
        If a setting is of another type.
    ValueError
        If there is no such recipe, it has no such setting (the message names those there are), or a value is not
        allowed.

    Examples
    --------
    >>> from rsmooth.training.recipes import Recipe
    >>> Recipe("consistency", {"weight": 20}).settings
    {'copies': 2, 'weight': 20.0, 'entropy_weight': 0.5}
    >>> Recipe("noisy", {"sigma": 2})
    Traceback (most recent call last):
        ...
    ValueError: recipe noisy has the settings copies, got 'sigma'
    """

    name: str = "noisy"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {self.name!r}")
        names = [each.name for each in fields(RECIPES[self.name])]
        unknown = set(self.settings) - set(names)
        if unknown:
            raise ValueError(f"recipe {self.name} has the settings {', '.join(names)}, got {min(unknown)!r}")
        object.__setattr__(self, "settings", asdict(RECIPES[self.name](**self.settings)))

    @property
    def made(self) -> Loss:
        """The recipe itself."""
        made: Loss = RECIPES[self.name](**self.settings)
        return made

    @property
    def copies(self) -> int:
        """Noisy copies of an image in a step, which can be drawn ahead."""
        return self.made.copies

    def __call__(self, step: Step) -> torch.Tensor:
        """Return the loss of a step."""
        return self.made.loss(step)
