"""Index of liquidation triggers by price: a step costs the accounts that trigger, not those that exist.

Longs and shorts have a list of accounts per tick, linked through the account records, and a bitset of occupied ticks.
Trigger prices lie between ticks, so a list holds those within one tick and the walk compares each of them exactly.
Links are account ids plus one; zero ends a list.

There are lists for a window of ticks around the mark, the first of which is ``origin`` + 1; the first and the last list also
hold what lies beyond, so the index is right wherever the mark is, and it moves with the mark to stay fast.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.core.venue.window import clear_bit, next_above, next_below, set_bit

_LAST = WINDOW - 1
_MARGIN = WINDOW >> 3
"""Ticks from an end of the window at which it moves."""
_FEW = 1024
_WALK_SHARE = 128
"""Accounts, or this part of all, that are found by following links; beyond, every trigger is read."""


@leaf
def tick_of(row, price, origin):
    """The list that a trigger price belongs to: the tick at or before it on the way from distress; 0 for none."""
    if row == lay.WATCH_LIQUIDATE_LONG:
        if price <= 0.0:
            return 0
        return np.int64(max(1.0, math.floor(min(price - origin, float(_LAST)))))
    if price == np.inf:
        return 0
    return np.int64(max(1.0, math.ceil(min(price - origin, float(_LAST)))))


@leaf
def _unlink(lists, accounts, account, tick):
    row = accounts[account]
    following, before = np.int64(row.next), np.int64(row.previous)
    if before != 0:
        accounts[before - 1].next = following
    else:
        lists.head[tick] = following
        if following == 0:
            clear_bit(lists, tick)
    if following != 0:
        accounts[following - 1].previous = before


@leaf
def _link(lists, accounts, account, tick):
    row = accounts[account]
    following = np.int64(lists.head[tick])
    row.next = following
    row.previous = 0
    if following != 0:
        accounts[following - 1].previous = account + 1
    else:
        set_bit(lists, tick)
    lists.head[tick] = account + 1


@routine
def set_triggers(w, accounts, watch, account, low, high):
    """Give an account its liquidation triggers as a long, ``low`` (0: none), and as a short, ``high`` (infinity: none).

    At most one of them: an account is in one list at a time, so it leaves the old one before it joins the new one.
    """
    origin = w.control.trigger_origin
    old_low = tick_of(lay.WATCH_LIQUIDATE_LONG, watch[lay.WATCH_LIQUIDATE_LONG, account], origin)
    old_high = tick_of(lay.WATCH_LIQUIDATE_SHORT, watch[lay.WATCH_LIQUIDATE_SHORT, account], origin)
    new_low = tick_of(lay.WATCH_LIQUIDATE_LONG, low, origin)
    new_high = tick_of(lay.WATCH_LIQUIDATE_SHORT, high, origin)
    watch[lay.WATCH_LIQUIDATE_LONG, account] = low
    watch[lay.WATCH_LIQUIDATE_SHORT, account] = high
    longs, shorts = w.triggers[lay.WATCH_LIQUIDATE_LONG], w.triggers[lay.WATCH_LIQUIDATE_SHORT]
    if old_low != new_low and old_low != 0:
        _unlink(longs, accounts, account, old_low)
    if old_high != new_high and old_high != 0:
        _unlink(shorts, accounts, account, old_high)
    if old_low != new_low and new_low != 0:
        _link(longs, accounts, account, new_low)
    if old_high != new_high and new_high != 0:
        _link(shorts, accounts, account, new_high)


@leaf
def new_origin(origin, mark):
    """Where the window of lists begins now: where it did, or, if the mark is near or beyond an end, half of it below."""
    place = mark - origin
    if (place >= _MARGIN or origin == 0) and place <= WINDOW - _MARGIN:
        return origin
    return max(np.int64(0), np.int64(mark) - (WINDOW >> 1))


@routine
def empty_triggers(lists):
    """Empty every list of triggers on one side."""
    tick = next_above(lists, 0)
    while tick < WINDOW:
        lists.head[tick] = 0
        clear_bit(lists, tick)
        tick = next_above(lists, tick)


@routine
def _follow_mark(w, accounts, watch):
    """Move the window of lists with the mark: every account goes to its new list."""
    origin = new_origin(w.control.trigger_origin, w.market.mark)
    if origin == w.control.trigger_origin:
        return
    w.control.trigger_origin = origin
    for row in range(2):
        lists = w.triggers[row]
        empty_triggers(lists)
        for account in range(len(accounts)):
            tick = tick_of(row, watch[row, account], origin)
            if tick != 0:
                _link(lists, accounts, account, tick)


@part
def _walk_triggered(w, accounts, watch, out, most):
    """Follow the lists that the mark has reached; returns how many accounts were found, or -1 when more than ``most``."""
    mark = w.market.mark
    origin = w.control.trigger_origin
    count = 0
    lists = w.triggers[lay.WATCH_LIQUIDATE_LONG]
    tick = _LAST if lists.head[_LAST] != 0 else next_below(lists, _LAST)
    while tick > 0 and tick >= min(math.floor(mark) - origin, _LAST):
        link = np.int64(lists.head[tick])
        while link != 0:
            if mark <= watch[lay.WATCH_LIQUIDATE_LONG, link - 1]:
                if count == most:
                    return -1
                out[count] = link - 1
                count += 1
            link = np.int64(accounts[link - 1].next)
        tick = next_below(lists, tick)
    lists = w.triggers[lay.WATCH_LIQUIDATE_SHORT]
    tick = next_above(lists, 0)
    while tick < WINDOW and tick <= max(math.ceil(mark) - origin, 1):
        link = np.int64(lists.head[tick])
        while link != 0:
            if mark >= watch[lay.WATCH_LIQUIDATE_SHORT, link - 1]:
                if count == most:
                    return -1
                out[count] = link - 1
                count += 1
            link = np.int64(accounts[link - 1].next)
        tick = next_above(lists, tick)
    return count


@routine
def triggered(w, accounts, watch, out, scores):
    """List in ``out``, ascending, the accounts whose liquidation trigger the mark has reached; returns their number."""
    _follow_mark(w, accounts, watch)
    count = _walk_triggered(w, accounts, watch, out, max(_FEW, len(accounts) // _WALK_SHARE))
    if count >= 0:
        for k in range(count):
            scores[k] = out[k]
        sort_by_score(out, scores, count)
        return count
    # While a large part of all accounts waits to be closed, reading every trigger in order costs less than following
    # links from one account to the next and sorting what was found.
    mark = w.market.mark
    count = 0
    lows, highs = watch[lay.WATCH_LIQUIDATE_LONG], watch[lay.WATCH_LIQUIDATE_SHORT]
    for account in range(len(lows)):
        if (mark <= lows[account] and lows[account] > 0.0) or mark >= highs[account]:
            out[count] = account
            count += 1
    return count


@routine
def lots_between(w, accounts, watch, row, low, high):
    """Lots of the accounts whose liquidation trigger in ``row`` of ``watch`` lies in [low, high], 0 < low.

    Walks the occupied ticks of that range: an account without a trigger, which is in no list, is never in it.
    """
    lists = w.triggers[row]
    last = tick_of(row, high, w.control.trigger_origin)
    tick = tick_of(row, low, w.control.trigger_origin)
    if lists.head[tick] == 0:
        tick = next_above(lists, tick)
    total = np.int64(0)
    while tick <= last:
        link = np.int64(lists.head[tick])
        while link != 0:
            if low <= watch[row, link - 1] <= high:
                total += abs(accounts[link - 1].position)
            link = np.int64(accounts[link - 1].next)
        tick = next_above(lists, tick)
    return total
