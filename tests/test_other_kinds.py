"""What was counted for one kind of certificate, certified as another: runs, tables of them, and files of votes."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from rsmooth import Gaussian, certify_counts, certify_topk, cli
from rsmooth.certificates import KINDS, kind_type
from rsmooth.certificates.betting import BettingScores
from rsmooth.certificates.fullinformation import FullInformation
from rsmooth.certificates.topclass import TopClass
from rsmooth.certificates.topk import TopK
from rsmooth.io import tables
from rsmooth.io.recertify import recertify
from rsmooth.results.read import read_result
from rsmooth.results.result import LostVotesError, Result
from rsmooth.results.several import read_results
from rsmooth.run.results import read_run
from run_helpers import RUNS, rewrite, run


@pytest.fixture(scope="module")
def full(tmp_path_factory, trained):
    """Return the folder of a run that keeps the scores of each draw."""
    folder = tmp_path_factory.mktemp("full") / "full"
    run(folder, replace(RUNS["soft-scores"], kind=FullInformation("logits")), seed=3, model=trained)
    return folder


def command(*arguments):
    return CliRunner().invoke(cli.app, [str(each) for each in arguments], env={"COLUMNS": "300"})


def certified(path, *options):
    """Return the numbers of a table of one result."""
    made = command("table", path, "--radii", "0", "-f", "json", *options)
    assert made.exit_code == 0, made.output
    (numbers,) = json.loads(made.stdout)
    return numbers


def write(path, table):
    with path.open("wb") as file, tables.writer(file, table.schema, path.suffix) as writer:
        writer.write_table(table)


# Runs


def test_votes_of_a_run_are_certified_as_any_top_k(made):
    kept, labels = read_run(made / "fixed"), read_run(made / "fixed").column("label")
    asked = ("--runner-up", "second", "--bound", "tightest")
    numbers = certified(made / "fixed", "--kind", "top-k", "--k", 3, *asked)
    found = kept.certificates(kind=TopK(k=3), bound="tightest", runner_up="second")
    assert numbers["kind"] == "top-k k=3"
    assert numbers["average_certified_radius"] == found.average_radius(labels)
    assert numbers["average_certified_radius"] > certified(made / "fixed", *asked)["average_certified_radius"]
    # Of the same draws, whether or not the claim needs them all.
    assert numbers["mean_draws"] == kept.draws.mean()


def test_a_run_of_labels_is_certified_as_what_its_draws_select(runs):
    """The labels that one kind certifies do not take the place of what the draws select for another."""
    rewrite(runs / "top-k", 3, label=(read_run(runs / "top-k").records[3]["label"] + 1) % 10)
    kept, result = read_run(runs / "top-k"), read_result(runs / "top-k")
    assert result.certificates.selection.tolist() == kept.column("label").tolist()
    for kind in (TopClass(), TopK(k=2)):
        again, expected = result.under(kind=kind), kept.certificates(kind=kind)
        assert again.kind == expected.kind == kind.claim
        assert (again.radius == expected.radius).all()
        assert (again.prediction == expected.prediction).all()
    one = result.under(kind=TopClass())
    assert (one.certificates.selection == kept.column("selection")).all()
    selected = kept.column("selection").argmax(axis=1)
    assert (selected != result.labels).sum() == 1
    assert one.prediction[3] >= 0
    assert (one.prediction[one.prediction >= 0] == selected[one.prediction >= 0]).all()
    assert one.under(kind=TopK(k=3)).radius.tolist() == result.radius.tolist()


def test_scores_of_each_draw_serve_both_kinds(full):
    kept = read_run(full)
    betting = kept.certificates(kind=BettingScores())
    expected = BettingScores().certify(kept.column("selection"), kept.column("counts"), kept.certificates().rule)
    assert (betting.radius == expected.radius).all()
    assert (betting.radius > 0).any()
    assert betting.seed == kept.certificates().seed
    (again,) = read_results([full], kind=BettingScores(), alpha=0.01)
    assert (again.kind, again.alpha) == ("betting-scores", 0.01)
    assert (again.radius >= betting.radius).all()
    assert certified(full, "--kind", "betting-scores")["average_certified_radius"] == betting.average_radius(
        kept.column("label")
    )
    assert again.under(kind=FullInformation(), alpha=0.001).radius.tolist() == kept.certificates().radius.tolist()


def test_kind_bound_and_runner_up_are_asked_for_at_once(made):
    """The settings of the run need not be allowed for the other kind."""
    asked = {"kind": TopK(k=2), "bounds": ["hockey-stick", "renyi", "neyman-pearson"], "runner_up": "second"}
    with pytest.raises(ValueError, match='bound must be "tightest", "neyman-pearson" or "renyi"'):
        read_results([made / "fixed"], **asked)
    found = read_results([made / "fixed"], **{**asked, "bounds": ["neyman-pearson", "renyi"]}, norm=np.inf)
    assert [(each.bound, each.norm, each.kind) for each in found] == [
        ("neyman-pearson", np.inf, "top-k k=2"),
        ("renyi", np.inf, "top-k k=2"),
    ]
    kept = read_run(made / "fixed")
    assert (found[0].radius == kept.certificates(kind=TopK(k=2), bound="neyman-pearson", norm=np.inf).radius).all()


def test_radii_of_real_inputs_stay_so(made):
    kept = read_run(made / "fixed")
    rounded = Result.of("rounded", kept.certificates().for_real_inputs(), kept.column("label"))
    again = rounded.under(kind=TopK(k=2), bound="tightest")
    assert again.certificates.real_inputs
    assert (again.radius < kept.certificates(kind=TopK(k=2), bound="tightest").radius).any()


# Files that `rsmooth radii` writes


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv"])
def test_what_is_written_of_another_kind_says_so_when_it_is_read(made, full, tmp_path, suffix):
    for folder, kind, options in (
        (made / "top-k", TopClass(), ("top-class",)),
        (made / "soft-scores", None, ()),
        (made / "fixed", TopK(k=2), ("top-k", "--k", 2)),
        (full, BettingScores(), ("betting-scores",)),
    ):
        out = tmp_path / f"radii{suffix}"
        written = command("radii", folder, *(("--kind", *options) if options else ()), "-o", out)
        assert written.exit_code == 0, written.output
        read, expected = read_result(out), read_run(folder).certificates(kind=kind)
        assert read.kind == expected.kind
        assert (read.radius == expected.radius).all()
        assert (read.prediction == expected.prediction).all()
        assert expected.basis in written.stdout


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_votes_of_a_table_serve_every_kind_of_votes(made, tmp_path, suffix):
    out, kept = tmp_path / f"radii{suffix}", read_run(made / "top-k")
    assert command("radii", made / "top-k", "-o", out).exit_code == 0
    read = read_result(out)
    assert (read.kind, read.certificates.k) == ("top-k k=3", 3)
    for kind in (TopClass(), TopK(k=5), TopK(k=3)):
        assert (read.under(kind=kind).radius == kept.certificates(kind=kind).radius).all()
    assert (read.under(bound="renyi").radius == kept.certificates(bound="renyi").radius).all()
    # As the votes give it, or not at all.
    table = pa.csv.read_csv(out) if suffix == ".csv" else pa.parquet.read_table(out)
    row = int(np.argmax(read.radius))
    radius = table["radius"].to_numpy().copy()
    radius[row] *= 1.01
    forged = table.set_column(table.column_names.index("radius"), "radius", pa.array(radius))
    write(tmp_path / f"forged{suffix}", forged)
    with pytest.raises(ValueError, match=r"radius must be .*, as the counts give it, got"):
        read_result(tmp_path / f"forged{suffix}")


# Files of votes

ROWS = 200


@pytest.fixture
def votes():
    rng = np.random.default_rng(0)
    return rng.multinomial(1000, rng.dirichlet([0.3] * 4, ROWS)).astype(np.int64)


def save(path, counts, **columns):
    told = {f"count_{k}": counts[:, k] for k in range(counts.shape[1])} | columns
    write(path, pa.table(told))
    return path


GAUSSIAN = ("--mechanism", "gaussian", "--sigma", 0.25, "--norm", 2)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_file_of_votes_is_certified_for_its_labels(tmp_path, votes, monkeypatch, suffix):
    labels, chosen = votes[:, ::-1].argmax(axis=1), np.roll(votes, 1, axis=1)
    source = save(
        tmp_path / f"votes{suffix}", votes, label=labels, **{f"selection_{k}": chosen[:, k] for k in range(4)}
    )
    out = tmp_path / f"radii{suffix}"
    with monkeypatch.context() as small:
        small.setattr(tables, "PIECE_BYTES", 2**10)
        made = command("radii", source, *GAUSSIAN, "--dim", 3072, "--kind", "top-k", "--k", 2, "-o", out)
    assert made.exit_code == 0, made.output
    read = read_result(out)
    expected = certify_topk(votes, labels, Gaussian(0.25), k=2, norm=2, dim=3072)
    assert (read.kind, read.certificates.k) == ("top-k k=2", 2)
    assert (read.radius == expected.radius).all()
    assert (read.prediction == expected.prediction).all()
    # Labels are nothing to the top class.
    top = certify_counts(votes, Gaussian(0.25), norm=2, dim=3072, selection=chosen)
    assert (read.under(kind=TopClass()).radius == top.radius).all()
    assert command("radii", source, *GAUSSIAN, "-o", out).exit_code == 0
    assert (read_result(out).radius == top.radius).all()


@pytest.mark.parametrize("selected", ["selected", "npy"])
def test_without_labels_separate_draws_say_the_class(tmp_path, votes, selected):
    chosen = votes[:, ::-1].argmax(axis=1)
    source, selection = save(tmp_path / "votes.parquet", votes, selected=chosen), None
    if selected == "npy":
        source, selection = tmp_path / "votes.npy", tmp_path / "selected.npy"
        np.save(source, votes)
        np.save(selection, chosen)
    recertify(source, tmp_path / "radii.parquet", Gaussian(0.25), kind=TopK(k=2), norm=2, selection=selection)
    table = pa.parquet.read_table(tmp_path / "radii.parquet")
    expected = certify_topk(votes, chosen, Gaussian(0.25), k=2, norm=2, dim=1)
    assert (table["radius"].to_numpy() == expected.radius).all()
    assert set(table["kind"].to_pylist()) == {"top-k k=2"}


FIELD = "idx\tlabel\tpredict\tradius\n0\t3\t3\t0.421\n"


@pytest.mark.parametrize(
    ("name", "text", "options", "words"),
    [
        (
            "a.csv",
            "count_0,count_1,count_2\n9,1,0\n",
            ("top-k", "--k", 2),
            "a.csv must have the classes to certify in a",
        ),
        (
            "a.csv",
            "count_0,count_1,count_2,label\n9,1,0,0\n9,1,0,3\n",
            ("top-k", "--k", 2),
            "a.csv, line 3: labels[1] must be a class from 0 to 2, got 3",
        ),
        (
            "a.csv",
            "count_0,count_1,count_2,label\n9,1,0,cat\n",
            ("top-k", "--k", 2),
            "label must be an integer, got 'cat'",
        ),
        ("a.csv", "count_0,count_1,label\n9,1,0\n", ("top-k", "--k", 2), "k must be between 1 and 1, got 2"),
        (
            "a.csv",
            "count_0,count_1,label\n9,1,0\n",
            ("betting-scores",),
            "kind must be of votes (top-class, top-k), which ",
        ),
        ("a.tsv", FIELD, ("top-k", "--k", 2), "kind cannot be applied to "),
    ],
)
def test_files_that_cannot_be_certified_as_the_kind_are_refused(tmp_path, name, text, options, words):
    (tmp_path / name).write_text(text)
    refused = command("radii", tmp_path / name, *GAUSSIAN, "--kind", *options, "-o", tmp_path / "out.csv")
    assert words in str(refused.exception)
    assert not (tmp_path / "out.csv").exists()


def test_result_files_are_of_the_top_class_whoever_asks(tmp_path):
    (tmp_path / "a.tsv").write_text(FIELD)
    made = command("radii", tmp_path / "a.tsv", *GAUSSIAN, "--kind", "top-class", "-o", tmp_path / "out.csv")
    assert made.exit_code == 0, made.output
    (result,) = read_results([tmp_path / "a.tsv"], kind=TopClass())
    assert result.radius.tolist() == [0.421]
    with pytest.raises(LostVotesError, match=r"kind 'top-k k=2' cannot be had of .*a.tsv, whose votes are lost"):
        result.under(kind=TopK(k=2))
    refused = command("table", tmp_path / "a.tsv", "--kind", "top-k", "--k", 2)
    assert "whose votes are lost" in str(refused.exception)


# Names and options


@pytest.mark.parametrize("name", KINDS)
def test_what_a_kind_claims_does_not_depend_on_how_outputs_are_read(name):
    settings = {"top-k": {"k": 2}, "median": {"tolerance": 0.5}, "segmentation": {"tau": 0.8}}
    kind = kind_type(name)(**settings.get(name, {}))
    assert kind.claim == kind.text.replace(" scores=probabilities", "")
    assert kind.claim == name + "".join(f" {key}={value}" for key, value in settings.get(name, {}).items())


@pytest.mark.parametrize(
    ("run_name", "options", "words"),
    [
        ("fixed", ("betting-scores",), "kind must be of votes (top-class, top-k), which "),
        ("soft-scores", ("top-k", "--k", 2), "kind must be of scores (soft-scores), which "),
        ("fixed", ("top-k", "--k", 10), "k must be between 1 and 9, got 10"),
        ("fixed", ("top-3",), "kind must be one of top-class, top-k, "),
    ],
)
def test_kinds_of_other_counts_are_refused_by_name(made, tmp_path, run_name, options, words):
    for each in (
        ("table", made / run_name),
        ("plot", made / run_name, "-o", tmp_path / "a.png"),
        ("radii", made / run_name, "-o", tmp_path / "a.csv"),
    ):
        refused = command(*each, "--kind", *options)
        assert refused.exit_code != 0
        assert words in str(refused.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["table", "plot", "radii"])
def test_options_are_the_kinds_but_for_how_outputs_are_read(name):
    assert "Options of --kind top-k" in command(name, "--kind", "top-k", "--help").output
    assert "--scores" not in command(name, "--kind", "betting-scores", "--help").output
    assert "How many classes are the top ones." not in command(name, "--help").output
    for arguments, words in (
        (("--k", 3), "--k is an option of top-k; --kind is left out"),
        (("--kind", "top-class", "--k", 3), "--k is an option of top-k; kind top-class has no options"),
        (("--kind", "betting-scores", "--scores", "logits"), "No such option: --scores"),
        (("--kind", "top-k"), "Missing option '--k'"),
    ):
        refused = command(name, "a", *(() if name == "table" else ("-o", "a.png")), *arguments)
        assert refused.exit_code == 2
        assert words in re.sub(r"[\s│]+", " ", refused.output)


def test_figures_are_of_the_kind_that_is_asked_for(made, tmp_path):
    drawn = command(
        *("plot", made / "fixed", made / "top-k", "--kind", "top-k", "--k", 2, "--bound", "tightest"),
        *("-o", tmp_path / "a.svg", "--json", tmp_path / "a.json"),
    )
    assert drawn.exit_code == 0, drawn.output
    assert [each["kind"] for each in json.loads((tmp_path / "a.json").read_text())] == ["top-k k=2"] * 2
    assert "top-k k=2" in (tmp_path / "a.svg").read_text()
    (tmp_path / "log.csv").write_text("epoch\n")
    refused = command("plot", tmp_path, "--kind", "top-class", "-o", tmp_path / "b.png")
    assert "--kind cannot be given for trainings" in str(refused.exception)
