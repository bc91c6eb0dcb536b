"""Price-time-priority matching on one book record (layout: :mod:`cascade_sim.core.layout.book`).

Occupied price levels sit in a three-level 64-ary bitset, so the next best price costs the same however empty the
book is. Orders of a level form a doubly linked queue through their slots: cancellation by id is O(1). Every function
takes the record itself (``books[0]``); quantities are lots, prices ticks, sides +1 (buy) and -1 (sell).
"""

import numpy as np

from cascade_sim.core.ground.compile import kernel, leading_zeros, leaf, part, routine, trailing_zeros
from cascade_sim.core.layout.book import (
    FILL_CAPACITY,
    INTERRUPT_NONE,
    INTERRUPT_REPORT_FULL,
    INTERRUPT_SELF_TRADE,
    ORDER_CAPACITY,
    ORDER_SLOT_BITS,
    PRICE_BITS,
    STATUS_ORDERS_FULL,
    STATUS_PRICE_OUTSIDE,
    TICKS,
)
from cascade_sim.domain.enums import OrderType, SelfTradePolicy

_PRICE_MASK = TICKS - 1
_SLOT_MASK = ORDER_CAPACITY - 1
SERIAL_MASK = 0x7FFFFFFF
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
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


@part
def set_bit(book, tick):
    """Mark a tick as occupied in a record with the three bitset levels."""
    low = tick >> 6
    mid = tick >> 12
    book.bits_low[low] |= _ONE << np.uint64(tick & 63)
    book.bits_mid[mid] |= _ONE << np.uint64(low & 63)
    book.bits_top[0] |= _ONE << np.uint64(mid)


@part
def clear_bit(book, tick):
    """Mark a tick as empty."""
    low = tick >> 6
    mid = tick >> 12
    word = book.bits_low[low] & ~(_ONE << np.uint64(tick & 63))
    book.bits_low[low] = word
    if word == 0:
        word = book.bits_mid[mid] & ~(_ONE << np.uint64(low & 63))
        book.bits_mid[mid] = word
        if word == 0:
            book.bits_top[0] &= ~(_ONE << np.uint64(mid))


@part
def _over(word, bit):
    """Bits of ``word`` strictly above ``bit``; two shifts, because a shift by 64 is undefined."""
    return word & ((_ALL << np.uint64(bit)) << _ONE)


@part
def _under(word, bit):
    return word & ((_ONE << np.uint64(bit)) - _ONE)


@leaf
def next_above(book, tick):
    """Lowest occupied tick above ``tick``, TICKS if none."""
    low = tick >> 6
    word = _over(book.bits_low[low], tick & 63)
    if word != 0:
        return (low << 6) + trailing_zeros(word)
    mid = low >> 6
    word = _over(book.bits_mid[mid], low & 63)
    if word == 0:
        word = _over(book.bits_top[0], mid)
        if word == 0:
            return TICKS
        mid = trailing_zeros(word)
        word = book.bits_mid[mid]
    low = (mid << 6) + trailing_zeros(word)
    return (low << 6) + trailing_zeros(book.bits_low[low])


@leaf
def next_below(book, tick):
    """Highest occupied tick below ``tick``, 0 if none."""
    low = tick >> 6
    word = _under(book.bits_low[low], tick & 63)
    if word != 0:
        return (low << 6) + 63 - leading_zeros(word)
    mid = low >> 6
    word = _under(book.bits_mid[mid], low & 63)
    if word == 0:
        word = _under(book.bits_top[0], mid)
        if word == 0:
            return 0
        mid = 63 - leading_zeros(word)
        word = book.bits_mid[mid]
    low = (mid << 6) + 63 - leading_zeros(word)
    return (low << 6) + 63 - leading_zeros(book.bits_low[low])


@kernel
def open_book(book, self_trade):
    """Make a zeroed record an empty book with the given :class:`SelfTradePolicy`.

    ``book.anonymous`` may name an owner that stands for many traders, whose orders may meet.
    """
    book.best_bid = 0
    book.best_ask = TICKS
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


@part
def _unlink(book, slot):
    """Take an order out of its queue and keep best prices true; the slot stays allocated."""
    order = book.orders[slot]
    tick = np.int64(order.key) & _PRICE_MASK
    level = book.levels[tick]
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
    if level.head == 0:
        clear_bit(book, tick)
        if tick == book.best_bid:
            book.best_bid = next_below(book, tick)
        elif tick == book.best_ask:
            book.best_ask = next_above(book, tick)


@part
def _slot_of(book, order_id):
    """Slot of a live order, 0 when the id is unknown, filled or cancelled."""
    slot = order_id & _SLOT_MASK
    if order_id <= 0:
        return 0
    order = book.orders[slot]
    if order.quantity_lot == 0 or np.int64(order.serial) != order_id >> ORDER_SLOT_BITS:
        return 0
    return slot


@leaf
def withdraw(book, order_id):
    """Do what :func:`cancel` does, copied into a caller that counts its messages itself."""
    slot = _slot_of(book, order_id)
    if slot == 0:
        return 0
    removed = np.int64(book.orders[slot].quantity_lot)
    _unlink(book, slot)
    _release(book, slot)
    return removed


@kernel
def cancel(book, order_id):
    """Remove a resting order. Returns the quantity removed, 0 when the order no longer rests."""
    book.messages += 1
    return withdraw(book, order_id)


@kernel
def reduce(book, order_id, quantity):
    """Lower a resting order's quantity in place, keeping its priority; returns what was removed."""
    slot = _slot_of(book, order_id)
    if slot == 0:
        return 0
    order = book.orders[slot]
    if quantity >= order.quantity_lot:
        return cancel(book, order_id)
    order.quantity_lot -= quantity
    book.levels[np.int64(order.key) & _PRICE_MASK].quantity_lot -= quantity
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
    fill.maker_cause = np.int64(order.key) >> PRICE_BITS
    book.fill_count += 1


@leaf
def _take_level(book, tick, left, taker):
    """Trade against one price level, oldest order first. Returns what is left of the incoming order."""
    level = book.levels[tick]
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
        clear_bit(book, tick)
    return left


@leaf
def take(book, side, limit_tick, quantity, taker):
    """Trade an incoming order against the other side up to its limit; returns the quantity left.

    Fills are appended to ``book.fills``. ``book.interrupt`` says why matching stopped early, if it did: the report is
    full (the caller empties it and continues) or the next resting order has the same owner.
    """
    left = quantity
    book.interrupt = INTERRUPT_NONE
    if side > 0:
        best = book.best_ask
        while left > 0 and best <= limit_tick and best < TICKS:
            left = _take_level(book, best, left, taker)
            if book.levels[best].head != 0:
                break
            best = next_above(book, best)
        book.best_ask = best
    else:
        best = book.best_bid
        while left > 0 and best >= limit_tick and best > 0:
            left = _take_level(book, best, left, taker)
            if book.levels[best].head != 0:
                break
            best = next_below(book, best)
        book.best_bid = best
    return left


@routine
def _settle_with_own(book, side, limit_tick, left, taker):
    """Cancel or decrement both orders, after :func:`take` stopped at one of the taker's own; returns the quantity left.

    ``book.interrupt`` stays where what is left must not rest.
    """
    while book.interrupt == INTERRUPT_SELF_TRADE:
        level = book.levels[book.best_ask if side > 0 else book.best_bid]
        slot = np.int64(level.head)
        order = book.orders[slot]
        resting = np.int64(order.quantity_lot)
        less = resting if book.self_trade == _CANCEL_BOTH else min(left, resting)
        book.withdrawn += less
        if less == resting:
            _unlink(book, slot)
            _release(book, slot)
        else:
            order.quantity_lot = resting - less
            level.quantity_lot -= less
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
def rest(book, side, tick, quantity, owner, cause, parent):
    """Append an order to the queue of its price, which must not cross. Returns its id, 0 if no slot is free."""
    slot = book.free_slot
    if slot != 0:
        book.free_slot = np.int64(book.orders[slot].next)
    else:
        slot = book.fresh_slot
        if slot >= ORDER_CAPACITY:
            book.status = STATUS_ORDERS_FULL
            return 0
        book.fresh_slot = slot + 1
    serial = (book.serial + 1) & SERIAL_MASK
    book.serial = serial
    level = book.levels[tick]
    last = np.int64(level.tail)
    order = book.orders[slot]
    order.key = tick | (cause << PRICE_BITS)
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
        set_bit(book, tick)
        if side > 0:
            if tick > book.best_bid:
                book.best_bid = tick
        elif tick < book.best_ask:
            book.best_ask = tick
    level.tail = slot
    level.quantity_lot += quantity
    book.live_orders += 1
    return (serial << ORDER_SLOT_BITS) | slot


@kernel
def fillable(book, side, limit_tick, quantity, taker):
    """Quantity, at most ``quantity``, that an order could trade now under the book's self-trade policy."""
    found = np.int64(0)
    tick = book.best_ask if side > 0 else book.best_bid
    while found < quantity:
        if side > 0:
            if tick > limit_tick or tick >= TICKS:
                break
        elif tick < limit_tick or tick <= 0:
            break
        if book.self_trade == _ALLOW or taker == book.anonymous:
            found += book.levels[tick].quantity_lot
        else:
            slot = np.int64(book.levels[tick].head)
            while slot != 0:
                order = book.orders[slot]
                if order.owner != taker:
                    found += order.quantity_lot
                elif book.self_trade != _CANCEL_RESTING:
                    return min(found, quantity)
                slot = np.int64(order.next)
        tick = next_above(book, tick) if side > 0 else next_below(book, tick)
    return min(found, quantity)


@routine
def slide(book, side, tick):
    """The price nearest to ``tick`` at which an order of this side would not trade."""
    if side > 0:
        return min(tick, book.best_ask - 1)
    return max(tick, book.best_bid + 1)


@kernel
def submit(book, side, tick, quantity, owner, order_type, cause, parent):
    """Enter one order; returns ``(order_id, left)``.

    ``order_id`` is 0 when nothing rests. ``left`` is what neither traded nor rests; it is negative when the fill report
    ran full: minus the quantity still to be entered by :func:`submit` again.
    """
    book.messages += 1
    limit = tick
    if order_type == _TYPE_MARKET:
        limit = TICKS - 1 if side > 0 else 1
    if limit < 1 or limit >= TICKS:
        book.status = STATUS_PRICE_OUTSIDE
        return 0, quantity
    if order_type == _TYPE_SLIDE:
        limit = slide(book, side, limit)
        if limit < 1 or limit >= TICKS:
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
    total = np.int64(0)
    if side > 0:
        tick = book.best_bid
        while tick >= limit_tick and tick > 0:
            total += book.levels[tick].quantity_lot
            tick = next_below(book, tick)
    else:
        tick = book.best_ask
        while tick <= limit_tick and tick < TICKS:
            total += book.levels[tick].quantity_lot
            tick = next_above(book, tick)
    return total
