"""Gamma exposure of the options dealers and what hedging it cost them."""

import numpy as np

from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.runs import Floats, Runs


@metric("quote per 1 % move", "Channels", "peak gamma exposure of the dealers")
def peak_gamma_exposure(runs: Runs) -> Floats:
    """Gamma exposure of the dealers where it was largest after burn-in, with its sign (negative: short).

    Quote currency that all dealers together trade per 1 % move of the price, read at the end of every minute. None
    without dealers.
    """
    unit = runs.instrument.lot_size * runs.instrument.tick_size
    return np.where(runs.has(AccountClass.OPTIONS_DEALER), 0.01 * unit * runs.figure("peak_gamma"), np.nan)


@metric("quote", "Channels", "gamma drag")
def gamma_drag(runs: Runs) -> Floats:
    """What being hedged cost the dealers since step 0.

    Minus the sum of their profit in futures and the change of value of their options, by Black (1976) at mark.

    A book that is hedged without cost at its implied volatility has 0: time decay pays for rebalancing.
    Positive is a loss; buying high and selling low beyond what decay paid, fees and slippage. None where
    there are no options.
    """
    options = (runs.total("options_ended") - runs.figure("options_begun")) / ATOMS_PER_UNIT
    drag = 0.0 - (runs.profit(AccountClass.OPTIONS_DEALER) + options)
    held = runs.has(AccountClass.OPTIONS_DEALER) & (runs.total("options") > 0)
    return np.where(held, drag, np.nan)
