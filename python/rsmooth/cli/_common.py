"""What the commands share: the app, options, consoles and names."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from rsmooth._settings import given
from rsmooth.mechanisms import MECHANISMS, mechanism_named
from rsmooth.noise import build_info
from rsmooth.rule import BOUNDS
from rsmooth.run.spec import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rsmooth.mechanisms import Mechanism


app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Joins the lines of a paragraph.
    rich_markup_mode="markdown",
)


NEEDS_RUN = "this command needs more packages ({}): pip install 'rsmooth[run]'"


def either(names: Iterable[str]) -> str:
    """Return names as a sentence has them: a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


MECHANISM_HELP = f"{', '.join(MECHANISMS)}, or package.module:name of your own."
BOUND_HELP = f"{BOUNDS[0]} (the largest radius of those that hold), {either(BOUNDS[1:])}."
PRESET_HELP = (
    "Bound and runner-up as others report: "
    + either(f"{name} ({', '.join(settings.values())})" for name, settings in PRESETS.items())
    + "."
)

MODEL_HELP = (
    "A checkpoint (.pt, .pth.tar, .safetensors), .onnx, .pt2, timm:NAME, torchvision:NAME, huggingface:NAME, or "
    "module:name of the current folder or a package."
)

# Options that commands share.
DataName = Annotated[str, typer.Option(help="digits, cifar10, imagenet, a folder, .npz, .npy, or module:name.")]
DeviceName = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")]
PrecisionName = Annotated[str, typer.Option(help="float32, or bfloat16 or float16 for mixed precision.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Memory layout; often faster.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network first.")]
OpenArch = Annotated[
    str | None,
    typer.Option(help="Architecture, if the checkpoint neither records nor shows it: resnet50, timm:NAME, …"),
]
OpenNormalization = Annotated[
    str | None,
    typer.Option(help="none, cifar10, imagenet or means/deviations, if the checkpoint does not record it."),
]
Root = Annotated[Path, typer.Option(help="Where torchvision's data sets are.")]


def _show_version(asked: bool) -> None:  # noqa: FBT001
    if asked:
        typer.echo(f"rsmooth {build_info()['version']}")
        raise typer.Exit


@app.callback()
def _app(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None: ...


def console_for(*, quiet: bool = False) -> Console:
    """Return where to print; files and pipes have room for whole tables."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=True, quiet=quiet, width=None if known else 120)


def progress_bar(console: Console) -> Progress:
    """Return a progress bar, which shows on terminals alone."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def mechanism_of(name: str, parameter: float | None) -> Mechanism:
    """Return the mechanism of ``--mechanism`` and ``--sigma``; code that is named on the command line may run."""
    if name in MECHANISMS and parameter is None:
        raise ValueError(f"the {name} mechanism needs --sigma, in the inputs' units (pixels in [0, 1])")
    return mechanism_named(name, parameter, allow_code=True)


def preset_of(name: str | None, **settings: Any) -> dict[str, Any]:
    """Return the settings of a preset, none of which may be given beside it, and those that are given."""
    asked = given(**settings)
    if name is None:
        return asked
    if name not in PRESETS:
        raise ValueError(f"preset must be {either(PRESETS)}, got {name!r}")
    if both := [f"--{each.replace('_', '-')}" for each in PRESETS[name] if each in asked]:
        raise ValueError(f"give --preset {name} or {' and '.join(both)}, not both")
    return {**PRESETS[name], **asked}


def keep_memory() -> None:
    """Have the C library keep the memory that torch frees, where it is glibc.

    It gives large blocks back to the system at once, and getting them anew for every layer takes a third of a network's
    time on a CPU. What a process does with its memory is its own matter: this is for commands, not for the library.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def device_of(name: str) -> str:
    import torch  # noqa: PLC0415

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        # The processes that torchrun started on a machine share out its GPUs.
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"device {name} cannot be used: {reason}") from error
    return name


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say how to go on where the user interrupts."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(f"interrupted; the same command resumes from what {folder} holds", err=True)
        raise typer.Exit(130) from error
