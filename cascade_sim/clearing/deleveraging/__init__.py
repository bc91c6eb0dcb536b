"""Auto-deleveraging: whose winning position is closed when the fund cannot take more. The lowest score pays first."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import Counterparties
from cascade_sim.core import layout as lay
from cascade_sim.registry import DELEVERAGINGS


@DELEVERAGINGS.register("profit_leverage")
@dataclass(frozen=True)
class ProfitLeverage:
    """Rank by profit times effective leverage; losers by profit over leverage (BitMEX)."""

    compiled: ClassVar[int] = lay.ADL_PROFIT_LEVERAGE

    def score(self, accounts: Counterparties) -> NDArray[np.float64]:
        """Return minus the rank, shape (n,)."""
        profit, leverage = accounts.profit_ratio, accounts.leverage
        return np.where(profit > 0.0, -(profit * leverage), -(profit / leverage))
