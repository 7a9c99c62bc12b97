"""What a run's folder gives: other bounds, files and figures."""

import csv
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import Gaussian, SmoothedClassifier, certify_counts, cli
from rsmooth.certificates.fullinformation import FullInformation
from rsmooth.io.recertify import recertify, recertify_run
from rsmooth.plots import p1_figure
from rsmooth.results.measures import measures
from rsmooth.results.read import read_result
from rsmooth.results.result import Result
from rsmooth.results.table import FORMATS, results_table
from rsmooth.rule import Rule
from rsmooth.run.results import read_run
from rsmooth.zoo.data import load_data
from run_helpers import COUNT, RUNS, rewrite


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)), env={"COLUMNS": "130"})


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
        grid=16,
        noise_error=Gaussian(0.25).noise_error(64, 16),
    )
    assert np.array_equal(found.radius, expected.radius)
    assert np.array_equal(found.prediction, expected.prediction)
    assert list(run.records) == list(run.indices) == list(range(0, 2 * COUNT, 2))


@pytest.mark.parametrize("name", RUNS)
def test_own_certificates_are_the_recorded_ones(made, name):
    run = read_run(made / name)
    found = run.certificates()
    for field in ("prediction", "radius", "p1", "p2"):
        assert np.array_equal(getattr(found, field), run.column(field)), field
    assert (found.prediction >= 0).any()
    assert found.norm == run.rule.norm


@pytest.mark.parametrize("runner_up", ["second", "complement"])
@pytest.mark.parametrize("bound", ["renyi", "neyman-pearson", "tightest", "pixeldp"])
@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_stopped_counts_are_certified_under_every_bound_norm_and_level(made, bound, norm, runner_up):
    run = read_run(made / "until")
    found = run.certificates(bound=bound, norm=norm, alpha=0.01, runner_up=runner_up)
    expected = certify_counts(
        run.column("counts"),
        Gaussian(0.25),
        norm=norm,
        dim=64,
        alpha=0.01,
        bound=bound,
        selection=run.column("selection"),
        runner_up=runner_up,
        interval="anytime",
        grid=run.rule.grid,
        noise_error=run.rule.noise_error,
    )
    assert np.array_equal(found.radius, expected.radius)
    assert np.array_equal(found.prediction, expected.prediction)
    assert (found.stopped, found.interval, run.spec.interval) == (True, "anytime", "anytime")
    again = certify_counts(
        found.counts, found.mechanism, norm=norm, dim=64, selection=found.selection, interval="anytime"
    )
    assert again.stopped


def test_stopped_counts_are_refused_by_intervals_for_a_fixed_number_of_draws(made, tmp_path):
    run = read_run(made / "until")
    found = run.certificates()
    for counts in (found.counts, found.counts[:3], found.counts.copy()):
        with pytest.raises(ValueError, match="counts must be of numbers of draws that were fixed beforehand"):
            certify_counts(counts, found.mechanism, norm=2, dim=64, selection=found.selection[: len(counts)])
    with pytest.raises(ValueError, match="counts must be of numbers of draws that were fixed beforehand"):
        run.certificates(interval="clopper-pearson")
    result = invoke("radii", made / "until", "--interval", "clopper-pearson", "-o", tmp_path / "r.csv")
    assert "draws that were fixed beforehand" in str(result.exception)
    fixed = read_run(made / "fixed")
    assert not fixed.certificates().stopped
    # The other way it may be had.
    assert (fixed.certificates(interval="anytime").radius <= fixed.certificates().radius).all()


def test_certificates_name_the_examples_whose_draws_they_rest_on(made, trained):
    found = read_run(made / "fixed").certificates()
    assert found.indices.tolist() == list(range(0, 2 * COUNT, 2))
    data = load_data("digits")
    again = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16).certify(
        torch.stack([data[int(index)][0] for index in found.indices]),
        n0=50,
        n=600,
        norm=2,
        bound="renyi",
        seed=found.seed,
        indices=found.indices,
        batch_size=100,
    )
    assert np.array_equal(again.counts, found.counts)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["fixed", "until"])
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
    count = "stopped_count" if name == "until" else "count"
    for k in range(10):
        assert np.array_equal(table[f"{count}_{k}"].to_numpy(), run.column("counts")[:, k])
        assert np.array_equal(table[f"selection_{k}"].to_numpy(), run.column("selection")[:, k])
    assert set(table["interval"].to_pylist()) == {"anytime" if name == "until" else "clopper-pearson"}
    again = tmp_path / "again.csv"
    if name == "until":
        with pytest.raises(ValueError, match="counts must be of numbers of draws that were fixed beforehand"):
            recertify(out, again, Gaussian(0.25), norm=2, interval="clopper-pearson")
        assert not again.exists()
    recertify(out, again, Gaussian(0.25), norm=2, bound=run.spec.bound)
    assert np.array_equal(pa.csv.read_csv(again)["radius"].to_numpy(), found.radius)


def test_stopped_counts_stay_stopped_through_arrow(made, tmp_path):
    for name, table in (
        ("certificates", read_run(made / "until").certificates().to_arrow()),
        ("result", read_result(made / "until").to_arrow()),
    ):
        assert "stopped_counts" in table.column_names
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match="got draws that were stopped by their votes"):
            recertify(tmp_path / f"{name}.parquet", tmp_path / "out.parquet", Gaussian(0.25), norm=2)
        recertify(tmp_path / f"{name}.parquet", tmp_path / "out.parquet", Gaussian(0.25), norm=2, interval="anytime")
    assert "counts" in read_run(made / "fixed").certificates().to_arrow().column_names


def test_certificates_of_no_probabilities_have_no_p1_in_tables_and_figures():
    scores = np.zeros((1, 400, 3), np.int64)
    scores[..., 0], scores[..., 1] = 60000, 5535
    rule = Rule(Gaussian(0.5), norm=2, dim=4, interval="betting")
    result = Result.of("all of it", FullInformation().certify(scores[:, :50].copy(), scores, rule), [0])
    found = measures(result, [0.0])
    assert found["p1"] is None
    assert found["certified_accuracy"] == [1.0]
    for form in FORMATS:
        assert "nan" not in results_table([found], form).lower()
    with pytest.raises(ValueError, match="p1 must be known, and that of all of it is not"):
        p1_figure([result])


def test_counts_cannot_be_both_stopped_and_not(tmp_path):
    source = tmp_path / "both.csv"
    source.write_text("count_0,count_1,stopped_count_0,stopped_count_1\n9,1,9,1\n")
    with pytest.raises(ValueError, match=r"must have columns count_0, … or stopped_count_0, …, and not both"):
        recertify(source, tmp_path / "out.csv", Gaussian(0.25), norm=2)


def test_tsv_is_a_result_file_of_the_field_in_full_precision(made, tmp_path):
    out = tmp_path / "out.tsv"
    result = invoke("radii", made / "fixed", "--bound", "neyman-pearson", "--runner-up", "complement", "-o", out)
    assert result.exit_code == 0, result.output
    run = read_run(made / "fixed")
    found = run.certificates(bound="neyman-pearson", runner_up="complement")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert out.read_text().startswith("idx\tlabel\tpredict\tradius\tcorrect\ttime\tmechanism\t")
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


def test_abstentions_stay_in_the_denominator(runs):
    run = read_run(runs / "fixed")
    before = measures(read_result(runs / "fixed"))
    hopeless = [60] * 10
    (abstention,) = run.rule.records([run.records[0]["selection"]], [hopeless])
    rewrite(runs / "fixed", 0, counts=hopeless, **abstention)
    after = measures(read_result(runs / "fixed"))
    assert after["abstained"] == before["abstained"] + 1
    assert after["examples"] == COUNT
    assert after["accuracy"] == pytest.approx(before["accuracy"] - 1 / COUNT)
