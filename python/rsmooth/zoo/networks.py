"""Networks by name, with fresh weights."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from rsmooth._check import integer
from rsmooth._imports import called, imported, needed
from rsmooth.torch.models import Output, as_model, numpy_model
from rsmooth.torch.voter import evaluating
from rsmooth.zoo.normalization import normalizing

__all__ = [
    "ARCH_NAMES",
    "CifarResNet",
    "DigitsCNN",
    "Model",
    "answered",
    "build_model",
    "check_model",
    "is_code",
    "network_of",
]

ARCH_NAMES = (
    "digits_cnn, cifar_resnet20 (56, 110, …; _pad: shortcuts without weights), a classification model of torchvision, "
    "as resnet50, timm:NAME, or package.module:name"
)

# Libraries whose models are asked for as library:NAME. Their releases say what their code is.
LIBRARIES = ("timm", "torchvision", "huggingface")


class DigitsCNN(nn.Sequential):
    """A small convolutional network for the digits: two convolutions, 88,000 multiplications an image.

    Parameters
    ----------
    num_classes : int
        Number of classes.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.networks import DigitsCNN
    >>> DigitsCNN()(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(512, num_classes),
        )


class _Block(nn.Module):
    """Two convolutions and a shortcut; parameters are named as in locuslab/smoothing."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs
        changes = stride != 1 or self.more != 0
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if changes and projection
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.downsample is not None:
            shortcut = self.downsample(x)
        elif self.more:
            before = self.more // 2
            shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.more - before))
        else:
            shortcut = x
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """The residual networks for images of 32 by 32 pixels ([H16], section 4.2).

    Parameters
    ----------
    depth : int
        Number of layers, 6 n + 2: 20, 32, 44, 56, 110.
    num_classes : int
        Number of classes.
    projection : bool
        Whether shortcuts between stages are convolutions (as in locuslab/smoothing, whose parameter names these are)
        or the input padded with zero channels ([H16]'s option A).

    Raises
    ------
    ValueError
        If `depth` is not 6 n + 2.

    References
    ----------
    [H16] He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.networks import CifarResNet
    >>> CifarResNet(20, 10)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """

    def __init__(self, depth: int, num_classes: int, *, projection: bool = True) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 6 n + 2 with n of at least 1, as 20, 56 and 110 are, got {depth}")

        def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            first = _Block(inputs, outputs, stride, projection=projection)
            others = (_Block(outputs, outputs, 1, projection=projection) for _ in range(blocks - 1))
            return nn.Sequential(first, *others)

        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16, 1)
        self.layer2 = stage(16, 32, 2)
        self.layer3 = stage(32, 64, 2)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of images (B, 3, H, W)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class Model:
    """A classifier, or a model of numbers, and what rebuilds it.

    Attributes
    ----------
    module : torch.nn.Module
        Takes images in [0, 1]; its normalisation is its entry 0, the network its entry 1.
    arch : str
        The network's name, as for `build_model`.
    num_classes : int
        Number of logits; 0 where it answers with a number.
    normalization : str
        As for `rsmooth.zoo.normalization.normalizing`.
    """

    module: nn.Sequential
    arch: str
    num_classes: int
    normalization: str

    def checkpoint(self) -> dict[str, Any]:
        """Return what a file needs to hold for `load_model`, all of it loadable with ``weights_only=True``.

        Returns
        -------
        dict
            ``arch``, ``num_classes``, ``normalization`` and ``state_dict``.

        Examples
        --------
        >>> from rsmooth.zoo.networks import build_model
        >>> sorted(build_model("digits_cnn", 10).checkpoint())
        ['arch', 'normalization', 'num_classes', 'state_dict']
        """
        return {
            "arch": self.arch,
            "num_classes": self.num_classes,
            "normalization": self.normalization,
            "state_dict": self.module.state_dict(),
        }


def build_model(arch: str, num_classes: int, *, normalization: str | None = None, seed: int | None = None) -> Model:
    """Build a model with fresh weights.

    Parameters
    ----------
    arch : str
        ``digits_cnn``; ``cifar_resnet20``, ``cifar_resnet56``, ``cifar_resnet110`` (any depth 6 n + 2; with ``_pad``
        behind it, shortcuts without weights); a classification model of torchvision, as ``resnet50``; ``timm:NAME``; or
        ``package.module:name``, in an installed package or the current folder, of a model or of what makes one: see
        `network_of`.
    num_classes : int
        Number of classes; 0 for a network with a single output, a number.
    normalization : str or None
        As for `rsmooth.zoo.normalization.normalizing`; None is ``cifar10`` for the CIFAR networks, ``imagenet`` for
        those of torchvision and timm, and ``none`` for others.
    seed : int or None
        Seed of the weights, torch's global generator staying as it is; None uses that.

    Returns
    -------
    Model
        The model, on the CPU.

    Raises
    ------
    ValueError
        If there is no such architecture or normalisation; the message names those there are.

    Examples
    --------
    >>> from rsmooth.zoo.networks import build_model
    >>> model = build_model("cifar_resnet20", 10, seed=0)
    >>> model.normalization, sum(weight.numel() for weight in model.module.parameters())
    ('cifar10', 272474)
    """
    if num_classes:
        num_classes = integer("num_classes", num_classes, 2, None)
    if normalization is None:
        own = arch == "digits_cnn" or is_code(arch)
        normalization = "cifar10" if arch.startswith("cifar_resnet") else "none" if own else "imagenet"
    first = normalizing(normalization)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        # The user's own code knows what its output is.
        network = network_of(arch, num_classes or (None if is_code(arch) else 1))
    return Model(nn.Sequential(first, network), arch, num_classes, normalization)


def is_code(arch: str) -> bool:
    """Tell whether an architecture is code of the user's, ``package.module:name``."""
    library, colon, _ = arch.partition(":")
    return bool(colon) and library not in LIBRARIES


def network_of(arch: str, num_classes: int | None) -> nn.Module:
    """Build a network without its normalisation.

    Parameters
    ----------
    arch : str
        As for `build_model`. What ``package.module:name`` names is

        - the model, where it is a module, an estimator or a session, or a callable with a parameter that must be given,
          other than ``num_classes``: one on a batch, as `rsmooth.torch.models` calls it;
        - otherwise what makes it: a class, or a callable that takes ``num_classes=`` or nothing.
    num_classes : int or None
        Number of classes; None leaves it to the model.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ValueError
        If there is none of that name, or it cannot be made.
    """
    cifar = re.fullmatch(r"cifar_resnet(\d+)(_pad)?", arch)
    if is_code(arch):
        return _imported(arch, num_classes)
    if num_classes is None:
        raise ValueError(f"num_classes must be given for {arch}, got None")
    if arch == "digits_cnn":
        return DigitsCNN(num_classes)
    if cifar:
        return CifarResNet(int(cifar[1]), num_classes, projection=cifar[2] is None)
    library, _, name = arch.rpartition(":")
    if library == "timm":
        return _timm(name, num_classes)
    if library in ("", "torchvision"):
        return _torchvision(name, num_classes)
    raise ValueError(f"arch must be {ARCH_NAMES}, got {arch!r}")


def check_model(
    model: Model, image: torch.Tensor, device: torch.device | str = "cpu", *, answer: str = "class"
) -> torch.Tensor:
    """Run a model on an input, to see that it can be.

    Parameters
    ----------
    model : Model
        The model, which is moved to `device`.
    image : torch.Tensor
        An input, without an axis for batches.
    device : torch.device or str
        Where.
    answer : {"class", "map", "number"}
        What it is to return, as `rsmooth.certificates.kind.Kind` says it.

    Returns
    -------
    torch.Tensor, shape (1, …)
        What it returns.

    Raises
    ------
    ValueError
        If it fails, or does not return `num_classes` finite scores or a label, or maps of them, or a number.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.networks import build_model, check_model
    >>> check_model(build_model("digits_cnn", 10), torch.zeros(1, 8, 8)).shape
    torch.Size([1, 10])
    """
    try:
        output = Output(None if answer == "number" else model.num_classes, answer)
        found = output.read(answered(model.module, image, device), rows=1)
    except ValueError as error:
        raise ValueError(f"{model.arch}: {error}") from error
    if not found.isfinite().all():
        raise ValueError(f"{model.arch} returns scores that are not finite")
    return found


def answered(module: nn.Module, image: torch.Tensor, device: torch.device | str = "cpu") -> Any:
    """Return what a network answers to an input; refuse one that cannot be run on it."""
    module = module.to(device)
    weight = next((weight for weight in module.parameters() if weight.is_floating_point()), image)
    try:
        with evaluating(module), torch.inference_mode():
            return module(image.to(device, weight.dtype)[None])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise ValueError(f"the model cannot be run on inputs of shape {tuple(image.shape)}: {reason}") from error


def _imported(arch: str, num_classes: int | None) -> nn.Module:
    found = imported(arch)
    offered = {} if num_classes is None else {"num_classes": num_classes}
    made = found if _is_model(found) else called(arch, found, **offered)
    try:
        return as_model(made)
    except TypeError as error:
        raise ValueError(f"{arch}: {error}") from error


def _is_model(found: Any) -> bool:
    """Tell whether what a user names is a model, and not what makes one."""
    if inspect.isclass(found):
        return False
    if isinstance(found, (nn.Module, numpy_model)) or not callable(found):
        return True
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        each.default is each.empty
        and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each.name != "num_classes"
        for each in parameters
    )


def _timm(name: str, num_classes: int) -> nn.Module:
    timm = needed("timm", f"timm:{name}")
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise ValueError(f"timm has no model {name!r}" + (f"; near it are {near}" if near else ""))
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    return network


def _torchvision(arch: str, num_classes: int) -> nn.Module:
    from torchvision import models  # noqa: PLC0415

    names = models.list_models(module=models)
    if arch not in names:
        raise ValueError(
            f"arch must be {ARCH_NAMES} (torchvision has {', '.join(names[:3])}, …, {names[-1]}), got {arch!r}"
        )
    network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes)
    return network
