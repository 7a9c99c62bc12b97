"""Options of a command that come with what another option names: a recipe of training, a kind of certificate."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from rsmooth.cli._options import option_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rsmooth._settings import Text

__all__ = ["Choice"]


@dataclass(frozen=True)
class Choice:
    """An option that names a dataclass of `rsmooth._settings.setting`s, whose fields become further options.

    Attributes
    ----------
    option : str
        Its name, without dashes.
    usual : str or None
        What it names where it is left out; None is nothing.
    names : collection of str
        What it may name.
    type_of : callable
        Returns the dataclass of a name.
    but : callable
        Returns the names of those of a dataclass's fields that become no options.
    """

    option: str
    usual: str | None
    names: Collection[str]
    type_of: Callable[[str], type[Any]]
    but: Callable[[type[Any]], Collection[str]] = lambda _: ()

    @property
    def command(self) -> type[TyperCommand]:
        """The class of a command that has the option and those that come with it."""
        return type(f"{self.option.title()}Command", (_ChoosingCommand,), {"choice": self})

    def made(self, context: typer.Context) -> Any:
        """Return the dataclass that a command's options ask for; None where nothing is named."""
        name, given = context.meta[_key(self)]
        return None if name is None else self.type_of(name)(**given)

    def fields_of(self, name: str) -> list[Any]:
        """Return the fields that become options."""
        settings = self.type_of(name)
        but = self.but(settings)
        return [each for each in fields(settings) if each.name not in but]

    def named(self, args: list[str]) -> str | None:
        """Return what follows the last of the option: the parser takes that one too."""
        name = self.usual
        for word, following in zip(args, [*args[1:], ""], strict=False):
            if word == f"--{self.option}":
                name = following
            elif word.startswith(f"--{self.option}="):
                name = word.removeprefix(f"--{self.option}=")
        return name


class _ChoosingCommand(TyperCommand):
    choice: Choice

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options of the command and of what is named; say whose an option is that is another's."""
        choice = self.choice
        name = choice.named(args)
        ctx.meta[_key(choice)] = name, {}
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            wrong = str(getattr(error, "option_name", ""))
            owners = [each for each in choice.names if wrong and wrong in map(_flag, choice.fields_of(each))]
            if not owners:
                raise
            asked = f"--{choice.option} is left out"
            if name is not None:
                own = ", ".join(map(_flag, choice.fields_of(name))) or "no options"
                asked = f"{choice.option} {name} has {own}"
            raise typer.BadParameter(f"{wrong} is an option of {' and '.join(owners)}; {asked}", ctx=ctx) from error

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's options and those of what is named."""
        params: list[Any] = super().get_params(ctx)
        name, _ = ctx.meta.get(_key(self.choice), ("", {}))
        if name not in self.choice.names:
            return params
        try:
            settings = self.choice.type_of(name)
        except ModuleNotFoundError:
            # The command says so itself.
            return params
        return [*params, *_options(settings, self.choice, name)]


def _key(choice: Choice) -> str:
    """Return where a context keeps the name and the values of its options."""
    return f"rsmooth.{choice.option}"


def _flag(field: Any) -> str:
    return f"--{field.name.replace('_', '-')}"


def _options(settings: type, choice: Choice, name: str) -> list[Any]:
    """Return the options of a dataclass's fields, whose values are kept in the context, not handed to the command."""
    app = typer.Typer(add_completion=False)

    def shape() -> None: ...

    asked = choice.fields_of(name)
    shape.__signature__ = inspect.Signature([option_of(settings, each) for each in asked])  # type: ignore[attr-defined]
    shape.__annotations__ = {each.name: each.annotation for each in shape.__signature__.parameters.values()}  # type: ignore[attr-defined]
    app.command()(shape)
    by_name = {each.name: each for each in asked}
    options: list[Any] = [each for each in typer.main.get_command(app).params if each.name in by_name]
    for option in options:
        option.expose_value, option.rich_help_panel = False, f"Options of --{choice.option} {name}"
        option.callback = partial(_keep, choice, by_name[option.name].metadata["text"])
    return options


def _keep(choice: Choice, text: Text | None, context: Any, option: Any, value: Any) -> None:
    source = context.get_parameter_source(option.name)
    if source is not None and source.name != "DEFAULT":
        context.meta[_key(choice)][1][option.name] = value if text is None else text.read(value)
