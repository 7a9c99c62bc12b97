"""Splitting noise through runs and commands: against every input there is, interrupted, checked and told."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from rsmooth import SmoothedClassifier, Uniform, cli
from rsmooth.certificates.splitting import Splitting, SplittingCertificates, split
from rsmooth.certificates.topclass import TopClass
from rsmooth.report.facts import facts_of
from rsmooth.report.pictures import noisy_copy
from rsmooth.results.measures import measures
from rsmooth.results.read import read_result
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec, read_head
from rsmooth.run.verify import check_records, recount
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import Model
from run_helpers import RUNS, SPEC, change_settings, interrupted_after, rewrite, run, without_times

LEVELS = 4
SPACING = 5
SIGMA = SPACING / (2 * LEVELS)


def command(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def every_input():
    """Return all images of 1 x 3 pixels and LEVELS + 1 levels."""
    inputs = np.array(list(itertools.product(range(LEVELS + 1), repeat=3)))
    images = torch.from_numpy((inputs / LEVELS).astype(np.float32)).reshape(-1, 1, 1, 3)
    return inputs, Data("all", [(image, 0) for image in images], 3, levels=LEVELS)


def wild(seed):
    """Return a network whose classes change all over the inputs."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 3))
    with torch.no_grad():
        network[1].weight.mul_(8)
        network[3].weight.mul_(8)
    return Model(nn.Sequential(nn.Identity(), network), "mine", 3, "none")


def test_no_input_within_the_radius_of_a_run_has_another_vote(tmp_path):
    inputs, data = every_input()
    distance = abs(inputs[:, None] - inputs[None]).sum(axis=2)
    spec = Spec("uniform", SIGMA, norm=1, kind=Splitting(), batch_size=7)
    copies = torch.from_numpy(split(inputs, SPACING, grid=LEVELS, seed=9))
    attained = 0
    for seed in range(12):
        model = wild(seed)
        folder = tmp_path / str(seed)
        run(folder, spec, seed=9, model=model, data=data)
        made = read_run(folder)
        found = made.certificates()
        with torch.inference_mode():
            said = model.module(copies.reshape(-1, 1, 1, 3)).argmax(dim=1).reshape(-1, SPACING).numpy()
        # What the run counted is the vote of all copies, and the smoothed classifier's class is the most voted one.
        votes = (said[..., None] == np.arange(3)).sum(axis=1)
        assert (found.counts == votes).all()
        vote = votes.argmax(axis=1)
        assert (found.prediction == vote).all()
        assert not check_records(made)
        differ = found.prediction[:, None] != vote
        within = distance <= np.round(found.radius * LEVELS)[:, None]
        assert not (differ & within).any()
        attained += int((differ & (distance == 1 + np.round(found.radius * LEVELS)[:, None])).sum())
    assert attained > 0


def test_a_run_takes_its_copies_and_its_level_from_the_kind(made):
    kept = read_run(made / "splitting")
    found = kept.certificates()
    assert isinstance(found, SplittingCertificates)
    told = {name: kept.settings[name] for name in ("kind", "n0", "n", "alpha", "interval", "grid", "noise_error")}
    assert told == {
        "kind": "splitting",
        "n0": 0,
        "n": 16,
        "alpha": 0.0,
        "interval": "enumeration",
        "grid": "16",
        "noise_error": 0.0,
    }
    assert kept.draws.tolist() == [16] * 12
    assert found.basis.startswith("deterministic, on the grid of 1/16: all 16 copies of each input voted")
    assert (found.radius * 16 == np.round(found.radius * 16)).all()
    assert found.radius.max() > 0
    assert found.radius.max() <= 8 / 16


def test_python_certifies_what_the_run_certifies(made, trained):
    recorded, data = read_run(made / "splitting").certificates(), load_data("digits")
    images = torch.stack([data[i][0] for i in range(12)])
    smoothed = SmoothedClassifier(trained.module, Uniform(0.5), 10, grid=16)
    found = smoothed.certify(images, norm=1, kind=Splitting(), seed=3)
    assert (found.counts == recorded.counts).all()
    assert (found.radius == recorded.radius).all()


def test_an_interrupted_run_goes_on_to_the_same_records(tmp_path, monkeypatch, trained):
    spec = replace(RUNS["splitting"], max=8)
    whole = run(tmp_path / "whole", spec, model=trained)
    with interrupted_after(monkeypatch, 3), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", spec, model=trained)
    assert list((tmp_path / "stopped").glob("parts-*"))
    assert without_times(run(tmp_path / "stopped", spec, model=trained)) == without_times(whole)
    # Left out or not: the settings are the same.
    for changes in ({"n": 16}, {"grid": "16"}, {"interval": "enumeration"}):
        assert len(run(tmp_path / "stopped", replace(spec, **changes), model=trained)) == 8
    with pytest.raises(ValueError, match="grid '16' there, '32' here"):
        run(tmp_path / "stopped", replace(spec, grid="32"), model=trained)


def test_verification_asks_about_all_copies_again(runs, trained):
    folder, data = runs / "splitting", load_data("digits")
    kept = read_run(folder)
    again = recount(kept, trained, data, sample=12, seed=0, tolerance=0)
    assert (again.draws, sum(again.moved.values()), again.problems) == (12 * 16, 0, [])
    index = next(i for i, each in kept.records.items() if each["radius"] > 0)
    counts = kept.records[index]["counts"]
    wrong = [0] * 9 + [16] if counts[9] != 16 else [16] + [0] * 9
    assert check_records(kept) == []
    rewrite(folder, index, radius=kept.records[index]["radius"] + 1 / 16)
    assert [each.index for each in check_records(read_run(folder))] == [index]
    rewrite(folder, index, counts=wrong)
    assert recount(read_run(folder), trained, data, sample=12, seed=0).problems[0].index == index
    # One copy too few, or one too many, is no run's.
    rewrite(folder, index, counts=[*counts[:-1], counts[-1] + 1])
    with pytest.raises(ValueError, match="has 0 and 17 votes where 0 and 16 were drawn"):
        read_run(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.001}, "alpha must be left out for kind 'splitting'"),
        ({"n0": 5}, "n0 must be left out for kind 'splitting'"),
        ({"interval": "clopper-pearson"}, "interval must be auto or enumeration for kind 'splitting'"),
        ({"domain": "none"}, "domain must be 0,1 for kind 'splitting', got none"),
        ({"noise": "device"}, "noise must be host for kind 'splitting', got device"),
        ({"kind": "top-class"}, "n0 must be between 1 and"),
    ],
)
def test_settings_that_claim_chance_or_more_copies_are_damaged(runs, changes, message):
    file = runs / "splitting" / "run.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"settings": kept["settings"] | changes}))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_head(runs / "splitting")


def test_a_run_of_other_copies_than_its_grid_has_is_refused(runs):
    change_settings(runs / "splitting", sigma=0.25)
    with pytest.raises(ValueError, match="n must be left out for kind 'splitting', or 8, the number of all copies"):
        read_run(runs / "splitting").certificates()


def test_votes_of_draws_and_of_all_copies_are_not_certified_as_each_other(made, tmp_path, trained):
    with pytest.raises(ValueError, match="kind must be of votes of all copies"):
        read_run(made / "splitting").certificates(kind=TopClass())
    drawn = replace(RUNS["fixed"], mechanism="uniform", sigma=0.5, norm=1, n=16, n0=16, bound="tightest", max=4)
    run(tmp_path / "drawn", drawn, model=trained)
    with pytest.raises(ValueError, match=r"kind must be of votes \(top-class, top-k\), which"):
        read_run(tmp_path / "drawn").certificates(kind=Splitting())
    # A table of all copies' votes is none of counts.
    table = tmp_path / "radii.csv"
    assert command("radii", made / "splitting", "-o", table).exit_code == 0
    wrong = command("radii", table, "--mechanism", "uniform", "--sigma", 0.5, "--norm", 1, "-o", tmp_path / "again.csv")
    assert wrong.exit_code
    assert not (tmp_path / "again.csv").exists()


def test_results_tables_figures_and_pages_tell_a_run(made, tmp_path):
    folder = made / "splitting"
    result, kept = read_result(folder), read_run(folder)
    told = measures(result)
    assert (told["kind"], told["alpha"], told["mean_draws"]) == ("splitting", 0, 16)
    assert told["abstained"] == kept.certificates().abstained.sum()
    assert facts_of(result)[0]["made under"] == "ℓ₁, tightest, α = 0"
    for suffix in (".csv", ".tsv", ".parquet"):
        assert command("radii", folder, "-o", tmp_path / f"radii{suffix}").exit_code == 0
        read = read_result(tmp_path / f"radii{suffix}")
        assert (read.kind, read.alpha, read.radius.tolist()) == ("splitting", 0, result.radius.tolist())
    table = command("table", folder, "--radii", "0", "--bound", "neyman-pearson", "--bound", "tightest")
    rows = re.findall(r"splitting .* (tightest|neyman-pearson) +\| +0 \|", table.output)
    assert rows == ["neyman-pearson", "tightest"]
    assert command("plot", folder, made / "fixed", "--norm", 1, "-o", tmp_path / "figure.png").exit_code == 0
    assert command("report", folder, "-o", tmp_path / "page.html").exit_code == 0
    image = load_data("digits")[5][0]
    assert (noisy_copy(kept, 5, image) == split(image[None], 16, grid=16, seed=3)[0, 0]).all()
    # Beside others, at whatever level these are.
    table = command("table", folder, made / "fixed", "--norm", 1, "--radii", "0", "--alpha", 0.01)
    assert re.findall(r"(splitting|top-class) .* tightest +\| +([\d.]+) \|", table.output)[0] == ("splitting", "0")
    assert "0.01 |" in table.output
    assert command("report", folder, made / "fixed", "--alpha", 0.01, "-o", tmp_path / "both.html").exit_code == 0
    assert result.under(alpha=0.01).alpha == 0
    for option, value, message in (("--alpha", 7, "alpha must be"), ("--norm", 2, "norm must be 1 for kind")):
        wrong = command("table", folder, option, value)
        assert wrong.exit_code
        assert message in str(wrong.exception)


def test_the_command_certifies_resumes_and_verifies(tmp_path, checkpoint):
    asked = ("certify", "--model", checkpoint, "--data", "digits", "--mechanism", "uniform", "--norm", 1)
    asked = (*asked, "--kind", "splitting", "--max", 3, "--seed", 1, "--out", tmp_path / "run")
    for _ in range(2):
        done = command(*asked, "--sigma", 0.5)
        assert done.exit_code == 0, done.output
        assert "3 examples" in done.output
        assert "all 16 copies of each input voted" in " ".join(done.output.split())
    checked = command("verify", tmp_path / "run", "--sample", 2)
    assert checked.exit_code == 0
    assert "32 draws, 0 votes differ" in " ".join(checked.output.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 100_000}, "n must be left out for kind 'splitting', or 16, the number of all copies, got 100000"),
        ({"n0": 100}, "n0 must be left out for kind 'splitting'"),
        ({"alpha": 0.001}, "alpha must be left out for kind 'splitting'"),
        ({"until": (0.1,)}, "until and width must be None for kind 'splitting'"),
        ({"width": 0.1}, "until and width must be None for kind 'splitting'"),
        ({"norm": 2}, "norm must be 1 for kind 'splitting', got 2.0"),
        ({"sigma": 0.3}, "half_width, a run's sigma, must be a multiple of 1/32"),
        ({"mechanism": "laplace"}, "mechanism must be uniform for kind 'splitting'"),
        ({"grid": "none"}, "grid must be that of the inputs' levels for kind 'splitting', got None"),
        ({"noise": "device"}, "noise must be host for kind 'splitting'"),
        ({"domain": "-1,1"}, "domain must be 0,1 for kind 'splitting', got -1,1"),
        ({"interval": "anytime"}, "interval must be auto or enumeration for kind 'splitting', got anytime"),
        ({"bound": "renyi"}, "bound must be"),
    ],
)
def test_what_contradicts_the_kind_is_refused_by_name(tmp_path, trained, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run(
            tmp_path / "run",
            Spec(**{"mechanism": "uniform", "sigma": 0.5, "norm": 1, "kind": Splitting(), **changes}),
            model=trained,
        )
    assert not (tmp_path / "run" / "run.json").exists()


def test_draws_have_no_certificates_without_chance():
    for changes, message in (
        ({"interval": "enumeration"}, "interval must be of draws for kind 'top-class', got 'enumeration'"),
        ({"n0": 0}, "n0 must be between 1 and"),
        ({"n": 0}, "n must be between 1 and"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SPEC, **changes)
    assert (Spec("gaussian", 0.25, norm=2).n0, Spec("gaussian", 0.25, norm=2).alpha) == (100, 0.001)


def test_inputs_that_are_on_no_grid_are_refused(tmp_path, trained):
    digits = load_data("digits")
    off = Data("off", [(digits[i][0] * 0.99, digits[i][1]) for i in range(3)], 10)
    with pytest.raises(ValueError, match="grid must be that of the inputs' levels for kind 'splitting'"):
        run(tmp_path / "run", replace(RUNS["splitting"], max=3), model=trained, data=off)
