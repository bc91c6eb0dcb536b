"""Maintenance at the rate of the tier in force on the whole position, as some venues charge it.

That requirement jumps where a tier begins: the prices at which an account is distressed are then no longer one interval.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.clearing.margin.brackets import bracket_tier
from cascade_sim.core.ground.compile import allocating_kernel, routine

Floats = NDArray[np.float64]


@routine
def whole_position_margin(notional: float, rates: Floats, ends: Floats) -> float:
    """Return the requirement at rates of the whole position: N m_k of the tier in force.

    Parameters
    ----------
    notional : float
        Quote currency, not negative. Above the last end the last rate continues.
    rates, ends : arrays, shape (tiers,)
        Maintenance rates as fractions, upper ends of tiers in quote currency, which belong to the tier they end.
    """
    return notional * float(rates[bracket_tier(notional, ends)])


@routine
def whole_position_range(
    position: float, cash: float, price: float, rates: Floats, ends: Floats
) -> tuple[float, float]:
    """Return the prices around ``price`` between which an account stays above its whole-position requirement.

    Parameters
    ----------
    position, cash : float
        As for `cascade_sim.core.clearing.margin.marginal.liquidation_price`; the position is not zero.
    price : float
        Where the account stands; infinity for coming from above.
    rates, ends : arrays, shape (tiers,)
        As for `whole_position_margin`; rates do not decrease.

    Returns
    -------
    low, high : float
        It is distressed at ``low`` and right above ``high``: zero and infinity if it is nowhere on that side, both
        infinite if it is distressed at ``price``. For a short, whatever ``price``, zero and the lowest price of
        distress.

    Notes
    -----
    A falling price frees a short and lowers its tier, so it is distressed above one price. A long loses equity as the
    price falls and is freed where it falls into a lower tier; as the price rises it may be caught by a higher tier.
    In the tier from s to e (in price) it is distressed from above s up to min(e, -cash / (q (1 - m))).
    """
    quantity = abs(position)
    last = rates.size - 1
    start, low, high = 0.0, 0.0, math.inf
    for k in range(rates.size):
        end = ends[k] / quantity if k < last else math.inf
        if position < 0.0:
            first = max(cash / (quantity * (1.0 + rates[k])), start)
            if first <= end:
                return 0.0, first
        else:
            top = min(-cash / (quantity * (1.0 - rates[k])), end) if rates[k] < 1.0 else end
            if top > start:
                if price <= start:
                    return low, start
                if price <= top:
                    return math.inf, math.inf
                low = top
        start = end
    return low, high


@allocating_kernel
def whole_position_margins(notional: Floats, rates: Floats, ends: Floats) -> Floats:
    """Return `whole_position_margin` of each notional; shapes (n,), (tiers,), (tiers,) give (n,)."""
    result = np.empty(notional.size)
    for i in range(notional.size):
        result[i] = whole_position_margin(notional[i], rates, ends)
    return result


@allocating_kernel
def whole_position_prices(
    position: Floats, cash: Floats, price: float, rates: Floats, ends: Floats
) -> Floats:
    """Return for each account the price of `whole_position_range` that liquidates it: a long's low, a short's high."""
    result = np.empty(position.size)
    for i in range(position.size):
        result[i] = math.nan
        if position[i] != 0.0:
            low, high = whole_position_range(position[i], cash[i], price, rates, ends)
            result[i] = low if position[i] > 0.0 else high
    return result
