"""Initial margin decides what may be opened, on every way into a position, and never holds back what closes."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cases_orders import EMPTY, case, side
from test_open_orders import Orders, OrdersCohort, Quotes
from test_portfolios import crossed
from trading_agents import small

import cascade_sim as cs
from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.margin import initial_rate, largest_exposure
from cascade_sim.core.drivers.state import allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.domain.enums import Refusal
from cascade_sim.lab.single import collect

F10 = "f10_initial_margin.json"
Told = list[tuple[int, Any]]


class Watchful(Orders):
    """Notes its position and what was refused, and cancels everything in steps of ``cancels``."""

    cancels: Any = ()

    def decide(self, market: Any) -> None:
        """Look, cancel and send."""
        self.seen = [*getattr(self, "seen", []), market.position]
        self.told: Told = [*getattr(self, "told", []), *((market.step, r) for r in market.refusals)]
        if market.step in self.cancels:
            market.cancel_all()
        super().decide(market)


class WatchfulCohort(OrdersCohort):
    """The same for a cohort."""

    def decide(self, market: Any) -> None:
        """Look and send."""
        self.seen = [*getattr(self, "seen", []), float(market.position.max())]
        self.told: Told = [*getattr(self, "told", []), *((market.step, row) for row in market.refusals)]
        super().decide(market)


def world(given: Any, orders: Any, agent: type[Any] = Watchful, **changes: Any) -> tuple[Any, Any]:
    """Return a model with the market of the case and an agent that sends ``orders``."""
    market, own = given["market"], given["account"]
    quotes = changes.pop("quotes", [(0, market["bid"], market["ask"])])
    parameters = changes.pop("parameters", {})
    clearing = {f"clearing.{name}": value for name, value in given["clearing"].items()}
    overrides = {**EMPTY, **clearing, "market.tick_size": market["tick"], "run.steps": 20}
    overrides |= {"market.mark_price": {"name": "mid"}, "market.taker_fee_rate": 0.0, **changes}
    model = cs.CascadeModel(small(**overrides), rng=0)
    model.add_participant(Quotes(model, quotes=quotes, capital=1e9))
    parameters = {"capital": own["capital"], "margined": own["margined"], "orders": orders, **parameters}
    who = agent(model, **parameters)
    (model.add_cohort if isinstance(who, cs.Cohort) else model.add_participant)(who)
    return model, who


def position(model: Any, who: Any) -> float:
    account = who.first_account if isinstance(who, cs.Cohort) else who.account
    return float(model.instrument.lot_to_quantity(int(model.state.accounts["position"][account])))


@pytest.mark.parametrize("agent", [Watchful, WatchfulCohort])
@pytest.mark.parametrize("limit", [None, 100.0, 101.0])
def test_a_small_capital_opens_no_more_than_its_initial_margin_carries(
    shared_cases: Path, agent: type[Any], limit: float | None
) -> None:
    given = case(shared_cases, F10)
    (order,) = given["account"]["orders"]
    sent = [(order["step"], int(side(order["side"])), float(order["quantity"]), limit)]
    model, who = world(given, sent, agent)
    model.run()
    assert max(who.seen) <= 25.0
    assert position(model, who) == 0.0
    result = collect(model.main)
    assert "liquidation" not in set(result.events["type"].astype(str))
    assert (result.transfers["kind"] != "fee").all()
    ((step, told),) = who.told
    assert step == order["step"] + 1
    if agent is Watchful:
        assert told[1:] == (cs.Side.BUY, order["quantity"], Refusal.INITIAL_MARGIN)
    else:
        assert told.tolist() == (0, 1, order["quantity"], int(Refusal.INITIAL_MARGIN))
    assert int(model.state.world.totals.refused_orders) == 1


def test_refusals_are_counted_in_the_summary(shared_cases: Path) -> None:
    agents = {
        "big": {"name": "test_initial_margin:Watchful", "capital": 50.0, "orders": [[3, 1, 1000.0, None]]}
    }
    quiet = small(agents=agents)
    result = cs.run(quiet, seed=1, probe=False)
    assert result.summary["refused_orders"] == 1
    (row,) = cs.run_ensemble(quiet, [1])["refused_orders"]
    assert row == 1
    given = case(shared_cases, F10)
    given["account"]["margined"] = False
    model, who = world(given, [(3, 1, 1000.0, None)])
    model.run()
    assert position(model, who) == 1000.0
    assert int(model.state.world.totals.refused_orders) == 0


def test_open_orders_reserve_margin_and_give_it_back(shared_cases: Path) -> None:
    given = case(shared_cases, F10)
    orders = [
        (1, 1, 20.0, 99.0),
        (2, 1, 5.01, None),  # 20 + 5.01 at the mark need 50.02
        (3, 1, 4.0, None),
        (4, 1, 1.01, 98.0),
        (5, -1, 28.98, 101.0),  # four of them close
        (6, -1, 0.02, 101.0),
        (7, 1, 21.01, None),  # nothing is reserved any more
        (8, 1, 20.5, None),
    ]
    model, who = world(given, orders, parameters={"cancels": (7,)})
    model.run()
    assert [step - 1 for step, _ in who.told] == [2, 4, 6, 7]
    assert position(model, who) == 24.5


def test_closing_is_never_held_back(shared_cases: Path) -> None:
    given = case(shared_cases, F10)
    quotes = [(0, 99.99, 100.0), (5, 99.29, 99.3)]
    # After the fall 25 units have 32 of the 49.6 that they would need to be opened.
    orders = [
        (1, 1, 25.0, None),
        (6, 1, 0.01, None),
        (7, -1, 5.0, None),
        (8, -1, 37.0, 99.35),  # rests: twenty close, seventeen would open and are refused
        (9, -1, 16.4, 99.35),  # nothing is left to close by an order that rests
        (10, -1, 12.0, None),  # at once it closes
        (12, -1, 9.0, None),  # eight close, one is refused
    ]
    model, who = world(given, orders, quotes=quotes)
    model.run()
    assert [step - 1 for step, _ in who.told] == [6, 8, 9, 12]
    assert who.seen[8] == 20.0
    assert who.seen[11] == 8.0
    assert position(model, who) == 0.0


def test_all_or_nothing_is_not_cut_to_what_closes(shared_cases: Path) -> None:
    class Turns(Watchful):
        """Sends its last order as fill or kill."""

        def decide(self, market: Any) -> None:
            """Turn in step 6."""
            super().decide(market)
            if market.step == 6:
                market.submit(cs.Side.SELL, 51.0, 90.0, cs.OrderType.FOK)

    model, who = world(case(shared_cases, F10), [(1, 1, 25.0, None)], Turns)
    model.run()
    assert position(model, who) == 25.0
    assert int(model.state.world.totals.refused_orders) == 1


def test_nothing_is_opened_that_is_distressed_at_once(shared_cases: Path) -> None:
    given = case(shared_cases, F10)

    class Shelf(cs.Participant):
        """Offers a little at the best ask and everything else far away."""

        def decide(self, market: Any) -> None:
            """Send in step 0."""
            if market.step == 0:
                market.sell(1.0, 100.0)
                market.sell(1000.0, 104.0)

    def bought(quantity: float, limit: float | None) -> float:
        model, who = world(given, [(3, 1, quantity, limit)], quotes=[(0, 99.99, None)])
        model.add_participant(Shelf(model, capital=1e9))
        model.run(10)
        return position(model, who)

    # 20 units cost 19 x 4 beyond the mark, more than the account has; with a limit they cannot.
    assert bought(20.0, None) == 0.0
    assert bought(20.0, 100.0) == 1.0
    assert bought(5.0, None) == 5.0


def test_orders_under_way_are_looked_at_when_they_arrive(shared_cases: Path) -> None:
    given = case(shared_cases, F10)
    changes = {"latency.participants.delay_seconds": 2.0}
    model, who = world(given, [(5, 1, 20.0, None), (6, 1, 6.0, None), (7, 1, 4.0, None)], **changes)
    model.run()
    assert position(model, who) == 24.0
    assert int(model.state.world.totals.refused_orders) == 1


@pytest.mark.parametrize("margin", [0.02, 0.5, 0.99])
def test_every_population_respects_the_initial_margin(margin: float) -> None:
    changes = {"clearing.initial_margin": margin, "traders.entrants.quantity": 900.0, "shock.quantity": 0.0}
    changes |= {"shock.news": 0.0, "run.event_window_seconds": 10.0}
    model = cs.CascadeModel(small(**changes), rng=2)
    rows, w = model.state.accounts, model.state.world
    held = (rows["traits"] & lay.FLAG_MARGINED != 0) & (rows["position"] != 0)
    asked = np.abs(rows["position"]) * rows["entry_tick"] * int(w.config.atoms) * margin
    assert held.sum() > 40
    assert (rows["collateral"][held] >= asked[held] * (1.0 - 1e-12)).all()
    model.run()
    late = (rows["traits"] & lay.FLAG_LATE != 0) & (rows["traits"] & lay.FLAG_ACTIVE != 0)
    costs = np.abs(rows["position"]) * float(model.state.world.market.mid) * int(w.config.atoms)
    assert late.sum() >= 2
    assert (rows["collateral"][late] >= 0.98 * margin * costs[late]).all()


def test_legs_of_portfolios_respect_the_initial_margin_of_their_market() -> None:
    model = cs.CascadeModel(crossed(**{"clearing.initial_margin": 0.3}), rng=6)
    for market in model.markets.values():
        first = int(market.state.world.config.portfolio_account)
        legs = market.state.accounts[first : first + 60]
        worth = np.abs(legs["position"]) * legs["entry_tick"] * int(market.state.world.config.atoms)
        least = market.settings.clearing.initial_margin
        assert (legs["collateral"] >= least * worth * (1.0 - 1e-12)).all()


def test_initial_margin_changes_a_run() -> None:
    def marks(margin: float) -> bytes:
        model = cs.CascadeModel(small(**{"clearing.initial_margin": margin}), rng=2)
        model.run()
        return model.state.accounts["cash"].tobytes()

    assert len({marks(margin) for margin in (0.02, 0.5, 0.99)}) == 3


def test_traders_who_act_open_no_more_than_their_equity_carries() -> None:
    margin = 0.25
    activity = {"wake_rate": 0.3, "momentum_share": 0.5, "rebalance_share": 1.0, "band": 0.0, "change": 1.0}
    changes = {f"traders.activity.{name}": value for name, value in activity.items()}
    changes |= {"clearing.initial_margin": margin, "traders.inverse_leverage": [0.02, 0.03]}
    changes |= {"traders.activity.trend_seconds": 5.0, "traders.activity.reentry.probability": 1.0}
    changes |= {"traders.activity.reentry.delay_seconds": 0.0, "market.taker_fee_rate": 0.0}
    model = cs.CascadeModel(small(**changes), rng=2)
    first, count = (int(model.state.world.activity.config[name]) for name in ("first_account", "count"))
    rows, w = model.state.accounts[first : first + count], model.state.world
    grown = 0
    model.run(0)
    while not model.finished:
        for phase in range(lay.PHASES):
            before, mark = np.abs(np.array(rows["position"])), float(w.market.mark)
            worth = rows["cash"] + rows["position"] * mark * int(w.config.atoms)
            model._phase(phase)
            more = (np.abs(rows["position"]) > before) & (np.sign(rows["position"]) != 0)
            if phase == lay.PHASE_TRADE:
                exposed = np.abs(rows["position"]) * mark * int(w.config.atoms)
                # Returns bring collateral in as they come.
                have = np.maximum(worth, rows["collateral"])
                assert (exposed[more] * margin <= have[more] * (1.0 + 1e-9)).all()
                grown += int(more.sum())
        model._between_steps()
    assert grown > 20


def test_the_rates_of_brackets_hold(tmp_path: Path) -> None:
    file = tmp_path / "brackets.csv"
    file.write_text(
        "symbol,min_notional,max_notional,maint_margin_rate,max_leverage,cum\n"
        "ETHUSDT,0,1000,0.01,50,0\nETHUSDT,1000,100000,0.05,10,40\nETHUSDT,100000,10000000,0.1,5,5040\n"
    )
    changes = {"traders.brackets.path": str(file), "traders.brackets.symbol": "ETHUSDT"}
    model = cs.CascadeModel(small(**{**EMPTY, **changes, "clearing.initial_margin": 0.9}), rng=0)
    initial = model.state.world.config.clearing.initial
    assert initial.rate[: int(initial.tiers)].tolist() == [0.02, 0.1, 0.2]
    assert initial.end[:2].tolist() == [model.instrument.cash_to_atoms(v) for v in (1000.0, 100_000.0)]
    table = BracketTable(
        "ETHUSDT", [0, 1000, 1e5], [1000, 1e5, 1e7], [0.01, 0.05, 0.1], [50, 10, 5], [0, 40, 5040]
    )
    for capital, quantity, taken in ((20.0, 10.0, True), (20.0, 10.01, False), (101.0, 10.01, True)):
        model = cs.CascadeModel(small(**{**EMPTY, **changes, "run.steps": 5}), rng=0)
        model.add_participant(Quotes(model, quotes=[(0, 99.99, 100.0)], capital=1e9))
        who = Watchful(model, capital=capital, orders=[(0, 1, quantity, 99.0)])
        model.add_participant(who)
        model.run()
        assert (float(model.state.world.control.open_lots) > 0) == taken
        mark = float(model.state.world.market.mark) * model.instrument.tick_size
        assert (quantity * mark * float(table.initial_rate(quantity * mark)) <= capital) == taken


@kernel
def asked(w, value, worth):  # type: ignore[no-untyped-def]  # records have no static type
    """Rate of an exposure, and the largest that an equity carries."""
    return initial_rate(w, value), largest_exposure(w, worth)


@pytest.mark.kernel
@given(
    steps=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 60)), min_size=1, max_size=4),
    worth=st.integers(-5, 400),
)
@settings(deadline=None)
def test_the_largest_exposure_is_the_largest_that_a_search_finds(
    steps: list[tuple[int, int]], worth: int
) -> None:
    rates = [Fraction(value, 8) for value in np.cumsum([step for step, _ in steps]).tolist()]
    ends = np.cumsum([width for _, width in steps]).tolist()
    w = allocate_state(1, 0, 0).world
    initial = w.config.clearing.initial
    initial.tiers = len(rates)
    for tier, (rate, end) in enumerate(zip(rates, ends, strict=True)):
        initial.rate[tier], initial.end[tier] = float(rate), end

    def rate_of(value: Fraction) -> Fraction:
        return next((rate for rate, end in zip(rates, ends, strict=True) if value <= end), rates[-1])

    grid = [Fraction(k, 4) for k in range(4 * 8 * 401)]
    affordable = [value for value in grid if value * rate_of(value) <= worth]
    _, largest = asked(w, 0.0, float(worth))
    assert max(affordable, default=0) <= largest + 1e-9
    assert largest - float(max(affordable, default=0)) < 0.25
    for value in grid[::97]:
        assert asked(w, float(value), 0.0)[0] == float(rate_of(value))
    assert math.isinf(asked(allocate_state(1, 0, 0).world, 0.0, 1.0)[1])
