"""The list of deliberate mistakes fits the code; `make mutants` makes them."""

from pathlib import Path

import pytest

from mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: f"{Path(each.file).name}: {each.old[:40]}")
def test_a_mutant_is_of_code_and_tests_that_exist(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert mutant.tests
    for name in mutant.tests:
        assert (ROOT / "tests" / name.partition("::")[0]).is_file()
