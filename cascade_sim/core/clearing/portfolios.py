"""Cross margin: portfolios with a leg in every market, whose legs stand and fall together.

A portfolio is distressed when its equity, summed over its legs, is at most the sum of their maintenance requirements. It is
looked at by distance (:mod:`cascade_sim.core.clearing.looks`).

A leg of a distressed portfolio gets a share of its equity in proportion to its own requirement, by transfers of cash
between the legs. Each leg then has the portfolio's margin ratio, and the liquidation pipeline treats it as an account.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import transfer
from cascade_sim.core.clearing.looks import first_due, look_after, travel
from cascade_sim.core.clearing.margin import maintenance, reach_of, steepest
from cascade_sim.core.clearing.trigger_index import set_triggers
from cascade_sim.core.clearing.worth import equity, notional, notional_of
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.domain.enums import TransferKind

_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_ANY_PRICE = WINDOW - 1
"""The list of the trigger index that accounts distressed at any price are in."""


@part
def _move(w, accounts, tape, account, amount):
    """Bring cash into a leg from outside its market, or send it there (negative)."""
    if amount > 0:
        transfer(w, accounts, tape, w.config.external_account, account, amount, _COLLATERAL, lay.NO_EVENT)
    elif amount < 0:
        transfer(w, accounts, tape, account, w.config.external_account, -amount, _COLLATERAL, lay.NO_EVENT)


@routine
def _share_equity(worlds, accounts, tapes, portfolio, worth, needed, exposed):
    """Move cash between the legs: each with a position gets equity in proportion to its requirement, others nothing.

    Where nothing is required, notional takes the place of the requirement.

    One leg, the last with a position, takes what rounding leaves. Every move passes through the outside account of a
    market, so that each market's books stay closed.
    """
    keeper = np.int64(0)
    for market in range(len(worlds)):
        if accounts[market][worlds[market].config.portfolio_account + portfolio].position != 0:
            keeper = market
    brought = np.int64(0)
    for market in range(len(worlds)):
        if market == keeper:
            continue
        w = worlds[market]
        account = w.config.portfolio_account + portfolio
        row = accounts[market][account]
        target = np.int64(0)
        if row.position != 0:
            value = notional(w, row)
            share = worth * (maintenance(w, value) / needed if needed > 0.0 else value / exposed)
            target = np.int64(math.floor(share - notional_of(w, row.position)))
        amount = target - row.cash
        _move(w, accounts[market], tapes[market], account, amount)
        brought += amount
    w = worlds[keeper]
    _move(w, accounts[keeper], tapes[keeper], w.config.portfolio_account + portfolio, -brought)


@routine
def evaluate(worlds, accounts, watch, tapes, portfolios, portfolio):
    """Look at one portfolio: give its legs triggers if it is distressed, else the distance at which to look again."""
    worth, needed, exposed, reach = 0.0, 0.0, 0.0, np.inf
    cash = np.int64(0)
    for market in range(len(worlds)):
        w = worlds[market]
        row = accounts[market][w.config.portfolio_account + portfolio]
        value = notional(w, row)
        worth += equity(w, row)
        needed += maintenance(w, value)
        exposed += value * (1.0 + steepest(w))
        reach = min(reach, reach_of(w, value))
        cash += row.cash
    slack = worth - needed
    distressed = cash < 0 if exposed == 0.0 else slack <= 0.0
    if distressed:
        _share_equity(worlds, accounts, tapes, portfolio, worth, needed, exposed)
    bankrupt = distressed and worth <= 0.0
    for market in range(len(worlds)):
        w = worlds[market]
        account = w.config.portfolio_account + portfolio
        row = accounts[market][account]
        row.traits = (row.traits & ~lay.FLAG_BANKRUPT) | (lay.FLAG_BANKRUPT if bankrupt else 0)
        orders = watch[market][lay.RESTING_BUY, account] + watch[market][lay.RESTING_SELL, account]
        concerned = distressed and (row.position != 0 or row.cash < 0)
        # Another market may close the portfolio before this one has cancelled the orders of its leg.
        row.closing = orders > 0.0 and (distressed or (row.closing != 0 and row.position == 0))
        concerned = concerned or row.closing != 0
        set_triggers(w, accounts[market], watch[market], account, np.inf if concerned else 0.0, np.inf)
    look_after(worlds, portfolios, portfolio, 0.0 if distressed else slack, exposed, reach)


@routine
def screen_portfolios(worlds, accounts, watch, tapes, portfolios):
    """Before a screen: evaluate portfolios that are due, that a fill or a payment has changed, or that are distressed.

    The latter two stand in the trigger index as distressed at any price.
    """
    travel(worlds)
    portfolio = first_due(worlds, portfolios)
    while portfolio >= 0:
        evaluate(worlds, accounts, watch, tapes, portfolios, portfolio)
        portfolio = first_due(worlds, portfolios)
    for market in range(len(worlds)):
        first = worlds[market].config.portfolio_account
        link = np.int64(worlds[market].triggers[lay.WATCH_LIQUIDATE_LONG].head[_ANY_PRICE])
        while link != 0:
            account = link - 1
            link = np.int64(accounts[market][account].next)
            if (accounts[market][account].traits & lay.FLAG_CROSS) != 0:
                evaluate(worlds, accounts, watch, tapes, portfolios, account - first)
