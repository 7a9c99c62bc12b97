"""Assessment: Definition 4, Theorems 4.1 to 5.3 as the criteria and growth see them, Corollary 2's magnitude.

Statistical tests compare p-values with LEVEL; critical values are exact (scipy.stats.kstwo). Some 30 comparisons are
made with fixed seeds.
"""

import json
import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile, _core
from rsmooth.cli.assess import parse_dims
from rsmooth.theory.assess import MARKS, assess, assess_builtin, needed_scale
from rsmooth.theory.criteria import criterion, lower_bound
from rsmooth.theory.growth import fit_growth
from rsmooth.theory.magnitude import WORK, measure_linf

LEVEL = 1e-9
DECADES = [10**power for power in range(1, 8)]
SETTING = {"radius": 0.01, "epsilon": 0.5}


class Logistic(Mechanism):
    """A user's mechanism: independent logistic coordinates, whose likelihood ratio is at most exp(|shift|)."""

    name = "logistic"

    def sample(self, shape, *, seed=None, **_):
        return np.random.default_rng(seed).logistic(size=shape)

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        factor = {2: math.sqrt(dim), math.inf: dim}[norm]
        return Profile(mr=lambda r: factor * np.minimum(r, r * r / 2))


def gaps(mechanism, norm, dims):
    """Gaps by formula, without sampling."""
    return [
        needed_scale(mechanism, norm=norm, dim=dim, **SETTING)
        * mechanism.expected_linf(dim)
        / criterion(norm=norm, dim=dim, **SETTING)
        for dim in dims
    ]


def test_definition_4_is_magnitude_against_criterion():
    found = assess(Exponential(1), norm=math.inf, dims=[10, 3072], seed=1, **SETTING)
    for row in found.rows:
        # σ = r / max(ε, √(2ε)), E‖z‖∞ = dσ, and the criterion r√d/√ε.
        assert row.scale == pytest.approx(0.01, rel=1e-12)
        assert row.magnitude == pytest.approx(0.01 * row.dim, rel=1e-12)
        assert row.criterion == pytest.approx(0.01 * math.sqrt(row.dim / 0.5), rel=1e-12)
        assert row.gap == pytest.approx(row.magnitude / row.criterion, rel=1e-15)
    assert found.growth is None
    assert found.verdict == "takes three dimensions or more"


def test_definition_4_does_not_depend_on_the_scale_the_mechanism_comes_with():
    for kind in (Gaussian, Exponential, Laplace):
        one, other = (assess(kind(scale), norm=2, dims=[50], seed=1, **SETTING).rows[0] for scale in (1, 37))
        assert one.magnitude == pytest.approx(other.magnitude, rel=1e-12)
        assert one.scale == pytest.approx(other.scale * 37, rel=1e-12)


@pytest.mark.parametrize("kind", [Gaussian, Exponential, Laplace])
@pytest.mark.parametrize("norm", [2, math.inf])
@pytest.mark.parametrize("epsilon", [1e-6, 0.5, 1.9, 2.1, 50.0])
def test_needed_scale_is_the_mechanisms_own_and_errs_upward(kind, norm, epsilon):
    scale = needed_scale(kind(1), norm=norm, radius=0.3, epsilon=epsilon, dim=64)
    own = kind.scale_for(0.3, epsilon, norm=norm, dim=64).parameter
    assert scale == pytest.approx(own, rel=1e-12)
    assert float(kind(1).mr_divergence(0.3 / scale, norm=norm, dim=64)) <= epsilon


@pytest.mark.parametrize(("kind", "norm"), [(Gaussian, 2), (Exponential, math.inf)])
def test_the_needed_scale_is_never_too_small_by_rounding(kind, norm):
    for radius, epsilon in np.exp(np.random.default_rng(0).uniform(-3, 3, (200, 2))):
        scale = needed_scale(kind(1), norm=norm, radius=radius, epsilon=epsilon, dim=64)
        assert float(kind(1).mr_divergence(radius / scale, norm=norm, dim=64)) <= epsilon


def test_theorem_4_2_and_5_2_criteria():
    assert criterion(norm=2, radius=0.5, epsilon=0.25, dim=99) == 1.0
    assert criterion(norm=math.inf, radius=0.5, epsilon=0.25, dim=100) == 10.0


@pytest.mark.parametrize("norm", [2, math.inf])
@pytest.mark.parametrize("epsilon", [1e-4, 0.01, 0.5, 10.0])
def test_theorems_4_2_and_5_2_no_mechanism_is_below_the_proven_bound(norm, epsilon):
    for dim in (1, 2, 10, 3072, 10**6):
        least = lower_bound(norm=norm, radius=0.1, epsilon=epsilon, dim=dim)
        for mechanism in (Gaussian(1), Exponential(1), Laplace(1)):
            scale = needed_scale(mechanism, norm=norm, radius=0.1, epsilon=epsilon, dim=dim)
            assert scale * mechanism.expected_linf(dim) > least


def test_theorems_4_2_and_5_2_the_proven_bound_is_a_share_of_the_criterion():
    """At least 1/33 of it for ε ≤ 1/8 and every d: that is the Ω of the theorems."""
    for epsilon in (1e-6, 1e-3, 1 / 8):
        for norm in (2, math.inf):
            for dim in (1, 2, 3, 100, 10**6):
                setting = {"norm": norm, "radius": 0.1, "epsilon": epsilon, "dim": dim}
                assert lower_bound(**setting) >= criterion(**setting) / 33


@pytest.mark.parametrize("norm", [2, math.inf])
def test_theorems_4_1_and_5_3_the_gaussian_gap_grows_as_root_log_d(norm):
    growth = fit_growth(DECADES, gaps(Gaussian(1), norm, DECADES))
    assert growth.law == "log d"
    # E max = √(2 ln d) (1 - O(ln ln d / ln d)): the exponent comes down to 1/2 slowly.
    assert 0.5 < growth.exponent < 0.56
    # The two norms have one gap, E max |N(0, 1)| / √2.
    expected = [Gaussian(1).expected_linf(dim) / math.sqrt(2) for dim in DECADES]
    np.testing.assert_allclose(gaps(Gaussian(1), norm, DECADES), expected, rtol=1e-12)


def test_theorems_4_1_and_5_3_the_exponent_is_one_half_in_the_limit():
    near, far = 10**1000, 10**3000
    slope = mpmath.log(_expected_max(far) / _expected_max(near)) / math.log(3)
    assert float(slope) == pytest.approx(0.5, abs=2e-3)


def _expected_max(dim):
    with mpmath.workdps(30):
        inside = lambda t: -mpmath.expm1(-dim * mpmath.erfc(t / mpmath.sqrt(2)))
        middle = mpmath.sqrt(2 * mpmath.log(dim))
        return mpmath.quad(inside, [0, middle * 0.9, middle - 0.5, middle, middle + 0.5, middle + 3])


def test_theorem_5_1_the_exponential_gap_grows_as_root_d():
    growth = fit_growth(DECADES, gaps(Exponential(1), math.inf, DECADES))
    assert growth.law == "d"
    assert growth.exponent == pytest.approx(0.5, abs=1e-9)
    assert growth.verdict == "not appropriate: gap grows as d^0.50"


def test_verdicts_of_the_paper():
    for norm in (2, math.inf):
        assert assess(Gaussian(1), norm=norm, dims=[10, 100, 1000], seed=1, **SETTING).verdict.startswith("appropriate")
    found = assess(Exponential(1), norm=math.inf, dims=[10, 100, 1000], seed=1, **SETTING)
    assert found.verdict.startswith("not appropriate")


@pytest.mark.parametrize("dim", [1, 10, 3072])
def test_corollary_2_the_magnitude_of_the_exponential_is_gamma_and_all_magnitudes_follow_their_laws(dim):
    laws = {
        Exponential(1): stats.gamma(dim).cdf,
        Gaussian(1): lambda x: (2 * stats.norm.cdf(x) - 1) ** dim,
        Laplace(1): lambda x: (-np.expm1(-x)) ** dim,
    }
    for mechanism, law in laws.items():
        norms = abs(mechanism.sample((4000, dim), seed=dim, dtype="float64")).max(axis=1)
        assert stats.kstest(norms, law, method="exact").pvalue > LEVEL


@pytest.mark.parametrize("kind", [Gaussian, Exponential, Laplace])
@pytest.mark.parametrize("dim", [*MARKS.values(), 10])
def test_measured_magnitudes_agree_with_the_formulas(kind, dim):
    found = measure_linf(kind(1), dim, alpha=LEVEL, seed=2)
    assert found.lower < kind(1).expected_linf(dim) < found.upper
    assert found.upper - found.lower < 0.3 * found.mean


@pytest.mark.parametrize("draws", [21, 10_001])
def test_measured_intervals_use_students_quantile(draws, monkeypatch):
    monkeypatch.setattr("rsmooth.theory.magnitude.WORK", draws * 100)
    found = measure_linf(Gaussian(1), 100, alpha=0.01, seed=3)
    norms = abs(np.concatenate([np.atleast_2d(z) for z in _pieces(Gaussian(1), found.draws, 100, 3)])).max(axis=1)
    assert found.draws == draws
    low, high = stats.t.interval(0.99, draws - 1, norms.mean(), stats.sem(norms))
    assert (found.lower, found.upper) == pytest.approx((low, high), rel=1e-6)


def _pieces(mechanism, draws, dim, seed):
    rows = 4_000_000 // dim
    for start in range(0, draws, rows):
        child = np.random.SeedSequence(seed, spawn_key=(start,))
        yield mechanism.sample((min(rows, draws - start), dim), seed=child)


def test_measuring_is_bounded_and_repeatable(monkeypatch):
    assert measure_linf(Gaussian(1), WORK // 21 + 1, seed=0) is None
    assert measure_linf(Gaussian(1), 100, seed=4) == measure_linf(Gaussian(1), 100, seed=4)
    sizes = []

    class Watched(Logistic):
        def sample(self, shape, *, seed):
            sizes.append(shape)
            return super().sample(shape, seed=seed)

    monkeypatch.setattr("rsmooth.theory.magnitude.HELD", 1000)
    measure_linf(Watched(), 300, seed=1)
    assert max(rows * dim for rows, dim in sizes) <= 1000
    assert sum(rows for rows, _ in sizes) == 10_001


def test_a_users_mechanism_is_assessed():
    found = assess(Logistic(), norm=math.inf, dims=[10, 30, 100, 1000], seed=5, **SETTING)
    assert all(row.magnitude is None and row.measured is not None for row in found.rows)
    row = found.rows[2]
    assert row.gap == row.measured.mean / row.criterion
    # min(r, r²/2) d = ε at r = √(2ε/d), so c = 0.01 √d; E max of |logistic| is between ln d and ln d + 2.
    assert row.scale == pytest.approx(0.1, rel=1e-9)
    assert math.log(100) < row.measured.mean / row.scale < math.log(100) + 2
    assert found.verdict.startswith("appropriate")


def test_epsilon_beyond_the_theorems_is_said():
    caveats = [
        assess(Gaussian(1), norm=2, radius=0.1, epsilon=epsilon, dims=[10], seed=0).caveat for epsilon in (0.5, 3.0)
    ]
    assert caveats[0] == "The criterion is Theorem 4.2's lower bound up to a constant factor, for ε ≤ O(1)."
    assert caveats[1].startswith("epsilon = 3 is beyond the range of Theorem 4.2")


def test_the_assessment_as_json_says_all():
    found = assess(Gaussian(1), norm=math.inf, dims=[10, 100, 1000], seed=0, **SETTING)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["norm"] == "inf"
    assert [row["dim"] for row in back["rows"]] == [10, 100, 1000]
    assert back["rows"][0]["measured"]["draws"] == 10_001
    assert back["growth"]["law"] == "log d"
    assert back["verdict"] == found.verdict


def test_parse_dims():
    assert parse_dims("10:1e7") == [10, 100, 1000, 3072, 10**4, 10**5, 150_528, 10**6, 10**7]
    assert parse_dims("3072,10,3072") == [10, 3072]
    assert parse_dims("20:500") == [20, 200, 500]
    assert parse_dims("64") == [64]


def test_all_mechanisms_of_a_finite_divergence_are_assessed():
    found = assess_builtin(norm=2, dims=[10], seed=0, **SETTING)
    names = [each["name"] for each in _core.registry()["mechanisms"]]
    # Of uniform noise no divergence is finite.
    assert [each.mechanism for each in found] == [name for name in names if name != "uniform"]


def test_a_mechanism_without_a_divergence_cannot_be_assessed():
    class Silent(Logistic):
        def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
            return Profile()

    with pytest.raises(ValueError, match="D_MR of the logistic mechanism is not known for norm 2"):
        assess(Silent(), norm=2, dims=[10], seed=0, **SETTING)


def test_the_command_prints_saves_and_plots(tmp_path):
    from typer.testing import CliRunner

    from rsmooth import cli

    figure, numbers = tmp_path / "gap.png", tmp_path / "out.json"
    arguments = ["--dims", "10:4000", "--epsilon", "2", "--plot", str(figure), "--json", str(numbers)]
    result = CliRunner().invoke(cli.app, ["assess", *arguments], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    for text in (
        "gaussian: appropriate",
        "exponential: not appropriate",
        "CIFAR-10 3,072",
        "beyond the range of Theorem",
    ):
        assert text in result.output
    assert [each["mechanism"] for each in json.loads(numbers.read_text())] == ["gaussian", "exponential", "laplace"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_command_explains_itself_and_refuses():
    from typer.testing import CliRunner

    from rsmooth import cli

    shown = CliRunner().invoke(cli.app, ["assess", "--help"])
    assert "Example: rsmooth assess" in shown.output
    refused = CliRunner().invoke(cli.app, ["assess", "--norm", "1"])
    assert str(refused.exception) == "norm must be 2 or math.inf, for which there are criteria, got 1.0"


def test_the_figure_shows_each_gap_its_growth_and_the_marks():
    from rsmooth.plots import gap_figure

    found = [
        assess(each, norm=math.inf, dims=[10, 3072, 10**5], seed=0, **SETTING) for each in (Gaussian(1), Exponential(1))
    ]
    axes = gap_figure(found).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["gaussian", "∝ √log d", "exponential", "∝ √d"]
    assert [text.get_text() for text in axes.texts] == ["CIFAR-10"]
    # To be told apart in grey: by the shapes of marks, and by dashes.
    lines = axes.get_legend().get_lines()
    assert [line.get_marker() for line in lines] == ["o", "None", "s", "None"]
    assert lines[1].get_linestyle() != lines[3].get_linestyle()
