"""The liquidation pipeline: trigger, priority, sizing and execution; what the book cannot close goes to the waterfall."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.cancellation import cancel_open_orders, is_freed
from cascade_sim.core.clearing.events import begin_event, commit_event, is_filling
from cascade_sim.core.clearing.ledger import off_book_trade, place, refresh_triggers, touch, transfer
from cascade_sim.core.clearing.margin import jumps, requirement
from cascade_sim.core.clearing.reducing import catch_up
from cascade_sim.core.clearing.trigger_index import triggered
from cascade_sim.core.clearing.waterfall import absorb, cover_debt, settle_defaults, unwind_parties
from cascade_sim.core.clearing.waterfall.moves import note_closed
from cascade_sim.core.clearing.worth import bankruptcy_price, equity, notional
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.rng import PURPOSE_PRIORITY, stream, uniform
from cascade_sim.core.ground.sorting import LONG, sort_by_score, sort_long_by_score
from cascade_sim.core.prices.mark import instant_mark
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, EventType, OrderType, Outcome, Stage, TransferKind

_IOC = np.int64(OrderType.IOC)
_CAUSE = np.int64(Cause.LIQUIDATION)
_BREACH = np.int64(EventType.BREACH)
_LIQUIDATION = np.int64(EventType.LIQUIDATION)
_TRIGGER = np.int64(Stage.TRIGGER)
_BOOK = np.int64(Stage.BOOK)
_FEE = np.int64(TransferKind.FEE)
_PARTIAL = np.int64(Outcome.PARTIAL)
_LIQUIDATED = np.int64(Outcome.LIQUIDATED)

_ROUNDING = 1.0e-9
"""Of a rate per second times a step, which should have been whole."""

STAGE_SCREEN = 0
STAGE_RANK = 1
STAGE_EXECUTE = 2
STAGE_DELEVERAGE = 3
STAGE_REFRESH = 4
STAGE_ORDER = 5
STAGE_DEFAULT = 6


@part
def _note_breach(w, accounts, tape, account):
    """Open a breach episode unless the account was already distressed a moment ago."""
    row = accounts[account]
    step = w.control.step
    gap = step - row.distressed_step
    row.distressed_step = step
    if gap <= w.config.clearing.cooldown_steps + 1 and row.breach_event >= 0:
        return
    begin_event(w, accounts, _BREACH, _TRIGGER, _CAUSE, account)
    row.breach_event = commit_event(w, accounts, tape)
    if row.first_breach_step < 0:
        row.first_breach_step = step


@routine
def screen(w, book, accounts, watch, scratch, scores, tape):
    """List eligible distressed accounts in ascending order in ``scratch[0]``; returns their number.

    Accounts that closed owing something are cleared on the way, and open orders of distressed accounts cancelled.
    """
    listed = 0
    distressed = 0
    found = triggered(w, accounts, watch, scratch[1], scores[1])
    for k in range(found):
        account = np.int64(scratch[1, k])
        if accounts[account].position == 0:
            cover_debt(w, accounts, watch, tape, account)
            continue
        if jumps(w) and is_freed(w, accounts[account]):
            refresh_triggers(w, accounts, watch, account)
            continue
        distressed += 1
        _note_breach(w, accounts, tape, account)
        if accounts[account].cooldown_until <= w.control.step:
            scratch[0, listed] = account
            listed += 1
    w.now.distressed = distressed
    if w.control.open_lots > 0.0:
        cancel_open_orders(w, book, accounts, watch, tape, found, scratch[1])
    return listed


@routine
def score_accounts(w, accounts, scratch, scores):
    """Scores of the compiled priority rules; the lowest is closed first."""
    rule = w.config.clearing.priority
    key = stream(w.config.seed, PURPOSE_PRIORITY, w.control.step)
    for k in range(w.control.listed):
        account = np.int64(scratch[0, k])
        row = accounts[account]
        if rule == lay.PRIORITY_WORST_MARGIN_RATIO:
            scores[0, k] = equity(w, row) / notional(w, row)
        elif rule == lay.PRIORITY_LARGEST_NOTIONAL:
            scores[0, k] = -notional(w, row)
        elif rule == lay.PRIORITY_RANDOM:
            scores[0, k] = uniform(key, account - w.config.traders.first_account, 0)


@part
def size_account(w, row):
    """Lots to close now under the compiled sizing rules."""
    clearing = w.config.clearing
    size = abs(row.position)
    if clearing.sizing == lay.SIZING_FULL or size < clearing.full_below:
        return size
    if equity(w, row) < clearing.full_below_share * requirement(w, row):
        return size
    return min(size, np.int64(math.ceil(size * clearing.fraction)))


@part
def bankruptcy_tick(w, row):
    """The worst tick at which closing leaves no debt: the bankruptcy price, and the taker fee paid out of it."""
    price = bankruptcy_price(w, row)
    if row.position > 0:
        return np.int64(math.ceil(price / (1.0 - w.config.taker_fee)))
    return np.int64(math.floor(price / (1.0 + w.config.taker_fee)))


@part
def _charge_fee(w, accounts, watch, tape, account, traded, event):
    """Liquidation fee to the fund, never more than the equity that is left."""
    row = accounts[account]
    fee = np.int64(traded * w.config.clearing.fee_rate)
    fee = min(fee, np.int64(max(0.0, equity(w, row))))
    if row.position == 0:
        fee = min(fee, max(row.cash, np.int64(0)))
    if fee > 0:
        transfer(w, accounts, tape, account, w.config.fund_account, fee, _FEE, event)
        refresh_triggers(w, accounts, watch, account)


@routine
def close_out(w, book, accounts, watch, tape, account, side, tick, quantity, lots, decided):
    """Enter a close-out, charge its fee and write its event: ``lots`` of the ``quantity`` decided at the mark ``decided``."""
    row = accounts[account]
    before = w.now.turnover
    worth = equity(w, row)
    begin_event(w, accounts, _LIQUIDATION, _BOOK, _CAUSE, account)
    event = w.control.next_event
    if w.config.switches.impact_off != 0:
        off_book_trade(
            w,
            accounts,
            watch,
            tape,
            account,
            w.config.formation_account,
            lots,
            math.floor(w.market.mark + 0.5),
            _CAUSE,
            event,
        )
        filled = lots
    else:
        _, filled = place(w, book, accounts, watch, tape, account, side, tick, lots, _IOC, _CAUSE, event)
    traded = w.now.turnover - before
    _charge_fee(w, accounts, watch, tape, account, traded, event)
    draft = w.draft
    draft.side = side
    draft.quantity = quantity
    draft.filled = filled
    draft.limit = float(tick)
    draft.parent = row.breach_event
    draft.breach = row.breach_event
    draft.loss = max(0.0, worth - equity(w, row))
    if filled > 0:
        draft.fill = traded / (filled * w.config.atoms)
    commit_event(w, accounts, tape)
    totals = w.totals
    note_closed(w, _BOOK, traded)
    totals.liquidated_quantity += filled
    worth = filled * decided * w.config.atoms
    totals.decided += worth
    totals.shortfall += side * (traded - worth)
    w.now.forced += filled
    if filled > 0 and totals.first_liquidation_step < 0:
        totals.first_liquidation_step = w.control.step
    if filled > 0 and row.outcome < _PARTIAL:
        totals.liquidated_accounts += 1
        row.outcome = _PARTIAL
    if filled > 0 and row.position == 0:
        row.outcome = max(row.outcome, _LIQUIDATED)


@routine
def _send(w, book, accounts, watch, tape, account, tick, quantity, lots):
    """Send a close-out as immediate or cancel; with latency it arrives later and the engine waits for it."""
    row = accounts[account]
    side = -1 if row.position > 0 else 1
    delaying = w.control.delaying != 0 and w.config.switches.impact_off == 0
    if delaying:
        entry = defer(w, account, side, tick, lots, _IOC, _CAUSE, lay.NO_EVENT)
        if entry != 0:
            w.flight.pool[entry].value = w.market.mark
            row.cooldown_until = lay.IN_FLIGHT
            return
    close_out(w, book, accounts, watch, tape, account, side, tick, quantity, lots, w.market.mark)


@part
def _close_on_book(w, book, accounts, watch, tape, account):
    """Decide how much is closed at which limit, and send it; returns what must be decided by a rule of the user's."""
    control = w.control
    row = accounts[account]
    if control.stage == STAGE_EXECUTE:
        row.cooldown_until = control.step + max(1, w.config.clearing.cooldown_steps)
        if equity(w, row) <= 0.0 and w.config.switches.impact_off == 0:
            return lay.RETURN_DONE
        if control.answered != 0:
            control.decided = control.request_quantity
            control.answered = 0
        elif w.config.clearing.sizing == lay.RULE_PYTHON:
            control.request_account = account
            return lay.RETURN_SIZING
        else:
            control.decided = size_account(w, row)
        control.request_quantity = control.decided
        control.request_tick = bankruptcy_tick(w, row)
        if w.config.clearing.execution == lay.RULE_PYTHON:
            control.request_account = account
            control.stage = STAGE_ORDER
            return lay.RETURN_EXECUTION
    control.answered = 0
    control.stage = STAGE_EXECUTE
    if control.request_quantity > 0:
        _send(
            w,
            book,
            accounts,
            watch,
            tape,
            account,
            control.request_tick,
            control.decided,
            control.request_quantity,
        )
    return lay.RETURN_DONE


@routine
def _process(w, book, accounts, watch, scratch, scores, tape):
    """Carry one listed account through the pipeline; returns a RETURN code."""
    control = w.control
    account = np.int64(scratch[0, control.cursor])
    row = accounts[account]
    first = control.stage == STAGE_EXECUTE and control.answered == 0
    if first and row.position == 0:
        return lay.RETURN_DONE
    if w.config.clearing.book != 0 and (control.stage == STAGE_EXECUTE or control.stage == STAGE_ORDER):
        status = _close_on_book(w, book, accounts, watch, tape, account)
        if status != lay.RETURN_DONE:
            return status
    if (row.traits & lay.FLAG_CROSS) != 0 and (row.traits & lay.FLAG_BANKRUPT) == 0:
        # The other legs may still pay for this one: the next screen shares their equity anew.
        control.stage = STAGE_EXECUTE
        return lay.RETURN_DONE
    if row.position == 0 and control.stage != STAGE_DELEVERAGE:
        cover_debt(w, accounts, watch, tape, account)
    elif equity(w, row) <= 0.0 or w.config.clearing.book == 0 or control.stage == STAGE_DELEVERAGE:
        control.stage = STAGE_DELEVERAGE
        status = absorb(w, accounts, watch, scratch, scores, tape, account)
        if status != lay.RETURN_DONE:
            return status
        if row.position == 0:
            cover_debt(w, accounts, watch, tape, account)
    control.stage = STAGE_EXECUTE
    return lay.RETURN_DONE


@leaf
def _allowed(w):
    """How many accounts the engine may handle in this step; fractions of a rate add up over the steps."""
    step = w.control.step
    rate = w.config.clearing.throughput
    return np.int64(math.floor((step + 1) * rate + _ROUNDING)) - np.int64(math.floor(step * rate + _ROUNDING))


@routine
def _run_round(w, book, accounts, watch, scratch, scores, tape):
    """Rank the listed accounts and close them in order; returns a RETURN code and resumes at the same account."""
    control = w.control
    clearing = w.config.clearing
    if control.stage == STAGE_RANK:
        if control.answered == 0 and clearing.priority == lay.RULE_PYTHON:
            return lay.RETURN_PRIORITY
        if control.answered == 0:
            score_accounts(w, accounts, scratch, scores)
        control.answered = 0
        if control.listed < LONG:
            sort_by_score(scratch[0], scores[0], control.listed)
        else:
            # The lists of the screen have been read, and there are more accounts than counts of a digit.
            sort_long_by_score(scratch[0], scores[0], control.listed, scratch[1], scores[1], scratch[2])
        control.cursor = 0
        control.stage = STAGE_EXECUTE
    allowed = _allowed(w)
    while control.cursor < control.listed and control.handled < allowed:
        if control.capacity != 0:
            break
        if is_filling(tape):
            return lay.RETURN_DRAIN
        status = _process(w, book, accounts, watch, scratch, scores, tape)
        if status != lay.RETURN_DONE:
            return status
        control.cursor += 1
        control.handled += 1
    return lay.RETURN_DONE


@part
def _note_queue(w, accounts, scratch):
    """Record who is left waiting because of the throughput limit, or because trading is halted."""
    w.now.queue_accounts = max(0, w.control.listed - w.control.cursor)
    w.now.queue_notional = 0.0
    w.now.throughput_binding = 0
    for k in range(w.control.cursor, w.control.listed):
        w.now.throughput_binding = 1 - w.market.halted
        w.now.queue_notional += notional(w, accounts[np.int64(scratch[0, k])])


@routine
def liquidate(w, book, accounts, watch, scratch, scores, tape):
    """Phase 8: rounds of screen, rank, size and execute; then defaults of parties, and they sell down what they took.

    Returns a RETURN code; RETURN_SCREEN when portfolios over several markets must be looked at first.
    """
    control = w.control
    clearing = w.config.clearing
    if control.step < 0:
        return lay.RETURN_DONE
    closing = w.config.switches.liquidation != 0 and control.stage != STAGE_DEFAULT
    while closing and control.capacity == 0:
        if control.stage == STAGE_REFRESH:
            status = instant_mark(w)
            if status != lay.RETURN_DONE:
                return status
            control.stage = STAGE_SCREEN
        if control.stage == STAGE_SCREEN:
            if clearing.rounds > 0 and control.rounds_done >= clearing.rounds:
                break
            # In a step that allows nobody, those who wait are found all the same.
            if control.rounds_done > 0 and control.handled >= _allowed(w):
                break
            if w.config.portfolios > 0:
                if control.answered == 0:
                    return lay.RETURN_SCREEN
                control.answered = 0
            control.cursor = 0
            control.listed = screen(w, book, accounts, watch, scratch, scores, tape)
            if control.listed == 0:
                break
            if w.market.halted != 0:
                _note_queue(w, accounts, scratch)
                break
            control.stage = STAGE_RANK
        status = _run_round(w, book, accounts, watch, scratch, scores, tape)
        if status != lay.RETURN_DONE:
            return status
        _note_queue(w, accounts, scratch)
        control.stage = STAGE_REFRESH
        control.rounds_done += 1
    control.stage = STAGE_DEFAULT
    status = settle_defaults(w, accounts, watch, scratch, scores, tape)
    if status != lay.RETURN_DONE:
        return status
    control.stage = STAGE_SCREEN
    control.rounds_done = 0
    control.cursor = 0
    control.listed = 0
    control.handled = 0
    if control.reducing > 0:
        catch_up(w, book, accounts, watch)
        touch(w, book, _CAUSE)
    unwind_parties(w, book, accounts, watch, tape)
    return lay.RETURN_DONE
