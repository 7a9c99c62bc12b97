"""The losses of training recipes: what they are, that their gradients are finite, and what the attack may do."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import norm as gaussian

from rsmooth import Gaussian
from rsmooth.training.recipes.consistency import consistency
from rsmooth.training.recipes.macer import macer, margin
from rsmooth.training.recipes.noisy import noisy
from rsmooth.training.recipes.smoothadv import attack, smoothed_gradient, warmed_up
from rsmooth.training.recipes.smoothmix import adversary, mixed, smoothmix
from rsmooth.training.recipes.stability import stability, stability_pair

EXAMPLES, COPIES, CLASSES = 5, 3, 4
# Of every kind: right, wrong, nearly sure.
LABELS = np.array([0, 3, 1, 2, 2])
RATIOS = np.array([0.0, 0.1, 0.2, 0.35, 0.5])


def drawn(seed, copies=COPIES, spread=1.5):
    """Return logits (N copies, K) whose copies agree somewhat and half of whose examples are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(EXAMPLES, 1, CLASSES)) * spread + rng.normal(size=(EXAMPLES, copies, CLASSES))
    logits[np.arange(EXAMPLES)[::2], :, LABELS[::2]] += 3
    return logits.reshape(EXAMPLES * copies, CLASSES)


# Each loss again, one example and copy after the other, from the papers' formulas.


def softmax(row):
    powers = [math.exp(value) for value in row]
    return np.array([power / sum(powers) for power in powers])


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def probabilities(logits, example, copies):
    return [softmax(logits[example * copies + copy]) for copy in range(copies)]


def plain_noisy(logits, copies):
    return np.mean([-math.log(p[y]) for i, y in enumerate(LABELS) for p in probabilities(logits, i, copies)])


def plain_stability(clean, logits, copies, weight):
    total = 0.0
    for i, y in enumerate(LABELS):
        p = softmax(clean[i])
        moved = [-sum(a * math.log(b) for a, b in zip(p, q, strict=True)) for q in probabilities(logits, i, copies)]
        total += -math.log(p[y]) + weight * np.mean(moved)
    return total / EXAMPLES


def plain_stability_pair(logits, weight):
    total = 0.0
    for i, y in enumerate(LABELS):
        first, second = probabilities(logits, i, 2)
        total += -math.log(first[y]) + weight * kl(first, second)
    return total / EXAMPLES


def plain_consistency(logits, copies, weight, entropy_weight):
    total = 0.0
    for i in range(EXAMPLES):
        p = probabilities(logits, i, copies)
        mean = sum(p) / copies
        entropy = -sum(a * math.log(a) for a in mean)
        total += weight * np.mean([kl(mean, each) for each in p]) + entropy_weight * entropy
    return plain_noisy(logits, copies) + total / EXAMPLES


def laplace_quantile(p):
    return math.log(2 * p) if p <= 0.5 else math.inf if p == 1 else -math.log(2 * (1 - p))


def plain_macer(logits, copies, *, sigma, weight, gamma, temperature, quantile=gaussian.ppf):
    total = 0.0
    for i, y in enumerate(LABELS):
        total -= math.log((sum(probabilities(logits, i, copies)) / copies)[y])
        q = sum(probabilities(temperature * logits, i, copies)) / copies
        if q.argmax() == y:
            second = sorted(q)[-2]
            xi = quantile(q[y]) - quantile(second)
            if xi <= gamma:
                total += weight * sigma / 2 * (gamma - xi)
    return total / EXAMPLES


def plain_smoothmix(logits, mixed_logits, copies, weight):
    total = 0.0
    for i, y in enumerate(LABELS):
        mean = sum(probabilities(logits, i, copies)) / copies
        if mean.argmax() == y:
            target = (1 - RATIOS[i]) * mean + RATIOS[i] / CLASSES
            total += weight * np.mean([kl(target, each) for each in probabilities(mixed_logits, i, copies)])
    return plain_noisy(logits, copies) + total / EXAMPLES


def labels():
    return torch.from_numpy(LABELS)


def double(logits):
    return torch.from_numpy(logits)


@pytest.mark.parametrize("copies", [1, 2, 7])
def test_noisy_is_its_formula(copies):
    logits = drawn(1, copies)
    assert noisy(double(logits), labels(), copies=copies).item() == pytest.approx(
        plain_noisy(logits, copies), rel=1e-13
    )


@pytest.mark.parametrize(("copies", "weight"), [(1, 2.0), (3, 0.7)])
def test_stability_is_its_formula(copies, weight):
    clean, logits = drawn(2, 1), drawn(3, copies)
    loss = stability(double(clean), double(logits), labels(), copies=copies, weight=weight)
    assert loss.item() == pytest.approx(plain_stability(clean, logits, copies, weight), rel=1e-13)


def test_stability_of_pairs_is_its_formula():
    logits = drawn(4, 2)
    loss = stability_pair(double(logits), labels(), weight=6.0)
    assert loss.item() == pytest.approx(plain_stability_pair(logits, 6.0), rel=1e-13)


@pytest.mark.parametrize(("copies", "weight", "entropy_weight"), [(2, 10.0, 0.5), (5, 3.0, 0.0), (3, 0.0, 2.0)])
def test_consistency_is_its_formula(copies, weight, entropy_weight):
    logits = drawn(5, copies)
    loss = consistency(double(logits), labels(), copies=copies, weight=weight, entropy_weight=entropy_weight)
    assert loss.item() == pytest.approx(plain_consistency(logits, copies, weight, entropy_weight), rel=1e-13)


@pytest.mark.parametrize(
    ("copies", "gamma", "temperature"), [(16, 8.0, 16.0), (16, 8.0, 1.0), (4, 2.0, 2.0), (4, 0.5, 1.0)]
)
@pytest.mark.parametrize("seed", range(4))
def test_macer_is_its_formula(copies, gamma, temperature, seed):
    logits = drawn(10 + seed, copies)
    settings = {"sigma": 0.25, "weight": 12.0, "gamma": gamma, "temperature": temperature}
    loss = macer(double(logits), labels(), copies=copies, **settings)
    assert loss.item() == pytest.approx(plain_macer(logits, copies, **settings), rel=1e-11)
    loss = macer(double(logits), labels(), copies=copies, **settings, law="laplace")
    assert loss.item() == pytest.approx(plain_macer(logits, copies, **settings, quantile=laplace_quantile), rel=1e-11)


def test_smoothmix_is_its_formula():
    logits, mixed_logits = drawn(6), drawn(7)
    loss = smoothmix(
        double(logits), double(mixed_logits), labels(), torch.from_numpy(RATIOS), copies=COPIES, weight=5.0
    )
    assert loss.item() == pytest.approx(plain_smoothmix(logits, mixed_logits, COPIES, 5.0), rel=1e-13)


def test_margin_keeps_its_digits_where_probabilities_are_near_0_and_1():
    # In single precision 1 - 1e-20 is 1, of which the quantile is infinite.
    tails = torch.tensor([1e-3, 1e-8, 1e-20, 1e-29])
    log_q = torch.stack([torch.log1p(-tails), tails.log()], dim=1)
    zeros = torch.zeros(4, dtype=torch.long)
    expected = -2 * gaussian.ppf(tails.double().numpy())
    assert margin(log_q, zeros).numpy() == pytest.approx(expected, rel=1e-5)
    assert margin(log_q, 1 - zeros).numpy() == pytest.approx(-expected, rel=1e-5)
    expected = -2 * np.log(2 * tails.double().numpy())
    assert margin(log_q, zeros, law="laplace").numpy() == pytest.approx(expected, rel=1e-6)
    held = torch.tensor([[0.0, -500.0]])
    assert margin(held, zeros[:1]).item() == pytest.approx(-2 * gaussian.ppf(2.0**-100), rel=1e-5)


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


# Gradients.

LOSSES = {
    "noisy": lambda logits, labels: noisy(logits, labels, copies=2),
    "stability": lambda logits, labels: stability(logits[::2], logits[1::2], labels),
    "stability-pair": stability_pair,
    "consistency": lambda logits, labels: consistency(logits, labels, copies=2, weight=20.0),
    "macer": lambda logits, labels: macer(logits, labels, copies=2, sigma=0.25, weight=12.0),
    "macer-laplace": lambda logits, labels: macer(logits, labels, copies=2, sigma=0.25, law="laplace"),
    "macer-wide": lambda logits, labels: macer(logits, labels, copies=2, sigma=0.25, gamma=60.0, temperature=1.0),
    "smoothmix": lambda logits, labels: smoothmix(
        logits, logits.flip(0), labels, torch.linspace(0, 0.5, len(labels), dtype=torch.float64), copies=2
    ),
}

# Two copies of each example, three classes; labels are 0 and 1 in turn.
EXTREMES = {
    "ties of all": [[0, 0, 0], [0, 0, 0]],
    "ties of two": [[1, 1, 0], [1, 1, 0]],
    "ties of runners-up": [[3, 1, 1], [3, 1, 1]],
    "sure": [[200, 0, 0], [200, 0, 0]],
    "sure of another": [[0, 0, 200], [0, 0, 200]],
    "sure beyond single precision's least number": [[1e4, 0, -1e4], [1e4, 0, -1e4]],
    "copies sure of different classes": [[200, 0, 0], [0, 200, 0]],
    "one sure, one undecided": [[1e4, 0, 0], [0, 0, 0]],
    "nearly sure": [[9, -9, -9], [8, -9, -9]],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_finite_at_ties_and_at_probabilities_of_0_and_1(loss, extreme, dtype):
    logits = torch.tensor(EXTREMES[extreme] * 2, dtype=dtype, requires_grad=True)
    value = LOSSES[loss](logits, torch.tensor([0, 1]))
    value.backward()
    assert value.dtype == dtype
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_right_where_the_loss_is_smooth(loss, seed):
    logits = double(drawn(20 + seed, 2) / 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: LOSSES[loss](logits, labels()), logits)


def test_half_precision_logits_have_single_precision_losses():
    # Copies that agree: no tie, where MACER's loss jumps.
    logits = double(np.repeat(drawn(8, 1), 2, axis=0))
    for loss in LOSSES.values():
        value = loss(logits.bfloat16(), labels())
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(loss(logits.bfloat16().double(), labels()).item(), rel=1e-4)


# A recipe without its weight.


def test_losses_of_weight_0_are_noisy():
    logits = double(drawn(30, 2))
    plain = noisy(logits, labels(), copies=2).item()
    assert consistency(logits, labels(), copies=2, weight=0, entropy_weight=0).item() == plain
    ratios = torch.from_numpy(RATIOS)
    assert smoothmix(logits, logits.flip(0), labels(), ratios, copies=2, weight=0).item() == plain
    first = noisy(logits[::2], labels()).item()
    assert stability_pair(logits, labels(), weight=0).item() == first
    # This one's label is for the clean example, so it is training without noise.
    assert stability(logits[::2], logits[1::2], labels(), weight=0).item() == first
    assert macer(logits[::2], labels(), copies=1, sigma=1, weight=0).item() == first


def test_copies_that_agree_are_noisy_plus_the_entropy():
    logits = double(np.repeat(drawn(31, 1), 3, axis=0))
    plain = noisy(logits, labels(), copies=3).item()
    assert consistency(logits, labels(), copies=3, weight=50.0, entropy_weight=0).item() == pytest.approx(plain)


# The attack.


def network(seed=0):
    """Return a small network with modules that training and evaluation run differently."""
    generator = torch.random.fork_rng()
    with generator:
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


def smoothed_probability(model, x, y, noises):
    with torch.no_grad():
        p = model((x.unsqueeze(1) + noises).flatten(0, 1)).softmax(dim=1).unflatten(0, noises.shape[:2]).mean(dim=1)
    return p[torch.arange(len(y)), y]


NORMS = [2, math.inf]


def length(delta, norm):
    return np.linalg.norm(delta.double().numpy().reshape(len(delta), -1), ord=norm, axis=1)


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


def test_warm_up_reaches_the_value_and_keeps_it():
    assert [warmed_up(2.0, epoch, 10) for epoch in (0, 4, 9, 10, 149)] == [0.2, 1.0, 2.0, 2.0, 2.0]
    assert warmed_up(2.0, 0, 0) == warmed_up(2.0, 0, 1) == 2.0


# Refusals.

ZEROS = torch.zeros(4, 3)
PAIR = torch.tensor([0, 1])
IMAGES = torch.zeros(2, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: noisy(ZEROS, PAIR),
            ValueError,
            r"logits must have shape \(2, K\), 1 copies of 2 examples by K classes, got \(4, 3\)",
        ),
        (lambda: noisy(ZEROS, PAIR, copies=0), ValueError, "copies must be at least 1, got 0"),
        (lambda: noisy(ZEROS.long(), PAIR, copies=2), TypeError, "logits must be of a floating-point type, got"),
        (lambda: noisy(ZEROS, PAIR.float(), copies=2), TypeError, "labels must be integers, got torch.float32"),
        (lambda: noisy(ZEROS, PAIR[:, None], copies=2), ValueError, r"labels must have one axis.*got shape \(2, 1\)"),
        (lambda: noisy(ZEROS[:0], PAIR[:0]), ValueError, r"logits must have shape \(0, K\)"),
        (lambda: stability(ZEROS[:3], ZEROS, PAIR, copies=2), ValueError, r"clean must have shape \(2, K\)"),
        (lambda: stability(ZEROS[:2, :2], ZEROS, PAIR, copies=2), ValueError, "as many classes, got 2 and 3"),
        (lambda: stability_pair(ZEROS, PAIR, weight=-1), ValueError, "weight must be a finite number of at least 0"),
        (lambda: consistency(ZEROS, PAIR, copies=2, weight=math.nan), ValueError, "weight must be a finite number"),
        (lambda: consistency(ZEROS, PAIR, copies=2, weight="1"), TypeError, "weight must be a number, got '1'"),
        (lambda: macer(ZEROS, PAIR, copies=2, sigma=0), ValueError, "sigma must be a finite number above 0, got 0"),
        (lambda: macer(ZEROS[:, :1], PAIR * 0, copies=2, sigma=1), ValueError, "must have at least 2 classes"),
        (lambda: macer(ZEROS, PAIR, copies=2, sigma=1, law="x"), ValueError, "law must be normal or laplace, got 'x'"),
        (
            lambda: smoothmix(ZEROS, ZEROS, PAIR, torch.zeros(3), copies=2),
            ValueError,
            r"ratios must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: smoothmix(ZEROS, ZEROS[:, :2], PAIR, torch.zeros(2), copies=2),
            ValueError,
            "as many classes, got 3 and 2",
        ),
    ],
)
def test_losses_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


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
