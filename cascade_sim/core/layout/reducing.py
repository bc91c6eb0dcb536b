"""Reduce-only orders that rest: which they are, by account."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch
from cascade_sim.core.layout.sizes import Sizes

REDUCING_BUCKETS = 1 << 12

REDUCTION = record(order_id=np.int64, side=np.int64, account=np.int32, next=np.int32)
"""``order_id`` is 0 in an entry that is not in use."""


def reducing_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the lists of reduce-only orders.

    Lists of the orders of accounts with the same last bits, the newest first, linked through the pool, whose entry 0 ends
    them; ``stale`` is whether a position has changed outside of the book since they were cut to positions.
    """
    return record(
        free=np.int64,
        fresh=np.int64,
        stale=np.int64,
        head=emptied(np.int32, REDUCING_BUCKETS),
        pool=scratch(REDUCTION, sizes.reducing),
    )
