"""Bursts that the records of a run must survive."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_model import small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import MOMENTUM, RETURNING
from cascade_sim.core.ground.wheel import schedule
from cascade_sim.core.layout import STANDARD
from cascade_sim.domain.errors import CapacityError, ScenarioError
from cascade_sim.lab.single import collect, measure_conservation

QUIET: dict[str, Any] = {
    "market.price_formation": {"name": "linear_impact", "impact": 0.01},
    "market.mark_price.name": "last",
    "fundamental.volatility": 0.0,
    "background.market_rate": 0.0,
    "value_traders.rate_per_price": 0.0,
    "arbitrage.rate_per_price": 0.0,
    "dealers.count": 0,
    "liquidity.count": 0,
    "shock.news": 0.0,
}
"""A price that answers every lot alike, and nobody but traders and the shock to move it."""


def test_socialising_over_everybody_overflows_nothing() -> None:
    # Without backstop and deleveraging every bankruptcy is shared by all winners: many transfers in one step.
    switches = {"switches.adl": False, "switches.backstop": False}
    scenario = cs.load_scenario("gamma_shock").with_overrides({**switches, "run.steps": 4_200})
    model = cs.CascadeModel(scenario, rng=1)
    model.run()
    assert int(model.state.world.totals.socialised) > 0
    assert measure_conservation(model, collect(model)) == 0
    assert len(model.recorder.raw("transfers")) > 50_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_many_runs_in_one_process_do_not_pile_up() -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides({"run.steps": 3_800, "run.record": "series"})

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    cs.run(scenario, 0)
    before = resident_mib()
    for seed in range(1, 6):
        cs.run(scenario, seed)
    assert resident_mib() - before < 40.0


@pytest.mark.kernel
def test_a_queue_that_the_engine_cannot_work_off_stops_the_run_and_names_the_limit() -> None:
    changes = {
        "latency.messages_per_step": 1,
        "background.limit_rate": 50.0,
        "background.lifetime_seconds": 5.0,
    }
    model = cs.CascadeModel(small(**changes), rng=3)
    model.run(until=30)
    flight = model.state.world.flight
    # As if all the rest of the pool waited as well.
    flight.waiting, flight.fresh, flight.free = STANDARD.messages - 2, STANDARD.messages - 1, 0
    with pytest.raises(CapacityError, match=r"room for more .*latency\.messages_per_step"):
        model.run()
    result = collect(model)
    assert result.series["step"].max() >= 29
    assert measure_conservation(model, result) == 0


@pytest.mark.kernel
@pytest.mark.parametrize("limit", [0, 50])
def test_quotes_of_more_lots_than_an_order_can_have_stop_the_run(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One quote of 2**31 lots would have been an order of none, or of less than none. Such a size is refused before the run.
    monkeypatch.setattr("cascade_sim.model.market.check_capacities", lambda *_: None)
    changes = {"liquidity.size": 2.0**31 * 0.01, "liquidity.levels": 1, "latency.messages_per_step": limit}
    model = cs.CascadeModel(small(**changes), rng=3)
    with pytest.raises(CapacityError, match="room for more lots in one order"):
        model.run()
    assert measure_conservation(model, collect(model)) == 0


@pytest.mark.kernel
def test_a_linear_price_stays_within_the_prices_of_a_book() -> None:
    nobody = {"traders.count": 0, "traders.open_interest": 0.0}
    model = cs.CascadeModel(small(**QUIET, **nobody, **{"shock.quantity": 1e6}), rng=1)
    model.run()
    market, accounts = model.state.world.market, model.state.accounts
    # 22,000 ticks, a thousandth of a tick a lot: the sales that fit are those of 21,999,000 lots.
    assert float(market.linear_price) == pytest.approx(1.0, abs=1e-3)
    assert int(accounts["position"].min()) == pytest.approx(-21_999_000, abs=2)
    assert measure_conservation(model, collect(model)) == 0


@pytest.mark.kernel
@pytest.mark.parametrize("news", [-2.0, 2.0])
def test_a_linear_price_that_the_value_carries_off_stops_the_run(news: float) -> None:
    nobody = {"traders.count": 0, "traders.open_interest": 0.0}
    side = "sell" if news < 0.0 else "buy"
    # Eight times this price are the first that is too high: a news of 2 takes it 7.4 times as far, the purchases the rest.
    early = {"shock.quantity": 100_000.0, "shock.side": side, "market.initial_price": 26_214.4}
    early["market.price_formation"] = {"name": "linear_impact", "impact": 0.25}
    scenario = small(**{**QUIET, **nobody, **early, "shock.news": news})
    model = cs.CascadeModel(scenario, rng=1)
    with pytest.raises(CapacityError, match="room for more price ticks"):
        model.run()
    assert float(model.state.world.market.mark) > 0.0
    assert measure_conservation(model, collect(model)) == 0


def test_a_look_back_beyond_the_ring_of_past_prices_is_refused() -> None:
    expected = rf"^liquidity\.volatility_return_seconds: expected at most {lay.LARGE.lookback - 1} steps"
    with pytest.raises(ScenarioError, match=expected):
        cs.CascadeModel(small(**{"liquidity.volatility_return_seconds": float(lay.LARGE.lookback)}), rng=1)
    cs.CascadeModel(small(**{"liquidity.volatility_return_seconds": lay.LARGE.lookback - 1.0}), rng=1)


@pytest.mark.kernel
def test_nobody_is_listed_twice_in_a_step() -> None:
    # Orders that arrive late may give a position to a trader who is about to return.
    clocks = {"traders.activity.wake_rate": 100.0, "traders.activity.momentum_share": 1.0}
    trend = {"traders.activity.trend_seconds": 5.0, "traders.activity.trend_saturation": 1e-6}
    alone = {"traders.entrants.quantity": 0.0, "traders.stop_loss.share": 0.0, "traders.top_up.share": 0.0}
    reentry = {"traders.activity.reentry.probability": 1.0, "traders.inverse_leverage": [0.5, 0.9]}
    model = cs.CascadeModel(small(**{**QUIET, **clocks, **trend, **alone, **reentry}), rng=2)
    model.run(until=21)
    world = model.state.world
    config, actors = world.activity.config, world.activity.actors
    count, first = int(config.count), int(config.first_account)
    held = np.flatnonzero(model.state.accounts["position"][first : first + count] != 0)
    assert len(held) > 100
    assert (actors["traits"][held] & MOMENTUM).all()
    actors["traits"][held] |= RETURNING
    for number in held.tolist():
        assert schedule(world.activity.wheel, 20, 21, number | 1 << 24) == 1
    for _ in range(3):
        model.step()
    model.recorder.drain(model.state.tape)
    trades = model.recorder.raw("trades")
    trades = trades[trades["step"] >= 21]
    mine = trades[np.isin(trades["taker_account"], first + held)]
    times = np.unique(np.stack([mine["step"], mine["taker_account"]]), axis=1, return_counts=True)[1]
    assert len(times) > 100
    assert times.max() == 1
    # Whoever is busy in one step returns in a later one.
    entries = actors["entries"][held]
    assert entries.max() == 1
    assert entries.mean() > 0.9


def test_a_shock_whose_worth_would_wrap_is_refused() -> None:
    early = {"market.initial_price": 26_214.4, "shock.duration_seconds": 20.0}
    with pytest.raises(
        ScenarioError, match=r"^shock\.quantity: expected at most 219000, for its worth at any price"
    ):
        cs.CascadeModel(small(**{**QUIET, **early, "shock.quantity": 220_000.0}), rng=1)
    cs.CascadeModel(small(**{**QUIET, **early, "shock.quantity": 219_000.0}), rng=1)
