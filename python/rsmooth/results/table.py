"""Tables of results and of comparisons: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rsmooth._digits import below, floor, whole
from rsmooth._norms import SYMBOLS, norm_named
from rsmooth.certificates.topclass import TopClass
from rsmooth.results.measures import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMATS", "comparison_table", "results_table"]

FORMATS = ("markdown", "latex", "csv", "json")
"""What a table can be written as."""

LATEX_SYMBOLS = {"1": r"$\ell_1$", "2": r"$\ell_2$", "inf": r"$\ell_\infty$"}
LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"σ": r"$\sigma$", "α": r"$\alpha$", "−": "$-$", "\N{EN DASH}": "--", ">": "$>$", "<": "$<$"}
)


class Column(NamedTuple):
    """A column of a table for people."""

    heading: str
    number: bool
    """Whether it is of numbers, which stand to the right."""
    cells: list[str]


def results_table(found: Sequence[dict[str, Any]], kind: str, *, intervals: bool = True) -> str:
    r"""Return a table of results.

    Parameters
    ----------
    found : sequence of dict
        What `rsmooth.results.measures.measures` returns, at the same radii.
    kind : str
        One of `FORMATS`: ``markdown`` and ``latex`` (for the package booktabs) are for people, with percentages, and
        leave out columns in which nothing is known; ``csv`` and ``json`` have everything in full precision.
    intervals : bool
        Whether the tables for people have the 95% intervals of the accuracies.

    Returns
    -------
    str
        Its lines.

    Raises
    ------
    ValueError
        If the format is another, or there are no results.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.results.measures import measures
    >>> from rsmooth.results.result import Result
    >>> from rsmooth.results.table import results_table
    >>> found = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64, selection=[0] * 3)
    >>> result = Result.of("a", found, [0, 0, 1])
    >>> print(results_table([measures(result, [0.5])], "latex", intervals=False).splitlines()[4])
    a & gaussian, 0.5 & $\ell_2$ & tightest & 0.001 & 3 & 1 & 33.3 & 0.3465 & 0.06019 & 1,000 & 0.497, 0.547, 0.761 \\
    """
    _check(kind, found)
    if kind == "json":
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if kind == "csv":
        return _csv([_flat(each) for each in found])
    kinds = {each["kind"] for each in found}
    columns = [
        Column("result", number=False, cells=[each["name"] for each in found]),
        # Where it goes without saying there is no such column.
        Column("kind", number=False, cells=[each["kind"] if kinds != {TopClass.name} else "" for each in found]),
        Column("noise", number=False, cells=[_noise(each) for each in found]),
        Column("norm", number=False, cells=[SYMBOLS[norm_named(each["norm"])] for each in found]),
        Column("bound", number=False, cells=[_bound(each) for each in found]),
        Column("α", number=True, cells=_levels(found)),
        _numbers("images", [each["examples"] for each in found], "{:,}"),
        _numbers("abst.", [each["abstained"] for each in found], "{:,}"),
    ]
    for i, radius in enumerate(found[0]["radii"]):
        cells = [_share(each["certified_accuracy"][i]) for each in found]
        if intervals:
            ends = [_ends(each["lower"][i], each["upper"][i]) for each in found]
            cells = [f"{cell} ({pair})" for cell, pair in zip(cells, ends, strict=True)]
        columns.append(Column(f"% > {whole(radius)}", number=True, cells=cells))
    columns += [
        Column("ACR", number=True, cells=[below(each["average_certified_radius"]) for each in found]),
        Column("r50", number=True, cells=[below(each["radius_at_half"]) for each in found]),
        _numbers("draws", [each["mean_draws"] for each in found], "{:,.0f}"),
        Column("p1 quartiles", number=True, cells=[_quartiles(each["p1"]) for each in found]),
    ]
    return _written([each for each in columns if any(each.cells)], kind)


def comparison_table(found: dict[str, Any], kind: str) -> str:
    """Return a table of what `rsmooth.results.measures.compare` returns.

    Parameters
    ----------
    found : dict
        The comparison.
    kind : str
        One of `FORMATS`.

    Returns
    -------
    str
        Its lines, a radius each.

    Raises
    ------
    ValueError
        If the format is another.

    Examples
    --------
    >>> from rsmooth.results.table import comparison_table
    >>> found = {"one": "a", "other": "b", "norm": "2", "examples": 100, "radii": [0.5], "both": [60], "only_one": [9],
    ...          "only_other": [1], "neither": [30], "difference": [0.08], "p_value": [0.0215]}
    >>> print(comparison_table(found, "markdown"))
    | ℓ₂ radius above | both | only a | only b | neither | a − b, % | exact McNemar p |
    |----------------:|-----:|-------:|-------:|--------:|---------:|----------------:|
    |             0.5 |   60 |      9 |      1 |      30 |     +8.0 |          0.0215 |
    <BLANKLINE>
    """
    _check(kind, [found])
    if kind == "json":
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    fields = ("both", "only_one", "only_other", "neither", "difference", "p_value")
    if kind == "csv":
        settings = {name: found[name] for name in ("one", "other", "norm", "examples")}
        rows = zip(found["radii"], *(found[name] for name in fields), strict=True)
        return _csv([settings | dict(zip(("radius", *fields), row, strict=True)) for row in rows])
    one, other = found["one"], found["other"]
    return _written(
        [
            Column(
                f"{SYMBOLS[norm_named(found['norm'])]} radius above",
                number=True,
                cells=[whole(each) for each in found["radii"]],
            ),
            _numbers("both", found["both"], "{:,}"),
            _numbers(f"only {one}", found["only_one"], "{:,}"),
            _numbers(f"only {other}", found["only_other"], "{:,}"),
            _numbers("neither", found["neither"], "{:,}"),
            Column(
                f"{one} − {other}, %",
                number=True,
                cells=[f"{100 * each:+.1f}".replace("-", "−") for each in found["difference"]],
            ),
            _numbers("exact McNemar p", found["p_value"], "{:.3g}"),
        ],
        kind,
    )


def _check(kind: str, found: Sequence[dict[str, Any]]) -> None:
    if kind not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {kind!r}")
    if not found:
        raise ValueError("results must be one at least, got none")


def _noise(found: dict[str, Any]) -> str:
    name = found["mechanism"] or ""
    return name if found["parameter"] is None else f"{name}, {found['parameter']:.4g}"


def _bound(found: dict[str, Any]) -> str:
    name = found["bound"] or "?"
    return f"{name}, p2 = 1 − p1" if found["runner_up"] == "complement" else name


def _levels(found: Sequence[dict[str, Any]]) -> list[str]:
    known = any(each["alpha"] is not None for each in found)
    return ["?" if known and each["alpha"] is None else _text(each["alpha"], "{:g}") for each in found]


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _numbers(heading: str, values: Sequence[float | None], form: str) -> Column:
    return Column(heading, number=True, cells=[_text(value, form) for value in values])


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _ends(lower: float | None, upper: float | None) -> str:
    """Return the ends of an interval; pixels have none."""
    return "no interval" if lower is None or upper is None else f"{_share(lower)}\N{EN DASH}{_share(upper)}"


def _quartiles(found: dict[str, float] | None) -> str:
    # Down, as a p1 of 0.9996 is not 1.
    return "" if found is None else ", ".join(floor(found[str(level)], 3) for level in QUANTILES)


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Return measures as cells of a row."""
    lists = ("certified_accuracy", "lower", "upper")
    row = {name: value for name, value in found.items() if name not in (*lists, "radii", "p1", "notes")}
    row |= {f"p1_{level}": None if found["p1"] is None else found["p1"][str(level)] for level in QUANTILES}
    for i, radius in enumerate(found["radii"]):
        row |= {f"{name}_{whole(radius)}": found[name][i] for name in lists}
    return row | {"notes": "; ".join(found["notes"])}


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _written(columns: list[Column], kind: str) -> str:
    rows = [list(row) for row in zip(*(each.cells for each in columns), strict=True)]
    return (_markdown if kind == "markdown" else _latex)(columns, rows)


def _markdown(columns: list[Column], rows: list[list[str]]) -> str:
    lines = [[each.heading for each in columns], *rows]
    lines = [[cell.replace("|", r"\|").replace("\n", " ") for cell in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(columns))]

    def padded(line: list[str]) -> str:
        cells = (
            cell.rjust(width) if each.number else cell.ljust(width)
            for cell, width, each in zip(line, widths, columns, strict=True)
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join(
        "-" * (width + 1) + (":" if each.number else "-") for width, each in zip(widths, columns, strict=True)
    )
    return "\n".join([padded(lines[0]), f"|{rule}|", *map(padded, lines[1:])]) + "\n"


def _latex(columns: list[Column], rows: list[list[str]]) -> str:
    def escaped(cell: str) -> str:
        for norm, symbol in LATEX_SYMBOLS.items():
            if cell.startswith(SYMBOLS[norm_named(norm)]):
                return symbol + escaped(cell.removeprefix(SYMBOLS[norm_named(norm)]))
        return cell.translate(LATEX)

    lines = [" & ".join(map(escaped, line)) + r" \\" for line in ([each.heading for each in columns], *rows)]
    form = "".join("r" if each.number else "l" for each in columns)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
