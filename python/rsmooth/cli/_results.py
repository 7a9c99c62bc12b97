"""What the commands that take results share: their options, and how they say what is missing of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsmooth._norms import norm_named
from rsmooth.certificates import KINDS, kind_type
from rsmooth.cli._choices import Choice
from rsmooth.cli._common import BOUND_HELP, either

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsmooth.certificates.kind import Kind
    from rsmooth.results.result import Result

Sources = Annotated[
    list[Path], typer.Argument(help="Folders of runs, files that `rsmooth radii` wrote, result files of the field.")
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="What to call a result; once for each, in their order.")
]
# How the model's outputs were read is said by what was counted.
KIND = Choice("kind", None, KINDS, kind_type, but=lambda kind: kind.reads)
KindName = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help=f"Certify what was counted as another kind: {either(KINDS)}; --kind NAME --help shows its options.",
    ),
]
NormName = Annotated[
    str | None, typer.Option("--norm", help="Norm of the radius: 1, 2 or inf; the results' own if left out.")
]
BoundNames = Annotated[
    list[str] | None, typer.Option("--bound", help=f"{BOUND_HELP} Repeatable; each result's own if left out.")
]
Alpha = Annotated[
    float | None, typer.Option(help="Failure probability of a certificate; each result's own if left out.")
]
RunnerUp = Annotated[
    str | None, typer.Option(help="second or complement (p2 = 1 - p1, as the field has it); likewise.")
]
TrustedMechanism = Annotated[
    str | None, typer.Option("--mechanism", help="The results' mechanism, if that is code: package.module:name.")
]
Sigmas = Annotated[
    list[float] | None,
    typer.Option(
        "--sigma",
        help="Of result files that do not record it, which other bounds need: once for all, or once for each.",
    ),
]
Dim = Annotated[int | None, typer.Option(min=1, help="Coordinates of an input, likewise, which other norms need.")]


def gathered(
    sources: Sequence[Path],
    *,
    labels: list[str] | None,
    kind: Kind | None,
    norm: str | None,
    bounds: list[str] | None,
    alpha: float | None,
    runner_up: str | None,
    mechanism: str | None,
    sigmas: list[float] | None,
    dim: int | None,
) -> list[Result]:
    """Read results as the options say; what is missing of them is said on standard error."""
    from rsmooth.results.several import read_results  # noqa: PLC0415

    found = read_results(
        sources,
        names=labels or (),
        kind=kind,
        norm=None if norm is None else norm_named(norm),
        bounds=bounds or (),
        alpha=alpha,
        runner_up=runner_up,
        mechanism=mechanism,
        sigmas=sigmas or (),
        dim=dim,
    )
    for note in dict.fromkeys(f"{each.name}: {note}" for each in found for note in each.notes):
        typer.echo(note, err=True)
    return found
