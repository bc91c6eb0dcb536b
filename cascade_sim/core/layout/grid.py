"""The option grid as dealers hedge it: an array per property."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import record, scratch
from cascade_sim.core.layout.sizes import Sizes


def grid_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the option grid.

    The options of :data:`layout.OPTION` again, an array per property: logarithm of forward ratio over strike in ticks, years
    to expiry at the start, volatility, +1 for a call and -1 for a put, forward ratio, and the delta per lot.
    """
    each = (np.float64, (sizes.options,))
    return record(
        log_ratio=each,
        years=each,
        volatility=each,
        sign=each,
        scale=each,
        delta=scratch(np.float64, sizes.options),
    )
