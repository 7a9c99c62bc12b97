"""The command line: one function a command."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the command line needs more packages: pip install 'rsmooth[cli]'") from error

from rsmooth.noise import build_info

__all__ = ["app", "main"]

app = typer.Typer(
    help="Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


# Keeps `info` a command of its own however many others there are.
@app.callback()
def _app() -> None: ...


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for counts, figures and table.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Little work: shows that it runs, certifies little.")] = False,  # noqa: FBT002
) -> None:
    """Train, certify and plot scikit-learn's digits with both mechanisms (needs rsmooth[demo]).

    Example: rsmooth demo --out demo --seed 0
    """
    try:
        from rsmooth.run.demo import demo as run_demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the demo needs more packages ({error}): pip install 'rsmooth[demo]'") from error
    run_demo(out, seed=seed, quick=quick, console=Console())


@app.command()
def info() -> None:
    """Show the version, the noise layout and the vector instructions in use.

    Example: rsmooth info
    """
    table = Table(show_header=False)
    for name, value in {**build_info(), "python": platform.python_version(), "platform": platform.platform()}.items():
        table.add_row(name, ", ".join(value) if isinstance(value, (list, tuple)) else str(value))
    Console().print(table)


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
    except (ValueError, OSError) as error:
        typer.echo(f"rsmooth: {error}", err=True)
        sys.exit(1)
