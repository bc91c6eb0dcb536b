"""Many small worlds one after the other in one call: no Python between runs, and the memory of one.

Each run opens from its own key and takes the phases of :func:`core.drivers.run.run`; what it comes to is one row of numbers.
"""

from typing import Any

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import open_activity
from cascade_sim.core.actors.background import opening_stock
from cascade_sim.core.drivers.acting import run_acting
from cascade_sim.core.drivers.blank import reset
from cascade_sim.core.drivers.opening import open_world
from cascade_sim.core.drivers.run import run, run_rate_driven
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.ground.rng import word
from cascade_sim.core.layout.opening import OPENED
from cascade_sim.domain.enums import AccountClass

_TRADER = np.int64(AccountClass.LEVERAGED_TRADER)
_EVERY_PHASE = np.int64(2**62)

STATUS_DONE = 0
STATUS_STOPPED = 1
STATUS_NOT_OPENED = 2
STATUS_WAITING = -1
"""Of a row: finished, stopped in the middle, world could not be opened, or not begun."""

_F, _I = np.float64, np.int64
_FIELDS: list[tuple[str, Any]] = [
    ("status", _I),
    ("stopped_by", _I),
    ("capacity", _I),
    ("step", _I),
    ("majority", _I),
    ("mark_start", _F),
    ("mark_lowest", _F),
    ("mark_highest", _F),
    ("mark_window_end", _F),
    ("mark_end", _F),
    ("peak", _F),
    ("drawdown", _F),
    ("drawdown_peak", _F),
    ("drawdown_trough", _F),
    ("messages_start", _I),
    ("messages", _I),
    ("trades", _I),
    ("liquidated_accounts", _I),
    ("liquidated_quantity", _I),
    ("liquidated_book", _F),
    ("liquidated_fund", _F),
    ("liquidated_adl", _F),
    ("adl_accounts", _I),
    ("adl_loss", _I),
    ("bad_debt", _I),
    ("socialised", _I),
    ("external", _I),
    ("fees", _I),
    ("first_liquidation_step", _I),
    ("first_adl_step", _I),
    ("fund_cash", _I),
    ("fund_position", _I),
    ("check_failures", _I),
    ("crossed_books", _I),
    ("cash", _I),
    ("position", _I),
    ("fingerprint", np.uint64),
]
ENSEMBLE_ROW = np.dtype(_FIELDS)
"""What one run comes to: ticks, lots, atoms and steps. ``majority`` is the position of all leveraged traders as step 0
begins; the marks are those at and after the start of the window; ``fingerprint`` hashes the mark of every step from 0 on,
then cash and position of every account."""


@part
def _begin(w, book, accounts, row):
    """Note what counts from step 0 on."""
    majority = np.int64(0)
    for account in range(len(accounts)):
        if accounts[account].account_class == _TRADER:
            majority += accounts[account].position
    row.majority = majority
    row.messages_start = book.messages
    w.totals.messages_start = book.messages
    row.mark_start = w.market.mark
    row.mark_lowest = w.market.mark
    row.mark_highest = w.market.mark
    row.mark_window_end = w.market.mark
    row.peak = w.market.mark
    row.drawdown = 0.0
    row.drawdown_peak = w.market.mark
    row.drawdown_trough = w.market.mark
    row.fingerprint = np.uint64(0)


@part
def _observe(w, row, first, last):
    """Take in the mark at the end of a step; ``first`` and ``last`` are the steps of the event window."""
    mark = w.market.mark
    step = w.control.step - 1
    row.fingerprint = word(row.fingerprint, np.float64(mark).view(np.int64), step)
    if step < first:
        row.mark_start = mark
        row.mark_lowest = mark
        row.mark_highest = mark
        row.mark_window_end = mark
    elif step <= last:
        row.mark_lowest = min(row.mark_lowest, mark)
        row.mark_highest = max(row.mark_highest, mark)
        row.mark_window_end = mark
    row.peak = max(row.peak, mark)
    fall = (row.peak - mark) / row.peak
    if fall > row.drawdown:
        row.drawdown = fall
        row.drawdown_peak = row.peak
        row.drawdown_trough = mark


@routine
def finish(w, book, accounts, row):
    """Write down what a run came to."""
    totals = w.totals
    row.step = w.control.step
    row.capacity = w.control.capacity
    row.mark_end = w.market.mark
    row.messages = book.messages - row.messages_start
    row.trades = totals.trades
    row.liquidated_accounts = totals.liquidated_accounts
    row.liquidated_quantity = totals.liquidated_quantity
    row.liquidated_book = totals.liquidated_book
    row.liquidated_fund = totals.liquidated_fund
    row.liquidated_adl = totals.liquidated_adl
    row.adl_accounts = totals.adl_accounts
    row.adl_loss = totals.adl_loss
    row.bad_debt = totals.bad_debt
    row.socialised = totals.socialised
    row.external = totals.external
    row.fees = totals.fees
    row.first_liquidation_step = totals.first_liquidation_step
    row.first_adl_step = totals.first_adl_step
    row.fund_cash = accounts[w.config.fund_account].cash
    row.fund_position = accounts[w.config.fund_account].position
    row.check_failures = totals.check_failures
    row.crossed_books = totals.crossed_books
    cash = np.int64(0)
    position = np.int64(0)
    fingerprint = row.fingerprint
    for account in range(len(accounts)):
        cash += accounts[account].cash
        position += accounts[account].position
        fingerprint = word(fingerprint, accounts[account].cash, accounts[account].position)
    row.cash = cash
    row.position = position
    row.fingerprint = fingerprint


@leaf
def _no_activity(w, accounts):
    """Nobody acts."""


@routine
def open_run(w, book, accounts, traders, watch, scratch, scores, tape, plan, rows, key):
    """Open a blank world from a key; returns whether that was possible."""
    w.config.seed = key
    w.config.value_seed = key
    if open_world(w, accounts, traders, watch, scratch, scores, plan, rows) != OPENED:
        return STATUS_NOT_OPENED
    opening_stock(w, book, accounts, watch, tape)
    return STATUS_DONE


@part
def _run_all(
    drive,
    wake,
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plan,
    rows,
    blank,
    keys,
    first,
    last,
    out,
    stop,
):
    """See :func:`run_ensemble`; ``drive`` is the driver that takes the phases, ``wake`` readies those who act."""
    w, book, tape = worlds[0], books[0], tapes[0]
    held, entrants, prices = accounts[0], traders[0], watch[0]
    lists, ranks = scratch[0], scores[0]
    control = w.control
    for k in range(len(keys)):
        if stop[0] != 0:
            return k
        row = out[k]
        reset(w, book, prices, blank)
        status = open_run(w, book, held, entrants, prices, lists, ranks, tape, plan, rows, keys[k])
        if status != STATUS_DONE:
            row.status = status
            return k + 1
        wake(w, held)
        until = min(0, w.config.steps)
        status = drive(
            worlds,
            books,
            accounts,
            traders,
            watch,
            scratch,
            scores,
            tapes,
            portfolios,
            until,
            _EVERY_PHASE,
        )
        _begin(w, book, held, row)
        while status == lay.RETURN_DONE and control.step < w.config.steps:
            until = control.step + 1
            status = drive(
                worlds,
                books,
                accounts,
                traders,
                watch,
                scratch,
                scores,
                tapes,
                portfolios,
                until,
                _EVERY_PHASE,
            )
            _observe(w, row, first, last)
        finish(w, book, held, row)
        row.stopped_by = status
        row.status = STATUS_DONE if status == lay.RETURN_DONE else STATUS_STOPPED
        if status != lay.RETURN_DONE:
            return k + 1
    return len(keys)


@kernel
def run_ensemble(
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plan,
    rows,
    blank,
    keys,
    first,
    last,
    out,
    stop,
):
    """Run a world once per key.

    Parameters
    ----------
    worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios : arrays
        Of a :class:`core.drivers.state.System` of one market; nothing is recorded on the tape.
    plan : record of PLAN
        What the scenario decides about the opening.
    rows : recarray of layout.TRANSFER, shape (0,)
        No opening transfers are kept.
    blank : Blank
        The world before it was opened.
    keys : uint64, shape (n,)
        ``config.seed`` of each run.
    first, last : int
        Steps of the event window.
    out : recarray of ENSEMBLE_ROW, shape (n,)
        Overwritten as runs finish.
    stop : int64, shape (1,)
        No further run is begun when it is not 0.

    Returns
    -------
    int
        Runs made; the last of them may not have finished (see its ``status``).
    """
    return _run_all(
        run,
        _no_activity,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        plan,
        rows,
        blank,
        keys,
        first,
        last,
        out,
        stop,
    )


@kernel
def run_rate_driven_ensemble(
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plan,
    rows,
    blank,
    keys,
    first,
    last,
    out,
    stop,
):
    """As :func:`run_ensemble`, for flows whose rates follow the book."""
    return _run_all(
        run_rate_driven,
        _no_activity,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        plan,
        rows,
        blank,
        keys,
        first,
        last,
        out,
        stop,
    )


@kernel
def run_acting_ensemble(
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plan,
    rows,
    blank,
    keys,
    first,
    last,
    out,
    stop,
):
    """As :func:`run_ensemble`, for leveraged traders who act."""
    return _run_all(
        run_acting,
        open_activity,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        plan,
        rows,
        blank,
        keys,
        first,
        last,
        out,
        stop,
    )
