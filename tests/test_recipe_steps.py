"""Recipes as trainings use them: the loss of a step, and their settings."""

import math
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
import torch

from recipe_cases import CLASSES, inputs, length, network
from rsmooth import Exponential, Gaussian, Laplace
from rsmooth.training.recipes import RECIPES, Recipe
from rsmooth.training.recipes.consistency import Consistency, SmoothAdvConsistency, consistency
from rsmooth.training.recipes.macer import Macer, macer
from rsmooth.training.recipes.noisy import Noisy, noisy
from rsmooth.training.recipes.smoothadv import SmoothAdv, attack
from rsmooth.training.recipes.smoothmix import SmoothMix, _ratios, adversary, mixed, smoothmix
from rsmooth.training.recipes.stability import Stability, StabilityPair, stability, stability_pair
from rsmooth.training.step import Step


@pytest.fixture(autouse=True)
def _seeded():
    """Dropout's random numbers are torch's own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@dataclass(eq=False)
class Epochal(Step):
    """A step that knows its epoch."""

    epoch: int = 0


def step_of(model=None, mechanism=None, epoch=20, count=12, first=0):
    x, y, _ = inputs(count)
    model = network() if model is None else model
    return Epochal(model, x, y, Gaussian(0.25) if mechanism is None else mechanism, 5, first, epoch=epoch)


def logits_of(step, copies, shift=0.0):
    noisy_images = step.mechanism.perturb(step.images, copies=copies, seed=step.seed, first=step.first * copies)
    return step.model((noisy_images + shift).flatten(0, 1))


def test_step_losses_are_the_pure_functions_of_the_logits():
    step = step_of(network().eval())
    y, two = step.labels, logits_of(step_of(network().eval()), 2)
    pairs = [
        (Noisy(), noisy(logits_of(step, 1), y)),
        (Noisy(3), noisy(logits_of(step, 3), y, copies=3)),
        (Stability(3, 0.7), stability(step.model(step.images), logits_of(step, 3), y, copies=3, weight=0.7)),
        (StabilityPair(5.0), stability_pair(two, y, weight=5.0)),
        (Consistency(2, 7.0, 0.3), consistency(two, y, copies=2, weight=7.0, entropy_weight=0.3)),
        (
            Macer(4, 2.0, 5.0, 3.0, "laplace"),
            macer(logits_of(step, 4), y, copies=4, weight=2.0, gamma=5.0, temperature=3.0, law="laplace"),
        ),
    ]
    for recipe, expected in pairs:
        assert recipe.loss(step).item() == pytest.approx(expected.item(), rel=1e-5)
    images, noises = step.images, step.noisy(2) - step.images[:, None]
    moved = attack(step.model, images, y, noises, norm=math.inf, radius=0.05, steps=3)
    attacked = logits_of(step, 2, (moved - images)[:, None])
    assert noisy(attacked, y, copies=2).item() > noisy(two, y, copies=2).item() + 0.01
    recipe = SmoothAdv(2, math.inf, 0.1, 3, 40)  # In epoch 20, the 21st of 40.
    moved = attack(step.model, images, y, noises, norm=math.inf, radius=0.1 * 21 / 40, steps=3)
    attacked = logits_of(step, 2, (moved - images)[:, None])
    assert recipe.loss(step).item() == pytest.approx(noisy(attacked, y, copies=2).item(), rel=1e-5)
    expected = consistency(attacked, y, copies=2, weight=2.0, entropy_weight=0.3)
    recipe = SmoothAdvConsistency(2, math.inf, 0.1, 3, 40, 2.0, 0.3)
    assert recipe.loss(step).item() == pytest.approx(expected.item(), rel=1e-5)
    far = adversary(step.model, images, y, noises, step=0.3, steps=3)
    ratios = _ratios(step)
    other = logits_of(step, 2, (mixed(images, far, ratios) - images)[:, None])
    expected = smoothmix(two, other, y, ratios, copies=2, weight=8.0 * 21 / 40)
    assert SmoothMix(2, 0.3, 3, 8.0, 40).loss(step).item() == pytest.approx(expected.item(), rel=1e-5)
    right = (two.argmax(dim=1) == y.repeat_interleave(2)).float().mean()
    assert step.right.item() == pytest.approx(right.item())


@pytest.mark.parametrize("mechanism", [Gaussian(0.3), Exponential(0.03), Laplace(0.2)], ids=lambda each: each.name)
def test_recipes_without_their_weight_are_noisy(mechanism):
    def loss(recipe):
        torch.manual_seed(0)
        return recipe.loss(step_of(mechanism=mechanism)).item()

    assert loss(Consistency(3, 0, 0)) == loss(SmoothAdv(3, radius=0)) == loss(Noisy(3))
    assert loss(SmoothAdvConsistency(3, math.inf, 0, weight=0, entropy_weight=0)) == loss(Noisy(3))
    assert loss(Macer(1, 0)) == loss(Noisy(1))
    # These need more of the model than the copies that meet the label, so dropout must not tell.
    step = step_of(network().eval(), mechanism)
    assert SmoothMix(3, weight=0).loss(step).item() == Noisy(3).loss(step).item()
    first = noisy(logits_of(step, 2)[::2], step.labels)
    assert StabilityPair(0).loss(step).item() == pytest.approx(first.item(), rel=1e-6)
    clean = noisy(step.model(step.images), step.labels)
    assert Stability(2, 0).loss(step).item() == pytest.approx(clean.item(), rel=1e-6)


@pytest.mark.parametrize("mechanism", [Gaussian(0.3), Exponential(0.03), Laplace(0.2)], ids=lambda each: each.name)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_with_every_mechanism(name, mechanism):
    model = network()
    recipe = Recipe(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for number in range(12):
        # The same images again and again, with other noise.
        step = step_of(model, mechanism, count=24, first=24 * number, epoch=number)
        loss = recipe(step)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad.isfinite().all() for weight in model.parameters())
        assert all(module.training for module in model.modules())
        assert 0 <= step.right <= 1
        optimizer.step()
        losses.append(Noisy(8).loss(step_of(model, mechanism, count=24, first=7000)).item())
    assert losses[-1] < losses[0]


def test_attacks_of_steps_take_the_noise_of_the_training():
    seen = []

    def watched(batch):
        seen.append(batch.detach().unflatten(0, (12, 2)))
        return (batch.flatten(1) ** 2)[:, :CLASSES]

    step = step_of(watched)
    SmoothAdv(2, radius=0.5, steps=3, warm_up=0).loss(step)
    assert len(seen) == 4
    assert torch.allclose(seen[0], step.noisy(2), atol=1e-6)
    shifts = seen[-1] - seen[0]
    assert torch.allclose(shifts[:, 0], shifts[:, 1], atol=1e-6)
    assert 0.4 < length(shifts[:, 0], 2).max() < 0.5 + 1e-5


def test_ratios_belong_to_images_not_to_batches():
    whole = _ratios(step_of(count=12))
    parts = [_ratios(step_of(count=7)), _ratios(step_of(count=5, first=7))]
    assert torch.equal(whole, torch.cat(parts))
    many = _ratios(step_of(count=4000))
    assert 0 <= many.min() < 0.001
    assert 0.499 < many.max() < 0.5
    assert many.mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_frozen_and_their_settings_say_what_they_are(name):
    recipe = RECIPES[name]()
    assert recipe.name == name
    assert recipe.copies >= 1
    settings = [each for each in fields(recipe) if each.init]
    assert all(each.metadata["help"].endswith(".") for each in settings)
    assert Recipe(name).settings == {each.name: getattr(recipe, each.name) for each in settings}
    with pytest.raises(FrozenInstanceError):
        recipe.weight = 2


def test_norm_is_written_as_commands_have_it():
    (norm,) = (each for each in fields(SmoothAdv) if each.name == "norm")
    text = norm.metadata["text"]
    assert [text.write(value) for value in (2.0, math.inf)] == ["2", "inf"]
    assert [text.read(value) for value in ("2", "inf")] == [2.0, math.inf]


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("loud", {}, ValueError, r"recipe must be one of noisy, .*smoothmix, got 'loud'"),
        ("macer", {"sigma": 1}, ValueError, "recipe macer has the settings copies, weight, gamma, .* got 'sigma'"),
        ("noisy", {"copies": 0}, ValueError, r"copies must be .*1.*, got 0"),
        ("consistency", {"copies": 1}, ValueError, r"copies must be .*2.*, got 1"),
        ("consistency", {"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ("consistency", {"entropy_weight": math.nan}, ValueError, "entropy_weight must be a finite number"),
        ("smoothadv-consistency", {"weight": -1}, ValueError, "weight must be a finite number of at least 0"),
        ("smoothadv-consistency", {"entropy_weight": -1}, ValueError, "entropy_weight must be a finite number"),
        ("smoothadv-consistency", {"norm": 1}, ValueError, "norm must be 2 or math.inf, got 1"),
        ("smoothadv", {"norm": "2"}, TypeError, "norm must be a number, got '2'"),
        ("smoothadv", {"radius": -1}, ValueError, "radius must be a finite number of at least 0, got -1"),
        ("smoothadv", {"warm_up": -1}, ValueError, r"warm_up must be .*0.*, got -1"),
        ("smoothmix", {"step_size": 0}, ValueError, "step_size must be a finite number above 0, got 0"),
        ("smoothmix", {"weight": math.inf}, ValueError, "weight must be a finite number of at least 0, got inf"),
        ("macer", {"gamma": 0}, ValueError, "gamma must be a finite number above 0, got 0"),
        ("macer", {"temperature": 0}, ValueError, "temperature must be a finite number above 0, got 0"),
        ("macer", {"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ("macer", {"law": "cauchy"}, ValueError, "law must be normal or laplace, got 'cauchy'"),
        ("stability", {"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ("stability-pair", {"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ("stability-pair", {"copies": 3}, ValueError, "recipe stability-pair has the settings weight, got 'copies'"),
    ],
)
def test_recipes_refuse(name, settings, error, message):
    with pytest.raises(error, match=message):
        Recipe(name, settings)
