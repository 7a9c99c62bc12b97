"""Figures of certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from numpy.typing import ArrayLike

    from rsmooth.radii import Certificates

__all__ = ["certified_accuracy_figure"]

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
