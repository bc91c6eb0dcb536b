"""Where the prices of a book are kept: a window of levels that moves with the market, and a store for what lies beyond it.

A price within the window has a level of its own, found by its distance from ``book.origin``. An order beyond waits in a level
that it shares with its neighbours, the wider the dearer they are: there are as many of these for the prices from 2**k to
2**(k + 1) whatever k is. They do not depend on the window, so an order moves only when the window comes to it. Orders of
one price are always in one level, in the order of their arrival.

Far bids lie below the window and far asks above it. When a best price is to be found beyond the window, the window moves
over it, which costs what is in it and what joins it, and the next such move is half a window of prices away.

Occupied levels, of triggers too, sit in a three-level 64-ary bitset, so the next one costs the same however empty the rest is.
"""

import numpy as np

from cascade_sim.core.ground.compile import detour, leading_zeros, leaf, part, routine, trailing_zeros
from cascade_sim.core.layout.book import INDEX_BITS, INDEX_MASK, NO_ASK, NO_BID, WINDOW, WINDOW_BITS

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EXACT_BITS = 13
"""Leading binary digits of a price that decide which shared level it belongs to."""
_WIDEST = WINDOW - (WINDOW >> 3)
"""Largest distance between the best prices at which the window moves over both."""


@part
def set_bit(book, index):
    """Mark a level as occupied in a record with the three bitset levels."""
    low = index >> 6
    mid = index >> 12
    book.bits_low[low] |= _ONE << np.uint64(index & 63)
    book.bits_mid[mid] |= _ONE << np.uint64(low & 63)
    book.bits_top[mid >> 6] |= _ONE << np.uint64(mid & 63)


@part
def clear_bit(book, index):
    """Mark a level as empty."""
    low = index >> 6
    mid = index >> 12
    word = book.bits_low[low] & ~(_ONE << np.uint64(index & 63))
    book.bits_low[low] = word
    if word == 0:
        word = book.bits_mid[mid] & ~(_ONE << np.uint64(low & 63))
        book.bits_mid[mid] = word
        if word == 0:
            book.bits_top[mid >> 6] &= ~(_ONE << np.uint64(mid & 63))


@part
def _over(word, bit):
    """Bits of ``word`` strictly above ``bit``; two shifts, because a shift by 64 is undefined."""
    return word & ((_ALL << np.uint64(bit)) << _ONE)


@part
def _under(word, bit):
    return word & ((_ONE << np.uint64(bit)) - _ONE)


@leaf
def next_above(book, index):
    """Lowest occupied level above ``index`` in the same half of the levels; the end of that half if there is none."""
    low = index >> 6
    word = _over(book.bits_low[low], index & 63)
    if word != 0:
        return (low << 6) + trailing_zeros(word)
    mid = low >> 6
    word = _over(book.bits_mid[mid], low & 63)
    if word == 0:
        top = mid >> 6
        word = _over(book.bits_top[top], mid & 63)
        if word == 0:
            return (top + 1) << WINDOW_BITS
        mid = (top << 6) + trailing_zeros(word)
        word = book.bits_mid[mid]
    low = (mid << 6) + trailing_zeros(word)
    return (low << 6) + trailing_zeros(book.bits_low[low])


@leaf
def next_below(book, index):
    """Highest occupied level below ``index`` in the same half of the levels; the first of that half if there is none."""
    low = index >> 6
    word = _under(book.bits_low[low], index & 63)
    if word != 0:
        return (low << 6) + 63 - leading_zeros(word)
    mid = low >> 6
    word = _under(book.bits_mid[mid], low & 63)
    if word == 0:
        top = mid >> 6
        word = _under(book.bits_top[top], mid & 63)
        if word == 0:
            return top << WINDOW_BITS
        mid = (top << 6) + 63 - leading_zeros(word)
        word = book.bits_mid[mid]
    low = (mid << 6) + 63 - leading_zeros(word)
    return (low << 6) + 63 - leading_zeros(book.bits_low[low])


@routine
def step_away(book, side, index):
    """Next occupied level in the direction in which prices of ``side`` get worse; the end of its half if there is none."""
    return next_below(book, index) if side > 0 else next_above(book, index)


@routine
def shared_level(tick):
    """Number of the level that orders at ``tick`` (at least 1) share with their neighbours beyond the window."""
    shift = max(np.int64(0), 64 - _EXACT_BITS - leading_zeros(np.uint64(tick)))
    return WINDOW + (shift << (_EXACT_BITS - 1)) + (np.int64(tick) >> shift)


@routine
def tick_of_order(book, slot):
    """Price of an order in the book; ``origin`` stands for none, in the queue of level 0."""
    index = np.int64(book.orders[slot].key) & INDEX_MASK
    return book.far_ticks[slot] if index >= WINDOW else book.origin + index


@routine
def append_order(book, slot, index):
    """Put an order, whose slot holds its quantity, at the end of a level."""
    order = book.orders[slot]
    level = book.levels[index]
    last = np.int64(level.tail)
    order.key = index | ((np.int64(order.key) >> INDEX_BITS) << INDEX_BITS)
    order.next = 0
    order.previous = last
    if last != 0:
        book.orders[last].next = slot
    else:
        level.head = slot
        set_bit(book, index)
    level.tail = slot
    level.quantity_lot += order.quantity_lot


@routine
def _take_out(book, index):
    """Empty a level; returns the slot of its first order."""
    level = book.levels[index]
    slot = np.int64(level.head)
    level.head = 0
    level.tail = 0
    level.quantity_lot = 0
    clear_bit(book, index)
    return slot


@part
def _move_to(book, origin):
    """Let everybody out of the window, and into the new one whoever has a level there."""
    index = step_away(book, -1, 0)
    while index < WINDOW:
        tick = book.origin + index
        shared = shared_level(tick)
        slot = _take_out(book, index)
        while slot != 0:
            following = np.int64(book.orders[slot].next)
            book.far_ticks[slot] = tick
            append_order(book, slot, shared)
            slot = following
        index = step_away(book, -1, index)
    book.origin = origin
    last = shared_level(origin + WINDOW - 1)
    shared = step_away(book, -1, shared_level(origin + 1) - 1)
    while shared <= last:
        slot = _take_out(book, shared)
        while slot != 0:
            following = np.int64(book.orders[slot].next)
            index = book.far_ticks[slot] - origin
            append_order(book, slot, index if 0 < index < WINDOW else shared)
            slot = following
        shared = step_away(book, -1, shared)


@routine
def follow(book, side, tick, needed):
    """Move the window to ``tick``, the best price of ``side`` now or soon: over both best prices if it can hold both.

    Where they are too far from each other it moves over ``tick`` if it is ``needed`` there, or if far bids would lie above
    the window or far asks below it, and else stays.
    """
    low = tick if side > 0 else book.best_bid
    high = book.best_ask if side > 0 else tick
    if low == NO_BID or high == NO_ASK:
        low = tick
        high = tick
    elif high - low > _WIDEST:
        if needed == 0 and (tick <= book.origin if side > 0 else tick >= book.origin + WINDOW):
            return
        low = tick
        high = tick
    origin = min(max(np.int64(0), low + ((high - low) >> 1) - (WINDOW >> 1)), NO_ASK - WINDOW)
    _move_to(book, origin)


@routine
def next_far(book, side, tick):
    """Best price of ``side`` beyond the window that is worse than ``tick``; NO_BID or NO_ASK if there is none."""
    found = np.int64(NO_BID if side > 0 else NO_ASK)
    if book.bits_top[1] == 0:
        return found
    shared = step_away(book, side, shared_level(tick) + side)
    while WINDOW < shared < 2 * WINDOW:
        slot = np.int64(book.levels[shared].head)
        while slot != 0:
            here = book.far_ticks[slot]
            if found < here < tick if side > 0 else tick < here < found:
                found = here
            slot = np.int64(book.orders[slot].next)
        if NO_BID < found < NO_ASK:
            break
        shared = step_away(book, side, shared)
    return found


@detour
def best_far(book, side):
    """Best price of a side that has nobody left in the window, which moves over it if it can; NO_BID or NO_ASK if nobody."""
    best = next_far(book, side, book.origin + 1 if side > 0 else book.origin + WINDOW - 1)
    if NO_BID < best < NO_ASK:
        follow(book, side, best, 0)
    return best


@routine
def next_price(book, side, tick):
    """Next price of ``side`` that is worse than ``tick``, which lies on that side; NO_BID or NO_ASK if there is none."""
    index = tick - book.origin
    if 0 < index < WINDOW:
        index = step_away(book, side, index)
        if 0 < index < WINDOW:
            return book.origin + index
        tick = book.origin + 1 if side > 0 else book.origin + WINDOW - 1
    return next_far(book, side, tick)


@routine
def next_occupied(book, tick):
    """Lowest price above ``tick`` (at least 1) at which an order of either side rests, NO_ASK if there is none."""
    found = next_far(book, -1, tick)
    index = max(tick - book.origin, np.int64(0))
    if index < WINDOW:
        index = step_away(book, -1, index)
        if index < WINDOW:
            found = min(found, book.origin + index)
    return found


@leaf
def _from_slot(book, slot, tick):
    """The first order at ``tick`` from ``slot`` on in its level, 0 if there is none."""
    while slot != 0 and book.far_ticks[slot] != tick:
        slot = np.int64(book.orders[slot].next)
    return slot


@routine
def first_at(book, tick):
    """Slot of the oldest order at a price, 0 if there is none."""
    index = tick - book.origin
    if 0 < index < WINDOW:
        return np.int64(book.levels[index].head)
    return _from_slot(book, np.int64(book.levels[shared_level(tick)].head), tick)


@routine
def next_at(book, slot):
    """Slot of the order that comes after another of the same price, 0 if there is none."""
    order = book.orders[slot]
    if (np.int64(order.key) & INDEX_MASK) < WINDOW:
        return np.int64(order.next)
    return _from_slot(book, np.int64(order.next), book.far_ticks[slot])


@routine
def lots_at(book, tick):
    """Lots that rest at a price (at least 1)."""
    index = tick - book.origin
    if 0 < index < WINDOW:
        return book.levels[index].quantity_lot
    total = np.int64(0)
    slot = first_at(book, tick)
    while slot != 0:
        total += book.orders[slot].quantity_lot
        slot = next_at(book, slot)
    return total


@routine
def far_lots(book, first, last, owner):
    """Lots that rest beyond the window from tick ``first`` to tick ``last``, both included, of one owner or of all (-1)."""
    total = np.int64(0)
    first = max(first, np.int64(1))
    if book.bits_top[1] == 0 or first > last:
        return total
    end = shared_level(last)
    shared = step_away(book, -1, shared_level(first) - 1)
    while shared <= end:
        slot = np.int64(book.levels[shared].head)
        while slot != 0:
            order = book.orders[slot]
            if first <= book.far_ticks[slot] <= last and (owner < 0 or order.owner == owner):
                total += order.quantity_lot
            slot = np.int64(order.next)
        shared = step_away(book, -1, shared)
    return total


@routine
def resting_between(book, first, last):
    """Lots that rest from tick ``first`` to tick ``last``, both included; walks the set bits of occupied levels."""
    total = far_lots(book, first, last, np.int64(-1))
    first = max(first - book.origin, np.int64(1))
    last = min(last - book.origin, np.int64(WINDOW - 1))
    if first > last:
        return total
    for low in range(first >> 6, (last >> 6) + 1):
        word = book.bits_low[low]
        if low == first >> 6:
            word &= _ALL << np.uint64(first & 63)
        if low == last >> 6:
            word &= _ALL >> np.uint64(63 - (last & 63))
        while word != 0:
            total += book.levels[(low << 6) + trailing_zeros(word)].quantity_lot
            word &= word - _ONE
    return total
