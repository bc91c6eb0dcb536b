"""Reduce-only orders that rest: which they are, by account."""

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch

REDUCING_BUCKETS = 1 << 12
REDUCING_CAPACITY = 1 << 19

REDUCTION = record(order_id=np.int64, side=np.int64, account=np.int32, next=np.int32)
"""``order_id`` is 0 in an entry that is not in use."""

REDUCING = record(
    free=np.int64,
    fresh=np.int64,
    stale=np.int64,
    head=emptied(np.int32, REDUCING_BUCKETS),
    pool=scratch(REDUCTION, REDUCING_CAPACITY),
)
"""Lists of the orders of accounts with the same last bits, the newest first, linked through the pool, whose entry 0 ends
them; ``stale`` is whether a position has changed outside of the book since they were cut to positions."""
