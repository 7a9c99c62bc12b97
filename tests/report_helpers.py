"""What tests of reports share: results with known counts, and a page taken apart."""

import base64
import json
from html.parser import HTMLParser

import numpy as np

from rsmooth import certify_counts
from rsmooth.results.result import Result


def counted(name, mechanism, *, size=60, classes=5, n=1000, seed=0, norm=2, dim=64, **settings):
    """Return a result of counts drawn at random: certain, uncertain, wrong and abstaining examples."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size)
    shares = rng.dirichlet(np.full(classes, 0.25), size)
    votes = [rng.multinomial(draws, shares) for draws in (50, n)]
    found = certify_counts(votes[1], mechanism, norm=norm, dim=dim, selection=votes[0], n=n, **settings)
    # So that some are right.
    labels = np.where(rng.random(size) < 0.6, votes[0].argmax(axis=1), labels)
    return Result.of(name, found, labels)


class Page(HTMLParser):
    """A page's elements: their names and attributes in order, and the text in scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.content, self.titles = [], [], []
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, _):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("script", "style"):
            self.content.append((self.inside, self.elements[-1][1], data))
        if self.inside == "title":
            self.titles.append(data)

    def count(self, name):
        return sum(tag == name for tag, _ in self.elements)

    @property
    def payload(self):
        (data,) = [text for _, attributes, text in self.content if attributes.get("type") == "application/json"]
        return json.loads(data)


def unpacked(packed):
    """Return the numbers of a packed array, read as the page does."""
    return np.frombuffer(base64.b64decode(packed["base64"]), {"i4": "<i4", "f8": "<f8"}[packed["kind"]])
