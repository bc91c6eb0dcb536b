"""Each mechanism in a world small enough to run without the compiler: what must always hold does after every few steps."""

from typing import Any

import pytest

import cascade_sim as cs
from cascade_sim.lab.soak import violations

pytestmark = pytest.mark.kernel

SMALL: dict[str, Any] = {
    "run.steps": 24,
    "run.burn_in_steps": 4,
    "fundamental.volatility": 20.0,
    "liquidity.count": 2,
    "liquidity.levels": 3,
    "traders.count": 60,
    "traders.open_interest": 3_000.0,
    "traders.stop_loss.share": 0.4,
    "traders.top_up.share": 0.4,
    "traders.entrants.quantity": 100.0,
    "dealers.count": 2,
    "options.strikes": 3,
    "holders.count": 2,
    "shock.at_seconds": 6.0,
    "shock.duration_seconds": 4.0,
    "shock.quantity": 300.0,
    "shock.news": -0.08,
    "clearing.insurance_fund": 500.0,
}
MECHANISMS: dict[str, dict[str, Any]] = {
    "nothing else": {},
    "rates per price": {
        "background": {"name": "santa_fe", "market_rate": 2.0, "limit_rate": 0.5, "window_ticks": 20}
    },
    "rates per distance": {"background": {"name": "cont_stoikov_talreja", "market_rate": 0.5}},
    "linear impact": {"market.price_formation.name": "linear_impact"},
    "active traders": {
        "traders.activity.wake_rate": 0.3,
        "traders.activity.take_profit.share": 0.5,
        "traders.activity.reentry.probability": 0.8,
        "traders.activity.reentry.delay_seconds": 2.0,
    },
    "orders under way": {
        "latency.background.jitter_seconds": 2.0,
        "latency.liquidity_providers.delay_seconds": 1.0,
        "latency.leveraged_traders.delay_seconds": 1.0,
        "latency.liquidation.jitter_seconds": 1.0,
        "latency.dealers.delay_seconds": 2.0,
        "latency.messages_per_step": 15,
        "traders.activity.wake_rate": 0.3,
    },
    "portfolios in two markets": {
        "markets": {"futures": {}},
        "portfolios.count": 15,
        "portfolios.open_interest": 400.0,
        "portfolios.hedged_share": 0.5,
    },
    "halts, caps and funding": {
        "venue.circuit_breaker.levels": [0.02],
        "venue.circuit_breaker.halt_seconds": [3.0],
        "venue.circuit_breaker.window_seconds": 5.0,
        "venue.price_band.half_width": 0.03,
        "venue.price_band.update_seconds": 2.0,
        "venue.open_interest_cap": 3_100.0,
        "venue.position_caps.liquidity_provider": 5.0,
        "market.funding.interval_seconds": 5.0,
        "market.mark_price.name": "median",
    },
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_small_world_stays_whole(name: str) -> None:
    model = cs.CascadeModel(cs.load_scenario("gamma_shock").with_overrides(SMALL | MECHANISMS[name]), rng=2)
    for until in (0, 5, 8, 12, 18, 24):
        model.run(until=until)
        assert violations(model) == []
    assert int(model.state.world.totals.trades) > 0
