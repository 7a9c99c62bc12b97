"""Models that bring their own code: programs in files, libraries' pretrained models, and what a user names."""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rsmooth._imports import needed
from rsmooth.torch.models import answer_of, as_model
from rsmooth.zoo.networks import Model, answered, network_of
from rsmooth.zoo.normalization import NORMALIZATION_NAMES, normalization_text, normalizing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CODE", "PROGRAMS", "Program", "load_library_model", "load_program", "program_of", "with_classes"]

# Programs by what files of theirs end in. A TorchScript's may end in anything: it is asked for by name.
PROGRAMS = {".onnx": "onnx", ".pt2": "pt2", ".ts": "torchscript", ".torchscript": "torchscript"}

# Programs that can do more than arithmetic: they are not run because some file names them.
CODE = ("pt2", "torchscript")


class Program(nn.Module):
    """A program of a file.

    Parameters
    ----------
    network : torch.nn.Module
        What runs it.
    path : pathlib.Path
        The file, whose content identifies the program.
    """

    def __init__(self, network: nn.Module, path: Path) -> None:
        super().__init__()
        self.network, self.path = network, path
        content = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        # Among the weights, so that it is in a model's fingerprint.
        self.register_buffer("content", torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def train(self, mode: bool = True) -> Program:  # noqa: FBT001, FBT002
        """Do nothing but keep count: the mode of exported programs is fixed."""
        self.training = mode
        return self

    def forward(self, x: torch.Tensor) -> Any:
        """Return the program's output."""
        try:
            return self.network(x)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            raise ValueError(
                f"{self.path} cannot be run on a batch of shape {tuple(x.shape)}: {reason}; its batches must have a "
                "dynamic size"
            ) from error


def program_of(path: Path, arch: str | None) -> str | None:
    """Return what kind of program a file holds; None where it holds weights.

    Raises
    ------
    ValueError
        If it is a TorchScript, which is code, and the user does not say so.
    """
    named = PROGRAMS.get(path.suffix)
    if named is not None:
        return named
    if path.suffix != ".safetensors" and _is_script(path):
        if arch != "torchscript":
            raise ValueError(f"{path} is a TorchScript, which is code: pass --arch torchscript to run it")
        return "torchscript"
    return None


def load_program(  # noqa: PLR0917
    path: Path, kind: str, normalization: str, num_classes: int | None, example: torch.Tensor | None, answer: str
) -> Model:
    """Return the model that a program is; the arguments are those of `rsmooth.zoo.checkpoints.load_model`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    declared = None
    try:
        if kind == "onnx":
            runtime = needed("onnxruntime", str(path))
            session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
            shapes = [each.shape for each in session.get_outputs()]
            if answer == "class":
                declared = next((shape[1] for shape in shapes if len(shape) == 2 and isinstance(shape[1], int)), None)  # noqa: PLR2004
            network = as_model(session)
        elif kind == "pt2":
            network = torch.export.load(path).module()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            network.eval()
    except ValueError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise ValueError(f"{path} cannot be loaded as {kind}: {reason}") from error
    module = nn.Sequential(normalizing(normalization), Program(network, path))
    return Model(module, kind, declared or _classes(module, str(path), num_classes, example, answer), normalization)


def with_classes(
    arch: str, normalization: str, num_classes: int | None, example: torch.Tensor | None, answer: str
) -> Model:
    """Return the model that the user's code is or makes, with its number of classes."""
    module = nn.Sequential(normalizing(normalization), network_of(arch, num_classes or None))
    return Model(module, arch, _classes(module, arch, num_classes, example, answer), normalization)


def load_library_model(source: str, normalization: str | None = None) -> Model:
    """Return a library's pretrained model.

    Parameters
    ----------
    source : str
        ``timm:NAME``, ``torchvision:NAME`` or ``huggingface:NAME``.
    normalization : str or None
        As for `rsmooth.zoo.normalization.normalizing`; None is what the library says.

    Returns
    -------
    Model
        The model.

    Raises
    ------
    ValueError
        If there is no such model, or it does not say how its inputs are normalised.
    """
    library, _, name = source.partition(":")
    network, classes, said = {"timm": _timm, "torchvision": _torchvision, "huggingface": _huggingface}[library](name)
    normalization = normalization or said
    if normalization is None:
        raise ValueError(
            f"{source} does not record how inputs are normalised: pass --normalization ({NORMALIZATION_NAMES})"
        )
    arch = (
        source if library == "timm" else name if library == "torchvision" else f"huggingface {type(network).__name__}"
    )
    return Model(nn.Sequential(normalizing(normalization), network), arch, classes, normalization)


def _timm(name: str) -> tuple[nn.Module, int, str | None]:
    timm = needed("timm", f"timm:{name}")
    if not re.fullmatch(r"[\w.-]+", name) or not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}; timm.list_models() names those there are")
    network = timm.create_model(name, pretrained=True)
    constants = network.pretrained_cfg
    return network, network.num_classes, normalization_text(constants["mean"], constants["std"])


def _torchvision(name: str) -> tuple[nn.Module, int, str | None]:
    from torchvision import models  # noqa: PLC0415

    names = models.list_models(module=models)
    if name not in names:
        raise ValueError(f"torchvision has no model {name!r}; it has {', '.join(names)}")
    weights = models.get_model_weights(name).DEFAULT
    network = models.get_model(name, weights=weights)
    transform = weights.transforms()
    return network, len(weights.meta["categories"]), normalization_text(transform.mean, transform.std)


def _huggingface(name: str) -> tuple[nn.Module, int, str | None]:
    transformers = needed("transformers", f"huggingface:{name}")
    try:
        network = transformers.AutoModelForImageClassification.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ValueError(f"huggingface:{name} cannot be loaded: {reason}") from error
    try:
        said, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        return network, network.config.num_labels, None
    if not said.get("do_normalize", True):
        return network, network.config.num_labels, "none"
    return network, network.config.num_labels, normalization_text(said["image_mean"], said["image_std"])


def _classes(module: nn.Module, what: str, said: int | None, example: torch.Tensor | None, answer: str) -> int:
    """Return a model's number of classes: that of its scores, or what is said where they cannot be looked at."""
    if example is not None:
        try:
            found, _ = answer_of(answered(module, example), 1, None, answer)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
        if answer != "number" and found.ndim > 1 and found.is_floating_point():
            return found.shape[1]
    if answer == "number":
        return 0
    if said is None:
        raise ValueError(f"{what} does not record its number of classes: pass --classes")
    return said


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
