"""Denoisers in front: what is certified is F∘D, and a diffusion model's step is the one of the certificate's noise."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsmooth import Gaussian, SmoothedClassifier
from rsmooth.zoo import Diffusion, denoised

# Ho, Jain and Abbeel's schedule.
ALPHAS = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)


class UNet(torch.nn.Module):
    """A small UNet that is told how far the image is in the diffusion."""

    def __init__(self, width=16):
        super().__init__()
        conv = torch.nn.Conv2d
        self.time = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.SiLU(), torch.nn.Linear(width, width))
        self.first, self.down = conv(1, width, 3, padding=1), conv(width, width, 3, stride=2, padding=1)
        self.middle, self.up = conv(width, width, 3, padding=1), torch.nn.Upsample(scale_factor=2)
        self.last = conv(2 * width, 1, 3, padding=1)

    def forward(self, image, step):
        level = ALPHAS[step].float()
        time = self.time(torch.stack([level.sqrt(), (1 - level).sqrt()], dim=1))[:, :, None, None]
        top = torch.nn.functional.silu(self.first(image) + time)
        bottom = self.middle(torch.nn.functional.silu(self.down(top)))
        # As diffusers' models return it.
        return SimpleNamespace(sample=self.last(torch.cat([top, self.up(torch.nn.functional.silu(bottom))], dim=1)))


def bars(count, seed):
    """Images (N, 1, 8, 8) of a bar, upright or flat, dark or bright."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 1, 8, 8), 0.25, np.float32)
    labels = rng.integers(0, 2, count)
    for image, label, at in zip(images, labels, rng.integers(1, 7, count), strict=True):
        image[0, :, at] = 0.75
        image[:] = image if label else image.transpose(0, 2, 1)
    return torch.from_numpy(images), torch.from_numpy(labels)


def edges(x):
    """Classify clean bars, and only these: by the largest step in either direction."""
    across, along = (x.diff(dim=axis).abs().amax(dim=(1, 2, 3)) for axis in (3, 2))
    return torch.stack([along, across], dim=1)


@pytest.fixture(scope="module")
def unet():
    """Return a UNet that was trained to predict the noise."""
    torch.manual_seed(0)
    network, generator = UNet(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    images, _ = bars(512, 0)
    for step in range(400):
        clean = 2 * images[torch.randint(512, (64,), generator=generator)] - 1
        steps = torch.randint(20, 400, (64,), generator=generator)
        level = ALPHAS[steps].float()[:, None, None, None]
        noise = torch.randn(clean.shape, generator=generator)
        predicted = network(level.sqrt() * clean + (1 - level).sqrt() * noise, steps).sample
        optimizer.zero_grad()
        (predicted - noise).square().mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / 400)
        optimizer.step()
    return network


def test_a_diffusion_model_makes_a_classifier_of_clean_images_robust(unet):
    images, labels = bars(40, 2)
    plain, mended = (
        SmoothedClassifier(model, Gaussian(0.25), 2).certify(images, n0=50, n=1000, norm=2, seed=3)
        for model in (edges, denoised(edges, Diffusion(unet, ALPHAS, 0.25)))
    )
    assert mended.certified_accuracy(labels.numpy(), 0.25) > plain.certified_accuracy(labels.numpy(), 0.25) + 0.2


def test_the_certificate_is_that_of_the_noise_that_was_drawn(unet):
    """The wrapper adds nothing: its counts are those of F(D(x + z)) with the z that the docs name, σ and not t's."""
    images, _ = bars(2, 5)
    denoiser = Diffusion(unet, ALPHAS, 0.25)
    found = SmoothedClassifier(denoised(edges, denoiser), Gaussian(0.25), 2).certify(images, n=300, norm=2, seed=4)
    seed = np.random.SeedSequence(4, spawn_key=(1, 1))
    z = torch.from_numpy(Gaussian(0.25).sample((300, 1, 8, 8), seed=seed))
    with torch.inference_mode():
        votes = edges(denoiser(images[1] + z)).argmax(1)
    assert np.abs(np.bincount(votes, minlength=2) - found.counts[1]).max() <= 1


@pytest.mark.parametrize("sigma", [0.05, 0.25, 0.5, 1.0])
def test_the_step_is_the_first_with_so_much_noise(sigma):
    denoiser = Diffusion(lambda x, _: x, ALPHAS, sigma)
    levels = [math.sqrt((1 - a) / a) for a in ALPHAS.tolist()]
    assert levels[denoiser.step] >= 2 * sigma > levels[denoiser.step - 1]


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_a_perfect_prediction_gives_the_clean_image_back(prediction):
    """Each parametrisation is inverted: a network that knows the image and the step's noise is exact."""
    clean = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    noisy = clean + 0.25 * torch.randn(4, 3, 8, 8, dtype=torch.float64)
    scheduler = SimpleNamespace(alphas_cumprod=ALPHAS, config=SimpleNamespace(prediction_type=prediction))

    def perfect(image, steps):
        assert steps.dtype == torch.int64
        a = ALPHAS[steps][:, None, None, None]
        assert torch.allclose(image, a.sqrt() * (2 * noisy - 1))
        noise = (image - a.sqrt() * (2 * clean - 1)) / (1 - a).sqrt()
        made = {
            "epsilon": noise,
            "sample": 2 * clean - 1,
            "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * (2 * clean - 1),
        }[prediction]
        # Learned variances behind the prediction.
        return (torch.cat([made, made.new_full(made.shape, math.nan)], dim=1),)

    assert torch.allclose(Diffusion(perfect, scheduler, 0.25)(noisy), clean)


def test_images_are_resized_for_the_classifier():
    seen = []

    def classifier(x):
        seen.append(tuple(x.shape))
        return edges(x)

    denoised(classifier, lambda x: x, size=32)(torch.rand(2, 1, 8, 8))
    assert seen == [(2, 1, 32, 32)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Diffusion(len, ALPHAS, 100.0), ValueError, "sigma must be at most 78.7, half the noise of the last"),
        (lambda: Diffusion(len, ALPHAS, 0.0), ValueError, "sigma must be a finite number above 0, got 0.0"),
        (lambda: Diffusion(len, ALPHAS.flip(0), 0.25), ValueError, "alphas_cumprod must be one falling sequence"),
        (lambda: Diffusion(len, ALPHAS, 0.25, prediction="score"), ValueError, "prediction must be one of epsilon, "),
        (lambda: denoised(edges, lambda _: None)(torch.rand(2, 1, 8, 8)), TypeError, "must return a tensor of images"),
        (lambda: denoised("edges", len), TypeError, "model must be a torch.nn.Module, "),
    ],
)
def test_bad_denoisers_are_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
