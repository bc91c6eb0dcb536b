"""Records of a venue's rules: price band, circuit breaker, caps, and the pool of the call auction."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import record, scratch
from cascade_sim.core.layout.codes import BREAKER_LEVELS, CLASSES
from cascade_sim.core.layout.sizes import Sizes

_F = np.float64
_I = np.int64

VENUE_CONFIG = record(
    gate=_I,
    band=_I,
    band_reference=_I,
    half_width=_F,
    average_memory=_F,
    update_steps=_I,
    limit_steps=_I,
    band_halt_steps=_I,
    levels=_I,
    level_move=(_F, (BREAKER_LEVELS,)),
    level_halt_steps=(_I, (BREAKER_LEVELS,)),
    window_steps=_I,
    breaker_price=_I,
    on_falls=_I,
    on_rises=_I,
    open_interest_cap=_I,
    minimum_notional=_I,
    position_cap=(_I, (CLASSES,)),
)
"""Caps in lots, negative where there is none; ``limit_steps`` negative: a limit state never halts; ``window_steps`` 0:
moves count from the start of the session; ``minimum_notional`` in atoms, 0 for none."""


def venue_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of what a venue's rules keep.

    ``limit`` holds, by slot of the book, the price of an order in the pool with the sign of its side. Index 0 of
    ``quoted``, ``pooled`` and ``pool`` is the buying side, 1 the selling side.
    """
    return record(
        lower=_I,
        upper=_I,
        started=_I,
        reference=_F,
        average=_F,
        next_update=_I,
        limit_since=_I,
        halted_until=_I,
        halt_event=_I,
        halted_steps=_I,
        halt_rule=_I,
        start_price=_F,
        reopening_trade=_I,
        reopening_price=_F,
        levels_down=_I,
        levels_up=_I,
        window_start=_I,
        high=_F,
        low=_F,
        high_step=_I,
        low_step=_I,
        quoted=(_I, (2,)),
        pooled=(_I, (2,)),
        past=scratch(_F, sizes.lookback),
        pool=scratch(_I, 2, sizes.auction),
        pool_key=scratch(_F, 2, sizes.auction),
        limit=scratch(np.int32, sizes.orders),
    )
