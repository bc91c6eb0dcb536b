"""The call auction against an auction that tries every price and fills order by order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.venue import Order, hold_auction
from venue_world import FEES, VenueWorld

from cascade_sim.core.layout.book import NO_ASK, ORDER_SLOT_BITS, WINDOW
from cascade_sim.core.venue.book import cancel
from cascade_sim.domain.enums import EventType, OrderType
from cascade_sim.lab.soak import check_book as check_levels

pytestmark = pytest.mark.kernel

SIDE = st.sampled_from([1, -1])
ORDER = st.tuples(SIDE, st.integers(90, 110), st.integers(1, 9), st.integers(0, 5))
CANCEL = st.integers(0, 40)


def enter(
    world: VenueWorld, book: list[tuple[int, int, int, int]], call: list[tuple[int, int, int, int] | int]
) -> list[Order]:
    """Fill the book with orders that do not trade, halt, and enter the orders and cancels of the call."""
    live: dict[int, Order] = {}
    ids: list[int] = []

    def send(order: tuple[int, int, int, int], kind: OrderType) -> None:
        side, tick, lots, owner = order
        order_id, filled = world.place(owner, side, tick, lots, kind)
        assert filled == 0
        if order_id:
            live[order_id] = Order(len(ids), side, tick, lots, owner)
            ids.append(order_id)

    for order in book:
        send(order, OrderType.POST_ONLY)
    world.halt()
    for action in call:
        if isinstance(action, tuple):
            send(action, OrderType.LIMIT)
        elif action < len(ids):
            gone = live.pop(ids[action], None)
            assert cancel(world.state.book, ids[action]) == (gone.quantity if gone else 0)
    return list(live.values())


@given(
    book=st.lists(ORDER, max_size=12),
    call=st.lists(st.one_of(ORDER, ORDER, ORDER, CANCEL), max_size=40),
    reference=st.integers(85, 115),
    above=st.sampled_from([None, 0, 100 * WINDOW]),
    end=st.integers(90, 110),
    lower=st.booleans(),
)
@settings(max_examples=120)
def test_the_auction_is_the_one_that_tries_every_price(
    book: list[tuple[int, int, int, int]],
    call: list[tuple[int, int, int, int] | int],
    reference: int,
    above: int | None,
    end: int,
    lower: bool,
) -> None:
    # Above prices that fit in one window, the window ends among those of the orders as they begin to come.
    shift = above or 0
    book = [(side, tick + shift, *rest) for side, tick, *rest in book]
    call = [(each[0], each[1] + shift, *each[2:]) if isinstance(each, tuple) else each for each in call]
    reference += shift
    world = VenueWorld(reference, maker_fee=-0.0001, taker_fee=0.00037)
    if above is not None:
        world.state.book.origin = max(0, shift + end - (0 if lower else WINDOW))
    orders = enter(world, book, call)
    assert int(world.state.book.best_bid) < int(world.state.book.best_ask)
    messages = int(world.state.book.messages)
    world.begin_step(5)
    price, fills, left = hold_auction(orders, reference)
    rows = world.trades()
    assert [
        (int(row.aggressor_side), int(row.quantity_lot), int(row.taker_account), int(row.maker_account))
        for row in rows
    ] == [(fill.side, fill.quantity, fill.taker, fill.maker) for fill in fills]
    assert set(rows["price_tick"].tolist()) <= {price}
    queues: dict[int, list[tuple[int, int]]] = {}
    for order in left:
        queues.setdefault(order.tick, []).append((order.owner, order.quantity))
    assert world.queues() == queues
    check_book(world, left, messages)
    check_cash(world)
    resume = world.events()[-1]
    assert int(resume.type) == EventType.RESUME
    assert int(resume.filled) == sum(fill.quantity for fill in fills)
    assert float(resume["fill"]) == price if fills else np.isnan(resume["fill"])


def check_book(world: VenueWorld, left: list[Order], messages: int) -> None:
    """Best prices, counts and bits are those of the orders that are left, and every order can be cancelled."""
    book = world.state.book
    bids = [order.tick for order in left if order.side > 0]
    asks = [order.tick for order in left if order.side < 0]
    assert int(book.best_bid) == max(bids, default=0)
    assert int(book.best_ask) == min(asks, default=NO_ASK)
    assert int(book.live_orders) == len(left)
    assert int(book.messages) == messages
    assert sorted(world.queues()) == sorted({*bids, *asks})
    assert list(check_levels(world.state)) == []


def check_cash(world: VenueWorld) -> None:
    """No atom is lost, and the account of the fees has what the record says was paid."""
    rows, accounts = world.trades(), world.state.accounts
    assert int(accounts["cash"].sum()) == 0
    assert int(accounts["position"].sum()) == 0
    assert int(accounts["cash"][FEES]) == int(rows["taker_fee"].sum() + rows["maker_fee"].sum())


def test_the_rule_book_by_hand() -> None:
    world = VenueWorld(100)
    enter(world, [(1, 99, 5, 0), (-1, 101, 5, 1)], [(1, 103, 4, 2), (-1, 97, 2, 3), (-1, 102, 9, 4)])
    assert world.queues() == {0: [(2, 4), (3, 2)], 99: [(0, 5)], 101: [(1, 5)], 102: [(4, 9)]}
    world.begin_step(5)
    # At 101 and 102 four lots trade; 101 leaves 3 lots over, 102 leaves 12.
    rows = world.trades()
    assert rows["price_tick"].tolist() == [101, 101]
    assert rows["quantity_lot"].tolist() == [2, 2]
    assert rows["maker_account"].tolist() == [2, 1]
    assert world.queues() == {99: [(0, 5)], 101: [(1, 3)], 102: [(4, 9)]}
    assert float(world.state.world.market.mid) == 100.0


def test_an_order_of_the_pool_keeps_its_time() -> None:
    world = VenueWorld(100)
    _, pooled = enter(world, [(-1, 100, 1, 0)], [(1, 100, 5, 1)])
    assert pooled.owner == 1
    assert cancel(world.state.book, 1 << ORDER_SLOT_BITS | 1) == 1
    world.place(2, 1, 100, 3)
    world.begin_step(5)
    assert world.queues() == {100: [(1, 5), (2, 3)]}


@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.IOC, OrderType.FOK])
def test_what_cannot_rest_is_refused_in_a_halt(kind: OrderType) -> None:
    world = VenueWorld(100)
    enter(world, [(1, 99, 5, 0), (-1, 101, 5, 1)], [])
    assert world.place(2, 1, 105, 3, kind) == (0, 0)
    assert world.queues() == {99: [(0, 5)], 101: [(1, 5)]}
