"""Discretionary flow: value traders, arbitrage, the scheduled shock, late entrants, stop-losses and top-ups."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.compile import leaf, part, routine
from cascade_sim.core.events import begin_event, commit_event
from cascade_sim.core.flight import defer
from cascade_sim.core.ledger import equity, maintenance, notional, place, refresh_triggers, transfer
from cascade_sim.core.rng import PURPOSE_ENTRANT, stream, uniform
from cascade_sim.domain.enums import Cause, EventType, OrderType, Outcome, Stage, TransferKind

_IOC = np.int64(OrderType.IOC)
_MARKET = np.int64(OrderType.MARKET)
_VALUE = np.int64(Cause.VALUE)
_ARBITRAGE = np.int64(Cause.ARBITRAGE)
_SHOCK = np.int64(Cause.SHOCK)
_SPECULATION = np.int64(Cause.SPECULATION)
_STOP_LOSS = np.int64(Cause.STOP_LOSS)
_EVENT_SHOCK = np.int64(EventType.SHOCK)
_EVENT_STOP = np.int64(EventType.STOP_LOSS)
_EVENT_CALL = np.int64(EventType.MARGIN_CALL)
_NO_STAGE = np.int64(Stage.NONE)
_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_TOPPED_UP = np.int64(Outcome.TOPPED_UP)
_STOPPED = np.int64(Outcome.STOPPED)


@routine
def _trade_toward_value(w, book, accounts, watch, tape, config, signal, carry, cause):
    """Buy or sell at a rate proportional to the mispricing beyond a threshold, never through the fundamental.

    Returns the fraction of a lot carried over to the next step, so that slow rates are kept at any step length.
    """
    fundamental = w.market.fundamental
    beyond = abs(signal) - config.threshold * fundamental
    if beyond <= 0.0:
        return carry
    carry += min(config.rate * beyond, config.rate_cap)
    lots = np.int64(carry)
    carry -= lots
    side = 1 if signal > 0.0 else -1
    room = np.int64(config.position_cap) - side * accounts[config.account].position
    lots = min(lots, room)
    if lots > 0:
        tick = np.int64(math.floor(fundamental)) if side > 0 else np.int64(math.ceil(fundamental))
        place(w, book, accounts, watch, tape, config.account, side, tick, lots, _IOC, cause, lay.NO_EVENT)
    return carry


@part
def value_and_arbitrage(w, book, accounts, watch, tape):
    """Value traders act on the slow mid, arbitrage on the mid itself."""
    market = w.market
    if w.config.value.rate > 0.0:
        market.value_carry = _trade_toward_value(
            w,
            book,
            accounts,
            watch,
            tape,
            w.config.value,
            market.fundamental - market.slow_mid,
            market.value_carry,
            _VALUE,
        )
    if w.config.arbitrage.rate > 0.0 and w.config.switches.arbitrage != 0:
        market.arbitrage_carry = _trade_toward_value(
            w,
            book,
            accounts,
            watch,
            tape,
            w.config.arbitrage,
            market.fundamental - market.mid,
            market.arbitrage_carry,
            _ARBITRAGE,
        )


@routine
def scheduled_shocks(w, book, accounts, watch, tape):
    """Phase 4: market orders of the scheduled shocks, spread evenly over their steps; they wait while trading is halted."""
    if w.market.halted != 0:
        return
    account = w.config.shock_account
    for index in range(w.config.shocks):
        shock = w.config.shock[index]
        step = w.control.step - shock.delay
        if step < shock.first_step or step > shock.last_step:
            continue
        steps = shock.last_step - shock.first_step + 1
        done = step - shock.first_step
        lots = shock.quantity * (done + 1) // steps - shock.quantity * done // steps
        if done == 0:
            begin_event(w, accounts, _EVENT_SHOCK, _NO_STAGE, _SHOCK, account)
            w.draft.side = shock.side
            w.draft.quantity = shock.quantity
            shock.event = commit_event(w, accounts, tape)
            if w.config.switches.placebo != 0:
                lots += 1
        place(w, book, accounts, watch, tape, account, shock.side, 0, lots, _MARKET, _SHOCK, shock.event)


@leaf
def crossed(w, watch, row, out):
    """List the accounts whose trigger in ``row`` the mark has reached, in ascending order; returns their number.

    Costs one comparison while the mark has not reached the nearest trigger; a scan tightens that bound again.
    """
    mark = w.market.mark
    low = (row & 1) == 0
    bound = w.watch_bound[row]
    if (low and mark > bound) or (not low and mark < bound):
        return 0
    prices = watch[row]
    count = 0
    if low:
        best = 0.0
        for account in range(len(prices)):
            price = prices[account]
            best = max(best, price)
            if mark <= price:
                out[count] = account
                count += 1
    else:
        best = np.inf
        for account in range(len(prices)):
            price = prices[account]
            best = min(best, price)
            if mark >= price:
                out[count] = account
                count += 1
    w.watch_bound[row] = best
    return count


@part
def execute_stop(w, book, accounts, watch, tape, account, side, quantity, lots):
    """Enter a stop-loss for ``lots`` of the ``quantity`` that was decided, and write its event."""
    row = accounts[account]
    begin_event(w, accounts, _EVENT_STOP, _NO_STAGE, _STOP_LOSS, account)
    parent = w.control.next_event
    _, filled = place(w, book, accounts, watch, tape, account, side, 0, lots, _MARKET, _STOP_LOSS, parent)
    w.draft.side = side
    w.draft.quantity = quantity
    w.draft.filled = filled
    commit_event(w, accounts, tape)
    if row.position == 0:
        row.outcome = max(row.outcome, _STOPPED)
        low, high = lay.WATCH_STOP_LONG, lay.WATCH_STOP_SHORT
        watch[low, account] = 0.0
        watch[high, account] = np.inf


@part
def _stop_out(w, book, accounts, watch, tape, account):
    row = accounts[account]
    side = -1 if row.position > 0 else 1
    lots = abs(row.position)
    if w.control.delaying != 0:
        if (row.traits & lay.FLAG_STOP_SENT) != 0:
            return
        if defer(w, account, side, 0, lots, _MARKET, _STOP_LOSS, lay.NO_EVENT) != 0:
            row.traits |= lay.FLAG_STOP_SENT
            return
    execute_stop(w, book, accounts, watch, tape, account, side, lots, lots)


@part
def _top_up(w, accounts, watch, tape, account):
    """Answer a margin call once: bring in more collateral from outside."""
    row = accounts[account]
    watch[lay.WATCH_TOP_UP_LONG, account] = 0.0
    watch[lay.WATCH_TOP_UP_SHORT, account] = np.inf
    if row.position == 0:
        return
    amount = np.int64(row.collateral * w.config.traders.top_up_share)
    begin_event(w, accounts, _EVENT_CALL, _NO_STAGE, _SPECULATION, account)
    event = w.control.next_event
    if equity(w, row) < w.config.traders.top_up_ratio * maintenance(w, notional(w, row)) and amount > 0:
        transfer(w, accounts, tape, w.config.external_account, account, amount, _COLLATERAL, event)
        row.outcome = max(row.outcome, _TOPPED_UP)
        refresh_triggers(w, accounts, watch, account)
    commit_event(w, accounts, tape)


@part
def stops_and_top_ups(w, book, accounts, watch, scratch, tape):
    """Stop-losses and answers to margin calls; both look at the mark as the step began."""
    if w.config.traders.stops != 0 and w.config.switches.stop_losses != 0 and w.market.halted == 0:
        for row in (lay.WATCH_STOP_LONG, lay.WATCH_STOP_SHORT):
            count = crossed(w, watch, row, scratch)
            for k in range(count):
                account = np.int64(scratch[k])
                if accounts[account].position != 0:
                    _stop_out(w, book, accounts, watch, tape, account)
    if w.config.traders.top_ups != 0:
        for row in (lay.WATCH_TOP_UP_LONG, lay.WATCH_TOP_UP_SHORT):
            count = crossed(w, watch, row, scratch)
            for k in range(count):
                _top_up(w, accounts, watch, tape, np.int64(scratch[k]))


@part
def _entry_side(w, trader):
    """Follow the recent trend with a probability that saturates."""
    config = w.config.traders
    market = w.market
    past = market.mid_ring[(w.control.step - config.trend_steps) & (lay.MID_RING - 1)]
    trend = math.log(market.mid / past) if past > 0.0 else 0.0
    strength = min(1.0, max(-1.0, trend / config.trend_saturation))
    key = stream(w.config.seed, PURPOSE_ENTRANT, 0)
    return (
        1
        if uniform(key, trader.account - config.first_account, 4) < 0.5 + config.trend_probability * strength
        else -1
    )


@part
def late_entrants(w, book, accounts, traders, watch, tape):
    """Accounts that open a position now, in the direction of the trend, with collateral from outside.

    Their clock stands while trading is halted: if those who came meanwhile all acted at once, they would be the market.
    """
    arrival = w.control.arrival
    due = w.control.step - w.venue.halted_steps
    while arrival < len(traders) and traders[arrival].arrival_step <= due:
        trader = traders[arrival]
        arrival += 1
        account = np.int64(trader.account)
        side = _entry_side(w, trader)
        limit = np.int64(w.market.mid * (1.0 + side * w.config.traders.market_limit))
        lots = trader.quantity
        cost = lots * w.market.mid * w.config.atoms
        collateral = np.int64(cost * trader.inverse_leverage) + 1
        external = w.config.external_account
        transfer(w, accounts, tape, external, account, collateral, _COLLATERAL, lay.NO_EVENT)
        accounts[account].collateral = collateral
        accounts[account].traits |= lay.FLAG_ACTIVE
        place(w, book, accounts, watch, tape, account, side, limit, lots, _IOC, _SPECULATION, lay.NO_EVENT)
    w.control.arrival = arrival
