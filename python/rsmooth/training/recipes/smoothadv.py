"""SmoothAdv: train on attacks on the smoothed classifier (Salman et al. 2019)."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional

from rsmooth._check import integer
from rsmooth._settings import Text, check_fields, setting
from rsmooth.training.recipes._copies import by_example, log_mean, not_negative, of_labels
from rsmooth.training.recipes.noisy import noisy
from rsmooth.training.settings import warmed_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from rsmooth.training.step import Step

__all__ = ["SmoothAdv", "attack", "smoothed_gradient"]


def attack(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    noises: Tensor,
    *,
    norm: float,
    radius: float,
    steps: int,
    domain: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    r"""Return inputs near `x` that the smoothed classifier finds unlike their labels: SmoothAdv by projected gradients.

    .. math:: \max_{\|x' - x\| \le \varepsilon}\ -\ln \frac{1}{m} \sum_j \mathrm{softmax}\,f(x' + z_j)(y)

    From `x`, T = `steps` steps of length 2ε/T along the gradient (ℓ2: divided by its norm; ℓ∞: its signs), each
    followed by the projection on the domain, then on the ball. The noises are the same in all steps, and training takes
    them again for the result. Nothing else is random: where the gradient is 0, an example stays where it is. A model
    that is a torch module is in evaluation mode meanwhile; its parameters' gradients are not touched.

    The result is in the ball and in the domain exactly, for sums are rounded towards `x`. So where a certificate of
    this radius holds, the smoothed classifier has the same class at the result: its accuracy there is an upper end to
    the certified accuracy.

    Published for training on CIFAR-10, ℓ2: radius 64, 127, 255 or 512 / 256, 2 to 10 steps, 1 to 8 noises, the radius
    warmed up over 10 epochs (`warmed_up`); the loss is `rsmooth.training.recipes.noisy.noisy` on all copies.

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
    norm : float
        2 or ``math.inf``.
    radius : float
        ε, at least 0, in the unit of `x`.
    steps : int
        T, at least 1.
    domain : (float, float) or None
        The least and the largest value of an input; None if there is none.

    Returns
    -------
    torch.Tensor
        x', ``(N, *S)``.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If a value is not allowed or the shapes do not go together; the message names the argument.

    References
    ----------
    Salman, Yang, Li, Zhang, Zhang, Razenshteyn, Bubeck. "Provably Robust Deep Learning via Adversarially Trained
    Smoothed Classifiers", NeurIPS 2019, Sections 2.2 and 2.3.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.training.recipes.smoothadv import attack
    >>> x = torch.tensor([[0.8, 0.5]])
    >>> noises = torch.from_numpy(Gaussian(0.25).sample((1, 8, 2), seed=1))
    >>> attack(lambda x: 9 * x, x, torch.tensor([0]), noises, norm=float("inf"), radius=0.125, steps=4)
    tensor([[0.6750, 0.6250]])
    """
    radius, steps = not_negative("radius", radius), integer("steps", steps, 1, None)
    check_norm(norm)
    low, high = inside(x, noises, domain)
    moved = x.detach()
    with evaluating(model):
        for _ in range(steps):
            gradient = smoothed_gradient(model, moved, labels, noises)
            direction = gradient.sign() if norm == math.inf else _normalised(gradient)
            stepped = (moved + 2 * radius / steps * direction).clamp(low, high)
            delta = _in_ball(stepped - x.detach(), norm, radius)
            moved = _towards(x.detach(), delta).clamp(low, high)
    return moved


def smoothed_gradient(model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, noises: Tensor) -> Tensor:
    r"""Return the gradient of the smoothed classifier's cross-entropy, -ln of the label's mean probability.

    Parameters
    ----------
    model : callable
        Maps a batch ``(B, *S)`` to logits (B, K), differentiably.
    x : torch.Tensor
        Examples, ``(N, *S)``.
    labels : torch.Tensor
        Classes, (N,) integers.
    noises : torch.Tensor
        z, ``(N, m, *S)``.

    Returns
    -------
    torch.Tensor
        The gradient at each example, ``(N, *S)``.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.smoothadv import smoothed_gradient
    >>> x = torch.zeros(1, 2)
    >>> smoothed_gradient(lambda x: x, x, torch.tensor([0]), torch.zeros(1, 3, 2))
    tensor([[-0.5000,  0.5000]])
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model((point.unsqueeze(1) + noises).flatten(0, 1))
        logits = by_example(logits, labels, noises.shape[1])
        if logits.shape[2] < 2:  # noqa: PLR2004
            raise ValueError("model must return logits of at least 2 classes, got 1")
        own = functional.one_hot(labels.long(), logits.shape[2]).bool().unsqueeze(1)
        rest = logits.masked_fill(own, -math.inf).logsumexp(dim=2)
        # ln softmax at the label, whose gradient keeps its direction where the softmax is 1 up to rounding.
        log_p = functional.logsigmoid(of_labels(logits, labels) - rest)
        # The sum, for each example's gradient is its own. The weights' gradients are not asked for.
        (gradient,) = torch.autograd.grad(-log_mean(log_p).sum(), point)
    return gradient


def check_norm(norm: float) -> None:
    """Refuse a norm that there is no attack in."""
    if norm not in {2, math.inf}:
        raise ValueError(f"norm must be 2 or math.inf, got {norm!r}")


def inside(x: Tensor, noises: Tensor, domain: tuple[float, float] | None) -> tuple[float, float]:
    """Return the ends of `domain`; refuse examples outside it and noises that do not go with them."""
    if x.dtype not in {torch.float32, torch.float64}:
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    if x.ndim < 2:  # noqa: PLR2004
        raise ValueError(f"x must have an axis of examples and one of values at least, got shape {tuple(x.shape)}")
    if noises.ndim != x.ndim + 1 or (noises.shape[0], *noises.shape[2:]) != tuple(x.shape) or not noises.shape[1]:
        raise ValueError(
            f"noises must have shape {(len(x), 'm', *x.shape[1:])}".replace("'", "") + f", got {tuple(noises.shape)}"
        )
    if domain is None:
        return -math.inf, math.inf
    low, high = (float(end) for end in domain)
    if not low < high:
        raise ValueError(f"domain must be two numbers, the smaller one first, got {domain!r}")
    outside = ~((x >= low) & (x <= high)).flatten(1).all(dim=1)
    if outside.any():
        index = int(outside.nonzero()[0])
        raise ValueError(
            f"x must be in the domain [{low:g}, {high:g}], example {index} has values from {x[index].min():g} to "
            f"{x[index].max():g}"
        )
    return low, high


def _normalised(gradient: Tensor) -> Tensor:
    """Return each example's gradient divided by its ℓ2 norm, or 0 where it is 0."""
    flat = gradient.flatten(1)
    # Squares of small gradients would be 0.
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    length = flat.norm(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
    return flat.view_as(gradient) / per_example(length, gradient)


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """Return `values`, (N,), with as many axes as `like`, (N, ...), so that each multiplies its example."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _in_ball(delta: Tensor, norm: float, radius: float) -> Tensor:
    """Return each example's `delta` brought into the ball of `radius` around 0, never outside it by rounding."""
    # A few of the last digits make up for the rounding of norms and products.
    inward = radius * (1 - 16 * torch.finfo(delta.dtype).eps)
    if norm == math.inf:
        return delta.clamp(-inward, inward)
    length = torch.linalg.vector_norm(delta.flatten(1), dim=1, dtype=torch.float64)
    factor = (inward / length.clamp(min=torch.finfo(torch.float64).tiny)).clamp(max=1).to(delta.dtype)
    return delta * per_example(factor, delta)


def _towards(x: Tensor, delta: Tensor) -> Tensor:
    """Return x + delta rounded towards `x`: no coordinate, so no norm, of what it is from `x` exceeds that of delta."""
    total = x + delta
    further = (total.double() - x.double()).abs() > delta.double().abs()
    return torch.where(further, torch.nextafter(total, x), total)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Have a torch module in evaluation mode; put each of its modules back into its own mode."""
    if not isinstance(model, torch.nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass(frozen=True)
class SmoothAdv:
    """The recipe: `rsmooth.training.recipes.noisy.noisy` at the images of `attack`, with the attack's noise.

    Examples
    --------
    >>> from rsmooth.training.recipes.smoothadv import SmoothAdv
    >>> SmoothAdv(norm=float("inf"), radius=2 / 255).steps
    4
    """

    name: ClassVar[str] = "smoothadv"
    copies: int = setting("Noisy copies of each image, for the attack and for the training.", default=2)
    norm: float = setting("Norm of the attack's ball, 2 or inf.", default=2.0, text=Text("{:g}".format, float))
    radius: float = setting("Radius of the attack's ball, in pixels in [0, 1].", default=0.5)
    steps: int = setting("Steps of the attack.", default=4)
    warm_up: int = setting("Epochs in which the radius rises to its value.", default=10, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
        check_norm(self.norm)
        not_negative("radius", self.radius)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of a step."""
        return noisy(self.attacked_logits(step), step.labels, copies=self.copies)

    def attacked_logits(self, step: Step) -> Tensor:
        """Return the logits of a step's noisy copies, moved by the attack, (N m, K)."""
        copies = step.noisy(self.copies)
        radius = warmed_up(self.radius, step.epoch, self.warm_up)
        noises = copies - step.images.unsqueeze(1)
        moved = attack(step.model, step.images, step.labels, noises, norm=self.norm, radius=radius, steps=self.steps)
        # The images' copies plus the shift, so that they are themselves where there is none.
        return step.scores(copies + (moved - step.images).unsqueeze(1)).flatten(0, 1)
