"""When somebody is looked at: nobody is for merely existing.

Whose requirement follows from one price has a trigger, and stands in the index by price
(:mod:`cascade_sim.core.clearing.trigger_index`). Everybody else says, whenever looked at, how far marks must at least travel
before anything can happen, and stands in a queue by that distance, a binary heap kept here.

With slack S (equity less requirement) and positions of notional N_k whose requirement changes at most by m_k with each unit
of notional, a relative move of all marks by at most e^x - 1 costs at most (e^x - 1) sum N_k (1 + m_k). Nothing can happen
while x < log(1 + S / sum N_k (1 + m_k)), unless a requirement jumps, so no look is farther than the nearest jump. The
distance that the marks have travelled is the sum over screens of the largest log move of any mark; it is never less than
the net move of any of them.
"""

import math

import numpy as np

from cascade_sim.core.ground.compile import kernel, leaf, part, routine

_CAUTION = 1.0 - 1.0e-9
"""Against rounding of sums and logarithms."""


@leaf
def _swap(looks, a, b):
    first, second = looks[a].entry, looks[b].entry
    looks[a].entry = second
    looks[b].entry = first
    looks[second].place = a
    looks[first].place = b


@routine
def set_due(looks, number, due):
    """Give one of those in the queue the distance at which it is looked at again, and keep the queue a heap."""
    looks[number].due = due
    place = looks[number].place
    while place > 0:
        above = (place - 1) >> 1
        if looks[looks[above].entry].due <= due:
            break
        _swap(looks, place, above)
        place = above
    while True:
        child = 2 * place + 1
        if child >= len(looks):
            break
        earliest = looks[looks[child].entry].due
        if child + 1 < len(looks) and looks[looks[child + 1].entry].due < earliest:
            child += 1
            earliest = looks[looks[child].entry].due
        if due <= earliest:
            break
        _swap(looks, place, child)
        place = child


@kernel
def open_queue(worlds, looks):
    """Queue everybody for a first look at the next screen, from the marks as they are."""
    for k in range(len(looks)):
        looks[k].due = 0.0
        looks[k].entry = k
        looks[k].place = k
    for market in range(len(worlds)):
        worlds[market].market.screened_mark = worlds[market].market.mark


@part
def travel(worlds):
    """Add the largest log move of any mark since the last screen to the distance that marks have travelled."""
    farthest = 0.0
    for market in range(len(worlds)):
        prices = worlds[market].market
        if prices.mark != prices.screened_mark:
            farthest = max(farthest, abs(math.log(prices.mark / prices.screened_mark)))
            prices.screened_mark = prices.mark
    worlds[0].market.travelled += farthest


@leaf
def first_due(worlds, looks):
    """The number of the one that is due and has been for longest; -1 if nobody is."""
    if len(looks) == 0:
        return np.int64(-1)
    number = np.int64(looks[0].entry)
    return number if looks[number].due <= worlds[0].market.travelled else np.int64(-1)


@part
def look_after(worlds, looks, number, slack, exposed, reach):
    """Look at somebody again no later than its slack can be used up, or than ``reach``, the log move to the nearest jump.

    ``exposed`` is sum N_k (1 + m_k); where it is zero, or the slack is not above zero, no move of marks changes anything.
    """
    due = np.inf
    if slack > 0.0 and exposed > 0.0:
        due = worlds[0].market.travelled + min(math.log1p(slack / exposed), reach) * _CAUTION
    set_due(looks, number, due)
