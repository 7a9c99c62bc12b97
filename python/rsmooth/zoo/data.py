"""Data sets by name: labelled images in [0, 1], or other inputs of any shape and range."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from rsmooth._grid import BYTE, coarsest, steps_of
from rsmooth._imports import called, imported
from rsmooth.zoo.arrays import NoSplitError, Pairs, read_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rsmooth.certificates.kind import Answer
    from rsmooth.mechanisms import Mechanism

    Split = Literal["train", "test"]
    Item = tuple[torch.Tensor, Any]

__all__ = ["Data", "NoSplitError", "image_digest", "load_data"]

# Items whose content is in a data set's fingerprint.
SAMPLED = 16

# The brightest pixel of scikit-learn's digits.
DIGIT_LEVELS = 16


@dataclass(frozen=True)
class Data(Dataset[Any]):
    """A labelled set of inputs, each checked as it is read.

    Attributes
    ----------
    name : str
        What was asked for.
    source : sequence
        Item i is an input (a PIL image, or a tensor or array of uint8, which counts 255ths, or floating-point numbers,
        images with channels first) and its label.
    classes : int or None
        Number of classes, if the source records it.
    augmentation : str
        What training does to images by default, a name in `rsmooth.zoo.augmentation.AUGMENTATIONS`.
    resize : bool
        Whether images are resized to 256 and cropped to 224 pixels where nothing else is done to them.
    levels : int
        Pixels are multiples of ``1 / levels``, if they are on a grid at all: see `on_grid`.
    domain : tuple of two floats, or None
        Lowest and highest value of an input; None is any finite value.
    answer : {"class", "map", "number"}
        What labels are: a class; a map of them, of which -1 marks what does not count; or a number.
    """

    name: str
    source: Any
    classes: int | None = None
    augmentation: str = "none"
    resize: bool = False
    levels: int = BYTE
    domain: tuple[float, float] | None = (0, 1)
    answer: Answer = "class"

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.source)

    def __getitem__(self, index: int) -> Item:
        """Return input and label number `index`: a float32 tensor with values in the domain, and what `answer` says.

        Raises
        ------
        ValueError
            If the input or the label is unusable.
        """
        return self.read(index, _center_crop if self.resize else None)

    def read(self, index: int, transform: Callable[[torch.Tensor], torch.Tensor] | None) -> Item:
        """Return image and label number `index`, the image as `transform` makes it; as ``self[index]`` otherwise."""
        try:
            image, label = self.source[index]
            raw = _to_tensor(image)
            return _to_floats(raw if transform is None else transform(raw), self.domain), _to_label(label, self.answer)
        except (TypeError, ValueError) as error:
            raise ValueError(f"item {index} of {self.name}: {error}") from error

    def fingerprint(self) -> str:
        """Return a digest of the number of images and of some of them, spread over the whole, with their labels.

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
            told = label.tobytes() if isinstance(label, np.ndarray) else str(label).encode()
            digest.update(told + f" {tuple(image.shape)}".encode() + image.numpy().tobytes())
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

    def usual_grid(self, mechanism: Mechanism, scale: float, dim: int) -> str:
        """Return the grid of noise on the images where none is asked for: the coarsest that serves, if they are on one.

        Parameters
        ----------
        mechanism : Mechanism
            Whose noise.
        scale : float
            Its standard deviation or scale.
        dim : int
            Coordinates of an image.

        Returns
        -------
        str
            Steps in 1, or ``none``.

        Examples
        --------
        >>> from rsmooth import Gaussian
        >>> from rsmooth.zoo.data import load_data
        >>> load_data("digits").usual_grid(Gaussian(0.25), 0.25, 64)
        '16'
        """
        if not self.on_grid():
            return "none"
        try:
            grid = coarsest(self.levels, scale)
            mechanism.noise_error(dim, grid)
        except ValueError:
            # The mechanism has no exact law there.
            return "none"
        return str(grid)

    def _sample(self) -> Iterator[Item]:
        """Iterate over some items, spread over the whole."""
        for index in np.unique(np.linspace(0, len(self) - 1, SAMPLED, dtype=np.int64)) if len(self) else ():
            yield self[int(index)]


def load_data(
    spec: str,
    *,
    split: Split = "test",
    root: Path = Path("data"),
    download: bool = False,
    domain: tuple[float, float] | None = (0, 1),
    answer: Answer = "class",
) -> Data:
    """Load a labelled data set.

    Parameters
    ----------
    spec : str
        - ``digits``: the 8 by 8 digits that scikit-learn carries (1,437 for training and 360 for testing);
        - ``cifar10``, ``imagenet``: torchvision's, below `root`;
        - a folder with one folder of images a class, or with two such folders, ``train`` and ``test`` or ``val``;
        - a file ``name.npz`` with arrays ``images`` and ``labels``, or ``train_images``, ``train_labels``,
          ``test_images``, ``test_labels``; or ``name.npy`` of inputs with ``name_labels.npy`` beside it. Inputs are of
          any shape ``(N, *S)``, uint8, which counts 255ths, or floating-point. Images (N, H, W, C) with 1 or 3 channels
          get these first;
        - ``package.module:name``, in an installed package or the current folder, of a `torch.utils.data.Dataset` of
          inputs and labels, or of a callable that returns one and may take ``split=``.
    split : {"train", "test"}
        Which part. ImageNet's validation images are its test part.
    root : pathlib.Path
        Where torchvision's data sets are.
    download : bool
        Whether torchvision may download CIFAR-10 to there.
    domain : tuple of two floats, or None
        Lowest and highest value of an input; None is any finite value.
    answer : {"class", "map", "number"}
        What labels are: a class; a map of them ``(*S)``, integers of which -1 marks what does not count; or a number.

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
    return replace(_load(spec, Path(spec), split, root, answer, download=download), domain=domain, answer=answer)


def _load(spec: str, path: Path, split: Split, root: Path, answer: Answer, *, download: bool) -> Data:
    if spec == "digits":
        return _digits(split)
    if spec in ("cifar10", "imagenet"):
        return _torchvision(spec, split, root, download=download)
    if path.suffix in (".npz", ".npy"):
        # Which classes there are is not seen from which of them some labels are.
        return Data(str(path), read_arrays(path, split, answer))
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
    return Data("digits", Pairs(pixels, labels[chosen].astype(np.int64)), 10, levels=DIGIT_LEVELS)


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


def _to_floats(image: torch.Tensor, domain: tuple[float, float] | None) -> torch.Tensor:
    if not image.numel():
        raise ValueError(f"images must have pixels, got shape {tuple(image.shape)}")
    if image.dtype == torch.uint8:
        return image.float() / BYTE
    if not image.is_floating_point():
        raise TypeError(f"images must be of uint8 or floating-point numbers, got {image.dtype}")
    image = image.float()
    lowest, highest = (-math.inf, math.inf) if domain is None else domain
    low, high = image.aminmax()
    # A NaN fails every comparison.
    if not (low >= lowest and high <= highest and image.isfinite().all()):
        allowed = "finite" if domain is None else f"in [{lowest:g}, {highest:g}]"
        hint = "" if domain is None else "; normalise inside the model, or say what the domain is"
        raise ValueError(f"images must be {allowed}, got values from {low:g} to {high:g}{hint}")
    return image


def _to_class(label: Any) -> int:
    number = int(label)
    if number != label or number < 0:
        raise ValueError(f"classes must be integers of at least 0, got {label}")
    return number


def _to_label(label: Any, answer: Answer) -> Any:
    if answer == "class":
        return _to_class(label)
    if answer == "number":
        value = float(label)
        if not math.isfinite(value):
            raise ValueError(f"labels must be finite numbers, got {label}")
        return value
    classes = np.asarray(label)
    if classes.ndim == 0 or classes.dtype.kind not in "iu" or not classes.size:
        raise ValueError(f"labels must be maps of integers, got {classes.dtype} of shape {classes.shape}")
    if (classes.astype(np.int64) < -1).any():
        raise ValueError(f"labels must be classes, or -1 for what does not count, got {classes.min()}")
    return classes.astype(np.int64)


def _center_crop(image: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2 import functional  # noqa: PLC0415

    cropped: torch.Tensor = functional.center_crop(functional.resize(image, [256], antialias=True), [224, 224])
    return cropped
