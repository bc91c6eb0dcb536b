"""Prices from the field that need many ticks: inputs and right answers are read from the reference cases."""

import json
from pathlib import Path

import pytest

import cascade_sim as cs
from cascade_sim.core.layout.book import MARKET_TICKS, WINDOW
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.lab.soak import check_book, check_ledger, check_triggers
from cascade_sim.model.capacities import ROOM_TO_MOVE, ticks_of
from cascade_sim.model.market import check_inputs


def test_a_book_of_bitcoin_at_a_tenth(shared_cases: Path) -> None:
    given = json.loads((shared_cases / "f16_book_of_btc_at_a_tenth.json").read_text(encoding="utf-8"))
    assert given["expect"].startswith("loads; best bid 96250.5, best ask 96250.6 (962505 ticks")
    book = cs.OrderBook()
    for side, rows in ((cs.Side.BUY, given["b"]), (cs.Side.SELL, given["a"])):
        for owner, (price, quantity) in enumerate(rows):
            lots = round(float(quantity) / given["lot"])
            assert book.limit(side, round(float(price) / given["tick"]), lots, owner).order_id > 0
    assert (book.best_bid, book.best_ask) == (962_505, 962_506)
    bids, asks = book.depth()
    assert bids.tolist() == [(962_505, 1_500), (962_500, 2_000)]
    assert asks.tolist() == [(962_506, 1_200), (962_515, 3_000)]


def _ends(model: cs.CascadeModel, steps: int) -> None:
    model.run()
    assert int(model.state.world.control.step) == steps
    for check in (check_book, check_triggers, check_ledger):
        assert list(check(model.state)) == []


@pytest.mark.kernel
def test_ether_at_the_tick_of_an_exchange_runs_to_the_end(shared_cases: Path) -> None:
    scenario = cs.load_scenario(str(shared_cases / "f22_eth_at_exchange_tick.yaml"))
    model = cs.CascadeModel(scenario, rng=1)
    assert model.main.initial_tick == 240_000
    _ends(model, 900)
    assert int(model.state.world.totals.liquidated_accounts) > 0
    model.close()


@pytest.mark.kernel
def test_a_chain_on_bitcoin_runs_at_a_tenth(shared_cases: Path) -> None:
    changes = {
        "options.chain.path": str(shared_cases / "f01_btc_chain.json"),
        "run.steps": 400,
        "run.burn_in_steps": 60,
        "shock.at_seconds": 60.0,
    }
    model = cs.CascadeModel(cs.load_scenario("gamma_shock").with_overrides(changes), rng=1)
    assert model.main.initial_tick == 990_674
    _ends(model, 400)
    assert float(model.state.world.market.mark) > WINDOW
    model.close()


@pytest.mark.parametrize("tick_size", [1e-6, 1e-8])
def test_a_range_that_cannot_work_is_refused_with_a_step_that_does(tick_size: float) -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides({"market.initial_price": 9_000.0})
    with pytest.raises(ScenarioError, match=r"^market\.tick_size: expected a step at which 9000") as caught:
        check_inputs(scenario.with_overrides({"market.tick_size": tick_size, "market.lot_size": 1.0}))
    works = float(str(caught.value).partition("such as ")[2].partition(",")[0])
    check_inputs(scenario.with_overrides({"market.tick_size": works}))


@pytest.mark.parametrize("tick", [1, 24_000, 240_000, 962_505, MARKET_TICKS // ROOM_TO_MOVE])
def test_a_price_has_room_to_rise(tick: int) -> None:
    assert ROOM_TO_MOVE * tick <= ticks_of(tick) <= MARKET_TICKS
    assert ticks_of(tick) == max(WINDOW, ticks_of(tick))
