"""Checking a certification run: its radii from its counts, and the counts of some examples by drawing them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._check import integer
from rsmooth._streams import ESTIMATION, SELECTION, Seed, sequence_of
from rsmooth.noise import build_info
from rsmooth.torch.draws import add_votes, batches_of
from rsmooth.torch.voter import Voter
from rsmooth.zoo.accelerated import Accelerated
from rsmooth.zoo.checkpoints import model_fingerprint
from rsmooth.zoo.data import image_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from rsmooth.run.results import Run
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["Recount", "check_records", "check_sources", "recount"]


@dataclass(frozen=True)
class Recount:
    """What drawing some examples again came to.

    Attributes
    ----------
    draws : int
        How many draws were made.
    moved : dict
        By index, how many votes of an example are others than recorded.
    problems : list of str
        What is wrong, for people.
    """

    draws: int
    moved: dict[int, int]
    problems: list[str]


def check_records(run: Run) -> list[str]:
    """Compute every finished example's certificate from its counts and compare it with what was recorded.

    Parameters
    ----------
    run : Run
        What `rsmooth.run.results.read_run` returns.

    Returns
    -------
    list of str
        What is wrong, for people: examples with another prediction, radius, p1, p2 or outcome than their counts give,
        to the last bit.
    """
    found = run.rule.records(run.column("selection"), run.column("counts"))
    return [
        f"example {index} has {name} {record[name]!r}, its counts give {value!r}"
        for (index, record), values in zip(run.records.items(), found, strict=True)
        for name, value in values.items()
        if record[name] != value
    ]


def check_sources(run: Run, model: Model, data: Data) -> list[str]:
    """Compare a model and a data set, by fingerprint, and the image and class of every example, with those of a run.

    Parameters
    ----------
    run : Run
        The run.
    model, data
        What it is said to have been made with.

    Returns
    -------
    list of str
        What is wrong, for people.
    """
    found = {
        "model": model_fingerprint(model),
        "num_classes": model.num_classes,
        "data": data.fingerprint(),
        "noise_layout": build_info()["noise_layout"],
    }
    problems = [
        f"the {name} is not the run's: {run.settings[name]} there, {value} here"
        for name, value in found.items()
        if run.settings[name] != value
    ]
    if problems:
        return problems
    if len(data) < run.settings["max"]:
        return [f"examples up to {run.settings['max'] - 1} were asked for, the data has {len(data)}"]
    for index, record in run.records.items():
        image, label = data[index]
        if image.numel() != run.settings["dim"]:
            problems.append(f"example {index} has {image.numel():,} coordinates, not {run.settings['dim']:,}")
        elif (image_digest(image), label) != (record["image"], record["label"]):
            problems.append(f"example {index} is another image or of another class than recorded")
    return problems


def recount(
    run: Run,
    model: Model,
    data: Data,
    *,
    sample: int,
    seed: Seed = None,
    tolerance: float = 1e-4,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Recount:
    """Draw the noise of examples chosen at random again, run the model, and compare the votes with those recorded.

    Each example gets the draws that its record counts, in batches of its own. The model's arithmetic may round
    otherwise in another batch or on other hardware, and so turn a vote where two logits are all but equal.

    Parameters
    ----------
    run, model, data
        Those that `check_sources` finds nothing wrong with.
    sample : int
        How many examples; all, if there are fewer.
    seed : int, numpy.random.SeedSequence or None
        Chooses them.
    tolerance : float
        Share of an example's draws whose votes may be others than recorded, from 0 to 1; a single one may where it is
        not 0.
    device : torch.device or str
        Where to run the model.
    progress : callable
        Called with the numbers of draws made and to be made.

    Returns
    -------
    Recount
        What it came to.

    Raises
    ------
    ValueError
        If an argument is not allowed, or torch drew the noise on another device than this.
    """
    sample = integer("sample", sample, 0, 2**53)
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be from 0 to 1, got {tolerance}")
    settings = run.settings
    module = Accelerated(
        model.module,
        precision=settings["precision"],
        channels_last=settings["channels_last"],
        compile_=settings["compile"],
    )
    voter = Voter(module, run.rule.mechanism, model.num_classes, device=device, noise=settings["noise"])
    if voter.noise_device != settings["noise_device"]:
        raise ValueError(
            f"{run.folder}: its noise was drawn by {settings['noise_device']} and cannot be drawn again by "
            f"{voter.noise_device}"
        )
    order = np.random.default_rng(sequence_of(seed)).permutation(list(run.records))
    chosen = sorted(order[:sample].tolist())
    total = sum(sum(record["selection"]) + sum(record["counts"]) for record in (run.records[i] for i in chosen))
    drawn, moved, problems = 0, {}, []
    for index in chosen:
        record = run.records[index]
        image, _ = data[index]
        recorded = np.array([record["selection"], record["counts"]])
        draws = recorded.sum(axis=1).tolist()
        wanted = [(SELECTION, draws[0]), (ESTIMATION, draws[1])]
        votes = np.zeros_like(recorded)
        example = (index, image.contiguous())
        batches = batches_of([example], wanted, root=run.seed, size=settings["batch_size"])
        for batch, classes in voter.votes(batches, size=settings["batch_size"]):
            add_votes(voter.kind, votes, batch, classes)
            drawn += len(classes)
            progress(drawn, total)
        moved[index] = _moved(recorded, votes)
        allowed = max(1, int(tolerance * sum(draws))) if tolerance else 0
        if moved[index] > allowed:
            problems.append(
                f"example {index}: {moved[index]:,} of {sum(draws):,} votes are others than recorded, more than "
                f"{allowed:,}"
            )
    return Recount(drawn, moved, problems)


def _moved(recorded: NDArray[Any], votes: NDArray[Any]) -> int:
    """Return how many votes went from one class to another."""
    return int(np.abs(recorded - votes).sum()) // 2
