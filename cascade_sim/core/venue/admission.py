"""What a venue accepts: every order passes here before it reaches the book.

Position caps count what an account holds and what it has resting on the same side, and never hold back an order that
only reduces. Open interest grows only through the order that takes, so its cap looks at orders that would trade at
once. An order that is worth less than the least notional is refused as it was sent, before caps cut it; again not if it only
reduces. While trading is halted, orders that may rest are collected for the call auction and all others are refused.

Orders of the call that would cross the book wait in a pool: the queue of level 0, a price that no order can have. There
they keep their slot, id and time of entry, and are cancelled like any other order; their prices stand in
``venue.limit``.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.layout.book import ORDER_SLOT_MASK, STATUS_PRICE_OUTSIDE, WINDOW
from cascade_sim.core.venue.book import enqueue, rest, slide, submit
from cascade_sim.core.venue.window import far_lots, step_away
from cascade_sim.domain.enums import Cause, OrderType, Refusal

_LIMIT = np.int64(OrderType.LIMIT)
_MARKET = np.int64(OrderType.MARKET)
_IOC = np.int64(OrderType.IOC)
_POST_ONLY = np.int64(OrderType.POST_ONLY)
_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_QUOTE = np.int64(Cause.QUOTE)
MINIMUM_NOTIONAL = np.int64(Refusal.MINIMUM_NOTIONAL)
CALL = np.int64(-1)
"""Order type of what enters the call auction."""
UNKNOWN = np.int64(-1)
"""Resting quantity that has to be counted in the book."""


@part
def _queue_of(book, slot, account):
    """Lots of ``account`` in the queue that begins at ``slot``."""
    total = np.int64(0)
    while slot != 0:
        order = book.orders[slot]
        if order.owner == account:
            total += order.quantity_lot
        slot = np.int64(order.next)
    return total


@routine
def own_resting(w, book, account, side):
    """Lots that an account has resting on one side, in the book and in the pool."""
    low, high = (np.int64(1), book.best_bid) if side > 0 else (book.best_ask, book.ticks)
    total = far_lots(book, low, high, account)
    index = (book.best_bid if side > 0 else book.best_ask) - book.origin
    while 0 < index < WINDOW:
        total += _queue_of(book, np.int64(book.levels[index].head), account)
        index = step_away(book, side, index)
    slot = np.int64(book.levels[0].head)
    while slot != 0:
        order = book.orders[slot]
        if order.owner == account and w.venue.limit[slot] * side > 0:
            total += order.quantity_lot
        slot = np.int64(order.next)
    return total


@part
def _within_position_cap(w, book, row, account, side, quantity, resting):
    """The part of an order that keeps the position within the cap of the account's class."""
    cap = w.config.venue.position_cap[row.account_class]
    held = side * row.position
    closing = max(np.int64(0), -held)
    if cap >= 0 and quantity > closing:
        if resting < 0:
            resting = own_resting(w, book, account, side)
        quantity = min(quantity, max(closing, cap - held - resting))
    return quantity


@part
def _within_open_interest_cap(w, row, side, quantity):
    """The part of an order that trades at once which cannot raise open interest above the cap."""
    closing = min(quantity, max(np.int64(0), -side * row.position))
    room = max(np.int64(0), w.config.venue.open_interest_cap - w.totals.open_interest)
    return closing + min(quantity - closing, room)


@leaf
def refuse(w, reason):
    """Note why the order that is being looked at is not taken, or not whole."""
    w.control.refusal = reason
    if w.control.step >= 0:
        w.totals.refused_orders += 1


@routine
def is_too_small(w, row, side, tick, quantity, order_type):
    """Whether an order is worth less than the venue takes, and does more than reduce a position; refuses it then."""
    least = w.config.venue.minimum_notional
    if order_type == _MARKET:
        small = w.market.mark * quantity * w.config.atoms < least
    else:
        small = tick * quantity * w.config.atoms < least
    if not small or quantity <= -side * row.position:
        return False
    refuse(w, MINIMUM_NOTIONAL)
    return True


@routine
def admit(w, book, accounts, account, side, tick, quantity, order_type, resting):
    """Apply the venue's rules to an order; returns ``(tick, quantity, order_type)``, quantity 0 if it is refused.

    ``resting`` is what the account has resting on this side, :data:`UNKNOWN` to have it counted. The type becomes
    :data:`CALL` while trading is halted, and immediate or cancel where a market order is limited by the band.
    """
    rules = w.config.venue
    venue = w.venue
    none = np.int64(0)
    tick = min(max(tick, 1), book.ticks - 1)
    post_only = order_type == _POST_ONLY or order_type == _SLIDE
    halted = w.market.halted != 0
    if halted and order_type != _LIMIT and not post_only:
        return tick, none, order_type
    row = accounts[account]
    by_quantity = order_type != lay.REQUEST_BY_NOTIONAL
    if rules.minimum_notional > 0 and by_quantity and is_too_small(w, row, side, tick, quantity, order_type):
        return tick, none, order_type
    quantity = _within_position_cap(w, book, row, account, side, quantity, resting)
    if halted:
        if rules.open_interest_cap >= 0 and slide(book, side, tick) != tick:
            room = rules.open_interest_cap - w.totals.open_interest - book.levels[0].quantity_lot
            quantity = min(quantity, room)
        return tick, max(quantity, none), CALL
    limit = tick
    if order_type == _MARKET:
        limit = book.ticks - 1 if side > 0 else 1
    crossing = slide(book, side, limit) != limit
    if rules.band != 0:
        edge = venue.upper if side > 0 else venue.lower
        beyond = side * (limit - edge) > 0
        if order_type == _SLIDE:
            limit = slide(book, side, edge if beyond else limit)
        elif beyond and crossing and not post_only:
            limit = edge
            crossing = slide(book, side, limit) != limit
            if order_type == _MARKET:
                order_type = _IOC
        if (post_only or order_type == _LIMIT) and (limit < venue.lower or limit > venue.upper):
            return limit, none, order_type
        tick = limit
    trades = crossing or w.config.formation == lay.FORMATION_LINEAR
    if rules.open_interest_cap >= 0 and trades and not post_only:
        quantity = _within_open_interest_cap(w, row, side, quantity)
    return tick, quantity, order_type


@routine
def enter_call(w, book, side, tick, quantity, owner, cause, parent):
    """Take an order into the call auction: into the book, or into the pool where it would cross. Returns its id."""
    book.messages += 1
    if slide(book, side, tick) == tick:
        return rest(book, side, tick, quantity, owner, cause, parent)
    # Entered as if to buy, at no price: it becomes nobody's best price.
    order_id = enqueue(book, 1, 0, 0, quantity, owner, cause, parent)
    w.venue.limit[order_id & ORDER_SLOT_MASK] = side * tick
    return order_id


@routine
def submit_quote(w, book, accounts, account, side, tick, lots):
    """Send one quote of a provider's ladder under the venue's rules; returns its id, 0 if nothing rests."""
    if tick >= book.ticks:
        book.status = STATUS_PRICE_OUTSIDE
        return np.int64(0)
    index = 0 if side > 0 else 1
    tick, lots, kind = admit(w, book, accounts, account, side, tick, lots, _SLIDE, w.venue.quoted[index])
    if lots <= 0:
        return np.int64(0)
    w.venue.quoted[index] += lots
    if kind == CALL:
        return enter_call(w, book, side, tick, lots, account, _QUOTE, lay.NO_EVENT)
    order_id, _ = submit(book, side, tick, lots, account, _SLIDE, _QUOTE, lay.NO_EVENT)
    return order_id
