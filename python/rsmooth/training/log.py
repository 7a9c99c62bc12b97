"""What is written down about a training's epochs."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from rsmooth.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Epoch", "board", "read_log", "write_log"]


@dataclass(frozen=True)
class Epoch:
    """What is written down about an epoch.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    seconds : float
        How long it took.
    learning_rate : float
        In it.
    loss, accuracy : float
        Means over the training images, with noise, while the weights changed.
    test_loss, test_accuracy : float or None
        Means over the test images with one draw of noise each, after it.
    """

    epoch: int
    seconds: float
    learning_rate: float
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None


def write_log(file: Path, epochs: list[Epoch]) -> None:
    """Write ``log.csv``, a line an epoch.

    Parameters
    ----------
    file : pathlib.Path
        Where.
    epochs : list of Epoch
        All epochs; no test is an empty field.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in epochs)
    write_atomically(file, lambda into: into.write(text.getvalue().encode()))


def read_log(file: Path) -> list[Epoch]:
    """Read what `write_log` wrote.

    Parameters
    ----------
    file : pathlib.Path
        ``log.csv``.

    Returns
    -------
    list of Epoch
        The epochs.

    Raises
    ------
    ValueError
        If it is no such file.
    OSError
        If it cannot be read.
    """
    names = [each.name for each in fields(Epoch)]
    with file.open(newline="") as source:
        rows = list(csv.DictReader(source))
    try:
        found = [{name: row[name] for name in names} for row in rows]
        epochs = [
            Epoch(
                epoch=int(row["epoch"]),
                seconds=float(row["seconds"]),
                learning_rate=float(row["learning_rate"]),
                loss=float(row["loss"]),
                accuracy=float(row["accuracy"]),
                test_loss=float(row["test_loss"]) if row["test_loss"] else None,
                test_accuracy=float(row["test_accuracy"]) if row["test_accuracy"] else None,
            )
            for row in found
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not the log of a training, or it is damaged") from error
    if not epochs:
        raise ValueError(f"{file} has no epochs")
    return epochs


def board(folder: Path) -> Callable[[Epoch], None]:
    """Return what writes an epoch's numbers to TensorBoard's files.

    Parameters
    ----------
    folder : pathlib.Path
        Where.

    Returns
    -------
    callable
        Takes an `Epoch`.

    Raises
    ------
    ValueError
        If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(f"TensorBoard's files need one more package ({error}): pip install tensorboard") from error
    writer: Any = SummaryWriter(str(folder))

    def show(epoch: Epoch) -> None:
        for name, value in asdict(epoch).items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, value, epoch.epoch)
        writer.flush()

    return show
