"""Results side by side: their numbers, tables and comparisons, and `rsmooth table`."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from typer.testing import CliRunner

from rsmooth import Gaussian, certify_counts, cli
from rsmooth.io.recertify import recertify_run
from rsmooth.results.measures import compare, mcnemar, measures, radii_named, usual_radii
from rsmooth.results.result import Result
from rsmooth.results.several import read_results
from rsmooth.results.table import FORMATS, results_table
from rsmooth.run.results import read_run
from run_helpers import COUNT, rewrite

HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime"


def table(*arguments):
    return CliRunner().invoke(cli.app, ["table", *map(str, arguments)])


def published(path, radii, labels=None):
    """Write a result file in which class 1 is predicted for every 10th image."""
    labels = labels or [1] * len(radii)
    rows = [
        f"{10 * i}\t{label}\t1\t{radius}\t1\t0:00:01"
        for i, (radius, label) in enumerate(zip(radii, labels, strict=True))
    ]
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


@pytest.fixture
def mixed(made, tmp_path):
    """Return a run, a file of it with votes, one without, and a published one."""
    run = read_run(made / "fixed")
    recertify_run(run, tmp_path / "votes.csv", bound="pixeldp")
    recertify_run(run, tmp_path / "radii.tsv")
    return [
        made / "fixed",
        tmp_path / "votes.csv",
        tmp_path / "radii.tsv",
        published(tmp_path / "sigma_0.25", [0.5, 0.1]),
    ]


def test_mcnemar_is_the_exact_binomial_test():
    for one, other in ((0, 0), (1, 0), (3, 3), (2, 9), (12, 3), (40, 61), (1500, 1400), (0, 2000)):
        expected = stats.binomtest(one, one + other).pvalue if one + other else 1
        assert mcnemar(one, other) == pytest.approx(expected, rel=1e-12, abs=0)
        assert mcnemar(one, other) == mcnemar(other, one)


def test_mcnemar_under_the_hypothesis_is_below_alpha_no_more_often():
    """Over all splits of 25 images, each as likely as a fair coin makes it."""
    chances = stats.binom(25, 0.5).pmf(range(26))
    for alpha in (0.001, 0.01, 0.05, 0.3):
        assert sum(chances[i] for i in range(26) if mcnemar(i, 25 - i) <= alpha) <= alpha * (1 + 1e-12)


def test_a_comparison_counts_the_images_that_both_have():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(1000, [0.8, 0.1, 0.1], 60) + rng.integers(0, 300, (60, 3))
    labels, chosen = rng.integers(0, 2, 60), [0] * 60
    whole = certify_counts(counts, Gaussian(0.5), norm=2, dim=4, selection=chosen)
    other = certify_counts(counts[::-1], Gaussian(0.5), norm=2, dim=4, selection=chosen, bound="renyi")
    one = Result.of("one", replace(whole, indices=np.arange(60)), labels)
    two = Result.of("two", replace(other, indices=np.arange(20, 80)), np.r_[labels[20:], rng.integers(0, 2, 20)])
    right = np.flatnonzero((whole.prediction == labels) & (whole.radius > 0))
    # A radius is certified at every smaller one, not at itself.
    radii = [0.0, 0.1, 0.2, 0.4, float(whole.radius[right[-1]])]
    found = compare(one, two, radii)
    assert found["examples"] == 40
    for i, radius in enumerate(radii):
        pairs = []
        for index in range(20, 60):
            mine = whole.prediction[index] == labels[index] and whole.radius[index] > radius
            theirs = other.prediction[index - 20] == labels[index] and other.radius[index - 20] > radius
            pairs.append((bool(mine), bool(theirs)))
        assert found["both"][i] == pairs.count((True, True))
        assert found["only_one"][i] == pairs.count((True, False))
        assert found["only_other"][i] == pairs.count((False, True))
        assert found["neither"][i] == pairs.count((False, False))
        assert found["difference"][i] == (pairs.count((True, False)) - pairs.count((False, True))) / 40
        assert found["p_value"][i] == mcnemar(found["only_one"][i], found["only_other"][i])
    assert any(found["only_other"])


def test_results_of_other_inputs_are_not_compared(made, runs, tmp_path):
    one, two = read_results([made / "fixed", published(tmp_path / "a", [0.5], [3])])
    label = one.labels[0]
    with pytest.raises(ValueError, match=f"same inputs: labels of input 0 are {label} in .*, 3 in .*a$"):
        compare(one, two, [0])
    rewrite(runs / "fixed", 2, image="0" * 16)
    with pytest.raises(ValueError, match=r"same inputs: images of input 2 are .* in .*, 0{16} in"):
        compare(one, *read_results([runs / "fixed"]), [0])
    other = tmp_path / "b"
    other.write_text(f"{HEAD}\n999\t1\t1\t0.5\t1\t1\n")
    with pytest.raises(ValueError, match="have no input in common"):
        compare(one, *read_results([other]), [0])
    with pytest.raises(ValueError, match="results must be of one kind of certificate, got top-class and top-k k=3"):
        compare(one, *read_results([made / "top-k"]), [0])
    with pytest.raises(ValueError, match="results must be in one norm, got 2 and inf"):
        compare(one, one.under(norm=math.inf), [0])


def test_a_class_with_a_radius_of_zero_has_no_certificate(tmp_path):
    (result,) = read_results([published(tmp_path / "a", ["0.5", "0.0", "0.25"])])
    assert result.prediction.tolist() == [1, 1, 1]
    assert (result.abstained, measures(result, [0])["abstained"]) == (1, 1)


def test_measures_count_abstentions_as_errors(made):
    (result,) = read_results([made / "fixed"])
    run = read_run(made / "fixed")
    right = (result.prediction == run.column("label")) & (result.radius > 0.1)
    found = measures(result, [0.1])
    assert found["certified_accuracy"] == [right.sum() / COUNT]
    interval = stats.binomtest(int(right.sum()), COUNT).proportion_ci(0.95, "exact")
    assert (found["lower"][0], found["upper"][0]) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found["mean_draws"] == 650
    assert found["p1"] == {str(level): np.quantile(result.p1, level) for level in (0.25, 0.5, 0.75)}
    assert (found["bound"], found["alpha"], found["grid"], found["dim"]) == ("renyi", 0.001, 16, 64)


def test_results_of_all_kinds_come_under_one_bound_where_votes_allow(mixed):
    own = read_results(mixed)
    assert [each.bound for each in own] == ["renyi", "pixeldp", "renyi", "neyman-pearson"]
    found = read_results(mixed, bounds=["neyman-pearson"], alpha=0.01)
    assert [(each.bound, each.alpha) for each in found] == [("neyman-pearson", 0.01)] * 2 + [
        ("renyi", 0.001),
        ("neyman-pearson", None),
    ]
    assert np.array_equal(found[0].radius, found[1].radius)
    assert np.array_equal(found[0].radius, read_run(mixed[0]).certificates(bound="neyman-pearson", alpha=0.01).radius)
    assert [bool(each.notes) for each in found] == [False, False, True, True]
    assert f"bound cannot be applied to {mixed[2]}, whose votes are lost" in " ".join(found[2].notes)
    assert "it stays as it is, renyi" in found[2].notes
    assert found[3].notes == (f"alpha cannot be applied to {mixed[3]}, whose votes are lost",)
    complement = read_results(mixed, bounds=["neyman-pearson"], runner_up="complement")
    assert [(each.bound, each.runner_up) for each in complement[:2]] == [("neyman-pearson", "complement")] * 2
    assert "runner_up cannot be applied to" in " ".join(complement[2].notes)
    assert not complement[3].notes
    told = read_results(mixed, bounds=["renyi"], sigmas=[0.25])
    assert [each.bound for each in told] == ["renyi"] * 4
    assert (told[3].radius < found[3].radius).all()
    # In another norm, which its radii alone cannot be turned into.
    with pytest.raises(ValueError, match=r"norm cannot be applied to .*sigma_0.25, whose votes are lost: its sigma"):
        read_results(mixed[3:], norm=math.inf)
    (inf,) = read_results(mixed[3:], norm=math.inf, sigmas=[0.25], dim=3072)
    exact = np.array([0.5, 0.1]) / math.sqrt(3072)
    assert (inf.radius <= exact).all()
    # Half a unit of the only digit that is printed.
    np.testing.assert_allclose(inf.radius, exact - 0.05 / math.sqrt(3072), rtol=1e-3)


def test_each_bound_is_applied_to_what_it_holds_for(made):
    found = read_results([made / "fixed", made / "exponential"], norm=math.inf, bounds=["renyi", "pure-dp"])
    assert [(each.name, each.bound) for each in found] == [
        ("fixed", "renyi"),
        ("exponential", "renyi"),
        ("exponential", "pure-dp"),
    ]


def test_names_are_as_long_as_it_takes_to_tell_them_apart(tmp_path):
    for folder in ("a/x", "b/x", "b/y"):
        (tmp_path / folder).mkdir(parents=True)
    sources = [published(tmp_path / folder / "sigma_0.5", [0.5]) for folder in ("a/x", "b/x", "b/y")]
    assert [each.name for each in read_results(sources)] == ["a/x/sigma_0.5", "b/x/sigma_0.5", "y/sigma_0.5"]
    assert [each.name for each in read_results(sources[1:])] == ["x/sigma_0.5", "y/sigma_0.5"]
    assert [each.name for each in read_results(sources, names=["1", "2", "3"])] == ["1", "2", "3"]
    # One source twice has nothing that tells it apart.
    alike = [each.name for each in read_results([*sources[:2], sources[0]])]
    assert alike[0] == alike[2] == str(sources[0].resolve()).removeprefix("/")
    assert alike[1] == "b/x/sigma_0.5"
    text = published(tmp_path / "a/x/sigma_0.5.tsv", [0.5])
    assert [each.name for each in read_results([sources[0], text])] == ["sigma_0.5", "sigma_0.5.tsv"]


def test_files_that_differ_in_their_endings_alone_are_told_apart_by_these(made, tmp_path):
    """Beside a third name, two that stay the same were made longer for ever."""
    names = ("radii.csv", "radii.parquet", "others.csv")
    for name in names:
        recertify_run(read_run(made / "fixed"), tmp_path / name)
    assert [each.name for each in read_results([tmp_path / name for name in names])] == [*names[:2], "others"]
    twice = [tmp_path / "radii.csv"] * 2
    assert len({each.name for each in read_results([*twice, tmp_path / "others.csv"])}) == 2


def test_one_sigma_for_all_or_one_for_each(tmp_path):
    sources = [published(tmp_path / name, [0.5]) for name in "ab"]
    for sigmas, expected in (([0.25], [0.25, 0.25]), ([0.25, 0.5], [0.25, 0.5])):
        found = read_results(sources, sigmas=sigmas)
        assert [each.mechanism.sigma for each in found] == expected
    with pytest.raises(ValueError, match=r"sigma must be given once, or once for each of the 2 results .*, got 3"):
        read_results(sources, sigmas=[1, 2, 3])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:2:0.25", [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]),
        ("0:0.3:0.1", [0, 0.1, 0.2, 0.3]),
        ("0.1:0.35:0.1", [0.1, 0.2, 0.3]),
        ("0,1e-3, 2", [0, 0.001, 2]),
        ("1", [1]),
    ],
)
def test_radii_are_read_as_decimals(text, expected):
    assert radii_named(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a", "0:1", "0:1:0", "1:0:0.1", "-1", "0:1:-1", "nan", "inf", "0:1:0.1:2", "0,,1"]
)
def test_other_radii_are_refused(text):
    with pytest.raises(ValueError, match=r"radii must be FROM:TO:STEP, as 0:2:0.25, or a list, as 0,0.25,0.5"):
        radii_named(text)


def test_too_many_radii_are_refused():
    with pytest.raises(ValueError, match="radii must be at most 1000, got 10000001 in"):
        radii_named("0:1:1e-7")


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (0.55, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (2, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]),
        (0.0008, 9),
        (0, [0]),
        (5e-324, [0, 5e-324]),
    ],
)
def test_usual_radii_are_round(largest, expected):
    zeros = np.zeros(1, np.int64)
    found = usual_radii([Result("a", None, zeros, zeros, zeros, np.array([float(largest)]), 2)])
    assert found == expected if isinstance(expected, list) else len(found) == expected


def test_the_table_alone_is_on_standard_output(mixed):
    for kind in FORMATS:
        shown = table(*mixed, "--radii", "0,0.25", "--format", kind, "--bound", "neyman-pearson")
        assert shown.exit_code == 0, shown.exception
        assert "radii: bound cannot be applied to" in shown.stderr
        if kind == "json":
            numbers = json.loads(shown.stdout)
            assert [each["name"] for each in numbers] == ["fixed", "votes", "radii", "sigma_0.25"]
        elif kind == "csv":
            rows = list(csv.DictReader(io.StringIO(shown.stdout)))
            for row, each in zip(rows, numbers_of(mixed), strict=True):
                assert float(row["certified_accuracy_0.25"]) == each["certified_accuracy"][1]
                assert float(row["upper_0"]) == each["upper"][0]
                assert (row["alpha"] == "") == (each["alpha"] is None)
                assert float(row["p1_0.5"] or "nan") == pytest.approx(
                    (each["p1"] or {}).get("0.5", math.nan), nan_ok=True
                )
        elif kind == "latex":
            lines = shown.stdout.splitlines()
            assert (lines[0], lines[1], lines[-1]) == (r"\begin{tabular}{llllrrrrrrrrr}", r"\toprule", r"\end{tabular}")
            assert {line.count("&") for line in lines if line.endswith(r"\\")} == {12}
            assert r"sigma\_0.25 & gaussian & $\ell_2$ &" in shown.stdout
        else:
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.stdout.splitlines()]
            assert {len(row) for row in rows} == {13}
            assert rows[0][7:9] == ["% > 0", "% > 0.25"]
            for row, each in zip(rows[2:], numbers_of(mixed), strict=True):
                assert row[0] == each["name"]
                low, high = 100 * each["lower"][1], 100 * each["upper"][1]
                assert row[8] == f"{100 * each['certified_accuracy'][1]:.1f} ({low:.1f}\N{EN DASH}{high:.1f})"


def numbers_of(sources):
    return [measures(each, [0, 0.25]) for each in read_results(sources, bounds=["neyman-pearson"])]


def test_kinds_of_certificates_are_told_where_there_are_several(made):
    assert "kind" not in table(made / "fixed").stdout
    lines = table(made / "fixed", made / "top-k", made / "soft-scores").stdout.splitlines()
    assert [line.split("|")[2].strip() for line in lines if "-----" not in line] == [
        *("kind", "top-class", "top-k k=3", "soft-scores")
    ]
    found = read_results([made / "top-k"], bounds=["neyman-pearson"], alpha=0.01)
    assert found[0].radius.tolist() == found[0].certificates.under(bound="neyman-pearson", alpha=0.01).radius.tolist()
    assert (found[0].kind, found[0].alpha) == ("top-k k=3", 0.01)


def test_a_table_without_intervals_and_of_odd_names():
    counts = certify_counts([[990, 10]], Gaussian(0.5), norm=math.inf, dim=4)
    found = [measures(Result.of(r"a|b_50%\{x}~^&#$", counts, [0]), [0])]
    assert r"| a\|b_50%\{x}~^&#$ | gaussian, 0.5 | ℓ∞   | tightest | 0.001 |      1 |     0 | 100.0 |" in results_table(
        found, "markdown", intervals=False
    )
    name = r"a|b\_50\%\textbackslash{}\{x\}\textasciitilde{}\textasciicircum{}\&\#\$"
    assert rf"{name} & gaussian, 0.5 & $\ell_\infty$ & tightest & 0.001" in results_table(found, "latex")
    assert list(csv.reader(io.StringIO(results_table(found, "csv"))))[1][0] == r"a|b_50%\{x}~^&#$"


def test_means_and_medians_of_radii_are_never_above_them():
    zeros = np.zeros(2, np.int64)
    result = Result("a", None, np.arange(2), zeros, zeros, np.array([0.49997, 0.49999]), 2)
    for kind in ("markdown", "latex"):
        shown = results_table([measures(result, [0])], kind)
        assert shown.count("0.4999") == 2, kind
        assert "0.5000" not in shown


def test_a_comparison_is_printed_in_every_format(made):
    sources = [made / "fixed", made / "until"]
    expected = compare(*read_results(sources), [0, 0.25])
    shown = {kind: table(*sources, "--compare", "--radii", "0,0.25", "-f", kind).stdout for kind in FORMATS}
    both = set(range(0, 2 * COUNT, 2)) & set(range(COUNT))
    assert table(*sources, "--compare").stderr == "".join(
        f"{name}: {COUNT - len(both)} of {COUNT} images are not the other's and were left out\n"
        for name in ("fixed", "until")
    )
    assert json.loads(shown["json"]) == expected
    rows = list(csv.DictReader(io.StringIO(shown["csv"])))
    assert [int(row["only_other"]) for row in rows] == expected["only_other"]
    assert [float(row["p_value"]) for row in rows] == expected["p_value"]
    assert shown["markdown"].splitlines()[0] == (
        "| ℓ₂ radius above | both | only fixed | only until | neither | fixed − until, % | exact McNemar p |"
    )
    assert r"$\ell_2$ radius above & both & only fixed & only until & neither & fixed $-$ until, \% &" in shown["latex"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fixed", "--format", "html"], "format must be one of markdown, latex, csv, json, got 'html'"),
        (["fixed", "--radii", "0:1"], "radii must be FROM:TO:STEP"),
        (["fixed", "--compare"], "--compare takes two results under one bound, got 1"),
        (["fixed", "until", "--compare", "--bound", "renyi", "--bound", "tightest"], "under one bound, got 4"),
        (["fixed", "exponential"], "norm must be given where results are in several norms, 2, inf"),
        (["nothing"], "No such file or directory: 'nothing'"),
    ],
)
def test_tables_are_refused_by_name(made, arguments, words):
    shown = table(*(made / each if each in ("fixed", "until", "exponential") else each for each in arguments))
    assert isinstance(shown.exception, (ValueError, OSError))
    assert words in str(shown.exception)
    assert not shown.stdout


def test_results_and_certificates_are_data_frames(mixed, made):
    found = read_results([*mixed, made / "top-k", made / "soft-scores"])
    for each in (*found, found[0].certificates):
        frame = pa.table(each)
        assert frame["radius"].to_pylist() == each.radius.tolist()
    frame = pa.table(found[0])
    assert frame["label"].to_pylist() == found[0].labels.tolist()
    assert frame["counts"].to_pylist() == found[0].certificates.counts.tolist()
    assert frame["draws"].to_pylist() == [650] * COUNT
    assert json.loads(frame.schema.metadata[b"rsmooth"])["bound"] == "renyi"
    assert pa.table(found[3]).column_names == ["index", "label", "prediction", "radius", "seconds"]
