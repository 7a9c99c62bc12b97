"""Trainings: rates, averages, exact noise, resumption, and the same training shared by processes."""

import json
import math
import sys
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import Exponential, Gaussian, cli
from rsmooth._settings import check_fields, setting
from rsmooth.run.workers import Workers
from rsmooth.training.average import Average
from rsmooth.training.batches import Batches
from rsmooth.training.log import read_log
from rsmooth.training.loop import train
from rsmooth.training.recipes import RECIPES, recipe_type
from rsmooth.training.recipes.noisy import Noisy
from rsmooth.training.recipes.smoothadv import SmoothAdv
from rsmooth.training.settings import Training
from rsmooth.training.step import Step
from rsmooth.zoo.checkpoints import load_model, model_fingerprint
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model
from run_helpers import child, free_port


@cache
def few(count=96):
    digits = load_data("digits", split="train")
    return Data("few", [digits[i] for i in range(count)], 10, levels=16)


def rates(**settings):
    training = Training(**settings)
    return [training.rate(epoch) for epoch in range(training.epochs)]


def test_rates_are_their_formulas():
    assert rates(epochs=6) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rates(epochs=5, milestones="1,4", learning_rate=2.0) == pytest.approx([2, 0.2, 0.2, 0.2, 0.02])
    assert rates(epochs=4, schedule="cosine", learning_rate=1.0) == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    )
    assert rates(epochs=4, schedule="constant", warm_up=3, learning_rate=3.0) == pytest.approx([1, 2, 3, 3])


def test_average_is_that_of_all_steps():
    module = torch.nn.BatchNorm1d(1)
    average = Average(module, 0.9)
    wanted = module.weight.item()
    for step in range(30):
        with torch.no_grad():
            module.weight.fill_(step)
            module.running_mean.fill_(step)
            module.num_batches_tracked.fill_(step)
        average.update(step)
        keep = min(0.9, (1 + step) / (10 + step))
        wanted = keep * wanted + (1 - keep) * step
    with average.swapped():
        assert module.weight.item() == pytest.approx(wanted, rel=1e-5)
        assert module.num_batches_tracked.item() == 29
        assert module.running_mean.item() < 29
    assert module.weight.item() == 29


def test_average_is_what_is_tested_and_kept(tmp_path):
    def run(out, **settings):
        model = build_model("digits_cnn", 10, seed=0)
        log = train(
            model, few(), None, Training(epochs=3, batch_size=16, **settings), seed=1, test=few(), out=tmp_path / out
        )
        return model_fingerprint(model), log[-1]

    plain, last = run("plain")
    averaged, other = run("averaged", ema=0.95)
    assert plain != averaged
    # The descent is the same.
    assert (last.loss, last.accuracy) == (other.loss, other.accuracy)
    assert last.test_loss != other.test_loss
    kept = load_model(str(tmp_path / "averaged" / "checkpoint.pt"), num_classes=10)
    assert model_fingerprint(kept) == averaged
    kept.module.eval()
    images, labels = (torch.stack(each) for each in zip(*[(x, torch.tensor(y)) for x, y in few()], strict=True))
    loss = torch.nn.functional.cross_entropy(kept.module(images), labels)
    assert loss.item() == pytest.approx(other.test_loss, rel=1e-4)
    descent = torch.load(tmp_path / "averaged" / "checkpoint.pt", weights_only=True)["descent"]
    kept.module.load_state_dict(descent)
    assert model_fingerprint(kept) == plain


@dataclass(frozen=True)
class Watching:
    """A recipe that keeps what it is shown."""

    name: ClassVar[str] = "watching"
    copies: int = setting("Noisy copies.", default=2)
    seen: ClassVar[list] = []

    def __post_init__(self):
        check_fields(self)

    def loss(self, step):
        self.seen.append((step.images.clone(), step.noisy(self.copies).detach().clone(), step.epoch, step.first))
        return Noisy(copies=self.copies).loss(step)


@pytest.fixture
def watched():
    Watching.seen.clear()
    return Watching()


@pytest.mark.parametrize("mechanism", [Gaussian(0.25), Exponential(0.01)], ids=["gaussian", "exponential"])
def test_noise_is_exact_on_the_grid_of_the_images(watched, mechanism):
    train(build_model("digits_cnn", 10, seed=0), few(8), mechanism, Training(1, 8), recipe=watched, seed=1)
    grid = int(few().usual_grid(mechanism, mechanism.parameter, 64))
    images, noisy, _, _ = watched.seen[0]
    steps = (noisy - images[:, None]) * grid
    assert (steps - steps.round()).abs().max() < 0.01
    assert steps.abs().max() > 1
    # As the certificate's own noise is added.
    exact = mechanism.sample((16, 1, 8, 8), seed=np.random.SeedSequence(1, spawn_key=(1,)), grid=grid)
    assert np.array_equal(steps.round().numpy().reshape(exact.shape), exact)


def test_noise_of_images_off_the_grid_is_what_is_asked_for(watched):
    generator = torch.Generator().manual_seed(0)
    data = Data("off", [(torch.rand(1, 8, 8, generator=generator), 0) for _ in range(4)], 10)
    for asked, exact in (("auto", False), ("none", False), ("255", True)):
        Watching.seen.clear()
        model = build_model("digits_cnn", 10, seed=0)
        train(model, data, Gaussian(0.25), Training(1, 4, grid=asked), recipe=watched, seed=1)
        images, noisy, _, _ = watched.seen[0]
        steps = (noisy - images[:, None]) * 255
        assert bool((steps - steps.round()).abs().max() < 0.01) == exact


def test_noise_on_a_grid_drawn_ahead_is_that_drawn_on_demand(watched):
    train(build_model("digits_cnn", 10, seed=0), few(10), Gaussian(0.25), Training(2, 4), recipe=watched, seed=1)
    assert [(epoch, first) for _, _, epoch, first in watched.seen] == [
        (0, 0),
        (0, 4),
        (0, 8),
        (1, 12),
        (1, 16),
        (1, 20),
    ]
    for images, noisy, epoch, first in watched.seen:
        seed = np.random.SeedSequence(1, spawn_key=(1,))
        step = Step(len, images, None, Gaussian(0.25), seed, first, epoch, 16)
        assert torch.equal(step.noisy(2), noisy)


def test_grids_that_a_mechanism_has_no_noise_on_are_refused():
    with pytest.raises(ValueError, match="grid must be auto or none without noise, got 255"):
        train(build_model("digits_cnn", 10), few(4), None, Training(1, grid="255"), seed=1)
    with pytest.raises(ValueError, match=r"sigma must be between .* on a grid of 1"):
        train(build_model("digits_cnn", 10), few(4), Gaussian(1e-9), Training(1, grid="1"), seed=1)


CASES = {
    "attack": (SmoothAdv(2, math.inf, 0.05, 2, 3), {"ema": 0.9, "schedule": "cosine", "warm_up": 2}),
    "adamw": (Noisy(), {"optimizer": "adamw", "learning_rate": 0.001, "milestones": "1,2"}),
    "bfloat16": (Noisy(), {"precision": "bfloat16", "schedule": "constant"}),
}


class Dropped(torch.nn.Sequential):
    """A network whose training draws torch's random numbers."""

    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.BatchNorm1d(10), torch.nn.Dropout(0.2))


def run_to(out, epochs, training, recipe, *, stop_after=None):
    model = build_model("test_training:Dropped", 10, seed=0)

    def report(epoch):
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    settings = {"epochs": epochs, "batch_size": 32, **training}
    try:
        train(model, few(), Gaussian(0.2), Training(**settings), recipe=recipe, seed=3, out=out, report=report)
    except KeyboardInterrupt:
        return None
    return model_fingerprint(model)


@pytest.mark.parametrize("case", CASES)
def test_interrupted_trainings_go_on_to_the_same_bits(tmp_path, case):
    recipe, training = CASES[case]
    torch.manual_seed(1)
    whole = run_to(tmp_path / "whole", 4, training, recipe)
    assert run_to(tmp_path / "parts", 4, training, recipe, stop_after=1) is None
    # Whatever else the process does with torch's generator.
    torch.manual_seed(2)
    assert run_to(tmp_path / "parts", 4, training, recipe, stop_after=3) is None
    assert run_to(tmp_path / "parts", 4, training, recipe) == whole
    assert run_to(tmp_path / "parts", 4, training, recipe) == whole


@pytest.mark.parametrize("training", [{"schedule": "constant", "ema": 0.9}, {"milestones": "1,3", "warm_up": 2}])
def test_finished_training_is_extended_as_if_asked_for_at_once(tmp_path, training):
    whole = run_to(tmp_path / "whole", 4, training, Noisy())
    run_to(tmp_path / "parts", 2, training, Noisy())
    assert run_to(tmp_path / "parts", 4, training, Noisy()) == whole
    assert [each.epoch for each in read_log(tmp_path / "parts" / "log.csv")] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="has 4 epochs behind it, epochs is 3 here"):
        run_to(tmp_path / "parts", 3, training, Noisy())


@pytest.mark.parametrize("training", [{}, {"schedule": "cosine"}])
def test_training_whose_rates_depend_on_the_epochs_is_not_extended(tmp_path, training):
    run_to(tmp_path / "parts", 2, training, Noisy())
    with pytest.raises(ValueError, match="epochs is 2 there and 4 here, whose rates depend on how many there are"):
        run_to(tmp_path / "parts", 4, training, Noisy())


def test_recipes_and_grids_are_settings(tmp_path):
    run_to(tmp_path, 1, {}, SmoothAdv(radius=0.25))
    with pytest.raises(ValueError, match=r"recipe.radius is 0.25 there and 0.5 here"):
        run_to(tmp_path, 1, {}, SmoothAdv(radius=0.5))
    with pytest.raises(ValueError, match="recipe is 'smoothadv' there and 'noisy' here"):
        run_to(tmp_path, 1, {}, Noisy())
    with pytest.raises(ValueError, match="grid is '32' there and 'none' here"):
        run_to(tmp_path, 1, {"grid": "none"}, SmoothAdv(radius=0.25))
    bare = SimpleNamespace(name="bare", copies=1, loss=Noisy().loss)
    with pytest.raises(TypeError, match="recipe must be a dataclass of settings, got SimpleNamespace"):
        run_to(tmp_path, 1, {}, bare)


def test_images_have_the_same_noise_for_any_number_of_processes():
    def steps(rank, count, size=7):
        batches = Batches(
            build_model("digits_cnn", 10), None, Gaussian(0.25), 16, size, torch.device("cpu"), Workers(rank, count), 0
        )
        order = list(range(29, -1, -1))
        steps = batches.steps(few(30), order, epoch=2, copies=3, noise=np.random.SeedSequence(4), readers_seed=1)
        # Now: the noise of a step is overwritten two steps later.
        return [(whole, None if step is None else step.noisy(3)) for whole, step in steps]

    alone = steps(0, 1)
    assert [whole for whole, _ in alone] == [7, 7, 7, 7, 2]
    for count in (2, 3, 8):
        shares = [steps(rank, count) for rank in range(count)]
        assert all([whole for whole, _ in share] == [7, 7, 7, 7, 2] for share in shares)
        for number, (_, noisy) in enumerate(alone):
            parts = [share[number][1] for share in shares]
            assert torch.equal(torch.cat([part for part in parts if part is not None]), noisy)
    # With more processes than images, some have none.
    assert any(noisy is None for _, noisy in steps(0, 8))


SHARED = """
import os, sys, pathlib, torch
from test_training import few
from rsmooth import Gaussian
from rsmooth.training.loop import train
from rsmooth.training.recipes.consistency import Consistency
from rsmooth.training.settings import Training
from rsmooth.zoo.networks import build_model
from rsmooth.zoo.checkpoints import model_fingerprint
torch.set_num_threads(1)
model = build_model("digits_cnn", 10)  # Fresh weights: each process has its own, but for those of the first.
if os.environ["RANK"] == "0":
    model.module.load_state_dict(build_model("digits_cnn", 10, seed=0).module.state_dict())
training = Training(epochs=2, batch_size=31, ema=0.9)
out, recipe = pathlib.Path(sys.argv[1]), Consistency()
log = train(model, few(), Gaussian(0.2), training, recipe=recipe, seed=3, test=few(30), out=out)
found = [model_fingerprint(model), log[-1].loss, log[-1].test_accuracy]
# With batch norm and dropout, each process's own. Processes meet once at a port.
os.environ["MASTER_PORT"] = sys.argv[2]
model = build_model("test_training:Dropped", 10, seed=0)
train(model, few(), Gaussian(0.2), Training(epochs=2, batch_size=32, ema=0.9), seed=3)
pathlib.Path(sys.argv[1] + os.environ["RANK"]).write_text(repr([*found, model_fingerprint(model)]))
"""


def test_two_processes_train_what_one_does(tmp_path):
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    arguments = [SHARED, tmp_path / "two", free_port()]
    with child(*arguments, RANK="0", **environment) as first, child(*arguments, RANK="1", **environment) as second:
        told = [each.communicate(timeout=240) for each in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told[0][1]
    # All have the same weights to the bit.
    assert (tmp_path / "two0").read_text() == (tmp_path / "two1").read_text()
    model = build_model("digits_cnn", 10, seed=0)
    training = Training(epochs=2, batch_size=31, ema=0.9)
    recipe = recipe_type("consistency")()
    alone = train(model, few(), Gaussian(0.2), training, recipe=recipe, seed=3, test=few(30), out=tmp_path / "one")
    shared = load_model(str(tmp_path / "two" / "checkpoint.pt"), num_classes=10)
    # This network has no batch norm: sums in another order are all that differs.
    for name, value in model.module.state_dict().items():
        assert shared.module.state_dict()[name].numpy() == pytest.approx(value.numpy(), rel=1e-3, abs=1e-4), name
    log = read_log(tmp_path / "two" / "log.csv")
    assert log[-1].loss == pytest.approx(alone[-1].loss, rel=1e-4)
    assert log[-1].accuracy == pytest.approx(alone[-1].accuracy, abs=0.02)


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["train", *arguments])


BASE = ["--model", "digits_cnn", "--data", "digits", "--mechanism", "gaussian", "--sigma", "0.25", "--epochs", "1"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_from_the_command_line(tmp_path, name):
    result = invoke(*BASE, "--recipe", name, "--no-test", "--lr", "0.01", "--batch-size", "128", "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert str(recipe_type(name)()) in result.output
    (epoch,) = read_log(tmp_path / "log.csv")
    assert 0.05 < epoch.accuracy <= 1
    settings = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["settings"]
    assert settings["recipe"] == name
    assert settings["grid"] == "16"


def test_options_of_a_recipe_are_its_fields(tmp_path):
    options = ["--recipe", "smoothadv", "--norm", "inf", "--radius=0.01", "--copies", "1", "--steps", "1"]
    result = invoke(*BASE, *options, "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "SmoothAdv(copies=1, norm=inf, radius=0.01, steps=1, warm_up=10)" in result.output
    settings = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["settings"]
    assert (settings["recipe.norm"], settings["recipe.radius"]) == ("inf", 0.01)
    shown = invoke("--recipe", "consistency", "--help").output
    assert "--entropy-weight" in shown
    assert "--gamma" not in shown
    assert "--copies" in invoke("--help").output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--recipe consistency --gamma 3", "--gamma is an option of macer; recipe consistency has --copies, --weight,"),
        ("--radius 1", "--radius is an option of smoothadv and smoothadv-consistency; recipe noisy has --copies"),
        ("--recipe macer --nothing 3", "No such option: --nothing"),
        ("--recipe loud", "recipe must be one of noisy, stability"),
        ("--recipe consistency --copies 1", "copies must be between 2 and"),
        ("--recipe smoothadv --norm 1", "norm must be 2 or math.inf, got 1.0"),
        ("--schedule stairs", "schedule must be one of steps, cosine, constant"),
        ("--tensorboard", "TensorBoard's files need one more package"),
    ],
)
def test_commands_refuse(tmp_path, monkeypatch, options, words):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = invoke(*BASE, *options.split(), "-o", str(tmp_path / "out"))
    said = " ".join((result.output + str(result.exception)).replace("│", " ").split())
    assert result.exit_code != 0
    assert words in said
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_numbers_go_to_tensorboard(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, epoch):
            written.append((name, value, epoch))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    assert invoke(*BASE, "--tensorboard", "-o", str(tmp_path)).exit_code == 0
    (epoch,) = read_log(tmp_path / "log.csv")
    assert written[0] == str(tmp_path / "tensorboard")
    assert ("loss", epoch.loss, 1) in written
    assert ("test_accuracy", epoch.test_accuracy, 1) in written


def test_log_that_is_none_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text(json.dumps({"epoch": 1}))
    with pytest.raises(ValueError, match="has no epochs"):
        read_log(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(ValueError, match="not the log of a training"):
        read_log(tmp_path / "log.csv")


def test_curves_of_trainings_are_drawn(tmp_path):
    run_to(tmp_path / "one", 2, {}, Noisy())
    run_to(tmp_path / "two", 3, {}, Noisy())
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    result = CliRunner().invoke(cli.app, ["plot", *folders, "-o", str(tmp_path / "curves.svg")])
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    result = CliRunner().invoke(cli.app, ["plot", *folders, "--alpha", "0.1", "-o", str(tmp_path / "curves.svg")])
    assert "--alpha cannot be given for trainings" in str(result.exception)


@pytest.mark.gpu
def test_a_gpu_trains_on_the_same_noise(watched):
    seen = []
    for device in ("cpu", "cuda"):
        Watching.seen.clear()
        training = Training(2, 32, precision="bfloat16", ema=0.9, channels_last=True)
        model = build_model("digits_cnn", 10, seed=0)
        log = train(model, few(), Gaussian(0.2), training, recipe=watched, seed=3, test=few(30), device=device)
        assert all(math.isfinite(each.loss) and math.isfinite(each.test_loss) for each in log)
        seen.append([noisy.cpu() for _, noisy, _, _ in watched.seen])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
