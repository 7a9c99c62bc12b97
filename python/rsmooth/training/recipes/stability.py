"""Stability training: predictions that noise does not move (Li et al. 2019; Yang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rsmooth._settings import check_fields, setting
from rsmooth.training.recipes._copies import divergence, log_probabilities, logits_of, not_negative, of_labels

if TYPE_CHECKING:
    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["Stability", "StabilityPair", "stability", "stability_pair"]


def stability(clean: Tensor, logits: Tensor, labels: Tensor, *, copies: int = 1, weight: float = 2.0) -> Tensor:
    r"""Return the loss of stability training with noise (STN): classify x, and x + z as x.

    .. math:: -\ln p(y) + \lambda\, \frac{1}{m} \sum_j \sum_k -p(k) \ln p_j(k), \qquad
              p = \mathrm{softmax}\, f(x), \quad p_j = \mathrm{softmax}\, f(x + z_j)

    in the mean over examples. The gradient goes through p too. With weight 0 it is training without noise.

    Published for CIFAR-10: one copy; weight 2 for σ = 0.25 and 0.5, 1 for σ = 1 (Jeong and Shin 2020).

    Parameters
    ----------
    clean : torch.Tensor
        f(x), (N, K).
    logits : torch.Tensor
        f(x + z), (N × copies, K), an example's copies next to each other, as `perturb` lays them out.
    labels : torch.Tensor
        Classes, (N,) integers.
    copies : int
        Noisy copies of each example.
    weight : float
        λ, at least 0.

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
    Li, Chen, Wang, Carin. "Certified Adversarial Robustness with Additive Noise", NeurIPS 2019, on stability training.
    Zheng, Song, Leung, Goodfellow. "Improving the Robustness of Deep Neural Networks via Stability Training",
    CVPR 2016, Section 3.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.stability import stability
    >>> stability(torch.zeros(2, 4), torch.zeros(2, 4), torch.tensor([0, 3]), weight=1.0).exp()
    tensor(16.)
    """
    weight = not_negative("weight", weight)
    log_p = log_probabilities(clean, labels, 1, name="clean")
    log_q = log_probabilities(logits, labels, copies)
    if clean.shape[1] != logits.shape[1]:
        raise ValueError(f"clean and logits must have as many classes, got {clean.shape[1]} and {logits.shape[1]}")
    cross_entropy = -(log_p.exp() * log_q).sum(dim=2).mean()
    return weight * cross_entropy - of_labels(log_p, labels).mean()


def stability_pair(logits: Tensor, labels: Tensor, *, weight: float = 6.0) -> Tensor:
    r"""Return the loss of stability training in its form for two noisy copies: classify one, and the other like it.

    .. math:: -\ln p_1(y) + \lambda\, \mathrm{KL}(p_1 \| p_2), \qquad p_j = \mathrm{softmax}\, f(x + z_j)

    in the mean over examples. Only the first copy meets the label; with weight 0 it is `noisy` on the first copies.

    Published for CIFAR-10 and ImageNet, all noises: weight 6.

    Parameters
    ----------
    logits : torch.Tensor
        f(x + z), (2 N, K), an example's two copies next to each other, as `perturb` lays them out.
    labels : torch.Tensor
        Classes, (N,) integers.
    weight : float
        λ, at least 0.

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
    Yang, Duan, Hu, Salman, Razenshteyn, Li. "Randomized Smoothing of All Shapes and Sizes", ICML 2020, on training;
    after Carmon, Raghunathan, Schmidt, Liang, Duchi. "Unlabeled Data Improves Adversarial Robustness", NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.stability import stability_pair
    >>> stability_pair(torch.zeros(4, 4), torch.tensor([0, 3])).exp()
    tensor(4.)
    """
    weight = not_negative("weight", weight)
    first, second = log_probabilities(logits, labels, 2).unbind(dim=1)
    return weight * divergence(first, second).mean() - of_labels(first, labels).mean()


@dataclass(frozen=True)
class Stability:
    """The recipe of `stability`.

    Examples
    --------
    >>> from rsmooth.training.recipes.stability import Stability
    >>> Stability(weight=1)
    Stability(copies=1, weight=1.0)
    """

    name: ClassVar[str] = "stability"
    copies: int = setting("Noisy copies of each image, besides the image itself.", default=1)
    weight: float = setting("Of the cross-entropy between the image's and its copies' predictions.", default=2.0)

    def __post_init__(self) -> None:
        check_fields(self)
        not_negative("weight", self.weight)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        clean = step.scores(step.images.unsqueeze(1)).flatten(0, 1)
        return stability(clean, logits_of(step, self.copies), step.labels, copies=self.copies, weight=self.weight)


@dataclass(frozen=True)
class StabilityPair:
    """The recipe of `stability_pair`.

    Examples
    --------
    >>> from rsmooth.training.recipes.stability import StabilityPair
    >>> StabilityPair()
    StabilityPair(weight=6.0)
    """

    name: ClassVar[str] = "stability-pair"
    copies: ClassVar[int] = 2
    weight: float = setting("Of the divergence between two copies' predictions.", default=6.0)

    def __post_init__(self) -> None:
        check_fields(self)
        not_negative("weight", self.weight)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        return stability_pair(logits_of(step, self.copies), step.labels, weight=self.weight)
