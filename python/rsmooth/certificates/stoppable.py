"""Kinds of certificates whose draws may be stopped by looking at them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from rsmooth.certificates.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Stoppable", "stoppable"]


class Stoppable(Kind):
    """A kind whose claim holds at every number of draws at once, under an interval that does.

    `rsmooth.stopping.Until` knows no more of a kind than this. Nothing here is part of the claim: predictions only say
    when further draws are worth their price.
    """

    @abstractmethod
    def best(self, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the selection and the tally of `n` draws that certify more than any others, as rows of one example."""

    @abstractmethod
    def scaled(self, tally: NDArray[Any], draws: NDArray[np.int64]) -> NDArray[Any]:
        """Return the tallies of so many draws if they keep coming as they did.

        Parameters
        ----------
        tally : ndarray, shape (N, …)
            The tallies so far.
        draws : ndarray of int64, shape (N,)
            For each, no fewer than it is of.
        """

    @abstractmethod
    def hoped(
        self,
        selection: NDArray[Any],
        tally: NDArray[Any],
        n: int,
        better: float,
        *,
        labels: NDArray[Any] | None = None,
    ) -> Sequence[NDArray[Any]]:
        """Return the tallies of `n` draws if those to come are better than predicted from those so far.

        Parameters
        ----------
        selection, tally, labels
            As for `certify`.
        n : int
            No fewer than the tallies are of.
        better : float
            How many standard deviations what counts for the claim is above what is predicted, and what counts against
            it below.

        Returns
        -------
        sequence of ndarray, each like `tally`
            Which of them certifies the most depends on the rule.
        """


def stoppable(kind: Kind, names: str) -> Stoppable:
    """Return a kind if its draws can be stopped.

    Parameters
    ----------
    kind : Kind
        The kind.
    names : str
        What asks for it, for the message.

    Raises
    ------
    ValueError
        If they cannot.
    """
    if not isinstance(kind, Stoppable):
        raise ValueError(f"{names} must be None for kind {kind.name!r}, whose draws cannot be stopped")  # noqa: TRY004
    return kind
