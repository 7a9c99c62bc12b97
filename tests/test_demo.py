"""The demo from end to end, and its parts."""

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rsmooth import Exponential, Gaussian, certify_counts
from rsmooth import demo as demo_module
from rsmooth.demo import demo
from rsmooth.io.files import write_atomically
from rsmooth.results.measures import measures
from rsmooth.results.result import Result
from rsmooth.results.table import results_table
from rsmooth.run.results import read_run

NETWORKS = ["gaussian-0.12", "gaussian-0.25", "gaussian-0.5"] + [
    f"exponential-{sigma}" for sigma in (0.00390625, 0.0078125, 0.015625)
]
FIGURES = ["gaussian-l2", "gaussian-linf", "exponential-linf"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    shown = io.StringIO()
    demo(out, seed=3, quick=True, console=Console(file=shown, width=80))
    return out, shown.getvalue()


def test_leaves_runs_figures_and_table_and_nothing_else(made):
    out, _ = made
    expected = {*NETWORKS, "undefended", *(f"{name}.png" for name in FIGURES), "table.csv", "settings.json"}
    assert {path.name for path in out.iterdir()} == expected
    for name in NETWORKS:
        found = {path.name for path in (out / name).iterdir()}
        assert found == {"run.json", "examples-0.jsonl", "lock-0", "trained"}
    for name in FIGURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "settings.json").read_text())["seed"] == 3


def test_table_follows_from_the_kept_counts(made):
    out, _ = made
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    for row in rows:
        sigma = float(row["parameter"])
        run = read_run(out / row["name"])
        assert (run.spec.mechanism, run.spec.sigma, run.seed.entropy) == (row["mechanism"], sigma, 3)
        counts, selection, labels = (run.column(name) for name in ("counts", "selection", "label"))
        assert counts.shape == (60, 10)
        assert (counts.sum(axis=1) == 1000).all()
        assert (selection.sum(axis=1) == 100).all()
        mechanism = {"gaussian": Gaussian, "exponential": Exponential}[row["mechanism"]](sigma)
        again = certify_counts(
            counts,
            mechanism,
            norm=float(row["norm"]),
            dim=64,
            alpha=0.001,
            bound=row["bound"],
            selection=selection,
            grid=run.spec.steps,
            noise_error=run.rule.noise_error,
        )
        assert run.spec.steps is not None
        assert int(row["abstained"]) == (again.prediction == -1).sum()
        assert float(row["accuracy"]) == again.certified_accuracy(labels, 0)
        half = float(row["radius_at_half"])
        if half:
            assert (
                again.certified_accuracy(labels, math.nextafter(half, 0))
                >= 0.5
                > again.certified_accuracy(labels, half)
            )
        else:
            assert again.certified_accuracy(labels, 0) < 0.5


def test_tighter_bounds_are_nowhere_below_the_papers(made):
    with (made[0] / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for paper, tighter in zip(rows[::2], rows[1::2], strict=True):
        assert paper["bound"] == "renyi" != tighter["bound"]
        assert paper["name"] == tighter["name"]
        assert float(tighter["radius_at_half"]) >= float(paper["radius_at_half"])


def test_its_runs_are_runs_like_any_other(made):
    from rsmooth import cli

    shown = CliRunner().invoke(cli.app, ["verify", str(made[0] / "gaussian-0.25"), "--sample", "2", "--seed", "1"])
    assert shown.exit_code == 0, shown.output
    assert "0 votes differ" in shown.output


def test_same_seed_gives_the_same_counts(made, tmp_path):
    demo(tmp_path, seed=3, quick=True, console=Console(quiet=True))
    assert (tmp_path / "table.csv").read_bytes() == (made[0] / "table.csv").read_bytes()
    for name in NETWORKS:
        before, after = read_run(made[0] / name), read_run(tmp_path / name)
        for column in ("counts", "selection", "radius"):
            assert np.array_equal(before.column(column), after.column(column))


def test_goes_on_with_what_is_finished(made, monkeypatch):
    before = (made[0] / "table.csv").read_bytes()
    (made[0] / "table.csv").unlink()
    monkeypatch.setattr("rsmooth.torch.voter.Voter.votes", None)
    demo(made[0], seed=3, quick=True, console=Console(quiet=True))
    assert (made[0] / "table.csv").read_bytes() == before


@pytest.mark.parametrize(("seed", "quick"), [(4, True), (3, False)])
def test_leaves_another_demos_results_alone(made, seed, quick):
    before = {path: path.read_bytes() for path in made[0].rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=r"holds a demo with other settings, \{'seed': 3, 'quick': True\}"):
        demo(made[0], seed=seed, quick=quick, console=Console(quiet=True))
    assert before == {path: path.read_bytes() for path in made[0].rglob("*") if path.is_file()}


def test_failing_network_ends_the_demo(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(demo_module, "certify", fail)
    with pytest.raises(OSError, match="disk full"):
        demo(tmp_path, seed=0, quick=True, console=Console(quiet=True))
    assert not (tmp_path / "table.csv").exists()


def test_its_table_is_that_of_any_results(made):
    out, text = made
    results = [
        Result.of(name, run.certificates(norm=norm, bound=bound), run.column("label"))
        for group, norm, bounds in (
            (NETWORKS[:3], 2, ("renyi", "neyman-pearson")),
            (NETWORKS[:3], math.inf, ("renyi", "neyman-pearson")),
            (NETWORKS[3:], math.inf, ("renyi", "pure-dp")),
        )
        for name, run in ((name, read_run(out / name)) for name in group)
        for bound in bounds
    ]
    rows = [measures(each, [0.0]) for each in results]
    assert results_table(rows, "markdown", intervals=False) in text
    assert results_table(rows, "csv") == (out / "table.csv").read_text()
    # Rounded down: what is shown is certified.
    shown = [line.split("|")[10].strip() for line in text.splitlines() if " renyi " in line]
    assert [float(each) for each in shown] == pytest.approx([each["radius_at_half"] for each in rows[::2]], rel=1e-3)
    assert all(float(each) <= row["radius_at_half"] for each, row in zip(shown, rows[::2], strict=True))


def test_shows_the_seed_and_how_good_the_networks_are(made):
    text = made[1]
    assert "seed 3" in text
    told = dict(re.findall(r"([\w.-]+) ([\d.]+)%", text[text.index("Accuracy of the networks alone") :]))
    assert list(told) == ["undefended", *NETWORKS]
    assert all(50 < float(share) <= 100 for share in told.values())


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"yesterday's")

    def write(file):
        file.write(b"half of to")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("result", b"yesterday's")]
    write_atomically(path, lambda file: file.write(b"today's"))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("result", b"today's")]
