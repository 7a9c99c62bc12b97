"""Code that a user names as ``package.module:name``, and packages that not everybody has."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from importlib.util import find_spec
from typing import Any

__all__ = ["called", "imported", "needed"]


def imported(path: str) -> Any:
    """Return what ``package.module:name`` names, in an installed package or else in the current folder.

    Packages that are installed come first: a file of the same name in the current folder does not hide them.

    Parameters
    ----------
    path : str
        The name.

    Returns
    -------
    object
        What the module calls so.

    Raises
    ------
    ValueError
        If there is no such module or name, or it cannot be imported.

    Examples
    --------
    >>> from rsmooth._imports import imported
    >>> imported("math:inf")
    inf
    """
    module, _, name = path.partition(":")
    try:
        here = os.getcwd()  # noqa: PTH109
        if find_spec(module.partition(".")[0]) is None and here not in sys.path:
            # For good, as the module may import others later.
            sys.path.append(here)
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported: {error}") from error


def called(path: str, make: Any, **offered: Any) -> Any:
    """Return what the callable that `path` named returns, given those of the arguments offered that it takes."""
    try:
        takes = inspect.signature(make).parameters
        return make(**{name: value for name, value in offered.items() if name in takes})
    except Exception as error:
        raise ValueError(f"{path} failed: {type(error).__name__}: {error}") from error


def needed(module: str, what: str) -> Any:
    """Return a module that not everybody has."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{what} needs a package that is not installed ({error}): pip install {module}") from error
