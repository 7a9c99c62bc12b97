"""Options that a dataclass of settings gives a command."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rsmooth._settings import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def with_options(settings: type, but: Collection[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command an option for each field of a dataclass of `rsmooth._settings.setting`s.

    Fields in `but` get none. The command's parameter ``given`` is replaced by these options, and gets a dict of the
    values that the user gave; what is not in it has the dataclass's default. A parameter ``context`` gets the command's
    context.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(command, include_extras=True)
        asked = [each for each in fields(settings) if each.name not in but]
        parameters = []
        for name, parameter in inspect.signature(command).parameters.items():
            if name == "given":
                parameters += [option_of(settings, each) for each in asked]
            else:
                parameters.append(parameter.replace(annotation=hints[name]))
        # Those that must be given come first in the help.
        parameters.sort(key=lambda each: each.default is not inspect.Parameter.empty)
        takes_context = any(each.name == "context" for each in parameters)
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [each for each in parameters if each.name != "context"]

        def wrapper(*, context: typer.Context, **values: Any) -> Any:
            given = {}
            for each in asked:
                value, text = values.pop(each.name), each.metadata["text"]
                source = context.get_parameter_source(each.name)
                if source is not None and source.name != "DEFAULT":
                    given[each.name] = value if text is None else text.read(value)
            if takes_context:
                values["context"] = context
            return command(**values, given=given)

        wrapper.__name__, wrapper.__doc__, wrapper.__module__ = command.__name__, command.__doc__, command.__module__
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        wrapper.__signature__ = inspect.Signature([*parameters, context])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in (*parameters, context)}
        return wrapper

    return decorate


def option_of(settings: type, each: Any) -> inspect.Parameter:
    """Return the parameter of a command that Typer makes a field's option of."""
    flags = each.metadata["flags"] or (f"--{each.name.replace('_', '-')}",)
    option = typer.Option(*flags, help=each.metadata["help"])
    annotation = Annotated[kinds(settings)[each.name], option]  # type: ignore[valid-type]
    default, text = each.default, each.metadata["text"]
    if default is MISSING:
        default = inspect.Parameter.empty
    elif text is not None and default is not None:
        default = text.write(default)
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
