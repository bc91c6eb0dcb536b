"""How a close-out is sent to the book: how many lots of what was decided, at which limit."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts, MarketView
from cascade_sim.core import layout as lay
from cascade_sim.registry import EXECUTIONS


@EXECUTIONS.register("ioc_at_bankruptcy")
@dataclass(frozen=True)
class IocAtBankruptcy:
    """Immediate or cancel, limited at the account's bankruptcy price: a close-out never creates debt (Binance)."""

    compiled: ClassVar[int] = lay.EXECUTION_IOC_AT_BANKRUPTCY

    def orders(
        self, accounts: DistressedAccounts, lots: NDArray[np.int64], market: MarketView
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return lots to send and their limits in quote currency, each of shape (n,)."""
        return lots, accounts.bankruptcy_limit
