"""The mechanisms' guarantees and magnitudes."""

import math
import threading
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import stats

import rsmooth
from rsmooth import Exponential, Gaussian, Laplace, Mechanism, Profile, _core, certify_counts
from rsmooth.mechanisms import MECHANISMS, mechanism_named
from rsmooth.rule import BOUNDS

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("dim", [1, 2, 3, 10, 255, 256, 257, 3072, 150_528, 10**7])
def test_expected_linf_agrees_with_mpmath(dim):
    with mpmath.workdps(30):
        # 1 - (2Φ(t) - 1)^d through erfc, which keeps its digits in the tail.
        integrand = lambda t: (
            -mpmath.expm1(dim * mpmath.log1p(-mpmath.erfc(t / mpmath.sqrt(2)))) if t else mpmath.mpf(1)
        )
        middle = math.sqrt(2 * math.log(dim + 1))
        exact = mpmath.quad(integrand, [0, middle / 2, middle, middle + 1, middle + 3, middle + 8, mpmath.inf])
        assert Gaussian(0.5).expected_linf(dim) == pytest.approx(float(exact / 2), rel=1e-12)
        assert Laplace(0.5).expected_linf(dim) == pytest.approx(float(mpmath.harmonic(dim) / 2), rel=1e-12)
    assert Exponential(0.5).expected_linf(dim) == dim / 2


@pytest.mark.parametrize("mechanism", [Gaussian(0.5), Exponential(0.5), Laplace(0.5)])
def test_expected_linf_is_what_samples_show(mechanism):
    norms = abs(mechanism.sample((20_000, 50), seed=1, dtype="float64")).max(axis=1)
    z = (norms.mean() - mechanism.expected_linf(50)) / (norms.std() / math.sqrt(norms.size))
    assert 2 * stats.norm.sf(abs(z)) > 1e-9


def test_mr_divergence_is_that_of_the_theorems():
    r = np.array([0.0, 0.1, 0.5, 3.0])
    s, d = 0.5, 100
    np.testing.assert_allclose(Gaussian(s).mr_divergence(r, norm=2, dim=d), r**2 / (2 * s**2))  # Theorem 4.1
    np.testing.assert_allclose(Gaussian(s).mr_divergence(r, norm=math.inf, dim=d), d * r**2 / (2 * s**2))  # Theorem 5.3
    pure = np.minimum(r / s, r**2 / (2 * s**2))
    np.testing.assert_allclose(Exponential(s).mr_divergence(r, norm=math.inf, dim=d), pure)  # Theorem 5.1
    np.testing.assert_allclose(Laplace(s).mr_divergence(r, norm=1, dim=d), pure)


@pytest.mark.parametrize("kind", [Gaussian, Exponential, Laplace])
@pytest.mark.parametrize("norm", [1, 2, math.inf])
@pytest.mark.parametrize("epsilon", [0.1, 1.9, 2.1, 30.0])
def test_scale_for_is_the_scale_at_which_the_divergence_is_epsilon(kind, norm, epsilon):
    mechanism = kind.scale_for(0.3, epsilon, norm=norm, dim=64)
    assert type(mechanism) is kind
    assert float(mechanism.mr_divergence(0.3, norm=norm, dim=64)) == pytest.approx(epsilon, rel=1e-12)


@pytest.mark.parametrize("mechanism", [Gaussian(0.3), Exponential(0.3), Laplace(0.3)])
@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_the_renyi_radius_is_where_the_divergence_reaches_the_sup(mechanism, norm):
    from rsmooth import renyi_sup

    p1 = np.array([0.55, 0.9, 0.999, 0.999999])
    radius = mechanism.radius(p1, 1 - p1, norm=norm, dim=64, bound="renyi")
    np.testing.assert_allclose(mechanism.mr_divergence(radius, norm=norm, dim=64), renyi_sup(p1, 1 - p1), rtol=1e-11)


def laplace_divergence(order, shift):
    """D_α of a one-dimensional Laplace law of scale 1 and its shift, in closed form."""
    a = order
    first = np.log(a / (2 * a - 1)) + (a - 1) * shift
    second = np.log((a - 1) / (2 * a - 1)) - a * shift
    return np.logaddexp(first, second) / (a - 1)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_laplace_mr_divergence_is_never_below_that_of_any_shift(norm):
    """Independent coordinates: divergences add. Shifts of one norm, spread over few or many of 64 coordinates."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        used = rng.integers(1, 65)
        shift = np.zeros(64)
        shift[:used] = rng.random(used) ** rng.choice([0, 1, 5])
        size = 10 ** rng.uniform(-1, 2)
        shift *= size / np.linalg.norm(shift, norm)
        orders = 1 + 10.0 ** np.linspace(-2, 3, 60)
        relative = max(laplace_divergence(order, shift).sum() / order for order in orders)
        assert relative <= Laplace(1.0).mr_divergence(size, norm=norm, dim=64) * (1 + 1e-9)


def test_scale_for_keeps_the_divergence_at_or_below_epsilon_and_is_the_least_that_does():
    rng = np.random.default_rng(5)
    for kind in (Gaussian, Exponential, Laplace):
        for norm in (1, 2, math.inf):
            for _ in range(150):
                r, epsilon = 10.0 ** rng.uniform(-6, 3, 2)
                mechanism = kind.scale_for(r, epsilon, norm=norm, dim=3072)
                assert mechanism.mr_divergence(r, norm=norm, dim=3072) <= epsilon
                less = kind(math.nextafter(mechanism.parameter, 0))
                assert less.mr_divergence(r, norm=norm, dim=3072) > epsilon


# The registry


def test_every_mechanism_of_the_registry_has_a_class():
    listed = {row["name"]: row["parameter"] for row in _core.registry()["mechanisms"]}
    assert listed == {name: kind.parameter_name for name, kind in MECHANISMS.items()}
    for name in listed:
        assert mechanism_named(name, 0.5) == MECHANISMS[name](0.5)
        assert mechanism_named(name, 0.5).name == name


def test_the_documented_table_is_that_of_the_registry():
    """docs/radii.md: which bound holds for which mechanism, and the columns of the table of norms."""
    lines = (DOCS / "radii.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    table = {}
    bound = None
    for row in rows:
        if row[0].strip("`") in BOUNDS or (row[0] == "" and bound):
            bound = row[0].strip("`") or bound
            table.setdefault(bound, set()).update(name for name in MECHANISMS if name.capitalize() in row[1])
    for row in _core.registry()["bounds"]:
        holding = {name for name in MECHANISMS if row["name"] in mechanism_named(name, 1.0).holding(2)}
        assert table[row["name"]] == holding
    dependence = {row[0].lower(): row[1:] for row in rows if row[0].lower() in MECHANISMS and len(row) == 4}
    for name, cells in dependence.items():
        for norm, cell in zip((1, 2, math.inf), cells, strict=True):
            assert mechanism_named(name, 1.0).depends_on_dim(norm) == ("d" in cell)
    assert len(dependence) == len(MECHANISMS)


def test_help_of_the_api_names_every_bound():
    for function in (certify_counts, Mechanism.radius):
        for name in BOUNDS:
            assert f'"{name}"' in function.__doc__


def test_mechanisms_of_names():
    with pytest.raises(ValueError, match="sigma must be given for the gaussian mechanism"):
        mechanism_named("gaussian")
    with pytest.raises(ValueError, match='must be one of gaussian, exponential, laplace, uniform or "package'):
        mechanism_named("cauchy", 1)
    with pytest.raises(ValueError, match="which runs code, and that is not allowed here"):
        mechanism_named("rsmooth.mechanisms:Gaussian", 0.5)
    assert mechanism_named("rsmooth.mechanisms:Gaussian", 0.5, allow_code=True) == Gaussian(0.5)
    with pytest.raises(ValueError, match="cannot be imported"):
        mechanism_named("rsmooth.mechanisms:Cauchy", allow_code=True)
    with pytest.raises(TypeError, match="must be or make a Mechanism, got SeedSequence"):
        mechanism_named("numpy.random:SeedSequence", 5, allow_code=True)


# Mechanisms of one's own


class Own(Mechanism):
    """A mechanism of the profile that it is given."""

    name = "own"

    def __init__(self, **parts):
        self.parts = parts

    def sample(self, shape, *, seed=None, first=0, dtype="float32", out=None, threads=None):
        raise NotImplementedError

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile(**self.parts)


class Logistic(Own):
    """Logistic coordinates of scale s: ε(δ) = |δ|/s a coordinate, ln of the density being 1/s-Lipschitz."""

    def __init__(self, scale):
        self.scale = scale

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        lipschitz = {1: 1, 2: math.sqrt(dim), math.inf: dim}[norm] / self.scale
        # D_MR <= min(ε, ε²/2) (Bun & Steinke 2016, Proposition 3.3).
        return Profile(
            mr=lambda r: np.minimum(lipschitz * r, (lipschitz * r) ** 2 / 2), epsilon=lambda r: lipschitz * r
        )


P1 = np.array([0.51, 0.6, 0.9, 0.999, 1 - 1e-9])
P2 = np.array([0.49, 0.1, 0.1, 1e-4, 1e-10])


def test_a_mechanism_of_ones_own_is_certified_as_its_parts_say():
    own, laplace = Logistic(0.5), Laplace(0.5)
    assert own.holding(1, 4) == ("renyi", "pure-dp", "pixeldp")
    for norm in (1, 2, math.inf):
        for bound in ("pure-dp", "pixeldp"):
            settings = {"norm": norm, "dim": 4, "bound": bound}
            found, closed = own.radius(P1, P2, **settings), laplace.radius(P1, P2, **settings)
            assert (found <= closed * (1 + 1e-15)).all()
            assert found == pytest.approx(closed, rel=1e-9)
    assert own.radius(P1, P2, norm=1, dim=4, bound="renyi") == pytest.approx(
        laplace.radius(P1, P2, norm=1, dim=4, bound="renyi"), rel=1e-9
    )
    settings = {"norm": 1, "dim": 4}
    tightest = own.radius(P1, P2, **settings)
    assert (tightest == np.max([own.radius(P1, P2, **settings, bound=b) for b in own.holding(1)], axis=0)).all()
    assert own.mr_divergence([[0.25, 2.0]], norm=1, dim=4).tolist() == [[0.125, 4.0]]
    assert own.depends_on_dim(1)
    counts = np.random.default_rng(0).multinomial(1000, [0.9, 0.06, 0.04], size=1000)
    found = certify_counts(counts, own, norm=1, dim=4, bound="pure-dp")
    expected = certify_counts(counts, laplace, norm=1, dim=4, bound="pure-dp")
    assert found.radius == pytest.approx(expected.radius, rel=1e-9)
    assert (found.prediction == expected.prediction).all()


def gaussian_power(r, alpha):
    return stats.norm.cdf(stats.norm.ppf(alpha) + r / 0.5)


@pytest.mark.parametrize("bound", ["renyi", "neyman-pearson", "pixeldp"])
def test_the_gaussians_own_curves_give_its_radii_from_below(bound):
    def lemma_1(r, epsilon):
        with np.errstate(over="ignore"):
            return np.where(epsilon <= 1, 1.25 * np.exp(-0.5 * (0.5 * epsilon / r) ** 2), 1.0)

    own = Own(mr=lambda r: 2 * r**2, tradeoff=gaussian_power, delta=lemma_1)
    settings = {"norm": 2, "dim": 9, "bound": bound}
    found, closed = own.radius(P1, P2, **settings), Gaussian(0.5).radius(P1, P2, **settings)
    # SciPy's curves have errors of their own.
    assert (found <= closed * (1 + 1e-11)).all()
    assert found == pytest.approx(closed, rel=1e-5 if bound == "pixeldp" else 1e-9)


@pytest.mark.parametrize("mechanism", [Gaussian(0.5), Exponential(0.1), Laplace(0.5)])
@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_built_in_profiles_invert_to_the_radii(mechanism, norm):
    profile = mechanism.profile(norm, 9)
    own = Own(**{part: getattr(profile, part) for part in ("mr", "epsilon", "tradeoff")})
    for bound in set(mechanism.holding(norm, 9)) - {"pixeldp"}:
        settings = {"norm": norm, "dim": 9, "bound": bound}
        assert own.radius(P1, P2, **settings) == pytest.approx(mechanism.radius(P1, P2, **settings), rel=1e-6)


def test_radii_of_callables_are_within_their_budgets_as_they_evaluate():
    rng = np.random.default_rng(2)
    p1 = 1 - 10.0 ** -rng.uniform(0.31, 12, 500)
    p2 = (1 - p1) * rng.random(500)
    part = lambda r: np.expm1(r**1.7)
    own = Own(epsilon=part, mr=part, tradeoff=gaussian_power)
    settings = {"norm": 2, "dim": 9}
    assert (part(own.radius(p1, p2, **settings, bound="renyi")) <= rsmooth.renyi_sup(p1, p2)).all()
    assert (part(own.radius(p1, p2, **settings, bound="pixeldp")) <= 0.5 * np.log(p1 / p2)).all()
    r = own.radius(p1, p2, **settings, bound="neyman-pearson")
    assert (gaussian_power(r, 1 - p1) + gaussian_power(r, p2) < 1).all()
    assert (own.radius([0.4, 0.5], [0.4, 0.5], **settings) == 0).all()


def raising(_):
    raise KeyError("lost")


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_callable_raises_surfaces_unchanged(threads):
    counts = np.random.default_rng(0).multinomial(1000, [0.9, 0.1], size=3000)
    with pytest.raises(KeyError, match="lost") as caught:
        certify_counts(counts, Own(epsilon=raising), norm=2, dim=3, threads=threads)
    assert type(caught.value) is KeyError
    assert any(entry.name == "raising" for entry in caught.traceback)


BAD = [
    (
        lambda r: np.full_like(r, math.nan),
        ValueError,
        "profile.epsilon must be a number of at least 0, got NaN at r = 1",
    ),
    (lambda r: -r, ValueError, "profile.epsilon must be a number of at least 0, got -1 at r = 1"),
    (lambda r: 1 / r, ValueError, "profile.epsilon must be nondecreasing in r, got "),
    (lambda r: np.where(r < 0.3, 5.0, r), ValueError, "profile.epsilon must be nondecreasing in r, got "),
    (lambda r: r[:0], ValueError, "profile.epsilon must return as many values as it is given, 1, got 0"),
    (lambda _: "many", ValueError, "could not convert string to float"),
    (lambda _: None, TypeError, ""),
]


@pytest.mark.parametrize(("part", "error", "message"), BAD)
def test_profiles_that_cannot_be_are_refused(part, error, message):
    with pytest.raises(error) as caught:
        Own(epsilon=part).radius(0.9, 0.1, norm=2, dim=3)
    assert message in str(caught.value)


def test_mechanisms_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="profile must be of at least one part"):
        Own().radius(0.9, 0.1, norm=2, dim=3)
    with pytest.raises(
        ValueError, match='bound must be "tightest", "pure-dp" or "pixeldp" for this mechanism, got "ren'
    ):
        Own(epsilon=lambda r: r).radius(0.9, 0.1, norm=2, dim=3, bound="renyi")
    with pytest.raises(ValueError, match="the divergence D_MR of the own mechanism is not known for norm 2"):
        Own(epsilon=lambda r: r).mr_divergence(1, norm=2, dim=3)
    with pytest.raises(TypeError, match="mr must be callable or None, got int"):
        Own(mr=3).radius(0.9, 0.1, norm=2, dim=3)
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (Mechanism,), {"name": "half"})()
    own = Own()
    own.profile = lambda norm, dim, *, grid=None: {}  # noqa: ARG005
    with pytest.raises(TypeError, match="profile of Own must return a Profile, got dict"):
        own.radius(0.9, 0.1, norm=2, dim=3)


def test_callables_may_be_called_while_other_threads_run_python():
    counts = np.random.default_rng(0).multinomial(1000, [0.9, 0.1], size=2000)
    found = []
    own = Own(epsilon=lambda r: 2 * r)
    run = lambda: found.append(certify_counts(counts, own, norm=1, dim=3, bound="pure-dp", threads=2).radius)
    workers = [threading.Thread(target=run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(found) == 3
    assert all((radii == found[0]).all() for radii in found)
