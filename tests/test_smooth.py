"""SmoothedClassifier against closed forms, against [C19]'s algorithms written plainly, and against itself."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Exponential, Gaussian, SmoothedClassifier
from rsmooth.confidence import clopper_pearson

# The suite's fixed seeds either pass or fail for ever; this is the chance that they fail without an error.
FALSE_ALARM = 1e-6


class HalfSpace(torch.nn.Module):
    """Class 1 where w·x + b > 0, else class 0; class 2 never."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        self.bias = bias

    def forward(self, x):
        margin = x.flatten(1) @ self.weight + self.bias
        return torch.stack([-margin, margin, torch.full_like(margin, -1e9)], dim=1)


class Threshold(torch.nn.Module):
    """Class 1 where the first coordinate exceeds 1/2: no arithmetic that could depend on the batch."""

    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.5
        return torch.stack([-margin, margin], dim=1)


def half_space(examples, seed):
    """A half-space in 12 dimensions, points in [0, 1]^12 on both sides of it, and their distances from its boundary."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=12)
    x = rng.uniform(0.2, 0.8, size=(examples, 3, 2, 2)).astype(np.float32)
    bias = -float(weight.sum() / 2)
    model = HalfSpace(weight, bias)
    kept = model.weight.detach().numpy().astype(np.float64)
    return model, x, (x.reshape(examples, 12).astype(np.float64) @ kept + bias) / np.linalg.norm(kept)


def cohen_certify(model, x, *, sigma, n0, n, alpha, rng):
    """[C19]'s CERTIFY, as the paper prints it, with NumPy's noise: class or -1, radius, votes for the class."""

    def sample(draws):
        noisy = x + sigma * rng.normal(size=(draws, *x.shape))
        with torch.inference_mode():
            return np.bincount(model(torch.tensor(noisy, dtype=torch.float32)).argmax(1).numpy(), minlength=3)

    selected = sample(n0).argmax()
    votes = sample(n)[selected]
    lower = stats.beta.ppf(alpha, votes, n - votes + 1) if votes else 0.0
    if lower <= 0.5:
        return -1, 0.0, votes
    return selected, sigma * stats.norm.ppf(lower), votes


def test_certify_agrees_with_cohens_algorithm():
    model, x, _ = half_space(40, seed=1)
    sigma, n0, n, alpha = 0.25, 100, 2000, 0.001
    ours = SmoothedClassifier(model, Gaussian(sigma), 3).certify(
        x, n0=n0, n=n, alpha=alpha, norm=2, bound="neyman-pearson", runner_up="complement", seed=5
    )
    rng = np.random.default_rng(6)
    for i, example in enumerate(x):
        prediction, _, votes = cohen_certify(model, example, sigma=sigma, n0=n0, n=n, alpha=alpha, rng=rng)
        # Equal within Monte Carlo error: both counts are binomial with the same probability.
        selected = ours.selection[i].argmax()
        if selected == prediction:
            table = [[ours.counts[i, selected], n - ours.counts[i, selected]], [votes, n - votes]]
            assert stats.fisher_exact(table).pvalue > FALSE_ALARM
        # And the same counts give the same certificate.
        lower = stats.beta.ppf(alpha, ours.counts[i, selected], n - ours.counts[i, selected] + 1)
        assert ours.prediction[i] == (selected if lower > 0.5 else -1)
        assert ours.radius[i] == pytest.approx(sigma * max(stats.norm.ppf(lower), 0), rel=1e-9)


@pytest.mark.parametrize("norm", [2, math.inf])
def test_counts_have_the_probabilities_of_the_closed_form(norm):
    model, x, distance = half_space(60, seed=2)
    result = SmoothedClassifier(model, Gaussian(0.3), 3).certify(x, n=3000, norm=norm, seed=7)
    truth = stats.norm.cdf(distance / 0.3)
    for counts, p in zip(result.counts, truth, strict=True):
        assert counts.sum() == 3000
        assert stats.binomtest(int(counts[1]), 3000, p).pvalue > FALSE_ALARM / 60
        assert counts[2] == 0


@pytest.mark.parametrize("runner_up", ["second", "complement"])
@pytest.mark.parametrize("bound", ["renyi", "neyman-pearson"])
def test_radius_exceeds_the_true_distance_at_most_as_often_as_alpha(bound, runner_up):
    model, x, distance = half_space(500, seed=3)
    alpha = 0.05
    result = SmoothedClassifier(model, Gaussian(0.3), 3).certify(
        x, n0=20, n=200, alpha=alpha, norm=2, bound=bound, runner_up=runner_up, seed=8
    )
    wrong = result.prediction != (distance > 0)
    broken = (result.prediction >= 0) & (wrong | (result.radius > abs(distance)))
    assert stats.binomtest(int(broken.sum()), len(x), alpha, "greater").pvalue > FALSE_ALARM
    assert (result.prediction >= 0).mean() > 0.5


def test_exponential_mechanism_against_the_closed_form():
    # One coordinate of R u, R ~ Gamma(d + 1), is Laplace-distributed for d = 1.
    x = np.linspace(0, 1, 21, dtype=np.float32)[:, None]
    result = SmoothedClassifier(Threshold(), Exponential(0.2), 2).certify(x, n=3000, norm=math.inf, seed=9)
    truth = stats.laplace.cdf((x[:, 0] - 0.5) / 0.2)
    for counts, p in zip(result.counts, truth, strict=True):
        assert stats.binomtest(int(counts[1]), 3000, p).pvalue > FALSE_ALARM / 21
    assert (result.radius <= abs(x[:, 0] - 0.5)).all()


def test_predict_is_the_exact_binomial_test():
    x = np.linspace(0.4, 0.6, 41, dtype=np.float32)[:, None]
    smoothed = SmoothedClassifier(Threshold(), Gaussian(0.3), 2)
    result = smoothed.predict(x, n=200, alpha=0.05, seed=3)
    for number, (example, prediction) in enumerate(zip(x, result, strict=True)):
        stream = np.random.SeedSequence(3, spawn_key=(number, 2))
        votes = int((Gaussian(0.3).perturb(example[None], copies=200, seed=stream)[0, :, 0] > 0.5).sum())
        significant = stats.binomtest(votes, 200).pvalue <= 0.05
        assert prediction == ((votes > 100) if significant else -1)
    assert set(result) == {-1, 0, 1}


def test_the_interval_rejects_where_the_binomial_test_does():
    # What predict relies on, for all counts of up to 60 votes and the levels where its comparison could tip.
    for n in range(1, 61):
        for top in range((n + 1) // 2, n + 1):
            p = stats.binomtest(top, n).pvalue
            for alpha in (p * (1 - 1e-9), p * (1 + 1e-9), 0.05, 0.001):
                if 0 < alpha < 1 and n != 2 * top:
                    assert (clopper_pearson(top, n, alpha / 2) >= 0.5) == (p <= alpha), (top, n, alpha)


def test_draws_are_those_that_the_documentation_names():
    x = np.full((2, 5), 0.5, np.float32)
    parent = np.random.SeedSequence(11, spawn_key=(4,))
    result = SmoothedClassifier(Threshold(), Exponential(0.1), 2).certify(
        x, n0=30, n=70, norm=math.inf, seed=parent, indices=[6, 7]
    )
    for i in range(2):
        for purpose, counts in ((0, result.selection[i]), (1, result.counts[i])):
            stream = np.random.SeedSequence(11, spawn_key=(4, 6 + i, purpose))
            (noisy,) = Exponential(0.1).perturb(x[i : i + 1], copies=int(counts.sum()), seed=stream)
            assert counts[1] == (noisy[:, 0] > 0.5).sum()


@pytest.mark.parametrize("batch_size", [1, 7, 50, 130, 10**6])
def test_counts_depend_neither_on_batch_size_nor_on_sharding(batch_size):
    x = np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(9, 1)
    smoothed = SmoothedClassifier(Threshold(), Gaussian(0.4), 2)
    settings = {"n0": 13, "n": 101, "norm": 2, "seed": 3}
    whole = smoothed.certify(x, **settings)
    parts = [
        smoothed.certify(x[a:b], batch_size=batch_size, indices=range(a, b), **settings)
        for a, b in ((0, 4), (4, 5), (5, 9))
    ]
    for name in ("counts", "selection", "prediction", "radius", "p1", "p2"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    pieces = [
        smoothed.predict(x[a:b], n=50, seed=3, indices=range(a, b), batch_size=batch_size) for a, b in ((0, 3), (3, 9))
    ]
    assert np.array_equal(smoothed.predict(x, n=50, seed=3), np.concatenate(pieces))


def test_seed_of_a_result_repeats_it():
    x = np.full((3, 4), 0.5, np.float32)
    smoothed = SmoothedClassifier(Threshold(), Gaussian(0.4), 2)
    result = smoothed.certify(x, n=1000, norm=2, indices=[5, 9, 6])
    again = smoothed.certify(x, n=1000, norm=2, seed=result.seed, indices=result.indices)
    other = smoothed.certify(x, n=1000, norm=2, indices=[5, 9, 6])
    assert np.array_equal(result.counts, again.counts)
    assert not np.array_equal(result.counts, other.counts)
    # Selection and estimation never share draws, and neither do examples.
    seeded = smoothed.certify(x, n=1000, norm=2, seed=12)
    assert len({tuple(counts) for counts in seeded.counts}) == 3
    assert not np.array_equal(
        result.counts, smoothed.certify(x, n0=1000, n=1, norm=2, seed=result.seed, indices=[5, 9, 6]).selection
    )


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        torch.from_numpy,
        lambda x: torch.from_numpy(x).double().requires_grad_(),
        np.asfortranarray,
        lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
        lambda x: x.tolist(),
    ],
)
def test_inputs_may_be_any_floating_point_array(convert):
    model, x, _ = half_space(3, seed=4)
    smoothed = SmoothedClassifier(model, Gaussian(0.3), 3)
    expected = smoothed.certify(x, n=200, norm=2, seed=1)
    assert np.array_equal(smoothed.certify(convert(x), n=200, norm=2, seed=1).counts, expected.counts)
    assert expected.dim == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_noise_has_the_type_of_the_model(dtype):
    seen = []

    class Model(torch.nn.Linear):
        def forward(self, x):
            seen.append(x.dtype)
            return super().forward(x)

    result = SmoothedClassifier(Model(4, 2).to(dtype), Gaussian(0.3), 2).certify(
        np.full((1, 4), 0.5), n=50, norm=2, seed=1
    )
    assert result.counts.sum() == 50
    assert set(seen) == {dtype}


def test_no_examples_give_no_certificates():
    smoothed = SmoothedClassifier(Threshold(), Gaussian(0.4), 2)
    assert len(smoothed.certify(np.empty((0, 4), np.float32), norm=2)) == 0
    assert smoothed.predict(np.empty((0, 4), np.float32)).shape == (0,)


@pytest.mark.parametrize("fails", [False, True])
def test_model_gets_its_modes_back(fails):
    modes = []

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = torch.nn.BatchNorm1d(4)
            self.dropout = torch.nn.Dropout()

        def forward(self, x):
            modes.extend([self.frozen.training, self.dropout.training])
            return x[:, :1] if fails else x[:, :2]

    model = Model()
    model.frozen.eval()
    smoothed = SmoothedClassifier(model, Gaussian(0.4), 2)
    if fails:
        with pytest.raises(ValueError, match="the model must return logits"):
            smoothed.predict(np.full((1, 4), 0.5))
    else:
        smoothed.predict(np.full((1, 4), 0.5))
    assert not any(modes)
    assert (model.training, model.frozen.training, model.dropout.training) == (True, False, True)


def test_progress_hears_of_every_copy(capsys):
    done = []
    smoothed = SmoothedClassifier(Threshold(), Gaussian(0.4), 2)
    x = np.full((3, 4), 0.5, np.float32)
    smoothed.certify(x, n0=5, n=20, norm=2, batch_size=7, progress=done.append)
    assert sum(done) == 75
    assert set(done) == {7, 5}
    smoothed.certify(x, n0=5, n=20, norm=2, progress=True)
    assert "100%" in capsys.readouterr().out


@pytest.mark.gpu
def test_counts_on_a_gpu_are_those_on_the_host():
    x = np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(9, 1)
    settings = {"n0": 13, "n": 5000, "norm": 2, "seed": 3, "batch_size": 130}
    host = SmoothedClassifier(Threshold(), Gaussian(0.4), 2).certify(x, **settings)
    device = SmoothedClassifier(Threshold(), Gaussian(0.4), 2, device="cuda").certify(x, **settings)
    assert np.array_equal(host.counts, device.counts)
    assert np.array_equal(host.selection, device.selection)
