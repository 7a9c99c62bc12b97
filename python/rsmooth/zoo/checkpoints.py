"""Weights of this package's checkpoints and of the field's, and what identifies a model."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rsmooth.zoo.networks import NORMALIZATIONS, build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rsmooth.zoo.networks import Model

__all__ = ["load_model", "model_fingerprint", "read_checkpoint"]


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
        that nothing in it is run. It holds a state dict, or a dict with one under ``state_dict`` and, where it says so,
        the network's name under ``arch``: the files of `rsmooth train`, of locuslab/smoothing and its descendants.
        Or an architecture with weights of its own, ``package.module:name``.
    num_classes : int
        Number of classes, where the file does not say.
    arch : str or None
        The architecture, for files that do not say, or that name code, which is not run on a file's word.
    normalization : str or None
        A name in `NORMALIZATIONS`, for files that do not say. locuslab's files, whose networks are wrapped in a
        normalisation without weights, get that of their data set.

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
            f"{source} says arch {known['arch']!r}, which is code: give it with --arch to have it imported and run"
        )
    arch = _agreed(source, "arch", known.get("arch"), arch)
    if arch is None:
        raise ValueError(f"{source} does not name its architecture: give it with --arch")
    classes = _class_count(source, known.get("num_classes", num_classes))
    # torch.nn.DataParallel puts "module." before what it wraps.
    state = {re.sub(r"(^|\.)module\.", r"\1", name): value for name, value in state.items()}
    wrapped = all(name.startswith(("0.", "1.")) for name in state)
    normalization = _agreed(source, "normalization", known.get("normalization"), normalization)
    if normalization is None and not wrapped and ":" not in arch:
        names = ", ".join(NORMALIZATIONS)
        raise ValueError(
            f"{source} does not say how its network's inputs are normalised: give --normalization ({names})"
        )
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


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return what a file of ``torch.save`` holds, running nothing of it; refuse what is no such file."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint that torch loads with weights_only=True, or damaged") from error


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, torch.Tensor]]:
    """Return what a checkpoint says of itself, and its state dict."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415

        try:
            with safe_open(path, framework="pt") as file:
                known = file.metadata() or {}
                return known, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from error
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
        raise ValueError(f"{source} says num_classes {said!r}, which must be an integer of at least 2")
    return int(said)


def _agreed(source: str, name: str, said: Any, given: str | None) -> str | None:
    """Return what the file says or the caller gives, which must be the same where both do."""
    if said is not None and given is not None and said != given:
        raise ValueError(f"{source} says {name} {said!r}, but {given!r} was given")
    return given if said is None else str(said)
