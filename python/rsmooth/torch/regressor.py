"""The smoothed regressor of a model: certificates of the median of a real output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsmooth.certificates.median import Median
from rsmooth.torch.smoothed import Smoothed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from rsmooth._streams import Seed
    from rsmooth.certificates.median import MedianCertificates
    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound
    from rsmooth.torch.smoothed import Progress

__all__ = ["SmoothedRegressor"]


class SmoothedRegressor(Smoothed):
    """What a regression becomes when the median of its outputs over noisy copies of the input counts.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn regressor, onnxruntime.InferenceSession or callable
        Maps a batch ``(B, *S)`` of inputs, noise added, to floating-point numbers (B,) or (B, 1), or to something that
        holds them, as for `rsmooth.SmoothedClassifier`.
    mechanism, device, domain, grid
        As for `rsmooth.SmoothedClassifier`.

    Raises
    ------
    ValueError
        If `domain` is not allowed.
    TypeError
        If `model` is no model or `mechanism` not a mechanism.

    Notes
    -----
    Draws have the names that those of `rsmooth.SmoothedClassifier` have, and the model is asked in the same way whether
    it answers each row of a batch by itself.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.median import Median
    >>> from rsmooth.torch.regressor import SmoothedRegressor
    >>> smoothed = SmoothedRegressor(lambda x: 10 * x.mean(dim=1), Gaussian(0.25))
    >>> x, y = torch.full((1, 4), 0.5), [5.0]
    >>> found = smoothed.certify(x, kind=Median(tolerance=1), labels=y, n=10_000, norm=2, seed=0)
    >>> found.radius.round(2)  # the mean moves by half of what x moves
    array([0.19])
    """

    def __init__(
        self,
        model: Any,
        mechanism: Mechanism,
        *,
        device: torch.device | str | None = None,
        domain: tuple[float, float] | None = (0, 1),
        grid: int | None = None,
    ) -> None:
        super().__init__(model, mechanism, Median(1.0), None, device=device, domain=domain, grid=grid)

    def certify(
        self,
        x: Any,
        *,
        kind: Median,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        norm: float,
        labels: npt.ArrayLike | None = None,
        bound: Bound = "tightest",
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> MedianCertificates:
        """Certify that the median of the output stays near a value, within a radius.

        Parameters
        ----------
        x : array or torch.Tensor, shape ``(N, *S)``
            The examples, as for `rsmooth.SmoothedClassifier.certify`.
        kind : Median
            How near.
        n0, n : int
            Draws for each example whose median is the value, where there are no `labels`, and draws that test it.
        labels : array_like of float, shape (N,), or None
            The values: the true ones, for a certificate that the smoothed regressor is right to within the tolerance.
        alpha, norm, bound, batch_size, seed, indices, progress
            As for `rsmooth.SmoothedClassifier.certify`.

        Returns
        -------
        MedianCertificates
            The certificates, with ``seed`` and ``indices`` set.

        Raises
        ------
        ValueError
            If an argument has a value that is not allowed, the model's output is not as above, changes its form or is
            not finite, or an answer depends on more than its row; the message names it.
        TypeError
            If an argument has the wrong type.
        """
        if not isinstance(kind, Median):
            raise TypeError(f"kind must be a Median, got {kind!r} of type {type(kind).__name__}")
        certificates: MedianCertificates = self._certify(
            x,
            kind,
            n0=n0,
            n=n,
            alpha=alpha,
            norm=norm,
            labels=labels,
            bound=bound,
            until=None,
            batch_size=batch_size,
            seed=seed,
            indices=indices,
            progress=progress,
        )
        return certificates

    def outputs(
        self,
        x: Any,
        *,
        n: int = 1000,
        batch_size: int | None = None,
        seed: Seed = None,
        indices: npt.ArrayLike | None = None,
        progress: Progress = False,
    ) -> npt.NDArray[np.float64]:
        """Return the model's outputs for noisy copies of examples, such as `certify_percentile` takes.

        Parameters
        ----------
        x, batch_size, seed, indices, progress
            As for `certify`. The draws are others than those of `certify`.
        n : int
            Draws for each example, at least 1.

        Returns
        -------
        ndarray of float64, shape (N, n)
            The outputs.

        Raises
        ------
        ValueError, TypeError
            As `certify`.

        Examples
        --------
        >>> import numpy as np
        >>> from rsmooth import Gaussian
        >>> from rsmooth.certificates.percentile import certify_percentile
        >>> from rsmooth.torch.regressor import SmoothedRegressor
        >>> smoothed = SmoothedRegressor(lambda x: 10 * x.mean(dim=1), Gaussian(0.25))
        >>> outputs = smoothed.outputs(np.full((1, 4), 0.5, np.float32), n=10_000, seed=0)
        >>> found = certify_percentile(outputs, [0.1, 0.2], Gaussian(0.25), norm=2, dim=4)
        >>> found.lower.round(2), found.upper.round(2)  # 5 -/+ 0.5 and 1, and what confidence costs
        (array([[4.46, 3.96]]), array([[5.57, 6.06]]))
        """
        return self._predicted(x, n, batch_size=batch_size, seed=seed, indices=indices, progress=progress)
