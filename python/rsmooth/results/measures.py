"""What results come to in numbers: certified accuracy at radii, average radius, draws; and two results compared."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._norms import norm_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.results.result import Result

__all__ = ["compare", "mcnemar", "measures", "radii_named", "usual_radii"]

QUANTILES = (0.25, 0.5, 0.75)
"""Of the distribution of p1 that `measures` gives."""

# Of a table that says nothing of its radii.
COLUMNS = 8


def radii_named(text: str) -> list[float]:
    """Return the radii that a text says: ``0:2:0.25`` (from, to and with, step) or ``0,0.25,0.5``.

    Raises
    ------
    ValueError
        If it says none, or one below 0.

    Examples
    --------
    >>> from rsmooth.results.measures import radii_named
    >>> radii_named("0:0.3:0.1"), radii_named("0.5,1")
    ([0.0, 0.1, 0.2, 0.3], [0.5, 1.0])
    """
    allowed = f"radii must be FROM:TO:STEP, as 0:2:0.25, or a list, as 0,0.25,0.5, of at least 0, got {text!r}"
    try:
        # Decimals, for which 0.3 is a whole number of steps of 0.1.
        words = [Decimal(word.strip()) for word in text.split(":" if ":" in text else ",")]
    except InvalidOperation as error:
        raise ValueError(allowed) from error
    if not all(word.is_finite() and word >= 0 for word in words):
        raise ValueError(allowed)
    if ":" in text:
        if len(words) != 3 or words[2] == 0 or words[0] > words[1]:  # noqa: PLR2004
            raise ValueError(allowed)
        start, stop, step = words
        number = int((stop - start) / step)
        if number >= 1000:  # noqa: PLR2004
            raise ValueError(f"radii must be at most 1000, got {number + 1} in {text!r}")
        words = [start + i * step for i in range(number + 1)]
    return [float(word) for word in words]


def usual_radii(results: Sequence[Result]) -> list[float]:
    """Return radii for a table of results: 0 and the multiples of a round number, up to the largest radius."""
    largest = max(float(each.radius.max()) for each in results)
    if largest == 0:
        return [0.0]
    power = math.floor(math.log10(largest)) - 1
    steps = (Decimal(digits).scaleb(power) for digits in ("1", "2", "2.5", "5", "10", "20", "25"))
    step = next(each for each in steps if largest <= COLUMNS * float(each))
    return [float(i * step) for i in range(int(largest / float(step)) + 1)]


def measures(result: Result, radii: ArrayLike | None = None) -> dict[str, Any]:
    """Return what a result comes to, as JSON can hold it.

    Parameters
    ----------
    result : Result
        Of some inputs.
    radii : array_like of float, shape (R,), optional
        Where the certified accuracy is wanted; all radii at which it changes, if left out.

    Returns
    -------
    dict
        Its settings, None where they are not told, and over all its inputs, abstentions counted as errors: ``accuracy``
        (of the vote), ``average_certified_radius``, ``radius_at_half`` (at a certified accuracy of 50%),
        ``mean_draws``, ``p1`` (its quartiles, by their level), and at each of ``radii`` the ``certified_accuracy`` (the
        share that is certified and right with a radius *above* it) with the ends of its 95% Clopper-Pearson interval,
        ``lower`` and ``upper``; of maps it is the share of pixels, None being their intervals' ends.

    Raises
    ------
    ValueError, TypeError
        If a radius is not allowed.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.results.measures import measures
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10], [600, 400], [500, 500]], Gaussian(0.5), norm=2, dim=64, selection=[0] * 3)
    >>> numbers = measures(Result.of("mine", found, [0, 0, 1]), [0.0, 0.5])
    >>> numbers["certified_accuracy"], numbers["abstained"], numbers["mean_draws"]
    ([0.6666666666666666, 0.3333333333333333], 1, 1000.0)
    """
    certified = result.certified
    at = certified.steps() if radii is None else np.asarray(radii, np.float64)
    # The pixels of an image depend on each other.
    lower, upper = certified.interval(at) if result.answer != "map" else (np.full(at.shape, np.nan),) * 2
    draws, mechanism = result.draws, result.mechanism
    return {
        "name": result.name,
        "source": None if result.source is None else str(result.source),
        "kind": result.kind,
        "mechanism": result.noise.partition(",")[0] or None if mechanism is None else mechanism.name,
        "parameter": None if mechanism is None else mechanism.parameter,
        "norm": norm_text(result.norm),
        "dim": result.dim,
        "bound": result.bound,
        "runner_up": result.runner_up,
        "interval": result.interval,
        "alpha": result.alpha,
        "grid": result.grid,
        "examples": len(result),
        "abstained": result.abstained,
        "accuracy": float(certified.accuracy(0.0)),
        "average_certified_radius": certified.mean(),
        "radius_at_half": certified.radius_at(0.5),
        "mean_draws": None if draws is None else float(draws.mean()),
        "p1": None if result.p1 is None else {str(level): float(np.quantile(result.p1, level)) for level in QUANTILES},
        "radii": at.tolist(),
        "certified_accuracy": certified.accuracy(at).tolist(),
        "lower": _numbers(lower),
        "upper": _numbers(upper),
        "notes": list(result.notes),
    }


def compare(one: Result, other: Result, radii: ArrayLike) -> dict[str, Any]:
    """Compare two results on the images that both have.

    Parameters
    ----------
    one, other : Result
        Of inputs of one data set, in one norm.
    radii : array_like of float, shape (R,)
        Where their certified accuracy is compared.

    Returns
    -------
    dict
        ``one`` and ``other``, their names; ``norm``; ``examples``, how many inputs both have; ``radii``; how many of
        them are certified and right above each radius by ``both``, ``only_one``, ``only_other`` and ``neither``; their
        ``difference``, in certified accuracy, of one over the other; and ``p_value``, by `mcnemar`, for each radius by
        itself.

    Raises
    ------
    ValueError
        If the results are of several kinds, in several norms, have no input in common, or are not of the same inputs.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.results.measures import compare
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10], [600, 400]], Gaussian(0.5), norm=2, dim=64, selection=[0] * 2)
    >>> one, other = Result.of("one", found, [0, 0]), Result.of("other", found.under(bound="renyi"), [0, 0])
    >>> numbers = compare(one, other, [0.0, 0.8])
    >>> numbers["both"], numbers["only_one"], numbers["p_value"]
    ([2, 0], [0, 1], [1.0, 1.0])
    """
    if one.kind != other.kind:
        raise ValueError(f"results must be of one kind of certificate, got {one.kind} and {other.kind}")
    if one.norm != other.norm:
        raise ValueError(f"results must be in one norm, got {norm_text(one.norm)} and {norm_text(other.norm)}")
    _, here, there = np.intersect1d(one.index, other.index, return_indices=True)
    if not len(here):
        raise ValueError(f"{one.origin} and {other.origin} have no input in common")
    for name in ("labels", "images"):
        ours, others = getattr(one, name), getattr(other, name)
        if ours is not None and others is not None and (wrong := ours[here] != others[there]).any():
            row = int(wrong.argmax())
            raise ValueError(
                f"results must be of the same inputs: {name} of input {one.index[here[row]]} are {ours[here[row]]} in "
                f"{one.origin}, {others[there[row]]} in {other.origin}"
            )
    at = np.asarray(radii, np.float64)
    mine, theirs = _above(one, here, at), _above(other, there, at)
    only_one, only_other = (mine & ~theirs).sum(axis=1), (theirs & ~mine).sum(axis=1)
    return {
        "one": one.name,
        "other": other.name,
        "norm": norm_text(one.norm),
        "examples": len(here),
        "radii": at.tolist(),
        "both": (mine & theirs).sum(axis=1).tolist(),
        "only_one": only_one.tolist(),
        "only_other": only_other.tolist(),
        "neither": (~mine & ~theirs).sum(axis=1).tolist(),
        "difference": ((only_one - only_other) / len(here)).tolist(),
        "p_value": [mcnemar(int(b), int(c)) for b, c in zip(only_one, only_other, strict=True)],
    }


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    If neither of two is better, each input that they differ on is as likely to favour one as the other.

    Parameters
    ----------
    only_one, only_other : int
        On how many inputs one alone is right, and the other alone.

    Returns
    -------
    float
        The probability, under that hypothesis, of a split at least as uneven; 1 where there is none.

    References
    ----------
    .. [1] McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947.

    Examples
    --------
    >>> from rsmooth.results.measures import mcnemar
    >>> mcnemar(1, 9)  # 2 (1 + 10) / 2**10
    0.021484375
    """
    number, least = only_one + only_other, min(only_one, only_other)
    term = total = 1
    for i in range(least):
        term = term * (number - i) // (i + 1)
        total += term
    # The quotient of whole numbers, however large, is rounded once.
    return float(min(1.0, 2 * total / 2**number))


def _above(result: Result, rows: NDArray[np.intp], radii: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows are certified and right above each radius."""
    return np.asarray(result.right[rows] & (result.radius[rows] > radii[:, None]))


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
