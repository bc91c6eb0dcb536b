"""Measured reference curve of the zero-intelligence book. Imports nothing of ours.

Convention: rates per side. ``eps`` = cancel rate x order size / market-order rate of one side, which equals 2 delta
sigma / mu with the rate of both sides (Smith, Farmer, Gillemot and Krishnamurthy 2003). Prices in units of mu / alpha.
The intercept of the curve is 0.43; the 0.28 of Farmer, Patelli and Zovko (2005) is reached by no simulation of the model.
"""

SPREAD = {0.005: 0.4525, 0.01: 0.470, 0.02: 0.494, 0.05: 0.551, 0.10: 0.629, 0.20: 0.760}
"""Mean spread by eps, in mu / alpha; p_c = mu / alpha is 200 ticks or more."""

DIFFUSION = {0.005: 0.102, 0.01: 0.143, 0.02: 0.195, 0.05: 0.325, 0.10: 0.480, 0.20: 0.732}
"""Diffusion of the mid over 30 lifetimes by eps, in mu^2 delta / alpha^2.

The two smallest eps were measured by exact event-by-event simulation, 48,000 and 72,000 lifetimes, standard error 2 %;
shorter samples gave 0.088 and 0.119.
"""

SHORT_DIFFUSION = {0.005: 7.75, 0.01: 5.56, 0.02: 3.88, 0.05: 2.53}
"""The same over 0.01 lifetimes."""

PERMANENT_IMPACT = 5.3
"""Ticks per market order at eps = 0.02 with p_c = 200 ticks, from one lifetime on."""

IMMEDIATE_IMPACT = 17.65
"""Ticks per market order at once, same book."""


def spread(eps: float) -> float:
    """Mean spread in mu / alpha: 0.434 + 1.094 eps^(3/4), within 0.0023 of the measured table."""
    return float(0.434 + 1.094 * eps**0.75)
