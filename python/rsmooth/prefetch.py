"""Noise drawn ahead: a background thread fills host buffers while the model runs."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import torch

from rsmooth import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rsmooth.mechanisms import Mechanism
    from rsmooth.noise import Seed

    Fill = Callable[[int, torch.Tensor], torch.Tensor]

__all__ = ["prefetch", "prefetch_noise"]

# One buffer is read while the next is filled.
BUFFERS = 2


def prefetch_noise(
    mechanism: Mechanism,
    shape: int | Sequence[int],
    batches: int,
    *,
    seed: Seed = None,
    first: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> Iterator[torch.Tensor]:
    """Iterate over batches of noise, each drawn while the one before is in use.

    Parameters
    ----------
    mechanism : Gaussian, Exponential or Laplace
        Whose noise.
    shape : int or sequence of int
        Shape of a batch: ``shape[0]`` draws of ``prod(shape[1:])`` coordinates each.
    batches : int
        How many batches, at least 0. Batch i holds the draws from ``first + i * shape[0]`` on.
    seed, first, threads
        As for `rsmooth.sample_linf`.
    dtype : torch.dtype
        float32, float64, float16 or bfloat16.
    device : torch.device or str
        Where the batches go. For a CUDA device the host buffers are pinned and the copies do not block.

    Yields
    ------
    torch.Tensor
        A batch on `device`. On the CPU it is the buffer itself, valid until the next batch is asked for.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.prefetch import prefetch_noise
    >>> mechanism = rsmooth.Gaussian(0.25)
    >>> whole = mechanism.sample((6, 3, 8, 8), seed=1)
    >>> batches = prefetch_noise(mechanism, (2, 3, 8, 8), 3, seed=1)
    >>> [bool((z.numpy() == whole[2 * i : 2 * i + 2]).all()) for i, z in enumerate(batches)]
    [True, True, True]
    """
    sizes = noise.shape_of(shape)
    batches = noise.integer("batches", batches, 0, None)
    first = noise.draws_from(first, sizes[0] * batches)
    # One entropy for all batches, where seed is None too.
    source = noise.sequence_of(seed)

    def fill(batch: int, buffer: torch.Tensor) -> torch.Tensor:
        mechanism.sample(sizes, seed=source, first=first + batch * sizes[0], out=buffer, threads=threads)
        return buffer

    return prefetch(fill, batches, sizes, dtype=dtype, device=device)


def prefetch(
    fill: Fill, batches: int, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device | str
) -> Iterator[torch.Tensor]:
    """Iterate over batches that `fill` writes in a background thread.

    Parameters
    ----------
    fill : callable
        ``fill(i, buffer)`` writes batch i into `buffer`, a host tensor of the given shape and type (pinned for a CUDA
        device), and returns the part of it that it wrote.
    batches : int
        How many batches.
    shape, dtype
        Of the buffers.
    device : torch.device or str
        Where the batches go.

    Yields
    ------
    torch.Tensor
        What `fill` returned, on `device`. On the CPU it is the buffer itself, valid until the next batch is asked for.

    Raises
    ------
    BaseException
        Whatever `fill` raises.
    """
    device = torch.device(device)
    cuda = device.type == "cuda"
    free: queue.SimpleQueue[tuple[torch.Tensor, torch.cuda.Event | None] | None] = queue.SimpleQueue()
    ready: queue.SimpleQueue[tuple[torch.Tensor, torch.Tensor] | BaseException] = queue.SimpleQueue()
    for _ in range(min(BUFFERS, batches)):
        free.put((torch.empty(tuple(shape), dtype=dtype, pin_memory=cuda), None))

    def work() -> None:
        try:
            for batch in range(batches):
                taken = free.get()
                if taken is None:
                    return
                buffer, copied = taken
                if copied is not None:
                    copied.synchronize()
                ready.put((buffer, fill(batch, buffer)))
        except BaseException as error:  # noqa: BLE001
            ready.put(error)

    worker = threading.Thread(target=work, name="rsmooth-prefetch", daemon=True)
    worker.start()
    try:
        for _ in range(batches):
            done = ready.get()
            if isinstance(done, BaseException):
                raise done
            buffer, part = done
            if cuda:
                copy = part.to(device, non_blocking=True)
                copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                copied.record(torch.cuda.current_stream(device))
                free.put((buffer, copied))
                yield copy
            else:
                yield part
                free.put((buffer, None))
    finally:
        free.put(None)
        worker.join()
