"""Configuration of a run: what the scenario alone decides, by who reads it."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import record
from cascade_sim.core.layout.activity import WHOLE_RATES
from cascade_sim.core.layout.codes import (
    QUEUE_RATES,
    SHOCK_CAPACITY,
    TIER_CAPACITY,
    WATERFALL_CAPACITY,
)
from cascade_sim.core.layout.flight import LATENCY_CONFIG
from cascade_sim.core.layout.prices import PRICE_CONFIG
from cascade_sim.core.layout.sizes import STANDARD, Sizes
from cascade_sim.core.layout.venue import VENUE_CONFIG

_F = np.float64
_I = np.int64

SWITCHES = record(
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

FLOW_CONFIG = record(
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


def _provider_config(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of what the scenario decides about liquidity providers."""
    return record(
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
        level_distance=(_F, (sizes.levels,)),
        level_size=(_F, (sizes.levels,)),
    )


DISCRETIONARY_CONFIG = record(account=_I, threshold=_F, rate=_F, rate_cap=_F, position_cap=_F)

CROSS_CONFIG = record(
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

TRADER_CONFIG = record(
    first_account=_I,
    count=_I,
    trend_steps=_I,
    trend_probability=_F,
    trend_saturation=_F,
    market_limit=_F,
)

DEALER_CONFIG = record(
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

STAGE_CONFIG = record(
    stage=_I,
    account=_I,
    most_notional=_F,
    most_leverage=_F,
    floor=_F,
    unwind_rate=_F,
    unwind_limit=_F,
)
"""One stage of the waterfall: its code in :class:`domain.enums.Stage` and, where a party of its own takes positions over, that
party's account, the most it may hold (atoms at the mark; notional over equity), the share of its first capital below
which it takes nothing, and how it sells what it took (share per step, distance from the mid)."""

INITIAL_CONFIG = record(tiers=_I, rate=(_F, (TIER_CAPACITY,)), end=(_F, (TIER_CAPACITY,)))
"""Initial margin: rates of the whole notional by tier, and the upper ends of the tiers in atoms; no tiers: none."""

CLEARING_CONFIG = record(
    tiers=_I,
    tier_rate=(_F, (TIER_CAPACITY,)),
    tier_deduction=(_F, (TIER_CAPACITY,)),
    whole=WHOLE_RATES,
    initial=INITIAL_CONFIG,
    priority=_I,
    sizing=_I,
    adl=_I,
    fraction=_F,
    cooldown_steps=_I,
    full_below=_I,
    full_below_share=_F,
    throughput=_F,
    rounds=_I,
    fee_rate=_F,
    execution=_I,
    book=_I,
    stages=_I,
    parties=_I,
    waterfall=(STAGE_CONFIG, (WATERFALL_CAPACITY,)),
)
"""``book`` is whether close-outs go to the book before the ``stages`` of the ``waterfall``; entries from there to ``parties``
are parties that hold positions and stand in no stage."""

SHOCK = record(first_step=_I, last_step=_I, quantity=_I, side=_I, news=_F, event=_I, delay=_I)


def config_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the configuration of a run.

    The event window lasts from step ``window_first`` to ``window_last`` and is counted in ``forced_bins`` parts, of which
    ``densest_bins`` in a row are its densest; the calm lasts from step 0 to ``calm_last``, a minute ``minute_steps``.
    """
    return record(
        seed=np.uint64,
        value_seed=np.uint64,
        common_seed=np.uint64,
        common_weight=_F,
        own_weight=_F,
        dt=_F,
        steps=_I,
        burn_in=_I,
        window_first=_I,
        window_last=_I,
        calm_last=_I,
        minute_steps=_I,
        forced_bins=_I,
        densest_bins=_I,
        value_of=_I,
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
        providers=_provider_config(sizes),
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


CONFIG = config_record(STANDARD)
"""The configuration of the standard size class."""
