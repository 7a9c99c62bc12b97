"""Runs of kinds whose tallies are arrays of every draw or pixel: segmentation, medians, full information."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from rsmooth import Gaussian, SmoothedClassifier, cli
from rsmooth.certificates.betting import BettingScores
from rsmooth.certificates.fullinformation import FullInformation
from rsmooth.certificates.median import Median
from rsmooth.certificates.scores import UNITS
from rsmooth.certificates.segmentation import Segmentation
from rsmooth.io.packed import packed, unpacked
from rsmooth.results.measures import compare, measures
from rsmooth.results.read import read_result
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec
from rsmooth.run.verify import check_records, check_sources, recount
from rsmooth.torch.regressor import SmoothedRegressor
from rsmooth.zoo.arrays import Pairs
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import Model
from run_helpers import interrupted_after, rewrite, run, without_times

COUNT = 6
SPEC = Spec("gaussian", 0.25, norm=2, n0=40, n=200, max=COUNT, batch_size=64)


class Ink(nn.Module):
    """How much of a digit is ink."""

    def forward(self, x):
        return x.flatten(1).sum(dim=1, keepdim=True)


class Bright(nn.Module):
    """Scores of dark and of bright pixels."""

    def forward(self, x):
        return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], dim=1)


def digits(answer, labels_of):
    images = np.stack([load_data("digits")[i][0].numpy() for i in range(COUNT)])
    return Data("mine", Pairs(images, labels_of(images)), answer=answer, levels=16)


def of(module, classes):
    return Model(nn.Sequential(nn.Identity(), module), "mine", classes, "none")


def maps_of(images):
    truth = (images[:, 0] > 0.5).astype(np.int64)
    # A border that counts neither way.
    truth[:, 0] = -1
    return truth


CASES = {
    "segmentation": (
        replace(SPEC, kind=Segmentation(tau=0.8)),
        lambda: of(Bright(), 2),
        lambda: digits("map", maps_of),
    ),
    "median": (
        replace(SPEC, kind=Median(tolerance=2.5)),
        lambda: of(Ink(), 0),
        lambda: digits("number", lambda images: images.sum(axis=(1, 2, 3)).astype(np.float64)),
    ),
    "full-information": (
        replace(SPEC, kind=FullInformation("logits")),
        None,
        lambda: load_data("digits"),
    ),
    "betting-scores": (
        replace(SPEC, kind=BettingScores("logits")),
        None,
        lambda: load_data("digits"),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    spec, model, data = CASES[request.param]
    return spec, request.getfixturevalue("trained") if model is None else model(), data()


@pytest.fixture
def out(tmp_path, case):
    spec, model, data = case
    run(tmp_path / "run", spec, model=model, data=data)
    return tmp_path / "run"


def test_a_run_certifies_what_python_certifies(out, case):
    spec, model, data = case
    kept = read_run(out)
    recorded = kept.certificates()
    images, labels = torch.stack([data[i][0] for i in range(COUNT)]), [data[i][1] for i in range(COUNT)]
    asked = {"kind": spec.kind, "n0": 40, "n": 200, "norm": 2, "seed": 5, "batch_size": 64}
    if spec.kind.answer == "number":
        found = SmoothedRegressor(model.module, Gaussian(0.25), grid=16).certify(images, labels=labels, **asked)
    else:
        found = SmoothedClassifier(model.module, Gaussian(0.25), model.num_classes, grid=16).certify(images, **asked)
    assert type(found) is type(recorded)
    assert np.array_equal(found.prediction, recorded.prediction, equal_nan=True)
    # Scores round otherwise in other batches.
    assert recorded.radius == pytest.approx(found.radius, rel=1e-3)
    assert (recorded.radius > 0).any()
    assert kept.column("label").tolist() == np.array(labels).tolist()
    right = measures(read_result(out))
    assert right["accuracy"] == found.certified_accuracy(labels, 0.0)
    assert right["mean_draws"] == 240


OTHERS = {
    "segmentation": Segmentation(tau=0.6),
    "median": Median(tolerance=1.5),
    "full-information": BettingScores(),
    "betting-scores": FullInformation(),
}


def test_what_was_counted_certifies_others_of_the_same_counts(out, case):
    kept, other = read_run(out), OTHERS[case[0].kind.name]
    own, expected, found = kept.certificates(), kept.certificates(kind=other), read_result(out).under(kind=other)
    assert found.kind == expected.kind == other.claim
    assert own.kind == case[0].kind.claim
    assert np.array_equal(found.radius, expected.radius)
    assert np.array_equal(found.prediction, expected.prediction, equal_nan=True)
    assert not np.array_equal(expected.radius, own.radius)
    assert (expected.radius > 0).any()


def test_a_run_that_was_interrupted_goes_on_with_the_votes_it_has(out, case, tmp_path, monkeypatch):
    spec, model, data = case
    with pytest.raises(KeyboardInterrupt), interrupted_after(monkeypatch, 7):
        run(tmp_path / "again", spec, model=model, data=data)
    assert list((tmp_path / "again").glob("parts-*"))
    asked = []
    original = model.module.forward
    monkeypatch.setattr(model.module, "forward", lambda x: (asked.append(len(x)), original(x))[1])
    again = run(tmp_path / "again", spec, model=model, data=data)
    whole = read_run(out)
    assert without_times(again) == without_times(whole.records)
    # 23 batches and what the first start had written of them.
    assert len(asked) < 23
    assert check_records(read_run(tmp_path / "again")) == []
    assert recount(whole, model, data, sample=COUNT).problems == []


def test_a_run_keeps_draws_in_their_order_when_an_earlier_batch_comes_later(out, case, tmp_path, monkeypatch):
    """As where two workers shared the draws and were killed when one was behind the other."""
    spec, model, data = case
    with pytest.raises(KeyboardInterrupt), interrupted_after(monkeypatch, 7):
        run(tmp_path / "again", spec, model=model, data=data)
    (parts,) = (tmp_path / "again").glob("parts-*")
    first, *others = parts.read_bytes().splitlines(keepends=True)
    assert len(others) > 3
    parts.write_bytes(b"".join((first, *others[2:])))
    again = run(tmp_path / "again", spec, model=model, data=data)
    assert without_times(again) == without_times(read_run(out).records)
    assert recount(read_run(tmp_path / "again"), model, data, sample=COUNT).problems == []


def forged(name, kept):
    """Return tallies of an example that certify more than its draws do."""
    selection, counts = (kept.column(each)[3].copy() for each in ("selection", "counts"))
    if name == "segmentation":
        # One pixel, which abstains, gets the votes that it lacks.
        row, column = np.argwhere(kept.certificates().prediction[3] < 0)[0]
        counts[row, column] = [0, 200] if selection[row, column].argmax() else [200, 0]
    elif name == "median":
        counts = np.full_like(counts, kept.column("label")[3])
    else:
        best = selection.sum(axis=0)[:-1].argmax()
        counts[:, :] = 0
        counts[:, best] = UNITS
    return selection, counts


def test_what_draws_do_not_give_is_found(out, case):
    spec, model, data = case
    kept = read_run(out)
    selection, counts = forged(spec.kind.name, kept)
    (consistent,) = kept.rule.records(selection[None], counts[None], kept.column("label")[3:4])
    changes = {name: packed(value) if isinstance(value, np.ndarray) else value for name, value in consistent.items()}
    rewrite(out, 3, counts=packed(counts), **changes)
    after = read_run(out)
    assert check_records(after) == []
    assert [each.index for each in recount(after, model, data, sample=COUNT).problems] == [3]


def test_labels_that_are_no_classes_are_refused(out, case):
    """As 2⁶³, of which an array has another type than of classes."""
    spec, _, _ = case
    classes = read_run(out).head.subject.num_classes
    label = read_run(out).column("label")[2]
    if spec.kind.answer == "class":
        wrong = [-1, classes, 2**63, 10**30]
    elif spec.kind.answer == "map":
        wrong = [packed(each) for each in (label - 1, label + 2, label.astype(float), label[:, :1], label[None])]
    else:
        pytest.skip("labels are numbers")
    for each in wrong:
        rewrite(out, 2, label=each)
        with pytest.raises(
            ValueError, match=r"run: the record of example 2 (must have for a label|has label of shape)"
        ):
            read_run(out)


def test_radii_of_tables_are_at_most_what_p1_and_p2_beside_them_give_as_of_votes(out, case, tmp_path):
    spec, _, _ = case
    if not spec.kind.as_votes:
        pytest.skip("p1 and p2 give no radius as votes do")
    path = tmp_path / "radii.parquet"
    assert command("radii", out, "-o", path).exit_code == 0
    radius, table = read_result(path).radius, pq.read_table(path)
    column = table.column_names.index("radius")
    pq.write_table(table.set_column(column, "radius", pa.array(radius / 2)), path)
    assert (read_result(path).radius == radius / 2).all()
    pq.write_table(table.set_column(column, "radius", pa.array(radius * 1.001)), path)
    with pytest.raises(ValueError, match=r"radius must be at most .*, which its p1 and p2 give"):
        read_result(path)


def test_what_differs_is_measured_where_it_differs_most_or_over_all_draws():
    """A share of all pixels would let one of many have any votes; whole outputs, that differ by rounding, all count."""
    votes = np.full((1, 32, 32, 2), 50)
    other = votes.copy()
    other[0, 7, 9] += [3, -3]
    assert Segmentation().moved(votes, other) == 3
    outputs = np.zeros((1, 1000))
    assert Median(2.0).moved(outputs, outputs + 1e-6) == pytest.approx(1000 * 1e-6 / 2)
    assert Median(2.0).moved(outputs, np.where(np.arange(1000) < 3, 99.0, 0.0)[None]) == 3
    scores = np.zeros((1, 100, 3), np.uint16)
    scores[..., 0] = UNITS
    turned = scores.copy()
    turned[0, :4] = [0, UNITS, 0]
    # Of which the sums over all draws would tell as much, and the order nothing.
    assert FullInformation().moved(scores, turned) == 4
    assert FullInformation().moved(turned, np.roll(turned, 2, axis=1)) == 4
    for kind, tally in ((Segmentation(), votes), (Median(2.0), outputs), (FullInformation(), scores)):
        assert kind.moved(tally, tally.copy()) == 0


def test_certificates_that_the_counts_do_not_give_are_found(out, case):
    spec, _, _ = case
    kept = read_run(out)
    rewrite(out, 2, radius=kept.records[2]["radius"] + 0.01)
    if spec.kind.answer == "map":
        other = unpacked("prediction", kept.records[1]["prediction"])
        other[4, 4] = 1 - abs(other[4, 4])
        rewrite(out, 1, prediction=packed(other))
        assert [each.index for each in check_records(read_run(out))] == [1, 2]
        return
    rewrite(out, 1, prediction=kept.records[1]["prediction"] + type(kept.records[1]["prediction"])(1))
    assert [each.index for each in check_records(read_run(out))] == [1, 2]


def test_labels_that_are_others_than_recorded_are_found(out, case):
    _, model, data = case
    kept = read_run(out)
    label = kept.column("label")[4]
    changed = packed(1 - abs(label)) if label.ndim else label.item() + 1
    rewrite(out, 4, label=changed)
    assert [each.index for each in check_sources(read_run(out), model, data)] == [4]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("median", {"counts": [1.0] * 200}, "counts is no array as runs pack them"),
        ("median", {"counts": packed(np.zeros(200, int))}, "counts must have at most 240 finite numbers, got int64"),
        ("median", {"counts": packed(np.zeros((2, 100)))}, r"got float64 of shape \(2, 100\)"),
        ("median", {"counts": packed(np.full(200, np.nan))}, "must have at most 240 finite numbers"),
        ("median", {"counts": packed(np.zeros(199))}, "has 40 and 199 votes where 40 and 200 were drawn"),
        ("median", {"label": 3.5}, None),
        ("median", {"label": "3"}, "label must be of type float, got '3'"),
        ("median", {"prediction": packed(np.zeros(3))}, "prediction must be of type float"),
        ("segmentation", {"counts": packed(np.full((8, 8, 3), 100))}, r"the same number of draws, at most 240"),
        ("segmentation", {"counts": packed(np.full((8, 8, 2), 121))}, r"the same number of draws, at most 240"),
        ("segmentation", {"counts": packed(np.tile([-1, 201], (8, 8, 1)))}, "the same number of draws"),
        (
            "segmentation",
            {"counts": packed(np.full((8, 8, 2), 100) - np.eye(8, dtype=int)[..., None])},
            "the same number of draws",
        ),
        ("segmentation", {"counts": packed(np.tile([100.0, 100.0], (8, 8, 1)))}, "the same number of draws"),
        ("segmentation", {"counts": packed(np.tile([1, 199], (8, 9, 1)))}, r"has counts of shape \(8, 9, 2\), those"),
        ("segmentation", {"label": packed(np.zeros((8, 9), int))}, r"has label of shape \(8, 9\), those before it"),
        ("segmentation", {"prediction": 3}, "prediction must be of type dict, got 3"),
        ("full-information", {"counts": packed(np.zeros((200, 11), int))}, "must have the scores of at most 240 draws"),
        ("full-information", {"counts": packed(np.full((200, 3), UNITS // 3))}, "for 10 classes"),
        ("full-information", {"counts": {"type": "<u2", "shape": [1]}}, "is no array as runs pack them: 'zlib'"),
    ],
)
def test_records_that_no_draws_come_to_are_refused(tmp_path, trained, name, changes, message):
    spec, model, data = CASES[name]
    run(tmp_path / "run", spec, model=trained if model is None else model(), data=data())
    rewrite(tmp_path / "run", 3, **changes)
    if message is None:
        assert read_run(tmp_path / "run").column("label")[3] == 3.5
        return
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "median",
            digits("class", lambda images: np.arange(len(images))),
            "labels that are a number, for kind 'median'",
        ),
        ("median", digits("number", lambda images: np.full(len(images), np.inf)), "labels must be finite numbers"),
        ("segmentation", digits("map", lambda images: np.zeros((len(images), 8, 7), int)), "a map of the shape"),
        ("segmentation", digits("map", lambda images: np.full((len(images), 8, 8), 2)), "is of class 2, the model has"),
        ("segmentation", digits("map", lambda images: np.full((len(images), 8, 8), -2)), "or -1 for what does not"),
        ("segmentation", digits("map", lambda images: images[:, 0]), "labels must be maps of integers, got float32"),
        ("segmentation", digits("map", lambda images: np.arange(len(images))), "labels must be maps of integers"),
    ],
)
def test_data_that_a_kind_has_no_use_for_are_refused_before_the_model_runs(tmp_path, name, data, message):
    spec, model, _ = CASES[name]
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", spec, model=model(), data=data)
    assert not (tmp_path / "run" / "run.json").exists()


def test_models_that_answer_otherwise_are_refused_before_any_draw(tmp_path):
    spec, _, data = CASES["segmentation"]
    with pytest.raises(ValueError, match=r"must return scores of shape \(1, 2, \*S\)"):
        run(tmp_path / "run", spec, model=of(Ink(), 2), data=data())
    spec, _, data = CASES["median"]
    with pytest.raises(ValueError, match="must return floating-point numbers"):
        run(tmp_path / "run", spec, model=of(Bright(), 0), data=data())


# Tables and figures


def test_accuracy_of_maps_is_the_share_of_the_pixels_that_count(tmp_path):
    spec, model, data = CASES["segmentation"]
    run(tmp_path / "run", spec, model=model(), data=data())
    kept, result = read_run(tmp_path / "run"), read_result(tmp_path / "run")
    found, labels = kept.certificates(), kept.column("label")
    right = (found.prediction == labels)[:, 1:].mean()
    assert 0 < right < 1
    numbers = measures(result, [0.0])
    assert numbers["certified_accuracy"] == [right]
    assert numbers["lower"] == numbers["upper"] == [None]
    assert any("share of pixels" in note for note in result.notes)
    with pytest.raises(ValueError, match="is of maps, whose pixels are right or not"):
        compare(result, result, [0.0])
    shown = command("table", tmp_path / "run", "--radii", "0,0.1")
    assert "(no interval)" in shown.output
    assert command("radii", tmp_path / "run", "-o", tmp_path / "radii.csv").exit_code == 0
    header, row, *_ = (line.split(",") for line in (tmp_path / "radii.csv").read_text().splitlines())
    cells = dict(zip((each.strip('"') for each in header), row, strict=True))
    assert (int(cells["pixels"]), int(cells["right_pixels"])) == (56, int((found.prediction == labels)[0, 1:].sum()))
    assert int(cells["certified_pixels"]) == int((found.prediction[0, 1:] >= 0).sum())
    refused = command("table", tmp_path / "radii.csv")
    assert "of maps, whose pixels it does not have" in str(refused.exception)
    for suffix in ("png", "svg"):
        assert command("plot", tmp_path / "run", "-o", tmp_path / f"pixels.{suffix}").exit_code == 0


def test_maps_are_refused_by_reports_that_have_their_images(tmp_path):
    spec, model, _ = CASES["segmentation"]
    images = digits("map", maps_of).source
    np.savez(tmp_path / "maps.npz", images=images.images, labels=images.labels)
    data = load_data(str(tmp_path / "maps.npz"), answer="map")
    run(tmp_path / "run", spec, model=model(), data=data)
    refused = command("report", tmp_path / "run", "--data", tmp_path / "maps.npz", "-o", tmp_path / "page.html")
    assert "results must be of classes for a report" in str(refused.exception)


def test_medians_are_tables_of_numbers(tmp_path):
    spec, model, data = CASES["median"]
    run(tmp_path / "run", spec, model=model(), data=data())
    result = read_result(tmp_path / "run")
    for suffix in (".csv", ".parquet"):
        made = command("radii", tmp_path / "run", "-o", tmp_path / f"radii{suffix}")
        assert made.exit_code == 0, made.output
        again = read_result(tmp_path / f"radii{suffix}")
        assert again.kind == "median tolerance=2.5"
        assert (again.labels == result.labels).all()
        assert again.radius == pytest.approx(result.radius)
        assert (again.certified.values == result.certified.values).all()
    assert command("table", tmp_path / "run", tmp_path / "radii.csv").exit_code == 0
    compared = compare(result, read_result(tmp_path / "radii.csv"), [0.0])
    assert compared["both"] == [int((result.radius > 0).sum())]
    refused = command("radii", tmp_path / "run", "-o", tmp_path / "radii.tsv")
    assert "must end in .csv or .parquet for kind 'median'" in str(refused.exception)
    refused = command("report", tmp_path / "run", "-o", tmp_path / "page.html")
    assert "results must be of classes for a report" in str(refused.exception)


def test_numbers_beyond_the_tolerance_of_the_truth_do_not_count(tmp_path):
    spec, model, _ = CASES["median"]
    truth = np.array([25.0, 0.0, 25.0, 0.0, 25.0, 0.0])
    images = np.full((COUNT, 1, 8, 8), 25 / 64, np.float32)
    run(tmp_path / "run", spec, model=model(), data=Data("flat", Pairs(images, truth), answer="number"))
    found = read_result(tmp_path / "run")
    assert spec.kind.right(np.array([1.0, 1.0, np.nan]), np.array([3.5, 3.6, 1.0])).tolist() == [True, False, False]
    assert (found.radius > 0).tolist() == [True, False] * 3
    assert found.certified.accuracy(0.0) == 0.5
    assert [record["prediction"] for record in read_run(tmp_path / "run").records.values()] == [25.0, None] * 3


def test_the_commands_certify_and_verify_maps_and_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doors.py").write_text(
        "import torch\n\n\ndef ink(x):\n    return x.flatten(1).sum(dim=1)\n\n\n"
        "def bright(x):\n    return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], dim=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    images = np.stack([load_data("digits")[i][0].numpy() for i in range(COUNT)])
    np.savez(tmp_path / "maps.npz", images=images, labels=maps_of(images))
    np.savez(tmp_path / "ink.npz", images=images, labels=images.sum(axis=(1, 2, 3)))
    shared = ("--mechanism", "gaussian", "--sigma", 0.25, "--norm", 2, "--n0", 40, "--n", 200, "--seed", 1)
    for name, model, kind in (
        ("maps", "doors:bright", ("segmentation", "--tau", 0.8)),
        ("ink", "doors:ink", ("median", "--tolerance", 2.5)),
    ):
        data = tmp_path / f"{name}.npz"
        made = command("certify", "--model", model, "--data", data, *shared, "--kind", *kind, "--out", name)
        assert made.exit_code == 0, made.output
        checked = command("verify", name, "--model", model, "--sample", 2)
        assert checked.exit_code == 0, checked.output
        assert "2 examples drawn again" in checked.output
        assert json.loads((tmp_path / name / "run.json").read_text())["settings"]["num_classes"] == 2 * (name == "maps")
    refused = command(
        "certify", "--model", "doors:ink", "--data", "ink.npz", *shared, "--kind", "median", "--tolerance", 1,
        "--classes", 3, "--out", "x",
    )  # fmt: skip
    assert "--classes must be left out for kind 'median'" in str(refused.exception)


def command(*arguments):
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])
