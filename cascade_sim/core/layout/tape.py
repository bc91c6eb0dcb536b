"""The tape: rows that kernels write and the recorder copies away."""

import functools
from typing import Any

import numpy as np

from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.agents import AGENT_FILL
from cascade_sim.core.layout.codes import (
    BANDS,
    CAUSES,
    DEPTH_BINS,
    MAP_BINS,
    MOVES,
    SERIES_CAPACITY,
    SNAPSHOTS_KEPT,
    STAGES,
)
from cascade_sim.core.layout.event import EVENT
from cascade_sim.core.layout.sizes import STANDARD, Sizes

_F = np.float64
_I = np.int64

TRADE = record(
    trade_id=_I,
    step=np.int32,
    sequence=np.int32,
    price_tick=np.int32,
    aggressor_side=np.int8,
    taker_cause=np.int8,
    maker_cause=np.int8,
    on_book=np.int8,
    quantity_lot=_I,
    amount=_I,
    taker_order=_I,
    maker_order=_I,
    taker_account=np.int32,
    maker_account=np.int32,
    taker_event=_I,
    taker_fee=_I,
    maker_fee=_I,
    mid_before=_F,
    mid_after=_F,
    mark=_F,
)

TRANSFER = record(
    transfer_id=_I,
    step=np.int32,
    kind=np.int32,
    from_account=np.int32,
    to_account=np.int32,
    event=_I,
    trade=_I,
    amount=_I,
)

SERIES = record(
    step=np.int32,
    one_sided=np.int8,
    halted=np.int8,
    throughput_binding=np.int8,
    mid=_F,
    last=_F,
    mark=_F,
    index=_F,
    fundamental=_F,
    funding_rate=_F,
    best_bid=_F,
    best_ask=_F,
    bid_depth=(_F, (BANDS,)),
    ask_depth=(_F, (BANDS,)),
    buy_volume=(_I, (CAUSES,)),
    sell_volume=(_I, (CAUSES,)),
    mark_move=(_F, (MOVES,)),
    open_interest=_I,
    distressed=_I,
    queue_accounts=_I,
    queue_notional=_F,
    closed=(_F, (STAGES,)),
    fund_cash=_I,
    fund_equity=_F,
    party_equity=_F,
    bad_debt=_I,
    socialised=_I,
    gamma=_F,
    unhedged=_F,
    forced_sale=_F,
    forced_buy=_F,
    impact=_F,
)

DEPTH_ROW = record(step=np.int32, side=np.int8, distance_bp=np.float32, quantity=_I)
"""Resting lots of one side (+1 bids) between the previous edge and ``distance_bp``."""

MAP_ROW = record(step=np.int32, accounts=np.int32, low=_F, high=_F, quantity=_I, side=np.int8)
"""Lots and accounts whose liquidation trigger lies between two prices in ticks; side of the forced order."""


@functools.cache
def tape_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the tape."""
    return record(
        trades_count=_I,
        events_count=_I,
        transfers_count=_I,
        series_count=_I,
        agent_fills_count=_I,
        depth_count=_I,
        liquidation_map_count=_I,
        trades=(TRADE, (sizes.trades,)),
        events=(EVENT, (sizes.events,)),
        transfers=(TRANSFER, (sizes.transfers,)),
        series=(SERIES, (SERIES_CAPACITY,)),
        agent_fills=(AGENT_FILL, (sizes.agent_fills,)),
        depth=(DEPTH_ROW, (2 * DEPTH_BINS * SNAPSHOTS_KEPT,)),
        liquidation_map=(MAP_ROW, (2 * MAP_BINS * SNAPSHOTS_KEPT,)),
    )


TAPE = tape_record(STANDARD)
"""The tape of the standard size class."""
