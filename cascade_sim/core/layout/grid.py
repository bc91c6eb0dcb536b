"""The option grid as dealers hedge it: an array per property."""

import numpy as np

from cascade_sim.core.ground.records import record, scratch
from cascade_sim.core.layout.codes import OPTION_CAPACITY

_EACH = (np.float64, (OPTION_CAPACITY,))

GRID = record(
    log_ratio=_EACH,
    years=_EACH,
    volatility=_EACH,
    sign=_EACH,
    scale=_EACH,
    delta=scratch(np.float64, OPTION_CAPACITY),
)
"""The options of :data:`layout.OPTION` again, an array per property: logarithm of forward ratio over strike in ticks, years
to expiry at the start, volatility, +1 for a call and -1 for a put, forward ratio, and the delta per lot."""
