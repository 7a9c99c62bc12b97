"""Kinds of certificates that leave nothing to chance: all copies of an input that there are vote."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from rsmooth._check import integer
from rsmooth.certificates.kind import Kind

if TYPE_CHECKING:
    from rsmooth.mechanisms import Mechanism

__all__ = ["Enumerated"]


class Enumerated(Kind):
    """A kind whose model is asked about all copies of an input that there are, rather than about draws.

    Nothing selects, and nothing fails: n0 and alpha are 0, and n is the number of copies.
    """

    @abstractmethod
    def number(self, mechanism: Mechanism, grid: int | None) -> int:
        """Return how many copies of an input there are.

        Raises
        ------
        ValueError
            If there are none such of the mechanism on the grid.
        """

    def noise_error(self, mechanism: Mechanism, dim: int, grid: int | None) -> float:  # noqa: ARG002
        """Return 0: no law is drawn from."""
        return 0.0

    def settled(self, *, n0: int | None, n: int | None, alpha: float | None) -> tuple[int, int, float]:
        """Return n0, n and alpha; an n that is not asked for is 0, until `number` tells it.

        Raises
        ------
        ValueError
            If others are asked for.
        """
        for name, value in (("n0", n0), ("alpha", alpha)):
            if value not in (None, 0):
                raise ValueError(
                    f"{name} must be left out for kind {self.name!r}, all of whose copies vote, got {value}"
                )
        return 0, 0 if n is None else integer("n", n, 0, 2**53), 0.0
