"""The classifier that a model becomes by splitting noise: all copies of an input vote, nothing is left to chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rsmooth._check import integer
from rsmooth.certificates.kind import Form
from rsmooth.certificates.splitting import Splitting
from rsmooth.mechanisms import Uniform
from rsmooth.torch.voter import Voter

if TYPE_CHECKING:
    import numpy.typing as npt

    from rsmooth.certificates.splitting import SplittingCertificates

__all__ = ["SplitClassifier"]


class SplitClassifier:
    """A model that votes on all copies which a splitting makes of an input.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn estimator, onnxruntime.InferenceSession or callable
        As for `rsmooth.SmoothedClassifier`: maps a batch ``(B, *S)`` of copies, float32 from 0 to 1, to scores or
        labels. It should be trained on such copies, of which an epoch may take one an image (``splitting.copies(x, t,
        1)`` with a random t).
    splitting : Splitting
        The splitting.
    num_classes : int
        Number of classes, at least 2.
    device : torch.device, str or None
        Where to run the model, which is moved there; None is where its parameters are.

    Raises
    ------
    ValueError
        If `num_classes` is below 2.
    TypeError
        If `model` is no model or `splitting` no Splitting.

    Notes
    -----
    The certificates rest on the model's being a function of its input: the same copy must get the same class whatever
    the batch. The first copies of the first input are asked about again in other company, and a model whose answers
    move is refused.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth.certificates.splitting import Splitting
    >>> from rsmooth.torch.split import SplitClassifier
    >>> splitting = Splitting(levels=255, spacing=400, shape=(8, 8), seed=0)
    >>> bright = SplitClassifier(lambda x: (x.mean(dim=(1, 2)) > 0.4).long(), splitting, num_classes=2)
    >>> found = bright.certify(np.full((1, 8, 8), 200, np.uint8))
    >>> found.prediction, found.radius.round(3)
    (array([1]), array([0.78]))
    """

    def __init__(
        self, model: Any, splitting: Splitting, num_classes: int, *, device: torch.device | str | None = None
    ) -> None:
        if not isinstance(splitting, Splitting):
            raise TypeError(f"splitting must be a Splitting, got {type(splitting).__name__}")
        # The noise that a splitting is in place of.
        noise = Uniform(splitting.spacing / (2 * splitting.levels))
        self.splitting, self.voter = splitting, Voter(model, noise, num_classes, device=device)

    def certify(self, x: npt.ArrayLike, *, batch_size: int | None = None) -> SplittingCertificates:
        """Certify inputs by the votes of all their copies.

        Parameters
        ----------
        x : array_like of int, shape ``(N, *S)``
            Whole levels from 0 to the splitting's highest, such as uint8.
        batch_size : int or None
            Copies that the model gets at once, at least 1; None is `rsmooth.torch.voter.Voter.usual_batch_size`.

        Returns
        -------
        SplittingCertificates
            Of the N inputs.

        Raises
        ------
        ValueError
            If a level is not allowed, the shapes do not fit, or the model's output is not as above, changes its form,
            is not finite or depends on more than its row.
        TypeError
            If `x` are not integers.
        """
        inputs = np.asarray(x)
        # Refuses what is no input before the model runs.
        self.splitting.copies(inputs, count=0)
        if batch_size is None:
            batch_size = self.voter.usual_batch_size(self.splitting.offsets.size)
        size = min(integer("batch_size", batch_size, 1, 2**31), self.splitting.spacing)
        kind = self.voter.kind
        counts = kind.tally(len(inputs), Form(classes=self.voter.num_classes or 0))
        if len(inputs):
            rows = self._copies(inputs[0], 0, size)
            self.voter.compare_rows(rows, torch.zeros_like(rows))
        for row, example in enumerate(inputs):
            for first in range(0, self.splitting.spacing, size):
                count = min(size, self.splitting.spacing - first)
                copies = self._copies(example, first, count)
                # All batches are of one size, on which the rounding of a row may depend.
                padded = copies[torch.arange(size) % count]
                votes = self.voter.seen(padded, f"copies of input {row}")[:count]
                kind.add(counts, np.full(count, row), votes)
        return self.splitting.certify(counts)

    def _copies(self, example: npt.NDArray[Any], first: int, count: int) -> torch.Tensor:
        return torch.from_numpy(self.splitting.copies(example[None], first, count)[0])
