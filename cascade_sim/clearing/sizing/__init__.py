"""Liquidation sizing: how much of a distressed position is closed at once."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import SIZINGS


@SIZINGS.register("full")
@dataclass(frozen=True)
class Full:
    """Close the whole position; what the book does not take is tried again next step."""

    compiled: ClassVar[int] = lay.SIZING_FULL

    def configure(self, clearing: Any, dt: float, lot_size: float) -> None:
        """Write the rule's numbers into the kernel configuration."""
        clearing.cooldown_steps = 0

    def lots(self, accounts: DistressedAccounts) -> NDArray[np.int64]:
        """Return the lots to close, shape (n,)."""
        return np.abs(accounts.position_lot)


@SIZINGS.register("fraction")
@dataclass(frozen=True)
class Fraction:
    """Close a fraction, wait, look again; small or nearly bankrupt positions go at once.

    Parameters
    ----------
    fraction : float
        Share of the position closed per pass, above 0 and at most 1.
    cooldown_seconds : float
        Wait before the account is looked at again.
    full_below_quantity : float
        Positions smaller than this (base units) are closed whole.
    full_below_maintenance_share : float
        Accounts whose equity is below this share of maintenance margin are closed whole.
    """

    fraction: float = 0.5
    cooldown_seconds: float = 10.0
    full_below_quantity: float = 1.0
    full_below_maintenance_share: float = 0.5

    compiled: ClassVar[int] = lay.SIZING_FRACTION

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise ScenarioError(
                expectation("clearing.sizing.fraction", "above 0 and at most 1", self.fraction)
            )
        if self.cooldown_seconds < 0.0:
            raise ScenarioError(
                expectation("clearing.sizing.cooldown_seconds", "at least 0", self.cooldown_seconds)
            )
        for name in ("full_below_quantity", "full_below_maintenance_share"):
            if getattr(self, name) < 0.0:
                raise ScenarioError(expectation(f"clearing.sizing.{name}", "at least 0", getattr(self, name)))

    def configure(self, clearing: Any, dt: float, lot_size: float) -> None:
        """Write the rule's numbers into the kernel configuration."""
        clearing.fraction = self.fraction
        clearing.cooldown_steps = round(self.cooldown_seconds / dt)
        clearing.full_below = round(self.full_below_quantity / lot_size)
        clearing.full_below_share = self.full_below_maintenance_share

    def lots(self, accounts: DistressedAccounts) -> NDArray[np.int64]:
        """Return the lots to close, shape (n,)."""
        size = np.abs(accounts.position_lot)
        share = np.minimum(size, np.ceil(size * self.fraction).astype(np.int64))
        whole = size < round(self.full_below_quantity / accounts.lot_size)
        whole |= accounts.equity < self.full_below_maintenance_share * accounts.maintenance_margin
        return np.where(whole, size, share)
