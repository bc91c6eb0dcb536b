"""An execution in a file of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts, MarketView
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import EXECUTIONS


@EXECUTIONS.register("short_of_bankruptcy")
@dataclass(frozen=True)
class ShortOfBankruptcy:
    """Send close-outs at most so far from the mark, and never beyond the bankruptcy price.

    Parameters
    ----------
    distance : float
        Share of the mark, at least 0 and below 1.
    """

    distance: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.distance < 1.0:
            raise ScenarioError(
                expectation("clearing.execution.distance", "at least 0 and below 1", self.distance)
            )

    def orders(
        self, accounts: DistressedAccounts, lots: NDArray[np.int64], market: MarketView
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return lots and limits, each of shape (n,)."""
        side = np.sign(accounts.position)
        limit = market.mark * (1.0 - side * self.distance)
        nearer = np.where(side > 0, np.maximum, np.minimum)
        return lots, np.array(
            [best(*pair) for best, *pair in zip(nearer, limit, accounts.bankruptcy_limit, strict=True)]
        )
