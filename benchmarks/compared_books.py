"""Order books that can be had with pip, each fed with the same messages from Python in its own fastest and plainest way.

Every way is a function that takes a stream and returns two others: one to be timed, and one that tells the trades after.
What a user would prepare once (lists instead of arrays, enumerations) is prepared outside the timed part.
"""

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from streams import CANCEL, LIMIT, OWNERS, Stream, Trades

from cascade_sim.domain.enums import Cause, OrderType, Side
from cascade_sim.market.order_book import ORDERS, OrderBook

Way = Callable[[Stream], tuple[Callable[[], object], Callable[[], Trades]]]
FARTHEST = 262_143
BATCH = 1_000


@dataclass(frozen=True)
class Book:
    """One way through one order book.

    Attributes
    ----------
    program, way
        What it is called.
    start : callable
        Makes an empty book, ready to be fed.
    module : str
        What must be importable.
    messages : {"all", "orders", "first"}
        What it is fed: the stream, the stream without cancellations, or the stream's beginning.
    exact : bool
        Whether it takes messages in the order in which they come, so that its trades must be the same.
    """

    program: str
    way: str
    start: Way
    module: str = "cascade_sim"
    messages: str = "all"
    exact: bool = True


def _told(rows: list[tuple[int, int, int, int]]) -> Trades:
    return np.array(rows, np.int64).reshape(-1, 4)


def replayed(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed ours with the whole stream in one call."""
    book, told = OrderBook(), []

    def feed() -> None:
        told.append(book.replay(stream))

    return feed, lambda: told[0].astype(np.int64)


def one_by_one(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed ours with one call a message; every call returns a report of its fills."""
    book, reports, ids = OrderBook(), [], [0] * len(stream)
    rows = [(kind, Side(side or 1), price, quantity) for kind, side, price, quantity in stream.tolist()]

    def feed() -> None:
        for index, (kind, side, price, quantity) in enumerate(rows):
            if kind == LIMIT:
                report = book.limit(side, price, quantity, index % OWNERS)
                ids[index] = report.order_id
                reports.append((side, report))
            elif kind == CANCEL:
                book.cancel(ids[price])
            else:
                reports.append((side, book.market(side, quantity, index % OWNERS)))

    return feed, lambda: _from_reports(reports)


def _from_reports(reports: list[Any]) -> Trades:
    return _told(
        [
            (
                int(fill["price_tick"]),
                int(side) * int(fill["quantity"]),
                int(fill["maker"]),
                int(fill["taker"]),
            )
            for side, report in reports
            for fill in report.fills
        ]
    )


def submitted(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed ours with one batch of orders; every order gets a report of its fills."""
    book = OrderBook()
    batch = np.zeros(len(stream), ORDERS)
    batch["side"], batch["price_tick"], batch["quantity"] = stream[:, 1], stream[:, 2], stream[:, 3]
    batch["owner"] = np.arange(len(stream)) % OWNERS
    batch["order_type"] = np.where(stream[:, 0] == LIMIT, int(OrderType.LIMIT), int(OrderType.MARKET))
    batch["cause"], batch["parent"] = int(Cause.BACKGROUND), -1
    reports: list[Any] = []

    def feed() -> None:
        reports.extend(book.submit(batch))

    return feed, lambda: _from_reports(list(zip(stream[:, 1].tolist(), reports, strict=True)))


def bourse_one_by_one(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed Bourse's book with one call a message; a time of its own for each message keeps their order."""
    book = importlib.import_module("bourse").core.OrderBook(0, 1)
    ids, sent = [-1] * len(stream), []
    rows = [(kind, side > 0, price, quantity) for kind, side, price, quantity in stream.tolist()]

    def feed() -> None:
        for index, (kind, buys, price, quantity) in enumerate(rows):
            book.set_time(index)
            if kind == LIMIT:
                ids[index] = book.place_order(buys, quantity, index % OWNERS, price=price)
            elif kind == CANCEL:
                book.cancel_order(ids[price])
            else:
                book.place_order(buys, quantity, index % OWNERS)

    def trades() -> Trades:
        sent.extend(np.flatnonzero(stream[:, 0] != CANCEL).tolist())
        return _from_bourse(book.get_trades(), stream, sent)

    return feed, trades


def _from_bourse(trades: list[Any], stream: Stream, sent: list[int]) -> Trades:
    """Trades of Bourse with the owners of the messages behind its order numbers, which count up from 0."""
    rows = []
    for _, _, price, quantity, taker, maker in trades:
        side = int(stream[sent[taker], 1])
        rows.append((price, side * quantity, sent[maker] % OWNERS, sent[taker] % OWNERS))
    return _told(rows)


def bourse_batches(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed Bourse's stepping environment with arrays of 1,000 messages a step; it shuffles them within the step.

    It has no market orders in arrays: limit orders at the farthest price stand for them.
    """
    env = importlib.import_module("bourse").core.StepEnvNumpy(1, 0, 1, 10 * BATCH)
    ordered = stream[:, 0] != CANCEL
    numbers = np.cumsum(ordered) - 1
    far = np.where(stream[:, 1] > 0, FARTHEST, 1)
    prices = np.where(stream[:, 0] == LIMIT, stream[:, 2], far).astype(np.uint32)
    cancelled = np.where(ordered, 0, numbers[stream[:, 2] * ~ordered]).astype(np.uint64)
    columns = (
        np.where(ordered, 1, 2).astype(np.uint32),
        stream[:, 1] > 0,
        stream[:, 3].astype(np.uint32),
        (np.arange(len(stream)) % OWNERS).astype(np.uint32),
        np.where(ordered, prices, 0).astype(np.uint32),
        cancelled,
    )

    def feed() -> None:
        for first in range(0, len(stream), BATCH):
            env.submit_instructions(tuple(column[first : first + BATCH] for column in columns))
            env.step()

    return feed, lambda: _from_bourse(env.get_trades(), stream, np.flatnonzero(ordered).tolist())


def pams_book(stream: Stream) -> tuple[Callable[[], object], Callable[[], Trades]]:
    """Feed the market of PAMS as its own runner does, order by order, without the runner's other work."""
    pams, order = importlib.import_module("pams"), importlib.import_module("pams.order")
    prng = random.Random(1)
    market = pams.Market(market_id=0, prng=prng, simulator=pams.Simulator(prng=prng), name="market")
    market.setup({"tickSize": 1.0, "marketPrice": 100_000.0})
    market._update_time(next_fundamental_price=100_000.0)
    market._is_running = True
    orders: list[Any] = [None] * len(stream)
    rows = stream.tolist()
    logs: list[tuple[int, Any]] = []

    def feed() -> None:
        for index, (kind, side, price, quantity) in enumerate(rows):
            if kind == CANCEL:
                market._cancel_order(order.Cancel(orders[price]))
                continue
            kinds = order.LIMIT_ORDER if kind == LIMIT else order.MARKET_ORDER
            limit = float(price) if kind == LIMIT else None
            orders[index] = order.Order(index % OWNERS, 0, side > 0, kinds, quantity, price=limit)
            market._add_order(orders[index])
            logs.extend((side, log) for log in market._execution())

    return feed, lambda: _told([_from_pams(side, log) for side, log in logs])


def _from_pams(side: int, log: Any) -> tuple[int, int, int, int]:
    taker, maker = log.buy_agent_id, log.sell_agent_id
    if side < 0:
        taker, maker = maker, taker
    return round(log.price), side * log.volume, maker, taker


BOOKS = (
    Book("cascade_sim", "`OrderBook.replay`, one call", replayed),
    Book("cascade_sim", "`OrderBook.limit`, `.cancel`, `.market`, one call a message", one_by_one),
    Book("cascade_sim", "`OrderBook.submit`, one call, no cancellations", submitted, messages="orders"),
    Book("Bourse", "`OrderBook`, one call a message", bourse_one_by_one, "bourse"),
    Book("Bourse", "`StepEnvNumpy`, 1,000 messages a step", bourse_batches, "bourse", exact=False),
    Book("PAMS", "`Market`, order by order", pams_book, "pams", messages="first"),
)
"""Every way that is compared; the first is what the others are held against."""


def agreement(found: Trades, expected: Trades) -> str:
    """Say in a few words how two lists of trades agree."""
    if np.array_equal(found, expected):
        return "same trades"
    if np.array_equal(found[:, 1:], expected[:, 1:]):
        equal = np.mean(found[:, 0] == expected[:, 0])
        return f"same trades, {100.0 * (1.0 - equal):.1f} % of them at other prices"
    volume = np.abs(found[:, 1]).sum() / np.abs(expected[:, 1]).sum()
    return f"{len(found) / len(expected):.3f} of the trades, {volume:.3f} of the volume"
