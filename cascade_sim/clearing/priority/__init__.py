"""Liquidation priority: which distressed account is closed first. The lowest score goes first, ties by account id."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts
from cascade_sim.core import layout as lay
from cascade_sim.registry import PRIORITIES


@PRIORITIES.register("worst_margin_ratio_first")
@dataclass(frozen=True)
class WorstMarginRatioFirst:
    """Close the account nearest to bankruptcy first."""

    compiled: ClassVar[int] = lay.PRIORITY_WORST_MARGIN_RATIO

    def score(self, accounts: DistressedAccounts) -> NDArray[np.float64]:
        """Return equity over notional, shape (n,)."""
        return accounts.margin_ratio


@PRIORITIES.register("largest_notional_first")
@dataclass(frozen=True)
class LargestNotionalFirst:
    """Close the largest position first."""

    compiled: ClassVar[int] = lay.PRIORITY_LARGEST_NOTIONAL

    def score(self, accounts: DistressedAccounts) -> NDArray[np.float64]:
        """Return minus the notional, shape (n,)."""
        return -accounts.notional


@PRIORITIES.register("random")
@dataclass(frozen=True)
class Random:
    """Close in an order drawn anew each step, as FTX did."""

    compiled: ClassVar[int] = lay.PRIORITY_RANDOM

    def score(self, accounts: DistressedAccounts) -> NDArray[np.float64]:
        """Return one uniform number per account, shape (n,)."""
        return accounts.random
