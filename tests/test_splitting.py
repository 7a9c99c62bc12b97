"""Splitting noise: its certificates against every input there is."""

import itertools
import re

import numpy as np
import pytest
import torch

from rsmooth import Certificates, Gaussian, Laplace, SmoothedClassifier, Uniform, certify_counts
from rsmooth.certificates import KINDS, kind_type
from rsmooth.certificates.kind import Form
from rsmooth.certificates.splitting import Splitting, SplittingCertificates, spacing_of, split
from rsmooth.certificates.topclass import StoppedCounts, TopClass
from rsmooth.rule import Rule
from rsmooth.torch.voter import Voter

CASES = [(5, 4, (2,)), (3, 7, (3,)), (9, 5, (1, 2)), (1, 6, (4,))]


def rule_of(levels, spacing, **changes):
    settings = {"norm": 1, "dim": 4, "alpha": 0, "interval": "enumeration", "grid": levels, **changes}
    return Rule(Uniform(spacing / (2 * levels)), **settings)


def certified(counts, levels, spacing, **changes):
    return Splitting().certify(None, np.asarray(counts), rule_of(levels, spacing, **changes))


def grid(levels, shape):
    size = int(np.prod(shape))
    return np.array(list(itertools.product(range(levels + 1), repeat=size))).reshape(-1, *shape)


@pytest.mark.parametrize(("levels", "spacing", "shape"), CASES)
def test_a_step_of_one_level_changes_exactly_one_copy(levels, spacing, shape):
    inputs = grid(levels, shape)
    copies = split(inputs, spacing, grid=levels, seed=1).reshape(len(inputs), spacing, -1)
    steps = abs(inputs[:, None] - inputs[None]).reshape(len(inputs), len(inputs), -1)
    for i in range(len(inputs)):
        changed = (copies != copies[i]).any(axis=2).sum(axis=1)
        distance = steps[i].sum(axis=1)
        assert (changed <= distance).all()
        assert (changed[distance == 1] == 1).all()


@pytest.mark.parametrize(("levels", "spacing", "shape"), CASES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_no_input_within_the_radius_has_another_prediction(levels, spacing, shape, classes, runner_up):
    inputs = grid(levels, shape)
    copies = split(inputs, spacing, grid=levels, seed=4).reshape(len(inputs) * spacing, -1)
    distinct, which = np.unique(copies, axis=0, return_inverse=True)
    rng = np.random.default_rng(3)
    distance = abs(inputs[:, None] - inputs[None]).reshape(len(inputs), len(inputs), -1).sum(axis=2)
    attained = 0
    for _ in range(40):
        # Any function of the copies, the more common classes drawn anew each time.
        model = rng.choice(classes, size=len(distinct), p=rng.dirichlet(np.full(classes, 0.5)))
        votes = model[which.ravel()].reshape(len(inputs), spacing)
        counts = (votes[..., None] == np.arange(classes)).sum(axis=1)
        found = certified(counts, levels, spacing, runner_up=runner_up)
        assert (found.radius <= certified(counts, levels, spacing).radius).all()
        assert (found.prediction == counts.argmax(axis=1)).all()
        steps = np.round(found.radius * levels).astype(int)
        differ = found.prediction[:, None] != found.prediction
        assert not (differ & (distance <= steps[:, None])).any()
        attained += int((differ & (distance == steps[:, None] + 1)).sum())
    assert attained > 0


@pytest.mark.parametrize("steps", range(6))
def test_a_model_flips_one_level_beyond_the_radius(steps):
    """It says 1 on the copies that a move of D + 1 levels makes, and on as many others as leave a lead of 2 D + 1."""
    start, moved = split([[4], [4 + steps + 1]], 13, grid=20, seed=0)[..., 0]
    new = moved != start
    assert new.sum() == steps + 1
    ones = set(moved[new]) | set(start[~new][: 6 - steps])
    said = np.array([[copy in ones for copy in votes] for votes in (start, moved)]).sum(axis=1)
    counts = np.stack([13 - said, said], axis=1)
    assert counts.tolist() == [[7 + steps, 6 - steps], [6, 7]]
    found = certified(counts, 20, 13)
    assert found.prediction.tolist() == [0, 1]
    assert found.radius[0] == steps / 20


def offsets_of(shape, spacing, seed):
    root = np.random.SeedSequence(seed, spawn_key=(5,))
    return Uniform(0.5).sample((1, *shape), seed=root, grid=spacing)[0] % spacing


@pytest.mark.parametrize("spacing", [1, 7, 100, 600])
def test_copies_hold_the_middle_between_cuts(spacing):
    shape = (3, 2)
    offsets = offsets_of(shape, spacing, 5)
    x = np.random.default_rng(0).integers(0, 256, size=(4, *shape), dtype=np.uint8)
    x[0, 0, 0], x[1, 0, 0] = 0, 255
    copies = split(x, spacing, grid=255, seed=5)
    for t in range(spacing):
        for at in np.ndindex(x.shape):
            cuts = (t + offsets[at[1:]]) % spacing + 0.5 + spacing * np.arange(-2, 256 // spacing + 3)
            low, high = max(cuts[cuts < x[at]].max(), 0), min(cuts[cuts > x[at]].min(), 255)
            assert copies[(at[0], t, *at[1:])] == np.float32((low + high) / 510)
    first, count = spacing // 2, 5
    some = split(x, spacing, grid=255, seed=5, first=first, count=count)
    assert (some == copies[:, (first + np.arange(count)) % spacing]).all()
    assert (split(torch.from_numpy(x), spacing, grid=255, seed=5) == copies).all()
    assert (split((x / 255).astype(np.float32), spacing, grid=255, seed=5) == copies).all()


def test_copies_of_inputs_that_are_made_in_pieces_are_the_same():
    x = np.random.default_rng(1).integers(0, 256, size=(2, 3, 50, 50))
    copies = np.full((2, 300, 3, 50, 50), np.nan, np.float32)
    assert split(x, 300, grid=255, seed=2, out=copies) is copies
    cut = (np.arange(300).reshape(-1, 1, 1, 1) + offsets_of((3, 50, 50), 300, 2)) % 300
    low = (x[:, None] - cut - 1) // 300 * 300 + cut
    ends = np.maximum(low + 0.5, 0) + np.minimum(low + 300.5, 255)
    assert (copies == (ends / 510).astype(np.float32)).all()


@pytest.mark.parametrize("spacing", [2, 3, 8])
def test_offsets_are_uniform(spacing):
    counts = np.bincount(offsets_of((60_000,), spacing, 0), minlength=spacing)
    assert len(counts) == spacing
    # Six standard deviations, and less than what a class with half the probability would be short of.
    assert abs(counts - 60_000 / spacing).max() < 6 * np.sqrt(60_000 / spacing)


def test_the_widest_lead_gives_half_the_spacing():
    found = certified([[400, 0], [0, 400], [200, 200]], 255, 400)
    assert found.radius.tolist() == [200 / 255, 199 / 255, 0]
    assert found.prediction.tolist() == [0, 1, 0]
    assert found.abstained.tolist() == [False, False, True]
    assert found.p1.tolist() == [1, 1, 0.5]
    assert found.p2.tolist() == [0, 0, 0.5]


def test_the_radius_is_that_of_uniform_noise_for_the_shares_rounded_down_to_levels():
    counts = np.random.default_rng(0).multinomial(510, [0.5, 0.3, 0.2], size=200)
    found = certified(counts, 255, 510)
    real = found.mechanism.radius(found.p1, found.p2, norm=1, dim=4)
    assert (found.radius <= real + 1e-12).all()
    assert (found.radius > real - 1.5 / 255).all()
    for bound in found.mechanism.holding(1):
        assert (found.under(bound=bound).radius == found.radius).all()


# Levels of chance


@pytest.mark.parametrize("name", [name for name in KINDS if name != "splitting"])
def test_kinds_that_draw_know_no_certificates_without_chance(name):
    settings = {"top-k": {"k": 1}, "median": {"tolerance": 0.5}}
    kind = kind_type(name)(**settings.get(name, {}))
    with pytest.raises(ValueError, match=r"interval|bound"):
        kind.check(Rule(Gaussian(1.0), norm=2, dim=4, alpha=0, interval="enumeration", grid=5), Form(classes=3))


@pytest.mark.parametrize("interval", ["clopper-pearson", "anytime", "betting", "empirical-bernstein"])
def test_a_level_of_0_is_for_all_copies_alone(interval):
    with pytest.raises(ValueError, match="alpha must be a number above 0 and below 1, got 0"):
        rule_of(5, 4, interval=interval)
    with pytest.raises(ValueError, match="interval must be enumeration for kind 'splitting'"):
        certified([[4, 0]], 5, 4, interval=interval, alpha=0.001)
    with pytest.raises(ValueError, match="alpha must be 0 where all copies are counted"):
        rule_of(5, 4, alpha=0.001)


def test_votes_of_draws_and_of_all_copies_are_not_taken_for_each_other():
    with pytest.raises(ValueError, match="draws that were stopped by their votes"):
        Splitting().certify(None, np.array([[4, 0]]).view(StoppedCounts), rule_of(5, 4))
    assert Splitting.counted != TopClass.counted
    found = certified([[4, 0]], 5, 4)
    assert "counts" not in found.to_arrow().column_names
    assert found.to_arrow()["copies"].to_pylist() == [[4, 0]]
    assert set(Splitting().columns("count", found.counts)) == {"copies_0", "copies_1"}
    assert not Splitting().columns("selection", found.counts)


# In Python


def bright(x):
    return (x.mean(dim=(1, 2)) > 0.4).long()


def test_all_copies_vote_whatever_the_batch_the_index_and_the_part():
    images = np.random.default_rng(0).integers(0, 256, size=(5, 4, 4), dtype=np.uint8)
    smoothed = SmoothedClassifier(bright, Uniform(100 / 510), num_classes=2)
    settings = {"kind": Splitting(), "norm": 1, "seed": 7}
    whole = smoothed.certify(images, **settings)
    copies = torch.from_numpy(split(images, 100, grid=255, seed=7))
    votes = bright(copies.flatten(0, 1)).reshape(5, 100).numpy()
    assert (whole.counts[:, 1] == votes.sum(axis=1)).all()
    assert whole.draws.tolist() == [100] * 5
    assert (whole.alpha, whole.interval, whole.noise_error) == (0, "enumeration", 0)
    assert whole.selection is None
    again = smoothed.certify(images, **settings, n0=0, n=100, alpha=0, batch_size=7)
    assert (again.counts == whole.counts).all()
    # One function of all examples: neither their numbers nor those beside them matter.
    part = smoothed.certify(images[3:], **settings, indices=[11, 0])
    assert (part.counts == whole.counts[3:]).all()
    assert (smoothed.certify(images, **{**settings, "seed": 8}).counts != whole.counts).any()
    assert smoothed.certify(images[:0], **settings).radius.shape == (0,)


def test_certificates_are_saved_and_certified_anew(tmp_path):
    found = certified([[9, 1, 0], [2, 5, 3], [5, 5, 0]], 5, 10)
    found.save(tmp_path / "found.npz")
    read = SplittingCertificates.load(tmp_path / "found.npz")
    assert (read.kind, read.alpha, read.basis) == ("splitting", 0, found.basis)
    assert "all 10 copies of each input voted" in read.basis
    assert read.radius.tolist() == found.radius.tolist() == [0.8, 0.2, 0]
    assert read.under(runner_up="complement").radius.tolist() == [0.8, 0, 0]
    with pytest.raises(ValueError, match="kind 'splitting'"):
        Certificates.load(tmp_path / "found.npz")
    for changes, message in (
        ({"norm": 2}, "norm must be 1 for kind 'splitting', got 2.0"),
        ({"alpha": 0.001}, "alpha must be 0 where all copies are counted"),
        ({"bound": "renyi"}, "bound must be"),
        ({"interval": "anytime"}, "alpha must be a number above 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            read.under(**changes)
    # Half a level in each of 4 coordinates.
    real = found.for_real_inputs()
    assert real.radius[0] == pytest.approx(0.8 - 0.4)
    assert real.radius[0] <= 0.4
    assert real.prediction.tolist() == [0, -1, -1]


@pytest.mark.parametrize(
    ("mechanism", "levels", "message"),
    [
        (Uniform(0.3), 16, "multiple of 1/32 for kind 'splitting' on the grid of 1/16, such as 0.28125 or 0.3125, got"),
        (Uniform(0.01), 16, "such as 0.03125, got 0.01"),
        (Uniform(0.5 * (1 + 1e-8)), 16, "such as 0.5 or 0.53125"),
        (Uniform(8192.0), 16, "must be between 1 and 131072, got 262144"),
        (Laplace(0.5), 16, "mechanism must be uniform for kind 'splitting', got Laplace(scale=0.5)"),
        (Uniform(0.5), None, "grid must be that of the inputs' levels for kind 'splitting', got None"),
    ],
)
def test_noise_that_has_no_such_copies_is_refused(mechanism, levels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        spacing_of(mechanism, levels)
    with pytest.raises(ValueError, match=re.escape(message)):
        Voter(bright, mechanism, 2, kind=Splitting(), grid=levels)


def test_half_widths_that_are_whole_but_for_rounding_are_taken():
    for spacing in (1, 2, 3, 51, 99, 100, 255, 3092):
        for levels in (1, 16, 255, 65535):
            assert spacing_of(Uniform(spacing / levels / 2), levels) == spacing
    assert spacing_of(Uniform(0.1), 255) == 51


BAD = [
    (lambda: split([[0, 6]], 4, grid=5, seed=0), r"x\[0, 1\] must be from 0 to 5 steps of 1/5, got 6"),
    (lambda: split([[-1, 0]], 4, grid=5, seed=0), r"x\[0, 0\] must be from 0 to 5 steps of 1/5, got -1"),
    (lambda: split([[0.5, 1.0]], 4, grid=5, seed=0), r"x\[0, 0\] must be a multiple of 1/5"),
    (lambda: split(3, 4, grid=5, seed=0), r"x must be a batch of shape \(N, \*S\), got shape \(\)"),
    (lambda: split([[0, 1]], 4, grid=5, seed=0, first=-1), "first must be between 0 and"),
    (lambda: split([[0, 1]], 4, grid=0, seed=0), "grid must be"),
    (lambda: split([[0, 1]], 0, grid=5, seed=0), "spacing must be between 1 and"),
    (lambda: certified([[3, 0]], 5, 4), r"counts\[0\] must be a row of 4 votes, got a row with the sum 3"),
    (lambda: certified([[3, 2]], 5, 4), r"counts\[0\] must be a row of 4 votes, got a row with the sum 5"),
    (lambda: certified([[5, -1]], 5, 4), r"counts\[0, 1\] must be a count of at least 0, got -1"),
    (lambda: certified([4, 0], 5, 4), r"counts must have the shape \(N, K\) with K of at least 2, got \(2,\)"),
    (lambda: certified([[4]], 5, 4), r"counts must have the shape \(N, K\) with K of at least 2, got \(1, 1\)"),
    (lambda: certified([[4, 0]], 5, 4, noise_error=0.1), "noise_error must be 0 for kind 'splitting', got 0.1"),
    (lambda: certified([[4, 0]], 5, 4, norm=2), "norm must be 1 for kind 'splitting', got 2.0"),
    (lambda: certified([[4, 0]], 5, 4, bound="pure-dp"), "bound must be"),
    (
        lambda: Splitting().certify(np.array([[1, 0]]), np.array([[4, 0]]), rule_of(5, 4)),
        "selection must be of no votes where all copies are counted",
    ),
    (
        lambda: Splitting().certify(None, np.array([[4, 0]]), rule_of(5, 4), n=5),
        "n must be left out for kind 'splitting', or 4, the number of all copies, got 5",
    ),
]


@pytest.mark.parametrize(("refused", "message"), BAD)
def test_bad_input_is_refused_by_name(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n": 100_000}, ValueError, "n must be left out for kind 'splitting', or 4, the number of all copies"),
        ({"n0": 100}, ValueError, "n0 must be left out for kind 'splitting', all of whose copies vote, got 100"),
        ({"alpha": 0.001}, ValueError, "alpha must be left out for kind 'splitting', all of whose copies vote"),
        ({"until": [0.1]}, ValueError, "until must be None for kind 'splitting'"),
        ({"norm": 2}, ValueError, "norm must be 1 for kind 'splitting', got 2.0"),
        ({"labels": [0]}, ValueError, "labels must be None for kind 'splitting'"),
        ({"x": [[0, 6]]}, ValueError, "x must be in [0, 1], got 1.2"),
        ({"x": [[0.3, 0.5]]}, ValueError, "must be a multiple of 1/5"),
        ({"model": lambda x: x - x.mean(dim=0)}, ValueError, "depends on more than the row"),
        ({"model": lambda x: x * torch.nan}, ValueError, "is not finite for 4 noisy copies of example 0"),
        ({"model": lambda x: torch.zeros(len(x), 3)}, ValueError, "the model must return scores of shape (4, 2)"),
    ],
)
def test_what_a_model_cannot_be_certified_for_is_refused(changes, error, message):
    settings = {"x": [[0, 5]], "model": lambda x: x, "norm": 1, "kind": Splitting(), "seed": 0, **changes}
    smoothed = SmoothedClassifier(settings.pop("model"), Uniform(4 / 10), num_classes=2, grid=5)
    with pytest.raises(error, match=re.escape(message)):
        smoothed.certify(np.asarray(settings.pop("x")), **settings)


def test_other_kinds_have_the_draws_and_the_level_that_they_had():
    smoothed = SmoothedClassifier(lambda x: x, Gaussian(0.1), num_classes=2)
    x = torch.tensor([[0.2, 0.8]])
    found = smoothed.certify(x, norm=2, seed=0)
    assert (found.draws.tolist(), found.alpha) == ([100_100], 0.001)
    for name in ("n0", "n"):
        with pytest.raises(ValueError, match=f"{name} must be between 1 and"):
            smoothed.certify(x, norm=2, **{name: 0})
    with pytest.raises(ValueError, match="alpha must be"):
        smoothed.certify(x, norm=2, alpha=0)
    with pytest.raises(ValueError, match="alpha must be"):
        certify_counts([[9, 1]], Gaussian(0.1), norm=2, dim=2, alpha=0)
