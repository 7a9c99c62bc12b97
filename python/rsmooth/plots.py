"""Figures of certificates and assessments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rsmooth._looks import COLOURS, LABELS
from rsmooth._norms import SYMBOLS
from rsmooth.certificates.accuracy import CertifiedRadii
from rsmooth.io.files import write_atomically
from rsmooth.theory.assess import MARKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from rsmooth.results.result import Result
    from rsmooth.theory.assess import Assessment
    from rsmooth.training.log import Epoch

__all__ = ["certified_accuracy_figure", "gap_figure", "p1_figure", "save", "training_figure"]

# Line styles and marks, in the order of a figure's curves: what tells them apart in grey.
MARKERS = ("o", "s", "^", "D", "v")
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)))


# Files in which text stays text, in fonts that any viewer and printer has or embeds as TrueType.
SAVED: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}

FORMATS = ("png", "pdf", "svg")
"""What `save` writes."""


def save(figure: Figure, out: Path) -> None:
    """Write a figure, all at once; text stays text in .svg, and in .pdf is set in TrueType fonts.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What is written.
    out : pathlib.Path
        The file, which ends in .png, .pdf or .svg.

    Raises
    ------
    ValueError
        If it ends otherwise.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from matplotlib.figure import Figure
    >>> from rsmooth.plots import save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Figure(), pathlib.Path(folder, "empty.pdf"))
    """
    kind = out.suffix[1:]
    if kind not in FORMATS:
        raise ValueError(f"out must end in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}, got {out}")
    with rc_context(SAVED):
        write_atomically(out, lambda file: figure.savefig(file, format=kind))


def certified_accuracy_figure(
    results: Sequence[Result],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    colours: Sequence[str] = (),
    size: tuple[float, float] = (6.4, 4.2),
    bands: bool = True,
) -> Figure:
    """Draw certified accuracy against radius, a colour for each name.

    Results of one name, under several bounds, have a line style for each bound; if there are none, each name has a line
    style too, so that curves are told apart in grey.

    Parameters
    ----------
    results : sequence of Result
        In one norm, in the order of the legend.
    title : str, optional
        What stands above the figure.
    ax : matplotlib.axes.Axes, optional
        Where to draw; in a figure of its own, if left out.
    colours : sequence of str
        One for each name, as matplotlib takes them; a palette that colour-blind readers tell apart, if empty.
    size : tuple of float
        Width and height of a figure of its own, in inches.
    bands : bool
        Whether each curve's 95% interval (Clopper-Pearson, the inputs taken for a random sample) is shaded.

    Returns
    -------
    matplotlib.figure.Figure
        For `save`. Abstentions count as errors.

    Raises
    ------
    ValueError
        If there are no results, they are of several norms, or `colours` are of another number or are none.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.plots import certified_accuracy_figure
    >>> from rsmooth.results.result import Result
    >>> counts = [[990, 10], [900, 100], [400, 600]]
    >>> results = [
    ...     Result.of(str(noise), rsmooth.certify_counts(counts, noise, norm=2, dim=64), [0, 0, 0])
    ...     for noise in (rsmooth.Gaussian(0.25), rsmooth.Gaussian(0.5))
    ... ]
    >>> figure = certified_accuracy_figure(results, title="Three inputs")
    >>> figure.axes[0].get_xlabel()
    'ℓ₂ radius (in the units of the inputs)'
    """
    norms = {each.norm for each in results}
    if len(norms) != 1:
        raise ValueError(f"results must be one at least and of one norm, got {sorted(norms)}")
    axes = _axes(ax, size, title)
    _draw(axes, results, [each.certified for each in results], colours, bands=bands)
    axes.set(
        xlabel=f"{SYMBOLS[norms.pop()]} radius (in the units of the inputs)",
        ylabel="certified accuracy",
        xlim=(0, None),
    )
    return _whole(axes)


def p1_figure(
    results: Sequence[Result],
    *,
    title: str | None = None,
    ax: Axes | None = None,
    colours: Sequence[str] = (),
    size: tuple[float, float] = (6.4, 4.2),
    bands: bool = True,
) -> Figure:
    """Draw the distribution of p1, the lower bound on the probability of an input's class: the share that is above.

    Unlike a radius it can be compared between mechanisms, norms and amounts of noise. Whether the class is right
    makes no difference.

    Parameters
    ----------
    results : sequence of Result
        Whose p1 is known, each of another name.
    title, ax, colours, size, bands
        As for `certified_accuracy_figure`.

    Returns
    -------
    matplotlib.figure.Figure
        For `save`. Its axis is the logarithm of p1 / (1 − p1), which shows what is near 1.

    Raises
    ------
    ValueError
        If there are no results, the p1 of one is not known, or as `certified_accuracy_figure`.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.plots import p1_figure
    >>> from rsmooth.results.result import Result
    >>> found = rsmooth.certify_counts([[990, 10], [900, 100], [400, 600]], rsmooth.Gaussian(0.25), norm=2, dim=64)
    >>> p1_figure([Result.of("mine", found, [0, 0, 0])]).axes[0].get_xlabel()
    'p1, lower bound on the probability of the class'
    """
    if not results:
        raise ValueError("results must be one at least, got none")
    curves = []
    for each in results:
        if each.p1 is None:
            raise ValueError(f"p1 must be known, and that of {each.origin} is not")
        none = np.zeros(len(each), np.int64)
        curves.append(CertifiedRadii(none, each.p1, none))
    axes = _axes(ax, size, title)
    axes.set_xscale("logit")
    # No bound has made p1.
    _draw(axes, [replace(each, bound=None) for each in results], curves, colours, bands=bands)
    # Where the least 1 − p1 has its place at a tenth of the width from the end.
    least = max(min(1 - float(each.values[-1]) for each in curves), 1e-12)
    axes.set(
        xlabel="p1, lower bound on the probability of the class",
        ylabel="share of inputs above",
        xlim=(0.5, 1 - min(0.1, least**1.1)),
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda p1, _: f"{p1:.10g}"))
    return _whole(axes)


def _axes(ax: Axes | None, size: tuple[float, float], title: str | None) -> Axes:
    axes = Figure(figsize=size, dpi=120, layout="constrained").add_subplot() if ax is None else ax
    if title is not None:
        axes.set_title(title, fontsize="medium")
    return axes


def _whole(axes: Axes) -> Figure:
    """Return the figure that axes are in, if need be within a part of it."""
    figure = axes.figure
    return figure if isinstance(figure, Figure) else figure.figure


def _draw(
    axes: Axes, results: Sequence[Result], curves: Sequence[CertifiedRadii], colours: Sequence[str], *, bands: bool
) -> None:
    """Draw the share of each result's inputs that is above a value, and the legend."""
    names = list(dict.fromkeys(each.name for each in results))
    if colours and len(colours) != len(names):
        raise ValueError(f"colours must be one for each of {len(names)} names, got {len(colours)}")
    if wrong := [colour for colour in colours if not is_color_like(colour)]:
        raise ValueError(f"colours must be names or #RRGGBB, got {wrong[0]!r}")
    shades = {name: (colours or COLOURS)[i % len(colours or COLOURS)] for i, name in enumerate(names)}
    bounds = list(dict.fromkeys(each.bound for each in results))
    by_bound = len(names) < len(results)
    keys = [each.bound if by_bound else each.name for each in results]
    styles = {key: STYLES[i % len(STYLES)] for i, key in enumerate(dict.fromkeys(keys))}
    handles = []
    for each, curve, key in zip(results, curves, keys, strict=True):
        at = curve.steps()
        line = Line2D(at, curve.accuracy(at), drawstyle="steps-post", linewidth=1.6)
        line.set(color=shades[each.name], linestyle=styles[key])
        axes.add_line(line)
        of_bound = f" ({_bound(each.bound)})" if len(bounds) > 1 else ""
        handles.append(Line2D([], [], color=shades[each.name], linestyle=styles[key], label=f"{each.name}{of_bound}"))
        # The pixels of an image depend on each other.
        if bands and each.answer != "map":
            axes.fill_between(at, *curve.interval(at), step="post", color=shades[each.name], alpha=0.12, linewidth=0)
    axes.autoscale_view()
    axes.set(ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    if by_bound:
        handles = [Line2D([], [], color=shades[name], label=name) for name in names]
        if len(bounds) > 1:
            handles += [Line2D([], [], color="grey", linestyle=styles[each], label=_bound(each)) for each in bounds]
    axes.legend(handles=handles, fontsize="small")


def _bound(name: str | None) -> str:
    """Return what a legend calls a bound."""
    return LABELS.get(name or "", "bound not told")


def gap_figure(assessments: Sequence[Assessment]) -> Figure:
    """Draw the gap between the noise that mechanisms need and the criterion against the dimension, on log scales.

    Lines are the gaps by formula, marks, of a shape for each mechanism, the measured ones, and dashes the powers of
    log d and d that they grow as.

    Parameters
    ----------
    assessments : sequence of Assessment
        Of one norm, radius and ε.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``.

    Raises
    ------
    ValueError
        If there are no assessments, or they are of several settings.

    Examples
    --------
    >>> from rsmooth.theory.assess import assess_builtin
    >>> from rsmooth.plots import gap_figure
    >>> figure = gap_figure(assess_builtin(norm=2, radius=0.5, epsilon=0.5, dims=[10, 100, 1000], seed=0))
    >>> figure.axes[0].get_xlabel()
    'dimension d'
    """
    settings = {(each.norm, each.radius, each.epsilon) for each in assessments}
    if len(settings) != 1:
        raise ValueError(f"assessments must be of one norm, radius and epsilon, got {sorted(settings)}")
    norm, radius, epsilon = settings.pop()
    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    handles = []
    axes.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="gap: E‖z‖∞ needed / criterion")
    for number, each in enumerate(assessments):
        colour, mark = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        dims = np.array([row.dim for row in each.rows])
        axes.plot(dims, [row.gap for row in each.rows], color=colour, linewidth=1.6)
        measured = [(row.dim, row.measured, row.criterion) for row in each.rows if row.measured is not None]
        means = np.array([found.mean / least for _, found, least in measured])
        halves = [(found.upper - found.mean) / least for _, found, least in measured]
        at = [dim for dim, _, _ in measured]
        axes.errorbar(at, means, halves, color=colour, fmt=mark, markersize=5, capsize=2, linewidth=1)
        handles.append(Line2D([], [], color=colour, marker=mark, markersize=5, linewidth=1.6, label=each.mechanism))
        if each.growth is not None:
            # The theorems' powers are halves; the guide runs through the last point, a little above the line.
            power = round(2 * each.growth.exponent) / 2
            size = np.log(dims) if each.growth.law == "log d" else dims.astype(float)
            used = size > 0
            guide = 1.25 * each.rows[-1].gap * (size[used] / size[-1]) ** power
            name = {0.5: f"√{each.growth.law}", 1.0: each.growth.law}.get(power, f"({each.growth.law})^{power:g}")
            style = STYLES[1 + number % (len(STYLES) - 1)]
            (line,) = axes.plot(dims[used], guide, color=colour, linewidth=1, linestyle=style, label=f"∝ {name}")
            handles.append(line)
    for name, dim in MARKS.items():
        if any(row.dim == dim for row in assessments[0].rows):
            axes.axvline(dim, color="grey", linewidth=0.8, linestyle=":")
            axes.text(dim, 0.98, name, transform=axes.get_xaxis_transform(), rotation=90, va="top", ha="right")
    axes.set_title(f"Noise needed for D_MR ≤ {epsilon:g} within {SYMBOLS[norm]} radius {radius:g}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(handles=handles, fontsize="small")
    return figure


def training_figure(logs: Mapping[str, Sequence[Epoch]]) -> Figure:
    """Draw the loss and the accuracy of trainings against the epoch: solid on training images, dashed on test images.

    Parameters
    ----------
    logs : mapping of str to sequence of Epoch
        What the legend calls each training, and its log.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``.

    Raises
    ------
    ValueError
        If there are no logs.

    Examples
    --------
    >>> from rsmooth.plots import training_figure
    >>> from rsmooth.training.log import Epoch
    >>> figure = training_figure({"trained": [Epoch(1, 2.0, 0.1, 2.3, 0.2, None, None)]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy, with noise']
    """
    if not logs:
        raise ValueError("logs must be one training at least, got none")
    figure = Figure(figsize=(8.4, 3.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, log) in enumerate(logs.items()):
        colour = COLOURS[number % len(COLOURS)]
        for axes, training, test in ((left, "loss", "test_loss"), (right, "accuracy", "test_accuracy")):
            for field, style, label in ((training, "-", name), (test, "--", None)):
                points = [(each.epoch, value) for each in log if (value := getattr(each, field)) is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.4, label=label)
    for axes, label in ((left, "loss"), (right, "accuracy, with noise")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    lines = [
        Line2D([], [], color="grey", linestyle="-", label="training"),
        Line2D([], [], color="grey", linestyle="--", label="test"),
    ]
    left.legend(handles=[*left.get_legend_handles_labels()[0], *lines], fontsize="small")
    return figure
