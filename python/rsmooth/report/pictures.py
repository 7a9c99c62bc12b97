"""Pictures of a run's examples: each image, and its noisy copy as the run drew it."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rsmooth._streams import ESTIMATION, example_stream
from rsmooth.report.payload import Pictures
from rsmooth.run.verify import data_of
from rsmooth.run.work import drawn_on
from rsmooth.zoo.data import image_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from rsmooth.results.result import Result
    from rsmooth.run.results import Run
    from rsmooth.zoo.data import Data

__all__ = ["noisy_copy", "pictures_of"]

# Pictures of a result where no number is asked for: at most so many, and so many bytes of pixels.
USUAL = 200
USUAL_BYTES = 3 * 2**20

# Channels that can be shown, and how Pillow calls them.
MODES = {1: "L", 3: "RGB"}


def pictures_of(
    result: Result, run: Run, *, images: int | None = None, data: Sequence[str] = (), root: Path | None = None
) -> Pictures:
    """Draw the pictures of the worst and the best certificates of a run.

    An example is the worse the larger the radius of a wrong class is, and the better the larger that of its own class
    is. Pictures of images that are not those of the run, by their digests, are left out.

    Parameters
    ----------
    result : Result
        What the run certifies.
    run : Run
        The run.
    images : int or None
        How many examples, half of them the worst and half the best; None is 200, or as many as have 3 MiB of pixels.
    data : sequence of str
        Where data may be, as for `rsmooth.zoo.data.load_data`, beside where the run says they are: those with the run's
        fingerprint are taken.
    root : pathlib.Path or None
        Where torchvision's data sets are; None is where the run says.

    Returns
    -------
    Pictures
        With none, and a note that says why, where there are no data, or none that can be shown.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rsmooth.report.pictures import pictures_of
    >>> from rsmooth.results.read import read_result
    >>> from rsmooth.run.results import read_run
    >>> pictures_of(read_result(Path("run")), read_run(Path("run")), images=20)  # doctest: +SKIP
    """
    found, error = _found(run, data, root)
    if found is None:
        return Pictures("The images are left out: the run's data were not at hand.", error=error)
    order = _worst_first(result)
    shape = tuple(found[int(result.index[order[0]])][0].shape)
    if len(shape) != 3 or shape[0] not in MODES or run.spec.bounds is None:  # noqa: PLR2004
        return Pictures("The inputs are no images with values in a range, and are not shown.")
    usual = min(USUAL, max(USUAL_BYTES // (2 * math.prod(shape)), 2))
    rows = _ends(order, usual if images is None else images)
    shown, clean, noisy = [], [], []
    for row in rows:
        index = int(result.index[row])
        image, label = found[index]
        if (image_digest(image), label) != (run.records[index]["image"], run.records[index]["label"]):
            continue
        shown.append(row)
        clean.append(image.numpy())
        if run.head.subject.noise_device is None:
            noisy.append(noisy_copy(run, index, image))
    if not shown:
        return Pictures("The images are left out: none of those in the data is the one that was certified.")
    columns = math.ceil(math.sqrt(len(shown)))
    note = f"{len(shown):,} of {len(result):,} examples have pictures, those with the worst and the best certificates."
    if len(shown) == len(result):
        note = ""
    if len(shown) < len(rows):
        note += f" {len(rows) - len(shown):,} were left out: the data now have other images than were certified."
    if noisy:
        note += (
            " A noisy copy is what the model got for draw 0 of those that test the class, drawn again from the run's "
            "seed; what is outside the range of pixels is cut off, and it has 256 levels."
        )
    else:
        note += f" Noisy copies are left out: the noise was drawn by {run.head.subject.noise_device}."
    return Pictures(
        note.strip(),
        rows=tuple(shown),
        width=shape[2],
        height=shape[1],
        columns=columns,
        clean=_sheet(clean, columns, run.spec.bounds),
        noisy=_sheet(noisy, columns, run.spec.bounds) if noisy else None,
        classes=_classes(found, run.head.subject.num_classes),
    )


def noisy_copy(run: Run, index: int, image: torch.Tensor) -> NDArray[Any]:
    """Return an example with the first of the draws that test its class, as the run's model got it.

    Parameters
    ----------
    run : Run
        The run, whose noise was drawn on the host.
    index : int
        The example's.
    image : torch.Tensor
        The example.

    Returns
    -------
    ndarray
        Of the image's shape.
    """
    example = drawn_on(f"example {index}", image, run.spec)
    stream = example_stream(run.seed, index, ESTIMATION)
    noisy = np.empty((1, *example.shape), np.float32 if run.spec.steps else example.numpy().dtype)
    run.rule.kind.copies(run.rule.mechanism, example, noisy, seed=stream, first=0, grid=run.spec.steps)
    return np.asarray(noisy[0])


def _found(run: Run, data: Sequence[str], root: Path | None) -> tuple[Data | None, str]:
    """Return the data of a run, or why there are none."""
    why = []
    for given in (*data, None):
        try:
            found = data_of(run, data=given, root=root)
        except (ValueError, OSError, ImportError) as error:
            why.append(str(error))
            continue
        if found.fingerprint() == run.head.subject.data and len(found) > run.indices[-1]:
            return found, ""
        why.append(f"{found.name} is not the data of {run.folder}")
    return None, "; ".join(why)


def _worst_first(result: Result) -> NDArray[np.int64]:
    margin = np.where(result.prediction == result.labels, result.radius, -result.radius)
    return np.argsort(margin, kind="stable")


def _ends(order: NDArray[np.int64], number: int) -> list[int]:
    """Return so many of an order, half of them from each end, in the order of the result."""
    number = min(number, len(order))
    best = number // 2
    return sorted([*order[: number - best].tolist(), *order[len(order) - best :].tolist()])


def _sheet(images: list[NDArray[Any]], columns: int, domain: tuple[float, float]) -> bytes:
    """Return images, each (C, H, W), as one PNG, row by row."""
    low, high = domain
    channels, height, width = images[0].shape
    lines = -(-len(images) // columns)
    sheet = np.zeros((lines * height, columns * width, channels), np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        levels = np.rint(np.clip((image.astype(np.float64) - low) / (high - low), 0, 1) * 255)
        sheet[top : top + height, left : left + width] = levels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet, MODES[channels]).save(file, "png", optimize=True)
    return file.getvalue()


def _classes(data: Data, number: int) -> tuple[str, ...] | None:
    """Return what the data call the classes, where they call all of them."""
    names = getattr(data.source, "classes", None)
    if not isinstance(names, (list, tuple)) or len(names) != number:
        return None
    return tuple(str(name) for name in names)
