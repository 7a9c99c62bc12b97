"""The settings of a run: what is asked for, what it is asked of, and the file ``run.json`` that keeps both."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._grid import asked_grid
from rsmooth._norms import norm_named, norm_text
from rsmooth._settings import Text, check_fields, check_types, read, setting, written
from rsmooth.certificates import KINDS, kind_named
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.certificates.kind import Kind
from rsmooth.certificates.stoppable import stoppable
from rsmooth.certificates.topclass import TopClass
from rsmooth.io.files import write_atomically
from rsmooth.mechanisms import MECHANISMS
from rsmooth.rule import BOUNDS, ENUMERATION, holds_when_stopped
from rsmooth.stopping import radii_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "PRESETS",
    "USUAL_KIND",
    "Head",
    "Spec",
    "Subject",
    "bounds_of",
    "read_head",
    "seed_record",
    "write_head",
]

# Of run.json and of the records beside it.
FORMAT = 2

USUAL_KIND = TopClass()

# How others report: the rule of Cohen, Rosenfeld and Kolter 2019, and that of the Exponential mechanism's paper.
PRESETS: dict[str, dict[str, str]] = {
    "cohen": {"bound": "neyman-pearson", "runner_up": "complement"},
    "paper": {"bound": "renyi", "runner_up": "second"},
}


def _radii_text(until: tuple[float, ...]) -> str:
    return ",".join(np.format_float_positional(radius, trim="-") for radius in until)


def _radii_named(text: str) -> tuple[float, ...]:
    try:
        return radii_of([float(word) for word in text.split(",")])
    except ValueError as error:
        raise ValueError(f"until must be radii of at least 0 with commas between them, got {text!r}") from error


def bounds_of(domain: str) -> tuple[float, float] | None:
    """Return the lowest and highest value of an input that a domain's text says; None where it is any finite value.

    Raises
    ------
    ValueError
        If it says neither.

    Examples
    --------
    >>> from rsmooth.run.spec import bounds_of
    >>> bounds_of("-1, 2.5"), bounds_of("none")
    ((-1.0, 2.5), None)
    """
    if domain == "none":
        return None
    try:
        low, high = map(float, domain.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"domain must be two finite numbers, the lower first, as 0,1, or none, got {domain!r}")
    return low, high


@dataclass(frozen=True)
class Spec:
    """What a run is asked for. The command's options, ``run.json``, the check on resuming and `verify` derive from it.

    Attributes
    ----------
    mechanism, sigma
        The noise, by its name and its parameter, as `rsmooth.mechanisms.builtin.mechanism_named` takes them.
    norm : float
        1, 2 or ``math.inf``.
    kind : Kind
        What is counted and certified: one of ``rsmooth.certificates.KINDS``.
    n0, n : int
        Draws of an example that select its class, and that test it (at most, with `until` or `width`); 100 and 100,000
        if left out. A kind that is `Enumerated` has 0 and, once a run has begun, the number of all copies.
    alpha : float
        Failure probability of each certificate; 0.001 if left out, and 0 for a kind that is `Enumerated`.
    bound, runner_up : str
        As for `rsmooth.certify_counts`.
    interval : str
        As for `rsmooth.certify_counts`, or ``auto``: ``anytime`` where examples are stopped by `until` or `width`, and
        else the kind's own.
    until : tuple of float or None
        Radii: an example ends when the answer at each of them is known, as `rsmooth.stopping.Until` says.
    width : float or None
        Instead: an example ends when more draws would not make its radius larger than by this share.
    draws : float or None
        The most draws of all examples together, a whole number, spent first on those whose next radius of `until` takes
        the fewest. Each group of examples gets the share of its size.
    skip, max : int or None
        Every `skip`-th example is certified, of those with an index below `max`.
    batch_size : int or None
        Noisy copies the model gets at once; None is `rsmooth.torch.voter.Voter.usual_batch_size`.
    grid : str
        Steps in 1 of exact noise, ``none`` for noise in floating point, or ``auto``, which
        `rsmooth.run.certify.certify` turns into one of them; see `steps`.
    domain : str
        Lowest and highest value of an input, ``0,1``, or ``none`` for any; see `bounds`.
    noise : str
        ``host`` or ``device``; see `rsmooth.torch.voter.Voter`.
    precision, channels_last, compile
        As for `rsmooth.zoo.accelerated.Accelerated`. What is certified is the network as it is run.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If an integer is below 1 or above 2**53, `norm` is none of the three, `until`, `width`, `interval` and `draws`
        do not go together, or the kind cannot be stopped.

    Examples
    --------
    >>> from rsmooth.run.spec import Spec
    >>> Spec("gaussian", 0.25, norm=2).n
    100000
    """

    mechanism: str = setting(f"{', '.join(MECHANISMS)}, or package.module:name.")
    sigma: float = setting(
        "Of the noise, in the inputs' units: pixels in [0, 1], 8-bit or not.", flags=("--sigma", "--scale")
    )
    norm: float = setting("Norm of the radius: 1, 2 or inf.", text=Text(norm_text, norm_named))
    kind: Kind = setting(  # noqa: RUF009
        f"{', '.join(KINDS)}; --kind NAME --help shows its options.",
        default=USUAL_KIND,
        text=Text(lambda kind: kind.text, kind_named),
        implied=True,
    )
    n0: int = setting(
        "Draws that select an example's class; 100, or none where all copies vote.", default=None, least=0
    )
    n: int = setting(
        "Draws that test it: 100,000, or all copies there are; at most, with --until or --width.", default=None, least=0
    )
    alpha: float = setting("Failure probability of each certificate: 0.001, or 0 where all copies vote.", default=None)
    bound: str = setting(f"{BOUNDS[0]} (the largest that holds), {', '.join(BOUNDS[1:])}.", default=BOUNDS[0])
    runner_up: str = setting("second, or complement: p2 = 1 - p1.", default="second")
    interval: str = setting(
        "clopper-pearson, anytime, or auto: anytime with --until or --width, which need it.", default="auto"
    )
    until: tuple[float, ...] | None = setting(
        "End an example when the answer at each of these radii is known, as 0,0.25,0.5.",
        default=None,
        text=Text(_radii_text, _radii_named),
    )
    width: float | None = setting(
        "End an example when more draws would not make its radius larger than by this share.", default=None
    )
    draws: float | None = setting("With --until, the most draws of all examples together, as 5e6.", default=None)
    skip: int = setting("Certify every k-th example.", default=1)
    max: int | None = setting("Only examples with an index below this.", default=None)
    batch_size: int | None = setting(
        "Noisy copies the model gets at once; chosen by image size and device if left out.", default=None
    )
    grid: str = setting(
        "Exact noise in steps of 1/grid: a number, none, or auto: for 8-bit images drawn on the host.", default="auto"
    )
    domain: str = setting("Lowest and highest value of an input, or none: any finite value.", default="0,1")
    noise: str = setting("Who draws: host (the same everywhere) or device (torch).", default="host")
    precision: str = setting("float32, or bfloat16 or float16 for mixed precision.", default="float32")
    channels_last: bool = setting("Memory layout; often faster.", default=False)
    compile: bool = setting("Compile the network first.", default=False)

    def __post_init__(self) -> None:
        """Check types, and what nothing else checks."""
        if isinstance(self.kind, Kind):
            self._settle()
        check_fields(self)
        norm_text(self.norm)
        if self.stops:
            stoppable(self.kind, "until and width")
        if self.until is not None:
            object.__setattr__(self, "until", radii_of(self.until))
        if self.until is not None and self.width is not None:
            raise ValueError("until or width must be None: an example ends by one of them")
        if self.stops and self.interval != "auto" and not holds_when_stopped(self.interval):
            raise ValueError(f"interval must hold for draws that are stopped, as anytime does, got {self.interval!r}")
        if self.draws is not None and (self.until is None or not self.draws.is_integer()):
            raise ValueError(f"draws must be a whole number, with until, got {self.draws:g} and until {self.until}")
        asked_grid(self.grid)
        if self.bounds is not None:
            # Whatever way its numbers are written.
            ends = (str(int(end)) if end.is_integer() else repr(end) for end in self.bounds)
            object.__setattr__(self, "domain", ",".join(ends))
        self._check_copies()

    def _settle(self) -> None:
        """Give draws and level that were left out the numbers of the kind."""
        own = self.kind.settled(n0=self.n0, n=self.n, alpha=self.alpha)
        for name, value in zip(("n0", "n", "alpha"), own, strict=True):
            object.__setattr__(self, name, value)

    def _check_copies(self) -> None:
        """Refuse what is of draws where all copies vote, and what is of all copies where there are draws."""
        if isinstance(self.kind, Enumerated):
            allowed = {"noise": ("host",), "domain": ("0,1",), "interval": ("auto", ENUMERATION)}
            for name, values in allowed.items():
                if (value := getattr(self, name)) not in values:
                    raise ValueError(f"{name} must be {' or '.join(values)} for kind {self.kind.name!r}, got {value}")
        elif self.interval == ENUMERATION:
            raise ValueError(f"interval must be of draws for kind {self.kind.name!r}, got {self.interval!r}")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The domain as numbers; None where it is any finite value."""
        return bounds_of(self.domain)

    @property
    def stops(self) -> bool:
        """Whether the number of an example's draws depends on its votes."""
        return self.until is not None or self.width is not None

    @property
    def steps(self) -> int | None:
        """The grid as a number; None where noise is in floating point."""
        return asked_grid(self.grid)


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
    num_classes: int = setting("", least=0)
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
        # What is left out has its default.
        usual = {"kind": USUAL_KIND.text}
        there, here = ({**usual, **head.settings} for head in (self, other))
        return [f"{name} {value!r} there, {here[name]!r} here" for name, value in there.items() if value != here[name]]


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
