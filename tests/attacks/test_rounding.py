"""Rounding attacks: each makes a floating-point certificate false, and none an exact one."""

import numpy as np
import pytest

from attacks.lattices import ATTACKS
from rsmooth import SmoothedClassifier

N = 20_000


def certify(attack, grid):
    smoothed = SmoothedClassifier(attack.model, attack.mechanism, 2, grid=grid)
    return smoothed.certify(
        np.stack([attack.certified, attack.flipped]), n0=100, n=N, alpha=1e-6, norm=attack.norm, seed=1
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_floating_point_certificate_is_false(attack):
    found = certify(attack, grid=None)
    # One input is certified for class 0 as far as the other, which is certified for class 1.
    assert found.prediction.tolist() == [0, 1]
    assert found.radius[0] > attack.distance
    assert found.radius[1] > 0
    assert not found.exact


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_exact_certificate_is_false(attack):
    found = certify(attack, grid=attack.grid)
    first, second = found.prediction.tolist()
    assert found.exact
    assert first == second or -1 in (first, second) or found.radius.sum() <= attack.distance
    # And it is no abstention that saves it.
    assert first == 0
    assert found.radius[0] > attack.distance
