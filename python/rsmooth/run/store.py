"""The files of a certification run: one record a line, only ever appended to, each with a checksum.

A run that is killed, or whose disk is full, leaves at most half a line, which reading skips and the next start goes on
behind. Votes of batches are in files of their group, which are removed when its records are on the disk. Each line
names the run it belongs to, by `rsmooth.run.spec.Head.digest`.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rsmooth.io.files import sync_folder
from rsmooth.io.packed import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Self

    from rsmooth.torch.voter import Votes

__all__ = [
    "Appender",
    "Part",
    "damaged_lines",
    "read_examples",
    "read_parts",
    "remove_parts",
]

# How often, in seconds, what was written is forced to the disk. A process that is killed loses none of it all the same.
SYNC_EVERY = 1.0


def read_examples(folder: Path, run: str) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Read all finished examples of a run, of whatever worker.

    Parameters
    ----------
    folder : pathlib.Path
        The run.
    run : str
        Its digest.

    Returns
    -------
    tuple
        The records by index, in its order, and where damaged lines are.

    Raises
    ------
    ValueError
        If a record is another run's, or two records of an example differ in more than the time that they took.
    """
    found: dict[int, dict[str, Any]] = {}
    places: dict[int, str] = {}
    damaged: list[str] = []
    for path in sorted(folder.glob("examples-*.jsonl")):
        records, bad = _read(path, ("index",))
        damaged += bad
        for place, record in records:
            index = record["index"]
            if record.get("run") != run:
                raise ValueError(f"{folder / place} is a record of another run, {record.get('run')} and not {run}")
            if index in found and not _same(found[index], record):
                raise ValueError(f"{folder} has two records of example {index} that differ: {places[index]}, {place}")
            found.setdefault(index, record)
            places.setdefault(index, place)
    return dict(sorted(found.items())), damaged


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "seconds": None} == {**other, "seconds": None}


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
        Which draws of which images they are of, as `rsmooth.torch.plan.composition` says it.
    votes : ndarray of int64 or float64, shape (draws, …)
        What was observed of its draws, such as their classes.
    seconds : float
        How long it took.
    """

    draws: str
    votes: Votes
    seconds: float


def read_parts(folder: Path, run: str) -> dict[tuple[int, int], Part]:
    """Read the votes of unfinished groups, of whatever worker.

    Parameters
    ----------
    folder : pathlib.Path
        The run.
    run : str
        Its digest.

    Returns
    -------
    dict
        By group and batch. Damaged lines and other runs' are left out: their batches are run again.
    """
    parts: dict[tuple[int, int], Part] = {}
    for path in sorted(folder.glob("parts-*.jsonl")):
        for place, record in _read(path, ("group", "batch"))[0]:
            if record.get("run") != run:
                continue
            try:
                votes = unpacked(place, record.get("votes"))
            except ValueError:
                # Of a version that wrote them otherwise.
                continue
            parts[record["group"], record["batch"]] = Part(record["draws"], votes, record["seconds"])
    return parts


def remove_parts(folder: Path, group: int) -> None:
    """Remove the votes of a finished group, whichever workers wrote them, once all records are on the disk."""
    if parts := list(folder.glob(f"parts-{group}-*.jsonl")):
        for path in folder.glob("examples-*.jsonl"):
            with path.open("rb") as file:
                os.fsync(file)
        for path in parts:
            path.unlink(missing_ok=True)


class Appender:
    """What one worker writes: finished examples, and the votes of a group that takes long to finish.

    Parameters
    ----------
    folder : pathlib.Path
        The run.
    rank : int
        The worker's number. No two processes may write as the same.
    run : str
        The run's digest.

    Raises
    ------
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.run.store import Appender, read_examples
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Appender(pathlib.Path(folder), rank=0, run="1f") as store:
    ...         store.examples(0, [{"index": 4, "radius": 0.1}])
    ...     read_examples(pathlib.Path(folder), run="1f")
    ({4: {'run': '1f', 'index': 4, 'radius': 0.1}}, [])
    """

    def __init__(self, folder: Path, rank: int, run: str) -> None:
        self.folder, self.rank, self.run = folder, rank, run
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
        """Write the records of a finished group and then remove the votes of its batches.

        Parameters
        ----------
        group : int
            Which.
        records : iterable of dict
            Each with its ``index``.
        """
        _write(self.finished, b"".join(_line({"run": self.run, **record}) for record in records))
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
        record = {"run": self.run, "group": group, "batch": batch, "draws": draws, "votes": packed(votes)}
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


def _read(path: Path, numbered: tuple[str, ...]) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Return the records of a file that are whole and have certain numbers, with their places, and where others are."""
    records, damaged = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        place = f"{path.name} line {number}"
        text, _, seal = line.decode("utf-8", "replace").rpartition(", ")
        whole = seal == _seal(f"{text}}}") + "}"
        record = json.loads(f"{text}}}") if whole else None
        if isinstance(record, dict) and all(type(record.get(name)) is int for name in numbered):
            records.append((place, record))
        else:
            damaged.append(place)
    return records, damaged


def _open(path: Path) -> int:
    binary = getattr(os, "O_BINARY", 0)  # Windows would write two bytes for the end of a line.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | binary, 0o666)
    if not os.fstat(file).st_size:
        # Else the file could be synced and yet have no name after a power cut.
        sync_folder(path.parent)
        return file
    os.lseek(file, -1, os.SEEK_END)
    if os.read(file, 1) != b"\n":
        # What an earlier process left half-written becomes a line of its own.
        _write(file, b"\n")
    return file


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
