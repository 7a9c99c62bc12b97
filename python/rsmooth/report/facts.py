"""What a report says of a result's assumptions, and of how to check it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmooth._norms import SYMBOLS

if TYPE_CHECKING:
    from rsmooth.results.result import Result
    from rsmooth.run.spec import Head

__all__ = ["facts_of", "notes_of"]


# How results can be checked.
LOST = "nothing can be checked: the votes behind its radii are lost."
COUNTED = "its radii can be computed from its votes again; where these come from is not told."
KEPT = (
    "whoever has the run's folder, the model and the data can check it: every radius is computed from its votes again, "
    "fingerprints are compared, and a sample of the examples gets its noise again and goes through the model again "
    "(--model and --data say where these are now)."
)


def facts_of(result: Result) -> tuple[dict[str, str], str, str | None]:
    """Return what a result rests on, by name, how it can be checked, and the command that does.

    Parameters
    ----------
    result : Result
        The result.

    Returns
    -------
    tuple
        A dict of texts; a sentence; the command, or None where there is none. Paths are told without their folders,
        which are nobody else's business.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.report.facts import facts_of
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0], grid=255)
    >>> facts_of(Result.of("mine", found, [0]))[0]["made under"]
    'ℓ₂, tightest, α = 0.001'
    """
    told = {"noise": result.noise, "kind": result.kind}
    found = result.certificates
    told["certificates"] = "radii of a file; what they rest on is not told" if found is None else found.basis
    if found is not None:
        told["paid for the law of the noise (τ)"] = f"{found.noise_error:.3g}" if found.exact else "not known"
    alpha = "α not told" if result.alpha is None else f"α = {result.alpha:g}"
    told["made under"] = f"{SYMBOLS[result.norm]}, {result.bound}, {alpha}"
    told["interval"] = result.interval or "not told"
    told["runner-up"] = result.runner_up or "not told"
    told["examples"] = f"{len(result):,}"
    if result.draws is not None:
        told["draws in all"] = f"{int(result.draws.sum()):,}"
    checking, command = LOST if found is None else COUNTED, None
    if result.source is not None and result.source.is_dir():
        from rsmooth.run.spec import read_head  # noqa: PLC0415

        head = read_head(result.source)
        if head is not None:
            told |= _of_run(head)
            checking, command = KEPT, f"rsmooth verify {shlex.quote(result.source.resolve().name)}"
    return {name: text for name, text in told.items() if text}, checking, command


def notes_of(result: Result) -> list[str]:
    """Return what a reader of a result should know, without the folder that it was read from.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.report.facts import notes_of
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0])
    >>> notes_of(Result.of("mine", found, [0], notes=("not finished: 1 of 2 examples",)))
    ['not finished: 1 of 2 examples']
    """
    if result.source is None:
        return list(result.notes)
    return [note.replace(str(result.source), result.name) for note in result.notes]


def _of_run(head: Head) -> dict[str, str]:
    spec, subject, build = head.spec, head.subject, head.build
    draws = f"{spec.n0:,} that select, {'at most ' if spec.stops else ''}{spec.n:,} that test"
    for name in ("until", "width", "draws"):
        value = head.settings[name]
        if value is not None:
            draws += f", {name} {value}"
    core = f"rsmooth, {'noise' if spec.steps is None else 'grid'} layout {subject.noise_layout}"
    arithmetic = [spec.precision, *(name for name in ("channels_last", "compile") if getattr(spec, name))]
    versions = {"rsmooth": build.get("version"), "torch": build.get("torch"), "SIMD": build.get("simd")}
    return {
        "seed": str(head.seed.entropy) + (f", spawn key {head.seed.spawn_key}" if head.seed.spawn_key else ""),
        "draws of an example": draws,
        "which examples": f"every {spec.skip:,}th below {spec.max:,}" if spec.skip > 1 else f"all below {spec.max:,}",
        "model": f"{_name(head.told.get('model'))} ({subject.arch}, normalization {subject.normalization})",
        "fingerprint of the model": subject.model,
        "fingerprint of its code": subject.code,
        "data": f"{_name(head.told.get('data'))} ({head.told.get('split', 'test')})",
        "fingerprint of the data": subject.data,
        "noise drawn by": subject.noise_device or core,
        "arithmetic": ", ".join(arithmetic),
        "made with": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
    }


def _name(told: Any) -> str:
    """Return what is told of where something is, without folders."""
    return Path(told).name if isinstance(told, str) else "not told"
