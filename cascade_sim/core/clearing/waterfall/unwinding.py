"""How the parties of the waterfall sell down in the book what they took over."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import limit_tick, place
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, EventType, OrderType, Stage

_IOC = np.int64(OrderType.IOC)
_CAUSE = np.int64(Cause.BACKSTOP)
_UNWIND = np.int64(EventType.UNWIND)
_FUND = np.int64(Stage.FUND)
_BACKSTOP = np.int64(Stage.BACKSTOP)


@routine
def execute_unwind(w, book, accounts, watch, tape, party, side, tick, quantity, lots):
    """Enter an order of a party for ``lots`` of the ``quantity`` that was decided, and write its event."""
    stage = _FUND if party == w.config.fund_account else _BACKSTOP
    begin_event(w, accounts, _UNWIND, stage, _CAUSE, party)
    if stage == _BACKSTOP:
        for k in range(w.config.clearing.stages):
            if w.config.clearing.waterfall[k].account == party:
                w.draft.rule = lay.RULE_OF_STAGE + k
    event = w.control.next_event
    _, filled = place(w, book, accounts, watch, tape, party, side, tick, lots, _IOC, _CAUSE, event)
    w.draft.side = side
    w.draft.quantity = quantity
    w.draft.filled = filled
    w.draft.limit = float(tick)
    commit_event(w, accounts, tape)


@part
def _unwind(w, book, accounts, watch, tape, k):
    """Sell a share of a party's position per second, within a distance of the mid; fractions of lots are carried."""
    settings = w.config.clearing.waterfall[k]
    party = settings.account
    position = accounts[party].position
    if position == 0 or settings.unwind_rate <= 0.0:
        return
    market = w.market
    market.unwind_carry[k] += abs(position) * min(1.0, settings.unwind_rate)
    lots = min(abs(position), np.int64(market.unwind_carry[k]))
    if lots == 0:
        return
    market.unwind_carry[k] -= lots
    side = -1 if position > 0 else 1
    tick = limit_tick(market.mid * (1.0 + side * settings.unwind_limit), side)
    if w.control.delaying != 0 and defer(w, party, side, tick, lots, _IOC, _CAUSE, lay.NO_EVENT) != 0:
        return
    execute_unwind(w, book, accounts, watch, tape, party, side, tick, lots, lots)


@routine
def unwind_parties(w, book, accounts, watch, tape):
    """Let every party sell down what it took over."""
    if w.control.step < 0 or w.market.halted != 0:
        return
    for k in range(w.config.clearing.parties):
        if w.config.clearing.waterfall[k].account >= 0:
            _unwind(w, book, accounts, watch, tape, k)
