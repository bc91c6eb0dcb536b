"""A perpetual is liquidated through its index: a thin spot market is sold, its own book is left alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_model import raw_tables

from cascade_sim.domain.errors import UnknownNameError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.model import CascadeModel, check_inputs
from cascade_sim.scenario import Scenario, load_scenario

PERPETUAL: dict[str, Any] = {
    "run.steps": 200,
    "run.burn_in_steps": 30,
    "traders.count": 300,
    "traders.open_interest": 40_000.0,
    "traders.inverse_leverage": [0.05, 0.2],
    "dealers.count": 0,
    "fundamental.volatility": 0.1,
    "shock.quantity": 0.0,
    "shock.news": 0.0,
    "market.mark_price": {"name": "clamped_basis", "clamp": 0.005},
    "clearing.insurance_fund": 3e6,
}
THIN_SPOT: dict[str, Any] = {
    "traders": {"count": 0, "open_interest": 0.0, "entrants": {"quantity": 0.0}},
    "cross_arbitrage": {"rate_per_price": 0.0},
    "liquidity": {"count": 2, "size": 0.5, "fundamental_weight": 0.1, "impact_per_unit": 0.05},
    "background": {"patient_orders": 5, "patient_size": 1.0, "limit_rate": 0.5},
    "value_traders": {"rate_per_price": 0.0},
    "arbitrage": {"rate_per_price": 0.0},
}
SALE: dict[str, Any] = {"shock": {"quantity": 4_000.0, "at_seconds": 20.0, "duration_seconds": 60.0}}
SPOT_ALONE: dict[str, Any] = {"spot": {"market": "spot"}}
WITH_OTHERS: dict[str, Any] = {**SPOT_ALONE, "second": {}, "third": {}}


def world(sources: dict[str, Any], spot: dict[str, Any], **changes: Any) -> Scenario:
    return load_scenario("gamma_shock").with_overrides(
        {**PERPETUAL, "index.sources": sources, "markets": {"spot": {**THIN_SPOT, **spot}}, **changes}
    )


def finished(sources: dict[str, Any], spot: dict[str, Any], **changes: Any) -> CascadeModel:
    model = CascadeModel(world(sources, spot, **changes), rng=3)
    model.run()
    return model


def liquidated(model: CascadeModel) -> int:
    return int(model.state.world.totals.liquidated_accounts)


def series(model: CascadeModel, market: str) -> np.ndarray:
    recorder = model.markets[market].recorder
    recorder.drain(model.markets[market].state.tape)
    return recorder.raw("series")


def test_selling_a_thin_spot_market_liquidates_the_perpetual() -> None:
    calm, attacked = finished(SPOT_ALONE, {}), finished(SPOT_ALONE, SALE)
    assert liquidated(calm) == 0
    assert liquidated(attacked) > 100
    result = collect(attacked)
    assert measure_conservation(attacked, result) == 0
    rows = series(attacked, "main")
    # The index falls first; the perpetual's own book follows only when its accounts are closed into it.
    first = int(attacked.state.world.totals.first_liquidation_step)
    before = (rows["step"] >= 0) & (rows["step"] < first)
    assert rows["index"][before].min() < 0.97 * rows["fundamental"][before].min()
    assert rows["mid"][before].min() > 0.99 * rows["fundamental"][before].min()


@pytest.mark.parametrize(
    ("rule", "sources", "changes"),
    [
        ("median", WITH_OTHERS, {"index.rule": "median"}),
        ("clamped mean", WITH_OTHERS, {"index.clamp": 0.01}),
        ("own book", SPOT_ALONE, {"market.mark_price": "ema_mid"}),
    ],
)
def test_what_defends_against_it(rule: str, sources: dict[str, Any], changes: dict[str, Any]) -> None:
    assert liquidated(finished(sources, SALE, **changes)) == 0, rule


def test_what_does_not_defend_against_it() -> None:
    late = {"spot": {"market": "spot", "delay_seconds": 30.0}}
    now, then = finished(SPOT_ALONE, SALE), finished(late, SALE)
    assert liquidated(then) > 100
    first = [int(model.state.world.totals.first_liquidation_step) for model in (now, then)]
    assert first[1] > first[0]
    # A mean without a bound follows the one source by a third of the way.
    loose = finished(WITH_OTHERS, SALE, **{"index.clamp": 1.0})
    assert liquidated(loose) > 0


@pytest.mark.parametrize("delay", [0, 1, 9])
def test_the_index_is_the_mid_of_the_spot_market_shifted(delay: int) -> None:
    model = finished({"spot": {"market": "spot", "delay_seconds": float(delay)}}, SALE)
    perpetual, spot = series(model, "main"), series(model, "spot")
    index, mid = perpetual["index"][delay:], spot["mid"][: len(spot) - delay]
    two_sided = spot["one_sided"][: len(spot) - delay] == 0
    assert two_sided.mean() > 0.5
    np.testing.assert_array_equal(index[two_sided], mid[two_sided])


def test_step_by_step_is_the_same_run() -> None:
    funding = {"market.funding.interval_seconds": 20.0, "market.funding.premium": "impact"}
    whole = finished(SPOT_ALONE, SALE, **funding)
    stepped = CascadeModel(world(SPOT_ALONE, SALE, **funding), rng=3)
    while not stepped.finished:
        stepped.step()
    for name in ("main", "spot"):
        assert raw_tables(whole.markets[name]) == raw_tables(stepped.markets[name])
        left, right = (model.markets[name].state.accounts for model in (whole, stepped))
        assert left.tobytes() == right.tobytes()


def test_a_source_that_reads_no_market_of_the_world_is_refused_before_a_run() -> None:
    scenario = world({"spot": {"market": "spto"}}, {})
    for attempt in (check_inputs, CascadeModel):
        with pytest.raises(UnknownNameError) as caught:
            attempt(scenario)
        line = "index.sources.spot.market: expected a known name, received 'spto', known: main, spot"
        assert str(caught.value).startswith(line)


def test_the_worked_example_does_what_the_page_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    told = re.search(
        r"this closes (\d+) accounts .*? it closes (\d+), and without the sale (\d+)", page, re.DOTALL
    )
    assert block is not None
    assert told is not None
    half_an_hour = {"run.steps": 1_800, "run.record": "summary"}
    attacked = Scenario.from_mapping(yaml.safe_load(block[1])).with_overrides(half_an_hour)
    defended = attacked.with_overrides({"index": {"sources": {"a": {}, "b": {}}, "rule": "median"}})
    unsold = attacked.with_overrides({"markets.spot.shock.quantity": 0})
    closed = []
    for scenario in (attacked, defended, unsold):
        model = CascadeModel(scenario, rng=0)
        model.run()
        closed.append(liquidated(model))
        model.close()
    assert closed == [int(number) for number in told.groups()]
