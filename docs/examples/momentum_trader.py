"""A trader who buys what has risen and sells what has fallen."""

import cascade_sim as cs


class MomentumTrader(cs.Participant):
    """Holds ``quantity`` in the direction of the last move if that was large enough, else nothing."""

    lookback_seconds: float = 120.0
    threshold: float = 0.002
    quantity: float = 20.0
    wake_every_seconds = 10.0

    def decide(self, market):
        move = market.returns(self.lookback_seconds)
        side = (move > self.threshold) - (move < -self.threshold)
        change = side * self.quantity - market.position
        if change >= market.lot_size:
            market.buy(change)
        elif change <= -market.lot_size:
            market.sell(-change)
