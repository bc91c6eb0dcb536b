"""The event log: a draft record is filled field by field, then committed to the tape in order."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.margin import requirement
from cascade_sim.core.clearing.worth import bankruptcy_price, equity
from cascade_sim.core.ground.compile import leaf, routine


@leaf
def is_filling(tape):
    """Whether the driver should copy the tape away before anything more is done."""
    rows = tape.trades_count >= lay.TRADES_KEPT or tape.events_count >= lay.EVENTS_KEPT
    rows = rows or tape.agent_fills_count >= lay.AGENT_FILLS_KEPT
    rows = rows or tape.transfers_count >= lay.TRANSFERS_KEPT or tape.series_count >= lay.SERIES_CAPACITY
    snapshots = tape.depth_count >= len(tape.depth) or tape.liquidation_map_count >= len(tape.liquidation_map)
    return rows or snapshots


@routine
def begin_event(w, accounts, kind, stage, cause, account):
    """Start the draft of an event of ``account`` (or :data:`NO_ACCOUNT`) with the market as it is now.

    Once a capacity is exhausted nothing happens any more, and a draft begun then is not written.
    """
    draft = w.draft
    draft.event_id = w.control.capacity
    draft.type = kind
    draft.stage = stage
    draft.cause = cause
    draft.account = account
    draft.payer = lay.NO_ACCOUNT
    draft.side = 0
    draft.rule = 0
    draft.generation = 0
    draft.parent = lay.NO_EVENT
    draft.breach = lay.NO_EVENT
    draft.root = lay.NO_EVENT
    draft.quantity = 0
    draft.filled = 0
    draft.mark = w.market.mark
    draft.index = w.market.index
    draft.bankruptcy = np.nan
    draft.limit = np.nan
    draft.fill = np.nan
    draft.equity_before = np.nan
    draft.equity_after = np.nan
    draft.maintenance = np.nan
    draft.loss = 0.0
    draft.waited = np.nan
    if account >= 0:
        row = accounts[account]
        draft.equity_before = equity(w, row)
        draft.quantity = abs(row.position)
        draft.side = -1 if row.position > 0 else 1
        if row.traits & lay.FLAG_MARGINED:
            draft.maintenance = requirement(w, row)
            if row.position != 0:
                draft.bankruptcy = max(0.0, bankruptcy_price(w, row))


@routine
def commit_event(w, accounts, tape):
    """Give the draft its number and write it down. Returns the event id."""
    draft = w.draft
    number = w.control.next_event
    w.control.next_event = number + 1
    w.control.sequence += 1
    if w.config.record < lay.RECORD_SERIES or draft.event_id != 0:
        return number
    place = tape.events_count
    if draft.account >= 0:
        draft.equity_after = equity(w, accounts[draft.account])
    draft.event_id = number
    draft.step = w.control.step
    draft.sequence = w.control.sequence
    tape.events[place] = draft
    tape.events_count = place + 1
    if place + 1 == len(tape.events):
        w.control.capacity = lay.CAPACITY_EVENTS
    return number
