"""Median smoothing: real outputs, such as a regression's, certified to stay near a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth._arrays import real, shared
from rsmooth._settings import check_fields, setting
from rsmooth.certificates.accuracy import CertifiedRadii
from rsmooth.certificates.eachdraw import EachDraw
from rsmooth.certificates.kind import Answer  # noqa: TC001  # Fields are read with their types.
from rsmooth.certificates.result import Certificates
from rsmooth.confidence import clopper_pearson
from rsmooth.io.packed import unpacked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rsmooth.certificates.kind import Form
    from rsmooth.rule import Rule

    Floats = NDArray[np.float64]

__all__ = ["Median", "MedianCertificates"]


@dataclass(frozen=True, eq=False, repr=False)
class MedianCertificates(Certificates):
    """The certificates of N inputs of a smoothed regressor, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws behind its outputs, whatever the perturbation of
    input i of norm at most ``radius[i]``, the median of the output is within `tolerance` of ``prediction[i]``. Where
    ``prediction[i]`` is NaN nothing is said. `certified_accuracy` and its like take the true values for labels, and
    count the inputs whose prediction is within `tolerance` of them.

    Attributes
    ----------
    tolerance : float
        How far the median may be from the prediction.
    prediction : ndarray of float64, shape (N,)
        The value asked for, or the median of separate draws; NaN for an abstention.
    p1, p2 : ndarray of float64, shape (N,)
        1 − p2, and the upper confidence bound of the probability of an output that is too small, or too large.
    counts : ndarray of float64, shape (N, n)
        The outputs.
    selection : ndarray of float64, shape (N,) or (N, n0)
        The values asked for, or the outputs of separate draws whose median is the prediction.

    The others are those of `rsmooth.Certificates`; `order` is NaN.
    """

    tolerance: float = field(kw_only=True)

    @property
    def _kind(self) -> Median:
        return Median(self.tolerance)

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Of which inputs nothing is said, shape (N,)."""
        return np.isnan(self.prediction)

    def certified(self, labels: ArrayLike) -> CertifiedRadii:
        """Return the radii of the inputs whose prediction is within the tolerance of the true values, 0 for others."""
        truth = real(labels, "labels")
        if truth.shape != self.prediction.shape:
            raise ValueError(f"labels must have the shape {self.prediction.shape}, got {truth.shape}")
        right = self._kind.right(self.prediction, truth)
        return CertifiedRadii(right.astype(int), self.radius, np.ones(len(right), int))

    def _kept(self, where: NDArray[np.bool_]) -> NDArray[Any]:
        return np.where(where, self.prediction, np.nan)


@dataclass(frozen=True)
class Median(EachDraw):
    """Real outputs, as proof that their median stays near a value.

    The value is the example's own (its label), where that is known, and otherwise the median of separate draws.

    Parameters
    ----------
    tolerance : float
        How far the median may be from the value, above 0, in the units of the output.

    Raises
    ------
    ValueError
        If `tolerance` is not above 0 and finite.
    TypeError
        If it is no number.

    Notes
    -----
    With lo and hi the ends of the tolerance around the value v, the median is in [lo, hi] where less than half of the
    outputs are below lo and less than half above hi. Each of the two is a vote between two classes, "too small" or not
    and "too large" or not, so that every bound for votes holds: the radius is that of p1 = 1 - p2 for an upper bound p2
    of the larger of both probabilities at x. That bound is the larger of two Clopper-Pearson bounds at level alpha
    each: the side that is truly the more probable is a fixed one, and the larger bound is at least this one's. v must
    not depend on the draws that are counted.

    Examples
    --------
    >>> import torch
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.median import Median
    >>> from rsmooth.torch.regressor import SmoothedRegressor
    >>> smoothed = SmoothedRegressor(lambda x: x.sum(dim=1), Gaussian(0.5))
    >>> found = smoothed.certify(torch.tensor([[0.25, 0.5]]), kind=Median(tolerance=1), n=10_000, norm=2, seed=0)
    >>> found.prediction.round(1), found.radius.round(2)  # within 1 / √2, less the error of the draws that predict
    (array([0.7]), array([0.6]))
    """

    name: ClassVar[str] = "median"
    as_votes: ClassVar[bool] = True
    answer: ClassVar[Answer] = "number"
    counted: ClassVar[str] = "outputs"
    takes_labels: ClassVar[bool] = True
    stepwise: ClassVar[bool] = False
    tolerance: float = setting("How far the median of the output may be from the value that is certified.")

    def __post_init__(self) -> None:
        """Check the setting."""
        check_fields(self)
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance must be above 0 and finite, got {self.tolerance}")

    def observe(self, output: Any) -> Any:
        """Return each row's output in double precision, NaN where it is not finite.

        Parameters
        ----------
        output : torch.Tensor, shape (B,)
            Numbers, on any device.

        Returns
        -------
        torch.Tensor of float64, shape (B,)
            The numbers.

        Raises
        ------
        ValueError
            If the output has another shape.
        """
        if output.ndim != 1 or not output.is_floating_point():
            raise ValueError(f"output must be floating-point numbers (B,), got {output.dtype} of {tuple(output.shape)}")
        return output.double().masked_fill(~output.isfinite(), math.nan)

    def faulty(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """Return −1 for each output that is NaN, and 0 for others."""
        return np.where(np.isnan(observations), -1, 0)

    def apart(self, before: Any, after: Any) -> Any:
        """Return how far each row's outputs are apart, as a share of the tolerance."""
        return ((before - after).abs() / self.tolerance).nan_to_num(0.0).clamp(max=1.0)

    def tally(self, rows: int, form: Form) -> Floats:
        """Return room for outputs, NaN, shape (rows, draws)."""
        return np.full((rows, form.draws), np.nan)

    def drawn(self, tally: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many outputs each row has."""
        drawn: NDArray[np.int64] = (~np.isnan(tally)).sum(axis=1)
        return drawn

    def right(self, prediction: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which predictions are within the tolerance of the examples' values."""
        return np.asarray(np.abs(prediction - labels) <= self.tolerance)

    def moved(self, recorded: NDArray[Any], found: NDArray[Any]) -> float:
        """Return how far outputs are apart, in shares of the tolerance of at most 1, over all draws."""
        apart = np.abs(recorded - found[:, : recorded.shape[1]]) / self.tolerance
        return float(np.minimum(apart, 1.0).sum())

    def read(self, name: str, recorded: Any, classes: int, most: int) -> Floats:  # noqa: ARG002
        """Return the outputs that a record holds; refuse what no model can have answered."""
        outputs = unpacked(name, recorded)
        if outputs.dtype.kind != "f" or outputs.ndim != 1 or len(outputs) > most or not np.isfinite(outputs).all():
            raise ValueError(
                f"{name} must have at most {most:,} finite numbers, got {outputs.dtype} of shape {outputs.shape}"
            )
        return outputs

    def labels_of(self, labels: ArrayLike, rows: int, classes: int) -> Floats:  # noqa: ARG002
        """Return examples' values as `certify` takes them.

        Parameters
        ----------
        labels : array_like of float, shape (N,)
            The values.
        rows : int
            How many examples there are.
        classes : int
            Not looked at.

        Raises
        ------
        ValueError
            If a value is not finite, or there are more or fewer than examples.
        TypeError
            If they are not real numbers.
        """
        known = real(labels, "labels").astype(np.float64)
        if known.shape != (rows,):
            raise ValueError(f"labels must have the shape {(rows,)}, got {known.shape}")
        wrong = np.flatnonzero(~np.isfinite(known))
        if len(wrong):
            raise ValueError(f"labels[{wrong[0]}] must be finite, got {known[wrong[0]]}")
        return known

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        labels: NDArray[Any] | None = None,
        n: int | None = None,
        threads: int | None = None,  # noqa: ARG002
    ) -> MedianCertificates:
        """Return what the outputs prove.

        Parameters
        ----------
        selection : ndarray of float64, shape (N, n0) or (N,)
            Where there are no `labels`: the outputs of separate draws, or values.
        tally : ndarray of float64, shape (N, n)
            The outputs. NaN at the end of all rows is room that was left over.
        rule : Rule
            How they become certificates; its interval must be "clopper-pearson".
        labels : ndarray of float64, shape (N,), or None
            The values that are certified.
        n : int or None
            Refuse another number of outputs.
        threads
            Not looked at.

        Returns
        -------
        MedianCertificates
            One a row.

        Raises
        ------
        ValueError
            If rows differ in their number of outputs, the shapes do not fit, or another argument is not as above.
        TypeError
            If outputs are not real numbers.
        """
        if rule.interval != self.interval:
            raise ValueError(f'interval must be "{self.interval}" for medians, got {rule.interval!r}')
        outputs = self._outputs(tally, "counts", n)
        name, given = ("selection", selection) if labels is None else ("labels", labels)
        if given is None:
            raise ValueError("selection must be values or outputs of separate draws for medians, got None")
        asked = center = real(given, name).astype(np.float64)
        if shared(given, tally):
            raise ValueError(f"{name} must be of separate draws, got the memory of counts")
        if asked.ndim == 2 and labels is None:  # noqa: PLR2004
            asked = self._outputs(asked, name, None)
            # The median of an empirical law, as of any other: the least that half of them do not exceed.
            center = np.sort(asked, axis=1)[:, (asked.shape[1] - 1) // 2] if asked.size else np.empty(0)
        if center.shape != outputs.shape[:1] or not np.isfinite(center).all():
            raise ValueError(f"{name} must be {len(outputs)} finite values, got an array of shape {asked.shape}")
        p2 = np.full(len(outputs), 1.0)
        if outputs.size:
            # The ends are rounded, so they are moved inward: an output that counts is within the tolerance.
            ends = np.nextafter(center - self.tolerance, center), np.nextafter(center + self.tolerance, center)
            beyond = [outputs < ends[0][:, None], outputs > ends[1][:, None]]
            most = np.maximum(*(side.sum(axis=1) for side in beyond))
            p2 = clopper_pearson(most, outputs.shape[1], rule.alpha, side="upper")
        p2 = np.minimum(np.nextafter(p2 + rule.noise_error, 2), 1.0)
        p1 = np.nextafter(1 - p2, 0)
        radius = rule.radius(p1, p2)
        return MedianCertificates(
            prediction=np.where(radius > 0, center, np.nan),
            radius=radius,
            p1=p1,
            p2=p2,
            order=np.full(len(radius), np.nan),
            counts=outputs,
            selection=asked,
            **rule.settings,
            tolerance=self.tolerance,
        )

    def _outputs(self, given: ArrayLike, name: str, n: int | None) -> Floats:
        """Return outputs without the room that was left over."""
        outputs = real(given, name).astype(np.float64)
        if outputs.ndim != 2:  # noqa: PLR2004
            raise ValueError(f"{name} must have the shape (N, n), got {outputs.shape}")
        if not len(outputs):
            return outputs
        drawn = self.drawn(outputs)
        wanted = int(drawn[0]) if n is None else n
        wrong = np.flatnonzero((drawn != wanted) | np.isnan(outputs[:, :wanted]).any(axis=1))
        if len(wrong) or not wanted:
            at = int(wrong[0]) if len(wrong) else 0
            raise ValueError(f"{name}[{at}] must be {max(wanted, 1)} outputs that are no NaN, got {drawn[at]}")
        return outputs[:, :wanted]
