"""Amendments by agents written in Python: what keeps its place, what loses it, what trades, and under which number it rests."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trading_agents import BUY, Scripted, small

import cascade_sim as cs
from cascade_sim.agents.participant import OpenOrder
from cascade_sim.core import layout as lay
from cascade_sim.core.venue.window import first_at, next_at
from cascade_sim.domain.errors import RunFailed
from cascade_sim.lab.single import collect, measure_conservation

FAR = 40.0
"""Below the best bid, where nobody else rests."""


def queue(model: cs.CascadeModel, price: float) -> list[tuple[int, float]]:
    """Return account and quantity of the orders at a price, first in the queue first."""
    book, market = model.state.book, model.settings.market
    tick = np.int64(round(price / market.tick_size))
    found, slot = [], int(first_at(book, tick))
    while slot != 0:
        order = book.orders[slot]
        found.append((int(order.owner), float(order.quantity_lot) * market.lot_size))
        slot = int(next_at(book, np.int64(slot)))
    return found


def participants(*scripts: Callable[[Any], Any], margined: bool = False) -> tuple[cs.CascadeModel, list[Any]]:
    model = cs.CascadeModel(small(), rng=3)
    agents = []
    for script in scripts:
        agent = Scripted(model, margined=margined)
        agent.script = script
        agents.append(model.add_participant(agent))
    return model, agents


@pytest.mark.kernel
@pytest.mark.parametrize("margined", [False, True])
@pytest.mark.parametrize(
    ("change", "first", "quantity"),
    [
        ({"quantity": 1.0}, True, 1.0),
        ({"quantity": 3.0}, True, 3.0),
        ({}, True, 3.0),
        ({"quantity": 4.0}, False, 4.0),
        ({"price": "same", "quantity": 2.0}, True, 2.0),
    ],
)
def test_only_what_asks_for_more_loses_its_place(
    change: dict[str, Any], first: bool, quantity: float, margined: bool
) -> None:
    notes: dict[str, Any] = {}

    def early(market: Any) -> None:
        if market.step == 0:
            notes["price"] = round(market.best_bid - FAR, 1)
            notes["id"] = market.buy(3.0, notes["price"])
        elif market.step == 2:
            wanted = {**change, **({"price": notes["price"]} if "price" in change else {})}
            notes["new"] = market.amend(notes["id"], **wanted)
        elif market.step == 3:
            notes["open"] = market.open_orders
            notes["cancelled"] = market.cancel(notes["new"])

    def late(market: Any) -> None:
        if market.step == 1:
            market.buy(5.0, notes["price"])

    model, (one, two) = participants(early, late, margined=margined)
    model.run(until=3)
    ahead, behind = (one.account, quantity), (two.account, 5.0)
    assert queue(model, notes["price"]) == ([ahead, behind] if first else [behind, ahead])
    resting = np.asarray(model.state.watch[lay.RESTING_BUY])
    lot = model.settings.market.lot_size
    expected = [round(quantity / lot), round(5.0 / lot)] if margined else [0, 0]
    assert resting[[one.account, two.account]].tolist() == expected
    model.run(until=4)
    assert notes["open"] == [OpenOrder(notes["new"], BUY, notes["price"], quantity)]
    assert notes["cancelled"]
    assert queue(model, notes["price"]) == [behind]
    assert measure_conservation(model, collect(model)) == 0


@pytest.mark.kernel
def test_another_price_is_another_queue_and_may_trade() -> None:
    notes: dict[str, Any] = {}

    def script(market: Any) -> None:
        if market.step == 0:
            notes["price"] = round(market.best_bid - FAR, 1)
            notes["id"] = market.buy(3.0, notes["price"])
        elif market.step == 1:
            notes["lower"] = market.amend(notes["id"], price=notes["price"] - 1.04)
        elif market.step == 2:
            notes["open"] = market.open_orders
            notes["crossing"] = market.amend(notes["lower"], 2.0, market.best_ask + 20.0)
        elif market.step == 3:
            notes["fills"], notes["left"] = market.fills, market.open_orders
            notes["gone"] = market.amend(notes["crossing"], 1.0)

    model, (agent,) = participants(script)
    model.run(until=4)
    # Between two ticks a limit goes away from the market.
    lower = round(notes["price"] - 1.1, 1)
    assert notes["open"] == [OpenOrder(notes["lower"], BUY, pytest.approx(lower), 3.0)]
    assert queue(model, notes["price"]) == []
    assert sum(fill.quantity for fill in notes["fills"]) == pytest.approx(2.0)
    assert {fill.order_id for fill in notes["fills"]} == {notes["crossing"]}
    assert notes["left"] == []
    assert notes["gone"] == 0
    assert int(model.state.accounts["position"][agent.account]) > 0


def test_whatever_is_amended_is_found_again() -> None:
    random = np.random.default_rng(4)
    kept: dict[int, tuple[float, float]] = {}
    checked = [0]

    def script(market: Any) -> None:
        if market.step < 0:
            return
        found = {order.order_id: (order.price, order.quantity) for order in market.open_orders}
        assert found == {number: pytest.approx(value) for number, value in kept.items()}
        checked[0] += len(found)
        for number in list(kept):
            price, quantity = kept.pop(number)
            chance = random.random()
            if chance < 0.2:
                assert market.cancel(number)
                continue
            wanted = round(float(random.uniform(0.5, 9.0)), 2) if chance < 0.7 else None
            limit = (
                round(market.best_bid - FAR - float(random.uniform(0.0, 9.0)), 1) if chance > 0.5 else None
            )
            number = market.amend(number, wanted, limit)
            kept[number] = (price if limit is None else limit, quantity if wanted is None else wanted)
        for _ in range(2):
            price = round(market.best_bid - FAR - float(random.uniform(0.0, 9.0)), 1)
            kept[market.buy(5.0, price)] = (price, 5.0)

    model, _ = participants(script)
    model.run(until=25)
    assert checked[0] > 100


@pytest.mark.kernel
def test_a_cohort_amends_many_at_once() -> None:
    notes: dict[str, Any] = {}

    class Ladder(cs.Cohort):
        def decide(self, market: Any) -> None:
            if market.step == 0:
                notes["price"] = round(market.best_bid - FAR, 1)
                market.buy(3.0, notes["price"])
            elif market.step == 1:
                notes["before"] = market.open_orders
                ids = notes["before"]["order_id"]
                # Less for the first, more for the second, another price for the third, nothing for the fourth.
                price = np.full(3, notes["price"])
                price[2] -= 5.0
                market.amend(ids[:3], [1.0, 4.0, 3.0], price)
                market.amend([12345678])
            elif market.step == 2:
                notes["after"] = market.open_orders
                market.amend(notes["after"]["order_id"], 2.0)
            elif market.step == 3:
                notes["last"] = market.open_orders

    model = cs.CascadeModel(small(), rng=3)
    cohort = model.add_cohort(Ladder(model, count=4))
    model.run(until=2)
    before, first = notes["before"], cohort.first_account
    owners = (before["account"] + first).tolist()
    expected = [(owners[0], 1.0), (owners[3], 3.0), (owners[1], 4.0)]
    assert queue(model, notes["price"]) == expected
    assert queue(model, notes["price"] - 5.0) == [(owners[2], 3.0)]
    model.run(until=4)
    by_owner = dict(zip(notes["after"]["account"].tolist(), notes["after"]["order_id"].tolist(), strict=True))
    known = dict(zip(before["account"].tolist(), before["order_id"].tolist(), strict=True))
    stayed = [by_owner[account] == known[account] for account in before["account"].tolist()]
    assert stayed == [True, False, False, True]
    assert sorted(notes["last"]["quantity"].tolist()) == [2.0] * 4
    assert len(set(notes["last"]["order_id"].tolist())) == 4
    assert measure_conservation(model, collect(model)) == 0


@pytest.mark.kernel
def test_nobody_amends_an_order_of_somebody_else() -> None:
    notes: dict[str, Any] = {}

    class Owner(cs.Cohort):
        def decide(self, market: Any) -> None:
            if market.step == 0:
                notes["price"] = round(market.best_bid - FAR, 1)
                market.buy(3.0, notes["price"])
            elif market.step == 1:
                notes["ids"] = market.open_orders["order_id"].tolist()

    class Other(cs.Cohort):
        def decide(self, market: Any) -> None:
            if market.step == 2:
                market.amend(notes["ids"], 1.0)

    model = cs.CascadeModel(small(), rng=3)
    owner = model.add_cohort(Owner(model, count=1))
    model.add_cohort(Other(model, count=1))
    model.run(until=3)
    assert queue(model, notes["price"]) == [(owner.first_account, 3.0)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda market: market.amend(99), "order_id: expected the id of an order that was sent, received 99"),
        (lambda market: market.amend(market.buy(1.0, 2000.0)), "order_id: expected the id of an order"),
    ],
)
def test_a_wrong_amendment_of_a_participant_is_told(call: Callable[[Any], Any], expected: str) -> None:
    model, _ = participants(call)
    with pytest.raises(RunFailed, match=expected):
        model.run()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.0,), "quantity: expected at least one lot"),
        ((math.nan,), "quantity: expected at least one lot"),
        ((None, 0.0), "price: expected a number from 0.1 to"),
    ],
)
def test_a_wrong_number_is_told(arguments: tuple[Any, ...], expected: str) -> None:
    def script(market: Any) -> None:
        if market.step == 0:
            script.number = market.buy(1.0, market.best_bid - FAR)  # type: ignore[attr-defined]
        elif market.step == 1:
            market.amend(script.number, *arguments)  # type: ignore[attr-defined]

    model, _ = participants(script)
    with pytest.raises(RunFailed, match=expected):
        model.run()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda market: market.amend([1, 2], [1.0, 0.0]), r"quantity\[1\]: expected numbers from one lot"),
        (lambda market: market.amend([1, 2], [1.0]), "quantity: expected one number or an array of 2"),
        (lambda market: market.amend([1], None, [0.0]), r"price\[0\]: expected numbers from 0.1 to"),
    ],
)
def test_a_wrong_amendment_of_a_cohort_is_told(call: Callable[[Any], Any], expected: str) -> None:
    class Wrong(cs.Cohort):
        def decide(self, market: Any) -> None:
            call(market)

    model = cs.CascadeModel(small(), rng=3)
    model.add_cohort(Wrong(model, count=3))
    with pytest.raises(RunFailed, match=expected):
        model.run()
