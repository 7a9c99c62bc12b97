"""How the votes of a run become its certificates: one rule for recording, re-certifying and verifying."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmooth.certificates.topclass import TopClass
from rsmooth.mechanisms import mechanism_named
from rsmooth.rule import Rule
from rsmooth.sequential import OUTCOMES, BettingTest, least_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.certificates.kind import Kind
    from rsmooth.certificates.result import Certificates
    from rsmooth.run.spec import Spec

__all__ = ["RunRule", "rule_of"]


@dataclass(frozen=True)
class RunRule(Rule):
    """A rule for the votes of a run, some of whose draws a sequential test may have stopped.

    Attributes
    ----------
    kind : Kind
        What is counted.
    n : int
        Draws of an example that test its class; at most, with `radius`.
    radius : float or None
        The one radius that a sequential test certifies, or None.

    Raises
    ------
    ValueError
        If a setting is not allowed, or `radius` cannot be certified with `n` draws.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.run.rule import RunRule
    >>> rule = RunRule(Gaussian(0.5), norm=2, dim=64, kind=TopClass(2), n=1000, radius=0.25)
    >>> rule.certificates([[0, 50], [30, 20]], [[1, 59], [6, 4]]).radius
    array([0.25, 0.  ])
    """

    kind: Kind = field(kw_only=True)
    n: int = 100_000
    radius: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        # Refuses a radius that cannot be certified.
        _ = self.test

    @cached_property
    def test(self) -> BettingTest | None:
        """The test of `radius`; None where there is none."""
        if self.radius is None:
            return None
        threshold = least_probability(self.mechanism, self.radius, norm=self.norm, dim=self.dim, bound=self.bound)
        return BettingTest(threshold, self.alpha, self.n)

    def certificates(self, selection: Any, counts: Any) -> Certificates:
        """Certify examples.

        Parameters
        ----------
        selection, counts : array_like of int, shape (N, K)
            Votes of the draws that select and that test. Those of a sequential test are all up to when it stopped.

        Returns
        -------
        Certificates
            With `radius`, `stopped` ones: that radius where it is certified, p1 the probability that the test rejects
            and p2 the rest; elsewhere an abstention, about which nothing is said (p1 = 0, p2 = 1).
        """
        return self._judged(np.asarray(selection), np.asarray(counts))[0]

    def _judged(self, selection: NDArray[Any], counts: NDArray[Any]) -> tuple[Certificates, NDArray[np.int8] | None]:
        """Return the certificates and what the test decided; None where there is none."""
        if self.test is None or self.radius is None:
            return self.kind.certify(selection, counts, self, n=self.n), None
        found: Certificates = self.kind.certify(selection, counts, self)
        top = np.argmax(selection, axis=1)
        votes = np.take_along_axis(counts, top[:, None], axis=1)[:, 0].astype(np.int64)
        decisions = self.test.decide(votes, counts.sum(axis=1, dtype=np.int64))
        certified = decisions > 0
        p1 = np.where(certified, self.test.threshold, 0.0)
        certificates = replace(
            found,
            prediction=np.where(certified, top, -1),
            radius=np.where(certified, self.radius, 0.0),
            p1=p1,
            p2=1 - p1,
            order=np.full(len(found), np.nan),
            runner_up="complement",
            stopped=True,
        )
        return certificates, decisions

    def records(self, selection: Any, counts: Any) -> list[dict[str, Any]]:
        """Return what a record says of each example's certificate.

        Parameters
        ----------
        selection, counts
            As for `certificates`.

        Returns
        -------
        list of dict
            ``prediction``, ``radius``, ``p1`` and ``p2``; with `radius`, also the test's ``outcome``.
        """
        found, decisions = self._judged(np.asarray(selection), np.asarray(counts))
        names = ("prediction", "radius", "p1", "p2")
        columns = {name: getattr(found, name).tolist() for name in names}
        if decisions is not None:
            columns["outcome"] = [OUTCOMES[each] for each in decisions.tolist()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def rule_of(spec: Spec, *, dim: int, num_classes: int, allow_code: bool) -> RunRule:
    """Return the rule of a run.

    Parameters
    ----------
    spec : Spec
        What the run is asked for.
    dim, num_classes : int
        Coordinates of an input, and classes.
    allow_code : bool
        Whether the mechanism may be code to import.

    Raises
    ------
    ValueError
        If the settings are not allowed, or can certify nothing.
    """
    mechanism = mechanism_named(spec.mechanism, spec.sigma, allow_code=allow_code)
    return RunRule(
        mechanism,
        grid=spec.steps,
        noise_error=0.0 if spec.steps is None else mechanism.noise_error(dim, spec.steps),
        norm=spec.norm,
        dim=dim,
        alpha=spec.alpha,
        bound=spec.bound,
        runner_up=spec.runner_up,
        kind=TopClass(num_classes),
        n=spec.n,
        radius=spec.radius,
    )
