"""Worlds of several markets: what they share, what couples them, and what stays apart."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import cascade_sim.model.simulation as model_module
from cascade_sim.agents.participant import Participant
from cascade_sim.domain.enums import Side
from cascade_sim.domain.errors import ScenarioError, UnknownNameError
from cascade_sim.lab.single import run
from cascade_sim.model import CascadeModel, Market
from cascade_sim.scenario import Scenario, load_scenario

SHORT = {
    "run.steps": 240,
    "run.burn_in_steps": 60,
    "traders.count": 300,
    "traders.open_interest": 40_000,
    "shock.at_seconds": 20,
    "shock.duration_seconds": 60,
    "shock.quantity": 6000,
    "run.map_every_steps": 50,
}
QUIET = {"traders": {"count": 0, "open_interest": 0}, "dealers": {"count": 0}}
APART = {"cross_arbitrage": {"rate_per_price": 0}}


def small(**markets: dict[str, Any]) -> Scenario:
    return load_scenario("gamma_shock").with_overrides({**SHORT, "markets": markets})


def finished(scenario: Scenario, seed: int = 3) -> CascadeModel:
    model = CascadeModel(scenario, rng=seed)
    model.run()
    return model


def fingerprint(market: Market | CascadeModel) -> tuple[bytes, float, int]:
    world = market.state.world
    count = market.account_count
    return market.state.accounts[:count].tobytes(), float(world.market.mark), int(world.totals.trades)


def same_start(left: Market | CascadeModel, right: Market | CascadeModel) -> bool:
    # Account 0 is the outside world, which paid in more where there are more accounts.
    count = min(left.account_count, right.account_count)
    return fingerprint(left)[1:] == fingerprint(right)[1:] and np.array_equal(
        left.state.accounts["cash"][1:count], right.state.accounts["cash"][1:count]
    )


def test_the_driver_for_several_markets_makes_the_same_run_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lean = finished(small())
    monkeypatch.setattr(model_module, "needs_markets_driver", lambda scenario: True)
    assert fingerprint(finished(small())) == fingerprint(lean)


def test_a_further_market_without_arbitrage_leaves_the_first_alone() -> None:
    alone = finished(small())
    pair = finished(small(spot={**QUIET, **APART}))
    assert same_start(pair.main, alone)
    assert pair.markets["spot"].state.world.totals.trades > 0


def test_draws_of_a_market_depend_on_its_name_and_not_on_its_neighbours() -> None:
    one = finished(small(spot={**QUIET, **APART}))
    two = finished(small(futures=APART, spot={**QUIET, **APART}))
    assert same_start(one.markets["spot"], two.markets["spot"])
    assert fingerprint(two.markets["futures"])[1] != fingerprint(two.markets["spot"])[1]


def test_markets_of_one_asset_share_its_value_and_others_are_correlated() -> None:
    def paths(correlation: float) -> tuple[np.ndarray, ...]:
        other = {
            "market": {"base": "BTC"},
            "fundamental": {"correlation": correlation},
            "shock": {"news": 0.0},
        }
        calm = {"shock.news": 0.0, "shock.quantity": 0.0}
        model = CascadeModel(small(spot=QUIET, btc={**QUIET, **other}).with_overrides(calm), rng=5)
        values: list[list[float]] = [[], [], []]
        while not model.finished:
            model.run(model.step_number + 1)
            for own, market in zip(values, model.markets.values(), strict=True):
                own.append(float(market.state.world.market.fundamental))
        return tuple(np.diff(np.log(np.array(own))) for own in values)

    main, spot, apart = paths(0.0)
    assert np.array_equal(main, spot)
    assert abs(np.corrcoef(main, apart)[0, 1]) < 0.3
    assert np.corrcoef(main, paths(0.95)[2])[0, 1] > 0.9
    # A half turn mirrors the path exactly: cos 180 degrees leaves no noise of its own.
    assert np.allclose(paths(-1.0)[2], -main, atol=1e-12)


def test_arbitrage_keeps_two_venues_together() -> None:
    def gap(**change: Any) -> float:
        model = CascadeModel(small(spot={**QUIET, **change}), rng=2)
        gaps = []
        while not model.finished:
            model.run(model.step_number + 20)
            mids = [float(market.state.world.market.mid) for market in model.markets.values()]
            gaps.append(abs(np.log(mids[0] / mids[1])))
        return float(np.mean(gaps))

    assert gap() < 0.5 * gap(**APART)
    off = small(spot=QUIET).with_overrides({"switches.arbitrage": False})
    account = finished(off).markets["spot"].state.world.config.cross.account
    assert finished(off).markets["spot"].state.accounts[int(account)].position == 0


def test_the_arbitrageur_buys_in_one_market_what_it_sells_in_the_other() -> None:
    coarse = {**QUIET, "market": {"lot_size": 0.03, "tick_size": 0.25}}
    model = finished(small(spot=coarse))
    held = []
    for market in model.markets.values():
        account = int(market.state.world.config.cross.account)
        held.append(int(market.state.accounts[account].position) * market.instrument.lot_size)
    assert abs(held[1]) > 1.0
    assert abs(held[0] + held[1]) < 0.1 * abs(held[1])


def test_cash_and_positions_are_conserved_in_every_market() -> None:
    result = run(small(spot=QUIET, second={}), seed=4, probe=False)
    assert result.summary["conservation_error"] == 0
    assert result.summary["liquidated_accounts"] > 0


@pytest.mark.parametrize("stride", [1, 7])
def test_step_by_step_and_in_pieces_are_the_same_run(stride: int) -> None:
    whole = finished(small(spot=QUIET))
    pieces = CascadeModel(small(spot=QUIET), rng=3)
    while not pieces.finished:
        if stride == 1:
            pieces.step()
        else:
            pieces.run(pieces.step_number + stride)
    for name, market in whole.markets.items():
        assert fingerprint(pieces.markets[name]) == fingerprint(market)


def test_tables_of_the_markets_are_numbered_as_one() -> None:
    result = run(small(spot=QUIET, second={}), seed=4, probe=False)
    assert list(result.series["venue"].iloc[:3]) == ["main", "spot", "second"]
    for name, key in (("events", "event_id"), ("trades", "trade_id"), ("transfers", "transfer_id")):
        table = getattr(result, name)
        assert np.array_equal(table[key], np.arange(len(table)))
        assert table["step"].is_monotonic_increasing
    assert np.array_equal(result.accounts["account_id"], np.arange(len(result.accounts)))
    venue = result.accounts.set_index("account_id")["venue"].astype(str)
    trades, events = result.trades, result.events.set_index("event_id")
    for role in ("taker", "maker"):
        assert (venue.loc[trades[f"{role}_account_id"]].to_numpy() == trades["venue"].astype(str)).all()
    provoked = trades[trades["taker_event_id"].notna()]
    assert len(provoked)
    assert (events.loc[provoked["taker_event_id"], "venue"].astype(str).to_numpy() == provoked["venue"]).all()
    closed = result.events[result.events["type"] == "liquidation"]
    breaches = events.loc[closed["breach_id"]]
    assert (breaches["type"] == "breach").all()
    assert (breaches["account_id"].to_numpy() == closed["account_id"].to_numpy()).all()
    moved = result.transfers
    assert (
        venue.loc[moved["from_account_id"]].to_numpy() == venue.loc[moved["to_account_id"]].to_numpy()
    ).all()


def test_the_first_market_alone_has_no_index_of_others() -> None:
    sources = {"spot": {"market": "spot"}, "value": {}}
    scenario = small(spot=QUIET).with_overrides({"index.sources": sources, "portfolios.count": 5})
    alone = scenario.alone()
    assert not alone.markets
    assert list(alone.index.sources) == ["value"]
    figures = run(scenario, seed=2).summary
    assert figures["permanent_impact"] > 0.0
    assert figures["leverage_n"] is not None


def test_the_summary_is_that_of_the_first_market() -> None:
    alone = run(small(), seed=4, probe=False).summary
    pair = run(small(spot={**QUIET, **APART}), seed=4, probe=False)
    figures = pair.summary.pop("markets")
    assert figures["main"] == alone.pop("markets")["main"]
    assert pair.summary == alone
    main = pair.series[pair.series["venue"] == "main"]
    assert isinstance(main, pd.DataFrame)
    assert len(main) * 2 == len(pair.series)


def test_the_summary_tells_the_main_figures_of_every_market() -> None:
    quiet = run(small(spot=QUIET), seed=4, probe=False)
    told, series, trades = quiet.summary["markets"], quiet.series, quiet.trades
    assert list(told) == ["main", "spot"]
    assert told["main"].keys() == told["spot"].keys()
    for name, figures in told.items():
        own = series[series["venue"] == name]
        assert figures["trades"] == len(trades[(trades["venue"] == name) & (trades["step"] >= 0)])
        marks = np.concatenate(([own["mark"].iloc[0]], own.loc[own["step"] >= 0, "mark"]))
        fall = 1.0 - float((own["mark"] / own["mark"].cummax()).min())
        assert len(marks) > 100
        assert figures["max_drawdown"] == pytest.approx(fall, abs=0.02)
        assert figures["conservation_error"] == 0
    assert told["main"]["trades"] != told["spot"]["trades"]
    for name, value in told["main"].items():
        assert quiet.summary[name] == value


def test_a_run_of_one_market_tells_its_figures_as_those_of_that_market_too() -> None:
    summary = run(small(), seed=4, probe=False).summary
    assert list(summary["markets"]) == ["main"]
    figures = summary["markets"]["main"]
    assert {
        "max_drawdown",
        "liquidated_accounts",
        "bad_debt",
        "messages",
        "conservation_error",
    } <= figures.keys()
    assert not {"markets", "loss_by_class", "permanent_impact", "attribution"} & figures.keys()
    for name, value in figures.items():
        assert summary[name] == value
        assert isinstance(value, int | float | None)


class Buyer(Participant):
    """Buys one unit in every step."""

    def decide(self, market: Any) -> None:
        market.submit(Side.BUY, 1.0)


def test_a_participant_trades_in_the_market_it_joined() -> None:
    model = CascadeModel(small(spot=QUIET), rng=1)
    buyer = model.add_participant(Buyer(model), market="spot")
    model.run()
    spot = model.markets["spot"]
    assert spot.state.accounts[buyer.account].position == 300 * round(1.0 / spot.instrument.lot_size)
    assert not model.main.participants
    with pytest.raises(UnknownNameError, match="spot"):
        CascadeModel(small(spot=QUIET), rng=1).add_participant(Buyer(model), market="elsewhere")


def test_a_further_market_has_no_scheduled_orders_unless_it_says_so() -> None:
    scenarios = small(spot={}, shocked={"shock": {"quantity": 10.0}}).market_scenarios()
    assert [each.shock.quantity for each in scenarios.values()] == [6000.0, 0.0, 10.0]
    assert [each.market.venue for each in scenarios.values()] == ["main", "spot", "shocked"]


@pytest.mark.parametrize(
    ("markets", "words"),
    [
        ({"main": {}}, r"markets\.main: expected a name other than the venue main"),
        ({"spot": {"run": {"steps": 5}}}, r"markets\.spot: expected no section run"),
        ({"spot": {"trader": {}}}, r"markets\.spot\.trader"),
        ({"spot": {"liquidity": {"count": -1}}}, r"markets\.spot\.liquidity\.count"),
        ({"spot": 3}, r"markets\.spot"),
    ],
)
def test_a_wrong_market_is_refused_in_one_line(markets: Any, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario("gamma_shock").with_overrides({"markets": markets})
    assert "\n" not in str(caught.value)


def test_a_market_is_changed_by_its_path() -> None:
    scenario = small(spot=QUIET).with_overrides({"markets.spot.liquidity.count": 5})
    assert scenario.market_scenarios()["spot"].liquidity.count == 5
    assert Scenario.from_mapping(scenario.tree()) == scenario
    assert scenario.scenario_hash != small(spot=QUIET).scenario_hash
