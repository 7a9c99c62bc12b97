"""Training with a mechanism's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from rsmooth import noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.noise import Seed

__all__ = ["train"]


def train(
    model: torch.nn.Module,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    mechanism: Mechanism | None,
    *,
    epochs: int,
    seed: Seed,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Train `model` in place on noisy images: Adam, a one-cycle learning rate, fresh noise in every step.

    Parameters
    ----------
    model : torch.nn.Module
        Maps images to logits.
    images : ndarray of float32, shape (N, *S)
        Training images in [0, 1].
    labels : ndarray of int64, shape (N,)
        Their classes.
    mechanism : Gaussian, Exponential, Laplace or None
        The noise; None trains without any.
    epochs : int
        Passes over the images.
    seed : int, numpy.random.SeedSequence or None
        Names the streams of the noise and of the order of the images.
    batch_size : int
        Images in a step.
    learning_rate : float
        Its highest value.
    progress : callable
        Called with the number of images in each finished step.

    Raises
    ------
    ValueError
        If `epochs`, `seed` or `batch_size` has a value that is not allowed; the message names it.
    TypeError
        If one of them has the wrong type.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.run.digits import load_digits
    >>> from rsmooth.run.models import DigitsCNN
    >>> from rsmooth.run.train import train
    >>> digits, model = load_digits(), DigitsCNN(seed=0)
    >>> train(model, digits.images[digits.train], digits.labels[digits.train], Gaussian(0.25), epochs=1, seed=0)
    """
    epochs = noise.integer("epochs", epochs, 1, None)
    batch_size = noise.integer("batch_size", batch_size, 1, None)
    order, draws = noise.sequence_of(seed).spawn(2)
    shuffle = np.random.default_rng(order)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = -(-len(x) // batch_size) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    model.train()
    first = 0
    for _ in range(epochs):
        for chosen in torch.split(torch.from_numpy(shuffle.permutation(len(x))), batch_size):
            batch = x[chosen]
            if mechanism is not None:
                batch = mechanism.perturb(batch, 1, seed=draws, first=first, batch=True).squeeze(1)
                first += len(batch)
            loss = functional.cross_entropy(model(batch), y[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            progress(len(batch))
