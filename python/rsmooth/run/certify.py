"""A certification run: count the votes of a data set's examples, certify them, and keep everything."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth import noise
from rsmooth.radii import certify_counts
from rsmooth.run.files import claimed
from rsmooth.run.models import model_fingerprint
from rsmooth.run.plan import FixedPlan, Plan, SequentialPlan, Tally
from rsmooth.run.store import Appender, damaged_lines, read_examples, read_parts, read_settings, write_settings
from rsmooth.run.workers import Workers, joined
from rsmooth.sequential import TESTS, BettingTest, StagesTest, least_probability
from rsmooth.voting import Voter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import torch

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.data import Data
    from rsmooth.run.models import Model
    from rsmooth.run.store import Settings
    from rsmooth.voting import Draws

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
        Noisy copies the model gets at once; None is 1,000, or fewer of large images.
    noise : str
        ``host`` or ``device``; see `rsmooth.voting.Voter`.
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

    def __post_init__(self) -> None:
        """Check what nothing else checks."""
        for name in ("n0", "n", "skip"):
            noise.integer(name, getattr(self, name), 1, 2**53)
        for name in ("max", "batch_size"):
            if getattr(self, name) is not None:
                noise.integer(name, getattr(self, name), 1, 2**31)
        if self.test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, got {self.test!r}")


def certify(
    out: Path,
    model: Model,
    data: Data,
    mechanism: Mechanism,
    order: Order,
    *,
    seed: noise.Seed = None,
    device: torch.device | str = "cpu",
    told: Settings | None = None,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> dict[int, dict[str, Any]]:
    """Certify a data set's examples into a folder, or go on where an earlier start was stopped.

    Started by torchrun, each process takes its share of the examples and writes files of its own.

    Parameters
    ----------
    out : pathlib.Path
        The run's folder: ``run.json`` with the settings, ``examples-<rank>.jsonl`` with a record for each finished
        example, ``parts-<rank>.jsonl`` with the votes of those in flight.
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
        Called with the numbers of this worker's examples that are done and that it has.

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
    """
    with joined() as workers:
        if workers.rank == 0:
            with claimed(out):
                return _run(workers, out, model, data, mechanism, order, seed, device, told, progress)
        return _run(workers, out, model, data, mechanism, order, seed, device, told, progress)


def _run(  # noqa: PLR0917
    workers: Workers,
    out: Path,
    model: Model,
    data: Data,
    mechanism: Mechanism,
    order: Order,
    seed: noise.Seed,
    device: torch.device | str,
    told: Settings | None,
    progress: Callable[[int, int], object],
) -> dict[int, dict[str, Any]]:
    indices = range(0, min(len(data), order.max or len(data)), order.skip)
    if not indices:
        raise ValueError(f"{data.name} has no examples to certify")
    dim = data[0][0].numel()
    work = _Work(model, data, mechanism, order, dim, device)
    wanted = work.settings(indices)
    root = workers.first(lambda: _agree(out, wanted, seed, told))
    todo = workers.first(lambda: _todo(out, indices, work.group_size))
    parts = read_parts(out)
    mine = todo[workers.rank :: workers.count]
    total = sum(len(indices[group]) for _, group in mine)
    done = 0
    with Appender(out, workers.rank) as store:
        for number, group in mine:
            known = {batch: part for (owner, batch), part in parts.items() if owner == number}
            work.certify(number, indices[group], root, known, store)
            done += len(indices[group])
            progress(done, total)
    workers.wait()
    return read_examples(out)[0]


def _agree(out: Path, wanted: Settings, seed: noise.Seed, told: Settings | None) -> np.random.SeedSequence:
    """Return the run's seed; refuse a folder that holds a run with other settings."""
    kept = read_settings(out)
    if kept is None:
        root = noise.sequence_of(seed)
        named = {"entropy": str(root.entropy), "spawn_key": list(root.spawn_key), "pool_size": root.pool_size}
        write_settings(out, {"settings": wanted, "seed": named, "told": told or {}, "build": noise.build_info()})
        return root
    for name, value in wanted.items():
        if kept["settings"].get(name) != value:
            raise ValueError(
                f"{out} holds a run with other settings: {name} {kept['settings'].get(name)!r} there, {value!r} here; "
                "choose another folder"
            )
    named = kept["seed"]
    root = np.random.SeedSequence(
        int(named["entropy"]), spawn_key=tuple(named["spawn_key"]), pool_size=named["pool_size"]
    )
    if seed is not None:
        given = noise.sequence_of(seed)
        if (given.entropy, given.spawn_key) != (root.entropy, root.spawn_key):
            raise ValueError(f"{out} holds a run with another seed: {root.entropy} there, {given.entropy} here")
    return root


def _todo(out: Path, indices: range, size: int) -> list[tuple[int, slice]]:
    """Return the groups that are not finished: their numbers, and where they are in `indices`."""
    finished, damaged = read_examples(out)
    if damaged:
        print(f"{out}: these lines are run again, {damaged_lines(damaged)}")  # noqa: T201
    groups = [slice(start, start + size) for start in range(0, len(indices), size)]
    return [(i, group) for i, group in enumerate(groups) if not all(each in finished for each in indices[group])]


class _Work:
    """What is the same for all groups."""

    def __init__(  # noqa: PLR0917
        self, model: Model, data: Data, mechanism: Mechanism, order: Order, dim: int, device: torch.device | str
    ) -> None:
        self.model, self.data, self.mechanism, self.order, self.dim = model, data, mechanism, order, dim
        self.voter = Voter(model.module, mechanism, model.num_classes, device=device, noise=order.noise)  # type: ignore[arg-type]
        self.size = order.batch_size or max(1, min(1000, 2**26 // dim))
        self.rule: dict[str, Any] = {"norm": order.norm, "dim": dim, "alpha": order.alpha, "bound": order.bound}
        # Refuses bad settings before the model runs for hours.
        certify_counts(
            np.empty((0, model.num_classes), np.int64),
            mechanism,
            runner_up=order.runner_up,  # type: ignore[arg-type]
            **self.rule,
        )
        self.test: BettingTest | StagesTest | None = None
        if order.radius is None:
            self.group_size = max(1, -(-BATCHES_IN_GROUP * self.size // (order.n0 + order.n)))
        else:
            threshold = least_probability(mechanism, order.radius, norm=order.norm, dim=dim, bound=order.bound)
            kind = BettingTest if order.test == "betting" else StagesTest
            self.test = kind(threshold, order.alpha, order.n)
            self.group_size = EXAMPLES_IN_GROUP

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
            "norm": str(self.order.norm),
            "max": indices.stop,
            "batch_size": self.size,
            "group_size": self.group_size,
            "noise_layout": noise.build_info()["noise_layout"],
        }

    def certify(
        self, number: int, indices: range, root: np.random.SeedSequence, known: dict[int, Any], store: Appender
    ) -> None:
        """Count the votes of a group and write its records."""
        items = [self.data[index] for index in indices]
        digests = [hashlib.blake2b(image.numpy().tobytes(), digest_size=8).hexdigest() for image, _ in items]
        examples = [
            (index, image.to(self.voter.dtype).contiguous()) for index, (image, _) in zip(indices, items, strict=True)
        ]
        sizes: dict[str, Any] = {"n0": self.order.n0, "size": self.size, "root": root}
        plan: Plan = (
            FixedPlan(examples, self.model.num_classes, n=self.order.n, **sizes)
            if self.test is None
            else SequentialPlan(examples, self.model.num_classes, test=self.test, **sizes)
        )
        seconds = sum(part.seconds for part in known.values())
        numbers: list[int] = []

        def batches() -> Iterator[list[Draws]]:
            batch = 0
            while (draws := plan.compose(batch)) is not None:
                part = known.get(batch)
                if part is not None and len(part.votes) == sum(each.count for each in draws):
                    plan.record(batch, part.votes)
                else:
                    numbers.append(batch)
                    yield draws
                batch += 1

        started = time.perf_counter()
        for counted, (_, votes) in enumerate(self.voter.votes(batches(), size=self.size)):
            took, started = time.perf_counter() - started, time.perf_counter()
            plan.record(numbers[counted], votes)
            store.part(number, numbers[counted], votes, took)
            seconds += took
        tally = plan.tally()
        drawn = tally.selection.sum(axis=1) + tally.counts.sum(axis=1)
        times = seconds * drawn / drawn.sum()
        results = self.results(tally)
        store.examples(
            {
                "index": index,
                "label": items[i][1],
                "image": digests[i],
                "selection": tally.selection[i].tolist(),
                "counts": tally.counts[i].tolist(),
                **results[i],
                "seconds": round(float(times[i]), 6),
            }
            for i, index in enumerate(indices)
        )

    def results(self, tally: Tally) -> list[dict[str, Any]]:
        """Return what a group's votes certify."""
        if tally.decision is not None and self.test is not None:
            top = tally.selection.argmax(axis=1)
            outcomes = {1: "certified", -1: "abandoned", 0: "undecided"}
            return [
                {
                    "prediction": int(top[i]) if decision > 0 else -1,
                    "radius": self.order.radius if decision > 0 else 0.0,
                    "outcome": outcomes[int(decision)],
                }
                for i, decision in enumerate(tally.decision)
            ]
        found = certify_counts(
            tally.counts,
            self.mechanism,
            selection=tally.selection,
            runner_up=self.order.runner_up,  # type: ignore[arg-type]
            **self.rule,
        )
        return [
            {
                "prediction": int(found.prediction[i]),
                "radius": float(found.radius[i]),
                "p1": float(found.p1[i]),
                "p2": float(found.p2[i]),
            }
            for i in range(len(found))
        ]
