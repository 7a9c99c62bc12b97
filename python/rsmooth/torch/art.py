"""Smoothed classifiers for the Adversarial Robustness Toolbox (ART), whose attacks and evaluation take them as its own.

Importing this module needs ART: ``pip install 'rsmooth[art]'``.
"""

from __future__ import annotations

from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin

from rsmooth._check import integer
from rsmooth.rule import Rule
from rsmooth.torch.classifier import SmoothedClassifier
from rsmooth.torch.models import numpy_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rsmooth._streams import Seed
    from rsmooth.certificates.topclass import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, RunnerUp

__all__ = ["RandomizedSmoothing"]


# ART has no types.
class RandomizedSmoothing(
    ClassGradientsMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    NeuralNetworkMixin,  # type: ignore[misc]
    LossGradientsMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """An ART classifier, smoothed: an estimator with ART's calls and this package's noise, bounds and radii.

    Parameters
    ----------
    classifier : ART classifier
        Of any framework: its `predict` gives scores of shape (N, K), preprocessing and defences included. Noise is
        added to its inputs, before all of these.
    mechanism : Mechanism
        The noise; its scale is in the units of the classifier's inputs.
    sample_size : int
        Draws of `predict`, and those of `certify` that select the class, at least 1.
    gradient_samples : int
        Draws that losses and gradients are means over, at least 1.
    alpha : float
        Failure probability of each prediction and of each certificate, above 0 and below 1.
    norm : {1, 2, math.inf}
        Norm of the certified radii.
    bound, runner_up
        As for `rsmooth.certify_counts`. Cohen et al., and ART's own smoothing, take "neyman-pearson" and "complement".
    grid : int or None
        As for `rsmooth.SmoothedClassifier`: certificates are exact, for inputs that are multiples of ``1 / grid``.
        What an attack returns is on no grid.
    seed : int, numpy.random.SeedSequence or None
        Names the noise: with a seed, equal calls give equal answers, and an attack that asks more than once knows the
        noise. None takes fresh noise for each call.

    Attributes
    ----------
    smoothed : SmoothedClassifier
        What does the work, for calls that ART does not have.

    Raises
    ------
    ValueError
        If an argument has a value that is not allowed; the message names it.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import torch
    >>> from art.attacks.evasion import FastGradientMethod
    >>> from art.estimators.classification import PyTorchClassifier
    >>> from rsmooth import Gaussian
    >>> from rsmooth.torch.art import RandomizedSmoothing
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    >>> weights, bias = model[1].weight.data, model[1].bias.data  # class 1 where the mean of the pixels is above 1/2
    >>> weights[:], bias[:] = torch.tensor([[-1.0], [1.0]]), torch.tensor([32.0, -32.0])
    >>> classifier = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), (1, 8, 8), 2, clip_values=(0, 1))
    >>> smoothed = RandomizedSmoothing(classifier, Gaussian(0.25), seed=0)
    >>> x = np.full((1, 1, 8, 8), 0.5625, np.float32)
    >>> prediction, radius = smoothed.certify(x, n=1000)  # the boundary is 0.5 away
    >>> prediction, radius.round(2)
    (array([1]), array([0.41]))
    >>> within, beyond = (FastGradientMethod(smoothed, norm=2, eps=eps).generate(x) for eps in (0.3, 0.7))
    >>> smoothed.predict(within), smoothed.predict(beyond)
    (array([[0., 1.]]), array([[1., 0.]]))
    """

    classifier: Any
    # What ART's set_params may change: all of it is looked at in each call.
    estimator_params = ("sample_size", "gradient_samples", "alpha", "norm", "bound", "runner_up", "seed")

    def __init__(
        self,
        classifier: Any,
        mechanism: Mechanism,
        *,
        sample_size: int = 100,
        gradient_samples: int = 8,
        alpha: float = 0.001,
        norm: float = 2,
        bound: Bound = "tightest",
        runner_up: RunnerUp = "second",
        grid: int | None = None,
        seed: Seed = None,
    ) -> None:
        self.classifier, self.mechanism, self.seed = classifier, mechanism, seed
        if not isinstance(classifier, ClassifierMixin):
            raise TypeError(f"classifier must be a classifier of ART, got {type(classifier).__name__}")
        # Attacks ask which axis the channels are, of networks and others.
        channels_first = getattr(classifier, "channels_first", True)
        ends = self.classifier.clip_values
        super().__init__(model=self.classifier.model, clip_values=ends, channels_first=channels_first)
        self._layer_names = getattr(classifier, "layer_names", None)
        self.nb_classes = classifier.nb_classes
        self.sample_size = integer("sample_size", sample_size, 1, 2**53)
        self.gradient_samples = integer("gradient_samples", gradient_samples, 1, 2**53)
        self.alpha, self.norm, self.bound, self.runner_up = alpha, norm, bound, runner_up
        # Refused here rather than after an attack.
        Rule(mechanism, norm=norm, dim=1, alpha=alpha, bound=bound, runner_up=runner_up)
        domain = None if ends is None else (float(np.min(ends)), float(np.max(ends)))
        model = numpy_model(partial(_scores, classifier))
        self.smoothed = SmoothedClassifier(model, mechanism, self.nb_classes, domain=domain, grid=grid)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an input."""
        return self.classifier.input_shape  # type: ignore[no-any-return]

    def predict(
        self, x: NDArray[Any], batch_size: int = 128, *, is_abstain: bool = True, **_kwargs: Any
    ) -> NDArray[np.float64]:
        """Predict the smoothed classifier's classes.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        batch_size : int
            Noisy copies that the classifier gets at once.
        is_abstain : bool
            Whether an input abstains whose class is not certain at level `alpha`; else it gets the class with the most
            votes.
        **_kwargs
            ``training_mode``, ``verbose`` and others that ART passes: not looked at.

        Returns
        -------
        ndarray of float64, shape (N, K)
            1 for the class and 0 for the others; 0 for all where the input abstains. As in ART, ``argmax`` makes class
            0 of that.

        Raises
        ------
        ValueError
            If an input is outside the classifier's `clip_values`, or its scores are no use; the message says which.
        """
        if is_abstain:
            classes = self.smoothed.predict(
                x, n=self.sample_size, alpha=self.alpha, batch_size=batch_size, seed=self.seed
            )
        else:
            votes: Any = self.certificates(x, 1, batch_size=batch_size).selection
            classes = votes.argmax(axis=1)
        return np.where(classes[:, None] == np.arange(self.nb_classes), 1.0, 0.0)

    def certify(self, x: NDArray[Any], n: int, batch_size: int = 32) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Certify inputs.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        n : int
            Draws that test an input's class, at least 1.
        batch_size : int
            Noisy copies that the classifier gets at once.

        Returns
        -------
        prediction : ndarray of int64, shape (N,)
            The certified classes; -1 where the input abstains.
        radius : ndarray of float64, shape (N,)
            The radii, in `norm`; 0 where the input abstains.

        Raises
        ------
        ValueError
            As `certificates`.
        """
        found = self.certificates(x, n, batch_size=batch_size)
        return found.prediction, found.radius

    def certificates(self, x: NDArray[Any], n: int, **settings: Any) -> Certificates:
        """Return what `certify` is made of: certificates with their counts, for other bounds, norms and levels.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        n : int
            Draws that test an input's class, at least 1; at most, with ``until``.
        **settings
            Others of `rsmooth.SmoothedClassifier.certify`: ``until``, ``indices``, ``batch_size``, ``progress``, or
            another value for what the estimator has.

        Returns
        -------
        Certificates
            One an input.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, an input is outside the classifier's `clip_values`, or its
            scores are no use; the message says which.
        TypeError
            If an argument has the wrong type.
        """
        given = {name: getattr(self, name) for name in ("alpha", "norm", "bound", "runner_up", "seed")}
        return self.smoothed.certify(x, **{"n": n, "n0": self.sample_size, **given, **settings})

    def loss_gradient(self, x: NDArray[Any], y: NDArray[Any], **kwargs: Any) -> NDArray[Any]:
        """Return the gradient of the classifier's loss, its mean over noise.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        y : ndarray, shape (N, K) or (N,)
            Labels.
        **kwargs
            For the classifier's own method.

        Returns
        -------
        ndarray, shape ``(N, *S)``
            The mean of the classifier's `loss_gradient` at `gradient_samples` noisy copies.
        """
        return self._mean(lambda noisy: self.classifier.loss_gradient(noisy, y, **kwargs), x)

    def class_gradient(
        self, x: NDArray[Any], label: int | list[int] | NDArray[Any] | None = None, **kwargs: Any
    ) -> NDArray[Any]:
        """Return the gradients of the classifier's scores, their mean over noise.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        label : int, list of int, ndarray or None
            Whose score; one for each input, or None for all classes.
        **kwargs
            For the classifier's own method.

        Returns
        -------
        ndarray, shape ``(N, K, *S)`` or ``(N, 1, *S)``
            The mean of the classifier's `class_gradient` at `gradient_samples` noisy copies.
        """
        return self._mean(lambda noisy: self.classifier.class_gradient(noisy, label, **kwargs), x)

    def compute_loss(self, x: NDArray[Any], y: NDArray[Any], **kwargs: Any) -> NDArray[Any]:
        """Return the classifier's loss, its mean over noise.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        y : ndarray, shape (N, K) or (N,)
            Labels.
        **kwargs
            For the classifier's own method.

        Returns
        -------
        ndarray
            The mean of the classifier's `compute_loss` at `gradient_samples` noisy copies.
        """
        return self._mean(lambda noisy: self.classifier.compute_loss(noisy, y, **kwargs), x)

    def get_activations(self, x: Any, layer: int | str, batch_size: int = 128, framework: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the output of a layer of the classifier's network, its mean over noise.

        Parameters
        ----------
        x : ndarray or torch.Tensor, shape ``(N, *S)``
            Inputs.
        layer : int or str
            Number or name of the layer, as `layer_names` has them.
        batch_size : int
            Inputs that the network gets at once.
        framework : bool
            Whether to return what the classifier's framework computes with, for gradients of it.

        Returns
        -------
        ndarray, or array of the framework
            The mean of the classifier's `get_activations` at `gradient_samples` noisy copies.
        """
        return self._mean(lambda noisy: self.classifier.get_activations(noisy, layer, batch_size, framework), x)

    def fit(self, x: NDArray[Any], y: NDArray[Any], batch_size: int = 128, nb_epochs: int = 10, **kwargs: Any) -> None:
        """Train the classifier on noisy inputs, with other noise in each epoch.

        Parameters
        ----------
        x : ndarray, shape ``(N, *S)``
            Inputs.
        y : ndarray, shape (N, K) or (N,)
            Labels.
        batch_size, nb_epochs : int
            Inputs in a batch, and epochs.
        **kwargs
            For the classifier's own method.
        """
        for epoch in range(nb_epochs):
            noisy = self.mechanism.perturb(x, seed=self.seed, first=epoch * len(x))
            self.classifier.fit(noisy, y, batch_size=batch_size, nb_epochs=1, **kwargs)

    def _mean(self, ask: Callable[[Any], Any], x: Any) -> NDArray[Any]:
        """Return the mean of what `ask` says of noisy copies of a batch, a batch at a time."""
        copies = (self.mechanism.perturb(x, seed=self.seed, first=at * len(x)) for at in range(self.gradient_samples))
        mean: NDArray[Any] = reduce(add, map(ask, copies)) / self.gradient_samples
        return mean


def _scores(classifier: Any, x: NDArray[Any]) -> Any:
    """Return a classifier's scores of a batch.

    ART's own classifier of torch, from version 1.15 on, reads batches with torch's DataLoader, which draws a seed for
    its workers. Such a draw is taken back, and no other: those of a random model are to be seen, so that it is refused.
    """
    before = torch.get_rng_state()
    scores = classifier.predict(x, batch_size=len(x))
    # Whatever else draws once is random.
    if getattr(classifier.predict, "__func__", None) is PyTorchClassifier.predict:
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        torch.empty((), dtype=torch.int64).random_()
        torch.set_rng_state(before if torch.equal(torch.get_rng_state(), after) else after)
    return scores
