"""A certification run beside its model's bare forwards, and beside the loop that is the field's custom."""

import numpy as np
import pytest
import torch

from ratios import ratio
from rsmooth.run.certify import certify
from rsmooth.run.spec import Spec
from rsmooth.torch.voter import Voter
from rsmooth.zoo.data import Data
from rsmooth.zoo.networks import build_model

SIGMA, EXAMPLES, N0, N, SIZE = 0.25, 4, 100, 1900, 250
DRAWS = EXAMPLES * (N0 + N)

ratio("certify, ResNet-20", "the model's bare forwards", ours="certify", theirs="forwards", at_least=0.95)
ratio("certify, ResNet-20, exact", "the same in floating point", ours="certify-exact", theirs="certify", at_least=1)
ratio("certify, ResNet-20", "torch noise and a loop over votes", ours="certify", theirs="loop", at_least=1)


@pytest.fixture(scope="module")
def model():
    model = build_model("cifar_resnet20", 10, seed=0)
    model.module.eval()
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (EXAMPLES, 3, 32, 32)).astype(np.float32) / 255)
    return Data("random", [(image, 0) for image in images], 10)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    # A start checks that the model is a function of its row, once, whatever the number of draws.
    monkeypatch.setattr(Voter, "check_rows", lambda *_: None)
    return (tmp_path / str(i) for i in range(1000))


@pytest.mark.parametrize("case", [("certify", "none"), ("certify-exact", "255")], ids=lambda case: case[0])
def test_certify(timed, model, data, runs, case):
    name, grid = case
    spec = Spec("gaussian", SIGMA, norm=2, n0=N0, n=N, batch_size=SIZE, grid=grid)
    timed(name, lambda: certify(next(runs), model, data, spec, seed=0), rounds=5)


def test_forwards(timed, model):
    batch = torch.rand(SIZE, 3, 32, 32)

    def forwards():
        with torch.inference_mode():
            for _ in range(DRAWS // SIZE):
                model.module(batch)

    timed("forwards", forwards, rounds=5)


def test_loop(timed, model, data):
    def loop():
        for image, _ in data.source:
            counts = np.zeros(10, int)
            with torch.no_grad():
                for _ in range((N0 + N) // SIZE):
                    batch = image.repeat(SIZE, 1, 1, 1)
                    votes = model.module(batch + torch.randn_like(batch) * SIGMA).argmax(1)
                    for vote in votes.numpy():
                        counts[vote] += 1

    timed("loop", loop, rounds=5)
