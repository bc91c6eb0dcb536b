"""The uniform-price auction that reopens a halted market: resting orders and the pool trade at one price.

The price maximises the executable volume; among such prices it leaves the least imbalance, then it is the nearest to the
reference price, then the lowest. These are the usual steps of exchange rule books (Euronext harmonised rule book, London
Stock Exchange MIT201; Hendershott and Madhavan 2015 describe the mechanism). Orders are filled by price, then time; of
two that meet, the younger is the taker, as it would have been in continuous trading. Self-trade prevention does not act.
Reduce-only orders count whole as the price is found, and are cut fill by fill.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import fills_left, settle, touch
from cascade_sim.core.clearing.open_orders import note_open
from cascade_sim.core.clearing.reducing import catch_up, trim
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.core.layout.book import INDEX_BITS, NO_ASK, WINDOW
from cascade_sim.core.venue.book import SERIAL_MASK, level_for, order_id_of, reduce
from cascade_sim.core.venue.window import (
    clear_bit,
    first_at,
    lots_at,
    next_occupied,
    resting_between,
    set_bit,
)

_ARRIVAL_BITS = 21
"""A price of 31 bits and an arrival of these are an integer that doubles hold; no two sides of a pool have more orders."""
_HALF_OF_SERIALS = (SERIAL_MASK + 1) // 2


@part
def _is_older(book, slot, other):
    """Whether an order was entered before another; serial numbers start again when they run out."""
    difference = np.int64(book.orders[other].serial) - np.int64(book.orders[slot].serial)
    return (difference & SERIAL_MASK) < _HALF_OF_SERIALS


@part
def _collect(w, book):
    """List the slots of the pool by side, in price-time priority."""
    venue = w.venue
    venue.pooled[0] = 0
    venue.pooled[1] = 0
    slot = np.int64(book.levels[0].head)
    arrival = 0
    while slot != 0:
        limit = np.int64(venue.limit[slot])
        index = 0 if limit > 0 else 1
        place = venue.pooled[index]
        if place >= venue.pool.shape[1]:
            w.control.capacity = lay.CAPACITY_AUCTION
            return
        venue.pool[index, place] = slot
        # Best price first; prices of markets and arrivals together are integers that doubles hold.
        venue.pool_key[index, place] = float((-limit << _ARRIVAL_BITS) + arrival)
        venue.pooled[index] = place + 1
        arrival += 1
        slot = np.int64(book.orders[slot].next)
    for index in range(2):
        sort_by_score(venue.pool[index], venue.pool_key[index], venue.pooled[index])


@part
def _pool_tick(w, index, place):
    return abs(np.int64(w.venue.limit[w.venue.pool[index, place]]))


@part
def _pool_lots(w, book, index, place):
    return np.int64(book.orders[w.venue.pool[index, place]].quantity_lot)


@routine
def _choose(best, tick, demand, supply, reference):
    """The better of the best ``(price, volume, imbalance)`` so far and those of a tick dearer than it."""
    price, volume, imbalance = best
    traded = min(demand, supply)
    surplus = abs(demand - supply)
    better = traded > volume
    if traded == volume and traded > 0:
        nearer = abs(tick - reference) < abs(price - reference)
        better = surplus < imbalance or (surplus == imbalance and nearer)
    if better:
        return np.int64(tick), traded, surplus
    return price, volume, imbalance


@routine
def clearing_price(w, book, reference):
    """Find the auction price of the book and the listed pool; returns ``(tick, lots)``, lots 0 if nothing crosses.

    Supply and demand are running sums, which change at the limits of orders alone: of the ticks between two limits, the one
    nearest to ``reference`` stands for all.
    """
    venue = w.venue
    highest = book.best_bid
    lowest = book.best_ask
    if venue.pooled[0] > 0:
        highest = max(highest, _pool_tick(w, 0, 0))
    if venue.pooled[1] > 0:
        lowest = min(lowest, _pool_tick(w, 1, 0))
    demand = np.int64(0)
    if lowest <= book.best_bid:
        demand = resting_between(book, lowest, book.best_bid)
    buy = np.int64(0)
    while buy < venue.pooled[0] and _pool_tick(w, 0, buy) >= lowest:
        demand += _pool_lots(w, book, 0, buy)
        buy += 1
    sell = np.int64(0)
    supply = np.int64(0)
    best = (np.int64(0), np.int64(0), np.int64(0))
    tick = lowest
    while tick <= highest:
        if tick >= book.best_ask:
            supply += lots_at(book, tick)
        while sell < venue.pooled[1] and _pool_tick(w, 1, sell) == tick:
            supply += _pool_lots(w, book, 1, sell)
            sell += 1
        best = _choose(best, tick, demand, supply, reference)
        if tick <= book.best_bid:
            demand -= lots_at(book, tick)
        while buy > 0 and _pool_tick(w, 0, buy - 1) == tick:
            demand -= _pool_lots(w, book, 0, buy - 1)
            buy -= 1
        following = min(next_occupied(book, tick), highest + 1)
        if sell < venue.pooled[1]:
            following = min(following, _pool_tick(w, 1, sell))
        if buy > 0:
            following = min(following, _pool_tick(w, 0, buy - 1))
        if following > tick + 1:
            best = _choose(best, min(max(reference, tick + 1), following - 1), demand, supply, reference)
        tick = following
    return best[0], best[1]


@leaf
def _next_order(w, book, index, place):
    """Slot that comes next on a side: the head of the book or the listed order number ``place`` of the pool."""
    tick = book.best_bid if index == 0 else book.best_ask
    resting = 0 < tick < NO_ASK
    if place >= w.venue.pooled[index]:
        return first_at(book, tick)
    pooled = w.venue.pool[index, place]
    limit = _pool_tick(w, index, place)
    if not resting or (tick < limit if index == 0 else tick > limit):
        return pooled
    head = first_at(book, tick)
    if tick == limit and not _is_older(book, head, pooled):
        return pooled
    return head


@part
def _fill(w, book, accounts, watch, tape, price, lots, buy, sell):
    """Settle one fill of the auction; the younger of the two orders is the taker."""
    side = np.int64(1) if _is_older(book, sell, buy) else np.int64(-1)
    taker = book.orders[buy if side > 0 else sell]
    maker = book.orders[sell if side > 0 else buy]
    before = tape.trades_count
    note_open(w, accounts, watch, np.int64(taker.owner), side, -lots)
    settle(
        w,
        accounts,
        watch,
        tape,
        side,
        float(price),
        lots,
        price * lots * w.config.atoms,
        np.int64(taker.owner),
        np.int64(maker.owner),
        np.int64(taker.key) >> INDEX_BITS,
        np.int64(maker.key) >> INDEX_BITS,
        np.int64(taker.serial),
        np.int64(maker.serial),
        1,
    )
    if tape.trades_count > before:
        tape.trades[before].taker_event = book.parents[buy if side > 0 else sell]
    reduce(book, order_id_of(book, buy), lots)
    reduce(book, order_id_of(book, sell), lots)


@routine
def _crosses(w, book, price, buy_place, sell_place):
    """Whether there is anybody left on either side who trades at the price of the auction."""
    buyers = book.best_bid >= price
    if buy_place < w.venue.pooled[0]:
        buyers = buyers or _pool_tick(w, 0, buy_place) >= price
    sellers = book.best_ask <= price
    if sell_place < w.venue.pooled[1]:
        sellers = sellers or _pool_tick(w, 1, sell_place) <= price
    return buyers and sellers


@part
def _join_queue(book, slot, side, tick):
    """Put an order of the pool into the queue of its price, behind every order that was entered before it."""
    index = level_for(book, side, tick)
    order = book.orders[slot]
    level = book.levels[index]
    before = np.int64(level.tail)
    # Beyond the window a level has other prices too, whose orders may stand on either side.
    while before != 0 and not (
        _is_older(book, before, slot) and (index < WINDOW or book.far_ticks[before] == tick)
    ):
        before = np.int64(book.orders[before].previous)
    following = np.int64(level.head) if before == 0 else np.int64(book.orders[before].next)
    order.key = index | ((np.int64(order.key) >> INDEX_BITS) << INDEX_BITS)
    if index >= WINDOW:
        book.far_ticks[slot] = tick
    order.previous = before
    order.next = following
    if before != 0:
        book.orders[before].next = slot
    else:
        level.head = slot
    if following != 0:
        book.orders[following].previous = slot
    else:
        level.tail = slot
    level.quantity_lot += order.quantity_lot
    set_bit(book, index)
    if side > 0:
        book.best_bid = max(book.best_bid, tick)
    else:
        book.best_ask = min(book.best_ask, tick)


@part
def _release_pool(w, book):
    """Let what is left of the pool rest in the book."""
    level = book.levels[0]
    level.head = 0
    level.tail = 0
    level.quantity_lot = 0
    clear_bit(book, 0)
    for index in range(2):
        for place in range(w.venue.pooled[index]):
            slot = w.venue.pool[index, place]
            if book.orders[slot].quantity_lot > 0:
                _join_queue(book, slot, 1 - 2 * index, _pool_tick(w, index, place))


@routine
def uncross(w, book, accounts, watch, tape, reference):
    """Hold the auction and let the rest of the pool join the book; returns ``(tick, lots)`` as :func:`clearing_price`.

    ``reference`` is the tick that ties are decided by. The market must not be halted any more.
    """
    # Their number falls as they fill.
    cutting = w.control.reducing > 0
    if cutting:
        catch_up(w, book, accounts, watch)
    _collect(w, book)
    price, volume = clearing_price(w, book, reference)
    if w.control.capacity != 0:
        return price, np.int64(0)
    first = tape.trades_count
    messages = book.messages
    left = volume
    buy_place = np.int64(0)
    sell_place = np.int64(0)
    while left > 0 and fills_left(w, tape) > 0:
        buy = _next_order(w, book, 0, buy_place)
        sell = _next_order(w, book, 1, sell_place)
        lots = min(left, np.int64(book.orders[buy].quantity_lot), np.int64(book.orders[sell].quantity_lot))
        buyer, seller = np.int64(book.orders[buy].owner), np.int64(book.orders[sell].owner)
        _fill(w, book, accounts, watch, tape, price, lots, buy, sell)
        left -= lots
        if cutting:
            trim(w, book, accounts, watch, buyer, seller)
        while buy_place < w.venue.pooled[0] and _pool_lots(w, book, 0, buy_place) == 0:
            buy_place += 1
        while sell_place < w.venue.pooled[1] and _pool_lots(w, book, 1, sell_place) == 0:
            sell_place += 1
        if cutting and not _crosses(w, book, price, buy_place, sell_place):
            # Orders that were counted have been cut.
            volume -= left
            left = np.int64(0)
    book.messages = messages
    _release_pool(w, book)
    if volume > 0:
        w.market.last = float(price)
    touch(w, book, lay.MOVE_QUOTE_REVISION)
    for index in range(first, tape.trades_count):
        tape.trades[index].mid_after = np.nan if w.market.one_sided != 0 else w.market.mid
    return price, volume
