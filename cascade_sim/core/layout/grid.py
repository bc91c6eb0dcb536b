"""The option grid as dealers hedge it: an array per property."""

import numpy as np

from cascade_sim.core.layout.codes import OPTION_CAPACITY

GRID = np.dtype(
    [
        (name, np.float64, (OPTION_CAPACITY,))
        for name in ("log_ratio", "years", "volatility", "sign", "scale", "delta")
    ]
)
"""The options of :data:`layout.OPTION` again, an array per property: logarithm of forward ratio over strike in ticks, years
to expiry at the start, volatility, +1 for a call and -1 for a put, forward ratio, and the delta per lot."""
