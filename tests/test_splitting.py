"""Splitting noise: its certificates against every input there is."""

import itertools

import numpy as np
import pytest

from rsmooth.certificates.splitting import Splitting

CASES = [(5, 4, (2,)), (3, 7, (3,)), (9, 5, (1, 2)), (1, 6, (4,))]


def grid(levels, shape):
    size = int(np.prod(shape))
    return np.array(list(itertools.product(range(levels + 1), repeat=size))).reshape(-1, *shape)


@pytest.mark.parametrize(("levels", "spacing", "shape"), CASES)
def test_a_step_of_one_level_changes_exactly_one_copy(levels, spacing, shape):
    splitting = Splitting(levels, spacing, shape, seed=1)
    inputs = grid(levels, shape)
    copies = splitting.copies(inputs).reshape(len(inputs), spacing, -1)
    steps = abs(inputs[:, None] - inputs[None]).reshape(len(inputs), len(inputs), -1)
    for i in range(len(inputs)):
        changed = (copies != copies[i]).any(axis=2).sum(axis=1)
        distance = steps[i].sum(axis=1)
        assert (changed <= distance).all()
        assert (changed[distance == 1] == 1).all()


@pytest.mark.parametrize(("levels", "spacing", "shape"), CASES)
@pytest.mark.parametrize("classes", [2, 3])
def test_no_input_within_the_radius_has_another_prediction(levels, spacing, shape, classes):
    splitting = Splitting(levels, spacing, shape, seed=2)
    inputs = grid(levels, shape)
    copies = splitting.copies(inputs).reshape(len(inputs) * spacing, -1)
    distinct, which = np.unique(copies, axis=0, return_inverse=True)
    rng = np.random.default_rng(3)
    distance = abs(inputs[:, None] - inputs[None]).reshape(len(inputs), len(inputs), -1).sum(axis=2)
    attained = 0
    for _ in range(40):
        # Any function of the copies, the more common classes drawn anew each time.
        model = rng.choice(classes, size=len(distinct), p=rng.dirichlet(np.full(classes, 0.5)))
        votes = model[which.ravel()].reshape(len(inputs), spacing)
        counts = (votes[..., None] == np.arange(classes)).sum(axis=1)
        found = splitting.certify(counts)
        assert (found.prediction == counts.argmax(axis=1)).all()
        steps = np.round(found.radius * levels).astype(int)
        differ = found.prediction[:, None] != found.prediction
        assert not (differ & (distance <= steps[:, None])).any()
        attained += int((differ & (distance == steps[:, None] + 1)).sum())
    assert attained > 0


@pytest.mark.parametrize("certified", range(6))
def test_a_model_flips_one_level_beyond_the_radius(certified):
    """It says 1 on the copies that a move of D + 1 levels makes, and on as many others as leave a lead of 2 D + 1."""
    splitting = Splitting(levels=20, spacing=13, shape=(1,), seed=0)
    start, moved = splitting.copies([[4], [4 + certified + 1]])[..., 0]
    new = moved != start
    assert new.sum() == certified + 1
    ones = set(moved[new]) | set(start[~new][: 6 - certified])
    said = np.array([[copy in ones for copy in votes] for votes in (start, moved)]).sum(axis=1)
    counts = np.stack([13 - said, said], axis=1)
    assert counts.tolist() == [[7 + certified, 6 - certified], [6, 7]]
    found = splitting.certify(counts)
    assert found.prediction.tolist() == [0, 1]
    assert found.radius[0] == certified / 20


def test_copies_hold_the_middle_between_cuts():
    splitting = Splitting(levels=255, spacing=100, shape=(3, 2), seed=5)
    x = np.random.default_rng(0).integers(0, 256, size=(4, 3, 2), dtype=np.uint8)
    copies = splitting.copies(x)
    for t in range(100):
        for at in np.ndindex(x.shape):
            cuts = (t + splitting.offsets[at[1:]]) % 100 + 0.5 + 100 * np.arange(-1, 4)
            low, high = max(cuts[cuts < x[at]].max(), 0), min(cuts[cuts > x[at]].min(), 255)
            assert copies[(at[0], t, *at[1:])] == np.float32((low + high) / 510)
    assert (splitting.copies(x, 30, 5) == copies[:, 30:35]).all()
    assert (Splitting(255, 100, (3, 2), seed=5).offsets == splitting.offsets).all()
    assert splitting.offsets.min() >= 0
    assert splitting.offsets.max() < 100


def test_the_widest_lead_gives_half_the_spacing():
    splitting = Splitting(levels=255, spacing=400, shape=(2,), seed=0)
    assert splitting.certify([[400, 0]]).radius[0] == 200 / 255
    assert splitting.certify([[0, 400]]).radius[0] == 199 / 255
    assert splitting.certify([[200, 200]]).radius[0] == 0


def small():
    return Splitting(levels=5, spacing=4, shape=(2,), seed=0)


BAD = [
    (lambda: small().copies([[0, 6]]), r"inputs\[0, 1\] must be between 0 and 5, got 6"),
    (lambda: small().copies([0, 1]), r"inputs must have the shape \(N, \*\(2,\)\), got \(2,\)"),
    (lambda: small().copies([[0, 1]], 3, 2), "count must be between 0 and 1, got 2"),
    (lambda: small().certify([[3, 2]]), r"counts\[0\] must be a row of 4 votes, got a row with the sum 5"),
    (lambda: small().certify([[5, -1]]), r"counts\[0, 1\] must be a count of at least 0, got -1"),
    (lambda: small().certify([4, 0]), r"counts must have the shape \(N, K\) with K of at least 2, got \(2,\)"),
    (lambda: Splitting(0, 4, 2, seed=0), "levels must be between 1 and"),
    (lambda: Splitting(5, 0, 2, seed=0), "spacing must be between 1 and"),
]


@pytest.mark.parametrize(("refused", "message"), BAD)
def test_bad_input_is_refused_by_name(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


def test_inputs_that_are_no_levels_are_refused():
    with pytest.raises(TypeError, match="inputs must be integers, got dtype float64"):
        small().copies([[0.5, 1.0]])
