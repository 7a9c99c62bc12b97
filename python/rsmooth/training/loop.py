"""Training with a mechanism's noise."""

from __future__ import annotations

import csv
import io
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader

from rsmooth._check import integer, positive
from rsmooth._streams import child, sequence_of
from rsmooth.io.files import claimed, write_atomically
from rsmooth.torch.prefetch import prefetch_noise
from rsmooth.training.recipes import Recipe, noisy
from rsmooth.training.step import Step
from rsmooth.zoo.accelerated import Accelerated, precision_type
from rsmooth.zoo.checkpoints import code_fingerprint, model_fingerprint, read_checkpoint
from rsmooth.zoo.data import Augmented, Data
from rsmooth.zoo.networks import check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rsmooth.mechanisms import Mechanism
    from rsmooth.zoo.networks import Model

__all__ = ["Epoch", "Training", "train"]

# What a training's streams are for: the last entry of their spawn keys.
ORDER, NOISE, AUGMENTATION, TESTING = range(4)


@dataclass(frozen=True)
class Training:
    """How weights are fitted: gradient descent, the learning rate divided by 10 after each third of the epochs.

    Attributes
    ----------
    epochs : int
        Passes over the images.
    batch_size : int
        Images in a step.
    learning_rate, momentum, weight_decay : float
        Of the descent; Nesterov's momentum.
    augmentation : str
        What is done to images before noise is added: none, crop-flip or resized-crop-flip.
    precision, channels_last, compile
        As for `rsmooth.zoo.accelerated.Accelerated`.
    """

    epochs: int = 90
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augmentation: str = "none"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        integer("epochs", self.epochs, 1, None)
        integer("batch_size", self.batch_size, 1, None)
        positive("learning_rate", self.learning_rate)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0 <= self.weight_decay < np.inf:
            raise ValueError(f"weight_decay must be a finite number of at least 0, got {self.weight_decay}")
        precision_type(self.precision)


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
    progress: Callable[[int], object] = lambda _: None,
    report: Callable[[Epoch], object] = lambda _: None,
) -> list[Epoch]:
    """Train `model` in place on noisy images, fresh noise in every step.

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
        What is minimised; None is ``Recipe("noisy")``, the cross-entropy of one noisy copy of each image.
    seed : int or numpy.random.SeedSequence
        Names the streams of the noise, the order of the images and their augmentation.
    test : Data or None
        Images to test on after each epoch.
    out : pathlib.Path or None
        A folder for ``checkpoint.pt`` and ``log.csv``, both written after each epoch. A training that it holds with the
        same settings goes on where it stopped, to the same weights as without the stop where the arithmetic is the
        same (that of a processor with the same number of threads is; not every kernel of a GPU).
    device : torch.device or str
        Where to train.
    workers : int
        Processes that read images; 0 reads them in this one.
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
    OSError
        If files cannot be written or another process is training into `out`.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.zoo.data import load_data
    >>> from rsmooth.zoo.networks import build_model
    >>> from rsmooth.training.loop import Training, train
    >>> model = build_model("digits_cnn", 10, seed=0)
    >>> (epoch,) = train(model, load_data("digits", split="train"), Gaussian(0.25), Training(epochs=1), seed=0)
    >>> 0.1 < epoch.accuracy < 0.9
    True
    """
    if not len(data):
        raise ValueError(f"{data.name} has no images to train on")
    root, recipe = sequence_of(seed), recipe or Recipe()
    loop = _Loop(model, data, mechanism, training, recipe, root, test, torch.device(device), workers, progress)
    if out is None:
        return loop.run(None, [], report)
    settings = {
        "arch": model.arch,
        "normalization": model.normalization,
        "weights": model_fingerprint(model),
        "code": code_fingerprint(model),
        "data": data.fingerprint(),
        "mechanism": None if mechanism is None else [mechanism.name, getattr(mechanism, "parameter", None)],
        "seed": [str(root.entropy), *root.spawn_key],
        "recipe": recipe.name,
        **{f"recipe.{name}": value for name, value in recipe.settings.items()},
        **asdict(training),
    }
    with claimed(out):
        return loop.run(out, loop.resume(out / "checkpoint.pt", settings), report, settings)


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
        workers: int,
        progress: Callable[[int], object],
    ) -> None:
        self.model, self.mechanism, self.training, self.recipe, self.test = model, mechanism, training, recipe, test
        self.root, self.device, self.workers, self.progress = root, device, workers, progress
        self.augmented = Augmented(data, training.augmentation, child(self.root, AUGMENTATION))
        image = data[0][0]
        self.shape = tuple(image.shape)
        check_model(model, image, device)
        self.module = model.module.to(device)
        if not any(weight.requires_grad for weight in self.module.parameters()):
            raise ValueError(f"{model.arch} has no weights to train")
        self.network = Accelerated(
            self.module, precision=training.precision, channels_last=training.channels_last, compile_=training.compile
        )
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            nesterov=training.momentum > 0,
        )
        # Only float16 has so few exponents that gradients vanish.
        self.scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "float16")

    def resume(self, file: Path, settings: dict[str, Any]) -> list[Epoch]:
        """Take over what `file` holds, if it exists; return its epochs."""
        if not file.exists():
            return []
        kept = read_checkpoint(file, self.device)
        missing = {"settings", "state_dict", "optimizer", "scaler", "log"} - set(kept if isinstance(kept, dict) else ())
        if missing:
            raise ValueError(f"{file} is not a checkpoint of a training: it lacks {', '.join(sorted(missing))}")
        changed = [name for name, value in settings.items() if kept["settings"].get(name) != value]
        if changed:
            name = changed[0]
            raise ValueError(
                f"{file} holds a training with other settings: {name} is {kept['settings'].get(name)!r} there and "
                f"{settings[name]!r} here; choose another folder or remove it"
            )
        self.module.load_state_dict(kept["state_dict"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        return [Epoch(**each) for each in kept["log"]]

    def run(
        self,
        out: Path | None,
        log: list[Epoch],
        report: Callable[[Epoch], object],
        settings: dict[str, Any] | None = None,
    ) -> list[Epoch]:
        for epoch in log:
            report(epoch)
            self.progress(len(self.augmented))
        for number in range(len(log), self.training.epochs):
            log.append(self.epoch(number))
            if out is not None:
                self.save(out, settings, log)
            report(log[-1])
        return log

    def save(self, out: Path, settings: dict[str, Any] | None, log: list[Epoch]) -> None:
        content = {
            **self.model.checkpoint(),
            "settings": settings,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "log": [asdict(each) for each in log],
        }
        write_atomically(out / "checkpoint.pt", lambda file: torch.save(content, file))
        text = io.StringIO()
        writer = csv.DictWriter(text, asdict(log[0]).keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in log)
        write_atomically(out / "log.csv", lambda file: file.write(text.getvalue().encode()))

    def epoch(self, number: int) -> Epoch:
        started = time.perf_counter()
        rate = self.training.learning_rate * 0.1 ** (3 * number // self.training.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = np.random.default_rng(child(self.root, ORDER, number)).permutation(len(self.augmented))
        loader = self.loader(replace(self.augmented, epoch=number), order.tolist(), child(self.root, ORDER, number, 0))
        self.module.train()
        total = torch.zeros(2, device=self.device)
        for step in self.steps(loader, child(self.root, NOISE), number, self.recipe.copies):
            loss = self.recipe(step)
            self.optimizer.zero_grad()
            torch.autograd.backward(self.scaler.scale(loss))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += self.sums(step, loss)
            self.progress(len(step.labels))
        mean = (total / len(self.augmented)).tolist()
        if not np.isfinite(mean[0]):
            raise ValueError(f"the loss is {mean[0]} in epoch {number + 1}: a lower learning rate may help")
        tested = (None, None) if self.test is None or not len(self.test) else self.tested(self.test)
        return Epoch(number + 1, time.perf_counter() - started, rate, mean[0], mean[1], *tested)

    def tested(self, test: Data) -> tuple[float, float]:
        self.module.eval()
        total = torch.zeros(2, device=self.device)
        with torch.inference_mode():
            loader = self.loader(test, list(range(len(test))), child(self.root, TESTING, 0))
            for step in self.steps(loader, child(self.root, TESTING), 0, 1):
                total += self.sums(step, noisy.loss(step))
        loss, accuracy = (total / len(test)).tolist()
        return loss, accuracy

    def sums(self, step: Step, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss and the number of right predictions, summed over a step's images."""
        right = torch.zeros((), device=self.device) if step.right is None else step.right
        return torch.stack([loss.detach(), right]) * len(step.labels)

    def loader(self, data: Any, order: list[int], seed: np.random.SeedSequence) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
        return DataLoader(
            data,
            batch_sampler=BatchSampler(order, self.training.batch_size, drop_last=False),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            generator=generator,
        )

    def steps(self, loader: DataLoader[Any], seed: np.random.SeedSequence, epoch: int, copies: int) -> Iterator[Step]:
        """Iterate over an epoch's steps, on the device, with noise that is drawn while the step before runs."""
        size, steps = self.training.batch_size, len(loader)
        first = epoch * steps * size
        with self.drawn(seed, first, steps, copies) as draws:
            for number, ((images, labels), noise) in enumerate(zip(loader, draws, strict=False)):
                if labels.max() >= self.model.num_classes:
                    raise ValueError(
                        f"an image is of class {labels.max()}, the model has {self.model.num_classes} classes"
                    )
                yield Step(
                    self.network,
                    images.to(self.device, non_blocking=True),
                    labels.to(self.device, non_blocking=True),
                    self.mechanism,
                    seed,
                    first + number * size,
                    None if noise is None else noise.view(size, copies, *self.shape)[: len(labels)],
                )

    @contextmanager
    def drawn(
        self, seed: np.random.SeedSequence, first: int, steps: int, copies: int
    ) -> Iterator[Iterator[torch.Tensor | None]]:
        """Yield the noise of each step, or Nones, and end the thread that draws it."""
        if self.mechanism is None or not copies:
            yield repeat(None)
            return
        shape = (self.training.batch_size * copies, *self.shape)
        draws = prefetch_noise(self.mechanism, shape, steps, seed=seed, first=first * copies, device=self.device)
        try:
            yield draws
        finally:
            draws.close()  # type: ignore[attr-defined]
