"""Every scenario of the library for a while, and random changes of them, so that bounds checks see every array in use.

Run again with bounds checks, an index beyond an array is an IndexError here; without them the same runs must end whole.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cascade_sim as cs
from cascade_sim.core.ground.compile import compilation_enabled
from cascade_sim.domain.errors import CapacityError, ScenarioError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.scenario import scenario_names

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not compilation_enabled(),
        reason="plain Python checks bounds in the tests of each kernel; this is long",
    ),
]

BRIEF: dict[str, Any] = {
    "run.steps": 150,
    "run.burn_in_steps": 20,
    "run.event_window_seconds": None,
    "run.depth_every_steps": 7,
    "run.map_every_steps": 7,
    "traders.count": 400,
    "traders.open_interest": 40_000.0,
    "traders.entrants.quantity": 500.0,
    "options.strikes": 6,
    "shock.at_seconds": 20.0,
    "shock.duration_seconds": 20.0,
}
"""Whole scenarios differ in what happens, not in how long it takes."""

LIMITED = (("gamma_shock", 100), ("spot_and_perpetual", 20), ("long_squeeze", 500))


def run_whole(scenario: cs.Scenario, seed: int = 1) -> cs.CascadeModel:
    """Run a scenario to its end or to the first capacity that it exhausts, and check that its books are whole."""
    model = cs.CascadeModel(scenario, rng=seed)
    with contextlib.suppress(CapacityError):
        model.run()
    assert measure_conservation(model, collect(model)) == 0
    for market in model.markets.values():
        totals = market.state.world.totals
        assert int(totals.check_failures) == int(totals.crossed_books) == 0
        assert int(market.state.accounts["position"].sum()) == 0
        for provider in market.state.world.providers[: int(market.state.world.config.providers.count)]:
            assert 0 <= int(provider["quotes"]) <= 2 * int(market.state.world.config.providers.levels)
    return model


@pytest.mark.parametrize("name", scenario_names())
def test_a_library_scenario_stays_within_its_arrays(name: str) -> None:
    assert run_whole(cs.load_scenario(name).with_overrides(BRIEF)).finished


@pytest.mark.parametrize("name", scenario_names())
def test_an_ensemble_stays_within_its_arrays(name: str) -> None:
    scenario = cs.load_scenario(name).with_overrides(BRIEF)
    table = cs.run_ensemble(scenario, range(3), workers=1)
    assert len(table) == 3
    assert (table["conservation_error"] == 0).all()


@pytest.mark.parametrize(("name", "limit"), LIMITED)
def test_an_engine_that_is_too_slow_for_all_quotes(name: str, limit: int) -> None:
    # The lists of providers were overrun within the first minute, most of all where nothing is left out.
    whole = {"run.steps": 300, "run.burn_in_steps": 50, "run.event_window_seconds": None}
    shock = {"shock.at_seconds": 60.0, "shock.duration_seconds": 60.0}
    scenario = cs.load_scenario(name).with_overrides({**whole, **shock, "latency.messages_per_step": limit})
    model = run_whole(scenario)
    assert model.finished
    for market in model.markets.values():
        world = market.state.world
        assert int(world.flight.fresh) > 0
        # One ladder of each provider waits at most, its cancellation, and the one of a pause.
        own = world.providers["waiting"][: int(world.config.providers.count)]
        assert own.max() <= 2 * int(world.config.providers.levels) + 2


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "latency.messages_per_step": one_of(1, 2, 5, 20, 100, 1_000),
    "latency.liquidity_providers.delay_seconds": one_of(1.0, 3.0, 20.0),
    "latency.liquidity_providers.jitter_seconds": one_of(0.5, 5.0),
    "latency.background.delay_seconds": one_of(1.0, 5_000.0),
    "latency.background.jitter_seconds": one_of(0.3, 3.0),
    "latency.leveraged_traders.delay_seconds": one_of(1.0, 7.0),
    "latency.liquidation.delay_seconds": one_of(1.0, 7.0),
    "latency.dealers.jitter_seconds": one_of(0.3, 7.0),
    "latency.participants.delay_seconds": one_of(1.0, 7.0),
    "liquidity.count": one_of(0, 1, 40, 256),
    "liquidity.levels": one_of(1, 16, 32),
    "liquidity.requote_seconds": one_of(1.0, 3.0),
    "liquidity.size": one_of(0.0, 100.0, 1e6),
    "liquidity.half_spread": one_of(0.01, 50.0),
    "liquidity.belief_noise": one_of(0.0, 0.5),
    "liquidity.loss_limit": one_of(1.0, 1e4),
    "liquidity.loss_pause_seconds": one_of(0.0, 5.0, 30.0),
    "venue.price_band.half_width": one_of(0.001, 0.05, 0.9),
    "venue.price_band.limit_state_seconds": one_of(0.0, 3.0),
    "venue.price_band.halt_seconds": one_of(0.0, 20.0),
    "venue.circuit_breaker": one_of(
        {"levels": [0.001], "halt_seconds": [3.0]},
        {"levels": [0.003, 0.01], "halt_seconds": [9.0, 20.0], "window_seconds": 30.0, "direction": "both"},
    ),
    "venue.open_interest_cap": one_of(0.0, 50_000.0),
    "market.price_formation.name": one_of("order_book", "linear_impact"),
    "market.initial_price": one_of(0.1, 5.0, 2_200.0, 26_214.3),
    "market.lot_size": one_of(0.0001, 1.0),
    "market.self_trade": one_of("allow", "cancel_resting", "cancel_incoming"),
    "market.mark_price.name": one_of("median", "last", "mid"),
    "market.funding.interval_seconds": one_of(5.0, 30.0),
    "market.taker_fee_rate": one_of(0.001, 0.1),
    "fundamental.volatility": one_of(0.0, 10.0, 1_000.0),
    "background.limit_rate": one_of(0.0, 50.0, 500.0),
    "background.market_rate": one_of(0.0, 50.0),
    "background.market_size": one_of(100.0, 1e4),
    "background.patient_orders": one_of(0, 3_000),
    "traders.count": one_of(1, 50),
    "traders.open_interest": one_of(1e3, 1e6),
    "traders.long_share": one_of(0.0, 0.5, 1.0),
    "traders.stop_loss.share": one_of(0.5, 1.0),
    "traders.top_up.share": one_of(0.5, 1.0),
    "traders.activity.wake_rate": one_of(0.01, 0.5, 100.0),
    "traders.activity.reentry.probability": one_of(0.5, 1.0),
    "traders.activity.reentry.delay_seconds": one_of(0.0, 1.0, 10.0),
    "dealers.count": one_of(0, 1, 64),
    "dealers.gamma_per_percent": one_of(1_500.0, -1e5),
    "clearing.accounts_per_second": one_of(0.01, 1.0, 1e7),
    "clearing.rounds_per_step": one_of(3, 100),
    "clearing.insurance_fund": one_of(0.0, 1e3),
    "clearing.sizing.name": one_of("full", "fraction"),
    "shock.quantity": one_of(0.0, 1e6),
    "shock.news": one_of(-2.0, -0.1, 2.0),
    "portfolios.count": one_of(5, 200),
    "portfolios.open_interest": one_of(100.0, 20_000.0),
    "run.record": one_of("series", "summary"),
    "run.burn_in_steps": one_of(0, 5),
    "switches.liquidity_withdrawal": one_of(False),
    "switches.impact_off": one_of(True),
    "switches.backstop": one_of(False),
    "markets": one_of(
        {"futures": {"market": {"instrument": "F"}}},
        {"b": {"market": {"instrument": "B", "base": "BTC"}}, "c": {"market": {"instrument": "C"}}},
    ),
    "agents": one_of(
        {
            "noise": {"name": "trading_agents:Bold", "count": 3},
            "crowd": {"name": "trading_agents:BoldCohort", "count": 70},
        }
    ),
}


@given(
    st.sampled_from(scenario_names()),
    st.lists(st.sampled_from(sorted(CHANGES)), min_size=2, max_size=12, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: CHANGES[name] for name in names})
    ),
)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_random_scenarios_stay_within_their_arrays(name: str, changes: Mapping[str, Any]) -> None:
    accepted = dict(changes)
    scenario = None
    while scenario is None:
        try:
            scenario = cs.load_scenario(name).with_overrides({**BRIEF, "run.steps": 60, **accepted})
            model = run_whole(scenario)
        except ScenarioError:
            # What contradicts itself is refused, so let one of the changes go.
            assert accepted
            scenario = None
            accepted.popitem()
    for market in model.markets.values():
        assert 0.0 < float(market.state.world.market.mark) < np.inf
    model.close()
