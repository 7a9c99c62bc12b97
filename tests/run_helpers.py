"""What tests of runs share: a small run, processes of their own, and records to compare."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import replace

from rsmooth.certificates.softscores import SoftScores
from rsmooth.certificates.splitting import Splitting
from rsmooth.certificates.topclass import TopClass  # noqa: F401  # In the text of every spec.
from rsmooth.certificates.topk import TopK
from rsmooth.run.certify import certify
from rsmooth.run.spec import Spec, read_head
from rsmooth.run.store import Appender
from rsmooth.zoo.data import load_data
from rsmooth.zoo.networks import build_model

SPEC = Spec("gaussian", 0.25, norm=2, n0=50, n=600, max=24, batch_size=100)
# One of each kind, as the fixture `made` has them.
COUNT = 12
RUNS = {
    "fixed": replace(SPEC, max=2 * COUNT, skip=2, bound="renyi"),
    "exponential": Spec(
        "exponential", 0.25 / 64, norm=math.inf, n0=50, n=300, max=COUNT, batch_size=100, bound="renyi"
    ),
    "until": Spec("gaussian", 0.25, norm=2, n0=50, n=2000, max=COUNT, batch_size=64, until=(0, 0.1)),
    "top-k-until": Spec(
        "gaussian", 0.25, norm=2, n0=50, n=2000, max=COUNT, batch_size=64, until=(0, 0.1), kind=TopK(k=2)
    ),
    "device": Spec("laplace", 0.05, norm=1, n0=50, n=300, max=COUNT, batch_size=77, noise="device"),
    "top-k": Spec("gaussian", 0.25, norm=2, n0=50, n=300, max=COUNT, batch_size=100, kind=TopK(k=3)),
    "soft-scores": Spec(
        "gaussian", 0.25, norm=2, n0=50, n=300, max=COUNT, batch_size=100, kind=SoftScores(scores="logits")
    ),
    "soft-scores-until": Spec(
        "gaussian",
        0.25,
        norm=2,
        n0=50,
        n=2000,
        max=COUNT,
        batch_size=64,
        until=(0, 0.1),
        kind=SoftScores(scores="logits"),
    ),
    "splitting": Spec("uniform", 0.5, norm=1, max=COUNT, batch_size=25, kind=Splitting()),
    "bfloat16": Spec("gaussian", 0.25, norm=2, n0=50, n=300, max=3, precision="bfloat16", channels_last=True),
}

UNTIL = replace(SPEC, n0=20, n=2000, max=12, batch_size=64, until=(0, 0.1))


def run(out, spec=SPEC, seed=5, *, model=None, data=None, **keywords):
    model = model or build_model("digits_cnn", 10, seed=1)
    return certify(out, model, data or load_data("digits"), spec, seed=seed, **keywords)


def without_times(records):
    """Return records without what differs from run to run."""
    return {
        index: {name: value for name, value in each.items() if name not in ("seconds", "run")}
        for index, each in records.items()
    }


def wait_for(file, process):
    """Wait until a process has written something to a file."""
    deadline = time.monotonic() + 120
    while not (file.exists() and file.stat().st_size):
        if time.monotonic() > deadline or process.poll() is not None:
            raise TimeoutError(f"{file} has nothing in it, and its writer ended with {process.poll()}")
        time.sleep(0.01)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextmanager
def child(code, *arguments, **environment):
    """Run Python code in a process that does not outlive the test, and that an interrupt reaches."""
    # A shell that put the tests in the background has them, and so their children, ignore it.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", heard + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # Its children with it, unless they are gone already.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


@contextmanager
def interrupted_after(monkeypatch, parts):
    """Interrupt runs when they have written the votes of so many batches."""
    original, written = Appender.part, []

    def part(self, *arguments):
        original(self, *arguments)
        written.append(arguments)
        if len(written) == parts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Appender, "part", part)
        yield


def digest_of(folder):
    return read_head(folder).digest


def rewrite(folder, which=None, *, run_digest=None, **changes):
    """Change a record of a run, or which run all records are of, and their checksums with it."""
    file = folder / "examples-0.jsonl"
    lines = []
    for line in file.read_text().splitlines():
        record = json.loads(line)
        del record["crc32"]
        if record["index"] == which:
            record |= changes
        if run_digest is not None:
            record["run"] = run_digest
        lines.append(sealed(record))
    file.write_text("".join(lines))


def sealed(record):
    text = json.dumps(record)
    return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'


def change_settings(folder, **changes):
    """Change a run's settings as one would who knows how records name their run."""
    file = folder / "run.json"
    kept = json.loads(file.read_text())
    kept["settings"] |= changes
    file.write_text(json.dumps(kept))
    rewrite(folder, run_digest=digest_of(folder))


def later(first, then):
    """Return a model that answers otherwise when the check of rows, of batches of 50 at least, is over."""
    asked = []

    def model(x):
        asked.append(x)
        return (first if len(asked) < 25 else then)(x)

    return model
