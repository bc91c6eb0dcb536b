"""The soak: it finds nothing in a run that is whole, and finds what was broken on purpose."""

from collections.abc import Callable

import numpy as np
import pytest

from cascade_sim.bench import Request, bench
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.reducing import remember
from cascade_sim.core.drivers.state import State
from cascade_sim.core.layout.book import INDEX_MASK, ORDER_SLOT_BITS
from cascade_sim.lab.soak import SOAK, soak, violations, walk
from cascade_sim.model import CascadeModel
from cascade_sim.scenario import load_scenario


@pytest.fixture
def busy() -> CascadeModel:
    """Both markets after a few steps, with orders on their way and traders waiting."""
    model = CascadeModel(load_scenario(SOAK), rng=1)
    model.run(until=40)
    return model


def test_a_million_messages_break_nothing() -> None:
    found = soak(1_000_000)
    assert found.failures == ()
    assert found.messages >= 1_000_000
    assert found.steps > 100


def test_a_run_that_ends_early_is_a_failure() -> None:
    short = {"run.steps": 20, "shock.at_seconds": 1.0, "shock.duration_seconds": 1.0}
    scenario = load_scenario(SOAK).with_overrides(short)
    assert "the run ended after" in soak(10**9, scenario=scenario).failures[-1]


@pytest.mark.slow
def test_a_hundred_million_messages_break_nothing() -> None:
    figures = bench(Request(), ["soak"])
    assert figures["soak_failures"] == 0.0
    assert (figures["soak_messages"] or 0.0) >= 100_000_000


def test_lists_are_followed_to_their_end_and_no_further() -> None:
    following = np.array([0, 2, 3, 0, 5, 4, 0])
    assert walk(np.array([1, 0, 4, 3]), following).tolist() == [0, 1, 1, 2, 2, 1, 0]


def _lose_slot(state: State) -> None:
    book = state.book
    book.free_slot = book.orders[int(book.free_slot)].next


def _lose_atom(state: State) -> None:
    state.accounts["cash"][7] += 1


def _miscount_level(state: State) -> None:
    state.book.levels[int(state.book.best_bid)].quantity_lot += 1


def _forget_order(state: State) -> None:
    state.book.live_orders -= 1


def _move_best(state: State) -> None:
    state.book.best_ask -= 1


def _break_link_back(state: State) -> None:
    book = state.book
    orders = book.orders[: int(book.fresh_slot)]
    slot = int(np.flatnonzero((orders["quantity_lot"] > 0) & (orders["next"] > 0))[0])
    orders["previous"][int(orders["next"][slot])] = 0


def _age_trigger(state: State) -> None:
    rows = state.accounts
    held = np.flatnonzero((rows["position"] > 0) & (rows["traits"] & lay.FLAG_MARGINED != 0))
    state.watch[lay.WATCH_LIQUIDATE_LONG, held[0]] += 1e-9


def _leave_index(state: State) -> None:
    lists = state.world.triggers[lay.WATCH_LIQUIDATE_LONG]
    lists.head[int(np.flatnonzero(lists.head)[0])] = 0


def _lose_chunk(state: State) -> None:
    state.world.wheel.free = 0


def _miss_expiry(state: State) -> None:
    wheel = state.world.wheel
    wheel.chunks[int(wheel.head[int(np.flatnonzero(wheel.head)[0])])].due[0] = 1


def _lose_trader(state: State) -> None:
    wheel = state.world.activity.wheel
    wheel.head[int(np.flatnonzero(wheel.head)[0])] = 0


def _leave_stops(state: State) -> None:
    lists = state.world.activity.lists[0]
    lists.head[int(np.flatnonzero(lists.head)[0])] = 0


def _lose_message(state: State) -> None:
    flight = state.world.flight
    flight.free = flight.pool[int(flight.free)].next


def _keep_message(state: State) -> None:
    state.world.flight.sent = 1


def _drift_interest(state: State) -> None:
    state.world.totals.open_interest += 1


def _reserve_more(state: State) -> None:
    state.watch[lay.RESTING_SELL, 20] += 1.0


def _drift_open_lots(state: State) -> None:
    state.world.control.open_lots += 1.0


def _open_by_reducing(state: State) -> None:
    # The best bid is of somebody who holds nothing to sell, or of one who is long.
    book, rows = state.book, state.accounts
    orders = book.orders[: int(book.fresh_slot)]
    owners = np.asarray(orders["owner"])
    live = np.flatnonzero(orders["quantity_lot"])
    buying = live[(np.asarray(orders["key"])[live] & INDEX_MASK) + int(book.origin) <= int(book.best_bid)]
    slot = int(buying[np.flatnonzero(rows["position"][owners[buying]] >= 0)[0]])
    order_id = int(orders["serial"][slot]) << ORDER_SLOT_BITS | slot
    remember(state.world, np.int64(owners[slot]), np.int64(1), np.int64(order_id))


def _lose_reduction(state: State) -> None:
    state.world.reducing.fresh = 1


def _drift_reductions(state: State) -> None:
    state.world.control.reducing += 1


def _drift_total(state: State) -> None:
    state.world.totals.cash = 1


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (_lose_slot, "an order slot is lost"),
        (_lose_atom, "accounts do not add up"),
        (_drift_total, "a running total is not zero"),
        (_drift_interest, "open interest is not what"),
        (_miscount_level, "a level does not hold"),
        (_forget_order, "live orders are miscounted"),
        (_move_best, "the best prices are not"),
        (_break_link_back, "a queue is not linked back"),
        (_age_trigger, "the trigger of a long is out of date"),
        (_leave_index, "the index of triggers does not list"),
        (_reserve_more, "the open lots of an account are not"),
        (_drift_open_lots, "open lots are miscounted"),
        (_open_by_reducing, "a reduce-only order would open a position"),
        (_lose_reduction, "an entry of a reduce-only order is lost"),
        (_drift_reductions, "reduce-only orders are miscounted"),
        (_lose_chunk, "a chunk of the wheel of orders is lost"),
        (_miss_expiry, "the wheel of orders that was due is still waiting"),
        (_lose_trader, "a chunk of the wheel of traders is lost"),
        (_leave_stops, "the index of stops does not list"),
        (_lose_message, "an order on its way is lost"),
        (_keep_message, "an order was sent and never set out"),
    ],
)
def test_what_is_broken_is_found(busy: CascadeModel, damage: Callable[[State], None], line: str) -> None:
    assert violations(busy) == []
    state = busy.markets["futures"].state
    damage(state)
    assert any(line in found for found in violations(busy))
