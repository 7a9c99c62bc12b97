"""The exact grid noise: its integers, its law, its sums and what it refuses.

Statistical tests are at LEVEL with exact critical values; some 20 comparisons are made and seeds are fixed.
"""

import fractions
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import stats

import reference_grid
import rsmooth
from reference import key_of
from rsmooth import _core

DATA = Path(__file__).parent / "data"
LEVEL = 1e-9

# Name, scale, grid and coordinates.
SETTINGS = [
    ("gaussian", 0.25, 255, 700),
    ("gaussian", 0.25, 1, 40),
    ("gaussian", 0.3, 4080, 300),
    ("laplace", 0.25, 255, 700),
    ("laplace", 0.0625, 1, 40),
    ("exponential", 0.01, 255, 300),
    ("exponential", 1 / 1200, 130_560, 300),
    ("exponential", 0.25, 1, 1),
]


def draw(name, scale, grid, dim, rows=1, *, seed=0, first=0, dtype=np.int32, threads=None):
    out = np.empty(rows * dim, dtype)
    _core.grid_fill((name, scale, grid), key_of(seed), first, dim, out, threads=threads)
    return out.reshape(rows, dim)


@pytest.mark.parametrize(("name", "scale", "grid", "dim"), SETTINGS)
@pytest.mark.parametrize("first", [0, 2**32 - 1, 2**63 + 11])
def test_integers_are_those_of_the_reference(name, scale, grid, dim, first):
    drawn = draw(name, scale, grid, dim, 3, seed=9, first=first)
    for row, values in enumerate(drawn):
        assert np.array_equal(values, reference_grid.LAWS[name](key_of(9), first + row, dim, scale, grid))


DIGEST = """
    import hashlib, json, sys
    import numpy as np, rsmooth
    from rsmooth import _core
    key = [int(word) for word in np.random.SeedSequence(20).generate_state(8)]
    digests = {}
    for law in (("gaussian", 0.25, 255), ("laplace", 0.25, 255), ("exponential", 0.01, 255), ("gaussian", 0.25, 65535)):
        for dtype in ("int16", "int32"):
            for dim in (1, 17, 300, 3072):
                out = np.empty((30_000 // dim + 20) * dim, dtype)
                if _core.grid_law(law, dim)["largest"] <= np.iinfo(dtype).max:
                    _core.grid_fill(law, key, 2**40, dim, out)
                    digests[f"{law[0]} {law[1]} {law[2]} {dtype} {dim}"] = hashlib.sha256(out.tobytes()).hexdigest()
        for dtype in ("float32", "float64", "float16", "uint16"):
            out = np.empty(30_720, dtype)
            _core.grid_sums(law, key, 7, 3072, np.arange(6144, dtype=np.int32), out, copies=5)
            digests[f"{law[0]} {law[1]} {law[2]} sums {dtype}"] = hashlib.sha256(out.tobytes()).hexdigest()
    json.dump({"simd": rsmooth.build_info()["simd"], "digests": digests}, sys.stdout)
"""


def digests(**environment):
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DIGEST)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(ran.stdout)


@pytest.mark.parametrize("simd", rsmooth.build_info()["simd_supported"])
def test_integers_never_change_whatever_the_vector_instructions(simd):
    """The digests are the promise of grid layout version 1: a change of any of them needs a new version."""
    result = digests(RSMOOTH_SIMD=simd)
    assert result["simd"] == simd
    assert result["digests"] == json.loads((DATA / "grid_digests.json").read_text())


@pytest.mark.parametrize(("name", "scale", "grid", "dim"), SETTINGS)
def test_threads_cuts_and_types_do_not_matter(name, scale, grid, dim):
    rows = 300
    whole = draw(name, scale, grid, dim, rows, threads=1)
    assert np.array_equal(whole, draw(name, scale, grid, dim, rows, threads=3))
    assert np.array_equal(whole[7:], draw(name, scale, grid, dim, rows - 7, first=7))
    if _core.grid_law((name, scale, grid), dim)["largest"] < 2**15:
        assert np.array_equal(whole, draw(name, scale, grid, dim, rows, dtype=np.int16))


def pmf(name, scale, grid):
    """Return P(Z = k) for k = 0, 1, ... as floats, and how many."""
    steps = scale * grid
    law = stats.norm(scale=steps) if name == "gaussian" else stats.laplace(scale=steps)
    k = np.arange(int(45 * steps) + 2)
    edges = law.sf(k - 0.5)
    return edges - law.sf(k + 0.5)


def assert_law(counts, probabilities):
    """Pearson's test with cells of at least 50 expected values, for which the chi-square tail is close at LEVEL."""
    n = counts.sum()
    expected = probabilities * n
    far = np.flatnonzero(np.cumsum(expected[::-1])[::-1] >= 50)[-1]
    observed = np.append(counts[:far], counts[far:].sum())
    expected = np.append(expected[:far], n - expected[:far].sum())
    while expected.min() < 50:
        at = expected.argmin()
        beside = at - 1 if at else 1
        expected[beside] += expected[at]
        observed[beside] += observed[at]
        expected, observed = np.delete(expected, at), np.delete(observed, at)
    p = stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)
    assert p > LEVEL, f"n = {n}, {len(expected)} cells, p = {p}"


@pytest.mark.parametrize(
    ("name", "scale", "grid"),
    [("gaussian", 0.25, 255), ("gaussian", 0.6, 1), ("laplace", 0.25, 255), ("laplace", 0.6, 1), ("laplace", 3.0, 255)],
)
@pytest.mark.parametrize("rows", [4_000, pytest.param(330_000, marks=pytest.mark.slow)])
def test_integers_of_independent_laws_have_their_exact_probabilities(name, scale, grid, rows):
    """Every cell of the law by a chi-square test, of both signs: 12 million values, or a billion."""
    probabilities = pmf(name, scale, grid)
    both = np.concatenate([probabilities[:0:-1], probabilities])
    counts = np.zeros(both.size, np.int64)
    largest = (both.size - 1) // 2
    for first in range(0, rows, 2_000):
        values = draw(name, scale, grid, 3072, min(2_000, rows - first), seed=77, first=first)
        counts += np.bincount(values.ravel() + largest, minlength=both.size)[: both.size]
    middle = counts[largest:].copy()
    middle[1:] += counts[:largest][::-1]
    assert_law(middle, np.append(probabilities[0], 2 * probabilities[1:]))
    value = stats.binomtest(int(counts[:largest].sum()), int(counts.sum() - counts[largest])).pvalue
    assert value > LEVEL


@pytest.mark.parametrize(("scale", "grid", "dim"), [(0.2, 1, 1), (1.5, 1, 1), (0.7, 1, 2), (0.8, 1, 3)])
@pytest.mark.parametrize("rows", [200_000, pytest.param(50_000_000, marks=pytest.mark.slow)])
def test_the_exponentials_lattice_points_have_their_exact_probabilities(scale, grid, dim, rows):
    """P(Z) proportional to exp(-|Z|/(sigma g)) in the infinity norm, at every lattice point."""
    steps = scale * grid
    reach = int(8 * steps * dim) + 2
    side = 2 * reach + 1
    axes = np.meshgrid(*[np.arange(-reach, reach + 1)] * dim, indexing="ij")
    weights = np.exp(-np.max(np.abs(axes), axis=0) / steps).ravel()
    # Shells beyond the box: (2R+1)^d - (2R-1)^d points of norm R.
    shells = np.arange(reach + 1, reach + 4000)
    beyond = (((2.0 * shells + 1) ** dim - (2.0 * shells - 1) ** dim) * np.exp(-shells / steps)).sum()
    probabilities = np.append(weights, beyond) / (weights.sum() + beyond)
    counts = np.zeros(side**dim + 1, np.int64)
    for first in range(0, rows, 1_000_000):
        values = draw("exponential", scale, grid, dim, min(1_000_000, rows - first), seed=5, first=first)
        inside = np.abs(values).max(axis=1) <= reach
        at = np.ravel_multi_index(tuple((values[inside] + reach).T), (side,) * dim)
        counts += np.append(np.bincount(at, minlength=side**dim), (~inside).sum())
    order = np.argsort(-probabilities, kind="stable")
    assert_law(counts[order], probabilities[order])


def test_sums_are_the_nearest_floats():
    law, dim, copies = ("gaussian", 0.25, 255), 300, 3
    integers = draw(*law, dim, 6)
    inputs = np.arange(2 * dim, dtype=np.uint8)
    exact = np.repeat(inputs.reshape(2, dim).astype(int), copies, axis=0) + integers
    for given in (inputs, inputs.astype(np.int32)):
        for dtype in (np.float64, np.float32, np.float16):
            out = np.empty(6 * dim, dtype)
            _core.grid_sums(law, key_of(0), 0, dim, given, out, copies=copies)
            for value, n in zip(out[:600], exact.ravel(), strict=False):
                truth = fractions.Fraction(int(n), 255)
                error = abs(fractions.Fraction(float(value)) - truth)
                for other in (np.nextafter(value, dtype(9)), np.nextafter(value, dtype(-9))):
                    assert error <= abs(fractions.Fraction(float(other)) - truth)


def test_total_variation_is_a_bound_that_counts_thresholds():
    info = _core.grid_law(("gaussian", 0.25, 255), 3072)
    assert info["largest"] == len(reference_grid.gaussian_thresholds(0.25, 255))
    assert 3072 * 585 * 2**-64 < info["total_variation"] < 3072 * 585.1 * 2**-64
    info = _core.grid_law(("exponential", 1 / 1200, 130_560), 3072)
    assert 3072 * (2 * info["largest"] + 1) * 2**-66 < info["total_variation"] < 1e-7


def test_total_variation_is_never_below_the_distance_of_the_thresholds_from_the_law():
    """The true distance, by mpmath, of what integer thresholds give."""
    for name, law in (("gaussian", reference_grid.gaussian_thresholds), ("laplace", reference_grid.laplace_thresholds)):
        with mpmath.workprec(200):
            steps = mpmath.mpf("63.75")
            thresholds = [*law(0.25, 255), 0, 0]
            survival = [
                mpmath.erfc((m - 0.5) / steps / mpmath.sqrt(2))
                if name == "gaussian"
                else mpmath.exp(-(m - 0.5) / steps)
                for m in range(1, len(thresholds) + 1)
            ]
            excess = [mpmath.mpf(t) / 2**63 - s for t, s in zip(thresholds, survival, strict=True)]
            distance = (sum(abs(a - b) for a, b in zip([0, *excess], [*excess, 0], strict=True))) / 2
            assert 0 < distance < _core.grid_law((name, 0.25, 255), 1)["total_variation"]


@pytest.mark.parametrize(
    ("law", "dim", "message"),
    [
        (("gaussian", 0.25, 0), 1, "grid must be an integer from 1 to 16777216, got 0"),
        (("gaussian", 0.25, 2**24 + 1), 1, "grid must be an integer from 1 to 16777216, got 16777217"),
        (("gaussian", 1e-5, 255), 1, "sigma must be between"),
        (("laplace", 300.0, 255), 1, "scale must be between"),
        (("exponential", 10.0, 255), 3072, "sigma must be between .* for draws of 3072 coordinates, got 10"),
        (("gaussian", 0.25, 255), 0, "shape must be"),
    ],
)
def test_noise_that_tables_cannot_hold_is_refused(law, dim, message):
    with pytest.raises(ValueError, match=message):
        _core.grid_law(law, dim)


def test_arrays_that_cannot_hold_the_noise_are_refused():
    law = ("gaussian", 0.25, 255)
    with pytest.raises(ValueError, match="dtype must be a type that holds integers up to 37354, got int16"):
        _core.grid_fill(("gaussian", 16.0, 255), key_of(0), 0, 10, np.empty(10, np.int16))
    with pytest.raises(ValueError, match="inputs must be 10 values for each of 3 inputs, got 20 values"):
        _core.grid_sums(law, key_of(0), 0, 10, np.zeros(20, np.uint8), np.empty(90, np.float32), copies=3)
    with pytest.raises(ValueError, match="copies must be at least 1, got 0"):
        _core.grid_sums(law, key_of(0), 0, 10, np.zeros(20, np.uint8), np.empty(90, np.float32), copies=0)
    with pytest.raises(TypeError, match="int16 or int32"):
        _core.grid_fill(law, key_of(0), 0, 10, np.empty(10, np.int64))
    with pytest.raises(TypeError, match="uint8 or int32"):
        _core.grid_sums(law, key_of(0), 0, 10, np.zeros(10), np.empty(10, np.float32))


if __name__ == "__main__":
    # Writes the digests anew: only ever together with a new version of the grid layout.
    (DATA / "grid_digests.json").write_text(json.dumps(digests()["digests"], indent=1) + "\n")
