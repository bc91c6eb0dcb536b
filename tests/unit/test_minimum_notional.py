"""The least notional of a venue: what is not taken, who is told, and what is exempt because it only reduces."""

from typing import Any

import pytest
from test_initial_margin import Watchful, WatchfulCohort
from test_open_orders import EMPTY, Orders, Quotes
from trading_agents import small
from venue_world import VenueWorld

import cascade_sim as cs
from cascade_sim.domain.enums import OrderType, Refusal
from cascade_sim.domain.errors import CascadeError, ScenarioError
from cascade_sim.lab.single import collect, measure_conservation

LIMIT, MARKET, IOC, FOK, POST_ONLY, SLIDE = (OrderType(code) for code in range(6))
TOO_SMALL = Refusal.MINIMUM_NOTIONAL
LARGE = {f"background.{name}_size": 1e3 for name in ("limit", "market", "patient")}


def world(orders: Any, agent: type[Any] = Watchful, **changes: Any) -> tuple[cs.CascadeModel, Any]:
    """Return a market quoted at 99.9 and 100.1 that takes nothing below 500, and an agent that sends ``orders``."""
    settings = {
        **EMPTY,
        "arbitrage.rate_per_price": 0.0,
        "value_traders.rate_per_price": 0.0,
        "run.steps": 20,
        "market.mark_price": {"name": "mid"},
        "venue.minimum_notional": 500.0,
    }
    model = cs.CascadeModel(small(**{**settings, **changes}), rng=0)
    model.add_participant(Quotes(model, quotes=[(0, 99.9, 100.1)], capital=1e9))
    who = agent(model, capital=1e6, orders=orders)
    (model.add_cohort if isinstance(who, cs.Cohort) else model.add_participant)(who)
    return model, who


def refused(model: cs.CascadeModel) -> int:
    return int(model.state.world.totals.refused_orders)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "side", "tick", "lots", "taken"),
    [
        # At the mark of 100 five lots of 1,000 atoms a tick are worth the 500,000 that the venue asks for.
        (MARKET, 1, 0, 5, True),
        (MARKET, 1, 0, 4, False),
        (MARKET, -1, 0, 4, False),
        (IOC, 1, 125, 4, True),
        (IOC, 1, 124, 4, False),
        (IOC, -1, 90, 5, False),
        (FOK, -1, 98, 5, False),
        (FOK, 1, 102, 5, True),
        (LIMIT, 1, 100, 5, True),
        (LIMIT, 1, 99, 5, False),
        (POST_ONLY, -1, 110, 4, False),
        (SLIDE, -1, 125, 4, True),
    ],
)
def test_what_is_worth_too_little_is_not_taken(
    kind: OrderType, side: int, tick: int, lots: int, taken: bool
) -> None:
    market = VenueWorld(100)
    for account, way, price in ((0, 1, 98), (1, -1, 102)):
        market.place(account, way, price, 9)
    market.rules.minimum_notional = 500_000
    market.state.world.control.refusal = 0
    order_id, filled = market.place(2, side, tick, lots, kind)
    assert (order_id != 0 or filled > 0) == taken
    assert int(market.state.world.control.refusal) == (0 if taken else TOO_SMALL)
    assert int(market.state.world.totals.refused_orders) == (not taken)


@pytest.mark.kernel
def test_what_only_reduces_is_always_taken() -> None:
    market = VenueWorld(100)
    market.place(1, -1, 102, 9)
    market.place(2, 1, 102, 3)
    market.place(1, 1, 98, 9)
    market.rules.minimum_notional = 500_000
    assert market.place(2, 1, 0, 1, MARKET) == (0, 0)
    assert market.place(2, -1, 98, 4, IOC) == (0, 0)
    assert market.place(2, -1, 98, 1, IOC) == (0, 1)
    assert market.place(2, -1, 105, 2)[0] != 0
    assert market.place(2, -1, 98, 2, IOC) == (0, 2)
    # It holds nothing any more, and what it has resting is another order.
    assert market.place(2, -1, 98, 1, IOC) == (0, 0)


@pytest.mark.kernel
def test_in_a_halt_the_call_takes_no_small_orders() -> None:
    market = VenueWorld(100)
    market.place(0, 1, 98, 9)
    market.rules.minimum_notional = 500_000
    market.halt()
    assert market.place(2, -1, 97, 5)[0] == 0
    assert int(market.state.world.totals.refused_orders) == 1
    assert market.place(2, -1, 97, 6)[0] != 0
    # A halt turns market orders away whatever they are worth.
    assert market.place(2, -1, 0, 1, MARKET) == (0, 0)
    assert int(market.state.world.totals.refused_orders) == 1


@pytest.mark.parametrize("agent", [Watchful, WatchfulCohort])
@pytest.mark.parametrize("formation", ["order_book", "linear_impact"])
def test_agents_are_told(agent: type[Any], formation: str) -> None:
    orders = [
        (1, 1, 4.0, None),
        (2, 1, 6.0, 102.0),
        (3, 1, 4.9, 101.9),
        (4, -1, 1.0, None),
        (5, -1, 5.5, None),
    ]
    changes = {"market.price_formation": {"name": formation}}
    model, who = world(orders, agent, **changes)
    model.run()
    told = [(step - 1, row[2], row[3]) for step, row in who.told]
    assert told == [(1, 4.0, TOO_SMALL), (3, 4.9, TOO_SMALL)]
    assert refused(model) == 2
    # The last one sells what is left and half a unit more: it does not only reduce, but is worth enough.
    account = who.first_account if isinstance(who, cs.Cohort) else who.account
    assert float(model.state.accounts["position"][account]) == pytest.approx(-50)
    result = collect(model)
    assert measure_conservation(model, result) == 0


def test_orders_under_way_are_looked_at_when_they_arrive() -> None:
    model, who = world([(3, 1, 4.0, None), (4, 1, 6.0, None)], **{"latency.participants.delay_seconds": 2.0})
    model.run()
    assert refused(model) == 1
    assert who.seen[5:7] == [0.0, 6.0]
    assert who.told == []


def test_the_summary_and_ensembles_count_what_is_refused() -> None:
    agents = {
        "small": {"name": "test_initial_margin:Watchful", "capital": 1e5, "orders": [[3, 1, 0.01, None]]}
    }
    scenario = small(agents=agents, **{"venue.minimum_notional": 25.0})
    assert cs.run(scenario, seed=1, probe=False).summary["refused_orders"] >= 1
    table = cs.run_ensemble(scenario, [1])
    assert table["refused_orders"][0] == cs.run(scenario, seed=1, probe=False).summary["refused_orders"]


@pytest.mark.parametrize(
    ("kind", "waterfall"),
    [("liquidation", ["book", "fund", "adl", "socialised"]), ("unwind", ["fund", "adl", "socialised"])],
)
def test_close_outs_and_unwinds_are_exempt(kind: str, waterfall: list[str]) -> None:
    changes = {"venue.minimum_notional": 6e3, "shock.news": -0.1, "shock.quantity": 3000.0, "run.steps": 60}
    changes |= {"clearing.insurance_fund": 1e6, "clearing.unwind_rate": 0.05, "traders.count": 2000}
    model = cs.CascadeModel(small(**changes, **{"clearing.waterfall": waterfall}), rng=3)
    model.run()
    result = collect(model)
    assert refused(model) > 0
    assert measure_conservation(model, result) == 0
    events = result.events.query("type == @kind and filled > 0")
    # The price does not rise: what is worth less than the least notional at the first price is so at any later one.
    assert (events["filled"] * 2200.0 < 6e3).sum() >= 2


class Amends(Orders):
    """Amends its first order in step 4 and looks in step 5."""

    change: Any = None

    def decide(self, market: Any) -> None:
        """Send, amend, look."""
        if market.step == 4:
            (order,) = market.open_orders
            market.amend(order.order_id, **self.change)
        if market.step == 5:
            self.refused = market.refusals
            (self.rests,) = market.open_orders
        super().decide(market)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"quantity": 6.0}, True),
        ({"quantity": 5.0}, False),
        ({"price": 70.0}, True),
        ({"price": 40.0}, False),
        ({"quantity": 5.0, "price": 99.9}, False),
        ({"quantity": 7.0, "price": 90.0}, True),
    ],
)
def test_an_amendment_below_it_leaves_the_order_as_it_is(change: dict[str, float], taken: bool) -> None:
    model, who = world([(2, 1, 8.0, 90.0)], type("Changes", (Amends,), {"change": change}))
    model.run(until=6)
    expected = {"quantity": 8.0, "price": 90.0, **(change if taken else {})}
    assert (who.rests.quantity, who.rests.price) == pytest.approx((expected["quantity"], expected["price"]))
    assert [each.reason for each in who.refused] == ([] if taken else [TOO_SMALL])
    assert refused(model) == (not taken)


def test_the_book_alone_has_one() -> None:
    book = cs.OrderBook(minimum_notional=500)
    report = book.limit(cs.Side.SELL, 100, 4, owner=1)
    assert (report.order_id, len(report.fills), report.remaining) == (0, 0, 4)
    order_id = book.limit(cs.Side.SELL, 100, 5, owner=1).order_id
    assert book.market(cs.Side.BUY, 4, owner=2).remaining == 4
    assert book.market_by_notional(cs.Side.BUY, 499, owner=2).unspent == 499
    assert book.amend(order_id, quantity=4).remaining == 4
    assert len(book.market_by_notional(cs.Side.BUY, 500, owner=2).fills) == 1
    assert book.limit(cs.Side.SELL, 90, 1, owner=2, order_type=cs.OrderType.REDUCE_ONLY).order_id != 0
    with pytest.raises(CascadeError, match="minimum_notional: expected at least 0"):
        cs.OrderBook(minimum_notional=-1)
    with pytest.raises(CascadeError, match="minimum_notional: expected 0 for a book that replays messages"):
        book.replay([(0, 1, 100, 1)])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"venue.minimum_notional": 1e7}, "for the largest quote of a ladder"),
        (
            {"venue.minimum_notional": 5e5, "liquidity.count": 0},
            "for any order of background.market_size to be taken at",
        ),
        (
            {"venue.minimum_notional": 1e5, "shock.quantity": 20.0, "liquidity.size": 1e4, **LARGE},
            "for an order of shock.quantity in 20 steps to be taken at",
        ),
        ({"venue.minimum_notional": -1.0}, "venue.minimum_notional: expected a number >= 0"),
    ],
)
def test_a_least_notional_that_a_flow_never_reaches_is_refused(
    changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ScenarioError, match=r"^venue\.minimum_notional: ") as caught:
        cs.CascadeModel(small(**changes), rng=0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
