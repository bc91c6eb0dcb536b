"""Orders on their way to the book: how long they take, and the pool that holds them meanwhile.

An order of a class with latency is decided in one step and reaches the book in a later one. Its way takes a fixed delay
and an exponential jitter: propagation has a least time, queues on the way add a one-sided tail with no memory. The
jitter is drawn at an address of its own, so that nobody else's draws move.

Whoever sends orders calls :func:`defer`, which every run has to compile and which therefore only writes the message
down; how long it takes is worked out when the phase is over. ``core/sessions/arrivals.py`` lets orders arrive.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.rng import PURPOSE_LATENCY, exponential, stream
from cascade_sim.core.layout.flight import FLIGHT_SLOTS
from cascade_sim.domain.enums import Cause

_QUOTE = np.int64(Cause.QUOTE)
_DRAWS_PER_CAUSE = 1 << 32
_LONGEST = 1.0e12


@routine
def defer(w, account, side, tick, quantity, order_type, cause, parent):
    """Write an order down as sent if it takes time to the book, or if the engine is busy; returns its entry in the pool.

    Returns 0 for an order that enters at once; the engine then takes one message fewer in this step. Only called while
    ``control.delaying`` is set.
    """
    flight = w.flight
    if w.config.latency.late[cause] == 0:
        if w.config.latency.messages == 0:
            return np.int64(0)
        if flight.left > 0:
            flight.left -= 1
            return np.int64(0)
    entry = flight.free
    if entry != 0:
        flight.free = np.int64(flight.pool[entry].next)
    else:
        entry = flight.fresh + 1
        if entry >= len(flight.pool):
            queued = 2 * flight.waiting > len(flight.pool)
            w.control.capacity = lay.CAPACITY_QUEUE if queued else lay.CAPACITY_FLIGHT
            return flight.fresh
        flight.fresh = entry
    message = flight.pool[entry]
    message.tick = tick
    message.quantity = quantity
    message.parent = parent
    message.lifetime = 0
    message.value = w.market.fundamental
    message.decided = w.control.step
    message.next = 0
    message.account = account
    message.side = side
    message.order_type = order_type
    message.cause = cause
    if flight.sent == 0:
        flight.sent = entry
    else:
        flight.pool[flight.sent_last].next = entry
    flight.sent_last = entry
    return entry


@part
def _number(w, account, cause):
    """How many orders for the same cause this account has sent in this step before, one after another.

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
def arrival_step(w, account, cause):
    """The step in which an order that was sent in this phase reaches the book: after delay and jitter, rounded once."""
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


@leaf
def append_waiting(w, entry):
    """Put a message that arrived at the end of the queue in front of the book."""
    flight = w.flight
    message = flight.pool[entry]
    message.next = 0
    if message.cause == _QUOTE:
        w.providers[message.account - w.config.providers.first_account].waiting += 1
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
