"""Certificates as files of NumPy's format .npz and as tables of Arrow."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rsmooth.io.files import write_atomically
from rsmooth.mechanisms import MECHANISMS, mechanism_named

if TYPE_CHECKING:
    import pyarrow as pa

    from rsmooth.certificates.result import Certificates
    from rsmooth.mechanisms import Mechanism

    Found = TypeVar("Found", bound=Certificates)

# The fields that are arrays of a row each, but for the selection, which may be absent.
ARRAYS = ("prediction", "radius", "p1", "p2", "order", "counts", "indices")

# The fields that JSON does not take as they are. It takes all others.
OTHERS = (*ARRAYS, "selection", "mechanism", "norm", "seed")


def save(certificates: Certificates, path: str | Path) -> None:
    """Write certificates to a file, as `rsmooth.Certificates.save`."""
    arrays: dict[str, Any] = {name: np.asarray(getattr(certificates, name)) for name in ARRAYS}
    if certificates.selection is not None:
        arrays["selection"] = certificates.selection
    settings = np.frombuffer(_settings(certificates).encode(), np.uint8)
    write_atomically(Path(path), lambda file: np.savez_compressed(file, settings=settings, **arrays))


def load(cls: type[Found], path: str | Path, mechanism: Mechanism | None) -> Found:
    """Read what `save` wrote, as `rsmooth.Certificates.load`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
            selection = file.get("selection")
            settings = json.loads(file["settings"].tobytes())
        name, parameter = settings.pop("mechanism"), settings.pop("parameter")
        kind = settings.pop("kind")
        seed = settings.pop("seed")
        settings["norm"] = float(settings["norm"])
        root = None if seed is None else np.random.SeedSequence(**seed)
    except (AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file of certificates: {error}") from error
    if mechanism is None:
        if name not in MECHANISMS:
            raise ValueError(f"mechanism must be given for {path}, whose mechanism is your own, {name!r}")
        mechanism = mechanism_named(name, parameter)
    elif (mechanism.name, getattr(mechanism, "parameter", None)) != (name, parameter):
        raise ValueError(f"mechanism must be the {name} mechanism of {path}, parameter {parameter}, got {mechanism}")
    try:
        saved = cls(**arrays, selection=selection, mechanism=mechanism, seed=root, **settings)
    except TypeError as error:
        raise ValueError(f"{path} holds certificates of kind {kind!r}, which {cls.__name__} are not") from error
    if saved.kind != kind:
        raise ValueError(f"{path} holds certificates of kind {kind!r}, which {cls.__name__} are not")
    try:
        found = saved.under()
        wrong = saved.difference(found)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error
    if wrong is not None:
        raise ValueError(f"{path}, row {wrong[0]} (the first is 0): {wrong[1]}")
    return found


def to_arrow(certificates: Certificates) -> pa.Table:
    """Return certificates as a table, as `rsmooth.Certificates.to_arrow`."""
    import pyarrow as pa  # noqa: PLC0415

    arrays = {"index": certificates.indices} | {name: getattr(certificates, name) for name in ARRAYS[:6]}
    if certificates.selection is not None:
        arrays["selection"] = certificates.selection
    arrays = {certificates.counted if name == "counts" else name: each for name, each in arrays.items()}
    columns = {name: each if each.ndim == 1 else np.asarray(each).tolist() for name, each in arrays.items()}
    return pa.table(columns, metadata={"rsmooth": _settings(certificates)})


def _settings(certificates: Certificates) -> str:
    """Return what is no array, as JSON."""
    seed, mechanism = certificates.seed, certificates.mechanism
    plain = {each.name: getattr(certificates, each.name) for each in fields(certificates) if each.name not in OTHERS}
    return json.dumps(
        {
            "kind": certificates.kind,
            "mechanism": mechanism.name,
            "parameter": mechanism.parameter,
            "norm": str(certificates.norm),
            "seed": seed and {name: getattr(seed, name) for name in ("entropy", "spawn_key", "pool_size")},
        }
        | plain
    )
