"""Dataclasses whose fields are settings: how each is asked for, checked, written and read stands with the field."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from rsmooth._check import integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

Kind = type | UnionType


@dataclass(frozen=True)
class Text:
    """How a setting stands in JSON and on the command line, where that is not the value itself."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def setting(
    help_text: str,
    *,
    default: Any = MISSING,
    flags: tuple[str, ...] = (),
    text: Text | None = None,
    least: int = 1,
    implied: bool = False,
) -> Any:
    """Return a field of a dataclass of settings.

    Parameters
    ----------
    help_text : str
        What it is, for the command's help.
    default : object
        Its value where none is given; it must be given if left out.
    flags : tuple of str
        The command line's names for it; ``--<name>`` if left out.
    text : Text or None
        How it is written and read, where JSON's own value is not it.
    least : int
        The least value of an integer.
    implied : bool
        Whether JSON leaves it out where it has its default, so that what was written before there was such a setting
        stays readable.
    """
    metadata = {"help": help_text, "flags": flags, "text": text, "least": least, "implied": implied}
    return field(default=default, metadata=metadata)


def given(**settings: Any) -> dict[str, Any]:
    """Return the settings that are given: None leaves one as it is."""
    return {name: value for name, value in settings.items() if value is not None}


@cache
def kinds(settings: type) -> dict[str, Kind]:
    """Return the type of each field as JSON and the command line have it."""
    hints = get_type_hints(settings)

    def kind(each: Any) -> Kind:
        hint: Kind = hints[each.name]
        if not each.metadata.get("text"):
            return hint
        return str | None if NoneType in get_args(hint) else str

    return {each.name: kind(each) for each in fields(settings)}


def check_fields(settings: Any) -> None:
    """Refuse values of another type than their fields'; make numbers Python's own. For ``__post_init__``.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If an integer is below the field's least.
    """
    hints = get_type_hints(type(settings))
    for each in fields(settings):
        value = getattr(settings, each.name)
        options = get_args(hints[each.name]) or (hints[each.name],)
        if value is None and NoneType in options:
            continue
        object.__setattr__(settings, each.name, _checked(each.name, value, options[0], each.metadata["least"]))


def _checked(name: str, value: Any, kind: type, least: int) -> Any:
    if kind is int:
        return integer(name, value, least, 2**53)
    if kind is float:
        if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
            raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
        return float(value)
    if get_origin(kind) is not None:
        # Their elements are the class's to check.
        return value
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r} of type {type(value).__name__}")
    return value


def written(settings: Any) -> dict[str, Any]:
    """Return the settings as JSON holds them."""
    content = {}
    for each in fields(settings):
        value, text = getattr(settings, each.name), each.metadata["text"]
        if not each.metadata["implied"] or value != each.default:
            content[each.name] = value if text is None or value is None else text.write(value)
    return content


def read(settings: type[T], source: object, content: Mapping[str, Any]) -> T:
    """Return the settings that `written` gave; entries of other names are not looked at.

    Raises
    ------
    ValueError
        If one is missing, of another type or not allowed; the message names `source`.
    """
    there = [each for each in fields(settings) if each.name in content or not each.metadata["implied"]]  # type: ignore[arg-type]
    types = kinds(settings)  # type: ignore[arg-type]
    check_types(source, content, {each.name: types[each.name] for each in there})
    values = {}
    try:
        for each in there:
            value, text = content[each.name], each.metadata["text"]
            values[each.name] = value if text is None or value is None else text.read(value)
        return settings(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source} is damaged: {error}") from error


def check_types(source: object, content: Any, types: Mapping[str, Kind]) -> None:
    """Refuse what JSON was read to, unless it is a dict that has all of `types`, of these types."""
    if not isinstance(content, dict):
        raise ValueError(f"{source} is damaged: there is {content!r} where settings should be")  # noqa: TRY004
    for name, kind in types.items():
        value = content.get(name)
        # To Python a bool is an int and an int no float.
        fits = isinstance(value, bool) == (kind is bool) and isinstance(value, kind)
        fits |= kind is float and type(value) is int and abs(value) < 2**53
        if name not in content or not fits:
            wanted = getattr(kind, "__name__", str(kind))
            raise ValueError(f"{source} is damaged: {name} must be of type {wanted}, got {value!r}")
