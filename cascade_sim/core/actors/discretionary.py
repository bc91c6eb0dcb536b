"""Discretionary flow: value traders, arbitrage, the scheduled shock, late entrants."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import limit_tick, place, transfer
from cascade_sim.core.clearing.margin import initial_rate
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.ground.rng import PURPOSE_ENTRANT, stream, uniform
from cascade_sim.domain.enums import Cause, EventType, OrderType, Stage, TransferKind

_IOC = np.int64(OrderType.IOC)
_MARKET = np.int64(OrderType.MARKET)
_VALUE = np.int64(Cause.VALUE)
_ARBITRAGE = np.int64(Cause.ARBITRAGE)
_SHOCK = np.int64(Cause.SHOCK)
_SPECULATION = np.int64(Cause.SPECULATION)
_EVENT_SHOCK = np.int64(EventType.SHOCK)
_NO_STAGE = np.int64(Stage.NONE)
_COLLATERAL = np.int64(TransferKind.COLLATERAL)


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
        tick = limit_tick(fundamental, side)
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


@part
def _entry_side(w, trader):
    """Follow the recent trend with a probability that saturates."""
    config = w.config.traders
    market = w.market
    past = market.mid_ring[(w.control.step - config.trend_steps) & (len(market.mid_ring) - 1)]
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
        limit = limit_tick(w.market.mid * (1.0 + side * w.config.traders.market_limit), side)
        lots = trader.quantity
        cost = lots * w.market.mid * w.config.atoms
        inverse = max(trader.inverse_leverage, initial_rate(w, cost))
        collateral = np.int64(cost * inverse) + 1
        external = w.config.external_account
        transfer(w, accounts, tape, external, account, collateral, _COLLATERAL, lay.NO_EVENT)
        accounts[account].collateral = collateral
        accounts[account].traits |= lay.FLAG_ACTIVE
        place(w, book, accounts, watch, tape, account, side, limit, lots, _IOC, _SPECULATION, lay.NO_EVENT)
    w.control.arrival = arrival
