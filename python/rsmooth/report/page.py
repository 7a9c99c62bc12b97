"""The page of a report: its template filled in, under a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files
from string import Template
from typing import Any

from rsmooth.noise import build_info
from rsmooth.report.payload import json_text

__all__ = ["SCRIPTS", "page_of"]

# In this order they are one script.
SCRIPTS = ("data.js", "chart.js", "columns.js", "table.js", "page.js")


def page_of(payload: dict[str, Any]) -> str:
    """Return the page of a payload.

    Parameters
    ----------
    payload : dict
        What `rsmooth.report.payload.payload_of` returns.

    Returns
    -------
    str
        HTML, complete in itself. Its Content-Security-Policy allows the script and the style that are in the template,
        by their digests, and images within the page; nothing can be loaded, sent or run besides.

    Examples
    --------
    >>> from rsmooth import Gaussian, certify_counts
    >>> from rsmooth.report.page import page_of
    >>> from rsmooth.report.payload import Pictures, payload_of
    >>> from rsmooth.results.result import Result
    >>> found = certify_counts([[990, 10]], Gaussian(0.5), norm=2, dim=64, selection=[0])
    >>> page_of(payload_of([Result.of("mine", found, [0])], [Pictures("none")], title="One input"))[:15]
    '<!DOCTYPE html>'
    """
    style = _text("page.css")
    script = '"use strict";\n{\n' + "\n".join(map(_text, SCRIPTS)) + "}\n"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_text("page.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        data=json_text(payload),
        title=html.escape(payload["title"]),
        version=html.escape(build_info()["version"]),
    )


def _text(name: str) -> str:
    return (files("rsmooth.report") / "template" / name).read_text("utf-8")


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
