"""The smoothed classifier of a torch model: predictions and certificates by counting votes over noisy copies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from rsmooth._check import integer, positive
from rsmooth._streams import child, sequence_of
from rsmooth.certificates.topclass import Certificates, certify_counts
from rsmooth.confidence import clopper_pearson
from rsmooth.torch.voter import Draws, Voter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

    Progress = bool | Callable[[int], object]

__all__ = ["SmoothedClassifier"]

# What an example's draws are for: the last entry of its spawn key. Each purpose has a stream of its own.
SELECTION, ESTIMATION, PREDICTION = range(3)


class SmoothedClassifier:
    """The classifier that a model becomes when it votes over noisy copies of its input.

    Parameters
    ----------
    model : torch.nn.Module
        Maps a batch (B, *S) of images in [0, 1], noise added, to logits (B, `num_classes`). A model that was trained on
        normalised images must normalise them itself, so that the noise is in pixels. It is run in evaluation mode and
        gets its modes back afterwards.
    mechanism : Gaussian, Exponential or Laplace
        The noise.
    num_classes : int
        Number of classes, at least 2.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.

    Raises
    ------
    ValueError
        If `num_classes` is below 2.
    TypeError
        If `model` is not a module or `mechanism` not a mechanism.

    Notes
    -----
    Noise is drawn on the host. Example i of a call is number ``first + i`` of `seed`'s examples, and its draws come
    from streams of its own: ``SeedSequence(entropy, spawn_key=(*spawn_key, first + i, purpose))`` with `seed`'s entropy
    and spawn key, and purpose 0 for selection, 1 for estimation, 2 for prediction. The draws depend on nothing else, so
    neither `batch_size` nor how examples are shared out among calls changes them. (Counts can still differ by a vote
    where the model's own arithmetic depends on the batch and two logits are equal but for rounding.)

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    >>> with torch.no_grad():
    ...     _ = model[1].weight.copy_(torch.tensor([[-0.125], [0.125]]).expand(2, 64)), model[1].bias.zero_()
    >>> smoothed = SmoothedClassifier(model, Gaussian(0.25), num_classes=2)
    >>> x = torch.full((1, 1, 8, 8), 0.0625)
    >>> smoothed.predict(x, n=1000, alpha=0.001, seed=0)
    array([1])
    >>> smoothed.certify(x, n=1000, norm=2, seed=0).radius.round(2)  # the boundary is 0.5 away
    array([0.33])
    """

    def __init__(
        self,
        model: torch.nn.Module,
        mechanism: Mechanism,
        num_classes: int,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        self.voter = Voter(model, mechanism, num_classes, device=device)
        self.model, self.mechanism, self.num_classes = self.voter.model, mechanism, self.voter.num_classes

    def predict(
        self,
        x: Any,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        batch_size: int | None = None,
        seed: Seed = None,
        first: int = 0,
        progress: Progress = False,
    ) -> npt.NDArray[np.int64]:
        """Predict the class that the smoothed classifier returns, or abstain ([C19]'s PREDICT).

        The largest count is tested against the runner-up: among their votes it must win significantly more than half.

        Parameters
        ----------
        x, batch_size, seed, first, progress
            As for `certify`. With a `seed` of None the draws cannot be repeated.
        n : int
            Draws for each example, at least 1.
        alpha : float
            Probability, above 0 and below 1, of a prediction that is not the smoothed classifier's class.

        Returns
        -------
        ndarray of int64
            The classes; -1 where the example abstains.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed or the model's output is unusable; the message names it.
        TypeError
            If an argument has the wrong type.

        References
        ----------
        [C19] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019, section 3.2.

        Examples
        --------
        >>> import torch
        >>> from rsmooth import Gaussian, SmoothedClassifier
        >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), num_classes=2)
        >>> smoothed.predict(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), n=100, alpha=0.01, seed=1)
        array([ 1, -1])
        """
        alpha = positive("alpha", alpha)
        # Refuses an alpha of 1 or more before the model runs.
        clopper_pearson(1, 1, alpha)
        (counts,) = self._count(
            self._inputs(x),
            [(PREDICTION, n)],
            batch_size=batch_size,
            root=sequence_of(seed),
            first=first,
            progress=progress,
        )
        second, top = np.partition(counts, -2, axis=1)[:, -2:].T
        # The exact two-sided p-value is 2 P(X >= top) for X ~ Binomial(top + second, 1/2) (1 where top = second). The
        # lower Clopper-Pearson bound L at level alpha/2 solves P_L(X >= top) = alpha/2, which increases with L: so the
        # p-value is at most alpha exactly where L >= 1/2. L is rounded down, so rounding can only abstain.
        significant = clopper_pearson(top, top + second, alpha / 2) >= 1 / 2
        return np.where(significant, counts.argmax(axis=1), -1)

    def certify(
        self,
        x: Any,
        *,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        norm: float,
        bound: str = "renyi",
        runner_up: Literal["second", "complement"] = "second",
        batch_size: int | None = None,
        seed: Seed = None,
        first: int = 0,
        progress: Progress = False,
    ) -> Certificates:
        """Certify examples: select a class on `n0` draws, then bound its radius from the counts of `n` others.

        Parameters
        ----------
        x : array or torch.Tensor of float, shape (N, *S)
            The examples, always a batch, with values in [0, 1]. They are converted to the type of the model's
            parameters.
        n0, n : int
            Draws for each example that select the class and that estimate its probability, each at least 1.
        alpha : float
            Failure probability of each certificate, above 0 and below 1.
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        bound, runner_up
            As for `rsmooth.certify_counts`.
        batch_size : int or None
            Noisy copies the model gets at once, at least 1; they may be of several examples. None is
            `Voter.usual_batch_size`.
        seed : int, numpy.random.SeedSequence or None
            Names the streams. None takes fresh entropy; the result's ``seed`` repeats the draws.
        first : int
            Number of the first example: give each example of a data set its own when the set is certified in parts.
        progress : bool or callable
            Whether to show a progress bar (needs rich), or what to call with the number of copies in each batch.

        Returns
        -------
        Certificates
            The certificates, with ``seed`` and ``first`` set.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, or the model's output has another shape than
            (B, `num_classes`) or is not finite (a NaN is not a vote); the message names it.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import torch
        >>> from rsmooth import Gaussian, SmoothedClassifier
        >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), num_classes=2)
        >>> certificates = smoothed.certify(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), n=1000, norm=2, seed=1)
        >>> certificates.prediction, certificates.radius.round(2)
        (array([ 1, -1]), array([0.2, 0. ]))
        """
        inputs = self._inputs(x)
        settings: dict[str, Any] = {
            "norm": norm,
            "dim": prod(inputs.shape[1:]),
            "alpha": alpha,
            "bound": bound,
            "runner_up": runner_up,
        }
        # Certifies nothing, but refuses bad settings before the model runs for hours.
        certify_counts(np.empty((0, self.num_classes), np.int64), self.mechanism, **settings)
        root = sequence_of(seed)
        selection, counts = self._count(
            inputs,
            [(SELECTION, n0), (ESTIMATION, n)],
            batch_size=batch_size,
            root=root,
            first=first,
            progress=progress,
        )
        certificates = certify_counts(counts, self.mechanism, selection=selection, **settings)
        return replace(certificates, seed=root, first=int(first))

    def _inputs(self, x: Any) -> torch.Tensor:
        """Return `x` checked, on the host and in the model's type."""
        if isinstance(x, torch.Tensor):
            inputs = x.detach().cpu()
        else:
            array = np.asarray(x)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"x must be an array or tensor of floating-point numbers, got {type(x).__name__}")
            inputs = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if not inputs.is_floating_point():
            kind = str(inputs.dtype).removeprefix("torch.")
            raise TypeError(f"x must be floating-point images in [0, 1], got {kind}; divide 8-bit images by 255")
        if not inputs.ndim:
            raise ValueError("x must be a batch of shape (N, *S), got shape ()")
        outside = ((inputs < 0) | (inputs > 1) | inputs.isnan()).nonzero()
        if len(outside):
            at = tuple(outside[0].tolist())
            where = ", ".join(map(str, at))
            raise ValueError(f"x must be in [0, 1], got {inputs[at].item()} at x[{where}]; normalise inside the model")
        return inputs.to(self.voter.dtype).contiguous()

    def _count(
        self,
        inputs: torch.Tensor,
        wanted: list[tuple[int, int]],
        *,
        batch_size: int | None,
        root: np.random.SeedSequence,
        first: int,
        progress: Progress,
    ) -> list[npt.NDArray[np.int64]]:
        """Count the votes over as many draws as `wanted` for each purpose; return an (N, K) array for each."""
        names = {SELECTION: "n0", ESTIMATION: "n", PREDICTION: "n"}
        wanted = [(purpose, integer(names[purpose], draws, 1, 2**53)) for purpose, draws in wanted]
        if batch_size is None:
            batch_size = self.voter.usual_batch_size(prod(inputs.shape[1:]))
        batch_size = integer("batch_size", batch_size, 1, 2**31)
        # One word of the spawn key.
        first = integer("first", first, 0, 2**32 - len(inputs))
        total = len(inputs) * sum(draws for _, draws in wanted)
        examples = list(zip(range(first, first + len(inputs)), inputs, strict=True))
        counts = np.zeros((len(inputs) * len(wanted), self.num_classes), np.int64)
        with _reporter(progress, total) as report:
            batches = batches_of(examples, wanted, root=root, size=batch_size)
            for batch, votes in self.voter.votes(batches, size=min(batch_size, total)):
                add_votes(counts, batch, votes)
                report(len(votes))
        return [np.ascontiguousarray(counts[part :: len(wanted)]) for part in range(len(wanted))]


def batches_of(
    examples: Iterable[tuple[int, torch.Tensor]],
    wanted: list[tuple[int, int]],
    *,
    root: np.random.SeedSequence,
    size: int,
) -> Iterator[list[Draws]]:
    """Cut the draws of all examples, one after the other, into batches of `size`; the last may be smaller.

    Parameters
    ----------
    examples : iterable of (int, torch.Tensor)
        Numbers among `root`'s examples, and images.
    wanted : list of (int, int)
        Purposes and the number of draws for each. Each has a row: ``position * len(wanted) + its place here``.
    root : numpy.random.SeedSequence
        Names the streams.
    size : int
        Draws in a batch.

    Yields
    ------
    list of Draws
        The batches.
    """
    batch: list[Draws] = []
    room = size
    for position, (number, example) in enumerate(examples):
        for part, (purpose, draws) in enumerate(wanted):
            key, drawn = child(root, number, purpose), 0
            while drawn < draws:
                count = min(room, draws - drawn)
                row = position * len(wanted) + part
                batch.append(Draws(example, key, drawn, count, f"example {number}", row))
                drawn += count
                room -= count
                if not room:
                    yield batch
                    batch, room = [], size
    if batch:
        yield batch


def add_votes(counts: npt.NDArray[np.int64], batch: list[Draws], votes: npt.NDArray[np.int64]) -> None:
    """Add a batch's votes to the rows of `counts` (rows, K) that its draws name."""
    rows = np.repeat([draws.row for draws in batch], [draws.count for draws in batch])
    # A batch is of few rows: the table between the first and the last of them is small.
    low, classes = int(rows[0]), counts.shape[1]
    high = int(rows[-1]) + 1
    table = np.bincount((rows - low) * classes + votes, minlength=(high - low) * classes)
    counts[low:high] += table.reshape(-1, classes)


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
