"""Market orders by an amount of quote currency: what they buy, on every way to a venue, and that they never spend more."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_open_orders import EMPTY
from trading_agents import small

import cascade_sim as cs
from cascade_sim.agents.desk import whole_atoms
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.clearing.spending import spend
from cascade_sim.core.drivers.state import State, allocate_state
from cascade_sim.domain.enums import Cause, OrderType, Refusal
from cascade_sim.domain.errors import RunFailed
from cascade_sim.lab.single import collect, measure_conservation

ATOMS = 1_000
LADDER = ((100.0, 3.0), (100.5, 2.0), (102.0, 10.0))
"""Asks: price and base units; the bids mirror them at 200 less the price."""


def order(state: State, owner: int, side: int, tick: int, lots: int) -> None:
    parts = (state.world, state.book, state.accounts, state.watch, state.tape)
    place(*parts, owner, side, tick, lots, int(OrderType.LIMIT), int(Cause.EXECUTION), -1)


def new_state(policy: int = 0) -> State:
    state = allocate_state(8, 0, policy)
    state.world.config.atoms, state.world.config.largest_order = ATOMS, 2**31 - 1
    state.world.config.record = lay.RECORD_FULL
    state.world.market.mark = state.world.market.mid = 100.0
    return state


def spent(state: State, owner: int, side: int, amount: int, most: bool = False) -> tuple[int, int, int]:
    """Send an order for an amount; returns what was filled, what was asked for, and what its account paid."""
    kind = int(lay.REQUEST_BY_NOTIONAL) + (int(lay.REQUEST_REDUCE_ONLY) if most else 0)
    cash = int(state.accounts["cash"][owner])
    parts = (state.world, state.book, state.accounts, state.watch, state.tape)
    _, filled, lots = spend(*parts, owner, side, amount, kind, int(Cause.EXECUTION), -1)
    return int(filled), int(lots), side * (cash - int(state.accounts["cash"][owner]))


def levels(book: cs.OrderBook) -> list[tuple[int, list[tuple[int, int]]]]:
    ticks = [int(level["price_tick"]) for side in book.depth(50) for level in side]
    return [(tick, [(each.owner, each.quantity) for each in book.queue(tick)]) for tick in ticks]


RESTING = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 12), st.integers(1, 6), st.integers(0, 3)), max_size=14
)


@pytest.mark.kernel
@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
@given(
    resting=RESTING,
    side=st.sampled_from([1, -1]),
    notional=st.integers(1, 3_000),
    odd=st.integers(0, ATOMS - 1),
    report=st.sampled_from([4096, 1, 2]),
)
@settings(deadline=None)
def test_a_market_spends_as_a_book_alone_does(
    policy: cs.SelfTradePolicy,
    resting: list[tuple[int, int, int, int]],
    side: int,
    notional: int,
    odd: int,
    report: int,
) -> None:
    book, state = cs.OrderBook(policy), new_state(int(policy))
    for way, away, lots, owner in resting:
        book.limit(cs.Side(way), 100 - way * away, lots, owner)
        order(state, owner, way, 100 - way * away, lots)
    first, messages = int(state.tape.trades_count), int(state.book.messages)
    if report < 4096:
        # A tape that is nearly full cuts the report short.
        state.tape.trades_count = first = lay.STANDARD.trades - 30
    expected = book.market_by_notional(cs.Side(side), notional, 0)
    filled, asked, paid = spent(state, 0, side, notional * ATOMS + odd)
    rows = state.tape.trades[first : int(state.tape.trades_count)]
    found = list(
        zip(*(rows[name].tolist() for name in ("price_tick", "quantity_lot", "maker_account")), strict=True)
    )
    assert found == [(int(f["price_tick"]), int(f["quantity"]), int(f["maker"])) for f in expected.fills]
    assert filled == sum(lots for _, lots, _ in found) <= asked
    if policy != cs.SelfTradePolicy.ALLOW:
        assert paid == (notional - expected.unspent) * ATOMS
    assert expected.unspent >= 0
    assert int(state.book.messages) - messages in ((1,) if asked else (0, 1))
    queues = {tick: [(o.owner, o.quantity) for o in book.queue(tick)] for tick, _ in levels(book)}
    mine: dict[int, list[tuple[int, int]]] = {}
    for tick in queues:
        slot = int(state.book.levels[tick - int(state.book.origin)].head)
        while slot:
            row = state.book.orders[slot]
            mine.setdefault(tick, []).append((int(row.owner), int(row.quantity_lot)))
            slot = int(row.next)
    assert mine == queues
    assert int(state.book.live_orders) == len(book)


@pytest.mark.kernel
@given(
    side=st.sampled_from([1, -1]),
    impact=st.sampled_from([0.0, 0.001, 0.3, 7.0]),
    price=st.integers(1, 2_000),
    amount=st.integers(1, 10**9),
)
@settings(deadline=None)
def test_under_linear_impact_it_is_the_most_that_the_amount_pays_for(
    side: int, impact: float, price: int, amount: int
) -> None:
    state = new_state()
    config, market = state.world.config, state.world.market
    config.formation, config.impact, config.formation_account = lay.FORMATION_LINEAR, impact, 7
    config.largest_order = 50_000
    market.linear_price = market.mark = market.mid = float(price)
    filled, asked, paid = spent(state, 0, side, amount)

    def cost(lots: int) -> int:
        middle = Fraction(price) + side * Fraction(impact) * lots / 2
        return math.floor(middle * lots * ATOMS + Fraction(1, 2))

    assert filled == asked
    assert 0 <= paid <= amount
    assert paid == pytest.approx(cost(filled), abs=1)
    within = filled + 1 <= 50_000 and 1 <= price + side * Fraction(impact) * (filled + 1) < int(
        state.book.ticks
    )
    assert not within or cost(filled + 1) > amount - 2


@pytest.mark.kernel
def test_an_order_has_no_more_lots_than_the_largest_one() -> None:
    state = new_state()
    state.world.config.largest_order = 7
    order(state, 1, -1, 3, 5)
    order(state, 1, -1, 4, 5)
    state.world.config.largest_order = 7
    assert spent(state, 0, 1, 10**9) == (7, 7, 23 * ATOMS)


@pytest.mark.kernel
def test_reducing_it_ends_with_the_position() -> None:
    state = new_state()
    for side, tick in ((-1, 101), (1, 99)):
        order(state, 1, side, tick, 50)
    assert spent(state, 0, 1, 10**9, most=True) == (0, 0, 0)
    assert spent(state, 0, 1, 3 * 101 * ATOMS) == (3, 3, 303 * ATOMS)
    assert spent(state, 0, -1, 2 * 99 * ATOMS, most=True) == (2, 2, 198 * ATOMS)
    assert spent(state, 0, -1, 10**9, most=True) == (1, 1, 99 * ATOMS)


class Ladder(cs.Participant):
    """Offers :data:`LADDER` on both sides, in a step of ``renew`` a unit dearer."""

    renew: int = -1

    def decide(self, market: Any) -> None:
        """Quote."""
        if market.step in (0, self.renew):
            market.cancel_all()
            for price, quantity in LADDER:
                away = 1.0 if market.step == self.renew else 0.0
                market.sell(quantity, price + away)
                market.buy(quantity, 200.0 - price + away - 0.01)


class Spends(cs.Participant):
    """Sends its ``orders``: step, side, amount."""

    orders: Any = ()
    reduce: bool = False

    def decide(self, market: Any) -> None:
        """Send, and note what came of it."""
        self.seen = [*getattr(self, "seen", []), market.position]
        self.told = [*getattr(self, "told", []), *market.refusals]
        self.filled = [*getattr(self, "filled", []), *market.fills]
        for step, side, amount in self.orders:
            if step == market.step:
                (market.buy if side > 0 else market.sell)(notional=amount, reduce_only=self.reduce)


class SpendsCohort(cs.Cohort):
    """The same for every account of a cohort."""

    orders: Any = ()

    def decide(self, market: Any) -> None:
        """Send, and note what came of it."""
        self.seen = [*getattr(self, "seen", []), float(market.position.sum())]
        self.told = [*getattr(self, "told", []), *market.refusals]
        for step, side, amount in self.orders:
            if step == market.step:
                market.submit(side, notional=amount)


def world(agent: type[Any], orders: Any, **changes: Any) -> tuple[cs.CascadeModel, Any]:
    settings = {**EMPTY, "run.steps": 12, "market.mark_price": {"name": "mid"}, "market.taker_fee_rate": 0.0}
    settings |= {"arbitrage.rate_per_price": 0.0, "value_traders.rate_per_price": 0.0}
    parameters = changes.pop("parameters", {})
    model = cs.CascadeModel(small(**{**settings, **changes}), rng=0)
    model.add_participant(Ladder(model, capital=1e9, renew=parameters.pop("renew", -1)))
    who = agent(model, orders=orders, **{"capital": 1e6, **parameters})
    (model.add_cohort if isinstance(who, cs.Cohort) else model.add_participant)(who)
    return model, who


def account_of(who: Any) -> int:
    return int(who.first_account if isinstance(who, cs.Cohort) else who.account)


def paid_by(model: cs.CascadeModel, who: Any) -> float:
    trades = collect(model).trades
    trades = trades[trades["taker_account_id"] == account_of(who)]
    return float((trades["price"] * trades["quantity"]).sum())


@pytest.mark.parametrize("agent", [Spends, SpendsCohort])
@pytest.mark.parametrize(
    ("side", "amount", "lots"),
    [
        (1, 300.0, 300),
        (1, 299.99, 299),
        (1, 99.0 / 100.0, 0),
        (1, 401.0, 400),
        (1, 401.01, 400),
        (1, 1e9, 1500),
        (-1, 299.97, 300),
        (-1, 398.47, 399),
        (-1, 398.46, 398),
    ],
)
def test_agents_spend_an_amount(agent: type[Any], side: int, amount: float, lots: int) -> None:
    model, who = world(agent, [(2, side, amount)])
    model.run()
    assert int(model.state.accounts["position"][account_of(who)]) == side * lots
    assert paid_by(model, who) <= amount * (1.0 + 1e-12)
    assert measure_conservation(model, collect(model)) == 0
    if agent is Spends and lots:
        assert len({fill.order_id for fill in who.filled}) == 1
        assert sum(fill.quantity for fill in who.filled) == pytest.approx(lots * 0.01)


@pytest.mark.parametrize("agent", [Spends, SpendsCohort])
def test_what_it_buys_is_worked_out_when_it_arrives(agent: type[Any]) -> None:
    late = {"latency.participants.delay_seconds": 3.0}
    # Decided at an ask of 100, it arrives at one of 101: nothing is taken above what 303 pay for.
    model, who = world(agent, [(4, 1, 303.0)], parameters={"renew": 2}, **late)
    model.run()
    assert int(model.state.accounts["position"][account_of(who)]) == 300
    assert paid_by(model, who) == pytest.approx(303.0)
    assert who.seen[:7] == [0.0] * 7


def test_an_engine_with_few_messages_lets_it_wait_as_one_message() -> None:
    model, who = world(Spends, [(3, 1, 350.0), (3, 1, 10.0)], **{"latency.messages_per_step": 8})
    model.run()
    assert int(model.state.accounts["position"][who.account]) == 349 + 9
    assert int(model.state.world.flight.waiting) == 0


@pytest.mark.parametrize("agent", [Spends, SpendsCohort])
def test_a_halt_turns_it_away(agent: type[Any]) -> None:
    halt = {"levels": [0.9], "halt_seconds": [4.0]}
    model, who = world(agent, [(3, 1, 300.0), (8, 1, 300.0)], **{"venue.circuit_breaker": halt})
    model.run(until=2)
    market, venue = model.state.world.market, model.state.world.venue
    market.halted, venue.halted_until = 1, 6
    model.run()
    assert who.seen[4] == 0.0
    assert int(model.state.accounts["position"][account_of(who)]) == 300
    assert who.told == []


@pytest.mark.parametrize("agent", [Spends, SpendsCohort])
def test_initial_margin_looks_at_the_whole_of_it(agent: type[Any]) -> None:
    margin = {"clearing.initial_margin": 0.1, "clearing.maintenance_margin": 0.01}
    own = {"margined": True, "capital": 40.5}
    # At a mark of 99.995 forty and a half carry 4.05 units at a tenth.
    orders = [(2, 1, 410.0), (3, 1, 401.5), (4, -1, 1e4)]
    model, who = world(agent, orders, parameters=own, **margin)
    model.run(until=4)
    account = account_of(who)
    assert int(model.state.accounts["position"][account]) == 400
    model.run(until=6)
    # What would have turned the position is cut to what closes it.
    assert int(model.state.accounts["position"][account]) == 0
    assert int(model.state.world.totals.refused_orders) == 2
    reasons = {int(row.reason if agent is Spends else row["reason"]) for row in who.told}
    assert reasons == {int(Refusal.INITIAL_MARGIN)}
    quantities = [float(row.quantity if agent is Spends else row["quantity"]) for row in who.told]
    assert quantities == [pytest.approx(4.09), pytest.approx(15.0)]


def test_a_price_band_and_caps_hold_it_back() -> None:
    band = {"venue.price_band.half_width": 0.006, "venue.price_band.average_seconds": 1e9}
    model, who = world(Spends, [(3, 1, 1e6)], **band)
    model.run()
    assert int(model.state.accounts["position"][who.account]) == 500
    model, who = world(Spends, [(3, 1, 1e6)], **{"venue.position_caps.participant": 2.5})
    model.run()
    assert int(model.state.accounts["position"][who.account]) == 250


def test_the_least_notional_is_held_against_the_amount() -> None:
    least = {"venue.minimum_notional": 250.0}
    model, who = world(Spends, [(2, 1, 249.99), (3, 1, 250.0), (5, -1, 100.0)], **least)
    model.run()
    assert int(model.state.accounts["position"][who.account]) == 150
    assert [(each.quantity, each.reason) for each in who.told] == [
        (pytest.approx(2.49), Refusal.MINIMUM_NOTIONAL)
    ]


def test_reduce_only_by_notional_is_cut_when_it_arrives() -> None:
    late = {"latency.participants.delay_seconds": 2.0}
    model, who = world(Spends, [(2, 1, 1e4)], parameters={"reduce": True}, **late)
    model.run()
    assert int(model.state.accounts["position"][who.account]) == 0


@pytest.mark.parametrize("agent", [Spends, SpendsCohort])
def test_linear_impact_takes_it(agent: type[Any]) -> None:
    linear = {"market.price_formation": {"name": "linear_impact"}}
    model, who = world(agent, [(3, 1, 1_000.0)], **linear)
    model.run()
    paid = paid_by(model, who)
    assert 0.0 < paid <= 1_000.0
    assert paid > 1_000.0 - 2.0


def test_an_order_under_way_of_a_closed_account_is_cut_to_what_reduces() -> None:
    class Doomed(Spends):
        """Loses its cash while its order is under way."""

    late = {"latency.participants.delay_seconds": 3.0, "clearing.maintenance_margin": 0.05}
    late |= {"clearing.initial_margin": 0.06}
    orders = [(2, 1, 300.0), (6, 1, 200.0)]
    model, who = world(Doomed, orders, parameters={"margined": True, "capital": 100.0}, **late)
    model.run(until=7)
    rows = model.state.accounts
    assert int(rows["position"][who.account]) == 300
    # What is taken from its cash goes to the fund, so that the account is distressed in this step.
    amount = int(rows["cash"][who.account]) + 300 * 9_990 * int(model.state.world.config.atoms)
    rows["cash"][who.account] -= amount
    rows["cash"][int(model.state.world.config.fund_account)] += amount
    rows["distressed_step"][who.account] = 7
    model.run()
    cancelled = collect(model).events.query("type == 'cancel'")
    # At 100 nothing is left, at 100.5 they would have paid for 1.99.
    assert cancelled["quantity"].tolist() == [pytest.approx(1.99)]
    assert cancelled["side"].tolist() == [1]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda m: m.buy(1.0, notional=5.0),
            "quantity: expected either a quantity or a notional, received 'both'",
        ),
        (lambda m: m.sell(), "quantity: expected either a quantity or a notional, received 'neither'"),
        (lambda m: m.buy(notional=5.0, price=3.0), "price: expected none for an order by its notional"),
        (
            lambda m: m.buy(notional=5.0, order_type=cs.OrderType.IOC),
            "order_type: expected none for an order by its notional, which trades at any price, received 'IOC'",
        ),
        (lambda m: m.buy(notional=0.0), "notional: expected a number above 0 and at most"),
        (lambda m: m.buy(notional=math.nan), "notional: expected a number above 0 and at most"),
        (lambda m: m.buy(notional=math.inf), "notional: expected a number above 0 and at most"),
        (lambda m: m.buy(notional="5"), "notional: expected a number above 0 and at most"),
    ],
)
def test_a_wrong_order_of_a_participant_is_told(call: Any, expected: str) -> None:
    model = cs.CascadeModel(small(), rng=3)
    who = type("Wrong", (cs.Participant,), {"decide": lambda self, market: call(market)})
    model.add_participant(who(model))
    with pytest.raises(RunFailed, match=expected):
        model.run()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda m: m.buy(1.0, notional=5.0), "quantity: expected either a quantity or a notional"),
        (lambda m: m.sell(), "quantity: expected either a quantity or a notional"),
        (lambda m: m.buy(notional=5.0, price=3.0), "price: expected none for an order by its notional"),
        (lambda m: m.buy(notional=[1.0, -1.0, 2.0]), r"notional\[1\]: expected numbers from 0 to"),
        (lambda m: m.buy(notional=[1.0, 2.0]), "notional: expected one number or an array of 3"),
    ],
)
def test_a_wrong_order_of_a_cohort_is_told(call: Any, expected: str) -> None:
    model = cs.CascadeModel(small(), rng=3)
    who = type("Wrong", (cs.Cohort,), {"decide": lambda self, market: call(market)})
    model.add_cohort(who(model, count=3))
    with pytest.raises(RunFailed, match=expected):
        model.run()


def test_a_cohort_leaves_amounts_of_zero_out() -> None:
    class Three(cs.Cohort):
        """Sends two orders for three accounts."""

        def decide(self, market: Any) -> None:
            """Send in step 2."""
            if market.step == 2:
                market.buy(notional=[100.0, 0.0, 200.0])

    model, _ = world(Spends, [])
    three = model.add_cohort(Three(model, count=3))
    model.run()
    first = three.first_account
    assert model.state.accounts["position"][first : first + 3].tolist() == [100, 0, 200]


@pytest.mark.parametrize(
    ("amount", "atoms"),
    [(0.29, 29_000_000), (5000.0, 500_000_000_000), (1.5e-8, 1), (12345678.29, 1_234_567_829_000_000)],
)
def test_amounts_are_whole_atoms(amount: float, atoms: int) -> None:
    assert whole_atoms(np.array([amount])).tolist() == [atoms]
