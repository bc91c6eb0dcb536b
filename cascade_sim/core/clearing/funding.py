"""Funding payments of perpetuals, at the rate of :mod:`cascade_sim.core.prices.funding`: they sum to zero to the atom."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import refresh_triggers, transfer
from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.domain.enums import EventType, Stage, TransferKind

_EVENT = np.int64(EventType.FUNDING)
_KIND = np.int64(TransferKind.FUNDING)
_NO_STAGE = np.int64(Stage.NONE)
_NO_CAUSE = np.int64(-1)
_BITS = np.int64(31)
_PARTS = np.int64(1 << 31)
_MASK = np.int64((1 << 31) - 1)
_HALF = np.int64(1 << 30)


@leaf
def payment(position, whole, parts):
    """Atoms that ``position`` lots pay at ``whole + parts / 2**31`` atoms a lot: exact, then rounded to nearest, half up."""
    low = position & _MASK
    return position * whole + (position >> _BITS) * parts + ((low * parts + _HALF) >> _BITS)


@routine
def pay_funding(w, accounts, watch, tape, unit):
    """Let every position pay ``unit`` atoms a lot into, or out of, the rounding account, which keeps what does not divide.

    Positions sum to zero, so the rounding account is left with less than half an atom per account either way.
    """
    whole = np.int64(math.floor(unit))
    parts = np.int64(math.floor((unit - whole) * _PARTS + 0.5))
    hub = w.config.rounding_account
    begin_event(w, accounts, _EVENT, _NO_STAGE, _NO_CAUSE, lay.NO_ACCOUNT)
    event = w.control.next_event
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position == 0:
            continue
        amount = payment(row.position, whole, parts)
        if amount > 0:
            transfer(w, accounts, tape, account, hub, amount, _KIND, event)
        elif amount < 0:
            transfer(w, accounts, tape, hub, account, -amount, _KIND, event)
        if row.traits & lay.FLAG_MARGINED:
            refresh_triggers(w, accounts, watch, account)
    w.draft.quantity = w.totals.open_interest
    commit_event(w, accounts, tape)


@routine
def settle_funding(w, accounts, watch, tape):
    """At the end of an interval: fix its rate, let positions pay, begin the next one."""
    config = w.config.prices
    prices = w.prices
    step = w.control.step
    if step < 0 or (step + 1) % config.funding_interval != 0:
        return
    prices.settled_rate = prices.funding_rate
    prices.premium_sum = 0.0
    prices.premium_weight = 0.0
    if w.config.switches.funding == 0 or prices.settled_rate == 0.0:
        return
    price = w.market.index if config.funding_at_index != 0 else w.market.mark
    pay_funding(w, accounts, watch, tape, price * prices.settled_rate * w.config.atoms)
