"""What a report's page is given: the certificates of results under every rule, as JSON that can stand in a page."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._looks import COLOURS, LABELS
from rsmooth._norms import SYMBOLS, TEXTS, norm_text
from rsmooth.certificates import KINDS, kind_type
from rsmooth.certificates.votes import Votes
from rsmooth.confidence import clopper_pearson
from rsmooth.report.facts import facts_of, notes_of
from rsmooth.rule import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rsmooth.confidence import Side
    from rsmooth.results.result import Result

__all__ = ["LEVELS", "Pictures", "Rules", "json_text", "payload_of", "refuse_others"]

# Levels that a page offers beside each result's own.
LEVELS = (0.01, 0.001, 0.0001)

# Classes of an example whose votes are told one by one: those with most.
MOST_VOTED = 5


@dataclass(frozen=True)
class Rules:
    """The rules that a page lets its reader choose from, as far as they hold for a result.

    Attributes
    ----------
    norms : sequence of float
        1, 2, ``math.inf``.
    bounds : sequence of str
        As for `rsmooth.certify_counts`.
    alphas : sequence of float or None
        Failure probabilities; None is each result's own and `LEVELS`.

    Raises
    ------
    ValueError
        If one of them is not allowed.
    """

    norms: Sequence[float] = (1.0, 2.0, np.inf)
    bounds: Sequence[str] = BOUNDS
    alphas: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for norm in self.norms:
            norm_text(norm)
        if wrong := [bound for bound in self.bounds if bound not in BOUNDS]:
            raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {', '.join(wrong)}")
        if outside := [alpha for alpha in self.alphas or () if not 0 < alpha < 1]:
            raise ValueError(f"alpha must be above 0 and below 1, got {outside[0]}")


@dataclass(frozen=True)
class Pictures:
    """Pictures of some examples of a result.

    Attributes
    ----------
    note : str
        What the page says of them: which there are, or that there are none.
    rows : tuple of int
        Which examples they are of, by place in the result.
    width, height : int
        Of each, in pixels.
    columns : int
        How many of them stand beside each other in the sheets.
    clean, noisy : bytes or None
        Sheets of all of them as PNG: as they are, and with noise; None where there are none.
    classes : tuple of str or None
        What the data call the classes.
    error : str
        Why there are none, for whoever writes the page: with folders of the machine, which its readers need not know.
    """

    note: str
    rows: tuple[int, ...] = ()
    width: int = 0
    height: int = 0
    columns: int = 1
    clean: bytes | None = field(default=None, repr=False)
    noisy: bytes | None = field(default=None, repr=False)
    classes: tuple[str, ...] | None = None
    error: str = ""


def payload_of(
    results: Sequence[Result], pictures: Sequence[Pictures], *, title: str, rules: Rules | None = None
) -> dict[str, Any]:
    """Return what the page of some results is given.

    Each result is certified by the core under each rule that holds for it; the page only looks numbers up, counts and
    averages.

    Parameters
    ----------
    results : sequence of Result
        At least one.
    pictures : sequence of Pictures
        Those of each.
    title : str
        What stands above.
    rules : Rules, optional
        The rules to choose from.

    Returns
    -------
    dict
        For `json_text`.

    Raises
    ------
    ValueError
        If there are no results, or no rule holds for one.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.report.payload import Pictures, payload_of
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10], [600, 400]], Gaussian(0.5), norm=2, dim=64, selection=[0, 0])
    >>> payload = payload_of([Result.of("mine", found, [0, 0])], [Pictures("no pictures")], title="Two inputs")
    >>> payload["start"], len(payload["runs"][0]["rules"])
    ({'bound': 'tightest', 'norm': '2', 'alpha': 0.001}, 45)
    """
    refuse_others(results)
    asked = rules or Rules()
    first = results[0]
    runs = [_run(*each, asked) for each in zip(results, pictures, strict=True)]
    offered = [rule for run in runs for rule in run["rules"]]
    used = {rule["bound"] for rule in offered}
    # What the first result was made under, where that is offered.
    own = {"bound": first.bound, "norm": norm_text(first.norm), "alpha": first.alpha}
    start = next((rule for rule in offered if all(rule[name] == value for name, value in own.items())), offered[0])
    return {
        "title": title,
        "note": _note(results, asked),
        "bounds": {name: label for name, label in LABELS.items() if name in used},
        "norms": {TEXTS[norm]: symbol for norm, symbol in SYMBOLS.items()},
        "colours": COLOURS,
        "start": {name: start[name] for name in own},
        "intervals": {size: _intervals(size) for size in {len(result) for result in results}},
        "runs": runs,
    }


def refuse_others(results: Sequence[Result]) -> None:
    """Refuse results that there are no pages of.

    Raises
    ------
    ValueError
        If there are none, or one is of maps or numbers.
    """
    if not results:
        raise ValueError("results must be one at least, got none")
    for result in results:
        if result.answer != "class":
            raise ValueError(f"results must be of classes for a report, got {result.name} of kind {result.kind}")


def _run(result: Result, pictures: Pictures, asked: Rules) -> dict[str, Any]:
    made = list(_certified(result, asked))
    if not made:
        raise ValueError(f"{result.name} has no certificates under any of the bounds, norms and alphas asked for")
    table = _Columns()
    rules = [
        {
            "bound": bound,
            "norm": norm_text(found.norm),
            "alpha": found.alpha,
            "largest": float(found.radius.max()),
            "radius": table.put(found.radius),
        }
        for bound, found in made
    ]
    levels = {
        found.alpha: {"alpha": found.alpha, "p1": table.put(found.p1), "p2": table.put(found.p2)}
        for _, found in made
        if found.p1 is not None and found.p2 is not None
    }
    place, columns = table.packed()
    facts, checking, command = facts_of(result)
    return {
        "name": result.name,
        "noise": result.noise,
        "kind": result.kind,
        "index": _packed(result.index),
        "label": _packed(result.labels),
        # The same under every rule that certifies one.
        "selected": _packed(np.max([found.prediction for _, found in made], axis=0)),
        "classes": pictures.classes,
        "place": place,
        "columns": columns,
        "rules": rules,
        "levels": list(levels.values()),
        "votes": _votes(result),
        "pictures": _sheets(pictures),
        "facts": facts,
        "checking": checking,
        "command": command,
    }


class _Columns:
    """Numbers of all examples, told as briefly as it goes: each column once, and each row of all columns once.

    Examples with the same votes have the same numbers under every rule, and many rules give the same radii: the
    Gaussian's in l1 are those in l2, and the tightest bound's those of the bound that is the tightest.
    """

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.columns: list[NDArray[np.float64]] = []

    def put(self, column: NDArray[np.float64]) -> int:
        """Take a column and return its number."""
        number = self.numbers.setdefault(column.tobytes(), len(self.columns))
        if number == len(self.columns):
            self.columns.append(column)
        return number

    def packed(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return the place of each example among the rows, and the columns of these."""
        rows, place = np.unique(np.stack(self.columns, axis=1), axis=0, return_inverse=True)
        return _packed(place), [_packed(column) for column in rows.T]


def _certified(result: Result, asked: Rules) -> Iterator[tuple[str, Result]]:
    """Iterate over the rules that hold for a result, by name of the bound asked for, and what they certify."""
    levels: Sequence[float | None] = [result.alpha]
    if result.certificates is not None and result.alpha:
        levels = asked.alphas or sorted({result.certificates.alpha, *LEVELS}, reverse=True)
    at: list[Result] = []
    # Not a level that the kind of certificate has not; each once, for what takes the time may depend on that alone.
    for alpha in levels:
        with suppress(ValueError):
            at.append(result.under(alpha=alpha))
    for norm, bound, found in product(asked.norms, asked.bounds, at):
        # A bound that does not hold for the mechanism or the kind of certificate, or what would take votes that are
        # lost.
        with suppress(ValueError):
            yield bound, found.under(norm=norm, bound=bound)


def _votes(result: Result) -> dict[str, Any] | None:
    """Return the classes with most votes of each example, and how many votes there are; None where none are known."""
    name = result.kind.split()[0]
    if result.certificates is None or name not in KINDS or not issubclass(kind_type(name), Votes):
        return None
    counts = np.asarray(result.certificates.counts)
    classes = np.argsort(-counts.astype(np.int64), axis=1, kind="stable")[:, :MOST_VOTED]
    return {
        "width": classes.shape[1],
        "classes": _packed(classes),
        "counts": _packed(np.take_along_axis(counts, classes, axis=1)),
        "drawn": _packed(counts.sum(axis=1)),
    }


def _sheets(pictures: Pictures) -> dict[str, Any]:
    return {
        "note": pictures.note,
        "rows": _packed(np.array(pictures.rows, np.int64)),
        **{name: getattr(pictures, name) for name in ("width", "height", "columns")},
        **{
            name: None if sheet is None else f"data:image/png;base64,{base64.b64encode(sheet).decode()}"
            for name, sheet in (("clean", pictures.clean), ("noisy", pictures.noisy))
        },
    }


def _intervals(size: int) -> dict[str, Any]:
    """Return the 95% interval of the certified accuracy for each number of examples that are certified and right."""
    held = np.arange(size + 1)
    sides: tuple[Side, ...] = ("lower", "upper")
    return {side: _packed(clopper_pearson(held, size, 0.025, side=side)) for side in sides}


def _note(results: Sequence[Result], asked: Rules) -> str:
    lost = [result.name for result in results if result.certificates is None]
    levels = "each run's own and " if asked.alphas is None else ""
    alphas = ", ".join(f"{alpha:g}" for alpha in asked.alphas or LEVELS)
    text = (
        "Abstentions count as errors. Shaded: 95% Clopper-Pearson intervals, the examples taken for a random sample. "
        "Every radius here was computed by rsmooth's core when the page was made, under each bound that holds, "
        f"for α of {levels}{alphas}; the page looks them up."
    )
    if lost:
        text += f" The votes behind {', '.join(lost)} are lost: only what their radii tell can be shown."
    for result in results:
        text += "".join(f" {result.name}: {note}." for note in notes_of(result))
    return text


def _packed(values: NDArray[Any]) -> dict[str, str]:
    """Return numbers as the page reads them: base64 of int32, where all are integers that fit, or else of float64."""
    flat = np.asarray(values).ravel()
    whole = flat.dtype.kind in "iu" and (not flat.size or -(2**31) <= flat.min() <= flat.max() < 2**31)
    kind, dtype = ("i4", "<i4") if whole else ("f8", "<f8")
    return {"kind": kind, "base64": base64.b64encode(flat.astype(dtype).tobytes()).decode()}


def json_text(value: Any) -> str:
    r"""Return JSON that can stand in an element ``<script>`` of a page, whatever strangers called their files.

    Parameters
    ----------
    value : Any
        What JSON can hold: no NaN and no infinity.

    Returns
    -------
    str
        Without ``<``, ``>`` and ``&``, which are written as escapes.

    Raises
    ------
    ValueError
        If a number is not finite.

    Examples
    --------
    >>> from rsmooth.report.payload import json_text
    >>> json_text({"name": "</script><img>"})
    '{"name":"\\u003c/script\\u003e\\u003cimg\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
