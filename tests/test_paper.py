"""The page on the paper's experiments says what its counts prove."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COUNTS = ROOT / "docs" / "paper"


@pytest.fixture(scope="module")
def figures():
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        return importlib.import_module("paper_figures")
    finally:
        sys.path.remove(str(ROOT / "examples"))


@pytest.mark.parametrize("table", ["half_table", "recipe_table"])
def test_tables_of_the_page_are_those_of_its_counts(figures, table):
    assert getattr(figures, table)(COUNTS) in (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")


def test_figures_are_drawn_from_the_counts(figures, tmp_path):
    assert figures.dimensions(COUNTS, tmp_path) in (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    figures.curves(COUNTS, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("paper-1.png", "paper-2.png", "paper-3.png", "paper-dimensions.png")
    ]


def test_slopes_are_those_of_a_power_law(figures):
    dims = figures.np.array([192, 768, 3072, 12288])
    assert figures.slope(dims, 3.0 * dims**-0.5) == pytest.approx(-0.5)
