"""A stage of the waterfall in a file of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts, Party
from cascade_sim.registry import WATERFALL


@WATERFALL.register("capital_pool")
@dataclass(frozen=True)
class CapitalPool:
    """A pool of capital takes half of every bankrupt position at the mark.

    Parameters
    ----------
    capital : float
        Quote currency that it begins with.
    """

    capital: float = 100_000.0

    def take(self, accounts: DistressedAccounts, party: Party) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return lots and prices, each of shape (n,)."""
        lots = np.abs(accounts.position_lot) // 2
        return lots * int(party.equity > 0.0), np.full(len(lots), accounts.mark)
