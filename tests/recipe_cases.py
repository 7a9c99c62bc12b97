"""Logits, models and images that tests of recipes share."""

import math

import numpy as np
import torch

from rsmooth import Gaussian

EXAMPLES, COPIES, CLASSES = 5, 3, 4
# Of every kind: right, wrong, nearly sure.
LABELS = np.array([0, 3, 1, 2, 2])


def drawn(seed, copies=COPIES, spread=1.5):
    """Return logits (N copies, K) whose copies agree somewhat and half of whose examples are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(EXAMPLES, 1, CLASSES)) * spread + rng.normal(size=(EXAMPLES, copies, CLASSES))
    logits[np.arange(EXAMPLES)[::2], :, LABELS[::2]] += 3
    return logits.reshape(EXAMPLES * copies, CLASSES)


def labels():
    return torch.from_numpy(LABELS)


def double(logits):
    return torch.from_numpy(logits)


def softmax(row):
    powers = [math.exp(value) for value in row]
    return np.array([power / sum(powers) for power in powers])


def network(seed=0):
    """Return a small network with modules that training and evaluation run differently."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(12, 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.Tanh(),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(32, CLASSES),
        )


def inputs(count=40, copies=8, sigma=0.25, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    # Half of the values are at the ends of the range, as images' often are.
    x = (torch.rand(count, 3, 2, 2, generator=generator) * 2 - 0.5).clamp(0, 1).to(dtype)
    noises = torch.from_numpy(Gaussian(sigma).sample((count, copies, 3, 2, 2), seed=2)).to(dtype)
    y = network().eval()(x.float()).argmax(dim=1)
    return x, y, noises


def length(delta, norm):
    return np.linalg.norm(delta.double().numpy().reshape(len(delta), -1), ord=norm, axis=1)
