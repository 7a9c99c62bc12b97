"""A certification run: count the votes of a data set's examples, certify them, and keep everything."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from rsmooth._check import integer
from rsmooth._streams import Seed, sequence_of
from rsmooth.io.files import claimed
from rsmooth.noise import build_info
from rsmooth.run.plan import FixedPlan, Plan, SequentialPlan, composition
from rsmooth.run.results import Rule
from rsmooth.run.store import (
    Appender,
    damaged_lines,
    read_examples,
    read_parts,
    read_settings,
    remove_parts,
    seed_of,
    seed_record,
    write_settings,
)
from rsmooth.run.workers import joined
from rsmooth.sequential import TESTS
from rsmooth.torch.voter import Voter
from rsmooth.zoo.accelerated import Accelerated, precision_type
from rsmooth.zoo.checkpoints import model_fingerprint
from rsmooth.zoo.data import image_digest
from rsmooth.zoo.networks import check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.store import Part, Settings
    from rsmooth.torch.draws import Draws
    from rsmooth.zoo.data import Data, Item
    from rsmooth.zoo.networks import Model

__all__ = ["Order", "certify"]

# Examples of a group: with a fixed number of draws, as many as fill this many batches, since each group's last one is
# not full; with a sequential test, so many that few draws are made for examples just decided.
BATCHES_IN_GROUP = 32
EXAMPLES_IN_GROUP = 100


@dataclass(frozen=True)
class Order:
    """What is to be certified, and how.

    Attributes
    ----------
    n0, n : int
        Draws of an example that select its class, and that test it (at most, with `radius`).
    alpha : float
        Failure probability of each certificate.
    norm : float
        1, 2 or ``math.inf``.
    bound, runner_up : str
        As for `rsmooth.certify_counts`.
    radius : float or None
        None: as large a radius as the counts give. Otherwise the one to certify, by a sequential test that stops as
        soon as it can; the runner-up is then the complement.
    test : str
        ``betting`` or ``stages``; see `rsmooth.sequential`.
    skip, max : int or None
        Every `skip`-th example is certified, of those with an index below `max`.
    batch_size : int or None
        Noisy copies the model gets at once; None is `rsmooth.torch.voter.Voter.usual_batch_size`.
    noise : str
        ``host`` or ``device``; see `rsmooth.torch.voter.Voter`.
    precision, channels_last, compile
        As for `rsmooth.zoo.accelerated.Accelerated`. What is certified is the network as it is run.
    """

    norm: float
    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    bound: str = "renyi"
    runner_up: str = "second"
    radius: float | None = None
    test: str = "betting"
    skip: int = 1
    max: int | None = None
    batch_size: int | None = None
    noise: str = "host"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Check what nothing else checks."""
        for name in ("n0", "n", "skip"):
            integer(name, getattr(self, name), 1, 2**53)
        for name in ("max", "batch_size"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name), 1, 2**31)
        if self.test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, got {self.test!r}")
        if self.radius is not None:
            object.__setattr__(self, "runner_up", "complement")
        precision_type(self.precision)


def certify(
    out: Path,
    model: Model,
    data: Data,
    mechanism: Mechanism,
    order: Order,
    *,
    seed: Seed = None,
    device: torch.device | str = "cpu",
    told: Settings | None = None,
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
    model, data, mechanism, order
        What to do. All of it, by fingerprint, must be what an earlier start into `out` was given.
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
    >>> from rsmooth import Gaussian
    >>> from rsmooth.run.certify import Order, certify
    >>> from rsmooth.zoo.data import load_data
    >>> from rsmooth.zoo.networks import build_model
    >>> model, data = build_model("digits_cnn", 10, seed=0), load_data("digits")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = certify(
    ...         pathlib.Path(folder), model, data, Gaussian(0.25), Order(norm=2, n=500, max=2), seed=1
    ...     )
    >>> records[1]["label"], sum(records[1]["counts"])
    (6, 500)
    """
    with joined() as workers, ExitStack() as claims:
        if workers.rank == 0:
            claims.enter_context(claimed(out))
        indices = range(0, min(len(data), order.max or len(data)), order.skip)
        if not indices:
            raise ValueError(f"{data.name} has no examples to certify")
        work = _Work(model, data, mechanism, order, torch.device(device))
        work.size = workers.first(lambda: _batch_size(out, work))
        # Before there is a run of them.
        check_model(model, work.item(0)[0], device)
        wanted = work.settings(indices)
        root = workers.first(lambda: _agree(out, wanted, seed, told))
        todo = workers.first(lambda: _todo(out, indices, work.group_size))
        if workers.rank:
            claims.enter_context(claimed(out, worker=workers.rank))
        parts = read_parts(out)
        # Nobody removes parts before all have read them.
        workers.wait()
        # What draws a sequential test asks for depends on the votes before: its groups are not divided.
        even = len(todo) - (len(todo) % workers.count if order.radius is None else 0)
        mine, rest = todo[:even][workers.rank :: workers.count], todo[even:]
        bar = _Bar(sum(len(indices[group]) for _, group in (*mine, *rest)), progress)
        with Appender(out, workers.rank) as store:
            for number, group in mine:
                work.certify(number, indices[group], root, parts, store, bar)
            if rest:
                for number, group in rest:
                    work.count(number, indices[group], root, parts, store, bar, share=(workers.rank, workers.count))
                store.flush()
                workers.wait()
                parts |= read_parts(out)
                workers.wait()
                for number, group in rest[workers.rank :: workers.count]:
                    work.certify(number, indices[group], root, parts, store, None)
        workers.wait()
        return read_examples(out)[0]


class _Bar:
    """Tells how many examples are done, those in flight in part."""

    def __init__(self, total: int, progress: Callable[[float, int], object]) -> None:
        self.finished, self.total, self.progress = 0, total, progress

    def show(self, more: float) -> None:
        self.progress(self.finished + more, self.total)


def _batch_size(out: Path, work: _Work) -> int:
    """Return the size of batches: where none is asked for, that of an earlier start, perhaps on another device."""
    kept = read_settings(out)
    if work.order.batch_size is None and kept is not None:
        return int(kept["settings"]["batch_size"])
    return work.size


def _agree(out: Path, wanted: Settings, seed: Seed, told: Settings | None) -> np.random.SeedSequence:
    """Return the run's seed; refuse a folder that holds a run with other settings."""
    kept = read_settings(out)
    if kept is None:
        root = sequence_of(seed)
        build = {**build_info(), "torch": torch.__version__}
        write_settings(out, {"settings": wanted, "seed": seed_record(root), "told": told or {}, "build": build})
        return root
    for name, value in wanted.items():
        if kept["settings"].get(name) != value:
            raise ValueError(
                f"{out} holds a run with other settings: {name} {kept['settings'].get(name)!r} there, {value!r} here; "
                "choose another folder"
            )
    root = seed_of(kept["seed"])
    if seed is not None:
        given = sequence_of(seed)
        if (given.entropy, given.spawn_key) != (root.entropy, root.spawn_key):
            raise ValueError(f"{out} holds a run with another seed: {root.entropy} there, {given.entropy} here")
    return root


def _todo(out: Path, indices: range, size: int) -> list[tuple[int, slice]]:
    """Return the groups that are not finished: their numbers, and where they are in `indices`."""
    finished, damaged = read_examples(out)
    todo = []
    for number, start in enumerate(range(0, len(indices), size)):
        group = slice(start, start + size)
        if all(index in finished for index in indices[group]):
            remove_parts(out, number)
        else:
            todo.append((number, group))
    if damaged and todo:
        print(f"{out}: these lines are run again, {damaged_lines(damaged)}")  # noqa: T201
    return todo


class _Work:
    """What is the same for all groups."""

    def __init__(self, model: Model, data: Data, mechanism: Mechanism, order: Order, device: torch.device) -> None:
        self.model, self.data, self.mechanism, self.order = model, data, mechanism, order
        self.shape = data[0][0].shape
        self.dim = self.shape.numel()
        module = Accelerated(
            model.module, precision=order.precision, channels_last=order.channels_last, compile_=order.compile
        )
        self.voter = Voter(module, mechanism, model.num_classes, device=device, noise=order.noise)  # type: ignore[arg-type]
        self.size = order.batch_size or self.voter.usual_batch_size(self.dim)
        # Refuses bad settings before the model runs for hours.
        self.rule = Rule(
            mechanism,
            norm=order.norm,
            dim=self.dim,
            alpha=order.alpha,
            bound=order.bound,
            n=order.n,
            runner_up=order.runner_up,
            radius=order.radius,
            test=order.test,
        )

    @property
    def group_size(self) -> int:
        """How many examples are counted together."""
        if self.order.radius is not None:
            return EXAMPLES_IN_GROUP
        return max(1, -(-BATCHES_IN_GROUP * self.size // (self.order.n0 + self.order.n)))

    def settings(self, indices: range) -> Settings:
        """Return what a run must not change."""
        return {
            "arch": self.model.arch,
            "normalization": self.model.normalization,
            "num_classes": self.model.num_classes,
            "model": model_fingerprint(self.model),
            "data": self.data.fingerprint(),
            "mechanism": self.mechanism.name,
            "sigma": self.mechanism.parameter,
            "dim": self.dim,
            **asdict(self.order),
            "test": None if self.order.radius is None else self.order.test,
            "norm": str(self.order.norm),
            "max": indices.stop,
            "batch_size": self.size,
            "group_size": self.group_size,
            "noise_layout": build_info()["noise_layout"],
            "noise_device": self.voter.noise_device,
        }

    def item(self, index: int) -> Item:
        """Return an image and its class, if they are of the run's kind: radii depend on the number of coordinates."""
        image, label = self.data[index]
        if image.shape != self.shape:
            raise ValueError(
                f"item {index} of {self.data.name} must be of the first one's shape {tuple(self.shape)}, got "
                f"{tuple(image.shape)}"
            )
        if label >= self.model.num_classes:
            raise ValueError(
                f"item {index} of {self.data.name} is of class {label}, the model has {self.model.num_classes} classes"
            )
        return image, label

    def certify(  # noqa: PLR0917
        self,
        number: int,
        indices: range,
        root: np.random.SeedSequence,
        parts: dict[tuple[int, int], Part],
        store: Appender,
        bar: _Bar | None,
    ) -> None:
        """Count the votes of a group and write its records."""
        items, plan, seconds = self.count(number, indices, root, parts, store, bar)
        selection, counts = plan.tally()
        drawn = selection.sum(axis=1) + counts.sum(axis=1)
        times = seconds * drawn / drawn.sum()
        results = self.rule.records(selection, counts)
        records = (
            {
                "index": index,
                "label": items[i][1],
                "image": image_digest(items[i][0]),
                "selection": selection[i].tolist(),
                "counts": counts[i].tolist(),
                **results[i],
                "seconds": round(float(times[i]), 6),
            }
            for i, index in enumerate(indices)
        )
        store.examples(number, records)

    def count(  # noqa: PLR0917
        self,
        number: int,
        indices: range,
        root: np.random.SeedSequence,
        parts: dict[tuple[int, int], Part],
        store: Appender,
        bar: _Bar | None,
        share: tuple[int, int] = (0, 1),
    ) -> tuple[list[Item], Plan, float]:
        """Count the votes of a group that are not among `parts`; return its items, its plan and how long that took.

        Of a share (i, k), every k-th batch is run, beginning with number i.
        """
        known = {batch: part for (owner, batch), part in parts.items() if owner == number}
        items = [self.item(index) for index in indices]
        plan = self.plan(indices, items, root)
        seconds = 0.0
        numbers: list[int] = []

        def batches() -> Iterator[list[Draws]]:
            nonlocal seconds
            batch = missing = 0
            while (draws := plan.compose(batch)) is not None:
                part = known.get(batch)
                if part is not None and part.draws == composition(draws):
                    plan.record(batch, part.votes)
                    seconds += part.seconds
                else:
                    if self.rule.radius is not None:
                        # What comes behind a gap was asked for by votes that are lost.
                        known.clear()
                    if missing % share[1] == share[0]:
                        numbers.append(batch)
                        yield draws
                    missing += 1
                batch += 1

        started = time.perf_counter()
        for counted, (draws, votes) in enumerate(self.voter.votes(batches(), size=self.size)):
            took, started = time.perf_counter() - started, time.perf_counter()
            plan.record(numbers[counted], votes)
            store.part(number, numbers[counted], composition(draws), votes, took)
            seconds += took
            if bar is not None:
                bar.show(min(plan.done() * share[1], len(indices)))
        if bar is not None:
            bar.finished += len(indices)
            bar.show(0)
        return items, plan, seconds

    def plan(self, indices: range, items: list[Item], root: np.random.SeedSequence) -> Plan:
        """Return which draws a group needs."""
        examples = [(index, image.contiguous()) for index, (image, _) in zip(indices, items, strict=True)]
        sizes: dict[str, Any] = {"n0": self.order.n0, "size": self.size, "root": root}
        test = self.rule.sequential_test
        if test is None:
            return FixedPlan(examples, self.model.num_classes, n=self.order.n, **sizes)
        return SequentialPlan(examples, self.model.num_classes, test=test, **sizes)
