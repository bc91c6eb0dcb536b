"""Maintenance at the rate of each bracket on what lies within it, in closed form.

A bracket table is two arrays in order of notional: maintenance rates m_k and deductions c_k, with m_k
increasing and c_k = c_(k-1) + floor_k (m_k - m_(k-1)), c_0 = 0. The requirement N m_k - c_k of the tier in
force is then continuous, convex, and the largest of the lines of all tiers, so the tier need not be looked
up.

``cash`` is the futures cash account: collateral less the cost of the position (signed quantity times entry
price), so that equity at price P is cash + position P.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.ground.compile import allocating_kernel, leaf

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


@allocating_kernel
def maintenance_margins(notional: Floats, rates: Floats, deductions: Floats) -> Floats:
    """Return `maintenance_margin` of each notional; shapes (n,), (tiers,), (tiers,) give (n,)."""
    result = np.empty(notional.size)
    for i in range(notional.size):
        result[i] = maintenance_margin(notional[i], rates, deductions)
    return result


@allocating_kernel
def liquidation_prices(position: Floats, cash: Floats, rates: Floats, deductions: Floats) -> Floats:
    """Return `liquidation_price` of each account; shapes (n,), (n,), (tiers,), (tiers,) give (n,)."""
    result = np.empty(position.size)
    for i in range(position.size):
        result[i] = liquidation_price(position[i], cash[i], rates, deductions)
    return result
