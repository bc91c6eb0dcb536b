"""What an order would do at once, which decides whether initial margin lets it in.

The exposure of an account on a side is what it would hold if everything that it has open there were filled, at the mark.
Closing is never held back.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.core.layout.book import NO_ASK
from cascade_sim.core.venue.window import lots_at, next_price
from cascade_sim.domain.enums import OrderType

_LIMIT = np.int64(OrderType.LIMIT)
_MARKET = np.int64(OrderType.MARKET)
_POST_ONLY = np.int64(OrderType.POST_ONLY)
_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_MOST_LOTS = 2.0**62


@leaf
def may_rest(order_type):
    """Whether what an order does not trade at once stays in the book."""
    return order_type == _LIMIT or order_type == _POST_ONLY or order_type == _SLIDE


@leaf
def linear_lots(w, book, side, tick, quantity, order_type):
    """Lots of an order that a market of linear impact fills: those within its limit and the prices that a book has."""
    if order_type == _POST_ONLY or order_type == _SLIDE:
        return np.int64(0)
    if order_type == _MARKET:
        tick = np.int64(book.ticks - 1 if side > 0 else 1)
    impact = w.config.impact
    if impact > 0.0:
        room = side * (min(max(tick, 1), book.ticks - 1) - w.market.linear_price) / impact
        # The least impact lets the price stay where it is through more lots than 64 bits count.
        quantity = min(quantity, max(np.int64(0), np.int64(math.floor(min(room, _MOST_LOTS)))))
    return quantity


@leaf
def linear_cost(w, side, quantity):
    """Price and amount (atoms) of lots in a market of linear impact, at the average of the price before and after."""
    price = w.market.linear_price
    price = 0.5 * (price + (price + side * w.config.impact * quantity))
    return price, np.int64(math.floor(price * quantity * w.config.atoms + 0.5))


@routine
def trading_loss(w, book, side, tick, quantity, order_type):
    """What an order would lose against the mark (ticks x lots) by what it trades at once; returns it and those lots."""
    mark = w.market.mark
    if w.config.formation == lay.FORMATION_LINEAR:
        lots = linear_lots(w, book, side, tick, quantity, order_type)
        price = w.market.linear_price + 0.5 * side * w.config.impact * lots
        return side * (price - mark) * lots, lots
    loss, left = 0.0, quantity
    if order_type == _POST_ONLY or order_type == _SLIDE or w.market.halted != 0:
        return loss, np.int64(0)
    if order_type == _MARKET:
        tick = np.int64(book.ticks - 1 if side > 0 else 1)
    level = book.best_ask if side > 0 else book.best_bid
    while left > 0 and 0 < level < NO_ASK and side * (tick - level) >= 0:
        lots = min(left, lots_at(book, level))
        loss += side * (level - mark) * lots
        left -= lots
        level = next_price(book, -side, level)
    return loss, quantity - left
