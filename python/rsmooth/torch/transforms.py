"""Noise in a data pipeline whose draws have names: the example's index and the epoch.

A worker process has no part in a name, so that shuffling, the number of workers, and whether they are forked or
spawned change no example's noise.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from rsmooth._check import integer
from rsmooth._streams import sequence_of

if TYPE_CHECKING:
    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

__all__ = ["AddNoise", "Named"]

# The number of the example that is being read.
READING: ContextVar[int | None] = ContextVar("READING", default=None)


class AddNoise(nn.Module):
    """A transform that adds a mechanism's noise to an image, as a last step of torchvision's v2 pipelines.

    Parameters
    ----------
    mechanism : Mechanism
        The noise, in the units of the image as it gets here: [0, 1] behind ``ToDtype(torch.float32, scale=True)``.
    seed : int, numpy.random.SeedSequence or None
        Names the stream; None takes fresh entropy, which all workers share.
    copies : int or None
        Noisy copies of each image, with an axis of their own; None is one without.

    Raises
    ------
    RuntimeError
        Where an image is not read through `Named`, which knows what its draw is called.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.torch.transforms import AddNoise, Named
    >>> class Images(torch.utils.data.Dataset):  # as torchvision's, with a transform
    ...     transform = AddNoise(Gaussian(0.25), seed=0)
    ...     def __len__(self):
    ...         return 100
    ...     def __getitem__(self, index):
    ...         return self.transform(torch.full((3, 8, 8), index / 100)), index % 10
    >>> data = Named(Images())
    >>> z = Gaussian(0.25).sample((1, 3, 8, 8), seed=0, first=42)
    >>> bool((data[42][0] == 0.42 + torch.from_numpy(z[0])).all())
    True
    >>> data.set_epoch(1)  # draw 142
    >>> bool((data[42][0] == 0.42 + torch.from_numpy(z[0])).any())
    False
    """

    def __init__(self, mechanism: Mechanism, *, seed: Seed, copies: int | None = None) -> None:
        super().__init__()
        self.mechanism, self.seed = mechanism, sequence_of(seed)
        self.copies = None if copies is None else integer("copies", copies, 1, None)

    def forward(self, image: torch.Tensor, *others: Any) -> Any:
        """Return the noisy image, and the other inputs as they are."""
        number = READING.get()
        if number is None:
            raise RuntimeError("AddNoise must be read through rsmooth.torch.transforms.Named(dataset)")
        if not isinstance(image, torch.Tensor) or not image.is_floating_point():
            kind = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
            raise TypeError(
                f"image must be a tensor of floating-point numbers, got {kind}; put v2.ToImage() and "
                "v2.ToDtype(torch.float32, scale=True) before AddNoise"
            )
        first = number * (self.copies or 1)
        # One thread: this is one of many workers.
        plain = image.as_subclass(torch.Tensor)
        noisy = self.mechanism.perturb(plain[None], copies=self.copies, seed=self.seed, first=first, threads=1)[0]
        noisy = noisy.as_subclass(type(image)) if self.copies is None else noisy
        return (noisy, *others) if others else noisy


class Named(Dataset[Any]):
    """A data set that tells what the draw of each of its examples is called: ``epoch * len(dataset) + index``.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        With a length. `AddNoise` may be among its transforms.
    index : bool
        Whether items end with their index, for noise that is added to whole batches on the device.

    Raises
    ------
    TypeError
        If the data set has no length or no items.

    Notes
    -----
    The epoch is in memory that worker processes share, forked or spawned, persistent or not: call `set_epoch` before
    the epoch's first batch is asked for.

    Examples
    --------
    Batches get their noise where they are:

    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.torch.transforms import Named
    >>> data = Named([(torch.full((4,), i / 8), i % 2) for i in range(8)], index=True)
    >>> for epoch in range(2):
    ...     for x, labels, index in torch.utils.data.DataLoader(data, batch_size=4, shuffle=True):
    ...         noisy = Gaussian(0.25).perturb(x, seed=0, first=epoch * len(data) + index.numpy())
    >>> noisy.shape
    torch.Size([4, 4])
    """

    def __init__(self, dataset: Any, *, index: bool = False) -> None:
        if (
            isinstance(dataset, IterableDataset)
            or not hasattr(dataset, "__len__")
            or not hasattr(dataset, "__getitem__")
        ):
            raise TypeError(f"dataset must have a length and items by index, got {type(dataset).__name__}")
        self.dataset, self.index = dataset, index
        self.shared: torch.Tensor = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch."""
        return int(self.shared)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, counted from 0."""
        self.shared.fill_(integer("epoch", epoch, 0, 2**32))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return item `index`, with its index behind it where that is asked for."""
        index = range(len(self))[index]
        token = READING.set(self.epoch * len(self) + index)
        try:
            item = self.dataset[index]
        finally:
            READING.reset(token)
        return (*item, index) if self.index else item
