"""The command line: one function a command."""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn
    from rich.table import Table

    from rsmooth.run.files import write_atomically
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the command line needs more packages: pip install 'rsmooth[cli]'") from error

from rsmooth.assess import MARKS, assess_builtin, parse_dims
from rsmooth.mechanisms import MECHANISMS, Exponential, Gaussian, Laplace
from rsmooth.noise import build_info, sequence_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rsmooth.assess import Assessment
    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.results import Run

__all__ = ["app", "main"]

app = typer.Typer(
    help="Randomized-smoothing certification: reproducible noise, sound bounds, certified radii.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Joins the lines of a paragraph.
    rich_markup_mode="markdown",
)


NORMS = {"1": 1.0, "2": 2.0, "inf": math.inf}

NEEDS_RUN = "this command needs more packages ({}): pip install 'rsmooth[run]'"


# Options that commands share.
DataName = Annotated[str, typer.Option(help="digits, cifar10, imagenet, a folder, .npz, or package.module:name.")]
DeviceName = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")]
PrecisionName = Annotated[str, typer.Option(help="float32, or bfloat16 or float16 for mixed precision.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Memory layout; often faster.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network first.")]
OpenArch = Annotated[str | None, typer.Option(help="Architecture of a checkpoint that does not say.")]
OpenNormalization = Annotated[str | None, typer.Option(help="none, cifar10 or imagenet, where open.")]
Root = Annotated[Path, typer.Option(help="Where torchvision's data sets are.")]


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
    data: DataName,
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
    device: DeviceName = "auto",
    precision: PrecisionName = "float32",
    channels_last: ChannelsLast = False,  # noqa: FBT002
    compile_: Compile = False,  # noqa: FBT002
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    root: Root = Path("data"),
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
    _keep_memory()
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
    if mechanism == "none" and sigma is not None:
        raise ValueError(f"--mechanism none has no sigma, got {sigma}")
    noise = None if mechanism == "none" else _mechanism(mechanism, sigma)
    console = _console()
    console.print(f"{network.arch}, {noise or 'no noise'}, {len(images):,} images of {data}, seed {seed}, to {out}/")
    with _resumable(out), _bar(console) as bar:
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
    code = f" --arch {network.arch}" if ":" in network.arch else ""
    console.print(f"{out / 'checkpoint.pt'}: rsmooth certify --model {out / 'checkpoint.pt'}{code} …")


@app.command()
def certify(  # noqa: PLR0917
    model: Annotated[str, typer.Option(help="A checkpoint (.pt, .pth.tar, .safetensors), or package.module:name.")],
    data: DataName,
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
    skip: Annotated[int, typer.Option(help="Certify every k-th example.")] = 1,
    max_: Annotated[int | None, typer.Option("--max", help="Only examples of an index below this.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Noisy copies the model gets at once; by the images' size and the device if left out."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Names all draws; fresh and kept in the run if left out.")
    ] = None,
    noise: Annotated[str, typer.Option(help="Who draws: host (the same everywhere) or device (torch).")] = "host",
    device: DeviceName = "auto",
    precision: PrecisionName = "float32",
    channels_last: ChannelsLast = False,  # noqa: FBT002
    compile_: Compile = False,  # noqa: FBT002
    split: Annotated[str, typer.Option(help="Part of the data set: test or train.")] = "test",
    arch: OpenArch = None,
    normalization: OpenNormalization = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes, where neither model nor data says.")
    ] = None,
    root: Root = Path("data"),
) -> None:
    """Certify a model on a data set; the same command goes on where it was stopped.

    Processes that torchrun starts share the work: torchrun --nproc-per-node=2 -m -- rsmooth certify …, where the
    dashes alone keep torchrun from taking --n and --max for its own.

    Example: rsmooth certify --model model.pt --data cifar10 --mechanism gaussian --sigma 0.25 --norm 2 --out run
    """
    try:
        from rsmooth.run.certify import Order  # noqa: PLC0415
        from rsmooth.run.certify import certify as run_certify  # noqa: PLC0415
        from rsmooth.run.data import load_data  # noqa: PLC0415
        from rsmooth.run.models import load_model  # noqa: PLC0415
        from rsmooth.run.results import read_run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    _keep_memory()
    images = load_data(data, split="train" if split == "train" else "test", root=root)
    known = images.classes if classes is None else classes
    if known is None:
        raise ValueError(f"{data} does not say how many classes it has: give --classes")
    network = load_model(model, num_classes=known, arch=arch, normalization=normalization)
    if classes is not None and network.num_classes != classes:
        raise ValueError(f"{model} has {network.num_classes} classes, but --classes {classes} was given")
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
        precision=precision,
        channels_last=channels_last,
        compile=compile_,
    )
    console = _console(quiet=os.environ.get("RANK", "0") != "0")
    with _resumable(out), _bar(console) as bar:
        task = bar.add_task("certify", total=None)
        run_certify(
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
    run = read_run(out)
    found = run.certificates()
    right = found.certified_accuracy(run.column("label"), 0.0)
    console.print(
        f"{out}: {len(found):,} examples, {right:.1%} certified and right, {(found.prediction < 0).sum():,} without a "
        f"certificate, seed {run.seed.entropy}"
    )


@app.command()
def verify(  # noqa: PLR0917
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    sample: Annotated[int, typer.Option(min=0, help="How many examples to draw again.")] = 20,
    model: Annotated[str | None, typer.Option(help="The model, where it is not where the run says.")] = None,
    data: Annotated[str | None, typer.Option(help="The data, likewise.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision's data sets are, likewise.")] = None,
    arch: Annotated[str | None, typer.Option(help="Its architecture, where that is code.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of an example's votes that may differ; a single one may where it is not 0.")
    ] = 1e-4,
    seed: Annotated[int | None, typer.Option(min=0, help="Chooses the examples; fresh if left out.")] = None,
    device: DeviceName = "auto",
) -> None:
    """Check a run: every radius from its counts, and the counts of some examples by drawing them again.

    Ends with status 1 where anything is not as recorded. Other hardware, which rounds the model's arithmetic otherwise,
    may need a larger --tolerance.

    Example: rsmooth verify run --sample 20
    """
    from rsmooth.run.results import read_run  # noqa: PLC0415

    try:
        from rsmooth.run.data import load_data  # noqa: PLC0415
        from rsmooth.run.models import load_model  # noqa: PLC0415
        from rsmooth.run.verify import check_records, check_sources, recount  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS_RUN.format(error)) from error
    _keep_memory()
    read = read_run(run)
    console = _console()
    console.print(read.summary())
    problems = check_records(read)
    console.print(f"certificates computed again from {len(read.records):,} examples' counts: {_verdict(problems)}")
    if read.missing:
        problems.append(f"{_counted(read.missing, 'example')} asked for but not finished")
    if not sample:
        console.print("model and data: not compared, nor any example drawn again (--sample 0)")
    else:
        settings, told = read.settings, read.told
        source = _trusted(run, "model", model, told.get("model"))
        images = load_data(
            _trusted(run, "data", data, told.get("data")),
            split=told.get("split", "test"),
            root=root or Path(str(told.get("root", "data"))),
        )
        network = load_model(
            source,
            num_classes=settings["num_classes"],
            arch=_trusted(run, "arch", arch, settings["arch"]) if Path(source).exists() else None,
            normalization=settings["normalization"],
        )
        others = check_sources(read, network, images)
        console.print(f"model and data: {_verdict(others)}")
        problems += others
        if not others:
            chooser = sequence_of(seed)
            with _bar(console) as bar:
                task = bar.add_task("draw again", total=None)
                again = recount(
                    read,
                    network,
                    images,
                    sample=sample,
                    seed=chooser,
                    tolerance=tolerance,
                    device=_device(device),
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
            console.print(
                f"{len(again.moved):,} examples drawn again (--seed {chooser.entropy}), {again.draws:,} draws, "
                f"{sum(again.moved.values()):,} votes differ: {_verdict(again.problems)}"
            )
            problems += again.problems
    if problems:
        more = f"and {len(problems) - 10:,} more" if len(problems) > 10 else ""  # noqa: PLR2004
        raise ValueError("\n".join([f"{run} is not as recorded:", *problems[:10], more]).rstrip())


def _trusted(run: Path, name: str, given: str | None, said: Any) -> str:
    """Return what the user gives or else the run says, which may be a stranger's and have no code run."""
    if given is not None:
        return given
    if not isinstance(said, str):
        raise ValueError(f"{run} does not say where its {name} came from: give --{name}")  # noqa: TRY004
    path = Path(said)
    no_code = {"model": path.is_file(), "data": path.is_dir() or path.suffix in (".npz", ".npy"), "arch": False}
    if ":" in said and not no_code[name]:
        raise ValueError(f"{run} says {name} {said!r}, which is code: give it with --{name} to have it run")
    return said


def _verdict(problems: list[str]) -> str:
    return _counted(len(problems), "problem") if problems else "as recorded"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


@app.command()
def plot(  # noqa: PLR0917
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The figure: .png, .pdf or .svg.")],
    norm: Annotated[str | None, typer.Option(help="Norm of the radius: 1, 2 or inf; the runs' if left out.")] = None,
    bound: Annotated[
        list[str] | None, typer.Option(help="renyi, neyman-pearson, … (repeatable); each run's own if left out.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Failure probability; each run's own if left out.")] = None,
    title: Annotated[str, typer.Option(help="What stands above the figure.")] = "Certified accuracy",
    json_: Annotated[Path | None, typer.Option("--json", help="Where to save all numbers.")] = None,
) -> None:
    """Draw the certified accuracy of runs against the radius, with 95% intervals, and print a table.

    Abstentions count as errors. Of several bounds, each run gets those that hold for its mechanism.

    Example: rsmooth plot gaussian-run exponential-run --norm inf --bound renyi --bound pure-dp -o linf.png
    """
    from rsmooth.run.results import read_run  # noqa: PLC0415

    try:
        from rsmooth.plots import Curve, certified_accuracy_figure, describe  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"the figure needs more packages ({error}): pip install 'rsmooth[plot]'") from error
    console = _console()
    curves, rows = [], []
    for folder in runs:
        run = read_run(folder)
        if run.missing or run.damaged:
            console.print(run.summary())
        for each in _holding(run, bound):
            found = run.certificates(norm=None if norm is None else _norm(norm), alpha=alpha, bound=each)
            curves.append(Curve(f"{folder.name}: {describe(found.mechanism)}", found, run.column("label")))
            rows.append(run.measures(found))
    if len({each["norm"] for each in rows}) > 1:
        raise ValueError("norm must be given where runs certify in several norms: --norm 1, 2 or inf")
    figure = certified_accuracy_figure(curves, title=title)
    kind = out.suffix[1:]
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"out must end in .png, .pdf or .svg, got {out}")
    write_atomically(out, lambda file: figure.savefig(file, format=kind))
    if json_ is not None:
        write_atomically(json_, lambda file: file.write((json.dumps(rows, indent=1) + "\n").encode()))
    console.print(_measures_table(rows))


def _holding(run: Run, bounds: list[str] | None) -> list[str]:
    """Return those of `bounds` that hold for a run's mechanism; its own, where none are asked for."""
    if not bounds:
        return [run.rule.bound]
    mechanism = run.rule.mechanism
    known = [name for kind in (Gaussian, Exponential, Laplace) for name in kind.bounds]
    wrong = [name for name in bounds if name not in known]
    holding = [name for name in bounds if name in mechanism.bounds]
    if wrong or not holding:
        raise ValueError(
            f"bound must be one of {', '.join(mechanism.bounds)} for the {mechanism.name} mechanism of {run.folder}, "
            f"got {', '.join(wrong or bounds)}"
        )
    return holding


def _measures_table(rows: list[dict[str, Any]]) -> Table:
    caption = (
        "abst.: examples without a certificate. right: certified and right. r50: radius at 50% certified accuracy. "
        "ACR: average certified radius. Abstentions count as errors."
    )
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    for heading in ("run", "mechanism", "σ", "norm", "bound", "examples", "abst.", "right", "r50", "ACR"):
        table.add_column(heading, justify="left" if heading in ("run", "mechanism", "bound") else "right")
    for row in rows:
        radii = (row["radius_at_half"], row["average_certified_radius"])
        table.add_row(
            Path(row["run"]).name,
            row["mechanism"],
            f"{row['sigma']:.4g}",
            row["norm"],
            row["bound"],
            f"{row['examples']:,}",
            f"{row['abstained']:,}",
            f"{row['accuracy']:.1%}",
            *(_digits(each) if each else "0" for each in radii),
        )
    return table


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
    console = _console()
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
    counts: Annotated[
        Path, typer.Argument(help="Folder of a run, counts (.npy, .csv, .tsv, .parquet) or a locuslab result file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .tsv.")],
    mechanism: Annotated[
        str | None, typer.Option(help="The mechanism counted: gaussian, exponential or laplace; a run says itself.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Its sigma or scale, in pixels in [0, 1]; likewise.")
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Norm of the radius: 1, 2 or inf; a run's own if left out.")] = None,
    bound: Annotated[
        str | None, typer.Option(help="renyi (of files if left out), neyman-pearson, pure-dp or pixeldp.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Failure probability of each certificate; for files 0.001 if left out.")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Coordinates of an input, where the radius depends on it.")] = None,
    runner_up: Annotated[str | None, typer.Option(help="second (of files if left out), or complement: 1 - p1.")] = None,
    selection: Annotated[Path | None, typer.Option(help="For .npy counts: .npy of what separate draws chose.")] = None,
) -> None:
    """Turn the counts of a run or of a file into a file of certified radii; files larger than memory are fine.

    Tables have the votes in columns count_0, count_1, … and what separate draws chose in selection_0, … or selected;
    their other columns are kept. A run's .tsv has the columns of locuslab's result files.

    Example: rsmooth radii run --bound neyman-pearson -o radii.tsv

    Example: rsmooth radii counts.parquet --mechanism gaussian --sigma 0.25 --norm 2 --bound renyi -o radii.parquet
    """
    from rsmooth.run.recertify import recertify, recertify_run  # noqa: PLC0415
    from rsmooth.run.results import read_run  # noqa: PLC0415

    console = _console()
    measure = None if norm is None else _norm(norm)
    if counts.is_dir():
        run = read_run(counts)
        given = {"mechanism": mechanism, "sigma": sigma, "dim": dim, "selection": selection}
        for name, value in given.items():
            if value not in (None, run.settings.get(name)):
                raise ValueError(f"{name} is {run.settings.get(name, 'kept with the counts')} in {counts}, got {value}")
        if run.missing or run.damaged:
            console.print(run.summary())
        summary = recertify_run(run, out, norm=measure, alpha=alpha, bound=bound, runner_up=runner_up)
    else:
        missing = [f"--{name}" for name, value in (("mechanism", mechanism), ("norm", norm)) if value is None]
        if mechanism is None or measure is None:
            raise ValueError(f"{counts} is no run, whose counts say what they are: give {' and '.join(missing)}")
        with _bar(console) as bar:
            task = bar.add_task(counts.name, total=1.0)
            summary = recertify(
                counts,
                out,
                _mechanism(mechanism, sigma),
                norm=measure,
                dim=dim,
                alpha=0.001 if alpha is None else alpha,
                bound=bound or "renyi",
                runner_up=runner_up or "second",
                selection=selection,
                progress=lambda share: bar.update(task, completed=share),
            )
    console.print(
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


def _console(*, quiet: bool = False) -> Console:
    """Return where to print; files and pipes have room for whole tables."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=True, quiet=quiet, width=None if known else 120)


def _bar(console: Console) -> Progress:
    """Return a progress bar, which shows on terminals alone."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


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


def _keep_memory() -> None:
    """Have the C library keep the memory that torch frees, where it is glibc.

    It gives large blocks back to the system at once, and getting them anew for every layer takes a third of a network's
    time on a CPU. What a process does with its memory is its own matter: this is for commands, not for the library.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def _device(name: str) -> str:
    import torch  # noqa: PLC0415

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"device {name} cannot be used: {reason}") from error
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
    except (ValueError, OSError, RuntimeError) as error:
        typer.echo(f"rsmooth: {error}", err=True)
        sys.exit(1)
