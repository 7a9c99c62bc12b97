"""One step of a training, as recipes see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rsmooth._check import integer

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

__all__ = ["Step"]


@dataclass(eq=False)
class Step:
    """A batch of labelled images, the model, and the noise that belongs to them.

    Attributes
    ----------
    model : callable
        Maps images (B, *S), noise added, to scores (B, K).
    images : torch.Tensor, shape (N, *S)
        Without noise.
    labels : torch.Tensor of int64, shape (N,)
        Their classes.
    mechanism : Mechanism or None
        The noise; None is none.
    seed : int, numpy.random.SeedSequence or None
        Names the stream.
    first : int
        How many images were seen in the steps before, so that no two steps share draws.
    noise : torch.Tensor or None
        Noise drawn ahead, (N, m, *S), for recipes that ask for m copies; others are drawn when they are asked for.
    right : torch.Tensor or None
        Share of right predictions in the last `scores`.

    Examples
    --------
    In a loop of your own:

    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.training.recipes import noisy
    >>> from rsmooth.training.step import Step
    >>> model, seen = torch.nn.Linear(4, 3), 0
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> for images, labels in [(torch.rand(8, 4), torch.randint(3, (8,)))] * 2:
    ...     step = Step(model, images, labels, Gaussian(0.25), seed=0, first=seen)
    ...     optimizer.zero_grad()
    ...     noisy.loss(step, copies=2).backward()
    ...     optimizer.step()
    ...     seen += len(images)
    """

    model: Callable[[torch.Tensor], torch.Tensor]
    images: torch.Tensor
    labels: torch.Tensor
    mechanism: Mechanism | None
    seed: Seed
    first: int = 0
    noise: torch.Tensor | None = None
    right: torch.Tensor | None = field(default=None, init=False)

    def noisy(self, copies: int = 1) -> torch.Tensor:
        """Return noisy copies of the images, the same ones whenever they are asked for.

        Parameters
        ----------
        copies : int
            Of each image, at least 1. Image i has draws ``(first + i) * copies`` to ``(first + i + 1) * copies - 1``.

        Returns
        -------
        torch.Tensor
            Of shape (N, copies, *S), with the images' gradient.
        """
        copies = integer("copies", copies, 1, None)
        if self.mechanism is None:
            return self.images.unsqueeze(1).expand(-1, copies, *self.images.shape[1:])
        if self.noise is not None and self.noise.shape[1] == copies:
            return self.images.unsqueeze(1) + self.noise
        noisy: torch.Tensor = self.mechanism.perturb(
            self.images, copies=copies, seed=self.seed, first=self.first * copies
        )
        return noisy

    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the model's scores, in single precision, and note the share of right predictions.

        Parameters
        ----------
        inputs : torch.Tensor
            Of shape (N, m, *S), as `noisy` returns them.

        Returns
        -------
        torch.Tensor
            Of shape (N, m, K).
        """
        flat = self.model(inputs.flatten(0, 1)).float()
        scores = flat.view(*inputs.shape[:2], *flat.shape[1:])
        self.right = (scores.detach().argmax(dim=2) == self.labels.unsqueeze(1)).float().mean()
        return scores
