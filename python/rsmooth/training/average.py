"""A moving average of a network's weights."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Average"]


class Average:
    """The exponential moving average of a network's weights and of its batch norms' statistics.

    Parameters
    ----------
    module : torch.nn.Module
        The network, on its device.
    decay : float
        What a step leaves of the average before it: at most (1 + n) / (10 + n) in step n, from 0.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.average import Average
    >>> module = torch.nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = module.weight.zero_()
    >>> average = Average(module, 0.5)
    >>> with torch.no_grad():
    ...     _ = module.weight.fill_(1.0)
    >>> average.update(100)
    >>> with average.swapped():
    ...     module.weight.item()
    0.5
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.values = {name: value.clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, from 0."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)
            else:
                self.values[name].copy_(value)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the network's weights and the average, in place."""
        for name, value in self.module.state_dict().items():
            kept = value.clone()
            value.copy_(self.values[name])
            self.values[name].copy_(kept)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Have the average in the network."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
