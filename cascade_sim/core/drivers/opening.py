"""The opening of a world: collateral, positions, inventories and late entrants, drawn from a seed.

What the scenario alone decides stands in the configuration and in the plan (:mod:`cascade_sim.core.layout.opening`); here
is what depends on the seed. A single run and every run of an ensemble open through these functions. Each atom comes from a
named account; the transfers are written down where the caller gives rows for them.

What a market does without is never called, so it is not compiled either.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import open_activity
from cascade_sim.core.actors.background import opening_stock
from cascade_sim.core.actors.hedging import dealer_delta
from cascade_sim.core.clearing.ledger import refresh_triggers
from cascade_sim.core.clearing.margin import bracket_tier, initial_rate, price_range
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.ground.rng import (
    PURPOSE_DEALER,
    PURPOSE_ENTRANT,
    PURPOSE_PORTFOLIO,
    PURPOSE_PROVIDER,
    PURPOSE_TRADER,
    exponential,
    normal,
    stream,
    uniform,
)
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.core.layout.opening import OPEN_CAPITAL, OPENED
from cascade_sim.domain.enums import TransferKind
from cascade_sim.domain.units import ATOMS_PER_UNIT

_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_PREMIUM = np.int64(TransferKind.PREMIUM)
_VARIATION = np.int64(TransferKind.VARIATION)
_ATOMS = float(ATOMS_PER_UNIT)
_WHOLE = 2.0**52
"""From here on every float is an integer."""

Array = NDArray[Any]

DRAW_SIDE = 0
DRAW_SIZE = 1
DRAW_ENTRY = 3
DRAW_LEVERAGE = 5
DRAW_LEG = 10
DRAW_HEDGED = 11
"""Draws of a leveraged trader and of a portfolio; a normal takes its own and the next."""


@leaf
def _rounded_up(value):
    """The least integer that is no smaller, as a float: it may be too large for one of 64 bits."""
    return float(math.ceil(value)) if abs(value) < _WHOLE else value


@routine
def _pay(w, accounts, rows, source, target, amount, kind):
    """Move atoms (either sign) between two accounts, and note the transfer while there are rows for it."""
    if amount == 0:
        return
    accounts[source].cash -= amount
    accounts[target].cash += amount
    place = w.control.next_transfer
    w.control.next_transfer = place + 1
    if place >= len(rows):
        return
    row = rows[place]
    row.transfer_id = place
    row.step = -max(1, w.config.burn_in)
    row.kind = kind
    row.from_account = source if amount > 0 else target
    row.to_account = target if amount > 0 else source
    row.event = lay.NO_EVENT
    row.trade = -1
    row.amount = abs(amount)


@leaf
def _deposit(w, accounts, rows, account, amount):
    """Bring collateral (atoms) in from outside."""
    _pay(w, accounts, rows, w.config.external_account, account, amount, _COLLATERAL)
    accounts[account].collateral += amount


@routine
def _open_positions(w, accounts, rows, holders, lots, ticks, worth, first, count):
    """Open signed positions of ``count`` accounts from ``first`` at given prices against the holders, in turn.

    ``worth`` (accounts,) is room for the cost of every account's position in ticks x lots, of which its average entry
    price is made when all positions stand.
    """
    for account in range(len(accounts)):
        worth[account] = accounts[account].entry_tick * accounts[account].position
    for k in range(count):
        account = first + k
        other = holders.first_account + k % holders.accounts
        cost = lots[k] * ticks[k]
        _pay(w, accounts, rows, account, other, cost * w.config.atoms, _VARIATION)
        worth[account] += cost
        worth[other] -= cost
        accounts[account].position += lots[k]
        accounts[other].position -= lots[k]
    for account in range(len(accounts)):
        row = accounts[account]
        if row.position != 0:
            row.entry_tick = abs(worth[account] / row.position)


@part
def _open_providers(w, plan):
    """Draw what differs between liquidity providers."""
    config = plan.providers
    key = stream(w.config.seed, PURPOSE_PROVIDER, 0)
    for index in range(w.config.providers.count):
        provider = w.providers[index]
        spread = 2.0 * uniform(key, index, 0) - 1.0
        threshold = 2.0 * uniform(key, index, 1) - 1.0
        loss = 2.0 * uniform(key, index, 2) - 1.0
        provider.half_spread = config.half_spread * (1.0 + config.half_spread_dispersion * spread)
        provider.threshold = config.threshold * (1.0 + config.threshold_dispersion * threshold)
        limit = config.loss_limit * (1.0 + config.loss_limit_dispersion * loss)
        provider.loss_limit = np.int64(round(limit * _ATOMS))
        provider.size_factor = 1.0
        provider.paused_until = lay.NEVER
        provider.peak_equity = config.capital


@part
def _draw_shares(w, plan, shares):
    """Dirichlet shares of the dealers by gamma draws of integer shape: sums of exponentials."""
    key = stream(w.config.seed, PURPOSE_DEALER, 0)
    total = 0.0
    for number in range(w.config.dealers.count):
        weight = 0.0
        for draw in range(plan.dealers.gamma_shape):
            weight += exponential(key, number, draw)
        shares[number] = weight
        total += weight
    for number in range(w.config.dealers.count):
        shares[number] /= total


@part
def _open_dealers(w, accounts, rows, plan, scratch, scores):
    """Split the inventory over the dealers, post premiums, and open each with its delta hedged.

    The Greeks at the initial price stand in the options already: they are the same for every seed.
    """
    config = w.config.dealers
    lots, ticks, shares = scratch[0], scratch[1], scores[0]
    _draw_shares(w, plan, shares)
    for number in range(config.count):
        dealer = w.dealers[number]
        share = shares[number]
        for index in range(config.options):
            dealer.inventory[index] = plan.dealers.inventory[index] * share / plan.dealers.lot_size
        dealer.delta = dealer_delta(w, dealer)
        lots[number] = -np.int64(math.floor(dealer.delta + 0.5))
        ticks[number] = plan.initial_tick
        amount = np.int64(round(plan.dealers.premium * share * _ATOMS))
        _pay(w, accounts, rows, dealer.account, config.customer_account, amount, _PREMIUM)
    _open_positions(
        w, accounts, rows, plan.holders, lots, ticks, scores[1], config.first_account, config.count
    )


@routine
def split_total(weights, parts, mark, count, total):
    """Split ``total`` lots over the entries of ``parts`` (count,) that hold ``mark`` (1 or -1), by weight.

    They become whole numbers of that sign whose absolute values sum to ``total`` exactly: differences of the rounded
    cumulative sum.
    """
    norm = 0.0
    last = -1
    for k in range(count):
        if parts[k] == mark:
            norm += weights[k]
            last = k
    running = 0.0
    edge = np.int64(0)
    for k in range(last + 1):
        if parts[k] == mark:
            running += weights[k]
            following = np.int64(math.floor(running / norm * total + 0.5))
            if k == last:
                following = total
            parts[k] = mark * (following - edge)
            edge = following


@part
def _draw_sizes(w, config, lots, weights):
    """Signed lots whose sums per side are exactly the scenario's."""
    key = stream(w.config.seed, PURPOSE_TRADER, 0)
    count = config.accounts
    longs = 0
    for k in range(count):
        weights[k] = math.exp(config.size_dispersion * normal(key, k, DRAW_SIZE))
        lots[k] = 1 if uniform(key, k, DRAW_SIDE) < config.long_share else -1
        longs += lots[k] > 0
    if config.long_lots > 0 and longs == 0:
        lots[0] = 1
        longs = 1
    if config.long_lots < config.lots and longs == count:
        lots[count - 1] = -1
    split_total(weights, lots, np.int64(1), count, config.long_lots)
    split_total(weights, lots, np.int64(-1), count, config.lots - config.long_lots)


@leaf
def _raised(low, high, least, uniform_draw):
    """Uniform over a range of inverse leverage whose lower end, and upper end if need be, is raised to the least allowed."""
    least = max(low, least)
    return least + max(high - least, 0.0) * uniform_draw


@leaf
def _inverse_leverage(w, config, uniform_draw, tick_lots):
    """Uniform over the scenario's range; initial margin raises its lower end to what it asks for at this size."""
    low, high = config.inverse_low, config.inverse_high
    if config.brackets == 0:
        return _raised(low, high, initial_rate(w, tick_lots * float(w.config.atoms)), uniform_draw)
    notional = tick_lots * config.tick_size * config.lot_size
    tier = bracket_tier(notional, config.bracket_end[: config.brackets])
    return _raised(low, high, max(config.bracket_rate[tier], config.least_inverse), uniform_draw)


@leaf
def _is_near(w, plan, lots, entry, inverse):
    """Whether a position's liquidation price would lie too near the initial price."""
    if lots == 0:
        return False
    clearing = w.config.clearing
    tiers = clearing.tiers
    position = float(lots * w.config.atoms)
    cash = inverse * abs(position) * entry - position * entry
    side = 1.0 if lots > 0 else -1.0
    rates, deductions = clearing.tier_rate[:tiers], clearing.tier_deduction[:tiers]
    low, high = price_range(w, position, cash, float(plan.initial_tick), rates, deductions)
    price = low if lots > 0 else high
    return side * (plan.initial_tick - price) / plan.initial_tick < plan.traders.nearest_trigger


@part
def _open_traders(w, accounts, watch, rows, plan, scratch, scores):
    """Draw the population of leveraged traders and open its positions against the holders; returns a status."""
    config = plan.traders
    first = config.first_account
    lots, ticks, collateral, weights = scratch[0], scratch[1], scratch[2], scores[0]
    _draw_sizes(w, config, lots, weights)
    key = stream(w.config.seed, PURPOSE_TRADER, 0)
    gross = 0.0
    for k in range(config.accounts):
        spread = 1.0 + config.entry_spread * normal(key, k, DRAW_ENTRY)
        entry = np.int64(max(round(plan.initial_tick * spread), 1))
        inverse = _inverse_leverage(w, config, uniform(key, k, DRAW_LEVERAGE), abs(lots[k]) * entry)
        if _is_near(w, plan, lots[k], entry, inverse):
            entry = plan.initial_tick
        ticks[k] = entry
        amount = _rounded_up(inverse * abs(lots[k]) * entry * w.config.atoms)
        gross += amount
        if not gross <= lay.LARGEST_CASH:
            plan.refused = gross
            return OPEN_CAPITAL
        collateral[k] = np.int64(amount)
    for k in range(config.accounts):
        _deposit(w, accounts, rows, first + k, collateral[k])
        accounts[first + k].traits = lay.FLAG_MARGINED | lay.FLAG_ACTIVE
    _open_positions(w, accounts, rows, plan.holders, lots, ticks, scores[1], first, config.accounts)
    for k in range(config.accounts):
        refresh_triggers(w, accounts, watch, first + k)
    return OPENED


@part
def _draw_entrants(w, accounts, traders, plan, scratch, scores):
    """Draw arrival, size and leverage of the late entrants; rows are in order of arrival, nothing is opened yet."""
    config = plan.entrants
    count = config.accounts
    key = stream(w.config.seed, PURPOSE_ENTRANT, 0)
    order, lots, arrivals, weights = scratch[0], scratch[1], scores[0], scores[1]
    for k in range(count):
        seconds = uniform(key, k, 1)
        if uniform(key, k, 0) < config.after_shock_share:
            seconds = config.shock_seconds + seconds * config.window_seconds
        else:
            seconds *= config.run_seconds
        order[k] = k
        arrivals[k] = math.floor(seconds / w.config.dt)
        weights[k] = exponential(key, k, 2)
        lots[k] = 1
    split_total(weights, lots, np.int64(1), count, config.lots)
    sort_by_score(order, arrivals, count)
    for k in range(count):
        entrant = order[k]
        account = config.first_account + entrant
        value = float(lots[entrant]) * plan.initial_tick * w.config.atoms
        inverse = _raised(
            config.inverse_low, config.inverse_high, initial_rate(w, value), uniform(key, entrant, 3)
        )
        traders[k].arrival_step = np.int64(arrivals[k])
        traders[k].account = account
        traders[k].quantity = lots[entrant]
        traders[k].inverse_leverage = inverse
        accounts[account].traits = lay.FLAG_MARGINED | lay.FLAG_LATE


@part
def _fund_holders(w, accounts, rows, plan):
    """Collateral of the holders for the positions that they ended up with; returns a status."""
    config = plan.holders
    gross = 0.0
    for k in range(config.accounts):
        lots = abs(accounts[config.first_account + k].position)
        amount = _rounded_up(lots * float(plan.initial_tick) * w.config.atoms * config.collateral_share)
        gross += amount
        if not gross <= lay.LARGEST_CASH:
            plan.refused = gross
            return OPEN_CAPITAL
        _deposit(w, accounts, rows, config.first_account + k, np.int64(amount))
    return OPENED


@leaf
def _is_hedged(config, whole, portfolio):
    """Whether this is a further leg that offsets the one in the first market: opposite, and of the same share."""
    return config.further != 0 and uniform(whole, portfolio, DRAW_HEDGED) < config.hedged_share


@part
def _draw_legs(w, config, lots, weights):
    """Signed lots of every portfolio's leg in this market; their absolute values sum to the scenario's."""
    whole = stream(config.shared_seed, PURPOSE_PORTFOLIO, 0)
    own = stream(w.config.seed, PURPOSE_PORTFOLIO, 0)
    for k in range(config.accounts):
        size = math.exp(config.size_dispersion * normal(whole, k, DRAW_SIZE))
        weights[k] = size * exponential(whole if _is_hedged(config, whole, k) else own, k, DRAW_LEG)
        lots[k] = 1
    split_total(weights, lots, np.int64(1), config.accounts, config.lots)
    for k in range(config.accounts):
        hedged = _is_hedged(config, whole, k)
        side = 1 if uniform(whole if hedged else own, k, DRAW_SIDE) < config.long_share else -1
        lots[k] *= -side if hedged else side


@kernel
def open_portfolios(worlds, accounts, watch, scratch, scores, plans, rows):
    """Open this market's legs of all portfolios against the holders; call it before :func:`open_world`.

    Parameters are those of :func:`open_world`. Each leg brings in collateral for its own notional; the portfolio's
    inverse leverage is the same in all markets.

    Returns
    -------
    int
        OPENED, or why the legs cannot be opened.
    """
    return _open_legs(worlds[0], accounts[0], watch[0], scratch[0], scores[0], plans[0], rows)


@part
def _open_legs(w, accounts, watch, scratch, scores, plan, rows):
    config = plan.portfolios
    first = config.first_account
    lots, ticks = scratch[0], scratch[1]
    _draw_legs(w, config, lots, scores[0])
    key = stream(config.shared_seed, PURPOSE_PORTFOLIO, 0)
    gross = 0.0
    for k in range(config.accounts):
        value = abs(lots[k]) * float(plan.initial_tick) * w.config.atoms
        inverse = _raised(
            config.inverse_low, config.inverse_high, initial_rate(w, value), uniform(key, k, DRAW_LEVERAGE)
        )
        ticks[k] = plan.initial_tick
        amount = _rounded_up(inverse * abs(lots[k]) * float(plan.initial_tick) * w.config.atoms)
        gross += amount
        if not gross <= lay.LARGEST_CASH:
            plan.refused = gross
            return OPEN_CAPITAL
        _deposit(w, accounts, rows, first + k, np.int64(amount))
        accounts[first + k].traits = lay.FLAG_MARGINED | lay.FLAG_ACTIVE
        if config.shared_collateral != 0:
            accounts[first + k].traits |= lay.FLAG_CROSS
    _open_positions(w, accounts, rows, plan.holders, lots, ticks, scores[1], first, config.accounts)
    for k in range(config.accounts):
        refresh_triggers(w, accounts, watch, first + k)
    return OPENED


@kernel
def open_world(worlds, accounts, traders, watch, scratch, scores, plans, rows):
    """Open every account of a market that is configured, from its ``config.seed``.

    Parameters
    ----------
    worlds, accounts, traders, watch, scratch, scores : arrays, shape (1, ...)
        Of :meth:`core.drivers.state.System.rows`: one market, which holds nothing yet.
    plans : array of PLAN, shape (1,)
        What the scenario decides.
    rows : array of layout.TRANSFER, shape (n,)
        The first n transfers are written here; their number is ``control.next_transfer``.

    Returns
    -------
    int
        OPENED, or why the world cannot be opened.
    """
    return _open_accounts(worlds[0], accounts[0], traders[0], watch[0], scratch[0], scores[0], plans[0], rows)


@part
def _open_accounts(w, accounts, traders, watch, scratch, scores, plan, rows):
    for index in range(plan.grants):
        grant = plan.grant[index]
        for k in range(grant.accounts):
            _deposit(w, accounts, rows, grant.first_account + k, grant.amount)
    _open_providers(w, plan)
    if w.config.dealers.count > 0:
        _open_dealers(w, accounts, rows, plan, scratch, scores)
    if plan.traders.accounts > 0:
        status = _open_traders(w, accounts, watch, rows, plan, scratch, scores)
        if status != OPENED:
            return status
    if plan.entrants.accounts > 0:
        _draw_entrants(w, accounts, traders, plan, scratch, scores)
    status = _fund_holders(w, accounts, rows, plan)
    interest = np.int64(0)
    for account in range(len(accounts)):
        interest += max(accounts[account].position, np.int64(0))
    w.totals.open_interest = interest
    return status


class Opener:
    """Opens one market by the kernels that it needs; which those are, its configuration says once.

    Parameters
    ----------
    rows : tuple of arrays
        Of :meth:`core.drivers.state.System.rows`; the market is configured.
    plans : array of PLAN, shape (1,)
        What the scenario decides.
    """

    def __init__(self, rows: tuple[Array, ...], plans: Array) -> None:
        worlds, books, accounts, traders, watch, scratch, scores, tapes = rows
        self._legs = (worlds, accounts, watch, scratch, scores, plans)
        self._accounts = (worlds, accounts, traders, watch, scratch, scores, plans)
        self._actors = (worlds, accounts)
        self._orders = (worlds, books, accounts, watch, tapes)
        self._has_legs = plans["portfolios"]["accounts"].item() > 0
        self._has_actors = worlds["activity"]["config"]["enabled"].item() != 0

    def open_accounts(self, transfers: Array) -> int:
        """Open every account of the market, which holds nothing yet, from its key.

        Parameters
        ----------
        transfers : array of layout.TRANSFER, shape (n,)
            The first n transfers are written here.

        Returns
        -------
        int
            OPENED, or why the market cannot be opened; ``plans["refused"]`` says by how much.
        """
        if self._has_legs:
            status = open_portfolios(*self._legs, transfers)
            if status != OPENED:
                return int(status)
        return int(open_world(*self._accounts, transfers))

    def open_orders(self) -> None:
        """Ready those who act in the market, whose accounts are open, and place the orders that rest from the beginning."""
        if self._has_actors:
            open_activity(*self._actors)
        opening_stock(*self._orders)
