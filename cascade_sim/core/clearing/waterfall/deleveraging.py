"""Auto-deleveraging: winners on the other side close a bankrupt position at its bankruptcy price, ranked by a rule."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import off_book_trade
from cascade_sim.core.clearing.waterfall.moves import (
    can_pay,
    debt_of,
    note_closed,
    note_covered,
    note_end,
    note_taken,
)
from cascade_sim.core.clearing.worth import bankruptcy_price, equity, notional, notional_of
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.domain.enums import Cause, EventType, Outcome, Stage

_CAUSE = np.int64(Cause.DELEVERAGING)
_ADL = np.int64(EventType.ADL)
_STAGE = np.int64(Stage.ADL)
_DELEVERAGED = np.int64(Outcome.DELEVERAGED)


@part
def list_counterparties(w, accounts, scratch, side):
    """List in ``scratch[1]`` the solvent accounts whose position has sign ``side``; returns their number."""
    count = 0
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position * side > 0 and can_pay(row) and equity(w, row) > 0.0:
            scratch[1, count] = account
            count += 1
    return count


@part
def score_counterparties(w, accounts, scratch, scores, count):
    """Profit times effective leverage, profit over leverage for losers (BitMEX); lowest score pays first."""
    for k in range(count):
        row = accounts[np.int64(scratch[1, k])]
        side = 1.0 if row.position > 0 else -1.0
        profit = side * (w.market.mark - row.entry_tick) / row.entry_tick
        leverage = notional(w, row) / equity(w, row)
        if profit > 0.0:
            scores[1, k] = -(profit * leverage)
        else:
            scores[1, k] = -(profit / leverage)


@routine
def _deleverage_one(w, accounts, watch, tape, account, winner, tick):
    """Close as much of ``account`` against ``winner`` as both hold and the winner can bear."""
    row = accounts[account]
    other = accounts[winner]
    lots = min(abs(row.position), abs(other.position))
    gap = abs(w.market.mark - tick)
    if equity(w, other) < lots * gap * w.config.atoms or w.control.capacity != 0:
        return
    before = equity(w, other)
    begin_event(w, accounts, _ADL, _STAGE, _CAUSE, account)
    event = w.control.next_event
    off_book_trade(w, accounts, watch, tape, account, winner, lots, tick, _CAUSE, event)
    loss = max(0.0, before - equity(w, other))
    draft = w.draft
    draft.filled = lots
    draft.fill = float(tick)
    draft.payer = winner
    draft.loss = loss
    draft.parent = row.breach_event
    draft.breach = row.breach_event
    commit_event(w, accounts, tape)
    note_closed(w, _STAGE, notional_of(w, lots))
    totals = w.totals
    totals.adl_loss += np.int64(loss)
    if other.outcome != _DELEVERAGED:
        totals.adl_accounts += 1
        other.outcome = _DELEVERAGED
    if totals.first_adl_step < 0:
        totals.first_adl_step = w.control.step


@part
def _close_against(w, accounts, watch, scratch, scores, tape, account, count):
    """Close against the listed winners, lowest score first; the rounding of the price stays with the loser."""
    row = accounts[account]
    price = bankruptcy_price(w, row)
    tick = np.int64(math.ceil(price)) if row.position > 0 else np.int64(math.floor(price))
    tick = max(tick, 1)
    debt = np.int64(debt_of(w, row))
    sort_by_score(scratch[1], scores[1], count)
    for k in range(count):
        if row.position == 0:
            break
        _deleverage_one(w, accounts, watch, tape, account, np.int64(scratch[1, k]), tick)
    # What is left of the debt is counted where it is paid.
    note_covered(w, _STAGE, debt - np.int64(math.ceil(debt_of(w, row))))


@routine
def deleverage(w, accounts, watch, scratch, scores, tape, account):
    """Deleverage the winners; returns RETURN_ADL when a rule that is not compiled must rank them."""
    control = w.control
    row = accounts[account]
    if w.config.switches.adl == 0 or row.position == 0:
        return lay.RETURN_DONE
    if control.answered == 0:
        side = -1 if row.position > 0 else 1
        control.request_quantity = list_counterparties(w, accounts, scratch, side)
        if w.config.clearing.adl == lay.RULE_PYTHON:
            control.request_account = account
            return lay.RETURN_ADL
        score_counterparties(w, accounts, scratch, scores, control.request_quantity)
    control.answered = 0
    note_end(w, row)
    _close_against(w, accounts, watch, scratch, scores, tape, account, control.request_quantity)
    note_taken(w, row)
    return lay.RETURN_DONE
