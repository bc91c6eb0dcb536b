"""The driver for worlds with several markets, and for mechanisms that most runs do without.

Each market is a world of its own with its own book, accounts and venue. They step together, phase by phase: in a phase
every market acts in turn. What couples them happens here, before and after the phases, and nowhere else. Runs of one
market without any of these mechanisms take :func:`cascade_sim.core.drivers.run.run`, which does not have to compile them.
"""

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import act
from cascade_sim.core.actors.arbitrage import cross_arbitrage
from cascade_sim.core.actors.background import rate_driven_flow
from cascade_sim.core.clearing.funding import settle_funding
from cascade_sim.core.clearing.portfolios import screen_portfolios
from cascade_sim.core.drivers.run import run_phase
from cascade_sim.core.ground.compile import kernel, routine
from cascade_sim.core.prices.oracle import before_mark
from cascade_sim.core.sessions.arrivals import orders_arrive, orders_set_out
from cascade_sim.core.sessions.halts import apply_venue_rules


@routine
def _after_mark(worlds, accounts, watch, tapes, market):
    """What follows once a market has its mark: funding, when it is due."""
    if worlds[market].config.prices.funding_interval > 0:
        settle_funding(worlds[market], accounts[market], watch[market], tapes[market])


@routine
def _before_phase(worlds, books, accounts, watch, scratch, tapes, market):
    """What happens in a market before its phase begins; once per phase, however often the driver stops in it."""
    if worlds[market].control.phase == lay.PHASE_MARK:
        before_mark(worlds, books, market)
    w = worlds[market]
    if w.control.phase == lay.PHASE_QUOTES:
        apply_venue_rules(w, books[market], accounts[market], watch[market], tapes[market])
    if w.config.latency.active != 0:
        orders_arrive(w, books[market], accounts[market], watch[market], tapes[market])


@routine
def _after_phase(worlds, books, accounts, watch, scratch, tapes, market, phase):
    """What happens in a market when its phase is over."""
    w = worlds[market]
    if phase == lay.PHASE_TRADE and w.activity.config.enabled != 0 and w.control.step >= 0:
        act(w, books[market], accounts[market], watch[market], scratch[market], tapes[market])
    if w.config.latency.active != 0:
        orders_set_out(w, books[market], accounts[market], watch[market], tapes[market])
    if phase == lay.PHASE_TRADE and market == len(worlds) - 1:
        for each in range(len(worlds)):
            cross_arbitrage(worlds, books, accounts, watch, tapes, each)
    if phase == lay.PHASE_MARK:
        _after_mark(worlds, accounts, watch, tapes, market)


@kernel
def run_markets(worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios, until, phases):
    """Advance all markets by at most ``phases`` phases, not beyond the start of step ``until``.

    Returns RETURN_DONE or why it stopped on the way; ``worlds[0].control.market`` is the market that asks.
    """
    lead = worlds[0].control
    while True:
        market = lead.market
        if market == 0 and (lead.step >= until or phases <= 0):
            return lay.RETURN_DONE
        w, book, tape = worlds[market], books[market], tapes[market]
        if w.control.prepared == 0:
            _before_phase(worlds, books, accounts, watch, scratch, tapes, market)
            w.control.prepared = 1
        phase = w.control.phase
        status = run_phase(
            w, book, accounts[market], traders[market], watch[market], scratch[market], scores[market], tape
        )
        if status == lay.RETURN_FLOW:
            rate_driven_flow(w, book, accounts[market], watch[market], tape)
            w.control.answered = 1
            continue
        if status == lay.RETURN_SCREEN:
            screen_portfolios(worlds, accounts, watch, tapes, portfolios)
            w.control.answered = 1
            continue
        if status != lay.RETURN_DONE:
            return status
        _after_phase(worlds, books, accounts, watch, scratch, tapes, market, phase)
        w.control.prepared = 0
        lead.market = market + 1
        if lead.market == len(worlds):
            lead.market = 0
            phases -= 1
