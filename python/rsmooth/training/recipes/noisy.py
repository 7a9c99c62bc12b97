"""Training on noisy copies: the mean cross-entropy of each, [L19] and [C19]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    import torch

    from rsmooth.training.step import Step

__all__ = ["loss"]


def loss(step: Step, *, copies: int = 1) -> torch.Tensor:
    """Return the mean cross-entropy over noisy copies.

    Parameters
    ----------
    step : Step
        The step.
    copies : int
        Noisy copies of each image.

    Returns
    -------
    torch.Tensor
        A scalar.

    References
    ----------
    [L19] Lecuyer, Atlidakis, Geambasu, Hsu, Jana, "Certified Robustness to Adversarial Examples with Differential
    Privacy", 2019. [C19] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.training.recipes.noisy import loss
    >>> from rsmooth.training.step import Step
    >>> step = Step(torch.nn.Identity(), torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), None, seed=0)
    >>> loss(step)  # ln 2
    tensor(0.6931)
    """
    scores = step.scores(step.noisy(copies))
    return functional.cross_entropy(scores.flatten(0, 1), step.labels.repeat_interleave(scores.shape[1]))
