"""An epoch's steps: whose images they are made of, and the noise that is drawn while the step before runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from rsmooth.torch.prefetch import prefetch
from rsmooth.training.step import Step, draw_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.workers import Workers
    from rsmooth.zoo.networks import Model

__all__ = ["Batches", "Part"]


@dataclass(frozen=True)
class Part:
    """The images of a batch that one process takes.

    Attributes
    ----------
    images : list of int
        Their indices in the data; all processes' together are the batch.
    first : int
        How many images are before them in the training.
    whole : int
        Images in the batch.
    """

    images: list[int]
    first: int
    whole: int


@dataclass(frozen=True)
class Batches:
    """What the steps of a training have in common.

    Attributes
    ----------
    model : Model
        Whose classes images are of.
    network : torch.nn.Module
        What maps images to scores.
    mechanism : Mechanism or None
        The noise.
    grid : int or None
        Where given, it is exact.
    size : int
        Images in a batch, all processes' together.
    device : torch.device
        Where the steps are.
    workers : Workers
        The processes that share the training.
    readers : int
        Processes that read images; 0 reads them in this one.
    """

    model: Model
    network: torch.nn.Module
    mechanism: Mechanism | None
    grid: int | None
    size: int
    device: torch.device
    workers: Workers
    readers: int

    def parts(self, order: list[int], epoch: int) -> list[Part]:
        """Cut `order` into batches, and take of each an equal share, of images next to each other.

        An image's place among all of the training's, and so its noise, is the same for any number of processes.
        """
        rank, count = self.workers.rank, self.workers.count
        starts = range(0, len(order), self.size)
        found = []
        for start in starts:
            batch = order[start : start + self.size]
            low, high = (len(batch) * each // count for each in (rank, rank + 1))
            found.append(Part(batch[low:high], epoch * len(starts) * self.size + start + low, len(batch)))
        return found

    def steps(
        self, data: Any, order: list[int], *, epoch: int, copies: int, noise: np.random.SeedSequence, readers_seed: int
    ) -> Iterator[tuple[int, Step | None]]:
        """Iterate over an epoch's steps.

        Parameters
        ----------
        data : torch.utils.data.Dataset
            Images and classes.
        order : list of int
            Of the images.
        epoch : int
            Its number, from 0.
        copies : int
            Noisy copies of each image to draw ahead.
        noise : numpy.random.SeedSequence
            Names the stream of the noise.
        readers_seed : int
            Of the readers' torch generators.

        Yields
        ------
        tuple of int and (Step or None)
            The number of images in a step of all processes, and this process's part: None where that is empty.
        """
        parts = self.parts(order, epoch)
        mine = [part for part in parts if part.images]
        loader: DataLoader[Any] = DataLoader(
            data,
            batch_sampler=[part.images for part in mine],
            num_workers=self.readers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(readers_seed),
        )
        with self.drawn(tuple(data[0][0].shape), mine, copies, noise) as draws:
            batches = zip(loader, draws, strict=False)
            for part in parts:
                if not part.images:
                    yield part.whole, None
                    continue
                (images, labels), drawn = next(batches)
                if labels.max() >= self.model.num_classes:
                    raise ValueError(
                        f"an image is of class {labels.max()}, the model has {self.model.num_classes} classes"
                    )
                step = Step(
                    self.network,
                    images.to(self.device, non_blocking=True),
                    labels.to(self.device, non_blocking=True),
                    self.mechanism,
                    noise,
                    part.first,
                    epoch,
                    self.grid,
                    drawn,
                )
                yield part.whole, step

    @contextmanager
    def drawn(
        self, shape: tuple[int, ...], parts: list[Part], copies: int, seed: np.random.SeedSequence
    ) -> Iterator[Iterator[torch.Tensor | None]]:
        """Yield the noise of each part, ``(N, copies, *S)``, or Nones, and end the thread that draws it."""
        mechanism = self.mechanism
        if mechanism is None or not copies:
            yield repeat(None)
            return

        def fill(part: Part, buffer: torch.Tensor) -> torch.Tensor:
            noise = buffer[: len(part.images)]
            draw_noise(mechanism, noise.flatten(0, 1), seed=seed, first=part.first * copies, grid=self.grid)
            return noise

        most = max((len(part.images) for part in parts), default=0)
        draws = prefetch(fill, parts, (most, copies, *shape), dtype=torch.float32, device=self.device)
        try:
            yield (noise for _, noise in draws)
        finally:
            draws.close()
