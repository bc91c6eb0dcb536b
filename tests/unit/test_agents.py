"""Agents written in Python: what they see, the one order API, when they act, and what becomes of their orders."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference.acting_order import acting_order

import cascade_sim as cs
import cascade_sim.agents.desk as desk_module
from cascade_sim.core import layout as lay
from cascade_sim.core.book import cancel
from cascade_sim.core.ledger import place, touch
from cascade_sim.core.orders import execute_batch
from cascade_sim.core.rng import PURPOSE_ORDERING
from cascade_sim.domain.errors import RunFailed, ScenarioError, UnknownNameError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.model import check_inputs

pytestmark = pytest.mark.kernel

HERE = __name__
SMALL = {
    "run.steps": 60,
    "run.burn_in_steps": 10,
    "run.event_window_seconds": None,
    "traders.count": 60,
    "traders.open_interest": 4000.0,
    "dealers.count": 0,
    "liquidity.count": 4,
    "options.strikes": 6,
    "shock.at_seconds": 10.0,
    "shock.duration_seconds": 20.0,
    "shock.quantity": 500.0,
}
BUY, SELL = cs.Side.BUY, cs.Side.SELL


def small(**changes: Any) -> cs.Scenario:
    return cs.load_scenario("gamma_shock").with_overrides({**SMALL, **changes})


class Scripted(cs.Participant):
    """Calls a function with the market in each step, and keeps what it returns."""

    script: Any = None

    def decide(self, market: Any) -> None:
        """Follow the script."""
        self.seen = {**getattr(self, "seen", {}), market.step: self.script(market)}


class Idle(cs.Participant):
    """Never trades."""

    def decide(self, market: Any) -> None:
        """Look and do nothing."""
        assert market.position == 0.0


class Noise(cs.Participant):
    """Trades at random, cancels now and then."""

    quantity: float = 2.0

    def decide(self, market: Any) -> None:
        """Send limit orders around the mid."""
        if market.uniform(1) < 0.2:
            market.cancel_all()
        price = market.mid + 20.0 * market.tick_size * (market.uniform(2) - 0.5)
        (market.buy if market.uniform(0) < 0.5 else market.sell)(self.quantity, price)


class NoiseCohort(cs.Cohort):
    """The same for many accounts."""

    quantity: float = 2.0

    def decide(self, market: Any) -> None:
        """Send limit orders around the mid."""
        market.cancel_all(np.flatnonzero(market.uniform(1) < 0.2))
        price = market.mid + 20.0 * market.tick_size * (market.uniform(2) - 0.5)
        market.submit(np.where(market.uniform(0) < 0.5, 1, -1), self.quantity, price, cs.OrderType.LIMIT)


class Gamblers(cs.Cohort):
    """Buy fifty times their capital at once and hold."""

    margined = True
    capital: float = 1000.0

    def decide(self, market: Any) -> None:
        """Buy in step 0."""
        if market.step == 0:
            market.buy(50.0 * 1000.0 / market.mark)


class Clock(cs.Participant):
    """Notes when it is woken."""

    wake_every_seconds = 7.0

    def decide(self, market: Any) -> None:
        """Note the step."""
        self.woken = [*getattr(self, "woken", []), market.step]


class Needy(cs.Participant):
    """Has a parameter without default and a constructor of its own kind in a subclass."""

    depth: int

    def decide(self, market: Any) -> None:
        """Do nothing."""


class Builder(cs.Participant):
    """Takes its parameter in its constructor."""

    def __init__(self, model: cs.CascadeModel, levels: int) -> None:
        super().__init__(model)
        self.levels = levels

    def decide(self, market: Any) -> None:
        """Do nothing."""


def scripted(
    script: Callable[[Any], Any], until: int = 2, **changes: Any
) -> tuple[cs.CascadeModel, Scripted]:
    model = cs.CascadeModel(small(**{"run.burn_in_steps": 3, **changes}), rng=3)
    agent = Scripted(model, script=script)
    model.add_participant(agent)
    model.run(until=until)
    return model, agent


def fingerprint(model: cs.CascadeModel, without: tuple[int, ...] = ()) -> dict[str, bytes]:
    model.recorder.drain(model.state.tape)
    found = {}
    for name in ("series", "events", "trades"):
        table = model.recorder.raw(name)
        for field in table.dtype.names or ():
            values = np.ascontiguousarray(table[field])
            found[f"{name}.{field}"] = (
                np.nan_to_num(values).tobytes() if values.dtype.kind == "f" else values.tobytes()
            )
    for field in ("cash", "position", "outcome"):
        column = model.state.accounts[field][: model.account_count]
        found[f"accounts.{field}"] = np.delete(column, (0, *without)).tobytes()
    return found


def crowd(model: cs.CascadeModel) -> cs.CascadeModel:
    for quantity in (1.0, 2.0, 3.0, 40.0):
        model.add_participant(Noise(model, quantity=quantity))
    model.add_cohort(NoiseCohort(model, count=30, quantity=0.5))
    model.add_cohort(NoiseCohort(model, count=100, margined=True, capital=500.0))
    return model


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


def test_a_resting_order_tells_its_owner_when_it_trades() -> None:
    maker: list[Any] = []

    def quote(market: Any) -> None:
        maker.extend(market.fills)
        if market.step == 0:
            quote.order = market.sell(2.0, market.best_ask, cs.OrderType.POST_ONLY_SLIDE)  # type: ignore[attr-defined]

    model = cs.CascadeModel(small(**{"shock.side": "buy", "shock.news": 0.02, "shock.at_seconds": 1.0}), rng=3)
    model.add_participant(Scripted(model, script=quote))
    model.run(until=12)
    assert sum(fill.quantity for fill in maker) == pytest.approx(2.0)
    assert all(fill.is_maker and fill.side is SELL for fill in maker)
    assert {fill.order_id for fill in maker} == {quote.order}  # type: ignore[attr-defined]


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
    (
        lambda market: market.sell(1.0, 2200.0, cs.OrderType.LIMIT, True),
        "order_type: expected MARKET, IOC or FOK",
    ),
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


def test_drivers_are_bit_identical_with_agents() -> None:
    fused, chunked, stepped = (crowd(cs.CascadeModel(small(), rng=5)) for _ in range(3))
    fused.run()
    for until in (-7, 1, 13, 41, 60):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    assert fingerprint(fused) == fingerprint(chunked) == fingerprint(stepped)
    assert measure_conservation(fused, collect(fused)) == 0
    assert (fused.recorder.raw("trades")["taker_cause"] == cs.Cause.EXECUTION).sum() > 100


@pytest.mark.parametrize("where", ["kept accounts", "further accounts"])
def test_an_agent_that_does_nothing_changes_nothing(where: str) -> None:
    alone, watched = (crowd(cs.CascadeModel(small(), rng=5)) for _ in range(2))
    count = alone.account_count
    if where == "kept accounts":
        agents = [watched.add_participant(Idle(watched))]
    else:
        agents = [watched.add_participant(Idle(watched)) for _ in range(70)]
    alone.run()
    watched.run()
    expected = fingerprint(alone)
    kept = [agent.account for agent in agents if agent.account < count]
    assert len(kept) == (1 if where == "kept accounts" else 30)
    watched.state.accounts["cash"][kept] = 0
    found = fingerprint(watched, tuple(range(count, watched.account_count)))
    assert found == expected


def test_a_world_without_agents_is_left_alone_by_one_that_only_looks() -> None:
    alone, watched = cs.CascadeModel(small(), rng=5), cs.CascadeModel(small(), rng=5)
    idle = watched.add_participant(Idle(watched))
    alone.run()
    watched.run()
    watched.state.accounts["cash"][idle.account] = 0
    assert fingerprint(watched) == fingerprint(alone)


def test_the_batch_does_what_its_orders_do_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    batched, single = (crowd(cs.CascadeModel(small(), rng=7)) for _ in range(2))
    sizes: list[int] = []

    def one_by_one(w: Any, book: Any, accounts: Any, watch: Any, tape: Any, batch: Any, *_: Any) -> None:
        address = int(w.config.seed), int(PURPOSE_ORDERING), int(w.control.step), 1
        sizes.append(len(batch))
        for row in acting_order([int(each.entity) for each in batch], *address):
            each = batch[row]
            account, first = int(each.account), int(tape.agent_fills_count)
            if int(each.kind) == lay.REQUEST_CANCEL:
                order_id = int(each.order_id)
                each.filled = cancel(
                    book, np.int64(order_id if order_id > 0 else batch[-1 - order_id].order_id)
                )
                touch(w, book, np.int64(each.cause))
                continue
            order = (account, int(each.side), int(each.tick), int(each.quantity), int(each.kind))
            each.order_id, each.filled = place(
                w, book, accounts, watch, tape, *order, int(each.cause), lay.NO_EVENT
            )
            rows = tape.agent_fills[first : int(tape.agent_fills_count)]
            rows["request"][rows["is_maker"] == 0] = row

    batched.run(until=20)
    monkeypatch.setattr(desk_module, "execute_batch", one_by_one)
    single.run(until=20)
    assert max(sizes) > 100
    assert fingerprint(single) == fingerprint(batched)


def test_actors_take_turns_and_each_keeps_its_own_order() -> None:
    model = cs.CascadeModel(small(), rng=7)
    entities = [5, 5, 9, 1, 1, 1, 4, 70, 71, 72]
    batch = np.zeros(len(entities), lay.REQUEST).view(np.recarray)
    batch["entity"], batch["kind"], batch["side"] = entities, int(cs.OrderType.LIMIT), 1
    batch["account"], batch["tick"], batch["quantity"] = model.first_participant, 10_000, 1
    firsts = set()
    for step in range(12):
        model.state.world.control.step = step
        order, heads = np.zeros(len(batch), np.int64), np.zeros(2, np.int64)
        state = model.state
        execute_batch(state.world, state.book, state.accounts, state.watch, state.tape, batch, order, heads)
        found = np.argsort(batch["order_id"] >> 21).tolist()
        seed = int(state.world.config.seed)
        assert found == acting_order(entities, seed, int(PURPOSE_ORDERING), step, 1)
        firsts.add(found[0])
    assert len(firsts) > 3


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


def test_the_clearing_house_closes_a_margined_cohort() -> None:
    fall = {"shock.news": -0.08, "shock.quantity": 3000.0, "run.steps": 120}
    model = cs.CascadeModel(small(**fall), rng=3)
    cohort = model.add_cohort(Gamblers(model, count=200))
    model.run()
    result = collect(model)
    mine = result.accounts.iloc[cohort.first_account : cohort.first_account + 200]
    assert set(mine["account_class"]) == {"participant"}
    assert set(mine["margin_mode"]) == {"isolated"}
    forced = mine["outcome"].isin(["partial", "liquidated", "taken_over", "deleveraged"])
    # The book does not hold what all of them want; who got nothing has nothing to lose.
    bought = set(result.trades["taker_account_id"]) | set(result.trades["maker_account_id"])
    assert set(mine.index[forced]) == set(mine.index) & bought
    assert forced.sum() > 50
    assert mine["equity_end"].min() >= 0.0
    closed = result.events.query("type == 'liquidation'")["account_id"]
    assert set(mine.index[forced]) & set(closed)
    assert measure_conservation(model, result) == 0


def test_agents_are_woken_when_they_are_due_and_not_before() -> None:
    model = cs.CascadeModel(small(**{"run.burn_in_steps": 10}), rng=3)
    clock = model.add_participant(Clock(model))
    slow = model.add_participant(Clock(model, wake_every_seconds=20.0))
    asked = []
    real = model.main.answer
    model.main.answer = lambda status: (asked.append(model.step_number), real(status))[1]  # type: ignore[func-returns-value]
    model.run()
    assert clock.woken == list(range(-7, 60, 7))
    assert slow.woken == [0, 20, 40]
    assert asked == sorted({*clock.woken, *slow.woken})


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


def test_an_agent_at_home_in_one_market_trades_in_another() -> None:
    def script(market: Any) -> tuple[float, float]:
        spot = market.of("spot")
        if market.step == 0:
            spot.buy(2.0)
            market.sell(1.0)
        return market.position, spot.position

    quiet = {"traders": {"count": 0, "open_interest": 0}, "cross_arbitrage": {"rate_per_price": 0}}
    model = cs.CascadeModel(small(markets={"spot": quiet}), rng=3)
    agent = Scripted(model, script=script, also_in=["spot"])
    model.add_participant(agent)
    model.run(until=3)
    assert agent.seen[0] == (0.0, 0.0)
    assert agent.seen[2] == (-1.0, 2.0)
    assert not model.markets["spot"].participants
    for market in model.markets.values():
        assert measure_conservation(market, collect(market)) == 0
    stranger = cs.CascadeModel(small(markets={"spot": quiet}), rng=3)
    stranger.add_participant(Scripted(stranger, script=lambda market: market.of("spot").buy(1.0)))
    with pytest.raises(RunFailed, match="market spot: expected an account there"):
        stranger.run()
    fresh = cs.CascadeModel(small(), rng=3)
    with pytest.raises(UnknownNameError, match="market: expected a known name, received 'elsewhere'"):
        fresh.add_participant(Scripted(fresh, also_in=["elsewhere"]))


def test_draws_of_an_agent_stay_when_others_join() -> None:
    def values(others: int) -> dict[int, float]:
        model = cs.CascadeModel(small(), rng=3)
        for _ in range(others):
            model.add_participant(Idle(model))
        agent = Scripted(model, script=lambda market: market.uniform())
        model.add_participant(agent)
        model.run(until=3)
        return dict(agent.seen)

    drawn = values(0)
    assert drawn == values(3)
    assert len(set(drawn.values())) == len(drawn)
    assert all(0.0 < value < 1.0 for value in drawn.values())
