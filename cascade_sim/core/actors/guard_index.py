"""Stop-losses, take-profits and margin calls by price: a step costs the traders whose trigger the mark has reached.

A trader has at most one trigger below the price and one above it: a long stops out or adds margin below and takes
profit above, a short the other way round. It is in one list of traders per tick and direction, as accounts are in the
index of liquidation triggers (``core/clearing/trigger_index.py``). Links are numbers of traders plus one; zero ends a list.
"""

import math

import numpy as np

from cascade_sim.core.clearing.trigger_index import empty_triggers, new_origin, tick_of
from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.core.venue.window import clear_bit, next_above, next_below, set_bit

BELOW = 0
ABOVE = 1
_LAST = WINDOW - 1


@leaf
def _nearest(activity, number, direction):
    """The price at which a trader acts in one direction; 0 below and infinity above for never."""
    guard = activity.guards[number]
    take = np.float64(guard.profit)
    stop = np.float64(guard.stop)
    call = np.float64(activity.calls[number])
    if direction == BELOW:
        return max(stop, call) if activity.actors[number].side > 0 else take
    if activity.actors[number].side > 0:
        return take if take > 0.0 else np.inf
    return min(stop if stop > 0.0 else np.inf, call if call > 0.0 else np.inf)


@leaf
def _unlink(activity, number, direction, tick):
    lists = activity.lists[direction]
    following = np.int64(activity.guards[number].link[direction, 0])
    before = np.int64(activity.guards[number].link[direction, 1])
    if before != 0:
        activity.guards[before - 1].link[direction, 0] = following
    else:
        lists.head[tick] = following
        if following == 0:
            clear_bit(lists, tick)
    if following != 0:
        activity.guards[following - 1].link[direction, 1] = before


@leaf
def _link(activity, number, direction, tick):
    lists = activity.lists[direction]
    following = np.int64(lists.head[tick])
    activity.guards[number].link[direction, 0] = following
    activity.guards[number].link[direction, 1] = 0
    if following != 0:
        activity.guards[following - 1].link[direction, 1] = number + 1
    else:
        set_bit(lists, tick)
    lists.head[tick] = number + 1


@routine
def set_guards(activity, number, side, stop, take, call):
    """Give a trader who holds ``side`` its trigger prices in ticks, 0 for none."""
    guard = activity.guards[number]
    origin = activity.origin
    old_below = tick_of(BELOW, _nearest(activity, number, BELOW), origin)
    old_above = tick_of(ABOVE, _nearest(activity, number, ABOVE), origin)
    activity.actors[number].side = side
    guard.stop = stop
    guard.profit = take
    if activity.calls[number] != call:
        activity.calls[number] = call
    new_below = tick_of(BELOW, _nearest(activity, number, BELOW), origin)
    new_above = tick_of(ABOVE, _nearest(activity, number, ABOVE), origin)
    if old_below != new_below and old_below != 0:
        _unlink(activity, number, BELOW, old_below)
    if old_above != new_above and old_above != 0:
        _unlink(activity, number, ABOVE, old_above)
    if old_below != new_below and new_below != 0:
        _link(activity, number, BELOW, new_below)
    if old_above != new_above and new_above != 0:
        _link(activity, number, ABOVE, new_above)


@routine
def _follow_mark(activity, mark):
    """Move the window of lists with the mark: every trader goes to its new lists."""
    origin = new_origin(activity.origin, mark)
    if origin == activity.origin:
        return
    activity.origin = origin
    for direction in range(2):
        empty_triggers(activity.lists[direction])
        for number in range(activity.config.count):
            tick = tick_of(direction, _nearest(activity, number, direction), origin)
            if tick != 0:
                _link(activity, number, direction, tick)


@routine
def reached(activity, mark, out):
    """List in ``out`` the traders whose trigger the mark has reached, in no particular order; returns their number.

    Nobody is listed twice: whoever is reached in both directions is listed below.
    """
    _follow_mark(activity, mark)
    origin = activity.origin
    count = 0
    lists = activity.lists[BELOW]
    tick = _LAST if lists.head[_LAST] != 0 else next_below(lists, _LAST)
    while tick > 0 and tick >= min(math.floor(mark) - origin, _LAST):
        link = np.int64(lists.head[tick])
        while link != 0:
            if mark <= _nearest(activity, link - 1, BELOW):
                out[count] = link - 1
                count += 1
            link = np.int64(activity.guards[link - 1].link[BELOW, 0])
        tick = next_below(lists, tick)
    lists = activity.lists[ABOVE]
    tick = next_above(lists, 0)
    while tick < WINDOW and tick <= max(math.ceil(mark) - origin, 1):
        link = np.int64(lists.head[tick])
        while link != 0:
            if mark >= _nearest(activity, link - 1, ABOVE) and mark > _nearest(activity, link - 1, BELOW):
                out[count] = link - 1
                count += 1
            link = np.int64(activity.guards[link - 1].link[ABOVE, 0])
        tick = next_above(lists, tick)
    return count
