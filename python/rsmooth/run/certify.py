"""A certification run: count the votes of a data set's examples, certify them, and keep everything."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from rsmooth._streams import Seed, sequence_of
from rsmooth.io.files import claimed
from rsmooth.noise import build_info
from rsmooth.run.spec import Head, Subject, read_head, seed_record, write_head
from rsmooth.run.store import Appender, damaged_lines, read_examples, read_parts, remove_parts
from rsmooth.run.work import Bar, Work
from rsmooth.run.workers import joined

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rsmooth.run.spec import Spec
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["certify"]


def certify(
    out: Path,
    model: Model,
    data: Data,
    spec: Spec,
    *,
    seed: Seed = None,
    device: torch.device | str = "cpu",
    told: dict[str, Any] | None = None,
    progress: Callable[[float, int], object] = lambda _done, _total: None,
) -> dict[int, dict[str, Any]]:
    """Certify a data set's examples into a folder, or go on where an earlier start was stopped.

    Started by torchrun, each process takes its share of the examples, and of the draws of those that are left over, and
    writes files of its own.

    Parameters
    ----------
    out : pathlib.Path
        The run's folder: ``run.json`` with the settings, ``examples-<rank>.jsonl`` with a record for each finished
        example, ``parts-<group>-<rank>.jsonl`` with the votes of those in flight.
    model, data, spec
        What to do. All of it, models and data by fingerprint, must be what an earlier start into `out` was given.
    seed : int, numpy.random.SeedSequence or None
        Names the streams: example i draws from ``SeedSequence(entropy, spawn_key=(*spawn_key, i, purpose))``, as
        `rsmooth.SmoothedClassifier` does. None is the seed of the earlier start, or fresh entropy, which is kept.
    device : torch.device or str
        Where the model runs.
    told : dict or None
        What else to keep in ``run.json``, as the paths that the model and the data came from; not compared.
    progress : callable
        Called with how many of this worker's examples are done, those in flight in part, and how many it has.

    Returns
    -------
    dict
        The records of all examples by index.

    Raises
    ------
    ValueError
        If `out` holds a run with other settings, or an argument has a value that is not allowed.
    OSError
        If another process is writing to `out`, another worker has ended, or files cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.run.certify import certify
    >>> from rsmooth.run.spec import Spec
    >>> from rsmooth.zoo.data import load_data
    >>> from rsmooth.zoo.networks import build_model
    >>> model, data = build_model("digits_cnn", 10, seed=0), load_data("digits")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = certify(pathlib.Path(folder), model, data, Spec("gaussian", 0.25, norm=2, n=500, max=2), seed=1)
    >>> records[1]["label"], sum(records[1]["counts"])
    (6, 500)
    """
    with joined() as workers, ExitStack() as claims:
        if workers.rank == 0:
            claims.enter_context(claimed(out))
        indices = range(0, min(len(data), spec.max or len(data)), spec.skip)
        if not indices:
            raise ValueError(f"{data.name} has no examples to certify")
        work = Work(model, data, replace(spec, max=indices.stop), torch.device(device))
        size = workers.first(lambda: _batch_size(out, work))
        work.spec = replace(work.spec, batch_size=size)
        # Before there is a run of them.
        if workers.first(lambda: read_head(out) is None):
            work.check(indices, sequence_of(seed))
        work.head = workers.first(lambda: _agree(out, work.subject(), work.spec, seed, told))
        todo, finished = workers.first(lambda: _todo(out, work.head.digest, indices, work.group_size))
        if workers.rank:
            claims.enter_context(claimed(out, worker=workers.rank))
        work.finished, work.parts = finished, read_parts(out, work.head.digest)
        # Nobody removes parts before all have read them.
        workers.wait()
        # Which draws are asked for depends on the votes before, where these stop them: such groups are not divided.
        even = len(todo) - (0 if spec.stops else len(todo) % workers.count)
        mine, rest = todo[:even][workers.rank :: workers.count], todo[even:]
        bar = Bar(sum(len(indices[group]) for _, group in (*mine, *rest)), progress)
        with Appender(out, workers.rank, work.head.digest) as store:
            for number, group in mine:
                work.certify(number, indices[group], store, bar)
            if rest:
                for number, group in rest:
                    work.count(number, indices[group], store, bar, share=(workers.rank, workers.count))
                store.flush()
                workers.wait()
                work.parts |= read_parts(out, work.head.digest)
                workers.wait()
                for number, group in rest[workers.rank :: workers.count]:
                    work.certify(number, indices[group], store, None)
        workers.wait()
        return read_examples(out, work.head.digest)[0]


def _batch_size(out: Path, work: Work) -> int:
    """Return the size of batches: where none is asked for, that of an earlier start, perhaps on another device."""
    kept = read_head(out)
    earlier = None if kept is None else kept.spec.batch_size
    return work.spec.batch_size or earlier or work.voter.usual_batch_size(work.dim)


def _agree(out: Path, subject: Subject, spec: Spec, seed: Seed, told: dict[str, Any] | None) -> Head:
    """Return the run's settings and seed; refuse a folder that holds another run, or what is left of one."""
    kept = read_head(out)
    root = kept.seed if kept is not None and seed is None else sequence_of(seed)
    wanted = Head(spec, subject, root, told or {}, {**build_info(), "torch": torch.__version__})
    if kept is None:
        read_examples(out, wanted.digest)
        write_head(out, wanted)
        return wanted
    if differences := kept.differences(wanted):
        raise ValueError(f"{out} holds a run with other settings: {'; '.join(differences)}; choose another folder")
    there, here = seed_record(kept.seed), seed_record(wanted.seed)
    if there != here:
        names = [name for name in there if there[name] != here[name]]
        told_ = "; ".join(f"{name} {there[name]} there, {here[name]} here" for name in names)
        raise ValueError(f"{out} holds a run with another seed: {told_}; choose another folder")
    return kept


def _todo(out: Path, run: str, indices: range, size: int) -> tuple[list[tuple[int, slice]], frozenset[int]]:
    """Return the groups to count, by number and where they are in `indices`, and the examples that are finished."""
    finished, damaged = read_examples(out, run)
    todo = []
    for number, start in enumerate(range(0, len(indices), size)):
        group = slice(start, start + size)
        if all(index in finished for index in indices[group]):
            remove_parts(out, number)
        else:
            todo.append((number, group))
    if damaged and todo:
        print(f"{out}: these lines are run again, {damaged_lines(damaged)}")  # noqa: T201
    return todo, frozenset(finished)
