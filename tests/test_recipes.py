"""The losses of training recipes: their formulas, and that their gradients are right and finite."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm as gaussian

from recipe_cases import CLASSES, COPIES, EXAMPLES, LABELS, double, drawn, labels, softmax
from rsmooth.training.recipes.consistency import consistency
from rsmooth.training.recipes.macer import macer, margin
from rsmooth.training.recipes.noisy import noisy
from rsmooth.training.recipes.smoothmix import smoothmix
from rsmooth.training.recipes.stability import stability, stability_pair

RATIOS = np.array([0.0, 0.1, 0.2, 0.35, 0.5])
ZEROS = torch.zeros(4, 3)
PAIR = torch.tensor([0, 1])

# Each loss again, one example and copy after the other, from the papers' formulas.


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


def plain_macer(logits, copies, *, weight, gamma, temperature, quantile=gaussian.ppf):
    total = 0.0
    for i, y in enumerate(LABELS):
        total -= math.log((sum(probabilities(logits, i, copies)) / copies)[y])
        q = sum(probabilities(temperature * logits, i, copies)) / copies
        if q.argmax() == y:
            second = sorted(q)[-2]
            xi = quantile(q[y]) - quantile(second)
            if xi <= gamma:
                total += weight * (gamma - xi)
    return total / EXAMPLES


def plain_smoothmix(logits, mixed_logits, copies, weight):
    total = 0.0
    for i, y in enumerate(LABELS):
        mean = sum(probabilities(logits, i, copies)) / copies
        if mean.argmax() == y:
            target = (1 - RATIOS[i]) * mean + RATIOS[i] / CLASSES
            total += weight * np.mean([kl(target, each) for each in probabilities(mixed_logits, i, copies)])
    return plain_noisy(logits, copies) + total / EXAMPLES


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
    settings = {"weight": 1.5, "gamma": gamma, "temperature": temperature}
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


LOSSES = {
    "noisy": lambda logits, labels: noisy(logits, labels, copies=2),
    "stability": lambda logits, labels: stability(logits[::2], logits[1::2], labels),
    "stability-pair": stability_pair,
    "consistency": lambda logits, labels: consistency(logits, labels, copies=2, weight=20.0),
    "macer": lambda logits, labels: macer(logits, labels, copies=2, weight=1.5),
    "macer-laplace": lambda logits, labels: macer(logits, labels, copies=2, law="laplace"),
    "macer-wide": lambda logits, labels: macer(logits, labels, copies=2, gamma=60.0, temperature=1.0),
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
    assert macer(logits[::2], labels(), copies=1, weight=0).item() == first


def test_copies_that_agree_are_noisy_plus_the_entropy():
    logits = double(np.repeat(drawn(31, 1), 3, axis=0))
    plain = noisy(logits, labels(), copies=3).item()
    assert consistency(logits, labels(), copies=3, weight=50.0, entropy_weight=0).item() == pytest.approx(plain)


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
        (lambda: macer(ZEROS, PAIR, copies=2, gamma=0), ValueError, "gamma must be a finite number above 0, got 0"),
        (lambda: macer(ZEROS[:, :1], PAIR * 0, copies=2), ValueError, "must have at least 2 classes"),
        (lambda: macer(ZEROS, PAIR, copies=2, law="x"), ValueError, "law must be normal or laplace, got 'x'"),
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
