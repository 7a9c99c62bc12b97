"""What a kind of certificate is: what is counted of a model's outputs, and what the counts prove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rsmooth.rule import Rule

__all__ = ["Kind"]


class Kind(Protocol):
    """A statistic of a model's outputs over noisy copies, and the claim that its tallies prove.

    Runs, verification and tables know no more of certificates than this. `rsmooth.certificates.topclass.TopClass` is
    the first.

    Attributes
    ----------
    name : str
        What runs call it.
    """

    name: str

    def observe(self, output: Any) -> Any:
        """Return what is observed of each row of a model's output.

        Parameters
        ----------
        output : torch.Tensor, shape (B, K)
            On any device.

        Returns
        -------
        torch.Tensor of int64, shape (B,)
            On the same device; −1 where nothing can be observed, such as of scores that are not finite.
        """
        ...

    def tally(self, rows: int) -> NDArray[Any]:
        """Return tallies of `rows` examples before anything was observed."""
        ...

    def add(self, tally: NDArray[Any], rows: NDArray[Any], observations: NDArray[Any]) -> None:
        """Add observation i, none of which is −1, to row ``rows[i]`` of `tally`, which is changed."""
        ...

    def certify(
        self,
        selection: NDArray[Any] | None,
        tally: NDArray[Any],
        rule: Rule,
        *,
        n: int | None = None,
        threads: int | None = None,
    ) -> Any:
        """Return the certificates that the tallies prove under `rule`; `selection` are tallies of separate draws."""
        ...
