"""The published radii that benchmarks are run on: at which level they were made."""

from pathlib import Path

import numpy as np
from scipy import stats

SIGMA, N = 0.5, 100_000


def attainable(alpha):
    """Radii of all counts at the lower Clopper-Pearson bound, as the field prints them."""
    votes = np.arange(N // 2, N + 1)
    bounds = stats.beta.ppf(alpha, votes, N - votes + 1)
    return {f"{SIGMA * stats.norm.ppf(p):.3g}" for p in bounds[bounds > 0.5]}


def test_the_published_radii_were_made_at_one_percent():
    page = Path(__file__).parent.parent / "benches" / "data" / "published_radii.txt"
    text = [line for line in page.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    radii = [f"{abs(float(word)):.3g}" for word in " ".join(text).split() if word != "0"]
    assert len(radii) == 417
    assert not set(radii) - attainable(0.01)
    others = set(radii) - attainable(0.001)
    # 1.96 is above what unanimous votes prove at 0.001.
    assert len(others) >= 4
    assert "1.96" in others
