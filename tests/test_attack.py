"""The attack on smoothed classifiers: its formula, what it stays in, what it reaches and what it leaves alone."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from recipe_cases import CLASSES, EXAMPLES, LABELS, double, inputs, labels, length, network, softmax
from rsmooth.training.recipes.smoothadv import attack, smoothed_gradient, warmed_up
from rsmooth.training.recipes.smoothmix import adversary, mixed

NORMS = [2, math.inf]
PAIR = torch.tensor([0, 1])
IMAGES = torch.zeros(2, 4)


def plain_gradient(matrix, x, noises):
    """Return the gradient of -ln mean_j softmax((x + z_j) matrix)(y) for each example."""
    gradient = np.empty_like(x)
    for i, y in enumerate(LABELS):
        mean, slope = 0.0, np.zeros(x.shape[1])
        for z in noises[i]:
            p = softmax((x[i] + z) @ matrix)
            mean += p[y]
            slope += p[y] * (matrix[:, y] - matrix @ p)
        gradient[i] = -slope / mean
    return gradient


def plain_attack(matrix, x, noises, *, norm, radius, steps):
    delta = np.zeros_like(x)
    for _ in range(steps):
        for i, g in enumerate(plain_gradient(matrix, x + delta, noises)):
            direction = g / np.linalg.norm(g) if norm == 2 else np.sign(g)
            moved = np.clip(x[i] + delta[i] + 2 * radius / steps * direction, 0, 1) - x[i]
            delta[i] = moved * min(1, radius / np.linalg.norm(moved)) if norm == 2 else np.clip(moved, -radius, radius)
    return x + delta


def softmax_regression(seed=8):
    rng = np.random.default_rng(seed)
    x = rng.choice([0.0, 0.03, 0.5, 0.9, 1.0], size=(EXAMPLES, 6))
    return x, rng.normal(size=(EXAMPLES, 4, 6)) / 2, rng.normal(size=(6, CLASSES)) * 2


def test_smoothed_gradient_is_that_of_the_mean_probability():
    x, noises, matrix = softmax_regression()
    found = smoothed_gradient(lambda x: x @ double(matrix), double(x), labels(), double(noises))
    assert found.numpy() == pytest.approx(plain_gradient(matrix, x, noises), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize(("norm", "radius"), [(2, 0.3), (2, 1.2), (math.inf, 0.1), (math.inf, 0.4)])
def test_attack_is_its_formula(norm, radius, steps):
    x, noises, matrix = softmax_regression()
    found = attack(
        lambda x: x @ double(matrix), double(x), labels(), double(noises), norm=norm, radius=radius, steps=steps
    )
    wanted = plain_attack(matrix, x, noises, norm=norm, radius=radius, steps=steps)
    assert found.numpy() == pytest.approx(wanted, rel=1e-11, abs=1e-13)
    assert abs(wanted - x).max() > 0.05


def smoothed_probability(model, x, y, noises):
    with torch.no_grad():
        p = model((x.unsqueeze(1) + noises).flatten(0, 1)).softmax(dim=1).unflatten(0, noises.shape[:2]).mean(dim=1)
    return p[torch.arange(len(y)), y]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [1e-3, 1 / 255, 0.1, 0.25, 0.7, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attack_stays_in_the_ball_and_in_the_domain_exactly(norm, radius, dtype):
    x, y, noises = inputs(dtype=dtype)
    seen = []
    model = network().to(dtype).eval()

    def watched(batch):
        seen.append((batch.detach().unflatten(0, noises.shape[:2]) - noises)[:, 0])
        return model(batch)

    for steps in (1, 2, 5):
        moved = attack(watched, x, y, noises, norm=norm, radius=radius, steps=steps)
        assert moved.dtype == dtype
        assert moved.min() >= 0
        assert moved.max() <= 1
        reached = length(moved.double() - x.double(), norm)
        assert (reached <= radius).all()
        # At the edge where the cube lets it.
        assert reached.max() > radius * 0.99 or radius > 1
    # The iterates, as the model got them, too: but for what noise added and taken off costs.
    for iterate in seen:
        assert (length(iterate - x, norm) <= radius + 1e-5).all()
        assert iterate.min() >= -1e-6
        assert iterate.max() <= 1 + 1e-6


def test_attack_of_an_affine_model_is_the_best_there_is():
    # For one noise and two classes the loss grows along one direction: the answers are known.
    gradient = torch.tensor([[3.0, -4.0]])

    def model(x):
        return torch.cat([-(x * gradient).sum(dim=1, keepdim=True), torch.zeros(len(x), 1)], dim=1)

    x, y, noises = torch.full((1, 2), 0.5), torch.zeros(1, dtype=torch.long), torch.zeros(1, 1, 2)
    for steps in (1, 4):
        moved = attack(model, x, y, noises, norm=2, radius=0.25, steps=steps)
        assert (moved - x).numpy() == pytest.approx(np.array([[0.15, -0.2]]), rel=1e-5)
        moved = attack(model, x, y, noises, norm=math.inf, radius=0.25, steps=steps)
        assert (moved - x).numpy() == pytest.approx(np.array([[0.25, -0.25]]), rel=1e-5)
    # The image range first: from (0, 1) nothing is gained by leaving it.
    corner = torch.tensor([[1.0, 0.0]])
    assert torch.equal(attack(model, corner, y, noises, norm=2, radius=0.25, steps=3), corner)
    beyond = attack(model, corner, y, noises, norm=math.inf, radius=0.25, steps=3, domain=None)
    assert beyond.numpy() == pytest.approx(np.array([[1.25, -0.25]]), rel=1e-5)


def test_rounding_leaves_no_domain():
    # The distance from x to the end of the domain is rounded upwards: x and it are more than the end.
    x = torch.linspace(-100, -99, 100)[:, None]
    y, noises = torch.zeros(100, dtype=torch.long), torch.zeros(100, 1, 1)
    # In the unit of x's last digit, 2⁻¹⁷, no whole number.
    high = 128.75 * 2.0**-17
    assert (x + (torch.tensor(high) - x) > high).any()

    def model(x):
        return torch.cat([-x, x * 0], dim=1)

    moved = attack(model, x, y, noises, norm=math.inf, radius=1000.0, steps=2, domain=(-100.0, high))
    assert (moved <= high).all()
    assert moved.numpy() == pytest.approx(high, abs=1e-5)


@pytest.mark.parametrize(("norm", "radius"), [(2, 0.5), (math.inf, 0.15)])
def test_attack_lowers_the_smoothed_probability_and_more_steps_do_no_worse(norm, radius):
    x, y, noises = inputs(count=200)
    model = network().eval()
    before = smoothed_probability(model, x, y, noises)
    after = [
        smoothed_probability(model, attack(model, x, y, noises, norm=norm, radius=radius, steps=steps), y, noises)
        for steps in (1, 2, 4, 16)
    ]
    assert (after[-1] < before).float().mean() > 0.99
    means = [each.mean().item() for each in after]
    assert means[0] < before.mean().item() - 0.01
    assert all(more <= less + 1e-3 for less, more in pairwise(means))
    # With a wider ball, more.
    wider = attack(model, x, y, noises, norm=norm, radius=2 * radius, steps=16)
    assert smoothed_probability(model, wider, y, noises).mean() < after[-1].mean() - 0.01


def test_attack_is_on_the_average_probability_not_on_the_copies():
    # Of two copies one is lost: a model sure of it has no gradient there, and all is to be won at the other one.
    def model(x):
        return torch.cat([x[:, :1] * 0, 40 * x[:, :1] - 30 * x[:, 1:]], dim=1)

    x, y = torch.full((1, 2), 0.5), torch.zeros(1, dtype=torch.long)
    noises = torch.tensor([[[3.0, 0.0], [0.0, 0.1]]])
    gradient = smoothed_gradient(model, x, y, noises)
    alone = smoothed_gradient(model, x, y, noises[:, 1:])
    assert gradient.numpy() == pytest.approx(alone.numpy(), rel=1e-5)


def test_attack_has_the_model_in_evaluation_mode_and_leaves_it_as_it_was():
    x, y, noises = inputs()
    model = network()
    model.train()
    model[2].eval()  # A frozen batch norm.
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    model[1].weight.grad = torch.ones_like(model[1].weight)
    moved = attack(model, x, y, noises, norm=2, radius=0.25, steps=3)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[1].weight.grad, torch.ones_like(model[1].weight))
    assert all(weight.requires_grad for weight in model.parameters())
    assert model[5].weight.grad is None
    assert not moved.requires_grad
    # Nothing is random, dropout included; and it is the same where gradients are off.
    with torch.no_grad():
        assert torch.equal(attack(model, x, y, noises, norm=2, radius=0.25, steps=3), moved)
    assert torch.equal(attack(model.eval(), x, y, noises, norm=2, radius=0.25, steps=3), moved)

    class BrokenError(Exception):
        pass

    def broken(*_):
        raise BrokenError

    model.train()
    model[3].register_forward_hook(broken)
    with pytest.raises(BrokenError):
        attack(model, x, y, noises, norm=2, radius=0.25, steps=3)
    assert model.training


@pytest.mark.parametrize("norm", NORMS)
def test_attack_of_radius_0_and_of_a_flat_model_moves_nothing(norm):
    x, y, noises = inputs()
    assert torch.equal(attack(network(), x, y, noises, norm=norm, radius=0, steps=2), x)

    def flat(batch):
        return batch.flatten(1)[:, :CLASSES] * 0

    assert torch.equal(attack(flat, x, y, noises, norm=norm, radius=0.5, steps=2), x)


def test_attack_follows_gradients_whose_squares_underflow():
    def model(x):
        return torch.cat([60 + 2 * x[:, :1] - x[:, 1:], x[:, :1] * 0], dim=1)

    x, y, noises = torch.full((1, 2), 0.5), torch.zeros(1, dtype=torch.long), torch.zeros(1, 2, 2)
    # Of the softmax's two derivatives one is lost in single precision, and its square is 0.
    assert smoothed_gradient(model, x, y, noises).numpy() == pytest.approx(
        np.exp(-60.5) * np.array([[-2, 1]]), rel=1e-5
    )
    moved = attack(model, x, y, noises, norm=2, radius=0.1, steps=1)
    assert (moved - x).numpy() == pytest.approx(np.array([[-0.2, 0.1]]) / math.sqrt(5), rel=1e-4)


def test_adversary_takes_plain_steps_inside_the_domain():
    x, y, noises = inputs()
    model = network().train()
    far = adversary(model, x, y, noises, step=0.5, steps=4)
    assert model.training
    model.eval()
    wanted = x.double()
    for _ in range(4):
        gradient = smoothed_gradient(model, wanted.float(), y, noises).double()
        norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1).reshape(-1, 1, 1, 1)
        wanted = (wanted + 0.5 * gradient / (norms + 1e-8)).clamp(0, 1)
    assert far.numpy() == pytest.approx(wanted.float().numpy(), abs=1e-4)
    # In no ball: further than one step, and less sure than at x.
    assert length(far - x, 2).max() > 0.9
    assert smoothed_probability(model, far, y, noises).mean() < smoothed_probability(model, x, y, noises).mean() - 0.05
    ratios = torch.linspace(0, 0.5, len(x))
    halfway = mixed(x, far, ratios)
    assert torch.equal(halfway[0], x[0])
    assert halfway[-1].numpy() == pytest.approx(((x[-1] + far[-1]) / 2).numpy(), abs=1e-6)


def test_attack_refuses_a_model_of_one_class():
    with pytest.raises(ValueError, match="model must return logits of at least 2 classes, got 1"):
        attack(lambda batch: batch[:, :1], IMAGES, PAIR * 0, torch.zeros(2, 3, 4), norm=2, radius=0.1, steps=2)


def test_warm_up_reaches_the_value_and_keeps_it():
    assert [warmed_up(2.0, epoch, 10) for epoch in (0, 4, 9, 10, 149)] == [0.2, 1.0, 2.0, 2.0, 2.0]
    assert warmed_up(2.0, 0, 0) == warmed_up(2.0, 0, 1) == 2.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"norm": 1}, ValueError, "norm must be 2 or math.inf, got 1"),
        ({"radius": -0.1}, ValueError, "radius must be a finite number of at least 0, got -0.1"),
        ({"radius": math.inf}, ValueError, "radius must be a finite number of at least 0, got inf"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 1.5}, TypeError, "steps must be an integer, got 1.5"),
        ({"x": IMAGES.half()}, TypeError, "x must be float32 or float64, got torch.float16"),
        ({"x": IMAGES[0]}, ValueError, r"x must have an axis of examples .* got shape \(4,\)"),
        ({"noises": torch.zeros(2, 4)}, ValueError, r"noises must have shape \(2, m, 4\), got \(2, 4\)"),
        ({"noises": torch.zeros(2, 0, 4)}, ValueError, r"noises must have shape \(2, m, 4\), got \(2, 0, 4\)"),
        ({"domain": (1, 0)}, ValueError, r"domain must be two numbers, the smaller one first, got \(1, 0\)"),
        (
            {"x": torch.tensor([[0.0] * 4, [0.0, 1, 2, 0.5]])},
            ValueError,
            r"x must be in the domain \[0, 1\], example 1 has values from 0 to 2",
        ),
        ({"x": torch.full((2, 4), math.nan)}, ValueError, "example 0 has values from nan to nan"),
    ],
)
def test_attack_refuses(changes, error, message):
    arguments = {"x": IMAGES, "labels": PAIR, "noises": torch.zeros(2, 3, 4), "norm": 2, "radius": 0.1, "steps": 2}
    with pytest.raises(error, match=message):
        attack(lambda batch: batch[:, :2], **(arguments | changes))
