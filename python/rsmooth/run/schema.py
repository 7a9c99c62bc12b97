"""JSON schemas of a run's files, for programs in any language that read or write runs.

They derive from what reads the files: `rsmooth.run.spec.Spec`, `Subject` and ``RECORD`` of `rsmooth.run.results`.
``python -m rsmooth.run.schema`` writes them beside this module, as ``run.schema.json`` and ``examples.schema.json``.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from rsmooth._norms import TEXTS
from rsmooth._settings import kinds
from rsmooth.certificates import KINDS, kind_type
from rsmooth.certificates.enumerated import Enumerated
from rsmooth.io.packed import REAL, WHOLE
from rsmooth.rule import BOUNDS, ENUMERATION, INTERVALS, RUNNER_UPS
from rsmooth.run.results import RECORD
from rsmooth.run.spec import FORMAT, Spec, Subject

if TYPE_CHECKING:
    from types import UnionType

__all__ = ["FILES", "record_schema", "run_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

NAMES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

# The values of settings that are one of a few.
CHOICES: dict[str, tuple[str, ...]] = {
    "norm": tuple(TEXTS.values()),
    "bound": BOUNDS,
    "runner_up": RUNNER_UPS,
    "interval": ("auto", *dict.fromkeys((*INTERVALS, *(kind_type(name).interval for name in KINDS)))),
    "noise": ("host", "device"),
    "precision": ("float32", "bfloat16", "float16"),
}

NUMBER = r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?"

# What is known of other settings beyond their types.
LIMITS: dict[str, dict[str, Any]] = {
    "sigma": {"exclusiveMinimum": 0},
    "kind": {"pattern": rf"^({'|'.join(KINDS)})( [a-z0-9_]+=\S+)*$"},
    "n": {"minimum": 1},
    "alpha": {"minimum": 0, "exclusiveMaximum": 1},
    "until": {"pattern": rf"^{NUMBER}(,{NUMBER})*$"},
    "width": {"exclusiveMinimum": 0},
    "draws": {"minimum": 1, "multipleOf": 1},
    "grid": {"pattern": "^(auto|none|[1-9][0-9]*)$"},
    "domain": {"pattern": rf"^(none|-?{NUMBER},-?{NUMBER})$"},
    "noise_error": {"minimum": 0, "maximum": 1},
}

# Where all copies there are vote, nothing is drawn or left to chance; elsewhere something is.
_ALL = [name for name in KINDS if issubclass(kind_type(name), Enumerated)]
ENUMERATED = {
    "if": {"properties": {"kind": {"enum": _ALL}}, "required": ["kind"]},
    "then": {"properties": {"n0": {"const": 0}, "alpha": {"const": 0}, "interval": {"const": ENUMERATION}}},
    "else": {
        "properties": {
            "n0": {"minimum": 1},
            "alpha": {"exclusiveMinimum": 0},
            "interval": {"not": {"const": ENUMERATION}},
        }
    },
}

# Kinds of certificates count votes for each class, or more: sums of scores and of their squares, say.
TALLY = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": "integer", "minimum": 0}, {"$ref": "#/$defs/tally"}]},
}

# What would be too many numbers.
PACKED = {
    "type": "object",
    "properties": {
        "type": {
            "enum": [*WHOLE, REAL],
            "description": "Of its elements: their sign, bytes and order, as NumPy says it.",
        },
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "zlib": {"type": "string", "description": "The elements in C order, compressed by zlib, as base64."},
    },
    "required": ["type", "shape", "zlib"],
    "description": "An array.",
}

# What is not described by its type alone.
DEFINED: dict[type, str] = {list: "tally", dict: "packed"}

# They are numbers once a run has begun.
FOUND = ("max", "batch_size")

# What is known of a record's entries beyond their types.
ENTRIES: dict[str, dict[str, Any]] = {
    "index": {"minimum": 0, "description": "Of the example in its data set."},
    "label": {"description": "Its true class, its number, or its map of classes, of which -1 counts neither way."},
    "image": {"description": "A digest of the input."},
    "selection": {"description": "Votes for each class, or the kind's tally, of the n0 draws that select one."},
    "counts": {"description": "Votes for each class, or the kind's tally, of the draws that test it."},
    "prediction": {
        "description": "The certified class, or map of them, -1 for an abstention; or number, null for one."
    },
    "radius": {"minimum": 0, "description": "In the run's norm and the units of the inputs; 0 for an abstention."},
    "p1": {"minimum": 0, "maximum": 1, "description": "Lower confidence bound of the class's probability."},
    "p2": {"minimum": 0, "maximum": 1, "description": "Upper confidence bound of every other class's."},
    "seconds": {"minimum": 0, "description": "How long it took."},
}


def run_schema() -> dict[str, Any]:
    """Return the JSON schema of ``run.json``.

    Examples
    --------
    >>> from rsmooth.run.schema import run_schema
    >>> run_schema()["properties"]["settings"]["properties"]["runner_up"]["enum"]
    ['second', 'complement']
    """
    seed = {
        "type": "object",
        "properties": {
            "entropy": {"type": "string", "pattern": "^[0-9]+$"},
            "spawn_key": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "pool_size": {"type": "integer", "minimum": 4},
        },
        "required": ["entropy", "spawn_key", "pool_size"],
        "description": "The arguments of numpy.random.SeedSequence.",
    }
    properties = {
        "format": {"const": FORMAT},
        "settings": _settings(Spec, Subject),
        "seed": seed,
        "told": {"type": "object", "description": "Where the model and the data came from."},
        "build": {"type": "object", "description": "With which versions the run was begun."},
    }
    return {
        "$schema": DIALECT,
        "title": "run.json: the settings of a certification run",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def record_schema() -> dict[str, Any]:
    """Return the JSON schema of a line of ``examples-*.jsonl``.

    Examples
    --------
    >>> from rsmooth.run.schema import record_schema
    >>> record_schema()["required"]
    ['run', 'index', 'label', 'image', 'selection', 'counts', 'prediction', 'radius', 'p1', 'p2', 'seconds', 'crc32']
    """
    properties = {
        "run": {"type": "string", "pattern": "^[0-9a-f]{16}$", "description": "The run's digest."},
        **{name: {**_of(kind), **ENTRIES[name]} for name, kind in RECORD.items()},
        "crc32": {
            "type": "string",
            "pattern": "^[0-9a-f]{8}$",
            "description": "Of the line without this entry, the last.",
        },
    }
    return {
        "$schema": DIALECT,
        "title": "A line of examples-*.jsonl: a finished example of a certification run",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "$defs": {"tally": TALLY, "packed": PACKED},
    }


FILES = {"run.schema.json": run_schema, "examples.schema.json": record_schema}
"""The files beside this module, and what is in them."""


def _settings(*classes: type) -> dict[str, Any]:
    """Return the schema of dataclasses of settings in one object."""
    properties, required = {}, []
    for settings in classes:
        for each in fields(settings):
            found = _of(int if each.name in FOUND else kinds(settings)[each.name])
            if "integer" in found["type"]:
                found |= {"minimum": each.metadata["least"], "maximum": 2**53}
            if each.name in CHOICES:
                found |= {"enum": list(CHOICES[each.name])}
            found |= LIMITS.get(each.name, {})
            if each.metadata["help"]:
                found |= {"description": each.metadata["help"]}
            properties[each.name] = found
            if not each.metadata["implied"]:
                required.append(each.name)
    return {"type": "object", "properties": properties, "required": required} | ENUMERATED


def _of(kind: type | UnionType) -> dict[str, Any]:
    """Return the schema of a type."""
    options = get_args(kind) or (kind,)
    names = ["null" if option is NoneType else NAMES[option] for option in options if option not in DEFINED]
    plain = [{"type": names[0] if len(names) == 1 else names}] if names else []
    found = plain + [{"$ref": f"#/$defs/{DEFINED[option]}"} for option in options if option in DEFINED]
    return found[0] if len(found) == 1 else {"anyOf": found}


if __name__ == "__main__":
    for name, schema in FILES.items():
        text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
