"""What the stages have in common: who pays, what is counted, and how a position changes hands."""

import math

import numpy as np

from cascade_sim.core.clearing.events import begin_event
from cascade_sim.core.clearing.ledger import off_book_trade, refresh_triggers, transfer
from cascade_sim.core.clearing.worth import equity, equity_at
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.domain.enums import AccountClass, Cause, Outcome, TransferKind

_CAUSE = np.int64(Cause.BACKSTOP)
_TAKEOVER = np.int64(TransferKind.TAKEOVER)
_PARTIAL = np.int64(Outcome.PARTIAL)
_TAKEN_OVER = np.int64(Outcome.TAKEN_OVER)

PAYING_CLASSES = (
    AccountClass.VALUE_TRADER,
    AccountClass.ARBITRAGEUR,
    AccountClass.UNLEVERED_HOLDER,
    AccountClass.LIQUIDITY_PROVIDER,
    AccountClass.OPTIONS_DEALER,
    AccountClass.LEVERAGED_TRADER,
    AccountClass.TREND_FOLLOWER,
    AccountClass.PARTICIPANT,
)
"""Who can be deleveraged or share a loss: everybody with a position of their own. Customers hold options against dealers, the
background, the shock and the system's accounts are nobody."""
_PAYING = np.int64(sum(1 << kind for kind in PAYING_CLASSES))


@leaf
def can_pay(row):
    """Whether the class of an account is one of :data:`PAYING_CLASSES`."""
    return (_PAYING >> np.int64(row.account_class)) & 1 != 0


@routine
def note_end(w, row):
    """Count an account among the liquidated as it enters the stages after the book."""
    if w.control.defaulting != 0:
        return
    if row.outcome < _PARTIAL:
        w.totals.liquidated_accounts += 1
    if w.totals.first_liquidation_step < 0:
        w.totals.first_liquidation_step = w.control.step
    row.outcome = max(row.outcome, _PARTIAL)


@leaf
def note_taken(w, row):
    """Note that an account was taken off the market."""
    if w.control.defaulting == 0:
        row.outcome = max(row.outcome, _TAKEN_OVER)


@leaf
def note_closed(w, stage, value):
    """Count a notional (atoms) that a stage closed."""
    w.totals.closed[stage] += value
    w.now.closed[stage] += value


@leaf
def note_covered(w, stage, debt):
    """Count bad debt (atoms) that a stage bore."""
    w.totals.covered[stage] += debt
    w.totals.bad_debt += debt


@routine
def begin_takeover(w, accounts, account, kind, stage):
    """Begin the event of a stage that takes over what an account holds; returns its number."""
    row = accounts[account]
    begin_event(w, accounts, kind, stage, _CAUSE, account)
    w.draft.parent = row.breach_event
    w.draft.breach = row.breach_event
    return w.control.next_event


@routine
def hand_over(w, accounts, watch, tape, account, party, lots, event):
    """Move lots of an account and its cash with them to a party: of the whole position all cash, else in proportion.

    The account is left with exactly nothing, or with the bankruptcy price that it had.
    """
    row = accounts[account]
    size = abs(row.position)
    tick = np.int64(math.floor(w.market.mark + 0.5))
    off_book_trade(w, accounts, watch, tape, account, party, lots, tick, _CAUSE, event)
    amount = row.cash
    if lots < size:
        # At the price of the trade an account is worth its cash and what it still holds: integers.
        amount = np.int64(equity_at(w, row, tick) * (lots / size))
    if amount > 0:
        transfer(w, accounts, tape, account, party, amount, _TAKEOVER, event)
    elif amount < 0:
        transfer(w, accounts, tape, party, account, -amount, _TAKEOVER, event)
    refresh_triggers(w, accounts, watch, account)


@part
def debt_of(w, row):
    """Equity below zero at the mark, in atoms, not negative."""
    return max(0.0, -equity(w, row))
