"""The files of a certification run: one record a line, only ever appended to, each with a checksum.

A run that is killed, or whose disk is full, leaves at most half a line, which reading skips and the next start goes on
behind. Nothing is ever overwritten but the votes of unfinished examples once these are finished.
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

from rsmooth.run.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Self

    from rsmooth.voting import Votes

__all__ = [
    "Appender",
    "Part",
    "Settings",
    "damaged_lines",
    "read_examples",
    "read_parts",
    "read_settings",
    "seed_of",
    "seed_record",
    "write_settings",
]

# How often, in seconds, what was written is forced to the disk. A process that is killed loses none of it all the same.
SYNC_EVERY = 1.0

FORMAT = 1

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
        settings: Settings = json.loads(file.read_bytes())
        found = settings["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if found != FORMAT:
        raise ValueError(f"{file} is of format {found}, which this version cannot read (it reads {FORMAT})")
    return settings


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
        records, bad = _read(path)
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
    votes : ndarray of int64
        The classes of its draws.
    seconds : float
        How long it took.
    """

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
        for record in _read(path)[0]:
            raw = base64.b64decode(record["votes"])
            votes = np.frombuffer(raw, f"<u{record['width']}").astype(np.int64)
            parts[record["group"], record["batch"]] = Part(votes, record["seconds"])
    return parts


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
    ...         store.examples([{"index": 4, "radius": 0.1}])
    ...     read_examples(pathlib.Path(folder))
    ({4: {'index': 4, 'radius': 0.1}}, [])
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.synced = time.monotonic()
        # Unbuffered: what write() returned from is the operating system's to keep.
        self.finished = _open(folder / f"examples-{rank}.jsonl")
        self.unfinished = _open(folder / f"parts-{rank}.jsonl")
        self.waiting: list[bytes] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits and close the files."""
        try:
            self.flush()
            self._sync()
        finally:
            os.close(self.finished)
            os.close(self.unfinished)

    def examples(self, records: Iterable[dict[str, Any]]) -> None:
        """Write the records of a finished group.

        Parameters
        ----------
        records : iterable of dict
            Each with its ``index``.
        """
        _write(self.finished, b"".join(map(_line, records)))
        self.forget_parts()
        self._sync_now_and_then()

    def forget_parts(self) -> None:
        """Empty the worker's file of votes, which are those of finished groups."""
        self.waiting.clear()
        os.ftruncate(self.unfinished, 0)

    def part(self, group: int, batch: int, votes: Votes, seconds: float) -> None:
        """Write the votes of a batch, with those of others once in a while.

        Parameters
        ----------
        group, batch : int
            Which.
        votes : ndarray of int64
            The classes.
        seconds : float
            How long it took.
        """
        width = next(width for width in (1, 2, 4) if votes.max(initial=0) < 2 ** (8 * width))
        text = base64.b64encode(votes.astype(f"<u{width}").tobytes()).decode()
        record = {"group": group, "batch": batch, "width": width, "votes": text, "seconds": round(seconds, 6)}
        self.waiting.append(_line(record))
        if time.monotonic() - self.synced >= SYNC_EVERY:
            self.flush()
            self._sync_now_and_then()

    def flush(self) -> None:
        """Hand what waits to the operating system."""
        waiting, self.waiting = self.waiting, []
        _write(self.unfinished, b"".join(waiting))

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self.synced >= SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self.finished)
        os.fsync(self.unfinished)
        self.synced = time.monotonic()


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record)
    return f"{text[:-1]}, {_seal(text)}}}\n".encode()


def _seal(text: str) -> str:
    return f'"crc32": "{zlib.crc32(text.encode()):08x}"'


def _read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the records of a file that are whole, and where others are."""
    records, damaged = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        text, _, seal = line.decode("utf-8", "replace").rpartition(", ")
        if seal == _seal(f"{text}}}") + "}":
            records.append(json.loads(f"{text}}}"))
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
