"""Many worlds one after the other in one call: no Python between runs, and the memory of one.

Each run opens from its own keys and takes one of the drivers of :mod:`cascade_sim.core.drivers.loop`; what it comes to is
one row of figures.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import open_activity
from cascade_sim.core.actors.background import opening_stock
from cascade_sim.core.clearing.looks import open_queue
from cascade_sim.core.drivers.blank import reset
from cascade_sim.core.drivers.loop import full, lean
from cascade_sim.core.drivers.opening import open_portfolios, open_world
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.layout.opening import OPENED
from cascade_sim.core.record.figures import finish_figures

_EVERY_PHASE = np.int64(2**62)

STATUS_DONE = 0
STATUS_STOPPED = 1
STATUS_NOT_OPENED = 2
STATUS_WAITING = -1
"""Of a row: finished, stopped in the middle, world could not be opened, or not begun."""


@part
def _set_keys(worlds, plans, keys):
    """Give every market its key (markets,), and the keys of the values that it follows."""
    for market in range(len(worlds)):
        config = worlds[market].config
        config.seed = keys[market]
        config.value_seed = keys[config.value_of]
        if market > 0:
            config.common_seed = keys[0]
        plans[market].portfolios.shared_seed = keys[0]


@routine
def _open_market(w, book, accounts, traders, watch, scratch, scores, tape, plan, rows):
    """Open every account of a market from its key; returns a status."""
    if plan.portfolios.accounts > 0:
        status = open_portfolios(w, accounts, watch, scratch, scores, plan, rows)
        if status != OPENED:
            return status
    return open_world(w, accounts, traders, watch, scratch, scores, plan, rows)


@leaf
def _nobody_acts(w, accounts):
    pass


@leaf
def _no_queue(worlds, portfolios):
    pass


@routine
def _wake(w, accounts):
    if w.activity.config.enabled != 0:
        open_activity(w, accounts)


@routine
def _queue(worlds, portfolios):
    if len(portfolios) > 0:
        open_queue(worlds, portfolios)


@part
def _many(
    drive,
    wake,
    queue,
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plans,
    rows,
    blank,
    keys,
    out,
    stop,
):
    """See :func:`many_lean`; ``wake`` readies those who act in a market, ``queue`` the portfolios of all of them."""
    for k in range(len(keys)):
        if stop[0] != 0:
            return k
        row = out[k]
        reset(worlds, books, watch, blank)
        _set_keys(worlds, plans, keys[k])
        for market in range(len(worlds)):
            w, book, held = worlds[market], books[market], accounts[market]
            opened = _open_market(
                w,
                book,
                held,
                traders[market],
                watch[market],
                scratch[market],
                scores[market],
                tapes[market],
                plans[market],
                rows,
            )
            if opened != OPENED:
                row.status = STATUS_NOT_OPENED
                return k + 1
            wake(w, held)
            opening_stock(w, book, held, watch[market], tapes[market])
        queue(worlds, portfolios)
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
            worlds[0].config.steps,
            _EVERY_PHASE,
        )
        finish_figures(worlds, books, accounts, row)
        row.stopped_by = status
        row.status = STATUS_DONE if status == lay.RETURN_DONE else STATUS_STOPPED
        if status != lay.RETURN_DONE:
            return k + 1
    return len(keys)


@kernel
def many_lean(
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plans,
    rows,
    blank,
    keys,
    out,
    stop,
):
    """Run a world once per row of keys by the lean driver.

    Parameters
    ----------
    worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios : arrays
        Of a :class:`core.drivers.state.System`; nothing is recorded on its tapes.
    plans : recarray of PLAN, shape (markets,)
        What the scenario decides about the opening.
    rows : recarray of layout.TRANSFER, shape (0,)
        No opening transfers are kept.
    blank : Blank
        The world before it was opened.
    keys : uint64, shape (n, markets)
        ``config.seed`` of each market of each run.
    out : recarray of layout.FIGURE_ROW, shape (n,)
        Overwritten as runs finish.
    stop : int64, shape (1,)
        No further run is begun when it is not 0.

    Returns
    -------
    int
        Runs made; the last of them may not have finished (see its ``status``).
    """
    return _many(
        lean,
        _nobody_acts,
        _no_queue,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        plans,
        rows,
        blank,
        keys,
        out,
        stop,
    )


@kernel
def many_full(
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    plans,
    rows,
    blank,
    keys,
    out,
    stop,
):
    """As :func:`many_lean`, by the full driver."""
    return _many(
        full,
        _wake,
        _queue,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        plans,
        rows,
        blank,
        keys,
        out,
        stop,
    )
