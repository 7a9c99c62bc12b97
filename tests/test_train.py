"""Data sets, models and training."""

import csv

import numpy as np
import pytest
import torch

from rsmooth import Exponential, Gaussian
from rsmooth.training.loop import train
from rsmooth.training.recipes.noisy import Noisy
from rsmooth.training.settings import Training
from rsmooth.training.step import Step
from rsmooth.zoo.augmentation import Augmented
from rsmooth.zoo.checkpoints import code_fingerprint, load_model, model_fingerprint
from rsmooth.zoo.data import Data, NoSplitError, load_data
from rsmooth.zoo.networks import CifarResNet, Model, build_model
from rsmooth.zoo.normalization import NORMALIZATIONS


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
    train(model, data, Gaussian(1e-3), Training(epochs=3, batch_size=4), seed=1)
    seen = model.module[1].seen
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    z = torch.cat(seen)
    z = z - (z.mean(dim=1, keepdim=True) * 9).round() / 9
    assert len(torch.unique(z)) == 120
    assert z.std().item() == pytest.approx(1e-3, rel=0.3)


def test_training_without_noise_is_possible():
    model, data = tiny(np.eye(4), [0, 1, 0, 1])
    train(model, data, None, Training(epochs=200, batch_size=4, learning_rate=1.0), seed=1)
    assert model.module(torch.eye(4)).argmax(dim=1).tolist() == [0, 1, 0, 1]


def test_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    data = Data("few", [load_data("digits", split="train")[i] for i in range(200)], 10)
    training = Training(epochs=4, batch_size=64)

    def run(out, stop_after):
        model = build_model("digits_cnn", 10, seed=0)

        def report(epoch):
            if epoch.epoch == stop_after:
                raise KeyboardInterrupt

        try:
            train(model, data, Gaussian(0.2), training, seed=3, out=out, report=report)
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
    with pytest.raises(ValueError, match="holds a training with other settings: epochs is 4 there and 5 here"):
        train(
            build_model("digits_cnn", 10, seed=0),
            data,
            Gaussian(0.2),
            Training(epochs=5, batch_size=64),
            seed=3,
            out=tmp_path / "parts",
        )


def test_training_learns_from_as_many_copies_as_asked_for():
    model, data = tiny(np.eye(4), [0, 1, 0, 1])
    recipe = Noisy(copies=3)
    train(model, data, Gaussian(0.25), Training(epochs=2, batch_size=3, grid="none"), recipe=recipe, seed=1)
    seen = model.module[1].seen
    assert [len(batch) for batch in seen] == [9, 3, 9, 3]
    noise = torch.cat(seen) - torch.cat(seen).round()
    # Draws are not shared among copies, images, steps or epochs.
    assert len(torch.unique(noise[:, 0])) == len(noise)


def test_noise_drawn_ahead_is_that_drawn_on_demand():
    images, labels = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
    seed = np.random.SeedSequence(3)
    ahead = torch.from_numpy(Exponential(0.1).sample((10, 1, 2, 2), seed=seed, first=2 * 40)).unflatten(0, (5, 2))
    steps = [Step(len, images, labels, Exponential(0.1), seed, 40, noise) for noise in (ahead, None)]
    first, second = (step.noisy(2) for step in steps)
    assert torch.equal(first, second)
    assert torch.equal(second, steps[1].noisy(2))
    assert not torch.equal(steps[0].noisy(3)[:, :2], first)
    assert torch.equal(Step(len, images, labels, None, seed).noisy(2), images[:, None].expand(5, 2, 1, 2, 2))


def test_recipe_is_the_mean_cross_entropy_of_the_copies():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    labels = torch.tensor([0, 2, 1])
    step = Step(model, torch.rand(3, 1, 2, 2), labels, Gaussian(0.5), seed=1)
    loss = Noisy(copies=4).loss(step)
    scores = model(step.noisy(4).reshape(12, 4)).reshape(3, 4, 3)
    expected = torch.stack([-scores[i, j].log_softmax(0)[labels[i]] for i in range(3) for j in range(4)]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    right = [scores[i, j].argmax() == labels[i] for i in range(3) for j in range(4)]
    assert step.right.item() == pytest.approx(np.mean(right))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ValueError, r"epochs must be between 1 and \d+, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, r"batch_size must be between 1 and \d+, got 0"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of sgd, adamw, got 'adam'"),
        ({"schedule": "stairs"}, ValueError, "schedule must be one of steps, cosine, constant, got 'stairs'"),
        ({"milestones": "3,2"}, ValueError, "milestones must be thirds or increasing numbers of epochs, .* got '3,2'"),
        ({"milestones": "0,2"}, ValueError, "milestones must be thirds or increasing"),
        ({"milestones": "2,2"}, ValueError, "milestones must be thirds or increasing"),
        ({"milestones": "2;3"}, ValueError, "milestones must be thirds or increasing"),
        ({"milestones": "2", "schedule": "cosine"}, ValueError, "milestones are of the schedule steps alone, got '2'"),
        ({"ema": 1.0}, ValueError, "ema must be at least 0 and below 1, got 1.0"),
        ({"warm_up": -1}, ValueError, r"warm_up must be between 0 and \d+, got -1"),
        ({"grid": "0"}, ValueError, "grid must be auto, none or an integer from 1 to .*, got '0'"),
    ],
)
def test_training_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        Training(**changes)


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
    with pytest.raises(ValueError, match="does not record how inputs are normalised: pass --normalization"):
        load_model(str(tmp_path / "bare.pt"))
    model = load_model(str(tmp_path / "bare.pt"), normalization="imagenet")
    assert (model.arch, model.num_classes) == ("cifar_resnet20", 10)
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
    with pytest.raises(ValueError, match="cannot be loaded with weights_only=True"):
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


@pytest.mark.parametrize("convert", [torch.from_numpy, np.asarray])
def test_a_source_may_reuse_its_memory(convert):
    """A source that writes every item into one buffer gave the last image under every label."""
    memory = np.zeros((1, 2, 2), np.float32)

    class Source:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            memory[:] = index / 4
            return convert(memory), index

    items = [Data("reused", Source())[i] for i in range(3)]
    assert [image.unique().tolist() for image, _ in items] == [[0.0], [0.25], [0.5]]


@pytest.mark.parametrize("layout", ["npy", "npz"])
def test_images_keep_their_labels(tmp_path, layout):
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 5, 5), np.uint8)
    labels = np.array([5, 3, 1, 0, 2, 4])
    if layout == "npy":
        np.save(tmp_path / "set.npy", images)
        np.save(tmp_path / "set_labels.npy", labels)
    else:
        np.savez(tmp_path / "set.npz", images=images, labels=labels)
    data = load_data(str(tmp_path / f"set.{layout}"))
    found = [(round(float(image[0, 0, 0]) * 255), label) for image, label in (data[i] for i in range(6))]
    assert found == list(enumerate(labels.tolist()))


@pytest.mark.parametrize("wrapped", [False, True])
def test_inputs_are_normalised_exactly_once(tmp_path, wrapped):
    network = CifarResNet(20, 10).eval()
    state = network.state_dict()
    state = {f"1.{name}": value for name, value in state.items()} if wrapped else state
    torch.save({"arch": "cifar_resnet20", "state_dict": state}, tmp_path / "model.pt")
    model = load_model(str(tmp_path / "model.pt"), num_classes=10, normalization=None if wrapped else "cifar10")
    torch.save(model.checkpoint(), tmp_path / "ours.pt")
    ours = load_model(str(tmp_path / "ours.pt"), num_classes=10)
    x = torch.rand(2, 3, 32, 32)
    means, deviations = NORMALIZATIONS["cifar10"]
    by_hand = torch.stack([(x[:, c] - means[c]) / deviations[c] for c in range(3)], dim=1)
    for loaded in (model, ours):
        with torch.inference_mode():
            assert torch.allclose(loaded.module.eval()(x), network(by_hand), atol=1e-5)


def test_code_is_part_of_what_identifies_a_model(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "import torch\n\ndef make(num_classes):\n    return torch.nn.Linear(4, num_classes{})\n"
    found = []
    for number, change in enumerate(("", ", bias=True")):
        (tmp_path / f"own{number}.py").write_text(source.format(change))
        found.append(code_fingerprint(build_model(f"own{number}:make", 2, seed=0)))
    assert found[0] != found[1]
    assert found[0] == code_fingerprint(build_model("own0:make", 2, seed=1))
    assert all(len(each) == 32 for each in found)
    typed = {"__name__": "typed"}
    exec("import torch\nclass Typed(torch.nn.Linear): pass\n", typed)  # noqa: S102
    model = Model(torch.nn.Sequential(typed["Typed"](4, 2)), "digits_cnn", 2, "none")
    assert code_fingerprint(model) == "unknown: Typed has no source"


def test_training_whose_code_changed_is_not_resumed(tmp_path, monkeypatch):
    data = tiny(np.eye(4), [0, 1, 0, 1])[1]
    model = tiny(np.eye(4), [0, 1, 0, 1])[0]
    train(model, data, None, Training(epochs=1, batch_size=4), seed=1, out=tmp_path)
    monkeypatch.setattr("rsmooth.training.kept.code_fingerprint", lambda _: "another")
    model = tiny(np.eye(4), [0, 1, 0, 1])[0]
    with pytest.raises(
        ValueError, match=r"holds a training with other settings: code is '[0-9a-f]{32}' there and 'another'"
    ):
        train(model, data, None, Training(epochs=1, batch_size=4), seed=1, out=tmp_path)
