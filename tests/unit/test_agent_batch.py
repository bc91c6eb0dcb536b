"""Orders of Python agents in the engine: turns, drivers, what idle agents leave alone, liquidation, several markets."""

from typing import Any

import numpy as np
import pytest
from reference.acting_order import acting_order
from trading_agents import Clock, Gamblers, Idle, Scripted, crowd, fingerprint, small

import cascade_sim as cs
import cascade_sim.agents.desk as desk_module
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.batch import execute_batch
from cascade_sim.core.clearing.ledger import place, touch
from cascade_sim.core.clearing.open_orders import cancel_order
from cascade_sim.core.ground.rng import PURPOSE_ORDERING
from cascade_sim.core.layout.book import ORDER_SLOT_BITS
from cascade_sim.domain.errors import RunFailed, UnknownNameError
from cascade_sim.lab.single import collect, measure_conservation


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


@pytest.mark.kernel
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
                order_id = order_id if order_id > 0 else int(batch[-1 - order_id].order_id)
                each.filled = cancel_order(w, book, accounts, watch, np.int64(order_id))
                touch(w, book, np.int64(each.cause))
                continue
            order = (account, int(each.side), int(each.tick), int(each.quantity), int(each.kind))
            each.order_id, each.filled = place(
                w, book, accounts, watch, tape, *order, int(each.cause), lay.NO_EVENT
            )
            rows = tape.agent_fills[first : int(tape.agent_fills_count)]
            rows["request"][rows["is_maker"] == 0] = row

    batched.run(until=-4)
    monkeypatch.setattr(desk_module, "execute_batch", one_by_one)
    single.run(until=-4)
    assert max(sizes) > 100
    assert fingerprint(single) == fingerprint(batched)


@pytest.mark.kernel
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
        found = np.argsort(batch["order_id"] >> ORDER_SLOT_BITS).tolist()
        seed = int(state.world.config.seed)
        assert found == acting_order(entities, seed, int(PURPOSE_ORDERING), step, 1)
        firsts.add(found[0])
    assert len(firsts) > 3


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
