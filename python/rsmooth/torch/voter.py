"""Votes of a model over noisy copies, a batch at a time, the noise of the next batch drawn while the model runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from rsmooth._check import integer
from rsmooth._streams import child, torch_seed
from rsmooth.mechanisms import Mechanism
from rsmooth.torch.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    Votes = npt.NDArray[np.int64]

__all__ = ["AHEAD", "Draws", "Voter", "evaluating"]

# Kinds of devices whose torch generators use all of a seed; the CPU's uses 32 bits, too few to tell streams apart.
GENERATORS = {"cuda"}

# Draws of one stream that torch makes at a time, from a generator of their own.
BLOCK = 16

# How many batches may be asked for before the votes of a batch are known: one in use, one filled, one being counted.
AHEAD = 3


@dataclass(frozen=True, eq=False)
class Draws:
    """Consecutive draws of one stream around one example.

    Attributes
    ----------
    example : torch.Tensor
        On the host, contiguous, of the model's type.
    key : numpy.random.SeedSequence
        Names the stream.
    first, count : int
        Which of its draws.
    name : str
        What errors call the example.
    row : int
        Where the caller counts them.
    """

    example: torch.Tensor
    key: np.random.SeedSequence
    first: int
    count: int
    name: str
    row: int


class Voter:
    """A model that votes.

    Parameters
    ----------
    model : torch.nn.Module
        Maps a batch of images in [0, 1], noise added, to logits (B, `num_classes`).
    mechanism : Gaussian, Exponential or Laplace
        The noise.
    num_classes : int
        Number of classes, at least 2.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.
    noise : {"host", "device"}
        Who draws: the core, on the host, the same on every machine; or torch, on the device, from generators seeded
        with the stream and the number of each block of 16 draws, which other devices and releases draw differently.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, or `noise` is neither or cannot be drawn on the device (a GPU of CUDA can).
    TypeError
        If `model` is not a module or `mechanism` not a mechanism.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.torch.voter import Draws, Voter
    >>> voter = Voter(torch.nn.Identity(), Gaussian(0.1), 2)
    >>> draws = Draws(torch.tensor([0.2, 0.8]), np.random.SeedSequence(0), 0, 5, "x", 0)
    >>> [votes for _, votes in voter.votes([[draws]], size=5)]
    [array([1, 1, 1, 1, 1])]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        mechanism: Mechanism,
        num_classes: int,
        *,
        device: torch.device | str | None = None,
        noise: Literal["host", "device"] = "host",
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if not isinstance(mechanism, Mechanism):
            raise TypeError(f"mechanism must be a Gaussian, Exponential or Laplace, got {type(mechanism).__name__}")
        if noise not in ("host", "device"):
            raise ValueError(f'noise must be "host" or "device", got {noise!r}')
        self.mechanism, self.noise = mechanism, noise
        self.num_classes = integer("num_classes", num_classes, 2, None)
        self.model = model if device is None else model.to(device)
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        home = torch.device("cpu") if weight is None else weight.device
        self.device = home if device is None else torch.device(device)
        self.dtype = torch.float32 if weight is None else weight.dtype
        if noise == "device" and self.device.type not in GENERATORS:
            raise ValueError(f'noise must be "host" where the model is on a {self.device.type} device, got "device"')

    @property
    def noise_device(self) -> str | None:
        """What the draws depend on, where torch draws them: its version and the device."""
        if self.noise == "host":
            return None
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"torch {torch.__version__}, {name}"

    def usual_batch_size(self, dim: int) -> int:
        """Return how many noisy copies the model should get at once where nobody says.

        A GPU gets up to 1,000. On a CPU the outputs of large layers must stay below 32 MiB, above which the C library
        takes their memory from the system afresh each time: a ResNet-20 takes twice as long for 1,000 CIFAR-10 images
        at once as for 341 (2²⁰ coordinates).

        Parameters
        ----------
        dim : int
            Number of coordinates of an input.

        Returns
        -------
        int
            At least 1.
        """
        return max(1, min(1000, (2**20 if self.device.type == "cpu" else 2**26) // max(dim, 1)))

    def votes(self, batches: Iterable[list[Draws]], *, size: int) -> Iterator[tuple[list[Draws], Votes]]:
        """Iterate over batches and the classes that the model gives their draws, in order.

        Parameters
        ----------
        batches : iterable of list of Draws
            Of at most `size` draws each, and at least one, all examples of one shape. Batch i is asked for when the
            votes of batch i − `AHEAD` have been yielded and the caller asks for more.
        size : int
            Draws in the largest batch.

        Yields
        ------
        tuple
            The batch as it was given, and its classes: an int64 array of as many entries as it has draws.

        Raises
        ------
        ValueError
            If the model's output has another shape than (B, `num_classes`), or is not finite: a NaN is no vote.
        """
        pending: tuple[list[Draws], torch.Tensor, torch.cuda.Event | None] | None = None
        with evaluating(self.model):
            for batch, copies in self._copies(batches, size):
                launched = self._launch(batch, copies)
                if pending is not None:
                    yield pending[0], self._settle(*pending)
                pending = launched
            if pending is not None:
                yield pending[0], self._settle(*pending)

    def _copies(self, batches: Iterable[list[Draws]], size: int) -> Iterator[tuple[list[Draws], torch.Tensor]]:
        if self.noise == "device":
            for batch in batches:
                yield batch, torch.cat([self._drawn(draws) for draws in batch])
            return

        def fill(batch: list[Draws], buffer: torch.Tensor) -> torch.Tensor:
            end = 0
            for draws in batch:
                start, end = end, end + draws.count
                self.mechanism.perturb(
                    draws.example, draws.count, seed=draws.key, first=draws.first, out=buffer[start:end]
                )
            return buffer[:end]

        head = iter(batches)
        first = next(head, None)
        if first is not None:
            shape = (size, *first[0].example.shape)
            yield from prefetch(fill, chain([first], head), shape, dtype=self.dtype, device=self.device)

    def _drawn(self, draws: Draws) -> torch.Tensor:
        """Return noisy copies with torch's noise."""
        example = draws.example.to(self.device)
        first, last = draws.first // BLOCK, (draws.first + draws.count - 1) // BLOCK
        noise = torch.cat([self._block(draws.key, number, example.shape) for number in range(first, last + 1)])
        skipped = draws.first - first * BLOCK
        return (example.float() + noise[skipped : skipped + draws.count]).to(self.dtype)

    def _block(self, key: np.random.SeedSequence, number: int, shape: torch.Size) -> torch.Tensor:
        """Return block `number` of the stream `key`, of torch's noise."""
        generator = torch.Generator(self.device).manual_seed(torch_seed(child(key, number)))
        scale, whole = self.mechanism.parameter, (BLOCK, *shape)
        if self.mechanism.name == "gaussian":
            return torch.empty(whole, device=self.device).normal_(0, scale, generator=generator)
        if self.mechanism.name == "laplace":
            # The difference of two exponentials.
            noise = torch.empty((2, *whole), device=self.device).exponential_(1 / scale, generator=generator)
            return noise[0] - noise[1]
        gamma = torch.full((BLOCK,), float(prod(shape) + 1), dtype=torch.float64, device=self.device)
        radius = torch._standard_gamma(gamma, generator=generator) * scale  # noqa: SLF001
        noise = torch.empty(whole, device=self.device).uniform_(-1, 1, generator=generator)
        return noise * radius.float().reshape(-1, *(1,) * len(shape))

    def _launch(
        self, batch: list[Draws], copies: torch.Tensor
    ) -> tuple[list[Draws], torch.Tensor, torch.cuda.Event | None]:
        # Not around the loop: what is between two batches belongs to the caller.
        with torch.inference_mode():
            logits = self.model(copies)
            wanted = (len(copies), self.num_classes)
            if not isinstance(logits, torch.Tensor) or logits.shape != wanted:
                got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
                raise ValueError(f"the model must return logits of shape {wanted}, got {got}")
            votes = torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1)
            if self.device.type != "cuda":
                return batch, votes.cpu(), None
            # A batch's classes are fewer bytes than its counts, so they cross to the host, which counts them.
            host = torch.empty(votes.shape, dtype=votes.dtype, pin_memory=True)
            host.copy_(votes, non_blocking=True)
            return batch, host, torch.cuda.current_stream(self.device).record_event()

    @staticmethod
    def _settle(batch: list[Draws], votes: torch.Tensor, event: torch.cuda.Event | None) -> Votes:
        if event is not None:
            event.synchronize()
        classes: Votes = votes.numpy()
        if classes.min(initial=0) < 0:
            ends = np.cumsum([draws.count for draws in batch])
            part = int(np.searchsorted(ends, int(np.argmin(classes)), side="right"))
            bad = int((classes[ends[part] - batch[part].count : ends[part]] < 0).sum())
            raise ValueError(
                f"the model's output is not finite for {bad} noisy copies of {batch[part].name}: that is no vote"
            )
        return classes


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode, and each of its modules back in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
