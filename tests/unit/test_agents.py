"""Agents written in Python: what they see, the one order API, and how they join."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trading_agents
from trading_agents import (
    BUY,
    SELL,
    Clock,
    Idle,
    NoiseCohort,
    Scripted,
    fingerprint,
    scripted,
    small,
)

import cascade_sim as cs
from cascade_sim.domain.errors import RunFailed, ScenarioError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.model import check_inputs

HERE = trading_agents.__name__


def test_what_a_participant_sees() -> None:
    def look(market: Any) -> dict[str, float]:
        names = (
            "mid",
            "mark",
            "index",
            "last",
            "best_bid",
            "best_ask",
            "spread",
            "cash",
            "equity",
            "position",
        )
        return {name: getattr(market, name) for name in names} | {
            "time": market.time_seconds,
            "bids": market.depth(BUY, 0.001),
            "all": market.depth(BUY, 1.0),
            "asks": market.depth(SELL, 0.001),
            "return": market.returns(2.0),
            "past": tuple(market.history("mid", 2.0)),
        }

    _, agent = scripted(look, until=6)
    series = {step: seen["mid"] for step, seen in agent.seen.items()}
    for step, seen in agent.seen.items():
        assert seen["time"] == step
        assert seen["best_bid"] < seen["mid"] < seen["best_ask"]
        assert seen["mid"] == pytest.approx((seen["best_bid"] + seen["best_ask"]) / 2.0)
        assert seen["spread"] == pytest.approx(seen["best_ask"] - seen["best_bid"])
        assert 0.0 < seen["bids"] <= seen["all"]
        assert seen["asks"] > 0.0
        assert (seen["cash"], seen["equity"], seen["position"]) == (1e6, 1e6, 0.0)
        assert len(seen["past"]) == min(2, step + 3)
        known = len(seen["past"]) == 2
        assert math.isnan(seen["return"]) == (not known)
        if known:
            assert seen["return"] == pytest.approx(math.log(seen["mid"] / seen["past"][0]))
    assert len(set(series.values())) > 3


@pytest.mark.kernel
def test_a_market_order_fills_at_once_and_a_limit_order_rests_until_it_is_cancelled() -> None:
    notes: dict[str, Any] = {}

    def script(market: Any) -> None:
        if market.step == 0:
            notes["bought"] = market.buy(5.0)
            notes["rests"] = market.buy(3.0, market.best_bid - 50.0)
            assert market.open_orders == []
        elif market.step == 1:
            notes["fills"], notes["open"] = market.fills, market.open_orders
            notes["position"] = market.position
            assert market.cancel(notes["rests"])
            assert not market.cancel(notes["bought"])
            gone = market.sell(1.0, market.best_ask + 50.0)
            assert market.cancel(gone)
        elif market.step == 2:
            notes["after"], notes["nothing"] = market.open_orders, market.fills

    model, agent = scripted(script, until=3)
    assert notes["position"] == 5.0
    assert sum(fill.quantity for fill in notes["fills"]) == pytest.approx(5.0)
    assert {fill.order_id for fill in notes["fills"]} == {notes["bought"]}
    assert all(fill.side is BUY and not fill.is_maker and fill.step == 0 for fill in notes["fills"])
    (order,) = notes["open"]
    assert (order.order_id, order.side, order.quantity) == (notes["rests"], BUY, 3.0)
    assert notes["after"] == notes["nothing"] == []
    paid = sum(fill.quantity * fill.price for fill in notes["fills"])
    assert agent.views[model.desk.name].cash == pytest.approx(1e6 - paid, abs=1e-6)
    assert measure_conservation(model, collect(model)) == 0


@pytest.mark.kernel
def test_a_resting_order_tells_its_owner_when_it_trades() -> None:
    maker: list[Any] = []

    def quote(market: Any) -> None:
        maker.extend(market.fills)
        if market.step == 0:
            quote.order = market.sell(2.0, market.best_ask, cs.OrderType.POST_ONLY_SLIDE)  # type: ignore[attr-defined]

    model = cs.CascadeModel(
        small(**{"shock.side": "buy", "shock.news": 0.02, "shock.at_seconds": 1.0}), rng=3
    )
    model.add_participant(Scripted(model, script=quote))
    model.run(until=12)
    assert sum(fill.quantity for fill in maker) == pytest.approx(2.0)
    assert all(fill.is_maker and fill.side is SELL for fill in maker)
    assert {fill.order_id for fill in maker} == {quote.order}  # type: ignore[attr-defined]


@pytest.mark.kernel
def test_reduce_only_orders_never_turn_a_position() -> None:
    def script(market: Any) -> float:
        if market.step == -3:
            market.buy(4.0)
        if market.step == -2:
            market.sell(10.0, reduce_only=True)
        if market.step == -1:
            market.sell(1.0, reduce_only=True)
            market.buy(1.0, market.best_ask + 5.0, reduce_only=True)
        return float(market.position)

    _, agent = scripted(script, until=1)
    assert agent.seen == {-3: 0.0, -2: 4.0, -1: 0.0, 0: 0.0}


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda market: market.buy(0.0), "quantity: expected at least one lot of 0.01 and at most"),
    (lambda market: market.buy(math.nan), "quantity: expected at least one lot"),
    (lambda market: market.buy("5"), "quantity: expected at least one lot .* received '5'"),
    (lambda market: market.sell(1.0, -2.0), "price: expected a number from 0.1 to"),
    (lambda market: market.sell(1.0, math.nan), "price: expected a number from 0.1 to"),
    (lambda market: market.sell(1.0, order_type=cs.OrderType.LIMIT), "price: expected a limit"),
    (
        lambda market: market.sell(1.0, 2200.0, cs.OrderType.MARKET),
        "order_type: expected a type with a limit",
    ),
    (lambda market: market.sell(1.0, 2200.0, cs.OrderType.REDUCE_ONLY), "order_type: expected an order type"),
    (lambda market: market.submit(0, 1.0), "side: expected Side.BUY or Side.SELL"),
    (lambda market: market.cancel(99), "order_id: expected the id of an order that was sent, received 99"),
    (lambda market: market.depth(2, 0.1), "side: expected"),
    (lambda market: market.depth(BUY, -0.1), "distance: expected"),
    (lambda market: market.returns(0.0), "seconds: expected a time of one step"),
    (lambda market: market.history("mark", 5.0), "history: expected a price that is kept"),
    (lambda market: market.of("spot"), "market: expected a known name, received 'spot'"),
]


@pytest.mark.parametrize(("call", "expected"), WRONG, ids=[text[:30] for _, text in WRONG])
def test_a_wrong_call_ends_the_run_with_one_line_that_names_the_participant(
    call: Callable[[Any], Any], expected: str
) -> None:
    with pytest.raises(RunFailed) as caught:
        scripted(call)
    line = str(caught.value)
    assert re.match(
        rf"participant {HERE}:Scripted\.decide\(\), step -3: raised \w+Error: {expected}", line
    ), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda market: market.buy(-1.0), "quantity: expected numbers from 0 to"),
        (lambda market: market.buy([1.0, math.nan, 1.0]), r"quantity\[1\]: expected numbers from 0"),
        (lambda market: market.buy([1.0, 0.001, 1.0]), r"quantity\[1\]: expected 0 or at least one lot"),
        (
            lambda market: market.buy([1.0, 1.0]),
            r"quantity: expected one number or an array of 3, received \[2\]",
        ),
        (lambda market: market.buy("a"), "quantity: expected numbers"),
        (lambda market: market.sell(1.0, [2200.0, 0.0, 2200.0]), r"price\[1\]: expected numbers from 0.1 to"),
        (lambda market: market.submit([1, 0, -1], 1.0), r"side: expected \+1 or -1"),
        (lambda market: market.buy(1.0, accounts=[3]), "accounts: expected whole numbers from 0 to 2"),
    ],
)
def test_a_wrong_call_of_a_cohort_names_the_place(call: Callable[[Any], Any], expected: str) -> None:
    class Wrong(cs.Cohort):
        def decide(self, market: Any) -> None:
            call(market)

    model = cs.CascadeModel(small(), rng=3)
    model.add_cohort(Wrong(model, count=3))
    with pytest.raises(
        RunFailed, match=rf"^cohort .*Wrong\.decide\(\), step -10: raised \w+Error: {expected}"
    ):
        model.run()


@pytest.mark.kernel
def test_a_cohort_sees_its_own_orders_and_trades() -> None:
    notes: dict[str, Any] = {}

    class Ladder(cs.Cohort):
        def decide(self, market: Any) -> None:
            if market.step == 0:
                market.buy([1.0, 0.0, 2.0], market.best_bid - np.array([30.0, 0.0, 40.0]))
                market.buy(3.0, accounts=[1])
            if market.step == 1:
                notes["open"], notes["fills"] = market.open_orders, market.fills
                notes["position"] = market.position
                market.cancel(market.open_orders["order_id"][:1])
            if market.step == 2:
                notes["left"] = market.open_orders

    model = cs.CascadeModel(small(), rng=3)
    cohort = model.add_cohort(Ladder(model, count=3))
    model.run(until=3)
    assert sorted(zip(notes["open"]["account"], notes["open"]["quantity"], strict=True)) == [
        (0, 1.0),
        (2, 2.0),
    ]
    np.testing.assert_allclose(notes["position"], [0.0, 3.0, 0.0])
    assert set(notes["fills"]["account"]) == {1}
    assert notes["fills"]["quantity"].sum() == pytest.approx(3.0)
    np.testing.assert_array_equal(notes["left"]["order_id"], notes["open"]["order_id"][1:])
    assert cohort.first_account == model.first_participant


def test_a_scenario_names_its_agents() -> None:
    agents = {
        "noise": {"name": f"{HERE}:Noise", "count": 3, "quantity": 4, "capital": 5e5},
        "crowd": {"name": f"{HERE}:NoiseCohort", "count": 80, "margined": True},
        "builder": {"name": f"{HERE}:Builder", "levels": 3},
    }
    scenario = small(agents=agents)
    model = cs.CascadeModel(scenario, rng=3)
    model.run()
    assert [type(agent).__name__ for agent in model.participants] == ["Noise"] * 3 + [
        "NoiseCohort",
        "Builder",
    ]
    assert model.participants[0].quantity == 4.0
    assert model.participants[3].account_count == 80
    assert cs.Scenario.from_mapping(scenario.tree()) == scenario
    assert "count: 80" in scenario.to_commented_yaml()
    assert fingerprint(model) == fingerprint(rerun(scenario))
    more = scenario.with_overrides({"agents.noise.count": 5})
    assert more.agents["noise"].count == 5
    assert measure_conservation(model, collect(model)) == 0


def rerun(scenario: cs.Scenario) -> cs.CascadeModel:
    model = cs.CascadeModel(scenario, rng=3)
    while not model.finished:
        model.step()
    return model


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "Noise"}, "agents.mine: expected a name or package.module:Class, received 'Noise'"),
        ({"name": f"{HERE}:Nothing"}, f"agents.mine: {HERE}: expected a class of the module"),
        ({"name": f"{HERE}:re"}, "agents.mine: "),
        ({"name": "cascade_sim:Scenario"}, "agents.mine.name: expected a class that extends"),
        (
            {"name": f"{HERE}:Noise", "quantty": 1},
            "agents.mine: expected a parameter of .*, received 'quantty'",
        ),
        ({"name": f"{HERE}:Noise", "quantity": "a"}, "agents.mine.quantity: expected a finite number"),
        ({"name": f"{HERE}:Needy"}, "agents.mine.depth: expected a whole number, received nothing"),
        ({"name": f"{HERE}:Builder"}, "agents.mine.levels: expected a value, received nothing"),
        ({"name": f"{HERE}:Builder", "levels": "x"}, "agents.mine.levels: expected a whole number"),
        ({"name": f"{HERE}:Builder", "level": 1}, "agents.mine: expected a parameter of"),
        ({"name": f"{HERE}:Noise", "count": 0}, "agents.mine.count: expected a number >= 1"),
    ],
)
def test_a_scenario_with_wrong_agents_is_refused_before_it_runs(entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(ScenarioError, match=f"^{expected}"):
        check_inputs(small(agents={"mine": entry}))


def test_an_agent_joins_once_and_in_time() -> None:
    model = cs.CascadeModel(small(), rng=3)
    agent = model.add_participant(Idle(model))
    with pytest.raises(ScenarioError, match="expected an agent that has not joined yet"):
        model.add_participant(agent)
    with pytest.raises(ScenarioError, match="cohort: expected a Cohort, received 'Idle'"):
        model.add_cohort(Idle(model))  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="count: expected at least one account, received 0"):
        NoiseCohort(model, count=0)
    with pytest.raises(ScenarioError, match="wake_every_seconds: expected a positive time"):
        model.add_participant(Clock(model, wake_every_seconds=-1.0))
    model.step()
    with pytest.raises(ScenarioError, match="expected participants before the first step"):
        model.add_participant(Idle(model))
