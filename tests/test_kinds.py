"""Kinds of certificates through models, runs and commands: one door for all of them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rsmooth import Certificates, Gaussian, SmoothedClassifier, certify_topk, cli
from rsmooth.certificates import KINDS, kind_named, kind_type
from rsmooth.certificates.fullinformation import FullInformation
from rsmooth.certificates.kind import Kind
from rsmooth.certificates.segmentation import Segmentation
from rsmooth.certificates.softscores import SoftScoreCertificates, SoftScores
from rsmooth.certificates.topclass import TopClass
from rsmooth.certificates.topk import TopK, TopKCertificates
from rsmooth.report.facts import facts_of
from rsmooth.results.measures import measures
from rsmooth.results.read import read_result
from rsmooth.results.result import LostVotesError
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec
from rsmooth.run.verify import check_records
from rsmooth.zoo.data import load_data
from run_helpers import RUNS, interrupted_after, later, rewrite, run, without_times

SETTINGS = {"top-k": {"k": 2}, "median": {"tolerance": 0.5}, "segmentation": {"tau": 0.8}}


def examples(count):
    data = load_data("digits")
    images, labels = zip(*(data[i] for i in range(count)), strict=True)
    return torch.stack(images), np.array(labels)


# The registry


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_found_by_name_and_written_as_they_are_read(name):
    kind = kind_type(name)(**SETTINGS.get(name, {}))
    assert isinstance(kind, Kind)
    assert kind.name == name
    assert kind_named(kind.text) == kind
    assert kind_type(name).__doc__


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top-5", "kind must be one of top-class, top-k"),
        ("top-k", "kind 'top-k' is damaged: k must be of type int, got None"),
        ("top-k k=0", "k must be between 1 and"),
        ("top-k k=two", "k must be of type int, got 'two'"),
    ],
)
def test_texts_that_name_no_kind_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kind_named(text)


# Top-k in runs


def test_a_run_of_top_k_certifies_the_labels_by_the_votes_of_any_run(made):
    top, plain = read_run(made / "top-k"), read_run(made / "fixed")
    found = top.certificates()
    labels, counts = top.column("label"), top.column("counts")
    alone = certify_topk(
        counts, labels, Gaussian(0.25), k=3, norm=2, dim=64, alpha=0.001
    )  # of noise that is exactly the mechanism's
    assert isinstance(found, TopKCertificates)
    assert found.radius == pytest.approx(alone.radius, rel=1e-9)
    assert (found.radius <= alone.radius).all()
    assert set(found.prediction) <= {*labels.tolist(), -1}
    assert top.settings["kind"] == "top-k k=3"
    assert "kind" not in plain.settings
    assert measures(read_result(made / "top-k"))["kind"] == "top-k k=3"
    # More than the top class alone, by the same votes, and less than with a larger k.
    one, five = (top.certificates(kind=kind) for kind in (TopClass(), TopK(k=5)))
    assert one.average_radius(labels) < found.average_radius(labels) < five.average_radius(labels)
    also = plain.certificates(kind=TopK(k=3), bound="tightest")
    assert also.k == 3
    assert (also.prediction[also.prediction >= 0] == plain.column("label")[also.prediction >= 0]).all()


def test_results_tell_every_draw_of_a_run_those_that_no_label_needed_too(made, tmp_path):
    for name in ("top-k", "fixed", "soft-scores"):
        run, result = read_run(made / name), read_result(made / name)
        drawn = run.spec.n0 + run.spec.n
        assert run.draws.tolist() == result.draws.tolist() == [drawn] * 12
        assert result.under(alpha=0.01).draws.tolist() == [drawn] * 12
        assert measures(result)["mean_draws"] == drawn
        assert facts_of(result)[0]["draws in all"] == f"{12 * drawn:,}"
    for suffix in (".csv", ".parquet"):
        assert command("radii", made / "top-k", "-o", tmp_path / f"radii{suffix}").exit_code == 0
        assert read_result(tmp_path / f"radii{suffix}").draws.tolist() == [350] * 12
    # Certificates of labels rest on the draws that test them.
    assert read_run(made / "top-k").certificates().draws.tolist() == [300] * 12


def test_labels_that_are_known_take_no_draws_that_select(trained):
    images, labels = examples(4)
    smoothed = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16)
    settings = {"n0": 50, "n": 300, "norm": 2, "seed": 3, "batch_size": 100, "kind": TopK(k=3)}
    made = []
    found = smoothed.certify(images, labels=labels, **settings, progress=made.append)
    assert (sum(made), found.draws.tolist()) == (4 * 300, [300] * 4)
    made.clear()
    found = smoothed.certify(images, **settings, progress=made.append)
    assert (sum(made), found.draws.tolist()) == (4 * 350, [350] * 4)


def test_python_certifies_what_the_run_certifies(made, trained):
    recorded = read_run(made / "top-k").certificates()
    images, labels = examples(len(recorded))
    smoothed = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16)
    settings = {"n0": 50, "n": 300, "norm": 2, "seed": 3, "batch_size": 100, "kind": TopK(k=3)}
    found = smoothed.certify(images, labels=labels, **settings)
    assert (found.counts == recorded.counts).all()
    assert (found.radius == recorded.radius).all()
    # Without labels the draws select.
    selected = smoothed.certify(images, **settings)
    kept = selected.prediction >= 0
    assert (selected.prediction[kept] == selected.selection.argmax(axis=1)[kept]).all()
    assert (selected.counts == found.counts).all()


# Every kind in runs


@pytest.mark.parametrize("name", ["top-k", "top-k-until", "soft-scores", "soft-scores-until"])
def test_an_interrupted_run_goes_on_to_the_same_records(tmp_path, monkeypatch, trained, name):
    spec = replace(RUNS[name], max=4)
    whole = run(tmp_path / "whole", spec, model=trained)
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", spec, model=trained)
    assert list((tmp_path / "stopped").glob("parts-*"))
    assert without_times(run(tmp_path / "stopped", spec, model=trained)) == without_times(whole)


@pytest.mark.parametrize("name", ["top-k", "top-k-until", "soft-scores", "soft-scores-until"])
def test_verification_computes_certificates_again(runs, name):
    kept = read_run(runs / name)
    assert not check_records(kept)
    index = next(i for i, each in kept.records.items() if each["radius"] > 0)
    rewrite(runs / name, index, radius=kept.records[index]["radius"] * 1.01)
    assert [each.index for each in check_records(read_run(runs / name))] == [index]


def test_a_run_of_soft_scores_certifies_what_python_certifies(made, trained):
    kept = read_run(made / "soft-scores")
    recorded = kept.certificates()
    images, labels = examples(len(recorded))
    smoothed = SmoothedClassifier(trained.module, Gaussian(0.25), 10, grid=16)
    found = smoothed.certify(images, n0=50, n=300, norm=2, seed=3, batch_size=100, kind=SoftScores(scores="logits"))
    assert (found.prediction == recorded.prediction).all()
    for name in ("radius", "p1", "p2"):
        # Scores round otherwise in other batches, which votes hardly ever do.
        assert getattr(found, name) == pytest.approx(getattr(recorded, name), abs=1e-6), name
    assert SOFT.moved(found.counts, recorded.counts) <= 1
    assert found.certified_accuracy(labels, 0.0) > 0.5
    assert (found.interval, found.kind, found.draws.tolist()) == ("anytime", "soft-scores", [350] * 12)
    assert measures(read_result(made / "soft-scores"))["mean_draws"] == 350
    # Scores are softmax's: of the same draws as the votes of another run, whose share of a class is another statistic.
    votes = read_run(made / "top-k").column("counts") / 300
    means = found.counts[:, 0, :-1] / (300 * 65535)
    assert 0 < np.abs(votes - means).max() < 0.3
    with pytest.raises(ValueError, match=r"kind must be of scores \(soft-scores\), which .* holds, got 'top-class'"):
        kept.certificates(kind=TopClass())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sums: sums[0], "must have 11 sums of scores and as many of squares"),
        (lambda sums: [[-1, *sums[0][1:]], sums[1]], "has sums that no scores come to"),
        (lambda sums: [[sums[0][0] + 1, *sums[0][1:]], sums[1]], "has sums that no scores come to"),
        (lambda sums: [sums[0], [each // 400 for each in sums[1]]], "has sums that no scores come to"),
        (lambda sums: [sums[0], [each * 65536 for each in sums[1]]], "has sums that no scores come to"),
        (lambda _: [[0] * 10 + [65535 * 299], [0] * 10 + [65535**2 * 299]], "where 50 and 300 were drawn"),
        (lambda sums: [[0.5] * 11, sums[1]], "must have 11 sums"),
        (lambda _: "none", "counts must be of type list"),
    ],
)
def test_records_of_soft_scores_that_no_draws_come_to_are_refused(runs, change, message):
    counts = read_run(runs / "soft-scores").records[3]["counts"]
    rewrite(runs / "soft-scores", 3, counts=change(counts))
    with pytest.raises(ValueError, match=message):
        read_run(runs / "soft-scores")


def test_tables_of_soft_scores_hold_their_sums_and_say_whose_they_are(made, tmp_path):
    result = command("radii", made / "soft-scores", "-o", tmp_path / "radii.csv")
    assert result.exit_code == 0, result.output
    header, row = ((tmp_path / "radii.csv").read_text().splitlines()[i].split(",") for i in (0, 1))
    cells = dict(zip((each.strip('"') for each in header), row, strict=True))
    assert {"count_sum_0", "count_square_10", "selection_sum_10"} <= set(cells)
    assert cells["kind"].strip('"') == "soft-scores"
    read = read_result(tmp_path / "radii.csv")
    assert read.certificates is None
    assert (read.radius == read_run(made / "soft-scores").certificates().radius).all()


# Commands


def command(*arguments):
    return CliRunner().invoke(cli.app, [str(each) for each in arguments], env={"COLUMNS": "300"})


def test_the_command_certifies_and_verifies_top_k(tmp_path, checkpoint):
    out = tmp_path / "run"
    asked = ["certify", "--model", checkpoint, "--data", "digits", "--mechanism", "gaussian", "--sigma", 0.25]
    asked += ["--norm", 2, "--n", 200, "--max", 5, "--seed", 0, "--out", out]
    result = command(*asked, "--kind", "top-k", "--k", 3)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "run.json").read_text())["settings"]["kind"] == "top-k k=3"
    refused = command(*asked, "--kind", "top-k", "--k", 2)
    assert "kind 'top-k k=3' there, 'top-k k=2' here" in str(refused.exception)
    refused = command(*asked)
    assert "kind 'top-k k=3' there, 'top-class' here" in str(refused.exception)
    result = command("verify", out, "--sample", 2)
    assert result.exit_code == 0, result.output
    result = command("radii", out, "-o", tmp_path / "radii.tsv")
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in (tmp_path / "radii.tsv").read_text().splitlines()]
    assert {row[rows[0].index("kind")] for row in rows[1:]} == {"top-k k=3"}
    # Those radii say nothing of the top class.
    result_file = ["radii", tmp_path / "radii.tsv", "--mechanism", "gaussian", "--sigma", 0.25, "--norm", 2]
    again = command(*result_file, "-o", tmp_path / "again.tsv")
    assert "kind is 'top-k k=3' there, but 'top-class' was asked for" in str(again.exception)
    for name in ("radii.tsv", "radii.parquet"):
        assert command("radii", out, "-o", tmp_path / name).exit_code == 0
        read = read_result(tmp_path / name)
        assert (read.radius == read_result(out).radius).all()
        if name == "radii.tsv":
            with pytest.raises(LostVotesError):
                read.under(bound="renyi")
        else:
            assert (read.under(bound="renyi").radius == read_result(out).under(bound="renyi").radius).all()
    result = command("plot", out, "-o", tmp_path / "figure.png")
    assert result.exit_code == 0, result.output


def test_options_of_kinds_are_the_commands_where_the_kind_is_named():
    shown = command("certify", "--kind", "top-k", "--help").output
    assert "Options of --kind top-k" in shown
    assert "How many classes are the top ones." in shown
    assert "How many classes are the top ones." not in command("certify", "--help").output
    refused = command("certify", "--k", 3)
    assert refused.exit_code == 2
    assert "--k is an option of top-k; kind top-class has no options" in re.sub(r"[\s│]+", " ", refused.output)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": TopK(k=10)}, "k must be between 1 and 9, got 10"),
        ({"kind": TopK(k=3), "until": (0.0, 9.0)}, "until must be of radii below 0."),
        ({"kind": TopK(k=10), "until": (0.0,)}, "k must be between 1 and 9, got 10"),
        ({"kind": TopK(k=3), "width": 0.1, "interval": "clopper-pearson"}, "interval must hold for draws that are"),
        ({"kind": TopK(k=3), "runner_up": "complement"}, 'runner_up must be "second" for top-k certificates'),
        (
            {"kind": Segmentation()},
            "data must be of labels that are a map, for kind 'segmentation', got those of digits",
        ),
        ({"kind": SoftScores(), "interval": "clopper-pearson"}, 'interval must be "anytime" for soft scores'),
        (
            {"kind": SoftScores(), "until": (0.0,), "interval": "empirical-bernstein"},
            "interval must hold for draws that",
        ),
        ({"kind": SoftScores(), "until": (9.0,)}, "until must be of radii below 0"),
        ({"kind": Segmentation(), "width": 0.1}, "until and width must be None for kind 'segmentation'"),
        ({"kind": SoftScores(), "bound": "pure-dp"}, "bound must be"),
        ({"kind": TopK(k=3), "bound": "hockey-stick"}, 'bound must be "tightest", "neyman-pearson" or "renyi"'),
    ],
)
def test_runs_that_cannot_be_are_refused_before_the_model_runs(tmp_path, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run(tmp_path, Spec("gaussian", 0.25, norm=2, n=10, max=1, **changes))
    assert not list(tmp_path.glob("*.json*"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"kind": "top-k"}, TypeError, "kind must be a Kind, such as TopClass(), got 'top-k' of type str"),
        ({"kind": TopK(k=2)}, ValueError, "k must be between 1 and 1, got 2"),
        ({"labels": [0]}, ValueError, "labels must be None for kind 'top-class', which certifies what draws select"),
        ({"kind": TopK(k=1), "labels": [0, 1]}, ValueError, "labels must have the shape (1,), got (2,)"),
        ({"kind": TopK(k=1), "labels": [2]}, ValueError, "labels[0] must be a class from 0 to 1, got 2"),
        ({"kind": TopK(k=1), "labels": [0.0]}, TypeError, "labels must be integers, got dtype float64"),
        ({"kind": SoftScores(), "labels": [0]}, ValueError, "labels must be None for kind 'soft-scores'"),
        ({"kind": TopK(k=1), "until": [9]}, ValueError, "until must be of radii below 0, which n = 10 draws certify"),
        (
            {"kind": FullInformation(), "until": [0]},
            ValueError,
            "until must be None for kind 'full-information', whose",
        ),
    ],
)
def test_what_a_classifier_cannot_certify_is_refused_before_the_model_runs(settings, error, message):
    def model(_):
        raise AssertionError("the model was run")

    with pytest.raises(error, match=re.escape(message)):
        SmoothedClassifier(model, Gaussian(0.25), 2).certify(torch.full((1, 4), 0.5), n=10, norm=2, **settings)


# Answers that are not what a kind takes


def certify(model, kind, x=None, **settings):
    x = torch.full((1, 4), 0.5) if x is None else x
    return SmoothedClassifier(model, Gaussian(0.25), 2).certify(
        x, kind=kind, **{"n": 300, "norm": 2, "seed": 0, "batch_size": 50, **settings}
    )


SOFT = SoftScores()


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (lambda x: 4 * x[:, :2], SOFT, "the model's output is outside [0, 1] (of logits, softmax makes scores"),
        (lambda x: -x[:, :2].abs(), SOFT, "the model's output is outside [0, 1]"),
        (lambda x: torch.ones(len(x), 2), SOFT, "the model's output sums to more than 1"),
        (lambda x: (x[:, 0] > 0.5).long(), SOFT, "the model must return scores, of shape (B, K), for soft scores"),
        (
            lambda x: torch.full((len(x), 2), torch.nan),
            SOFT,
            "the model's output is not finite for 50 noisy copies of example 0",
        ),
        (lambda x: torch.full((len(x), 2), torch.inf), SoftScores("logits"), "the model's output is not finite for 50"),
        (lambda x: torch.full((len(x), 3), 0.3), SOFT, "the model must return scores of shape (50, 2)"),
        (
            later(lambda x: torch.full((len(x), 2), 0.5), lambda x: torch.full((len(x), 2), 0.7)),
            SOFT,
            "the model's output sums to more than 1",
        ),
        (
            later(lambda x: torch.full((len(x), 2), 0.5), lambda x: torch.full((len(x), 2), 0.5).double()),
            SOFT,
            "the same form of output always, got scores of float32 and then scores of float64",
        ),
        (
            later(lambda x: torch.full((len(x), 2), 0.5), lambda x: torch.full((len(x), 4), 0.2)),
            SOFT,
            "the model must return scores of shape (50, 2)",
        ),
    ],
)
def test_answers_that_are_not_scores_are_refused_by_name(model, kind, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        certify(model, kind)


def test_saved_certificates_are_read_as_the_kind_that_they_are(tmp_path):
    """Sums of scores once loaded as votes, and said of the vote what holds for mean scores."""
    x = torch.tensor([[0.2, 0.8]])
    smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.25), num_classes=2)
    soft = smoothed.certify(x, kind=SoftScores("logits"), n=1000, norm=2, seed=0)
    votes = smoothed.certify(x, n0=100, n=1000, norm=2, seed=0)
    soft.save(tmp_path / "soft.npz")
    votes.save(tmp_path / "votes.npz")
    with pytest.raises(ValueError, match=r"soft.npz holds certificates of kind 'soft-scores', which Certificates are"):
        Certificates.load(tmp_path / "soft.npz")
    with pytest.raises(ValueError, match=r"holds certificates of kind 'top-class', which SoftScoreCertificates are"):
        SoftScoreCertificates.load(tmp_path / "votes.npz")
    assert SoftScoreCertificates.load(tmp_path / "soft.npz").radius.tolist() == soft.radius.tolist()
