"""Reduce-only orders that rest: they never increase or turn a position, whatever else becomes of it.

One is cut, as it enters, to the opposite position less what waits in others already. Whenever a position shrinks or turns,
those of its account are cut to it, the newest first, before they can trade again: an order takes one fill at a time while
any of them rest, and what changed outside of the book is caught up with before the next order, and at the end of the
liquidations of a step. A world without them is told by one number, ``control.reducing``.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.initial_margin import may_rest
from cascade_sim.core.clearing.open_orders import note_open
from cascade_sim.core.ground.compile import routine
from cascade_sim.core.layout.book import ORDER_SLOT_MASK
from cascade_sim.core.venue.admission import UNKNOWN, own_resting
from cascade_sim.core.venue.book import cut_slot, slot_of

_BUCKET = lay.REDUCING_BUCKETS - 1


@routine
def reducing_lots(w, book, account, side):
    """Lots that wait in reduce-only orders of an account on one side; entries of orders that are gone are given back."""
    reducing = w.reducing
    total = np.int64(0)
    before = np.int64(0)
    entry = np.int64(reducing.head[account & _BUCKET])
    while entry != 0:
        node = reducing.pool[entry]
        following = np.int64(node.next)
        slot = np.int64(slot_of(book, node.order_id))
        if slot == 0:
            if before == 0:
                reducing.head[account & _BUCKET] = following
            else:
                reducing.pool[before].next = following
            node.order_id = 0
            node.next = reducing.free
            reducing.free = entry
            w.control.reducing -= 1
        else:
            if node.account == account and node.side == side:
                total += book.orders[slot].quantity_lot
            before = entry
        entry = following
    return total


@routine
def remember(w, account, side, order_id):
    """Note that an order which came to rest may only reduce."""
    reducing = w.reducing
    entry = reducing.free
    if entry != 0:
        reducing.free = np.int64(reducing.pool[entry].next)
    else:
        entry = reducing.fresh + 1
        if entry >= len(reducing.pool):
            w.control.capacity = lay.CAPACITY_ORDERS
            return
        reducing.fresh = entry
    node = reducing.pool[entry]
    node.order_id = order_id
    node.side = side
    node.account = account
    node.next = reducing.head[account & _BUCKET]
    reducing.head[account & _BUCKET] = entry
    w.control.reducing += 1


@routine
def is_reducing(w, account, order_id):
    """Whether an order of an account that rests may only reduce."""
    entry = np.int64(w.reducing.head[account & _BUCKET])
    while entry != 0:
        if w.reducing.pool[entry].order_id == order_id:
            return True
        entry = np.int64(w.reducing.pool[entry].next)
    return False


@routine
def trim(w, book, accounts, watch, first, second):
    """Cut the reduce-only orders of two accounts, those of a fill, to their positions, the newest first."""
    turn = 0
    while turn < 4:
        account = first if turn < 2 else second
        side = np.int64(1 - 2 * (turn & 1))
        excess = reducing_lots(w, book, account, side) - max(np.int64(0), -side * accounts[account].position)
        if excess <= 0:
            turn += 1
            continue
        # Looked at again, the list gives back the entries of what is cut away here.
        entry = np.int64(w.reducing.head[account & _BUCKET])
        while excess > 0 and entry != 0:
            node = w.reducing.pool[entry]
            if node.account == account and node.side == side:
                slot = np.int64(node.order_id & ORDER_SLOT_MASK)
                cut = min(excess, np.int64(book.orders[slot].quantity_lot))
                cut_slot(book, slot, cut)
                note_open(w, accounts, watch, account, side, -cut)
                excess -= cut
            entry = np.int64(node.next)


@routine
def catch_up(w, book, accounts, watch):
    """Cut all reduce-only orders to positions that changed outside of the book."""
    reducing = w.reducing
    if reducing.stale == 0:
        return
    reducing.stale = 0
    entry = reducing.fresh
    while entry > 0:
        if reducing.pool[entry].order_id != 0:
            account = np.int64(reducing.pool[entry].account)
            trim(w, book, accounts, watch, account, account)
        entry -= 1


@routine
def reducible(w, book, accounts, watch, account, side, quantity, order_type):
    """What an order may have that enters now: all of it, or what it may reduce if it may do nothing else."""
    if w.control.reducing > 0:
        catch_up(w, book, accounts, watch)
    if order_type < lay.REQUEST_REDUCE_ONLY:
        return quantity
    allowed = -side * accounts[account].position
    if may_rest(order_type & lay.REQUEST_TYPES) and w.control.reducing > 0:
        allowed -= reducing_lots(w, book, account, side)
    return min(quantity, allowed)


@routine
def counted_resting(w, book, accounts, account, side):
    """What an account has resting on a side, for the cap on its position: reduce-only orders do not count."""
    if w.config.venue.position_cap[accounts[account].account_class] < 0:
        return UNKNOWN
    return own_resting(w, book, account, side) - reducing_lots(w, book, account, side)
