"""Top-k certificates: the radius against brute force over classifiers, and the confidence they promise."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, sparse, stats

from rsmooth import (
    Certificates,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Profile,
    Uniform,
    certify_counts,
    certify_topk,
    clopper_pearson,
)
from rsmooth.certificates.kind import Form
from rsmooth.certificates.topk import TopK, TopKCertificates
from rsmooth.rule import Rule

LAWS = [
    (Gaussian(0.5), 2, stats.norm(scale=0.5)),
    (Laplace(0.5), 1, stats.laplace(scale=0.5)),
    (Uniform(0.5), 1, stats.uniform(loc=-0.5)),
]
# Votes of label 0 first; a runner-up ahead, ties, one dominating, all alike.
COUNTS = [
    [400, 500, 60, 40],
    [300, 300, 300, 100],
    [800, 150, 40, 10],
    [260, 250, 250, 240],
    [90, 800, 60, 50],
    [450, 450, 50, 50],
    [600, 200, 150, 50],
]


def probabilities(row, k, alpha=0.001):
    """The label's lower bound and the others' upper bounds, at the documented levels."""
    level = np.nextafter(alpha / (k + 1), 0)
    n = sum(row)
    return clopper_pearson(row[0], n, level), clopper_pearson(row[1:], n, level, side="upper")


def worst_lead(law, r, p, others, k):
    """The most by which k others can all lead the label after a shift by r, over all classifiers of one coordinate.

    A linear programme over randomised classifiers that are constant on cells: before the shift the label has at least
    p, and each other at most what `others` says.
    """
    quantiles = law.ppf(np.linspace(0, 1, 151)[1:-1])
    edges = np.unique(np.concatenate([quantiles, quantiles + r, law.ppf([0, 1]), law.ppf([0, 1]) + r]))
    before, after = np.diff(law.cdf(edges)), np.diff(law.cdf(edges - r))
    cells, classes = len(before), 1 + len(others)
    blocks = sparse.block_diag([before[None]] * classes)
    limits = sparse.hstack([blocks.multiply(np.r_[-1, np.ones(classes - 1)][:, None]), np.zeros((classes, 1))])
    best = -math.inf
    for leaders in itertools.combinations(range(1, classes), k):
        leads = np.zeros((k, classes * cells + 1))
        leads[:, :cells], leads[:, -1] = after, 1
        for row, leader in zip(leads, leaders, strict=True):
            row[leader * cells : (leader + 1) * cells] = -after
        found = optimize.linprog(
            np.r_[np.zeros(classes * cells), -1],
            A_ub=sparse.vstack([limits, leads]),
            b_ub=np.r_[-p, others, np.zeros(k)],
            A_eq=sparse.hstack([sparse.hstack([sparse.eye(cells)] * classes), np.zeros((cells, 1))]),
            b_eq=np.ones(cells),
            bounds=[(0, 1)] * (classes * cells) + [(-1, 1)],
        )
        assert found.status == 0, found.message
        best = max(best, -found.fun)
    return best


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize(("mechanism", "norm", "law"), LAWS)
def test_no_classifier_pushes_the_label_out_within_the_radius_and_one_does_just_beyond(mechanism, norm, law, k):
    found = certify_topk(COUNTS, [0] * len(COUNTS), mechanism, k=k, norm=norm, dim=1)
    for row, radius in zip(COUNTS, found.radius, strict=True):
        p, others = probabilities(row, k)
        if radius:
            assert worst_lead(law, radius * (1 - 1e-6), p, others, k) < 0
            assert worst_lead(law, radius * 1.02, p, others, k) > 0
        else:
            assert worst_lead(law, 1e-9, p, others, k) > -1e-6
    assert (found.radius > 0).sum() >= (2, 4, 5)[k - 1]


def true_radius(p, k, law):
    """The radius of exact probabilities, label first, by Brent's method."""
    others = np.sort(p[1:])[::-1][:k][::-1]
    best = 0.0
    for t in range(1, k + 1):
        share = min(others[:t].sum(), 1 - p[0])

        def margin(r, t=t, share=share):
            return law.cdf(law.ppf(p[0]) - r) - law.cdf(law.ppf(share) + r) / t

        if margin(0) > 0:
            best = max(best, optimize.brentq(margin, 0, 100, xtol=1e-15, rtol=1e-14))
    return best


@pytest.mark.parametrize(("mechanism", "norm", "law"), LAWS[:2])
def test_the_radius_is_never_above_the_equations_root_and_close_below(mechanism, norm, law):
    rng = np.random.default_rng(0)
    n, classes = 10**6, 8
    counts = rng.multinomial(n, rng.dirichlet(np.full(classes, 0.4), size=60))
    for k in (1, 2, 7):
        found = certify_topk(counts, np.zeros(60, int), mechanism, k=k, norm=norm, dim=1)
        expected = []
        for row in counts:
            p, others = probabilities(row, k)
            expected.append(true_radius(np.r_[p, others], k, law))
        expected = np.array(expected)
        assert (found.radius > 0).sum() > 3
        # SciPy's own functions are good to some 1e-14.
        assert (found.radius <= expected * (1 + 1e-12)).all()
        assert found.radius == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_one_of_one_is_the_neyman_pearson_radius():
    counts = np.random.default_rng(1).multinomial(1000, np.random.default_rng(2).dirichlet(np.ones(5), size=200))
    for mechanism, norm in ((Gaussian(0.5), 2), (Exponential(0.01), math.inf), (Laplace(0.5), 1), (Uniform(0.5), 1)):
        found = certify_topk(counts, counts.argmax(axis=1), mechanism, k=1, norm=norm, dim=9)
        other = np.sort(counts, axis=1)[:, -2]
        p2 = clopper_pearson(other, 1000, np.nextafter(0.0005, 0), side="upper")
        radius = mechanism.radius(found.p1, p2, norm=norm, dim=9, bound="neyman-pearson")
        assert (found.radius == radius).all()
        assert (radius > 0).any()


def test_more_places_at_the_top_never_cost_radius_at_equal_levels():
    counts = np.random.default_rng(3).multinomial(5000, np.random.default_rng(4).dirichlet(np.ones(6), size=300))
    radii = [
        certify_topk(counts, np.zeros(300, int), Gaussian(1), k=k, norm=2, dim=1, alpha=1e-4 * (k + 1)).radius
        for k in range(1, 6)
    ]
    for fewer, more in itertools.pairwise(radii):
        assert (more >= fewer * (1 - 1e-12)).all()
    assert (radii[-1] > radii[0] + 0.1).any()


def least_divergence(order, p, total, t):
    """The least Rényi divergence after which t classes of probability `total` in sum all lead the one of p."""
    rest = 1 - p - total

    def divergence(u):
        after, before = np.array([u, t * u, 1 - (1 + t) * u]), np.array([p, total, rest])
        kept = before > 1e-15
        return np.log(np.sum(after[kept] ** order * before[kept] ** (1 - order))) / (order - 1)

    if rest < 1e-15:
        return divergence(1 / (1 + t))
    return optimize.minimize_scalar(divergence, bounds=(1e-9, 1 / (1 + t) - 1e-9), options={"xatol": 1e-12}).fun


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_renyi_radius_is_where_the_divergence_lets_k_others_lead(k):
    found = certify_topk(COUNTS, [0] * len(COUNTS), Gaussian(0.5), k=k, norm=2, dim=1, bound="renyi")
    orders = 1 + 10 ** np.linspace(-5, 0, 500)
    for row, radius in zip(COUNTS, found.radius, strict=True):
        p, others = probabilities(row, k)
        largest = np.sort(others)[::-1][:k][::-1]
        best = 0.0
        for t in range(1, k + 1):
            total = min(largest[:t].sum(), 1 - p)
            if t * p > total:
                best = max(best, *(least_divergence(order, p, total, t) / order for order in orders))
        assert 2 * radius**2 <= best * (1 + 1e-5) + 1e-13
        assert 2 * radius**2 == pytest.approx(best, rel=1e-4, abs=1e-9)
    assert (found.radius > 0).any()


def test_the_renyi_radius_is_never_above_that_of_the_curve_and_is_the_bounds_own_for_one_of_one():
    counts = np.random.default_rng(8).multinomial(5000, np.random.default_rng(9).dirichlet(np.ones(6), size=200))
    settings = {"norm": 2, "dim": 1}
    for k in (1, 2, 4):
        tight, loose = (
            certify_topk(counts, np.zeros(200, int), Gaussian(0.5), k=k, **settings, bound=bound).radius
            for bound in ("neyman-pearson", "renyi")
        )
        assert (loose <= tight * (1 + 1e-9)).all()
        assert (loose > 0).sum() == (tight > 0).sum() > 10
    top = counts.argmax(axis=1)
    found = certify_topk(counts, top, Gaussian(0.5), k=1, **settings, bound="renyi")
    p2 = clopper_pearson(np.sort(counts, axis=1)[:, -2], 5000, np.nextafter(0.0005, 0), side="upper")
    expected = Gaussian(0.5).radius(found.p1, p2, **settings, bound="renyi")
    assert (found.radius <= expected * (1 + 1e-12)).all()
    assert found.radius == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_tightest_takes_the_larger_radius_where_neither_always_is():
    counts = np.random.default_rng(10).multinomial(5000, np.random.default_rng(11).dirichlet(np.ones(6), size=200))
    tightest, curve, renyi = (
        certify_topk(counts, np.zeros(200, int), Laplace(0.5), k=2, norm=2, dim=100, bound=bound).radius
        for bound in ("tightest", "neyman-pearson", "renyi")
    )
    assert (tightest == np.maximum(curve, renyi)).all()
    assert (renyi > curve).any()


# Probabilities of the label first: out of the top k by a hair, inside it, far inside.
TRUTHS = [
    ((0.2, 0.2, 0.2, 0.2, 0.2), 2),
    ((0.3, 0.35, 0.35), 1),
    ((0.3, 0.6, 0.1), 1),
    ((0.25, 0.5, 0.25), 2),
    ((0.5, 0.3, 0.1, 0.1), 2),
    ((0.1,) * 10, 5),
    ((0.02, 0.9, 0.04, 0.04), 3),
]


def missed(found, p, k):
    """How many rows claim what is false: too large a radius, p1 too high, or p2 below the k-th largest other."""
    p = np.array(p)
    radius = found.radius > true_radius(p, k, stats.norm)
    return int((radius | (found.p1 > p[0]) | (found.p2 < np.sort(p[1:])[-k])).sum())


@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize(("p", "k"), TRUTHS)
def test_the_truth_is_missed_at_most_alpha_of_the_time(p, k, n):
    alpha, trials = 0.1, 100_000
    counts = np.random.default_rng([n, k]).multinomial(n, p, size=trials)
    found = certify_topk(counts, np.zeros(trials, int), Gaussian(1), k=k, norm=2, dim=1, alpha=alpha)
    # The most misses that chance gives with a probability above 1e-6, over all these tests together.
    assert missed(found, p, k) <= stats.binom.isf(1e-6 / (2 * len(TRUTHS)), trials, alpha)


def test_levels_that_are_not_shared_would_miss_more_often():
    """The test above can tell a wrong level from a right one: α for each of the k + 1 bounds fails it."""
    p, k, alpha, trials = (0.3, 0.6, 0.1), 1, 0.1, 100_000
    counts = np.random.default_rng(5).multinomial(400, p, size=trials)
    found = certify_topk(counts, np.zeros(trials, int), Gaussian(1), k=k, norm=2, dim=1, alpha=alpha * (k + 1))
    assert missed(found, p, k) > stats.binom.isf(1e-6, trials, alpha)


# Of the example that Jia et al. published with their code (a ResNet-110 on CIFAR-10, σ = 0.25, k = 3): votes, label and
# the radius as printed.
PUBLISHED = [
    ([2, 2, 334, 93642, 2, 5279, 737, 0, 2, 0], 3, "0.55"),
    ([0, 13453, 50, 0, 113, 36952, 1, 49328, 0, 103], 7, "0.365"),
    ([8333, 0, 157, 0, 91506, 0, 0, 0, 2, 2], 4, "0.623"),
    ([0, 52581, 0, 0, 0, 0, 0, 0, 0, 47419], 1, "0.492"),
]


def test_published_radii_of_the_top_3_are_reproduced_to_their_digits():
    votes, labels, printed = zip(*PUBLISHED, strict=True)
    # Their levels: α / K for each class.
    found = certify_topk(votes, labels, Gaussian(0.25), k=3, norm=2, dim=3072, alpha=0.001 * 4 / 10)
    assert [f"{radius:.3}" for radius in found.radius] == list(printed)


def test_a_profile_of_the_callers_own_gives_what_the_same_law_in_the_core_gives():
    class Own(Mechanism):
        name = "own"

        def sample(self, shape, **settings):
            raise NotImplementedError

        def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
            return Profile(tradeoff=lambda r, p: stats.norm.cdf(stats.norm.ppf(p) + r / 0.5))

    counts = np.random.default_rng(6).multinomial(2000, np.random.default_rng(7).dirichlet(np.ones(5), size=40))
    for k in (1, 3):
        mine, own = (certify_topk(counts, [0] * 40, m, k=k, norm=2, dim=1) for m in (Gaussian(0.5), Own()))
        assert own.radius == pytest.approx(mine.radius, rel=1e-9, abs=1e-11)
        assert (mine.radius > 0).any()


def test_the_kind_counts_votes_and_certifies_under_a_rule():
    kind, rule = TopK(k=2), Rule(Gaussian(0.5), norm=2, dim=1)
    tally = kind.tally(2, Form(classes=4))
    votes = np.r_[np.repeat([0, 1, 2, 3], [450, 500, 40, 10]), np.zeros(1000, int)]
    kind.add(tally, np.repeat([0, 1], 1000), np.tile(np.arange(1000), 2), votes)
    found = kind.certify(np.array([0, 1]), tally, rule, n=1000)
    assert found.prediction.tolist() == [0, -1]
    assert (found.radius == certify_topk(tally, [0, 1], Gaussian(0.5), k=2, norm=2, dim=1).radius).all()
    chosen = kind.certify(np.array([[1, 0, 0, 0], [0, 1, 0, 0]]), tally, rule)
    assert (chosen.radius == found.radius).all()
    # What is asked for goes before what draws select.
    labelled = kind.certify(np.array([[0, 1, 0, 0], [1, 0, 0, 0]]), tally, rule, labels=np.array([0, 1]))
    assert (labelled.radius == found.radius).all()
    moved = kind.certify(np.array([0, 1]), tally, Rule(Gaussian(0.5), norm=2, dim=1, noise_error=0.01))
    assert 0 < moved.radius[0] < found.radius[0]


def test_certificates_are_saved_and_read_again(tmp_path):
    found = certify_topk(COUNTS, [0] * len(COUNTS), Gaussian(0.5), k=2, norm=2, dim=1)
    found.save(tmp_path / "found.npz")
    again = TopKCertificates.load(tmp_path / "found.npz")
    assert again.k == 2
    assert (again.radius == found.radius).all()
    with pytest.raises(
        ValueError, match=r"found.npz holds certificates of kind .top-k k=.*, which Certificates are not"
    ):
        Certificates.load(tmp_path / "found.npz")
    certify_counts(COUNTS, Gaussian(0.5), norm=2, dim=1).save(tmp_path / "other.npz")
    with pytest.raises(
        ValueError, match=r"other.npz holds certificates of kind .top-class., which TopKCertificates are not"
    ):
        TopKCertificates.load(tmp_path / "other.npz")
    assert again.certified_accuracy([0] * len(COUNTS), 0.0) == (found.radius > 0).mean()


BAD = [
    (lambda: topk(k=4), "k must be between 1 and 3, got 4"),
    (lambda: topk(k=0), "k must be between 1 and 3, got 0"),
    (lambda: topk(labels=[0, 4]), r"labels\[1\] must be a class from 0 to 3, got 4"),
    (lambda: topk(labels=[-1, 0]), r"labels\[0\] must be a class from 0 to 3, got -1"),
    (lambda: topk(labels=[0]), r"labels must have the shape \(2,\), got \(1,\)"),
    (lambda: topk(counts=[[1, -1, 3, 4], [1, 2, 3, 4]]), r"counts\[0, 1\] must be a count of at least 0, got -1"),
    (lambda: topk(counts=[[1, 2, 3, 4], [0, 0, 0, 0]]), r"counts\[1\] must be a row of counts whose sum"),
    (lambda: topk(counts=[[3], [4]]), r"counts must be of at least 2 classes"),
    (lambda: topk(counts=[1, 2]), r"counts must have the shape \(N, K\), got \(2,\)"),
    (lambda: topk(alpha=0.0), "alpha must be a number above 0 and below 1, got 0"),
    (lambda: topk(labels=[[0, 1, 0, 0], [1, 0, 0, 0]]), r"labels must have the shape \(2,\), got \(2, 4\)"),
    (lambda: TopK(k=0), "k must be between 1 and 9007199254740992, got 0"),
    (lambda: TopK(k=3).check(Rule(Gaussian(1), norm=2, dim=1), Form(classes=3)), "k must be between 1 and 2, got 3"),
    (lambda: TopK(k=1).certify(None, np.ones((1, 3), int), Rule(Gaussian(1), norm=2, dim=1)), "selection must be"),
    (
        lambda: TopK(k=1).certify(
            np.zeros(1, int), np.ones((1, 3), int), Rule(Gaussian(1), 2, 1, bound="hockey-stick")
        ),
        'bound must be "tightest", "neyman-pearson" or "renyi" for top-k certificates, got "hockey-stick"',
    ),
    (
        lambda: TopK(k=1).certify(
            np.zeros(1, int), np.ones((1, 3), int), Rule(Gaussian(1), 2, 1, runner_up="complement")
        ),
        "runner_up must be \"second\" for top-k certificates, got 'complement'",
    ),
    (
        lambda: TopK(k=1).certify(np.zeros(1, int), np.ones((1, 3), int), Rule(Gaussian(1), 2, 1), n=4),
        r"counts\[0\] must be a row of n = 4 votes, got a row with the sum 3",
    ),
]


def topk(counts=((1, 2, 3, 4), (1, 2, 3, 4)), labels=(0, 0), *, k=2, alpha=0.001):
    return certify_topk(counts, labels, Gaussian(1), k=k, norm=2, dim=1, alpha=alpha)


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mechanisms_of_which_neither_is_known_are_refused():
    class Own(Mechanism):
        name = "own"

        def sample(self, shape, **settings):
            raise NotImplementedError

        def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
            return Profile(epsilon=lambda r: r)

    with pytest.raises(ValueError, match="mechanism must be one whose trade-off curve or divergence D_MR is known"):
        certify_topk([[1, 2, 3]], [0], Own(), k=1, norm=2, dim=1)
