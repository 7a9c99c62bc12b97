"""Models that the package brings along."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["DigitsCNN"]


class DigitsCNN(nn.Sequential):
    """A small convolutional network for the digits: two convolutions, 88,000 multiplications an image.

    Parameters
    ----------
    seed : int
        Seed of the initial weights; torch's global generator stays as it is.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.run.models import DigitsCNN
    >>> DigitsCNN(seed=0)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(self, *, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(inplace=True),
                nn.Flatten(),
                nn.Linear(512, 10),
            )
