"""Memory layout of one order book: a single record, so that kernels receive one pointer."""

import functools
from typing import Any

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch
from cascade_sim.core.layout.sizes import STANDARD, Sizes

WINDOW_BITS = 18
WINDOW = 1 << WINDOW_BITS
"""Prices that a book has a level for: those above its ``origin``, below ``origin`` + WINDOW."""
INDEX_BITS = WINDOW_BITS + 1
INDEX_MASK = (1 << INDEX_BITS) - 1
NO_BID = 0
NO_ASK = (1 << 63) - 1
"""The best price of a side where nobody is; prices lie between the two."""
MARKET_TICKS = 1 << 31
"""No market has a price of that many ticks: its trades are recorded with 32 bits each. A book alone has no such bound."""
ORDER_SLOT_BITS = 24
ORDER_SLOT_MASK = (1 << ORDER_SLOT_BITS) - 1
"""Bits of an order's id that name its slot, in a book of any size class; those above are its serial number."""
FILL_CAPACITY = 4096
"""Fills reported per call; an order that makes more is continued by its caller."""

ORDER = record(
    key=np.uint32,
    quantity_lot=np.int32,
    next=np.uint32,
    previous=np.uint32,
    owner=np.int32,
    serial=np.uint32,
)
"""What matching touches: 24 bytes. ``key`` is the number of the level that the order waits in, plus the cause shifted by
:data:`INDEX_BITS`. A free slot has quantity 0 and links the free list through ``next``. The event that provoked an order is
kept apart, in ``parents``: only records need it; so is the price of one outside of the window, in ``far_ticks``."""

LEVEL = record(head=np.uint32, tail=np.uint32, quantity_lot=np.int64)

FILL = record(
    price_tick=np.int64,
    quantity=np.int32,
    maker=np.int32,
    taker=np.int32,
    maker_cause=np.int8,
    pad=(np.int8, (3,)),
    maker_order_id=np.int64,
)


@functools.cache
def book_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of one order book.

    ``ticks`` is the first price that is too high for an order. Level 0 is nobody's price; those from 1 on are the prices of
    the window, and the second half of them holds the orders outside of it (:mod:`cascade_sim.core.venue.window`). ``pad`` lets
    the arrays begin with a line of the cache, so that no level lies on two.
    """
    return record(
        best_bid=np.int64,
        best_ask=np.int64,
        origin=np.int64,
        ticks=np.int64,
        free_slot=np.int64,
        fresh_slot=np.int64,
        live_orders=np.int64,
        serial=np.int64,
        fill_count=np.int64,
        fill_limit=np.int64,
        self_trade=np.int64,
        anonymous=np.int64,
        interrupt=np.int64,
        withdrawn=np.int64,
        messages=np.int64,
        status=np.int64,
        pad=(np.int64, (7,)),
        bits_top=emptied(np.uint64, 2),
        bits_mid=emptied(np.uint64, 2 * WINDOW >> 12),
        bits_low=emptied(np.uint64, 2 * WINDOW >> 6),
        fills=scratch(FILL, FILL_CAPACITY),
        levels=emptied(LEVEL, 2 * WINDOW),
        orders=scratch(ORDER, sizes.orders),
        parents=scratch(np.int64, sizes.orders),
        far_ticks=scratch(np.int64, sizes.orders),
    )


BOOK = book_record(STANDARD)
"""The book of the standard size class."""

INTERRUPT_NONE = 0
INTERRUPT_REPORT_FULL = 1
INTERRUPT_SELF_TRADE = 2
"""Why matching stopped with quantity left that the book could have traded."""

STATUS_OK = 0
STATUS_ORDERS_FULL = 1
STATUS_PRICE_OUTSIDE = 2


def order_ticks(book, slots):
    """Prices of orders by their slots, shape (n,): what kernels ask `core.venue.window.tick_of_order` for, for Python.

    ``origin`` stands for none, in the queue of level 0.
    """
    places = np.asarray(book.orders["key"][slots], np.int64) & INDEX_MASK
    far = places >= WINDOW
    # Only inside of the window is a sum with its origin sure to be a price of 64 bits.
    return np.where(far, np.asarray(book.far_ticks)[slots], int(book.origin) + np.where(far, 0, places))
