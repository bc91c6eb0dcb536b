"""Every dtype that compiled and friendly code share, beside the book's own (:mod:`cascade_sim.core.book_layout`).

Inside kernels prices are ticks (float64 where they are averages), quantities lots, cash atoms of the settlement asset,
times steps; user units appear only in the recorder. Positions are signed, quantities positive with a side.
"""

import numpy as np

from cascade_sim.core.activity_layout import ACTIVITY, TRIGGERS, WHOLE_RATES
from cascade_sim.core.agent_layout import *
from cascade_sim.core.codes import *
from cascade_sim.core.deltas import GRID
from cascade_sim.core.flight_layout import FLIGHT, LATENCY_CONFIG
from cascade_sim.core.price_layout import PRICE_CONFIG, PRICES
from cascade_sim.core.venue_layout import VENUE, VENUE_CONFIG
from cascade_sim.core.wheel import wheel_record


def _record(**fields: object) -> np.dtype:
    """Build an aligned record dtype; a field is a dtype or (dtype, shape)."""
    parts: list[tuple[object, ...]] = [
        (name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in fields.items()
    ]
    return np.dtype(parts, align=True)


_F = np.float64
_I = np.int64

SWITCHES = _record(
    liquidation=_I,
    delta_hedging=_I,
    liquidity_withdrawal=_I,
    adl=_I,
    backstop=_I,
    stop_losses=_I,
    arbitrage=_I,
    funding=_I,
    impact_off=_I,
    placebo=_I,
)

FLOW_CONFIG = _record(
    kind=_I,
    limit_rate=_F,
    limit_size=_F,
    distance_scale=_F,
    distance_tail=_F,
    distance_cap=_F,
    lifetime=_F,
    value_sensitivity=_F,
    value_tilt_cap=_F,
    market_rate=_F,
    market_size=_F,
    market_limit=_F,
    imbalance_strength=_F,
    imbalance_memory=_F,
    patient_rate=_F,
    patient_orders=_I,
    patient_size=_F,
    patient_minimum=_F,
    patient_distance=_F,
    patient_lifetime=_F,
    cancel_rate=_F,
    window_ticks=_I,
    order_size=_I,
    levels=_I,
    level_rates=(_F, (QUEUE_RATES,)),
    level_cancel_rates=(_F, (QUEUE_RATES,)),
)

PROVIDER_CONFIG = _record(
    count=_I,
    levels=_I,
    first_account=_I,
    skew=_F,
    skew_exponent=_F,
    skew_cap=_F,
    reference_volatility=_F,
    smoothing=_F,
    return_steps=_I,
    requote_steps=_I,
    half_life=_F,
    threshold_exponent=_F,
    minimum_share=_F,
    recovery=_F,
    spread_exponent=_F,
    noise=_F,
    noise_seconds=_F,
    fundamental_weight=_F,
    own_average=_F,
    inventory_limit=_F,
    pause_steps=_I,
    level_distance=(_F, (LEVEL_CAPACITY,)),
    level_size=(_F, (LEVEL_CAPACITY,)),
)

DISCRETIONARY_CONFIG = _record(account=_I, threshold=_F, rate=_F, rate_cap=_F, position_cap=_F)

CROSS_CONFIG = _record(
    account=_I,
    partner=_I,
    threshold=_F,
    rate=_F,
    rate_cap=_F,
    position_cap=_F,
    tick=_F,
    lot=_F,
)
"""Arbitrage of a market against its ``partner``; ``tick`` in quote currency, ``lot`` in base units."""

TRADER_CONFIG = _record(
    first_account=_I,
    count=_I,
    trend_steps=_I,
    trend_probability=_F,
    trend_saturation=_F,
    market_limit=_F,
)

DEALER_CONFIG = _record(
    count=_I,
    first_account=_I,
    customer_account=_I,
    options=_I,
    rule=_I,
    interval=_F,
    smoothing=_F,
    band=_F,
    price_limit=_F,
    gamma_every=_I,
)

CLEARING_CONFIG = _record(
    tiers=_I,
    tier_rate=(_F, (TIER_CAPACITY,)),
    tier_deduction=(_F, (TIER_CAPACITY,)),
    whole=WHOLE_RATES,
    priority=_I,
    sizing=_I,
    adl=_I,
    fraction=_F,
    cooldown_steps=_I,
    full_below=_I,
    full_below_share=_F,
    accounts_per_step=_I,
    rounds=_I,
    fee_rate=_F,
    floor=_F,
    unwind_rate=_F,
    unwind_limit=_F,
)

SHOCK = _record(first_step=_I, last_step=_I, quantity=_I, side=_I, news=_F, event=_I, delay=_I)

CONFIG = _record(
    seed=np.uint64,
    value_seed=np.uint64,
    common_seed=np.uint64,
    common_weight=_F,
    own_weight=_F,
    dt=_F,
    steps=_I,
    burn_in=_I,
    formation=_I,
    impact=_F,
    mark_rule=_I,
    mark_memory=_F,
    basis_memory=_F,
    mark_instant=_I,
    mark_follows_index=_I,
    slow_memory=_F,
    atoms=_I,
    largest_order=_I,
    maker_fee=_F,
    taker_fee=_F,
    volatility=_F,
    record=_I,
    depth_every=_I,
    map_every=_I,
    check_every=_I,
    shocks=_I,
    shock_account=_I,
    background_account=_I,
    fund_account=_I,
    fee_account=_I,
    rounding_account=_I,
    external_account=_I,
    formation_account=_I,
    participants=_I,
    portfolios=_I,
    portfolio_account=_I,
    switches=SWITCHES,
    flow=FLOW_CONFIG,
    providers=PROVIDER_CONFIG,
    value=DISCRETIONARY_CONFIG,
    arbitrage=DISCRETIONARY_CONFIG,
    cross=CROSS_CONFIG,
    traders=TRADER_CONFIG,
    dealers=DEALER_CONFIG,
    clearing=CLEARING_CONFIG,
    latency=LATENCY_CONFIG,
    prices=PRICE_CONFIG,
    venue=VENUE_CONFIG,
    shock=(SHOCK, (SHOCK_CAPACITY,)),
)

CONTROL = _record(
    step=_I,
    phase=_I,
    market=_I,
    prepared=_I,
    delaying=_I,
    stage=_I,
    rounds_done=_I,
    cursor=_I,
    answered=_I,
    request=_I,
    request_account=_I,
    request_quantity=_I,
    listed=_I,
    handled=_I,
    capacity=_I,
    sequence=_I,
    next_event=_I,
    next_trade=_I,
    next_transfer=_I,
    arrival=_I,
    next_agents=_I,
)

MARKET = _record(
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
    unwind_carry=_F,
    one_sided=_I,
    halted=_I,
    mark_held=_I,
    screened_mark=_F,
    travelled=_F,
    mid_move=(_F, (MOVES,)),
    mark_gap=(_F, (MOVES,)),
    mark_move=(_F, (MOVES,)),
    mid_ring=(_F, (MID_RING,)),
    smooth_ring=(_F, (MID_RING,)),
)

TOTALS = _record(
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
    liquidated_book=_F,
    liquidated_fund=_F,
    liquidated_adl=_F,
    adl_accounts=_I,
    liquidation_loss=_I,
    bad_debt=_I,
    socialised=_I,
    external=_I,
    fees=_I,
    buy_volume=(_I, (CAUSES,)),
    sell_volume=(_I, (CAUSES,)),
    adl_loss=_I,
    first_liquidation_step=_I,
    first_adl_step=_I,
)

STEP = _record(
    turnover=_I,
    distressed=_I,
    queue_accounts=_I,
    queue_notional=_F,
    buy_volume=(_I, (CAUSES,)),
    sell_volume=(_I, (CAUSES,)),
    liquidated_book=_F,
    liquidated_fund=_F,
    liquidated_adl=_F,
    throughput_binding=_I,
    gamma=_F,
    unhedged=_F,
    forced_sale=_F,
    forced_buy=_F,
    impact=_F,
)

PROVIDER = _record(
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
    ids=(_I, (2 * LEVEL_CAPACITY,)),
)
"""``quotes`` of the ``ids`` may still rest; ``waiting`` messages wait for the engine; the last one sent is ``due`` then."""

DEALER = _record(
    account=_I,
    phase=_F,
    delta=_F,
    hedges=_I,
    pending=_I,
    inventory=(_F, (OPTION_CAPACITY,)),
)

OPTION = _record(strike=_F, years=_F, volatility=_F, forward_ratio=_F, delta=_F, gamma=_F, is_call=_I)

WHEEL = wheel_record(_I, 4, WHEEL_CHUNKS)
"""Ids of resting orders by the step of their expiry."""

EVENT = _record(
    event_id=_I,
    step=np.int32,
    sequence=np.int32,
    type=np.int8,
    stage=np.int8,
    cause=np.int8,
    side=np.int8,
    rule=np.int8,
    generation=np.int16,
    account=np.int32,
    payer=np.int32,
    parent=_I,
    breach=_I,
    root=_I,
    quantity=_I,
    filled=_I,
    mark=_F,
    index=_F,
    bankruptcy=_F,
    limit=_F,
    fill=_F,
    equity_before=_F,
    equity_after=_F,
    maintenance=_F,
    loss=_F,
    waited=_F,
)

WORLD = _record(
    config=CONFIG,
    control=CONTROL,
    market=MARKET,
    totals=TOTALS,
    now=STEP,
    draft=EVENT,
    providers=(PROVIDER, (PROVIDER_CAPACITY,)),
    acting=(_I, (PROVIDER_CAPACITY,)),
    dealers=(DEALER, (DEALER_CAPACITY,)),
    options=(OPTION, (OPTION_CAPACITY,)),
    grid=GRID,
    wheel=WHEEL,
    triggers=(TRIGGERS, (2,)),
    flight=FLIGHT,
    prices=PRICES,
    venue=VENUE,
    activity=ACTIVITY,
)

ACCOUNT = np.dtype(
    [
        ("cash", np.int64),
        ("position", np.int64),
        ("collateral", np.int64),
        ("entry_tick", np.float64),
        ("breach_event", np.int64),
        ("cooldown_until", np.int32),
        ("distressed_step", np.int32),
        ("first_breach_step", np.int32),
        ("next", np.int32),
        ("previous", np.int32),
        ("account_class", np.int8),
        ("traits", np.int8),
        ("outcome", np.int8),
        ("pad", np.int8),
    ]
)
"""64 bytes per account. ``cash`` is collateral minus the cost of the open position: equity = cash + position x mark."""

PORTFOLIO = _record(due=_F, entry=_I, place=_I)
"""A portfolio with a leg in every market, leg ``k`` of portfolio p in the account ``portfolio_account + p`` of market k.

It is looked at again when the marks have travelled to ``due``. Row k also holds entry k of the queue by that distance, a
binary heap of portfolios; ``place`` is where the portfolio of this row stands in it.
"""

TRADER = np.dtype(
    [
        ("arrival_step", np.int32),
        ("account", np.int32),
        ("quantity", np.int64),
        ("inverse_leverage", np.float64),
    ]
)
"""What a leveraged account will do; rows of late entrants are sorted by arrival."""

TRADE = _record(
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

TRANSFER = _record(
    transfer_id=_I,
    step=np.int32,
    kind=np.int32,
    from_account=np.int32,
    to_account=np.int32,
    event=_I,
    trade=_I,
    amount=_I,
)

SERIES = _record(
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
    liquidated_book=_F,
    liquidated_fund=_F,
    liquidated_adl=_F,
    fund_cash=_I,
    fund_equity=_F,
    bad_debt=_I,
    socialised=_I,
    gamma=_F,
    unhedged=_F,
    forced_sale=_F,
    forced_buy=_F,
    impact=_F,
)

DEPTH_ROW = _record(step=np.int32, side=np.int8, distance_bp=np.float32, quantity=_I)
"""Resting lots of one side (+1 bids) between the previous edge and ``distance_bp``."""

MAP_ROW = _record(step=np.int32, accounts=np.int32, low=_F, high=_F, quantity=_I, side=np.int8)
"""Lots and accounts whose liquidation trigger lies between two prices in ticks; side of the forced order."""

TAPE = _record(
    trades_count=_I,
    events_count=_I,
    transfers_count=_I,
    series_count=_I,
    agent_fills_count=_I,
    depth_count=_I,
    liquidation_map_count=_I,
    trades=(TRADE, (TRADE_CAPACITY,)),
    events=(EVENT, (EVENT_CAPACITY,)),
    transfers=(TRANSFER, (TRANSFER_CAPACITY,)),
    series=(SERIES, (SERIES_CAPACITY,)),
    agent_fills=(AGENT_FILL, (AGENT_FILL_CAPACITY,)),
    depth=(DEPTH_ROW, (2 * DEPTH_BINS * SNAPSHOTS_KEPT,)),
    liquidation_map=(MAP_ROW, (2 * MAP_BINS * SNAPSHOTS_KEPT,)),
)
