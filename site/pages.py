"""An extension of Sphinx: the navigation, a page for each public part of the package, and the commands' options."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from sphinx.ext.autodoc.mock import mock
from sphinx.util.docutils import SphinxDirective

import rsmooth
from rsmooth.cli import app as commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx

# Where the overview's links say that files are.
HOME = r"https://(?:github\.com/rsmooth/rsmooth/blob|raw\.githubusercontent\.com/rsmooth/rsmooth)/main/"
LINK = re.compile(r"^- \[(?P<title>[^]]*)\]\((?P<page>[^)#]+)\.(md|ipynb)\)", re.MULTILINE)


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the root page a hidden toctree after each of its sections, of the pages that the section lists."""
    if page != app.config.root_doc:
        return
    start, *sections = re.split(r"^## ", source[0], flags=re.MULTILINE)
    source[0] = start
    for section in sections:
        caption = section.split("\n", 1)[0]
        pages = "\n".join(f"{found['title']} <{found['page']}>" for found in LINK.finditer(section))
        source[0] += f"## {section}\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n\n"


def keep_here(_app: Sphinx, page: str, source: list[str]) -> None:
    """Have the overview, which PyPI shows without the files beside it, lead to the site's own pages."""
    if page == "README":
        source[0] = re.sub(rf"^(\[.*\]: ){HOME}", r"\1", source[0], flags=re.MULTILINE)


def write_api(app: Sphinx) -> None:
    """Write docs/api/NAME.rst for the package and for each public module or package in it."""
    own = [documented("rsmooth", name) for name in rsmooth.__all__]
    pages = {"rsmooth": ["\n".join(["rsmooth", "=======", "", ".. automodule:: rsmooth", "", *own])]}
    with mock(app.config.autodoc_mock_imports):
        for _, name, _ in pkgutil.walk_packages(rsmooth.__path__, "rsmooth."):
            parts = name.split(".")[1:]
            if parts[0] != "cli" and not any(part.startswith("_") for part in parts):
                pages.setdefault(parts[0], []).append(module_section(name, "-" if parts[1:] else "="))
    folder = Path(app.srcdir, "docs", "api")
    folder.mkdir(exist_ok=True)
    for name, sections in pages.items():
        page, text = folder / f"{name}.rst", "\n".join(sections)
        # Untouched where it is the same, so that Sphinx does not read it again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def module_section(name: str, line: str) -> str:
    """Return the section of a module: each public thing that is defined there, unless the package itself shows it."""
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [each for each in vars(module) if not each.startswith("_")])
    defined = [each for each in public if getattr(getattr(module, each), "__module__", None) == name]
    lines = [name, line * len(name), "", f".. automodule:: {name}", ""]
    if elsewhere := [f"`rsmooth.{each}`" for each in defined if each in rsmooth.__all__]:
        lines += [f"On the package's own page: {', '.join(elsewhere)}.", ""]
    return "\n".join([*lines, *(documented(name, each) for each in defined if each not in rsmooth.__all__)])


def documented(module: str, name: str) -> str:
    """Return the directive that shows a class or a function."""
    kind = "class" if inspect.isclass(getattr(importlib.import_module(module), name)) else "function"
    return f".. auto{kind}:: {module}.{name}\n" + ("   :members:\n" if kind == "class" else "")


class Commands(SphinxDirective):
    """The commands and their options, as the app has them."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each command."""
        return self.parse_text_to_nodes("\n".join(self.text()), allow_section_headings=True)

    def text(self) -> Iterator[str]:
        """Yield the lines of all commands."""
        for name, command in typer.main.get_command(commands).commands.items():  # type: ignore[attr-defined]
            title = f"rsmooth {name}"
            yield from ("", title, "-" * len(title), "", f".. program:: {title}", "")
            for paragraph in command.help.split("\n\n"):
                label, _, example = " ".join(paragraph.split()).partition("Example: ")
                yield from ((label, "") if not example else (".. code-block:: console", "", f"   $ {example}", ""))
            with command.make_context(title, [], resilient_parsing=True) as context:
                for option in command.get_params(context):
                    if "--help" not in option.opts:
                        yield from option_lines(option)
            if choice := getattr(command, "choice", None):
                for each in choice.names:
                    yield from choice_lines(command, title, choice.option, each)


def choice_lines(command: Any, title: str, option: str, name: str) -> Iterator[str]:
    """Yield the options that what an option names adds to a command, as a recipe does."""
    with command.make_context(title, [f"--{option}", name], resilient_parsing=True) as context:
        added = [each for each in command.get_params(context) if getattr(each, "rich_help_panel", None)]
        if added:
            heading = f"--{option} {name}"
            yield from ("", heading, "~" * len(heading), "", f".. program:: {title} {heading}", "")
        for each in added:
            yield from option_lines(each)


def option_lines(option: Any) -> Iterator[str]:
    """Yield the lines of an option, or of an argument."""
    names = option.opts + option.secondary_opts
    text = option.help or "Files or folders."
    if option.required:
        text += " *Required.*"
    elif option.default not in (None, False, []) and not callable(option.default):
        text += f" Default: ``{option.default}``."
    yield from (f".. option:: {', '.join(names)}", "", f"   {text}", "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    app.connect("builder-inited", write_api)
    app.connect("source-read", add_navigation)
    app.connect("source-read", keep_here)
    return {"parallel_read_safe": True}
