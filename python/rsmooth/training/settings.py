"""How weights are fitted: the settings of a training, which the command's options and the check on resuming are too."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsmooth._check import positive
from rsmooth._grid import asked_grid
from rsmooth._settings import check_fields, setting

__all__ = ["Training", "warmed_up"]

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("steps", "cosine", "constant")


@dataclass(frozen=True)
class Training:
    """How weights are fitted.

    Attributes
    ----------
    epochs : int
        Passes over the images.
    batch_size : int
        Images in a step. Their noisy copies do not count: a step of a recipe with m copies runs the model on m times as
        many, and an epoch has as many steps as with one copy.
    optimizer : str
        sgd (Nesterov's) or adamw.
    learning_rate, momentum, weight_decay : float
        Of the optimizer; `momentum` is AdamW's first β.
    schedule : str
        How the learning rate falls: steps (to a tenth after each of the milestones), cosine (along half a wave, to 0 at
        the end) or constant. It changes between epochs.
    milestones : str
        When steps go down: ``thirds`` of the epochs, or the numbers of epochs after which they do, as ``50,100``.
    warm_up : int
        Epochs in which the rate rises in equal parts to its value.
    ema : float
        Decay of a moving average of the weights and of batch norms' statistics, which is then what is tested and kept;
        0 is none. After n steps it is at most (1 + n) / (10 + n), so that a short training forgets where it began.
    augmentation : str or None
        What is done to images before noise is added: none, crop-flip or resized-crop-flip; None is what the data set
        names.
    grid : str
        Steps in 1 of exact noise, ``none`` for noise in floating point, or ``auto``: that of `rsmooth certify`, where
        the images are on a grid. Exact noise, divided by the grid, is added to whatever augmentation made of an image.
    precision, channels_last, compile
        As for `rsmooth.zoo.accelerated.Accelerated`.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If a value is not allowed.

    Examples
    --------
    >>> from rsmooth.training.settings import Training
    >>> training = Training(epochs=6, schedule="steps", milestones="2,4")
    >>> [round(training.rate(epoch), 6) for epoch in range(6)]
    [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    """

    epochs: int = setting("Passes over the images.", default=90)
    batch_size: int = setting("Images in a step, however many copies of each there are.", default=256)
    optimizer: str = setting("sgd or adamw.", default="sgd")
    learning_rate: float = setting("At first: 0.1 suits sgd, 0.001 adamw.", default=0.1, flags=("--lr",))
    momentum: float = setting("Nesterov's; adamw's first beta.", default=0.9)
    weight_decay: float = setting("Of the optimizer.", default=1e-4)
    schedule: str = setting(
        "steps (a tenth after each milestone), cosine (to 0 at the end) or constant.", default="steps"
    )
    milestones: str = setting("Epochs after which steps go down, as 50,100; or thirds of all.", default="thirds")
    warm_up: int = setting(
        "Epochs in which the learning rate rises to its value.", default=0, flags=("--lr-warm-up",), least=0
    )
    ema: float = setting("Decay of a moving average of the weights, tested and kept instead; 0 is none.", default=0.0)
    augmentation: str | None = setting(
        "none, crop-flip or resized-crop-flip; by data set if left out.", default=None, flags=("--augment",)
    )
    grid: str = setting("Exact noise in steps of 1/grid: a number, none, or auto: for 8-bit images.", default="auto")
    precision: str = setting("float32, or bfloat16 or float16 for mixed precision.", default="float32")
    channels_last: bool = setting("Memory layout; often faster.", default=False)
    compile: bool = setting("Compile the network first.", default=False)

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self)
        positive("learning_rate", self.learning_rate)
        for name in ("momentum", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a finite number of at least 0, got {self.weight_decay}")
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.milestones != "thirds":
            if self.schedule != "steps":
                raise ValueError(f"milestones are of the schedule steps alone, got {self.milestones!r}")
            words = self.milestones.split(",")
            whole = all(word.isdecimal() for word in words)
            if not whole or sorted(set(self.drops)) != self.drops or not self.drops[0]:
                raise ValueError(
                    f"milestones must be thirds or increasing numbers of epochs, as 50,100, got {self.milestones!r}"
                )
        asked_grid(self.grid)

    @property
    def drops(self) -> list[int]:
        """After how many epochs the rate falls to a tenth, where the milestones are numbers."""
        return [] if self.milestones == "thirds" else [int(word) for word in self.milestones.split(",")]

    @property
    def extensible(self) -> bool:
        """Whether no epoch's rate depends on how many there are, so that a finished training can be given more."""
        return self.schedule == "constant" or (self.schedule == "steps" and self.milestones != "thirds")

    def rate(self, epoch: int) -> float:
        """Return the learning rate in an epoch.

        Parameters
        ----------
        epoch : int
            Its number, from 0.

        Returns
        -------
        float
            The rate.
        """
        rate = warmed_up(self.learning_rate, epoch, self.warm_up)
        if self.schedule == "cosine":
            return rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        if self.schedule == "constant":
            return rate
        thirds = self.milestones == "thirds"
        falls = 3 * epoch // self.epochs if thirds else sum(epoch >= each for each in self.drops)
        return rate * float(0.1**falls)


def warmed_up(value: float, epoch: int, over: int) -> float:
    """Return `value` in epoch number `epoch` (from 0), to which it rises in equal parts over the first `over` epochs.

    Parameters
    ----------
    value : float
        What it rises to.
    epoch, over : int
        The epoch, and how many it takes; 0 is none.

    Returns
    -------
    float
        Its value in this epoch.

    Examples
    --------
    >>> from rsmooth.training.settings import warmed_up
    >>> [warmed_up(1.0, epoch, 4) for epoch in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return value * min(1.0, (epoch + 1) / over) if over else value
