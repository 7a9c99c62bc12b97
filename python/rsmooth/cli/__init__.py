"""The command line: a file a group of commands."""

from __future__ import annotations

import sys

try:
    import typer

    # Importing a command adds it to the app, in the order of its help.
    from rsmooth.cli import assess, attack, certify, demo, plot, radii, report, table, train, verify  # noqa: F401
    from rsmooth.cli._common import app
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the command line needs more packages: pip install 'rsmooth[cli]'") from error

__all__ = ["app", "main"]


def main() -> None:
    """Run the command that the process was given; end with status 1 and one line where it cannot be done.

    Raises
    ------
    SystemExit
        Always, with the process's exit status: 0, 1 for a refusal, 2 for bad usage, 130 for an interrupt.

    Examples
    --------
    >>> from rsmooth.cli import main
    >>> main()  # doctest: +SKIP
    """
    try:
        app()
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        typer.echo(f"rsmooth: {error}", err=True)
        sys.exit(1)
