"""Certification runs: their counts, their certificates, and sharing them among workers."""

import math
import signal
from datetime import timedelta

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from rsmooth import Gaussian, SmoothedClassifier, anytime, cli
from rsmooth.run import workers
from rsmooth.run.certify import certify
from rsmooth.run.results import read_run
from rsmooth.run.spec import Head, Spec
from rsmooth.run.store import Appender, read_examples, read_parts
from rsmooth.run.verify import verify
from rsmooth.run.work import Work
from rsmooth.torch import voter
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model
from run_helpers import SPEC, UNTIL, child, digest_of, free_port, replace, run, wait_for, without_times

COMMAND = "from rsmooth.cli import main; import sys; sys.argv[:1] = ['rsmooth']; main()"
RUN = "import pathlib, sys; from run_helpers import *; run(pathlib.Path(sys.argv[1]), {!r})"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return without_times(run(tmp_path_factory.mktemp("run") / "whole"))


def test_counts_are_those_of_the_smoothed_classifier(whole):
    data = load_data("digits")
    images = torch.stack([data[i][0] for i in range(24)])
    model = build_model("digits_cnn", 10, seed=1).module
    smoothed = SmoothedClassifier(model, Gaussian(0.25), 10, grid=16)
    alone = smoothed.certify(images, n0=50, n=600, norm=2, seed=5, batch_size=100)
    assert [each["counts"] for each in whole.values()] == alone.counts.tolist()
    assert [each["selection"] for each in whole.values()] == alone.selection.tolist()
    assert [each["label"] for each in whole.values()] == [data[i][1] for i in range(24)]


def test_votes_are_those_of_a_plain_loop_over_a_model(whole):
    data, model = load_data("digits"), build_model("digits_cnn", 10, seed=1).module.eval()
    rng = np.random.default_rng(0)
    for index, record in list(whole.items())[:8]:
        noise = rng.normal(scale=0.25, size=(20_000, 1, 8, 8)).astype(np.float32)
        with torch.inference_mode():
            classes = model(data[index][0] + torch.from_numpy(noise)).argmax(1)
        top = int(np.argmax(record["selection"]))
        theirs, ours = int((classes == top).sum()) / 20_000, record["counts"][top] / 600
        # Two binomial shares differ by at most this with probability 1 - 1e-7 or so.
        assert abs(theirs - ours) < 5.5 * math.sqrt(0.25 / 600 + 0.25 / 20_000)


@pytest.mark.parametrize(
    ("changes", "shared"),
    [({"runner_up": "second"}, 2), ({"runner_up": "complement"}, 1), ({"alpha": 0.05}, 2)],
)
def test_certificates_are_those_of_the_formulas(tmp_path, changes, shared):
    spec = replace(SPEC, max=12, bound="neyman-pearson", **changes)
    share = spec.alpha / shared
    certified = 0
    for record in run(tmp_path, spec).values():
        # The class is that of the first draws alone; the others only test it.
        top = int(np.argmax(record["selection"]))
        votes, second = record["counts"][top], max(np.delete(record["counts"], top))
        p1 = stats.beta.ppf(share, votes, 601 - votes)
        p2 = 1 - p1 if shared == 1 else min(1 - p1, stats.beta.isf(share, second + 1, 600 - second))
        radius = 0.125 * (stats.norm.ppf(p1) - stats.norm.ppf(p2))
        if p1 <= p2:
            assert (record["prediction"], record["radius"]) == (-1, 0)
            continue
        certified += 1
        assert record["prediction"] == top
        for name, value in (("p1", p1), ("p2", p2), ("radius", radius)):
            assert record[name] == pytest.approx(value, rel=1e-9)
        assert record["radius"] <= radius * (1 + 1e-12)
    assert certified


def test_what_is_certified_was_selected_by_draws_of_its_own():
    rule = Work(build_model("digits_cnn", 10, seed=1), load_data("digits"), SPEC, torch.device("cpu")).rule
    counts = [0] * 8 + [600, 0]
    (other,) = rule.records([[50] + [0] * 9], [counts])
    (same,) = rule.records([[0] * 8 + [50, 0]], [counts])
    assert other["prediction"] == -1
    assert same["prediction"] == 8


@pytest.mark.parametrize("changes", [{}, {"runner_up": "complement"}, {"width": 0.3, "until": None}])
def test_stopped_draws_are_certified_by_the_anytime_interval_at_the_rules_levels(tmp_path, changes):
    spec = replace(UNTIL, max=30, bound="neyman-pearson", n=1000, **changes)
    records = run(tmp_path, spec).values()
    share = spec.alpha if changes.get("runner_up") else spec.alpha / 2
    for record in records:
        top, draws = int(np.argmax(record["selection"])), sum(record["counts"])
        p1 = float(anytime(record["counts"][top], draws, share))
        p2 = 1 - p1
        if not changes.get("runner_up"):
            second = max(np.delete(record["counts"], top))
            p2 = min(p2, float(anytime(second, draws, share, side="upper")))
        radius = 0.125 * (stats.norm.ppf(p1) - stats.norm.ppf(p2))
        assert record["prediction"] == (top if p1 > p2 else -1)
        assert record["radius"] == pytest.approx(max(radius, 0), rel=1e-9)
    drawn = [sum(record["counts"]) for record in records]
    assert len(set(drawn)) > 3
    assert np.mean(drawn) < 800
    assert max(drawn) <= 1000


def test_a_budget_is_spent_and_not_more(tmp_path):
    spec = replace(UNTIL, max=130, draws=6500.0, until=(0, 0.1, 0.3), n=5000)
    records = run(tmp_path, spec)
    drawn = {index: sum(each["selection"]) + sum(each["counts"]) for index, each in records.items()}
    # Two groups, of 100 and 30 examples, have their shares.
    assert sum(drawn[index] for index in range(100)) == 5000
    assert sum(drawn[index] for index in range(100, 130)) == 1500
    assert min(drawn.values()) >= 36
    assert len(set(drawn.values())) > 3
    assert list(verify(tmp_path, sample=0))[1].problems == []


@pytest.mark.parametrize(
    ("options", "bound", "runner_up"),
    [
        ([], "tightest", "second"),
        (["--preset", "cohen"], "neyman-pearson", "complement"),
        (["--preset", "paper"], "renyi", "second"),
        (["--bound", "pixeldp", "--runner-up", "complement"], "pixeldp", "complement"),
    ],
)
def test_command_takes_its_settings_from_options_and_presets(tmp_path, options, bound, runner_up):
    torch.save(build_model("digits_cnn", 10, seed=1).checkpoint(), tmp_path / "model.pt")
    command = ["certify", "--model", str(tmp_path / "model.pt"), "--data", "digits", "--mechanism", "gaussian"]
    command += ["--scale", "0.25", "--norm", "inf", "--n", "300", "--max", "2", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.app, [*command, "--batch-size", "99", "--channels-last", *options])
    assert result.exit_code == 0, result.exception
    assert read_run(tmp_path / "run").spec == Spec(
        "gaussian",
        0.25,
        norm=math.inf,
        n=300,
        max=2,
        batch_size=99,
        channels_last=True,
        bound=bound,
        runner_up=runner_up,
        grid="16",
        interval="clopper-pearson",
    )


def test_images_of_several_sizes_and_classes_beyond_the_models_are_refused(tmp_path):
    data = load_data("digits")
    items = [data[i] for i in range(4)]
    spec = replace(SPEC, n=3300)
    for name, bad, message in (
        ("size", (torch.zeros(1, 9, 9), 1), r"item 2 of few must be of the first one's shape \(1, 8, 8\), got"),
        ("class", (items[2][0], 10), "item 2 of few is of class 10, the model has 10 classes"),
    ):
        few = Data("few", [*items[:2], bad, items[3]], 10)
        with pytest.raises(ValueError, match=message):
            run(tmp_path / name, spec, data=few)


def test_model_that_cannot_be_run_leaves_no_run(tmp_path):
    model = build_model("cifar_resnet20", 10, seed=1)
    with pytest.raises(ValueError, match=r"cannot be run on inputs of shape \(1, 8, 8\): .* must have 3 channels"):
        certify(tmp_path, model, load_data("digits"), SPEC)
    assert not (tmp_path / "run.json").exists()


class OneSignABatch(torch.nn.Module):
    """Answers a whole batch with the sign of one random number."""

    def forward(self, x):
        sign = torch.randn(1, generator=torch.Generator().manual_seed(int(x.abs().sum() * 2**20))).sign()
        return sign * torch.stack([torch.ones(len(x)), -torch.ones(len(x))] + [torch.zeros(len(x))] * 8, dim=1)


def test_model_whose_answer_depends_on_the_batch_leaves_no_run(tmp_path):
    model = build_model("test_certify:OneSignABatch", 10)
    with pytest.raises(ValueError, match="the model's answer to a row depends on more than the row"):
        certify(tmp_path, model, load_data("digits"), SPEC, seed=5)
    assert not (tmp_path / "run.json").exists()


def test_mechanism_of_ones_own_is_run_and_read_where_its_code_may_run(tmp_path, whole):
    spec = replace(SPEC, mechanism="rsmooth.mechanisms:Gaussian")
    assert without_times(run(tmp_path, spec)) == whole
    with pytest.raises(ValueError, match=r"names code for mechanism, 'rsmooth.mechanisms:Gaussian': untrusted runs"):
        _ = read_run(tmp_path).rule
    assert list(verify(tmp_path, sample=0, mechanism=spec.mechanism))[1].problems == []


def test_noise_of_the_cpus_torch_is_refused(tmp_path):
    with pytest.raises(ValueError, match='noise must be "host" where the model is on a cpu device'):
        run(tmp_path, replace(SPEC, noise="device"))


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        # An odd number of groups of one example: the draws of the last are divided.
        ("--n0 50 --n 4000 --max 23 --batch-size 100", replace(SPEC, n=4000, max=23)),
        ("--n0 20 --n 2000 --max 120 --batch-size 64 --until 0,0.1", replace(UNTIL, max=120)),
    ],
)
def test_two_workers_give_the_counts_of_one(tmp_path, options, spec):
    torch.save(build_model("digits_cnn", 10, seed=1).checkpoint(), tmp_path / "model.pt")
    options += " --data digits --mechanism gaussian --sigma 0.25 --norm 2 --seed 5"
    command = ["certify", "--model", str(tmp_path / "model.pt"), *options.split(), "--out", str(tmp_path / "two")]
    torchrun = ["--standalone", "--nproc-per-node=2", "-m", "--", "rsmooth"]
    code = "import runpy, sys; sys.argv[0] = 'torchrun'; runpy.run_module('torch.distributed.run', run_name='__main__')"
    with child(code, *torchrun, *command) as shared:
        _, told = shared.communicate(timeout=300)
    assert shared.returncode == 0, told
    assert {path.name for path in (tmp_path / "two").glob("examples-*")} == {"examples-0.jsonl", "examples-1.jsonl"}
    assert not list((tmp_path / "two").glob("parts-*"))
    alone = run(tmp_path / "one", spec)
    found = read_run(tmp_path / "two").records
    assert {i: each["counts"] for i, each in found.items()} == {i: each["counts"] for i, each in alone.items()}
    # A run goes on with another number of workers.
    (tmp_path / "two" / "examples-1.jsonl").unlink()
    with child(COMMAND, *command) as again:
        _, told = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert without_times(read_run(tmp_path / "two").records) == without_times(alone)


def test_draws_of_an_example_are_divided_without_gap_or_overlap(tmp_path):
    spec = replace(SPEC, n=4000, max=1)
    work = Work(build_model("digits_cnn", 10, seed=1), load_data("digits"), spec, torch.device("cpu"))
    work.head = Head(spec, work.subject(), np.random.SeedSequence(5), {}, {})
    shares = []
    for rank in range(3):
        (tmp_path / str(rank)).mkdir()
        with Appender(tmp_path / str(rank), rank, "ab") as store:
            work.count(0, range(1), store, None, share=(rank, 3))
        shares.append(read_parts(tmp_path / str(rank), "ab"))
    assert [len(share) for share in shares] == [14, 14, 13]
    work.parts = {key: part for share in shares for key, part in share.items()}
    assert sorted(work.parts) == [(0, batch) for batch in range(41)]
    with Appender(tmp_path, 0, "ab") as store:
        work.certify(0, range(1), store, None)
    alone = run(tmp_path / "alone", spec)
    assert without_times(read_examples(tmp_path, "ab")[0]) == without_times(alone)


def test_worker_that_dies_is_reported_and_the_run_goes_on_without_it(tmp_path):
    spec = replace(SPEC, n=20_000, max=10)
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    out = tmp_path / "shared"
    with (
        child(RUN.format(spec), out, RANK="0", **environment) as first,
        child(RUN.format(spec), out, RANK="1", **environment) as second,
    ):
        wait_for(out / "examples-1.jsonl", second)
        second.kill()
        second.communicate()
        _, told = first.communicate(timeout=120)
    assert first.returncode == 1
    assert "ConnectionError: another worker has ended" in told
    finished = read_run(out).records
    # The survivor finished its share before it missed the other.
    assert 5 < len(finished) < 10
    after = run(out, spec)
    assert without_times(after) == without_times(run(tmp_path / "whole", spec))
    assert all(after[index] == record for index, record in finished.items())


def test_worker_whose_others_never_come_ends(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "JOINING", timedelta(seconds=1))
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match="another worker has ended"):
        run(tmp_path)


def test_size_of_batches_is_that_of_an_earlier_start(tmp_path, monkeypatch, whole):
    spec = replace(SPEC, batch_size=None)
    with monkeypatch.context() as patched:
        patched.setattr(voter.Voter, "usual_batch_size", lambda *_: 100)
        run(tmp_path, spec)
    (tmp_path / "examples-0.jsonl").unlink()
    assert without_times(run(tmp_path, spec)) == whole
    with pytest.raises(ValueError, match="other settings: batch_size 100 there, 99 here"):
        run(tmp_path, replace(SPEC, batch_size=99))


def test_interrupt_ends_the_command_and_says_how_to_go_on(tmp_path):
    torch.save(build_model("digits_cnn", 10, seed=1).checkpoint(), tmp_path / "model.pt")
    options = "--data digits --mechanism gaussian --sigma 0.25 --norm 2 --n0 50 --n 20000 --max 24 --batch-size 100"
    out = tmp_path / "run"
    with child(COMMAND, "certify", "--model", tmp_path / "model.pt", *options.split(), "--out", out) as process:
        wait_for(out / "examples-0.jsonl", process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"interrupted; the same command resumes from what {out} holds" in told
    assert "Traceback" not in told
    assert 0 < len(read_examples(out, digest_of(out))[0]) < 24


@pytest.mark.parametrize(("until", "first"), [(None, [0.2, 0.4, 0.6]), ((0.1,), None)])
def test_progress_counts_the_examples_done_and_in_flight(tmp_path, until, first):
    told = []
    spec = replace(SPEC, n=450, max=3, until=until)
    run(tmp_path, spec, progress=lambda *numbers: told.append(numbers))
    done = [number for number, _ in told]
    assert done == sorted(done)
    assert {total for _, total in told} == {3}
    assert done[-1] == 3
    if first is not None:
        assert done[:3] == first
