"""Socialised loss: the fund takes the position at the mark, and open profits pay in proportion for what is missing."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import commit_event
from cascade_sim.core.clearing.ledger import refresh_triggers, transfer
from cascade_sim.core.clearing.waterfall.moves import (
    begin_takeover,
    can_pay,
    debt_of,
    hand_over,
    note_closed,
    note_covered,
    note_end,
    note_taken,
)
from cascade_sim.core.clearing.worth import equity, notional
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.domain.enums import EventType, Stage, TransferKind

_SOCIALISE = np.int64(EventType.SOCIALISE)
_STAGE = np.int64(Stage.SOCIALISED)
_KIND_SOCIALISED = np.int64(TransferKind.SOCIALISED)
_KIND_EXTERNAL = np.int64(TransferKind.EXTERNAL)


@part
def _collect(w, accounts, watch, tape, party, deficit, event):
    """Share a deficit over accounts in proportion to their open profit; returns what they paid to a party."""
    gains = 0.0
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position != 0 and can_pay(row):
            gains += max(0.0, row.position * (w.market.mark - row.entry_tick))
    paid = np.int64(0)
    if gains <= 0.0:
        return paid
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position == 0 or not can_pay(row):
            continue
        gain = max(0.0, row.position * (w.market.mark - row.entry_tick))
        share = min(np.int64(deficit * (gain / gains)), np.int64(max(0.0, equity(w, row))), deficit - paid)
        if share > 0:
            paid += transfer(w, accounts, tape, account, party, share, _KIND_SOCIALISED, event)
            if row.traits & lay.FLAG_MARGINED:
                refresh_triggers(w, accounts, watch, account)
    return paid


@routine
def socialise(w, accounts, watch, tape, account):
    """Share what an account owes, then draw the rest from outside and report it.

    The fund takes the position of an account at the mark. A party that owes keeps its own, to sell it down.
    """
    row = accounts[account]
    owes_itself = w.control.defaulting != 0
    party = account if owes_itself else w.config.fund_account
    value = notional(w, row)
    deficit = np.int64(math.ceil(debt_of(w, row)))
    if owes_itself and deficit == 0:
        return
    note_end(w, row)
    event = begin_takeover(w, accounts, account, _SOCIALISE, _STAGE)
    w.draft.filled = 0 if owes_itself else abs(row.position)
    w.draft.loss = float(deficit)
    if not owes_itself:
        hand_over(w, accounts, watch, tape, account, party, abs(row.position), event)
    commit_event(w, accounts, tape)
    if not owes_itself:
        if row.position != 0:  # the records are full
            return
        note_closed(w, _STAGE, value)
    paid = _collect(w, accounts, watch, tape, party, deficit, event)
    w.totals.socialised += paid
    note_covered(w, _STAGE, deficit)
    missing = deficit - paid
    if missing > 0:
        external = w.config.external_account
        w.totals.external += transfer(w, accounts, tape, external, party, missing, _KIND_EXTERNAL, event)
    note_taken(w, row)
