"""Data sets, models and training."""

import csv

import numpy as np
import pytest
import torch

from rsmooth import Gaussian
from rsmooth.training.loop import Recipe, train
from rsmooth.zoo.checkpoints import load_model, model_fingerprint
from rsmooth.zoo.data import Augmented, Data, NoSplitError, load_data
from rsmooth.zoo.networks import CifarResNet, build_model


class Tiny(torch.nn.Linear):
    """A network whose inputs are kept."""

    def __init__(self, num_classes=2):
        super().__init__(4, num_classes)
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().flatten(1).clone())
        return super().forward(x.flatten(1))


def tiny(images, labels):
    pairs = [(torch.tensor(image, dtype=torch.float32), label) for image, label in zip(images, labels, strict=True)]
    return build_model("test_train:Tiny", 2, seed=0), Data("tiny", pairs, 2)


def test_digits_are_split_without_overlap_and_evenly():
    parts = [load_data("digits", split=split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [1437, 360]
    labels = [np.bincount([label for _, label in (part[i] for i in range(len(part)))]) for part in parts]
    assert abs(labels[1] / (labels[0] + labels[1]) - 0.2).max() < 0.01


def test_weights_depend_on_the_seed_alone():
    state = torch.random.get_rng_state()
    one, same, other = (model_fingerprint(build_model("digits_cnn", 10, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert one == same != other


def test_training_adds_fresh_noise_to_every_image():
    images = np.repeat(np.linspace(0, 1, 10, dtype=np.float32)[:, None], 4, axis=1)
    model, data = tiny(images, [0] * 10)
    train(model, data, Gaussian(1e-3), Recipe(epochs=3, batch_size=4), seed=1)
    seen = model.module[1].seen
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    z = torch.cat(seen)
    z = z - (z.mean(dim=1, keepdim=True) * 9).round() / 9
    assert len(torch.unique(z)) == 120
    assert z.std().item() == pytest.approx(1e-3, rel=0.3)


def test_training_without_noise_is_possible():
    model, data = tiny(np.eye(4), [0, 1, 0, 1])
    train(model, data, None, Recipe(epochs=200, batch_size=4, learning_rate=1.0), seed=1)
    assert model.module(torch.eye(4)).argmax(dim=1).tolist() == [0, 1, 0, 1]


def test_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    data = Data("few", [load_data("digits", split="train")[i] for i in range(200)], 10)
    recipe = Recipe(epochs=4, batch_size=64)

    def run(out, stop_after):
        model = build_model("digits_cnn", 10, seed=0)

        def report(epoch):
            if epoch.epoch == stop_after:
                raise KeyboardInterrupt

        try:
            train(model, data, Gaussian(0.2), recipe, seed=3, out=out, report=report)
        except KeyboardInterrupt:
            return None
        return model_fingerprint(model)

    whole = run(tmp_path / "whole", None)
    assert run(tmp_path / "parts", 2) is None
    assert run(tmp_path / "parts", None) == whole
    with (tmp_path / "parts" / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    loaded = load_model(str(tmp_path / "parts" / "checkpoint.pt"), num_classes=10)
    assert model_fingerprint(loaded) == whole
    with pytest.raises(ValueError, match="is a training with other settings: epochs 4 there, 5 here"):
        train(
            build_model("digits_cnn", 10, seed=0),
            data,
            Gaussian(0.2),
            Recipe(epochs=5, batch_size=64),
            seed=3,
            out=tmp_path / "parts",
        )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"precision": "int4"}, ValueError, "precision must be one of float32, bfloat16, float16, got 'int4'"),
    ],
)
def test_training_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        Recipe(**changes)


def test_checkpoints_of_other_projects_load_as_they_are(tmp_path):
    network = CifarResNet(20, 10)
    # As torch.nn.DataParallel and a normalisation without weights leave them.
    state = {f"1.module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 90, "arch": "cifar_resnet20", "state_dict": state}, tmp_path / "theirs.pth.tar")
    model = load_model(str(tmp_path / "theirs.pth.tar"), num_classes=10)
    assert (model.arch, model.normalization) == ("cifar_resnet20", "cifar10")
    assert all(torch.equal(model.module[1].state_dict()[name], value) for name, value in network.state_dict().items())
    bare = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save(bare, tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="does not name its architecture: give it with --arch"):
        load_model(str(tmp_path / "bare.pt"), num_classes=10)
    with pytest.raises(ValueError, match="does not say how its network's inputs are normalised"):
        load_model(str(tmp_path / "bare.pt"), num_classes=10, arch="cifar_resnet20")
    model = load_model(str(tmp_path / "bare.pt"), num_classes=10, arch="cifar_resnet20", normalization="imagenet")
    assert model.normalization == "imagenet"
    with pytest.raises(ValueError, match="does not hold the weights of cifar_resnet56 for 10 classes"):
        load_model(
            str(tmp_path / "theirs.pth.tar").replace("theirs.pth.tar", "bare.pt"),
            num_classes=10,
            arch="cifar_resnet56",
            normalization="none",
        )


def test_checkpoints_run_nothing(tmp_path):
    class Harmful:
        def __reduce__(self):
            return print, ("harm",)

    torch.save({"state_dict": Harmful()}, tmp_path / "harmful.pt")
    with pytest.raises(ValueError, match="no checkpoint that torch loads with weights_only=True"):
        load_model(str(tmp_path / "harmful.pt"), num_classes=10)


def test_arrays_of_both_layouts_are_the_same_images(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "last.npz", images=images, labels=np.arange(5))
    np.savez(tmp_path / "first.npz", test_images=images.transpose(0, 3, 1, 2), test_labels=np.arange(5))
    last, first = load_data(str(tmp_path / "last.npz")), load_data(str(tmp_path / "first.npz"))
    assert all(torch.equal(last[i][0], first[i][0]) and last[i][1] == i for i in range(5))
    assert last.fingerprint() == first.fingerprint()
    assert torch.equal(last[2][0], torch.from_numpy(images[2]).permute(2, 0, 1).float() / 255)
    with pytest.raises(NoSplitError, match="has no arrays train_images and train_labels"):
        load_data(str(tmp_path / "first.npz"), split="train")


def test_images_outside_the_unit_interval_are_refused():
    data = Data("bad", [(torch.zeros(1, 2, 2), 0), (torch.full((1, 2, 2), 2.0), 0)])
    with pytest.raises(ValueError, match=r"item 1 of bad: images must be in \[0, 1\], got values from 2 to 2"):
        data[1]


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    data = Data("x", [(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(i)), i) for i in range(4)])
    seed = np.random.SeedSequence(1)
    state = torch.random.get_rng_state()
    first = [Augmented(data, "crop-flip", seed)[i][0] for i in range(4)]
    again = [Augmented(data, "crop-flip", seed)[i][0] for i in (3, 2, 1, 0)][::-1]
    other = [Augmented(data, "crop-flip", seed, epoch=1)[i][0] for i in range(4)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
