"""Noise drawn ahead: a background thread fills host buffers while the model runs."""

from __future__ import annotations

import queue
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from rsmooth._check import integer, shape_of
from rsmooth._streams import draws_from, sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

__all__ = ["draw_into", "prefetch", "prefetch_noise"]

Job = TypeVar("Job")

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
    >>> from rsmooth.torch.prefetch import prefetch_noise
    >>> mechanism = rsmooth.Gaussian(0.25)
    >>> whole = mechanism.sample((6, 3, 8, 8), seed=1)
    >>> batches = prefetch_noise(mechanism, (2, 3, 8, 8), 3, seed=1)
    >>> [bool((z.numpy() == whole[2 * i : 2 * i + 2]).all()) for i, z in enumerate(batches)]
    [True, True, True]
    """
    sizes = shape_of(shape)
    batches = integer("batches", batches, 0, None)
    first = draws_from(first, sizes[0] * batches)
    # One entropy for all batches, where seed is None too.
    source = sequence_of(seed)

    def fill(batch: int, buffer: torch.Tensor) -> torch.Tensor:
        draw_into(mechanism, buffer, seed=source, first=first + batch * sizes[0], threads=threads)
        return buffer

    return (batch for _, batch in prefetch(fill, range(batches), sizes, dtype=dtype, device=device))


def draw_into(
    mechanism: Mechanism,
    out: torch.Tensor,
    *,
    seed: Seed,
    first: int,
    grid: int | None = None,
    threads: int | None = None,
) -> None:
    """Write a mechanism's noise, or its steps on a grid, into a host tensor.

    A mechanism of the user's own may return a new array instead of writing into ``out``, whose memory then holds
    anything.
    """
    floats = "float64" if out.dtype == torch.float64 else "float32"
    kind: dict[str, Any] = {"dtype": floats} if grid is None else {"grid": grid}
    shape = tuple(out.shape)
    z = mechanism.sample(shape, seed=seed, first=first, out=out, threads=threads, **kind)
    if z is out:
        return
    if tuple(z.shape) != shape:
        raise ValueError(f"{mechanism!r} must draw noise of shape {shape}, got {tuple(z.shape)}")
    out.copy_(torch.as_tensor(z))


def prefetch(
    fill: Callable[[Job, torch.Tensor], torch.Tensor],
    jobs: Iterable[Job],
    shape: Sequence[int],
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Generator[tuple[Job, torch.Tensor], None, None]:
    """Iterate over batches that `fill` writes in a background thread.

    Parameters
    ----------
    fill : callable
        ``fill(job, buffer)`` writes a job's batch into `buffer`, a host tensor of the given shape and type (pinned for
        a CUDA device), and returns the part of it that it wrote.
    jobs : iterable
        What `fill` is called with. It is iterated over in the thread that uses the batches, two ahead of them.
    shape, dtype
        Of the buffers.
    device : torch.device or str
        Where the batches go.

    Yields
    ------
    tuple
        A job, and what `fill` returned for it, on `device`. On the CPU it is the buffer itself, valid until the next
        batch is asked for.

    Raises
    ------
    BaseException
        Whatever `fill` raises.
    """
    device = torch.device(device)
    cuda = device.type == "cuda"
    wanted: queue.SimpleQueue[tuple[Job, torch.Tensor, torch.cuda.Event | None] | None] = queue.SimpleQueue()
    ready: queue.SimpleQueue[tuple[torch.Tensor, torch.Tensor] | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            while (task := wanted.get()) is not None:
                job, buffer, copied = task
                if copied is not None:
                    copied.synchronize()
                ready.put((buffer, fill(job, buffer)))
        except BaseException as error:  # noqa: BLE001
            ready.put(error)

    worker = threading.Thread(target=work, name="rsmooth-prefetch", daemon=True)
    worker.start()
    try:
        rest = iter(jobs)
        filling: deque[Job] = deque()
        for job in islice(rest, BUFFERS):
            filling.append(job)
            wanted.put((job, torch.empty(tuple(shape), dtype=dtype, pin_memory=cuda), None))
        while filling:
            done = ready.get()
            if isinstance(done, BaseException):
                raise done
            buffer, part = done
            copied = None
            if cuda:
                part = part.to(device, non_blocking=True)
                copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                copied.record(torch.cuda.current_stream(device))
            yield filling.popleft(), part
            for job in islice(rest, 1):
                filling.append(job)
                wanted.put((job, buffer, copied))
    finally:
        wanted.put(None)
        worker.join()
