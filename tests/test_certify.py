"""Certification runs: the store, resuming, sharing, sequential tests."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Exponential, Gaussian, SmoothedClassifier
from rsmooth.io.files import claimed
from rsmooth.run import workers
from rsmooth.run.certify import Order, _Work, certify
from rsmooth.run.store import Appender, read_examples, read_parts
from rsmooth.sequential import BettingTest, StagesTest, least_probability
from rsmooth.torch import device, voter
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model

ORDER = Order(norm=2, n0=50, n=600, max=24, batch_size=100)


def run(out, order=ORDER, seed=5, mechanism=None, **keywords):
    mechanism = mechanism or Gaussian(0.25)
    return certify(
        out, build_model("digits_cnn", 10, seed=1), load_data("digits"), mechanism, order, seed=seed, **keywords
    )


def wait_for(file):
    deadline = time.monotonic() + 120
    while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def any_device(monkeypatch):
    """Let torch draw noise on the CPU, whose generators are good enough for tests alone."""
    monkeypatch.setattr(device, "GENERATORS", {"cuda", "cpu"})


def without_times(records):
    return {
        index: {name: value for name, value in each.items() if name != "seconds"} for index, each in records.items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return without_times(run(tmp_path_factory.mktemp("run") / "whole"))


def test_counts_are_those_of_the_smoothed_classifier(whole):
    data = load_data("digits")
    images = torch.stack([data[i][0] for i in range(24)])
    model = build_model("digits_cnn", 10, seed=1).module
    alone = SmoothedClassifier(model, Gaussian(0.25), 10).certify(images, n0=50, n=600, norm=2, seed=5, batch_size=100)
    assert [each["counts"] for each in whole.values()] == alone.counts.tolist()
    assert [each["selection"] for each in whole.values()] == alone.selection.tolist()
    for name in ("prediction", "radius", "p1", "p2"):
        assert [each[name] for each in whole.values()] == getattr(alone, name).tolist()
    assert [each["label"] for each in whole.values()] == [data[i][1] for i in range(24)]


def test_agrees_with_a_plain_implementation_of_certify(whole):
    data, model = load_data("digits"), build_model("digits_cnn", 10, seed=1).module.eval()
    rng = np.random.default_rng(0)
    for index, record in list(whole.items())[:8]:
        noise = rng.normal(scale=0.25, size=(20_000, 1, 8, 8)).astype(np.float32)
        with torch.inference_mode():
            classes = model(data[index][0] + torch.from_numpy(noise)).argmax(1)
        top = int(np.argmax(record["selection"]))
        votes = int((classes == top).sum())
        theirs, ours = votes / 20_000, record["counts"][top] / 600
        # Two binomial shares differ by at most this with probability 1 - 1e-7 or so.
        assert abs(theirs - ours) < 5.5 * math.sqrt(0.25 / 600 + 0.25 / 20_000)
        lower = stats.beta.ppf(0.0005, record["counts"][top], 601 - record["counts"][top])
        assert record["p1"] == pytest.approx(lower, rel=1e-9)


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        Order(norm=2, n0=20, n=2000, max=24, batch_size=64, radius=0.1, bound="neyman-pearson"),
        Order(norm=2, n0=20, n=2000, max=24, batch_size=64, radius=0.1, test="stages"),
        Order(norm=2, n0=50, n=300, max=8, batch_size=100, noise="device"),
    ],
)
@pytest.mark.parametrize("stop_after", [1, 5])
@pytest.mark.usefixtures("any_device")
def test_stopped_run_goes_on_to_the_same_result(tmp_path, monkeypatch, order, stop_after):
    expected = without_times(run(tmp_path / "whole", order))
    original, parts = Appender.part, []

    def part(self, *arguments):
        original(self, *arguments)
        parts.append(arguments)
        if len(parts) == stop_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Appender, "part", part)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", order)
    assert len(read_parts(tmp_path / "parts")) == stop_after
    assert without_times(run(tmp_path / "parts", order, seed=None)) == expected


SEQUENTIAL = Order(norm=2, n0=20, n=2000, max=12, batch_size=64, radius=0.1)


@pytest.mark.parametrize("order", [ORDER, SEQUENTIAL])
@pytest.mark.parametrize("lost", [0, 2])
def test_run_goes_on_behind_a_gap_in_the_votes_of_batches(tmp_path, monkeypatch, order, lost):
    original, parts = Appender.part, []

    def part(self, *arguments):
        original(self, *arguments)
        parts.append(arguments)
        if len(parts) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Appender, "part", part)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "gap", order)
    file = tmp_path / "gap" / "parts-0-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:lost], b"damaged\n", *lines[lost + 1 :]]))
    assert len(read_parts(tmp_path / "gap")) == 4
    # What an interrupt leaves of the votes behind the gap is not taken for others.
    with monkeypatch.context() as patched:
        patched.setattr(Appender, "part", part)
        parts.clear()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "gap", order)
    assert without_times(run(tmp_path / "gap", order)) == without_times(run(tmp_path / "whole", order))
    assert not list((tmp_path / "gap").glob("parts-*"))


def test_finishing_a_group_keeps_the_votes_of_others(tmp_path):
    with Appender(tmp_path, 0) as store:
        for group in (0, 1):
            store.part(group, 0, "12345678", np.arange(5), 0.1)
    with Appender(tmp_path, 1) as store:
        store.part(1, 1, "12345678", np.arange(5), 0.1)
        store.flush()
        store.examples(0, [{"index": 0}])
    assert sorted(read_parts(tmp_path)) == [(1, 0), (1, 1)]


def test_orphaned_worker_keeps_the_folder_claimed(tmp_path):
    with (
        claimed(tmp_path, worker=1),
        pytest.raises(BlockingIOError, match="another process is writing to"),
        claimed(tmp_path),
    ):
        pass
    with claimed(tmp_path), claimed(tmp_path, worker=1):
        pass


@pytest.mark.parametrize("kind", ["betting", "stages"])
def test_sequential_counts_end_where_the_test_stopped(tmp_path, kind):
    order = Order(norm=2, n0=20, n=1000, max=30, batch_size=64, radius=0.15, test=kind)
    records = run(tmp_path, order)
    drawn = {sum(record["counts"]) for record in records.values()}
    assert len(drawn) > 1
    if kind == "stages":
        assert drawn <= {100, 200, 400, 800, 1000}


def test_images_of_several_sizes_and_classes_beyond_the_models_are_refused(tmp_path):
    data = load_data("digits")
    items = [data[i] for i in range(4)]
    order = Order(norm=2, n0=50, n=3300, batch_size=100)
    for name, bad, message in (
        ("size", (torch.zeros(1, 9, 9), 1), r"item 2 of few must be of the first one's shape \(1, 8, 8\), got"),
        ("class", (items[2][0], 10), "item 2 of few is of class 10, the model has 10 classes"),
    ):
        few = Data("few", [*items[:2], bad, items[3]], 10)
        with pytest.raises(ValueError, match=message):
            certify(tmp_path / name, build_model("digits_cnn", 10, seed=1), few, Gaussian(0.25), order, seed=1)


def test_model_that_cannot_be_run_leaves_no_run(tmp_path):
    model = build_model("cifar_resnet20", 10, seed=1)
    with pytest.raises(ValueError, match=r"cannot be run on images of shape \(1, 8, 8\): .* must have 3 channels"):
        certify(tmp_path, model, load_data("digits"), Gaussian(0.25), ORDER)
    assert not (tmp_path / "run.json").exists()


def test_size_of_batches_is_that_of_an_earlier_start(tmp_path, monkeypatch, whole):
    order = replace(ORDER, batch_size=None)
    with monkeypatch.context() as patched:
        patched.setattr(voter.Voter, "usual_batch_size", lambda *_: 100)
        run(tmp_path, order)
    (tmp_path / "examples-0.jsonl").unlink()
    assert without_times(run(tmp_path, order)) == whole
    with pytest.raises(ValueError, match="other settings: batch_size 100 there, 99 here"):
        run(tmp_path, replace(ORDER, batch_size=99))


def test_noise_of_the_cpus_torch_is_refused(tmp_path):
    with pytest.raises(ValueError, match='noise must be "host" where the model is on a cpu device'):
        run(tmp_path, Order(norm=2, n0=50, n=300, noise="device"))


def test_killed_process_loses_nothing_that_was_finished(tmp_path):
    code = (
        "import pathlib, sys; from test_certify import *; "
        "run(pathlib.Path(sys.argv[1]), Order(norm=2, n0=50, n=20_000, max=24, batch_size=100))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], env=environment)
    examples = tmp_path / "killed" / "examples-0.jsonl"
    wait_for(examples)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished, damaged = read_examples(tmp_path / "killed")
    assert finished
    assert not damaged
    order = Order(norm=2, n0=50, n=20_000, max=24, batch_size=100)
    after = run(tmp_path / "killed", order)
    assert without_times(after) == without_times(run(tmp_path / "whole", order))
    assert all(after[index] == record for index, record in finished.items())


def test_damaged_and_half_written_records_are_run_again(tmp_path, whole, capsys):
    run(tmp_path)
    file = tmp_path / "examples-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"label": ', b'"label": 1')
    file.write_bytes(b"".join(lines)[:-40])
    assert len(read_examples(tmp_path)[0]) == 22
    assert without_times(run(tmp_path)) == whole
    assert "damaged: examples-0.jsonl line 4, examples-0.jsonl line 24" in capsys.readouterr().out


def test_full_disk_is_an_error_and_loses_nothing(tmp_path, whole):
    code = (
        "import pathlib, resource, sys; from test_certify import *; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); run(pathlib.Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    failed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "OSError: [Errno 27] File too large" in failed.stderr
    assert without_times(run(tmp_path)) == whole


def test_another_process_and_other_settings_are_refused(tmp_path):
    run(tmp_path)
    with claimed(tmp_path), pytest.raises(BlockingIOError, match=f"another process is writing to {tmp_path}"):
        run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    changes = [
        ({"order": Order(norm=2, n0=50, n=601, max=24, batch_size=100)}, "other settings: n 600 there, 601 here"),
        ({"mechanism": Gaussian(0.5)}, "other settings: sigma 0.25 there, 0.5 here"),
        ({"mechanism": Exponential(0.25)}, "other settings: mechanism 'gaussian' there, 'exponential' here"),
        ({"seed": 6}, "another seed: 5 there, 6 here"),
    ]
    for change, message in changes:
        with pytest.raises(ValueError, match=message):
            run(tmp_path, **change)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "order"),
    [
        # An odd number of groups of one example: the draws of the last are divided.
        ("--n0 50 --n 4000 --max 23 --batch-size 100", Order(norm=2, n0=50, n=4000, max=23, batch_size=100)),
        ("--n0 20 --n 2000 --max 120 --batch-size 64 --radius 0.1", replace(SEQUENTIAL, max=120)),
    ],
)
def test_two_workers_give_the_counts_of_one(tmp_path, options, order):
    torch.save(build_model("digits_cnn", 10, seed=1).checkpoint(), tmp_path / "model.pt")
    options += " --data digits --mechanism gaussian --sigma 0.25 --norm 2 --seed 5"
    command = ["rsmooth", "certify", "--model", str(tmp_path / "model.pt"), *options.split()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    shared = subprocess.run(
        [*torchrun, *command, "--out", str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shared.returncode == 0, shared.stderr
    assert {path.name for path in (tmp_path / "two").glob("examples-*")} == {"examples-0.jsonl", "examples-1.jsonl"}
    assert not list((tmp_path / "two").glob("parts-*"))
    alone = run(tmp_path / "one", order)
    found = read_examples(tmp_path / "two")[0]
    assert {i: each["counts"] for i, each in found.items()} == {i: each["counts"] for i, each in alone.items()}
    # A run goes on with another number of workers.
    (tmp_path / "two" / "examples-1.jsonl").unlink()
    again = subprocess.run(
        [sys.executable, "-m", *command, "--out", str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert without_times(read_examples(tmp_path / "two")[0]) == without_times(alone)


def test_draws_of_an_example_are_divided_without_gap_or_overlap(tmp_path):
    order = Order(norm=2, n0=50, n=4000, max=1, batch_size=100)
    work = _Work(build_model("digits_cnn", 10, seed=1), load_data("digits"), Gaussian(0.25), order, torch.device("cpu"))
    root = np.random.SeedSequence(5)
    shares = []
    for rank in range(3):
        (tmp_path / str(rank)).mkdir()
        with Appender(tmp_path / str(rank), rank) as store:
            work.count(0, range(1), root, {}, store, None, share=(rank, 3))
        shares.append(read_parts(tmp_path / str(rank)))
    assert [len(share) for share in shares] == [14, 14, 13]
    parts = {key: part for share in shares for key, part in share.items()}
    assert sorted(parts) == [(0, batch) for batch in range(41)]
    with Appender(tmp_path, 0) as store:
        work.certify(0, range(1), root, parts, store, None)
    alone = run(tmp_path / "alone", order)
    assert without_times(read_examples(tmp_path)[0]) == without_times(alone)


def test_worker_that_dies_is_reported_and_the_run_goes_on_without_it(tmp_path):
    order = Order(norm=2, n0=50, n=20_000, max=10, batch_size=100)
    code = f"import pathlib, sys; from test_certify import *; run(pathlib.Path(sys.argv[1]), {order!r})"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "shared")],
            env={**environment, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    examples = tmp_path / "shared" / "examples-1.jsonl"
    wait_for(examples)
    second.kill()
    second.communicate()
    _, told = first.communicate(timeout=120)
    assert first.returncode == 1
    assert "ConnectionError: another worker has ended" in told
    finished = read_examples(tmp_path / "shared")[0]
    # The survivor finished its share before it missed the other.
    assert 5 < len(finished) < 10
    after = run(tmp_path / "shared", order)
    assert without_times(after) == without_times(run(tmp_path / "whole", order))
    assert all(after[index] == record for index, record in finished.items())


def test_worker_whose_others_never_come_ends(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "JOINING", timedelta(seconds=1))
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match="another worker has ended"):
        run(tmp_path)


def test_interrupt_ends_the_command_and_says_how_to_go_on(tmp_path):
    torch.save(build_model("digits_cnn", 10, seed=1).checkpoint(), tmp_path / "model.pt")
    options = "--data digits --mechanism gaussian --sigma 0.25 --norm 2 --n0 50 --n 20000 --max 24 --batch-size 100"
    command = [sys.executable, "-m", "rsmooth", "certify", "--model", str(tmp_path / "model.pt"), *options.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], env=environment, stderr=subprocess.PIPE, text=True
    )
    examples = tmp_path / "run" / "examples-0.jsonl"
    wait_for(examples)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"interrupted; the same command goes on from what {tmp_path / 'run'} holds" in told
    assert "Traceback" not in told
    assert 0 < len(read_examples(tmp_path / "run")[0]) < 24


def test_progress_counts_the_examples_done_and_in_flight(tmp_path):
    for name, order in {
        "fixed": Order(norm=2, n0=50, n=450, max=3, batch_size=100),
        "one": Order(norm=2, n0=50, n=450, max=3, batch_size=100, radius=0.1),
    }.items():
        told = []
        run(tmp_path / name, order, progress=lambda *numbers, told=told: told.append(numbers))
        done = [number for number, _ in told]
        assert done == sorted(done)
        assert {total for _, total in told} == {3}
        assert done[-1] == 3
        if name == "fixed":
            assert done[:3] == [0.2, 0.4, 0.6]


def test_least_probability_certifies_its_radius_and_less_does_not():
    for mechanism, norm, bound in (
        (Gaussian(0.5), 2, "neyman-pearson"),
        (Gaussian(0.5), 2, "renyi"),
        (Exponential(0.01), math.inf, "pure-dp"),
    ):
        radius = 0.5 if norm == 2 else 0.01
        p = least_probability(mechanism, radius, norm=norm, dim=64, bound=bound)
        assert mechanism.radius(p, 1 - p, norm=norm, dim=64, bound=bound) >= radius
        q = p - 1e-12
        assert mechanism.radius(q, 1 - q, norm=norm, dim=64, bound=bound) < radius
    with pytest.raises(ValueError, match="radius 1000 is more than"):
        least_probability(Gaussian(0.5), 1000, norm=2, dim=64, bound="renyi")


@pytest.mark.parametrize("kind", [BettingTest, StagesTest])
@pytest.mark.parametrize("threshold", [0.5, 0.84, 0.99])
def test_sequential_tests_certify_a_false_claim_with_at_most_alpha(kind, threshold):
    alpha, trials, n = 0.05, 20_000, 3200
    test = kind(threshold, alpha, n)
    rng = np.random.default_rng(1)
    votes, drawn = np.zeros(trials, np.int64), 0
    certified, open_ = np.zeros(trials, bool), np.ones(trials, bool)
    while drawn < n:
        # At the hypothesis' edge, where certifying is likeliest, and looking as often as it can hurt.
        step = 4
        votes += rng.binomial(step, threshold, trials)
        decided = test.decide(votes, np.full(trials, drawn + step))
        drawn += step
        certified |= open_ & (decided > 0)
        # Those that it abandons go on: futility must not be what keeps the level.
        open_ &= decided <= 0
    # The exact critical value for 20,000 trials at a false-alarm rate of 1e-7.
    assert certified.sum() <= stats.binom.isf(1e-7, trials, alpha)
    assert certified.any()


def test_sequential_test_refuses_what_no_draws_can_certify():
    for kind in (BettingTest, StagesTest):
        with pytest.raises(ValueError, match="n = 20 draws cannot certify this radius even if all agree"):
            kind(0.9, 0.001, 20)


def test_settings_name_what_a_reader_needs(tmp_path):
    run(tmp_path, told={"model": "here"})
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept["seed"] == {"entropy": "5", "spawn_key": [], "pool_size": 4}
    assert kept["settings"]["sigma"] == 0.25
    assert kept["build"]["noise_layout"] == kept["settings"]["noise_layout"]
    assert kept["told"] == {"model": "here"}
