"""Orders of agents written in Python: a phase's worth of them in one array, executed in one call."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place, touch
from cascade_sim.core.clearing.open_orders import cancel_slot, note_open, signed_tick
from cascade_sim.core.clearing.reducing import is_reducing, reducing_lots
from cascade_sim.core.clearing.spending import spend
from cascade_sim.core.ground.compile import kernel, part
from cascade_sim.core.ground.rng import PURPOSE_ORDERING, stream, word
from cascade_sim.core.venue.admission import MINIMUM_NOTIONAL, is_too_small
from cascade_sim.core.venue.book import order_id_of, reduce, slot_of
from cascade_sim.domain.enums import OrderType

_LIMIT = np.int64(OrderType.LIMIT)
_ACTOR_DRAW = np.int64(1)


@part
def _sort_actors(w, batch, order, heads):
    """Fill ``order`` with the first row of each actor, sorted by a hash of (entity, step); returns their number.

    Rows of one entity follow one another. A distribution into as many buckets as ``heads`` has entries, by the leading
    bits of the hash, leaves an insertion sort next to nothing to do: linear time, no allocation.
    """
    key = stream(w.config.seed, PURPOSE_ORDERING, w.control.step)
    shift = 64
    while (1 << (64 - shift)) < len(heads):
        shift -= 1
    heads[:] = 0
    for row in range(len(batch)):
        if row == 0 or batch[row].entity != batch[row - 1].entity:
            hashed = word(key, batch[row].entity, _ACTOR_DRAW)
            batch[row].key = hashed
            heads[np.int64(hashed >> np.uint64(shift))] += 1
    actors = 0
    for bucket in range(len(heads)):
        held = heads[bucket]
        heads[bucket] = actors
        actors += held
    for row in range(len(batch)):
        if row == 0 or batch[row].entity != batch[row - 1].entity:
            bucket = np.int64(batch[row].key >> np.uint64(shift))
            order[heads[bucket]] = row
            heads[bucket] += 1
    for k in range(1, actors):
        row = order[k]
        at = k
        while at > 0 and batch[order[at - 1]].key > batch[row].key:
            order[at] = order[at - 1]
            at -= 1
        order[at] = row
    return actors


@part
def _own_slot(book, batch, request):
    """Slot of the order that a row names, 0 if it rests no more or is of another account."""
    order_id = request.order_id
    if order_id < 0:
        order_id = batch[-1 - order_id].order_id
    slot = np.int64(slot_of(book, order_id))
    if slot == 0 or book.orders[slot].owner != request.account:
        return np.int64(0)
    return slot


@part
def _cancel(w, book, accounts, watch, batch, request):
    """Take an order of the same account out of the book; returns the lots that were left of it."""
    slot = _own_slot(book, batch, request)
    if slot == 0:
        return np.int64(0)
    removed = cancel_slot(w, book, accounts, watch, slot)
    if w.control.reducing > 0:
        reducing_lots(w, book, np.int64(request.account), np.int64(1))
    touch(w, book, np.int64(request.cause))
    return removed


@part
def _enter(w, book, accounts, watch, tape, batch, row):
    """Enter the order of a row and write down what became of it."""
    request = batch[row]
    kind, side, account = np.int64(request.kind), np.int64(request.side), np.int64(request.account)
    tick, cause = np.int64(request.tick), np.int64(request.cause)
    first = tape.agent_fills_count
    w.control.refusal = 0
    if kind & lay.REQUEST_TYPES == lay.REQUEST_BY_NOTIONAL:
        order_id, filled, lots = spend(
            w, book, accounts, watch, tape, account, side, request.quantity, kind, cause, lay.NO_EVENT
        )
        # Its sender is told of lots, not of atoms.
        request.quantity = lots
    else:
        order_id, filled = place(
            w,
            book,
            accounts,
            watch,
            tape,
            account,
            side,
            tick,
            request.quantity,
            kind,
            cause,
            lay.NO_EVENT,
        )
    request.order_id = order_id
    request.filled = filled
    request.refused = w.control.refusal
    for number in range(first, tape.agent_fills_count):
        if tape.agent_fills[number].is_maker == 0:
            tape.agent_fills[number].request = row


@part
def _amend(w, book, accounts, watch, tape, batch, row):
    """Change the order that a row names into what the next row says.

    A smaller quantity at the same price keeps its place in the queue; anything else is a cancellation and a new order. What
    would be worth too little for the venue leaves the order as it is.
    """
    wanted = batch[row + 1]
    slot = _own_slot(book, batch, batch[row])
    wanted.order_id = 0
    wanted.filled = 0
    if slot == 0:
        return
    signed = signed_tick(w, book, slot)
    side, lots = np.int64(1 if signed > 0 else -1), np.int64(book.orders[slot].quantity_lot)
    wanted.side = side
    if wanted.tick == 0:
        wanted.tick = abs(signed)
    if wanted.quantity == 0:
        wanted.quantity = lots
    keeps_place = wanted.tick == abs(signed) and wanted.quantity <= lots
    changes = not keeps_place or wanted.quantity < lots
    reduces = w.control.reducing > 0 and is_reducing(w, np.int64(wanted.account), order_id_of(book, slot))
    if w.config.venue.minimum_notional > 0 and changes and not reduces:
        owner = accounts[np.int64(wanted.account)]
        if is_too_small(w, owner, side, np.int64(wanted.tick), wanted.quantity, _LIMIT):
            wanted.refused = MINIMUM_NOTIONAL
            wanted.order_id = order_id_of(book, slot)
            return
    if keeps_place:
        order_id = order_id_of(book, slot)
        removed = lots - wanted.quantity
        if removed > 0:
            book.messages += 1
            reduce(book, order_id, removed)
            note_open(w, accounts, watch, np.int64(wanted.account), side, -removed)
            touch(w, book, np.int64(wanted.cause))
        wanted.order_id = order_id
        return
    cancel_slot(w, book, accounts, watch, slot)
    touch(w, book, np.int64(wanted.cause))
    if reduces:
        wanted.kind |= lay.REQUEST_REDUCE_ONLY
    _enter(w, book, accounts, watch, tape, batch, row + 1)


@kernel
def execute_batch(w, book, accounts, watch, tape, batch, order, heads):
    """Execute ``batch`` (n,) of :data:`layout.REQUEST`, actors in the order hashed from (entity, step), each its rows in turn.

    Rows of one entity follow one another; results are written into them. ``order`` (n,) and ``heads`` (a power of two of
    at least 2, about the number of actors) are int64 scratch. Stops at the first capacity that runs out.
    """
    actors = _sort_actors(w, batch, order, heads)
    for k in range(actors):
        row = order[k]
        entity = batch[row].entity
        while row < len(batch) and batch[row].entity == entity:
            if batch[row].kind == lay.REQUEST_CANCEL:
                batch[row].filled = _cancel(w, book, accounts, watch, batch, batch[row])
            elif batch[row].kind == lay.REQUEST_AMEND:
                _amend(w, book, accounts, watch, tape, batch, row)
                row += 1
            else:
                _enter(w, book, accounts, watch, tape, batch, row)
            if w.control.capacity != 0 or book.status != 0:
                return
            row += 1


@kernel
def look_up(w, book, order_ids, found):
    """Write tick and signed lots left of each order of ``order_ids`` (n,) to ``found`` (n, 2); 0 lots: it rests no more."""
    for k in range(len(order_ids)):
        slot = slot_of(book, order_ids[k])
        found[k, 0] = 0
        found[k, 1] = 0
        if slot != 0:
            tick = signed_tick(w, book, slot)
            found[k, 0] = abs(tick)
            found[k, 1] = np.int64(book.orders[slot].quantity_lot) * (1 if tick > 0 else -1)
