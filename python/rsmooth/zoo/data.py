"""Data sets by name: labelled images in [0, 1]."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from rsmooth._grid import BYTE, steps_of
from rsmooth._streams import child, torch_seed
from rsmooth.zoo.networks import called, imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Split = Literal["train", "test"]
    Item = tuple[torch.Tensor, int]

__all__ = ["Augmented", "Data", "NoSplitError", "image_digest", "load_data"]

# Items whose content is in a data set's fingerprint.
SAMPLED = 16

# The brightest pixel of scikit-learn's digits.
DIGIT_LEVELS = 16


class NoSplitError(ValueError):
    """A data set has no such part."""


@dataclass(frozen=True)
class Data(Dataset[Any]):
    """A labelled set of images, each checked as it is read.

    Attributes
    ----------
    name : str
        What was asked for.
    source : sequence
        Item i is an image (PIL, uint8 or floating-point tensor or array, channels first unless PIL) and its class.
    classes : int or None
        Number of classes, if the source records it.
    augmentation : str
        What training does to images by default, a name in `AUGMENTATIONS`.
    resize : bool
        Whether images are resized to 256 and cropped to 224 pixels where nothing else is done to them.
    levels : int
        Pixels are multiples of ``1 / levels``, if they are on a grid at all: see `on_grid`.
    """

    name: str
    source: Any
    classes: int | None = None
    augmentation: str = "none"
    resize: bool = False
    levels: int = BYTE

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.source)

    def __getitem__(self, index: int) -> Item:
        """Return image and class number `index`: a float32 tensor (C, H, W) with values in [0, 1], and an int.

        Raises
        ------
        ValueError
            If the image or the class is unusable.
        """
        return self.read(index, _center_crop if self.resize else None)

    def read(self, index: int, transform: Callable[[torch.Tensor], torch.Tensor] | None) -> Item:
        """Return image and class number `index`, the image as `transform` makes it; as ``self[index]`` otherwise."""
        try:
            image, label = self.source[index]
            raw = _to_tensor(image)
            return _to_unit(raw if transform is None else transform(raw)), _to_class(label)
        except (TypeError, ValueError) as error:
            raise ValueError(f"item {index} of {self.name}: {error}") from error

    def fingerprint(self) -> str:
        """Return a digest of the number of images and of some of them, spread over the whole, with their classes.

        Returns
        -------
        str
            32 hexadecimal digits.

        Examples
        --------
        >>> from rsmooth.zoo.data import load_data
        >>> load_data("digits").fingerprint() == load_data("digits", split="train").fingerprint()
        False
        """
        digest = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for image, label in self._sample():
            digest.update(f"{label} {tuple(image.shape)}".encode() + image.numpy().tobytes())
        return digest.hexdigest()

    def on_grid(self) -> bool:
        """Tell whether pixels are multiples of ``1 / levels``, by some images that are spread over the whole.

        Returns
        -------
        bool
            Whether each pixel of theirs is the nearest float32 to such a multiple.

        Examples
        --------
        >>> from rsmooth.zoo.data import load_data
        >>> load_data("digits").on_grid()
        True
        """
        try:
            for image, _ in self._sample():
                steps_of("image", image, self.levels)
        except ValueError:
            return False
        return True

    def _sample(self) -> Iterator[Item]:
        """Iterate over some items, spread over the whole."""
        for index in np.unique(np.linspace(0, len(self) - 1, SAMPLED, dtype=np.int64)) if len(self) else ():
            yield self[int(index)]


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
    transform: Callable[[torch.Tensor], torch.Tensor] | None = field(init=False)

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {self.augmentation!r}")
        object.__setattr__(self, "transform", AUGMENTATIONS[self.augmentation])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        """Return image and class number `index`."""
        if self.transform is None:
            return self.data[index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(child(self.seed, self.epoch, index)))
            return self.data.read(index, self.transform)


def load_data(spec: str, *, split: Split = "test", root: Path = Path("data"), download: bool = False) -> Data:
    """Load a labelled data set.

    Parameters
    ----------
    spec : str
        - ``digits``: the 8 by 8 digits that scikit-learn carries (1,437 for training and 360 for testing);
        - ``cifar10``, ``imagenet``: torchvision's, below `root`;
        - a folder with one folder of images a class, or with two such folders, ``train`` and ``test`` or ``val``;
        - a file ``name.npz`` with arrays ``images`` and ``labels``, or ``train_images``, ``train_labels``,
          ``test_images``, ``test_labels``; or ``name.npy`` of images with ``name_labels.npy`` beside it. Images are of
          shape (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, uint8 or floating-point in [0, 1];
        - ``package.module:name`` of a `torch.utils.data.Dataset` of images and classes, or of a callable that returns
          one and may take ``split=``.
    split : {"train", "test"}
        Which part. ImageNet's validation images are its test part.
    root : pathlib.Path
        Where torchvision's data sets are.
    download : bool
        Whether torchvision may download CIFAR-10 to there.

    Returns
    -------
    Data
        The data set. The images of folders and of ImageNet are resized to 256 and cropped to 224 pixels.

    Raises
    ------
    NoSplitError
        If there is no such part.
    ValueError
        If there is no such data set or it is unusable.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from rsmooth.zoo.data import load_data
    >>> image, label = load_data("digits")[0]
    >>> image.shape, image.dtype, label
    (torch.Size([1, 8, 8]), torch.float32, 7)
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    path = Path(spec)
    if spec == "digits":
        return _digits(split)
    if spec in ("cifar10", "imagenet"):
        return _torchvision(spec, split, root, download=download)
    if path.suffix in (".npz", ".npy"):
        return _arrays(path, split)
    if path.is_dir():
        return _folder(path, split)
    if ":" in spec and not path.exists():
        return _from_import(spec, split)
    raise ValueError(
        f"data must be digits, cifar10, imagenet, a folder, a .npz or .npy file or package.module:name, got {spec!r}"
    )


def image_digest(image: torch.Tensor) -> str:
    """Return a digest of an image's values.

    Parameters
    ----------
    image : torch.Tensor
        On the host.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.data import image_digest
    >>> image_digest(torch.zeros(1, 8, 8))
    'fab19e942d1b9314'
    """
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=8).hexdigest()


def _digits(split: Split) -> Data:
    from sklearn import datasets, model_selection  # noqa: PLC0415

    images, labels = datasets.load_digits(return_X_y=True)
    # The same stratified parts every time.
    parts = model_selection.train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    chosen = parts[split == "test"]
    pixels = (images[chosen] / DIGIT_LEVELS).astype(np.float32).reshape(-1, 1, 8, 8)
    return Data("digits", _Pairs(pixels, labels[chosen].astype(np.int64)), 10, levels=DIGIT_LEVELS)


def _torchvision(spec: str, split: Split, root: Path, *, download: bool) -> Data:
    from torchvision import datasets  # noqa: PLC0415

    try:
        if spec == "cifar10":
            found = datasets.CIFAR10(root, train=split == "train", download=download)
            return Data(spec, found, 10, "crop-flip")
        found = datasets.ImageNet(root, split="train" if split == "train" else "val")
    except RuntimeError as error:
        raise FileNotFoundError(f"{spec} is not below {root}: {error}") from error
    return Data(spec, found, 1000, "resized-crop-flip", resize=True)


def _folder(path: Path, split: Split) -> Data:
    from torchvision import datasets  # noqa: PLC0415

    names = ("train",) if split == "train" else ("test", "val")
    parts = [path / name for name in names if (path / name).is_dir()]
    if not parts and any((path / name).is_dir() for name in ("train", "test", "val")):
        raise NoSplitError(f"{path} has no folder {' or '.join(names)}")
    found = datasets.ImageFolder(parts[0] if parts else path)
    return Data(str(path), found, len(found.classes), "resized-crop-flip", resize=True)


def _arrays(path: Path, split: Split) -> Data:
    images, labels = _load_npy(path) if path.suffix == ".npy" else _load_npz(path, split)
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path} must have one integer label an image, got {labels.dtype} of shape {labels.shape} "
            f"for images of shape {images.shape}"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"{path} must hold images of uint8 or floating-point numbers, got {images.dtype}")
    if images.ndim != 4 or (images.shape[1] in (1, 3)) == (images.shape[3] in (1, 3)):  # noqa: PLR2004
        raise ValueError(
            f"{path} must hold images of shape (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, got {images.shape}"
        )
    if images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    return Data(str(path), _Pairs(images, labels), int(labels.max(initial=0)) + 1)


def _load_npy(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    beside = path.with_name(f"{path.stem}_labels.npy")
    with _readable(path, "a .npy array of numbers"):
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    with _readable(beside, "a .npy array of numbers"):
        return images, np.load(beside, allow_pickle=False)


def _load_npz(path: Path, split: Split) -> tuple[NDArray[Any], NDArray[Any]]:
    kind = "an .npz file of arrays of numbers"
    # NumPy leaves files that it cannot read open.
    with path.open("rb") as file, _readable(path, kind), np.load(file, allow_pickle=False) as arrays:
        prefix = "" if "images" in arrays else f"{split}_"
        missing = [name for name in (f"{prefix}images", f"{prefix}labels") if name not in arrays]
        if missing:
            raise NoSplitError(f"{path} has no arrays {' and '.join(missing)}, got {', '.join(arrays)}")
        return arrays[f"{prefix}images"], arrays[f"{prefix}labels"]


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """Name the file that NumPy cannot read. NumPy's own message advises loading pickles, which run code."""
    try:
        yield
    except (FileNotFoundError, NoSplitError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is not {kind}, or it is damaged") from error


def _from_import(spec: str, split: Split) -> Data:
    found = imported(spec)
    if not isinstance(found, Dataset):
        if not callable(found):
            raise ValueError(  # noqa: TRY004
                f"{spec} must be a data set or a callable that returns one, got {type(found).__name__}"
            )
        found = called(spec, found, split=split)
    if not hasattr(found, "__len__") or not hasattr(found, "__getitem__"):
        raise ValueError(f"{spec} must give a data set with a length and items, got {type(found).__name__}")
    classes = getattr(found, "classes", None)
    return Data(spec, found, None if classes is None else len(classes))


@dataclass(frozen=True)
class _Pairs:
    """Images and labels in arrays."""

    images: NDArray[Any]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], Any]:
        return self.images[index], self.labels[index]


def _to_tensor(image: Any) -> torch.Tensor:
    if not isinstance(image, (torch.Tensor, np.ndarray)) and not hasattr(image, "convert"):
        raise TypeError(f"images must be tensors, arrays or PIL images, got {type(image).__name__}")
    # Copied: a source may give the same memory, written anew, for every item.
    if isinstance(image, torch.Tensor):
        return image.detach().clone()
    if isinstance(image, np.ndarray):
        return torch.from_numpy(np.array(image))
    from torchvision.transforms.v2 import functional  # noqa: PLC0415

    tensor: torch.Tensor = functional.pil_to_tensor(image.convert("RGB") if image.mode not in ("L", "RGB") else image)
    return tensor


def _to_unit(image: torch.Tensor) -> torch.Tensor:
    if not image.numel():
        raise ValueError(f"images must have pixels, got shape {tuple(image.shape)}")
    if image.dtype == torch.uint8:
        return image.float() / 255
    if not image.is_floating_point():
        raise TypeError(f"images must be of uint8 or floating-point numbers, got {image.dtype}")
    image = image.float()
    low, high = image.aminmax()
    # A NaN fails every comparison.
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must be in [0, 1], got values from {low:g} to {high:g}; normalise inside the model")
    return image


def _to_class(label: Any) -> int:
    number = int(label)
    if number != label or number < 0:
        raise ValueError(f"classes must be integers of at least 0, got {label!r}")
    return number


def _center_crop(image: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2 import functional  # noqa: PLC0415

    cropped: torch.Tensor = functional.center_crop(functional.resize(image, [256], antialias=True), [224, 224])
    return cropped


def _crop_flip(image: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms import v2  # noqa: PLC0415

    moved: torch.Tensor = v2.RandomHorizontalFlip()(v2.RandomCrop(image.shape[-2:], padding=4)(image))
    return moved


def _resized_crop_flip(image: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms import v2  # noqa: PLC0415

    moved: torch.Tensor = v2.RandomHorizontalFlip()(v2.RandomResizedCrop(224, antialias=True)(image))
    return moved


AUGMENTATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor] | None] = {
    "none": None,
    "crop-flip": _crop_flip,
    "resized-crop-flip": _resized_crop_flip,
}
