"""What `rsmooth train` and `rsmooth certify` refuse: each thing by name, and without a run left behind."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from typer.testing import CliRunner

from rsmooth import cli
from rsmooth.zoo.checkpoints import load_model
from rsmooth.zoo.networks import build_model


class Pairs(Dataset):
    """A data set of given items."""

    def __init__(self, items, classes=10):
        self.items, self.classes = items, range(classes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


IMAGE = torch.zeros(1, 8, 8)


def text_images():
    return Pairs([("cat", 0)])


def no_labels():
    return Pairs([(IMAGE,)])


def no_pixels():
    return Pairs([(torch.zeros(1, 0, 8), 0)])


def nan_images():
    return Pairs([(IMAGE * float("nan"), 0)])


def half_labels():
    return Pairs([(IMAGE, 0.5)])


def large_images():
    return Pairs([(torch.zeros(1, 20, 30), 0)])


def far_labels():
    return Pairs([(IMAGE, 10)])


def none_at_all():
    return Pairs([])


def failing():
    raise KeyError("inside")


class Wide(torch.nn.Linear):
    """Returns eleven logits."""

    def __init__(self):
        super().__init__(64, 11)

    def forward(self, x):
        return super().forward(x.flatten(1))


class Unsure(torch.nn.Module):
    """Returns no logits but NaN, and has no weights."""

    def forward(self, x):
        return x.new_full((len(x), 10), float("nan"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a good model and many bad files."""
    folder = tmp_path_factory.mktemp("files")
    good = build_model("digits_cnn", 10, seed=1).checkpoint()
    torch.save(good, folder / "model.pt")
    (folder / "text.pt").write_text("a text")
    (folder / "empty.pt").touch()
    (folder / "half.pt").write_bytes((folder / "model.pt").read_bytes()[:1000])
    (folder / "text.safetensors").write_text("a text")
    for name, change in {
        "numbered": {"state_dict": {1: torch.zeros(1)}},
        "none": {"num_classes": -3},
        "some": {"num_classes": "many"},
        "other": {"arch": "cifar_resnet20"},
        "unknown": {"arch": "perceptron"},
        "code": {"arch": "os:abort"},
        "fewer": {"num_classes": 5},
    }.items():
        torch.save(good | change, folder / f"{name}.pt")
    (folder / "empty.npz").touch()
    (folder / "text.npy").write_text("a text")
    np.savez(folder / "objects.npz", images=np.array([{}]), labels=np.array([1]))
    np.savez(folder / "good.npz", images=np.zeros((5, 1, 8, 8), np.uint8), labels=np.arange(5))
    (folder / "half.npz").write_bytes((folder / "good.npz").read_bytes()[:300])
    np.savez(folder / "other.npz", pictures=np.zeros((5, 1, 8, 8), np.uint8))
    np.savez(folder / "one.npz", images=np.zeros((5, 1, 8, 8), np.uint8), labels=np.zeros(5, int))
    return folder


BOTH = [
    ({"--data": "nothing"}, "data must be digits, cifar10, imagenet, a folder"),
    ({"--data": "empty.npz"}, "empty.npz is not an .npz file of arrays of numbers, or it is damaged"),
    ({"--data": "half.npz"}, "half.npz is not an .npz file of arrays of numbers, or it is damaged"),
    ({"--data": "objects.npz"}, "objects.npz is not an .npz file of arrays of numbers, or it is damaged"),
    ({"--data": "text.npy"}, "text.npy is not a .npy array of numbers, or it is damaged"),
    ({"--data": "other.npz"}, "other.npz has no arrays "),
    ({"--data": "missing.npz"}, "missing.npz"),
    ({"--data": "cifar10", "--root": "."}, "cifar10 is not below"),
    ({"--data": "no.module:name"}, "no.module:name cannot be imported"),
    ({"--data": "test_bad_input_run:failing"}, "test_bad_input_run:failing failed: KeyError: 'inside'"),
    ({"--data": "test_bad_input_run:text_images"}, "images must be tensors, arrays or PIL images, got str"),
    ({"--data": "test_bad_input_run:no_labels"}, "item 0 of test_bad_input_run:no_labels: not enough values"),
    ({"--data": "test_bad_input_run:no_pixels"}, "images must have pixels, got shape (1, 0, 8)"),
    ({"--data": "test_bad_input_run:nan_images"}, "images must be in [0, 1]"),
    ({"--data": "test_bad_input_run:half_labels"}, "classes must be integers of at least 0, got 0.5"),
    ({"--data": "test_bad_input_run:far_labels"}, "is of class 10, the model has 10 classes"),
    ({"--data": "test_bad_input_run:large_images"}, "cannot be run on images of shape (1, 20, 30)"),
    ({"--data": "test_bad_input_run:none_at_all"}, "has no "),
    ({"--model": "text.pt"}, "text.pt cannot be loaded with weights_only=True"),
    ({"--model": "empty.pt"}, "empty.pt cannot be loaded with weights_only=True"),
    ({"--model": "half.pt"}, "half.pt cannot be loaded with weights_only=True"),
    ({"--model": "text.safetensors"}, "text.safetensors is not a safetensors file"),
    ({"--model": "numbered.pt"}, "numbered.pt must hold a state dict"),
    ({"--model": "none.pt"}, "none.pt records num_classes -3; it must be an integer of at least 2"),
    ({"--model": "some.pt"}, "some.pt records num_classes 'many'; it must be an integer"),
    ({"--model": "other.pt"}, "other.pt does not hold the weights of cifar_resnet20 for 10 classes"),
    ({"--model": "unknown.pt"}, "arch must be digits_cnn, cifar_resnet20"),
    ({"--model": "code.pt"}, "code.pt names the architecture 'os:abort', which is code: pass it with --arch to run it"),
    ({"--model": "fewer.pt"}, "fewer.pt does not hold the weights of digits_cnn for 5 classes"),
    ({"--model": "test_bad_input_run:failing"}, "test_bad_input_run:failing failed: KeyError: 'inside'"),
    ({"--model": "test_bad_input_run:Pairs"}, "failed: TypeError: "),
    ({"--model": "test_bad_input_run:Wide"}, "must return logits of shape (1, 10) for one image, got (1, 11)"),
    ({"--model": "test_bad_input_run:Unsure"}, "test_bad_input_run:Unsure returns logits that are not finite"),
    ({"--normalization": "cifar10"}, "records normalization 'none', but 'cifar10' was given"),
    ({"--mechanism": "cauchy"}, "mechanism must be "),
    ({"--sigma": "nan"}, "sigma must be a finite number above 0, got nan"),
    ({"--precision": "int8"}, "precision must be one of float32, bfloat16, float16, got 'int8'"),
    ({"--device": "abacus"}, "device abacus cannot be used: "),
    ({"--device": "meta"}, "device meta cannot be used: "),
]

CERTIFY = [
    ({"--alpha": "0"}, "alpha must be a number above 0 and below 1"),
    ({"--alpha": "nan"}, "alpha must be a number above 0 and below 1"),
    ({"--norm": "3"}, "norm must be 1, 2 or inf, got '3'"),
    ({"--n": "0"}, "n must be "),
    ({"--n0": "-1"}, "n0 must be "),
    ({"--skip": "0"}, "skip must be "),
    ({"--max": "0"}, "max must be "),
    ({"--batch-size": "0"}, "batch_size must be "),
    ({"--bound": "pure-dp"}, 'for the gaussian mechanism, got "pure-dp"'),
    ({"--runner-up": "third"}, 'runner_up must be "second" or "complement", got '),
    ({"--radius": "0"}, "radius must be a finite number above 0, got 0.0"),
    ({"--radius": "nan"}, "radius must be a finite number above 0, got nan"),
    ({"--radius": "9"}, "radius 9 is more than "),
    ({"--preset": "mine"}, "preset must be cohen or paper, got 'mine'"),
    ({"--preset": "cohen", "--bound": "renyi"}, "give --preset cohen or --bound, not both"),
    ({"--sigma": "0"}, "sigma must be a finite number above 0, got 0.0"),
    ({"--noise": "none"}, 'noise must be "host" or "device", got '),
    ({"--noise": "device"}, 'noise must be "host" where the model is on a cpu device'),
    ({"--split": "all"}, "split must be train or test, got 'all'"),
    ({"--classes": "7"}, "model.pt has 10 classes, but --classes 7 was given"),
]

TRAIN = [
    ({"--mechanism": "none"}, "--mechanism none has no sigma, got 0.25"),
    ({"--lr": "nan"}, "learning_rate must be "),
    ({"--momentum": "1"}, "momentum must be at least 0 and below 1, got 1.0"),
    ({"--weight-decay": "nan"}, "weight_decay must be a finite number of at least 0, got nan"),
    ({"--augment": "blur"}, "augmentation must be one of "),
    ({"--model": "digits_cnn", "--data": "one.npz"}, "num_classes must be "),
    ({"--model": "cifar_resnet20", "--data": "digits"}, "images must have 3 channels, got 1"),
]

CASES = [
    *((command, *case) for command in ("train", "certify") for case in BOTH),
    *(("certify", *case) for case in CERTIFY),
    *(("train", *case) for case in TRAIN),
]


@pytest.mark.parametrize(("command", "changes", "words"), CASES, ids=[f"{each[0]} {each[2]}" for each in CASES])
def test_bad_input_is_refused_by_name(  # noqa: PLR0917
    files, tmp_path, monkeypatch, command, changes, words
):
    monkeypatch.chdir(files)
    given = {"--model": "model.pt", "--data": "digits", "--mechanism": "gaussian", "--sigma": "0.25"}
    given |= {"--epochs": "1"} if command == "train" else {"--norm": "2", "--n0": "50", "--n": "300", "--max": "2"}
    given |= {"--out": str(tmp_path / "run"), "--device": "cpu"} | changes
    result = CliRunner().invoke(cli.app, [command, *(part for pair in given.items() for part in pair)])
    assert isinstance(result.exception, (ValueError, OSError)), result.exception
    assert words in str(result.exception)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".jsonl", ".pt")]


def test_code_that_a_checkpoint_names_is_run_where_the_user_names_it_too(files):
    content = torch.load(files / "model.pt", weights_only=True)
    network = Wide()
    content |= {
        "arch": "test_bad_input_run:Wide",
        "num_classes": 11,
        "state_dict": {f"1.{k}": v for k, v in network.state_dict().items()},
    }
    torch.save(content, files / "wide.pt")
    with pytest.raises(ValueError, match="which is code"):
        load_model(str(files / "wide.pt"), num_classes=11)
    assert load_model(str(files / "wide.pt"), num_classes=11, arch="test_bad_input_run:Wide").num_classes == 11
