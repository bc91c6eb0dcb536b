"""Layout of the lists of price triggers and of tiers of margin, and of the leveraged traders who act during a run."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch
from cascade_sim.core.ground.wheel import wheel_record
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.core.layout.codes import SORT_BUCKETS, TIER_CAPACITY
from cascade_sim.core.layout.sizes import Sizes

_F, _I = np.float64, np.int64


TRIGGERS = record(
    bits_top=(np.uint64, (1,)),
    bits_mid=(np.uint64, (WINDOW >> 12,)),
    bits_low=(np.uint64, (WINDOW >> 6,)),
    head=(np.int32, (WINDOW,)),
)
"""Accounts with a liquidation trigger on one side, by tick (see ``core/clearing/trigger_index.py``)."""

WHOLE_RATES = record(enabled=_I, ends=(_F, (TIER_CAPACITY,)))
"""Upper ends of the tiers (atoms), needed where the rate of the tier in force is charged on the whole position."""

ACTIVITY_CONFIG = record(
    enabled=_I,
    guarded=_I,
    first_account=_I,
    count=_I,
    wake_rate=_F,
    momentum_share=_F,
    rebalance_share=_F,
    trend_steps=_I,
    trend_saturation=_F,
    change=_F,
    band=_F,
    market_limit=_F,
    stop_share=_F,
    stop_low=_F,
    stop_high=_F,
    take_share=_F,
    take_low=_F,
    take_high=_F,
    call_share=_F,
    call_ratio=_F,
    call_amount=_F,
    call_rate=(_F, (TIER_CAPACITY,)),
    call_deduction=(_F, (TIER_CAPACITY,)),
    reentry_probability=_F,
    reentry_limit=_I,
    reentry_delay=_F,
)

ACTOR = record(wakes=np.int32, leverage=np.float32, entries=np.int16, side=np.int8, traits=np.int8)
"""A leveraged trader as an actor. What it would hold is its ``leverage`` times the collateral it began with."""

GUARD = record(stop=np.float32, profit=np.float32, link=(np.int32, (2, 2)))
"""Price triggers of a trader in ticks, 0 for none, and its links in the lists below and above the price."""


def activity_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of what leveraged traders do during a run.

    Leveraged traders who act during the run, one row each (see ``core/actors/account_actions.py``).
    """
    return record(
        config=ACTIVITY_CONFIG,
        origin=scratch(_I),
        lists=emptied(TRIGGERS, 2),
        starts=scratch(_I, SORT_BUCKETS + 1),
        wheel=wheel_record(np.int32, 7, sizes.wakes),
        actors=emptied(ACTOR, sizes.actors),
        guards=emptied(GUARD, sizes.actors),
        calls=emptied(np.float32, sizes.actors),
    )
