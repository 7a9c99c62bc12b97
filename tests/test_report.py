"""Reports: what their page is given, that nothing can be slipped into it, and its pictures."""

import base64
import hashlib
import io
import json
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from report_helpers import Page, counted, unpacked
from rsmooth import Exponential, Gaussian, Laplace, cli
from rsmooth._streams import ESTIMATION, SELECTION
from rsmooth.io.recertify import recertify_run
from rsmooth.report.page import page_of
from rsmooth.report.payload import LEVELS, Pictures, Rules, json_text, payload_of
from rsmooth.report.pictures import noisy_copy, pictures_of
from rsmooth.report.write import write_report
from rsmooth.results.read import read_result
from rsmooth.run.results import read_run
from rsmooth.run.work import drawn_on
from rsmooth.torch.draws import batches_of
from rsmooth.torch.voter import Voter
from rsmooth.zoo.data import load_data

HOSTILE = "</script><img src=x onerror=alert(1)><!-- <script> \u2028 & \"'"
NONE = Pictures("none")


def payload(*results, **keywords):
    return payload_of(results, [NONE] * len(results), title="A title", **keywords)


def told(run, bound, norm, alpha):
    """Return the radii that a payload tells, as the page looks them up."""
    (rule,) = [each for each in run["rules"] if (each["bound"], each["norm"], each["alpha"]) == (bound, norm, alpha)]
    return unpacked(run["columns"][rule["radius"]])[unpacked(run["place"])]


@pytest.mark.parametrize("mechanism", [Gaussian(0.25), Exponential(0.01), Laplace(0.1)])
def test_the_page_is_told_every_radius_under_every_rule_to_the_last_bit(mechanism):
    result = counted("mine", mechanism, alpha=0.05)
    (run,) = payload(result)["runs"]
    levels = {0.05, *LEVELS}
    assert {each["alpha"] for each in run["rules"]} == levels
    rules = 0
    for norm, text in ((1, "1"), (2, "2"), (math.inf, "inf")):
        for bound in ("tightest", *mechanism.holding(norm, 64)):
            for alpha in levels:
                found = result.certificates.under(norm=norm, bound=bound, alpha=alpha)
                assert np.array_equal(told(run, bound, text, alpha), found.radius)
                selected = np.where(found.radius > 0, unpacked(run["selected"]), -1)
                assert np.array_equal(selected, found.prediction)
                (level,) = [each for each in run["levels"] if each["alpha"] == alpha]
                for name in ("p1", "p2"):
                    column = unpacked(run["columns"][level[name]])[unpacked(run["place"])]
                    assert np.array_equal(column, getattr(found, name))
                rules += 1
    assert len(run["rules"]) == rules


def test_the_page_is_told_the_intervals_of_every_certified_accuracy():
    result = counted("mine", Gaussian(0.25))
    given = payload(result)
    sides = [unpacked(given["intervals"][len(result)][side]) for side in ("lower", "upper")]
    radii = result.certified.steps()
    held = result.certified.number(radii)
    for side, ends in zip(sides, result.certified.interval(radii), strict=True):
        assert np.array_equal(side[held], ends)


def test_the_page_is_told_the_classes_with_most_votes():
    result = counted("mine", Gaussian(0.25), classes=8)
    (run,) = payload(result)["runs"]
    counts, votes = np.asarray(result.certificates.counts), run["votes"]
    classes = unpacked(votes["classes"]).reshape(len(result), votes["width"])
    assert np.array_equal(unpacked(votes["counts"]).reshape(classes.shape), -np.sort(-counts, axis=1)[:, :5])
    assert np.array_equal(
        np.take_along_axis(counts, classes, axis=1).ravel(),
        unpacked(votes["counts"]),
    )
    assert np.array_equal(unpacked(votes["drawn"]), counts.sum(axis=1))


def test_the_page_starts_with_what_the_first_result_was_made_under():
    one = counted("one", Gaussian(0.25), bound="renyi", norm=math.inf, alpha=0.02)
    given = payload(one, counted("two", Gaussian(0.25)))
    assert given["start"] == {"bound": "renyi", "norm": "inf", "alpha": 0.02}


def test_rules_can_be_chosen():
    asked = Rules([2.0], ["renyi"], [0.01])
    (run,) = payload(counted("mine", Gaussian(0.25)), rules=asked)["runs"]
    assert [(each["bound"], each["norm"], each["alpha"]) for each in run["rules"]] == [("renyi", "2", 0.01)]
    with pytest.raises(ValueError, match="mine has no certificates under any of the bounds, norms and alphas"):
        payload(counted("mine", Gaussian(0.25)), rules=Rules([2.0], ["pure-dp"]))
    with pytest.raises(ValueError, match="results must be one at least"):
        payload()
    for wrong, message in (
        ({"norms": [3]}, "norm must be 1, 2 or math.inf, got 3"),
        ({"bounds": ["best"]}, "bound must be one of tightest, .*, got best"),
        ({"alphas": [0.01, 1]}, "alpha must be above 0 and below 1, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Rules(**wrong)


def test_results_without_votes_have_what_their_radii_tell(made, tmp_path):
    recertify_run(read_run(made / "fixed"), tmp_path / "renyi.tsv", bound="renyi")
    (tmp_path / "cohen").write_text(
        "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.421\t1\t0:00:15\n5\t1\t-1\t0.0\t0\t9\n"
    )
    ours, field = read_result(tmp_path / "renyi.tsv"), read_result(tmp_path / "cohen")
    given = payload(ours, field)
    one, other = given["runs"]
    assert [(each["bound"], each["norm"], each["alpha"]) for each in one["rules"]] == [("renyi", "2", 0.001)]
    assert np.array_equal(told(one, "renyi", "2", 0.001), read_result(made / "fixed").radius)
    # Whose level nobody told: None is shown at every one.
    assert {(each["bound"], each["alpha"]) for each in other["rules"]} == {("tightest", None), ("neyman-pearson", None)}
    assert told(other, "neyman-pearson", "2", None).tolist() == [0.421, 0.0]
    assert one["votes"] is other["votes"] is None
    assert "The votes behind renyi, cohen are lost" in given["note"]
    assert other["command"] is None
    # A known sigma tells p1, and with it other bounds.
    (known,) = payload(read_result(tmp_path / "cohen", sigma=0.25))["runs"]
    assert {each["bound"] for each in known["rules"]} >= {"renyi", "neyman-pearson", "tightest"}


def test_nothing_that_strangers_call_their_files_is_more_than_text():
    result = replace(counted(HOSTILE, Gaussian(0.25)), noise=HOSTILE)
    given = payload_of([result], [replace(NONE, note=HOSTILE, classes=(HOSTILE,) * 5)], title=HOSTILE)
    page = Page(page_of(given))
    assert (page.count("script"), page.count("img"), page.count("style")) == (2, 0, 1)
    run = page.payload["runs"][0]
    assert run["name"] == run["noise"] == run["pictures"]["note"] == run["classes"][4] == HOSTILE
    assert "".join(page.titles) == HOSTILE
    assert not set("<>&") & set(json_text(given))
    # As it stands without the escapes, so that the test can fail.
    broken = Page(page_of(given).replace(json_text(given), json.dumps(given)))
    assert broken.count("img") > 0


def test_the_policy_allows_what_the_page_carries_and_nothing_else():
    text = page_of(payload(counted("mine", Gaussian(0.25))))
    page = Page(text)
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = [content for tag, _, content in page.content if tag == "style"]
    (script,) = [content for tag, kind, content in page.content if tag == "script" and not kind]
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, style)]
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digests[0]}'",
        "style-src": f"'sha256-{digests[1]}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # The one address is the name of a vocabulary.
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert not any(name in each for _, each in page.elements for name in ("onclick", "onload", "style"))
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|setAttribute\(\"style\"", script
    )
    assert not any(each.get("src") for _, each in page.elements)


class Recording(torch.nn.Module):
    """A model that keeps what it gets."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.clone())
        return x.flatten(1)[:, :10]


@pytest.mark.parametrize("name", ["fixed", "exponential", "until", "float"])
def test_a_noisy_copy_is_what_the_model_got_for_draw_0(runs, name):
    import run_helpers

    if name == "float":
        run_helpers.run(runs / name, replace(run_helpers.SPEC, grid="none", max=3), seed=11)
    run = read_run(runs / name)
    assert (run.spec.steps is None) == (name == "float")
    data = load_data("digits")
    index = list(run.records)[1]
    image = data[index][0]
    model = Recording()
    voter = Voter(model, run.rule.mechanism, 10, device="cpu", kind=run.rule.kind, grid=run.spec.steps)
    example = [(index, drawn_on("it", image, run.spec))]
    wanted = [(SELECTION, run.spec.n0), (ESTIMATION, run.spec.n)]
    list(voter.votes(batches_of(example, wanted, root=run.seed, size=64), size=64))
    got = torch.cat(model.seen)
    assert np.array_equal(noisy_copy(run, index, image), got[run.spec.n0].numpy())
    assert not np.array_equal(got[run.spec.n0], got[0])


def tiles(pictures, sheet):
    found = np.asarray(Image.open(io.BytesIO(sheet)))
    for number in range(len(pictures.rows)):
        top, left = (number // pictures.columns) * pictures.height, (number % pictures.columns) * pictures.width
        yield found[top : top + pictures.height, left : left + pictures.width]


def test_pictures_are_of_the_worst_and_the_best_certificates(made):
    run, result = read_run(made / "fixed"), read_result(made / "fixed")
    pictures = pictures_of(result, run, images=5)
    margin = np.where(result.prediction == result.labels, result.radius, -result.radius)
    order = np.argsort(margin, kind="stable").tolist()
    assert sorted(pictures.rows) == sorted([*order[:3], *order[-2:]])
    data = load_data("digits")
    shown = zip(pictures.rows, tiles(pictures, pictures.clean), tiles(pictures, pictures.noisy), strict=True)
    for row, clean, noisy in shown:
        image = data[int(result.index[row])][0]
        assert np.array_equal(clean, np.rint(image[0].numpy() * 255).astype(np.uint8))
        copy = noisy_copy(run, int(result.index[row]), image)[0]
        assert np.array_equal(noisy, np.rint(copy.clip(0, 1).astype(float) * 255).astype(np.uint8))
    assert pictures.note.startswith("5 of 12 examples have pictures")
    assert len(pictures_of(result, run).rows) == len(result)


@pytest.mark.usefixtures("any_device")
def test_noise_that_torch_drew_has_no_pictures(made):
    run = read_run(made / "device")
    pictures = pictures_of(read_result(made / "device"), run)
    assert pictures.clean is not None
    assert pictures.noisy is None
    assert "Noisy copies are left out: the noise was drawn by torch" in pictures.note


def moved(folder, **told_):
    file = folder / "run.json"
    kept = json.loads(file.read_text())
    kept["told"] |= told_
    file.write_text(json.dumps(kept))


def test_a_report_without_its_data_says_that_the_images_are_left_out(runs, tmp_path):
    moved(runs / "fixed", data=str(tmp_path / "gone.npz"))
    (note,) = write_report([read_result(runs / "fixed")], tmp_path / "report.html")
    assert note.startswith("The images are left out: the run's data were not at hand. ")
    assert str(tmp_path / "gone.npz") in note
    text = (tmp_path / "report.html").read_text()
    assert Page(text).payload["runs"][0]["pictures"]["note"] == note.partition(" [Errno")[0]
    assert str(tmp_path) not in text
    # It is told where they are, among others.
    (tmp_path / "folder").mkdir()
    (note,) = write_report(
        [read_result(runs / "fixed")], tmp_path / "report.html", data=[str(tmp_path / "folder"), "digits"]
    )
    assert not note.startswith("The images are left out")


def test_other_data_and_other_images_are_not_shown(runs, tmp_path):
    data = load_data("digits")
    images = np.stack([data[i][0].numpy() for i in range(len(data))])
    labels = np.array([data[i][1] for i in range(len(data))])
    np.savez(tmp_path / "other.npz", images=1 - images, labels=labels)
    moved(runs / "fixed", data=str(tmp_path / "other.npz"))
    result, run = read_result(runs / "fixed"), read_run(runs / "fixed")
    pictures = pictures_of(result, run)
    assert pictures.clean is None
    assert pictures.note == "The images are left out: the run's data were not at hand."
    assert pictures.error == f"{tmp_path / 'other.npz'} is not the data of {runs / 'fixed'}"
    # The fingerprint looks at 16 images; this one is not among them.
    images[2] = 0
    np.savez(tmp_path / "other.npz", images=images, labels=labels)
    pictures = pictures_of(result, run)
    assert list(result.index).index(2) not in pictures.rows
    assert "1 were left out" in pictures.note


def test_a_report_runs_no_code_that_a_run_names(runs, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    moved(runs / "fixed", data="evil:data")
    (note,) = write_report([read_result(runs / "fixed")], tmp_path / "report.html")
    assert "untrusted runs may not import code" in note


def test_the_command_writes_a_page(made, tmp_path):
    out = tmp_path / "report.html"
    shutil.copytree(made / "until", tmp_path / HOSTILE.replace("/", ""))
    result = CliRunner().invoke(
        cli.app,
        ["report", str(made / "fixed"), str(tmp_path / HOSTILE.replace("/", "")), "-o", str(out), "--images", "4"],
    )
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 results" in result.output
    page = Page(out.read_text())
    assert (page.count("script"), page.count("img")) == (2, 0)
    fixed, until = page.payload["runs"]
    assert until["name"] == HOSTILE.replace("/", "")
    assert fixed["command"] == "rsmooth verify fixed"
    assert fixed["facts"]["seed"] == "3"
    assert fixed["facts"]["fingerprint of the data"] == load_data("digits").fingerprint()
    assert fixed["facts"]["certificates"].startswith("exact, on the grid of 1/16")
    assert "until 0,0.1" in until["facts"]["draws of an example"]
    # Folders of whoever made it are nobody else's business.
    assert str(tmp_path) not in out.read_text()
    assert str(made) not in out.read_text()


def test_the_command_refuses_what_it_cannot_do(made, tmp_path):
    for arguments, message in (
        (["-o", "report.pdf"], "out must end in .html"),
        (["-o", "report.html", "--bound", "best"], "bound must be one of tightest, "),
        (["-o", "report.html", "--norm", "3"], "norm must be 1, 2 or inf"),
        (["-o", "report.html", "--alpha", "2"], "alpha"),
        (["-o", str(tmp_path / "no" / "report.html")], "there is no folder"),
    ):
        result = CliRunner().invoke(cli.app, ["report", str(made / "fixed"), *arguments])
        assert result.exit_code == 1
        assert message in str(result.exception)


def test_a_run_that_is_not_finished_says_so(runs, tmp_path):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:7]))
    write_report([read_result(runs / "fixed")], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert Page(text).payload["note"].endswith(" fixed: not finished: 7 of 12 examples.")


@pytest.mark.parametrize("name", ["top-k", "soft-scores"])
def test_certificates_of_another_kind_say_so(made, name):
    result = read_result(made / name)
    (run,) = payload(result)["runs"]
    assert run["kind"] == run["facts"]["kind"] == result.kind
    assert result.kind.startswith(name)
    found = result.certificates.under(alpha=0.01)
    assert np.array_equal(told(run, result.bound, "2", 0.01), found.radius)
    # Sums of scores are no votes.
    assert (run["votes"] is None) == (name == "soft-scores")
    assert len(pictures_of(result, read_run(made / name)).rows) == len(result)
