"""Training with a mechanism's noise."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules.dropout import _DropoutNd

from rsmooth._grid import asked_grid
from rsmooth._streams import child, sequence_of, torch_seed
from rsmooth.io.files import claimed, write_atomically
from rsmooth.run.workers import joined
from rsmooth.training.average import Average
from rsmooth.training.batches import Batches
from rsmooth.training.kept import kept_training, settings_of
from rsmooth.training.log import Epoch, board, write_log
from rsmooth.training.recipes.noisy import Noisy
from rsmooth.zoo.accelerated import Accelerated
from rsmooth.zoo.augmentation import Augmented
from rsmooth.zoo.networks import check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rsmooth.mechanisms import Mechanism
    from rsmooth.run.workers import Workers
    from rsmooth.training.recipes import Recipe
    from rsmooth.training.settings import Training
    from rsmooth.training.step import Step
    from rsmooth.zoo.data import Data
    from rsmooth.zoo.networks import Model

__all__ = ["train"]

# What a training's streams are for: the last entry of their spawn keys.
ORDER, NOISE, AUGMENTATION, TESTING, NETWORK = range(5)


def train(
    model: Model,
    data: Data,
    mechanism: Mechanism | None,
    training: Training,
    *,
    recipe: Recipe | None = None,
    seed: int | np.random.SeedSequence,
    test: Data | None = None,
    out: Path | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    tensorboard: bool = False,
    progress: Callable[[int], object] = lambda _: None,
    report: Callable[[Epoch], object] = lambda _: None,
) -> list[Epoch]:
    """Train `model` in place on noisy images, fresh noise in every step.

    Processes that torchrun started share each step: every one takes a part of its images, and the gradients are
    averaged over all of them. An image's noise and augmentation are the same for any number of processes. Batch norms
    see each process's own images, and their running statistics are averaged after each epoch.

    Parameters
    ----------
    model : Model
        The model.
    data : Data
        Training images.
    mechanism : Mechanism or None
        The noise; None trains without any.
    training : Training
        How the weights are fitted.
    recipe : Recipe or None
        What is minimised; None is ``Noisy()``, the cross-entropy of one noisy copy of each image.
    seed : int or numpy.random.SeedSequence
        Names the streams of the noise, the order of the images and their augmentation.
    test : Data or None
        Images to test on after each epoch.
    out : pathlib.Path or None
        A folder for ``checkpoint.pt`` and ``log.csv``, both written after each epoch. A training that it holds with the
        same settings goes on where it stopped, to the same weights as without the stop where the arithmetic is the
        same (that of a processor with the same number of threads is, not every kernel of a GPU) and nothing in the
        network but dropout layers draws random numbers. `Training.epochs` may have grown where `Training.extensible`:
        what comes out is what more epochs would have given from the start.
    device : torch.device or str
        Where to train.
    workers : int
        Processes that read images; 0 reads them in this one.
    tensorboard : bool
        Whether to write the numbers of new epochs to TensorBoard's files in `out` too.
    progress : callable
        Called with the number of images in each finished step.
    report : callable
        Called after each epoch, for those of an earlier start too.

    Returns
    -------
    list of Epoch
        All epochs.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed, the training in `out` has other settings, or the loss is not
        finite; the message says which.
    TypeError
        If `recipe` is no dataclass of settings, which resumption needs.
    OSError
        If files cannot be written, another process is training into `out`, or one that shares the training has ended.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.zoo.data import load_data
    >>> from rsmooth.zoo.networks import build_model
    >>> from rsmooth.training.loop import train
    >>> from rsmooth.training.settings import Training
    >>> model = build_model("digits_cnn", 10, seed=0)
    >>> (epoch,) = train(model, load_data("digits", split="train"), Gaussian(0.25), Training(epochs=1), seed=0)
    >>> 0.1 < epoch.accuracy < 0.9
    True
    """
    if not len(data):
        raise ValueError(f"{data.name} has no images to train on")
    if tensorboard and out is None:
        raise ValueError("tensorboard needs out, the folder that it writes to")
    root, recipe, device = sequence_of(seed), Noisy() if recipe is None else recipe, torch.device(device)
    training = _settled(training, data, mechanism)
    with joined(device) as shared, ExitStack() as claims:
        settings = {} if out is None else settings_of(model, data, mechanism, training, recipe, root)
        loop = _Loop(model, data, mechanism, training, recipe, root, test, device, workers, progress, shared)
        if out is None:
            return loop.run([], report, lambda _: None)
        if shared.rank == 0:
            claims.enter_context(claimed(out))
        kept = shared.first(lambda: kept_training(out / "checkpoint.pt", settings, training))
        log = [] if kept is None else loop.resume(kept)
        show = board(out / "tensorboard") if tensorboard and shared.rank == 0 else None

        def save(log: list[Epoch]) -> None:
            if shared.rank == 0:
                loop.save(out, settings, log)
                if show is not None:
                    show(log[-1])

        return loop.run(log, report, save)


def _settled(training: Training, data: Data, mechanism: Mechanism | None) -> Training:
    """Return the settings with what the data decides: augmentation and grid."""
    augmentation = data.augmentation if training.augmentation is None else training.augmentation
    grid, dim = training.grid, data[0][0].numel()
    if mechanism is None:
        if grid not in ("auto", "none"):
            raise ValueError(f"grid must be auto or none without noise, got {grid}")
        grid = "none"
    elif grid == "auto":
        # A mechanism of one's own may have no one number that says how wide it is.
        known = mechanism.parameter
        grid = "none" if known is None else data.usual_grid(mechanism, known, dim)
    elif (steps := asked_grid(grid)) is not None:
        mechanism.noise_error(dim, steps)
    return replace(training, augmentation=augmentation, grid=grid)


class _Loop:
    def __init__(  # noqa: PLR0917
        self,
        model: Model,
        data: Data,
        mechanism: Mechanism | None,
        training: Training,
        recipe: Recipe,
        root: np.random.SeedSequence,
        test: Data | None,
        device: torch.device,
        readers: int,
        progress: Callable[[int], object],
        workers: Workers,
    ) -> None:
        self.model, self.training, self.recipe, self.test = model, training, recipe, test
        self.root, self.device, self.workers, self.progress = root, device, workers, progress
        self.augmented = Augmented(data, training.augmentation or "none", child(self.root, AUGMENTATION))
        check_model(model, data[0][0], device)
        self.module = model.module.to(device)
        if not any(weight.requires_grad for weight in self.module.parameters()):
            raise ValueError(f"{model.arch} has no weights to train")
        # Fresh weights need not be the same everywhere.
        self.module.load_state_dict(workers.first(lambda: _on_host(self.module.state_dict())))
        network = Accelerated(
            self.module, precision=training.precision, channels_last=training.channels_last, compile_=training.compile
        )
        self.batches = Batches(
            model, network, mechanism, asked_grid(training.grid), training.batch_size, device, workers, readers
        )
        self.optimizer = _optimizer(self.module, training)
        # Only float16 has so few exponents that gradients vanish.
        self.scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "float16")
        self.average = Average(self.module, training.ema) if training.ema else None

    def resume(self, kept: dict[str, Any]) -> list[Epoch]:
        """Take over what a checkpoint holds; return its epochs."""
        self.module.load_state_dict(kept["state_dict"])
        if self.average is not None:
            self.average = Average(self.module, self.training.ema)
            self.module.load_state_dict(kept["descent"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        return [Epoch(**each) for each in kept["log"]]

    def run(
        self, log: list[Epoch], report: Callable[[Epoch], object], save: Callable[[list[Epoch]], object]
    ) -> list[Epoch]:
        for epoch in log:
            report(epoch)
            self.progress(len(self.augmented))
        for number in range(len(log), self.training.epochs):
            log.append(self.epoch(number))
            save(log)
            report(log[-1])
        if self.average is not None:
            self.average.swap()
        return log

    def save(self, out: Path, settings: dict[str, Any], log: list[Epoch]) -> None:
        content = {
            "settings": settings,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "log": [asdict(each) for each in log],
        }
        if self.average is not None:
            content["descent"] = {name: value.clone() for name, value in self.module.state_dict().items()}
        with self.averaged():
            content |= self.model.checkpoint()
            write_atomically(out / "checkpoint.pt", lambda file: torch.save(content, file))
        write_log(out / "log.csv", log)

    def averaged(self) -> Any:
        """Return a context in which the network has the weights that are tested and kept."""
        return nullcontext() if self.average is None else self.average.swapped()

    def epoch(self, number: int) -> Epoch:
        started = time.perf_counter()
        rate = self.training.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = np.random.default_rng(child(self.root, ORDER, number)).permutation(len(self.augmented)).tolist()
        self.module.train()
        total = torch.zeros(2, device=self.device)
        steps = self.batches.steps(
            replace(self.augmented, epoch=number),
            order,
            epoch=number,
            copies=self.recipe.copies,
            noise=child(self.root, NOISE),
            readers_seed=torch_seed(child(self.root, ORDER, number, 0)),
        )
        with self.seeded(child(self.root, NETWORK, number, self.workers.rank)):
            for done, (whole, step) in enumerate(steps, number * -(-len(order) // self.training.batch_size)):
                self.optimizer.zero_grad()
                if step is not None:
                    loss = self.recipe.loss(step)
                    torch.autograd.backward(self.scaler.scale(loss))
                    total += self.sums(step, loss)
                self.share_gradients(0 if step is None else len(step.labels) / whole)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                if self.average is not None:
                    self.average.update(done)
                self.progress(whole)
        self.share_statistics()
        self.workers.sum(total)
        mean = (total / len(self.augmented)).tolist()
        if not np.isfinite(mean[0]):
            raise ValueError(f"the loss is {mean[0]} in epoch {number + 1}: a lower learning rate may help")
        tested = (None, None) if self.test is None or not len(self.test) else self.tested(self.test)
        return Epoch(number + 1, time.perf_counter() - started, rate, mean[0], mean[1], *tested)

    @contextmanager
    def seeded(self, seed: np.random.SeedSequence) -> Iterator[None]:
        """Have torch's own generators, which dropout draws from, in a state that depends on the seed alone."""
        # Other threads may watch them: they are left alone where no layer draws.
        if not any(isinstance(each, _DropoutNd) or hasattr(each, "dropout") for each in self.module.modules()):
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(torch_seed(seed))
            yield

    def share_gradients(self, share: float) -> None:
        """Replace the gradients by those of the whole batch, of which this process has a share."""
        if self.workers.count == 1:
            return
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        for weight in weights:
            # Of a weight that a loss does not depend on, or where this process has no images.
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad.mul_(share)
        flat = torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])
        self.workers.sum(flat)
        for weight, part in zip(weights, torch.split(flat, [weight.numel() for weight in weights]), strict=True):
            weight.grad = part.view_as(weight)

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Average batch norms' running statistics over the processes."""
        if self.workers.count == 1:
            return
        own = self.module.state_dict()
        learned = {name for name, _ in self.module.named_parameters()}
        for values in [own] if self.average is None else [own, self.average.values]:
            for name, value in values.items():
                if name not in learned and value.is_floating_point():
                    self.workers.sum(value)
                    value.div_(self.workers.count)

    def tested(self, test: Data) -> tuple[float, float]:
        self.module.eval()
        total = torch.zeros(2, device=self.device)
        noise, recipe = child(self.root, TESTING), Noisy()
        seed = torch_seed(child(self.root, TESTING, 0))
        steps = self.batches.steps(test, list(range(len(test))), epoch=0, copies=1, noise=noise, readers_seed=seed)
        # Not torch.inference_mode: the thread that draws noise writes into tensors that are made here.
        with self.averaged(), torch.no_grad():
            for _, step in steps:
                if step is not None:
                    total += self.sums(step, recipe.loss(step))
        self.workers.sum(total)
        loss, accuracy = (total / len(test)).tolist()
        return loss, accuracy

    def sums(self, step: Step, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss and the number of right predictions, summed over a step's images."""
        right = torch.zeros((), device=self.device) if step.right is None else step.right
        return torch.stack([loss.detach(), right]) * len(step.labels)


def _optimizer(module: torch.nn.Module, training: Training) -> torch.optim.Optimizer:
    if training.optimizer == "adamw":
        return torch.optim.AdamW(
            module.parameters(),
            lr=training.learning_rate,
            betas=(training.momentum, 0.999),
            weight_decay=training.weight_decay,
        )
    return torch.optim.SGD(
        module.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.momentum > 0,
    )


def _on_host(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in state.items()}
