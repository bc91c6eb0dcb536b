"""Replay of a recorded message stream through one book, as fast as the book goes.

The book's own matching is copied into the loop: entering a kernel costs as much as many a message. Beside the order
itself a cancel touches four bytes that it cannot foresee, the slot that its message names; streams are long, so these
bytes are mostly far away.
"""

import numpy as np

from cascade_sim.core.ground.compile import kernel, part
from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.book import (
    INTERRUPT_NONE,
    INTERRUPT_REPORT_FULL,
    NO_ASK,
    ORDER_SLOT_BITS,
    ORDER_SLOT_MASK,
)
from cascade_sim.core.venue.book import SERIAL_MASK, rest, trade, withdraw

MESSAGE = record(kind=np.int32, side=np.int32, price=np.int32, quantity=np.int32)
REPLAY_OWNERS = 1024
_KIND_LIMIT = 0
_KIND_CANCEL = 1
_KIND_MARKET = 2


@part
def _is_right(message, index):
    """Whether a message can be applied; without branches, which random kinds would make slow."""
    kind, side, price, quantity = message.kind, message.side, message.price, message.quantity
    cancel_ok = (kind == _KIND_CANCEL) & (price >= 0) & (price < index)
    entered_ok = ((side == 1) | (side == -1)) & (quantity >= 1)
    limit_ok = (kind == _KIND_LIMIT) & (price >= 1)
    return cancel_ok | (entered_ok & (limit_ok | (kind == _KIND_MARKET)))


@kernel
def first_wrong_message(messages):
    """Index of the first of ``messages`` that :func:`replay` would not understand, -1 if there is none."""
    wrong = 0
    for index in range(len(messages)):
        wrong += not _is_right(messages[index], index)
    if wrong == 0:
        return -1
    for index in range(len(messages)):
        if not _is_right(messages[index], index):
            return index
    return -1


@kernel
def replay(book, messages, slots, tape):
    """Apply ``messages`` (n,) of :data:`MESSAGE`; write fills (m, 4) int32 to ``tape``.

    ``slots`` (n,) int32 receives the slot of each limit order that rests, 0 for other messages. The order of message i
    has the serial number i + 1 after the book's last, so that slot and index make its id. A fill is price, signed
    quantity of the taker, maker, taker; the owner of message i is i mod 1024. Returns the number of fills, minus one
    minus the index of the message at which ``tape`` ran full.
    """
    fills = 0
    capacity = len(tape)
    first_serial = book.serial
    for index in range(len(messages)):
        message = messages[index]
        kind = message.kind
        if kind == _KIND_CANCEL:
            target = np.int64(message.price)
            serial = (first_serial + target + 1) & SERIAL_MASK
            withdraw(book, (serial << ORDER_SLOT_BITS) | np.int64(slots[target]))
            slots[index] = 0
            continue
        side = np.int64(message.side)
        left = np.int64(message.quantity)
        owner = np.int64(index & (REPLAY_OWNERS - 1))
        rests = kind == _KIND_LIMIT
        farthest = NO_ASK - 1 if side > 0 else 1
        tick = np.int64(message.price) if rests else np.int64(farthest)
        book.serial = first_serial + index
        while True:
            book.fill_count = 0
            left = trade(book, side, tick, left, owner)
            if fills + book.fill_count > capacity:
                return -1 - index
            for k in range(book.fill_count):
                fill = book.fills[k]
                tape[fills, 0] = fill.price_tick
                tape[fills, 1] = side * fill.quantity
                tape[fills, 2] = fill.maker
                tape[fills, 3] = fill.taker
                fills += 1
            if book.interrupt != INTERRUPT_REPORT_FULL:
                break
        slot = np.int64(0)
        if rests and left > 0 and book.interrupt == INTERRUPT_NONE:
            slot = rest(book, side, tick, left, owner, 0, 0) & ORDER_SLOT_MASK
        slots[index] = slot
    book.fill_count = 0
    book.serial = (first_serial + len(messages)) & SERIAL_MASK
    book.messages += len(messages)
    return fills
