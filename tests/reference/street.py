"""One market as those see it who send orders to it: a book, its mid, positions, and everything that was sent.

Prices are ticks, quantities lots. Imports nothing of ours.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from reference.order_book import LIMIT, MARKET, POST_ONLY, SLIDE, Order, ReferenceBook

IOC = 2
TICKS = 1 << 18
"""The first price that is too high, in a market that begins below an eighth of it."""
__all__ = ["IOC", "LIMIT", "MARKET", "SLIDE", "TICKS", "Cancellation", "Message", "Street", "Trade", "inward"]


def inward(price: float, side: int) -> int:
    """The tick at which an order is limited that may not trade beyond a price between ticks."""
    return math.floor(price) if side > 0 else math.ceil(price)


class Message(NamedTuple):
    """An order; ``lifetime`` in steps, 0 for as long as its sender likes."""

    account: int
    side: int
    tick: int
    lots: int
    kind: int
    cause: str
    lifetime: int = 0


class Cancellation(NamedTuple):
    """The withdrawal of everything that an account quotes; ``bucket`` is what the mid's move will be attributed to."""

    account: int
    bucket: str


class Trade(NamedTuple):
    """One fill."""

    taker: int
    maker: int
    side: int
    price: int
    lots: int
    cause: str


@dataclass
class Street:
    """The market while somebody acts in it.

    Parameters
    ----------
    book : ReferenceBook
    mid : float
        As it was last seen with two sides.
    value : float
        The fundamental.
    step : int
    positions : dict of int to int
    causes : dict of int to str
        Why an order was sent, by its number.
    halted : bool
        Whether orders are collected for an auction; those that cross wait in ``pool``.
    late : frozenset of str
        Causes whose orders take time to the book: they are only noted.
    """

    book: ReferenceBook
    mid: float
    value: float
    step: int
    positions: dict[int, int]
    causes: dict[int, str]
    pool: list[Order] = field(default_factory=list)
    halted: bool = False
    late: frozenset[str] = frozenset()
    sent: list[Message | Cancellation] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    moves: dict[str, float] = field(default_factory=dict)
    messages: int = 0

    @property
    def one_sided(self) -> bool:
        """Whether the mid is an old one."""
        return self.halted or self.book.best(1) is None or self.book.best(-1) is None

    def look(self, bucket: str) -> None:
        """Renew the mid and attribute its change; without two sides, or in a halt, it stays."""
        bid, ask = self.book.best(1), self.book.best(-1)
        if bid is not None and ask is not None and not self.halted:
            change = 0.5 * (bid + ask) - self.mid
            self.moves[bucket] = self.moves.get(bucket, 0.0) + change
            self.mid = 0.5 * (bid + ask)

    def opposite(self, side: int) -> int:
        """Best price of the other side; where there is none, the tick that the mid lies at or beside."""
        best = self.book.best(-side)
        if best is None:
            return int(self.mid) + 1 if side > 0 else int(self.mid)
        return best

    def send(self, message: Message, *, looks: bool = True) -> tuple[int, int]:
        """Send an order; returns its number (0: nothing rests) and what was filled."""
        if message.lots <= 0:
            return 0, 0
        self.sent.append(message)
        if message.cause in self.late:
            return 0, 0
        account, side, tick, lots, kind, cause, _ = message
        if kind != MARKET:
            tick = min(max(tick, 1), TICKS - 1)
        if self.halted:
            return self._collect(account, side, tick, lots, kind, cause), 0
        self.messages += 1
        number, fills, _ = self.book.enter(side, tick, lots, account, kind)
        for price, quantity, maker, _ in fills:
            self.trades.append(Trade(account, maker, side, price, quantity, cause))
            self.positions[account] = self.positions.get(account, 0) + side * quantity
            self.positions[maker] = self.positions.get(maker, 0) - side * quantity
        if number:
            self.causes[number] = cause
        if looks:
            self.look(cause)
        return number, sum(fill[1] for fill in fills)

    def _collect(self, account: int, side: int, tick: int, lots: int, kind: int, cause: str) -> int:
        """Take an order into the auction; only those that may rest are taken."""
        if kind not in (LIMIT, POST_ONLY, SLIDE):
            return 0
        self.messages += 1
        queue = self.pool if self.book.crosses(side, tick) else self.book.resting
        self.book.arrivals += 1
        queue.append(Order(self.book.arrivals, side, tick, lots, account))
        self.causes[self.book.arrivals] = cause
        return self.book.arrivals

    def cancel(self, numbers: Iterable[int]) -> None:
        """Take orders out of the book, as far as they still rest."""
        for number in numbers:
            self.messages += 1
            if not self.book.cancel(number):
                self.pool = [order for order in self.pool if order.number != number]
