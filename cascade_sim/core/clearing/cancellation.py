"""The open orders of an account that is closed are cancelled first, and an event says so.

Venues do this before anything else (Bybit, Drift; mechanics of liquidation engines differ in what follows): an old order
that fills after the close-out opens a position without any equity behind it. All distressed accounts of a screen are
looked at in one pass over the book, before any of them is ranked; so it holds for every stage that may follow, and for
rules that are not compiled. Orders that were on their way are cut to what reduces when they arrive.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import touch
from cascade_sim.core.clearing.margin import jumps, requirement
from cascade_sim.core.clearing.open_orders import cancel_slot
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.domain.enums import Cause, EventType, Stage

_CANCEL = np.int64(EventType.CANCEL)
_TRIGGER = np.int64(Stage.TRIGGER)
_CAUSE = np.int64(Cause.LIQUIDATION)


@leaf
def is_freed(w, row):
    """Whether an account that is looked at is above its requirement, which drops where the price enters a lower tier."""
    return (row.traits & lay.FLAG_CROSS) == 0 and equity(w, row) > requirement(w, row)


@part
def _mark_closing(w, accounts, watch, found, listed):
    """Mark the distressed accounts of a screen that have open orders; returns the lots of all of them."""
    lots = 0.0
    for k in range(found):
        account = np.int64(listed[k])
        row = accounts[account]
        held = watch[lay.RESTING_BUY, account] + watch[lay.RESTING_SELL, account]
        if held > 0.0 and not (row.position != 0 and jumps(w) and is_freed(w, row)):
            row.closing = 1
            lots += held
    return lots


@routine
def write_cancellation(w, accounts, tape, account, side, lots, waited):
    """Write down that lots of an account's orders were cancelled because it is being closed; ``side`` 0: on both sides."""
    begin_event(w, accounts, _CANCEL, _TRIGGER, _CAUSE, account)
    draft = w.draft
    draft.side = side
    draft.quantity = lots
    draft.parent = accounts[account].breach_event
    draft.breach = accounts[account].breach_event
    draft.waited = waited
    commit_event(w, accounts, tape)


@routine
def cancel_open_orders(w, book, accounts, watch, tape, found, listed):
    """Cancel every order of the ``found`` accounts in ``listed`` that are distressed."""
    if w.control.capacity != 0:
        return
    left = _mark_closing(w, accounts, watch, found, listed)
    if left == 0.0:
        return
    for k in range(found):
        account = np.int64(listed[k])
        if accounts[account].closing != 0:
            buys, sells = watch[lay.RESTING_BUY, account], watch[lay.RESTING_SELL, account]
            side = np.int64(buys > 0.0) - np.int64(sells > 0.0)
            write_cancellation(w, accounts, tape, account, side, np.int64(buys + sells), np.nan)
    slot = np.int64(1)
    while left > 0.0 and slot < book.fresh_slot:
        order = book.orders[slot]
        if order.quantity_lot > 0 and accounts[np.int64(order.owner)].closing != 0:
            left -= cancel_slot(w, book, accounts, watch, slot)
        slot += 1
    for k in range(found):
        accounts[np.int64(listed[k])].closing = 0
    touch(w, book, _CAUSE)
