"""What happens around the phases: everything that most runs do without, and everything that couples markets.

Each market is a world of its own with its own book, accounts and venue. They step together, phase by phase: in a phase
every market acts in turn. What couples them happens here, before and after the phases, and nowhere else.
"""

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import act
from cascade_sim.core.actors.arbitrage import cross_arbitrage
from cascade_sim.core.actors.background import rate_driven_flow
from cascade_sim.core.clearing.funding import settle_funding
from cascade_sim.core.clearing.portfolios import screen_portfolios
from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.core.prices.oracle import before_mark
from cascade_sim.core.sessions.arrivals import orders_arrive, orders_set_out
from cascade_sim.core.sessions.halts import apply_venue_rules

_EVERY_PHASE = (1 << lay.PHASES) - 1
_QUOTES = 1 << lay.PHASE_QUOTES
_TRADE = 1 << lay.PHASE_TRADE
_MARK = 1 << lay.PHASE_MARK


@routine
def needed_hooks(worlds):
    """Note around which phases each market has anything to do, a bit per phase, so that the others pass at once."""
    several = len(worlds) > 1
    for market in range(len(worlds)):
        w = worlds[market]
        before = _QUOTES | _MARK
        after = _MARK
        if w.activity.config.enabled != 0 or (several and market == len(worlds) - 1):
            after |= _TRADE
        if w.config.latency.active != 0:
            before = _EVERY_PHASE
            after = _EVERY_PHASE
        w.control.before = before
        w.control.after = after


@routine
def _before(worlds, books, accounts, watch, tapes, market):
    w = worlds[market]
    if w.control.phase == lay.PHASE_MARK:
        before_mark(worlds, books, market)
    if w.control.phase == lay.PHASE_QUOTES:
        apply_venue_rules(w, books[market], accounts[market], watch[market], tapes[market])
    if w.config.latency.active != 0:
        orders_arrive(w, books[market], accounts[market], watch[market], tapes[market])


@leaf
def before_phase(worlds, books, accounts, watch, tapes, market):
    """What happens in a market before its phase begins; once per phase, however often the driver stops in it."""
    control = worlds[market].control
    if (control.before >> control.phase) & 1 != 0:
        _before(worlds, books, accounts, watch, tapes, market)


@routine
def _after(worlds, books, accounts, watch, scratch, tapes, market, phase):
    w = worlds[market]
    if phase == lay.PHASE_TRADE and w.activity.config.enabled != 0 and w.control.step >= 0:
        act(w, books[market], accounts[market], watch[market], scratch[market], tapes[market])
    if w.config.latency.active != 0:
        orders_set_out(w, books[market], accounts[market], watch[market], tapes[market])
    if phase == lay.PHASE_TRADE and len(worlds) > 1 and market == len(worlds) - 1:
        for each in range(len(worlds)):
            cross_arbitrage(worlds, books, accounts, watch, tapes, each)
    if phase == lay.PHASE_MARK and w.config.prices.funding_interval > 0:
        settle_funding(w, accounts[market], watch[market], tapes[market])


@leaf
def after_phase(worlds, books, accounts, watch, scratch, tapes, market, phase):
    """What happens in a market when its phase is over."""
    if (worlds[market].control.after >> phase) & 1 != 0:
        _after(worlds, books, accounts, watch, scratch, tapes, market, phase)


@routine
def serve(worlds, books, accounts, watch, tapes, portfolios, market, status):
    """Do what a phase asks for, if it is compiled; returns whether it was."""
    if status == lay.RETURN_FLOW:
        rate_driven_flow(worlds[market], books[market], accounts[market], watch[market], tapes[market])
        return True
    if status == lay.RETURN_SCREEN:
        screen_portfolios(worlds, accounts, watch, tapes, portfolios)
        return True
    return False
