"""What a run does with a group of examples: it counts their votes, certifies them and writes their records."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsmooth._grid import steps_of
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.io.packed import packed
from rsmooth.mechanisms import mechanism_named
from rsmooth.noise import build_info
from rsmooth.run.rule import rule_of
from rsmooth.run.spec import Head, Subject
from rsmooth.torch.plan import LEAST, FixedPlan, Plan, UntilPlan, composition, waves
from rsmooth.torch.voter import Voter
from rsmooth.zoo.accelerated import Accelerated
from rsmooth.zoo.checkpoints import code_fingerprint, model_fingerprint
from rsmooth.zoo.data import image_digest
from rsmooth.zoo.networks import check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.rule import RunRule
    from rsmooth.run.spec import Spec
    from rsmooth.run.store import Appender, Part
    from rsmooth.torch.draws import Draws
    from rsmooth.zoo.data import Data, Item
    from rsmooth.zoo.networks import Model

__all__ = ["Bar", "Work", "drawn_on", "layout_of", "voter_of"]

# Examples of a group: with a fixed number of draws, as many as fill this many batches, since each group's last one is
# not full; where draws are stopped, so many that few of them are in flight for an example that ends.
BATCHES_IN_GROUP = 32
EXAMPLES_IN_GROUP = 100


def _told(value: Any) -> Any:
    """Return a label or a value of a certificate in terms of JSON."""
    return packed(value) if isinstance(value, np.ndarray) else value


class Bar:
    """Tells how many examples are done, those in flight in part."""

    def __init__(self, total: int, progress: Callable[[float, int], object]) -> None:
        self.finished, self.total, self.progress = 0, total, progress

    def show(self, more: float) -> None:
        """Tell that so many more examples than those that are finished are done."""
        self.progress(self.finished + more, self.total)


def _settled(spec: Spec, data: Data, dim: int) -> Spec:
    """Return a run's settings with its grid, and with the number of copies where all there are vote."""
    mechanism = mechanism_named(spec.mechanism, spec.sigma, allow_code=True)
    spec = replace(spec, grid=_grid(spec, mechanism, data, dim))
    if isinstance(spec.kind, Enumerated) and not spec.n:
        return replace(spec, n=spec.kind.number(mechanism, spec.steps))
    return spec


def _grid(spec: Spec, mechanism: Mechanism, data: Data, dim: int) -> str:
    """Return the grid that a run is on: the one asked for, or the coarsest that serves if its images are on one."""
    if spec.grid != "auto":
        return spec.grid
    if spec.noise != "host":
        return "none"
    if isinstance(spec.kind, Enumerated):
        # A finer grid has more copies, and no further inputs.
        return str(data.levels) if data.on_grid() else "none"
    return data.usual_grid(mechanism, spec.sigma, dim)


def layout_of(spec: Spec) -> int:
    """Return the version of the noise that a run draws."""
    return int(build_info()["noise_layout" if spec.steps is None else "grid_layout"])


def drawn_on(name: str, image: torch.Tensor, spec: Spec) -> torch.Tensor:
    """Return an image as a run's noise is added to it: as it is, or in steps of the run's grid."""
    if spec.steps is None:
        return image.contiguous()
    return torch.from_numpy(steps_of(name, image.contiguous(), spec.steps))


def voter_of(spec: Spec, rule: RunRule, model: Model, device: torch.device | str) -> Voter:
    """Return what counts a run's votes."""
    module = Accelerated(
        model.module, precision=spec.precision, channels_last=spec.channels_last, compile_=spec.compile
    )
    return Voter(
        module,
        rule.mechanism,
        model.num_classes,
        device=device,
        noise=spec.noise,  # type: ignore[arg-type]
        kind=rule.kind,
        grid=spec.steps,
    )


class Work:
    """What is the same for all groups."""

    head: Head
    finished: frozenset[int] = frozenset()

    def __init__(self, model: Model, data: Data, spec: Spec, device: torch.device) -> None:
        self.model, self.data = model, replace(data, domain=spec.bounds)
        if data.answer != spec.kind.answer:
            raise ValueError(
                f"data must be of labels that are a {spec.kind.answer}, for kind {spec.kind.name!r}, got those of "
                f"{data.name}, each a {data.answer}"
            )
        self.shape = self.data[0][0].shape
        self.dim = self.shape.numel()
        self.spec = _settled(spec, self.data, self.dim)
        # Refuses bad settings before the model runs for hours.
        self.rule = rule_of(self.spec, dim=self.dim, num_classes=model.num_classes, allow_code=True)
        self.spec = replace(self.spec, interval=self.rule.interval)
        self.stopping = self.rule.stopping
        self.examples = len(range(0, spec.max or len(data), spec.skip))
        self.voter = voter_of(self.spec, self.rule, model, device)
        self.parts: dict[tuple[int, int], Part] = {}

    @property
    def size(self) -> int:
        """Draws in a batch."""
        if self.spec.batch_size is None:
            raise ValueError("batch_size must be settled before draws are counted")
        return self.spec.batch_size

    @property
    def group_size(self) -> int:
        """How many examples are counted together."""
        if self.spec.stops:
            return EXAMPLES_IN_GROUP
        return max(1, -(-BATCHES_IN_GROUP * self.size // (self.spec.n0 + self.spec.n)))

    def subject(self) -> Subject:
        """Return what the run is made of."""
        return Subject(
            arch=self.model.arch,
            normalization=self.model.normalization,
            num_classes=self.model.num_classes,
            model=model_fingerprint(self.model),
            code=code_fingerprint(self.model),
            data=self.data.fingerprint(),
            dim=self.dim,
            group_size=self.group_size,
            noise_layout=layout_of(self.spec),
            noise_error=self.rule.noise_error,
            noise_device=self.voter.noise_device,
        )

    def check(self, indices: range, root: np.random.SeedSequence) -> None:
        """Refuse a budget that is too small, and a model that cannot be run or answers a row by more than the row."""
        least = len(indices) * (self.spec.n0 + min(LEAST, self.spec.n))
        if self.spec.draws is not None and self.spec.draws < least:
            raise ValueError(
                f"draws must be at least {least}: n0 = {self.spec.n0} and {min(LEAST, self.spec.n)} for each of "
                f"{len(indices)} examples, got {self.spec.draws:g}"
            )
        ends = {index: self.item(index) for index in (indices[0], indices[-1])}
        examples = [(index, self.example(index, image)) for index, (image, _) in ends.items()]
        for index, (image, label) in ends.items():
            found = check_model(self.model, image, self.voter.device, answer=self.data.answer)
            size = tuple(found.shape[-np.ndim(label) :]) if np.ndim(label) else ()
            if size != np.shape(label):
                raise ValueError(
                    f"item {index} of {self.data.name} has a map of the shape {np.shape(label)}, the model's has {size}"
                )
        self.voter.check_rows(examples, root, self.size)

    def item(self, index: int) -> Item:
        """Return an image and its class, if they are of the run's kind: radii depend on the number of coordinates."""
        image, label = self.data[index]
        if image.shape != self.shape:
            raise ValueError(
                f"item {index} of {self.data.name} must be of the first one's shape {tuple(self.shape)}, got "
                f"{tuple(image.shape)}"
            )
        if self.data.answer != "number" and (most := np.max(label)) >= self.model.num_classes:
            raise ValueError(
                f"item {index} of {self.data.name} is of class {most}, the model has {self.model.num_classes} classes"
            )
        return image, label

    def example(self, index: int, image: torch.Tensor) -> torch.Tensor:
        """Return an image as noise is added to it."""
        return drawn_on(f"item {index} of {self.data.name}", image, self.spec)

    def certify(self, number: int, indices: range, store: Appender, bar: Bar | None) -> None:
        """Count the votes of a group and write its records, but for those that are there."""
        items, plan, seconds = self.count(number, indices, store, bar)
        selection, counts = plan.tally()
        drawn = self.rule.kind.drawn(selection) + self.rule.kind.drawn(counts)
        times = seconds * drawn / drawn.sum()
        results = self.rule.records(selection, counts, [label for _, label in items])
        records = (
            {
                "index": index,
                "label": _told(items[i][1]),
                "image": image_digest(items[i][0]),
                "selection": self.rule.kind.write(selection[i]),
                "counts": self.rule.kind.write(counts[i]),
                **{name: _told(value) for name, value in results[i].items()},
                "seconds": round(float(times[i]), 6),
            }
            for i, index in enumerate(indices)
            if index not in self.finished
        )
        store.examples(number, records)

    def count(
        self, number: int, indices: range, store: Appender, bar: Bar | None, share: tuple[int, int] = (0, 1)
    ) -> tuple[list[Item], Plan, float]:
        """Count the votes of a group that are not among its parts; return its items, its plan and how long that took.

        Of a share (i, k), every k-th batch is run, beginning with number i.
        """
        known = {batch: part for (owner, batch), part in self.parts.items() if owner == number}
        items = [self.item(index) for index in indices]
        images = [image_digest(image) for image, _ in items]
        plan = self.plan(indices, items)
        seconds = 0.0
        running: list[tuple[int, str]] = []
        batch = missing = 0

        def batches() -> Iterator[list[Draws]]:
            nonlocal seconds, batch, missing
            while (draws := plan.compose(batch)) is not None:
                part, name = known.get(batch), composition(draws, images)
                if part is not None and part.draws == name:
                    plan.record(batch, part.votes)
                    seconds += part.seconds
                else:
                    if self.spec.stops:
                        # What comes behind a gap was asked for by votes that are lost.
                        known.clear()
                    if missing % share[1] == share[0]:
                        running.append((batch, name))
                        yield draws
                    missing += 1
                batch += 1

        started = time.perf_counter()
        for counted, (_, votes) in enumerate(waves(self.voter, batches, size=self.size)):
            took, started = time.perf_counter() - started, time.perf_counter()
            which, name = running[counted]
            plan.record(which, votes)
            store.part(number, which, name, votes, took)
            seconds += took
            if bar is not None:
                bar.show(min(plan.done() * share[1], len(indices)))
        if bar is not None:
            bar.finished += len(indices)
            bar.show(0)
        return items, plan, seconds

    def plan(self, indices: range, items: list[Item]) -> Plan:
        """Return which draws a group needs."""
        examples = [(index, self.example(index, image)) for index, (image, _) in zip(indices, items, strict=True)]
        sizes: dict[str, Any] = {"n0": self.spec.n0, "n": self.spec.n, "size": self.size, "root": self.head.seed}
        sizes["classes"] = self.model.num_classes
        if self.stopping is None:
            return FixedPlan(examples, self.rule.kind, **sizes)
        labels = np.array([label for _, label in items])
        budget = None if self.spec.draws is None else int(self.spec.draws) * len(indices) // self.examples
        return UntilPlan(examples, self.rule.kind, stopping=self.stopping, labels=labels, budget=budget, **sizes)
