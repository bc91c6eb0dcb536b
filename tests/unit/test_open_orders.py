"""Open orders of an account that is closed: cancelled first, whichever way the account is closed, and an event says so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cases_orders import EMPTY, case, resting, side
from test_portfolios import crossed
from trading_agents import small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.clearing.looks import open_queue
from cascade_sim.domain.enums import AccountClass, Cause, EventType
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.lab.soak import violations

QUOTED = 5000.0
"""Base units on each side of the best quotes."""


class Quotes(cs.Participant):
    """Quotes a bid and an ask from a step on until the next of its ``quotes``: step, bid, ask."""

    quotes: Any = ()

    def decide(self, market: Any) -> None:
        """Renew them when it is time."""
        for step, bid, ask in self.quotes:
            if step == market.step:
                market.cancel_all()
                if bid is not None:
                    market.buy(QUOTED, bid)
                if ask is not None:
                    market.sell(QUOTED, ask)


class Orders(cs.Participant):
    """Sends ``orders``: step, side, quantity, limit."""

    margined = True
    orders: Any = ()

    def decide(self, market: Any) -> None:
        """Send those of this step; without a limit at market."""
        for step, way, quantity, limit in self.orders:
            if step == market.step:
                kind = None if limit is None else cs.OrderType.LIMIT
                market.submit(cs.Side(way), quantity, limit, kind)


class OrdersCohort(cs.Cohort):
    """The same for every account of a cohort."""

    margined = True
    orders: Any = ()

    def decide(self, market: Any) -> None:
        """Send those of this step."""
        for step, way, quantity, limit in self.orders:
            if step == market.step:
                kind = None if limit is None else cs.OrderType.LIMIT
                market.submit(way, quantity, limit, kind)


@dataclass(frozen=True)
class Whole:
    """Close the whole position."""

    def lots(self, accounts: Any) -> Any:
        """Return the lots to close, shape (n,)."""
        return np.abs(accounts.position_lot)


@dataclass(frozen=True)
class ByNumber:
    """Close accounts in the order of their number."""

    def score(self, accounts: Any) -> Any:
        """Return the scores, shape (n,)."""
        return np.arange(len(accounts.position_lot), dtype=np.float64)


class Crowd(cs.Cohort):
    """Limit orders around the mark, at all times; now and then everything is taken back."""

    margined = True
    capital: float = 500.0

    def decide(self, market: Any) -> None:
        """Send one order each."""
        market.cancel_all(np.flatnonzero(market.uniform(1) < 0.1))
        price = market.mark + 40.0 * market.tick_size * (market.uniform(2) - 0.5)
        market.submit(np.where(market.uniform(0) < 0.5, 1, -1), 1.5, price, cs.OrderType.LIMIT)


def crowded(**changes: Any) -> Any:
    model = cs.CascadeModel(small(**changes), rng=7)
    model.add_cohort(Crowd(model, count=60))
    return model


F11 = "f11_orders_of_a_liquidated_account.json"


def world(given: Any, orders: Any, agent: type[Any], count: int = 1, **changes: Any) -> tuple[Any, Any]:
    """Return a model with the quotes of a case and an agent that sends ``orders``."""
    clearing = {f"clearing.{name}": value for name, value in given["clearing"].items() if name != "sizing"}
    settings = {
        **EMPTY,
        **clearing,
        "clearing.sizing": {"name": given["clearing"]["sizing"]},
        "run.steps": 30,
    }
    settings |= {"market.mark_price": {"name": "mid"}, "market.taker_fee_rate": 0.0, **changes}
    model = cs.CascadeModel(small(**settings), rng=0)
    quotes = [(row["step"], row["bid"], row["ask"]) for row in given["quotes"]]
    model.add_participant(Quotes(model, quotes=quotes, capital=1e9))
    capital = given["account"]["capital"]
    if issubclass(agent, cs.Cohort):
        who = agent(model, count=count, capital=capital, orders=orders)
        model.add_cohort(who)
    else:
        who = agent(model, capital=capital, orders=orders)
        model.add_participant(who)
    return model, who


def orders_of(given: Any) -> list[tuple[int, int, float, float]]:
    return [(o["step"], int(side(o["side"])), o["quantity"], o["limit"]) for o in given["account"]["orders"]]


def ended(model: Any, accounts: list[int]) -> tuple[Any, Any, Any]:
    """Run to the end; return the accounts' rows, their trades and their cancellations."""
    model.run()
    result = collect(model.main)
    assert measure_conservation(model.main, result) == 0
    found = result.accounts.set_index("account_id").loc[accounts]
    trades = result.trades.query("taker_account_id in @accounts or maker_account_id in @accounts")
    cancelled = result.events.query("type == 'cancel'")
    for account in accounts:
        assert resting(model, account) == []
    assert float(model.state.world.control.open_lots) == 0.0
    return found, trades, cancelled


@pytest.mark.parametrize("agent", [Orders, OrdersCohort])
@pytest.mark.parametrize(
    "sizing",
    [
        {"name": "full"},
        {"name": "test_open_orders:Whole"},
    ],
)
@pytest.mark.parametrize("priority", ["worst_margin_ratio_first", "test_open_orders:ByNumber"])
def test_the_old_bid_of_a_closed_account_does_not_fill(
    shared_cases: Path, agent: type[Any], sizing: dict[str, Any], priority: str
) -> None:
    given = case(shared_cases, F11)
    changes = {"clearing.sizing": sizing, "clearing.priority": {"name": priority}}
    model, who = world(given, orders_of(given), agent, **changes)
    account = who.account if isinstance(who, cs.Participant) else who.first_account
    rows, trades, cancelled = ended(model, [account])
    expected = given["expect"]
    assert len(resting(model, account)) == expected["open_orders_after_close_out"]
    assert rows["equity_end"].tolist() == [pytest.approx(expected["equity_end"], abs=1e-9)]
    fund = model.state.accounts[int(model.state.world.config.fund_account)]
    assert int(fund.cash) == model.instrument.cash_to_atoms(expected["insurance_fund_end"])
    assert trades["quantity"].sum() == 20.0
    assert rows["position_end"].tolist() == [0.0]
    assert cancelled["account_id"].tolist() == [account]
    event = cancelled.iloc[0]
    assert (event["quantity"], event["filled"], event["side"], event["step"]) == (10.0, 0.0, 1, 8)
    assert (event["stage"], event["cause"]) == ("trigger", "liquidation")
    result = collect(model.main)
    (breach,) = result.events.query("type == 'breach'")["event_id"]
    assert event["parent_event_id"] == event["breach_id"] == breach
    close_outs = result.events.query("type == 'liquidation'")["event_id"]
    assert breach < event["event_id"] < close_outs.min()
    saved = result.events["type"].cat.categories
    assert "cancel" in saved


@pytest.mark.parametrize(
    ("switches", "stage"),
    [({}, "takeover"), ({"backstop": False}, "adl"), ({"backstop": False, "adl": False}, "socialise")],
)
def test_orders_are_cancelled_before_a_bankrupt_account_is_taken_off(
    shared_cases: Path, switches: dict[str, bool], stage: str
) -> None:
    given = case(shared_cases, F11)
    given["quotes"][1] |= {"bid": 90.0, "ask": 90.02}
    orders = [(3, 1, 10.0, 100.0), (5, 1, 10.0, 89.0), (5, -1, 4.0, 120.0)]
    changes = {f"switches.{name}": on for name, on in switches.items()}
    model, who = world(given, orders, Orders, **changes)
    given["quotes"][2] |= {"bid": 85.0, "ask": 85.2}
    rows, _, cancelled = ended(model, [who.account])
    kinds = collect(model.main).events["type"].astype(str).tolist()
    assert kinds.index("cancel") < kinds.index(stage)
    assert cancelled["quantity"].tolist() == [14.0]
    assert cancelled["side"].tolist() == [0]
    assert rows["position_end"].tolist() == [0.0]
    assert rows["equity_end"].tolist() == [0.0]


def test_orders_sent_while_an_account_is_being_closed_are_cancelled_as_well(shared_cases: Path) -> None:
    given = case(shared_cases, F11)
    sizing = {"name": "fraction", "fraction": 0.1, "cooldown_seconds": 5.0, "full_below_quantity": 0.0}
    sizing["full_below_maintenance_share"] = 0.0
    orders = [*orders_of(given), (9, -1, 1.0, 98.0), (9, -1, 1.0, 99.0)]
    given["quotes"] = given["quotes"][:2]
    model, who = world(given, orders, Orders, **{"clearing.sizing": sizing})
    _, _, cancelled = ended(model, [who.account])
    assert cancelled["step"].tolist() == [8, 9]
    assert cancelled["quantity"].tolist() == [10.0, 2.0]


@pytest.mark.parametrize("limit", [0, 3])
def test_an_order_under_way_is_cut_to_what_reduces_when_its_account_was_closed_meanwhile(
    shared_cases: Path, limit: int
) -> None:
    given = case(shared_cases, F11)
    changes = {"latency.participants.delay_seconds": 3.0, "latency.messages_per_step": limit}
    # Quotes take their time as well, so the close-out is in step 11; decided in 9 and 10, these arrive after it.
    orders = [*orders_of(given)[:1], (9, 1, 1.0, 94.0), (10, 1, 0.25, None), (10, -1, 0.5, None)]
    model, who = world(given, orders, Orders, **changes)
    rows, trades, cancelled = ended(model, [who.account])
    assert cancelled["quantity"].tolist() == [1.0, 0.25, 0.5]
    assert cancelled["side"].tolist() == [1, 1, -1]
    assert cancelled["waited_seconds"].tolist() == [3.0, 3.0, 3.0]
    assert trades["quantity"].sum() == 20.0
    assert rows["position_end"].tolist() == [0.0]


def test_what_is_under_way_and_reduces_still_does(shared_cases: Path) -> None:
    given = case(shared_cases, F11)
    sizing = {"name": "fraction", "fraction": 0.1, "cooldown_seconds": 50.0, "full_below_quantity": 0.0}
    sizing["full_below_maintenance_share"] = 0.0
    changes = {"latency.participants.delay_seconds": 3.0, "clearing.sizing": sizing}
    given["quotes"] = given["quotes"][:2]
    orders = [*orders_of(given)[:1], (10, -1, 12.0, None)]
    model, who = world(given, orders, Orders, **changes)
    rows, trades, cancelled = ended(model, [who.account])
    assert cancelled["quantity"].tolist() == [3.0]
    assert rows["position_end"].tolist() == [0.0]
    assert trades["quantity"].tolist() == [10.0, 1.0, 9.0]


def test_a_leg_without_position_loses_its_orders_with_its_portfolio() -> None:
    model = cs.CascadeModel(crossed(), rng=6)
    model.run(1)
    number, ids = 7, []
    for market in model.markets.values():
        state, w = market.state, market.state.world
        account = int(w.config.portfolio_account) + number
        arguments = (account, 1, 100, 5, int(cs.OrderType.LIMIT), int(Cause.EXECUTION), lay.NO_EVENT)
        order_id, _ = place(state.world, state.book, state.accounts, state.watch, state.tape, *arguments)
        ids.append((market, account, int(order_id)))
    # The second leg is closed by hand and the first one loses its cash: the portfolio is bankrupt.
    (first, mine, _), (second, other, _) = ids
    rows = second.state.accounts
    rows["position"][1] += int(rows["position"][other])
    rows["position"][other] = 0
    amount = int(first.state.accounts["cash"][mine]) + 10**15
    first.state.accounts["cash"][mine] -= amount
    first.state.accounts["cash"][0] += amount
    open_queue(model.system.worlds, model.system.portfolios)
    model.run(2)
    for market, account, _ in ids:
        market.recorder.drain(market.state.tape)
        events = market.recorder.raw("events")
        mine = events[(events["type"] == int(EventType.CANCEL)) & (events["account"] == account)]
        assert mine["quantity"].tolist() == [5]
        assert market.state.watch[lay.RESTING_BUY, account] == 0.0


def test_providers_quote_unmargined_and_are_never_closed() -> None:
    model = cs.CascadeModel(small(), rng=0)
    model.run(5)
    rows = model.state.accounts
    quoting = rows["account_class"] == int(AccountClass.LIQUIDITY_PROVIDER)
    assert quoting.sum() == 4
    assert not (rows["traits"][quoting] & lay.FLAG_MARGINED).any()
    assert float(model.state.world.control.open_lots) == 0.0


@pytest.mark.parametrize("policy", [str(policy.name).lower() for policy in cs.SelfTradePolicy])
def test_what_rests_is_known_through_halts_and_self_trades(policy: str) -> None:
    changes = {"market.self_trade": policy, "shock.news": -0.2, "clearing.initial_margin": 0.03}
    halts = {"levels": [0.02], "halt_seconds": [4.0], "window_seconds": 30.0, "direction": "down"}
    model = crowded(**changes, **{"venue.circuit_breaker": halts})
    most = 0.0
    for step in range(0, 61, 3):
        model.run(until=step)
        assert violations(model) == []
        most = max(most, float(model.state.world.control.open_lots))
    assert most > 0.0
    assert int(model.state.world.totals.refused_orders) > 0
    kinds = set(collect(model.main).events["type"].astype(str))
    assert {"cancel", "halt", "resume"} <= kinds


def test_what_rests_is_known_where_a_band_drops_orders() -> None:
    model = crowded(**{"shock.news": -0.1, "venue.price_band.half_width": 0.004})
    for step in range(0, 61, 3):
        model.run(until=step)
        assert violations(model) == []
