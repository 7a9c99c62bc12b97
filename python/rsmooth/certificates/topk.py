"""Top-k: the class stays among the k most probable ones, however the input is perturbed within the radius."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rsmooth import _core
from rsmooth._check import integer, worker_count
from rsmooth._settings import check_fields, setting
from rsmooth.certificates.prediction import hoped_votes
from rsmooth.certificates.result import Certificates, StoppedCounts
from rsmooth.certificates.topclass import TopClass, classes_of, native_integers, votes_of
from rsmooth.mechanisms.base import rule_of
from rsmooth.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from rsmooth.mechanisms import Mechanism
    from rsmooth.rule import Bound, Interval

__all__ = ["TopK", "TopKCertificates", "certify_topk"]


@dataclass(frozen=True, eq=False, repr=False)
class TopKCertificates(Certificates):
    """The top-k certificates of N inputs, with all that is needed to check them.

    Certificate i says: with confidence 1 − `alpha` over the draws behind its counts, no perturbation of input i of norm
    at most ``radius[i]`` moves class ``prediction[i]`` out of the `k` most probable classes of the smoothed classifier.
    Where ``prediction[i]`` is −1 nothing is said. `certified_accuracy` and its like count the rows whose true label is
    certified: the certified top-k accuracy.

    Attributes
    ----------
    k : int
        How many classes are the top ones.
    prediction : ndarray of int64, shape (N,)
        The class asked for, or −1 where it is not certified.
    p1, p2 : ndarray of float64, shape (N,)
        Lower confidence bound of that class's probability, and upper confidence bound of the k-th largest of all
        others'.
    selection : ndarray of integers, shape (N,) or (N, K)
        The classes asked for, or the counts of separate draws that chose them.

    The others are those of `rsmooth.Certificates`; `order` is NaN.
    """

    k: int = field(kw_only=True)

    @property
    def _kind(self) -> TopK:
        return TopK(self.k)

    def __repr__(self) -> str:
        """Describe the settings and summarise the radii."""
        return f"{super().__repr__()[:-1]}, k={self.k})"


def certify_topk(
    counts: ArrayLike,
    labels: ArrayLike,
    mechanism: Mechanism,
    *,
    k: int,
    norm: float,
    dim: int,
    alpha: float = 0.001,
    bound: Bound = "tightest",
    interval: Interval = "clopper-pearson",
    threads: int | None = None,
) -> TopKCertificates:
    """Turn vote counts into certificates that a class stays among the k most probable ones.

    Parameters
    ----------
    counts : array_like of int, shape (N, K)
        For each input the votes of its K classes, of any integer type.
    labels : array_like of int, shape (N,)
        For each input the class that is to be certified, such as its true one. It must not depend on `counts`.
    mechanism : Mechanism
        The mechanism whose draws were counted. Its trade-off curve or its divergence D_MR in `norm` must be known.
    k : int
        How many classes are the top ones, from 1 to K - 1.
    norm : {1, 2, math.inf}
        The norm in which the radius is measured.
    dim : int
        The number of coordinates of an input.
    alpha : float
        The failure probability of each certificate, above 0 and below 1.
    bound : {"tightest", "neyman-pearson", "renyi"}
        What the radius comes from: whichever is known and gives the larger one, the trade-off curve, or the divergence.
    interval : {"clopper-pearson", "anytime"}
        As for `rsmooth.certify_counts`: ``"anytime"`` is for draws that were stopped by looking at them.
    threads : int, optional
        Number of threads; all cores by default. The result does not depend on it.

    Returns
    -------
    TopKCertificates
        The certificates of the N inputs.

    Raises
    ------
    ValueError
        If a count is negative, a row's sum is 0 or above 2**53, a label is no class, `k` is not below K, the shapes do
        not fit (counts of draws are no labels), the bound does not hold for the mechanism, `counts` are `StoppedCounts`
        and `interval` does not hold for them, or another argument is not as above.
    TypeError
        If `counts` or `labels` are not integers, or `mechanism` is no Mechanism.

    Notes
    -----
    With p the label's probability, S_t the sum of the t smallest among the k largest others (at most 1 - p) and B_r the
    trade-off curve, the label stays where 1 - B_r(1 - p) > B_r(S_t) / t for some t from 1 to k [1]_. For the Gaussian
    that is Φ(Φ⁻¹(p) - r/σ) > Φ(Φ⁻¹(S_t) + r/σ) / t. With the divergence the label
    stays where D_MR(r) is below sup over α > 1 of -ln(1 - p - S_t + (1 + t) M) / α for some t, with M the power mean of
    exponent 1 - α of p and S_t / t with weights 1 and t. For k = 1 the radii are those of the bounds of these names.

    p is bounded from below at level alpha / (k + 1) and each of the k largest others from above at the same level:
    docs/certificates.md proves that these k + 1 bounds are enough. Jia et al. take the level alpha / K;
    ``alpha = a * (k + 1) / K`` gives what they do at failure probability a.

    References
    ----------
    .. [1] Jia, Cao, Wang and Gong, "Certified Robustness for Top-k Predictions against Adversarial Perturbations via
       Randomized Smoothing", ICLR 2020.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.topk import certify_topk
    >>> counts = [[500, 480, 20, 0], [300, 690, 5, 5], [10, 0, 500, 490]]
    >>> certify_topk(counts, [0, 0, 0], Gaussian(0.5), k=1, norm=2, dim=3072).radius.round(4)
    array([0., 0., 0.])
    >>> certify_topk(counts, [0, 0, 0], Gaussian(0.5), k=2, norm=2, dim=3072).radius.round(4)
    array([0.4043, 0.358 , 0.    ])
    """
    rule = Rule(mechanism, norm=norm, dim=dim, alpha=alpha, bound=bound, interval=interval)
    votes, asked = votes_of(counts, rule.interval), native_integers(labels, "labels")
    return _certify(rule, votes, asked, classes_of(asked, "labels", votes, counts=False), k=k, threads=threads)


@dataclass(frozen=True)
class TopK(TopClass):
    """Votes for the class with the highest score, as proof that a class stays among the k most probable ones.

    The class is the example's label, where that is known, and otherwise the one that separate draws select. The votes
    are those of `rsmooth.certificates.topclass.TopClass`.

    Parameters
    ----------
    k : int
        How many classes are the top ones, at least 1 and below the number of classes.

    Raises
    ------
    ValueError
        If `k` is below 1.
    TypeError
        If it is no integer.

    Examples
    --------
    >>> import numpy as np
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.kind import Form
    >>> from rsmooth.certificates.topk import TopK
    >>> from rsmooth.rule import Rule
    >>> kind = TopK(k=2)
    >>> tally = kind.tally(1, Form(classes=3))
    >>> kind.add(tally, np.zeros(1000, np.int64), np.arange(1000), np.repeat([0, 1], [450, 550]))
    >>> kind.certify(None, tally, Rule(Gaussian(0.5), norm=2, dim=64), labels=np.array([0]))
    TopKCertificates(1 inputs, 0 abstained, median radius 0.5369; Gaussian(sigma=0.5), norm=2.0, dim=64, alpha=0.001, \
bound='tightest', runner_up='second', k=2)
    """

    name: ClassVar[str] = "top-k"
    as_votes: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = True
    k: int = setting("How many classes are the top ones.")

    def __post_init__(self) -> None:
        """Check the type."""
        check_fields(self)

    def certify(
        self,
        selection: NDArray[np.int64] | None,
        tally: NDArray[np.int64],
        rule: Rule,
        *,
        labels: NDArray[np.int64] | None = None,
        n: int | None = None,
        threads: int | None = None,
    ) -> TopKCertificates:
        """Return what the tallies prove.

        Parameters
        ----------
        selection : ndarray of int64, shape (N, K) or (N,), or None
            Where there are no `labels`: counts of separate draws, of which the largest wins, or classes.
        tally : ndarray of int64, shape (N, K)
            The votes.
        rule : Rule
            How they become certificates. Its `bound` must be one of `certify_topk`, its `runner_up` "second".
        labels : ndarray of int64, shape (N,), or None
            The class asked for in each row.
        n, threads
            As for `rsmooth.certify_counts`.

        Returns
        -------
        TopKCertificates
            One a row.

        Raises
        ------
        ValueError, TypeError
            As `certify_topk`, or if `selection` and `labels` are None or `rule` asks for another bound.
        """
        if selection is None and labels is None:
            raise ValueError("selection must be classes or counts of separate draws for top-k certificates, got None")
        votes = votes_of(tally, rule.interval)
        asked, classes = _asked(selection, votes, labels)
        return _certify(rule, votes, asked, classes, k=self.k, n=n, threads=threads)

    def best(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return votes that are all for the class."""
        return np.array([0]), np.array([[n, *[0] * self.k]])

    def hoped(
        self,
        selection: NDArray[np.int64],
        tally: NDArray[np.int64],
        n: int,
        better: float,
        *,
        labels: NDArray[np.int64] | None = None,
    ) -> Sequence[NDArray[np.int64]]:
        """Return votes of `n` draws that are better for the class, and worse for the t others that the radius is of."""
        return hoped_votes(tally, _asked(selection, tally, labels)[1], n, better, self.k)


def _asked(
    selection: NDArray[Any] | None, votes: NDArray[Any], labels: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return what says which class is asked for in each row, labels where there are any, and the classes."""
    name, given = ("selection", selection) if labels is None else ("labels", labels)
    asked = native_integers(given, name)  # type: ignore[arg-type]
    return asked, classes_of(asked, name, votes, counts=labels is None)


def _certify(
    rule: Rule,
    votes: NDArray[Any],
    asked: NDArray[Any],
    prediction: NDArray[np.int64],
    *,
    k: int,
    n: int | None = None,
    threads: int | None = None,
) -> TopKCertificates:
    """Certify the classes in `prediction`, which is changed; `asked` is what said them."""
    if rule.runner_up != "second":
        raise ValueError(f'runner_up must be "second" for top-k certificates, got {rule.runner_up!r}')
    rows, classes = votes.shape
    if classes < 2:  # noqa: PLR2004
        raise ValueError(f"counts must be of at least 2 classes, shape (N, K), got {votes.shape}")
    k = integer("k", k, 1, classes - 1)
    radius, p1, p2 = (np.empty(rows) for _ in range(3))
    _core.certify_topk(
        np.asarray(votes),
        rule_of(rule.mechanism, norm=rule.norm, dim=rule.dim, bound=rule.bound, grid=rule.grid),
        rule.bound,
        k,
        rule.alpha,
        rule.interval,
        None if n is None else integer("n", n, 1, 2**53),
        rule.noise_error,
        prediction,
        radius,
        p1,
        p2,
        worker_count(threads),
    )
    return TopKCertificates(
        prediction=prediction,
        radius=radius,
        p1=p1,
        p2=p2,
        order=np.full(rows, np.nan),
        counts=votes,
        selection=asked,
        **rule.settings,
        stopped=isinstance(votes, StoppedCounts),
        k=k,
    )
