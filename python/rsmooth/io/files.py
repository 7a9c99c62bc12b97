"""Writing files so that a reader never meets half of one, whatever becomes of the process or the power."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["claimed", "sync_folder", "write_atomically"]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Create or replace `path` with what `write` puts into the file it is given, all at once.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    write : callable
        Called with a binary file. If it fails, `path` stays as it was.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.io.files import write_atomically
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "greeting.txt")
    ...     write_atomically(path, lambda file: file.write(b"hello"))
    ...     path.read_text()
    'hello'
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp lets the owner alone read; a result is as readable as any file its maker writes.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force to the disk which files a folder has, under which names."""
    if os.name == "nt":  # There a folder cannot be opened, and its entries are the system's affair.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: Path, *, worker: int = 0) -> Iterator[None]:
    """Create `folder` where it does not exist and keep other processes from writing to it.

    Parameters
    ----------
    folder : pathlib.Path
        The folder. It gets a file ``lock-<worker>``, which the operating system frees however the process ends.
    worker : int
        The process's number among those that share the work. Number 0 claims the folder against all that are not its
        own, and so must come first.

    Raises
    ------
    BlockingIOError
        If another process has claimed it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth.io.files import claimed
    >>> with tempfile.TemporaryDirectory() as folder, claimed(pathlib.Path(folder, "run")):
    ...     pass
    """
    # Files are written with NumPy alone, but this needs a package that NumPy's users may lack.
    from filelock import FileLock, Timeout  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"lock-{worker}"
    others = [path for path in folder.glob("lock-*") if path != own] if worker == 0 else []
    try:
        with FileLock(own, blocking=False):
            for other in others:
                with FileLock(other, blocking=False):
                    pass
            yield
    except Timeout as error:
        raise BlockingIOError(f"another process is writing to {folder}") from error
