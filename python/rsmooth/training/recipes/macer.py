"""MACER: maximise the certified radius (Zhai et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from rsmooth._check import positive
from rsmooth._settings import check_fields, setting
from rsmooth.training.recipes._copies import log_mean, log_probabilities, logits_of, not_negative, of_labels

if TYPE_CHECKING:
    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["Macer", "macer", "margin"]

# The least probability of which a normal quantile is taken: it is -11.5, and its derivative, 2e29, has room in single
# precision.
SMALLEST = 2.0**-100


def macer(
    logits: Tensor,
    labels: Tensor,
    *,
    copies: int,
    weight: float = 1.0,
    gamma: float = 8.0,
    temperature: float = 16.0,
    law: str = "normal",
) -> Tensor:
    r"""Return the cross-entropy of the average prediction plus a hinge on the certified radius of right ones.

    .. math:: -\ln \bar p(y) + w \max(\gamma - \xi, 0)\, [\xi \ge 0], \qquad
              \xi = \Phi^{-1}(q(y)) - \Phi^{-1}(\max_{k \ne y} q(k))

    in the mean over examples, where p̄ is the mean over copies of softmax f(x + z) and q that of softmax(temperature ×
    f(x + z)). `margin` computes ξ; σξ/2 is the radius that q would certify, and w is λσ/2 with the paper's λ, which
    weighs radii. Where a prediction becomes right, the loss jumps by weight × gamma. With weight 0 it is not `noisy`
    but the cross-entropy of p̄; the two are the same for one copy.

    Published for CIFAR-10: 16 copies, gamma 8, temperature 16, λ = 12 for σ = 0.25 and 4 for σ = 0.5 and 1, so weight
    1.5, 1 and 2; batches of 64, learning rate 0.01, weight decay 5e-4, 440 epochs, the rate divided by 10 after 200 and
    400.

    Parameters
    ----------
    logits : torch.Tensor
        f(x + z), (N × copies, K), K at least 2, an example's copies next to each other, as `perturb` lays them out.
    labels : torch.Tensor
        Classes, (N,) integers.
    copies : int
        Noisy copies of each example.
    weight : float
        w, at least 0.
    gamma : float
        Margins ξ above it are not pushed further.
    temperature : float
        The factor (called inverse temperature β in the paper) that brings softmax close to a vote.
    law : str
        Whose quantiles measure the margin; see `margin`.

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
    Zhai, Dan, He, Zhang, Gong, Ravikumar, Hsieh, Wang. "MACER: Attack-free and Scalable Robust Training via Maximizing
    Certified Radius", ICLR 2020, Section 4 and Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.macer import macer
    >>> even, labels = torch.zeros(4, 4), torch.tensor([0, 3])
    >>> macer(even, labels, copies=2, weight=0.0).exp()
    tensor(4.)
    >>> macer(even, labels, copies=2, weight=1.5) - macer(even, labels, copies=2, weight=0.0)  # 1.5 × 8
    tensor(12.)
    """
    weight = not_negative("weight", weight)
    gamma, temperature = positive("gamma", gamma), positive("temperature", temperature)
    average = log_mean(log_probabilities(logits, labels, copies))
    xi = margin(log_mean(log_probabilities(logits, labels, copies, temperature=temperature)), labels, law=law)
    # Where xi is at least 0 the example is right; a tie counts as right, for a push upwards parts it.
    hinge = torch.where(xi.detach() >= 0, torch.relu(gamma - xi), 0.0)
    return weight * hinge.mean() - of_labels(average, labels).mean()


def margin(log_q: Tensor, labels: Tensor, *, law: str = "normal") -> Tensor:
    r"""Return by how much quantiles the label's probability exceeds the largest other one's.

    With law "normal" it is :math:`\Phi^{-1}(q(y)) - \Phi^{-1}(\max_{k \ne y} q(k))`; σ/2 times it is the ℓ2 radius of
    the Gaussian mechanism. With "laplace" it is :math:`\psi(q(y)) - \psi(\max_{k \ne y} q(k))`, ψ(p) = ln 2p up to ½
    and -ln 2(1 - p) above; scale/2 times it is the ℓ1 radius of the Laplace and the ℓ∞ radius of the Exponential
    mechanism.

    A quantile above ½ is taken from the sum of the other probabilities, which keeps the digits that 1 - p loses. Normal
    quantiles are held within ±11.5, those of 2⁻¹⁰⁰ and 1 - 2⁻¹⁰⁰; where one is held its gradient is 0.

    Parameters
    ----------
    log_q : torch.Tensor
        ln q, (N, K), K at least 2.
    labels : torch.Tensor
        Classes, (N,) integers.
    law : str
        ``normal`` or ``laplace``.

    Returns
    -------
    torch.Tensor
        The margins, (N,): at least 0 where no other class has a higher probability.

    Raises
    ------
    ValueError
        If there is one class only or `law` is another one.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.macer import margin
    >>> log_q = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]).log()
    >>> margin(log_q, torch.zeros(3, dtype=torch.long))
    tensor([ 2.5631,  0.0000, -2.5631])
    >>> margin(log_q, torch.zeros(3, dtype=torch.long), law="laplace").div(2).exp()
    tensor([5.0000, 1.0000, 0.2000])
    """
    if log_q.shape[-1] < 2:  # noqa: PLR2004
        raise ValueError(f"log_q must have at least 2 classes, got shape {tuple(log_q.shape)}")
    check_law(law)
    own = functional.one_hot(labels.long(), log_q.shape[-1]).bool()
    others = log_q.masked_fill(own, -torch.inf)
    # Values of both tails, so that no complement is taken: the label against the rest, the runner-up against its rest.
    return _quantile(of_labels(log_q, labels), torch.logsumexp(others, dim=-1), law) - _quantile(
        *_runner_up(log_q, others), law
    )


def check_law(law: str) -> None:
    """Refuse a law that has no quantiles here."""
    if law not in {"normal", "laplace"}:
        raise ValueError(f"law must be normal or laplace, got {law!r}")


def _runner_up(log_q: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the largest other probability and of its complement."""
    best = others.argmax(dim=-1)
    rest = log_q.masked_fill(functional.one_hot(best, log_q.shape[-1]).bool(), -torch.inf)
    return of_labels(others, best), torch.logsumexp(rest, dim=-1)


def _quantile(log_p: Tensor, log_rest: Tensor, law: str) -> Tensor:
    """Return the quantile at p, given ln p and ln (1 - p)."""
    lower = log_p < log_rest
    log_tail = torch.where(lower, log_p, log_rest)
    # Not above 0, but for rounding.
    tail = math.log(2) + log_tail if law == "laplace" else torch.special.ndtri(log_tail.exp().clamp(min=SMALLEST))
    return torch.where(lower, tail, -tail)


@dataclass(frozen=True)
class Macer:
    """The recipe of `macer`.

    Examples
    --------
    >>> from rsmooth.training.recipes.macer import Macer
    >>> Macer(weight=1.5).copies
    16
    """

    name: ClassVar[str] = "macer"
    copies: int = setting("Noisy copies of each image.", default=16)
    weight: float = setting("Of the hinge on the margin of right predictions; the paper's λσ/2.", default=1.0)
    gamma: float = setting("Margins above it are not pushed further.", default=8.0)
    temperature: float = setting("Factor on logits that brings softmax close to a vote.", default=16.0)
    law: str = setting(
        "Whose quantiles measure the margin: normal, for Gaussian noise, or laplace, for Exponential and Laplace.",
        default="normal",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        not_negative("weight", self.weight)
        positive("gamma", self.gamma)
        positive("temperature", self.temperature)
        check_law(self.law)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        return macer(
            logits_of(step, self.copies),
            step.labels,
            copies=self.copies,
            weight=self.weight,
            gamma=self.gamma,
            temperature=self.temperature,
            law=self.law,
        )
