"""A margin model of one's own, named in a scenario as `concentration:Concentration`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Concentration:
    """Asks for more of a position the larger its share of the open interest: what is large closes at worse prices."""

    rate: float = 0.005  # share of the notional of a small position
    growth: float = 0.5  # added to the rate, in multiples of it, for each 0.1 % of the open interest
    steps: int = 8  # tiers

    def tiers(self, market):
        """Return upper ends in quote currency, maintenance rates and initial rates, each of shape (tiers,)."""
        whole = market.open_interest * market.price
        starts = 0.001 * np.arange(self.steps)  # shares of the open interest
        maintenance = self.rate * (1.0 + self.growth * np.arange(self.steps))
        return np.append(starts[1:] * whole, np.inf), maintenance, 2.0 * maintenance
