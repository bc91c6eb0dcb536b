"""The figures of a run: what it comes to, kept while it runs, whatever is recorded."""

import numpy as np

from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.codes import CAUSES, CLASSES, STAGES

_F = np.float64
_I = np.int64

HOLDINGS = record(accounts=_I, cash=_I, position=_I)
"""What the accounts of a class hold together, atoms and lots."""

FIGURES = record(
    majority=_I,
    mark_begun=_F,
    mark_start=_F,
    mark_lowest=_F,
    mark_highest=_F,
    mark_window_end=_F,
    peak=_F,
    drawdown=_F,
    drawdown_peak=_F,
    drawdown_trough=_F,
    trough_step=_I,
    recovered_step=_I,
    minute_mark=_F,
    squared_returns=_F,
    returns=_I,
    least_depth=_I,
    calm_depth=_I,
    calm_steps=_I,
    volume=(_I, (CAUSES,)),
    taken=_I,
    throughput_steps=_I,
    peak_gamma=_F,
    options_begun=_F,
    began=(HOLDINGS, (CLASSES,)),
    fingerprint=np.uint64,
)
"""In ticks, lots and steps, as step 0 begins: ``majority`` is the position of all leveraged traders, ``mark_begun`` the mark,
``options_begun`` the value of the dealers' options (atoms), ``began`` what every class holds. Over the event window: ``mark_``
are marks from its beginning on, ``trough_step`` is that of the largest move against the majority, ``recovered_step`` the first
after it with half of the move undone (-1: none), ``volume`` what takers traded, of which ``taken`` changed hands outside the
book, ``least_depth`` the lots within 10 bp of the mid, both sides. From step 0 on: the largest fall from a running peak,
returns from one ``minute_mark`` to the next, ``peak_gamma`` (lots per tick times the price squared, with its sign),
``fingerprint``, a hash of all marks. ``calm_depth`` is a sum of depths over ``calm_steps``."""

FIGURE_ROW = record(
    status=_I,
    stopped_by=_I,
    capacity=_I,
    market=_I,
    step=_I,
    figures=FIGURES,
    ended=(HOLDINGS, (CLASSES,)),
    added=(_I, (CLASSES,)),
    mark_end=_F,
    options=_I,
    options_ended=_F,
    messages=_I,
    trades=_I,
    liquidated_accounts=_I,
    liquidated_quantity=_I,
    forced=_I,
    densest=_I,
    decided=_F,
    shortfall=_F,
    closed=(_F, (STAGES,)),
    covered=(_I, (STAGES,)),
    adl_accounts=_I,
    adl_loss=_I,
    bad_debt=_I,
    defaults=_I,
    socialised=_I,
    external=_I,
    fees=_I,
    refused_orders=_I,
    first_liquidation_step=_I,
    first_adl_step=_I,
    fund_cash=_I,
    fund_position=_I,
    conservation_error=_I,
    fingerprint=np.uint64,
)
"""What one run comes to: ticks, lots, atoms and steps of its first market; ``conservation_error`` is that of all markets.
``ended`` is what every class holds in the end, ``added`` the collateral that it brought in since step 0. Of the ``forced``
lots that were closed in the event window, ``densest`` fell into its densest part. ``fingerprint`` hashes the mark of every
step from 0 on, then cash and position of every account."""
