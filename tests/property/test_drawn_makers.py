"""Markets with drawn settings, beside the twins of those who make them (:mod:`street_world`)."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from street_world import SENDERS, StreetWorld, late
from test_makers import QUEUES, SANTA_FE, TIGHT, short

STEPS = 18
PROVIDERS = st.fixed_dictionaries(
    {
        "liquidity.count": st.integers(0, 4),
        "liquidity.levels": st.integers(1, 4),
        "liquidity.half_spread": st.floats(0.02, 2.0),
        "liquidity.level_growth": st.floats(1.0, 3.0),
        "liquidity.size": st.floats(0.0, 20.0),
        "liquidity.size_growth": st.floats(0.3, 2.0),
        "liquidity.impact_per_unit": st.floats(0.0, 0.1),
        "liquidity.skew_volatility_exponent": st.floats(0.0, 2.0),
        "liquidity.skew_volatility_cap": st.floats(1.0, 4.0),
        "liquidity.spread_volatility_exponent": st.floats(0.0, 1.5),
        "liquidity.reference_volatility": st.floats(1e-5, 1e-3),
        "liquidity.volatility_return_seconds": st.floats(0.2, 6.0),
        "liquidity.requote_seconds": st.floats(0.5, 4.0),
        "liquidity.withdrawal_threshold": st.floats(0.5, 4.0),
        "liquidity.withdrawal_exponent": st.floats(0.0, 3.0),
        "liquidity.minimum_size_share": st.floats(0.0, 1.0),
        "liquidity.return_seconds": st.floats(1.0, 100.0),
        "liquidity.fundamental_weight": st.floats(0.0, 1.0),
        "liquidity.belief_noise": st.floats(0.0, 1e-3),
        "liquidity.belief_noise_seconds": st.floats(0.5, 20.0),
        "liquidity.inventory_limit": st.floats(1.0, 200.0),
        "liquidity.loss_limit": st.floats(10.0, 5_000.0),
        "liquidity.loss_pause_seconds": st.floats(0.0, 8.0),
    }
)
FIXED_RATES = st.fixed_dictionaries(
    {
        "background.limit_rate": st.floats(0.0, 8.0),
        "background.distance_scale": st.floats(0.05, 10.0),
        "background.distance_tail": st.floats(0.5, 4.0),
        "background.distance_cap": st.floats(0.001, 0.2),
        "background.lifetime_seconds": st.floats(0.3, 20.0),
        "background.value_sensitivity": st.floats(0.0, 400.0),
        "background.value_tilt_cap": st.floats(0.0, 0.5),
        "background.market_rate": st.floats(0.0, 6.0),
        "background.market_limit": st.floats(0.0001, 0.02),
        "background.imbalance_strength": st.floats(0.0, 3.0),
        "background.imbalance_memory_seconds": st.floats(0.5, 100.0),
        "background.patient_orders": st.integers(0, 30),
        "background.patient_minimum_distance": st.floats(0.0, 0.01),
    }
)
FLOWS = FIXED_RATES | st.sampled_from([SANTA_FE, QUEUES])
TRADERS = st.fixed_dictionaries(
    {
        "value_traders.threshold": st.floats(0.0, 0.01),
        "value_traders.rate_per_price": st.floats(0.0, 5.0),
        "value_traders.rate_cap": st.floats(0.0, 20.0),
        "value_traders.position_cap": st.floats(0.0, 50.0),
        "value_traders.signal_seconds": st.floats(1.0, 30.0),
        "arbitrage.threshold": st.floats(0.0, 0.002),
        "arbitrage.rate_per_price": st.floats(0.0, 30.0),
        "arbitrage.rate_cap": st.floats(0.0, 10.0),
        "arbitrage.position_cap": st.floats(0.0, 50.0),
        "switches.arbitrage": st.booleans(),
        "traders.entrants.trend_seconds": st.floats(0.2, 8.0),
        "traders.entrants.trend_probability": st.floats(0.0, 0.5),
        "traders.entrants.trend_saturation": st.floats(1e-4, 0.01),
        "traders.entrants.after_shock_share": st.floats(0.0, 1.0),
        "dealers.hedging.interval_seconds": st.floats(1.0, 10.0),
        "dealers.hedging.mark_seconds": st.floats(0.0, 20.0),
        "dealers.hedging.price_limit": st.floats(1e-4, 0.01),
        "dealers.hedging.band": st.floats(0.0, 5.0),
        "dealers.count": st.integers(0, 4),
        "switches.liquidity_withdrawal": st.booleans(),
    }
)
SHOCKS = st.fixed_dictionaries(
    {
        "shock.quantity": st.floats(0.0, 500.0),
        "shock.side": st.sampled_from(["sell", "buy"]),
        "shock.at_seconds": st.floats(0.0, 8.0),
        "shock.duration_seconds": st.floats(0.1, 12.0),
        "shock.news": st.floats(-0.04, 0.04),
    }
)
DELAYS = st.sets(st.sampled_from(SENDERS), max_size=3).map(lambda senders: late(*sorted(senders)))


def shared(*parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


@pytest.mark.kernel
@example({**TIGHT, "switches.liquidity_withdrawal": False, "liquidity.fundamental_weight": 0.0}, 1)
@settings(max_examples=max(10, settings.default.max_examples // 3))
@given(st.builds(shared, PROVIDERS, FLOWS, TRADERS, SHOCKS, DELAYS), st.integers(0, 2**40))
def test_a_market_of_drawn_settings_is_what_its_twins_send(changes: dict[str, Any], seed: int) -> None:
    StreetWorld(short("gamma_shock", **changes), seed).run(8 + STEPS)
