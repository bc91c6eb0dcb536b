"""Cross margin: portfolios with a leg in every market, whose legs stand and fall together.

A portfolio is distressed when its equity, summed over its legs, is at most the sum of their maintenance requirements. To
look at every portfolio in every step would cost what exists, not what happens. So each evaluation says how far marks must
at least travel before the portfolio can be distressed, and a queue by that distance gives those whose turn has come.

With slack S (equity less requirement) and legs of notional N_k whose highest maintenance rate is m_k, a relative move of
all marks by at most e^x - 1 costs at most (e^x - 1) sum N_k (1 + m_k): requirements are convex in notional, with slopes
up to m_k. Nothing can happen while x < log(1 + S / sum N_k (1 + m_k)). Where rates are of the whole position the
requirement jumps where a tier ends, so no look is farther than the nearest end above a leg. The distance that the marks
have travelled is the sum over screens of the largest log move of any mark; it is never less than the net move of any of
them.

A leg of a distressed portfolio gets a share of its equity in proportion to its own requirement, by transfers of cash
between the legs. Each leg then has the portfolio's margin ratio, and the liquidation pipeline treats it as an account.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import equity, maintenance, notional, transfer
from cascade_sim.core.clearing.margin import bracket_tier
from cascade_sim.core.clearing.trigger_index import set_triggers
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.domain.enums import TransferKind

_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_ANY_PRICE = WINDOW - 1
"""The list of the trigger index that accounts distressed at any price are in."""
_CAUTION = 1.0 - 1.0e-9
"""Against rounding of sums and logarithms."""
_NEAREST = 1.0e-12
"""Least distance of a next look: an account at the end of its tier is looked at again as soon as marks move at all."""


@leaf
def _swap(portfolios, a, b):
    first, second = portfolios[a].entry, portfolios[b].entry
    portfolios[a].entry = second
    portfolios[b].entry = first
    portfolios[second].place = a
    portfolios[first].place = b


@routine
def set_due(portfolios, portfolio, due):
    """Give a portfolio the distance at which it is looked at again, and keep the queue a heap."""
    portfolios[portfolio].due = due
    place = portfolios[portfolio].place
    while place > 0:
        above = (place - 1) >> 1
        if portfolios[portfolios[above].entry].due <= due:
            break
        _swap(portfolios, place, above)
        place = above
    while True:
        child = 2 * place + 1
        if child >= len(portfolios):
            break
        earliest = portfolios[portfolios[child].entry].due
        if child + 1 < len(portfolios) and portfolios[portfolios[child + 1].entry].due < earliest:
            child += 1
            earliest = portfolios[portfolios[child].entry].due
        if due <= earliest:
            break
        _swap(portfolios, place, child)
        place = child


@kernel
def open_queue(worlds, portfolios):
    """Queue every portfolio for a first look at the next screen, from the marks as they are."""
    for k in range(len(portfolios)):
        portfolios[k].due = 0.0
        portfolios[k].entry = k
        portfolios[k].place = k
    for market in range(len(worlds)):
        worlds[market].market.screened_mark = worlds[market].market.mark


@part
def _highest_rate(w):
    clearing = w.config.clearing
    highest = 0.0
    for tier in range(clearing.tiers):
        highest = max(highest, clearing.tier_rate[tier])
    return highest


@part
def _reach(w, value):
    """Largest log move of a leg of notional ``value`` that does not take it beyond the end of its tier."""
    clearing = w.config.clearing
    if clearing.whole.enabled == 0 or value <= 0.0:
        return np.inf
    tier = bracket_tier(value, clearing.whole.ends[: clearing.tiers])
    if tier == clearing.tiers - 1:
        return np.inf
    return max(math.log(clearing.whole.ends[tier] / value), _NEAREST)


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
            target = np.int64(math.floor(share - row.position * w.market.mark * w.config.atoms))
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
        exposed += value * (1.0 + _highest_rate(w))
        reach = min(reach, _reach(w, value))
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
    due = np.inf
    if not distressed and exposed > 0.0:
        due = worlds[0].market.travelled + min(math.log1p(slack / exposed), reach) * _CAUTION
    set_due(portfolios, portfolio, due)


@part
def _travel(worlds):
    """Add the largest log move of any mark since the last screen to the distance that marks have travelled."""
    farthest = 0.0
    for market in range(len(worlds)):
        prices = worlds[market].market
        if prices.mark != prices.screened_mark:
            farthest = max(farthest, abs(math.log(prices.mark / prices.screened_mark)))
            prices.screened_mark = prices.mark
    worlds[0].market.travelled += farthest


@routine
def screen_portfolios(worlds, accounts, watch, tapes, portfolios):
    """Before a screen: evaluate portfolios that are due, that a fill or a payment has changed, or that are distressed.

    The latter two stand in the trigger index as distressed at any price.
    """
    _travel(worlds)
    while len(portfolios) > 0:
        portfolio = np.int64(portfolios[0].entry)
        if portfolios[portfolio].due > worlds[0].market.travelled:
            break
        evaluate(worlds, accounts, watch, tapes, portfolios, portfolio)
    for market in range(len(worlds)):
        first = worlds[market].config.portfolio_account
        link = np.int64(worlds[market].triggers[lay.WATCH_LIQUIDATE_LONG].head[_ANY_PRICE])
        while link != 0:
            account = link - 1
            link = np.int64(accounts[market][account].next)
            if (accounts[market][account].traits & lay.FLAG_CROSS) != 0:
                evaluate(worlds, accounts, watch, tapes, portfolios, account - first)
