"""Networks run in ways that their hardware may be faster with."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["PRECISIONS", "Accelerated", "precision_type"]

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_type(precision: str) -> torch.dtype | None:
    """Return what layers compute in, None where nothing is mixed; refuse what is no name in `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return PRECISIONS[precision]


class Accelerated(nn.Module):
    """A network, run in ways that its hardware may be faster with; its results differ by rounding.

    Parameters
    ----------
    network : torch.nn.Module
        Maps images (B, C, H, W) to logits.
    precision : str
        float32, or bfloat16 or float16 where the layers allow it (mixed precision).
    channels_last : bool
        Whether images and weights have their channels last in memory, which many convolutions are faster with.
    compile_ : bool
        Whether `torch.compile` compiles the network first.

    Raises
    ------
    ValueError
        If `precision` is not one of these.

    Examples
    --------
    >>> import torch
    >>> from rsmooth.zoo.accelerated import Accelerated
    >>> from rsmooth.zoo.networks import build_model
    >>> network = Accelerated(build_model("cifar_resnet20", 10).module, precision="bfloat16", channels_last=True)
    >>> network(torch.zeros(5, 3, 32, 32)).dtype
    torch.bfloat16
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        precision: str = "float32",
        channels_last: bool = False,
        compile_: bool = False,
    ) -> None:
        super().__init__()
        self.dtype = precision_type(precision)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        # Anything but the default would refuse to give weights that are views another layout.
        network = network.to(memory_format=self.layout) if channels_last else network
        self.network = torch.compile(network) if compile_ else network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of images, of whatever type they come in."""
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not None):
            logits: torch.Tensor = self.network(x.contiguous(memory_format=self.layout))
        return logits
