"""Checks that a model is a function of its row: that its answer to an input depends on nothing but that input.

Votes are independent draws of the smoothed classifier only if it is. Batch statistics, active dropout and random models
break this, and a certificate from their votes is worth nothing: if a model draws one random sign a batch, both classes
have probability 1/2, yet all votes of a batch agree.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rsmooth.certificates.topclass import TopClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rsmooth.certificates.kind import Kind

    Answer = Callable[[torch.Tensor], torch.Tensor]

# Small batches in which rows are asked about again.
PIECES = 20

__all__ = ["RowCheck", "check_layers", "check_rows"]

# How far scores may move by rounding alone, as a share of how far they are apart: thousands of units in the last place
# in single precision, which other orders of summation do not reach even in deep networks.
ROUNDING = {torch.float64: 2.0**-36, torch.float32: 2.0**-10, torch.float16: 2.0**-4, torch.bfloat16: 2.0**-3}
# And as a share of the largest: what all scores have in common rounds too, by some units in the last place.
COMMON = {torch.float64: 2.0**-44, torch.float32: 2.0**-15, torch.float16: 2.0**-8, torch.bfloat16: 2.0**-5}

# The share of votes that may move in a change. Where scores tie, rounding turns up to half of them; scores and numbers
# that are observed as they are have no ties, and move little.
TIES, SMALL = 1 / 2, 1 / 16


@dataclass(frozen=True)
class RowCheck:
    """What a check of rows came to.

    Attributes
    ----------
    rows : int
        How many answers were compared.
    ties : int
        How many votes moved, all of them where the two largest scores agree to within rounding.
    """

    rows: int
    ties: int


def check_layers(model: nn.Module) -> None:
    """Refuse a model, put in evaluation mode, with layers that mix rows or are random.

    Parameters
    ----------
    model : torch.nn.Module
        The model.

    Raises
    ------
    ValueError
        If a normalisation uses the statistics of the batch, or dropout is active; the message names the layer.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.torch.rows import check_layers
    >>> check_layers(torch.nn.Sequential(torch.nn.BatchNorm1d(4, track_running_stats=False)))
    Traceback (most recent call last):
        ...
    ValueError: layer 0 of the model (BatchNorm1d) normalises by the statistics of the batch in evaluation mode, ...
    """
    for name, layer in model.named_modules():
        called = f"layer {name or '(the whole)'} of the model ({type(layer).__name__})"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):  # noqa: SLF001
            raise ValueError(
                f"{called} normalises by the statistics of the batch in evaluation mode, so that rows depend on each "
                "other; use running statistics"
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:  # noqa: SLF001
            raise ValueError(f"{called} drops at random in evaluation mode; switch it off to certify")


def check_rows(
    answer: Answer,
    observe: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    others: torch.Tensor,
    *,
    kind: Kind | None = None,
) -> RowCheck:
    """Ask a model about the same rows again: as they are, in another order, beside others, in a batch of another size.

    Parameters
    ----------
    answer : callable
        Maps a batch ``(B, *S)`` to scores (B, K) or labels (B,), or other answers a row, and may overwrite the batch.
    observe : callable
        Maps them to votes (B,), or other observations (B, …).
    rows, others : torch.Tensor
        The batch, and rows to put beside some of its own.
    kind : Kind, optional
        What the observations are of; votes unless given.

    Returns
    -------
    RowCheck
        How many votes moved by rounding.

    Raises
    ------
    ValueError
        If the model draws random numbers, or an answer moves by more than rounding, or more votes do than ties explain;
        the message says what was changed and the share of votes that moved.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.torch.rows import check_rows
    >>> rows = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    >>> check_rows(lambda x: x, lambda scores: scores.argmax(1), rows, torch.zeros(8, 2))
    RowCheck(rows=28, ties=0)
    >>> check_rows(lambda x: x - x.mean(0), lambda scores: scores.argmax(1), rows, torch.zeros(8, 2))
    Traceback (most recent call last):
        ...
    ValueError: the model's answer to a row depends on more than the row: beside other rows, ...
    """
    scores = answer(rows.clone())
    before = _generators()
    again = answer(rows.clone())
    if _generators() != before:
        raise ValueError("the model draws random numbers, so that its votes are not those of a function; switch it off")
    compared = ties = 0
    for change, kept, changed in (("asked again", slice(None), again), *_changes(answer, rows, others)):
        ties += _compare(change, scores[kept], changed, observe, TopClass() if kind is None else kind)
        compared += len(changed)
    return RowCheck(compared, ties)


def _changes(answer: Answer, rows: torch.Tensor, others: torch.Tensor) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """Yield what is changed, which rows are asked about, and the scores."""
    size = len(rows)
    if size > 1:
        order = torch.from_numpy(np.random.default_rng(0).permutation(size)).to(rows.device)
        yield "in another order", order, answer(rows[order])
        mixed = rows.clone()
        mixed[1::2] = others[1::2]
        yield "beside other rows", slice(None, None, 2), answer(mixed)[::2]
    # A model that draws a sign from what its batch holds agrees with itself half of the time, so it is asked often.
    pieces = zip(rows.chunk(PIECES), others.chunk(PIECES), strict=True)
    few = [answer(torch.cat([mine, beside]))[: len(mine)] for mine, beside in pieces]
    yield "in batches of another size", slice(None), torch.cat(few)


def _compare(change: str, scores: torch.Tensor, changed: torch.Tensor, observe: Any, kind: Kind) -> int:
    """Return how many votes differ by rounding; refuse what differs by more."""
    finite, precision = scores.nan_to_num(0, 0, 0).double(), _precision(scores)
    # Of a row's scores, but of numbers, one a row, those of all rows.
    apart = (finite.amax(dim=1) - finite.amin(dim=1)).amax() if scores.ndim > 1 else finite.amax() - finite.amin()
    # Integers do not round; behind labels there may be scores that tie, but nobody can tell.
    allowed = ROUNDING.get(precision, 0.0) * apart / 2 + COMMON.get(precision, 0.0) * finite.abs().amax()
    before, after = observe(scores), observe(changed)
    moved = (before != after).reshape(len(scores), -1).any(dim=1)
    beyond = ((scores.double() - changed.double()).abs() > allowed).reshape(len(scores), -1).any(dim=1)
    if beyond.any():
        votes, rows, count = int((moved & beyond).sum()), int(beyond.sum()), len(scores)
        what = "scores" if scores.is_floating_point() else "labels"
        raise ValueError(
            f"the model's answer to a row depends on more than the row: {change}, {votes} of {count} votes "
            f"({votes / count:.1%}) and the {what} of {rows} rows moved by more than rounding; votes of such a model "
            "certify nothing"
        )
    share = float(kind.apart(before, after).mean())
    if share > (TIES if kind.stepwise else SMALL):
        raise ValueError(
            f"the model's answer to a row depends on more than the row: {change}, {share:.1%} of the votes moved, "
            "though the scores moved by no more than rounding; votes of such a model certify nothing"
        )
    return int(moved.sum())


def _precision(scores: torch.Tensor) -> torch.dtype:
    """Return the type whose rounding the scores carry."""
    tensor_cores = scores.device.type == "cuda" and scores.dtype == torch.float32
    # TF32, which convolutions use unless told otherwise, has the significant bits of float16.
    return torch.float16 if tensor_cores and torch.backends.cudnn.allow_tf32 else scores.dtype


def _generators() -> tuple[Any, ...]:
    """Return the state of the generators that a model without one of its own draws from."""
    kind, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = [state.tolist() for state in torch.cuda.get_rng_state_all()] if started else []
    return kind, np.asarray(words).tolist(), rest, random.getstate(), torch.get_rng_state().tolist(), cuda
