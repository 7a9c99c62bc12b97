"""The estimator for the Adversarial Robustness Toolbox: ART's calls, this package's certificates."""

import numpy as np
import pytest
import torch
from scipy import stats

from rsmooth import Exponential, Gaussian

pytest.importorskip("art", reason="needs adversarial-robustness-toolbox")

from art.attacks.evasion import (
    CarliniL2Method,
    DeepFool,
    FastGradientMethod,
    HopSkipJump,
    ProjectedGradientDescent,
    SquareAttack,
)
from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier, SklearnClassifier
from sklearn.linear_model import LogisticRegression

from rsmooth.torch.art import RandomizedSmoothing

SIGMA, N = 0.25, 1000


class Plane(torch.nn.Module):
    """Class 1 where the mean of 64 pixels is above 1/2: the distance to the boundary is 8 times that from 1/2."""

    def __init__(self, sharpness=1.0):
        super().__init__()
        self.sharpness = torch.nn.Parameter(torch.tensor(sharpness))

    def forward(self, x):
        above = self.sharpness * (x.flatten(1).sum(1) - 32)
        return torch.stack([-above, above], 1)


def classifier(model=None, **settings):
    settings = {"clip_values": (0, 1), "device_type": "cpu", **settings}
    return PyTorchClassifier(model or Plane(), torch.nn.CrossEntropyLoss(), (1, 8, 8), 2, **settings)


def images(*distances):
    """Return images of these signed distances to the boundary."""
    return np.stack([np.full((1, 8, 8), 0.5 + distance / 8, np.float32) for distance in distances])


def smoothed(model=None, mechanism=None, **settings):
    return RandomizedSmoothing(classifier(model), mechanism or Gaussian(SIGMA), **{"seed": 0, **settings})


def test_certify_answers_as_art_does_with_the_radii_of_cohen_et_al():
    estimator = smoothed(alpha=0.01, bound="neyman-pearson", runner_up="complement")
    x = images(-1, -0.3, 0.001, 0.2, 0.5)
    prediction, radius = estimator.certify(x, n=N, batch_size=300)
    found = estimator.certificates(x, N)
    votes = found.counts.max(axis=1)
    expected = SIGMA * stats.norm.ppf(stats.beta.ppf(0.01, votes, N - votes + 1))
    assert prediction.tolist() == [0, 0, -1, 1, 1]
    assert radius == pytest.approx(np.where(prediction < 0, 0, expected), rel=1e-9)
    assert (radius <= [1, 0.3, 0.001, 0.2, 0.5]).all()
    assert found.counts.sum(axis=1).tolist() == [N] * 5
    assert estimator.certificates(x, N, norm=np.inf).norm == np.inf


def test_predictions_are_one_hot_and_abstain_as_in_art():
    estimator = smoothed(sample_size=50)
    x = images(-0.3, 0, 0.3)
    assert estimator.predict(x).tolist() == [[1, 0], [0, 0], [0, 1]]
    assert estimator.predict(x, is_abstain=False, training_mode=False).sum(axis=1).tolist() == [1, 1, 1]
    assert estimator.input_shape == (1, 8, 8)
    assert estimator.nb_classes == 2


def test_gradients_and_losses_are_means_over_noise():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    estimator = smoothed(network, gradient_samples=3)
    assert estimator.layer_names == estimator.classifier.layer_names
    x, y = images(0.1, -0.2), np.array([[0.0, 1.0], [0.0, 1.0]])
    z = Gaussian(SIGMA).sample((6, 1, 8, 8), seed=0).reshape(3, 2, 1, 8, 8)
    base = estimator.classifier
    asked = {"loss_gradient": (y,), "compute_loss": (y,), "class_gradient": (None,), "get_activations": (1, 2)}
    for name, arguments in asked.items():
        found = getattr(estimator, name)(x, *arguments)
        assert len(found) == len(x)
        expected = np.mean([getattr(base, name)(x + each, *arguments) for each in z], axis=0)
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7), name
    assert np.abs(estimator.loss_gradient(x, y) - base.loss_gradient(x, y)).max() > 1e-3


@pytest.mark.parametrize("eps", [0.9, 1.1])
def test_gradient_attacks_succeed_only_beyond_the_certified_radius(eps):
    estimator = smoothed(seed=None)
    x = images(-0.6, -0.4, 0.3, 0.5)
    prediction, radius = estimator.certify(x, N)
    for index, distance in enumerate([0.6, 0.4, 0.3, 0.5]):
        size = eps * (radius[index] if eps < 1 else distance)
        fast = FastGradientMethod(estimator, norm=2, eps=size)
        steps = ProjectedGradientDescent(estimator, norm=2, eps=size, eps_step=size / 2, max_iter=3, verbose=False)
        for attack in (fast, steps):
            attacked = attack.generate(x[index : index + 1])
            assert np.linalg.norm(attacked - x[index]) <= size * (1 + 1e-4)
            found = estimator.certificates(attacked, 2000, alpha=0.01).prediction[0]
            assert (found == prediction[index]) == (eps < 1)


def test_attacks_on_decisions_and_on_class_gradients_run():
    estimator = smoothed(sample_size=40, alpha=0.05)
    x, y = images(0.4), np.array([[0.0, 1.0]])
    attacks = (
        HopSkipJump(estimator, norm=2, max_iter=1, max_eval=10, init_eval=5, init_size=20, verbose=False),
        DeepFool(estimator, max_iter=3, verbose=False),
        SquareAttack(estimator, norm=np.inf, eps=0.1, max_iter=5, verbose=False),
        CarliniL2Method(estimator, max_iter=2, binary_search_steps=1, verbose=False),
    )
    np.random.seed(0)  # noqa: NPY002  # ART draws from there.
    for attack in attacks:
        attacked = attack.generate(x, y)
        assert attacked.shape == x.shape
        assert np.isfinite(attacked).all()


def test_classifiers_of_other_frameworks_and_other_mechanisms():
    rng = np.random.default_rng(0)
    x = rng.random((200, 4))
    base = SklearnClassifier(LogisticRegression().fit(x, (x[:, 0] > 0.5).astype(int)), clip_values=(0, 1))
    estimator = RandomizedSmoothing(base, Exponential(0.02), norm=np.inf, seed=1)
    prediction, radius = estimator.certify(np.array([[0.9, 0.5, 0.5, 0.5], [0.1, 0.5, 0.5, 0.5]]), n=N)
    assert prediction.tolist() == [1, 0]
    assert (radius > 0).all()


def test_training_sees_new_noise_in_each_epoch():
    seen = []
    base = classifier()
    base.fit = lambda x, y, **settings: seen.append((x, y, settings))
    estimator = RandomizedSmoothing(base, Gaussian(SIGMA), seed=3)
    estimator.fit(images(0, 0.1), np.array([0, 1]), batch_size=2, nb_epochs=3)
    noisy = Gaussian(SIGMA).perturb(images(0, 0.1, 0, 0.1, 0, 0.1), seed=3)
    assert np.concatenate([x for x, *_ in seen]) == pytest.approx(noisy)
    assert [y.tolist() for _, y, _ in seen] == [[0, 1]] * 3
    assert [settings for *_, settings in seen] == [{"batch_size": 2, "nb_epochs": 1}] * 3


def test_certifying_leaves_the_generators_as_they_were_and_sees_those_of_a_random_model():
    class Random(Plane):
        def forward(self, x):
            torch.rand(1)
            return super().forward(x)

    before = torch.get_rng_state()
    smoothed().certify(images(0.3), n=10)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="the model draws random numbers"):
        smoothed(Random()).certify(images(0.3), n=10)


def test_arts_own_classifier_makes_the_draw_that_is_taken_back():
    """An ART that made none would let a random model have one draw a batch unseen."""
    torch.manual_seed(7)
    classifier().predict(images(0.3))
    after = torch.get_rng_state()
    torch.manual_seed(7)
    assert not torch.equal(torch.get_rng_state(), after)
    torch.empty((), dtype=torch.int64).random_()
    assert torch.equal(torch.get_rng_state(), after)


def test_a_draw_as_long_as_that_of_a_data_loader_is_seen():
    """One number of 64 bits a batch, which is what ART's own classifier of torch draws."""

    def sign(x):
        right = torch.rand((), dtype=torch.float64) < 0.5
        return np.tile(np.array([[0.0, 1.0]]) if right else np.array([[1.0, 0.0]]), (len(x), 1))

    class Odd(PyTorchClassifier):
        def predict(self, x, **_settings):
            return sign(x)

    own = Odd(Plane(), torch.nn.CrossEntropyLoss(), (1, 8, 8), 2, clip_values=(0, 1), device_type="cpu")
    for base in (BlackBoxClassifier(sign, (1, 8, 8), 2, clip_values=(0, 1)), own):
        for seed in range(20):
            torch.manual_seed(seed)
            with pytest.raises(ValueError, match="the model draws random numbers"):
                RandomizedSmoothing(base, Gaussian(SIGMA), seed=0).certify(images(0.3), n=10)


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="classifier must be a classifier of ART, got Plane"):
        RandomizedSmoothing(Plane(), Gaussian(SIGMA))
    for wrong in ({"sample_size": 0}, {"gradient_samples": 0}, {"alpha": 1.5}, {"bound": "pure-dp"}, {"norm": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            smoothed(**wrong)
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\], got 1.5"):
        smoothed().certify(images(8), n=10)


def test_set_params_counts_in_the_next_call():
    estimator = smoothed()
    estimator.set_params(norm=np.inf, alpha=0.1)
    found = estimator.certificates(images(0.3), 100)
    assert (found.norm, found.alpha) == (np.inf, 0.1)
    assert estimator.get_params()["sample_size"] == 100
