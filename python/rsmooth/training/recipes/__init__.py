"""Training recipes: what a training minimises, a file each.

A recipe is a frozen dataclass of fields made by `rsmooth._settings.setting`, with a ``name``, the number of noisy
``copies`` of an image, and ``loss(step)``, made of pure functions on logits and labels that serve any other loop as
well. It is listed here, and one of your own need not be.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from rsmooth.training.step import Step

__all__ = ["RECIPES", "Recipe", "recipe_type"]


class Recipe(Protocol):
    """What a training asks of a recipe."""

    name: ClassVar[str]
    """What commands and checkpoints call it."""

    @property
    def copies(self) -> int:
        """Noisy copies of an image in a step, which can be drawn ahead."""

    def loss(self, step: Step) -> torch.Tensor:
        """Return the loss of a step, a mean over its images."""


# Where each is, so that a command knows their names without torch.
RECIPES = {
    "noisy": "noisy:Noisy",
    "stability": "stability:Stability",
    "stability-pair": "stability:StabilityPair",
    "smoothadv": "smoothadv:SmoothAdv",
    "macer": "macer:Macer",
    "consistency": "consistency:Consistency",
    "smoothadv-consistency": "consistency:SmoothAdvConsistency",
    "smoothmix": "smoothmix:SmoothMix",
}


def recipe_type(name: str) -> type[Any]:
    """Return a recipe's dataclass.

    Parameters
    ----------
    name : str
        A name in `RECIPES`.

    Returns
    -------
    type
        Call it with the recipe's settings; what it gives is a `Recipe`.

    Raises
    ------
    ValueError
        If there is no such recipe.

    Examples
    --------
    >>> from rsmooth.training.recipes import recipe_type
    >>> recipe_type("consistency")(weight=20)
    Consistency(copies=2, weight=20.0, entropy_weight=0.5)
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    module, kind = RECIPES[name].split(":")
    found: type[Any] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found
