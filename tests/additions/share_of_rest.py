"""A sizing rule in a file of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import SIZINGS


@SIZINGS.register("share_of_rest")
@dataclass(frozen=True)
class ShareOfRest:
    """Close a share of what is left, at least one lot.

    Parameters
    ----------
    share : float
        Share of the position, above 0 and at most 1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ScenarioError(expectation("clearing.sizing.share", "above 0 and at most 1", self.share))

    def lots(self, accounts: DistressedAccounts) -> NDArray[np.int64]:
        """Return the lots to close, shape (n,)."""
        size = np.abs(accounts.position_lot)
        return np.clip((size * self.share).astype(np.int64), 1, size)
