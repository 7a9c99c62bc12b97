"""Figures of certificates and assessments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rsmooth._looks import COLOURS, LABELS
from rsmooth._norms import SYMBOLS
from rsmooth.theory.assess import MARKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from rsmooth.certificates.topclass import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.theory.assess import Assessment
    from rsmooth.training.log import Epoch

__all__ = ["Curve", "certified_accuracy_figure", "describe", "gap_figure", "training_figure"]

# One for each bound of a figure, in the order of its curves.
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (1, 3)))

# How a figure writes a mechanism's parameter.
PARAMETERS = {"sigma": "σ", "scale": "b"}


@dataclass(frozen=True, eq=False)
class Curve:
    """What one line of a figure shows.

    Attributes
    ----------
    name : str
        What the legend calls it; curves of one name have one colour.
    certificates : Certificates
        Of some inputs.
    labels : array_like of int, shape (N,)
        Their true classes.
    """

    name: str
    certificates: Certificates
    labels: ArrayLike


def describe(mechanism: Mechanism) -> str:
    """Return what a figure calls a mechanism: its name and, where it has one, its parameter."""
    if mechanism.parameter is None:
        return mechanism.name
    name = getattr(mechanism, "parameter_name", "parameter")
    return f"{mechanism.name}, {PARAMETERS.get(name, name)} = {mechanism.parameter:.3g}"


def certified_accuracy_figure(curves: Sequence[Curve], *, title: str) -> Figure:
    """Draw certified accuracy against radius: a colour for each name, a line style for each bound.

    Around each name's first curve the 95% interval of `Certificates.certified_accuracy_interval` is shaded.

    Parameters
    ----------
    curves : sequence of Curve
        In the same norm.
    title : str
        What stands above the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``. Abstentions count as errors.

    Raises
    ------
    ValueError
        If there are no curves, or they are of several norms.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.plots import Curve, certified_accuracy_figure, describe
    >>> counts = [[990, 10], [900, 100], [400, 600]]
    >>> curves = [
    ...     Curve(describe(mechanism), rsmooth.certify_counts(counts, mechanism, norm=2, dim=64), [0, 0, 0])
    ...     for mechanism in (rsmooth.Gaussian(0.25), rsmooth.Gaussian(0.5))
    ... ]
    >>> figure = certified_accuracy_figure(curves, title="Three inputs")
    >>> figure.axes[0].get_xlabel()
    'ℓ₂ radius (in the units of the inputs)'
    """
    norms = {each.certificates.norm for each in curves}
    if len(norms) != 1:
        raise ValueError(f"curves must be of one norm, got {sorted(norms)}")
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(each.name for each in curves))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    bounds = list(dict.fromkeys(each.certificates.bound for each in curves))
    styles = {bound: STYLES[i % len(STYLES)] for i, bound in enumerate(bounds)}
    shaded: set[str] = set()
    for each in curves:
        found = each.certificates
        radii = found.steps(each.labels)
        line = Line2D(radii, found.certified_accuracy(each.labels, radii), drawstyle="steps-post", linewidth=1.6)
        line.set(color=colours[each.name], linestyle=styles[found.bound])
        axes.add_line(line)
        if each.name not in shaded:
            shaded.add(each.name)
            interval = found.certified_accuracy_interval(each.labels, radii)
            axes.fill_between(radii, *interval, step="post", color=colours[each.name], alpha=0.12, linewidth=0)
    axes.autoscale_view()
    axes.set_title(title, fontsize="medium")
    axes.set(
        xlabel=f"{SYMBOLS[norms.pop()]} radius (in the units of the inputs)",
        ylabel="certified accuracy",
        xlim=(0, None),
        ylim=(0, 1.02),
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    noise = [Line2D([], [], color=colours[name], label=name) for name in names]
    lines = [Line2D([], [], color="grey", linestyle=styles[bound], label=LABELS[bound]) for bound in bounds]
    axes.legend(handles=[*noise, *lines], fontsize="small")
    return figure


def gap_figure(assessments: Sequence[Assessment]) -> Figure:
    """Draw the gap between the noise that mechanisms need and the criterion against the dimension, on log scales.

    Lines are the gaps by formula, dots the measured ones, and dashes the powers of log d and d that they grow as.

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
    axes.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="gap: E‖z‖∞ needed / criterion")
    for each, colour in zip(assessments, COLOURS, strict=False):
        dims = np.array([row.dim for row in each.rows])
        axes.plot(dims, [row.gap for row in each.rows], color=colour, linewidth=1.6, label=each.mechanism)
        measured = [(row.dim, row.measured, row.criterion) for row in each.rows if row.measured is not None]
        means = np.array([found.mean / least for _, found, least in measured])
        halves = [(found.upper - found.mean) / least for _, found, least in measured]
        at = [dim for dim, _, _ in measured]
        axes.errorbar(at, means, halves, color=colour, fmt="o", markersize=3.5, capsize=2, linewidth=1)
        if each.growth is not None:
            # The theorems' powers are halves; the guide runs through the last point, a little above the line.
            power = round(2 * each.growth.exponent) / 2
            size = np.log(dims) if each.growth.law == "log d" else dims.astype(float)
            used = size > 0
            guide = 1.25 * each.rows[-1].gap * (size[used] / size[-1]) ** power
            name = {0.5: f"√{each.growth.law}", 1.0: each.growth.law}.get(power, f"({each.growth.law})^{power:g}")
            axes.plot(dims[used], guide, color=colour, linewidth=1, linestyle="--", label=f"∝ {name}")
    for name, dim in MARKS.items():
        if any(row.dim == dim for row in assessments[0].rows):
            axes.axvline(dim, color="grey", linewidth=0.8, linestyle=":")
            axes.text(dim, 0.98, name, transform=axes.get_xaxis_transform(), rotation=90, va="top", ha="right")
    axes.set_title(f"Noise needed for D_MR ≤ {epsilon:g} within {SYMBOLS[norm]} radius {radius:g}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
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
