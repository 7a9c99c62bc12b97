"""Run a notebook once more, from top to bottom, and keep its outputs: python site/notebook.py FILE."""

from __future__ import annotations

import sys

import nbformat
from nbclient import NotebookClient

if __name__ == "__main__":
    name = sys.argv[1]
    notebook = nbformat.read(name, as_version=4)
    NotebookClient(notebook, record_timing=False).execute()
    nbformat.write(notebook, name)
