"""Denoisers in front of classifiers that were never trained on noise.

A smoothed classifier may be any function of the noisy input, so whatever a denoiser makes of it is part of the model,
F∘D: certificates ask nothing of D but that it answers each row by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rsmooth._check import integer, positive
from rsmooth.torch.models import as_model

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Denoised", "Diffusion", "denoised"]

# What diffusion models may be trained to predict: the noise, the image, or Salimans and Ho's v.
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def denoised(classifier: Any, denoiser: Any, *, size: int | None = None) -> Denoised:
    """Return the classifier F∘D, to be smoothed.

    Parameters
    ----------
    classifier : model
        F, as for `rsmooth.SmoothedClassifier`; takes what D returns, so it normalises images itself.
    denoiser : model
        D: maps noisy inputs to a tensor of clean ones, as a network trained to do so ([S20]) or a `Diffusion`.
    size : int or None
        Height and width that D's images are resized to for F; None leaves them as they are.

    Returns
    -------
    torch.nn.Module
        The model.

    Raises
    ------
    TypeError
        If either is no model.

    References
    ----------
    [S20] Salman, Sun, Yang, Kapoor, Kolter, "Denoised Smoothing: A Provable Defense for Pretrained Classifiers", 2020.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> from rsmooth.zoo import denoised
    >>> classifier = lambda x: torch.stack([0.5 - x.mean(1), x.mean(1) - 0.5], dim=1)
    >>> model = denoised(classifier, lambda noisy: noisy.clamp(0, 1))
    >>> SmoothedClassifier(model, Gaussian(0.25), num_classes=2).predict(torch.full((1, 16), 0.75), n=100, seed=0)
    array([1])
    """
    return Denoised(as_model(classifier), as_model(denoiser), size)


class Denoised(nn.Module):
    """What `denoised` makes.

    Parameters
    ----------
    classifier, denoiser : torch.nn.Module
        F and D.
    size : int or None
        Of the images that F gets.
    """

    def __init__(self, classifier: nn.Module, denoiser: nn.Module, size: int | None = None) -> None:
        super().__init__()
        self.denoiser, self.classifier = denoiser, classifier
        self.size = None if size is None else integer("size", size, 1, None)

    def forward(self, x: torch.Tensor) -> Any:
        """Return the classifier's output for the denoised batch."""
        clean = _tensor(self.denoiser(x))
        if self.size is not None:
            clean = nn.functional.interpolate(clean, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return self.classifier(clean)


class Diffusion(nn.Module):
    r"""The one-step estimate of a diffusion model as a denoiser for Gaussian noise ([C23]).

    A diffusion model's image at step t, from an image x in [−1, 1], is
    :math:`\sqrt{\bar\alpha_t}\,x + \sqrt{1-\bar\alpha_t}\,z`: an image with noise of size
    :math:`\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}`, scaled. So noisy inputs x + σz in [0, 1] become images of the step
    whose noise is 2σ by scaling alone.

    Parameters
    ----------
    unet : torch.nn.Module or callable
        ``unet(images, t)`` with images (B, C, H, W) and steps (B,) of int64 returns the prediction (B, C, H, W), with
        more channels behind them (learned variances) or without, as a tensor, in ``.sample`` or first in a tuple:
        diffusers' models and those of guided-diffusion.
    alphas_cumprod : scheduler, or sequence of T floats
        ᾱ, falling; a scheduler of diffusers has it, and says what is predicted.
    sigma : float
        Standard deviation of the certificate's noise, in images in [0, 1].
    prediction : {"epsilon", "sample", "v_prediction"} or None
        What the network predicts; None is what the scheduler says, else epsilon.

    Attributes
    ----------
    step : int
        t: the first step with at least the certificate's noise.

    Raises
    ------
    ValueError
        If no step has so much noise, ᾱ is not falling within (0, 1), or `prediction` is none of these.

    Notes
    -----
    The certificate's σ is the one that the noise was drawn with: this module adds none. Steps are discrete, so step t
    has slightly more noise than 2σ; that the network then sees an image with a little less than it was trained on makes
    it a slightly other denoiser, and changes nothing of what is certified.

    References
    ----------
    [C23] Carlini, Tramèr, Dvijotham, Rice, Sun, Kolter, "(Certified!!) Adversarial Robustness for Free!", 2023.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo import Diffusion
    >>> alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0)
    >>> nothing = lambda images, t: torch.zeros_like(images)  # predicts that there is no noise
    >>> denoiser = Diffusion(nothing, alphas, sigma=0.25)
    >>> denoiser.step
    145
    >>> bool(torch.allclose(denoiser(torch.full((2, 3, 4, 4), 0.75)), torch.tensor(0.75)))
    True
    """

    def __init__(
        self, unet: Callable[..., Any], alphas_cumprod: Any, sigma: float, *, prediction: str | None = None
    ) -> None:
        super().__init__()
        config = getattr(alphas_cumprod, "config", None)
        if prediction is None:
            prediction = getattr(config, "prediction_type", None) or PREDICTIONS[0]
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
        alphas = torch.as_tensor(getattr(alphas_cumprod, "alphas_cumprod", alphas_cumprod), dtype=torch.float64)
        if alphas.ndim != 1 or not ((alphas > 0) & (alphas < 1)).all() or (alphas.diff() >= 0).any():
            raise ValueError("alphas_cumprod must be one falling sequence of numbers above 0 and below 1")
        sigma = positive("sigma", sigma)
        noise = ((1 - alphas) / alphas).sqrt()
        enough = (noise >= 2 * sigma).nonzero()
        if not len(enough):
            raise ValueError(f"sigma must be at most {noise[-1] / 2:.4g}, half the noise of the last step, got {sigma}")
        self.unet, self.prediction, self.sigma = unet, prediction, sigma
        self.step = int(enough[0])
        self.alpha, self.noise = float(alphas[self.step]), float(noise[self.step])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the estimate of clean images, in [0, 1], from noisy ones (B, C, H, W)."""
        scaled = 2 * x - 1
        image = self.alpha**0.5 * scaled
        steps = torch.full((len(x),), self.step, dtype=torch.int64, device=x.device)
        predicted = _tensor(self.unet(image, steps))[:, : x.shape[1]]
        if self.prediction == "epsilon":
            clean = scaled - self.noise * predicted
        elif self.prediction == "sample":
            clean = predicted
        else:
            clean = self.alpha**0.5 * image - (1 - self.alpha) ** 0.5 * predicted
        return ((clean + 1) / 2).clamp(0, 1)


def _tensor(output: Any) -> torch.Tensor:
    """Return the images in an output."""
    found = getattr(output, "sample", output) if not isinstance(output, torch.Tensor) else output
    found = found[0] if isinstance(found, (tuple, list)) else found
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"the denoiser must return a tensor of images, got {type(output).__name__}")
    return found
