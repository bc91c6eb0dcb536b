"""What a position must have behind it, and the price at which it is next to be looked at: one file a model.

A model of the whole requirement at once is a file here with both, in closed form; which of them a market uses stands in
its configuration and is asked for in this file alone. All give the requirement by the notional of one position, so that an
account is distressed beyond one price, which the trigger index holds. The legs of a portfolio add their requirements up
and have no such price: they are looked at by distance (:mod:`cascade_sim.core.clearing.portfolios`).
"""

import math

import numpy as np

from cascade_sim.core.clearing.margin.brackets import (
    bracket_tier,
    bracket_tiers,
    initial_rate,
    largest_exposure,
)
from cascade_sim.core.clearing.margin.marginal import (
    liquidation_price,
    liquidation_prices,
    maintenance_margin,
    maintenance_margins,
)
from cascade_sim.core.clearing.margin.whole_position import (
    whole_position_margin,
    whole_position_margins,
    whole_position_prices,
    whole_position_range,
)
from cascade_sim.core.clearing.worth import notional
from cascade_sim.core.ground.compile import leaf, part

__all__ = [
    "bracket_tier",
    "bracket_tiers",
    "initial_rate",
    "jumps",
    "largest_exposure",
    "liquidation_price",
    "liquidation_prices",
    "maintenance",
    "maintenance_margin",
    "maintenance_margins",
    "next_look",
    "price_range",
    "reach_of",
    "requirement",
    "steepest",
    "whole_position_margin",
    "whole_position_margins",
    "whole_position_prices",
    "whole_position_range",
]

_NEAREST = 1.0e-12
"""Least distance of a next look: an account at the end of its tier is looked at again as soon as marks move at all."""


@leaf
def maintenance(w, value):
    """Maintenance requirement of a position of notional ``value``, in atoms."""
    clearing = w.config.clearing
    tiers = clearing.tiers
    if clearing.whole.enabled != 0:
        return whole_position_margin(value, clearing.tier_rate[:tiers], clearing.whole.ends[:tiers])
    return maintenance_margin(value, clearing.tier_rate[:tiers], clearing.tier_deduction[:tiers])


@leaf
def requirement(w, row):
    """Maintenance requirement of an account at the mark, in atoms."""
    return maintenance(w, notional(w, row))


@leaf
def price_range(w, scaled, cash, price, rates, deductions):
    """The prices around ``price`` beyond which a position is distressed: at ``low`` and below, at ``high`` and above.

    ``scaled`` is the signed position in atoms per tick, ``cash`` in atoms; zero and infinity where there is no such price.
    """
    if w.config.clearing.whole.enabled != 0:
        return whole_position_range(scaled, cash, price, rates, w.config.clearing.whole.ends[: rates.size])
    trigger = liquidation_price(scaled, cash, rates, deductions)
    if scaled > 0.0:
        return trigger, np.inf
    return 0.0, trigger


@leaf
def next_look(w, row):
    """The price at which an account with a position is next looked at, as a long (infinity: at any) and as a short.

    A long that a higher price would catch in its next tier is looked at in every screen: an account is in one list.
    """
    clearing = w.config.clearing
    tiers = clearing.tiers
    scaled = float(row.position * w.config.atoms)
    rates, deductions = clearing.tier_rate[:tiers], clearing.tier_deduction[:tiers]
    low, high = price_range(w, scaled, float(row.cash), float(w.market.mark), rates, deductions)
    if row.position < 0:
        return low, high
    return np.inf if high < np.inf else low, np.inf


@leaf
def jumps(w):
    """Whether the requirement jumps with the price, so that an account that is looked at may be above it."""
    return w.config.clearing.whole.enabled != 0


@part
def steepest(w):
    """How much the requirement changes at most with the notional, between its jumps."""
    clearing = w.config.clearing
    highest = 0.0
    for tier in range(clearing.tiers):
        highest = max(highest, clearing.tier_rate[tier])
    return highest


@part
def reach_of(w, value):
    """Largest log move of a position of notional ``value`` that takes it over no jump of its requirement."""
    clearing = w.config.clearing
    if not jumps(w) or value <= 0.0:
        return np.inf
    tier = bracket_tier(value, clearing.whole.ends[: clearing.tiers])
    if tier == clearing.tiers - 1:
        return np.inf
    return max(math.log(clearing.whole.ends[tier] / value), _NEAREST)
