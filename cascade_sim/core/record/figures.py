"""Figures of a run that need no table, kept while it runs: what a row of an ensemble is made of, equal to its summary."""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import kernel, routine
from cascade_sim.core.ground.rng import word as hashed  # a fingerprint, no draw
from cascade_sim.domain.enums import AccountClass

_TRADER = np.int64(AccountClass.LEVERAGED_TRADER)


@routine
def begin_figures(w, book, accounts):
    """Note what counts from step 0 on; called as step 0 begins."""
    figures = w.figures
    mark = w.market.mark
    majority = np.int64(0)
    for account in range(len(accounts)):
        if accounts[account].account_class == _TRADER:
            majority += accounts[account].position
    figures.majority = majority
    figures.mark_start = mark
    figures.mark_lowest = mark
    figures.mark_highest = mark
    figures.mark_window_end = mark
    figures.peak = mark
    figures.drawdown = 0.0
    figures.drawdown_peak = mark
    figures.drawdown_trough = mark
    figures.fingerprint = np.uint64(0)
    w.totals.messages_start = book.messages


@routine
def observe(w):
    """Take in the mark at the end of a step from 0 on."""
    figures = w.figures
    mark = w.market.mark
    step = w.control.step
    figures.fingerprint = hashed(figures.fingerprint, np.float64(mark).view(np.int64), step)
    if step < w.config.window_first:
        figures.mark_start = mark
        figures.mark_lowest = mark
        figures.mark_highest = mark
        figures.mark_window_end = mark
    elif step <= w.config.window_last:
        figures.mark_lowest = min(figures.mark_lowest, mark)
        figures.mark_highest = max(figures.mark_highest, mark)
        figures.mark_window_end = mark
    figures.peak = max(figures.peak, mark)
    fall = (figures.peak - mark) / figures.peak
    if fall > figures.drawdown:
        figures.drawdown = fall
        figures.drawdown_peak = figures.peak
        figures.drawdown_trough = mark


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
    row.mark_end = w.market.mark
    row.messages = book.messages - totals.messages_start
    row.trades = totals.trades
    row.liquidated_accounts = totals.liquidated_accounts
    row.liquidated_quantity = totals.liquidated_quantity
    for stage in range(lay.STAGES):
        row.closed[stage] = totals.closed[stage]
    row.adl_accounts = totals.adl_accounts
    row.adl_loss = totals.adl_loss
    row.bad_debt = totals.bad_debt
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
