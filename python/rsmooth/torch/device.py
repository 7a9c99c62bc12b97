"""Noise that torch draws on a device, from generators seeded with the stream.

Faster than moving the host's noise, and not the host's noise: other devices and releases of torch draw other values
from the same seed. A mechanism whose law is not here is refused.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch

from rsmooth._perturb import built_in
from rsmooth._streams import child, torch_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from rsmooth.mechanisms import Mechanism
    from rsmooth.torch.draws import Draws

__all__ = ["BLOCK", "GENERATORS", "LAWS", "DeviceNoise"]

# Kinds of devices whose torch generators use all of a seed; the CPU's uses 32 bits, too few to tell streams apart.
GENERATORS = {"cuda"}

# Draws of one stream that torch makes at a time, from a generator of their own.
BLOCK = 16


def gaussian(shape: tuple[int, ...], sigma: float, generator: torch.Generator) -> torch.Tensor:
    """Return independent normal coordinates."""
    return torch.empty(shape, device=generator.device).normal_(0, sigma, generator=generator)


def laplace(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return independent Laplace coordinates: differences of two exponentials."""
    parts = torch.empty((2, *shape), device=generator.device).exponential_(1 / scale, generator=generator)
    return parts[0] - parts[1]


def exponential(shape: tuple[int, ...], sigma: float, generator: torch.Generator) -> torch.Tensor:
    """Return R u of density ∝ exp(-‖z‖∞ / sigma): R ~ Gamma(d + 1, sigma), u uniform in the cube."""
    draws, *single = shape
    gamma = torch.full((draws,), float(prod(single) + 1), dtype=torch.float64, device=generator.device)
    radius = torch._standard_gamma(gamma, generator=generator) * sigma  # noqa: SLF001
    cube = torch.empty(shape, device=generator.device).uniform_(-1, 1, generator=generator)
    return cube * radius.float().reshape(-1, *(1,) * len(single))


LAWS: dict[str, Callable[[tuple[int, ...], float, torch.Generator], torch.Tensor]] = {
    "gaussian": gaussian,
    "laplace": laplace,
    "exponential": exponential,
}


class DeviceNoise:
    """A mechanism's noise, drawn by torch on a device.

    Parameters
    ----------
    mechanism : Gaussian, Exponential or Laplace
        The noise.
    device : torch.device
        Where.

    Raises
    ------
    ValueError
        If the device's generators do not use all of a seed, or torch cannot draw this mechanism's noise.
    """

    def __init__(self, mechanism: Mechanism, device: torch.device) -> None:
        if device.type not in GENERATORS:
            raise ValueError(f'noise must be "host" where the model is on a {device.type} device, got "device"')
        if not built_in(mechanism) or mechanism.name not in LAWS:
            raise ValueError(f'noise must be "host" for {mechanism!r}: torch draws {", ".join(LAWS)} noise alone')
        self.law, self.parameter, self.device = LAWS[mechanism.name], mechanism.parameter, device

    @property
    def source(self) -> str:
        """What the draws depend on: torch's version and the device."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"torch {torch.__version__}, {name}"

    def noisy(self, draws: Draws) -> torch.Tensor:
        """Return noisy copies of an example: as many as `draws` says, in the example's type."""
        example = draws.example.to(self.device)
        first, last = draws.first // BLOCK, (draws.first + draws.count - 1) // BLOCK
        noise = torch.cat([self.block(draws.key, number, tuple(example.shape)) for number in range(first, last + 1)])
        skipped = draws.first - first * BLOCK
        return example + noise[skipped : skipped + draws.count]

    def block(self, key: np.random.SeedSequence, number: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Return block `number` of the stream `key`."""
        generator = torch.Generator(self.device).manual_seed(torch_seed(child(key, number)))
        return self.law((BLOCK, *shape), self.parameter, generator)
