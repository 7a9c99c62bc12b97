"""One step of a training, as recipes see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from rsmooth._check import integer
from rsmooth.torch.prefetch import draw_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

__all__ = ["Step", "draw_noise"]


@dataclass(eq=False)
class Step:
    """A batch of labelled images, the model, and the noise that belongs to them.

    Attributes
    ----------
    model : callable
        Maps images ``(B, *S)``, noise added, to scores (B, K).
    images : torch.Tensor, shape ``(N, *S)``
        Without noise.
    labels : torch.Tensor of int64, shape (N,)
        Their classes.
    mechanism : Mechanism or None
        The noise; None is none.
    seed : int, numpy.random.SeedSequence or None
        Names the stream.
    first : int
        How many images were seen in the steps before, so that no two steps share draws.
    epoch : int
        The epoch's number, from 0, for what warms up.
    grid : int or None
        Where given, the noise is of the exact law on multiples of ``1 / grid``. Images need not be on it.
    noise : torch.Tensor or None
        Noise drawn ahead, ``(N, m, *S)``, for recipes that ask for m copies; others are drawn when they are asked for.
    right : torch.Tensor or None
        Share of right predictions in the last `scores`.

    Examples
    --------
    In a loop of your own:

    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.training.recipes.consistency import Consistency
    >>> from rsmooth.training.step import Step
    >>> model, recipe, seen = torch.nn.Linear(4, 3), Consistency(copies=2, weight=20), 0
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> for images, labels in [(torch.rand(8, 4), torch.randint(3, (8,)))] * 2:
    ...     step = Step(model, images, labels, Gaussian(0.25), seed=0, first=seen)
    ...     optimizer.zero_grad()
    ...     recipe.loss(step).backward()
    ...     optimizer.step()
    ...     seen += len(images)
    """

    model: Callable[[torch.Tensor], torch.Tensor]
    images: torch.Tensor
    labels: torch.Tensor
    mechanism: Mechanism | None
    seed: Seed
    first: int = 0
    epoch: int = 0
    grid: int | None = None
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
            Of shape ``(N, copies, *S)``, with the images' gradient.
        """
        copies = integer("copies", copies, 1, None)
        if self.mechanism is None:
            return self.images.unsqueeze(1).expand(-1, copies, *self.images.shape[1:])
        if self.noise is not None and self.noise.shape[1] == copies:
            return self.images.unsqueeze(1) + self.noise
        shape = (len(self.images) * copies, *self.images.shape[1:])
        noise = torch.empty(shape, dtype=torch.promote_types(self.images.dtype, torch.float32))
        draw_noise(self.mechanism, noise, seed=self.seed, first=self.first * copies, grid=self.grid)
        noise = noise.view(-1, copies, *shape[1:]).to(self.images.device)
        return (self.images.unsqueeze(1) + noise).to(self.images.dtype)

    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the model's scores, in single precision, and note the share of right predictions.

        Parameters
        ----------
        inputs : torch.Tensor
            Of shape ``(N, m, *S)``, as `noisy` returns them.

        Returns
        -------
        torch.Tensor
            Of shape (N, m, K).
        """
        flat = self.model(inputs.flatten(0, 1)).float()
        scores = flat.view(*inputs.shape[:2], *flat.shape[1:])
        self.right = (scores.detach().argmax(dim=2) == self.labels.unsqueeze(1)).float().mean()
        return scores


def draw_noise(mechanism: Mechanism, out: torch.Tensor, *, seed: Seed, first: int, grid: int | None) -> None:
    """Write a mechanism's noise into `out`, on the host: in floating point, or exact and then divided by the grid."""
    if grid is None:
        draw_into(mechanism, out, seed=seed, first=first)
    else:
        # Built-in mechanisms take a grid; those of one's own that do say so by their noise_error.
        steps = mechanism.sample(tuple(out.shape), seed=seed, first=first, grid=grid)  # type: ignore[call-arg]
        out.copy_(torch.from_numpy(steps)).div_(grid)
