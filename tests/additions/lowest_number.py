"""A priority rule in a file of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts
from cascade_sim.registry import PRIORITIES


@PRIORITIES.register("lowest_number_first")
@dataclass(frozen=True)
class LowestNumberFirst:
    """Close the account with the lowest number first."""

    def score(self, accounts: DistressedAccounts) -> NDArray[np.float64]:
        """Return the numbers, shape (n,)."""
        return accounts.account_id.astype(np.float64)
