"""The scripts of examples/ run, small, and answer their questions; the notebook runs, and is stored as it ran."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOK = EXAMPLES / "first_certificate.ipynb"


def run(name, *arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_how_many_draws(monkeypatch, capsys, tmp_path):
    shown = run("how_many_draws", tmp_path / "draws.png", monkeypatch=monkeypatch, capsys=capsys)
    rows = [[float(x) for x in re.findall(r"([\d.]+)σ", line)] for line in shown.splitlines()[1:]]
    assert all(row == sorted(row) for row in rows)
    assert rows == sorted(rows, reverse=True)
    assert (tmp_path / "draws.png").stat().st_size > 1000


def test_regression(monkeypatch, capsys):
    shown = run("regression", 1000, monkeypatch=monkeypatch, capsys=capsys)
    for line in shown.splitlines()[1:]:
        median, *ends = map(float, re.findall(r"[\d.]+", line))
        lower, upper = ends[::2], ends[1::2]
        assert lower == sorted(lower, reverse=True)
        assert upper == sorted(upper)
        assert lower[0] <= median <= upper[0]


def test_split_work(monkeypatch, capsys):
    shown = run("split_work", 200, monkeypatch=monkeypatch, capsys=capsys)
    assert shown.endswith("the same votes: True\n")


def test_without_sampling(monkeypatch, capsys):
    shown = run("without_sampling", 10, monkeypatch=monkeypatch, capsys=capsys)
    split, few, many = (float(line.rsplit(" ", 1)[1]) for line in shown.splitlines())
    assert split > many > few


def test_float_attack(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = EXAMPLES / "float_attack.py"
    names = runpy.run_path(str(path), run_name="example")
    names["main"].__globals__["DRAWS"] = 20_000
    names["main"]()
    false = re.findall(r"of the 8 images within that radius (\d) are of class 1", capsys.readouterr().out)
    assert int(false[0]) > 0
    assert int(false[1]) == 0


def test_every_example_is_listed():
    listed = set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for pattern in ("*.py", "*.ipynb") for path in EXAMPLES.glob(pattern)}


@pytest.fixture
def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs(cells):
    import matplotlib as mpl

    mpl.use("agg")
    names = {}
    for cell in cells:
        code = "".join(cell["source"]).replace("epochs=20", "epochs=2").replace("n=1000", "n=100")
        exec(compile(code, str(NOTEBOOK), "exec"), names)  # noqa: S102
    assert len(names["certificates"]) == len(names["labels"])


def test_the_notebook_is_stored_as_it_ran_from_top_to_bottom(cells):
    assert not any(cell["metadata"] for cell in cells)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
