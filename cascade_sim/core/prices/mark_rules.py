"""Marks that need more than the mid and the last trade: a bounded basis, an old index, impact prices, funding."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.core.layout.book import NO_ASK
from cascade_sim.core.venue.window import lots_at, next_price


@leaf
def median_of_three(a, b, c):
    """The middle one of three prices."""
    return max(min(a, b), min(max(a, b), c))


@routine
def other_mark(w):
    """The mark under a rule with a code above :data:`MARK_LAST`; what it needs has been prepared."""
    market = w.market
    prices = w.prices
    rule = w.config.mark_rule
    index = market.index
    if rule == lay.MARK_MID:
        return market.mark if market.one_sided != 0 else market.mid
    if rule == lay.MARK_BASIS:
        limit = w.config.prices.mark_clamp * index
        return index + max(-limit, min(limit, market.basis))
    if rule == lay.MARK_INDEX:
        return prices.delayed_index
    if rule == lay.MARK_IMPACT_MID:
        return prices.impact_mid
    fair = index * (1.0 + prices.funding_basis)
    if rule == lay.MARK_FUNDING_BASIS:
        return fair
    if rule == lay.MARK_FUNDING_MEDIAN:
        return median_of_three(fair, index + market.basis, market.last)
    return median_of_three(index + market.basis, prices.book_median, prices.book_average)


@routine
def note_index(w):
    """Remember the index of this step and look up that of ``mark_delay`` steps ago; the first one until there is any."""
    prices = w.prices
    step = w.control.step
    mask = len(prices.index_ring) - 1
    prices.index_ring[step & mask] = w.market.index
    old = prices.index_ring[(step - w.config.prices.mark_delay) & mask]
    if old > 0.0:
        prices.delayed_index = old


@routine
def average_price(book, tick, upwards, value):
    """Average price of a market order worth ``value`` (ticks x lots) that starts at ``tick``; 0 when the side is thinner."""
    spent = 0.0
    lots = 0.0
    while 0 < tick < NO_ASK:
        here = float(lots_at(book, tick))
        worth = here * tick
        if spent + worth >= value:
            return value / (lots + (value - spent) / tick)
        spent += worth
        lots += here
        tick = next_price(book, -1 if upwards != 0 else 1, tick)
    return 0.0


@routine
def note_impact(w, book):
    """Average prices at which an order of the impact notional would sell and buy, and the middle of the two.

    The middle keeps its value while a side cannot take the order, or trading is halted.
    """
    prices = w.prices
    value = w.config.prices.impact_value
    if w.market.halted != 0:
        prices.impact_bid = 0.0
        prices.impact_ask = 0.0
    elif w.config.formation == lay.FORMATION_LINEAR:
        price = w.market.linear_price
        gap = 0.5 * w.config.impact * value / price
        prices.impact_bid = price - gap
        prices.impact_ask = price + gap
    else:
        prices.impact_bid = average_price(book, np.int64(book.best_bid), 0, value)
        prices.impact_ask = average_price(book, np.int64(book.best_ask), 1, value)
    if prices.impact_bid > 0.0 and prices.impact_ask > 0.0:
        prices.impact_mid = 0.5 * (prices.impact_bid + prices.impact_ask)


@routine
def note_book(w, book):
    """Median of best bid, best ask and last trade, and its exponential average.

    Both stand while a side is empty or trading is halted.
    """
    market = w.market
    prices = w.prices
    if market.one_sided != 0 or market.halted != 0:
        return
    if w.config.formation == lay.FORMATION_LINEAR:
        prices.book_median = market.linear_price
    else:
        prices.book_median = median_of_three(float(book.best_bid), float(book.best_ask), market.last)
    prices.book_average += (prices.book_median - prices.book_average) * w.config.prices.book_memory
