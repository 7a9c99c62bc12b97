"""`rsmooth verify`: what is as recorded passes, and whatever is not is found."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import cli
from rsmooth.certificates.scores import UNITS
from rsmooth.run.results import read_run
from rsmooth.run.verify import check_records, check_sources, recount, verify
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model
from run_helpers import COUNT, RUNS, change_settings, rewrite, run

pytestmark = pytest.mark.usefixtures("any_device")


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)), env={"COLUMNS": "130"})


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_verified(made, name):
    result = invoke("verify", made / name, "--sample", 5, "--seed", 1)
    assert result.exit_code == 0, result.exception
    assert f"certificates computed again from {len(read_run(made / name).records)} examples' counts: as recorded" in (
        result.output
    )
    assert "examples drawn again (--seed 1)" in result.output
    # Scores round otherwise in other batches, on some machines.
    few = r"\d" if name.startswith("soft-scores") else "0"
    assert re.search(rf" {few} votes differ: as recorded", result.output)


def test_a_run_is_verified_step_by_step(made):
    steps = list(verify(made / "fixed", sample=2, seed=1))
    assert [step.problems for step in steps] == [None, [], None, [], []]
    assert [str(step) for step in steps[1:]] == [
        "certificates computed again from 12 examples' counts: as recorded",
        read_run(made / "fixed").certificates().basis,
        "model and data: as recorded",
        "2 examples drawn again (--seed 1), 1,300 draws, 0 votes differ: as recorded",
    ]


def test_a_run_on_the_training_images_is_verified_on_them(tmp_path, checkpoint):
    command = ["certify", "--model", checkpoint, "--data", "digits", "--split", "train", "--mechanism", "gaussian"]
    command += ["--sigma", "0.25", "--norm", "2", "--n", "300", "--max", "3", "--out", tmp_path / "run"]
    assert invoke(*command).exit_code == 0
    result = invoke("verify", tmp_path / "run", "--sample", 3)
    assert result.exit_code == 0, result.exception
    label = load_data("digits", split="train")[0][1]
    assert read_run(tmp_path / "run").records[0]["label"] == label


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("fixed", {"radius": 0.9}, "example 2 has radius 0.9, its counts give "),
        ("fixed", {"prediction": -1}, "example 2 has prediction -1, its counts give "),
        ("fixed", {"p1": 0.999}, "example 2 has p1 0.999, its counts give "),
        ("fixed", {"p2": 0.001}, "example 2 has p2 0.001, its counts give "),
        ("fixed", {"counts": [601] + [0] * 9}, "example 2 has 50 and 601 votes where 50 and 600 were drawn"),
        ("fixed", {"selection": [51] + [0] * 9}, "example 2 has 51 and 600 votes where 50 and 600 were drawn"),
        ("fixed", {"counts": [601, -1] + [0] * 8}, "example 2: counts must have 10 numbers of votes, got [601, -1, "),
        ("fixed", {"counts": [600]}, "example 2: counts must have 10 numbers of votes, got [600]"),
        ("fixed", {"counts": [600.0] + [0] * 9}, "example 2: counts must have 10 numbers of votes, got [600.0, "),
        ("fixed", {"label": "7"}, "example 2 is damaged: label must be of type int, got '7'"),
        ("fixed", {"index": 5}, "example 5 is of an example that was not asked for"),
        ("until", {"counts": [0, 2001] + [0] * 8}, "example 2 has 50 and 2,001 votes where 50 and 2,000 were drawn"),
        ("until", {"counts": [0] * 10}, "example 2 has 50 and 0 votes where 50 and 1 were drawn"),
        ("until", {"radius": 0.2}, "example 2 has radius 0.2, its counts give "),
    ],
)
def test_records_that_their_counts_do_not_give_are_found(runs, name, changes, words):
    rewrite(runs / name, 2, **changes)
    result = invoke("verify", runs / name, "--sample", 0)
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)


def test_an_example_that_ended_before_its_votes_told_enough_is_found(runs):
    kept = read_run(runs / "until")
    top = int(np.argmax(kept.records[2]["selection"]))
    early = [0] * 10
    early[top], early[top - 1] = 70, 30
    (certificate,) = kept.rule.records([kept.records[2]["selection"]], [early])
    rewrite(runs / "until", 2, counts=early, **certificate)
    (problem,) = check_records(read_run(runs / "until"))
    assert (str(problem), problem.index) == ("example 2 has 100 draws, which do not tell what was asked for", 2)


def test_an_example_that_ended_before_its_own_label_was_certified_is_found(runs):
    """Its votes tell enough of the class that draws selected, and not of the label."""
    kept = read_run(runs / "top-k-until")
    assert check_records(kept) == []
    label = kept.records[2]["label"]
    selection, early = [0] * 10, [0] * 10
    selection[label - 1], early[label - 1], early[label], early[label - 2] = 50, 90, 6, 4
    (certificate,) = kept.rule.records([selection], [early], [label])
    rewrite(runs / "top-k-until", 2, selection=selection, counts=early, **certificate)
    (problem,) = check_records(read_run(runs / "top-k-until"))
    assert (str(problem), problem.index) == ("example 2 has 100 draws, which do not tell what was asked for", 2)


def test_problems_name_their_example(runs):
    rewrite(runs / "fixed", 6, radius=0.9, p1=0.999)
    assert [problem.index for problem in check_records(read_run(runs / "fixed"))] == [6, 6]


@pytest.mark.parametrize("votes", ["selection", "counts"])
def test_votes_that_draws_do_not_give_are_found(runs, trained, votes):
    folder, kept = runs / "fixed", read_run(runs / "fixed")
    changed = {name: list(kept.records[4][name]) for name in ("selection", "counts")}
    # From the least voted to another, so that no class is selected otherwise.
    top = int(np.argmax(changed[votes]))
    changed[votes][top] -= 3
    changed[votes][top - 1] += 3
    (consistent,) = kept.rule.records([changed["selection"]], [changed["counts"]])
    rewrite(folder, 4, **changed, **consistent)
    tampered, digits = read_run(folder), load_data("digits")
    assert check_records(tampered) == []
    (problem,) = recount(tampered, trained, digits, sample=COUNT).problems
    assert str(problem) == "example 4: 3 of 650 votes differ (allowed: 1)"
    assert problem.index == 4
    assert recount(tampered, trained, digits, sample=COUNT, tolerance=0.01).problems == []
    assert recount(tampered, trained, digits, sample=COUNT, tolerance=0).moved[4] == 3
    result = invoke("verify", folder, "--sample", COUNT)
    assert "example 4: 3 of 650 votes differ (allowed: 1)" in str(result.exception)


def test_run_that_lacks_examples_is_not_verified(runs):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    result = invoke("verify", runs / "fixed", "--sample", 0)
    assert "2 examples asked for but not finished" in str(result.exception)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 1}, "noise_error is "),
        ({"max": 2000}, "examples up to 1998 were asked for, the data has 360"),
        ({"noise_layout": 7}, "noise_layout differs: 7 in the run, 1 here"),
        ({"num_classes": 9}, "must have 9 numbers of votes"),
        ({"n": 601}, "has 50 and 600 votes where 50 and 601 were drawn"),
        ({"mechanism": "cauchy"}, "mechanism must be "),
        ({"bound": "best"}, "bound must be "),
        ({"interval": "wilson"}, 'interval must be "clopper-pearson" or "anytime", got "wilson"'),
        ({"interval": "anytime"}, "its counts give "),
        ({"arch": "os:abort"}, "names code for arch, 'os:abort': untrusted runs may not import code"),
        ({"sigma": 0.26}, "radius "),
        ({"alpha": 0.01}, "its counts give "),
        ({"precision": "float64"}, "precision must be one of float32, bfloat16, float16, got 'float64'"),
    ],
)
def test_changed_settings_are_found(runs, changes, words):
    change_settings(runs / "fixed", **changes)
    result = invoke("verify", runs / "fixed", "--sample", 1)
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": 10**600}, "sigma must be of type float"),
        ({"sigma": "0.25"}, "sigma must be of type float, got '0.25'"),
        ({"max": None}, "max and batch_size must be numbers, got None"),
        ({"max": "12"}, "max must be of type int | None, got '12'"),
        ({"until": 0.1}, "until must be of type str | None, got 0.1"),
        ({"until": "0,-1"}, "until must be radii of at least 0 with commas between them, got '0,-1'"),
        ({"until": "0.1"}, "interval must hold for draws that are stopped, as anytime does, got 'clopper-pearson'"),
        ({"draws": 100.0}, "draws must be a whole number, with until, got 100"),
        ({"channels_last": 0}, "channels_last must be of type bool, got 0"),
        ({"batch_size": 0}, "batch_size must be between 1 and"),
        ({"norm": "2.0"}, "norm must be 1, 2 or inf, got '2.0'"),
        ({"norm": 2}, "norm must be of type str, got 2"),
        ({"num_classes": -1}, "num_classes must be between 0 and"),
    ],
)
def test_damaged_settings_are_found(runs, changes, words):
    file = runs / "fixed" / "run.json"
    kept = json.loads(file.read_text())
    kept["settings"] |= changes
    file.write_text(json.dumps(kept))
    assert f"{file} is damaged: {words}" in str(invoke("verify", runs / "fixed").exception)


@pytest.mark.parametrize("change", [{"entropy": "abc"}, {"entropy": "-5"}, {"spawn_key": [1.5]}])
def test_damaged_seed_is_named(runs, change):
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["seed"] |= change
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    assert "run.json is damaged: there is no seed" in str(invoke("verify", runs / "fixed").exception)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": 2, "settings": []}'])
@pytest.mark.parametrize("command", ["verify", "plot", "radii"])
def test_damaged_run_files_are_named(runs, tmp_path, command, content):
    (runs / "fixed" / "run.json").write_text(content)
    out = [] if command == "verify" else ["-o", tmp_path / ("a.png" if command == "plot" else "a.csv")]
    result = invoke(command, runs / "fixed", *out)
    assert isinstance(result.exception, ValueError)
    assert "run.json is" in str(result.exception)


@pytest.mark.parametrize("name", ["model", "data", "arch"])
@pytest.mark.parametrize("decoy", [False, True])
def test_untrusted_runs_import_no_code(runs, tmp_path, monkeypatch, name, decoy):
    monkeypatch.chdir(tmp_path)
    if name == "arch":
        change_settings(runs / "fixed", arch="os:abort")
    else:
        kept = json.loads((runs / "fixed" / "run.json").read_text())
        kept["told"][name] = "os:abort"
        (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    if decoy:
        (tmp_path / "os:abort").touch()
    result = invoke("verify", runs / "fixed")
    if decoy and name == "model":
        assert str(result.exception).startswith("os:abort cannot be loaded with weights_only=True")
        return
    assert (
        f"names code for {name}, 'os:abort': untrusted runs may not import code; to run it, give it with --{name}"
        in str(result.exception)
    )


def test_another_model_or_data_set_is_found(made, trained):
    run, data = read_run(made / "fixed"), load_data("digits")
    assert check_sources(run, trained, data) == []
    other = build_model("digits_cnn", 10, seed=2)
    assert str(check_sources(run, other, data)[0]).startswith("model differs: ")
    train = load_data("digits", split="train")
    assert str(check_sources(run, trained, train)[0]).startswith("data differs: ")
    # An image that is not among those whose content the fingerprint has.
    images = [data[i] for i in range(len(data))]
    images[2], images[4] = (1 - images[2][0], images[2][1]), (images[4][0], 1 - min(images[4][1], 1))
    problems = check_sources(run, trained, Data("other", images, 10))
    assert [problem.index for problem in problems] == [2, 4]
    assert str(problems[0]) == "example 2 has another image or label than recorded"


def test_another_model_is_not_drawn_again(made, tmp_path):
    torch.save(build_model("digits_cnn", 10, seed=2).checkpoint(), tmp_path / "model.pt")
    result = invoke("verify", made / "fixed", "--model", tmp_path / "model.pt")
    assert "model differs: " in str(result.exception)
    assert "drawn again" not in result.output


def test_noise_of_another_device_is_not_drawn_again(runs, trained):
    change_settings(runs / "device", noise_device="torch 1.0, abacus")
    with pytest.raises(ValueError, match=r"drawn by torch 1.0, abacus and cannot be drawn again by torch 2.*, cpu"):
        recount(read_run(runs / "device"), trained, load_data("digits"), sample=1)


def test_verification_asks_where_the_model_is(runs):
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["told"] = {}
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    result = invoke("verify", runs / "fixed")
    assert str(result.exception) == f"{runs / 'fixed'} does not record where its model is: give --model"


def test_an_image_replaced_between_two_starts_is_found(tmp_path, trained):
    digits = load_data("digits")
    items = [digits[i] for i in range(len(digits))]
    replaced = Data("digits", [*items], 10)
    replaced.source[1] = (1 - items[1][0], items[1][1])
    spec = replace(RUNS["fixed"], skip=1, max=2)
    run(tmp_path, spec, model=trained, data=digits)
    (problem,) = check_sources(read_run(tmp_path), trained, replaced)
    assert problem.index == 1


def test_no_difference_is_too_small_to_be_told_without_a_tolerance(runs, trained):
    kept = read_run(runs / "soft-scores")
    counts = kept.column("counts")[3].copy()
    # A unit of one of 300 draws' scores goes to the class beside it.
    low, high = np.argsort(counts[0])[-2:]
    counts[0, low] -= 1
    counts[0, high] += 1
    (consistent,) = kept.rule.records(kept.column("selection")[3:4], counts[None], kept.column("label")[3:4])
    rewrite(runs / "soft-scores", 3, counts=counts.tolist(), **consistent)
    forged = read_run(runs / "soft-scores")
    assert not check_records(forged)
    for tolerance in (0, 1e-4):
        again = recount(forged, trained, load_data("digits"), sample=COUNT, tolerance=tolerance)
        assert again.moved[3] == 1
        # Other scores round otherwise in batches of their own.
        assert (3 in {problem.index for problem in again.problems}) == (tolerance == 0)


def test_squares_of_scores_are_drawn_again(runs):
    """Records with no variance, and radii to match, were verified: the sums alone were compared."""
    kept = read_run(runs / "soft-scores")
    counts = np.array(kept.records[3]["counts"])
    counts[1] = -(-(counts[0] ** 2) // (counts[0].sum() // UNITS))
    record = kept.records[3] | {"counts": counts.tolist()}
    columns = (np.array([record[name]]) for name in ("selection", "counts", "label"))
    rewrite(runs / "soft-scores", 3, counts=record["counts"], **kept.rule.records(*columns)[0])
    forged = read_run(runs / "soft-scores")
    assert not check_records(forged)
    again = recount(forged, build_model("digits_cnn", 10, seed=1), load_data("digits"), sample=COUNT, tolerance=0)
    assert 3 in {problem.index for problem in again.problems}
