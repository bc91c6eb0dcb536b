"""Depth profile and liquidation map, taken between two steps in kernel units (:mod:`core.layout`)."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import routine
from cascade_sim.core.venue.window import resting_between


@routine
def depth_profile(book, mid, step, rows):
    """Write the resting lots of each bin to ``rows``: bids from the mid down, then asks from the mid up.

    The bins are those of :data:`codes.DEPTH_EDGES_BP` around ``mid`` (ticks). A quantity on the far side of a held
    mid counts in the first bin, as it does in the depth columns of the series.
    """
    high = np.int64(book.best_bid)
    low = np.int64(book.best_ask)
    for band in range(lay.DEPTH_BINS):
        bid, ask = rows[band], rows[lay.DEPTH_BINS + band]
        edge = np.int64(math.ceil(mid * (1.0 - lay.DEPTH_EDGES_BP[band] * 1.0e-4)))
        bid.step, bid.side, bid.distance_bp = step, 1, lay.DEPTH_EDGES_BP[band]
        bid.quantity = resting_between(book, edge, high)
        high = min(high, edge - 1)
        edge = np.int64(math.floor(mid * (1.0 + lay.DEPTH_EDGES_BP[band] * 1.0e-4)))
        ask.step, ask.side, ask.distance_bp = step, -1, lay.DEPTH_EDGES_BP[band]
        ask.quantity = resting_between(book, low, edge)
        low = max(low, edge + 1)


@routine
def trigger_profile(accounts, watch, mark, step, rows):
    """Write lots and accounts by liquidation trigger to ``rows``, ascending in price.

    :data:`codes.MAP_BINS` bins of :data:`codes.MAP_WIDTH` of the mark (ticks) lie below it (longs, side -1) and as many
    above it (shorts, side +1). Accounts whose trigger the mark has already passed are in none.
    """
    bins = lay.MAP_BINS
    for place in range(2 * bins):
        row = rows[place]
        row.step = step
        row.low = mark * (1.0 + lay.MAP_WIDTH * (place - bins))
        row.high = mark * (1.0 + lay.MAP_WIDTH * (place - bins + 1))
        row.side = -1 if place < bins else 1
        row.quantity = 0
        row.accounts = 0
    width = lay.MAP_WIDTH * mark
    low = watch[lay.WATCH_LIQUIDATE_LONG]
    high = watch[lay.WATCH_LIQUIDATE_SHORT]
    for account in range(len(low)):
        above = low[account] <= 0.0
        distance = high[account] - mark if above else mark - low[account]
        if not (0.0 <= distance < bins * width):
            continue
        lot = abs(accounts[account].position)
        if lot > 0:
            place = min(np.int64(distance / width), bins - 1)
            row = rows[bins + place if above else bins - 1 - place]
            row.quantity += lot
            row.accounts += 1


@routine
def take_snapshots(w, book, accounts, watch, tape):
    """Write down the book and the map where the step that comes next is one at which they are taken."""
    step = w.control.step
    config = w.config
    if step < 0 or config.record < lay.RECORD_FULL:
        return
    if step % config.depth_every == 0 and config.formation == lay.FORMATION_BOOK:
        place = tape.depth_count
        rows = tape.depth[place : place + 2 * lay.DEPTH_BINS]
        depth_profile(book, w.market.mid, step, rows)
        tape.depth_count = place + 2 * lay.DEPTH_BINS
    if step % config.map_every == 0:
        place = tape.liquidation_map_count
        rows = tape.liquidation_map[place : place + 2 * lay.MAP_BINS]
        trigger_profile(accounts, watch, w.market.mark, step, rows)
        tape.liquidation_map_count = place + 2 * lay.MAP_BINS
