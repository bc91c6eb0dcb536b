"""Market orders by amount: as many whole lots as an amount pays for, worked out when the order reaches the venue.

What an order would take from the best price outwards is its quantity: that is what initial margin and the venue's caps look
at. It then takes one price after the other, and at each no more than what is left of the amount pays for, so that it never
spends more even where what rests changes while it trades.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.initial_margin import linear_cost, linear_lots
from cascade_sim.core.clearing.ledger import (
    fills_left,
    finish,
    place_linear,
    settle_report,
    within_initial_margin,
)
from cascade_sim.core.clearing.open_orders import note_entered
from cascade_sim.core.clearing.reducing import catch_up, counted_resting
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.layout.book import INTERRUPT_SELF_TRADE, NO_ASK, NO_BID
from cascade_sim.core.venue.admission import MINIMUM_NOTIONAL, UNKNOWN, admit, refuse
from cascade_sim.core.venue.book import payable, submit
from cascade_sim.core.venue.flight import defer
from cascade_sim.core.venue.window import lots_at
from cascade_sim.domain.enums import Cause, OrderType, SelfTradePolicy

_MARKET = np.int64(OrderType.MARKET)
_IOC = np.int64(OrderType.IOC)
_BY_NOTIONAL = np.int64(lay.REQUEST_BY_NOTIONAL)
_DECREMENT = np.int64(SelfTradePolicy.DECREMENT)
_EXECUTION = np.int64(Cause.EXECUTION)
_NO_ORDER = np.int64(0)


@part
def _linear_payable(w, book, side, amount, most):
    """Lots that an amount (atoms) pays for under linear impact: their cost grows with their number, so halving finds them."""
    low = np.int64(0)
    high = linear_lots(w, book, side, np.int64(0), most, _MARKET)
    while low < high:
        middle = low + (high - low + 1) // 2
        _, cost = linear_cost(w, side, middle)
        if cost <= amount:
            low = middle
        else:
            high = middle - 1
    return low


@routine
def amount_lots(w, book, account, side, amount, most):
    """Lots that an order of ``account`` for an amount (atoms) would take now, at most ``most``; ``(lots, last tick)``."""
    if w.config.formation == lay.FORMATION_LINEAR:
        return _linear_payable(w, book, side, amount, most), np.int64(book.ticks - 1 if side > 0 else 1)
    return payable(book, side, amount // w.config.atoms, most, account)


@part
def _take(w, book, accounts, watch, tape, account, side, tick, quantity, notional, cause, parent):
    """Take up to ``quantity`` lots up to a price, as many as ``notional`` (ticks x lots) pays for; returns those filled."""
    filled = np.int64(0)
    messages = book.messages
    book.withdrawn = 0
    while quantity > 0:
        best = book.best_ask if side > 0 else book.best_bid
        if not NO_BID < best < NO_ASK or side * (tick - best) < 0:
            break
        lots = min(quantity, notional // best, lots_at(book, best))
        book.fill_count = 0
        book.fill_limit = fills_left(w, tape)
        if lots <= 0 or book.fill_limit == 0:
            break
        before = book.withdrawn
        submit(book, side, best, lots, account, _IOC, cause, parent)
        stopped = book.interrupt == INTERRUPT_SELF_TRADE
        gone = book.withdrawn - before if book.self_trade == _DECREMENT else np.int64(0)
        done = settle_report(w, book, accounts, watch, tape, account, side, cause)
        filled += done
        quantity -= done + gone
        notional -= best * (done + gone)
        if stopped:
            break
    book.messages = messages + 1
    if (accounts[account].traits & lay.FLAG_MARGINED) != 0:
        note_entered(w, book, accounts, watch, account, side, _NO_ORDER)
    return filled


@routine
def spend(w, book, accounts, watch, tape, account, side, amount, order_type, cause, parent):
    """Send a market order for an amount (atoms). Returns ``(order_id, filled, lots)``, lots being what was asked for.

    The id is minus the entry of an order that is on its way to the book, else 0. ``order_type`` may have
    ``REQUEST_REDUCE_ONLY`` added to it.
    """
    filled = np.int64(0)
    if amount <= 0 or w.control.capacity != 0:
        return _NO_ORDER, filled, filled
    if w.control.delaying != 0:
        entry = defer(w, account, side, np.int64(0), amount, order_type, cause, parent)
        if entry != 0:
            return -entry, filled, filled
    if w.control.reducing > 0:
        catch_up(w, book, accounts, watch)
    row = accounts[account]
    first = tape.trades_count
    closing = max(np.int64(0), -side * row.position)
    most = w.config.largest_order
    if order_type & lay.REQUEST_REDUCE_ONLY:
        most = min(most, closing)
    asked, tick = amount_lots(w, book, account, side, amount, most)
    linear = w.config.formation == lay.FORMATION_LINEAR
    least = w.config.venue.minimum_notional
    if amount < least and w.market.halted == 0 and (asked > closing or asked == 0):
        refuse(w, MINIMUM_NOTIONAL)
        return _NO_ORDER, filled, asked
    if asked == 0 and (linear or tick == 0 or w.market.halted != 0):
        return _NO_ORDER, filled, asked
    quantity = asked
    if cause == _EXECUTION and (row.traits & lay.FLAG_MARGINED) != 0 and quantity > 0:
        kind = _MARKET if linear else _IOC
        quantity = within_initial_margin(w, book, accounts, watch, account, side, tick, quantity, kind)
    if w.config.venue.gate != 0 and quantity > 0:
        resting = UNKNOWN
        if w.control.reducing > 0:
            resting = counted_resting(w, book, accounts, account, side)
        tick, quantity, _ = admit(w, book, accounts, account, side, tick, quantity, _BY_NOTIONAL, resting)
    if quantity <= 0 and asked > 0:
        return _NO_ORDER, filled, asked
    if linear:
        filled = place_linear(w, book, accounts, watch, tape, account, side, tick, quantity, _MARKET, cause)
    else:
        # What is not cut goes on while the amount pays for more, to own orders that it cancels or that are in its way.
        quantity = most if quantity == asked else quantity
        notional = amount // w.config.atoms
        filled = _take(w, book, accounts, watch, tape, account, side, tick, quantity, notional, cause, parent)
    finish(w, book, tape, first, cause, parent)
    return _NO_ORDER, filled, asked
