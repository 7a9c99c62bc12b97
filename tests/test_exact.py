"""Exact noise from end to end: sampling and perturbing on a grid, certificates, runs, and what they pay."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import (
    Certificates,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Profile,
    SmoothedClassifier,
    Uniform,
    certify_counts,
)
from rsmooth._grid import coarsest, steps_of
from rsmooth.results.result import Result
from rsmooth.run.certify import certify
from rsmooth.run.results import read_run
from rsmooth.run.spec import Spec
from rsmooth.run.verify import check_records, recount
from rsmooth.torch.draws import Draws
from rsmooth.torch.voter import Voter
from rsmooth.zoo.data import Data, load_data
from rsmooth.zoo.networks import build_model

MECHANISMS = [Gaussian(0.25), Laplace(0.125), Exponential(0.02), Uniform(0.3)]
FALSE_ALARM = 1e-6


def sums(mechanism, steps, grid, first=0, seed=3):
    z = mechanism.sample(steps.shape, seed=seed, first=first, grid=grid)
    return (steps.astype(np.int64) + z) / grid


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_noisy_copies_are_the_floats_of_sums_of_integers(mechanism, kind):
    steps = np.arange(0, 256, dtype=np.int32).repeat(3).reshape(4, 3, 64)
    expected = sums(mechanism, steps, 255).astype(kind)
    assert np.array_equal(mechanism.perturb((steps / 255).astype(kind), seed=3, grid=255), expected)
    assert np.array_equal(mechanism.perturb(torch.from_numpy((steps / 255).astype(kind)), seed=3, grid=255), expected)
    if kind == "float32":
        assert np.array_equal(mechanism.perturb(steps, seed=3, grid=255), expected)
        assert np.array_equal(mechanism.perturb(steps.astype(np.uint8), seed=3, grid=255), expected)


def test_bytes_count_255ths_on_every_grid_that_has_them():
    x = np.arange(256, dtype=np.uint8).reshape(2, 128)
    assert np.array_equal(steps_of("x", x, 1020), 4 * x.astype(np.int32))
    fine = Gaussian(0.25).perturb(x, seed=1, grid=1020)
    assert np.array_equal(fine, Gaussian(0.25).perturb((x / 255).astype(np.float32), seed=1, grid=1020))


def test_bfloat16_copies_are_the_floats_of_the_same_sums():
    x = torch.arange(256, dtype=torch.uint8).reshape(2, 128)
    noisy = Gaussian(0.25).perturb((x / 255).bfloat16(), seed=3, grid=255)
    assert noisy.dtype == torch.bfloat16
    # In two roundings: of float32 numbers, which are the nearest to the quotients.
    assert torch.equal(noisy, Gaussian(0.25).perturb(x, seed=3, grid=255).bfloat16())


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)
def test_draws_on_a_grid_are_named_as_draws_are(mechanism):
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    whole = mechanism.perturb(x, copies=4, seed=9, grid=255)
    assert whole.shape == (5, 4, 3, 8, 8)
    numbers = [16, 0, 8, 4, 12]
    shuffled = mechanism.perturb(x[[4, 0, 2, 1, 3]], copies=4, seed=9, first=numbers, grid=255)
    assert np.array_equal(shuffled, whole[[4, 0, 2, 1, 3]])
    # Large enough that threads share the copies of an input.
    few = mechanism.perturb(x[:2], copies=3000, seed=9, first=[7, 20_000], grid=255)
    assert np.array_equal(few[1, :5], mechanism.perturb(x[1:2], copies=5, seed=9, first=20_000, grid=255)[0])


def test_layouts_gradients_and_outputs_are_kept_on_a_grid():
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    plain = Gaussian(0.5).perturb(x, seed=1, grid=255)
    last = Gaussian(0.5).perturb((x / 255).contiguous(memory_format=torch.channels_last), seed=1, grid=255)
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    moving = (x / 255).requires_grad_()
    Gaussian(0.5).perturb(moving, copies=3, seed=1, grid=255).sum().backward()
    assert torch.equal(moving.grad, torch.full_like(moving, 3))
    out = torch.empty(2, 3, 8, 8)
    assert Gaussian(0.5).perturb(x, seed=1, grid=255, out=out) is out
    assert torch.equal(out, plain)


def test_integers_are_as_narrow_as_they_may_be():
    assert Gaussian(0.25).sample((1, 3072), grid=255).dtype == np.int16
    assert Exponential(0.25).sample((1, 3072), grid=255).dtype == np.int32
    assert Gaussian(0.25).sample((1, 8), grid=255, dtype="int32").dtype == np.int32
    out = np.empty((2, 8), np.int16)
    assert Gaussian(0.25).sample((2, 8), grid=255, out=out) is out


class Lattice(Mechanism):
    """Noise of a user's own on a grid: −1, 0 or 1 step."""

    name = "lattice"

    def sample(self, shape, *, seed=None, first=0, dtype="float32", out=None, threads=None, grid=None):  # noqa: ARG002
        draws = [np.random.default_rng([first + i]).integers(-1, 2, shape[1:]) for i in range(shape[0])]
        return np.array(draws) if grid else np.array(draws, dtype)

    def profile(self, norm, dim, *, grid=None):  # noqa: ARG002
        return Profile(epsilon=lambda r: r)

    def noise_error(self, dim, grid):  # noqa: ARG002
        return 0.0


def test_a_mechanism_of_ones_own_may_have_a_law_on_a_grid():
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    noisy = Lattice().perturb(x, copies=2, seed=0, grid=10)
    z = Lattice().sample((4, 3), grid=10).reshape(2, 2, 3)
    assert np.array_equal(noisy, ((x[:, None] + z) / 10).astype(np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gaussian(0.25).perturb(np.array([[0.5]]), grid=255), r"x\[0, 0\] must be a multiple of 1/255"),
        (lambda: Gaussian(0.25).perturb(np.array([[np.nan]]), grid=255), r"x\[0, 0\] must be a multiple of 1/255"),
        (lambda: Gaussian(0.25).perturb(np.zeros((1, 2), np.uint8), grid=256), "grid must be a multiple of 255 for x"),
        (lambda: Gaussian(0.25).perturb(np.full((1, 2), 2**31), grid=256), r"x\[0, 0\] must be between"),
        (lambda: Gaussian(0.25).perturb(np.zeros((1, 2)), grid=0), "grid must be between 1 and 16777216, got 0"),
        (lambda: Gaussian(0.25).sample((1, 2), grid=2**25), "grid must be between 1 and 16777216"),
        (lambda: Gaussian(1e-5).sample((1, 2), grid=255), r"sigma must be between .* on a grid of 255"),
        (lambda: Gaussian(300).sample((1, 2), grid=255), r"sigma must be between .* on a grid of 255"),
        (lambda: Exponential(0.25).sample((1, 3072), grid=255, dtype="int16"), "dtype must be a type that holds"),
        (lambda: Gaussian(0.25).sample((1, 2), grid=255, dtype="float32"), "dtype must be one of int16, int32"),
        (lambda: Gaussian(0.25).noise_error(0, 255), "dim must be at least 1"),
        (lambda: SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), 2, grid=0), "grid must be between 1"),
        (lambda: certify_counts([[9, 1]], Gaussian(1), norm=2, dim=1).for_real_inputs(), "certificates must be exact"),
        (lambda: Spec("gaussian", 0.25, norm=2, grid="fine"), "grid must be auto, none or an integer from 1 to"),
        (lambda: coarsest(255, 1e-9), "scale must be at least"),
    ],
)
def test_what_is_off_the_grid_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_mechanism_without_an_exact_law_is_refused():
    class Plain(Lattice):
        def noise_error(self, dim, grid):
            return Mechanism.noise_error(self, dim, grid)

    with pytest.raises(ValueError, match="grid must be None: the lattice mechanism has no exact law"):
        Plain().perturb(np.zeros((1, 2), np.int32), grid=10)


def test_outputs_of_other_types_are_refused():
    with pytest.raises(TypeError, match="out must be of type int16 or int32, got float32"):
        Gaussian(0.25).sample((1, 2), grid=255, out=np.empty((1, 2), np.float32))
    with pytest.raises(TypeError, match="out must be of the type of the noisy copies, float32, got float64"):
        Gaussian(0.25).perturb(np.zeros((1, 2), np.uint8), grid=255, out=np.empty((1, 2)))
    with pytest.raises(TypeError, match="x must be integers or floating-point numbers on the grid"):
        Gaussian(0.25).perturb(np.array([["a"]]), grid=255)


class Above(torch.nn.Module):
    """Class 1 where the sum of two coordinates exceeds a number of steps of 1/16."""

    def forward(self, x):
        margin = (x.flatten(1).double() * 16).sum(dim=1) - 19.5
        return torch.stack([-margin, margin], dim=1)


def probability(mechanism, grid):
    """P(class 1) at x = (½, ½), summed over the lattice of exact probabilities, by SciPy."""
    k = np.arange(-400, 401)
    if isinstance(mechanism, Exponential):
        table = np.exp(-np.maximum(np.abs(k)[:, None], np.abs(k)[None]) / (mechanism.parameter * grid))
        table /= table.sum()
    else:
        scale = mechanism.parameter
        law = {
            "gaussian": stats.norm(scale=scale),
            "laplace": stats.laplace(scale=scale),
            "uniform": stats.uniform(-scale, 2 * scale),
        }[mechanism.name]
        mass = law.cdf((k + 0.5) / grid) - law.cdf((k - 0.5) / grid)
        table = mass[:, None] * mass[None]
    total = k[:, None] + k[None] + grid
    return float(table[total / grid * 16 > 19.5].sum())


@pytest.mark.parametrize("mechanism", [Gaussian(0.25), Laplace(0.2), Exponential(0.25), Uniform(0.6)], ids=repr)
def test_exact_bounds_cover_the_true_lattice_probability(mechanism):
    grid, trials, n, alpha = 16, 2000, 60, 0.05
    smoothed = SmoothedClassifier(Above(), mechanism, 2, grid=grid)
    truth = probability(mechanism, grid)
    found = smoothed.certify(
        np.full((trials, 2), 8, np.int32), n0=1, n=n, alpha=alpha, norm=2, runner_up="complement", seed=11
    )
    # The votes have the lattice's law, and p1 misses it no more often than it may.
    votes = int(found.counts[:, 1].sum())
    assert stats.binomtest(votes, trials * n, truth).pvalue > FALSE_ALARM
    selected = found.selection.argmax(axis=1)
    missed = int((found.p1 > np.where(selected == 1, truth, 1 - truth)).sum())
    assert stats.binom.sf(missed - 1, trials, alpha) > FALSE_ALARM
    assert found.exact
    assert 0 < found.noise_error < 1e-12


def test_what_is_paid_moves_both_probabilities():
    counts = [[900, 80, 20]]
    free, paid = (
        certify_counts(counts, Gaussian(1), norm=2, dim=1, selection=[0], noise_error=error) for error in (0, 0.01)
    )
    assert paid.p1[0] <= free.p1[0] - 0.01
    assert paid.p2[0] >= free.p2[0] + 0.01
    assert paid.radius[0] < free.radius[0]


def test_bytes_imply_their_grid():
    x = np.full((2, 1, 8, 8), 200, np.uint8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    found = SmoothedClassifier(model, Gaussian(0.25), 3).certify(x, n0=10, n=200, norm=2, seed=1)
    asked = SmoothedClassifier(model, Gaussian(0.25), 3, grid=255).certify(x / 255, n0=10, n=200, norm=2, seed=1)
    assert found.grid == asked.grid == 255
    assert np.array_equal(found.counts, asked.counts)
    assert found.noise_error == Gaussian(0.25).noise_error(64, 255)
    assert SmoothedClassifier(model, Gaussian(0.25), 3).predict(x, n=50, seed=1).shape == (2,)


def test_values_outside_the_domain_are_refused_on_a_grid():
    smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.25), 2, grid=255)
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\], got .* at x\[0, 1\]"):
        smoothed.certify(np.array([[0, 300]], np.int32), norm=2)


def test_sums_made_on_the_device_are_those_made_on_the_host():
    voter = Voter(torch.nn.Identity(), Exponential(0.02), 12, grid=255)
    examples = [torch.from_numpy(np.random.default_rng(i).integers(0, 256, 12).astype(np.int32)) for i in range(2)]
    batches = [
        [Draws(x, np.random.SeedSequence(i), 3, 4, str(i), i) for i, x in enumerate(examples)],
        [Draws(examples[1], np.random.SeedSequence(1), 7, 5, "1", 1)],
    ]
    host = [copies.clone() for _, copies in voter._copies(batches, 9)]
    device = [copies.clone() for _, copies in voter._steps(batches, (9, 12))]
    assert all(torch.equal(a, b) for a, b in zip(host, device, strict=True))


def test_radii_for_real_inputs_lose_half_a_step_a_coordinate():
    counts = [[9990, 10], [600, 400]]
    for norm, lost in ((1, 64 / 510), (2, 8 / 510), (math.inf, 1 / 510)):
        found = certify_counts(counts, Gaussian(0.5), norm=norm, dim=64, selection=[0, 0], grid=255)
        rounded = found.for_real_inputs()
        assert rounded.radius[0] == pytest.approx(found.radius[0] - lost, rel=1e-12)
        assert rounded.radius[0] <= found.radius[0] - lost
    tiny = certify_counts([[520, 480]] * 2, Gaussian(0.01), norm=2, dim=64, selection=[0, 0], grid=255, alpha=0.5)
    assert 0 < tiny.radius[0] < 1 / 255
    assert tiny.below_step == 2
    assert tiny.for_real_inputs().prediction.tolist() == [-1, -1]


def test_radii_for_real_inputs_stay_that_under_other_settings_and_in_files(tmp_path):
    exact = certify_counts([[990, 10], [520, 480]], Gaussian(0.5), norm=2, dim=3072, selection=[0, 0], grid=17)
    found = exact.for_real_inputs()
    found.save(tmp_path / "real.npz")
    for real in (found, Certificates.load(tmp_path / "real.npz"), found.for_real_inputs()):
        assert real.radius.tolist() == found.radius.tolist()
        for changes in ({}, {"bound": "renyi"}, {"alpha": 0.01}, {"norm": math.inf}):
            expected = exact.under(**changes).for_real_inputs()
            again = real.under(**changes)
            assert again.radius.tolist() == expected.radius.tolist()
            assert again.prediction.tolist() == expected.prediction.tolist()
            result = Result.of("real", real, [0, 0]).under(**changes)
            assert result.radius.tolist() == expected.radius.tolist()
    assert found.basis.startswith("exact, of inputs rounded to the grid of 1/17: ")


def test_the_tight_radius_of_the_exponential_pays_for_the_grid():
    real, exact = (Exponential(0.02).radius(0.9, 0.01, norm=math.inf, dim=12, grid=grid) for grid in (None, 255))
    assert real - exact == pytest.approx(0.04 * math.log(math.cosh(1 / (2 * 0.02 * 255))), rel=1e-9)
    assert Gaussian(0.25).radius(0.9, 0.01, norm=2, dim=12, grid=255) == Gaussian(0.25).radius(
        0.9, 0.01, norm=2, dim=12
    )


@pytest.mark.parametrize(
    ("spec", "grid"),
    [
        (Spec("gaussian", 0.25, norm=2, n0=20, n=100, max=4), "16"),
        (Spec("exponential", 1 / 64, norm=math.inf, n0=20, n=100, max=4), "256"),
        (Spec("gaussian", 0.25, norm=2, n0=20, n=100, max=4, grid="none"), "none"),
        (Spec("gaussian", 0.25, norm=2, n0=20, n=100, max=4, grid="64"), "64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_runs_choose_their_grid_and_say_what_was_paid(tmp_path, spec, grid):
    model, data = build_model("digits_cnn", 10, seed=1), load_data("digits")
    certify(tmp_path, model, data, spec, seed=2)
    run = read_run(tmp_path)
    found = run.certificates()
    assert run.settings["grid"] == grid
    assert found.exact == (grid != "none")
    assert (found.noise_error > 0) == found.exact
    assert check_records(run) == []
    assert recount(run, model, data, sample=4, seed=0, tolerance=0).problems == []
    # The same as the classifier's own.
    images = torch.stack([data[i][0] for i in range(4)])
    smoothed = SmoothedClassifier(model.module, found.mechanism, 10, grid=found.grid)
    alone = smoothed.certify(images, n0=20, n=100, norm=spec.norm, seed=2)
    assert np.array_equal(alone.counts, found.counts)
    assert np.array_equal(alone.radius, found.radius)


def test_a_tampered_noise_error_is_found(tmp_path):
    model, data = build_model("digits_cnn", 10, seed=1), load_data("digits")
    certify(tmp_path, model, data, Spec("gaussian", 0.25, norm=2, n0=20, n=100, max=1), seed=2)
    run = read_run(tmp_path)
    object.__setattr__(run.head.subject, "noise_error", 1e-30)
    assert "noise_error is 1e-30" in str(check_records(run)[0])


def test_data_that_is_on_no_grid_has_floating_point_noise(tmp_path):
    pairs = [(np.full((1, 8, 8), 0.1, np.float32), 0), (np.full((1, 8, 8), 0.123456, np.float32), 1)]
    model = build_model("digits_cnn", 10, seed=1)
    certify(tmp_path / "auto", model, Data("own", pairs), Spec("gaussian", 0.25, norm=2, n0=20, n=100), seed=2)
    assert read_run(tmp_path / "auto").settings["grid"] == "none"
    with pytest.raises(ValueError, match=r"item 0 of own\[0, 0, 0\] must be a multiple of 1/255"):
        certify(tmp_path / "on", model, Data("own", pairs), Spec("gaussian", 0.25, norm=2, grid="255"), seed=2)
