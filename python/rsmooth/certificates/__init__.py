"""Kinds of certificates: what is counted of a model's outputs, and what the counts prove, a file each.

A kind is a frozen dataclass that derives from `rsmooth.certificates.kind.Kind`, with fields that are made by
``rsmooth._settings.setting``. Those listed here have a name on the command line and in runs; one of your own need not
be.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rsmooth._settings import read

if TYPE_CHECKING:
    from rsmooth.certificates.kind import Kind

__all__ = ["KINDS", "counted_of", "kind_named", "kind_type", "refuse_other_counts"]

# Where each is. The first is the usual one.
KINDS = {
    "top-class": "topclass:TopClass",
    "top-k": "topk:TopK",
    "soft-scores": "softscores:SoftScores",
    "betting-scores": "betting:BettingScores",
    "full-information": "fullinformation:FullInformation",
    "median": "median:Median",
    "segmentation": "segmentation:Segmentation",
    "splitting": "splitting:Splitting",
}


def kind_type(name: str) -> type[Any]:
    """Return a kind's dataclass.

    Parameters
    ----------
    name : str
        A name in `KINDS`.

    Returns
    -------
    type
        Call it with the kind's settings; what it gives is a `rsmooth.certificates.kind.Kind`.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> from rsmooth.certificates import kind_type
    >>> kind_type("top-k")(k=3)
    TopK(k=3)
    """
    if name not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {name!r}")
    module, kind = KINDS[name].split(":")
    found: type[Any] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found


def kind_named(text: str) -> Kind:
    """Return the kind that a text names, as `rsmooth.certificates.kind.Kind.text` writes it.

    Parameters
    ----------
    text : str
        A name in `KINDS`, and the settings behind it: ``top-k k=3``.

    Returns
    -------
    Kind
        The kind.

    Raises
    ------
    ValueError
        If there is no such kind, or a setting is not allowed.

    Examples
    --------
    >>> from rsmooth.certificates import kind_named
    >>> kind_named("top-k k=3").text
    'top-k k=3'
    """
    name, *settings = text.split()
    kind = kind_type(name)
    content: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            content[key] = json.loads(value)
        except ValueError:
            content[key] = value
    found: Kind = read(kind, f"kind {text!r}", content)
    return found


def counted_of(text: str) -> str:
    """Return what the tallies are of that a kind counts, by a text that begins with its name.

    Of a kind that is not in `KINDS` that is its name.
    """
    name = text.split(maxsplit=1)[0]
    return kind_type(name).counted if name in KINDS else name


def refuse_other_counts(kind: Kind, counted: str, where: object) -> None:
    """Refuse a kind that does not certify what is counted.

    Parameters
    ----------
    kind : Kind
        The kind that is asked for.
    counted : str
        What is counted there.
    where : object
        What messages call the place.

    Raises
    ------
    ValueError
        If the kind's tallies are of something else; the message names the kinds that there are.
    """
    if kind.counted != counted:
        fits = ", ".join(name for name in KINDS if kind_type(name).counted == counted)
        raise ValueError(f"kind must be of {counted} ({fits}), which {where} holds, got {kind.claim!r}")
