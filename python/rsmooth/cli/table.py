"""`rsmooth table`."""

from __future__ import annotations

from typing import Annotated

import typer

from rsmooth.cli._common import app
from rsmooth.cli._results import (
    KIND,
    Alpha,
    BoundNames,
    Dim,
    KindName,
    Labels,
    NormName,
    RunnerUp,
    Sigmas,
    Sources,
    TrustedMechanism,
    gathered,
)


@app.command(cls=KIND.command)
def table(
    *,
    context: typer.Context,
    results: Sources,
    radii: Annotated[
        str | None, typer.Option(help="Radii, FROM:TO:STEP or a list, as 0:2:0.25 or 0,0.5; chosen if left out.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="markdown, latex, csv or json.")] = "markdown",
    intervals: Annotated[bool, typer.Option(help="With the 95% interval of each accuracy.")] = True,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two results on the images that both have, instead.")
    ] = False,
    label: Labels = None,
    kind: KindName = None,  # noqa: ARG001
    norm: NormName = None,
    bound: BoundNames = None,
    alpha: Alpha = None,
    runner_up: RunnerUp = None,
    sigma: Sigmas = None,
    dim: Dim = None,
    mechanism: TrustedMechanism = None,
) -> None:
    """Print a table of results: what is certified and right above each radius, in percent of all images.

    Behind it ACR, the average certified radius; r50, the radius at 50% certified accuracy; the mean draws of an image;
    and the quartiles of p1, the lower bound on the vote's share. Abstentions count as errors. Intervals are
    Clopper-Pearson, the images taken for a random sample; csv and json have all numbers in full.

    With --compare, the images that both or one alone certify above each radius, and the p-value of McNemar's exact
    test.

    Standard output has the table alone; what is missing of a result is said on standard error.

    Example: rsmooth table run cohen/sigma_0.25 --radii 0:1:0.25 --label ours --label Cohen

    Example: rsmooth table gaussian-run exponential-run --norm inf --compare -f csv > compared.csv

    Example: rsmooth table run --kind top-k --k 3
    """
    from rsmooth.results.measures import compare as compared  # noqa: PLC0415
    from rsmooth.results.measures import measures, radii_named, usual_radii  # noqa: PLC0415
    from rsmooth.results.table import FORMATS, comparison_table, results_table  # noqa: PLC0415

    if format_ not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format_!r}")
    at = None if radii is None else radii_named(radii)
    found = gathered(
        results,
        labels=label,
        kind=KIND.made(context),
        norm=norm,
        bounds=bound,
        alpha=alpha,
        runner_up=runner_up,
        mechanism=mechanism,
        sigmas=sigma,
        dim=dim,
    )
    at = usual_radii(found) if at is None else at
    if not compare:
        typer.echo(results_table([measures(each, at) for each in found], format_, intervals=intervals), nl=False)
        return
    if len(found) != 2:  # noqa: PLR2004
        raise ValueError(f"--compare takes two results under one bound, got {len(found)}")
    one, other = found
    numbers = compared(one, other, at)
    for each in found:
        if left_out := len(each) - numbers["examples"]:
            typer.echo(
                f"{each.name}: {left_out:,} of {len(each):,} images are not the other's and were left out", err=True
            )
    typer.echo(comparison_table(numbers, format_), nl=False)
