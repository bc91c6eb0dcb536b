"""What is left after the book: insurance fund, auto-deleveraging, socialised loss. Each stage says who paid."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import (
    equity,
    notional,
    off_book_trade,
    place,
    refresh_triggers,
    transfer,
)
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import AccountClass, Cause, EventType, OrderType, Outcome, Stage, TransferKind

_IOC = np.int64(OrderType.IOC)
_BACKSTOP = np.int64(Cause.BACKSTOP)
_DELEVERAGING = np.int64(Cause.DELEVERAGING)
_TAKEOVER = np.int64(EventType.TAKEOVER)
_ADL = np.int64(EventType.ADL)
_SOCIALISE = np.int64(EventType.SOCIALISE)
_UNWIND = np.int64(EventType.UNWIND)
_FUND_STAGE = np.int64(Stage.FUND)
_ADL_STAGE = np.int64(Stage.ADL)
_SOCIALISED_STAGE = np.int64(Stage.SOCIALISED)
_KIND_TAKEOVER = np.int64(TransferKind.TAKEOVER)
_KIND_SOCIALISED = np.int64(TransferKind.SOCIALISED)
_KIND_EXTERNAL = np.int64(TransferKind.EXTERNAL)
_TAKEN_OVER = np.int64(Outcome.TAKEN_OVER)
_DELEVERAGED = np.int64(Outcome.DELEVERAGED)
_PARTIAL = np.int64(Outcome.PARTIAL)
_FIRST_HOLDER_CLASS = np.int64(AccountClass.VALUE_TRADER)
_LAST_HOLDER_CLASS = np.int64(AccountClass.PARTICIPANT)
_CUSTOMER = np.int64(AccountClass.OPTION_CUSTOMER)


@part
def _can_pay(row):
    """Whether an account's class can be deleveraged or share a loss: everybody with a position of their own."""
    kind = row.account_class
    return _FIRST_HOLDER_CLASS <= kind <= _LAST_HOLDER_CLASS and kind != _CUSTOMER


@part
def _count_account(w, row):
    if row.outcome < _PARTIAL:
        w.totals.liquidated_accounts += 1
    if w.totals.first_liquidation_step < 0:
        w.totals.first_liquidation_step = w.control.step


@routine
def _take_position(w, accounts, watch, tape, account, event):
    """Move position and cash of an account to the insurance fund: it leaves with exactly nothing."""
    row = accounts[account]
    fund = w.config.fund_account
    tick = np.int64(math.floor(w.market.mark + 0.5))
    off_book_trade(w, accounts, watch, tape, account, fund, abs(row.position), tick, _BACKSTOP, event)
    if row.cash > 0:
        transfer(w, accounts, tape, account, fund, row.cash, _KIND_TAKEOVER, event)
    elif row.cash < 0:
        transfer(w, accounts, tape, fund, account, -row.cash, _KIND_TAKEOVER, event)
    refresh_triggers(w, accounts, watch, account)


@part
def _takeover(w, accounts, watch, tape, account):
    """The fund takes the rest of a bankrupt position at its bankruptcy price."""
    row = accounts[account]
    worth = equity(w, row)
    value = notional(w, row)
    _count_account(w, row)
    begin_event(w, accounts, _TAKEOVER, _FUND_STAGE, _BACKSTOP, account)
    event = w.control.next_event
    w.draft.filled = abs(row.position)
    w.draft.payer = w.config.fund_account
    w.draft.loss = max(0.0, -worth)
    w.draft.parent = row.breach_event
    w.draft.breach = row.breach_event
    w.draft.fill = w.draft.bankruptcy
    _take_position(w, accounts, watch, tape, account, event)
    commit_event(w, accounts, tape)
    if row.position != 0:  # the records are full
        return
    w.totals.liquidated_fund += value
    w.now.liquidated_fund += value
    w.totals.bad_debt += np.int64(max(0.0, -worth))
    row.outcome = max(row.outcome, _TAKEN_OVER)


@part
def list_counterparties(w, accounts, scratch, side):
    """List in ``scratch[1]`` the solvent accounts whose position has sign ``side``; returns their number."""
    count = 0
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position * side > 0 and _can_pay(row) and equity(w, row) > 0.0:
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
    """Close as much of ``account`` against ``winner`` as both hold; returns whether anything was closed."""
    row = accounts[account]
    other = accounts[winner]
    lots = min(abs(row.position), abs(other.position))
    gap = abs(w.market.mark - tick)
    if equity(w, other) < lots * gap * w.config.atoms:
        return False
    if w.control.capacity != 0:
        return False
    before = equity(w, other)
    begin_event(w, accounts, _ADL, _ADL_STAGE, _DELEVERAGING, account)
    event = w.control.next_event
    off_book_trade(w, accounts, watch, tape, account, winner, lots, tick, _DELEVERAGING, event)
    loss = max(0.0, before - equity(w, other))
    draft = w.draft
    draft.filled = lots
    draft.fill = float(tick)
    draft.payer = winner
    draft.loss = loss
    draft.parent = row.breach_event
    draft.breach = row.breach_event
    commit_event(w, accounts, tape)
    value = lots * w.market.mark * w.config.atoms
    totals = w.totals
    totals.liquidated_adl += value
    w.now.liquidated_adl += value
    totals.adl_loss += np.int64(loss)
    if other.outcome != _DELEVERAGED:
        totals.adl_accounts += 1
        other.outcome = _DELEVERAGED
    if totals.first_adl_step < 0:
        totals.first_adl_step = w.control.step
    return True


@part
def _deleverage(w, accounts, watch, scratch, scores, tape, account, count):
    """Auto-deleveraging at the bankruptcy price, lowest score first; the rounding of that price stays with the loser."""
    row = accounts[account]
    price = -row.cash / (row.position * w.config.atoms)
    tick = np.int64(math.ceil(price)) if row.position > 0 else np.int64(math.floor(price))
    tick = max(tick, 1)
    _count_account(w, row)
    debt = np.int64(max(0.0, -equity(w, row)))
    sort_by_score(scratch[1], scores[1], count)
    for k in range(count):
        if row.position == 0:
            break
        _deleverage_one(w, accounts, watch, tape, account, np.int64(scratch[1, k]), tick)
    # What is left of the debt is counted where it is paid.
    w.totals.bad_debt += debt - np.int64(math.ceil(max(0.0, -equity(w, row))))
    row.outcome = max(row.outcome, _TAKEN_OVER)


@part
def _collect(w, accounts, watch, tape, deficit, event):
    """Share a deficit over accounts in proportion to their open profit; returns what they paid."""
    gains = 0.0
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position != 0 and _can_pay(row):
            gains += max(0.0, row.position * (w.market.mark - row.entry_tick))
    paid = np.int64(0)
    if gains <= 0.0:
        return paid
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position == 0 or not _can_pay(row):
            continue
        gain = max(0.0, row.position * (w.market.mark - row.entry_tick))
        share = min(np.int64(deficit * (gain / gains)), np.int64(max(0.0, equity(w, row))), deficit - paid)
        if share > 0:
            paid += transfer(
                w, accounts, tape, account, w.config.fund_account, share, _KIND_SOCIALISED, event
            )
            if row.traits & lay.FLAG_MARGINED:
                refresh_triggers(w, accounts, watch, account)
    return paid


@part
def _socialise(w, accounts, watch, tape, account):
    """The fund takes the position at the mark; the missing cash is shared, then drawn from outside and reported."""
    row = accounts[account]
    worth = equity(w, row)
    value = notional(w, row)
    deficit = np.int64(math.ceil(max(0.0, -worth)))
    _count_account(w, row)
    begin_event(w, accounts, _SOCIALISE, _SOCIALISED_STAGE, _BACKSTOP, account)
    event = w.control.next_event
    w.draft.filled = abs(row.position)
    w.draft.loss = float(deficit)
    w.draft.parent = row.breach_event
    w.draft.breach = row.breach_event
    _take_position(w, accounts, watch, tape, account, event)
    commit_event(w, accounts, tape)
    if row.position != 0:  # the records are full
        return
    paid = _collect(w, accounts, watch, tape, deficit, event)
    w.totals.socialised += paid
    w.totals.bad_debt += deficit
    w.totals.liquidated_fund += value
    w.now.liquidated_fund += value
    missing = deficit - paid
    if missing > 0:
        external, fund = w.config.external_account, w.config.fund_account
        w.totals.external += transfer(w, accounts, tape, external, fund, missing, _KIND_EXTERNAL, event)
    row.outcome = max(row.outcome, _TAKEN_OVER)


@routine
def cover_debt(w, accounts, watch, tape, account):
    """The fund pays what a closed account owes (fees, a stop-loss filled beyond bankruptcy); what it lacks is external."""
    row = accounts[account]
    debt = -row.cash
    if debt <= 0 or w.control.capacity != 0:
        return
    fund = w.config.fund_account
    begin_event(w, accounts, _TAKEOVER, _FUND_STAGE, _BACKSTOP, account)
    event = w.control.next_event
    missing = debt - max(accounts[fund].cash, np.int64(0))
    if missing > 0:
        external = w.config.external_account
        w.totals.external += transfer(w, accounts, tape, external, fund, missing, _KIND_EXTERNAL, event)
    transfer(w, accounts, tape, fund, account, debt, _KIND_TAKEOVER, event)
    refresh_triggers(w, accounts, watch, account)
    w.draft.payer = fund
    w.draft.loss = float(debt)
    w.draft.parent = row.breach_event
    w.draft.breach = row.breach_event
    commit_event(w, accounts, tape)
    w.totals.bad_debt += debt


@routine
def absorb(w, accounts, watch, scratch, scores, tape, account):
    """Take a bankrupt account off the market; returns RETURN_ADL when a rule that is not compiled must rank."""
    control = w.control
    fund = accounts[w.config.fund_account]
    if control.capacity != 0:
        return lay.RETURN_DONE
    if control.answered == 0:
        healthy = equity(w, fund) > w.config.clearing.floor * fund.collateral
        if w.config.switches.backstop != 0 and healthy:
            _takeover(w, accounts, watch, tape, account)
            return lay.RETURN_DONE
    if w.config.switches.adl != 0:
        if control.answered == 0:
            side = -1 if accounts[account].position > 0 else 1
            control.request_quantity = list_counterparties(w, accounts, scratch, side)
            if w.config.clearing.adl == lay.RULE_PYTHON:
                control.request_account = account
                return lay.RETURN_ADL
            score_counterparties(w, accounts, scratch, scores, control.request_quantity)
        control.answered = 0
        _deleverage(w, accounts, watch, scratch, scores, tape, account, control.request_quantity)
    if accounts[account].position != 0 and control.capacity == 0:
        _socialise(w, accounts, watch, tape, account)
    return lay.RETURN_DONE


@part
def execute_unwind(w, book, accounts, watch, tape, side, tick, quantity, lots):
    """Enter an order of the fund for ``lots`` of the ``quantity`` that was decided, and write its event."""
    fund = w.config.fund_account
    begin_event(w, accounts, _UNWIND, _FUND_STAGE, _BACKSTOP, fund)
    event = w.control.next_event
    _, filled = place(w, book, accounts, watch, tape, fund, side, tick, lots, _IOC, _BACKSTOP, event)
    w.draft.side = side
    w.draft.quantity = quantity
    w.draft.filled = filled
    w.draft.limit = float(tick)
    commit_event(w, accounts, tape)


@routine
def unwind_fund(w, book, accounts, watch, tape):
    """The fund sells down what it took over, a share of its position per second, within a distance of the mid."""
    clearing = w.config.clearing
    fund = w.config.fund_account
    position = accounts[fund].position
    if position == 0 or w.control.step < 0 or clearing.unwind_rate <= 0.0 or w.market.halted != 0:
        return
    market = w.market
    market.unwind_carry += abs(position) * min(1.0, clearing.unwind_rate)
    lots = min(abs(position), np.int64(market.unwind_carry))
    if lots == 0:
        return
    market.unwind_carry -= lots
    side = -1 if position > 0 else 1
    tick = np.int64(math.floor(market.mid * (1.0 + side * clearing.unwind_limit) + 0.5))
    if w.control.delaying != 0 and defer(w, fund, side, tick, lots, _IOC, _BACKSTOP, lay.NO_EVENT) != 0:
        return
    execute_unwind(w, book, accounts, watch, tape, side, tick, lots, lots)
