"""Tiered margin on a linear contract: requirement, tier, and the closed forms of the prices that follow.

A bracket table is two arrays in order of notional: maintenance rates m_k and deductions c_k, with m_k
increasing and c_k = c_(k-1) + floor_k (m_k - m_(k-1)), c_0 = 0. The requirement N m_k - c_k of the tier in
force is then continuous, convex, and the largest of the lines of all tiers, so the tier need not be looked
up.

Some venues charge the rate of the tier in force on the whole position. That requirement jumps where a tier begins:
the prices at which an account is distressed are then no longer one interval (`whole_position_range`).

``cash`` is the futures cash account: collateral less the cost of the position (signed quantity times entry
price), so that equity at price P is cash + position P.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.ground.compile import allocating_kernel, leaf, part, routine

Floats = NDArray[np.float64]


@leaf
def maintenance_margin(notional: float, rates: Floats, deductions: Floats) -> float:
    """Return the maintenance requirement of a position.

    Parameters
    ----------
    notional : float
        Quote currency, not negative. Above the highest bracket its rate continues.
    rates, deductions : arrays, shape (tiers,)
        Maintenance rates as fractions, deductions in quote currency.

    Returns
    -------
    float
        max over tiers of N m_k - c_k, in quote currency.
    """
    requirement = 0.0
    for k in range(rates.size):
        requirement = max(requirement, notional * rates[k] - deductions[k])
    return requirement


@part
def bracket_tier(notional: float, max_notional: Floats) -> int:
    """Return the index of the tier in force: the first whose upper bound is not exceeded, else the last."""
    tier = 0
    while tier < max_notional.size - 1 and notional > max_notional[tier]:
        tier += 1
    return tier


@leaf
def liquidation_price(position: float, cash: float, rates: Floats, deductions: Floats) -> float:
    """Return the price at which equity equals the maintenance requirement.

    Parameters
    ----------
    position : float
        Signed base units.
    cash : float
        Quote currency; equity is cash + position * price.
    rates, deductions : arrays, shape (tiers,)
        As for `maintenance_margin`, every rate below one.

    Returns
    -------
    float
        Quote currency. A long is liquidated below it: max over tiers of (-cash - c_k) / (q (1 - m_k)), zero
        if it never is. A short is liquidated above it: min over tiers of (cash + c_k) / (q (1 + m_k)), zero
        if it is at every price. NaN without a position.

    Notes
    -----
    Equity is below the requirement as soon as it is below one of the tiers' lines, because the requirement
    is their maximum. For a long each line is crossed at a price of its own and the highest is met first as
    the price falls; for a short the lowest is met first as it rises. The single-tier case is the usual
    isolated-margin formula.
    """
    if position == 0.0:
        return math.nan
    quantity = abs(position)
    if position > 0.0:
        price = 0.0
        for k in range(rates.size):
            price = max(price, (-cash - deductions[k]) / (quantity * (1.0 - rates[k])))
        return price
    price = math.inf
    for k in range(rates.size):
        price = min(price, (cash + deductions[k]) / (quantity * (1.0 + rates[k])))
    return max(price, 0.0)


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
        As for `liquidation_price`; the position is not zero.
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


@leaf
def bankruptcy_price(position: float, cash: float) -> float:
    """Return the price at which equity is zero: -cash / position.

    Parameters are those of `liquidation_price`. NaN without a position; negative for a long that no fall in
    price can make insolvent, or a short that is insolvent at any price.
    """
    return -cash / position if position != 0.0 else math.nan


@allocating_kernel
def maintenance_margins(notional: Floats, rates: Floats, deductions: Floats) -> Floats:
    """Return `maintenance_margin` of each notional; shapes (n,), (tiers,), (tiers,) give (n,)."""
    result = np.empty(notional.size)
    for i in range(notional.size):
        result[i] = maintenance_margin(notional[i], rates, deductions)
    return result


@allocating_kernel
def bracket_tiers(notional: Floats, max_notional: Floats) -> NDArray[np.int64]:
    """Return `bracket_tier` of each notional; shapes (n,), (tiers,) give (n,)."""
    result = np.empty(notional.size, dtype=np.int64)
    for i in range(notional.size):
        result[i] = bracket_tier(notional[i], max_notional)
    return result


@allocating_kernel
def liquidation_prices(position: Floats, cash: Floats, rates: Floats, deductions: Floats) -> Floats:
    """Return `liquidation_price` of each account; shapes (n,), (n,), (tiers,), (tiers,) give (n,)."""
    result = np.empty(position.size)
    for i in range(position.size):
        result[i] = liquidation_price(position[i], cash[i], rates, deductions)
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
