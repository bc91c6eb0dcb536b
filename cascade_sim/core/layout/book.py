"""Memory layout of one order book: a single record, so that kernels receive one pointer."""

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch

PRICE_BITS = 18
TICKS = 1 << PRICE_BITS
"""Prices are 1 .. TICKS - 1; 0 means "no bid", TICKS "no ask"."""
ORDER_SLOT_BITS = 21
ORDER_CAPACITY = 1 << ORDER_SLOT_BITS
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
"""What matching touches: 24 bytes. ``key`` is the price in ticks plus the cause times :data:`TICKS`. A free slot has
quantity 0 and links the free list through ``next``. The event that provoked an order is kept apart, in ``parents``: only
records need it."""

LEVEL = record(head=np.uint32, tail=np.uint32, quantity_lot=np.int64)

FILL = record(
    price_tick=np.int32,
    quantity=np.int32,
    maker=np.int32,
    taker=np.int32,
    maker_order_id=np.int64,
    maker_cause=np.int8,
    pad=(np.int8, (7,)),
)

BOOK = record(
    best_bid=np.int64,
    best_ask=np.int64,
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
    bits_top=emptied(np.uint64, 1),
    bits_mid=emptied(np.uint64, TICKS >> 12),
    bits_low=emptied(np.uint64, TICKS >> 6),
    fills=scratch(FILL, FILL_CAPACITY),
    levels=emptied(LEVEL, TICKS + 1),
    orders=scratch(ORDER, ORDER_CAPACITY),
    parents=scratch(np.int64, ORDER_CAPACITY),
)

INTERRUPT_NONE = 0
INTERRUPT_REPORT_FULL = 1
INTERRUPT_SELF_TRADE = 2
"""Why matching stopped with quantity left that the book could have traded."""

STATUS_OK = 0
STATUS_ORDERS_FULL = 1
STATUS_PRICE_OUTSIDE = 2
