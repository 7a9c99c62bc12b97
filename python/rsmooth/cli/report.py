"""`rsmooth report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsmooth._norms import TEXTS, norm_named
from rsmooth.cli._common import BOUND_HELP, app, console_for
from rsmooth.cli._results import Dim, Labels, Sigmas, Sources, TrustedMechanism
from rsmooth.rule import BOUNDS


@app.command()
def report(  # noqa: PLR0917
    results: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page: .html.")],
    norm: Annotated[list[str] | None, typer.Option(help="1, 2 or inf. Repeatable; all if left out.")] = None,
    bound: Annotated[list[str] | None, typer.Option(help=f"{BOUND_HELP} Repeatable; all if left out.")] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(help="Failure probability. Repeatable; each run's own, 0.01, 0.001 and 0.0001 if left out."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=0, help="Pictures of so many examples a run; 200 or 3 MB of pixels if left out, all with 1000000."
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Where data are, if not where the runs say. Repeatable.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are, likewise.")] = None,
    title: Annotated[str, typer.Option(help="What stands above.")] = "Certified robustness",
    label: Labels = None,
    sigma: Sigmas = None,
    dim: Dim = None,
    mechanism: TrustedMechanism = None,
) -> None:
    """Write one page of HTML about runs and result files, beside each other: it needs no server and no network.

    It has the curves with a slider for the radius and a choice of bound, norm and alpha; every example, with votes,
    interval and radius, and pictures of the worst and the best; what was assumed; and how to check it.

    Example: rsmooth report gaussian-run exponential-run -o report.html

    Example: rsmooth report run published/sigma_0.25 --data cifar10.npz --images 50 -o report.html
    """
    from rsmooth.report.payload import Rules  # noqa: PLC0415
    from rsmooth.report.write import write_report  # noqa: PLC0415
    from rsmooth.results.several import read_sources  # noqa: PLC0415

    if out.suffix not in (".html", ".htm"):
        raise ValueError(f"out must end in .html, got {out}")
    rules = Rules([norm_named(text) for text in norm or TEXTS.values()], bound or BOUNDS, alpha or None)
    found = read_sources(results, names=label or (), mechanism=mechanism, sigmas=sigma or (), dim=dim)
    notes = write_report(
        found, out, title=title, rules=rules, images=images, data=data or (), root=root, mechanism=mechanism
    )
    console = console_for()
    for result, note in zip(found, notes, strict=True):
        for each in (*result.notes, note):
            if each:
                console.print(f"{result.name}: {each}", markup=False)
    console.print(f"{out}: {len(found)} results, {out.stat().st_size / 1e6:.1f} MB", markup=False)
