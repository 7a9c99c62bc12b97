"""What a run leaves on the disk: bound to its run and its images, never lost, and gone on from."""

import json
import os
import pathlib

import numpy as np
import pytest

from rsmooth.certificates.topclass import TopClass
from rsmooth.certificates.topk import TopK
from rsmooth.io.files import claimed, write_atomically
from rsmooth.run import store
from rsmooth.run.results import read_run
from rsmooth.run.store import Appender, read_examples, read_parts
from rsmooth.torch import device
from rsmooth.zoo.data import Data, load_data
from run_helpers import (
    SPEC,
    UNTIL,
    child,
    digest_of,
    interrupted_after,
    replace,
    run,
    sealed,
    wait_for,
    without_times,
)

SMALL = replace(SPEC, n=300, max=4)
RUN = "import pathlib, sys; from run_helpers import *; run(pathlib.Path(sys.argv[1]), {!r})"


@pytest.fixture(scope="module", autouse=True)
def any_device():
    """Let torch draw noise on the CPU, whose generators are good enough for tests alone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "GENERATORS", {"cuda", "cpu"})
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return without_times(run(tmp_path_factory.mktemp("run") / "whole"))


def parts_of(folder):
    return read_parts(folder, digest_of(folder))


# Records and votes belong to a run and to an image.


def test_records_without_their_run_are_not_adopted_by_another(tmp_path):
    run(tmp_path, SMALL)
    (tmp_path / "run.json").unlink()
    before = (tmp_path / "examples-0.jsonl").read_bytes()
    for change in ({"spec": replace(SMALL, sigma=25.0)}, {"seed": 6}, {"seed": None}):
        with pytest.raises(ValueError, match=r"examples-0.jsonl line 1 is a record of another run"):
            run(tmp_path, **{"spec": SMALL, **change})
        assert not (tmp_path / "run.json").exists()
    run(tmp_path, SMALL)
    assert (tmp_path / "examples-0.jsonl").read_bytes() == before


def test_records_of_another_run_are_not_read(tmp_path):
    run(tmp_path, SMALL)
    kept = json.loads((tmp_path / "run.json").read_text())
    kept["settings"]["sigma"] = 25.0
    (tmp_path / "run.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="line 1 is a record of another run"):
        read_run(tmp_path)


def test_votes_without_their_run_are_not_counted_for_another(tmp_path, monkeypatch):
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", SMALL)
    assert len(parts_of(tmp_path / "a")) == 5
    (tmp_path / "a" / "run.json").unlink()
    other = replace(SMALL, sigma=1.0)
    assert without_times(run(tmp_path / "a", other)) == without_times(run(tmp_path / "b", other))


@pytest.mark.parametrize("spec", [SMALL, replace(UNTIL, max=4)])
def test_votes_of_an_image_that_was_replaced_are_not_counted(tmp_path, monkeypatch, spec):
    digits = load_data("digits")
    items = [digits[i] for i in range(len(digits))]
    before, after = Data("digits", items, 10), Data("digits", [*items], 10)
    # Not among the images whose content the data set's fingerprint has.
    after.source[1] = (1 - items[1][0], items[1][1])
    assert before.fingerprint() == after.fingerprint()
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "mixed", spec, data=before)
    mixed = run(tmp_path / "mixed", spec, data=after)
    assert without_times(mixed) == without_times(run(tmp_path / "whole", spec, data=after))
    assert mixed[1]["counts"] != run(tmp_path / "before", spec, data=before)[1]["counts"]


def test_votes_of_other_draws_are_not_counted(tmp_path, monkeypatch):
    with interrupted_after(monkeypatch, 3), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", SMALL)
    file = tmp_path / "a" / "parts-0-0.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        del record["crc32"]
    # Votes that say that they are the second batch's, and are the third's.
    records[1] |= {name: records[2][name] for name in ("draws", "votes")}
    file.write_text("".join(map(sealed, records)))
    assert len(parts_of(tmp_path / "a")) == 3
    assert without_times(run(tmp_path / "a", SMALL)) == without_times(run(tmp_path / "b", SMALL))


def test_records_of_an_example_that_differ_are_refused_and_others_count_once(tmp_path):
    run(tmp_path, SMALL)
    file = tmp_path / "examples-0.jsonl"
    original = file.read_text()
    file.write_text(original + original)
    assert len(read_run(tmp_path).records) == 4
    # Another worker's file, which is read behind the first's.
    record = json.loads(original.splitlines()[2])
    del record["crc32"]
    (tmp_path / "examples-1.jsonl").write_text(sealed(record | {"counts": record["counts"][::-1]}))
    with pytest.raises(
        ValueError, match=r"two records of example 2 that differ: examples-0.jsonl line 3, examples-1.jsonl line 1"
    ):
        read_run(tmp_path)


def test_a_group_that_is_finished_in_part_gets_no_second_record_of_an_example(tmp_path):
    run(tmp_path, SMALL)
    file = tmp_path / "examples-0.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3]))
    run(tmp_path, SMALL)
    again = file.read_text().splitlines(keepends=True)
    assert again[:3] == lines[:3]
    assert len(again) == 4


# Power cuts, full disks, signals.


def test_records_are_on_the_disk_before_votes_are_removed(tmp_path, monkeypatch):
    durable, removed = {}, []
    original_sync, original_unlink = os.fsync, pathlib.Path.unlink

    def fsync(file):
        original_sync(file)
        number = file if isinstance(file, int) else file.fileno()
        path = pathlib.Path(f"/proc/self/fd/{number}").readlink()
        if path.is_file():
            durable[path.name] = path.read_bytes()

    def unlink(self, *arguments, **keywords):
        if self.name.startswith("parts-"):
            removed.append(int(self.name.split("-")[1]))
            # What a power cut at this moment leaves.
            assert durable.get("examples-0.jsonl", b"").count(b"\n") >= min(24, 5 * (removed[-1] + 1))
        original_unlink(self, *arguments, **keywords)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "unlink", unlink)
    # Votes of every batch are written; the clock asks for no sync of the records.
    clock = iter(range(10**6))
    original = Appender.part

    def part(self, *arguments):
        original(self, *arguments)
        self.flush()

    monkeypatch.setattr(Appender, "part", part)
    monkeypatch.setattr(store.time, "monotonic", lambda: next(clock) * 1e-6)
    run(tmp_path)
    assert sorted(set(removed)) == [0, 1, 2, 3, 4]


def test_votes_stay_where_their_records_cannot_be_written(tmp_path, monkeypatch):
    with interrupted_after(monkeypatch, 3), pytest.raises(KeyboardInterrupt):
        run(tmp_path, SMALL)
    original = store._write

    def write(file, content):
        if b'"prediction"' in content:
            raise OSError("no space")
        original(file, content)

    monkeypatch.setattr(store, "_write", write)
    with pytest.raises(OSError, match="no space"):
        run(tmp_path, SMALL)
    assert len(parts_of(tmp_path)) >= 3


def test_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    events = []
    original_sync, original_replace = os.fsync, pathlib.Path.replace

    def fsync(file):
        original_sync(file)
        number = file if isinstance(file, int) else file.fileno()
        path = pathlib.Path(f"/proc/self/fd/{number}").readlink()
        events.append(("folder",) if path.is_dir() else ("file", path.name, path.read_bytes()))

    def rename(self, target):
        events.append(("name", self.name))
        return original_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "replace", rename)
    write_atomically(tmp_path / "a.txt", lambda file: file.write(b"content"))
    (_, written, content), (_, named), last = events
    assert content == b"content"
    assert (written, last) == (named, ("folder",))
    assert (tmp_path / "a.txt").read_bytes() == b"content"


def test_a_half_line_does_not_swallow_the_next_record(tmp_path):
    for _ in range(2):
        with Appender(tmp_path, 0, "ab") as appender:
            appender.examples(0, [{"index": len(read_examples(tmp_path, "ab")[0])}])
        with (tmp_path / "examples-0.jsonl").open("ab") as file:
            file.write(b'{"run": "ab", "ind')
    found, damaged = read_examples(tmp_path, "ab")
    assert list(found) == [0, 1]
    assert damaged == ["examples-0.jsonl line 2", "examples-0.jsonl line 4"]


def test_damaged_and_half_written_records_are_run_again(tmp_path, whole, capsys):
    run(tmp_path)
    file = tmp_path / "examples-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"label": ', b'"label": 1')
    file.write_bytes(b"".join(lines)[:-40])
    assert len(read_examples(tmp_path, digest_of(tmp_path))[0]) == 22
    assert without_times(run(tmp_path)) == whole
    assert "damaged: examples-0.jsonl line 4, examples-0.jsonl line 24" in capsys.readouterr().out


def test_killed_process_loses_nothing_that_was_finished(tmp_path):
    spec, out = replace(SPEC, n=20_000), tmp_path / "killed"
    with child(RUN.format(spec), out) as process:
        wait_for(out / "examples-0.jsonl", process)
    finished, damaged = read_examples(out, digest_of(out))
    assert 0 < len(finished) < 24
    assert not damaged
    after = run(out, spec)
    assert without_times(after) == without_times(run(tmp_path / "whole", spec))
    assert all(after[index] == record for index, record in finished.items())


@pytest.mark.parametrize("kind", [TopClass(), TopK(k=8)])
def test_killed_process_that_stops_draws_goes_on_to_the_same_counts(tmp_path, kind):
    spec, out = replace(UNTIL, kind=kind, n=20_000, max=40, until=(0, 0.05, 0.1)), tmp_path / "killed"
    with child(RUN.format(spec), out) as process:
        wait_for(out / "parts-0-0.jsonl", process)
    assert len(parts_of(out)) > 0
    assert without_times(run(out, spec)) == without_times(run(tmp_path / "whole", spec))


def test_full_disk_is_an_error_and_loses_nothing(tmp_path, whole):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); "
    with child(limit + RUN.format(SPEC), tmp_path) as failed:
        _, told = failed.communicate(timeout=120)
    assert failed.returncode == 1
    assert "OSError: [Errno 27] File too large" in told
    assert without_times(run(tmp_path)) == whole


# Going on.


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(UNTIL, max=24, bound="neyman-pearson"),
        replace(UNTIL, max=24, draws=9000.0),
        replace(UNTIL, max=12, until=None, width=0.3),
        replace(UNTIL, max=24, kind=TopK(k=2)),
        replace(UNTIL, max=24, kind=TopK(k=3), draws=9000.0),
        replace(UNTIL, max=12, kind=TopK(k=2), until=None, width=0.3),
        replace(SPEC, n=300, max=8, noise="device"),
    ],
)
@pytest.mark.parametrize("stop_after", [1, 5])
def test_stopped_run_goes_on_to_the_same_result(tmp_path, monkeypatch, spec, stop_after):
    expected = without_times(run(tmp_path / "whole", spec))
    with interrupted_after(monkeypatch, stop_after), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", spec)
    assert len(parts_of(tmp_path / "parts")) == stop_after
    assert without_times(run(tmp_path / "parts", spec, seed=None)) == expected


def test_going_on_draws_no_votes_again_that_are_there(tmp_path, monkeypatch):
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(tmp_path, SMALL)
    written = []
    original = Appender.part
    monkeypatch.setattr(Appender, "part", lambda self, *each: (written.append(each[1]), original(self, *each)))
    run(tmp_path, SMALL)
    assert written == list(range(5, 14))


@pytest.mark.parametrize("spec", [SPEC, UNTIL])
@pytest.mark.parametrize("lost", [0, 2])
def test_run_goes_on_behind_a_gap_in_the_votes_of_batches(tmp_path, monkeypatch, spec, lost):
    gap = tmp_path / "gap"
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(gap, spec)
    file = gap / "parts-0-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:lost], b"damaged\n", *lines[lost + 1 :]]))
    assert len(parts_of(gap)) == 4
    # What an interrupt leaves of the votes behind the gap is not taken for others.
    with interrupted_after(monkeypatch, 5), pytest.raises(KeyboardInterrupt):
        run(gap, spec)
    assert without_times(run(gap, spec)) == without_times(run(tmp_path / "whole", spec))
    assert not list(gap.glob("parts-*"))


def test_finishing_a_group_keeps_the_votes_of_others(tmp_path):
    with Appender(tmp_path, 0, "ab") as appender:
        for group in (0, 1):
            appender.part(group, 0, "12345678", np.arange(5), 0.1)
    with Appender(tmp_path, 1, "ab") as appender:
        appender.part(1, 1, "12345678", np.arange(5), 0.1)
        appender.flush()
        appender.examples(0, [{"index": 0}])
    assert sorted(read_parts(tmp_path, "ab")) == [(1, 0), (1, 1)]


def test_another_process_is_refused(tmp_path):
    run(tmp_path, SMALL)
    with claimed(tmp_path), pytest.raises(BlockingIOError, match=f"another process is writing to {tmp_path}"):
        run(tmp_path, SMALL)


def test_orphaned_worker_keeps_the_folder_claimed(tmp_path):
    with (
        claimed(tmp_path, worker=1),
        pytest.raises(BlockingIOError, match="another process is writing to"),
        claimed(tmp_path),
    ):
        pass
    with claimed(tmp_path), claimed(tmp_path, worker=1):
        pass
