"""Replay of a recorded message stream through one book, as fast as the book goes."""

import numpy as np

from cascade_sim.core.book import cancel, submit
from cascade_sim.core.book_layout import INTERRUPT_REPORT_FULL, TICKS
from cascade_sim.core.compile import kernel, part
from cascade_sim.domain.enums import OrderType

REPLAY_OWNERS = 1024
_LIMIT = np.int64(OrderType.LIMIT)
_MARKET = np.int64(OrderType.MARKET)
_KIND_LIMIT = 0
_KIND_CANCEL = 1
_KIND_MARKET = 2


@part
def _is_right(kind, side, price, quantity, index):
    """Whether a message can be applied; without branches, which random kinds would make slow."""
    cancel_ok = (kind == _KIND_CANCEL) & (price >= 0) & (price < index)
    entered_ok = ((side == 1) | (side == -1)) & (quantity >= 1)
    limit_ok = (kind == _KIND_LIMIT) & (price >= 1) & (price < TICKS)
    return cancel_ok | (entered_ok & (limit_ok | (kind == _KIND_MARKET)))


@kernel
def first_wrong_message(messages):
    """Index of the first message that :func:`replay` would not understand, -1 if there is none.

    ``messages`` (n, 4) int32: kind, side, price, quantity.
    """
    wrong = 0
    for index in range(len(messages)):
        kind, side = messages[index, 0], messages[index, 1]
        wrong += not _is_right(kind, side, messages[index, 2], messages[index, 3], index)
    if wrong == 0:
        return -1
    for index in range(len(messages)):
        kind, side = messages[index, 0], messages[index, 1]
        if not _is_right(kind, side, messages[index, 2], messages[index, 3], index):
            return index
    return -1


@kernel
def replay(book, messages, order_ids, tape):
    """Apply ``messages`` (n, 4) int32: kind, side, price, quantity; write fills (m, 4) int32 to ``tape``.

    ``order_ids`` (n,) int64 receives the id of each limit order that rests. A fill is price, signed quantity of the
    taker, maker, taker; the owner of message i is i mod 1024. Returns the number of fills, minus one minus the index
    of the message at which ``tape`` ran full.
    """
    fills = 0
    capacity = len(tape)
    for index in range(len(messages)):
        kind = messages[index, 0]
        if kind == _KIND_CANCEL:
            order_id = order_ids[messages[index, 2]]
            if order_id != 0:
                cancel(book, order_id)
            continue
        side = np.int64(messages[index, 1])
        left = np.int64(messages[index, 3])
        owner = np.int64(index & (REPLAY_OWNERS - 1))
        if kind == _KIND_LIMIT:
            tick = np.int64(messages[index, 2])
            order_type = _LIMIT
        else:
            tick = TICKS - 1 if side > 0 else np.int64(1)
            order_type = _MARKET
        while True:
            book.fill_count = 0
            order_id, left = submit(book, side, tick, left, owner, order_type, 0, 0)
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
        book.fill_count = 0
        order_ids[index] = order_id
    return fills
