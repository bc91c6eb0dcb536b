"""A stage of the waterfall and an execution of one's own, named in a scenario as `vault:Vault` and `vault:BelowMark`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Vault:
    """Takes bankrupt positions at a discount to the mark while its equity is above half of its capital."""

    capital: float = 500_000.0  # quote currency
    discount: float = 0.002  # share of the mark
    unwind_rate: float = 0.01  # share of its position per second

    def take(self, accounts, party):
        """Return lots taken and their price in quote currency, each of shape (n,)."""
        size = np.abs(accounts.position_lot)
        healthy = party.equity > 0.5 * party.capital
        room = max(
            0.0, 3.0 * party.equity - abs(party.position) * party.mark
        )  # at most three times its equity
        lots = np.minimum(size, int(room / (party.mark * party.lot_size))) if healthy else 0 * size
        return lots, accounts.mark * (1.0 - np.sign(accounts.position) * self.discount)


@dataclass(frozen=True)
class BelowMark:
    """Sends close-outs at most so far from the mark, even where that is short of the bankruptcy price."""

    distance: float = 0.005  # share of the mark

    def orders(self, accounts, lots, market):
        """Return lots to send and their limits in quote currency, each of shape (n,)."""
        side = np.sign(accounts.position)
        limit = market.mark * (1.0 - side * self.distance)
        return lots, np.where(
            side > 0,
            np.maximum(limit, accounts.bankruptcy_limit),
            np.minimum(limit, accounts.bankruptcy_limit),
        )
