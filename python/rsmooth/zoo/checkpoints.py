"""Weights of this package's checkpoints and of the field's, and what identifies a model."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rsmooth.zoo.networks import NORMALIZATIONS, build_model, imported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rsmooth.zoo.networks import Model

__all__ = ["code_fingerprint", "load_model", "model_fingerprint", "read_checkpoint"]

# Packages whose releases say what their code is.
RELEASED = ("rsmooth", "torch", "torchvision")


def load_model(
    source: str,
    *,
    num_classes: int,
    arch: str | None = None,
    normalization: str | None = None,
) -> Model:
    """Build a model with the weights of a checkpoint.

    Parameters
    ----------
    source : str
        A checkpoint: a ``.safetensors`` file, or one of ``torch.save``, which is read with ``weights_only=True`` so
        that no code in it runs. It holds a state dict, or a dict with one under ``state_dict`` and perhaps the
        network's name under ``arch``: the files of `rsmooth train`, of locuslab/smoothing and its descendants.
        Or an architecture with weights of its own, ``package.module:name``.
    num_classes : int
        Number of classes, if the checkpoint does not record it.
    arch : str or None
        The architecture, if the checkpoint does not record it, or if it is code, which is not run on a file's word.
    normalization : str or None
        A name in `NORMALIZATIONS`, if the checkpoint does not record it. locuslab's files, whose networks are wrapped
        in a normalisation without weights, get that of their data set.

    Returns
    -------
    Model
        The model, on the CPU.

    Raises
    ------
    ValueError
        If the file is no such checkpoint, does not fit the architecture, or leaves open what must be known.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile, torch
    >>> from rsmooth.zoo.checkpoints import load_model
    >>> from rsmooth.zoo.networks import build_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "checkpoint.pt")
    ...     torch.save(build_model("digits_cnn", 10).checkpoint(), file)
    ...     load_model(str(file), num_classes=10).arch
    'digits_cnn'
    """
    if not Path(source).exists() and ":" in source:
        return build_model(source, num_classes, normalization=normalization)
    known, state = _read(Path(source))
    if ":" in str(known.get("arch")) and known.get("arch") != arch:
        raise ValueError(
            f"{source} names the architecture {known['arch']!r}, which is code: pass it with --arch to run it"
        )
    arch = _agreed(source, "arch", known.get("arch"), arch)
    if arch is None:
        raise ValueError(f"{source} does not record its architecture: pass --arch")
    classes = _class_count(source, known.get("num_classes", num_classes))
    # torch.nn.DataParallel puts "module." before what it wraps.
    state = {re.sub(r"(^|\.)module\.", r"\1", name): value for name, value in state.items()}
    wrapped = all(name.startswith(("0.", "1.")) for name in state)
    normalization = _agreed(source, "normalization", known.get("normalization"), normalization)
    if normalization is None and not wrapped and ":" not in arch:
        names = ", ".join(NORMALIZATIONS)
        raise ValueError(f"{source} does not record how inputs are normalised: pass --normalization ({names})")
    model = build_model(arch, classes, normalization=normalization)
    try:
        (model.module if wrapped else model.module[1]).load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{source} does not hold the weights of {arch} for {classes} classes: {error}") from error
    return model


def model_fingerprint(model: Model) -> str:
    """Return a digest of the architecture, the normalisation and every weight.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> from rsmooth.zoo.checkpoints import model_fingerprint
    >>> from rsmooth.zoo.networks import build_model
    >>> a, b = (model_fingerprint(build_model("digits_cnn", 10, seed=seed)) for seed in (0, 1))
    >>> len(a), a == b
    (32, False)
    """
    digest = hashlib.blake2b(f"{model.arch} {model.normalization}".encode(), digest_size=16)
    for name, value in sorted(model.module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def code_fingerprint(model: Model) -> str:
    """Return a digest of a model's own code: the files that define its factory and the classes of its modules.

    Code of this package, torch and torchvision is left out, and so is what those files import: a network whose
    behaviour changes elsewhere keeps its digest.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    str
        32 hexadecimal digits, or ``unknown: `` and what has no source, such as a class typed into an interpreter.

    Examples
    --------
    >>> from rsmooth.zoo.checkpoints import code_fingerprint
    >>> from rsmooth.zoo.networks import build_model
    >>> code_fingerprint(build_model("digits_cnn", 10))  # none of its own
    'cae66941d9efbd404e4d88758ea67670'
    """
    made = [imported(model.arch)] if ":" in model.arch else []
    classes = {kind for module in model.module.modules() for kind in type(module).__mro__[:-1]}
    files = set()
    for thing in (*made, *classes):
        home = getattr(thing, "__module__", None) or type(thing).__module__
        if home.partition(".")[0] not in RELEASED:
            file = _source_file(thing)
            if file is None:
                return f"unknown: {getattr(thing, '__qualname__', type(thing).__qualname__)} has no source"
            files.add(file.read_bytes())
    digest = hashlib.blake2b(digest_size=16)
    for content in sorted(files):
        digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()


def _source_file(thing: Any) -> Path | None:
    """Return the file that a class or a callable is defined in, if there is one."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing))
    except TypeError:
        return None
    return Path(file) if file is not None and Path(file).is_file() else None


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return what a file of ``torch.save`` holds, running nothing of it; refuse what is no such file."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded with weights_only=True: it is damaged or not a checkpoint"
        ) from error


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, torch.Tensor]]:
    """Return what a checkpoint says of itself, and its state dict."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415

        try:
            with safe_open(path, framework="pt") as file:
                known = file.metadata() or {}
                return known, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from error
    content = read_checkpoint(path)
    known = content if isinstance(content, dict) else {}
    state = known.get("state_dict", content)
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items())
    ):
        raise ValueError(f"{path} must hold a state dict, alone or under state_dict, got {_outline(content)}")
    return ({} if state is content else known), state


def _outline(content: Any) -> str:
    return (
        f"a dict of {json.dumps([str(key) for key in content][:5])}"
        if isinstance(content, dict)
        else str(type(content))
    )


def _class_count(source: str, said: Any) -> int:
    # safetensors' metadata is text.
    if not re.fullmatch(r"\d{1,9}", str(said)) or int(said) < 2:  # noqa: PLR2004
        raise ValueError(f"{source} records num_classes {said!r}; it must be an integer of at least 2")
    return int(said)


def _agreed(source: str, name: str, said: Any, given: str | None) -> str | None:
    """Return what the file records or the caller gives; if both, they must agree."""
    if said is not None and given is not None and said != given:
        raise ValueError(f"{source} records {name} {said!r}, but {given!r} was given")
    return given if said is None else str(said)
