"""One reader for runs, files of this package and the field's result files."""

import math
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from scipy import stats

from rsmooth import Gaussian, Laplace, certify_counts
from rsmooth.certificates.result import StoppedCounts
from rsmooth.io.recertify import recertify, recertify_run
from rsmooth.results.read import read_result
from rsmooth.results.result import LostVotesError, Result
from rsmooth.results.several import read_results
from rsmooth.run.results import read_run
from run_helpers import COUNT, rewrite

HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime"


def field(path, *rows, head=HEAD, end="\n"):
    path.write_text("\n".join([head, *(row.replace(" ", "\t") for row in rows)]) + end)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "tsv"])
@pytest.mark.parametrize("name", ["fixed", "until", "exponential"])
def test_a_run_and_the_files_written_of_it_are_one_result(made, tmp_path, name, suffix):
    run, out = read_run(made / name), tmp_path / f"out.{suffix}"
    recertify_run(run, out)
    from_run, from_file = read_result(made / name), read_result(out)
    assert (from_run.name, from_file.name) == (name, "out")
    assert from_run.index.tolist() == list(run.indices)
    same = ["index", "labels", "prediction", "radius"]
    same += [] if suffix == "tsv" else ["p1", "p2", "images", "draws"]
    for each in same:
        assert np.array_equal(getattr(from_run, each), getattr(from_file, each)), each
    for each in ("norm", "mechanism", "noise", "dim", "bound", "runner_up", "interval", "alpha", "grid"):
        assert getattr(from_run, each) == getattr(from_file, each), each
    np.testing.assert_allclose(from_run.seconds, from_file.seconds, atol=1e-6)
    assert from_run.certified.mean() == run.certificates().average_radius(run.column("label"))
    if suffix == "tsv":
        assert from_file.certificates is None
        return
    # Its votes with all that belongs to them, so that it is certified anew as the run is.
    assert isinstance(from_file.certificates.counts, StoppedCounts) == (name == "until")
    for changes in ({"bound": "renyi"}, {"norm": math.inf, "alpha": 0.01}, {"norm": 1, "runner_up": "complement"}):
        expected = run.certificates(**changes)
        for result in (from_run, from_file):
            again = result.under(**changes)
            assert np.array_equal(again.radius, expected.radius)
            assert np.array_equal(again.prediction, expected.prediction)
            for setting, value in changes.items():
                assert getattr(again, setting) == value
                assert getattr(again.certificates, setting) == value
    if name == "until":
        with pytest.raises(ValueError, match="draws that were fixed beforehand"):
            from_file.under(interval="clopper-pearson")


def test_an_unfinished_run_says_so(runs):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]) + "damaged\n")
    found = read_result(runs / "fixed")
    assert len(found) == COUNT - 2
    assert found.notes == (f"not finished: {COUNT - 2} of {COUNT} examples", "damaged lines were left out: 1")


def test_dialects_of_the_field(tmp_path):
    locuslab = field(
        tmp_path / "sigma_0.25", "0 3 3 0.421 1 0:00:15", "20 8 1 0.0725 0 1:02:03.5", "40 7 -1 0.0 0 1 day,_0:00:01"
    )
    locuslab.write_text(locuslab.read_text().replace("1\tday,_", "1 day, "))
    # Four digits, plain seconds, and `correct` a running count.
    denoised = field(tmp_path / "denoised.tsv", "0 3 3 0.4213 1 15.4", "20 8 8 0.0725 2 15", "40 7 1 0.1 2 1e-05")
    short = field(tmp_path / "short", "0 3 3 0.421 1 0:00:15", "20 8 1 0.07", end="")
    found = [read_result(path) for path in (locuslab, denoised, short)]
    assert [each.name for each in found] == ["sigma_0.25", "denoised", "short"]
    assert found[0].seconds.tolist() == [15, 3723.5, 86401]
    assert found[1].seconds.tolist() == [15.4, 15, 1e-5]
    assert found[0].index.tolist() == [0, 20, 40]
    assert (found[0].abstained, found[0].prediction.tolist()) == (1, [3, 1, -1])
    assert found[1].certified.accuracy([0, 0.08]).tolist() == [2 / 3, 1 / 3]
    assert found[1].certified.mean() == pytest.approx((0.4213 + 0.0725) / 3)
    assert (len(found[2]), found[2].notes) == (1, ("stops early: line 3 is cut short and was left out",))
    for each in found:
        assert (each.mechanism, each.noise, each.norm) == (None, "gaussian", 2)
        assert (each.bound, each.runner_up, each.alpha, each.p1, each.draws) == (
            "neyman-pearson",
            "complement",
            *[None] * 3,
        )
    # A file whose last line is whole but for its end is whole.
    assert len(read_result(field(tmp_path / "whole", "0 3 3 0.421 1 0:00:15", end=""))) == 1


def test_other_bounds_of_a_result_file_never_claim_more_than_was_measured(tmp_path):
    p1 = np.linspace(0.51, 0.999, 50)
    rows = [f"{i} 1 1 {0.5 * stats.norm.ppf(p):.3} 1 1" for i, p in enumerate(p1)]
    source = field(tmp_path / "a", *rows)
    unknown, found = read_result(source), read_result(source, sigma=0.5, dim=3072)
    assert found.noise == "gaussian, σ = 0.5"
    assert (found.p1 <= p1).all()
    # Where a digit 0 was not printed, more is taken off.
    np.testing.assert_allclose(found.p1, p1, atol=0.02)
    for norm, bound in ((2, "renyi"), (math.inf, "neyman-pearson")):
        again = found.under(norm=norm, bound=bound)
        exact = Gaussian(0.5).radius(p1, 1 - p1, norm=norm, dim=3072, bound=bound)
        assert (again.radius <= exact).all()
        np.testing.assert_allclose(np.median(again.radius / exact), 1, rtol=5e-3)
        assert (again.norm, again.bound) == (norm, bound)
    # What they are already.
    for each in (unknown, found):
        assert np.array_equal(each.under(bound="tightest").radius, each.radius)
        assert np.array_equal(each.under(norm=2, bound="neyman-pearson", runner_up="complement").radius, each.radius)
    with pytest.raises(LostVotesError, match=r"bound cannot be applied to .*, whose votes are lost: its sigma would"):
        unknown.under(bound="renyi")
    with pytest.raises(LostVotesError, match=r"alpha cannot be applied to .*, whose votes are lost"):
        found.under(alpha=0.01)
    with pytest.raises(LostVotesError, match=r"norm cannot be inf for .* depends on the number of coordinates"):
        read_result(source, sigma=0.5).under(norm=math.inf)
    with pytest.raises(ValueError, match="pure-dp"):
        found.under(bound="pure-dp")


def test_radii_of_a_separate_p2_tell_no_p1(made, tmp_path):
    """Nor do those of another bound, nor are radii of another mechanism or norm read as the Gaussian's in ℓ2."""
    for name, changes in (
        ("fixed", {"bound": "tightest"}),
        ("fixed", {"runner_up": "complement"}),
        ("exponential", {}),
    ):
        recertify_run(read_run(made / name), tmp_path / f"{name}.tsv", **changes)
        found = read_result(tmp_path / f"{name}.tsv")
        assert (found.p1, found.mechanism) == (None, read_run(made / name).rule.mechanism)
        with pytest.raises(LostVotesError, match="whose votes are lost: its p1 would have to be known"):
            found.under(bound="neyman-pearson")


def test_bounds_of_class_probabilities_alone_are_those_of_the_grid(made):
    found = read_result(made / "exponential")
    for bound in ("neyman-pearson", "pure-dp", "renyi"):
        again = replace(found, certificates=None).under(bound=bound)
        expected = found.under(bound=bound)
        assert np.array_equal(again.radius, expected.radius)
        assert np.array_equal(again.prediction, expected.prediction)


def test_a_reread_result_file_keeps_its_numbers(tmp_path):
    source = field(tmp_path / "a", "7 3 3 0.421 1 0:00:15", "5 8 8 0.0725 1 0:00:14")
    recertify(source, tmp_path / "b.csv", Gaussian(0.25), norm=2, bound="renyi")
    found = read_result(tmp_path / "b.csv")
    assert (found.index.tolist(), found.labels.tolist(), found.bound) == ([7, 5], [3, 8], "renyi")
    np.testing.assert_allclose(found.p1, stats.norm.cdf(np.array([0.421, 0.0725]) / 0.25), atol=1e-3)
    np.testing.assert_allclose(found.under(bound="neyman-pearson").radius, [0.421, 0.0725], atol=6e-4)


def test_a_table_with_labels_of_its_own(tmp_path):
    counts = tmp_path / "c.csv"
    counts.write_text("label,count_0,count_1,selected\n0,990,10,0\n1,480,520,1\n")
    recertify(counts, tmp_path / "r.parquet", Laplace(0.5), norm=1, dim=3)
    found = read_result(tmp_path / "r.parquet")
    assert found.index.tolist() == [0, 1]
    expected = certify_counts([[990, 10], [480, 520]], Laplace(0.5), norm=1, dim=3, selection=[0, 1])
    assert np.array_equal(found.radius, expected.radius)
    assert found.draws.tolist() == [1000, 1000]


SETTINGS = "mechanism\tparameter\tnorm\tdim\tbound\talpha\trunner_up"


@pytest.mark.parametrize(
    ("rows", "head", "words"),
    [
        (["0 3 3 0.4 1 1", "0 3 3 0.4 1 1"], HEAD, "line 3: input 0 has a row already"),
        (["0 3 3 0.4 1 1", "0 3 3 1"], HEAD, "line 3: there must be 6 cells, got 4"),
        (["0 3 3 0.4 1 1", "x 3 3 0.4 1 1"], HEAD, "line 3: idx must be an integer of at least 0, got 'x'"),
        (["0 -1 3 0.4 1 1"], HEAD, "line 2: label must be an integer of at least 0, got '-1'"),
        (["0 3 3 nan 1 1"], HEAD, "line 2: predict and radius must be a class or -1 and a radius"),
        *(
            ([f"0 3 {predict} {radius} 1 1"], HEAD, "line 2: predict and radius must be a class or -1 and a radius")
            for predict, radius in (
                ("9" * 20, "0.4"),
                ("1_0", "0.4"),
                ("\u0663", "0.4"),
                ("3", "1e-99999999"),
                ("3", "1e99999999"),
                ("3", "1" * 6000),
            )
        ),
        (["0 3 3 0.4 1 soon"], HEAD, "line 2: time must be seconds or hours:minutes:seconds, got 'soon'"),
        ([], HEAD, "has no rows"),
        (["0 3 3 0.4"], "idx label predict correct", "or begin with the columns of a result file"),
        (["0 3 3 0.4 cauchy 1 2"], "idx\tlabel\tpredict\tradius\tmechanism\tparameter\tnorm", "line 2: bound must say"),
        (
            ["0 3 3 0.4 laplace 1 3 1 renyi 0.1 second"],
            f"idx\tlabel\tpredict\tradius\t{SETTINGS}",
            "line 2: norm must be 1, 2 or inf, got '3'",
        ),
        (
            ["0 3 3 0.4 laplace 1 2 1 renyi 0.1 second", "1 3 3 0.4 laplace 2 2 1 renyi 0.1 second"],
            f"idx\tlabel\tpredict\tradius\t{SETTINGS}",
            "line 3: parameter is '2' there, '1' in the rows before",
        ),
    ],
)
def test_bad_result_files_are_refused_by_line_column_and_value(tmp_path, rows, head, words):
    source = field(tmp_path / "a", *rows, head=head)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_result(source)
    assert words in str(caught.value)
    assert str(source) in str(caught.value)


def test_bad_tables_are_refused(tmp_path, made):
    recertify_run(read_run(made / "fixed"), tmp_path / "good.csv")
    table = pa.csv.read_csv(tmp_path / "good.csv")
    for changes, words in (
        ({"label": None}, "must have the columns label, prediction, radius and the settings .* it has no label"),
        ({"prediction": pa.array(["a"] * COUNT)}, "bad.csv, line 2: prediction must be an integer, got 'a'"),
        ({"radius": pa.array(["a"] * COUNT)}, "bad.csv, line 2: radius must be a number, got 'a'"),
        (
            {"prediction": pa.array(["1", "2", "x", *"3" * (COUNT - 3)])},
            "line 4: prediction must be an int.*'x'",
        ),
        ({"prediction": pa.array([1.5] * COUNT)}, "line 2: prediction must be an integer, got 1.5"),
        ({"p1": pa.array(["0.5", *"y" * (COUNT - 1)])}, "line 3: p1 must be a number, got 'y'"),
        ({"index": pa.array([3, 4, 3, *range(20, 17 + COUNT)])}, "line 4: input 3 has a row already"),
        (
            {"radius": pa.array([-1.0] + [0.0] * (COUNT - 1))},
            "line 2: radius must be .*, got -1.0",
        ),
        ({"norm": pa.array(["2"] * (COUNT - 1) + ["1"])}, f"line {COUNT + 1}: norm is '?1'? there"),
    ):
        columns = {name: table[name] for name in table.column_names} | changes
        path = tmp_path / "bad.csv"
        pa.csv.write_csv(pa.table({name: column for name, column in columns.items() if column is not None}), path)
        with pytest.raises(ValueError, match=words):
            read_result(path)
    with pytest.raises(ValueError, match=r"sigma is 0.25 in .*, got 0.5"):
        read_result(tmp_path / "good.csv", sigma=0.5)
    with pytest.raises(ValueError, match=r"dim is 64 in .*, got 3"):
        read_result(made / "fixed", dim=3)


def test_what_the_votes_of_a_table_do_not_give_is_refused(tmp_path, made):
    recertify_run(read_run(made / "fixed"), tmp_path / "good.csv", bound="neyman-pearson")
    table = pa.csv.read_csv(tmp_path / "good.csv")
    for name, value, words in (
        ("radius", 9.0, "line 2: radius must be .*, as the counts give it, got 9.0"),
        ("p1", 0.9999999, "line 2: p1 must be .*, as the counts give it, got 0.9999999"),
        ("p2", 0.0, "line 2: p2 must be .*, as the counts give it, got 0.0"),
        ("prediction", 99, "line 2: prediction must be .*, as the counts give it, got 99"),
        ("alpha", 7.0, "alpha must be"),
        ("bound", "junk", "bound must be"),
        ("interval", "junk", "interval must be"),
    ):
        column = pa.array([value] * len(table))
        pa.csv.write_csv(table.set_column(table.column_names.index(name), name, column), tmp_path / "bad.csv")
        with pytest.raises(ValueError, match=rf"bad.csv.*{words}"):
            read_result(tmp_path / "bad.csv")
    # Without votes a probability is one at least.
    lost = table.drop_columns([name for name in table.column_names if name.startswith("count_")])
    pa.csv.write_csv(
        lost.set_column(lost.column_names.index("p1"), "p1", pa.array([9.0] * len(lost))), tmp_path / "p.csv"
    )
    with pytest.raises(ValueError, match=r"p.csv, line 2: p1 must be at least 0 and at most 1, got 9.0"):
        read_result(tmp_path / "p.csv")


@pytest.mark.parametrize("name", ["fixed", "exponential"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_radii_of_a_table_without_votes_are_at_most_what_its_p1_and_p2_give(tmp_path, made, name, suffix):
    path = tmp_path / f"bare{suffix}"
    for bound in (None, "neyman-pearson"):
        recertify_run(read_run(made / name), tmp_path / "full.parquet", bound=bound)
        table = pa.parquet.read_table(tmp_path / "full.parquet")
        table = table.drop_columns([each for each in table.column_names if re.search("count|selection", each)])

        def written(table=table, **changes):
            columns = {each: table[each] for each in table.column_names} | changes
            (pa.csv.write_csv if suffix == ".csv" else pa.parquet.write_table)(pa.table(columns), path)
            return path

        found = read_result(written())
        radius, row = found.radius.copy(), int(found.radius.argmin())
        assert found.certificates is None
        assert len(found.radius) == COUNT
        assert 0 <= radius[row] < radius.max()
        # Smaller ones claim less.
        assert (read_result(written(radius=pa.array(radius / 2))).radius == radius / 2).all()
        radius[row] = radius[row] * 1.001 + 1e-6
        prediction = np.maximum(found.prediction, 0)
        where = f"line {row + 2}" if suffix == ".csv" else f"row {row}"
        with pytest.raises(
            ValueError, match=f"bare{suffix}, {where}.*: radius must be at most .*, which its p1 and p2"
        ):
            read_result(written(radius=pa.array(radius), prediction=pa.array(prediction)))
        with pytest.raises(ValueError, match=f"bare{suffix}: bound must be"):
            read_result(written(bound=pa.array(["hopeful"] * COUNT)))
        # What p1 and p2 would give cannot be known, or is of another kind.
        for unknown in ("p1", "p2", "parameter"):
            left = table.drop_columns(unknown) if unknown != "parameter" else table
            nothing = {"parameter": pa.nulls(COUNT)} if unknown == "parameter" else {}
            assert read_result(written(left, radius=pa.array(radius), **nothing)).radius[row] == radius[row]
        other = {"kind": pa.array(["top-k k=3"] * COUNT), "radius": pa.array(radius)}
        assert read_result(written(**other)).radius[row] == radius[row]


def test_radii_that_depend_on_the_dimension_are_checked_where_it_is_told_or_given(tmp_path):
    (tmp_path / "counts.csv").write_text("label,count_0,count_1,selected\n0,990,10,0\n")
    recertify(tmp_path / "counts.csv", tmp_path / "radii.csv", Gaussian(0.5), norm=math.inf, dim=64)
    names, cells = (line.split(",") for line in (tmp_path / "radii.csv").read_text().splitlines())
    for told in ("64", ""):
        row = dict(zip(names, cells, strict=True)) | {'"dim"': told}
        row = {name: cell for name, cell in row.items() if "count" not in name and "selected" not in name}
        (tmp_path / "bare.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
        assert read_result(tmp_path / "bare.csv", dim=64).dim == 64
        row['"radius"'] = str(2 * float(row['"radius"']))
        (tmp_path / "bare.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
        for read in (read_result, lambda path, dim: read_results([path], dim=dim)):
            with pytest.raises(ValueError, match=r"line 2: radius must be at most 0\.1224"):
                read(tmp_path / "bare.csv", dim=64)
        if not told:
            assert read_result(tmp_path / "bare.csv").dim is None


def test_a_grid_without_what_its_noise_costs_is_refused(tmp_path, made):
    """Nothing would have been paid for the law of the noise."""
    recertify_run(read_run(made / "fixed"), tmp_path / "good.csv")
    table = pa.csv.read_csv(tmp_path / "good.csv").drop_columns(["noise_error"])
    table = table.set_column(table.column_names.index("grid"), "grid", pa.array([255] * len(table)))
    pa.csv.write_csv(table, tmp_path / "grid.csv")
    for read in (read_result, lambda path: recertify(path, tmp_path / "out.csv", Gaussian(0.25), norm=2)):
        with pytest.raises(
            ValueError, match=r"grid.csv, line 2: noise_error must say what the noise on the grid costs"
        ):
            read(tmp_path / "grid.csv")


def test_a_result_of_certificates_at_hand_and_as_arrow():
    certificates = certify_counts([[990, 10], [600, 400]], Gaussian(0.5), norm=2, dim=64, selection=[0, 0])
    result = Result.of("mine", certificates, [0, 1])
    assert pa.table(result).to_pydict()["label"] == [0, 1]
    assert pa.table(certificates)["radius"].to_pylist() == certificates.radius.tolist()
    assert pa.RecordBatchReader.from_stream(result).read_all().num_rows == 2
    for labels, error, words in (
        ([0], ValueError, "labels must have the shape"),
        ([0.5, 1], TypeError, "must be integers"),
    ):
        with pytest.raises(error, match=words):
            Result.of("mine", certificates, labels)
    with pytest.raises(ValueError, match=r"mine, row 1 \(the first is 0\): label must be a class, got -3"):
        Result.of("mine", certificates, [0, -3])


def test_records_of_other_labels_are_read_as_they_are(runs):
    rewrite(runs / "fixed", 0, label=9)
    assert read_result(runs / "fixed").labels[0] == 9
