"""Open orders of margined accounts: how much they have resting, kept beside the accounts, and how one is cancelled.

Every change of what rests passes here: an order that comes to rest, fills of it, cancellations whoever asks for them. So
nobody has to walk the book to know what an account has open, and a world in which no margined account has any is told by
one number, ``control.open_lots``. Other accounts are not counted: nothing rests on what they have open.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import kernel, leaf, routine
from cascade_sim.core.layout.book import INDEX_MASK, ORDER_SLOT_MASK
from cascade_sim.core.venue.book import cancel, order_id_of, slot_of
from cascade_sim.core.venue.window import tick_of_order


@leaf
def signed_tick(w, book, slot):
    """Price of a resting order with the sign of its side; in the pool of a call auction it stands beside the book."""
    if (np.int64(book.orders[slot].key) & INDEX_MASK) == 0:
        return np.int64(w.venue.limit[slot])
    tick = tick_of_order(book, slot)
    return tick if tick <= book.best_bid else -tick


@leaf
def note_open(w, accounts, watch, account, side, lots):
    """Add ``lots`` (negative: take away) to what an account has resting on a side, if it is margined."""
    if (accounts[account].traits & lay.FLAG_MARGINED) != 0:
        watch[lay.RESTING_BUY if side > 0 else lay.RESTING_SELL, account] += lots
        w.control.open_lots += lots


@routine
def note_entered(w, book, accounts, watch, account, side, order_id):
    """Note what an order of a margined account left behind: itself, and own orders that were taken out where they met."""
    if book.withdrawn != 0:
        note_open(w, accounts, watch, account, -side, -book.withdrawn)
    if order_id != 0:
        lots = np.int64(book.orders[order_id & ORDER_SLOT_MASK].quantity_lot)
        note_open(w, accounts, watch, account, side, lots)


@routine
def cancel_slot(w, book, accounts, watch, slot):
    """Cancel the order that rests in a slot; returns its lots."""
    owner = np.int64(book.orders[slot].owner)
    side = signed_tick(w, book, slot)
    removed = cancel(book, order_id_of(book, slot))
    note_open(w, accounts, watch, owner, side, -removed)
    return removed


@kernel
def cancel_order(w, book, accounts, watch, order_id):
    """Cancel an order by its id; returns its lots, 0 when it no longer rests."""
    slot = slot_of(book, order_id)
    if slot == 0:
        return np.int64(0)
    return cancel_slot(w, book, accounts, watch, slot)
