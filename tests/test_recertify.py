"""`rsmooth radii`: files of counts to files of radii."""

import math
from decimal import Decimal

import mpmath
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from scipy import stats
from typer.testing import CliRunner

from rsmooth import Exponential, Gaussian, Laplace, certify_counts, cli
from rsmooth.io import tables
from rsmooth.io.published import probability
from rsmooth.io.recertify import recertify, recertify_run
from rsmooth.results.read import read_result
from rsmooth.run.results import read_run

ROWS = 5000


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    return rng.multinomial(1000, rng.dirichlet([0.3] * 4, ROWS)).astype(np.int32)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(tables, "PIECE_BYTES", 2**14)


def read(path):
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path)
    options = pa.csv.ParseOptions(delimiter={".csv": ",", ".tsv": "\t"}[path.suffix])
    return pa.csv.read_csv(path, parse_options=options)


def save(path, counts, selected):
    columns = {f"count_{k}": counts[:, k] for k in range(counts.shape[1])}
    table = pa.table({"image": [f"image {i}" for i in range(len(counts))], **columns, "selected": selected})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        options = pa.csv.WriteOptions(delimiter={".csv": ",", ".tsv": "\t"}[path.suffix])
        pa.csv.write_csv(table, path, options)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("source", ["counts.npy", "counts.csv", "counts.tsv", "counts.parquet"])
@pytest.mark.parametrize("out", ["radii.csv", "radii.tsv", "radii.parquet"])
def test_a_file_gets_the_certificates_of_its_counts(tmp_path, counts, source, out):
    selected = counts[:, ::-1].argmax(axis=1)
    selection = None
    if source.endswith(".npy"):
        np.save(tmp_path / source, counts)
        np.save(tmp_path / "selected.npy", selected)
        selection = tmp_path / "selected.npy"
    else:
        save(tmp_path / source, counts, selected)
    done = []
    summary = recertify(
        tmp_path / source,
        tmp_path / out,
        Exponential(0.01),
        norm=math.inf,
        bound="pure-dp",
        selection=selection,
        progress=done.append,
    )
    expected = certify_counts(counts, Exponential(0.01), norm=math.inf, dim=1, bound="pure-dp", selection=selected)
    table = read(tmp_path / out)
    for name in ("prediction", "radius", "p1", "p2"):
        assert np.array_equal(table[name].to_numpy(), getattr(expected, name)), name
    assert (summary.rows, summary.abstained) == (ROWS, (expected.prediction < 0).sum())
    assert summary.largest == expected.radius.max()
    assert len(done) > 3
    assert done == sorted(done)
    assert done[-1] == 1
    if not source.endswith(".npy"):
        assert table["image"][4321].as_py() == "image 4321"


def test_lists_of_counts_are_read_from_parquet(tmp_path, counts):
    chosen = np.roll(counts, 1, axis=0)
    table = pa.table({"counts": counts.tolist(), "selection": chosen.tolist(), "radius": np.zeros(ROWS)})
    pa.parquet.write_table(table, tmp_path / "lists.parquet")
    recertify(tmp_path / "lists.parquet", tmp_path / "out.parquet", Gaussian(0.5), norm=math.inf, dim=64)
    expected = certify_counts(counts, Gaussian(0.5), norm=math.inf, dim=64, selection=chosen)
    result = read(tmp_path / "out.parquet")
    assert np.array_equal(result["radius"].to_numpy(), expected.radius)
    assert result["counts"].to_pylist() == counts.tolist()
    assert "input_radius" in result.column_names


@pytest.mark.parametrize("bound", ["neyman-pearson", "renyi"])
def test_published_radii_are_reread_without_claiming_more(tmp_path, bound):
    p1 = np.array([0.6, 0.9, 0.99, 0.9992])
    true = 0.25 * stats.norm.ppf(p1)
    lines = [f"{i}\t3\t3\t{r:.3}\t1\t0:00:01.5" for i, r in enumerate(true)]
    text = "\n".join(["idx\tlabel\tpredict\tradius\tcorrect\ttime", *lines, "4\t3\t-1\t0.0\t0\t0:00:02"])
    (tmp_path / "results").write_text(text + "\n")
    summary = recertify(tmp_path / "results", tmp_path / "out.tsv", Gaussian(0.25), norm=2, bound=bound)
    assert (summary.rows, summary.abstained) == (5, 1)
    result = read(tmp_path / "out.tsv")
    radius, bound_p1 = result["radius"].to_numpy(), result["p1"].to_numpy()
    exact = Gaussian(0.25).radius(p1, 1 - p1, norm=2, dim=1, bound=bound)
    assert (bound_p1[:4] <= p1).all()
    assert (radius[:4] <= exact).all()
    np.testing.assert_allclose(radius[:4], exact, rtol=0.02)
    assert (radius[4], result["prediction"][4].as_py()) == (0, -1)
    assert result["input_radius"].to_pylist()[1] == pytest.approx(0.32)
    assert result["time"][0] is not None


def test_a_printed_radius_never_tells_a_larger_p1_than_it_proves():
    """Φ of the least radius that is printed so, to 40 digits; erfc without its margin is above it in places."""
    rng = np.random.default_rng(2)
    for sigma in (0.12, 0.25, 0.7):
        for radius in rng.uniform(0.001, 4 * sigma, 1000):
            printed = Decimal(f"{radius:.3g}")
            with mpmath.workdps(40):
                least = mpmath.mpf(str(printed)) - mpmath.mpf(10) ** printed.as_tuple().exponent / 2
                exact = mpmath.ncdf(least / mpmath.mpf(sigma))
                p1 = mpmath.mpf(probability(printed, sigma))
                # Half of the margin, 2**-48, at least is left of it.
                assert exact * (1 - mpmath.mpf(2) ** -47) < p1 < exact * (1 - mpmath.mpf(2) ** -49)


PUBLISHED = "idx\tlabel\tpredict\tradius"
WRITTEN = f"{PUBLISHED}\tcorrect\ttime\tmechanism\tparameter\tnorm\tdim\tbound\talpha\trunner_up\n"


def test_a_laplace_file_in_l1_is_not_read_as_gaussian_in_l2(tmp_path):
    counts = tmp_path / "counts.csv"
    counts.write_text("count_0,count_1,selected\n99000,1000,0\n")
    true = certify_counts([[99000, 1000]], Laplace(0.25), norm=1, dim=64, selection=[0])
    line = f"0\t0\t0\t{true.radius[0]}\t1\t0:00:01\tlaplace\t0.25\t1\t64\ttightest\t0.001\tsecond\n"
    (tmp_path / "laplace.tsv").write_text(WRITTEN + line)
    with pytest.raises(ValueError, match=r"line 2: mechanism is 'laplace' there, but 'gaussian' was asked for"):
        recertify(tmp_path / "laplace.tsv", tmp_path / "out.tsv", Gaussian(0.25), norm=2)
    assert not (tmp_path / "out.tsv").exists()


@pytest.mark.parametrize("out", ["radii.csv", "radii.tsv", "radii.parquet"])
def test_written_files_carry_their_settings_and_are_refused_under_others(tmp_path, counts, out):
    np.save(tmp_path / "counts.npy", counts)
    path = tmp_path / out
    # As a table of counts, whose radii are then computed.
    save(tmp_path / "counts.parquet", counts, counts.argmax(axis=1))
    recertify(tmp_path / "counts.parquet", path, Laplace(0.25), norm=2, dim=64, alpha=0.01, runner_up="complement")
    table = read(path)
    stated = {name: {str(value) for value in table[name].to_pylist()} for name in tables.SETTINGS}
    assert stated == {
        "mechanism": {"laplace"},
        "parameter": {"0.25"},
        "norm": {"2"},
        "dim": {"64"},
        "bound": {"tightest"},
        "alpha": {"0.01"},
        "runner_up": {"complement"},
        "interval": {"clopper-pearson"},
        "grid": {"None"},
        "noise_error": {"0" if out != "radii.parquet" else "0.0"},
        "kind": {"top-class"},
    }
    again = recertify(path, tmp_path / "again.parquet", Laplace(0.25), norm=1, dim=64)
    assert again.rows == ROWS
    twice = read(tmp_path / "again.parquet")
    assert {"input_radius", "input_norm", "radius", "norm"} <= set(twice.column_names)
    recertify(tmp_path / "again.parquet", tmp_path / "thrice.parquet", Laplace(0.25), norm=1)
    assert "input_input_radius" in read(tmp_path / "thrice.parquet").column_names
    for mechanism, dim, words in (
        (Gaussian(0.25), 64, "mechanism is 'laplace' there, but 'gaussian' was asked for"),
        (Laplace(0.5), 64, "parameter is 0.25 there, but 0.5 was asked for"),
        (Laplace(0.25), 3, "dim is 64 there, but 3 was asked for"),
    ):
        with pytest.raises(ValueError, match=words):
            recertify(path, tmp_path / "other.csv", mechanism, norm=math.inf, dim=dim)


@pytest.mark.usefixtures("small_pieces")
def test_a_row_that_contradicts_is_named_wherever_it_is(tmp_path, counts):
    stated = ["gaussian"] * ROWS
    stated[4321] = "laplace"
    columns = {f"count_{k}": counts[:, k] for k in range(4)}
    pa.csv.write_csv(pa.table({**columns, "mechanism": stated, "parameter": [0.5] * ROWS}), tmp_path / "mixed.csv")
    with pytest.raises(ValueError, match=r"mixed.csv, line 4323: mechanism is 'laplace' there"):
        recertify(tmp_path / "mixed.csv", tmp_path / "out.csv", Gaussian(0.5), norm=2)


@pytest.mark.usefixtures("small_pieces")
def test_bad_counts_are_named_by_the_row_of_the_file(tmp_path, counts):
    counts[4321, 2] = -7
    np.save(tmp_path / "counts.npy", counts)
    words = r"counts.npy, row 4321 \(the first is 0\): counts\[4321, 2\] must .*, got -7"
    with pytest.raises(ValueError, match=words):
        recertify(tmp_path / "counts.npy", tmp_path / "out.csv", Gaussian(0.5), norm=2)


def test_a_result_file_that_carries_its_alpha_hands_it_on(tmp_path):
    line = "0\t1\t1\t0.5\t1\t0:00:01\tgaussian\t0.25\t2\t64\tneyman-pearson\t0.01\tcomplement\n"
    (tmp_path / "own.tsv").write_text(WRITTEN + line)
    recertify(tmp_path / "own.tsv", tmp_path / "out.csv", Gaussian(0.25), norm=2, bound="renyi")
    result = read(tmp_path / "out.csv")
    assert [result[name][0].as_py() for name in ("alpha", "bound", "runner_up")] == [0.01, "renyi", "complement"]
    (tmp_path / "field.tsv").write_text(f"{PUBLISHED}\n0\t1\t1\t0.5\n")
    recertify(tmp_path / "field.tsv", tmp_path / "out.parquet", Gaussian(0.25), norm=2)
    assert read(tmp_path / "out.parquet")["alpha"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("bound", "runner_up", "kind"),
    [
        ("tightest", "second", ""),
        ("renyi", "complement", ""),
        ("tightest", "", ""),
        ("tightest", "complement", "top-k k=2"),
    ],
)
def test_p1_is_not_made_of_radii_that_do_not_tell_it(tmp_path, bound, runner_up, kind):
    """A radius of a separate p2 is no σ Φ⁻¹(p1): Φ(radius / σ) can be above the share of the votes."""
    head = WRITTEN.replace("runner_up", "runner_up\tkind")
    line = f"0\t1\t1\t0.5\t1\t0:00:01\tgaussian\t0.25\t2\t64\t{bound}\t0.001\t{runner_up}\t{kind}\n"
    (tmp_path / "own.tsv").write_text(head + line)
    with pytest.raises(ValueError, match=r"own.tsv, line 2: (radii tell p1 only where|kind is 'top-k k=2')"):
        recertify(tmp_path / "own.tsv", tmp_path / "out.csv", Gaussian(0.25), norm=2)
    assert not (tmp_path / "out.csv").exists()
    assert read_result(tmp_path / "own.tsv").p1 is None


HEAD = "count_0,count_1\n9,1\n"

REFUSED = [
    ("a.csv", HEAD + "-1,3\n", {}, "a.csv, line 3: counts[1"),
    ("a.csv", HEAD + "0,0\n", {}, "a.csv, line 3: counts[1"),
    ("a.csv", HEAD + "1.5,0\n", {}, "invalid value '1.5'"),
    ("a.csv", HEAD + ",0\n", {}, "a.csv, line 3: count_0 is missing"),
    ("a.csv", "count_0,count_1,selected\n9,1,2\n", {}, "a.csv, line 2: selection[0"),
    ("a.csv", "votes\n1\n", {}, "must have columns count_0, count_1, … or counts, got votes"),
    ("a.csv", "count_0,count_2\n1,2\n", {}, "must have columns count_0 to count_2 without a gap, got [0, 2]"),
    ("a.csv", "count_0,count_1\n", {}, "a.csv has no rows"),
    ("a.txt", HEAD, {}, "a.txt must be .npy, .csv, .tsv, .parquet or begin with the columns of a result"),
    ("a.npy", "no array", {}, "a.npy is not a .npy array"),
    ("a.parquet", "no table", {}, "a.parquet is not a Parquet file"),
    ("a.csv", HEAD, {"out": "b.txt"}, "out must end in .csv, .tsv or .parquet"),
    (
        "a.csv",
        HEAD,
        {"norm": math.inf},
        "dim must be given: the radius of Gaussian(sigma=0.5) in norm inf depends on it",
    ),
    (
        "a.csv",
        HEAD,
        {"mechanism": Laplace(1), "norm": 2},
        "dim must be given: the radius of Laplace(scale=1.0) in norm 2 depends on it",
    ),
    ("a.csv", HEAD, {"bound": "pure-dp"}, "pure-dp"),
    ("a.csv", HEAD, {"alpha": 0.0}, "alpha must be a number above 0 and below 1, got 0"),
    ("a.csv", HEAD, {"selection": "s.npy"}, "selection is for .npy counts"),
    ("a", "idx\tlabel\tpredict\tradius\n0\t1\t1\tnan\n", {}, "a, line 2: predict and radius must be"),
    ("a", "idx\tlabel\tpredict\tradius\n0\t1\t-2\t0.5\n", {}, "got '-2' and '0.5'"),
    ("a", f"{PUBLISHED}\n", {"mechanism": Exponential(1)}, "a holds radii: mechanism must be the Gaussian"),
    ("a", f"{PUBLISHED}\n0\t1\t1\t0.5\n", {"alpha": 0.01}, "alpha cannot be applied to "),
    ("a", f"{PUBLISHED}\n0\t1\t1\t0.5\n", {"runner_up": "second"}, "runner_up cannot be applied to "),
    (
        "a",
        WRITTEN + "0\t1\t1\t0.5\t1\t0:00:01\tgaussian\t0.25\t2\t64\trenyi\t0.01\tsecond\n",
        {},
        "a, line 2: parameter is '0.25' there, but 0.5 was asked for",
    ),
    (
        "a",
        WRITTEN + "0\t1\t1\t0.5\t1\t0:00:01\tgaussian\t0.5\tinf\t64\trenyi\t0.01\tsecond\n",
        {},
        "a, line 2: norm is 'inf' there, but '2' was asked for",
    ),
]


@pytest.mark.parametrize(("name", "text", "changes", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_bad_files_are_refused_by_name_row_and_value(tmp_path, name, text, changes, words):
    (tmp_path / name).write_text(text)
    given = {"mechanism": Gaussian(0.5), "norm": 2, "out": "b.csv"} | changes
    if "selection" in given:
        given["selection"] = tmp_path / given["selection"]
    out = tmp_path / given.pop("out")
    out.write_text("yesterday's")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        recertify(tmp_path / name, out, given.pop("mechanism"), **given)
    assert words in str(caught.value)
    assert out.read_text() == "yesterday's"
    assert {path.name for path in tmp_path.iterdir()} == {name, out.name}


def test_counts_do_not_select_themselves(tmp_path, counts):
    np.save(tmp_path / "counts.npy", counts)
    (tmp_path / "link.npy").symlink_to("counts.npy")
    with pytest.raises(ValueError, match="selection must come from separate draws, got the counts themselves"):
        recertify(tmp_path / "counts.npy", tmp_path / "out.csv", Gaussian(1), norm=2, selection=tmp_path / "link.npy")


def test_the_command_says_what_it_wrote(tmp_path, counts):
    np.save(tmp_path / "counts.npy", counts)
    arguments = [tmp_path / "counts.npy", "--mechanism", "gaussian", "--sigma", "0.25", "--norm", "2"]
    result = CliRunner().invoke(cli.app, ["radii", *map(str, arguments), "-o", str(tmp_path / "radii.parquet")])
    assert result.exit_code == 0, result.output
    assert f"{ROWS:,} rows" in result.output.replace("\n", "")
    assert read(tmp_path / "radii.parquet").num_rows == ROWS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--mechanism": "cauchy"}, "mechanism must be one of gaussian, exponential, laplace, uniform or "),
        ({"--norm": "3"}, "norm must be 1, 2 or inf, got '3'"),
        ({"--sigma": "0"}, "sigma must be a finite number above 0, got 0.0"),
    ],
)
def test_the_command_refuses_by_name(tmp_path, changes, words):
    given = {"--mechanism": "gaussian", "--sigma": "0.25", "--norm": "2", "-o": str(tmp_path / "b.csv")} | changes
    arguments = ["radii", "a.csv", *(part for pair in given.items() for part in pair)]
    result = CliRunner().invoke(cli.app, arguments)
    assert isinstance(result.exception, ValueError)
    assert words in str(result.exception)


def radii(*arguments):
    return CliRunner().invoke(cli.app, ["radii", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "bound", "runner_up"),
    [
        ([], "tightest", "second"),
        (["--preset", "cohen"], "neyman-pearson", "complement"),
        (["--preset", "paper"], "renyi", "second"),
    ],
)
def test_presets_are_the_rules_that_others_report(tmp_path, counts, options, bound, runner_up):
    np.save(tmp_path / "counts.npy", counts)
    given = ["--mechanism", "gaussian", "--sigma", "0.25", "--norm", "2", "-o", tmp_path / "radii.parquet"]
    result = radii(tmp_path / "counts.npy", *given, *options)
    assert result.exit_code == 0, result.output
    expected = certify_counts(counts, Gaussian(0.25), norm=2, dim=1, bound=bound, runner_up=runner_up)
    assert np.array_equal(read(tmp_path / "radii.parquet")["radius"].to_numpy(), expected.radius)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "cohen", "--bound", "renyi"], "give --preset cohen or --bound, not both"),
        (["--preset", "salman"], "preset must be cohen or paper, got 'salman'"),
    ],
)
def test_presets_are_not_mixed(tmp_path, options, words):
    given = ["--mechanism", "gaussian", "--sigma", "0.25", "--norm", "2", "-o", tmp_path / "radii.parquet"]
    result = radii(tmp_path / "counts.npy", *given, *options)
    assert words in str(result.exception)


def test_a_mechanism_of_your_own_is_named_on_the_command_line(tmp_path, counts, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import rsmooth\n"
        "class Wide(rsmooth.Mechanism):\n"
        "    name = 'wide'\n"
        "    parameter = None\n"
        "    def __init__(self, parameter):\n"
        "        self.parameter = parameter\n"
        "    def sample(self, shape, **given):\n"
        "        return rsmooth.sample_laplace(shape, self.parameter, **given)\n"
        "    def profile(self, norm, dim, *, grid=None):\n"
        "        return rsmooth.Profile(epsilon=lambda r: r / self.parameter)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "counts.npy", counts)
    given = ["--mechanism", "mine:Wide", "--norm", "1", "--dim", "64", "-o", tmp_path / "radii.parquet"]
    result = radii(tmp_path / "counts.npy", *given, "--sigma", "0.5")
    assert result.exit_code == 0, result.output
    table = read(tmp_path / "radii.parquet")
    assert (table["mechanism"][0].as_py(), table["parameter"][0].as_py()) == ("wide", 0.5)
    expected = certify_counts(counts, Laplace(0.5), norm=1, dim=64, bound="pure-dp")
    np.testing.assert_allclose(table["radius"].to_numpy(), expected.radius, rtol=1e-9)


def test_runs_of_a_mechanism_that_is_code_need_it_on_the_command_line(tmp_path):
    from run_helpers import SPEC, replace, run

    named = "rsmooth.mechanisms:Gaussian"
    run(tmp_path / "run", replace(SPEC, mechanism=named, max=2))
    out = tmp_path / "radii.parquet"
    refused = radii(tmp_path / "run", "-o", out)
    assert named in str(refused.exception)
    assert not out.exists()
    shown = radii(tmp_path / "run", "--mechanism", named, "-o", out)
    assert shown.exit_code == 0, shown.exception
    assert read(out)["mechanism"].to_pylist()[0] == "gaussian"
    figure = ["-o", str(tmp_path / "run.png")]
    refused = CliRunner().invoke(cli.app, ["plot", str(tmp_path / "run"), *figure])
    assert named in str(refused.exception)
    shown = CliRunner().invoke(cli.app, ["plot", str(tmp_path / "run"), "--mechanism", named, *figure])
    assert shown.exit_code == 0, shown.exception


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_counts_of_exact_noise_pay_for_it_wherever_they_go(tmp_path, counts, suffix):
    columns = {f"count_{k}": counts[:, k] for k in range(counts.shape[1])} | {"selected": counts.argmax(axis=1)}
    told = tables.settings(
        Exponential(0.01),
        norm=math.inf,
        dim=64,
        bound="tightest",
        alpha=0.001,
        runner_up="second",
        grid=255,
        noise_error=0.01,
    )
    table = pa.table({**columns, **tables.columns_of(told, len(counts))})
    source, out = tmp_path / f"exact{suffix}", tmp_path / "radii.parquet"
    with source.open("wb") as file, tables.writer(file, table.schema, suffix) as writer:
        writer.write_table(table)
    recertify(source, out, Exponential(0.01), norm=math.inf)
    settings = {"norm": math.inf, "dim": 64, "selection": counts.argmax(axis=1)}
    exact = certify_counts(counts, Exponential(0.01), grid=255, noise_error=0.01, **settings)
    assert np.array_equal(read(out)["radius"].to_numpy(), exact.radius)
    assert (exact.radius <= certify_counts(counts, Exponential(0.01), **settings).radius).all()
    assert set(read(out)["grid"].to_pylist()) == {255}


def test_rows_that_were_drawn_in_several_ways_are_refused(tmp_path):
    text = "count_0,count_1,selected,mechanism,parameter,noise_error\n9,1,0,gaussian,1,0.01\n9,1,0,gaussian,1,0\n"
    (tmp_path / "counts.csv").write_text(text)
    with pytest.raises(ValueError, match=r"line 3: noise_error is 0.0 there, 0.01 in the rows before"):
        recertify(tmp_path / "counts.csv", tmp_path / "out.csv", Gaussian(1), norm=2)


def test_the_dimension_that_a_file_tells_is_taken_from_it(made, tmp_path):
    """A table of a run lost it where nobody asked for it, and with it what its votes certify when read again."""
    run = read_run(made / "fixed")
    for suffix in (".csv", ".parquet", ".tsv"):
        first, again = tmp_path / f"first{suffix}", tmp_path / f"again{suffix.replace('tsv', 'csv')}"
        recertify_run(run, first, bound="neyman-pearson", runner_up="complement")
        recertify(first, again, Gaussian(0.25), norm=math.inf)
        told = read_result(again)
        # Of 64 pixels: by its square root less than in l2.
        expected = read_result(first).radius / 8
        if suffix != ".tsv":
            expected = run.certificates(norm=math.inf, bound="tightest", runner_up="second").radius
        assert told.dim == 64
        assert told.radius == pytest.approx(expected, rel=1e-6, abs=1e-12)
        with pytest.raises(ValueError, match=r"dim is (64|'64') there, but 3072 was asked for"):
            recertify(first, again, Gaussian(0.25), norm=math.inf, dim=3072)
    (tmp_path / "none.csv").write_text("count_0,count_1,selected\n990,10,0\n")
    with pytest.raises(ValueError, match=r"dim must be given: .* and .*none.csv does not tell it"):
        recertify(tmp_path / "none.csv", again, Gaussian(0.25), norm=math.inf)
