"""SmoothMix: mix examples with what lies far along the attack on them (Jeong et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from rsmooth._check import integer, positive
from rsmooth._settings import check_fields, setting
from rsmooth._streams import child, sequence_of
from rsmooth.training.recipes._copies import (
    divergence,
    log_mean,
    log_probabilities,
    logits_of,
    not_negative,
    of_labels,
)
from rsmooth.training.recipes.smoothadv import evaluating, inside, per_example, smoothed_gradient
from rsmooth.training.settings import warmed_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["SmoothMix", "adversary", "mixed", "smoothmix"]

# The stream of the mixing ratios: the last word of its spawn key, behind that of the noise.
RATIOS = 0


def smoothmix(
    logits: Tensor, mixed_logits: Tensor, labels: Tensor, ratios: Tensor, *, copies: int, weight: float = 5.0
) -> Tensor:
    r"""Return the cross-entropy of all noisy copies plus that of mixed examples with softened labels.

    .. math:: \frac{1}{m} \sum_j -\ln p_j(y)
              + \eta\, [\bar p \text{ is largest at } y]\, \frac{1}{m} \sum_j \mathrm{KL}(y' \| p'_j), \qquad
              y' = (1 - \lambda)\, \bar p + \lambda / K

    in the mean over examples, with p_j = softmax f(x + z_j), p̄ their mean and p'_j = softmax f(x' + z_j) at the mixed
    example x' = (1 - λ) x + λ x̃. The gradient goes through y' too. With weight 0 it is `noisy`.

    Published: two copies; x̃ from `adversary` by 4 steps of 0.5, 1 and 2 for σ = 0.25, 0.5 and 1; λ uniform in [0, ½);
    weight 5, warmed up over 10 epochs.

    Parameters
    ----------
    logits : torch.Tensor
        f(x + z), (N × copies, K), an example's copies next to each other, as `perturb` lays them out.
    mixed_logits : torch.Tensor
        f(x' + z), likewise, with the same noise.
    labels : torch.Tensor
        Classes, (N,) integers.
    ratios : torch.Tensor
        λ, (N,), in [0, 1].
    copies : int
        Noisy copies of each example.
    weight : float
        η, at least 0.

    Returns
    -------
    torch.Tensor
        The loss, a scalar.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If a value is not allowed or the shapes do not go together; the message names the argument.

    References
    ----------
    Jeong, Park, Kim, Lee, Kim, Shin. "SmoothMix: Training Confidence-calibrated Smoothed Classifiers for Certified
    Robustness", NeurIPS 2021, Section 3.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.smoothmix import smoothmix
    >>> even, labels = torch.zeros(4, 4), torch.tensor([0, 3])
    >>> smoothmix(even, even, labels, torch.tensor([0.0, 0.4]), copies=2).exp()
    tensor(4.)
    """
    weight = not_negative("weight", weight)
    log_p = log_probabilities(logits, labels, copies)
    log_mixed = log_probabilities(mixed_logits, labels, copies, name="mixed_logits")
    if log_p.shape != log_mixed.shape:
        raise ValueError(
            f"logits and mixed_logits must have as many classes, got {logits.shape[1]} and {mixed_logits.shape[1]}"
        )
    if ratios.shape != labels.shape:
        raise ValueError(f"ratios must have shape {tuple(labels.shape)}, got {tuple(ratios.shape)}")
    average = log_mean(log_p)
    share = ratios.to(average.dtype).unsqueeze(1)
    target = torch.logaddexp(torch.log1p(-share) + average, share.log() - math.log(average.shape[1]))
    mixture = divergence(target.unsqueeze(1), log_mixed).mean(dim=1)
    right = average.detach().argmax(dim=1) == labels
    return weight * torch.where(right, mixture, 0.0).mean() - of_labels(log_p, labels).mean()


def adversary(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    noises: Tensor,
    *,
    step: float,
    steps: int = 4,
    domain: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    r"""Return x̃: inputs some way along the attack on the smoothed classifier, in no ball.

    .. math:: x \leftarrow x + \alpha\, g / (\|g\|_2 + 10^{-8}), \qquad
              g = \nabla_x\bigl(-\ln \tfrac{1}{m} \textstyle\sum_j \mathrm{softmax}\,f(x + z_j)(y)\bigr)

    `steps` times, each followed by the projection on the domain. A model that is a torch module is in evaluation mode
    meanwhile; its parameters' gradients are not touched.

    Published: 4 steps of 0.5, 1 and 2 for σ = 0.25, 0.5 and 1.

    Parameters
    ----------
    model : callable
        Maps a batch ``(B, *S)`` to logits (B, K), differentiably.
    x : torch.Tensor
        Examples, ``(N, *S)``, single or double precision.
    labels : torch.Tensor
        Classes, (N,) integers.
    noises : torch.Tensor
        z, ``(N, m, *S)``.
    step : float
        α, a step's ℓ2 length, above 0, in the unit of `x`.
    steps : int
        How many, at least 1.
    domain : (float, float) or None
        The least and the largest value of an input; None if there is none.

    Returns
    -------
    torch.Tensor
        x̃, ``(N, *S)``.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If a value is not allowed or the shapes do not go together; the message names the argument.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.smoothmix import adversary
    >>> x = torch.tensor([[0.75, 0.5]])
    >>> adversary(lambda x: x, x, torch.tensor([0]), torch.zeros(1, 2, 2), step=0.25, steps=4)
    tensor([[0.0429, 1.0000]])
    """
    step, steps = positive("step", step), integer("steps", steps, 1, None)
    low, high = inside(x, noises, domain)
    far = x.detach()
    with evaluating(model):
        for _ in range(steps):
            gradient = smoothed_gradient(model, far, labels, noises)
            length = per_example(gradient.flatten(1).norm(dim=1), x)
            far = (far + step * gradient / (length + 1e-8)).clamp(low, high)
    return far


def mixed(x: Tensor, far: Tensor, ratios: Tensor) -> Tensor:
    r"""Return x' = (1 - λ) x + λ x̃ for each example.

    Parameters
    ----------
    x, far : torch.Tensor
        x and x̃, ``(N, *S)``.
    ratios : torch.Tensor
        λ, (N,).

    Returns
    -------
    torch.Tensor
        x', ``(N, *S)``.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.smoothmix import mixed
    >>> mixed(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0.0, 0.25]))
    tensor([[0.0000, 0.0000, 0.0000],
            [0.2500, 0.2500, 0.2500]])
    """
    return torch.lerp(x, far, per_example(ratios.to(x.dtype), x))


@dataclass(frozen=True)
class SmoothMix:
    """The recipe of `smoothmix`.

    Examples
    --------
    >>> from rsmooth.training.recipes.smoothmix import SmoothMix
    >>> SmoothMix(step_size=0.5).weight
    5.0
    """

    name: ClassVar[str] = "smoothmix"
    copies: int = setting("Noisy copies of each image, for the attack and for the training.", default=2)
    step_size: float = setting("Length of the attack's steps, in pixels in [0, 1]: the paper's 2σ.", default=1.0)
    steps: int = setting("Steps of the attack.", default=4)
    weight: float = setting("Of the loss at mixed images.", default=5.0)
    warm_up: int = setting("Epochs in which the weight rises to its value.", default=10, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
        positive("step_size", self.step_size)
        not_negative("weight", self.weight)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        weight = warmed_up(self.weight, step.epoch, self.warm_up)
        copies, images = step.noisy(self.copies), step.images
        far = adversary(
            step.model,
            images,
            step.labels,
            copies - images.unsqueeze(1),
            step=self.step_size,
            steps=self.steps,
        )
        ratios = _ratios(step)
        shift = mixed(images, far, ratios) - images
        mixed_logits = step.scores(copies + shift.unsqueeze(1)).flatten(0, 1)
        # Last, so that the share of right predictions is that of noisy copies.
        logits = logits_of(step, self.copies)
        return smoothmix(logits, mixed_logits, step.labels, ratios, copies=self.copies, weight=weight)


def _ratios(step: Step) -> Tensor:
    """Return a number from [0, ½) for each image, drawn by the images' place in the training."""
    bits = np.random.PCG64(child(sequence_of(step.seed), RATIOS))
    bits.advance(step.first)
    return torch.from_numpy(np.random.Generator(bits).random(len(step.labels)) / 2).to(step.images)
