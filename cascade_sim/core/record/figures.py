"""Figures of a run, kept while it runs whatever is recorded: what its summary and a row of an ensemble are made of."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.hedging import dealers_gamma, options_value, update_greeks
from cascade_sim.core.ground.compile import kernel, part, routine
from cascade_sim.core.ground.rng import word as hashed  # a fingerprint, no draw
from cascade_sim.core.venue.window import resting_between
from cascade_sim.domain.enums import AccountClass

_TRADER = np.int64(AccountClass.LEVERAGED_TRADER)


@part
def _hold(accounts, holdings):
    """Sum what the accounts of every class hold."""
    for kind in range(lay.CLASSES):
        holdings[kind].accounts = 0
        holdings[kind].cash = 0
        holdings[kind].position = 0
    for account in range(len(accounts)):
        row = accounts[account]
        of = holdings[row.account_class]
        of.accounts += 1
        of.cash += row.cash
        of.position += row.position


@routine
def begin_figures(w, book, accounts):
    """Note what counts from step 0 on; called as step 0 begins."""
    figures = w.figures
    mark = w.market.mark
    _hold(accounts, figures.began)
    figures.majority = figures.began[_TRADER].position
    figures.mark_begun = mark
    figures.mark_start = mark
    figures.mark_lowest = mark
    figures.mark_highest = mark
    figures.mark_window_end = mark
    figures.peak = mark
    figures.drawdown = 0.0
    figures.drawdown_peak = mark
    figures.drawdown_trough = mark
    figures.trough_step = -1
    figures.recovered_step = -1
    figures.minute_mark = mark
    figures.squared_returns = 0.0
    figures.returns = 0
    figures.least_depth = -1
    figures.calm_depth = 0
    figures.calm_steps = 0
    for cause in range(lay.CAUSES):
        figures.volume[cause] = 0
    figures.taken = 0
    figures.throughput_steps = 0
    figures.peak_gamma = 0.0
    figures.options_begun = options_value(w) if w.config.dealers.count > 0 else 0.0
    figures.fingerprint = np.uint64(0)
    w.totals.messages_start = book.messages
    for part_of_window in range(w.config.forced_bins):
        w.forced[part_of_window] = 0


@part
def _observe_depth(w, book):
    """Take in the lots within 10 bp of the mid, both sides, where the market is calm and in the event window."""
    mid = w.market.mid
    figures = w.figures
    step = w.control.step
    lowest = np.int64(math.ceil(mid * (1.0 - lay.BAND_BP[0] * 1.0e-4)))
    highest = np.int64(math.floor(mid * (1.0 + lay.BAND_BP[0] * 1.0e-4)))
    depth = resting_between(book, lowest, np.int64(book.best_bid))
    depth += resting_between(book, np.int64(book.best_ask), highest)
    if step <= w.config.calm_last:
        figures.calm_depth += depth
        figures.calm_steps += 1
    inside = w.config.window_first <= step <= w.config.window_last
    if inside and (figures.least_depth < 0 or depth < figures.least_depth):
        figures.least_depth = depth


@part
def _observe_window(w, mark):
    """Take in a step of the event window."""
    figures = w.figures
    step = w.control.step
    if mark < figures.mark_lowest:
        figures.mark_lowest = mark
        if figures.majority >= 0:
            figures.trough_step = step
            figures.recovered_step = -1
    if mark > figures.mark_highest:
        figures.mark_highest = mark
        if figures.majority < 0:
            figures.trough_step = step
            figures.recovered_step = -1
    if figures.recovered_step < 0 and figures.trough_step >= 0:
        # Half of the log move: the geometric mean of its ends.
        if figures.majority >= 0:
            undone = mark * mark >= figures.mark_start * figures.mark_lowest
        else:
            undone = mark * mark <= figures.mark_start * figures.mark_highest
        if undone:
            figures.recovered_step = step
    figures.mark_window_end = mark
    for cause in range(lay.CAUSES):
        figures.volume[cause] += w.now.buy_volume[cause] + w.now.sell_volume[cause]
    figures.taken += w.now.taken
    if w.now.forced > 0:
        steps = w.config.window_last - w.config.window_first + 1
        w.forced[(step - w.config.window_first) * w.config.forced_bins // steps] += w.now.forced


@part
def _observe_minute(w, mark):
    """Take in the last step of a minute: its return, and the gamma of the dealers."""
    figures = w.figures
    move = math.log(mark / figures.minute_mark)
    figures.minute_mark = mark
    figures.squared_returns += move * move
    figures.returns += 1
    if w.config.dealers.count > 0:
        at = w.market.mid if w.market.one_sided == 0 else mark
        update_greeks(w, at)
        gamma = dealers_gamma(w) * at * at
        if abs(gamma) > abs(figures.peak_gamma):
            figures.peak_gamma = gamma


@routine
def observe(w, book):
    """Take in a step from 0 on as it ends."""
    figures = w.figures
    mark = w.market.mark
    step = w.control.step
    figures.fingerprint = hashed(figures.fingerprint, np.float64(mark).view(np.int64), step)
    if step <= w.config.window_last or step <= w.config.calm_last:
        _observe_depth(w, book)
    if step < w.config.window_first:
        figures.mark_start = mark
        figures.mark_lowest = mark
        figures.mark_highest = mark
        figures.mark_window_end = mark
    elif step <= w.config.window_last:
        _observe_window(w, mark)
    figures.throughput_steps += w.now.throughput_binding
    if (step + 1) % w.config.minute_steps == 0:
        _observe_minute(w, mark)
    figures.peak = max(figures.peak, mark)
    fall = (figures.peak - mark) / figures.peak
    if fall > figures.drawdown:
        figures.drawdown = fall
        figures.drawdown_peak = figures.peak
        figures.drawdown_trough = mark


@part
def _count_forced(w, row):
    """What was closed by force in the event window, and the most of it in a stretch of its densest length."""
    total = np.int64(0)
    inside = np.int64(0)
    most = np.int64(0)
    for place in range(w.config.forced_bins):
        total += w.forced[place]
        inside += w.forced[place]
        if place >= w.config.densest_bins:
            inside -= w.forced[place - w.config.densest_bins]
        most = max(most, inside)
    row.forced = total
    row.densest = most


@routine
def _imbalance(w, accounts):
    """Failed checks, crossed books, and what cash and positions of all accounts are away from zero."""
    cash = np.int64(0)
    position = np.int64(0)
    for account in range(len(accounts)):
        cash += accounts[account].cash
        position += accounts[account].position
    return w.totals.check_failures + w.totals.crossed_books + abs(cash) + abs(position)


@kernel
def finish_figures(worlds, books, accounts, rows, stopped_by, status):
    """Write down what a run came to and how it ended, in the first of rows of :data:`layout.FIGURE_ROW`."""
    w, book, held, row = worlds[0], books[0], accounts[0], rows[0]
    totals = w.totals
    row.stopped_by = stopped_by
    row.status = status
    row.step = w.control.step
    row.market = w.control.market
    row.capacity = worlds[w.control.market].control.capacity
    row.figures = w.figures
    _hold(held, row.ended)
    row.mark_end = w.market.mark
    row.options = w.config.dealers.options if w.config.dealers.count > 0 else 0
    row.options_ended = options_value(w) if w.config.dealers.count > 0 else 0.0
    row.messages = book.messages - totals.messages_start
    row.trades = totals.trades
    row.liquidated_accounts = totals.liquidated_accounts
    row.liquidated_quantity = totals.liquidated_quantity
    _count_forced(w, row)
    row.decided = totals.decided
    row.shortfall = totals.shortfall
    for stage in range(lay.STAGES):
        row.closed[stage] = totals.closed[stage]
        row.covered[stage] = totals.covered[stage]
    for kind in range(lay.CLASSES):
        row.added[kind] = totals.added[kind]
    row.adl_accounts = totals.adl_accounts
    row.adl_loss = totals.adl_loss
    row.bad_debt = totals.bad_debt
    row.defaults = totals.defaults
    row.socialised = totals.socialised
    row.external = totals.external
    row.fees = totals.fees
    row.refused_orders = totals.refused_orders
    row.first_liquidation_step = totals.first_liquidation_step
    row.first_adl_step = totals.first_adl_step
    row.fund_cash = held[w.config.fund_account].cash
    row.fund_position = held[w.config.fund_account].position
    row.conservation_error = 0
    for market in range(len(worlds)):
        row.conservation_error += _imbalance(worlds[market], accounts[market])
    fingerprint = w.figures.fingerprint
    for account in range(len(held)):
        fingerprint = hashed(fingerprint, held[account].cash, held[account].position)
    row.fingerprint = fingerprint
