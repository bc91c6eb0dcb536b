"""A rule of deleveraging in a file of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import Counterparties
from cascade_sim.registry import DELEVERAGINGS


@DELEVERAGINGS.register("largest_position")
@dataclass(frozen=True)
class LargestPosition:
    """Close against the largest position first."""

    def score(self, accounts: Counterparties) -> NDArray[np.float64]:
        """Return minus the notional, shape (n,)."""
        return -accounts.notional
