"""Profiles taken every few steps: resting quantity by distance from the mid, forced quantity by price."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.book import next_above, next_below
from cascade_sim.core.book_layout import TICKS
from cascade_sim.core.compile import kernel

DEPTH_EDGES_BP = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Outer edges of the depth bins, basis points of the mid; the first bin begins at the mid."""
MAP_BINS = 40
MAP_WIDTH = 0.005
"""Bins of the liquidation map on each side of the mark, and their width as a fraction of the mark."""

DEPTH_ROW = np.dtype(
    [("step", np.int32), ("side", np.int8), ("distance_bp", np.float32), ("quantity", np.int64)]
)
"""Resting lots of one side (+1 bids) between the previous edge and ``distance_bp``."""

MAP_ROW = np.dtype(
    [
        ("step", np.int32),
        ("accounts", np.int32),
        ("low", np.float64),
        ("high", np.float64),
        ("quantity", np.int64),
        ("side", np.int8),
    ]
)
"""Lots and accounts whose liquidation trigger lies between two prices in ticks; side of the forced order."""


@kernel
def depth_profile(book: Any, mid: float, edges: NDArray[np.float64], result: NDArray[np.int64]) -> None:
    """Add the resting lots of each bin to ``result``, shape (2, bins): bids, then asks.

    ``edges`` are basis points of ``mid`` (ticks), ascending. One walk over occupied levels per side. A
    quantity on the far side of a held mid counts in the first bin, as it does in the depth columns of the
    series.
    """
    tick = book.best_bid
    for band in range(len(edges)):
        bound = mid * (1.0 - edges[band] * 1.0e-4)
        while tick > 0 and tick >= bound:
            result[0, band] += book.levels[tick].quantity_lot
            tick = next_below(book, tick)
    tick = book.best_ask
    for band in range(len(edges)):
        bound = mid * (1.0 + edges[band] * 1.0e-4)
        while tick < TICKS and tick <= bound:
            result[1, band] += book.levels[tick].quantity_lot
            tick = next_above(book, tick)


@kernel
def trigger_profile(
    accounts: Any,
    watch: NDArray[np.float64],
    mark: float,
    width: float,
    lots: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Add lots and accounts per bin of ``width`` x ``mark``, shapes (2, bins): longs below, shorts above."""
    bins = lots.shape[1]
    step = width * mark
    low = watch[lay.WATCH_LIQUIDATE_LONG]
    high = watch[lay.WATCH_LIQUIDATE_SHORT]
    for account in range(len(low)):
        side = 0
        distance = mark - low[account]
        if low[account] <= 0.0:
            side = 1
            distance = high[account] - mark
        if not (0.0 <= distance < bins * step):
            continue
        lot = abs(accounts[account].position)
        place = min(np.int64(distance / step), bins - 1)
        if lot > 0:
            lots[side, place] += lot
            count[side, place] += 1


def snapshot_depth(book: Any, mid_tick: float, step: int) -> NDArray[Any]:
    """Return the depth profile of a book.

    Parameters
    ----------
    book : record
        One record of :data:`book_layout.BOOK`.
    mid_tick : float
        Mid in ticks, the last one while the book is one-sided.
    step : int
        Step to stamp on the rows.

    Returns
    -------
    structured ndarray of DEPTH_ROW, shape (20,)
        Ten bins of bids from the mid down, then ten of asks from the mid up; lots in each bin, not
        cumulative.
    """
    bins = len(DEPTH_EDGES_BP)
    lots = np.zeros((2, bins), np.int64)
    depth_profile(book, float(mid_tick), np.array(DEPTH_EDGES_BP), lots)
    rows = np.empty(2 * bins, DEPTH_ROW)
    rows["step"] = step
    rows["side"] = np.repeat(np.array([1, -1], np.int8), bins)
    rows["distance_bp"] = np.tile(np.array(DEPTH_EDGES_BP, np.float32), 2)
    rows["quantity"] = lots.ravel()
    return rows


def snapshot_map(accounts: Any, watch: NDArray[np.float64], mark_tick: float, step: int) -> NDArray[Any]:
    """Return the map of liquidation triggers around the mark.

    Parameters
    ----------
    accounts : recarray of layout.ACCOUNT, shape (accounts,)
        Accounts.
    watch : float64, shape (WATCHES, accounts)
        Trigger prices in ticks.
    mark_tick : float
        Mark in ticks.
    step : int
        Step to stamp on the rows.

    Returns
    -------
    structured ndarray of MAP_ROW, shape (80,)
        Ascending in price: 40 bins of 0.5 % of the mark below it (longs, side -1), 40 above it (shorts,
        side +1). Accounts whose trigger the mark has already passed are in none.
    """
    lots = np.zeros((2, MAP_BINS), np.int64)
    count = np.zeros((2, MAP_BINS), np.int64)
    mark = float(mark_tick)
    trigger_profile(accounts, watch, mark, MAP_WIDTH, lots, count)
    edges = mark * (1.0 + MAP_WIDTH * np.arange(-MAP_BINS, MAP_BINS + 1))
    rows = np.empty(2 * MAP_BINS, MAP_ROW)
    rows["step"] = step
    rows["low"] = edges[:-1]
    rows["high"] = edges[1:]
    rows["side"] = np.repeat(np.array([-1, 1], np.int8), MAP_BINS)
    rows["quantity"] = np.concatenate((lots[0, ::-1], lots[1]))
    rows["accounts"] = np.concatenate((count[0, ::-1], count[1]))
    return rows
