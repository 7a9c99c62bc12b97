"""Noisy copies of tensors that have a gradient or are on a device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from rsmooth._grid import steps_of
from rsmooth._perturb import draw, laid_out, layout, perturb, plan

if TYPE_CHECKING:
    from rsmooth._streams import Seed
    from rsmooth.mechanisms import Mechanism

__all__ = ["perturb_tensor"]


def perturb_tensor(
    mechanism: Mechanism,
    x: torch.Tensor,
    *,
    copies: int | None,
    seed: Seed,
    first: Any,
    out: Any,
    threads: int | None,
    grid: int | None,
) -> Any:
    """Return what `rsmooth.Mechanism.perturb` does, with the gradient of `x` and on its device."""
    settings = {"copies": copies, "seed": seed, "first": first, "threads": threads, "grid": grid}
    host = x.device.type == "cpu"
    noisy = partial(perturb if host else _on_device, mechanism, out=out, **settings)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return noisy(x.detach())
    if out is not None:
        raise ValueError("out must be None where x requires a gradient")
    return _Noisy.apply(x, noisy, copies)


class _Noisy(torch.autograd.Function):
    """The copies move as the input does: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, noisy: Any, copies: int | None) -> Any:
        ctx.copies = copies
        return noisy(x.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = gradients
        return gradient if ctx.copies is None else gradient.sum(dim=1), None, None


def _on_device(
    mechanism: Mechanism,
    x: torch.Tensor,
    *,
    copies: int | None,
    seed: Seed,
    first: Any,
    out: Any,
    threads: int | None,
    grid: int | None,
) -> Any:
    """Draw noise on the host, in pinned memory, and add it where the input is."""
    shape, each, first = plan(tuple(x.shape), copies, first)
    if grid is not None:
        steps = torch.from_numpy(steps_of("x", x, grid))
        kind = x.dtype if x.is_floating_point() else torch.float32
        host = torch.empty(shape, dtype=kind, pin_memory=x.device.type == "cuda")
        perturb(mechanism, steps, copies=copies, seed=seed, first=first, out=host, threads=threads, grid=grid)
        return _placed(x, host.to(x.device, non_blocking=True), shape, out)
    # The precision that the core adds in.
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    noise = torch.empty(shape, dtype=wide, pin_memory=x.device.type == "cuda")
    into, single = noise.numpy(), tuple(x.shape[1:])
    draw(mechanism, into, single, None, each=each, seed=seed, first=first, fresh=True, threads=threads)
    inputs = x.to(wide) if copies is None else x.to(wide).unsqueeze(1)
    return _placed(x, (inputs + noise.to(x.device, non_blocking=True)).to(x.dtype), shape, out)


def _placed(x: torch.Tensor, noisy: torch.Tensor, shape: tuple[int, ...], out: Any) -> torch.Tensor:
    """Return noisy copies in the layout of `x`, or in `out`."""
    if out is None:
        axes = None if x.is_contiguous() else layout(tuple(x.shape), x.stride())
        if axes is None:
            return noisy
        out = laid_out(noisy.new_empty, shape, axes)
    elif not isinstance(out, torch.Tensor) or (out.shape, out.dtype, out.device) != (shape, noisy.dtype, x.device):
        raise ValueError(f"out must be a tensor of shape {shape} and type {noisy.dtype} on {x.device}")
    placed: torch.Tensor = out.copy_(noisy)
    return placed
