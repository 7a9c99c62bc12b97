"""What smoothed models of every kind share: inputs checked, draws made, and observations of them counted."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsmooth._check import integer
from rsmooth._grid import BYTE, steps_of
from rsmooth._streams import ESTIMATION, PREDICTION, SELECTION, sequence_of
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.certificates.kind import Form, Kind
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.stoppable import stoppable
from rsmooth.rule import Rule
from rsmooth.stopping import Until, radii_of
from rsmooth.torch.draws import Tally, batches_of
from rsmooth.torch.plan import UntilPlan, waves
from rsmooth.torch.voter import Voter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism
    from rsmooth.torch.draws import Draws

    Progress = bool | Callable[[int], object]

__all__ = ["Smoothed"]


class Smoothed:
    """A model and the noise it is smoothed with: what `SmoothedClassifier` and `SmoothedRegressor` are.

    Parameters
    ----------
    model, mechanism, device, domain, grid
        As for `rsmooth.SmoothedClassifier`.
    kind : Kind
        What is counted where a call does not say.
    num_classes : int or None
        Number of classes, at least 2; None where the model answers with numbers.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, or `domain` is not allowed.
    TypeError
        If `model` is no model or `mechanism` not a mechanism.
    """

    def __init__(
        self,
        model: Any,
        mechanism: Mechanism,
        kind: Kind,
        num_classes: int | None,
        *,
        device: torch.device | str | None = None,
        domain: tuple[float, float] | None = (0, 1),
        grid: int | None = None,
    ) -> None:
        self.domain = _domain(domain)
        self.checked: set[tuple[torch.Size, int, int | None, str]] = set()
        self.voter = Voter(model, mechanism, num_classes, device=device, grid=grid, kind=kind)
        self.model, self.mechanism = self.voter.model, mechanism
        # None is 0 to whoever counts.
        self.classes = self.voter.num_classes or 0

    def _certify(
        self,
        x: Any,
        kind: Kind,
        *,
        n0: int | None,
        n: int | None,
        alpha: float | None,
        labels: npt.ArrayLike | None,
        until: npt.ArrayLike | None,
        batch_size: int | None,
        seed: Seed,
        indices: npt.ArrayLike | None,
        progress: Progress,
        **settings: Any,
    ) -> Any:
        """Return the certificates of `kind`; `settings` are those of the rule."""
        stops = None if until is None else stoppable(kind, "until")
        n0, n, alpha = kind.settled(n0=n0, n=n, alpha=alpha)
        voter, inputs = self._inputs(x, kind)
        dim = prod(inputs.shape[1:])
        # Refuses bad settings before the model runs for hours.
        rule = Rule(
            self.mechanism,
            dim=dim,
            interval=kind.interval if stops is None else "anytime",
            grid=voter.grid,
            noise_error=kind.noise_error(self.mechanism, dim, voter.grid),
            alpha=alpha,
            **settings,
        )
        kind.check(rule, Form(self.classes, draws=n))
        if isinstance(kind, Enumerated):
            n = kind.number(self.mechanism, voter.grid)
        known = None if labels is None else kind.labels_of(labels, len(inputs), self.classes)
        root, numbers = sequence_of(seed), _numbers_of(indices, len(inputs))
        asked: dict[str, Any] = {"batch_size": batch_size, "root": root, "indices": numbers, "progress": progress}
        if stops is None:
            # As in `_count_until`; nor is anything selected where all copies vote.
            wanted = [(ESTIMATION, n)] if known is not None or not n0 else [(SELECTION, n0), (ESTIMATION, n)]
            *selected, counts = self._count(voter, inputs, wanted, **asked)
            selection = selected[0] if selected else None
            certificates = kind.certify(selection, counts, rule, labels=known, n=n)
        else:
            stopping = Until(stops, rule, n, radii_of(until))
            selection, counts = self._count_until(voter, inputs, stopping, n0=n0, labels=known, **asked)
            certificates = kind.certify(selection, counts.view(StoppedCounts), rule, labels=known)
        return replace(certificates, seed=root, indices=numbers)

    def _predicted(
        self,
        x: Any,
        n: int,
        *,
        batch_size: int | None,
        seed: Seed,
        indices: npt.ArrayLike | None,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        """Return the tally of `n` draws for each example that nothing else uses."""
        voter, inputs = self._inputs(x, self.voter.kind)
        root, numbers = sequence_of(seed), _numbers_of(indices, len(inputs))
        asked: dict[str, Any] = {"batch_size": batch_size, "root": root, "indices": numbers, "progress": progress}
        return self._count(voter, inputs, [(PREDICTION, n)], **asked)[0]

    def _inputs(self, x: Any, kind: Kind) -> tuple[Voter, torch.Tensor]:
        """Return who votes on `x`, and `x`, checked, on the host: as floats, or in steps of a grid."""
        voter, grid = self.voter, self.voter.grid
        if grid is None and str(getattr(x, "dtype", "")).removeprefix("torch.") == "uint8":
            grid = BYTE
        if (kind, grid) != (voter.kind, voter.grid):
            voter = Voter(self.model, self.mechanism, self.classes, device=voter.device, grid=grid, kind=kind)
        if voter.grid is None:
            return voter, self._floats(x)
        steps = torch.from_numpy(np.ascontiguousarray(steps_of("x", x, voter.grid)))
        return voter, self._within(steps, steps.double() / voter.grid)

    def _floats(self, x: Any) -> torch.Tensor:
        """Return `x`, checked, in single or double precision."""
        if isinstance(x, torch.Tensor):
            inputs = x.detach().cpu()
        else:
            array = np.asarray(x)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"x must be an array or tensor of floating-point numbers, got {type(x).__name__}")
            inputs = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if not inputs.is_floating_point():
            kind = str(inputs.dtype).removeprefix("torch.")
            raise TypeError(f"x must be floating-point numbers or uint8, or integers on a grid, got {kind}")
        inputs = self._within(inputs, inputs)
        return (inputs if inputs.dtype == torch.float64 else inputs.float()).contiguous()

    def _within(self, inputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return `inputs`; refuse them where their `values` are outside the domain."""
        low, high = (-math.inf, math.inf) if self.domain is None else self.domain
        if not inputs.ndim:
            raise ValueError("x must be a batch of shape (N, *S), got shape ()")
        outside = ((values < low) | (values > high) | ~values.isfinite()).nonzero()
        if len(outside):
            at = tuple(outside[0].tolist())
            where = ", ".join(map(str, at))
            allowed = "finite" if self.domain is None else f"in [{low:g}, {high:g}]"
            hint = "; normalise inside the model" if self.domain == (0, 1) else ""
            raise ValueError(f"x must be {allowed}, got {values[at].item()} at x[{where}]{hint}")
        return inputs

    def _count(
        self,
        voter: Voter,
        inputs: torch.Tensor,
        wanted: list[tuple[int, int]],
        *,
        batch_size: int | None,
        root: np.random.SeedSequence,
        indices: npt.NDArray[np.int64],
        progress: Progress,
    ) -> list[npt.NDArray[Any]]:
        """Count the votes over as many draws as `wanted` for each purpose; return tallies of N rows for each."""
        names = {SELECTION: "n0", ESTIMATION: "n", PREDICTION: "n"}
        wanted = [(purpose, integer(names[purpose], draws, 1, 2**53)) for purpose, draws in wanted]
        total = len(inputs) * sum(draws for _, draws in wanted)
        examples = list(zip(indices.tolist(), inputs, strict=True))
        size = self._size(voter, examples, root, batch_size, total)
        most = max(draws for _, draws in wanted)
        tally = Tally(voter.kind, len(inputs) * len(wanted), classes=self.classes, draws=most)
        with _reporter(progress, total) as report:
            for batch, votes in voter.votes(batches_of(examples, wanted, root=root, size=size), size=size):
                tally.add(batch, votes)
                report(len(votes))
        return [tally.counts[part :: len(wanted)].copy() for part in range(len(wanted))]

    def _count_until(
        self,
        voter: Voter,
        inputs: torch.Tensor,
        stopping: Until,
        *,
        n0: int,
        labels: npt.NDArray[Any] | None,
        batch_size: int | None,
        root: np.random.SeedSequence,
        indices: npt.NDArray[np.int64],
        progress: Progress,
    ) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
        """Count the votes of draws until `stopping` has enough; return those that selected and those that tested.

        What is asked for by `labels` need not be selected.
        """
        n0 = integer("n0", n0, 1, 2**53) if labels is None else 0
        examples = list(zip(indices.tolist(), inputs, strict=True))
        total = len(inputs) * (n0 + stopping.n)
        size = self._size(voter, examples, root, batch_size, total)
        settings: dict[str, Any] = {"n0": n0, "n": stopping.n, "size": size, "root": root, "stopping": stopping}
        plan = UntilPlan(examples, voter.kind, classes=self.classes, labels=labels, **settings)
        asked = 0

        def batches() -> Iterator[list[Draws]]:
            nonlocal asked
            while (batch := plan.compose(asked)) is not None:
                asked += 1
                yield batch

        with _reporter(progress, total) as report:
            for number, (_, votes) in enumerate(waves(voter, batches, size=size)):
                plan.record(number, votes)
                report(len(votes))
        selection, counts = plan.tally()
        return selection if labels is None else None, counts

    def _size(
        self,
        voter: Voter,
        examples: list[tuple[int, torch.Tensor]],
        root: np.random.SeedSequence,
        batch_size: int | None,
        total: int,
    ) -> int:
        """Return the size of batches, for which the model is found to be a function of its row."""
        shape = examples[0][1].shape if examples else torch.Size()
        if batch_size is None:
            batch_size = voter.usual_batch_size(prod(shape))
        size = min(integer("batch_size", batch_size, 1, 2**31), total)
        asked = shape, size, voter.grid, voter.kind.answer
        if examples and asked not in self.checked:
            voter.check_rows(examples, root, size)
            self.checked.add(asked)
        return size


def _domain(domain: Any) -> tuple[float, float] | None:
    if domain is None:
        return None
    try:
        low, high = (float(end) for end in domain)
    except (TypeError, ValueError):
        raise TypeError(f"domain must be a pair of numbers or None, got {domain!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"domain must be two finite numbers, the lower first, or None, got {domain!r}")
    return low, high


def _numbers_of(indices: npt.ArrayLike | None, examples: int) -> npt.NDArray[np.int64]:
    """Return the examples' numbers, each one word of a spawn key."""
    if indices is None:
        return np.arange(examples, dtype=np.int64)
    numbers = np.asarray(indices)
    if numbers.shape != (examples,):
        raise ValueError(f"indices must have the shape {(examples,)}, one for each example, got {numbers.shape}")
    if examples and numbers.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {numbers.dtype}")
    found: dict[int, int] = {}
    for at, number in enumerate(numbers.tolist()):
        integer(f"indices[{at}]", number, 0, 2**32 - 1)
        if found.setdefault(number, at) != at:
            raise ValueError(f"indices must differ, got {number} at {found[number]} and at {at}: they share draws")
    return numbers.astype(np.int64)


@contextmanager
def _reporter(progress: Progress, total: int) -> Iterator[Callable[[int], object]]:
    """Yield what to call with the number of copies done."""
    if callable(progress):
        yield progress
    elif progress:
        from rich.progress import Progress as Bar  # noqa: PLC0415

        with Bar() as bar:
            task = bar.add_task("certify", total=total)
            yield lambda done: bar.advance(task, done)
    else:
        yield lambda _: None
