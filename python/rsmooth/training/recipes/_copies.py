r"""Logits of noisy copies: their layout, their checks and their averages.

`perturb` with ``copies=m`` gives noisy copies ``(N, m, *S)``; a network takes them flattened, ``(N m, *S)``, and
returns logits (N m, K). So an example's copies are neighbours: row i m + j is copy j of example i. Every loss of this
package takes logits in this layout, with labels (N,).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from rsmooth._check import integer

if TYPE_CHECKING:
    from torch import Tensor

    from rsmooth.training.step import Step


def log_probabilities(
    logits: Tensor, labels: Tensor, copies: int, *, temperature: float = 1.0, name: str = "logits"
) -> Tensor:
    """Return ln softmax(temperature × logits) as (N, m, K), checked as `by_example` does."""
    return torch.log_softmax(temperature * by_example(logits, labels, copies, name=name), dim=2)


def by_example(logits: Tensor, labels: Tensor, copies: int, *, name: str = "logits") -> Tensor:
    """Return logits (N m, K) as (N, m, K), in at least single precision.

    Raises
    ------
    TypeError
        If `copies` is no integer, `logits` (called `name`) not of a floating-point type or `labels` not integers.
    ValueError
        If the shapes do not go together.
    """
    integer("copies", copies, 1, None)
    if not logits.is_floating_point():
        raise TypeError(f"{name} must be of a floating-point type, got {logits.dtype}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have one axis, the examples, got shape {tuple(labels.shape)}")
    rows = len(labels) * copies
    if logits.ndim != 2 or len(logits) != rows or not logits.numel():  # noqa: PLR2004
        raise ValueError(
            f"{name} must have shape ({rows}, K), {copies} copies of {len(labels)} examples by K classes, "
            f"got {tuple(logits.shape)}"
        )
    # Half precision has no room for small probabilities.
    wide = logits.float() if logits.element_size() < 4 else logits  # noqa: PLR2004
    return wide.reshape(len(labels), copies, -1)


def logits_of(step: Step, copies: int) -> Tensor:
    """Return the logits of a training step's noisy copies, (N m, K)."""
    return step.scores(step.noisy(copies)).flatten(0, 1)


def log_mean(log_p: Tensor) -> Tensor:
    """Return ln p̄, p̄ the mean over copies (axis 1) of probabilities of which `log_p` are the logarithms.

    Its gradient is finite at probabilities of 0 too.
    """
    return torch.logsumexp(log_p, dim=1) - math.log(log_p.shape[1])


def of_labels(log_p: Tensor, labels: Tensor) -> Tensor:
    """Return each example's entry of its label, (N,) of (N, K) or (N, m) of (N, m, K)."""
    index = labels.long().reshape(-1, *(1,) * (log_p.ndim - 1))
    return log_p.gather(-1, index.expand(*log_p.shape[:-1], 1)).squeeze(-1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p‖q) along the last axis from logarithms, which may be so low that p is 0 in floating point."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def not_negative(name: str, value: Any) -> float:
    """Return `value` as a float that is finite and at least 0."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {number}")
    return number
