"""A model must be a function of its row, in types that are fine beside the noise; batches have one shape."""

import warnings

import numpy as np
import pytest
import torch

from rsmooth import Exponential, Gaussian, SmoothedClassifier
from rsmooth.certificates.median import Median
from rsmooth.certificates.softscores import SoftScores
from rsmooth.certificates.topclass import TopClass
from rsmooth.torch.regressor import SmoothedRegressor
from rsmooth.torch.rows import check_rows
from rsmooth.torch.voter import Voter

X = np.full((2, 3, 4, 4), 0.5, np.float32)


def certify(model, x=X, mechanism=Gaussian(0.25), **changes):  # noqa: B008
    smoothed = SmoothedClassifier(model, mechanism, 2)
    return smoothed.certify(x, **{"n0": 40, "n": 600, "norm": 2, "seed": 1, "batch_size": 64, **changes})


class Model(torch.nn.Module):
    """Two scores from each row's mean, changed as a test wants."""

    def __init__(self, change=lambda scores: scores):
        super().__init__()
        self.change = change

    def forward(self, x):
        margin = 1000 * (x.flatten(1).mean(1) - 0.5)
        return self.change(torch.stack([-margin, margin], dim=1))


class Stubborn(torch.nn.Module):
    """A network that stays in training mode, as code that forgets `super().train` does."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.last = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))

    def train(self, mode=True):  # noqa: ARG002, FBT002
        return super().train()

    def forward(self, x):
        return self.last(self.layer(x))


def test_a_random_sign_a_batch_is_refused():
    """It was certified 200 of 200 times, though both classes have probability 1/2."""
    own = torch.Generator().manual_seed(0)

    def sign(scores, generator):
        return scores.abs() * torch.tensor([-1, 1]) * (2 * torch.randint(2, (), generator=generator) - 1)

    with pytest.raises(ValueError, match="the model draws random numbers"):
        certify(Model(lambda scores: sign(scores, None)))
    # One of its own generators is not seen to be used; its answers are seen to move.
    with pytest.raises(ValueError, match=r"asked again|in another order|beside other rows|of another size"):
        certify(Model(lambda scores: sign(scores, own)))
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="depends on more than the row"):
        certify(Model(lambda scores: scores * rng.choice([-1, 1])))
    for draw in (np.random.random, __import__("random").random):
        with pytest.raises(ValueError, match="the model draws random numbers"):
            certify(Model(lambda scores, draw=draw: scores + draw()))


CHANGES = {
    "in another order": lambda scores: scores + torch.arange(len(scores))[:, None] * torch.tensor([1, -1]),
    "beside other rows": lambda scores: scores - scores.mean(0),
    "in batches of another size": lambda scores: scores * (1 if len(scores) > 50 else -1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_that_depend_on_their_company_are_refused(change):
    with pytest.raises(ValueError, match=rf"{change}, \d+ of \d+ votes \(\d+\.\d%\) and the scores of \d+ rows moved"):
        certify(Model(CHANGES[change]))


def test_the_share_of_votes_that_moved_is_told():
    rows = torch.linspace(-1, 1, 40)[:, None]

    def answer(x):
        return torch.cat([-x, x], dim=1) * (1 if len(x) == 40 else -1)

    message = r"in batches of another size, 40 of 40 votes \(100.0%\) and the scores of 40 rows moved"
    with pytest.raises(ValueError, match=message):
        check_rows(answer, lambda scores: scores.argmax(1), rows, torch.zeros(40, 1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            torch.nn.BatchNorm2d(3),
            r"layer layer of the model \(BatchNorm2d\) normalises by the statistics of the batch",
        ),
        (torch.nn.Dropout(0.1), r"layer layer of the model \(Dropout\) drops at random"),
        (torch.nn.Sequential(torch.nn.Dropout2d()), r"layer layer\.0 of the model \(Dropout2d\) drops at random"),
    ],
)
def test_layers_that_stay_in_training_mode_are_named(layer, message):
    with pytest.raises(ValueError, match=message):
        certify(Stubborn(layer))


def test_statistics_of_the_batch_for_want_of_others_are_named():
    layer = torch.nn.BatchNorm2d(3, track_running_stats=False)
    model = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(48, 2))
    with pytest.raises(ValueError, match=r"layer 0 of the model \(BatchNorm2d\) normalises by the statistics"):
        certify(model)


def test_ordinary_layers_pass():
    model = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 8, 3), torch.nn.InstanceNorm2d(8), torch.nn.GroupNorm(2, 8),
        torch.nn.Dropout(), torch.nn.Flatten(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 2),
    )  # fmt: skip
    assert (certify(model).counts.sum(axis=1) == 600).all()
    # And so does a model that writes into its input.
    assert (certify(torch.nn.Sequential(torch.nn.ReLU(inplace=True), Model())).counts.sum(axis=1) == 600).all()


def test_ties_that_rounding_turns_are_told_and_not_refused():
    def tied(scores):
        wobble = 1e-6 * (torch.arange(len(scores)) % 3 - 1)
        return torch.stack([torch.ones(len(scores)), 1 + wobble], dim=1)

    with pytest.warns(UserWarning, match=r"\d+ of \d+ votes depend on rounding: two scores tie"):
        certify(Model(tied))


def test_a_model_is_asked_once_for_each_size():
    sizes = []

    class Kept(Model):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    smoothed = SmoothedClassifier(Kept(), Gaussian(0.25), 2)
    settings = {"n0": 40, "n": 601, "norm": 2, "seed": 1, "batch_size": 64}
    smoothed.certify(X, **settings)
    checks = len(sizes) - 21
    smoothed.certify(X, **settings)
    assert len(sizes) == 42 + checks
    # The certification's own batches are all of one size, the last one, of 2 draws, padded.
    assert sizes[checks:] == [64] * 42


def test_padding_adds_no_votes():
    smoothed = SmoothedClassifier(Model(), Gaussian(0.25), 2)
    settings = {"n0": 1, "n": 100, "norm": 2, "seed": 3}
    whole = smoothed.certify(X, batch_size=202, **settings)
    for size in (1, 3, 64, 101, 150):
        padded = smoothed.certify(X, batch_size=size, **settings)
        assert (padded.counts.sum(axis=1) == 100).all()
        assert np.array_equal(padded.counts, whole.counts)
        assert np.array_equal(padded.selection, whole.selection)


def test_the_deterministic_algorithms_of_cudnn_are_chosen_meanwhile():
    seen = []
    cudnn = torch.backends.cudnn

    class Kept(Model):
        def forward(self, x):
            seen.append((cudnn.deterministic, cudnn.benchmark))
            return super().forward(x)

    before = cudnn.deterministic, cudnn.benchmark
    cudnn.benchmark = True
    try:
        certify(Kept())
        assert set(seen) == {(True, False)}
        assert (cudnn.deterministic, cudnn.benchmark) == (before[0], True)
    finally:
        cudnn.deterministic, cudnn.benchmark = before


class Mean(torch.nn.Module):
    """Class 1 where the mean exceeds `edge`; with a weight of the type that inputs are to have."""

    def __init__(self, edge, dtype):
        super().__init__()
        self.edge, self.one = edge, torch.nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, x):
        margin = (x * self.one).double().flatten(1).mean(1) - self.edge
        return torch.stack([-margin, margin], dim=1)


def test_two_images_side_by_side_are_not_certified_for_different_classes():
    """Rounded to bfloat16 before the noise, images 1.1e-4 apart had other classes, both with radius 0.102."""
    # On both sides of the middle between two bfloat16 numbers, 0.75 and 0.75390625.
    middle, dim = 0.751953125, 3072
    images = np.stack([np.full(dim, middle - 1e-6, np.float32), np.full(dim, middle + 1e-6, np.float32)])
    apart = float(np.linalg.norm(images[0].astype(np.float64) - images[1]))
    assert apart < 1.2e-4
    model = Mean(middle, torch.bfloat16)
    settings = {"n": 5000, "norm": 2, "bound": "neyman-pearson", "seed": 1}
    result = SmoothedClassifier(model, Gaussian(0.25), 2).certify(images, **settings)
    (first, second), radii = result.prediction, result.radius
    assert first == second or min(first, second) < 0 or radii.max() < apart
    assert abs(result.counts[:, 1] / 5000 - 0.5).max() < 0.05
    # The old way: the images are rounded, apart from each other, and the noise is added to that.
    rounded = torch.from_numpy(images).bfloat16().float()
    old = SmoothedClassifier(model, Gaussian(0.25), 2).certify(rounded, **settings)
    assert old.prediction.tolist() == [0, 1]
    assert old.radius.min() > 0.08


def test_the_sum_is_rounded_to_the_models_type_and_not_the_input():
    seen = []

    class Kept(torch.nn.Linear):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    x = np.float32(np.random.default_rng(0).random((1, 16)))
    model = Kept(16, 2).bfloat16()
    SmoothedClassifier(model, Gaussian(0.5), 2).predict(x, n=50, seed=1, batch_size=50)
    stream = np.random.SeedSequence(1, spawn_key=(0, 2))
    (expected,) = Gaussian(0.5).perturb(x, copies=50, seed=stream)
    assert torch.equal(seen[-1], torch.from_numpy(expected).bfloat16())


@pytest.mark.parametrize(
    ("mechanism", "dtype", "x", "message"),
    [
        (Gaussian(0.02), torch.bfloat16, np.float32, "the model is of bfloat16, whose numbers near 1, the largest of "),
        (Gaussian(0.003), torch.float16, np.float32, "the model is of float16, whose numbers near 1"),
        (Gaussian(4e-7), torch.float32, np.float32, "the inputs are of float32, whose numbers near 1"),
        (Gaussian(4e-7), torch.float32, np.float64, "the model is of float32, whose numbers near 1"),
        (Exponential(1e-8), torch.float32, np.float32, "too coarse for noise of"),
    ],
)
def test_types_that_are_coarse_beside_the_noise_are_refused_by_name(mechanism, dtype, x, message):
    model = torch.nn.Linear(16, 2).to(dtype)
    with pytest.raises(ValueError, match=message):
        SmoothedClassifier(model, mechanism, 2).predict(np.ones((1, 16), x), n=50)


def test_types_that_are_fine_beside_the_noise_are_not_refused():
    for mechanism, dtype in ((Gaussian(0.12), torch.bfloat16), (Gaussian(1e-6), torch.float32)):
        model = torch.nn.Linear(16, 2).to(dtype)
        assert SmoothedClassifier(model, mechanism, 2).predict(np.ones((1, 16), np.float32), n=50).shape == (1,)
    # Near 0 the steps are finer.
    model = torch.nn.Linear(16, 2)
    assert SmoothedClassifier(model, Gaussian(4e-7), 2).predict(np.full((1, 16), 0.1, np.float32)).shape == (1,)


def test_runs_can_ask_for_the_check():
    voter = Voter(Model(), Gaussian(0.25), 2)
    examples = [(3, torch.from_numpy(X[0])), (7, torch.from_numpy(X[1]))]
    found = voter.check_rows(examples, np.random.SeedSequence(0), 32)
    assert found.ties == 0
    assert found.rows == 32 + 32 + 16 + 32
    with pytest.raises(ValueError, match="depends on more than the row"):
        Voter(Model(CHANGES["beside other rows"]), Gaussian(0.25), 2).check_rows(
            examples, np.random.SeedSequence(0), 32
        )


def sign_of(x):
    """Return a sign that the batch decides."""
    return torch.where(x.flatten(1)[:, 0].mean() > 0.5, 1.0, -1.0)


@pytest.mark.parametrize("kind", [TopClass(), SoftScores("logits")])
def test_scores_with_a_large_common_offset_that_depend_on_the_batch_are_refused(kind):
    """Both classes have probability 1/2; the rounding allowed was 2 of logits of 2000."""

    def model(x):
        return 2000 + (0.9 * sign_of(x) * torch.tensor([1.0, -1.0])).expand(len(x), 2) + 0 * x.flatten(1)[:, :2]

    with pytest.raises(ValueError, match="depends on more than the row"):
        certify(model, kind=kind, batch_size=600)


@pytest.mark.parametrize("part", [0.2, 0.006])
def test_numbers_that_depend_on_the_batch_are_refused(part):
    """Medians of 500 were certified to 0.1, though each batch had another answer, 0.4 away."""

    def model(x):
        return 500 + part * sign_of(x) + 0 * x.flatten(1)[:, 0]

    with pytest.raises(ValueError, match="depends on more than the row"):
        SmoothedRegressor(model, Gaussian(0.25)).certify(
            X, kind=Median(part / 2), n0=40, n=600, norm=2, seed=1, batch_size=600
        )


def test_votes_that_all_move_with_the_batch_are_no_ties():
    rows = torch.linspace(-1, 1, 40)[:, None]

    def answer(x):
        return torch.cat([-x.sign(), x.sign()], dim=1) * (1e-6 if len(x) == 40 else -1e-6) + 1

    with pytest.raises(
        ValueError, match=r"another size, 100.0% of the votes moved, though the scores moved by no more"
    ):
        check_rows(answer, lambda scores: scores.argmax(1), rows, torch.zeros(40, 1))


@pytest.mark.parametrize("offset", [0, 2000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", [TopClass(), SoftScores("logits")])
def test_rounding_of_honest_models_is_no_dependence(dtype, offset, kind):
    """Scores of 0 to 60, beside an offset, that move by units in the last place with the place in the batch."""

    if dtype is torch.bfloat16 and offset and isinstance(kind, SoftScores):
        pytest.skip("its numbers near 2000 are 8 apart, so that scores do depend on rounding")

    class Rounding(torch.nn.Module):
        def forward(self, x):
            slope = 30 if not offset else 1000
            margin = slope * (x.flatten(1).mean(1) - 0.5)
            scores = (torch.stack([-margin, margin], dim=1) + offset).to(dtype)
            place = (torch.arange(len(x)) % 3 - 1)[:, None] * torch.tensor([1, -1])
            return scores * (1 + torch.finfo(dtype).eps * place).to(dtype)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert certify(Rounding(), kind=kind).draws.sum() > 0
