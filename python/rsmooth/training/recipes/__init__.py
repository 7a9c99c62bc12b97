"""What a training minimises: a recipe is ``loss(step, **settings)`` in a file of its own, listed here by name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rsmooth.training.recipes import noisy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from rsmooth.training.step import Step

__all__ = ["RECIPES", "Recipe"]

RECIPES: dict[str, Callable[..., torch.Tensor]] = {
    "noisy": noisy.loss,
}


@dataclass(frozen=True)
class Recipe:
    """A recipe by name, with its settings.

    Attributes
    ----------
    name : str
        A name in `RECIPES`.
    settings : mapping
        Keyword arguments of its loss; those left out have its defaults.

    Raises
    ------
    ValueError
        If there is no such recipe or it has no such setting; the message names those there are.

    Examples
    --------
    >>> from rsmooth.training.recipes import Recipe
    >>> Recipe("noisy", {"copies": 2}).copies
    2
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
        parameters = list(inspect.signature(RECIPES[self.name]).parameters.values())[1:]
        unknown = set(self.settings) - {parameter.name for parameter in parameters}
        if unknown:
            names = ", ".join(parameter.name for parameter in parameters)
            raise ValueError(f"recipe {self.name} has the settings {names}, got {min(unknown)!r}")
        known = {parameter.name: parameter.default for parameter in parameters}
        object.__setattr__(self, "settings", known | dict(self.settings))

    @property
    def copies(self) -> int:
        """Noisy copies of an image in a step, which can be drawn ahead; 0 where that is not known."""
        return int(self.settings.get("copies", 0))

    def __call__(self, step: Step) -> torch.Tensor:
        """Return the loss of a step."""
        return RECIPES[self.name](step, **self.settings)
