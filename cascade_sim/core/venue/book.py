"""Price-time-priority matching on one book record (layout: :mod:`cascade_sim.core.layout.book`).

Orders of a level form a doubly linked queue through their slots: cancellation by id is O(1). Where the level of a price
is, and what happens far from the market, is the business of :mod:`cascade_sim.core.venue.window`. Every function takes the
record itself (``books[0]``); quantities are lots, prices ticks, sides +1 (buy) and -1 (sell).
"""

import numpy as np

from cascade_sim.core.ground.compile import detour, kernel, leaf, part, routine, unlikely
from cascade_sim.core.layout.book import (
    FILL_CAPACITY,
    INDEX_BITS,
    INDEX_MASK,
    INTERRUPT_NONE,
    INTERRUPT_REPORT_FULL,
    INTERRUPT_SELF_TRADE,
    NO_ASK,
    NO_BID,
    ORDER_SLOT_BITS,
    ORDER_SLOT_MASK,
    STATUS_ORDERS_FULL,
    STATUS_PRICE_OUTSIDE,
    WINDOW,
)
from cascade_sim.core.venue.window import (
    best_far,
    clear_bit,
    first_at,
    follow,
    lots_at,
    next_above,
    next_at,
    next_below,
    next_price,
    resting_between,
    set_bit,
    shared_level,
)
from cascade_sim.domain.enums import OrderType, SelfTradePolicy

SERIAL_MASK = 0x7FFFFFFF
_TYPE_LIMIT = np.int64(OrderType.LIMIT)
_TYPE_MARKET = np.int64(OrderType.MARKET)
_TYPE_IOC = np.int64(OrderType.IOC)
_TYPE_FOK = np.int64(OrderType.FOK)
_TYPE_POST_ONLY = np.int64(OrderType.POST_ONLY)
_TYPE_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_ALLOW = np.int64(SelfTradePolicy.ALLOW)
_CANCEL_RESTING = np.int64(SelfTradePolicy.CANCEL_RESTING)
_CANCEL_INCOMING = np.int64(SelfTradePolicy.CANCEL_INCOMING)
_CANCEL_BOTH = np.int64(SelfTradePolicy.CANCEL_BOTH)
_DECREMENT = np.int64(SelfTradePolicy.DECREMENT)


@kernel
def open_book(book, self_trade):
    """Make a zeroed record an empty book with the given :class:`SelfTradePolicy`.

    ``book.anonymous`` may name an owner that stands for many traders, whose orders may meet.
    """
    book.best_bid = NO_BID
    book.best_ask = NO_ASK
    book.ticks = NO_ASK
    book.fresh_slot = 1
    book.fill_limit = FILL_CAPACITY
    book.self_trade = self_trade
    book.anonymous = -1


@part
def _release(book, slot):
    order = book.orders[slot]
    order.quantity_lot = 0
    order.next = book.free_slot
    book.free_slot = slot
    book.live_orders -= 1


@detour
def _leave_far(book, slot, index):
    """Keep the best prices true after an order beyond the window has left its level."""
    if book.levels[index].head == 0:
        clear_bit(book, index)
    tick = book.far_ticks[slot]
    if tick == book.best_bid:
        book.best_bid = best_far(book, 1)
    elif tick == book.best_ask:
        book.best_ask = best_far(book, -1)


@part
def _unlink(book, slot):
    """Take an order out of its queue and keep best prices true; the slot stays allocated."""
    order = book.orders[slot]
    index = np.int64(order.key) & INDEX_MASK
    level = book.levels[index]
    level.quantity_lot -= order.quantity_lot
    following = np.int64(order.next)
    before = np.int64(order.previous)
    if before != 0:
        book.orders[before].next = following
    else:
        level.head = following
    if following != 0:
        book.orders[following].previous = before
    else:
        level.tail = before
    if unlikely(index >= WINDOW):
        _leave_far(book, slot, index)
    elif level.head == 0:
        clear_bit(book, index)
        tick = book.origin + index
        if tick == book.best_bid:
            # Level 0 is no price, though a far bid may have the tick that it would have.
            if index > 0:
                index = next_below(book, index)
                book.best_bid = book.origin + index if index > 0 else best_far(book, 1)
        elif tick == book.best_ask:
            index = next_above(book, index)
            book.best_ask = book.origin + index if index < WINDOW else best_far(book, -1)


@part
def slot_of(book, order_id):
    """Slot of a live order, 0 when the id is unknown, filled or cancelled."""
    slot = order_id & ORDER_SLOT_MASK
    if order_id <= 0:
        return 0
    order = book.orders[slot]
    if order.quantity_lot == 0 or np.int64(order.serial) != order_id >> ORDER_SLOT_BITS:
        return 0
    return slot


@part
def order_id_of(book, slot):
    """The id of the order in a slot."""
    return (np.int64(book.orders[slot].serial) << ORDER_SLOT_BITS) | slot


@leaf
def withdraw(book, order_id):
    """Do what :func:`cancel` does, copied into a caller that counts its messages itself."""
    slot = slot_of(book, order_id)
    if slot == 0:
        return 0
    removed = np.int64(book.orders[slot].quantity_lot)
    _unlink(book, slot)
    _release(book, slot)
    return removed


@routine
def cancel(book, order_id):
    """Remove a resting order. Returns the quantity removed, 0 when the order no longer rests."""
    book.messages += 1
    return withdraw(book, order_id)


@kernel
def reduce(book, order_id, quantity):
    """Lower a resting order's quantity in place, keeping its priority; returns what was removed."""
    slot = slot_of(book, order_id)
    if slot == 0:
        return 0
    order = book.orders[slot]
    if quantity >= order.quantity_lot:
        return cancel(book, order_id)
    order.quantity_lot -= quantity
    book.levels[np.int64(order.key) & INDEX_MASK].quantity_lot -= quantity
    return quantity


@part
def _report(book, tick, quantity, slot, taker):
    """Append one fill to the book's report."""
    order = book.orders[slot]
    fill = book.fills[book.fill_count]
    fill.price_tick = tick
    fill.quantity = quantity
    fill.maker = order.owner
    fill.taker = taker
    fill.maker_order_id = (np.int64(order.serial) << ORDER_SLOT_BITS) | slot
    fill.maker_cause = np.int64(order.key) >> INDEX_BITS
    book.fill_count += 1


@leaf
def _take_level(book, index, left, taker):
    """Trade against one level of the window, oldest order first. Returns what is left of the incoming order."""
    level = book.levels[index]
    tick = book.origin + index
    slot = np.int64(level.head)
    gone = np.int64(0)
    while slot != 0 and left > 0:
        if book.fill_count >= book.fill_limit:
            book.interrupt = INTERRUPT_REPORT_FULL
            break
        order = book.orders[slot]
        resting = np.int64(order.quantity_lot)
        if book.self_trade != _ALLOW and order.owner == taker and taker != book.anonymous:
            if book.self_trade != _CANCEL_RESTING:
                book.interrupt = INTERRUPT_SELF_TRADE
                break
            gone += resting
            book.withdrawn += resting
        elif resting <= left:
            _report(book, tick, resting, slot, taker)
            left -= resting
            gone += resting
        else:
            _report(book, tick, left, slot, taker)
            order.quantity_lot = resting - left
            gone += left
            left = np.int64(0)
            break
        following = np.int64(order.next)
        _release(book, slot)
        slot = following
    level.head = slot
    level.quantity_lot -= gone
    if slot != 0:
        book.orders[slot].previous = 0
    else:
        level.tail = 0
        clear_bit(book, index)
    return left


@detour
def _bring(book, side, best):
    """Move the window to the best price of a side; returns its level."""
    follow(book, side, best, 1)
    return best - book.origin


@leaf
def take(book, side, limit_tick, quantity, taker):
    """Trade an incoming order against the other side up to its limit, a price; returns the quantity left.

    Fills are appended to ``book.fills``. ``book.interrupt`` says why matching stopped early, if it did: the report is
    full (the caller empties it and continues) or the next resting order has the same owner.
    """
    left = quantity
    book.interrupt = INTERRUPT_NONE
    if side > 0:
        best = book.best_ask
        while left > 0 and best <= limit_tick:
            index = best - book.origin
            if unlikely(index >= WINDOW):
                index = _bring(book, -1, best)
            left = _take_level(book, index, left, taker)
            if book.levels[index].head != 0:
                break
            index = next_above(book, index)
            best = book.origin + index if index < WINDOW else best_far(book, -1)
        book.best_ask = best
    else:
        best = book.best_bid
        while left > 0 and best >= limit_tick:
            index = best - book.origin
            if unlikely(index <= 0):
                index = _bring(book, 1, best)
            left = _take_level(book, index, left, taker)
            if book.levels[index].head != 0:
                break
            index = next_below(book, index)
            best = book.origin + index if index > 0 else best_far(book, 1)
        book.best_bid = best
    return left


@routine
def cut_slot(book, slot, lots):
    """Take lots away from the order of a slot, which is no message; one of no more lots leaves the book."""
    order = book.orders[slot]
    if lots == order.quantity_lot:
        _unlink(book, slot)
        _release(book, slot)
    else:
        order.quantity_lot -= lots
        book.levels[np.int64(order.key) & INDEX_MASK].quantity_lot -= lots


@routine
def _settle_with_own(book, side, limit_tick, left, taker):
    """Cancel or decrement both orders, after :func:`take` stopped at one of the taker's own; returns the quantity left.

    ``book.interrupt`` stays where what is left must not rest.
    """
    while book.interrupt == INTERRUPT_SELF_TRADE:
        slot = np.int64(book.levels[(book.best_ask if side > 0 else book.best_bid) - book.origin].head)
        resting = np.int64(book.orders[slot].quantity_lot)
        less = resting if book.self_trade == _CANCEL_BOTH else min(left, resting)
        book.withdrawn += less
        cut_slot(book, slot, less)
        if book.self_trade == _CANCEL_BOTH:
            return left
        left -= less
        if left == 0:
            book.interrupt = INTERRUPT_NONE
        else:
            left = take(book, side, limit_tick, left, taker)
    return left


@leaf
def trade(book, side, limit_tick, quantity, taker):
    """:func:`take` under every self-trade policy, those included that touch both orders."""
    left = take(book, side, limit_tick, quantity, taker)
    if book.interrupt == INTERRUPT_SELF_TRADE and book.self_trade > _CANCEL_INCOMING:
        left = _settle_with_own(book, side, limit_tick, left, taker)
    return left


@leaf
def enqueue(book, side, tick, index, quantity, owner, cause, parent):
    """Append an order at ``tick`` to the queue of a level; returns its id, 0 if no slot is free.

    In a level that is its price's alone, the best price of its side is kept true.
    """
    slot = book.free_slot
    if slot != 0:
        book.free_slot = np.int64(book.orders[slot].next)
    else:
        slot = book.fresh_slot
        if slot >= len(book.orders):
            book.status = STATUS_ORDERS_FULL
            return 0
        book.fresh_slot = slot + 1
    serial = (book.serial + 1) & SERIAL_MASK
    book.serial = serial
    level = book.levels[index]
    last = np.int64(level.tail)
    order = book.orders[slot]
    order.key = index | (cause << INDEX_BITS)
    order.quantity_lot = quantity
    order.next = 0
    order.previous = last
    order.owner = owner
    order.serial = serial
    book.parents[slot] = parent
    if last != 0:
        book.orders[last].next = slot
    else:
        level.head = slot
        set_bit(book, index)
        if side > 0:
            if tick > book.best_bid:
                book.best_bid = tick
        elif tick < book.best_ask:
            book.best_ask = tick
    level.tail = slot
    level.quantity_lot += quantity
    book.live_orders += 1
    return (serial << ORDER_SLOT_BITS) | slot


@detour
def level_for(book, side, tick):
    """Level for an order of ``side`` at ``tick``; the window moves to it where it becomes the best price of its side."""
    index = tick - book.origin
    if 0 < index < WINDOW:
        return index
    if tick > book.best_bid if side > 0 else tick < book.best_ask:
        follow(book, side, tick, 0)
        index = tick - book.origin
    return index if 0 < index < WINDOW else shared_level(tick)


@detour
def _rest_far(book, side, tick, quantity, owner, cause, parent):
    """Do what :func:`rest` does for a price beyond the window."""
    index = level_for(book, side, tick)
    order_id = enqueue(book, side, tick, index, quantity, owner, cause, parent)
    if order_id != 0 and index >= WINDOW:
        book.far_ticks[order_id & ORDER_SLOT_MASK] = tick
        if side > 0:
            book.best_bid = max(book.best_bid, tick)
        else:
            book.best_ask = min(book.best_ask, tick)
    return order_id


@leaf
def rest(book, side, tick, quantity, owner, cause, parent):
    """Append an order to the queue of its price, which must not cross. Returns its id, 0 if no slot is free."""
    index = tick - book.origin
    if unlikely(index <= 0 or index >= WINDOW):
        return _rest_far(book, side, tick, quantity, owner, cause, parent)
    return enqueue(book, side, tick, index, quantity, owner, cause, parent)


@routine
def fillable(book, side, limit_tick, quantity, taker):
    """Quantity, at most ``quantity``, that an order could trade now under the book's self-trade policy."""
    found = np.int64(0)
    tick = book.best_ask if side > 0 else book.best_bid
    while found < quantity:
        if side * (limit_tick - tick) < 0:
            break
        if book.self_trade == _ALLOW or taker == book.anonymous:
            found += lots_at(book, tick)
        else:
            slot = first_at(book, tick)
            while slot != 0:
                order = book.orders[slot]
                if order.owner != taker:
                    found += order.quantity_lot
                elif book.self_trade != _CANCEL_RESTING:
                    return min(found, quantity)
                slot = next_at(book, slot)
        tick = next_price(book, -side, tick)
    return min(found, quantity)


@routine
def payable(book, side, notional, most, taker):
    """What an order takes from the best price outwards while ``notional`` (ticks x lots) pays for it; ``(lots, last tick)``.

    At most ``most`` lots. Own orders that it would meet are left out or count like others, as the self-trade policy has
    it: the order has to reach those that it cancels or that stop it. The tick is 0 if it meets nobody.
    """
    lots = np.int64(0)
    last = np.int64(0)
    tick = book.best_ask if side > 0 else book.best_bid
    while lots < most and NO_BID < tick < NO_ASK and tick <= notional:
        slot = first_at(book, tick)
        while slot != 0:
            order = book.orders[slot]
            available = np.int64(order.quantity_lot)
            own = book.self_trade != _ALLOW and order.owner == taker and taker != book.anonymous
            slot = next_at(book, slot)
            if own and book.self_trade == _CANCEL_RESTING:
                if notional >= tick and lots < most:
                    last = tick
                continue
            taken = min(available, notional // tick, most - lots)
            if taken > 0:
                lots += taken
                notional -= taken * tick
                last = tick
            if taken < available or (own and book.self_trade != _DECREMENT):
                return lots, last
        tick = next_price(book, -side, tick)
    return lots, last


@routine
def slide(book, side, tick):
    """The price nearest to ``tick`` at which an order of this side would not trade."""
    if side > 0:
        return min(tick, book.best_ask - 1)
    return max(tick, book.best_bid + 1)


@routine
def submit(book, side, tick, quantity, owner, order_type, cause, parent):
    """Enter one order; returns ``(order_id, left)``.

    ``order_id`` is 0 when nothing rests. ``left`` is what neither traded nor rests; it is negative when the fill report
    ran full: minus the quantity still to be entered by :func:`submit` again.
    """
    book.messages += 1
    limit = tick
    if order_type == _TYPE_MARKET:
        limit = book.ticks - 1 if side > 0 else 1
    if limit < 1 or limit >= book.ticks:
        book.status = STATUS_PRICE_OUTSIDE
        return 0, quantity
    if order_type == _TYPE_SLIDE:
        limit = slide(book, side, limit)
        if limit < 1 or limit >= book.ticks:
            return 0, quantity
    elif order_type == _TYPE_POST_ONLY:
        if slide(book, side, limit) != limit:
            return 0, quantity
    else:
        if order_type == _TYPE_FOK and fillable(book, side, limit, quantity, owner) < quantity:
            return 0, quantity
        quantity = trade(book, side, limit, quantity, owner)
        if quantity == 0 or book.interrupt != INTERRUPT_NONE:
            return 0, quantity
        if order_type == _TYPE_MARKET or order_type == _TYPE_IOC or order_type == _TYPE_FOK:
            return 0, quantity
    return rest(book, side, limit, quantity, owner, cause, parent), np.int64(0)


@kernel
def enter(books, side, tick, quantity, owner, order_type, cause, parent):
    """:func:`submit` to ``books[0]`` with an empty report, for callers in Python.

    They pay for every argument and for every field they read, and more for a record than for an array. Returns
    ``(order_id, left, fills, interrupt, status)``.
    """
    book = books[0]
    book.fill_count = 0
    order_id, left = submit(book, side, tick, quantity, owner, order_type, cause, parent)
    return order_id, left, book.fill_count, book.interrupt, book.status


@kernel
def remove(books, order_id):
    """:func:`cancel` in ``books[0]``, for callers in Python."""
    return cancel(books[0], order_id)


@kernel
def depth_within(book, side, limit_tick):
    """Resting quantity of one side (+1 bids) from its best price to ``limit_tick`` inclusive, in lots."""
    low, high = (limit_tick, book.best_bid) if side > 0 else (book.best_ask, limit_tick)
    return resting_between(book, low, high)


@kernel
def list_levels(book, side, rows):
    """Write price and lots of the levels of one side to ``rows`` (n, 2), best price first; returns how many there are."""
    count = 0
    tick = book.best_bid if side > 0 else book.best_ask
    while count < len(rows) and NO_BID < tick < NO_ASK:
        rows[count, 0] = tick
        rows[count, 1] = lots_at(book, tick)
        count += 1
        tick = next_price(book, side, tick)
    return count


@kernel
def list_queue(book, tick, slots):
    """Write the slots of the orders at a price to ``slots``, oldest first; returns how many there are."""
    count = 0
    slot = first_at(book, tick)
    while slot != 0:
        slots[count] = slot
        count += 1
        slot = next_at(book, slot)
    return count
