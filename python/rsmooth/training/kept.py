"""What a checkpoint keeps of a training, and whether a training may go on from it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from rsmooth._settings import written
from rsmooth.zoo.checkpoints import code_fingerprint, model_fingerprint, read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from rsmooth.mechanisms import Mechanism
    from rsmooth.training.recipes import Recipe
    from rsmooth.training.settings import Training
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["kept_training", "settings_of"]


def settings_of(  # noqa: PLR0917
    model: Model,
    data: Data,
    mechanism: Mechanism | None,
    training: Training,
    recipe: Recipe,
    root: np.random.SeedSequence,
) -> dict[str, Any]:
    """Return what a checkpoint keeps of a training and compares."""
    if not is_dataclass(recipe) or any("text" not in each.metadata for each in fields(recipe)):
        raise TypeError(f"recipe must be a dataclass of settings, got {type(recipe).__name__}")
    return {
        "arch": model.arch,
        "normalization": model.normalization,
        "weights": model_fingerprint(model),
        "code": code_fingerprint(model),
        "data": data.fingerprint(),
        "mechanism": None if mechanism is None else [mechanism.name, mechanism.parameter],
        "seed": [str(root.entropy), *root.spawn_key],
        "recipe": recipe.name,
        **{f"recipe.{name}": value for name, value in written(recipe).items()},
        **written(training),
    }


def kept_training(file: Path, settings: dict[str, Any], training: Training) -> dict[str, Any] | None:
    """Return what `file` holds of the training with these settings; None where there is no file."""
    if not file.exists():
        return None
    kept = read_checkpoint(file)
    missing = {"settings", "state_dict", "optimizer", "scaler", "log"} - set(kept if isinstance(kept, dict) else ())
    if missing:
        raise ValueError(f"{file} is not a checkpoint of a training: it lacks {', '.join(sorted(missing))}")
    there = kept["settings"]
    changed = [name for name, value in settings.items() if there.get(name) != value]
    if changed == ["epochs"] and training.extensible:
        if len(kept["log"]) > training.epochs:
            raise ValueError(f"{file} has {len(kept['log'])} epochs behind it, epochs is {training.epochs} here")
        changed = []
    if changed:
        name = changed[0]
        more = ", whose rates depend on how many there are" if name == "epochs" else ""
        raise ValueError(
            f"{file} holds a training with other settings: {name} is {there.get(name)!r} there and {settings[name]!r} "
            f"here{more}; choose another folder or remove it"
        )
    return dict(kept)
