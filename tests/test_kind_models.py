"""Medians and segmentation of small trained networks on real images, and what their models may not answer."""

import re

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import Ridge
from torch import nn

from rsmooth import Gaussian, SmoothedClassifier, Uniform
from rsmooth.certificates.kind import Form
from rsmooth.certificates.median import Median, MedianCertificates
from rsmooth.certificates.percentile import certify_percentile
from rsmooth.certificates.result import Certificates
from rsmooth.certificates.segmentation import Segmentation, SegmentationCertificates, certify_segmentation
from rsmooth.certificates.splitting import Splitting, split
from rsmooth.certificates.topclass import TopClass
from rsmooth.rule import Rule
from rsmooth.torch.regressor import SmoothedRegressor
from rsmooth.zoo.data import load_data
from run_helpers import later

SIGMA = 0.25


def images_of(split, count):
    data = load_data("digits", split=split)
    return torch.stack([data[i][0] for i in range(count)])


def trained(network, targets, loss, steps=150):
    """Return a network trained on noisy digits: seconds."""
    images = images_of("train", 1000)
    truth = targets(images)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        rows = torch.randint(len(images), (128,), generator=generator)
        noisy = images[rows] + SIGMA * torch.randn(128, 1, 8, 8, generator=generator)
        optimizer.zero_grad()
        loss(network(noisy), truth[rows]).backward()
        optimizer.step()
    return network.eval()


def ink(images):
    """Return the share of ink of images, in percent."""
    return 100 * images.mean(dim=(1, 2, 3))


def foreground(images):
    """Return maps of bright pixels."""
    return (images[:, 0] > 0.5).long()


@pytest.fixture(scope="module")
def regressor():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    return trained(network, lambda images: ink(images)[:, None], nn.functional.smooth_l1_loss)


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    return trained(network, foreground, nn.functional.cross_entropy)


# Medians


def test_a_regressor_of_real_images_is_certified_about_its_values(regressor):
    images = images_of("test", 20)
    truth = ink(images).numpy().astype(float)
    smoothed = SmoothedRegressor(regressor, Gaussian(SIGMA), grid=16)
    settings = {"n0": 100, "n": 2000, "norm": 2, "seed": 0}
    found = smoothed.certify(images, kind=Median(tolerance=8), labels=truth, **settings)
    assert isinstance(found, MedianCertificates)
    assert found.exact
    kept = ~found.abstained
    assert kept.mean() > 0.8
    assert (found.prediction[kept] == truth[kept]).all()
    assert found.certified_accuracy(truth, 0.0) == kept.mean()
    assert found.certified_accuracy(truth, 0.2) > 0.3
    # By the outputs once more.
    below, above = ((side(found.counts, truth[:, None])).mean(axis=1) for side in (_below, _above))
    assert (found.p2 > np.maximum(below, above)).all()
    assert found.radius == pytest.approx(SIGMA * stats.norm.ppf(found.p1).clip(min=0), abs=1e-9)
    # Without values: about the median of separate draws.
    own = smoothed.certify(images, kind=Median(tolerance=8), **settings)
    assert (own.counts == found.counts).all()
    assert own.prediction == pytest.approx(np.sort(own.selection, axis=1)[:, 49])
    assert (own.radius > 0).all()
    near = np.abs(own.prediction - truth) <= 8
    assert own.certified_accuracy(truth, 0.0) == near.mean()
    assert own.draws.tolist() == [2100] * 20


def _below(outputs, center):
    return outputs < center - 8


def _above(outputs, center):
    return outputs > center + 8


def test_the_median_keeps_within_the_tolerance_at_the_certified_radius(regressor):
    """Moved along the gradient by the radius, which is the worst that a linear model knows."""
    image = images_of("test", 1)
    smoothed = SmoothedRegressor(regressor, Gaussian(SIGMA))
    found = smoothed.certify(image, kind=Median(tolerance=8), n=4000, norm=2, seed=0)
    point = image.clone().requires_grad_()
    (slope,) = torch.autograd.grad(regressor(point).sum(), point)
    step = slope / slope.norm() * float(found.radius[0])
    for sign in (-1, 1):
        outputs = SmoothedRegressor(regressor, Gaussian(SIGMA), domain=None).outputs(
            image + sign * step, n=4000, seed=1
        )
        assert abs(np.median(outputs) - found.prediction[0]) <= 8


def test_regressors_of_scikit_learn_are_taken_as_they_are():
    images = images_of("train", 300).numpy()
    ridge = Ridge().fit(images.reshape(300, -1), images.reshape(300, -1).mean(axis=1))
    settings = {"kind": Median(tolerance=0.05), "n": 100, "n0": 20, "norm": 2, "seed": 0}
    found = SmoothedRegressor(ridge, Gaussian(SIGMA)).certify(images[:2], **settings)
    weights = torch.from_numpy(ridge.coef_).double()
    same = SmoothedRegressor(lambda x: x.double().flatten(1) @ weights + float(ridge.intercept_), Gaussian(SIGMA))
    assert found.counts == pytest.approx(same.certify(images[:2], **settings).counts, abs=1e-6)


def test_batches_and_parts_of_the_examples_change_no_median(regressor):
    images = images_of("test", 4)
    smoothed = SmoothedRegressor(regressor, Gaussian(SIGMA))
    settings = {"kind": Median(tolerance=8), "n0": 30, "n": 200, "norm": 2, "seed": 5}
    whole = smoothed.certify(images, **settings)
    parts = [smoothed.certify(images[i : i + 2], indices=[i, i + 1], batch_size=37, **settings) for i in (0, 2)]
    for name in ("counts", "selection", "prediction", "radius"):
        together = np.concatenate([getattr(part, name) for part in parts])
        assert together == pytest.approx(getattr(whole, name), rel=1e-5, abs=1e-6), name


def test_medians_are_saved_certified_anew_and_made_a_table_of(regressor, tmp_path):
    smoothed = SmoothedRegressor(regressor, Gaussian(SIGMA), grid=16)
    found = smoothed.certify(images_of("test", 3), kind=Median(tolerance=8), n=500, norm=2, seed=0)
    found.save(tmp_path / "found.npz")
    read = MedianCertificates.load(tmp_path / "found.npz")
    assert (read.tolerance, read.kind) == (8.0, "median tolerance=8.0")
    assert (read.radius == found.radius).all()
    with pytest.raises(ValueError, match=r"holds certificates of kind .*, which Certificates are not"):
        Certificates.load(tmp_path / "found.npz")
    other = read.under(norm=np.inf, bound="renyi")
    assert (other.counts == found.counts).all()
    assert (other.radius < found.radius).all()
    assert found.to_arrow()["counts"].to_pylist() == found.counts.tolist()
    real = found.for_real_inputs()
    assert (real.abstained == (real.radius == 0)).all()
    assert "3 inputs, 0 abstained" in repr(found)


def test_a_certificate_of_a_median_is_wrong_at_most_alpha_of_the_time():
    """Outputs of which just half are too large: the median is not within the tolerance at any radius above 0."""
    trials, n, alpha = 20_000, 101, 0.1
    rng = np.random.default_rng(0)
    outputs = np.where(rng.random((trials, n)) < 0.5, 2.0, 0.0)
    rule = Rule(Gaussian(1), norm=2, dim=1, alpha=alpha)
    found = Median(tolerance=1).certify(None, outputs, rule, labels=np.zeros(trials))
    wrong = (found.radius > 0).sum()
    assert 0 < wrong <= stats.binom.isf(1e-6, trials, alpha)
    # As often on both sides: the larger bound needs no smaller level.
    either = np.where(rng.random((trials, n)) < 0.5, 2.0, -2.0)
    both = Median(tolerance=1).certify(None, either, rule, labels=np.zeros(trials))
    assert (both.radius > 0).sum() <= stats.binom.isf(1e-6, trials, alpha)
    # The test can tell.
    assert ((outputs > 1).mean(axis=1) < 0.5).sum() > stats.binom.isf(1e-6, trials, alpha)


def test_what_the_noise_pays_moves_percentiles_outward(regressor):
    outputs = SmoothedRegressor(regressor, Gaussian(SIGMA), grid=16).outputs(images_of("test", 2), n=2000, seed=0)
    asked = {"norm": 2, "dim": 64}
    plain, paid = (certify_percentile(outputs, [0.1], Gaussian(SIGMA), **asked, noise_error=e) for e in (0.0, 0.05))
    assert (paid.lower < plain.lower).all()
    assert (paid.upper > plain.upper).all()
    with pytest.raises(ValueError, match="noise_error must be at least 0 and below 1, got 1"):
        certify_percentile(outputs, [0.1], Gaussian(SIGMA), **asked, noise_error=1.0)


# Segmentation


def test_a_segmenter_of_real_images_is_certified_pixel_by_pixel(segmenter):
    images = images_of("test", 12)
    truth = foreground(images).numpy()
    smoothed = SmoothedClassifier(segmenter, Gaussian(SIGMA), num_classes=2, grid=16)
    found = smoothed.certify(images, kind=Segmentation(tau=0.75), n0=50, n=500, norm=2, seed=0, batch_size=64)
    assert isinstance(found, SegmentationCertificates)
    assert found.prediction.shape == truth.shape
    assert found.counts.shape == (12, 8, 8, 2)
    certified = found.prediction >= 0
    assert certified.mean() > 0.5
    assert (found.prediction[certified] == truth[certified]).mean() > 0.9
    assert found.radius == pytest.approx(SIGMA * stats.norm.ppf(0.75), rel=1e-9)
    accuracy = found.certified_accuracy(truth, [0.0, 0.1, 0.2])
    assert accuracy.tolist() == [(found.prediction == truth).mean()] * 2 + [0.0]
    assert found.draws.tolist() == [550] * 12
    # By arrays of the same votes.
    again = certify_segmentation(found.counts, found.selection, Gaussian(SIGMA), norm=2, dim=64, tau=0.75)
    assert (again.prediction == found.prediction).all()
    assert (again.radius >= found.radius).all()
    with pytest.raises(ValueError, match="the accuracy over pixels has no interval"):
        found.certified_accuracy_interval(truth, [0.0])


def test_batches_and_parts_of_the_examples_change_no_map(segmenter):
    images = images_of("test", 4)
    smoothed = SmoothedClassifier(segmenter, Gaussian(SIGMA), num_classes=2)
    settings = {"kind": Segmentation(), "n0": 20, "n": 100, "norm": 2, "seed": 5}
    whole = smoothed.certify(images, **settings)
    parts = [smoothed.certify(images[i : i + 2], indices=[i, i + 1], batch_size=37, **settings) for i in (0, 2)]
    moved = np.abs(np.concatenate([part.counts for part in parts]) - whole.counts).sum()
    # A pixel whose scores tie but for rounding may turn.
    assert moved <= 4


def test_maps_are_saved_and_certified_anew(segmenter, tmp_path):
    smoothed = SmoothedClassifier(segmenter, Gaussian(SIGMA), num_classes=2, grid=16)
    found = smoothed.certify(images_of("test", 2), kind=Segmentation(tau=0.9), n=200, norm=2, seed=0)
    found.save(tmp_path / "found.npz")
    read = SegmentationCertificates.load(tmp_path / "found.npz")
    assert (read.tau, read.kind) == (0.9, "segmentation tau=0.9")
    assert (read.prediction == found.prediction).all()
    strict = read.under(alpha=1e-9)
    assert (strict.prediction >= 0).sum() < (found.prediction >= 0).sum()
    assert found.to_arrow()["prediction"].to_pylist() == found.prediction.tolist()
    # Half a step in each of 64 coordinates is as much as the radius.
    assert found.for_real_inputs().abstained.tolist() == (found.radius <= 8 / 32).tolist()


def test_labels_of_maps_count_like_scores(segmenter):
    images = images_of("test", 2)
    scores, labels = (
        SmoothedClassifier(model, Gaussian(SIGMA), 2).certify(images, kind=Segmentation(), n=100, norm=2, seed=1)
        for model in (segmenter, lambda x: segmenter(x).argmax(dim=1))
    )
    assert (scores.counts == labels.counts).all()


# Splitting


def copies_of(images):
    return torch.from_numpy(split(images, 12, grid=16, seed=0))


@pytest.fixture(scope="module")
def splitter():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    data = load_data("digits", split="train")
    labels = torch.tensor([data[i][1] for i in range(1000)])
    copies = copies_of(images_of("train", 1000))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        rows, which = (torch.randint(end, (128,), generator=generator) for end in (1000, 12))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(copies[rows, which]), labels[rows]).backward()
        optimizer.step()
    return network.eval()


def test_a_network_that_votes_on_all_copies_keeps_its_class_within_the_radius(splitter):
    data = load_data("digits")
    images, labels = images_of("test", 30), np.array([data[i][1] for i in range(30)])
    voting = SmoothedClassifier(splitter, Uniform(12 / 32), num_classes=10, grid=16)
    settings = {"kind": Splitting(), "norm": 1, "seed": 0}
    found = voting.certify(images, **settings, batch_size=5)
    assert found.certified_accuracy(labels, 0.0) > 0.6
    assert (found.counts.sum(axis=1) == 12).all()
    with torch.inference_mode():
        votes = splitter(copies_of(images).flatten(0, 1)).argmax(dim=1).reshape(30, 12)
    assert (found.counts == np.stack([np.bincount(each, minlength=10) for each in votes.numpy()])).all()
    rng = np.random.default_rng(0)
    for image, prediction, radius in zip(images, found.prediction, found.radius, strict=True):
        moved = (16 * image).round().int().numpy()
        for _ in range(round(radius * 16)):
            at = (0, *rng.integers(0, 8, 2))
            moved[at] += 1 if moved[at] == 0 else -1
        assert voting.certify(moved[None], **settings).prediction[0] == prediction
    assert found.radius.max() >= 4 / 16


# Refused


def numbers(model, **settings):
    given = {"kind": Median(tolerance=1), "n": 300, "norm": 2, "seed": 0, "batch_size": 50, **settings}
    return SmoothedRegressor(model, Gaussian(0.25)).certify(torch.full((1, 4), 0.5), **given)


def maps(model, **settings):
    given = {"kind": Segmentation(), "n": 300, "norm": 2, "seed": 0, "batch_size": 50, **settings}
    return SmoothedClassifier(model, Gaussian(0.25), 2).certify(torch.full((1, 4, 4), 0.5), **given)


def scores_of(size, dtype=torch.float32):
    return lambda x: torch.zeros(len(x), 2, size, size, dtype=dtype)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: numbers(lambda x: x[:, :2]),
            ValueError,
            "floating-point numbers of shape (50,) or (50, 1), got float32 of shape (50, 2)",
        ),
        (
            lambda: numbers(lambda x: (x[:, 0] > 0.5).long()),
            ValueError,
            "floating-point numbers of shape (50,) or (50, 1)",
        ),
        (
            lambda: numbers(later(lambda x: x[:, 0], lambda x: x[:, 0].double())),
            ValueError,
            "the same form of output always, got numbers of float32 and then numbers of float64",
        ),
        (
            lambda: numbers(later(lambda x: x[:, 0], lambda x: x[:, 0] / 0)),
            ValueError,
            "the model's output is not finite for 50 noisy copies of example 0",
        ),
        (lambda: numbers(lambda x: x[:, 0] * torch.nan), ValueError, "the model's output is not finite for 50"),
        (lambda: numbers(lambda x: x[:, 0], kind=TopClass()), TypeError, "kind must be a Median, got TopClass()"),
        (
            lambda: numbers(lambda x: x[:, 0], labels=[1.0, 2.0]),
            ValueError,
            "labels must have the shape (1,), got (2,)",
        ),
        (lambda: numbers(lambda x: x[:, 0], labels=[np.nan]), ValueError, "labels[0] must be finite, got nan"),
        (lambda: numbers(lambda x: x[:, 0], labels=["a"]), TypeError, "labels must be real numbers"),
        (lambda: Median(tolerance=0.0), ValueError, "tolerance must be above 0 and finite, got 0.0"),
        (lambda: Median(tolerance="1"), TypeError, "tolerance must be a number, got '1' of type str"),
        (lambda: maps(scores_of(4), kind=Median(tolerance=1)), ValueError, "kind must be one of classes, got 'median"),
        (
            lambda: maps(later(scores_of(4), scores_of(5))),
            ValueError,
            "got scores of float32 for maps of shape (4, 4) and then scores of float32 for maps of shape (5, 5)",
        ),
        (
            lambda: maps(later(scores_of(4), scores_of(4, torch.float64))),
            ValueError,
            "then scores of float64 for maps of shape (4, 4)",
        ),
        (
            lambda: maps(lambda x: torch.zeros(len(x), 3, 4, 4)),
            ValueError,
            "scores of shape (50, 2, *S) or integer labels of shape (50, *S), got float32 of shape (50, 3, 4, 4)",
        ),
        (lambda: maps(lambda x: torch.zeros(len(x), 2)), ValueError, "scores of shape (50, 2, *S) or integer labels"),
        (lambda: maps(lambda x: torch.full((len(x), 4, 4), 2)), ValueError, "labels must be from 0 to 1, got 2"),
        (
            lambda: maps(lambda x: torch.full((len(x), 2, 4, 4), torch.nan)),
            ValueError,
            "the model's output is not finite for 50 noisy copies of example 0",
        ),
        (lambda: maps(scores_of(4), labels=[0]), ValueError, "labels must be None for kind 'segmentation'"),
        (lambda: maps(scores_of(4), until=[0.1]), ValueError, "until must be None for kind 'segmentation'"),
        (lambda: Segmentation(tau=0.5), ValueError, "tau must be above 0.5 and below 1, got 0.5"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


RULE = Rule(Gaussian(1), norm=2, dim=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Median(1.0).certify(None, np.zeros((2, 9)), RULE), "selection must be values or outputs of separate"),
        (
            lambda: Median(1.0).certify(np.zeros(2), np.array([[0.0, 1.0], [0.0, np.nan]]), RULE),
            "counts[1] must be 2 outputs that are no NaN, got 1",
        ),
        (lambda: Median(1.0).certify(np.zeros(2), np.zeros((2, 9)), RULE, n=8), "counts[0] must be 8 outputs"),
        (lambda: Median(1.0).certify(np.zeros(3), np.zeros((2, 9)), RULE), "selection must be 2 finite values"),
        (lambda: Median(1.0).certify(np.zeros(2), np.zeros(9), RULE), "counts must have the shape (N, n), got (9,)"),
        (
            lambda: Segmentation().certify(None, np.ones((1, 3, 2), int), RULE),
            "selection must be classes or counts of separate draws for segmentation",
        ),
        (
            lambda: Segmentation().certify(np.zeros((1, 3), int), np.ones((1, 3, 2), int), RULE, n=3),
            "counts[0, 0] must be of n votes, 3, got 2",
        ),
        (
            lambda: Segmentation().check(Rule(Gaussian(1), norm=2, dim=1, interval="anytime"), Form(classes=2)),
            'interval must be "clopper-pearson" for segmentation',
        ),
    ],
)
def test_tallies_that_cannot_be_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
