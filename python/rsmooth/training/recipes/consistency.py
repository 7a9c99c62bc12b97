"""Consistency regularisation: noisy copies of an example are to be classified alike (Jeong and Shin 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rsmooth._settings import check_fields, setting
from rsmooth.training.recipes._copies import (
    divergence,
    log_mean,
    log_probabilities,
    logits_of,
    not_negative,
    of_labels,
)
from rsmooth.training.recipes.smoothadv import SmoothAdv

if TYPE_CHECKING:
    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["Consistency", "SmoothAdvConsistency", "consistency"]


def consistency(
    logits: Tensor, labels: Tensor, *, copies: int, weight: float = 10.0, entropy_weight: float = 0.5
) -> Tensor:
    r"""Return the cross-entropy of all noisy copies plus what their predictions differ by.

    .. math:: \frac{1}{m} \sum_j -\ln p_j(y) + \lambda\, \frac{1}{m} \sum_j \mathrm{KL}(\bar p \| p_j)
              + \eta\, \mathrm{H}(\bar p), \qquad
              p_j = \mathrm{softmax}\, f(x + z_j), \quad \bar p = \frac{1}{m} \sum_j p_j

    in the mean over examples, H the entropy. The gradient goes through p̄ too. With both weights 0 it is `noisy`. On
    logits at the inputs of `rsmooth.training.recipes.smoothadv.attack` it is the method's combination with SmoothAdv.

    Published: two copies, entropy_weight 0.5, weight 20 for σ = 0.25 and 10 for σ = 0.5 and 1 on CIFAR-10; 10, 5 and 5
    on MNIST; 2 or 1 with SmoothAdv.

    Parameters
    ----------
    logits : torch.Tensor
        f(x + z), (N × copies, K), an example's copies next to each other, as `perturb` lays them out.
    labels : torch.Tensor
        Classes, (N,) integers.
    copies : int
        Noisy copies of each example, at least 2 for the divergence to be of any effect.
    weight : float
        λ, at least 0.
    entropy_weight : float
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
    Jeong, Shin. "Consistency Regularization for Certified Robustness of Smoothed Classifiers", NeurIPS 2020, Section 3.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.consistency import consistency
    >>> agreed, labels = torch.zeros(4, 4), torch.tensor([0, 3])
    >>> consistency(agreed, labels, copies=2, weight=10.0, entropy_weight=1.0).exp()
    tensor(16.)
    """
    weight, entropy_weight = not_negative("weight", weight), not_negative("entropy_weight", entropy_weight)
    log_p = log_probabilities(logits, labels, copies)
    average = log_mean(log_p)
    disagreement = divergence(average.unsqueeze(1), log_p).mean()
    entropy = -(average.exp() * average).sum(dim=1).mean()
    return weight * disagreement + entropy_weight * entropy - of_labels(log_p, labels).mean()


@dataclass(frozen=True)
class Consistency:
    """The recipe of `consistency`.

    Examples
    --------
    >>> from rsmooth.training.recipes.consistency import Consistency
    >>> Consistency(weight=20)
    Consistency(copies=2, weight=20.0, entropy_weight=0.5)
    """

    name: ClassVar[str] = "consistency"
    copies: int = setting("Noisy copies of each image.", default=2, least=2)
    weight: float = setting("Of the divergence between the copies' predictions and their average.", default=10.0)
    entropy_weight: float = setting("Of the average prediction's entropy.", default=0.5)

    def __post_init__(self) -> None:
        check_fields(self)
        not_negative("weight", self.weight)
        not_negative("entropy_weight", self.entropy_weight)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        logits = logits_of(step, self.copies)
        return consistency(
            logits, step.labels, copies=self.copies, weight=self.weight, entropy_weight=self.entropy_weight
        )


@dataclass(frozen=True)
class SmoothAdvConsistency(SmoothAdv):
    """The recipe of `consistency` at attacked images, those of `rsmooth.training.recipes.smoothadv.SmoothAdv`.

    Examples
    --------
    >>> from rsmooth.training.recipes.consistency import SmoothAdvConsistency
    >>> SmoothAdvConsistency(radius=0.25).weight
    1.0
    """

    name: ClassVar[str] = "smoothadv-consistency"
    weight: float = setting("Of the divergence between the copies' predictions and their average.", default=1.0)
    entropy_weight: float = setting("Of the average prediction's entropy.", default=0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("weight", self.weight)
        not_negative("entropy_weight", self.entropy_weight)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        logits = self.attacked_logits(step)
        return consistency(
            logits, step.labels, copies=self.copies, weight=self.weight, entropy_weight=self.entropy_weight
        )
