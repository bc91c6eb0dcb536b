"""A margin model in a file of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade_sim.clearing.margin import MarginMarket
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import MARGINS


@MARGINS.register("two_tiers")
@dataclass(frozen=True)
class TwoTiers:
    """Ask for more of what lies beyond a bound.

    Parameters
    ----------
    bound : float
        End of the first tier, quote currency, above 0.
    """

    bound: float = 1_000_000.0

    def __post_init__(self) -> None:
        if self.bound <= 0.0:
            raise ScenarioError(expectation("clearing.margin.bound", "above 0", self.bound))

    def tiers(self, market: MarginMarket) -> tuple[Any, Any, Any]:
        """Return ends, maintenance rates and initial rates, each of shape (2,)."""
        rates = market.maintenance_margin * np.array([1.0, 1.2])
        return np.array([self.bound, np.inf]), rates, np.maximum(rates, market.initial_margin)
