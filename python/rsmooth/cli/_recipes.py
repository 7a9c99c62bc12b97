"""Options that the recipe named on the command line gives `rsmooth train`."""

from __future__ import annotations

import inspect
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from rsmooth.cli._options import option_of
from rsmooth.training.recipes import RECIPES, recipe_type

if TYPE_CHECKING:
    from rsmooth._settings import Text
    from rsmooth.training.recipes import Recipe

__all__ = ["RecipeCommand", "recipe_of"]

# Where a context keeps the recipe's name and the values of its options.
NAME, GIVEN = "rsmooth.recipe", "rsmooth.recipe.given"


class RecipeCommand(TyperCommand):
    """A command with ``--recipe NAME`` and an option for each field of that recipe's dataclass."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options of the command and of its recipe; say whose an option is that is another recipe's."""
        ctx.meta[NAME], ctx.meta[GIVEN] = _named(args), {}
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            wrong = str(getattr(error, "option_name", ""))
            owners = [name for name in RECIPES if wrong and wrong in map(_flag, fields(recipe_type(name)))]
            if not owners:
                raise
            own = ", ".join(map(_flag, fields(recipe_type(ctx.meta[NAME])))) or "no options"
            raise typer.BadParameter(
                f"{wrong} is an option of {' and '.join(owners)}; recipe {ctx.meta[NAME]} has {own}", ctx=ctx
            ) from error

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's options and its recipe's."""
        params: list[Any] = super().get_params(ctx)
        name = ctx.meta.get(NAME)
        if name not in RECIPES:
            return params
        try:
            recipe = recipe_type(name)
        except ModuleNotFoundError:
            # The command says so itself.
            return params
        return [*params, *_options(recipe, name)]


def recipe_of(context: typer.Context) -> Recipe:
    """Return the recipe that a command's options ask for."""
    recipe: Recipe = recipe_type(context.meta[NAME])(**context.meta[GIVEN])
    return recipe


def _named(args: list[str]) -> str:
    """Return what follows the last ``--recipe``: the parser takes that one too."""
    name = "noisy"
    for word, following in zip(args, [*args[1:], ""], strict=False):
        if word == "--recipe":
            name = following
        elif word.startswith("--recipe="):
            name = word.removeprefix("--recipe=")
    return name


def _flag(field: Any) -> str:
    return f"--{field.name.replace('_', '-')}"


def _options(recipe: type, name: str) -> list[Any]:
    """Return the options of a recipe's fields, whose values are kept in the context, not handed to the command."""
    app = typer.Typer(add_completion=False)

    def shape() -> None: ...

    shape.__signature__ = inspect.Signature([option_of(recipe, each) for each in fields(recipe)])  # type: ignore[attr-defined]
    shape.__annotations__ = {each.name: each.annotation for each in shape.__signature__.parameters.values()}  # type: ignore[attr-defined]
    app.command()(shape)
    by_name = {each.name: each for each in fields(recipe)}
    options: list[Any] = [each for each in typer.main.get_command(app).params if each.name in by_name]
    for option in options:
        option.expose_value, option.rich_help_panel = False, f"Options of --recipe {name}"
        option.callback = partial(_keep, by_name[option.name].metadata["text"])
    return options


def _keep(text: Text | None, context: Any, option: Any, value: Any) -> None:
    source = context.get_parameter_source(option.name)
    if source is not None and source.name != "DEFAULT":
        context.meta[GIVEN][option.name] = value if text is None else text.read(value)
