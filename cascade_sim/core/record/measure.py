"""Phase 9: one row of the series per step, volumes into totals, incremental totals against each other."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.hedging import update_greeks
from cascade_sim.core.clearing.trigger_index import lots_between
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.layout.book import NO_ASK
from cascade_sim.core.record.figures import observe
from cascade_sim.core.venue.window import resting_between
from cascade_sim.domain.enums import Stage

_BACKSTOP = np.int64(Stage.BACKSTOP)


@part
def depth_in_bands(w, book, row):
    """Quantity within each band of :data:`BAND_BP` of the mid, both sides, in one walk over occupied levels."""
    mid = w.market.mid
    high = np.int64(book.best_bid)
    low = np.int64(book.best_ask)
    bids = np.int64(0)
    asks = np.int64(0)
    for band in range(lay.BANDS):
        edge = np.int64(math.ceil(mid * (1.0 - lay.BAND_BP[band] * 1.0e-4)))
        bids += resting_between(book, edge, high)
        high = min(high, edge - 1)
        row.bid_depth[band] = bids
        edge = np.int64(math.floor(mid * (1.0 + lay.BAND_BP[band] * 1.0e-4)))
        asks += resting_between(book, low, edge)
        low = max(low, edge + 1)
        row.ask_depth[band] = asks


@part
def _slow_measures(w, accounts, watch):
    """Measures that walk over options or triggers; taken every ``gamma_every`` steps and held in between."""
    if w.config.dealers.count > 0:
        update_greeks(w, w.market.mid)
        gamma = 0.0
        unhedged = 0.0
        # Both sums in one loop: each waits for its own last addition, so they cost little more than one.
        for number in range(w.config.dealers.count):
            dealer = w.dealers[number]
            for index in range(w.config.dealers.options):
                held = dealer.inventory[index]
                gamma += held * w.options[index].gamma
                unhedged += held * w.options[index].delta
            unhedged += accounts[dealer.account].position
        w.now.gamma = gamma
        w.now.unhedged = unhedged
    mark = w.market.mark
    w.now.forced_sale = lots_between(w, accounts, watch, lay.WATCH_LIQUIDATE_LONG, 0.99 * mark, mark)
    w.now.forced_buy = lots_between(w, accounts, watch, lay.WATCH_LIQUIDATE_SHORT, mark, 1.01 * mark)


@part
def _price(tick):
    return float(tick) if 0 < tick < NO_ASK else np.nan


@routine
def _write_row(w, book, accounts, tape):
    place = tape.series_count
    if place >= lay.SERIES_CAPACITY:
        return
    row = tape.series[place]
    market = w.market
    linear = w.config.formation == lay.FORMATION_LINEAR
    row.step = w.control.step
    row.one_sided = market.one_sided
    row.halted = market.halted
    row.throughput_binding = w.now.throughput_binding
    row.mid = np.nan if market.one_sided != 0 else market.mid
    row.last = market.last
    row.mark = market.mark
    row.index = market.index
    row.fundamental = market.fundamental
    row.funding_rate = w.prices.funding_rate
    row.best_bid = np.nan if linear else _price(book.best_bid)
    row.best_ask = np.nan if linear else _price(book.best_ask)
    depth_in_bands(w, book, row)
    for cause in range(lay.CAUSES):
        row.buy_volume[cause] = w.now.buy_volume[cause]
        row.sell_volume[cause] = w.now.sell_volume[cause]
    for bucket in range(lay.MOVES):
        row.mark_move[bucket] = market.mark_move[bucket]
    row.open_interest = w.totals.open_interest
    row.distressed = w.now.distressed
    row.queue_accounts = w.now.queue_accounts
    row.queue_notional = w.now.queue_notional
    for stage in range(lay.STAGES):
        row.closed[stage] = w.now.closed[stage]
    fund = accounts[w.config.fund_account]
    row.fund_cash = fund.cash
    row.fund_equity = equity(w, fund)
    row.party_equity = 0.0
    for k in range(w.config.clearing.stages):
        if w.config.clearing.waterfall[k].stage == _BACKSTOP:
            row.party_equity += equity(w, accounts[w.config.clearing.waterfall[k].account])
    row.bad_debt = w.totals.bad_debt
    row.socialised = w.totals.socialised
    row.gamma = w.now.gamma
    row.unhedged = w.now.unhedged
    row.forced_sale = w.now.forced_sale
    row.forced_buy = w.now.forced_buy
    depth = min(row.bid_depth[2], row.ask_depth[2])
    row.impact = w.config.impact if linear else (0.01 * market.mid / depth if depth > 0.0 else np.nan)
    tape.series_count = place + 1


@part
def check_totals(w, book, accounts):
    """Every step: the incremental totals must be zero and the book uncrossed; now and then a full scan as well."""
    totals = w.totals
    totals.checks += 1
    if totals.cash != 0 or totals.position != 0:
        totals.check_failures += 1
    if book.best_bid > 0 and book.best_bid >= book.best_ask:
        totals.crossed_books += 1
    if w.config.check_every <= 0 or w.control.step % w.config.check_every != 0:
        return
    cash = np.int64(0)
    position = np.int64(0)
    for account in range(len(accounts)):
        cash += accounts[account].cash
        position += accounts[account].position
    if cash != 0 or position != 0:
        totals.check_failures += 1


@routine
def record(w, book, accounts, watch, tape):
    """Write the step down and clear what counts per step."""
    check_totals(w, book, accounts)
    if w.config.record >= lay.RECORD_SERIES:
        if w.control.step % w.config.dealers.gamma_every == 0:
            _slow_measures(w, accounts, watch)
        _write_row(w, book, accounts, tape)
    if w.control.step >= 0:
        observe(w, book)
    for cause in range(lay.CAUSES):
        if w.control.step >= 0:
            w.totals.buy_volume[cause] += w.now.buy_volume[cause]
            w.totals.sell_volume[cause] += w.now.sell_volume[cause]
        w.now.buy_volume[cause] = 0
        w.now.sell_volume[cause] = 0
    for bucket in range(lay.MOVES):
        w.market.mark_move[bucket] = 0.0
    w.now.turnover = 0
    w.now.distressed = 0
    w.now.queue_accounts = 0
    w.now.queue_notional = 0.0
    w.now.throughput_binding = 0
    w.now.forced = 0
    w.now.taken = 0
    for stage in range(lay.STAGES):
        w.now.closed[stage] = 0.0
