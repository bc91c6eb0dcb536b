"""Agents of fuzzed scenarios: they trade at random whatever the market looks like, and cope with an empty book."""

from typing import Any

import numpy as np

import cascade_sim as cs


class Noise(cs.Participant):
    """Sends limit orders around the last price, cancels now and then."""

    quantity: float = 2.0

    def decide(self, market: Any) -> None:
        """Send one order, at least one tick above zero."""
        if market.uniform(1) < 0.2:
            market.cancel_all()
        price = max(market.tick_size, market.last + 20.0 * market.tick_size * (market.uniform(2) - 0.5))
        quantity = max(market.lot_size, self.quantity)
        (market.buy if market.uniform(0) < 0.5 else market.sell)(quantity, price)


class NoiseCohort(cs.Cohort):
    """The same for many accounts, half of them margined."""

    quantity: float = 2.0
    margined = True

    def decide(self, market: Any) -> None:
        """Send one order of each account."""
        market.cancel_all(np.flatnonzero(market.uniform(1) < 0.2))
        away = 20.0 * market.tick_size * (market.uniform(2) - 0.5)
        price = np.maximum(market.tick_size, market.last + away)
        side = np.where(market.uniform(0) < 0.5, 1, -1)
        market.submit(side, max(market.lot_size, self.quantity), price, cs.OrderType.LIMIT)


class Crowd(cs.Cohort):
    """Buys far more than its capital at once and holds."""

    margined = True
    capital: float = 1000.0

    def decide(self, market: Any) -> None:
        """Buy in the first step."""
        if not market.position.any():
            lots = max(1.0, round(50.0 * self.capital / market.last / market.lot_size))
            market.buy(min(lots, 1e6) * market.lot_size)
