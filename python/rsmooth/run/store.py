"""The files of a certification run: one record a line, only ever appended to, each with a checksum.

A run that is killed, or whose disk is full, leaves at most half a line, which reading skips and the next start goes on
behind. Votes of batches are in files of their group, which are removed when it is finished.
"""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import UnionType

    from typing_extensions import Self

    from rsmooth.torch.voter import Votes

__all__ = [
    "Appender",
    "Part",
    "Settings",
    "damaged_lines",
    "read_examples",
    "read_parts",
    "read_settings",
    "remove_parts",
    "seed_of",
    "seed_record",
    "write_settings",
]

# How often, in seconds, what was written is forced to the disk. A process that is killed loses none of it all the same.
SYNC_EVERY = 1.0

FORMAT = 1

# Bytes that a vote may take.
WIDTHS = (1, 2, 4)

# What a run is made with: no start may change any of it.
SETTINGS: dict[str, type | UnionType] = {
    "arch": str,
    "normalization": str,
    "num_classes": int,
    "model": str,
    "data": str,
    "mechanism": str,
    "sigma": float,
    "dim": int,
    "norm": str,
    "n0": int,
    "n": int,
    "alpha": float,
    "bound": str,
    "runner_up": str,
    "radius": float | None,
    "test": str | None,
    "skip": int,
    "max": int,
    "batch_size": int,
    "group_size": int,
    "noise": str,
    "noise_layout": int,
    "noise_device": str | None,
    "precision": str,
    "channels_last": bool,
    "compile": bool,
}

Settings = dict[str, Any]


def read_settings(folder: Path) -> Settings | None:
    """Return a run's settings; None where there is no run.

    Parameters
    ----------
    folder : pathlib.Path
        The run.

    Returns
    -------
    dict or None
        What `write_settings` wrote.

    Raises
    ------
    ValueError
        If they are damaged or of a later format.
    """
    file = folder / "run.json"
    if not file.exists():
        return None
    try:
        kept: Settings = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    check_types(file, kept, {"format": int})
    if kept["format"] != FORMAT:
        raise ValueError(f"{file} is of format {kept['format']}, which this version cannot read (it reads {FORMAT})")
    check_types(file, kept, {"settings": dict, "seed": dict, "told": dict, "build": dict})
    check_types(file, kept["seed"], {"entropy": str, "spawn_key": list, "pool_size": int})
    try:
        seed_of(kept["seed"])
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{file} is damaged: there is no seed {kept['seed']}") from error
    check_types(file, kept["settings"], SETTINGS)
    for name in ("num_classes", "dim", "n0", "n", "skip", "max", "batch_size", "group_size"):
        if kept["settings"][name] < 1:
            raise ValueError(f"{file} is damaged: {name} must be at least 1, got {kept['settings'][name]}")
    return kept


def check_types(source: object, content: Any, types: Mapping[str, type | UnionType]) -> None:
    """Refuse what JSON was read to, unless it is a dict that has all of `types`, of these types."""
    if not isinstance(content, dict):
        raise ValueError(f"{source} is damaged: there is {content!r} where settings should be")  # noqa: TRY004
    for name, kind in types.items():
        value = content.get(name)
        # To Python a bool is an int and an int no float.
        fits = isinstance(value, bool) == (kind is bool) and isinstance(value, kind)
        fits |= kind is float and type(value) is int and abs(value) < 2**53
        if name not in content or not fits:
            wanted = getattr(kind, "__name__", str(kind))
            raise ValueError(f"{source} is damaged: {name} must be of type {wanted}, got {value!r}")


def write_settings(folder: Path, settings: Settings) -> None:
    """Write a run's settings, all at once.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder, which exists.
    settings : dict
        What JSON can hold.
    """
    text = json.dumps({"format": FORMAT, **settings}, indent=1) + "\n"
    write_atomically(folder / "run.json", lambda file: file.write(text.encode()))


def seed_record(seed: np.random.SeedSequence) -> Settings:
    """Return what JSON can hold of a seed; its entropy is text, as it has more digits than other readers keep."""
    return {"entropy": str(seed.entropy), "spawn_key": list(seed.spawn_key), "pool_size": seed.pool_size}


def seed_of(record: Settings) -> np.random.SeedSequence:
    """Return the seed of a record.

    Parameters
    ----------
    record : dict
        What `seed_record` returned.

    Returns
    -------
    numpy.random.SeedSequence
        The seed.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.run.store import seed_of, seed_record
    >>> seed_of(seed_record(np.random.SeedSequence(5)))
    SeedSequence(
        entropy=5,
    )
    """
    return np.random.SeedSequence(
        int(record["entropy"]), spawn_key=tuple(record["spawn_key"]), pool_size=record["pool_size"]
    )


def read_examples(folder: Path) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Read all finished examples of a run, of whatever worker.

    Parameters
    ----------
    folder : pathlib.Path
        The run.

    Returns
    -------
    tuple
        The records by index, in its order, and where damaged lines are.
    """
    found: dict[int, dict[str, Any]] = {}
    damaged: list[str] = []
    for path in sorted(folder.glob("examples-*.jsonl")):
        records, bad = _read(path, ("index",))
        damaged += bad
        for record in records:
            found.setdefault(record["index"], record)
    return dict(sorted(found.items())), damaged


def damaged_lines(damaged: list[str]) -> str:
    """Describe damaged lines in a sentence's end."""
    more = f" and {len(damaged) - 3} others" if len(damaged) > 3 else ""  # noqa: PLR2004
    return f"damaged: {', '.join(damaged[:3])}{more}"


@dataclass(frozen=True)
class Part:
    """The votes of one batch of an unfinished group.

    Attributes
    ----------
    draws : str
        Which draws they are of, as `rsmooth.run.plan.composition` says it.
    votes : ndarray of int64
        The classes of its draws.
    seconds : float
        How long it took.
    """

    draws: str
    votes: Votes
    seconds: float


def read_parts(folder: Path) -> dict[tuple[int, int], Part]:
    """Read the votes of unfinished groups, of whatever worker.

    Parameters
    ----------
    folder : pathlib.Path
        The run.

    Returns
    -------
    dict
        By group and batch. Damaged lines are left out: their batches are run again.
    """
    parts: dict[tuple[int, int], Part] = {}
    for path in sorted(folder.glob("parts-*.jsonl")):
        for record in _read(path, ("group", "batch", "width"))[0]:
            if record["width"] not in WIDTHS or not isinstance(record.get("draws"), str):
                continue
            raw = base64.b64decode(record["votes"])
            votes = np.frombuffer(raw, f"<u{record['width']}").astype(np.int64)
            parts[record["group"], record["batch"]] = Part(record["draws"], votes, record["seconds"])
    return parts


def remove_parts(folder: Path, group: int) -> None:
    """Remove the votes of a group, whichever workers wrote them."""
    for path in folder.glob(f"parts-{group}-*.jsonl"):
        path.unlink(missing_ok=True)


class Appender:
    """What one worker writes: finished examples, and the votes of a group that takes long to finish.

    Parameters
    ----------
    folder : pathlib.Path
        The run.
    rank : int
        The worker's number. No two processes may write as the same.

    Raises
    ------
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.run.store import Appender, read_examples
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Appender(pathlib.Path(folder), rank=0) as store:
    ...         store.examples(0, [{"index": 4, "radius": 0.1}])
    ...     read_examples(pathlib.Path(folder))
    ({4: {'index': 4, 'radius': 0.1}}, [])
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.synced = time.monotonic()
        # Unbuffered: what write() returned from is the operating system's to keep.
        self.finished = _open(folder / f"examples-{rank}.jsonl")
        self.waiting: dict[int, list[bytes]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits and close the file."""
        try:
            self.flush()
            os.fsync(self.finished)
        finally:
            os.close(self.finished)

    def examples(self, group: int, records: Iterable[dict[str, Any]]) -> None:
        """Write the records of a finished group and remove the votes of its batches.

        Parameters
        ----------
        group : int
            Which.
        records : iterable of dict
            Each with its ``index``.
        """
        _write(self.finished, b"".join(map(_line, records)))
        if time.monotonic() - self.synced >= SYNC_EVERY:
            os.fsync(self.finished)
            self.synced = time.monotonic()
        self.waiting.pop(group, None)
        remove_parts(self.folder, group)

    def part(self, group: int, batch: int, draws: str, votes: Votes, seconds: float) -> None:
        """Write the votes of a batch, with those of others once in a while.

        Parameters
        ----------
        group, batch : int
            Which.
        draws, votes, seconds
            As of a `Part`.
        """
        width = next(width for width in WIDTHS if votes.max(initial=0) < 2 ** (8 * width))
        text = base64.b64encode(votes.astype(f"<u{width}").tobytes()).decode()
        record = {"group": group, "batch": batch, "draws": draws, "width": width, "votes": text}
        self.waiting.setdefault(group, []).append(_line({**record, "seconds": round(seconds, 6)}))
        if time.monotonic() - self.synced >= SYNC_EVERY:
            self.flush()

    def flush(self) -> None:
        """Force what waits to the disk."""
        waiting, self.waiting = self.waiting, {}
        for group, lines in waiting.items():
            file = _open(self.folder / f"parts-{group}-{self.rank}.jsonl")
            try:
                _write(file, b"".join(lines))
                os.fsync(file)
            finally:
                os.close(file)
        os.fsync(self.finished)
        self.synced = time.monotonic()


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record)
    return f"{text[:-1]}, {_seal(text)}}}\n".encode()


def _seal(text: str) -> str:
    return f'"crc32": "{zlib.crc32(text.encode()):08x}"'


def _read(path: Path, numbered: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the records of a file that are whole and have certain numbers, and where others are."""
    records, damaged = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        text, _, seal = line.decode("utf-8", "replace").rpartition(", ")
        whole = seal == _seal(f"{text}}}") + "}"
        record = json.loads(f"{text}}}") if whole else None
        if isinstance(record, dict) and all(type(record.get(name)) is int for name in numbered):
            records.append(record)
        else:
            damaged.append(f"{path.name} line {number}")
    return records, damaged


def _open(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        # What an earlier process left half-written becomes a line of its own.
        _write(file, b"\n")
    return file


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
