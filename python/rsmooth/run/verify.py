"""Checking a certification run: its radii from its counts, and the counts of some examples by drawing them again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._check import integer
from rsmooth._streams import ESTIMATION, SELECTION, Seed, sequence_of
from rsmooth.run.results import read_run
from rsmooth.run.work import drawn_on, layout_of, voter_of
from rsmooth.torch.draws import Tally, batches_of
from rsmooth.zoo.checkpoints import code_fingerprint, load_model, model_fingerprint
from rsmooth.zoo.data import image_digest, load_data
from rsmooth.zoo.networks import is_code
from rsmooth.zoo.programs import CODE, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from rsmooth.run.results import Run
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["Check", "Problem", "Recount", "check_records", "check_sources", "data_of", "recount", "sources", "verify"]


@dataclass(frozen=True)
class Problem:
    """Something that is not as recorded.

    Attributes
    ----------
    message : str
        What, for people.
    index : int or None
        The example; None where it is not one's alone.
    """

    message: str
    index: int | None = None

    def __str__(self) -> str:
        """Return the message."""
        return self.message


@dataclass(frozen=True)
class Check:
    """One step of a verification.

    Attributes
    ----------
    name : str
        What was checked, for people.
    problems : list of Problem, or None
        What was found; None where nothing was looked for.
    """

    name: str
    problems: list[Problem] | None = None

    def __str__(self) -> str:
        """Return a line for people."""
        if self.problems is None:
            return self.name
        return f"{self.name}: {_counted(len(self.problems), 'problem') if self.problems else 'as recorded'}"


@dataclass(frozen=True)
class Recount:
    """What drawing some examples again came to.

    Attributes
    ----------
    draws : int
        How many draws were made.
    moved : dict
        By index, how many of an example's votes differ.
    problems : list of Problem
        The examples of which too many do.
    """

    draws: int = 0
    moved: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def verify(
    folder: Path,
    *,
    sample: int = 20,
    seed: Seed = None,
    tolerance: float = 1e-4,
    model: str | None = None,
    data: str | None = None,
    root: Path | None = None,
    arch: str | None = None,
    mechanism: str | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Iterator[Check]:
    """Check a run's folder step by step: its records, its model and data, and the votes of some of its examples.

    Parameters
    ----------
    folder : pathlib.Path
        The run.
    sample, seed, tolerance, device, progress
        As for `recount`; with ``sample=0`` neither the model nor the data is needed.
    model, data, root, arch, mechanism
        Where they are, as for `rsmooth.zoo.checkpoints.load_model`, `rsmooth.zoo.data.load_data` and `read_run`; None
        is what the run says, as long as that runs no code.

    Yields
    ------
    Check
        Each step when it is done.

    Raises
    ------
    ValueError
        If the run cannot be read, it names code to import, or an argument is not allowed.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.run.verify import verify
    >>> for check in verify(Path("run"), sample=5):  # doctest: +SKIP
    ...     print(check)
    """
    run = read_run(folder, mechanism=mechanism)
    yield Check(run.summary())
    yield Check(f"certificates computed again from {len(run.records):,} examples' counts", check_records(run))
    yield Check(run.certificates().basis)
    if run.missing:
        message = f"{_counted(run.missing, 'example')} asked for but not finished"
        yield Check("examples", [Problem(message)])
    if not sample:
        yield Check("model and data: not compared, nor any example drawn again (--sample 0)")
        return
    network, images = sources(run, model=model, data=data, root=root, arch=arch)
    others = check_sources(run, network, images)
    yield Check("model and data", others)
    if others:
        return
    chooser = sequence_of(seed)
    again = recount(
        run, network, images, sample=sample, seed=chooser, tolerance=tolerance, device=device, progress=progress
    )
    yield Check(
        f"{_counted(len(again.moved), 'example')} drawn again (--seed {chooser.entropy}), {again.draws:,} draws, "
        f"{sum(again.moved.values()):,} votes differ",
        again.problems,
    )


def sources(
    run: Run,
    *,
    model: str | None = None,
    data: str | None = None,
    root: Path | None = None,
    arch: str | None = None,
) -> tuple[Model, Data]:
    """Load a run's model and data.

    Parameters
    ----------
    run : Run
        The run.
    model, data, root, arch
        As for `verify`.

    Returns
    -------
    tuple of Model and Data
        What is there; `check_sources` compares it with the run.

    Raises
    ------
    ValueError
        If the run does not say where they are or names code, or they are unusable.
    OSError
        If a file cannot be read.
    """
    subject = run.head.subject
    source = _trusted(run, "model", model, run.head.told.get("model"))
    images = data_of(run, data=data, root=root)
    weights = Path(source).exists() and Path(source).suffix not in PROGRAMS
    network = load_model(
        source,
        num_classes=subject.num_classes,
        arch=_trusted(run, "arch", arch, subject.arch) if weights else None,
        normalization=subject.normalization,
        answer=run.spec.kind.answer,
    )
    return network, images


def data_of(run: Run, *, data: str | None = None, root: Path | None = None) -> Data:
    """Load a run's data; see `sources`."""
    told = run.head.told
    return load_data(
        _trusted(run, "data", data, told.get("data")),
        split=told.get("split", "test"),
        root=root or Path(str(told.get("root", "data"))),
        domain=run.spec.bounds,
        answer=run.spec.kind.answer,
    )


def _trusted(run: Run, name: str, given: str | None, said: Any) -> str:
    """Return what the caller gives or else the run says: untrusted runs may not import code."""
    if given is not None:
        return given
    if not isinstance(said, str):
        raise ValueError(f"{run.folder} does not record where its {name} is: give --{name}")  # noqa: TRY004
    path = Path(said)
    no_code = {"model": path.is_file(), "data": path.is_dir() or path.suffix in (".npz", ".npy"), "arch": False}
    code = is_code(said) and not no_code[name]
    if code or (name != "data" and (said in CODE or PROGRAMS.get(path.suffix) in CODE)):
        raise ValueError(
            f"{run.folder} names code for {name}, {said!r}: untrusted runs may not import code; to run it, give it "
            f"with --{name}"
        )
    return said


def check_records(run: Run) -> list[Problem]:
    """Compute every finished example's certificate from its counts and compare it with what was recorded.

    Parameters
    ----------
    run : Run
        What `rsmooth.run.results.read_run` returns.

    Returns
    -------
    list of Problem
        A noise error that is not the grid's, examples with another prediction, radius, p1 or p2 than their counts give,
        to the last bit, and, unless the run had a budget, examples that ended before their votes told enough.
    """
    seen = run.column("selection"), run.column("counts"), run.column("label")
    found = run.rule.records(*seen)
    paid, error = run.head.subject.noise_error, run.rule.noise_error
    problems = [] if paid == error else [Problem(f"noise_error is {paid!r}, the noise of its grid has {error!r}")]
    if run.rule.stopping is not None and run.spec.draws is None:
        drawn = run.rule.kind.drawn(seen[1])
        ended = run.rule.stopping.known(*seen) | (drawn == run.spec.n)
        problems += [
            Problem(f"example {index} has {draws:,} draws, which do not tell what was asked for", index)
            for index, draws, known in zip(run.records, drawn, ended, strict=True)
            if not known
        ]
    return problems + [
        Problem(f"example {index} has {_shown(name, recorded)}, its counts give {_shown(name, value)}", index)
        for index, values in zip(run.records, found, strict=True)
        for name, value in values.items()
        if not np.array_equal(recorded := run.entry(index, name), value)
    ]


def _shown(name: str, value: Any) -> str:
    """Return what a message says of a value of a certificate."""
    if isinstance(value, np.ndarray):
        return f"a {name} for {int((value >= 0).sum()):,} of {value.size:,} pixels"
    return f"{name} {value!r}"


def check_sources(run: Run, model: Model, data: Data) -> list[Problem]:
    """Compare a model and a data set, by fingerprint, and the image and class of every example, with those of a run.

    Parameters
    ----------
    run : Run
        The run.
    model, data
        What it is said to have been made with.

    Returns
    -------
    list of Problem
        What differs.
    """
    found = {
        "model": model_fingerprint(model),
        "code": code_fingerprint(model),
        "num_classes": model.num_classes,
        "data": data.fingerprint(),
        "noise_layout": layout_of(run.spec),
    }
    problems = [
        Problem(f"{name} differs: {run.settings[name]} in the run, {value} here")
        for name, value in found.items()
        if run.settings[name] != value
    ]
    if problems:
        return problems
    if len(data) <= run.indices[-1]:
        return [Problem(f"examples up to {run.indices[-1]} were asked for, the data has {len(data)}")]
    dim = run.head.subject.dim
    for index, record in run.records.items():
        image, label = data[index]
        if image.numel() != dim:
            problems.append(Problem(f"example {index} has {image.numel():,} coordinates, not {dim:,}", index))
        elif image_digest(image) != record["image"] or not np.array_equal(label, run.entry(index, "label")):
            problems.append(Problem(f"example {index} has another image or label than recorded", index))
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
        Share of an example's votes that may differ, from 0 to 1; a single one may where it is not 0.
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
    spec = run.spec
    voter = voter_of(spec, run.rule, model, device)
    drawn_by = run.head.subject.noise_device
    if voter.noise_device != drawn_by:
        raise ValueError(
            f"{run.folder}: its noise was drawn by {drawn_by} and cannot be drawn again by {voter.noise_device}"
        )
    order = np.random.default_rng(sequence_of(seed)).permutation(list(run.records))
    chosen = sorted(order[:sample].tolist())
    kind = voter.kind
    kept = {i: [run.entry(i, name)[None] for name in ("selection", "counts")] for i in chosen}
    total = sum(int(kind.drawn(each)[0]) for pair in kept.values() for each in pair)
    size = run.settings["batch_size"]
    drawn, moved, problems = 0, {}, []
    for index in chosen:
        image, _ = data[index]
        draws = [int(kind.drawn(each)[0]) for each in kept[index]]
        wanted = [(SELECTION, draws[0]), (ESTIMATION, draws[1])]
        again = Tally(kind, 2, classes=model.num_classes, draws=max(draws))
        batches = batches_of([(index, drawn_on(f"example {index}", image, spec))], wanted, root=run.seed, size=size)
        for batch, classes in voter.votes(batches, size=size):
            again.add(batch, classes)
            drawn += len(classes)
            progress(drawn, total)
        moved[index] = math.ceil(sum(kind.moved(each, again.counts[i : i + 1]) for i, each in enumerate(kept[index])))
        allowed = max(1, int(tolerance * sum(draws))) if tolerance else 0
        if moved[index] > allowed:
            message = f"example {index}: {moved[index]:,} of {sum(draws):,} votes differ (allowed: {allowed:,})"
            problems.append(Problem(message, index))
    return Recount(drawn, moved, problems)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
