"""Certified segmentation: no pixel of an image is wrong, save in a share alpha of images, and Holm's method is
Holm's."""

import numpy as np
import pytest
from scipy import stats

from rsmooth import Gaussian, Uniform
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.segmentation import add_maps, certify_segmentation

SETTINGS = {"norm": 2, "dim": 64}


@pytest.mark.parametrize("together", [False, True])
def test_an_image_has_a_wrong_pixel_at_most_alpha_of_the_time(together):
    """Pixels that are just not allowed, among some that are; independent, or all moved by the same draws."""
    trials, n, alpha, tau = 4000, 150, 0.1, 0.75
    p = np.r_[np.full(30, tau - 1e-9), np.full(20, 0.999), np.full(14, 0.3)]
    rng = np.random.default_rng(together)
    votes = (rng.random((trials, n, 1)) < p).sum(axis=1) if together else rng.binomial(n, p, size=(trials, len(p)))
    counts = np.stack([votes, n - votes], axis=2)
    found = certify_segmentation(counts, np.zeros(votes.shape, int), Gaussian(1), **SETTINGS, alpha=alpha, tau=tau)
    wrong = (found.prediction[:, p < tau] == 0).any(axis=1).sum()
    # Two such tests.
    assert wrong <= stats.binom.isf(1e-6 / 2, trials, alpha)


def test_a_level_for_each_pixel_by_itself_would_be_wrong_more_often():
    """The test above can tell: without Holm's division most images have a wrong pixel."""
    n, tau, rng = 150, 0.75, np.random.default_rng(1)
    votes = rng.binomial(n, tau - 1e-9, size=(4000, 50))
    alone = stats.binom.sf(votes - 1, n, tau) <= 0.1
    assert alone.any(axis=1).sum() > stats.binom.isf(1e-6, 4000, 0.1)


def holm(p_values, alpha):
    """Holm's method as its paper says it."""
    rejected = np.zeros(len(p_values), bool)
    for i, at in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[at] > alpha / (len(p_values) - i):
            break
        rejected[at] = True
    return rejected


def test_the_certified_pixels_are_those_that_holms_method_rejects():
    rng = np.random.default_rng(2)
    n, tau, alpha = 400, 0.8, 0.01
    for size in (1, 7, 300):
        p = rng.uniform(0.7, 1, size)
        votes = rng.binomial(n, p)
        counts = np.stack([n - votes, votes, np.zeros(size, int)], axis=1)[None]
        found = certify_segmentation(counts, np.ones((1, size), int), Gaussian(0.5), **SETTINGS, alpha=alpha, tau=tau)
        assert ((found.prediction[0] == 1) == holm(stats.binom.sf(votes - 1, n, tau), alpha)).all()
    assert found.radius[0] == pytest.approx(0.5 * stats.norm.ppf(tau), rel=1e-14)


def test_no_pixel_is_certified_after_one_that_is_not():
    """Two pixels of one p-value between alpha / 2 and alpha: the second by itself would pass."""
    n, tau, votes = 400, 0.8, 340
    p = stats.binom.sf(votes - 1, n, tau)
    counts = np.array([[[votes, n - votes]] * 2])

    def certified(counts, alpha):
        zeros = np.zeros(counts.shape[:-1], int)
        return certify_segmentation(counts, zeros, Gaussian(1), **SETTINGS, alpha=alpha, tau=tau).prediction.tolist()

    assert certified(counts, 1.5 * p) == [[-1, -1]]
    assert certified(counts[:, :1], 1.5 * p) == [[0]]
    assert certified(counts, 2.1 * p) == [[0, 0]]


def test_maps_keep_their_shape_and_counts_choose_classes():
    counts = np.zeros((4, 5, 3), np.int32)
    counts[..., 2] = 1000
    counts[1, 3] = [600, 0, 400]
    selection = np.zeros((4, 5, 3), np.int32)
    selection[..., 2] = 10
    found = certify_segmentation(counts[None], selection[None], Uniform(0.5), norm=1, dim=60, tau=0.9)
    expected = np.full((4, 5), 2)
    expected[1, 3] = -1
    assert (found.prediction[0] == expected).all()
    assert found.radius[0] == pytest.approx(0.4, rel=1e-14)


def test_maps_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(3)
    maps = rng.integers(0, 6, size=(11, 8, 9))
    tally = rng.integers(0, 5, size=(8, 9, 6))
    expected = tally.copy()
    for one in maps:
        for y in range(8):
            for x in range(9):
                expected[y, x, one[y, x]] += 1
    add_maps(tally, maps[:4])
    add_maps(tally, maps[4:].astype(np.uint8))
    add_maps(tally, maps[:0])
    assert (tally == expected).all()


def test_a_small_model_on_images_is_certified():
    """Segment bright from dark on drawn images, with draws for the choice and draws for the votes."""
    image = np.zeros((12, 12), np.float32)
    image[3:9, 4:10] = 1
    tallies = []
    for seed, n in ((0, 50), (1, 1000)):
        tally = np.zeros((12, 12, 2), np.int64)
        noisy = Gaussian(0.25).perturb(image[None], copies=n, seed=seed)[0]
        smooth = sum(np.roll(noisy, (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
        add_maps(tally, (smooth > 0.5).astype(np.int64))
        tallies.append(tally)
    found = certify_segmentation(tallies[1][None], tallies[0][None], Gaussian(0.25), norm=2, dim=144)
    sure = found.prediction[0] >= 0
    assert sure.mean() > 0.8
    assert (found.prediction[0][sure] == image[sure]).mean() > 0.9


def call(counts=(((9, 1), (5, 5)),), classes=((0, 1),), **settings):
    return certify_segmentation(np.asarray(counts), np.asarray(classes), Gaussian(1), **SETTINGS | settings)


BAD = [
    (lambda: call(counts=[[[9, 1], [5, 4]]]), r"counts\[0, 1\] must be of as many votes as the first pixel, 10, got 9"),
    (lambda: call(counts=[[[9, 1], [-5, 15]]]), r"counts\[0, 1, 0\] must be a count of at least 0, got -5"),
    (lambda: call(counts=[[[0, 0], [0, 0]]]), "counts must be of at least 1 vote for each pixel, got 0"),
    (lambda: call(counts=[9, 1]), r"counts must have the shape \(N, ..., K\) with K of at least 2, got \(2,\)"),
    (lambda: call(classes=[[0, 2]]), r"classes\[0, 1\] must be a class from 0 to 1, got 2"),
    (lambda: call(classes=[0]), r"classes must have the shape \(1, 2, 2\) or \(1, 2\), got \(1,\)"),
    (lambda: call(tau=0.5), "tau must be above 0.5 and below 1, got 0.5"),
    (lambda: call(alpha=2.0), "alpha must be a number above 0 and below 1, got 2"),
    (lambda: add_maps(np.zeros((2, 2, 3), int), np.zeros((1, 2, 3), int)), r"maps must have the shape \(B, 2, 2\)"),
    (lambda: add_maps(np.zeros((2, 3), int), [[0, 3]]), r"maps\[0, 1\] must be a class from 0 to 2, got 3"),
    (lambda: add_maps(np.zeros((3, 2), int).T, [[0, 1]]), "tally must be in C order"),
]


@pytest.mark.parametrize(("refused", "message"), BAD)
def test_bad_input_is_refused_by_name(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


def test_counts_of_stopped_draws_are_refused():
    stopped = np.array([[[990, 10]]]).view(StoppedCounts)
    with pytest.raises(ValueError, match="draws that were stopped by their votes"):
        certify_segmentation(stopped, [[0]], Gaussian(1), **SETTINGS)


def test_maps_that_a_narrow_tally_cannot_hold_are_refused():
    """300 maps, 44 of the second class, came out as all of it: 256 became 0."""
    tally = np.zeros((1, 2), np.uint8)
    with pytest.raises(ValueError, match="tally must be of integers that hold the counts, got uint8"):
        add_maps(tally, np.repeat([0, 1], [256, 44])[:, None])
    assert not tally.any()
    add_maps(tally, np.repeat([0, 1], [255, 44])[:, None])
    assert tally.tolist() == [[255, 44]]
