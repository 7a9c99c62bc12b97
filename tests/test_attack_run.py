"""Attacks on the smoothed classifiers of runs."""

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import Gaussian, cli
from rsmooth.run.attack import attack_run, on_grid
from rsmooth.run.certify import certify
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec
from rsmooth.run.verify import sources
from rsmooth.torch import numpy_model
from rsmooth.zoo.data import Data
from rsmooth.zoo.networks import build_model


@pytest.fixture(scope="module")
def attacked(made):
    def attack(name, **settings):
        run = read_run(made / name)
        return attack_run(run, *sources(run), **{"seed": 1, "n": 300, "copies": 8, "steps": 6, **settings})

    return attack


@pytest.mark.parametrize(
    ("name", "radii"), [("fixed", (0.0, 0.1, 0.3, 0.6, 1.5)), ("exponential", (0.0, 0.005, 0.1, 0.3))]
)
def test_accuracy_under_attack_is_above_what_is_certified_and_falls(attacked, name, radii):
    rows = attacked(name, radii=radii).rows()
    assert all(row["accuracy"] >= row["certified_accuracy"] for row in rows)
    accuracies = [row["accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    # Not for want of an attack.
    assert accuracies[-1] <= accuracies[0] - 0.4
    assert all(row["lower"] <= row["accuracy"] <= row["upper"] for row in rows)


def test_no_certified_example_is_fooled_within_its_radius(attacked):
    found = attacked("fixed", radii=np.linspace(0, 0.6, 13))
    certificates = found.run.certificates(bound="neyman-pearson")
    right = certificates.prediction == found.labels
    assert right.any()
    assert (found.fooled_at[right] >= certificates.radius[right]).all()


def test_attacks_are_the_same_again_and_other_seeds_and_radii_change_nothing_else(attacked):
    one, same = (attacked("fixed", radii=(0.2, 0.5)).record() for _ in range(2))
    assert one == same
    wider = attacked("fixed", radii=(0.5, 0.2, 0.9))
    known = np.array([math.inf if each is None else each for each in one["fooled_at"]])
    assert np.array_equal(np.where(wider.fooled_at > 0.5, math.inf, wider.fooled_at), known)
    assert len(attacked("fixed", radii=(0.2,), examples=5).indices) == 5


@pytest.mark.parametrize(("norm", "radius"), [(2, 0.4), (2, 0.05), (math.inf, 1 / 16), (math.inf, 0.2)])
def test_attacks_on_a_grid_stay_on_it_and_in_the_ball_exactly(norm, radius):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(17, (40, 1, 8, 8), generator=generator) / 16
    shift = torch.randn(x.shape, generator=generator)
    shift = shift / shift.flatten(1).norm(dim=1)[:, None, None, None] * radius if norm == 2 else shift.sign() * radius
    steps = on_grid(x, x + shift, norm=norm, radius=radius, grid=16)
    moved = steps - (x * 16).round().int()
    sizes = np.linalg.norm(moved.flatten(1).double().numpy(), ord=norm, axis=1) / 16
    assert (sizes <= radius).all()
    if radius > 0.05:
        assert sizes.min() > radius / 2
    else:
        assert not moved.any()


def test_command_prints_and_saves_both_ends(made, tmp_path):
    options = ["--radius", "0.1", "--radius", "0.5", "--max", "6", "--n", "200", "--steps", "3"]
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        result = CliRunner().invoke(cli.app, ["attack", str(made / "fixed"), *options, "--json", str(file)])
        assert result.exit_code == 0, result.output
    assert "under attack" in result.output
    assert files[0].read_bytes() == files[1].read_bytes()
    saved = json.loads(files[0].read_text())
    assert [row["radius"] for row in saved["rows"]] == [0.1, 0.5]
    assert len(saved["examples"]) == 6
    assert (saved["norm"], saved["steps"], saved["seed"]) == ("2", 3, 0)


def test_attacks_refuse(attacked, made):
    with pytest.raises(ValueError, match=r"norm must be 2 or math.inf, got 1"):
        attacked("device", radii=(0.1,))
    with pytest.raises(ValueError, match="radius must be a finite number of at least 0, got -1"):
        attacked("fixed", radii=(-1,))
    with pytest.raises(ValueError, match="radii must be one number at least, got none"):
        attacked("fixed", radii=())
    for name, kind in (("top-k", "top-k k=3"), ("soft-scores", "soft-scores scores=logits")):
        with pytest.raises(ValueError, match=f"run must be of kind 'top-class', .* got '{kind}'"):
            attacked(name, radii=(0.1,))
    run = read_run(made / "fixed")
    model, data = sources(run)
    other = Data("other", [(data[i][0], (data[i][1] + 1) % 10) for i in range(len(data))], 10)
    assert Gaussian(0.25) == run.rule.mechanism
    found = attack_run(run, model, other, radii=(0.0,), examples=4, n=300)
    assert (found.fooled_at == 0).mean() > 0.5


def sums(x):
    """Two scores of inputs around 0, by the sign of their mean."""
    return torch.stack([-x.mean(1), x.mean(1)], dim=1)


def test_inputs_of_any_range_are_attacked_where_they_are(tmp_path):
    """An attack that stayed in [0, 1] would leave the ball of inputs outside it, or move none of them."""
    items = [(torch.full((16,), value), int(value > 0)) for value in (-3.0, -0.1, 0.1, 3.0)]
    spec = Spec("gaussian", 0.5, norm=2, n0=10, n=200, batch_size=50, domain="none")
    model, data = build_model("test_attack_run:sums", 2), Data("around 0", items, 2, domain=None)
    certify(tmp_path, model, data, spec, seed=1)
    found = attack_run(read_run(tmp_path), model, data, radii=(0.3, 1.0), seed=1, n=200, copies=4, steps=4)
    # The boundary is 4 times the mean away.
    assert found.fooled_at.tolist() == [math.inf, 1.0, 1.0, math.inf]


def test_models_without_gradients_are_not_attacked(tmp_path):
    model = build_model("test_attack_run:arrays", 2)
    data = Data("around 0", [(torch.zeros(16), 0)], 2)
    certify(tmp_path, model, data, Spec("gaussian", 0.5, norm=2, n0=10, n=200, batch_size=50), seed=1)
    with pytest.raises(ValueError, match="the attack follows gradients, and a model of type tilted has none"):
        attack_run(read_run(tmp_path), model, data, radii=(0.3,), seed=1)


def tilted(x):
    return np.stack([x.mean(1), -x.mean(1)], axis=1)


arrays = numpy_model(tilted)
