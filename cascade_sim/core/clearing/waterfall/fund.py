"""The insurance fund: it takes bankrupt positions over at their bankruptcy price while it is healthy and has room."""

import numpy as np

from cascade_sim.core.clearing.events import commit_event
from cascade_sim.core.clearing.ledger import refresh_triggers, transfer
from cascade_sim.core.clearing.waterfall.moves import (
    begin_takeover,
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

_TAKEOVER = np.int64(EventType.TAKEOVER)
_STAGE = np.int64(Stage.FUND)
_KIND_TAKEOVER = np.int64(TransferKind.TAKEOVER)
_KIND_EXTERNAL = np.int64(TransferKind.EXTERNAL)


@part
def _room(w, accounts, account, lots):
    """Lots of an account that the fund may take: what it may hold afterwards is limited, what makes it smaller is not."""
    settings = w.config.clearing.waterfall[w.control.place]
    fund = accounts[settings.account]
    # Against what it holds the other way the lots close first; beyond that they open.
    held = fund.position if accounts[account].position > 0 else -fund.position
    most = min(settings.most_notional, settings.most_leverage * max(0.0, equity(w, fund)))
    largest = most / (w.market.mark * w.config.atoms)
    # Compared as floats: without a limit the room is infinite.
    if largest - held >= lots:
        return lots
    return max(np.int64(0), min(lots, np.int64(largest) - held))


@routine
def fund_takes(w, accounts, watch, tape, account):
    """Take as much of a bankrupt position as the fund may hold."""
    settings = w.config.clearing.waterfall[w.control.place]
    fund = accounts[settings.account]
    if w.config.switches.backstop == 0 or equity(w, fund) <= settings.floor * fund.collateral:
        return
    row = accounts[account]
    before = row.position
    size = abs(before)
    lots = _room(w, accounts, account, size)
    if lots <= 0:
        return
    debt = debt_of(w, row)
    value = notional(w, row)
    note_end(w, row)
    event = begin_takeover(w, accounts, account, _TAKEOVER, _STAGE)
    w.draft.filled = lots
    w.draft.payer = settings.account
    w.draft.loss = debt
    w.draft.fill = w.draft.bankruptcy
    if lots < size:
        w.draft.loss *= lots / size
    hand_over(w, accounts, watch, tape, account, settings.account, lots, event)
    commit_event(w, accounts, tape)
    if row.position == before:  # the records are full
        return
    if lots < size:
        value *= lots / size
        debt = max(0.0, debt - debt_of(w, row))
    note_closed(w, _STAGE, value)
    note_covered(w, _STAGE, np.int64(debt))
    note_taken(w, row)


@routine
def cover_debt(w, accounts, watch, tape, account):
    """The fund pays what a closed account owes (fees, a stop-loss filled beyond bankruptcy); what it lacks is external."""
    row = accounts[account]
    debt = -row.cash
    if debt <= 0 or w.control.capacity != 0:
        return
    fund = w.config.fund_account
    event = begin_takeover(w, accounts, account, _TAKEOVER, _STAGE)
    missing = debt - np.int64(max(0.0, equity(w, accounts[fund])))
    if missing > 0:
        external = w.config.external_account
        w.totals.external += transfer(w, accounts, tape, external, fund, missing, _KIND_EXTERNAL, event)
    transfer(w, accounts, tape, fund, account, debt, _KIND_TAKEOVER, event)
    refresh_triggers(w, accounts, watch, account)
    w.draft.payer = fund
    w.draft.loss = float(debt)
    commit_event(w, accounts, tape)
    note_covered(w, _STAGE, debt)
