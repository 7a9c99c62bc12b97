"""The smoothed classifier of a torch model: predictions and certificates by counting votes over noisy copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth._check import positive
from rsmooth.certificates.kind import Kind
from rsmooth.certificates.topclass import TopClass
from rsmooth.confidence import clopper_pearson
from rsmooth.torch.smoothed import Smoothed

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from rsmooth._streams import Seed
    from rsmooth.certificates.result import Certificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, RunnerUp
    from rsmooth.torch.smoothed import Progress

__all__ = ["SmoothedClassifier"]


class SmoothedClassifier(Smoothed):
    """The classifier that a model becomes when it votes over noisy copies of its input.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn estimator, onnxruntime.InferenceSession or callable
        Maps a batch ``(B, *S)`` of inputs, noise added, to scores (B, `num_classes`) or integer labels (B,), or to an
        object with ``logits``, a dict or a tuple that holds one of them: `rsmooth.torch.models` says how each is
        called. A model that was trained on normalised images must normalise them itself, so that the noise is in
        pixels. A module is run in evaluation mode and gets its modes back afterwards.
    mechanism : Mechanism
        The noise; its scale is in the units of the inputs.
    num_classes : int
        Number of classes, at least 2.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.
    domain : tuple of two floats, or None
        Lowest and highest value of an input, which `x` is checked against; None is any finite value.
    grid : int or None
        Where given, inputs are multiples of ``1 / grid`` and certificates are exact: they hold on the computer that
        made them, while those of floating-point noise rest on theorems about real numbers (docs/exact.md). uint8 inputs
        count 255ths and imply a grid of 255.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, or `domain` is not allowed.
    TypeError
        If `model` is no model or `mechanism` not a mechanism.

    Notes
    -----
    Noise is drawn on the host. An example's draws come from streams of its own:
    ``SeedSequence(entropy, spawn_key=(*spawn_key, index, purpose))`` with `seed`'s entropy and spawn key, the example's
    index, and purpose 0 for selection, 1 for estimation, 2 for prediction. The draws depend on nothing else, so neither
    `batch_size` nor how examples are shared out among calls changes them. (Counts can still differ by a vote where the
    model's own arithmetic depends on the size of the batch and two logits are equal but for rounding.)

    Votes say something of the smoothed classifier only if the model answers each row of a batch by itself. The first
    call for a shape of inputs and size of batches asks it about the same rows again, in other company, and refuses it
    where its answers move (`rsmooth.torch.rows`).

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian, SmoothedClassifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    >>> with torch.no_grad():
    ...     _ = model[1].weight.copy_(torch.tensor([[-0.125], [0.125]]).expand(2, 64)), model[1].bias.zero_()
    >>> smoothed = SmoothedClassifier(model, Gaussian(0.25), num_classes=2)
    >>> x = torch.full((1, 1, 8, 8), 0.0625)
    >>> smoothed.predict(x, n=1000, alpha=0.001, seed=0)
    array([1])
    >>> smoothed.certify(x, n=1000, norm=2, seed=0).radius.round(2)  # the boundary is 0.5 away
    array([0.41])
    """

    def __init__(
        self,
        model: Any,
        mechanism: Mechanism,
        num_classes: int,
        *,
        device: torch.device | str | None = None,
        domain: tuple[float, float] | None = (0, 1),
        grid: int | None = None,
    ) -> None:
        super().__init__(model, mechanism, TopClass(), num_classes, device=device, domain=domain, grid=grid)
        self.num_classes = self.classes

    def predict(
        self,
        x: Any,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> npt.NDArray[np.int64]:
        """Predict the class that the smoothed classifier returns, or abstain ([C19]'s PREDICT).

        The largest count is tested against the runner-up: among their votes it must win significantly more than half.

        Parameters
        ----------
        x, batch_size, seed, indices, progress
            As for `certify`. With a `seed` of None the draws cannot be repeated.
        n : int
            Draws for each example, at least 1.
        alpha : float
            Probability, above 0 and below 1, of a prediction that is not the smoothed classifier's class.

        Returns
        -------
        ndarray of int64
            The classes; -1 where the example abstains.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed or the model's output is unusable; the message names it.
        TypeError
            If an argument has the wrong type.

        References
        ----------
        [C19] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019, section 3.2.

        Examples
        --------
        >>> import torch
        >>> from rsmooth import Gaussian, SmoothedClassifier
        >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), num_classes=2)
        >>> smoothed.predict(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), n=100, alpha=0.01, seed=1)
        array([ 1, -1])
        """
        alpha = positive("alpha", alpha)
        # Refuses an alpha of 1 or more before the model runs.
        clopper_pearson(1, 1, alpha)
        counts = self._predicted(x, n, batch_size=batch_size, seed=seed, indices=indices, progress=progress)
        second, top = np.partition(counts, -2, axis=1)[:, -2:].T
        # The exact two-sided p-value is 2 P(X >= top) for X ~ Binomial(top + second, 1/2) (1 where top = second). The
        # lower Clopper-Pearson bound L at level alpha/2 solves P_L(X >= top) = alpha/2, which increases with L: so the
        # p-value is at most alpha exactly where L >= 1/2. L is rounded down, so rounding can only abstain.
        significant = clopper_pearson(top, top + second, alpha / 2) >= 1 / 2
        return np.where(significant, counts.argmax(axis=1), -1)

    def certify(
        self,
        x: Any,
        *,
        n0: int | None = None,
        n: int | None = None,
        alpha: float | None = None,
        norm: float,
        kind: Kind = TopClass(),  # noqa: B008
        labels: npt.ArrayLike | None = None,
        bound: Bound = "tightest",
        runner_up: RunnerUp = "second",
        until: npt.ArrayLike | None = None,
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> Certificates:
        """Certify examples: select a class on `n0` draws, then bound its radius from the counts of up to `n` others.

        Parameters
        ----------
        x : array or torch.Tensor, shape ``(N, *S)``
            The examples, always a batch, with values in the domain. Floating-point noise is added in float32, or
            float64 to float64, and the sum converted to the type of the model's parameters. On a grid, and for uint8,
            which implies one, `x` is as for `Mechanism.perturb` and the noise exact.
        n0, n : int or None
            Draws for each example that select the class and that estimate its probability, each at least 1; None is 100
            and 100,000. With `until`, `n` is the most that an example gets. Kinds that draw nothing take neither.
        alpha : float or None
            Failure probability of each certificate, above 0 and below 1; None is 0.001, or 0 for kinds that draw
            nothing.
        norm : {1, 2, math.inf}
            Norm of the perturbation.
        kind : Kind
            What is counted and certified (docs/certificates.md): the class with the most votes, unless it is another of
            ``rsmooth.certificates.KINDS``.
        labels : array_like, shape (N, …), or None
            For a kind that certifies what is asked for, as `rsmooth.certificates.topk.TopK`: the examples' own labels.
            None has `n0` draws select, which are not made where there are labels.
        bound, runner_up
            As for `rsmooth.certify_counts`.
        until : array_like of float or None
            Radii: an example ends when it is known of each whether it is certified, or hopeless, and gives its room in
            batches to others (`rsmooth.stopping.Until`). Its certificate rests on the interval ``"anytime"``, which
            holds whenever one stops, and its counts stay valid under every bound, norm and level. For kinds that are
            `rsmooth.certificates.stoppable.Stoppable`: the top class, top-k and soft scores. None is `n` draws for
            every example and the kind's own interval, for votes ``"clopper-pearson"``.
        batch_size : int or None
            Noisy copies the model gets at once, at least 1; they may be of several examples. None is
            `Voter.usual_batch_size`.
        seed : int, numpy.random.SeedSequence or None
            Names the streams. None takes fresh entropy; the result's ``seed`` repeats the draws.
        indices : array_like of int, shape (N,), or None
            A number for each example, which names its streams: give each example of a data set its own when the set is
            certified in parts. (With `until`, how many draws an example gets depends on those beside it, too.) None is
            0, 1, 2, …
        progress : bool or callable
            Whether to show a progress bar (needs rich), or what to call with the number of copies in each batch.

        Returns
        -------
        Certificates
            The certificates, with ``seed`` and ``indices`` set.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, the model's output is not as above, changes its form or is
            not finite (a NaN is not a vote), or an answer depends on more than its row; the message names it.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import torch
        >>> from rsmooth import Gaussian, SmoothedClassifier
        >>> smoothed = SmoothedClassifier(torch.nn.Identity(), Gaussian(0.1), num_classes=2)
        >>> certificates = smoothed.certify(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), n=1000, norm=2, seed=1)
        >>> certificates.prediction, certificates.radius.round(2)
        (array([ 1, -1]), array([0.24, 0.  ]))
        """
        if not isinstance(kind, Kind):
            raise TypeError(f"kind must be a Kind, such as TopClass(), got {kind!r} of type {type(kind).__name__}")
        if kind.answer == "number":
            raise ValueError(f"kind must be one of classes, got {kind.text!r}: rsmooth.torch.regressor is for numbers")
        certificates: Certificates = self._certify(
            x,
            kind,
            n0=n0,
            n=n,
            alpha=alpha,
            norm=norm,
            labels=labels,
            bound=bound,
            runner_up=runner_up,
            until=until,
            batch_size=batch_size,
            seed=seed,
            indices=indices,
            progress=progress,
        )
        return certificates
