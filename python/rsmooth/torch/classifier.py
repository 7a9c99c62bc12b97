"""The smoothed classifier of a torch model: predictions and certificates by counting votes over noisy copies."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsmooth._check import integer, positive
from rsmooth._grid import BYTE, steps_of
from rsmooth._streams import ESTIMATION, PREDICTION, SELECTION, sequence_of
from rsmooth.certificates.kind import Form, Kind
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.topclass import TopClass
from rsmooth.confidence import clopper_pearson
from rsmooth.rule import Rule
from rsmooth.stopping import Until, radii_of
from rsmooth.torch.draws import Tally, batches_of
from rsmooth.torch.plan import UntilPlan, waves
from rsmooth.torch.voter import Voter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from rsmooth._streams import Seed
    from rsmooth.certificates.result import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, RunnerUp
    from rsmooth.torch.draws import Draws

    Progress = bool | Callable[[int], object]

__all__ = ["SmoothedClassifier"]


class SmoothedClassifier:
    """The classifier that a model becomes when it votes over noisy copies of its input.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn estimator, onnxruntime.InferenceSession or callable
        Maps a batch ``(B, *S)`` of inputs, noise added, to scores (B, `num_classes`) or integer labels (B,), or to an
        object with ``logits``, a dict or a tuple that holds one of them: `rsmooth.torch.models` says how each is
        called. A model that was trained on normalised images must normalise them itself, so that the noise is in
        pixels. A module is run in evaluation mode and gets its modes back afterwards.
    mechanism : Mechanism
        The noise; its scale is in the units of the inputs.
    num_classes : int
        Number of classes, at least 2.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.
    domain : tuple of two floats, or None
        Lowest and highest value of an input, which `x` is checked against; None is any finite value.
    grid : int or None
        Where given, inputs are multiples of ``1 / grid`` and certificates are exact: they hold on the computer that
        made them, while those of floating-point noise rest on theorems about real numbers (docs/exact.md). uint8 inputs
        count 255ths and imply a grid of 255.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, or `domain` is not allowed.
    TypeError
        If `model` is no model or `mechanism` not a mechanism.

    Notes
    -----
    Noise is drawn on the host. An example's draws come from streams of its own:
    ``SeedSequence(entropy, spawn_key=(*spawn_key, index, purpose))`` with `seed`'s entropy and spawn key, the example's
    index, and purpose 0 for selection, 1 for estimation, 2 for prediction. The draws depend on nothing else, so neither
    `batch_size` nor how examples are shared out among calls changes them. (Counts can still differ by a vote where the
    model's own arithmetic depends on the size of the batch and two logits are equal but for rounding.)

    Votes say something of the smoothed classifier only if the model answers each row of a batch by itself. The first
    call for a shape of inputs and size of batches asks it about the same rows again, in other company, and refuses it
    where its answers move (`rsmooth.torch.rows`).

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
    array([0.41])
    """

    def __init__(
        self,
        model: Any,
        mechanism: Mechanism,
        num_classes: int,
        *,
        device: torch.device | str | None = None,
        domain: tuple[float, float] | None = (0, 1),
        grid: int | None = None,
    ) -> None:
        self.domain = _domain(domain)
        self.checked: set[tuple[torch.Size, int, int | None, str]] = set()
        self.voter = Voter(model, mechanism, num_classes, device=device, grid=grid)
        self.model, self.mechanism = self.voter.model, mechanism
        self.num_classes = integer("num_classes", num_classes, 2, None)

    def predict(
        self,
        x: Any,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> npt.NDArray[np.int64]:
        """Predict the class that the smoothed classifier returns, or abstain ([C19]'s PREDICT).

        The largest count is tested against the runner-up: among their votes it must win significantly more than half.

        Parameters
        ----------
        x, batch_size, seed, indices, progress
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
        voter, inputs = self._inputs(x, TopClass())
        (counts,) = self._count(
            voter,
            inputs,
            [(PREDICTION, n)],
            batch_size=batch_size,
            root=sequence_of(seed),
            indices=_indices(indices, len(inputs)),
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
        kind: Kind = TopClass(),  # noqa: B008
        labels: npt.ArrayLike | None = None,
        bound: Bound = "tightest",
        runner_up: RunnerUp = "second",
        until: npt.ArrayLike | None = None,
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> Certificates:
        """Certify examples: select a class on `n0` draws, then bound its radius from the counts of up to `n` others.

        Parameters
        ----------
        x : array or torch.Tensor, shape ``(N, *S)``
            The examples, always a batch, with values in the domain. Floating-point noise is added in float32, or
            float64 to float64, and the sum converted to the type of the model's parameters. On a grid, and for uint8,
            which implies one, `x` is as for `Mechanism.perturb` and the noise exact.
        n0, n : int
            Draws for each example that select the class and that estimate its probability, each at least 1. With
            `until`, `n` is the most that an example gets.
        alpha : float
            Failure probability of each certificate, above 0 and below 1.
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        kind : Kind
            What is counted and certified (docs/certificates.md): the class with the most votes, unless it is another of
            `rsmooth.certificates.KINDS`.
        labels : array_like, shape (N, …), or None
            For a kind that certifies what is asked for, as `rsmooth.certificates.topk.TopK`: the examples' own labels.
            None has `n0` draws select.
        bound, runner_up
            As for `rsmooth.certify_counts`.
        until : array_like of float or None
            Radii: an example ends when it is known of each whether it is certified, or hopeless, and gives its room in
            batches to others (`rsmooth.stopping.Until`). Its certificate rests on the interval ``"anytime"``, which
            holds whenever one stops, and its counts stay valid under every bound, norm and level. None is `n` draws
            for every example and ``"clopper-pearson"``.
        batch_size : int or None
            Noisy copies the model gets at once, at least 1; they may be of several examples. None is
            `Voter.usual_batch_size`.
        seed : int, numpy.random.SeedSequence or None
            Names the streams. None takes fresh entropy; the result's ``seed`` repeats the draws.
        indices : array_like of int, shape (N,), or None
            A number for each example, which names its streams: give each example of a data set its own when the set is
            certified in parts. (With `until`, how many draws an example gets depends on those beside it, too.) None is
            0, 1, 2, …
        progress : bool or callable
            Whether to show a progress bar (needs rich), or what to call with the number of copies in each batch.

        Returns
        -------
        Certificates
            The certificates, with ``seed`` and ``indices`` set.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, the model's output is not as above, changes its form or is
            not finite (a NaN is not a vote), or an answer depends on more than its row; the message names it.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import torch
        >>> from rsmooth import Gaussian, SmoothedClassifier
        >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), num_classes=2)
        >>> certificates = smoothed.certify(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), n=1000, norm=2, seed=1)
        >>> certificates.prediction, certificates.radius.round(2)
        (array([ 1, -1]), array([0.24, 0.  ]))
        """
        if not isinstance(kind, Kind):
            raise TypeError(f"kind must be a Kind, such as TopClass(), got {kind!r} of type {type(kind).__name__}")
        voter, inputs = self._inputs(x, kind)
        dim = prod(inputs.shape[1:])
        # Refuses bad settings before the model runs for hours.
        rule = Rule(
            self.mechanism,
            norm=norm,
            dim=dim,
            alpha=alpha,
            bound=bound,
            runner_up=runner_up,
            interval=kind.interval if until is None else "anytime",
            grid=voter.grid,
            noise_error=0.0 if voter.grid is None else self.mechanism.noise_error(dim, voter.grid),
        )
        kind.check(rule, Form(self.num_classes))
        known = None if labels is None else kind.labels_of(labels, len(inputs), self.num_classes)
        root, numbers = sequence_of(seed), _indices(indices, len(inputs))
        asked: dict[str, Any] = {"batch_size": batch_size, "root": root, "indices": numbers, "progress": progress}
        if until is None:
            selection, counts = self._count(voter, inputs, [(SELECTION, n0), (ESTIMATION, n)], **asked)
            certificates = kind.certify(selection, counts, rule, labels=known, n=n)
        elif kind.stops:
            stopping = Until(rule, n, radii_of(until))
            selection, counts = self._count_until(voter, inputs, stopping, n0=n0, **asked)
            certificates = kind.certify(selection, counts.view(StoppedCounts), rule)
        else:
            raise ValueError(f"until must be None for kind {kind.name!r}, whose draws cannot be stopped, got {until}")
        return replace(certificates, seed=root, indices=numbers)

    def _inputs(self, x: Any, kind: Kind) -> tuple[Voter, torch.Tensor]:
        """Return who votes on `x`, and `x`, checked, on the host: as floats, or in steps of a grid."""
        voter, grid = self.voter, self.voter.grid
        if grid is None and str(getattr(x, "dtype", "")).removeprefix("torch.") == "uint8":
            grid = BYTE
        if (kind, grid) != (voter.kind, voter.grid):
            voter = Voter(self.model, self.mechanism, self.num_classes, device=voter.device, grid=grid, kind=kind)
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
        tally = Tally(voter.kind, len(inputs) * len(wanted), classes=self.num_classes, draws=most)
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
        batch_size: int | None,
        root: np.random.SeedSequence,
        indices: npt.NDArray[np.int64],
        progress: Progress,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Count the votes of draws until `stopping` has enough; return those that selected and those that tested."""
        n0 = integer("n0", n0, 1, 2**53)
        examples = list(zip(indices.tolist(), inputs, strict=True))
        total = len(inputs) * (n0 + stopping.n)
        size = self._size(voter, examples, root, batch_size, total)
        settings: dict[str, Any] = {"n0": n0, "n": stopping.n, "size": size, "root": root, "stopping": stopping}
        plan = UntilPlan(examples, voter.kind, classes=self.num_classes, **settings)
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
        return plan.tally()

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


def _indices(indices: npt.ArrayLike | None, examples: int) -> npt.NDArray[np.int64]:
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
