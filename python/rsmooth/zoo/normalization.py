"""Constants that a network's inputs are normalised by, inside the model, so that noise is in the inputs' own units."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["NORMALIZATIONS", "NORMALIZATION_NAMES", "Normalize", "normalization_text", "normalizing"]

# Mean and standard deviation of each channel, as locuslab/smoothing and its descendants take them.
NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]] | None] = {
    "none": None,
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

NORMALIZATION_NAMES = f"{', '.join(NORMALIZATIONS)}, or means/deviations of the channels as .5,.5,.5/.5,.5,.5"


class Normalize(nn.Module):
    """Subtracts each channel's mean and divides by its standard deviation."""

    def __init__(self, means: tuple[float, ...], deviations: tuple[float, ...]) -> None:
        super().__init__()
        # Not among the weights: the files of locuslab/smoothing lack them, and ours say which by name.
        for name, values in (("means", means), ("deviations", deviations)):
            self.register_buffer(name, torch.tensor(values).reshape(-1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised batch (B, C, H, W)."""
        means, deviations = self.get_buffer("means"), self.get_buffer("deviations")
        if x.ndim < 3 or x.shape[1] != len(means):  # noqa: PLR2004
            got = x.shape[1] if x.ndim > 1 else 0
            raise ValueError(f"images must have {len(means)} channels, got {got}")
        return (x - means) / deviations


def normalizing(normalization: str) -> nn.Module:
    """Return the layer that a normalisation stands for.

    Parameters
    ----------
    normalization : str
        A name in `NORMALIZATIONS`, or means and deviations, as ``.5,.5,.5/.25,.25,.25``.

    Returns
    -------
    torch.nn.Module
        The layer.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.normalization import normalizing
    >>> normalizing("0.5/0.25")(torch.ones(1, 1, 1, 2))
    tensor([[[[2., 2.]]]])
    """
    if normalization in NORMALIZATIONS:
        constants = NORMALIZATIONS[normalization]
        return nn.Identity() if constants is None else Normalize(*constants)
    try:
        means, deviations = (tuple(float(each) for each in part.split(",")) for part in normalization.split("/"))
    except ValueError:
        means, deviations = (), ()
    if not (
        len(means) == len(deviations) > 0
        and all(map(math.isfinite, means))
        and all(0 < each < math.inf for each in deviations)
    ):
        raise ValueError(f"normalization must be one of {NORMALIZATION_NAMES}, got {normalization!r}")
    return Normalize(means, deviations)


def normalization_text(means: tuple[float, ...], deviations: tuple[float, ...]) -> str:
    """Return the name of a normalisation, or what `normalizing` reads.

    Examples
    --------
    >>> from rsmooth.zoo.normalization import normalization_text
    >>> normalization_text((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), normalization_text((0.5,), (0.25,))
    ('imagenet', '0.5/0.25')
    """
    constants = tuple(map(float, means)), tuple(map(float, deviations))
    for name, known in NORMALIZATIONS.items():
        if known == constants:
            return name
    if set(constants[0]) == {0.0} and set(constants[1]) == {1.0}:
        return "none"
    return "/".join(",".join(map(str, part)) for part in constants)
