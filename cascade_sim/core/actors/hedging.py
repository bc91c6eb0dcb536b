"""Options dealers: Greeks of the shared option grid, one delta per dealer, and the hedge order when a clock is due."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import limit_tick, place
from cascade_sim.core.ground.compile import kernel, part, routine
from cascade_sim.core.ground.rng import PURPOSE_ROTATION, stream, word
from cascade_sim.core.prices.deltas import fill_deltas
from cascade_sim.core.prices.greeks import (
    black76_price,
    first_deviate,
    normal_density,
    normal_distribution,
    total_volatility,
)
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, EventType, OrderType, Stage

_IOC = np.int64(OrderType.IOC)
_HEDGE = np.int64(Cause.DELTA_HEDGE)
_EVENT_HEDGE = np.int64(EventType.HEDGE)
_NO_STAGE = np.int64(Stage.NONE)
SECONDS_PER_YEAR = 365.0 * 86400.0


@kernel
def update_greeks(w, price):
    """Delta (per lot) and gamma (lots per tick) of every option at an underlying price in ticks, Black (1976)."""
    elapsed = max(0.0, w.control.step * w.config.dt) / SECONDS_PER_YEAR
    for index in range(w.config.dealers.options):
        option = w.options[index]
        forward = price * option.forward_ratio
        years = option.years - elapsed
        # As black76_delta and black76_gamma, with the deviate and the total volatility that they share.
        total = total_volatility(years, option.volatility)
        deviate = first_deviate(forward, option.strike, total)
        delta = normal_distribution(deviate) if option.is_call != 0 else -normal_distribution(-deviate)
        gamma = normal_density(deviate) / (forward * total) if total > 0.0 else 0.0
        option.delta = delta * option.forward_ratio
        option.gamma = gamma * option.forward_ratio * option.forward_ratio


@routine
def update_deltas(w, price):
    """Deltas of the grid at an underlying price in ticks; what :func:`update_greeks` gives, for hedges alone."""
    elapsed = max(0.0, w.control.step * w.config.dt) / SECONDS_PER_YEAR
    grid = w.grid
    fill_deltas(
        w.config.dealers.options,
        math.log(price),
        elapsed,
        grid.log_ratio,
        grid.years,
        grid.volatility,
        grid.sign,
        grid.scale,
        grid.delta,
    )


@routine
def delta_to_hedge(w, dealer):
    """Delta of a dealer's option inventory in lots of the underlying, by the grid."""
    total = 0.0
    for index in range(w.config.dealers.options):
        total += dealer.inventory[index] * w.grid.delta[index]
    return total


@kernel
def dealer_delta(w, dealer):
    """Delta of a dealer's option inventory in lots of the underlying."""
    total = 0.0
    for index in range(w.config.dealers.options):
        total += dealer.inventory[index] * w.options[index].delta
    return total


@kernel
def dealers_gamma(w):
    """Gamma of all dealers together, lots to trade per tick."""
    total = 0.0
    for number in range(w.config.dealers.count):
        dealer = w.dealers[number]
        for index in range(w.config.dealers.options):
            total += dealer.inventory[index] * w.options[index].gamma
    return total


@routine
def options_value(w):
    """Value of all dealers' options at the mark in atoms, Black (1976)."""
    elapsed = max(0.0, w.control.step * w.config.dt) / SECONDS_PER_YEAR
    total = 0.0
    for index in range(w.config.dealers.options):
        option = w.options[index]
        held = 0.0
        for number in range(w.config.dealers.count):
            held += w.dealers[number].inventory[index]
        forward = w.market.mark * option.forward_ratio
        total += held * black76_price(
            option.is_call != 0, forward, option.strike, option.years - elapsed, option.volatility
        )
    return total * w.config.atoms


@part
def is_due(w, dealer):
    """Whether the dealer's clock strikes in this step; clocks are staggered by their phase."""
    config = w.config.dealers
    now = w.control.step * w.config.dt + dealer.phase
    return math.floor(now / config.interval) != math.floor((now - w.config.dt) / config.interval)


@part
def list_due(w):
    """List the dealers whose clock strikes in ``w.acting``, in the order of a hash of (dealer, step); returns how many."""
    key = stream(w.config.seed, PURPOSE_ROTATION, w.control.step)
    count = 0
    for number in range(w.config.dealers.count):
        if not is_due(w, w.dealers[number]):
            continue
        place = count
        while place > 0 and word(key, w.acting[place - 1], 0) > word(key, number, 0):
            w.acting[place] = w.acting[place - 1]
            place -= 1
        w.acting[place] = number
        count += 1
    return count


@part
def hedge_order(w, accounts, number):
    """Signed lots the dealer wants to trade now: minus its delta less what it holds or has sent for, outside the band."""
    dealer = w.dealers[number]
    target = -np.int64(math.floor(dealer.delta + 0.5))
    gap = target - accounts[dealer.account].position - dealer.pending
    if abs(gap) < w.config.dealers.band:
        return np.int64(0)
    return gap


@part
def execute_hedge(w, book, accounts, watch, tape, number, side, tick, lots):
    """Enter one hedge and write its event."""
    dealer = w.dealers[number]
    begin_event(w, accounts, _EVENT_HEDGE, _NO_STAGE, _HEDGE, dealer.account)
    parent = w.control.next_event
    _, filled = place(w, book, accounts, watch, tape, dealer.account, side, tick, lots, _IOC, _HEDGE, parent)
    w.draft.side = side
    w.draft.quantity = lots
    w.draft.filled = filled
    w.draft.limit = float(tick)
    commit_event(w, accounts, tape)
    dealer.hedges += 1


@part
def send_hedge(w, book, accounts, watch, tape, number, lots):
    """Send one hedge: immediate or cancel, limited to a distance from the mid."""
    dealer = w.dealers[number]
    side = 1 if lots > 0 else -1
    offset = w.market.mid * w.config.dealers.price_limit
    tick = limit_tick(w.market.mid + side * offset, side)
    size = abs(lots)
    if (
        w.control.delaying != 0
        and defer(w, dealer.account, side, tick, size, _IOC, _HEDGE, lay.NO_EVENT) != 0
    ):
        dealer.pending += lots
        return
    execute_hedge(w, book, accounts, watch, tape, number, side, tick, size)


@routine
def hedge(w, book, accounts, watch, tape):
    """Phase 6. Returns RETURN_HEDGE when a rule that is not compiled must decide, else RETURN_DONE."""
    config = w.config.dealers
    control = w.control
    if config.count == 0 or config.rule == lay.HEDGE_NONE or control.step < 0:
        return lay.RETURN_DONE
    if w.config.switches.delta_hedging == 0 or w.market.halted != 0:
        return lay.RETURN_DONE
    if control.cursor == 0 and control.answered == 0:
        control.listed = list_due(w)
        if control.listed > 0:
            update_deltas(w, w.market.hedge_mid)
            if config.rule == lay.RULE_PYTHON:  # it is told the gamma too
                update_greeks(w, w.market.hedge_mid)
    while control.cursor < control.listed:
        number = np.int64(w.acting[control.cursor])
        dealer = w.dealers[number]
        if control.answered == 0:
            dealer.delta = delta_to_hedge(w, dealer)
            if config.rule == lay.RULE_PYTHON:
                control.request_account = number
                return lay.RETURN_HEDGE
            lots = hedge_order(w, accounts, number)
        else:
            lots = control.request_quantity
            control.answered = 0
        if lots != 0:
            send_hedge(w, book, accounts, watch, tape, number, lots)
        control.cursor += 1
    control.cursor = 0
    control.listed = 0
    return lay.RETURN_DONE
