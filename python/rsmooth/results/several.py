"""Several results side by side: from whatever sources, in one norm, under one bound where votes allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rsmooth._norms import norm_text
from rsmooth._settings import given
from rsmooth.results.read import read_result
from rsmooth.results.result import LostVotesError
from rsmooth.rule import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rsmooth.certificates.kind import Kind
    from rsmooth.results.result import Result

__all__ = ["read_results", "read_sources"]


def read_results(
    sources: Sequence[Path],
    *,
    names: Sequence[str] = (),
    kind: Kind | None = None,
    norm: float | None = None,
    bounds: Sequence[str] = (),
    alpha: float | None = None,
    runner_up: str | None = None,
    mechanism: str | None = None,
    sigmas: Sequence[float] = (),
    dim: int | None = None,
) -> list[Result]:
    """Read results and bring them into one kind and norm and under the bounds and the level that are asked for.

    Parameters
    ----------
    sources : sequence of pathlib.Path
        As for `rsmooth.results.read.read_result`.
    names : sequence of str
        What tables and figures call them, one for each; those of their folders and files, if empty.
    kind : Kind, optional
        What to certify by the same counts, as for `rsmooth.results.result.Result.under`; their own, if left out.
    norm : float, optional
        1, 2 or ``math.inf``; their own, if left out, which must then be one.
    bounds : sequence of str
        Each result is given under those of them that hold for its mechanism; under its own, if empty. Where its votes
        are lost and nothing takes their place, it stays as it is, and its `notes` say so.
    alpha, runner_up : optional
        Likewise, as for `rsmooth.certify_counts`.
    mechanism, dim
        As for `read_result`.
    sigmas : sequence of float
        Of the sources that do not tell their noise: one for all of them, or one for each.

    Returns
    -------
    list of Result
        In the order of the sources, and of the bounds for each.

    Raises
    ------
    ValueError
        If a source cannot be read, an argument is not allowed, or a result cannot be had of the kind or in the norm.
    OSError
        If a source cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.results.several import read_results
    >>> read_results([Path("run"), Path("cohen/sigma_0.25")], bounds=["neyman-pearson"])  # doctest: +SKIP
    """
    if wrong := [bound for bound in bounds if bound not in BOUNDS]:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {', '.join(wrong)}")
    found = read_sources(sources, names=names, mechanism=mechanism, sigmas=sigmas, dim=dim)
    if norm is None and len(norms := {each.norm for each in found}) > 1:
        listed = ", ".join(sorted(norm_text(each) for each in norms))
        raise ValueError(f"norm must be given where results are in several norms, {listed}: --norm 1, 2 or inf")
    needed, wished = given(kind=kind, norm=norm), given(alpha=alpha, runner_up=runner_up)
    return [again for each in found for again in _under(each, bounds, needed, wished)]


def read_sources(
    sources: Sequence[Path],
    *,
    names: Sequence[str] = (),
    mechanism: str | None = None,
    sigmas: Sequence[float] = (),
    dim: int | None = None,
) -> list[Result]:
    """Read results as they are, in whatever norms and under whatever bounds.

    Parameters
    ----------
    sources, names, mechanism, sigmas, dim
        As for `read_results`.

    Returns
    -------
    list of Result
        In the order of the sources, no two of one name unless `names` has it so.

    Raises
    ------
    ValueError, OSError
        As for `read_results`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.results.several import read_sources
    >>> read_sources([Path("run"), Path("cohen/sigma_0.25")], sigmas=[0.25])  # doctest: +SKIP
    """
    if names and len(names) != len(sources):
        raise ValueError(f"label must be given for each of {len(sources)} results or for none, got {len(names)}")
    found = [read_result(source, mechanism=mechanism, dim=dim) for source in sources]
    found = _with_sigmas(found, sources, sigmas, dim)
    return [replace(each, name=name) for each, name in zip(found, names or _distinct(found), strict=True)]


def _with_sigmas(
    found: list[Result], sources: Sequence[Path], sigmas: Sequence[float], dim: int | None
) -> list[Result]:
    """Tell results of the field their sigma."""
    if not sigmas:
        return found
    unknown = [number for number, each in enumerate(found) if each.certificates is None and each.mechanism is None]
    if len(sigmas) not in (1, len(unknown)) or not unknown:
        raise ValueError(
            f"sigma must be given once, or once for each of the {len(unknown)} results that do not tell it, got "
            f"{len(sigmas)}"
        )
    given = list(sigmas) * (len(unknown) // len(sigmas))
    told = {
        number: read_result(sources[number], sigma=sigma, dim=dim) for number, sigma in zip(unknown, given, strict=True)
    }
    return [told.get(number, each) for number, each in enumerate(found)]


def _distinct(found: list[Result]) -> list[str]:
    """Return the results' names, with as much of their paths as it takes to tell them apart."""
    paths = [None if each.source is None else each.source.resolve() for each in found]
    # What differs in its ending alone, as a run and the file of its radii, is told apart by that.
    named = {path: each.name for each, path in zip(found, paths, strict=True) if path is not None}
    alike = Counter((path.parent, name) for path, name in named.items())
    names = [
        each.name if path is None or alike[path.parent, each.name] == 1 else path.name
        for each, path in zip(found, paths, strict=True)
    ]
    parents = [[] if path is None else list(path.parent.parts[1:]) for path in paths]
    while again := [i for i, name in enumerate(names) if names.count(name) > 1 and parents[i]]:
        for i in again:
            names[i] = f"{parents[i].pop()}/{names[i]}"
    return names


def _under(result: Result, bounds: Sequence[str], needed: dict[str, Any], wished: dict[str, Any]) -> list[Result]:
    """Return a result under those of the bounds that hold for its mechanism, and as else is asked for."""
    holding: Sequence[str] = BOUNDS
    if result.mechanism is not None:
        norm = needed.get("norm", result.norm)
        holding = (BOUNDS[0], *result.mechanism.holding(norm, result.dim or 1, grid=result.grid))
    if bounds and not any(bound in holding for bound in bounds):
        raise ValueError(
            f"bound must be one of {', '.join(holding)} for the {result.noise} mechanism of {result.origin}, got "
            f"{', '.join(bounds)}"
        )
    again: list[Result] = []
    notes: list[str] = []
    for bound in [bound for bound in bounds if bound in holding] if bounds else [None]:
        # Without votes, what cannot be had does not keep the rest from it.
        asked: dict[str, Any] = {"bound": bound, **wished}
        for without in ((), ("alpha",), ("runner_up",), ("alpha", "runner_up")):
            try:
                kept = {name: value for name, value in asked.items() if name not in without}
                again.append(result.under(**needed, **kept))
                break
            except LostVotesError as error:
                notes.append(str(error))
    told = tuple(dict.fromkeys(notes))
    if not again:
        as_is = result.under(**needed)
        return [replace(as_is, notes=(*as_is.notes, *told, f"it stays as it is, {as_is.bound}"))]
    return [replace(each, notes=(*each.notes, *told)) for each in again]
