"""What certificates promise: the truth is missed at most a share alpha of the time, and radii follow the votes."""

import math
import signal
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmooth import Exponential, Gaussian, Laplace, certify_counts, clopper_pearson
from rules import radius_of

RULES = [
    (Gaussian(0.5), 2, "renyi"),
    (Gaussian(0.5), 2, "neyman-pearson"),
    (Gaussian(0.5), math.inf, "pixeldp"),
    (Gaussian(0.5), 1, "tightest"),
    (Exponential(0.5), 2, "neyman-pearson"),
    (Laplace(0.5), 2, "tightest"),
    (Exponential(0.5), math.inf, "renyi"),
    (Exponential(0.5), 1, "pure-dp"),
    (Laplace(0.5), 1, "renyi"),
    (Laplace(0.5), 2, "pure-dp"),
    (Laplace(0.5), math.inf, "pixeldp"),
]
SETTINGS = {"norm": 2, "dim": 64}


def votes(rows=500, classes=5, n=1000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, rng.dirichlet(np.full(classes, 0.3), size=rows))


# Confidence

DISTRIBUTIONS = {
    "clear": (0.9, 0.08, 0.02),
    "even pair": (0.5, 0.5),
    "nearly even": (0.52, 0.48),
    "uniform": (0.1,) * 10,
    "three-way": (0.4, 0.3, 0.3),
    "runner-ups alike": (0.6, *(0.05,) * 8),
    "certain": (1.0, 0.0),
}
TESTS = len(DISTRIBUTIONS) * 2 * 2


def largest_count_allowed(trials, alpha):
    """The most misses that chance gives with a probability above 1e-6, over all these tests together."""
    stats = pytest.importorskip("scipy.stats")
    return stats.binom.isf(1e-6 / TESTS, trials, alpha)


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("runner_up", ["second", "complement"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("trials", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_the_truth_is_missed_at_most_alpha_of_the_time(name, runner_up, separate, trials):
    alpha, n = 0.05, 200
    p = np.array(DISTRIBUTIONS[name])
    rng = np.random.default_rng([len(name), trials, separate])
    counts = rng.multinomial(n, p, size=trials).astype(np.int32)
    selection = rng.multinomial(20, p, size=trials) if separate else None
    found = certify_counts(counts, Gaussian(1), **SETTINGS, alpha=alpha, selection=selection, runner_up=runner_up)
    certified = found.prediction >= 0
    own = p[found.prediction]
    others = np.where(np.arange(len(p)) == found.prediction[:, None], -1, p).max(axis=1)
    missed = certified & ((found.p1 > own) | (found.p2 < others))
    assert missed.sum() <= largest_count_allowed(trials, alpha)


@pytest.mark.parametrize("name", ["even pair", "uniform", "three-way"])
def test_reusing_the_selection_for_estimation_would_miss_more_often(name):
    """The test above can tell a wrong level from a right one: what `certify_counts` forbids does fail it."""
    alpha, n, trials = 0.05, 200, 100_000
    p = np.array(DISTRIBUTIONS[name])
    counts = np.random.default_rng(1).multinomial(n, p, size=trials)
    found = certify_counts(
        counts, Gaussian(1), **SETTINGS, alpha=alpha, selection=counts.copy(), runner_up="complement"
    )
    assert (found.p1 > p[counts.argmax(axis=1)]).sum() > largest_count_allowed(trials, alpha)


def test_levels_are_shared_as_documented():
    counts = votes()
    top = counts.argmax(axis=1)
    first, second = np.sort(counts, axis=1)[:, :-3:-1].T
    n, alpha, classes = 1000, 0.01, counts.shape[1]
    for selection, runner_up, lower, upper in (
        (top, "complement", alpha, None),
        (top, "second", alpha / 2, alpha / 2),
        (None, "complement", alpha / 2, None),
        (None, "second", alpha / (2 * classes), alpha / 4),
    ):
        found = certify_counts(counts, Gaussian(1), **SETTINGS, alpha=alpha, selection=selection, runner_up=runner_up)
        assert (found.p1 == clopper_pearson(first, n, lower)).all()
        complement = 1 - found.p1
        expected = (
            complement if upper is None else np.minimum(clopper_pearson(second, n, upper, side="upper"), complement)
        )
        assert found.p2 == pytest.approx(expected, rel=1e-15)
        assert (1 - found.p1 <= found.p2)[upper is None].all() if upper is None else True


# Radii


@pytest.mark.parametrize(("mechanism", "norm", "bound"), RULES)
def test_the_radius_is_the_bounds_radius_of_p1_and_p2(mechanism, norm, bound):
    found = certify_counts(votes(), mechanism, norm=norm, dim=64, bound=bound)
    radius, order = radius_of(mechanism, found.p1, np.minimum(found.p2, 1 - found.p1), norm=norm, dim=64, bound=bound)
    certified = found.prediction >= 0
    assert (found.radius == radius).all()
    assert (certified == (found.radius > 0)).all()
    assert (certified == (found.p1 > found.p2)).all()
    assert np.array_equal(found.order, order, equal_nan=True)


@given(st.data())
@settings(max_examples=50)
def test_radii_never_decrease_when_a_vote_moves_to_the_top_class(data):
    counts = np.array(data.draw(st.lists(st.integers(0, 2000), min_size=2, max_size=6)))
    top = int(counts.argmax())
    giver = data.draw(st.integers(0, len(counts) - 1))
    counts[top] += 1
    moved = counts.copy()
    if giver != top and counts[giver] > 0:
        moved[giver] -= 1
        moved[top] += 1
    for mechanism, norm, bound in RULES:
        for runner_up in ("second", "complement"):
            for selection in (None, [top, top]):
                found = certify_counts(
                    [counts, moved], mechanism, norm=norm, dim=3, bound=bound, selection=selection, runner_up=runner_up
                )
                assert found.radius[1] >= found.radius[0]


@given(st.data())
@settings(max_examples=50)
def test_permuting_the_other_classes_changes_nothing(data):
    counts = data.draw(st.lists(st.integers(0, 2000), min_size=2, max_size=6))
    counts[0] = sum(counts) + 1
    permuted = [counts[0], *data.draw(st.permutations(counts[1:]))]
    for mechanism, norm, bound in RULES:
        found = certify_counts([counts, permuted], mechanism, norm=norm, dim=3, bound=bound)
        assert found.radius[0] == found.radius[1]
        assert found.p2[0] == found.p2[1]


def test_ties_select_the_lowest_class():
    found = certify_counts([[0, 1000, 0]], Gaussian(1), **SETTINGS, selection=[[3, 5, 5]])
    assert found.prediction.tolist() == [1]
    assert certify_counts([[500, 500]], Gaussian(1), **SETTINGS).prediction.tolist() == [-1]


def test_every_integer_type_and_layout_gives_the_same_certificates():
    counts = votes(300, 7, 100)
    expected = certify_counts(counts, Gaussian(1), **SETTINGS)
    wide = np.zeros((600, 14), np.int32)
    wide[::2, ::2] = counts
    layouts = [counts.astype(t) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2")]
    layouts += [np.asfortranarray(counts), wide[::2, ::2], counts[::-1][::-1], counts.tolist()]
    for layout in layouts:
        found = certify_counts(layout, Gaussian(1), **SETTINGS)
        assert (found.radius == expected.radius).all()
        assert (found.prediction == expected.prediction).all()
        assert (found.p2 == expected.p2).all()


def test_torch_counts_are_taken():
    torch = pytest.importorskip("torch")
    counts = votes(20)
    found = certify_counts(torch.tensor(counts), Gaussian(1), **SETTINGS)
    assert (found.radius == certify_counts(counts, Gaussian(1), **SETTINGS).radius).all()


def test_counts_are_not_copied():
    counts = votes()
    assert np.shares_memory(certify_counts(counts, Gaussian(1), **SETTINGS).counts, counts)


def test_certificates_do_not_depend_on_threads_or_on_the_rows_beside_them():
    counts = votes(5000, n=100_000)
    counts[::3] //= 2
    settings = SETTINGS | {"bound": "renyi"}
    expected = certify_counts(counts, Gaussian(1), **settings)
    for threads in (1, 2, 3):
        found = certify_counts(counts, Gaussian(1), **settings, threads=threads)
        assert (found.radius == expected.radius).all()
    part = certify_counts(counts[777:800], Gaussian(1), **settings)
    assert (part.radius == expected.radius[777:800]).all()
    assert np.array_equal(part.order, expected.order[777:800], equal_nan=True)


def test_one_draw_and_huge_numbers_of_draws():
    assert certify_counts([[1, 0]], Gaussian(1), **SETTINGS).prediction.tolist() == [-1]
    found = certify_counts([[2**53 - 1000, 1000]], Gaussian(1), **SETTINGS)
    assert 1 - 1e-9 < found.p1[0] < 1
    assert math.isfinite(found.radius[0])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_an_interrupt_is_answered_at_once():
    # At alpha = 1/2 a bound for so many draws takes milliseconds, and no two rows share one: minutes of work.
    counts = 500_000_000 + np.arange(200_000)[:, None] * np.array([1, -1])

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            certify_counts(counts, Gaussian(1), **SETTINGS, alpha=0.5, selection=counts.copy(), runner_up="complement")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - began < 2


def test_no_rows_give_no_certificates():
    found = certify_counts(np.empty((0, 3), int), Gaussian(1), **SETTINGS)
    assert len(found) == 0
    assert "0 inputs" in repr(found)


def test_certified_accuracy_counts_abstentions_as_errors():
    found = certify_counts([[1000, 0], [0, 1000], [500, 500], [900, 100]], Gaussian(1), **SETTINGS)
    assert found.prediction.tolist() == [0, 1, -1, 0]
    assert found.certified_accuracy([0, 0, 0, 0], 0) == 0.5
    assert found.certified_accuracy([0, 1, 1, 0], [0, found.radius[3], 100]).tolist() == [0.75, 0.5, 0]
    # Not even a label that looks like an abstention makes one correct.
    assert found.certified_accuracy([0, 1, -1, 0], 0) == 0.75
    assert "1 abstained" in repr(found)
