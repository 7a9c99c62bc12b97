"""Weights of this package's checkpoints and of the field's, and what identifies a model."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rsmooth._imports import imported
from rsmooth.torch.models import Foreign
from rsmooth.zoo.networks import ARCH_NAMES, build_model, is_code
from rsmooth.zoo.normalization import NORMALIZATION_NAMES, normalization_text
from rsmooth.zoo.programs import Program, load_library_model, load_program, program_of, with_classes
from rsmooth.zoo.recognition import classes_for, fitted, recognised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rsmooth.zoo.networks import Model

__all__ = ["code_fingerprint", "load_model", "model_fingerprint", "read_checkpoint"]

# Packages whose releases say what their code is.
RELEASED = ("rsmooth", "torch", "torchvision", "timm", "transformers", "sklearn", "onnxruntime", "diffusers")

# Where others keep the weights in their files.
CONTAINERS = ("state_dict", "model_state_dict", "model", "net")


def load_model(
    source: str,
    *,
    num_classes: int | None = None,
    arch: str | None = None,
    normalization: str | None = None,
    example: torch.Tensor | None = None,
    answer: str = "class",
) -> Model:
    """Build a model with weights.

    Parameters
    ----------
    source : str
        - A checkpoint: a ``.safetensors`` file, or one of ``torch.save``, which is read with ``weights_only=True`` so
          that no code in it runs. It holds a state dict, alone or under ``state_dict``, ``model_state_dict``, ``model``
          or ``net``, and perhaps the network's name under ``arch``: the files of `rsmooth train`, of
          locuslab/smoothing, of akamaster and others. Where no name is recorded, the networks of `build_model` are
          recognised by the names and shapes of their weights.
        - A model with weights of its own: ``package.module:name``, in an installed package or the current folder, as
          for `rsmooth.zoo.networks.network_of`; ``timm:NAME``, ``torchvision:NAME`` or ``huggingface:NAME`` (a folder
          of ``save_pretrained``, or a name of the hub), pretrained.
        - A program: ``.onnx``, ``.pt2`` (`torch.export.save`), or TorchScript, whose file names may mean anything:
          with ``arch="torchscript"``.
    num_classes : int or None
        Number of classes, if the model does not record it.
    arch : str or None
        The architecture, if the checkpoint does not record it, or if it is code, which is not run on a file's word.
    normalization : str or None
        As for `rsmooth.zoo.normalization.normalizing`, if the checkpoint does not record it. locuslab's files, whose
        networks are wrapped in a normalisation without weights, get that of their data set; programs and code get
        inputs as they are.
    example : torch.Tensor or None
        An input, on which a program or code is run to learn its number of classes.
    answer : {"class", "map", "number"}
        What it answers an input with, as `rsmooth.certificates.kind.Kind` says it. Models of numbers have 0 classes.

    Returns
    -------
    Model
        The model, on the CPU.

    Raises
    ------
    ValueError
        If the file is no such checkpoint, does not fit the architecture, or leaves open what must be known: all that is
        missing is named at once.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile, torch
    >>> from rsmooth.zoo.checkpoints import load_model
    >>> from rsmooth.zoo.networks import build_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "checkpoint.pt")
    ...     torch.save(build_model("digits_cnn", 7).module[1].state_dict(), file)
    ...     model = load_model(str(file), normalization="none")
    >>> model.arch, model.num_classes
    ('digits_cnn', 7)
    """
    if answer == "number":
        num_classes = None
    path = Path(source)
    if not path.exists() and ":" in source:
        if is_code(source):
            return with_classes(source, normalization or "none", num_classes, example, answer)
        if answer != "class":
            raise ValueError(f"{source} is a classifier, whose answers are classes: it has no {answer} for an input")
        return load_library_model(source, normalization)
    program = program_of(path, arch)
    if program is not None:
        return load_program(path, program, normalization or "none", num_classes, example, answer)
    return _from_weights(source, num_classes, arch, normalization, answer)


def _from_weights(
    source: str, num_classes: int | None, arch: str | None, normalization: str | None, answer: str
) -> Model:
    """Return the model that a file of weights is of."""
    known, state = _read(Path(source))
    recorded = known.get("arch")
    if recorded != arch and is_code(str(recorded)):
        raise ValueError(f"{source} names the architecture {recorded!r}, which is code: pass it with --arch to run it")
    normalization = _agreed(source, "normalization", known.get("normalization"), normalization)
    weights, constants, wrapped = _unwrapped(state)
    normalization = _agreed(source, "normalization", constants, normalization)
    arch = _agreed(source, "arch", recorded, arch)
    said, classes = known.get("num_classes"), None
    if arch is None:
        arch, classes = recognised(weights) or (None, None)
    elif not is_code(arch):
        classes = classes_for(arch, weights)
    found = classes or num_classes if said is None else _class_count(source, said)
    classes = 0 if answer == "number" else found
    asked = {
        f"its architecture, and its weights are not recognised: pass --arch ({ARCH_NAMES})": arch is None,
        f"how inputs are normalised: pass --normalization ({NORMALIZATION_NAMES})": normalization is None
        and not wrapped
        and not is_code(arch or ""),
        "its number of classes: pass --classes": arch is not None and classes is None,
    }
    missing = [what for what, lacks in asked.items() if lacks]
    if arch is None or classes is None or missing:
        raise ValueError(f"{source} does not record {'; nor '.join(missing)}")
    model = build_model(arch, classes, normalization=normalization)
    names = model.module[1].state_dict().keys()
    try:
        # A network of the user's may have names as a wrapper gives them.
        model.module[1].load_state_dict(state if state.keys() == names else fitted(arch, weights))
    except RuntimeError as error:
        what = f"{classes} classes" if classes else "a number"
        raise ValueError(f"{source} does not hold the weights of {arch} for {what}: {error}") from error
    return model


def _unwrapped(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str | None, bool]:
    """Return a network's weights without what others wrap it in, constants they hold, and whether a wrapper has some.

    torch puts ``module.`` (DataParallel) and ``_orig_mod.`` (compile) before what it wraps; locuslab's networks, and
    this package's, are entry 1 behind a normalisation without weights; those of the robustness library are ``model``
    beside a ``normalizer`` and an ``attacker`` that holds them again.
    """
    state = {re.sub(r"(^|\.)(?:(?:module|_orig_mod)\.)+", r"\1", name): value for name, value in state.items()}
    mean, deviation = (state.get(f"normalizer.new_{name}") for name in ("mean", "std"))
    if mean is not None and deviation is not None:
        constants = normalization_text(
            *(tuple(round(x, 7) for x in each.flatten().tolist()) for each in (mean, deviation))
        )
        return _behind("model.", state), constants, True
    if all(name.startswith("1.") for name in state):
        return _behind("1.", state), None, True
    return state, None, False


def _behind(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


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
    for foreign in _foreign(model):
        digest.update((foreign.digest() or "").encode())
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
        32 hexadecimal digits, or ``unknown:`` and what has no source, such as a class typed into an interpreter.

    Examples
    --------
    >>> from rsmooth.zoo.checkpoints import code_fingerprint
    >>> from rsmooth.zoo.networks import build_model
    >>> code_fingerprint(build_model("digits_cnn", 10))  # none of its own
    'cae66941d9efbd404e4d88758ea67670'
    """
    made = [imported(model.arch)] if is_code(model.arch) else []
    foreign = _foreign(model)
    for module in foreign:
        if module.digest() is None:
            return f"unknown: the state of {module.called} cannot be told"
    made += [module.model if inspect.isroutine(module.model) else type(module.model) for module in foreign]
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


def _foreign(model: Model) -> list[Foreign]:
    """Return the models of other makes in a model, but those of programs, which their files' content tells."""
    modules = list(model.module.modules())
    told = [module.network for module in modules if isinstance(module, Program)]
    return [module for module in modules if isinstance(module, Foreign) and all(module is not each for each in told)]


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
    state = next((known[name] for name in CONTAINERS if isinstance(known.get(name), dict)), content)
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items())
    ):
        raise ValueError(
            f"{path} must hold a state dict, alone or under {', '.join(CONTAINERS)}, got {_outline(content)}"
        )
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
