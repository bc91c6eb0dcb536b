"""The kernel's book against its plain twin, everything askable compared after every operation."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.order_book import ReferenceBook

import cascade_sim as cs
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.layout.book import BOOK, FILL_CAPACITY, ORDER_SLOT_BITS, WINDOW
from cascade_sim.core.venue.book import open_book
from cascade_sim.core.venue.replay import MESSAGE, replay

pytestmark = pytest.mark.kernel

WHAT = ["limit"] * 6 + ["cancel"] * 4 + ["amend"] * 2
WHAT += ["market", "ioc", "fok", "post_only", "slide", "reduce", "spend"]
Operation = tuple[int, int, int, int, str, int]


def operations(ticks: st.SearchStrategy[int]) -> st.SearchStrategy[list[Operation]]:
    """Operations on a book: side, tick, lots, owner, what is done, and to which order."""
    one = st.tuples(
        st.sampled_from([1, -1]),
        ticks,
        st.integers(1, 9),
        st.integers(0, 3),
        st.sampled_from(WHAT),
        st.integers(0, 60),
    )
    return st.lists(one, max_size=60)


PLACES = [100, WINDOW - 1, WINDOW, 3 * WINDOW, 5 * WINDOW + 7, 10**9, 2**40, 2**63 - 12]
FAR = st.one_of(
    st.builds(lambda place, away: place + away, st.sampled_from(PLACES), st.integers(-5, 5)),
    st.builds(lambda place, away: place + away, st.sampled_from(PLACES[3:]), st.integers(-WINDOW, 5)),
    st.integers(1, 2**63 - 2),
)
"""Few prices many windows apart, others up to a window below them, and any."""
KINDS = {
    "limit": cs.OrderType.LIMIT,
    "market": cs.OrderType.MARKET,
    "ioc": cs.OrderType.IOC,
    "fok": cs.OrderType.FOK,
    "post_only": cs.OrderType.POST_ONLY,
    "slide": cs.OrderType.POST_ONLY_SLIDE,
    "reduce": cs.OrderType.REDUCE_ONLY,
}


def compare(book: cs.OrderBook, twin: ReferenceBook) -> None:
    """Every resting order in sequence, best prices, depth and positions must agree."""
    assert book.best_bid == twin.best(1)
    assert book.best_ask == twin.best(-1)
    assert len(book) == len(twin.resting)
    for side, levels in zip((1, -1), book.depth(50), strict=True):
        mine = [
            (int(level["price_tick"]), order.quantity, order.owner)
            for level in levels
            for order in book.queue(int(level["price_tick"]))
        ]
        assert mine == [(order.tick, order.quantity, order.owner) for order in twin.queue(side)]
        for level in levels:
            queued = sum(order.quantity for order in book.queue(int(level["price_tick"])))
            assert int(level["quantity"]) == queued
    for owner in range(4):
        assert book.position(owner) == twin.positions.get(owner, 0)


@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
@given(done=operations(st.integers(95, 105)))
@settings(deadline=None)
def test_book_equals_its_twin(policy: cs.SelfTradePolicy, done: list[Operation]) -> None:
    check_operations(policy, done)


@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
@given(done=operations(FAR))
@settings(deadline=None)
def test_a_book_over_many_windows_equals_its_twin(policy: cs.SelfTradePolicy, done: list[Operation]) -> None:
    check_operations(policy, done)


@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
@given(done=operations(st.integers(95, 105)), minimum=st.integers(0, 900))
@settings(deadline=None)
def test_a_book_with_a_least_notional_equals_its_twin(
    policy: cs.SelfTradePolicy, done: list[Operation], minimum: int
) -> None:
    check_operations(policy, done, minimum)


@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
@given(
    done=operations(st.one_of(st.integers(-5, 5), st.integers(-2 * WINDOW, 2 * WINDOW))),
    moves=st.lists(st.integers(-WINDOW, WINDOW), min_size=60, max_size=60),
)
@settings(deadline=None)
def test_a_book_that_wanders_equals_its_twin(
    policy: cs.SelfTradePolicy, done: list[Operation], moves: list[int]
) -> None:
    centre, placed = 5 * WINDOW, []
    for (side, away, *rest), move in zip(done, moves, strict=False):
        centre = max(3 * WINDOW, centre + move)
        placed.append((side, centre + away, *rest))
    check_operations(policy, placed)


def check_operations(policy: cs.SelfTradePolicy, done: list[Operation], minimum: int = 0) -> None:
    """Do the same in a book and in its twin, and compare everything after each operation."""
    book = cs.OrderBook(policy, anonymous=2, minimum_notional=minimum)
    twin = ReferenceBook(int(policy), anonymous=2, minimum=minimum)
    ids: list[tuple[int, int]] = []
    for side, tick, quantity, owner, name, pick in done:
        if name == "cancel":
            if ids:
                mine, other = ids[pick % len(ids)]
                assert book.cancel(mine) == twin.cancel(other)
        elif name == "amend":
            if ids:
                mine, other = ids.pop(pick % len(ids))
                report = book.amend(mine, quantity, tick)
                number, fills, remaining = twin.amend(other, quantity, tick)
                assert [tuple(int(value) for value in fill) for fill in report.fills] == fills
                assert (report.remaining, bool(report.order_id)) == (remaining, bool(number))
                if number:
                    ids.append((report.order_id, number))
        elif name == "spend":
            report = book.market_by_notional(cs.Side(side), quantity * tick + pick, owner)
            fills, unspent = twin.spend(side, quantity * tick + pick, owner)
            assert [tuple(int(value) for value in fill) for fill in report.fills] == fills
            assert report.unspent == unspent
        else:
            kind = KINDS[name]
            if kind == cs.OrderType.MARKET:
                report = book.market(cs.Side(side), quantity, owner)
            else:
                report = book.limit(cs.Side(side), tick, quantity, owner, kind)
            number, fills, remaining = twin.enter(side, tick, quantity, owner, int(kind))
            assert [tuple(int(value) for value in fill) for fill in report.fills] == fills
            assert report.remaining == remaining
            assert bool(report.order_id) == bool(number)
            if number:
                ids.append((report.order_id, number))
        compare(book, twin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((cs.Side.BUY, 0, 1, 0), "price_tick: expected 1 to 9223372036854775806, received 0"),
        ((cs.Side.BUY, 100, 0, 0), "quantity: expected 1 to"),
        ((cs.Side.BUY, 100, 1, -1), "owner: expected 0 to"),
    ],
)
def test_wrong_orders_leave_the_book_alone(arguments: tuple[cs.Side, int, int, int], message: str) -> None:
    book = cs.OrderBook()
    with pytest.raises(Exception, match=message):
        book.limit(*arguments)
    assert len(book) == 0


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (
            (3, 1, 100, 1),
            r"messages\[1\]: expected kind 0 \(limit\), 1 \(cancel\) or 2 \(market\), received 3",
        ),
        ((0, 0, 100, 1), r"messages\[1\]: expected side \+1 or -1, received 0"),
        ((0, 1, 0, 1), r"messages\[1\]: expected price of 1 to 2147483647, received 0"),
        ((2, 1, 0, 0), r"messages\[1\]: expected quantity of at least 1, received 0"),
        (
            (1, 0, 1, 0),
            r"messages\[1\]: expected the index of an earlier message to cancel, below 1, received 1",
        ),
    ],
)
def test_a_wrong_stream_is_refused_whole(message: tuple[int, ...], complaint: str) -> None:
    book = cs.OrderBook()
    with pytest.raises(Exception, match=complaint):
        book.replay(np.array([(0, 1, 100, 1), message], np.int32))
    assert len(book) == 0


def random_stream(length: int, generator: np.random.Generator) -> np.ndarray:
    """Crossing limits, markets and cancels of anything earlier: resting, filled, cancelled, or never an order."""
    stream = np.zeros((length, 4), np.int32)
    for index, row in enumerate(stream):
        kind = int(generator.choice(3, p=(0.6, 0.25, 0.15))) if index else 0
        price = generator.integers(index) if kind == 1 else generator.integers(95, 106)
        row[:] = kind, generator.choice((1, -1)), price, generator.integers(1, 10)
    return stream


def replay_in_twin(twin: ReferenceBook, stream: np.ndarray) -> list[tuple[int, ...]]:
    """Fills of the messages entered one by one."""
    found: list[tuple[int, ...]] = []
    numbers: list[int | None] = []
    for index, (kind, side, price, quantity) in enumerate(stream.tolist()):
        number = None
        if kind == 1:
            named = numbers[price]
            if named:
                twin.cancel(named)
        else:
            entered = cs.OrderType.LIMIT if kind == 0 else cs.OrderType.MARKET
            number, fills, _ = twin.enter(side, price, quantity, index % 1024, int(entered))
            found += [(tick, side * lots, maker, taker) for tick, lots, maker, taker in fills]
        numbers.append(number)
    return found


@pytest.mark.parametrize("policy", list(cs.SelfTradePolicy))
def test_replay_equals_entering_one_by_one(policy: cs.SelfTradePolicy) -> None:
    # Twice, so that the second stream meets orders, slots and numbers of the first; owners repeat after 1,024.
    generator = np.random.default_rng(11)
    book, twin = cs.OrderBook(policy, anonymous=2), ReferenceBook(int(policy), anonymous=2)
    for length in (1_500, 700):
        stream = random_stream(length, generator)
        stream[:20] = 0, -1, 106, 3
        stream[1024:1044] = (
            0,
            1,
            106,
            9,
        )  # empty the selling side and meet what their own senders left at its end
        assert list(map(tuple, book.replay(stream).tolist())) == replay_in_twin(twin, stream)
        assert len(book) == len(twin.resting)
        for side, levels in zip((1, -1), book.depth(50), strict=True):
            mine = [
                (order.price_tick, order.quantity, order.owner)
                for level in levels
                for order in book.queue(int(level["price_tick"]))
            ]
            assert mine == [(order.tick, order.quantity, order.owner) for order in twin.queue(side)]


def test_an_id_from_before_a_replay_never_names_an_order_of_it() -> None:
    book, stream = cs.OrderBook(), np.array([(0, 1, 100, 1)], np.int32)
    book.replay(stream)
    (first,) = book.queue(100)
    assert book.cancel(first.order_id) == 1
    book.replay(stream)
    (second,) = book.queue(100)
    assert second.order_id != first.order_id
    assert book.cancel(first.order_id) == 0


@pytest.mark.parametrize(("second", "third_slot", "live"), [((1, 0, 0, 0), 1, 1), ((2, 1, 0, 1), 2, 2)])
def test_a_replay_reads_no_slot_that_it_has_not_written(
    second: tuple[int, ...], third_slot: int, live: int
) -> None:
    book = allocate(BOOK)[0]
    open_book(book, int(cs.SelfTradePolicy.ALLOW))
    # The last message names one that never rested.
    messages = np.array([(0, 1, 100, 1), second, (0, 1, 100, 1), (1, 0, 1, 0)], np.int32)
    # What memory may hold by chance: the third message's slot, and the bits that turn number 2 into its number, 3.
    slots = np.full(4, 1 << ORDER_SLOT_BITS | third_slot, np.int32)
    fills = replay(
        book, messages.view(MESSAGE).reshape(-1).view(np.recarray), slots, np.empty((9, 4), np.int32)
    )
    assert fills == 0
    assert book.live_orders == live


def test_replay_continues_where_the_report_of_fills_is_full() -> None:
    resting = FILL_CAPACITY + 300
    stream = np.tile(np.array([0, -1, 100, 1], np.int32), (resting + 2, 1))
    stream[resting] = 0, 1, 100, resting + 5
    stream[resting + 1] = 2, -1, 0, 9
    fills = cs.OrderBook().replay(stream)
    taker = resting % 1024
    expected = [(100, 1, maker % 1024, taker) for maker in range(resting)]
    assert list(map(tuple, fills.tolist())) == [*expected, (100, -5, taker, taker + 1)]


def yardstick_source() -> Path:
    """Return the referee's source, or skip with the reason."""
    folder = os.environ.get("CASCADE_SIM_YARDSTICK")
    root = Path(__file__).resolve().parents[2]
    source = (Path(folder) if folder else root.parent / "shared" / "yardstick") / "book.cpp"
    data = os.environ.get("CASCADE_SIM_DATA")
    if not source.exists() and data:
        source = Path(data).parent / "yardstick" / "book.cpp"
    if not source.exists():
        pytest.skip("the C++ yardstick is not here (CASCADE_SIM_YARDSTICK names its folder)")
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    return source


@pytest.mark.parametrize("profile", ["dense", "sparse", "deep"])
def test_replay_gives_the_fills_of_the_yardstick(profile: str, tmp_path: Path) -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("a stream of this length needs compiled kernels")
    program, stream, tape = tmp_path / "book", tmp_path / "stream.bin", tmp_path / "tape.bin"
    subprocess.run(["g++", "-O2", "-std=c++17", "-o", program, yardstick_source()], check=True)
    subprocess.run([program, "make", profile, "100000", "7", stream], check=True, capture_output=True)
    subprocess.run([program, "tape", stream, tape], check=True, capture_output=True)
    expected = np.fromfile(tape, np.int32).reshape(-1, 4)
    fills = cs.OrderBook().replay(np.fromfile(stream, np.int32).reshape(-1, 4))
    assert len(fills) > 10_000
    np.testing.assert_array_equal(fills, expected)
