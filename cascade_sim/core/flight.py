"""Orders on their way to the book: how long they take, and the pool that holds them meanwhile.

An order of a class with latency is decided in one step and reaches the book in a later one. Its way takes a fixed delay
and an exponential jitter: propagation has a least time, queues on the way add a one-sided tail with no memory. The
jitter is drawn at an address of its own, so that nobody else's draws move. ``core/latency.py`` lets orders arrive.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.compile import leaf, part, routine
from cascade_sim.core.flight_layout import FLIGHT_SLOTS, NOWHERE
from cascade_sim.core.rng import PURPOSE_LATENCY, exponential, stream
from cascade_sim.domain.enums import Cause, OrderType

_QUOTE = np.int64(Cause.QUOTE)
_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_DRAWS_PER_CAUSE = 1 << 32
_LONGEST = 1.0e12


@part
def _number(w, account, cause):
    """How many orders for the same cause this account has sent in this step before, in one go.

    A provider's ladder travels as a whole: all of it is number 0.
    """
    if cause == _QUOTE:
        return np.int64(0)
    flight = w.flight
    same = flight.sender[cause] == account and flight.sent_step[cause] == w.control.step
    number = flight.number[cause] + 1 if same else np.int64(0)
    flight.sender[cause] = account
    flight.sent_step[cause] = w.control.step
    flight.number[cause] = number
    return number


@part
def _arrival_step(w, account, cause):
    """The step in which an order that is sent now reaches the book: now plus delay and jitter, to the nearest step."""
    config = w.config.latency
    wait = config.delay[cause]
    jitter = config.jitter[cause]
    step = w.control.step
    if jitter > 0.0:
        key = stream(w.config.seed, PURPOSE_LATENCY, step)
        wait += jitter * exponential(key, account, cause * _DRAWS_PER_CAUSE + _number(w, account, cause))
    due = step + np.int64(math.floor(min(wait, _LONGEST) + 0.5))
    if cause == _QUOTE:
        # One connection per provider: a later ladder does not overtake an earlier one.
        provider = w.providers[account - w.config.providers.first_account]
        due = max(due, provider.due)
        provider.due = due
    return due


@part
def _new_entry(w):
    flight = w.flight
    entry = flight.free
    if entry != 0:
        flight.free = np.int64(flight.pool[entry].next)
        return entry
    entry = flight.fresh + 1
    if entry >= NOWHERE:
        w.control.capacity = lay.CAPACITY_FLIGHT
        return NOWHERE
    flight.fresh = entry
    return entry


@leaf
def append_waiting(flight, entry):
    """Put a message that arrived at the end of the queue in front of the book."""
    flight.pool[entry].next = 0
    if flight.waiting == 0:
        flight.front = entry
    else:
        flight.pool[flight.back].next = entry
    flight.back = entry
    flight.waiting += 1


@leaf
def append_due(flight, phase, entry):
    """Put a message at the end of the list of its phase and step of arrival."""
    message = flight.pool[entry]
    message.next = 0
    slot = phase * FLIGHT_SLOTS + (message.due & (FLIGHT_SLOTS - 1))
    last = np.int64(flight.tail[slot])
    if last == 0:
        flight.head[slot] = entry
    else:
        flight.pool[last].next = entry
    flight.tail[slot] = entry


@routine
def _enqueue(w, due, account, side, tick, quantity, order_type, cause, parent):
    """Write a message down and put it on its way, or in the queue when it is there already. Returns its entry."""
    late = due >= w.config.steps
    entry = NOWHERE if late else _new_entry(w)
    flight = w.flight
    message = flight.pool[entry]
    message.tick = tick
    message.quantity = quantity
    message.parent = parent
    message.lifetime = 0
    message.value = w.market.fundamental
    message.due = due
    message.decided = w.control.step
    message.account = account
    message.side = side
    message.order_type = order_type
    message.cause = cause
    if entry != NOWHERE:
        if due <= w.control.step:
            append_waiting(flight, entry)
        else:
            append_due(flight, w.config.latency.phase[cause], entry)
    return entry


@routine
def defer(w, account, side, tick, quantity, order_type, cause, parent):
    """Put an order on its way if it takes any time to the book, or if the engine is busy.

    Returns its entry in the pool, or 0 for an order that enters at once: the engine's messages of this step are then
    fewer by one. Only called while ``control.delaying`` is set.
    """
    due = _arrival_step(w, account, cause)
    if due <= w.control.step:
        if w.config.latency.messages == 0:
            return np.int64(0)
        if w.flight.left > 0:
            w.flight.left -= 1
            return np.int64(0)
    return _enqueue(w, due, account, side, tick, quantity, order_type, cause, parent)


@routine
def hold_quotes(w, index, bucket):
    """Send the cancellation of a provider's quotes on its way; returns how many of them, the first, rest for now."""
    provider = w.providers[index]
    due = _arrival_step(w, provider.account, _QUOTE)
    kept = provider.quotes
    if due <= w.control.step:
        if w.config.latency.messages == 0:
            return np.int64(0)
        gone = min(w.flight.left, kept)
        w.flight.left -= gone
        kept -= gone
        if kept == 0:
            return kept
    _enqueue(w, due, provider.account, np.int64(1), bucket, np.int64(0), _SLIDE, _QUOTE, lay.NO_EVENT)
    return kept
