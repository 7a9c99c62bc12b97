"""The command line: one function a command."""

from __future__ import annotations

import json
import math
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the command line needs more packages: pip install 'rsmooth[cli]'") from error

from rsmooth.assess import MARKS, assess_builtin, parse_dims
from rsmooth.mechanisms import Exponential, Gaussian, Laplace
from rsmooth.noise import build_info

if TYPE_CHECKING:
    from rsmooth.assess import Assessment

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
    """Train, certify and plot scikit-learn's digits with both mechanisms (needs the extra "demo").

    Example: rsmooth demo --out demo --seed 0
    """
    try:
        from rsmooth.run.demo import demo as run_demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the demo needs more packages ({error}): pip install 'rsmooth[demo]'") from error
    run_demo(out, seed=seed, quick=quick, console=Console())


@app.command()
def assess(  # noqa: PLR0917
    norm: Annotated[str, typer.Option(help="Norm of the perturbations: 2 or inf.")] = "inf",
    radius: Annotated[float, typer.Option(help="Their largest norm, in pixels in [0, 1].")] = 0.01,
    epsilon: Annotated[float, typer.Option(help="The divergence D_MR allowed.")] = 0.5,
    dims: Annotated[str, typer.Option(help="Dimensions: LOW:HIGH (decades), or a list with commas.")] = "10:1e7",
    seed: Annotated[int, typer.Option(min=0, help="Names the draws that are measured.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where to save the figure (needs rsmooth[plot]).")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Compare the noise that each mechanism needs with what any mechanism needs.

    Example: rsmooth assess --norm inf --radius 0.01 --epsilon 0.5 --dims 10:1e7 --plot gap.png
    """
    norms = {"2": 2.0, "inf": math.inf}
    if norm not in norms:
        raise ValueError(f"norm must be 2 or inf, got {norm!r}")
    if plot is not None:
        try:
            from rsmooth.plots import gap_figure  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    found = assess_builtin(norm=norms[norm], radius=radius, epsilon=epsilon, dims=parse_dims(dims), seed=seed)
    console = Console(highlight=False)
    console.print(f"Noise needed for D_MR ≤ {epsilon:g} within radius {radius:g}, norm {norm}. {found[0].caveat}")
    console.print("Measured: the mean of draws, and Student's interval of 99.9%.")
    for each in found:
        console.print(_assessment_table(each))
    if json_ is not None:
        json_.write_text(json.dumps([each.to_dict() for each in found], indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        gap_figure(found).savefig(plot)


def _assessment_table(assessment: Assessment) -> Table:
    table = Table(title=f"\n{assessment.mechanism}: {assessment.verdict}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("d", "scale", "E‖z‖∞", "measured", "criterion", "gap"):
        table.add_column(heading, justify="right")
    names = {dim: f"{name} " for name, dim in MARKS.items()}
    for row in assessment.rows:
        exact = "no formula" if row.magnitude is None else _digits(row.magnitude)
        measured = "too large"
        if row.measured is not None:
            half = row.measured.upper - row.measured.mean
            decimals = max(-math.floor(math.log10(half)), 0)
            measured = f"{row.measured.mean:,.{decimals}f} ± {half:,.{decimals}f}"
        values = (_digits(row.scale), exact, measured, _digits(row.criterion), _digits(row.gap))
        table.add_row(f"{names.get(row.dim, '')}{row.dim:,}", *values)
    return table


def _digits(value: float) -> str:
    """Return a number above 0 with four digits."""
    size = math.floor(math.log10(value))
    return f"{value:,.{max(3 - size, 0)}f}" if -5 < size < 9 else f"{value:.3e}"  # noqa: PLR2004


@app.command()
def radii(  # noqa: PLR0917
    counts: Annotated[Path, typer.Argument(help="Counts (.npy, .csv, .tsv, .parquet) or a locuslab result file.")],
    mechanism: Annotated[str, typer.Option(help="The mechanism counted: gaussian, exponential or laplace.")],
    sigma: Annotated[float, typer.Option("--sigma", "--scale", help="Its sigma or scale, in pixels in [0, 1].")],
    norm: Annotated[str, typer.Option(help="Norm of the radius: 1, 2 or inf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .tsv.")],
    bound: Annotated[str, typer.Option(help="renyi, neyman-pearson, pure-dp or pixeldp.")] = "renyi",
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    dim: Annotated[int | None, typer.Option(help="Coordinates of an input, where the radius depends on it.")] = None,
    runner_up: Annotated[str, typer.Option(help="second, or complement: p2 = 1 - p1.")] = "second",
    selection: Annotated[Path | None, typer.Option(help="For .npy counts: .npy of what separate draws chose.")] = None,
) -> None:
    """Turn a file of counts into a file of certified radii; larger than memory is fine.

    Tables have the votes in columns count_0, count_1, … and what separate draws chose in selection_0, … or selected;
    their other columns are kept.

    Example: rsmooth radii counts.parquet --mechanism gaussian --sigma 0.25 --norm 2 --bound renyi -o radii.parquet
    """
    from rsmooth.run.recertify import recertify  # noqa: PLC0415

    kinds = {"gaussian": Gaussian, "exponential": Exponential, "laplace": Laplace}
    norms = {"1": 1.0, "2": 2.0, "inf": math.inf}
    if mechanism not in kinds:
        raise ValueError(f"mechanism must be gaussian, exponential or laplace, got {mechanism!r}")
    if norm not in norms:
        raise ValueError(f"norm must be 1, 2 or inf, got {norm!r}")
    with Progress(transient=True) as bar:
        task = bar.add_task(counts.name, total=1.0)
        summary = recertify(
            counts,
            out,
            kinds[mechanism](sigma),
            norm=norms[norm],
            dim=dim,
            alpha=alpha,
            bound=bound,
            runner_up=runner_up,
            selection=selection,
            progress=lambda share: bar.update(task, completed=share),
        )
    Console(highlight=False).print(
        f"{out}: {summary.rows:,} rows, {summary.abstained:,} abstained, largest radius {summary.largest:.6g}"
    )


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
