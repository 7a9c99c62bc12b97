"""The whole way once: train on real images with each mechanism's noise, certify into runs, draw the figures."""

from __future__ import annotations

import json
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rsmooth._check import integer
from rsmooth._streams import child
from rsmooth.io.files import write_atomically
from rsmooth.mechanisms import BuiltIn, Exponential, Gaussian
from rsmooth.noise import build_info
from rsmooth.plots import certified_accuracy_figure, save
from rsmooth.results.measures import measures
from rsmooth.results.result import Result, describe
from rsmooth.results.table import results_table
from rsmooth.run.certify import certify
from rsmooth.run.results import Run, read_run
from rsmooth.run.spec import Spec
from rsmooth.training.loop import train
from rsmooth.training.settings import Training
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import Model, build_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

__all__ = ["demo"]

NUM_CLASSES, DIM = 10, 64


@dataclass(frozen=True)
class Size:
    """How much work a demo is."""

    images: int
    epochs: int
    n0: int
    n: int


FULL = Size(images=360, epochs=100, n0=100, n=10_000)
QUICK = Size(images=60, epochs=3, n0=100, n=1000)

ALPHA = 0.001

# The outputs of the first layer stay below the size (1 MiB and some) from which the C library takes memory from the
# system and gives it back every time.
BATCH_SIZE = 250

# What a network's streams are for: the last entry of their spawn keys.
TRAINING, CERTIFYING = range(2)

GAUSSIANS = (Gaussian(0.12), Gaussian(0.25), Gaussian(0.5))
# E‖z‖∞ = dσ is 1/4, 1/2 and 1.
EXPONENTIALS = (Exponential(0.25 / DIM), Exponential(0.5 / DIM), Exponential(1 / DIM))

# File name, mechanisms, norm and bounds of each figure.
FIGURES: tuple[tuple[str, tuple[BuiltIn, ...], float, tuple[str, ...]], ...] = (
    ("gaussian-l2", GAUSSIANS, 2, ("renyi", "neyman-pearson")),
    ("gaussian-linf", GAUSSIANS, math.inf, ("renyi", "neyman-pearson")),
    ("exponential-linf", EXPONENTIALS, math.inf, ("renyi", "pure-dp")),
)


@dataclass(frozen=True)
class Trained:
    """What training and certifying with one mechanism gave."""

    clean_accuracy: float
    run: Run


def demo(out: Path, *, seed: int, quick: bool, console: Console) -> None:
    """Certify the digits with the Gaussian and the Exponential mechanism and write what comes out to `out`.

    For each mechanism and amount of noise a small network is trained with that noise and its test images are certified.
    Each gets a folder that is a run like any other, with the trained network's in it; beside them are three figures
    (.png), the table that is printed (table.csv) and the settings (settings.json).

    Parameters
    ----------
    out : pathlib.Path
        The folder. A demo there of the same `seed` and `quick` resumes where it was stopped.
    seed : int
        Names all random streams.
    quick : bool
        Whether to do little work, to see that it works: the figures mean nothing.
    console : rich.console.Console
        Where to show progress and the table.

    Raises
    ------
    ValueError
        If `seed` is negative.
    FileExistsError
        If `out` holds a demo with other settings.

    Examples
    --------
    >>> import pathlib, rich.console
    >>> from rsmooth.demo import demo
    >>> demo(pathlib.Path("demo"), seed=0, quick=False, console=rich.console.Console())  # doctest: +SKIP
    """
    seed = integer("seed", seed, 0, None)
    _claim(out, {"seed": seed, "quick": quick})
    size = QUICK if quick else FULL
    digits, test = load_data("digits", split="train"), load_data("digits", split="test")
    console.print(f"digits: {len(digits)} training and {size.images} test images; seed {seed}; writing to {out}/")
    undefended, results = _train_and_certify(digits, test, size, seed, out, console)
    rows, clean = [], {"undefended": undefended}
    for name, mechanisms, norm, bounds in FIGURES:
        curves = []
        for mechanism in mechanisms:
            run = results[mechanism].run
            clean[run.folder.name] = results[mechanism].clean_accuracy
            for bound in bounds:
                certificates = run.certificates(norm=norm, bound=bound)
                curves.append(Result.of(describe(mechanism), certificates, run.column("label")))
                rows.append(measures(replace(curves[-1], name=run.folder.name), [0.0]))
        title = (
            f"{mechanisms[0].name.capitalize()} mechanism, digits (d = {DIM})\n"
            f"N = {size.images} test images, n = {size.n:,} draws each, α = {ALPHA}"
        )
        save(certified_accuracy_figure(curves, title=title), out / f"{name}.png")
    write_atomically(out / "table.csv", lambda file: file.write(results_table(rows, "csv").encode()))
    told = ", ".join(f"{name} {share:.1%}" for name, share in clean.items())
    console.print(results_table(rows, "markdown", intervals=False), soft_wrap=True, markup=False, highlight=False)
    console.print(f"Accuracy of the networks alone, without noise: {told}", soft_wrap=True, highlight=False)


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder `out` this demo's, unless it holds another's results."""
    file = out / "settings.json"
    if file.exists():
        before = {key: value for key, value in json.loads(file.read_text()).items() if key in settings}
        if before != settings:
            raise FileExistsError(
                f"{out} holds a demo with other settings, {before}: choose another folder or remove it"
            )
    out.mkdir(parents=True, exist_ok=True)
    record = {**settings, **build_info(), "torch": torch.__version__}
    write_atomically(file, lambda handle: handle.write(json.dumps(record, indent=2).encode()))


def _train_and_certify(  # noqa: PLR0917
    digits: Data, test: Data, size: Size, seed: int, out: Path, console: Console
) -> tuple[float, dict[BuiltIn, Trained]]:
    """Return the clean accuracy of a network trained without noise, and what each mechanism's network gave."""
    mechanisms = list(dict.fromkeys(mechanism for _, group, _, _ in FIGURES for mechanism in group))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    stopped = threading.Event()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:

        def bar(description: str, total: int) -> Callable[[float], None]:
            task = progress.add_task(description, total=total)

            def advance(done: float) -> None:
                if stopped.is_set():
                    raise InterruptedError
                progress.advance(task, done)

            return advance

        work = _Work(
            digits,
            test,
            size,
            out,
            bar("train", (len(mechanisms) + 1) * size.epochs * len(digits)),
            bar("certify", len(mechanisms) * size.images),
        )
        # Here, not in the threads: torch's initialisers share one global generator.
        sequences = [np.random.SeedSequence(seed, spawn_key=(number,)) for number in range(len(mechanisms) + 1)]
        models = [build_model("digits_cnn", NUM_CLASSES, seed=int(each.generate_state(1)[0])) for each in sequences]
        # Networks side by side, each on one thread: layers as small as these do not divide well.
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                undefended = pool.submit(work.train, models[0], None, sequences[0])
                jobs = {
                    pool.submit(work.certify, *job): job[1]
                    for job in zip(models[1:], mechanisms, sequences[1:], strict=True)
                }
                results = {jobs[done]: done.result() for done in as_completed(jobs)}
                return undefended.result(), results
            except BaseException:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Work:
    """What the jobs of a demo share: what they are about, where results go, and whom to tell of progress."""

    digits: Data
    test: Data
    size: Size
    out: Path
    training: Callable[[float], None]
    certifying: Callable[[float], None]

    def folder(self, mechanism: BuiltIn | None) -> Path:
        """Return the folder of a mechanism's run."""
        return self.out / ("undefended" if mechanism is None else f"{mechanism.name}-{mechanism.parameter:g}")

    def train(self, model: Model, mechanism: BuiltIn | None, sequence: np.random.SeedSequence) -> float:
        """Train `model` and return its accuracy on the test images without noise."""
        train(
            model,
            self.digits,
            mechanism,
            Training(epochs=self.size.epochs, batch_size=128),
            seed=child(sequence, TRAINING),
            out=self.folder(mechanism) / "trained",
            progress=self.training,
        )
        model.module.eval()
        images, labels = zip(*(self.test[i] for i in range(self.size.images)), strict=True)
        with torch.inference_mode():
            guesses = model.module(torch.stack(images)).argmax(dim=1).numpy()
        return float((guesses == np.array(labels)).mean())

    def certify(self, model: Model, mechanism: BuiltIn, sequence: np.random.SeedSequence) -> Trained:
        """Train `model` and certify it into its folder."""
        clean_accuracy = self.train(model, mechanism, sequence)
        folder = self.folder(mechanism)
        spec = Spec(
            mechanism.name,
            mechanism.parameter,
            norm=next(norm for _, group, norm, _ in FIGURES if mechanism in group),
            n0=self.size.n0,
            n=self.size.n,
            alpha=ALPHA,
            max=self.size.images,
            batch_size=BATCH_SIZE,
        )
        shown = 0.0

        def progress(done: float, _total: int) -> None:
            nonlocal shown
            self.certifying(done - shown)
            shown = done

        certify(
            folder,
            model,
            self.test,
            spec,
            seed=child(sequence, CERTIFYING),
            told={"model": str(folder / "trained" / "checkpoint.pt"), "data": "digits", "split": "test"},
            progress=progress,
        )
        return Trained(clean_accuracy, read_run(folder))
