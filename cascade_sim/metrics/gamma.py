"""Gamma exposure of the options dealers and what hedging it cost them."""

import numpy as np

from cascade_sim.domain.enums import AccountClass
from cascade_sim.metrics.cascade import between
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.metrics.solvency import profit
from cascade_sim.result import RunResult

_DEALER = AccountClass.OPTIONS_DEALER.name.lower()


@metric("quote per 1 % move")
def peak_gamma_exposure(result: RunResult, facts: RunFacts) -> float | None:
    """Gamma exposure of the dealers where it was largest after burn-in, with its sign (negative: short).

    Quote currency that all dealers together trade per 1 % move of the price. None without dealers or series.
    """
    if not (result.accounts["account_class"] == _DEALER).any():
        return None
    series = between(result.columns("series", ("step", "gamma_exposure")), 0, facts.steps - 1)
    exposure = series["gamma_exposure"].to_numpy(np.float64)
    exposure = exposure[np.isfinite(exposure)]
    return float(exposure[np.argmax(np.abs(exposure))]) if len(exposure) else None


@metric("quote")
def gamma_drag(result: RunResult, facts: RunFacts) -> float | None:
    """What being hedged cost the dealers since step 0.

    Minus the sum of their profit in futures and the change of value of their options.

    A book that is hedged without cost at its implied volatility has 0: time decay pays for rebalancing.
    Positive is a loss; buying high and selling low beyond what decay paid, fees and slippage. None where
    there are no options or transfers were not recorded.
    """
    start, end = facts.dealer_option_value_start, facts.dealer_option_value_end
    dealers = (result.accounts["account_class"] == _DEALER).to_numpy()
    if start is None or end is None or not dealers.any() or not result.rows("transfers"):
        return None
    futures = float(profit(result)[dealers].sum())
    return -(futures + end - start)
