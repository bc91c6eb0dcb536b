"""The world of one market: control, prices, totals, actors, and everything they keep."""

import functools
from typing import Any

import numpy as np

from cascade_sim.core.ground.records import constant, emptied, record, rows, scratch
from cascade_sim.core.ground.wheel import wheel_record
from cascade_sim.core.layout.activity import TRIGGERS, activity_record
from cascade_sim.core.layout.codes import (
    CAUSES,
    CLASSES,
    FORCED_BINS,
    MOVES,
    STAGES,
    WAITING_PER_CHUNK,
    WATERFALL_CAPACITY,
)
from cascade_sim.core.layout.config import config_record
from cascade_sim.core.layout.event import EVENT
from cascade_sim.core.layout.figures import FIGURES
from cascade_sim.core.layout.flight import flight_record
from cascade_sim.core.layout.grid import grid_record
from cascade_sim.core.layout.prices import prices_record
from cascade_sim.core.layout.reducing import reducing_record
from cascade_sim.core.layout.sizes import STANDARD, Sizes
from cascade_sim.core.layout.venue import venue_record

_F = np.float64
_I = np.int64

CONTROL = record(
    step=_I,
    phase=_I,
    market=_I,
    prepared=_I,
    before=scratch(_I),
    after=scratch(_I),
    delaying=_I,
    stage=_I,
    rounds_done=_I,
    cursor=_I,
    answered=_I,
    request=_I,
    request_account=_I,
    request_quantity=_I,
    request_tick=_I,
    decided=_I,
    place=_I,
    defaulting=_I,
    listed=_I,
    handled=_I,
    capacity=_I,
    sequence=_I,
    next_event=_I,
    next_trade=_I,
    next_transfer=_I,
    arrival=_I,
    next_agents=_I,
    refusal=_I,
    open_lots=_F,
    reducing=_I,
    trigger_origin=_I,
)
"""``open_lots`` rest for margined accounts, all of them together; as many entries as ``reducing`` says stand in the lists of
reduce-only orders; ``refusal`` is why the last order was not taken whole."""


def _market(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the prices of a market."""
    return record(
        fundamental=_F,
        previous_fundamental=_F,
        quoted_fundamental=_F,
        mid=_F,
        mark=_F,
        index=_F,
        last=_F,
        linear_price=_F,
        linear_residue=_F,
        basis=_F,
        asked_mark=_F,
        slow_mid=_F,
        hedge_mid=_F,
        provider_mid=_F,
        own_mid=_F,
        volatility=_F,
        imbalance=_F,
        value_carry=_F,
        arbitrage_carry=_F,
        cross_carry=_F,
        cross_rest=_F,
        unwind_carry=(_F, (WATERFALL_CAPACITY,)),
        one_sided=_I,
        halted=_I,
        mark_held=_I,
        screened_mark=_F,
        travelled=_F,
        mid_move=(_F, (MOVES,)),
        mark_gap=(_F, (MOVES,)),
        mark_move=(_F, (MOVES,)),
        mid_ring=emptied(_F, sizes.lookback),
        smooth_ring=emptied(_F, sizes.lookback),
    )


TOTALS = record(
    cash=_I,
    position=_I,
    open_interest=_I,
    margined_longs=_I,
    trades=_I,
    messages_start=_I,
    checks=_I,
    check_failures=_I,
    crossed_books=_I,
    liquidated_accounts=_I,
    liquidated_quantity=_I,
    closed=(_F, (STAGES,)),
    covered=(_I, (STAGES,)),
    adl_accounts=_I,
    liquidation_loss=_I,
    bad_debt=_I,
    socialised=_I,
    external=_I,
    fees=_I,
    refused_orders=_I,
    buy_volume=(_I, (CAUSES,)),
    sell_volume=(_I, (CAUSES,)),
    adl_loss=_I,
    first_liquidation_step=_I,
    first_adl_step=_I,
    defaults=_I,
    decided=_F,
    shortfall=_F,
    added=(_I, (CLASSES,)),
)
"""``closed`` is the notional that each stage of the pipeline closed, ``covered`` the bad debt that it bore; ``defaults``
counts parties of the waterfall that could not pay for what they hold. Of what was closed by force in the book, ``decided`` is
the value at the mark that decided it (atoms), ``shortfall`` what it fetched less. ``added`` is the collateral that a class
brought in."""

STEP = record(
    turnover=_I,
    distressed=_I,
    queue_accounts=_I,
    queue_notional=_F,
    buy_volume=(_I, (CAUSES,)),
    sell_volume=(_I, (CAUSES,)),
    closed=(_F, (STAGES,)),
    forced=_I,
    taken=_I,
    throughput_binding=_I,
    gamma=_F,
    unhedged=_F,
    forced_sale=_F,
    forced_buy=_F,
)
"""``forced`` lots were closed by force in this step, ``taken`` of them outside the book."""


def _provider(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of a liquidity provider.

    ``quotes`` of the ``ids`` may still rest; ``waiting`` messages wait for the engine; the last one sent is ``due`` then.
    """
    return record(
        account=_I,
        half_spread=_F,
        threshold=_F,
        size_factor=_F,
        loss_limit=_I,
        peak_equity=_I,
        paused_until=_I,
        paused=_I,
        quotes=_I,
        waiting=_I,
        due=_I,
        quoted=_F,
        ids=(_I, (2 * sizes.levels,)),
    )


def _dealer(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of an options dealer."""
    return record(
        account=_I,
        phase=_F,
        delta=_F,
        hedges=_I,
        pending=_I,
        inventory=scratch(_F, sizes.options),
    )


OPTION = record(strike=_F, years=_F, volatility=_F, forward_ratio=_F, delta=_F, gamma=_F, is_call=_I)


@functools.cache
def world_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the world of one market; ``wheel`` has the ids of resting orders by the step of their expiry."""
    return record(
        config=config_record(sizes),
        control=CONTROL,
        market=_market(sizes),
        totals=TOTALS,
        figures=FIGURES,
        forced=scratch(_I, FORCED_BINS),
        now=STEP,
        draft=EVENT,
        providers=rows(_provider(sizes), sizes.providers, "config.providers.count"),
        acting=scratch(_I, sizes.providers),
        dealers=rows(_dealer(sizes), sizes.dealers, "config.dealers.count"),
        options=rows(OPTION, sizes.options, "config.dealers.options"),
        grid=constant(grid_record(sizes)),
        wheel=wheel_record(_I, WAITING_PER_CHUNK, sizes.expiries),
        triggers=emptied(TRIGGERS, 2),
        flight=flight_record(sizes),
        reducing=reducing_record(sizes),
        prices=prices_record(sizes),
        venue=venue_record(sizes),
        activity=activity_record(sizes),
    )


WORLD = world_record(STANDARD)
"""The world of the standard size class."""
