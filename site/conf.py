"""How the documentation becomes a site: `make docs`.

The source folder is the whole checkout, so that a link between two pages is the same here as in the repository. What is
in the navigation, and under which heading, is read off the lists of docs/index.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import rsmooth

sys.path.insert(0, str(Path(__file__).parent))

project = "rsmooth"
author = copyright = "The rsmooth authors"  # noqa: A001
version = release = rsmooth.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton", "pages"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "examples/*.ipynb", "examples/README.md"]
# Not even walked through.
exclude_patterns = [".*", "benches", "build", "demo", "dist", "python", "rust", "site", "target", "tests"]

# Pages: what GitHub understands, and headings with the anchors that it gives them.
myst_heading_anchors = 4
nb_execution_mode = "off"

# Docstrings. Types stand in their sections, and every name in backticks that begins with rsmooth must exist
# (but for constants, which have no entry).
# A toolbox that one module adapts itself to need not be there.
autodoc_mock_imports = ["art"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
# This package's names alone: a build needs nobody else's site.
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | {name: f"rsmooth.{name}" for name in rsmooth.__all__}
numpydoc_xref_ignore = "all"
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!rsmooth\.).*|rsmooth\._[\w.]*|rsmooth\.[\w.]*\.[A-Z_]+")]
suppress_warnings = ["ref.footnote", "ref.citation"]

templates_path = ["_templates"]
html_theme = "furo"
html_title = "rsmooth"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_additional_pages = {"index": "home.html"}
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
