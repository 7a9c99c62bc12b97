"""Attacks on the smoothed classifier of a run: an upper end to the certified accuracy, which is a lower one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsmooth._check import integer
from rsmooth._grid import steps_of
from rsmooth._norms import norm_text
from rsmooth._streams import ATTACKING, example_stream, sequence_of
from rsmooth.certificates.topclass import TopClass
from rsmooth.confidence import clopper_pearson
from rsmooth.torch.classifier import SmoothedClassifier
from rsmooth.torch.models import Foreign
from rsmooth.training.recipes._copies import not_negative
from rsmooth.training.recipes.smoothadv import attack, check_norm
from rsmooth.training.step import draw_noise
from rsmooth.zoo.accelerated import Accelerated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rsmooth._streams import Seed
    from rsmooth.run.results import Run
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["Attacked", "attack_run", "on_grid"]

# Noisy copies that the model gets at once, with gradients.
BATCH = 512

# What an attack is shortened by until the nearest input on the grid is in the ball.
SHARES = np.linspace(1, 0.05, 20)


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack on some examples of a run came to.

    Attributes
    ----------
    run : Run
        The run.
    norm : float
        Of the ball.
    radii : tuple of float
        Its radii, ascending.
    indices, labels : ndarray of int64, shape (N,)
        The examples and their classes.
    fooled_at : ndarray of float64, shape (N,)
        The least of the radii at which another class won; infinite where at none.
    """

    run: Run
    norm: float
    radii: tuple[float, ...]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    fooled_at: NDArray[np.float64]

    def rows(self) -> list[dict[str, Any]]:
        """Return for each radius the certified accuracy and that under attack, each with its 95% interval.

        Returns
        -------
        list of dict
            ``radius``, ``certified_accuracy``, ``certified_lower``, ``certified_upper``, ``accuracy``, ``lower`` and
            ``upper``, all over the examples that were attacked.
        """
        found = self.run.certificates(norm=None if self.run.rule.norm == self.norm else self.norm)
        at = np.searchsorted(np.array(list(self.run.records)), self.indices)
        right = found.prediction[at] == self.labels
        rows = []
        for radius in self.radii:
            certified = int((right & (found.radius[at] > radius)).sum())
            held = int((self.fooled_at > radius).sum())
            ends = {
                name: [float(clopper_pearson(k, len(at), 0.025, side=side)) for side in ("lower", "upper")]
                for name, k in (("certified", certified), ("attack", held))
            }
            rows.append(
                {
                    "radius": radius,
                    "certified_accuracy": certified / len(at),
                    "certified_lower": ends["certified"][0],
                    "certified_upper": ends["certified"][1],
                    "accuracy": held / len(at),
                    "lower": ends["attack"][0],
                    "upper": ends["attack"][1],
                }
            )
        return rows

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "run": str(self.run.folder),
            "norm": norm_text(self.norm),
            "examples": self.indices.tolist(),
            "fooled_at": [None if math.isinf(each) else each for each in self.fooled_at.tolist()],
            "rows": self.rows(),
        }


def attack_run(
    run: Run,
    model: Model,
    data: Data,
    *,
    radii: Sequence[float],
    norm: float | None = None,
    examples: int = 100,
    steps: int = 10,
    copies: int = 16,
    n: int = 1000,
    alpha: float = 0.001,
    seed: Seed = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Attacked:
    """Attack some of a run's examples and ask the smoothed classifier what it makes of the results.

    Each example is attacked at each radius by `rsmooth.training.recipes.smoothadv.attack`, until another class than its
    own wins: among the votes of `n` fresh draws, significantly more often than its rival. A tie, or nearly one, is no
    success: so where the run's certificate and this test are both right, what is certified is not fooled. An example
    that was fooled at a radius counts as fooled at every larger one.

    The run's network, mechanism and grid are attacked as they are. On a grid the result is an input on it: the nearest
    one to as much of the attack as then stays in the ball.

    Parameters
    ----------
    run : Run
        A run, as `rsmooth.run.results.read_run` returns it.
    model, data : Model, Data
        Its own: `rsmooth.run.verify.sources`.
    radii : sequence of float
        Radii of the ball, at least 0, in the units of the inputs.
    norm : float or None
        2 or ``math.inf``; None is the run's.
    examples : int
        How many of the finished ones, spread evenly.
    steps, copies : int
        Of the attack.
    n, alpha
        As for `rsmooth.SmoothedClassifier.predict`.
    seed : int, numpy.random.SeedSequence or None
        Names all streams.
    device : torch.device or str
        Where the model runs.
    progress : callable
        Called with how many examples are done, and how many there are.

    Returns
    -------
    Attacked
        Who was fooled, and where.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, the run is of another kind than the top class, or the model has
        no gradients.
    """
    if run.rule.kind != TopClass():
        raise ValueError(
            f"run must be of kind {TopClass.name!r}, whose votes the attack is on, got {run.rule.kind.text!r}: its "
            "certified accuracy is no lower end to what the attack leaves right"
        )
    norm = run.rule.norm if norm is None else norm
    check_norm(norm)
    balls = tuple(sorted(not_negative("radius", each) for each in radii))
    if not balls:
        raise ValueError("radii must be one number at least, got none")
    examples, copies = integer("examples", examples, 1, None), integer("copies", copies, 1, None)
    spec, root = run.spec, sequence_of(seed)
    network = Accelerated(
        model.module.to(device), precision=spec.precision, channels_last=spec.channels_last, compile_=spec.compile
    )
    foreign = next((each for each in network.modules() if isinstance(each, Foreign) and each.host), None)
    if foreign is not None:
        raise ValueError(f"the attack follows gradients, and a model of type {foreign.called} has none")
    smoothed = SmoothedClassifier(
        network, run.rule.mechanism, model.num_classes, device=device, domain=spec.bounds, grid=spec.steps
    )
    known = np.array(list(run.records))
    indices = known[np.unique(np.linspace(0, len(known) - 1, min(examples, len(known))).astype(np.int64))]
    fooled_at = np.full(len(indices), np.inf)
    labels = np.empty(len(indices), np.int64)
    size = max(1, BATCH // copies)
    for start in range(0, len(indices), size):
        rows = np.arange(start, min(start + size, len(indices)))
        items = [data[int(index)] for index in indices[rows]]
        x, labels[rows] = torch.stack([image for image, _ in items]), [label for _, label in items]
        noises = torch.empty((len(rows), copies, *x.shape[1:]))
        for into, index in zip(noises, indices[rows], strict=True):
            stream = example_stream(root, int(index), ATTACKING)
            draw_noise(run.rule.mechanism, into, seed=stream, first=0, grid=spec.steps)
        for radius in balls:
            left = np.flatnonzero(np.isinf(fooled_at[rows]))
            if not len(left):
                break
            moved = attack(
                network,
                x[left].to(device),
                torch.from_numpy(labels[rows][left]).to(device),
                noises[left].to(device),
                norm=norm,
                radius=radius,
                steps=steps,
                domain=spec.bounds,
            ).cpu()
            inputs = moved if spec.steps is None else on_grid(x[left], moved, norm=norm, radius=radius, grid=spec.steps)
            found = smoothed.predict(inputs, n=n, alpha=alpha, seed=root, indices=indices[rows][left])
            lost = (found >= 0) & (found != labels[rows][left])
            fooled_at[rows[left[lost]]] = radius
        progress(int(rows[-1]) + 1, len(indices))
    return Attacked(run, norm, balls, indices, labels, fooled_at)


def on_grid(x: torch.Tensor, moved: torch.Tensor, *, norm: float, radius: float, grid: int) -> torch.Tensor:
    r"""Return inputs on a grid that are near `moved` and still in the ball around `x`, exactly.

    Parameters
    ----------
    x : torch.Tensor
        ``(N, *S)``, on the grid.
    moved : torch.Tensor
        ``(N, *S)``, in the ball of `radius` around `x`.
    norm, radius : float
        2 or ``math.inf``, and the radius.
    grid : int
        Steps in 1.

    Returns
    -------
    torch.Tensor of int32
        In steps: the nearest to x + s (moved - x), for the largest of 20 shares s for which it is in the ball; `x`
        itself where none is.

    Examples
    --------
    >>> import math, torch
    >>> from rsmooth.run.attack import on_grid
    >>> on_grid(torch.zeros(1, 2), torch.tensor([[0.026, 0.004]]), norm=math.inf, radius=0.026, grid=100)
    tensor([[2, 0]], dtype=torch.int32)
    """
    start = steps_of("x", x, grid).astype(np.int64)
    shift = (moved.double() - x.double()).numpy() * grid
    # Integers against a rational number: nothing is rounded.
    most = math.floor(Fraction(radius) * grid if norm == math.inf else (Fraction(radius) * grid) ** 2)
    taken = np.zeros_like(start)
    left = np.ones(len(start), bool)
    for share in SHARES:
        whole = np.rint(share * shift).astype(np.int64).reshape(len(start), -1)
        size = abs(whole).max(axis=1) if norm == math.inf else (whole**2).sum(axis=1)
        fits = left & (size <= most)
        taken[fits] = whole.reshape(start.shape)[fits]
        left &= ~fits
    return torch.from_numpy((start + taken).astype(np.int32))
