"""Observations of a model over noisy copies, a batch at a time, the noise of the next drawn while the model runs."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from rsmooth._check import integer
from rsmooth._grid import grid_of
from rsmooth._streams import CHECKING, example_stream
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.certificates.topclass import TopClass
from rsmooth.mechanisms import Mechanism
from rsmooth.torch.device import DeviceNoise
from rsmooth.torch.models import Foreign, Output, as_model
from rsmooth.torch.prefetch import draw_into, prefetch
from rsmooth.torch.rows import RowCheck, check_layers, check_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from rsmooth.certificates.kind import Kind
    from rsmooth.torch.draws import Draws

    # Observations of whatever kind.
    Votes = npt.NDArray[Any]

__all__ = ["AHEAD", "Voter", "evaluating"]

# How many batches may be asked for before the votes of a batch are known: one in use, one filled, one being counted.
AHEAD = 3

# Steps of a type near the inputs may be this share of the noise's size.
COARSE = 1 / 4


class Voter:
    """A model that votes.

    Parameters
    ----------
    model : torch.nn.Module, or of another make
        Maps a batch of inputs, noise added, to scores (B, `num_classes`) or labels (B,): see `rsmooth.torch.models`.
    mechanism : Mechanism
        The noise.
    num_classes : int or None
        Number of classes, at least 2; None where the model answers with numbers.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.
    noise : {"host", "device"}
        Who draws: the core, on the host, the same on every machine; or torch, on the device, from generators seeded
        with the stream and the number of each block of 16 draws, which other devices and releases draw differently.
    kind : Kind or None
        What is observed of the model's answers; None is `TopClass`, the class with the largest score.
    grid : int or None
        Where given, examples are int32 tensors that count steps of ``1 / grid``, and the model gets the float32 nearest
        to their sum with the exact noise.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, `noise` is neither or cannot be drawn on the device (a GPU of CUDA can), or the
        kind has no copies by this mechanism on this grid.
    TypeError
        If `model` is no model or `mechanism` not a mechanism.

    Notes
    -----
    An example keeps its type, float32 or float64, until the noise is added; the sum is then converted to the type of
    the model's parameters. All batches have one shape, the last one padded, and cuDNN's algorithms are deterministic
    ones: what the arithmetic of a row rounds to depends on the row and the size of the batch alone.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.torch.draws import Draws
    >>> from rsmooth.torch.voter import Voter
    >>> voter = Voter(torch.nn.Identity(), Gaussian(0.1), 2)
    >>> draws = Draws(torch.tensor([0.2, 0.8]), np.random.SeedSequence(0), 0, 5, "x", 0)
    >>> [votes for _, votes in voter.votes([[draws]], size=8)]
    [array([1, 1, 1, 1, 1])]
    """

    def __init__(
        self,
        model: Any,
        mechanism: Mechanism,
        num_classes: int | None,
        *,
        device: torch.device | str | None = None,
        noise: Literal["host", "device"] = "host",
        kind: Kind | None = None,
        grid: int | None = None,
    ) -> None:
        model = as_model(model)
        if not isinstance(mechanism, Mechanism):
            raise TypeError(f"mechanism must be a Mechanism, got {type(mechanism).__name__}")
        if noise not in ("host", "device"):
            raise ValueError(f'noise must be "host" or "device", got {noise!r}')
        self.mechanism = mechanism
        self.kind = TopClass() if kind is None else kind
        self.num_classes = None if self.kind.answer == "number" else integer("num_classes", num_classes, 2, None)
        self.model = model if device is None else model.to(device)
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        foreign = next((module for module in self.model.modules() if isinstance(module, Foreign)), None)
        home = torch.device("cpu") if weight is None else weight.device
        self.device = home if device is None or (foreign is not None and foreign.host) else torch.device(device)
        # A model without parameters takes the sum as it is, unless it says what it takes.
        self.dtype = None if foreign is None else foreign.takes
        if weight is not None:
            self.dtype = weight.dtype
        self.output = Output(self.num_classes, self.kind.answer)
        self.grid = grid_of("grid", grid)
        if self.grid is not None and noise == "device":
            raise ValueError('noise must be "host" on a grid, got "device": torch draws no exact noise')
        if isinstance(self.kind, Enumerated):
            # Refuses a mechanism or a grid that has no such copies.
            self.kind.number(mechanism, self.grid)
        self.drawn = None if noise == "host" else DeviceNoise(mechanism, self.device)
        self.spread: dict[torch.Size, float] = {}

    @property
    def noise_device(self) -> str | None:
        """What the draws depend on, where torch draws them: its version and the device."""
        return None if self.drawn is None else self.drawn.source

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

    def check_rows(
        self, examples: Sequence[tuple[int, torch.Tensor]], root: np.random.SeedSequence, size: int
    ) -> RowCheck:
        """Refuse a model whose answer to a row depends on anything but the row.

        Parameters
        ----------
        examples : sequence of (int, torch.Tensor)
            Numbers among `root`'s examples, and images; noisy copies of the first are asked about, beside others of the
            last. A single one gets black images beside it.
        root : numpy.random.SeedSequence
            Names the streams.
        size : int
            Rows of the batches that the model will get.

        Returns
        -------
        RowCheck
            How many of the votes compared moved by rounding, which is warned of.

        Raises
        ------
        ValueError
            If the model mixes rows, is random, or has layers that are; the message says which and what share of votes
            moved. If its answers are not what the kind of certificate takes.
        """
        (index, example), (_, last) = examples[0], examples[-1]
        other = torch.zeros_like(example) if len(examples) == 1 else last
        stream = example_stream(root, index, CHECKING)
        kind = example.dtype if self.grid is None else torch.float32
        rows, others = (torch.empty((size, *example.shape), dtype=kind) for _ in range(2))
        for into, each, first in ((rows, example, 0), (others, other, size)):
            self.kind.copies(self.mechanism, each, into, seed=stream, first=first, grid=self.grid)
        with evaluating(self.model), torch.inference_mode():
            check_layers(self.model)
            mine, beside = rows.to(self.device), others.to(self.device)
            found = check_rows(self.scores, self._observed, mine, beside, kind=self.kind)
        if found.ties and self.kind.stepwise:
            warnings.warn(
                f"{found.ties} of {found.rows} votes depend on rounding: two scores tie, and other batches turn them",
                stacklevel=2,
            )
        return found

    def votes(self, batches: Iterable[list[Draws]], *, size: int) -> Iterator[tuple[list[Draws], Votes]]:
        """Iterate over batches and what is observed of their draws, in order.

        Parameters
        ----------
        batches : iterable of list of Draws
            Of at most `size` draws each, and at least one, all examples of one shape and type. Batch i is asked for
            when the votes of batch i − `AHEAD` have been yielded and the caller asks for more.
        size : int
            Rows of every batch that the model gets; a smaller one is padded with its own.

        Yields
        ------
        tuple
            The batch as it was given, and its observations (classes, for `TopClass`): an array with a row for each of
            its draws.

        Raises
        ------
        ValueError
            If the model's output is not what the kind asks for, changes its form or is not finite (a NaN is no vote),
            or a type on the way is too coarse for the noise.
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
        checked = (self._checked(batch) for batch in batches)
        if self.drawn is not None:
            for batch in checked:
                copies = torch.cat([self.drawn.noisy(draws) for draws in batch])
                yield batch, copies[torch.arange(size, device=copies.device) % len(copies)]
            return

        def fill(batch: list[Draws], buffer: torch.Tensor) -> torch.Tensor:
            end = 0
            for draws in batch:
                start, end = end, end + draws.count
                into = buffer[start:end]
                self.kind.copies(self.mechanism, draws.example, into, seed=draws.key, first=draws.first, grid=self.grid)
            for start in range(end, size, end):
                buffer[start : start + end] = buffer[: min(end, size - start)]
            return buffer

        head = next(checked, None)
        if head is not None:
            example = head[0].example
            shape, rest = (size, *example.shape), chain([head], checked)
            if self.grid is None:
                yield from prefetch(fill, rest, shape, dtype=example.dtype, device=self.device)
            elif self.device.type == "cuda" and not isinstance(self.kind, Enumerated):
                yield from self._steps(rest, shape)
            else:
                yield from prefetch(fill, rest, shape, dtype=torch.float32, device=self.device)

    def _steps(
        self, batches: Iterable[list[Draws]], shape: tuple[int, ...]
    ) -> Iterator[tuple[list[Draws], torch.Tensor]]:
        """Draw integers on the host, as narrow as they may be, and make the sums of them on the device."""
        assert self.grid is not None  # noqa: S101
        narrow = self.mechanism.sample((0, *shape[1:]), grid=self.grid).dtype  # type: ignore[call-arg]

        def fill(batch: list[Draws], buffer: torch.Tensor) -> torch.Tensor:
            end = 0
            for draws in batch:
                start, end = end, end + draws.count
                into = buffer[start:end]
                draw_into(self.mechanism, into, seed=draws.key, first=draws.first, grid=self.grid)
            for start in range(end, len(buffer), end):
                buffer[start : start + end] = buffer[: min(end, len(buffer) - start)]
            return buffer

        # Division by a number on the host may become a product with its reciprocal, which rounds otherwise.
        grid = torch.tensor(float(self.grid), dtype=torch.float64, device=self.device)
        for batch, steps in prefetch(fill, batches, shape, dtype=getattr(torch, narrow.name), device=self.device):
            examples = torch.cat([d.example[None].expand(d.count, *d.example.shape) for d in batch]).to(self.device)
            repeated = examples[torch.arange(len(steps), device=self.device) % len(examples)]
            yield batch, ((steps.int() + repeated).double() / grid).float()

    def _checked(self, batch: list[Draws]) -> list[Draws]:
        """Return `batch`; refuse types whose steps near its examples are coarse beside the noise."""
        for draws in batch:
            # An example that comes in many batches is looked at in its first.
            if draws.first == 0 or draws is batch[0]:
                self._check_precision(draws.example, draws.name)
        return batch

    def _check_precision(self, example: torch.Tensor, name: str) -> None:
        if not example.numel() or self.grid is not None:
            return
        spread = self.spread.get(example.shape)
        if spread is None:
            draws = max(4, 2**12 // example.numel())
            sample = self.mechanism.sample((draws, *example.shape), seed=0, dtype="float64")
            spread = self.spread[example.shape] = float(np.sqrt(np.mean(np.square(sample))))
        largest = float(example.abs().max())
        for what, dtype in (("the inputs are", example.dtype), ("the model is", self.dtype)):
            if dtype is not None and torch.finfo(dtype).eps * largest > COARSE * spread:
                kind = str(dtype).removeprefix("torch.")
                raise ValueError(
                    f"{what} of {kind}, whose numbers near {largest:.3g}, the largest of {name}, are "
                    f"{torch.finfo(dtype).eps * largest:.2g} apart: too coarse for noise of {spread:.2g} a coordinate"
                )

    def _observed(self, scores: torch.Tensor) -> Any:
        """Return what is observed of scores; refuse those that are of another kind than the certificate's."""
        seen = self.kind.observe(scores)
        worst = int(self.kind.faulty(seen.cpu().numpy()).min())
        if worst < -1:
            raise ValueError(f"the model's output {self.kind.faults[worst]}: that is no vote")
        return seen

    def scores(self, copies: torch.Tensor) -> torch.Tensor:
        """Return what the model answers to copies on its device, read as its kind of answer."""
        answer = self.model(copies if self.dtype is None else copies.to(self.dtype))
        return self.output.read(answer, rows=len(copies))

    def _launch(
        self, batch: list[Draws], copies: torch.Tensor
    ) -> tuple[list[Draws], torch.Tensor, torch.cuda.Event | None]:
        # Not around the loop: what is between two batches belongs to the caller.
        with torch.inference_mode():
            votes = self.kind.observe(self.scores(copies))[: sum(draws.count for draws in batch)]
            if self.device.type != "cuda":
                return batch, votes.cpu(), None
            # A batch's classes are fewer bytes than its counts, so they cross to the host, which counts them.
            host = torch.empty(votes.shape, dtype=votes.dtype, pin_memory=True)
            host.copy_(votes, non_blocking=True)
            return batch, host, torch.cuda.current_stream(self.device).record_event()

    def _settle(self, batch: list[Draws], votes: torch.Tensor, event: torch.cuda.Event | None) -> Votes:
        if event is not None:
            event.synchronize()
        found: Votes = votes.numpy()
        codes, end = self.kind.faulty(found), 0
        for draws in batch if codes.any() else ():
            start, end = end, end + draws.count
            self._refuse(codes[start:end], f"noisy copies of {draws.name}")
        return found

    def _refuse(self, codes: npt.NDArray[np.int64], name: str) -> None:
        if codes.any():
            fault = int(codes[np.flatnonzero(codes)[0]])
            bad = int((codes == fault).sum())
            raise ValueError(f"the model's output {self.kind.faults[fault]} for {bad} {name}: that is no vote")


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode and cuDNN in its deterministic one, and both back as they were afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    cudnn = torch.backends.cudnn
    chosen = cudnn.deterministic, cudnn.benchmark
    model.eval()
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = chosen
        for module, training in modes:
            module.training = training
