"""Attacks on the precision of inputs: they succeed against a library that rounds them first, and not here."""

import numpy as np
import pytest
import torch

from rsmooth import Gaussian, SmoothedClassifier, certify_counts

N, ALPHA, SIGMA = 4000, 1e-6, 0.25

# The middle between two neighbouring numbers of bfloat16, to which images just beside it are rounded apart.
MIDDLE = 0.5 + 2.0**-9
STEP = 1e-6


class Brightness(torch.nn.Module):
    """Class 1 where the mean exceeds the middle: a plain linear model, of bfloat16 parameters."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.bfloat16))

    def forward(self, x):
        margin = x.flatten(1).float().mean(dim=1) - MIDDLE
        return torch.stack([-margin, margin], dim=1)


def images():
    return [torch.full((3, 32, 32), MIDDLE + sign * STEP) for sign in (-1, 1)]


def test_rounding_an_input_before_noise_is_added_makes_certificates_false():
    dark, bright = images()
    counts = []
    for image, seed in ((dark, 1), (bright, 2)):
        # What a library does that converts the input to the model's type.
        noisy = image.bfloat16().float() + torch.from_numpy(Gaussian(SIGMA).sample((N, 3, 32, 32), seed=seed))
        votes = Brightness()(noisy).argmax(dim=1)
        counts.append(np.bincount(votes.numpy(), minlength=2))
    found = certify_counts(np.array(counts), Gaussian(SIGMA), norm=2, dim=3072, alpha=ALPHA, selection=[0, 1])
    assert found.prediction.tolist() == [0, 1]
    assert found.radius.min() > 0.05 > float((bright - dark).norm())


def test_inputs_keep_their_precision_until_noise_is_added():
    dark, bright = images()
    smoothed = SmoothedClassifier(Brightness(), Gaussian(SIGMA), 2)
    found = smoothed.certify(torch.stack([dark, bright]), n0=100, n=N, alpha=ALPHA, norm=2, seed=1)
    assert found.radius.sum() <= float((bright - dark).norm())


@pytest.mark.parametrize("image", images(), ids=["dark", "bright"])
def test_an_input_between_two_numbers_of_a_type_is_not_on_its_grid(image):
    smoothed = SmoothedClassifier(Brightness(), Gaussian(SIGMA), 2, grid=256)
    with pytest.raises(ValueError, match=r"x\[0, 0, 0, 0\] must be a multiple of 1/256"):
        smoothed.certify(image[None], n0=10, n=10, norm=2)
