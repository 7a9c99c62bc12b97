"""One thread for torch, no tests that need a CUDA device where there is none, and the runs that several files test."""

import os

# Before torch is imported: the tests' networks are so small that starting threads costs several times their arithmetic.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil

import pytest


def pytest_collection_modifyitems(items):
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return the file of a trained network."""
    import torch

    from rsmooth import Gaussian
    from rsmooth.training.loop import Training, train
    from rsmooth.zoo.data import load_data
    from rsmooth.zoo.networks import build_model

    model = build_model("digits_cnn", 10, seed=1)
    train(model, load_data("digits", split="train"), Gaussian(0.25), Training(epochs=4, batch_size=64), seed=0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.save(model.checkpoint(), path)
    return path


@pytest.fixture(scope="session")
def trained(checkpoint):
    """Return the trained network."""
    from rsmooth.zoo.checkpoints import load_model

    return load_model(str(checkpoint), num_classes=10)


@pytest.fixture
def any_device(monkeypatch):
    """Let torch draw noise on the CPU, whose generators are good enough for tests alone."""
    from rsmooth.torch import device

    monkeypatch.setattr(device, "GENERATORS", {"cuda", "cpu"})


@pytest.fixture(scope="session")
def made(tmp_path_factory, checkpoint, trained):
    """Return the folder of each kind of run."""
    import run_helpers
    from rsmooth.torch import device

    folder = tmp_path_factory.mktemp("runs")
    told = {"model": str(checkpoint), "data": "digits", "split": "test", "root": "data"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "GENERATORS", {"cuda", "cpu"})
        for name, spec in run_helpers.RUNS.items():
            run_helpers.run(folder / name, spec, seed=3, model=trained, told=told)
    return folder


@pytest.fixture
def runs(made, tmp_path):
    """Return copies, which tests may spoil."""
    return shutil.copytree(made, tmp_path / "runs")
