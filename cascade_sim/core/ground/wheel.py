"""Hierarchical timing wheel: what is due at a later step, at a cost that does not grow with what is waiting.

Varghese and Lauck (1987): a slot per step for the next 4096 steps, a slot per 4096 steps for the 2**24 after them, and
a slot per 2**24 steps beyond. When a coarse slot's time begins, its entries move to finer slots, so that no delay is
ever shortened. A slot is a list of chunks of a cache line or two each: reading one is a walk through memory, not from
entry to entry.
"""

from typing import Any

import numpy as np

from cascade_sim.core.ground.compile import leaf, routine
from cascade_sim.core.ground.records import emptied, record, scratch

SLOT_BITS = 12
_SLOTS = 1 << SLOT_BITS
_MASK = _SLOTS - 1
_LAST_SLOTS = 64
SLOTS = 2 * _SLOTS + _LAST_SLOTS
LONGEST_DELAY = (_LAST_SLOTS - 1) << (2 * SLOT_BITS)
"""Steps; no run is as long."""


def wheel_record(load: Any, entries: int, chunks: int) -> np.dtype[Any]:
    """Return the dtype of a wheel; a zeroed record is an empty one.

    Parameters
    ----------
    load : dtype
        What an entry carries.
    entries : int
        Entries per chunk.
    chunks : int
        Room. A slot in use holds at least one chunk.
    """
    chunk = record(load=(load, (entries,)), due=(np.int32, (entries,)), next=np.int32, held=np.int32)
    return record(
        free=np.int64,
        fresh=np.int64,
        head=emptied(np.int32, SLOTS),
        chunks=scratch(chunk, chunks + 1),
    )


@leaf
def _slot_of(now, due):
    """The slot of an entry: as fine as its distance allows."""
    if due - now < _SLOTS:
        return due & _MASK
    if (due >> SLOT_BITS) - (now >> SLOT_BITS) < _SLOTS:
        return _SLOTS + ((due >> SLOT_BITS) & _MASK)
    return 2 * _SLOTS + ((due >> (2 * SLOT_BITS)) & (_LAST_SLOTS - 1))


@routine
def schedule(wheel, now, due, load):
    """Put an entry on the wheel in step ``now``, to come out in the later step ``due``; returns 0 without room, else 1."""
    if due - now > LONGEST_DELAY:
        return 0
    slot = _slot_of(now, due)
    head = np.int64(wheel.head[slot])
    if head == 0 or wheel.chunks[head].held == len(wheel.chunks[head].due):
        fresh = wheel.free
        if fresh != 0:
            wheel.free = np.int64(wheel.chunks[fresh].next)
        else:
            fresh = wheel.fresh + 1
            if fresh >= len(wheel.chunks):
                return 0
            wheel.fresh = fresh
        wheel.chunks[fresh].held = 0
        wheel.chunks[fresh].next = head
        wheel.head[slot] = fresh
        head = fresh
    chunk = wheel.chunks[head]
    place = chunk.held
    chunk.due[place] = due
    chunk.load[place] = load
    chunk.held = place + 1
    return 1


@routine
def empty(wheel, first, last):
    """Empty every slot that entries due in the steps ``first`` to ``last`` can have used."""
    place = 0
    slots = _SLOTS
    for level in range(3):
        if level == 2:
            slots = _LAST_SLOTS
        begin = first >> (level * SLOT_BITS)
        end = last >> (level * SLOT_BITS)
        for number in range(begin, min(end, begin + slots - 1) + 1):
            wheel.head[place + (number & (slots - 1))] = 0
        place += slots


@leaf
def release(wheel, chunk):
    """Give a chunk back whose entries have been read; returns the next of the list that :func:`turn` began."""
    following = np.int64(wheel.chunks[chunk].next)
    wheel.chunks[chunk].next = wheel.free
    wheel.free = chunk
    return following


@routine
def _spread(wheel, slot, now):
    """Move the entries of a coarse slot whose time has come to finer slots; returns 0 without room, else 1."""
    link = np.int64(wheel.head[slot])
    wheel.head[slot] = 0
    while link != 0:
        chunk = wheel.chunks[link]
        for k in range(chunk.held):
            if schedule(wheel, now, np.int64(chunk.due[k]), chunk.load[k]) == 0:
                return 0
        link = release(wheel, link)
    return 1


@leaf
def turn(wheel, now):
    """Begin step ``now``, each step in turn: take out what is due, as a list of chunks.

    Returns the first chunk, 0 for none, -1 when there was no room to move what is due later.
    """
    if now & _MASK == 0:
        if now & ((1 << (2 * SLOT_BITS)) - 1) == 0:
            last = 2 * _SLOTS + ((now >> (2 * SLOT_BITS)) & (_LAST_SLOTS - 1))
            if _spread(wheel, last, now) == 0:
                return np.int64(-1)
        if _spread(wheel, _SLOTS + ((now >> SLOT_BITS) & _MASK), now) == 0:
            return np.int64(-1)
    slot = now & _MASK
    first = np.int64(wheel.head[slot])
    wheel.head[slot] = 0
    return first
