"""The figures of a run: what the marks of its steps come to, kept while it runs."""

import numpy as np

from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.codes import STAGES

_F = np.float64
_I = np.int64

FIGURES = record(
    majority=_I,
    mark_start=_F,
    mark_lowest=_F,
    mark_highest=_F,
    mark_window_end=_F,
    peak=_F,
    drawdown=_F,
    drawdown_peak=_F,
    drawdown_trough=_F,
    fingerprint=np.uint64,
)
"""In ticks and lots. ``majority`` is the position of all leveraged traders as step 0 begins; ``mark_`` are marks at and after
the start of the event window; the largest fall from a running peak counts from step 0; ``fingerprint`` hashes the mark of
every step from 0 on."""

FIGURE_ROW = record(
    status=_I,
    stopped_by=_I,
    capacity=_I,
    market=_I,
    step=_I,
    figures=FIGURES,
    mark_end=_F,
    messages=_I,
    trades=_I,
    liquidated_accounts=_I,
    liquidated_quantity=_I,
    closed=(_F, (STAGES,)),
    adl_accounts=_I,
    adl_loss=_I,
    bad_debt=_I,
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
``fingerprint`` hashes the mark of every step from 0 on, then cash and position of every account."""
