"""The settings of a run: what is asked for, what it is asked of, and the file ``run.json`` that keeps both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._grid import FINEST
from rsmooth._norms import norm_named, norm_text
from rsmooth._settings import Text, check_fields, check_types, read, setting, written
from rsmooth.io.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PRESETS", "Head", "Spec", "Subject", "read_head", "seed_record", "write_head"]

# Of run.json and of the records beside it.
FORMAT = 2

# How others report: the rule of Cohen, Rosenfeld and Kolter 2019, and that of the Exponential mechanism's paper.
PRESETS: dict[str, dict[str, str]] = {
    "cohen": {"bound": "neyman-pearson", "runner_up": "complement"},
    "paper": {"bound": "renyi", "runner_up": "second"},
}


@dataclass(frozen=True)
class Spec:
    """What a run is asked for. The command's options, ``run.json``, the check on resuming and `verify` derive from it.

    Attributes
    ----------
    mechanism, sigma
        The noise, by its name and its parameter, as `rsmooth.mechanisms.mechanism_named` takes them.
    norm : float
        1, 2 or ``math.inf``.
    n0, n : int
        Draws of an example that select its class, and that test it (at most, with `radius`).
    alpha : float
        Failure probability of each certificate.
    bound, runner_up : str
        As for `rsmooth.certify_counts`.
    radius : float or None
        None: as large a radius as the counts give. Otherwise the one to certify, by a sequential test that stops as
        soon as it can; the runner-up is then the complement.
    skip, max : int or None
        Every `skip`-th example is certified, of those with an index below `max`.
    batch_size : int or None
        Noisy copies the model gets at once; None is `rsmooth.torch.voter.Voter.usual_batch_size`.
    grid : str
        Steps in 1 of exact noise, ``none`` for noise in floating point, or ``auto``, which
        `rsmooth.run.certify.certify` turns into one of them; see `steps`.
    noise : str
        ``host`` or ``device``; see `rsmooth.torch.voter.Voter`.
    precision, channels_last, compile
        As for `rsmooth.zoo.accelerated.Accelerated`. What is certified is the network as it is run.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If an integer is below 1 or above 2**53, or `norm` is none of the three.

    Examples
    --------
    >>> from rsmooth.run.spec import Spec
    >>> Spec("gaussian", 0.25, norm=2).n
    100000
    """

    mechanism: str = setting("gaussian, exponential, laplace, or package.module:name.")
    sigma: float = setting("Of the noise, in pixels in [0, 1].", flags=("--sigma", "--scale"))
    norm: float = setting("Norm of the radius: 1, 2 or inf.", text=Text(norm_text, norm_named))
    n0: int = setting("Draws that select an example's class.", default=100)
    n: int = setting("Draws that test it; at most, with --radius.", default=100_000)
    alpha: float = setting("Failure probability of each certificate.", default=0.001)
    bound: str = setting(
        "tightest (the largest that holds), renyi, neyman-pearson, pure-dp or pixeldp.", default="tightest"
    )
    runner_up: str = setting("second, or complement: p2 = 1 - p1.", default="second")
    radius: float | None = setting("Certify this radius alone, with as few draws as that takes.", default=None)
    skip: int = setting("Certify every k-th example.", default=1)
    max: int | None = setting("Only examples with an index below this.", default=None)
    batch_size: int | None = setting(
        "Noisy copies the model gets at once; chosen by image size and device if left out.", default=None
    )
    grid: str = setting(
        "Exact noise in steps of 1/grid: a number, none, or auto: for 8-bit images drawn on the host.", default="auto"
    )
    noise: str = setting("Who draws: host (the same everywhere) or device (torch).", default="host")
    precision: str = setting("float32, or bfloat16 or float16 for mixed precision.", default="float32")
    channels_last: bool = setting("Memory layout; often faster.", default=False)
    compile: bool = setting("Compile the network first.", default=False)

    def __post_init__(self) -> None:
        """Check types, and what nothing else checks."""
        check_fields(self)
        norm_text(self.norm)
        if self.radius is not None:
            object.__setattr__(self, "runner_up", "complement")
        if self.grid not in ("auto", "none") and not (self.grid.isdecimal() and 0 < int(self.grid) <= FINEST):
            raise ValueError(f"grid must be auto, none or an integer from 1 to {FINEST}, got {self.grid!r}")

    @property
    def steps(self) -> int | None:
        """The grid as a number; None where noise is in floating point."""
        return int(self.grid) if self.grid.isdecimal() else None


@dataclass(frozen=True)
class Subject:
    """What a run is made of and on: found, not asked for, and no more to be changed on resuming than a `Spec`.

    Attributes
    ----------
    arch, normalization, num_classes
        As of `rsmooth.zoo.networks.Model`.
    model, data : str
        Fingerprints: every weight; the number of images and some of them.
    code : str
        Digest of the model's own code, or why there is none: `rsmooth.zoo.checkpoints.code_fingerprint`.
    dim : int
        Coordinates of an image.
    group_size : int
        Examples that are counted together.
    noise_layout : int
        Of `rsmooth.build_info`, that of the grid on one.
    noise_error : float
        What certificates pay for the distance of a draw from its law, in total variation: 0 in floating point, where it
        is not known.
    noise_device : str or None
        What drew the noise, where the core did not.
    """

    arch: str = setting("")
    normalization: str = setting("")
    num_classes: int = setting("")
    model: str = setting("")
    code: str = setting("")
    data: str = setting("")
    dim: int = setting("")
    group_size: int = setting("")
    noise_layout: int = setting("", least=0)
    noise_error: float = setting("")
    noise_device: str | None = setting("")

    def __post_init__(self) -> None:
        """Check types."""
        check_fields(self)


@dataclass(frozen=True)
class Head:
    """What ``run.json`` holds.

    Attributes
    ----------
    spec : Spec
        With `max` and `batch_size` as they came out.
    subject : Subject
        What it is asked of.
    seed : numpy.random.SeedSequence
        Names the streams.
    told, build : dict
        Where the model and the data came from, and with which versions the run was begun; both only told.
    """

    spec: Spec
    subject: Subject
    seed: np.random.SeedSequence
    told: dict[str, Any]
    build: dict[str, Any]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that must not change, as JSON has it."""
        return {**written(self.spec), **written(self.subject)}

    @cached_property
    def digest(self) -> str:
        """Names the run in its records: 16 hexadecimal digits of the settings and the seed."""
        content = json.dumps([self.settings, seed_record(self.seed)], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()

    def differences(self, other: Head) -> list[str]:
        """Return the settings in which another head differs, each with both values."""
        return [
            f"{name} {value!r} there, {other.settings[name]!r} here"
            for name, value in self.settings.items()
            if value != other.settings[name]
        ]


def read_head(folder: Path) -> Head | None:
    """Return a run's settings; None where there is no run.

    Parameters
    ----------
    folder : pathlib.Path
        The run.

    Returns
    -------
    Head or None
        What `write_head` wrote.

    Raises
    ------
    ValueError
        If they are damaged or of another format.
    """
    file = folder / "run.json"
    if not file.exists():
        return None
    try:
        kept = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    check_types(file, kept, {"format": int})
    if kept["format"] != FORMAT:
        raise ValueError(f"{file} is of format {kept['format']}; this version reads format {FORMAT} alone")
    check_types(file, kept, {"settings": dict, "seed": dict, "told": dict, "build": dict})
    check_types(file, kept["seed"], {"entropy": str, "spawn_key": list, "pool_size": int})
    try:
        seed = _seed_of(kept["seed"])
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{file} is damaged: there is no seed {kept['seed']}") from error
    spec, subject = read(Spec, file, kept["settings"]), read(Subject, file, kept["settings"])
    if spec.max is None or spec.batch_size is None:
        raise ValueError(f"{file} is damaged: max and batch_size must be numbers, got {spec.max}, {spec.batch_size}")
    return Head(spec, subject, seed, kept["told"], kept["build"])


def write_head(folder: Path, head: Head) -> None:
    """Write a run's settings, all at once.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder, which exists.
    head : Head
        What `read_head` will return.
    """
    content = {
        "format": FORMAT,
        "settings": head.settings,
        "seed": seed_record(head.seed),
        "told": head.told,
        "build": head.build,
    }
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(folder / "run.json", lambda file: file.write(text.encode()))


def seed_record(seed: np.random.SeedSequence) -> dict[str, Any]:
    """Return what JSON can hold of a seed; its entropy is text, as it has more digits than other readers keep."""
    return {"entropy": str(seed.entropy), "spawn_key": list(seed.spawn_key), "pool_size": seed.pool_size}


def _seed_of(record: dict[str, Any]) -> np.random.SeedSequence:
    return np.random.SeedSequence(
        int(record["entropy"]), spawn_key=tuple(record["spawn_key"]), pool_size=record["pool_size"]
    )
