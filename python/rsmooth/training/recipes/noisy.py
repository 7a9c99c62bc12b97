"""Training on noisy examples (Cohen, Rosenfeld and Kolter 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rsmooth._settings import check_fields, setting
from rsmooth.training.recipes._copies import log_probabilities, logits_of, of_labels

if TYPE_CHECKING:
    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["Noisy", "loss", "noisy"]


def noisy(logits: Tensor, labels: Tensor, *, copies: int = 1) -> Tensor:
    r"""Return the mean cross-entropy of all noisy copies.

    .. math:: \frac{1}{Nm} \sum_i \sum_j -\ln p_{ij}(y_i), \qquad p_{ij} = \mathrm{softmax}\, f(x_i + z_{ij})

    Published: one copy, fresh in every step.

    Parameters
    ----------
    logits : torch.Tensor
        f(x + z), (N × copies, K), an example's copies next to each other, as `perturb` lays them out.
    labels : torch.Tensor
        Classes, (N,) integers.
    copies : int
        Noisy copies of each example.

    Returns
    -------
    torch.Tensor
        The loss, a scalar.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If the shapes do not go together; the message names the argument.

    References
    ----------
    Cohen, Rosenfeld, Kolter. "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Section 3.3.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.noisy import noisy
    >>> noisy(torch.zeros(6, 4), torch.tensor([0, 3]), copies=3).exp()
    tensor(4.)
    """
    return -of_labels(log_probabilities(logits, labels, copies), labels).mean()


@dataclass(frozen=True)
class Noisy:
    """The recipe of `noisy`.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.noisy import Noisy
    >>> from rsmooth.training.step import Step
    >>> step = Step(torch.nn.Identity(), torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), None, seed=0)
    >>> Noisy(copies=2).loss(step).exp()
    tensor(2.)
    """

    name: ClassVar[str] = "noisy"
    copies: int = setting("Noisy copies of each image.", default=1)

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        return noisy(logits_of(step, self.copies), step.labels, copies=self.copies)


def loss(step: Step, *, copies: int = 1) -> Tensor:
    """Return `noisy` of a training's step."""
    return Noisy(copies=copies).loss(step)
