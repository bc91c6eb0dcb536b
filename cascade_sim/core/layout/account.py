"""Accounts, portfolios of accounts, and what a leveraged trader will do."""

import numpy as np

from cascade_sim.core.ground.records import record

_F = np.float64
_I = np.int64

ACCOUNT = record(
    cash=np.int64,
    position=np.int64,
    collateral=np.int64,
    entry_tick=np.float64,
    breach_event=np.int64,
    cooldown_until=np.int32,
    distressed_step=np.int32,
    first_breach_step=np.int32,
    next=np.int32,
    previous=np.int32,
    account_class=np.int8,
    traits=np.int8,
    outcome=np.int8,
    closing=np.int8,
)
"""64 bytes per account. ``cash`` is collateral minus the cost of the open position: equity = cash + position x mark.
``closing`` is 1 while the open orders of the account are being cancelled."""

PORTFOLIO = record(due=_F, entry=_I, place=_I)
"""A portfolio with a leg in every market, leg ``k`` of portfolio p in the account ``portfolio_account + p`` of market k.

It is looked at again when the marks have travelled to ``due``. Row k also holds entry k of the queue by that distance, a
binary heap of portfolios; ``place`` is where the portfolio of this row stands in it.
"""

TRADER = record(
    arrival_step=np.int32,
    account=np.int32,
    quantity=np.int64,
    inverse_leverage=np.float64,
)
"""What a leveraged account will do; rows of late entrants are sorted by arrival."""
