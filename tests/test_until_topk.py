"""Top-k certificates of draws that are stopped by their votes: what they claim is false with probability alpha at most.

The procedure is that of runs, on classes of known probabilities: votes are told as they come, the rule of stopping ends
an example, and what its votes then certify is compared with the truth. How many of the certificates are false is
compared with what chance gives of a probability alpha, at critical values of 1e-6 for all of these tests together.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Gaussian, SmoothedClassifier, certify_topk
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.topk import TopK
from rsmooth.rule import Rule
from rsmooth.stopping import Until
from rsmooth.torch.plan import UntilPlan
from test_topk import TRUTHS, true_radius

ALPHA = 0.1


# The label is in by a hair, and each of the others counts.
CASES = [((0.4, 0.3, 0.3), 2), *TRUTHS]
LOOKS = [*range(1, 60), *range(60, 400, 5)]


def rule(interval="anytime", alpha=ALPHA):
    return Rule(Gaussian(1), norm=2, dim=1, alpha=alpha, interval=interval)


def false(found, p, k):
    """Tell which rows claim what is false: too large a radius, p1 too high, or p2 below the k-th largest other."""
    radius, kth = true_radius(np.array(p), k, stats.norm), np.sort(p[1:])[-k]
    return (found.radius > radius) | (found.p1 > p[0]) | (found.p2 < kth)


def critical(trials, tests):
    return stats.binom.isf(1e-6 / tests, trials, ALPHA)


def ever_false(p, k, certified, *, trials, looks, seed):
    """Return how many of so many examples have a false certificate at any of `looks` numbers of draws."""
    rng = np.random.default_rng([seed, k])
    counts, drawn, missed = np.zeros((trials, len(p)), np.int64), 0, 0
    for look in looks:
        counts += rng.multinomial(look - drawn, p, size=len(counts))
        drawn = look
        rows, which = np.unique(counts, axis=0, return_inverse=True)
        wrong = false(certified(rows), p, k)[which.ravel()]
        missed += wrong.sum()
        counts = counts[~wrong]
    return missed


def asked(k, settings):
    return lambda rows: TopK(k=k).certify(np.zeros(len(rows), np.int64), rows, settings)


@pytest.mark.parametrize(("p", "k"), CASES)
def test_no_rule_of_stopping_makes_top_k_certificates_false_more_often_than_alpha(p, k):
    """Whoever stops where a certificate is false, which no rule can know, finds one with probability alpha at most."""
    trials = 12_000 // len(p)
    found = ever_false(p, k, asked(k, rule()), trials=trials, looks=LOOKS, seed=0)
    assert found <= critical(trials, 2 * len(CASES))


@pytest.mark.parametrize(
    "broken", [rule(alpha=3 * ALPHA), rule("clopper-pearson")], ids=["level not shared", "for a fixed number"]
)
def test_wrong_levels_and_intervals_would_be_found_false_more_often(broken):
    (p, k), trials = CASES[0], 20_000
    assert ever_false(p, k, asked(k, broken), trials=trials, looks=LOOKS, seed=1) > critical(trials, 2 * len(CASES))


def ended(stopping, p, trials, step, seed):
    """Return the votes that examples end with, all of the same probabilities, by the rule that runs stop by."""
    rng = np.random.default_rng([seed, len(p)])
    counts, open_ = np.zeros((trials, len(p)), np.int64), np.arange(trials)
    for _ in range(0, stopping.n, step):
        counts[open_] += rng.multinomial(step, p, size=len(open_))
        rows, which = np.unique(counts[open_], axis=0, return_inverse=True)
        # What separate draws selected is not looked at where labels are known.
        known = stopping.known(np.ones(len(rows), np.int64), rows, np.zeros(len(rows), np.int64))
        open_ = open_[~known[which.ravel()]]
    return counts


@pytest.mark.parametrize(("p", "k"), CASES)
def test_stopped_top_k_certificates_are_false_with_probability_alpha_at_most(p, k):
    trials, radius = 12_000 // len(p), true_radius(np.array(p), k, stats.norm)
    stopping = Until(TopK(k=k), rule(), 600, (0, radius, radius + 0.1))
    counts = ended(stopping, p, trials, 8, seed=2)
    found = certify_topk(
        counts, np.zeros(trials, int), Gaussian(1), k=k, norm=2, dim=1, alpha=ALPHA, interval="anytime"
    )
    assert false(found, p, k).sum() <= critical(trials, 2 * len(CASES))
    # They are ended by their votes, and certified where there is something to certify.
    assert len(np.unique(counts.sum(axis=1))) > 5
    assert (found.radius > 0).mean() > 0.5 or radius < 0.3


@pytest.mark.parametrize("k", [1, 2, 3])
def test_what_is_abandoned_would_hardly_have_been_certified_and_is_abandoned_early(k):
    n, radii = 2000, (0, 0.5)
    stopping = Until(TopK(k=k), rule(), n, radii)
    lost = hopeless = 0
    for p in ((0.26, 0.25, 0.25, 0.24), (0.3, 0.36, 0.3, 0.04), (0.2, 0.5, 0.16, 0.14), (0.6, 0.2, 0.15, 0.05)):
        rng, counts, abandoned = np.random.default_rng(k), np.zeros((300, 4), np.int64), np.zeros((300, 2), bool)
        for _ in range(n // 20):
            counts += rng.multinomial(20, p, size=300)
            lower, upper = stopping.ends(np.zeros(300, np.int64), counts)
            abandoned |= (upper[:, None] <= radii) & (counts.sum(axis=1)[:, None] < n)
        lost += (abandoned & (lower[:, None] > radii)).sum()
        hopeless += abandoned.sum()
    # Three deviations at any of 100 looks; the sums of all are 2,400.
    assert lost <= 24
    assert hopeless > 400


def test_unreachable_radii_of_top_k_are_refused_and_reachable_ones_reached():
    for k in (1, 3, 9):
        reach = Until(TopK(k=k), rule(), 100, width=0.1).kind.certify(*TopK(k=k).best(100), rule()).radius[0]
        assert Until(TopK(k=k), rule(), 100, (reach * 0.999,)).known(
            np.zeros(1, int), np.array([[100] + [0] * 9]), np.zeros(1, int)
        )
        with pytest.raises(ValueError, match=r"until must be of radii below .*, which n = 100 draws certify if all"):
            Until(TopK(k=k), rule(), 100, (reach,))


class Told:
    """Whether examples are known, by their labels: what a plan hands to whom it asks."""

    n = 1000

    def __init__(self):
        self.labels = []

    def known(self, _selection, tally, labels):
        self.labels.append(labels)
        return tally.sum(axis=1) >= 100 * (1 + labels)


def test_a_plan_asks_with_each_examples_own_label():
    stopping, labels = Told(), np.array([2, 0, 1])
    plan = UntilPlan(
        [(index, torch.zeros(4)) for index in range(3)],
        TopK(k=1),
        classes=3,
        n0=1,
        n=stopping.n,
        size=32,
        root=np.random.SeedSequence(0),
        stopping=stopping,
        labels=labels,
    )
    number = 0
    while (batch := plan.compose(number)) is not None:
        plan.record(number, np.zeros(sum(each.count for each in batch), np.int64))
        number += 1
    drawn = plan.tally()[1].sum(axis=1)
    assert (100 * (1 + labels) <= drawn).all()
    assert (drawn < 100 * (1 + labels) + 3 * 32).all()


def test_what_is_needed_of_a_labelled_class_is_about_what_it_takes():
    k, p = 2, np.array([0.3, 0.4, 0.2, 0.1])
    stopping, counts = Until(TopK(k=k), rule(), 100_000, (0.1,)), np.array([[60, 80, 40, 20]])
    selection, label = np.ones(1, np.int64), np.zeros(1, np.int64)
    needed = stopping.needed(selection, counts, label)[0]
    reached = [
        stopping.known(selection, (p * (200 + needed * share)).astype(np.int64)[None], label)[0] for share in (0.4, 1.1)
    ]
    assert reached == [False, True]
    # By what separate draws selected it would be another class's.
    assert stopping.needed(selection, counts)[0] != needed


# The smoothed classifier


def bands(x):
    """Return logits of three classes, of which the middle one is second on either side."""
    return torch.stack([x[:, 0], torch.full_like(x[:, 0], 0.7), 1 - x[:, 0]], dim=1)


def test_a_smoothed_classifier_ends_where_the_labels_radii_are_known():
    x = torch.tensor([[0.9], [0.5], [0.1], [0.9]])
    labels = [0, 1, 2, 2]
    smoothed = SmoothedClassifier(bands, Gaussian(0.25), 3)
    settings = {"kind": TopK(k=2), "n0": 20, "n": 20_000, "norm": 2, "batch_size": 100, "alpha": 0.01, "seed": 3}
    told = []
    found = smoothed.certify(x, labels=labels, until=(0, 0.1), progress=told.append, **settings)
    assert (found.interval, found.stopped, type(found.counts), found.k) == ("anytime", True, StoppedCounts, 2)
    assert found.selection.tolist() == labels
    assert (found.prediction[:3] == labels[:3]).all()
    # The last is certified to be no other: its label is out of the top two.
    assert found.prediction[3] == -1
    drawn = found.counts.sum(axis=1)
    assert drawn.max() < 20_000
    # No draws select what is asked for.
    assert sum(told) == drawn.sum()
    stopping = Until(TopK(k=2), replace(rule(), mechanism=Gaussian(0.25), alpha=0.01), 20_000, (0, 0.1))
    assert stopping.known(found.selection, np.asarray(found.counts), found.selection).all()
    # Without labels draws select.
    selected = smoothed.certify(x, until=(0, 0.1), **settings)
    assert selected.prediction[3] != -1
    again = certify_topk(found.counts, labels, Gaussian(0.25), k=1, norm=2, dim=1, interval="anytime")
    assert again.stopped
    with pytest.raises(ValueError, match="draws that were fixed beforehand"):
        certify_topk(found.counts, labels, Gaussian(0.25), k=2, norm=2, dim=1)
    with pytest.raises(ValueError, match="draws that were fixed beforehand"):
        found.under(interval="clopper-pearson")
