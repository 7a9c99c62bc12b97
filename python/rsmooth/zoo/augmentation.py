"""What training does to images: crops and mirrors at random, the same for the same seed, image and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from rsmooth._streams import child

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsmooth.zoo.data import Data, Item

__all__ = ["AUGMENTATIONS", "Augmented"]


def _crop_flip(image: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    # Drawn here: torchvision's transforms take torch's global generator, and seeding that for each image takes more
    # time than a small network does.
    height, width = image.shape[-2:]
    margins = (height // 8, width // 8)
    top, left, mirrored = generator.integers((2 * margins[0] + 1, 2 * margins[1] + 1, 2)).tolist()
    padded = functional.pad(image, (margins[1], margins[1], margins[0], margins[0]))
    cropped = padded[..., top : top + height, left : left + width]
    return cropped.flip(-1) if mirrored else cropped


def _resized_crop_flip(image: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    from torchvision.transforms import v2  # noqa: PLC0415

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        moved: torch.Tensor = v2.RandomHorizontalFlip()(v2.RandomResizedCrop(224, antialias=True)(image))
    return moved


# A crop of the image in a black margin of an eighth of its size (4 pixels of 32), or of a part of it resized to 224
# pixels; either is mirrored half of the time.
AUGMENTATIONS: dict[str, Callable[[torch.Tensor, np.random.Generator], torch.Tensor] | None] = {
    "none": None,
    "crop-flip": _crop_flip,
    "resized-crop-flip": _resized_crop_flip,
}


@dataclass(frozen=True)
class Augmented(Dataset[Any]):
    """The same data with each image cropped and mirrored at random, afresh in each epoch.

    Attributes
    ----------
    data : Data
        The images.
    augmentation : str
        A name in `AUGMENTATIONS`.
    seed : numpy.random.SeedSequence
        What is done to image i in `epoch` depends on this seed, i and `epoch` alone.
    epoch : int
        Set it before each epoch's loader is made.
    """

    data: Data
    augmentation: str
    seed: np.random.SeedSequence
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {self.augmentation!r}")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        """Return image and class number `index`."""
        augment = AUGMENTATIONS[self.augmentation]
        if augment is None:
            return self.data[index]
        generator = np.random.default_rng(child(self.seed, self.epoch, index))
        return self.data.read(index, lambda image: augment(image, generator))
