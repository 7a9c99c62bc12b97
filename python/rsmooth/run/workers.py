"""The processes that share a run, as torchrun starts them; one, where it did not."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Workers", "joined"]

# Workers wait for the slowest, which can be hours behind. One that died is noticed at once, unless it had not joined.
PATIENCE = timedelta(days=365)
JOINING = timedelta(minutes=10)


@dataclass(frozen=True)
class Workers:
    """A process's place among those of a run.

    Attributes
    ----------
    rank, count : int
        The process's number, from 0, and how many there are.
    """

    rank: int = 0
    count: int = 1

    def first(self, action: Callable[[], Any]) -> Any:
        """Let worker 0 do something while the others wait; return what it gave, or raise what it raised, everywhere.

        Parameters
        ----------
        action : callable
            Its result can be pickled.

        Returns
        -------
        object
            What `action` returned in worker 0.

        Raises
        ------
        Exception
            What it raised there.
        """
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = action()
            except Exception as error:  # noqa: BLE001
                outcome[1] = error
        if self.count > 1:
            _talk(lambda: dist.broadcast_object_list(outcome))
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def sum(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by the sum of all workers' tensors.

        Parameters
        ----------
        tensor : torch.Tensor
            Of one shape everywhere, on the device that `joined` was given.

        Raises
        ------
        ConnectionError
            If one of them has ended.
        """
        if self.count > 1:
            _talk(lambda: dist.all_reduce(tensor))

    def wait(self) -> None:
        """Wait until all workers are here.

        Raises
        ------
        ConnectionError
            If one of them has ended.
        """
        if self.count > 1:
            _talk(dist.barrier)


@contextmanager
def joined(device: torch.device | None = None) -> Iterator[Workers]:
    """Join the processes that torchrun started (by its environment variables), over gloo.

    Parameters
    ----------
    device : torch.device or None
        Where tensors are that `Workers.sum` gets: those of a GPU go over NCCL, if each process has one of its own. None
        where only words are exchanged, which gloo does for GPUs as well.

    Yields
    ------
    Workers
        This process's place.

    Examples
    --------
    >>> from rsmooth.run.workers import joined
    >>> with joined() as workers:
    ...     workers
    Workers(rank=0, count=1)
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    _talk(lambda: _join(_backend(device)))
    try:
        yield Workers(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _backend(device: torch.device | None) -> str:
    # NCCL refuses processes that share a GPU.
    own = device is not None and device.type == "cuda"
    own = own and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count()
    return "cpu:gloo,cuda:nccl" if own else "gloo"


def _join(backend: str) -> None:
    store, rank, count = next(rendezvous("env://", timeout=JOINING))
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)


def _talk(action: Callable[[], object]) -> None:
    try:
        action()
    except RuntimeError as error:
        reason = str(error).split("\n", 1)[0]
        raise ConnectionError(f"another worker has ended ({reason})") from error
