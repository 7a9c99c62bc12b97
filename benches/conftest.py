"""What the Python benchmarks share: a timer, and a table of ratios at the end of the run."""

import platform
from pathlib import Path

import pytest

import rsmooth
from ratios import MEDIANS, RATIOS


@pytest.fixture
def timed(benchmark):
    """Time a call with pytest-benchmark and keep the median under `name`."""

    def run(name, function, *, rounds=9, setup=None):
        benchmark.pedantic(function, setup=setup, rounds=rounds, warmup_rounds=2)
        MEDIANS[name] = benchmark.stats.stats.median

    return run


def processor():
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Print the ratios of what was timed in this run."""
    rows = [
        (what, against, MEDIANS[theirs] / their_units / (MEDIANS[ours] / our_units), at_least)
        for what, against, ours, theirs, at_least, our_units, their_units in RATIOS
        if ours in MEDIANS and theirs in MEDIANS
    ]
    if rows:
        info = rsmooth.build_info()
        write = terminalreporter.write_line
        terminalreporter.section("ratios of medians")
        write(f"{processor()}, {info['threads']} processors, {info['simd']}")
        write(f"{'what':<44}{'against':<44}{'times as fast':>14}{'aim':>8}")
        for what, against, times, at_least in rows:
            write(f"{what:<44}{against:<44}{times:>14.2f}{at_least:>8g}")
