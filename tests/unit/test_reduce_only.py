"""Reduce-only orders that rest: whatever happens to their account, they never open or turn a position."""

from typing import Any

import numpy as np
import pytest
from test_open_orders import EMPTY, Quotes
from trading_agents import small
from venue_world import VenueWorld

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import off_book_trade
from cascade_sim.core.drivers.blank import blank_of, renew
from cascade_sim.core.drivers.state import allocate_system, plain
from cascade_sim.core.layout.opening import PLAN
from cascade_sim.core.venue.book import cancel
from cascade_sim.domain.enums import Cause, OrderType, Refusal
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.lab.soak import check_book, check_reductions, violations

LIMIT, MARKET, IOC, FOK, POST_ONLY, SLIDE = (OrderType(code) for code in range(6))
MAKER, HOLDER, OTHER = 0, 2, 3


class ReducingWorld(VenueWorld):
    """A market in which :data:`HOLDER` is long by ten and others quote 98 and 102."""

    def __init__(self) -> None:
        super().__init__(100)
        self.place(MAKER, -1, 100, 10)
        assert self.place(HOLDER, 1, 100, 10) == (0, 10)
        self.place(MAKER, 1, 98, 50)
        self.place(MAKER, -1, 110, 50)

    def reduce(self, side: int, tick: int, lots: int, kind: OrderType = LIMIT, account: int = HOLDER) -> int:
        """Send an order that may only reduce; returns its id."""
        order_id, _ = self.place(account, side, tick, lots, int(kind) + lay.REQUEST_REDUCE_ONLY)  # type: ignore[arg-type]
        return order_id

    def rests(self, account: int = HOLDER) -> dict[int, int]:
        """Lots of an account by tick."""
        return {
            tick: sum(lots for owner, lots in queue if owner == account)
            for tick, queue in self.queues().items()
            if account in [owner for owner, _ in queue]
        }

    def whole(self) -> None:
        """Assert that all lists are whole and nothing would open a position."""
        assert [*check_book(self.state), *check_reductions(self.state)] == []


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "tick", "rests"),
    [(LIMIT, 105, {105: 10}), (POST_ONLY, 105, {105: 10}), (SLIDE, 97, {99: 10}), (POST_ONLY, 98, {})],
)
def test_it_is_cut_as_it_enters(kind: OrderType, tick: int, rests: dict[int, int]) -> None:
    world = ReducingWorld()
    assert world.reduce(1, tick - 20, 5, kind) == 0
    assert (world.reduce(-1, tick, 15, kind) != 0) == bool(rests)
    assert world.rests() == rests
    # What waits already leaves nothing for another one.
    assert (world.reduce(-1, tick + 1, 1, kind) == 0) == bool(rests) or tick == 98
    world.whole()


@pytest.mark.kernel
def test_the_newest_are_cut_first_as_the_position_shrinks() -> None:
    world = ReducingWorld()
    first, second, third = (world.reduce(-1, tick, lots) for tick, lots in ((105, 4), (103, 3), (104, 3)))
    assert 0 not in (first, second, third)
    assert world.place(HOLDER, -1, 98, 4, IOC) == (0, 4)
    assert world.rests() == {105: 4, 103: 2}
    # Of its own fills nothing has to be cut: position and orders shrink together.
    assert world.place(OTHER, 1, 103, 1, IOC) == (0, 1)
    assert world.rests() == {105: 4, 103: 1}
    world.place(HOLDER, 1, 98, 2)
    world.whole()
    assert world.place(HOLDER, -1, 98, 5, MARKET) == (0, 5)
    assert world.rests() == {98: 2}
    assert int(world.state.accounts["position"][HOLDER]) == 0
    assert int(world.state.book.messages) > 0
    world.whole()


@pytest.mark.kernel
def test_an_order_that_takes_both_kinds_finds_the_rest_cut() -> None:
    world = ReducingWorld()
    world.reduce(-1, 103, 10)
    world.place(HOLDER, -1, 102, 6)
    # Six plain lots are sold at 102; of the ten at 103 only four are left then.
    assert world.place(OTHER, 1, 103, 16, IOC) == (0, 10)
    assert world.trades()["quantity_lot"].tolist() == [10, 6, 4]
    assert int(world.state.accounts["position"][HOLDER]) == 0
    assert world.rests() == {}
    world.whole()


@pytest.mark.kernel
@pytest.mark.parametrize("kind", [FOK, IOC])
def test_all_or_nothing_is_decided_as_it_arrives(kind: OrderType) -> None:
    world = ReducingWorld()
    world.reduce(-1, 103, 10)
    world.place(HOLDER, -1, 102, 6)
    world.place(MAKER, -1, 104, 2)
    assert world.place(OTHER, 1, 104, 16, kind) == (0, 12)
    world.whole()


def test_a_book_alone_comes_to_an_end_with_it() -> None:
    book = cs.OrderBook()
    book.limit(cs.Side.SELL, 100, 10, owner=1)
    book.market(cs.Side.BUY, 10, owner=2)
    book.limit(cs.Side.SELL, 103, 10, owner=2, order_type=OrderType.REDUCE_ONLY)
    book.limit(cs.Side.SELL, 102, 6, owner=2)
    report = book.limit(cs.Side.BUY, 103, 16, owner=3, order_type=FOK)
    assert (report.fills["quantity"].tolist(), report.remaining) == ([6, 4], 6)


@pytest.mark.kernel
def test_what_changes_outside_of_the_book_is_caught_up_with_before_the_next_order() -> None:
    world = ReducingWorld()
    world.reduce(-1, 102, 10)
    state = world.state
    parts = (state.world, state.accounts, state.watch, state.tape)
    off_book_trade(*parts, HOLDER, OTHER, 7, 100, int(Cause.DELEVERAGING), -1)
    assert world.place(OTHER, 1, 102, 10, IOC) == (0, 3)
    assert int(state.accounts["position"][HOLDER]) == 0
    world.whole()


@pytest.mark.kernel
def test_in_the_call_it_is_cut_fill_by_fill() -> None:
    world = ReducingWorld()
    world.halt()
    # A halted market collects them: six plain lots and ten that may only reduce, of a position of ten.
    world.place(HOLDER, -1, 95, 6)
    assert world.reduce(-1, 96, 15) != 0
    world.place(OTHER, 1, 103, 20)
    world.begin_step(5)
    assert int(world.state.accounts["position"][HOLDER]) == 0
    assert world.rests() == {}
    assert world.rests(OTHER) == {103: 10}
    resume = world.events()[-1]
    assert int(resume.filled) == world.trades()["quantity_lot"][1:].sum() == 10
    world.whole()


@pytest.mark.kernel
def test_it_reserves_no_margin_and_counts_for_no_cap() -> None:
    world = ReducingWorld()
    state, initial = world.state, world.state.world.config.clearing.initial
    state.accounts["traits"][HOLDER] = lay.FLAG_MARGINED
    initial.tiers, initial.rate[0], initial.end[0] = 1, 0.5, np.inf
    state.accounts["cash"][HOLDER] -= 10**9
    assert world.reduce(-1, 105, 10) != 0
    assert float(state.watch[lay.RESTING_SELL, HOLDER]) == 10.0
    # Without any equity a plain order of ten still only closes: the others would be cut.
    assert world.place(HOLDER, -1, 106, 10)[0] != 0
    assert world.place(HOLDER, -1, 106, 1)[0] == 0
    assert int(state.world.control.refusal) == Refusal.INITIAL_MARGIN
    assert world.place(OTHER, 1, 105, 4, IOC) == (0, 4)
    assert float(state.watch[lay.RESTING_SELL, HOLDER]) == 16.0
    assert world.place(HOLDER, -1, 98, 6, IOC) == (0, 6)
    assert float(state.watch[lay.RESTING_SELL, HOLDER]) == 10.0
    assert float(state.world.control.open_lots) == 10.0
    capped = ReducingWorld()
    capped.rules.position_cap[:] = 12
    capped.reduce(-1, 105, 10)
    assert capped.place(HOLDER, -1, 106, 30)[0] != 0
    assert capped.rests() == {105: 10, 106: 22}


@pytest.mark.kernel
def test_entries_are_given_back_when_orders_are_gone() -> None:
    world = ReducingWorld()
    for _ in range(50):
        order_id = world.reduce(-1, 105, 2)
        cancel(world.state.book, order_id)
    assert int(world.state.world.reducing.fresh) <= 2
    for tick in (105, 106, 107):
        world.reduce(-1, tick, 2)
    world.place(HOLDER, -1, 98, 10, IOC)
    world.place(HOLDER, 1, 98, 1)
    assert world.rests() == {98: 1}
    assert int(world.state.world.control.reducing) == 0
    world.whole()


@pytest.mark.kernel
def test_accounts_of_one_list_are_kept_apart() -> None:
    world = ReducingWorld()
    state = world.state
    state.world.reducing.head[:] = 0
    other = HOLDER + 4
    world.place(MAKER, -1, 100, 5)
    world.place(other, 1, 100, 5)
    first, second = world.reduce(-1, 105, 5), world.reduce(-1, 105, 5, account=other)
    # As if both had fallen into one list.
    pool = state.world.reducing.pool
    mine = next(k for k in (1, 2) if int(pool[k].order_id) == first)
    yours = next(k for k in (1, 2) if int(pool[k].order_id) == second)
    pool[mine].next = yours
    state.world.reducing.head[other] = mine
    assert world.place(HOLDER, -1, 98, 8, IOC) == (0, 8)
    assert world.rests() == {105: 2}
    assert world.rests(other) == {105: 5}


@pytest.mark.kernel
def test_a_used_world_forgets_them() -> None:
    system = allocate_system(8, 0, [0])
    blank = blank_of(system)
    w = system.worlds[0]
    w.reducing.head[7], w.reducing.fresh, w.control.reducing = 1, 1, 1
    plans = plain(np.zeros(1, PLAN).view(np.recarray))
    worlds, books, *_ = system.arrays()
    renew(worlds, books, system.watch, plans, blank, np.zeros(1, np.uint64))
    assert not np.any(w.reducing.head)
    assert (int(w.reducing.fresh), int(w.control.reducing)) == (0, 0)


class Holds(cs.Participant):
    """Buys ten in step 1, and what its script says later."""

    script: Any = None

    def decide(self, market: Any) -> None:
        """Buy, then follow the script."""
        self.seen = {**getattr(self, "seen", {}), market.step: market.position}
        self.open = {**getattr(self, "open", {}), market.step: market.open_orders}
        if market.step == 1:
            market.buy(10.0)
        elif market.step > 1:
            self.script(market)


def world_of(script: Any, agent: type[Any] = Holds, **changes: Any) -> tuple[cs.CascadeModel, Any]:
    settings = {**EMPTY, "run.steps": 20, "market.mark_price": {"name": "mid"}, "market.taker_fee_rate": 0.0}
    parameters = changes.pop("parameters", {})
    quotes = changes.pop("quotes", [(0, 99.9, 100.1)])
    model = cs.CascadeModel(small(**{**settings, **changes}), rng=0)
    model.add_participant(Quotes(model, quotes=quotes, capital=1e9))
    who = agent(model, **{"capital": 1e6, "script": script, **parameters})
    (model.add_cohort if isinstance(who, cs.Cohort) else model.add_participant)(who)
    return model, who


def ended(model: cs.CascadeModel) -> None:
    while not model.finished:
        model.step()
        assert violations(model) == []
    assert measure_conservation(model, collect(model)) == 0


def test_an_agent_leaves_a_take_profit_that_never_opens() -> None:
    ids: list[int] = []

    def script(market: Any) -> None:
        if market.step == 2:
            ids.append(market.sell(50.0, 105.0, LIMIT, reduce_only=True))
        elif market.step == 4:
            market.sell(4.0)
        elif market.step == 6:
            ids.append(market.amend(ids[0], price=106.0))
        elif market.step == 8:
            ids.append(market.amend(ids[-1], quantity=30.0))
        elif market.step == 10:
            market.sell(6.0)

    model, who = world_of(script)
    ended(model)
    resting = {step: [(o.price, o.quantity) for o in orders] for step, orders in who.open.items()}
    assert resting[3] == [(105.0, 10.0)]
    assert resting[5] == [(105.0, 6.0)]
    assert resting[7] == [(106.0, 6.0)]
    assert resting[9] == [(106.0, 6.0)]
    assert resting[11] == []
    assert who.seen[11] == 0.0


def test_late_orders_are_cut_when_they_arrive() -> None:
    def script(market: Any) -> None:
        if market.step == 5:
            market.sell(10.0, 105.0, LIMIT, reduce_only=True)
            market.sell(8.0, 50.0, IOC, reduce_only=True)
            market.sell(8.0, 50.0, IOC, reduce_only=True)

    model, who = world_of(script, **{"latency.participants.delay_seconds": 3.0})
    ended(model)
    # They are sent one after the other, each while ten are held; none of them turns the position.
    assert who.seen[8] == 0.0 or who.seen[9] == 0.0
    assert min(who.seen.values()) == 0.0
    assert int(model.state.book.live_orders) == 2


def test_under_linear_impact_nothing_rests_and_nothing_turns() -> None:
    def script(market: Any) -> None:
        if market.step == 3:
            market.sell(50.0, 50.0, LIMIT, reduce_only=True)

    model, who = world_of(script, **{"market.price_formation": {"name": "linear_impact"}})
    ended(model)
    assert who.seen[4] == 0.0


class HoldsMany(cs.Cohort):
    """Accounts that buy ten each and leave orders to close them."""

    script: Any = None

    def decide(self, market: Any) -> None:
        """Buy, then follow the script."""
        self.open = {**getattr(self, "open", {}), market.step: market.open_orders}
        self.seen = {**getattr(self, "seen", {}), market.step: market.position}
        if market.step == 1:
            market.buy(10.0)
        elif market.step > 1:
            self.script(market)


def test_a_cohort_leaves_them_and_amends_them() -> None:
    def script(market: Any) -> None:
        if market.step == 2:
            market.sell([20.0, 5.0, 7.0], [105.0, 106.0, 107.0], LIMIT, reduce_only=True)
        elif market.step == 4:
            market.amend(market.open_orders["order_id"], quantity=50.0, price=108.0)
        elif market.step == 6:
            market.sell([0.0, 4.0, 9.0])

    model, who = world_of(script, HoldsMany, parameters={"count": 3})
    ended(model)

    def resting(step: int) -> dict[int, tuple[float, float]]:
        rows = who.open[step]
        found = zip(rows["account"].tolist(), rows["price"].tolist(), rows["quantity"].tolist(), strict=True)
        return {account: (price, quantity) for account, price, quantity in found}

    assert resting(3) == {0: (105.0, 10.0), 1: (106.0, 5.0), 2: (107.0, 7.0)}
    assert resting(5) == {0: (108.0, 10.0), 1: (108.0, 10.0), 2: (108.0, 10.0)}
    assert resting(7) == {0: (108.0, 10.0), 1: (108.0, 6.0), 2: (108.0, 1.0)}


def test_a_closed_account_and_its_counterparties_keep_none_too_many() -> None:
    class Reducers(cs.Cohort):
        """Leveraged accounts that leave orders to close what they hold, on both sides of the mark."""

        margined = True

        def decide(self, market: Any) -> None:
            """Open, and renew what closes."""
            if market.step == 1:
                side = np.where(np.arange(market.count) % 2 == 0, 1, -1)
                market.submit(side, 40.0 * self.capital / market.mark)
            elif market.step > 1 and market.step % 3 == 0:
                market.cancel_all(np.flatnonzero(market.uniform(3) < 0.3))
                held = market.position
                away = market.mark * (1.0 + 0.004 * np.sign(held) * (market.uniform(1) - 0.3))
                for call, mine in ((market.sell, held > 0), (market.buy, held < 0)):
                    chosen = np.flatnonzero(mine)
                    call(np.abs(held[chosen]), away[chosen], LIMIT, reduce_only=True, accounts=chosen)

    changes = {
        "shock.news": -0.05,
        "shock.quantity": 2000.0,
        "run.steps": 60,
        "clearing.insurance_fund": 100.0,
    }
    changes |= {"venue.circuit_breaker": {"levels": [0.02], "halt_seconds": [4.0], "window_seconds": 30.0}}
    model = cs.CascadeModel(small(**changes), rng=5)
    model.add_cohort(Reducers(model, count=80, capital=400.0))
    most = 0
    while not model.finished:
        model.step()
        assert violations(model) == []
        most = max(most, int(model.state.world.control.reducing))
    assert most > 20
    kinds = set(collect(model).events["type"].astype(str))
    assert {"liquidation", "cancel", "halt"} <= kinds
    assert measure_conservation(model, collect(model)) == 0


def test_drivers_agree_with_them() -> None:
    def built() -> cs.CascadeModel:
        def script(market: Any) -> None:
            price = market.mid * (1.0 + 0.002 * (market.uniform(1) - 0.3))
            if market.step % 2:
                (market.buy if market.uniform(2) < 0.5 else market.sell)(3.0, price)
            side = market.sell if market.position > 0 else market.buy
            side(5.0, price, LIMIT, reduce_only=True)

        model = cs.CascadeModel(small(), rng=4)
        for _ in range(3):
            model.add_participant(Holds(model, script=script))
        return model

    fused, stepped = built(), built()
    fused.run()
    while not stepped.finished:
        stepped.step()
    assert fused.state.accounts.tobytes() == stepped.state.accounts.tobytes()
    assert int(fused.state.world.reducing.fresh) > 0
