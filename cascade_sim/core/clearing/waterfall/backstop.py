"""A party of the user's own: its rule says how many lots it takes at which price, and its account pays."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import commit_event
from cascade_sim.core.clearing.ledger import off_book_trade, refresh_triggers
from cascade_sim.core.clearing.waterfall.moves import (
    begin_takeover,
    debt_of,
    note_closed,
    note_covered,
    note_end,
    note_taken,
)
from cascade_sim.core.clearing.worth import equity, notional_of
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.domain.enums import Cause, EventType, Stage

_CAUSE = np.int64(Cause.BACKSTOP)
_TAKEOVER = np.int64(EventType.TAKEOVER)
_STAGE = np.int64(Stage.BACKSTOP)


@part
def _bearable(w, row, party, lots, tick):
    """Lots that a party can take at a price without owing more than it has at the mark."""
    side = 1.0 if row.position > 0 else -1.0
    cost = side * (tick - w.market.mark) * w.config.atoms
    capital = max(0.0, equity(w, party))
    if cost * lots <= capital:
        return lots
    return min(lots, np.int64(capital / cost))


@routine
def backstop_takes(w, accounts, watch, tape, account):
    """Ask the party's rule, then let it take what it said; returns RETURN_STAGE where it must be asked."""
    control = w.control
    row = accounts[account]
    if w.config.switches.backstop == 0 or row.position == 0:
        return lay.RETURN_DONE
    if control.answered == 0:
        control.request_account = account
        return lay.RETURN_STAGE
    control.answered = 0
    number = w.config.clearing.waterfall[control.place].account
    party = accounts[number]
    tick = control.request_tick
    lots = _bearable(w, row, party, min(abs(row.position), control.request_quantity), tick)
    if lots <= 0:
        return lay.RETURN_DONE
    note_end(w, row)
    before = equity(w, party)
    debt = debt_of(w, row)
    size = row.position
    event = begin_takeover(w, accounts, account, _TAKEOVER, _STAGE)
    w.draft.rule = lay.RULE_OF_STAGE + control.place
    w.draft.filled = lots
    w.draft.payer = number
    w.draft.fill = float(tick)
    off_book_trade(w, accounts, watch, tape, account, number, lots, tick, _CAUSE, event)
    refresh_triggers(w, accounts, watch, account)
    w.draft.loss = max(0.0, before - equity(w, party))
    commit_event(w, accounts, tape)
    if row.position == size:  # the records are full
        return lay.RETURN_DONE
    note_closed(w, _STAGE, notional_of(w, lots))
    note_covered(w, _STAGE, np.int64(max(0.0, debt - debt_of(w, row))))
    note_taken(w, row)
    return lay.RETURN_DONE
