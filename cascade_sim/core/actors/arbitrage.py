"""Arbitrage between markets of one asset: buy where it is cheap, sell as much where it is dear."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import limit_tick, place
from cascade_sim.core.ground.compile import routine
from cascade_sim.domain.enums import Cause, OrderType

_IOC = np.int64(OrderType.IOC)
_MARKET = np.int64(OrderType.MARKET)
_CAUSE = np.int64(Cause.ARBITRAGE)


@routine
def cross_arbitrage(worlds, books, accounts, watch, tapes, market):
    """Trade a market against its partner at a rate proportional to the gap of their mids beyond the cost of trading.

    The leg here is limited to the partner's mid; the other leg sells or buys at market what the first one filled.
    Fractions of a lot are carried over on both sides.
    """
    w = worlds[market]
    cross = w.config.cross
    if cross.rate <= 0.0 or w.config.switches.arbitrage == 0:
        return
    other = worlds[cross.partner]
    if w.market.one_sided != 0 or other.market.one_sided != 0:
        return
    here = w.market.mid * cross.tick
    there = other.market.mid * other.config.cross.tick
    beyond = abs(there - here) - cross.threshold * here
    if beyond <= 0.0:
        return
    w.market.cross_carry += min(cross.rate * beyond, cross.rate_cap)
    lots = np.int64(w.market.cross_carry)
    w.market.cross_carry -= lots
    side = 1 if there > here else -1
    lots = min(lots, np.int64(cross.position_cap) - side * accounts[market][cross.account].position)
    if lots <= 0:
        return
    tick = limit_tick(there / cross.tick, side)
    _, filled = place(
        w,
        books[market],
        accounts[market],
        watch[market],
        tapes[market],
        cross.account,
        side,
        tick,
        lots,
        _IOC,
        _CAUSE,
        lay.NO_EVENT,
    )
    w.market.cross_rest += side * filled * (cross.lot / other.config.cross.lot)
    opposite = np.int64(w.market.cross_rest)
    if opposite == 0:
        return
    _, hedged = place(
        other,
        books[cross.partner],
        accounts[cross.partner],
        watch[cross.partner],
        tapes[cross.partner],
        other.config.cross.account,
        -1 if opposite > 0 else 1,
        0,
        abs(opposite),
        _MARKET,
        _CAUSE,
        lay.NO_EVENT,
    )
    w.market.cross_rest -= hedged if opposite > 0 else -hedged
