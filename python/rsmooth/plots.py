"""Figures of certificates and assessments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rsmooth.assess import MARKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from numpy.typing import ArrayLike

    from rsmooth.assess import Assessment
    from rsmooth.radii import Certificates

__all__ = ["certified_accuracy_figure", "gap_figure"]

# Okabe and Ito's palette, which colour-blind readers tell apart, darkest first.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

BOUNDS: dict[str, tuple[Literal["-", "--", ":"], str]] = {
    "renyi": ("-", "Rényi (the paper's)"),
    "neyman-pearson": ("--", "Neyman-Pearson"),
    "pure-dp": ("--", "pure DP"),
    "pixeldp": (":", "PixelDP"),
}

NORMS = {1.0: "ℓ₁", 2.0: "ℓ₂", np.inf: "ℓ∞"}


def certified_accuracy_figure(certificates: Sequence[Certificates], labels: ArrayLike, *, title: str) -> Figure:
    """Draw certified accuracy against radius: a colour for each amount of noise, a line style for each bound.

    Parameters
    ----------
    certificates : sequence of Certificates
        Of the same inputs, in the same norm.
    labels : array_like of int, shape (N,)
        The true classes.
    title : str
        What stands above the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``. Abstentions count as errors.

    Raises
    ------
    ValueError
        If there are no certificates, or they are of several norms.

    Examples
    --------
    >>> import rsmooth
    >>> from rsmooth.plots import certified_accuracy_figure
    >>> counts = [[990, 10], [900, 100], [400, 600]]
    >>> noise = rsmooth.Gaussian(0.25), rsmooth.Gaussian(0.5)
    >>> certificates = [rsmooth.certify_counts(counts, mechanism, norm=2, dim=64) for mechanism in noise]
    >>> figure = certified_accuracy_figure(certificates, [0, 0, 0], title="Three inputs")
    >>> figure.axes[0].get_xlabel()
    'ℓ₂ radius (pixels in [0, 1])'
    """
    norms = {each.norm for each in certificates}
    if len(norms) != 1:
        raise ValueError(f"certificates must be of one norm, got {sorted(norms)}")
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    amounts = list(dict.fromkeys(each.mechanism for each in certificates))
    colours = {mechanism: COLOURS[i % len(COLOURS)] for i, mechanism in enumerate(amounts)}
    bounds = list(dict.fromkeys(each.bound for each in certificates))
    for each in certificates:
        right = each.prediction == np.asarray(labels)
        radii = np.unique(np.append(each.radius[right], 0.0))
        line = Line2D(radii, each.certified_accuracy(labels, radii), drawstyle="steps-post", linewidth=1.6)
        line.set(color=colours[each.mechanism], linestyle=BOUNDS[each.bound][0])
        axes.add_line(line)
    axes.autoscale_view()
    axes.set_title(title, fontsize="medium")
    axes.set(
        xlabel=f"{NORMS[norms.pop()]} radius (pixels in [0, 1])",
        ylabel="certified accuracy",
        xlim=(0, None),
        ylim=(0, 1.02),
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    symbols = {"gaussian": "σ", "exponential": "σ", "laplace": "b"}
    names = {each: f"{each.name}, {symbols[each.name]} = {each.parameter:.3g}" for each in amounts}
    noise = [Line2D([], [], color=colours[each], label=name) for each, name in names.items()]
    lines = [Line2D([], [], color="grey", linestyle=BOUNDS[bound][0], label=BOUNDS[bound][1]) for bound in bounds]
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
    >>> from rsmooth.assess import assess_builtin
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
    axes.set_title(f"Noise needed for D_MR ≤ {epsilon:g} within {NORMS[norm]} radius {radius:g}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
