"""Brackets of a margin model: the tier that a notional falls into, and what it asks of a position that is opened.

Venues charge the initial rate, the inverse of the highest leverage of a bracket, on the whole notional, also where
maintenance is charged bracket by bracket.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.ground.compile import allocating_kernel, part, routine

Floats = NDArray[np.float64]


@part
def bracket_tier(notional: float, max_notional: Floats) -> int:
    """Return the index of the tier in force: the first whose upper bound is not exceeded, else the last."""
    tier = 0
    while tier < max_notional.size - 1 and notional > max_notional[tier]:
        tier += 1
    return tier


@routine
def initial_rate(w, value):
    """Initial margin rate of an exposure of notional ``value`` (atoms); 0 where none is configured."""
    initial = w.config.clearing.initial
    if initial.tiers == 0:
        return 0.0
    return float(initial.rate[bracket_tier(value, initial.end[: initial.tiers])])


@routine
def largest_exposure(w, worth):
    """The largest notional (atoms) that an equity of ``worth`` may open."""
    initial = w.config.clearing.initial
    largest = np.inf if initial.tiers == 0 else 0.0
    start = 0.0
    for tier in range(initial.tiers):
        end = initial.end[tier] if tier < initial.tiers - 1 else np.inf
        reach = min(worth / initial.rate[tier], end)
        if reach > start:
            largest = max(largest, reach)
        start = end
    return largest


@allocating_kernel
def bracket_tiers(notional: Floats, max_notional: Floats) -> NDArray[np.int64]:
    """Return `bracket_tier` of each notional; shapes (n,), (tiers,) give (n,)."""
    result = np.empty(notional.size, dtype=np.int64)
    for i in range(notional.size):
        result[i] = bracket_tier(notional[i], max_notional)
    return result
