"""`rsmooth demo` and `rsmooth info`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rsmooth.cli._common import (
    app,
)
from rsmooth.noise import build_info


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for counts, figures and table.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Little work: shows that it runs, certifies little.")] = False,  # noqa: FBT002
) -> None:
    """Train, certify and plot scikit-learn's digits with both mechanisms (needs the extra "demo").

    Example: rsmooth demo --out demo --seed 0
    """
    try:
        from rsmooth.demo import demo as run_demo  # noqa: PLC0415
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
