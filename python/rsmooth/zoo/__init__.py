"""Networks, checkpoints, data sets and denoisers by name."""

from rsmooth.zoo.denoisers import Diffusion, denoised

__all__ = ["Diffusion", "denoised"]
