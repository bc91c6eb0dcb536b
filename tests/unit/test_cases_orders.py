"""Orders from the field that failed: inputs and right answers are read from the reference cases."""

import json
from pathlib import Path
from typing import Any

import pytest
import trading_agents

import cascade_sim as cs
from cascade_sim.core.layout.book import INDEX_MASK


def case(folder: Path, name: str) -> Any:
    """Return a case of the reference."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def side(name: str) -> cs.Side:
    return cs.Side[name.upper()]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_amendment_keeps_its_place_only_if_it_is_smaller(shared_cases: Path, place: int) -> None:
    given = case(shared_cases, "f13_amend_keeps_priority.json")
    book, names, ids = cs.OrderBook(), {}, {}
    for owner, order in enumerate(given["book"]):
        names[owner] = order["id"]
        report = book.limit(side(order["side"]), order["price"], order["quantity"], owner)
        ids[order["id"]] = report.order_id
    asked = given["cases"][place]
    ((name, change),) = asked["amend"].items()
    changed = book.amend(ids[name], change.get("quantity"), change.get("price"))
    assert changed.order_id > 0
    fills = book.market(cs.Side.SELL, asked["then_sell"], owner=9).fills
    assert [[names[int(fill["maker"])], int(fill["quantity"])] for fill in fills] == asked["expect_fills"]


def test_a_self_trade_cancels_both(shared_cases: Path) -> None:
    given = case(shared_cases, "f14_self_trade_cancel_both.json")
    book = cs.OrderBook(cs.SelfTradePolicy[given["policy"].upper()])
    for order in given["book"]:
        book.limit(side(order["side"]), order["price"], order["quantity"], order["owner"])
    order, expected = given["order"], given["expect"]
    report = book.limit(side(order["side"]), order["price"], order["quantity"], order["owner"])
    found = [[int(fill[name]) for name in ("price_tick", "quantity", "maker")] for fill in report.fills]
    assert found == expected["fills"]
    assert len(book) == len(expected["resting"])
    assert report.remaining == expected["dropped"]


def test_a_market_order_spends_a_notional(shared_cases: Path) -> None:
    given = case(shared_cases, "f15_market_order_by_notional.json")
    tick, lot = 0.01, given["lot"]
    book = cs.OrderBook()
    for owner, (price, quantity) in enumerate(given["asks"]):
        book.limit(cs.Side.SELL, round(price / tick), round(quantity / lot), owner)
    order, expected = given["order"], given["expect"]
    report = book.market_by_notional(side(order["side"]), round(order["notional"] / (tick * lot)), owner=9)
    found = [[fill["price_tick"] * tick, fill["quantity"] * lot] for fill in report.fills]
    assert found == [pytest.approx(fill) for fill in expected["fills"]]
    assert report.unspent * tick * lot == pytest.approx(expected["left"], abs=1e-9)
    spent = sum(price * quantity for price, quantity in found)
    assert spent == pytest.approx(expected["spent"], abs=1e-9)


class Quoter(cs.Participant):
    """Sends one limit order at a price between two ticks."""

    side: int = 1
    price: float = 0.0
    kind: int = 0

    def decide(self, market: Any) -> None:
        """Send in step 0."""
        if market.step == 0:
            market.submit(cs.Side(self.side), 1.0, self.price, cs.OrderType(self.kind))


class Quoters(cs.Cohort):
    """The same in numpy, one account that buys and one that sells."""

    price: float = 0.0

    def decide(self, market: Any) -> None:
        """Send in step 0."""
        if market.step == 0:
            market.submit([1, -1], 1.0, self.price, cs.OrderType.LIMIT)


def resting(model: cs.CascadeModel, account: int) -> list[tuple[int, int]]:
    """Price in ticks and lots of the orders that an account has resting."""
    book = model.state.book
    live = book.orders[: int(book.fresh_slot)]
    mine = live[(live["owner"] == account) & (live["quantity_lot"] > 0)]
    return [(int(order["key"]) & INDEX_MASK, int(order["quantity_lot"])) for order in mine]


EMPTY = {
    "liquidity.count": 0,
    "background.limit_rate": 0.0,
    "background.market_rate": 0.0,
    "dealers.count": 0,
}
EMPTY |= {"background.patient_orders": 0, "shock.quantity": 0.0, "shock.news": 0.0, "traders.count": 0}
EMPTY |= {"traders.open_interest": 0.0, "traders.entrants.quantity": 0.0, "market.tick_size": 0.01}
EMPTY |= {"market.lot_size": 0.01, "market.initial_price": 100.0, "run.steps": 2, "run.burn_in_steps": 0}


def test_a_limit_between_two_ticks_never_trades_beyond_it(shared_cases: Path) -> None:
    given = case(shared_cases, "f12_limit_price_off_tick.json")
    kinds = {"limit": cs.OrderType.LIMIT, "post_only": cs.OrderType.POST_ONLY}
    changes = {**EMPTY, "market.tick_size": given["tick"], "market.lot_size": given["lot"]}
    scenario = trading_agents.small(**changes)
    for order in given["orders"]:
        assert order["expect"].startswith("rests at 99.99")
        model = cs.CascadeModel(scenario, rng=0)
        asks = Quoter(model, side=-1, price=given["ask"])
        model.add_participant(asks)
        buyer = Quoter(
            model, side=int(side(order["side"])), price=order["limit"], kind=int(kinds[order["type"]])
        )
        model.add_participant(buyer)
        model.run()
        assert resting(model, buyer.account) == [(9_999, round(order["quantity"] / given["lot"]))]
        model.close()


def test_a_cohort_rounds_limits_away_from_the_market_and_sizes_down() -> None:
    model = cs.CascadeModel(trading_agents.small(**EMPTY), rng=0)
    pair = Quoters(model, count=2, price=99.996)
    model.add_cohort(pair)
    model.run()
    first = pair.first_account
    assert resting(model, first) == [(9_999, 100)]
    assert resting(model, first + 1) == [(10_000, 100)]
    model.close()
