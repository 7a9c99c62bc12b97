"""The settings of a run: written one way, and none of them changed when it goes on."""

import importlib
import json
import re
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from rsmooth._settings import written
from rsmooth.certificates.topk import TopK
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec, read_head
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model
from run_helpers import (
    SPEC,
    replace,
    run,
    without_times,
)

SMALL = replace(SPEC, n=300, max=4)

pytestmark = pytest.mark.usefixtures("any_device")

CHANGES = {
    "mechanism": "exponential",
    "sigma": 0.5,
    "norm": np.inf,
    "kind": TopK(k=3),
    "n0": 51,
    "n": 301,
    "alpha": 0.01,
    "bound": "renyi",
    "runner_up": "complement",
    "interval": "anytime",
    "until": (0.0, 0.1),
    "width": 0.1,
    "draws": 5000.0,
    "skip": 2,
    "max": 3,
    "batch_size": 99,
    "grid": "32",
    "domain": "-1,2",
    "noise": "device",
    "precision": "bfloat16",
    "channels_last": True,
    "compile": True,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    run(folder, SMALL)
    return folder


@pytest.mark.parametrize("name", [each.name for each in fields(Spec)])
def test_a_run_does_not_go_on_with_another_setting(small, name):
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    changes = {name: CHANGES[name]} if name != "draws" else {each: CHANGES[each] for each in ("until", "draws")}
    changed = replace(SMALL, **changes)
    # Both are settled when a run begins.
    # A kind that is the usual one is left out.
    there, here = read_head(small).settings.get(name, "top-class"), written(changed)[name]
    with pytest.raises(ValueError, match=re.escape(f"{name} {there!r} there, {here!r} here")) as raised:
        run(small, changed)
    assert "holds a run with other settings: " in str(raised.value)
    assert before == {path.name: path.read_bytes() for path in small.iterdir()}


def test_a_run_does_not_go_on_with_another_model_data_set_or_seed(small):
    digits = load_data("digits")
    other = Data("digits", [(1 - image, label) for image, label in (digits[i] for i in range(len(digits)))], 10)
    for change, message in (
        ({"model": build_model("digits_cnn", 10, seed=2)}, "other settings: model '.*' there, '.*' here"),
        ({"data": other}, "other settings: .*data '.*' there, '.*' here"),
        ({"seed": 6}, "another seed: entropy 5 there, 6 here"),
        ({"seed": np.random.SeedSequence(5, spawn_key=(1,))}, r"another seed: spawn_key \[\] there, \[1\] here"),
    ):
        with pytest.raises(ValueError, match=message):
            run(small, SMALL, **change)


def test_a_run_does_not_go_on_with_other_code(tmp_path, monkeypatch):
    source = tmp_path / "own_network.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    text = "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10){})\n"
    source.write_text(text.format(""))
    torch.manual_seed(0)
    model = build_model("own_network:make", 10)
    state = model.module.state_dict()
    run(tmp_path / "run", SMALL, model=model)
    source.write_text(text.format(", nn.ReLU()"))
    del sys.modules["own_network"]
    importlib.invalidate_caches()
    changed = build_model("own_network:make", 10)
    changed.module.load_state_dict(state)
    with pytest.raises(ValueError, match=r"other settings: code '.*' there, '.*' here"):
        run(tmp_path / "run", SMALL, model=changed)


def test_every_setting_that_differs_is_named(small):
    with pytest.raises(ValueError, match=r"sigma 0.25 there, 0.5 here; n 300 there, 400 here; .*choose another folder"):
        run(small, replace(SMALL, sigma=0.5, n=400))


@pytest.mark.parametrize("norm", [2, 2.0, np.float32(2), np.int64(2)])
def test_norms_and_numbers_are_written_one_way(small, norm):
    assert without_times(run(small, replace(SMALL, norm=norm, n=np.int64(300)))) == without_times(
        read_run(small).records
    )
    assert json.loads((small / "run.json").read_text())["settings"]["norm"] == "2"


@pytest.mark.parametrize("until", [[0.1, 0], (0, np.float64(0.1), 0.1), np.array([0, 0.1])])
def test_radii_are_written_one_way(tmp_path, until):
    spec = replace(SMALL, n=500, until=until)
    assert spec == replace(SMALL, n=500, until=(0.0, 0.1))
    run(tmp_path, spec)
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert (settings["until"], settings["interval"], settings["width"]) == ("0,0.1", "anytime", None)
    assert read_run(tmp_path).spec.until == (0.0, 0.1)
    assert len(run(tmp_path, replace(SMALL, n=500, until=(0.1, 0.0)))) == 4


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be between 1 and"),
        ({"n": 2.5}, TypeError, "n must be an integer, got 2.5"),
        ({"channels_last": 1}, TypeError, "channels_last must be of type bool, got 1"),
        ({"bound": None}, TypeError, "bound must be of type str, got None"),
        ({"sigma": "0.25"}, TypeError, "sigma must be a number, got '0.25'"),
        ({"norm": 3}, ValueError, "norm must be 1, 2 or math.inf, got 3"),
        ({"width": True}, TypeError, "width must be a number, got True"),
        ({"until": 0.1}, TypeError, "until must be a sequence of radii, got 0.1"),
        ({"until": "0.1"}, TypeError, "until must be a sequence of radii, got '0.1'"),
        ({"until": ()}, ValueError, "until must be of at least one radius"),
        ({"until": (0, True)}, TypeError, r"until\[1\] must be a number, got True"),
        ({"until": (0, -0.5)}, ValueError, r"until\[1\] must be finite and at least 0, got -0.5"),
        ({"until": (0, np.inf)}, ValueError, r"until\[1\] must be finite and at least 0, got inf"),
        ({"until": (0,), "width": 0.1}, ValueError, "until or width must be None"),
        ({"width": 0.1, "interval": "clopper-pearson"}, ValueError, "interval must hold for draws that are stopped"),
        ({"draws": 1e6}, ValueError, "draws must be a whole number, with until, got 1e"),
        ({"until": (0,), "draws": 0.5}, ValueError, "draws must be a whole number, with until, got 0.5"),
        (
            {"domain": "1,0"},
            ValueError,
            "domain must be two finite numbers, the lower first, as 0,1, or none, got '1,0'",
        ),
        ({"domain": "0"}, ValueError, "domain must be two finite numbers"),
        ({"domain": "0,inf"}, ValueError, "domain must be two finite numbers"),
    ],
)
def test_settings_of_another_kind_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        replace(SMALL, **settings)


def test_settings_name_what_a_reader_needs(tmp_path):
    run(tmp_path, SMALL, told={"model": "here"})
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept["seed"] == {"entropy": "5", "spawn_key": [], "pool_size": 4}
    assert kept["settings"]["sigma"] == 0.25
    assert kept["build"]["grid_layout"] == kept["settings"]["noise_layout"]
    assert kept["told"] == {"model": "here"}
    assert read_head(tmp_path).spec == replace(SMALL, grid="16", interval="clopper-pearson")


@pytest.mark.parametrize(
    ("given", "written"), [("0,1", "0,1"), ("0.0, 1", "0,1"), ("-1,2.5", "-1,2.5"), ("none", "none")]
)
def test_domains_are_written_one_way(given, written):
    assert replace(SMALL, domain=given).domain == written
