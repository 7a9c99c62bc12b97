"""What a run's folder gives: other bounds, files, figures, and the checks of `rsmooth verify`."""

import csv
import json
import math
import shutil
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import Exponential, Gaussian, Laplace, certify_counts, cli, clopper_pearson
from rsmooth.io.counts import recertify, recertify_run
from rsmooth.run.certify import Order, certify
from rsmooth.run.results import Rule, read_run
from rsmooth.run.verify import check_records, check_sources, recount
from rsmooth.torch import device
from rsmooth.training.loop import Training, train
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model

COUNT = 12
FIXED = Order(norm=2, n0=50, n=600, max=2 * COUNT, skip=2, batch_size=100)
ONE_RADIUS = Order(norm=2, n0=50, n=2000, max=COUNT, batch_size=64, radius=0.1, bound="neyman-pearson")
ORDERS = {
    "fixed": (Gaussian(0.25), FIXED),
    "exponential": (Exponential(0.25 / 64), Order(norm=math.inf, n0=50, n=300, max=COUNT, batch_size=100)),
    "betting": (Gaussian(0.25), ONE_RADIUS),
    "stages": (Gaussian(0.25), Order(norm=2, n0=50, n=2000, max=COUNT, batch_size=64, radius=0.1, test="stages")),
    "device": (Laplace(0.05), Order(norm=1, n0=50, n=300, max=COUNT, batch_size=77, noise="device")),
    "bfloat16": (Gaussian(0.25), Order(norm=2, n0=50, n=300, max=3, precision="bfloat16", channels_last=True)),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = build_model("digits_cnn", 10, seed=1)
    train(model, load_data("digits", split="train"), Gaussian(0.25), Training(epochs=4, batch_size=64), seed=0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.save(model.checkpoint(), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    kept = torch.load(checkpoint, weights_only=True)
    model = build_model("digits_cnn", 10)
    model.module.load_state_dict(kept["state_dict"])
    return model


@pytest.fixture(scope="module", autouse=True)
def any_device():
    """Let torch draw noise on the CPU, whose generators are good enough for tests alone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "GENERATORS", {"cuda", "cpu"})
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory, checkpoint, model):
    """Return the folder of each kind of run."""
    folder = tmp_path_factory.mktemp("runs")
    for name, (mechanism, order) in ORDERS.items():
        told = {"model": str(checkpoint), "data": "digits", "split": "test", "root": "data"}
        certify(folder / name, model, load_data("digits"), mechanism, order, seed=3, told=told)
    return folder


@pytest.fixture
def runs(made, tmp_path):
    """Return copies, which tests may spoil."""
    return shutil.copytree(made, tmp_path / "runs")


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)), env={"COLUMNS": "130"})


def rewrite(folder, which, **changes):
    """Change a record of a run and its checksum with it."""
    file = folder / "examples-0.jsonl"
    lines = []
    for line in file.read_text().splitlines():
        record = json.loads(line)
        del record["crc32"]
        if record["index"] == which:
            record |= changes
        text = json.dumps(record)
        lines.append(f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n')
    file.write_text("".join(lines))


@pytest.mark.parametrize("bound", ["renyi", "neyman-pearson", "pixeldp"])
@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_another_bound_and_norm_are_those_of_the_counts(made, bound, norm):
    run = read_run(made / "fixed")
    found = run.certificates(bound=bound, norm=norm, alpha=0.01, runner_up="complement")
    expected = certify_counts(
        run.column("counts"),
        Gaussian(0.25),
        norm=norm,
        dim=64,
        alpha=0.01,
        bound=bound,
        selection=run.column("selection"),
        runner_up="complement",
    )
    assert np.array_equal(found.radius, expected.radius)
    assert np.array_equal(found.prediction, expected.prediction)
    assert list(run.records) == list(run.indices) == list(range(0, 2 * COUNT, 2))


@pytest.mark.parametrize("name", ORDERS)
def test_own_certificates_are_the_recorded_ones(made, name):
    run = read_run(made / name)
    found = run.certificates()
    for field in ("prediction", "radius", "p1", "p2"):
        assert np.array_equal(getattr(found, field), run.column(field)), field
    assert (found.prediction >= 0).any()
    assert found.norm == run.rule.norm


@pytest.mark.parametrize("name", ["betting", "stages"])
def test_counts_of_one_radius_tell_of_no_other(made, name):
    run = read_run(made / name)
    assert run.certificates(norm=2, alpha=0.001, bound=run.rule.bound).radius.max() == 0.1
    for change in ({"norm": math.inf}, {"alpha": 0.01}, {"bound": "pixeldp"}):
        with pytest.raises(ValueError, match=rf"certified the radius 0.1 alone: .* {next(iter(change))} cannot be"):
            run.certificates(**change)


def test_certified_radius_of_a_sequential_test_follows_from_its_p1(made):
    found = read_run(made / "betting").certificates()
    certified = found.prediction >= 0
    radii = Gaussian(0.25).radius(found.p1, found.p2, norm=2, dim=64, bound="neyman-pearson")
    assert (radii[certified] >= found.radius[certified]).all()
    assert (found.radius[~certified] == 0).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["fixed", "betting"])
def test_files_hold_counts_and_certificates(made, tmp_path, name, suffix):
    run, out = read_run(made / name), tmp_path / f"out.{suffix}"
    summary = recertify_run(run, out)
    table = pa.parquet.read_table(out) if suffix == "parquet" else pa.csv.read_csv(out)
    found = run.certificates()
    assert (summary.rows, summary.largest) == (COUNT, found.radius.max())
    assert table["index"].to_pylist() == list(run.indices)
    assert table["image"].to_pylist() == run.column("image").tolist()
    for column in ("prediction", "radius", "p1", "p2", "order"):
        assert np.array_equal(table[column].cast("float64").to_numpy(), getattr(found, column), equal_nan=True)
    count = "stopped_count" if name == "betting" else "count"
    for k in range(10):
        assert np.array_equal(table[f"{count}_{k}"].to_numpy(), run.column("counts")[:, k])
        assert np.array_equal(table[f"selection_{k}"].to_numpy(), run.column("selection")[:, k])
    assert ("outcome" in table.column_names) == (name == "betting")
    if name == "betting":
        with pytest.raises(ValueError, match=r"must have columns count_0, count_1, … or counts"):
            recertify(out, tmp_path / "again.csv", Gaussian(0.25), norm=2)


def test_tsv_is_a_result_file_of_the_field_in_full_precision(made, tmp_path):
    out = tmp_path / "out.tsv"
    result = invoke("radii", made / "fixed", "--bound", "neyman-pearson", "--runner-up", "complement", "-o", out)
    assert result.exit_code == 0, result.output
    run = read_run(made / "fixed")
    found = run.certificates(bound="neyman-pearson", runner_up="complement")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert out.read_text().startswith("idx\tlabel\tpredict\tradius\tcorrect\ttime\n")
    assert [float(row["radius"]) for row in rows] == found.radius.tolist()
    assert [int(row["correct"]) for row in rows] == (found.prediction == run.column("label")).astype(int).tolist()
    assert rows[0]["time"].startswith("0:00:00.")
    again = tmp_path / "again.tsv"
    recertify(out, again, Gaussian(0.25), norm=2, bound="neyman-pearson")
    radii = pa.csv.read_csv(again, parse_options=pa.csv.ParseOptions(delimiter="\t"))["radius"].to_numpy()
    assert (radii <= found.radius).all()
    np.testing.assert_allclose(radii, found.radius, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fixed", "--sigma", "0.5"], "sigma is 0.25 in"),
        (["fixed", "--mechanism", "laplace"], "mechanism is gaussian in"),
        (["fixed", "--selection", "s.npy"], "selection is kept with the counts in"),
        (["fixed", "--bound", "pure-dp"], '"pixeldp" for the gaussian mechanism, got "pure-dp"'),
        (["betting", "--norm", "inf"], "certified the radius 0.1 alone"),
        (["."], "holds no run: it has no run.json"),
        (["fixed", "-o", "radii.txt"], "out must end in .csv, .tsv or .parquet"),
    ],
)
def test_radii_of_a_run_are_refused_by_name(made, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = invoke("radii", made / arguments[0], *arguments[1:], *([] if "-o" in arguments else ["-o", "r.csv"]))
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ORDERS)
def test_a_run_is_verified(made, name):
    result = invoke("verify", made / name, "--sample", 5, "--seed", 1)
    assert result.exit_code == 0, result.exception
    assert f"certificates computed again from {len(read_run(made / name).records)} examples' counts: as recorded" in (
        result.output
    )
    assert "examples drawn again (--seed 1)" in result.output
    assert "0 votes differ: as recorded" in result.output


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("fixed", {"radius": 0.9}, "example 2 has radius 0.9, its counts give "),
        ("fixed", {"prediction": -1}, "example 2 has prediction -1, its counts give "),
        ("fixed", {"counts": [601] + [0] * 9}, "example 2 has 50 and 601 votes where 50 and 600 were drawn"),
        ("fixed", {"counts": [601, -1] + [0] * 8}, "example 2 must have 10 numbers of votes, got [601, -1, "),
        ("fixed", {"counts": [600]}, "example 2 must have 10 numbers of votes, got [600]"),
        ("fixed", {"counts": [600.0] + [0] * 9}, "example 2 must have 10 numbers of votes, got [600.0, "),
        ("fixed", {"label": "7"}, "example 2 is damaged: label must be of type int, got '7'"),
        ("fixed", {"index": 5}, "example 5 is of an example that was not asked for"),
        ("stages", {"counts": [150] + [0] * 9}, "example 2 has "),
        ("betting", {"counts": [0, 40] + [0] * 8, "outcome": "undecided"}, "votes where 50 and 2,000 were drawn"),
        ("betting", {"radius": 0.2}, "example 2 has radius 0.2, its counts give "),
        ("betting", {"outcome": "lost"}, "example 2 has outcome 'lost', its counts give "),
    ],
)
def test_records_that_their_counts_do_not_give_are_found(runs, name, changes, words):
    rewrite(runs / name, 2, **changes)
    result = invoke("verify", runs / name, "--sample", 0)
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)


def test_counts_that_draws_do_not_give_are_found(runs, model):
    run = read_run(runs / "fixed")
    counts = run.records[4]["counts"]
    top = int(np.argmax(counts))
    counts[top] -= 3
    counts[top - 1] += 3
    (consistent,) = run.rule.records([run.records[4]["selection"]], [counts])
    rewrite(runs / "fixed", 4, counts=counts, **consistent)
    changed = read_run(runs / "fixed")
    assert check_records(changed) == []
    assert recount(changed, model, load_data("digits"), sample=COUNT).problems == [
        "example 4: 3 of 650 votes are others than recorded, more than 1"
    ]
    assert recount(changed, model, load_data("digits"), sample=COUNT, tolerance=0.01).problems == []
    assert recount(changed, model, load_data("digits"), sample=COUNT, tolerance=0).moved[4] == 3


def test_run_that_lacks_examples_is_not_verified(runs):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    result = invoke("verify", runs / "fixed", "--sample", 0)
    assert "2 examples asked for but not finished" in str(result.exception)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 1}, "example 0 has 64 coordinates, not 1"),
        ({"max": 2000}, "examples up to 1999 were asked for, the data has 360"),
        ({"sigma": 10**600}, "run.json is damaged: sigma must be of type float"),
        ({"noise_layout": 7}, "the noise_layout is not the run's: 7 there, 1 here"),
        ({"num_classes": 9}, "must have 9 numbers of votes"),
        ({"n": 601}, "has 50 and 600 votes where 50 and 601 were drawn"),
        ({"sigma": "0.25"}, "run.json is damaged: sigma must be of type float, got '0.25'"),
        ({"max": None}, "run.json is damaged: max must be of type int, got None"),
        ({"channels_last": 0}, "run.json is damaged: channels_last must be of type bool, got 0"),
        ({"batch_size": 0}, "run.json is damaged: batch_size must be at least 1, got 0"),
        ({"mechanism": "cauchy"}, "mechanism must be one of gaussian, exponential, laplace, got 'cauchy'"),
        ({"bound": "best"}, 'bound must be "renyi", "neyman-pearson", "pure-dp" or "pixeldp", got "best"'),
        ({"radius": 0.1, "test": "luck"}, "outcome must be of type str, got None"),
        ({"arch": "os:abort"}, "names the architecture 'os:abort', which is code: pass it with --arch"),
    ],
)
def test_changed_settings_are_found(runs, changes, words):
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["settings"] |= changes
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    result = invoke("verify", runs / "fixed", "--sample", 1)
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)


@pytest.mark.parametrize("change", [{"entropy": "abc"}, {"entropy": "-5"}, {"spawn_key": [1.5]}])
def test_damaged_seed_is_named(runs, change):
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["seed"] |= change
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    assert "run.json is damaged: there is no seed" in str(invoke("verify", runs / "fixed").exception)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "settings": []}'])
@pytest.mark.parametrize("command", ["verify", "plot", "radii"])
def test_damaged_settings_are_named(runs, tmp_path, command, content):
    (runs / "fixed" / "run.json").write_text(content)
    out = [] if command == "verify" else ["-o", tmp_path / ("a.png" if command == "plot" else "a.csv")]
    result = invoke(command, runs / "fixed", *out)
    assert isinstance(result.exception, ValueError)
    assert "run.json is" in str(result.exception)


@pytest.mark.parametrize("name", ["model", "data", "arch"])
@pytest.mark.parametrize("decoy", [False, True])
def test_strangers_run_has_no_code_run(runs, tmp_path, monkeypatch, name, decoy):
    monkeypatch.chdir(tmp_path)
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["settings" if name == "arch" else "told"][name] = "os:abort"
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    if decoy:
        (tmp_path / "os:abort").touch()
    result = invoke("verify", runs / "fixed")
    if decoy and name == "model":
        assert str(result.exception).startswith("os:abort cannot be loaded with weights_only=True")
        return
    assert f"says {name} 'os:abort', which is code: give it with --{name} to have it run" in str(result.exception)


def test_another_model_or_data_set_is_found(made, model):
    run, data = read_run(made / "fixed"), load_data("digits")
    assert check_sources(run, model, data) == []
    assert check_sources(run, build_model("digits_cnn", 10, seed=2), data)[0].startswith("the model is not the run's: ")
    assert check_sources(run, model, load_data("digits", split="train"))[0].startswith("the data is not the run's: ")
    # An image that is not among those whose content the fingerprint has.
    images = [data[i] for i in range(len(data))]
    images[2], images[4] = (1 - images[2][0], images[2][1]), (images[4][0], 1 - min(images[4][1], 1))
    assert check_sources(run, model, Data("other", images, 10)) == [
        f"example {index} is another image or of another class than recorded" for index in (2, 4)
    ]


def test_noise_of_another_device_is_not_drawn_again(runs, model):
    kept = json.loads((runs / "device" / "run.json").read_text())
    kept["settings"]["noise_device"] = "torch 1.0, abacus"
    (runs / "device" / "run.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"drawn by torch 1.0, abacus and cannot be drawn again by torch 2.*, cpu"):
        recount(read_run(runs / "device"), model, load_data("digits"), sample=1)


def test_verification_asks_where_the_model_is(runs):
    kept = json.loads((runs / "fixed" / "run.json").read_text())
    kept["told"] = {}
    (runs / "fixed" / "run.json").write_text(json.dumps(kept))
    result = invoke("verify", runs / "fixed")
    assert str(result.exception) == f"{runs / 'fixed'} does not say where its model came from: give --model"


def test_plot_draws_every_bound_that_holds_and_saves_the_numbers(made, tmp_path):
    figure, numbers = tmp_path / "figure.png", tmp_path / "numbers.json"
    bounds = [part for bound in ("renyi", "neyman-pearson", "pure-dp") for part in ("--bound", bound)]
    runs = [made / "fixed", made / "exponential"]
    result = invoke("plot", *runs, "--norm", "inf", *bounds, "-o", figure, "--json", numbers)
    assert result.exit_code == 0, result.exception
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(numbers.read_text())
    assert [(row["mechanism"], row["bound"]) for row in rows] == [
        ("gaussian", "renyi"),
        ("gaussian", "neyman-pearson"),
        ("exponential", "renyi"),
        ("exponential", "pure-dp"),
    ]
    run = read_run(made / "fixed")
    found = run.certificates(norm=math.inf)
    right = found.prediction == run.column("label")
    assert rows[0]["average_certified_radius"] == pytest.approx(np.where(right, found.radius, 0).mean(), rel=1e-12)
    assert rows[0]["accuracy"] == right.mean()
    held = [(right & (found.radius > r)).sum() for r in rows[0]["radii"]]
    assert rows[0]["certified_accuracy"] == [k / COUNT for k in held]
    assert rows[0]["lower"] == clopper_pearson(held, COUNT, 0.025).tolist()
    assert rows[0]["upper"] == clopper_pearson(held, COUNT, 0.025, side="upper").tolist()
    assert f"{rows[0]['accuracy']:.1%}" in result.output


def test_abstentions_stay_in_the_denominator(runs):
    run = read_run(runs / "fixed")
    before = run.measures(run.certificates())
    hopeless = [60] * 10
    (abstention,) = run.rule.records([run.records[0]["selection"]], [hopeless])
    rewrite(runs / "fixed", 0, counts=hopeless, **abstention)
    after_run = read_run(runs / "fixed")
    after = after_run.measures(after_run.certificates())
    assert after["abstained"] == before["abstained"] + 1
    assert after["examples"] == COUNT
    assert after["accuracy"] == pytest.approx(before["accuracy"] - 1 / COUNT)


def test_plot_says_that_a_run_is_not_finished(runs, tmp_path):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]) + "damaged\n")
    result = invoke("plot", runs / "fixed", "-o", tmp_path / "a.svg")
    assert result.exit_code == 0, result.exception
    assert f"{COUNT - 2} of {COUNT} examples finished, 1 damaged lines" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fixed", "exponential"], "norm must be given where runs certify in several norms"),
        (["fixed", "--bound", "pure-dp"], "bound must be one of renyi, neyman-pearson, pixeldp for the gaussian"),
        (["fixed", "--bound", "renyi", "--bound", "reny"], "for the gaussian mechanism of"),
        (["fixed", "--norm", "3"], "norm must be 1, 2 or inf, got '3'"),
        (["fixed", "-o", "a.txt"], "out must end in .png, .pdf or .svg"),
    ],
)
def test_plots_are_refused_by_name(made, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    folders = [made / each if each in ORDERS else each for each in arguments]
    result = invoke("plot", *folders, *([] if "-o" in arguments else ["-o", "a.png"]))
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [Gaussian, Exponential, Laplace])
def test_mechanisms_name_the_bounds_that_hold(kind):
    for bound in ("renyi", "neyman-pearson", "pure-dp", "pixeldp"):
        if bound in kind.bounds:
            assert kind(0.5).radius(0.9, 0.1, norm=2, dim=4, bound=bound) > 0
        else:
            with pytest.raises(ValueError, match="bound must be"):
                kind(0.5).radius(0.9, 0.1, norm=2, dim=4, bound=bound)


def test_rules_that_can_certify_nothing_are_refused():
    rule = {"norm": 2, "dim": 64, "alpha": 0.001, "bound": "renyi", "n": 20}
    with pytest.raises(ValueError, match="n = 20 draws cannot certify this radius even if all agree"):
        Rule(Gaussian(0.25), **rule, radius=0.3)
    with pytest.raises(ValueError, match="radius 90 is more than"):
        Rule(Gaussian(0.25), **rule, radius=90)
