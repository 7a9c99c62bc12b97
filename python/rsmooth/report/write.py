"""Writing a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsmooth.io.files import write_atomically
from rsmooth.report.page import page_of
from rsmooth.report.payload import Pictures, payload_of, refuse_others

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rsmooth.report.payload import Rules
    from rsmooth.results.result import Result

__all__ = ["write_report"]


def write_report(
    results: Sequence[Result],
    out: Path,
    *,
    title: str = "Certified robustness",
    rules: Rules | None = None,
    images: int | None = None,
    data: Sequence[str] = (),
    root: Path | None = None,
    mechanism: str | None = None,
) -> list[str]:
    """Write a page about results, beside each other, that is complete in itself.

    Parameters
    ----------
    results : sequence of Result
        What `rsmooth.results.read.read_result` returns; at least one.
    out : pathlib.Path
        Where to write, all at once.
    title : str
        What stands above.
    rules : Rules, optional
        The bounds, norms and levels that its reader chooses from; all that hold, if left out.
    images, data, root
        As for `rsmooth.report.pictures.pictures_of`.
    mechanism : str, optional
        The runs' mechanism, where that is code and may be imported.

    Returns
    -------
    list of str
        For each result, which pictures the page has, or that and why it has none.

    Raises
    ------
    ValueError
        If there are no results, one is of maps or numbers, or no rule holds for one.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.report.write import write_report
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10], [600, 400]], Gaussian(0.5), norm=2, dim=64, selection=[0, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report([Result.of("mine", found, [0, 0])], pathlib.Path(folder, "report.html"))
    ['There are no pictures: this is not the folder of a run.']
    """
    refuse_others(results)
    pictures = [_pictures(result, images, data, root, mechanism) for result in results]
    content = page_of(payload_of(results, pictures, title=title, rules=rules)).encode()
    write_atomically(out, lambda file: file.write(content))
    return [" ".join(filter(None, (each.note, each.error))) for each in pictures]


def _pictures(
    result: Result, images: int | None, data: Sequence[str], root: Path | None, mechanism: str | None
) -> Pictures:
    if result.source is None or not result.source.is_dir():
        return Pictures("There are no pictures: this is not the folder of a run.")
    if images == 0:
        return Pictures("The images are left out, as was asked for.")
    try:
        from rsmooth.report.pictures import pictures_of  # noqa: PLC0415
        from rsmooth.run.results import read_run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return Pictures(f"The images are left out, as they need more packages: {error}.")
    run = read_run(result.source, mechanism=mechanism)
    return pictures_of(result, run, images=images, data=data, root=root)
