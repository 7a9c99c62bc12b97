"""The pages of docs/ that are followed step by step: their files, commands and programs, run in order in one folder.

Of a page these fences are read: ``python`` whose first line is ``# name.py`` is a file; any other without ``>>>`` is
run, and a ``text`` fence behind it is what it prints; ``console`` has commands after ``$`` and what they print. (Fences
with ``>>>`` are doctests.) Work is made small, and so numbers are not compared: trained weights differ between
processors. Where programs train nothing, what they print is.
"""

import contextlib
import io
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rsmooth import cli

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "```console" in page.read_text(encoding="utf-8"))

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-−]?\d[\d,]*\.?\d*(e[-+]?\d+)?")
EXACT = ("own-mechanism",)
SMALL = {"--epochs": "2", "--n": "300", "--max": "20", "--sample": "2"}


def test_every_link_of_the_overview_leads_to_a_file_of_the_repository_from_pypi_too():
    root = DOCS.parent
    overview, project = ((root / name).read_text(encoding="utf-8") for name in ("README.md", "pyproject.toml"))
    assert 'readme = "README.md"' in project
    repository = re.search(r'^Repository = "(.*)"$', project, re.MULTILINE)[1]
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", overview, flags=re.DOTALL)
    targets = dict(re.findall(r"^\[(.*)\]: (\S+)$", prose, re.MULTILINE))
    prose = re.sub(r"^\[.*\]: \S+$", "", prose, flags=re.MULTILINE)
    # None but references, each defined, each used, and by the name of its file.
    assert not re.search(r"\]\(|<https?:|href=|src=", prose)
    references = re.findall(r"(!?)\[([^\]\[]*)\](?:\[([^\]]*)\])?", prose)
    used = {name or text: mark for mark, text, name in references if name or "." in text}
    assert used.keys() == targets.keys()
    for name, target in targets.items():
        # A page shows a picture of which it is told where the file itself is.
        raw = repository.replace("//github.com", "//raw.githubusercontent.com") + "/main/"
        assert target == (raw if used[name] else f"{repository}/blob/main/") + name
        assert (root / name).is_file(), name


def blocks(page):
    """Yield the fences of a page with the text fence that follows a program, if one does."""
    fences = [(found[1], found[2]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))]
    for (kind, content), (next_kind, following) in pairwise([*fences, ("", "")]):
        yield kind, content, following if (kind, next_kind) == ("python", "text") else ""


def commands(content):
    """Yield the commands of a console fence and what each prints."""
    for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        command, printed = re.match(r"((?:[^\n]*\\\n)*[^\n]*\n?)(.*)", part, re.DOTALL).groups()
        yield shlex.split(command.replace("\\\n", " ")), printed


def smaller(arguments):
    given = [*arguments]
    for place, option in enumerate(arguments[:-1]):
        if option in SMALL:
            given[place + 1] = SMALL[option]
    if arguments[1] == "certify":
        given += ["--max", SMALL["--max"]]
    return given


def run_command(arguments):
    program, *rest = arguments
    if program == "python":
        return run_code(Path(rest[0]).read_text(encoding="utf-8"), {"__name__": "__main__"})
    assert program == "rsmooth"
    result = CliRunner().invoke(cli.app, rest)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def run_code(code, names):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "page", "exec"), names)  # noqa: S102
    return shown.getvalue()


def plain(text):
    """Return a text without what may differ: numbers, the words that follow from them, spaces and rules."""
    text = re.sub(":?(─+|-{3,}):?", "", NUMBER.sub("#", text))
    return re.sub("(no radius|# of # radii) (is|are)", "# of # radii are", " ".join(text.split()).replace("[ ", "["))


def assert_alike(shown, expected):
    pattern = re.escape(plain(expected)).replace("\\ …", "…").replace("…", ".*")
    assert re.fullmatch(pattern, plain(shown), re.DOTALL), f"{shown}\nis not as on the page:\n{expected}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    known, names = set(sys.modules), {"__name__": "__main__"}
    try:
        for kind, content, printed in blocks(page):
            if kind == "python" and ">>>" not in content:
                if name := re.match(r"# (\w+\.py)\n", content):
                    Path(name[1]).write_text(content, encoding="utf-8")
                elif page.stem in EXACT:
                    assert run_code(content, names) == printed
                else:
                    assert_alike(run_code(content, names), printed)
            elif kind == "console":
                for arguments, expected in commands(content):
                    assert_alike(run_command(smaller(arguments)), expected)
    finally:
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]
