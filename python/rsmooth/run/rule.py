"""How the votes of a run become its certificates: one rule for recording, re-certifying and verifying."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rsmooth.certificates.kind import Form
from rsmooth.certificates.result import COMPUTED, StoppedCounts
from rsmooth.certificates.stoppable import stoppable
from rsmooth.mechanisms import mechanism_named
from rsmooth.rule import Rule
from rsmooth.stopping import Until

if TYPE_CHECKING:
    from rsmooth.certificates.kind import Kind
    from rsmooth.certificates.result import Certificates
    from rsmooth.rule import Bound, Interval, RunnerUp
    from rsmooth.run.spec import Spec

__all__ = ["RunRule", "rule_of"]


@dataclass(frozen=True)
class RunRule(Rule):
    """A rule for the votes of a run, whose draws may have been stopped by them.

    Attributes
    ----------
    kind : Kind
        What is counted.
    n : int
        Draws of an example that test its class; at most, where it is stopped.
    until, width
        What stops it, as for `rsmooth.run.spec.Spec`.

    Raises
    ------
    ValueError
        If a setting is not allowed.

    Examples
    --------
    >>> from rsmooth import Gaussian
    >>> from rsmooth.certificates.topclass import TopClass
    >>> from rsmooth.run.rule import RunRule
    >>> rule = RunRule(Gaussian(0.5), norm=2, dim=64, kind=TopClass(), n=1000, until=(0, 0.25), interval="anytime")
    >>> rule.certificates([[0, 50], [30, 20]], [[1, 59], [6, 4]]).radius.round(3)
    array([0.415, 0.   ])
    """

    kind: Kind = field(kw_only=True)
    n: int = 100_000
    until: tuple[float, ...] | None = None
    width: float | None = None

    @cached_property
    def stopping(self) -> Until | None:
        """What ends an example; None where its number of draws is fixed."""
        if self.until is None and self.width is None:
            return None
        return Until(stoppable(self.kind, "until and width"), self, self.n, self.until or (), self.width)

    def certificates(self, selection: Any, counts: Any, labels: Any = None) -> Certificates:
        """Certify examples.

        Parameters
        ----------
        selection, counts : array_like of int, shape (N, …)
            Tallies of the draws that select and that test, such as votes (N, K).
        labels : array_like of int, shape (N,), or None
            The examples' classes, for a kind that certifies them.

        Returns
        -------
        Certificates
            Of `StoppedCounts`, where the draws were stopped.
        """
        chosen, votes = np.asarray(selection), np.asarray(counts)
        known = None if labels is None or not self.kind.takes_labels else np.asarray(labels)
        if self.until is None and self.width is None:
            return self.kind.certify(chosen, votes, self, labels=known, n=self.n)
        return self.kind.certify(chosen, votes.view(StoppedCounts), self, labels=known)

    def records(self, selection: Any, counts: Any, labels: Any = None) -> list[dict[str, Any]]:
        """Return what a record says of each example's certificate.

        Parameters
        ----------
        selection, counts, labels
            As for `certificates`.

        Returns
        -------
        list of dict
            ``prediction``, ``radius``, ``p1`` and ``p2``: numbers, None for NaN, and arrays of maps.
        """
        found = self.certificates(selection, counts, labels)
        columns = [getattr(found, name) for name in COMPUTED]
        return [dict(zip(COMPUTED, map(_plain, row), strict=True)) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    """Return what a record says of a value of a certificate."""
    if value.ndim:
        return value
    number = value.item()
    return None if number != number else number  # noqa: PLR0124  # NaN, of which JSON knows nothing.


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
        If the settings are not allowed.
    """
    mechanism = mechanism_named(spec.mechanism, spec.sigma, allow_code=allow_code)
    usual = "anytime" if spec.stops else spec.kind.interval
    interval = usual if spec.interval == "auto" else spec.interval
    # The rule checks them: a file or a command may have any text for each.
    rule = RunRule(
        mechanism,
        grid=spec.steps,
        noise_error=spec.kind.noise_error(mechanism, dim, spec.steps),
        norm=spec.norm,
        dim=dim,
        alpha=spec.alpha,
        bound=cast("Bound", spec.bound),
        runner_up=cast("RunnerUp", spec.runner_up),
        kind=spec.kind,
        n=spec.n,
        interval=cast("Interval", interval),
        until=spec.until,
        width=spec.width,
    )
    rule.kind.check(rule, Form(classes=num_classes, draws=spec.n))
    return rule
