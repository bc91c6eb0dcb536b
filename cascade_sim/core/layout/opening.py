"""What the opening of a world is drawn from: everything about it that the scenario alone decides."""

import functools
from typing import Any

import numpy as np

from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.codes import TIER_CAPACITY
from cascade_sim.core.layout.sizes import STANDARD, Sizes

_F, _I = np.float64, np.int64

GRANT_CAPACITY = 16
OPENED = 0
OPEN_CAPITAL = 1
"""What :func:`core.drivers.opening.open_world` returns: done, or more collateral than balances may hold."""


GRANT = record(first_account=_I, accounts=_I, amount=_I)
"""Collateral (atoms) that each of some consecutive accounts brings in."""

HOLDERS = record(first_account=_I, accounts=_I, collateral_share=_F)

PROVIDERS = record(
    half_spread=_F,
    half_spread_dispersion=_F,
    threshold=_F,
    threshold_dispersion=_F,
    loss_limit=_F,
    loss_limit_dispersion=_F,
    capital=_I,
)
"""Half-spread in ticks; loss limit in quote currency, capital in atoms."""


def _dealer_plan(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of what dealers share.

    Premium of the whole inventory in quote currency; inventory of all dealers together in base units.
    """
    return record(gamma_shape=_I, premium=_F, lot_size=_F, inventory=(_F, (sizes.options,)))


TRADERS = record(
    first_account=_I,
    accounts=_I,
    lots=_I,
    long_lots=_I,
    long_share=_F,
    size_dispersion=_F,
    entry_spread=_F,
    inverse_low=_F,
    inverse_high=_F,
    nearest_trigger=_F,
    brackets=_I,
    bracket_end=(_F, (TIER_CAPACITY,)),
    bracket_rate=(_F, (TIER_CAPACITY,)),
    least_inverse=_F,
    tick_size=_F,
    lot_size=_F,
)
"""``accounts`` is 0 where nobody opens. Ends of brackets are notionals in quote currency, their rates initial margins."""

ENTRANTS = record(
    first_account=_I,
    accounts=_I,
    lots=_I,
    after_shock_share=_F,
    shock_seconds=_F,
    window_seconds=_F,
    run_seconds=_F,
    inverse_low=_F,
    inverse_high=_F,
)

PORTFOLIOS = record(
    first_account=_I,
    accounts=_I,
    shared_seed=np.uint64,
    further=_I,
    shared_collateral=_I,
    lots=_I,
    long_share=_F,
    hedged_share=_F,
    size_dispersion=_F,
    inverse_low=_F,
    inverse_high=_F,
)
"""Legs of portfolios. What belongs to a whole portfolio is drawn under ``shared_seed``, which all markets have in common;
``further`` says that this is not the first market, ``shared_collateral`` that legs do not stand alone."""


@functools.cache
def plan_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of what the opening of a market is drawn from.

    One record per market. ``refused`` is where the opening leaves the amount (atoms) that it could not bring in.
    """
    return record(
        initial_tick=_I,
        refused=_F,
        grants=_I,
        grant=(GRANT, (GRANT_CAPACITY,)),
        holders=HOLDERS,
        providers=PROVIDERS,
        dealers=_dealer_plan(sizes),
        traders=TRADERS,
        entrants=ENTRANTS,
        portfolios=PORTFOLIOS,
    )


PLAN = plan_record(STANDARD)
"""The plan of the standard size class."""
