"""The command line: one function a command."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn
    from rich.table import Table
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the command line needs more packages: pip install 'rsmooth[cli]'") from error

from rsmooth.assess import MARKS, assess_builtin, parse_dims
from rsmooth.mechanisms import Exponential, Gaussian, Laplace
from rsmooth.noise import build_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rsmooth.assess import Assessment
    from rsmooth.mechanisms import Mechanism

__all__ = ["app", "main"]

app = typer.Typer(
    help="Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


MECHANISMS = {"gaussian": Gaussian, "exponential": Exponential, "laplace": Laplace}
NORMS = {"1": 1.0, "2": 2.0, "inf": math.inf}

NEEDS_RUN = "this command needs more packages ({}): pip install 'rsmooth[run]'"


# Keeps `info` a command of its own however many others there are.
@app.callback()
def _app() -> None: ...


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for counts, figures and table.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Little work: shows that it runs, certifies little.")] = False,  # noqa: FBT002
) -> None:
    """Train, certify and plot scikit-learn's digits with both mechanisms (needs the extra "demo").

    Example: rsmooth demo --out demo --seed 0
    """
    try:
        from rsmooth.run.demo import demo as run_demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the demo needs more packages ({error}): pip install 'rsmooth[demo]'") from error
    run_demo(out, seed=seed, quick=quick, console=Console())


@app.command()
def train(  # noqa: PLR0917
    model: Annotated[
        str, typer.Option(help="Architecture (cifar_resnet110, resnet50, …) or a checkpoint to start from.")
    ],
    data: Annotated[str, typer.Option(help="digits, cifar10, imagenet, a folder, .npz, or package.module:name.")],
    mechanism: Annotated[str, typer.Option(help="gaussian, exponential, laplace, or none.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoint.pt and log.csv.")],
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Of the noise, in pixels in [0, 1].")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="The learning rate falls to a tenth after each third.")] = 90,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 256,
    lr: Annotated[float, typer.Option(help="Learning rate at first.")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Nesterov's.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Factor of the weights' squared norm.")] = 1e-4,
    augment: Annotated[
        str | None, typer.Option(help="none, crop-flip or resized-crop-flip; by data set if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Names all random streams.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 or float16 for mixed precision.")] = "float32",
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Memory layout; often faster.")] = False,  # noqa: FBT002
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the network first.")] = False,  # noqa: FBT002
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    arch: Annotated[str | None, typer.Option(help="Architecture of a checkpoint that does not say.")] = None,
    normalization: Annotated[str | None, typer.Option(help="none, cifar10 or imagenet, where open.")] = None,
    root: Annotated[Path, typer.Option(help="Where torchvision's data sets are.")] = Path("data"),
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download CIFAR-10.")] = False,  # noqa: FBT002
    test: Annotated[bool, typer.Option(help="Test on the test images after each epoch.")] = True,  # noqa: FBT002
) -> None:
    """Train a network on noisy images; the same command goes on where it was stopped.

    Example: rsmooth train --model cifar_resnet110 --data cifar10 --mechanism gaussian --sigma 0.25 --out trained
    """
    try:
        from rsmooth.run.data import NoSplitError, load_data  # noqa: PLC0415
        from rsmooth.run.models import build_model, load_model  # noqa: PLC0415
        from rsmooth.run.train import Epoch, Recipe  # noqa: PLC0415
        from rsmooth.run.train import train as run_train  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    images = load_data(data, split="train", root=root, download=download)
    tested = None
    if test:
        with suppress(NoSplitError):
            tested = load_data(data, split="test", root=root)
    if images.classes is None:
        raise ValueError(f"{data} does not say how many classes it has: give the data set an attribute classes")
    if Path(model).exists():
        network = load_model(model, num_classes=images.classes, arch=arch, normalization=normalization)
    else:
        network = build_model(model, images.classes, normalization=normalization, seed=seed)
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        augmentation=images.augmentation if augment is None else augment,
        precision=precision,
        channels_last=channels_last,
        compile=compile_,
    )
    noise = None if mechanism == "none" else _mechanism(mechanism, sigma)
    console = Console(highlight=False)
    console.print(f"{network.arch}, {noise or 'no noise'}, {len(images):,} images of {data}, seed {seed}, to {out}/")
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with _resumable(out), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("train", total=epochs * len(images))

        def report(epoch: Epoch) -> None:
            on_test = "" if epoch.test_accuracy is None else f", test {epoch.test_accuracy:.1%}"
            console.print(
                f"epoch {epoch.epoch}/{epochs}: learning rate {epoch.learning_rate:g}, loss {epoch.loss:.4f}, "
                f"noisy accuracy {epoch.accuracy:.1%}{on_test}, {epoch.seconds:.0f} s"
            )

        run_train(
            network,
            images,
            noise,
            recipe,
            seed=seed,
            test=tested,
            out=out,
            device=_device(device),
            workers=workers,
            progress=lambda done: bar.advance(task, done),
            report=report,
        )
    console.print(f"{out / 'checkpoint.pt'}: rsmooth certify --model {out / 'checkpoint.pt'} …")


@app.command()
def certify(  # noqa: PLR0917
    model: Annotated[str, typer.Option(help="A checkpoint (.pt, .pth.tar, .safetensors), or package.module:name.")],
    data: Annotated[str, typer.Option(help="digits, cifar10, imagenet, a folder, .npz, or package.module:name.")],
    mechanism: Annotated[str, typer.Option(help="gaussian, exponential or laplace.")],
    sigma: Annotated[float, typer.Option("--sigma", "--scale", help="Of the noise, in pixels in [0, 1].")],
    norm: Annotated[str, typer.Option(help="Norm of the radius: 1, 2 or inf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    n0: Annotated[int, typer.Option(help="Draws that select an example's class.")] = 100,
    n: Annotated[int, typer.Option(help="Draws that test it; at most, with --radius.")] = 100_000,
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    bound: Annotated[str, typer.Option(help="renyi, neyman-pearson, pure-dp or pixeldp.")] = "renyi",
    runner_up: Annotated[str, typer.Option(help="second, or complement: p2 = 1 - p1.")] = "second",
    radius: Annotated[float | None, typer.Option(help="Certify this radius, with as few draws as it takes.")] = None,
    test: Annotated[str, typer.Option(help="How, with --radius: betting or stages.")] = "betting",
    skip: Annotated[int, typer.Option(help="Certify every so manieth example.")] = 1,
    max_: Annotated[int | None, typer.Option("--max", help="Only examples of an index below this.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Noisy copies the model gets at once; 1000 if they fit.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Names all draws; fresh and kept in the run if left out.")
    ] = None,
    noise: Annotated[str, typer.Option(help="Who draws: host (the same everywhere) or device (torch).")] = "host",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")] = "auto",
    split: Annotated[str, typer.Option(help="Part of the data set: test or train.")] = "test",
    arch: Annotated[str | None, typer.Option(help="Architecture of a checkpoint that does not say.")] = None,
    normalization: Annotated[str | None, typer.Option(help="none, cifar10 or imagenet, where open.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes, where neither model nor data says.")] = None,
    root: Annotated[Path, typer.Option(help="Where torchvision's data sets are.")] = Path("data"),
) -> None:
    """Certify a model on a data set; the same command goes on where it was stopped.

    Processes that torchrun starts share the examples: torchrun --nproc-per-node=2 -m -- rsmooth certify …, where the
    dashes alone keep torchrun from taking --n and --max for its own.

    Example: rsmooth certify --model model.pt --data cifar10 --mechanism gaussian --sigma 0.25 --norm 2 --out run
    """
    try:
        from rsmooth.run.certify import Order  # noqa: PLC0415
        from rsmooth.run.certify import certify as run_certify  # noqa: PLC0415
        from rsmooth.run.data import load_data  # noqa: PLC0415
        from rsmooth.run.models import load_model  # noqa: PLC0415
        from rsmooth.run.store import read_settings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    images = load_data(data, split="train" if split == "train" else "test", root=root)
    known = classes or images.classes
    if known is None:
        raise ValueError(f"{data} does not say how many classes it has: give --classes")
    network = load_model(model, num_classes=known, arch=arch, normalization=normalization)
    order = Order(
        norm=_norm(norm),
        n0=n0,
        n=n,
        alpha=alpha,
        bound=bound,
        runner_up=runner_up,
        radius=radius,
        test=test,
        skip=skip,
        max=max_,
        batch_size=batch_size,
        noise=noise,
    )
    console = Console(highlight=False, quiet=os.environ.get("RANK", "0") != "0")
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with _resumable(out), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("certify", total=None)
        records = run_certify(
            out,
            network,
            images,
            _mechanism(mechanism, sigma),
            order,
            seed=seed,
            device=_device(device),
            told={"model": model, "data": data, "split": split, "root": str(root)},
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    right = [record for record in records.values() if record["prediction"] == record["label"]]
    abstained = sum(record["prediction"] < 0 for record in records.values())
    kept = read_settings(out) or {}
    console.print(
        f"{out}: {len(records):,} examples, {len(right) / len(records):.1%} certified and right, {abstained:,} without "
        f"a certificate, seed {kept['seed']['entropy']}"
    )


@app.command()
def assess(  # noqa: PLR0917
    norm: Annotated[str, typer.Option(help="Norm of the perturbations: 2 or inf.")] = "inf",
    radius: Annotated[float, typer.Option(help="Their largest norm, in pixels in [0, 1].")] = 0.01,
    epsilon: Annotated[float, typer.Option(help="The divergence D_MR allowed.")] = 0.5,
    dims: Annotated[str, typer.Option(help="Dimensions: LOW:HIGH (decades), or a list with commas.")] = "10:1e7",
    seed: Annotated[int, typer.Option(min=0, help="Names the draws that are measured.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where to save the figure (needs rsmooth[plot]).")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Compare the noise that each mechanism needs with what any mechanism needs.

    Example: rsmooth assess --norm inf --radius 0.01 --epsilon 0.5 --dims 10:1e7 --plot gap.png
    """
    if plot is not None:
        try:
            from rsmooth.plots import gap_figure  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    found = assess_builtin(norm=_norm(norm), radius=radius, epsilon=epsilon, dims=parse_dims(dims), seed=seed)
    console = Console(highlight=False)
    console.print(f"Noise needed for D_MR ≤ {epsilon:g} within radius {radius:g}, norm {norm}. {found[0].caveat}")
    console.print("Measured: the mean of draws, and Student's interval of 99.9%.")
    for each in found:
        console.print(_assessment_table(each))
    if json_ is not None:
        json_.write_text(json.dumps([each.to_dict() for each in found], indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        gap_figure(found).savefig(plot)


def _assessment_table(assessment: Assessment) -> Table:
    table = Table(title=f"\n{assessment.mechanism}: {assessment.verdict}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("d", "scale", "E‖z‖∞", "measured", "criterion", "gap"):
        table.add_column(heading, justify="right")
    names = {dim: f"{name} " for name, dim in MARKS.items()}
    for row in assessment.rows:
        exact = "no formula" if row.magnitude is None else _digits(row.magnitude)
        measured = "too large"
        if row.measured is not None:
            half = row.measured.upper - row.measured.mean
            decimals = max(-math.floor(math.log10(half)), 0)
            measured = f"{row.measured.mean:,.{decimals}f} ± {half:,.{decimals}f}"
        values = (_digits(row.scale), exact, measured, _digits(row.criterion), _digits(row.gap))
        table.add_row(f"{names.get(row.dim, '')}{row.dim:,}", *values)
    return table


def _digits(value: float) -> str:
    """Return a number above 0 with four digits."""
    size = math.floor(math.log10(value))
    return f"{value:,.{max(3 - size, 0)}f}" if -5 < size < 9 else f"{value:.3e}"  # noqa: PLR2004


@app.command()
def radii(  # noqa: PLR0917
    counts: Annotated[Path, typer.Argument(help="Counts (.npy, .csv, .tsv, .parquet) or a locuslab result file.")],
    mechanism: Annotated[str, typer.Option(help="The mechanism counted: gaussian, exponential or laplace.")],
    sigma: Annotated[float, typer.Option("--sigma", "--scale", help="Its sigma or scale, in pixels in [0, 1].")],
    norm: Annotated[str, typer.Option(help="Norm of the radius: 1, 2 or inf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .tsv.")],
    bound: Annotated[str, typer.Option(help="renyi, neyman-pearson, pure-dp or pixeldp.")] = "renyi",
    alpha: Annotated[float, typer.Option(help="Failure probability of each certificate.")] = 0.001,
    dim: Annotated[int | None, typer.Option(help="Coordinates of an input, where the radius depends on it.")] = None,
    runner_up: Annotated[str, typer.Option(help="second, or complement: p2 = 1 - p1.")] = "second",
    selection: Annotated[Path | None, typer.Option(help="For .npy counts: .npy of what separate draws chose.")] = None,
) -> None:
    """Turn a file of counts into a file of certified radii; larger than memory is fine.

    Tables have the votes in columns count_0, count_1, … and what separate draws chose in selection_0, … or selected;
    their other columns are kept.

    Example: rsmooth radii counts.parquet --mechanism gaussian --sigma 0.25 --norm 2 --bound renyi -o radii.parquet
    """
    from rsmooth.run.recertify import recertify  # noqa: PLC0415

    with Progress(transient=True) as bar:
        task = bar.add_task(counts.name, total=1.0)
        summary = recertify(
            counts,
            out,
            _mechanism(mechanism, sigma),
            norm=_norm(norm),
            dim=dim,
            alpha=alpha,
            bound=bound,
            runner_up=runner_up,
            selection=selection,
            progress=lambda share: bar.update(task, completed=share),
        )
    Console(highlight=False).print(
        f"{out}: {summary.rows:,} rows, {summary.abstained:,} abstained, largest radius {summary.largest:.6g}"
    )


@app.command()
def info() -> None:
    """Show the version, the noise layout and the vector instructions in use.

    Example: rsmooth info
    """
    table = Table(show_header=False)
    for name, value in {**build_info(), "python": platform.python_version(), "platform": platform.platform()}.items():
        table.add_row(name, ", ".join(value) if isinstance(value, (list, tuple)) else str(value))
    Console().print(table)


def _norm(name: str) -> float:
    if name not in NORMS:
        raise ValueError(f"norm must be 1, 2 or inf, got {name!r}")
    return NORMS[name]


def _mechanism(name: str, sigma: float | None) -> Mechanism:
    if name not in MECHANISMS:
        raise ValueError(f"mechanism must be gaussian, exponential or laplace, got {name!r}")
    if sigma is None:
        raise ValueError(f"the {name} mechanism needs --sigma")
    return MECHANISMS[name](sigma)


def _device(name: str) -> str:
    import torch  # noqa: PLC0415

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name} cannot be used: torch finds no CUDA device")
    return name


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Say how to go on where the user interrupts."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(f"interrupted; the same command goes on from what {folder} holds", err=True)
        raise typer.Exit(130) from error


def main() -> None:
    """Run the command that the process was given; end with status 1 and one line where it cannot be done.

    Raises
    ------
    SystemExit
        Always, with the process's exit status: 0, 1 for a refusal, 2 for bad usage, 130 for an interrupt.

    Examples
    --------
    >>> from rsmooth.cli import main
    >>> main()  # doctest: +SKIP
    """
    try:
        app()
    except (ValueError, OSError) as error:
        typer.echo(f"rsmooth: {error}", err=True)
        sys.exit(1)
