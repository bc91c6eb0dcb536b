"""A venue's call auction, price band and circuit breaker, obviously right and slow. Imports nothing of ours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Order:
    """An order of the call; ``number`` counts arrivals, ``side`` is +1 for buying."""

    number: int
    side: int
    tick: int
    quantity: int
    owner: int
    reduce_only: bool = False


@dataclass(frozen=True)
class Fill:
    """One fill of an auction; ``side`` is that of the younger order, which is the taker."""

    side: int
    quantity: int
    taker: int
    maker: int


def executable(orders: Sequence[Order], tick: int) -> tuple[int, int]:
    """Volume that would trade at a price, and the imbalance that it would leave."""
    demand = sum(order.quantity for order in orders if order.side > 0 and order.tick >= tick)
    supply = sum(order.quantity for order in orders if order.side < 0 and order.tick <= tick)
    return min(demand, supply), abs(demand - supply)


def auction_price(orders: Sequence[Order], reference: int) -> tuple[int, int]:
    """Try every price: most volume, least imbalance, nearest to the reference, lowest. Returns price and volume."""
    if not orders:
        return 0, 0
    ticks = range(min(order.tick for order in orders), max(order.tick for order in orders) + 1)

    def rank(tick: int) -> tuple[int, int, int, int]:
        volume, imbalance = executable(orders, tick)
        return -volume, imbalance, abs(tick - reference), tick

    best = min(ticks, key=rank)
    volume, _ = executable(orders, best)
    return (best, volume) if volume else (0, 0)


def hold_auction(
    orders: Sequence[Order], reference: int, after: Callable[[int, Fill], None] = lambda price, fill: None
) -> tuple[int, list[Fill], list[Order]]:
    """Fill the orders at the auction price; returns price, fills, and what is left in price-time priority by side.

    ``after`` is called after each fill, and may cut orders.
    """
    price, left = auction_price(orders, reference)
    buys = sorted((o for o in orders if o.side > 0), key=lambda order: (-order.tick, order.number))
    sells = sorted((o for o in orders if o.side < 0), key=lambda order: (order.tick, order.number))
    fills = []
    while left > 0:
        buy = next((order for order in buys if order.quantity and order.tick >= price), None)
        sell = next((order for order in sells if order.quantity and order.tick <= price), None)
        if buy is None or sell is None:
            break
        quantity = min(left, buy.quantity, sell.quantity)
        buy.quantity -= quantity
        sell.quantity -= quantity
        left -= quantity
        taker, maker = (buy, sell) if buy.number > sell.number else (sell, buy)
        fills.append(Fill(taker.side, quantity, taker.owner, maker.owner))
        after(price, fills[-1])
    return price, fills, [order for order in buys + sells if order.quantity]


@dataclass
class Rules:
    """Numbers of the state machine, in steps and shares of price."""

    half_width: float
    update: int
    limit_steps: int
    band_halt: int
    memory: float
    reference: str
    levels: list[float]
    halts: list[int]
    window: int
    directions: set[int] = field(default_factory=lambda: {-1, 1})


@dataclass
class Quotes:
    """What the market looks like as a step begins; ``bid`` and ``ask`` None where a side is empty."""

    bid: int | None
    ask: int | None
    mid: float
    last: float
    index: float


class VenueTwin:
    """Band, limit state, breaker and halt, one step after the other; no order waits in the call."""

    def __init__(self, rules: Rules, ticks: int) -> None:
        self.rules = rules
        self.top = ticks - 1
        self.average: float | None = None
        self.centre = math.nan
        self.lower, self.upper = 1, self.top
        self.due = 0
        self.limit_since: int | None = None
        self.halted_until: int | None = None
        self.seen: list[float] = []
        self.start: float | None = None
        self.fired = {-1: 0, 1: 0}
        self.reopened_at: float | None = None

    def _band(self, step: int) -> None:
        self.lower = min(max(1, math.ceil(self.centre * (1.0 - self.rules.half_width))), self.top)
        self.upper = min(max(1, math.floor(self.centre * (1.0 + self.rules.half_width))), self.top)
        self.due = step + self.rules.update

    def _side_of_limit(self, quotes: Quotes) -> int:
        if quotes.bid is None or quotes.bid < self.lower or (quotes.ask or self.top) <= self.lower:
            return -1
        if quotes.ask is None or quotes.ask > self.upper or quotes.bid >= self.upper:
            return 1
        return 0

    def _breaker(self, last: float) -> tuple[int, int] | None:
        """Side and length of the halt that a level calls for."""
        rules = self.rules
        assert self.start is not None
        window = self.seen[-(rules.window + 1) :] if rules.window else [self.start]
        reached = {
            -1: sum(last <= max(window) * (1.0 - level) for level in rules.levels),
            1: sum(last >= min(window) * (1.0 + level) for level in rules.levels),
        }
        halt = None
        for side in (1, -1):
            if side in rules.directions and reached[side] > self.fired[side]:
                halt = side, rules.halts[reached[side] - 1]
        if halt and not rules.window:
            for side in rules.directions:
                self.fired[side] = max(self.fired[side], reached[side])
        return halt

    def step(self, step: int, quotes: Quotes) -> tuple[bool, str | None]:
        """Advance; returns whether the market is halted and the rule that halted it just now."""
        rules = self.rules
        if self.halted_until is not None:
            if step < self.halted_until:
                return True, None
            self.halted_until = None
            if quotes.bid is not None and quotes.ask is not None:
                self.centre = 0.5 * (quotes.bid + quotes.ask)
            self.average = self.centre
            self.limit_since = None
            self._band(step)
            self.seen = [self.centre]
            self.reopened_at = self.centre
            return False, None
        price = quotes.last if rules.reference == "last_average" else quotes.mid
        before = price if self.average is None else self.average
        self.average = before + (price - before) * rules.memory
        last = quotes.last if self.reopened_at is None else self.reopened_at
        if self.start is None:
            self.start = quotes.last
            self.centre = quotes.index if rules.reference == "index" else self.average
            self._band(step)
            self.seen = [quotes.last]
            return False, None
        self.seen.append(last)
        halt = self._breaker(last) if rules.levels else None
        if halt:
            self.halted_until = step + halt[1]
            return True, "circuit_breaker"
        if not rules.half_width:
            return False, None
        side = self._side_of_limit(quotes)
        if side == 0:
            self.limit_since = None
            if step >= self.due:
                self.centre = {"index": quotes.index, "auction": self.centre}.get(
                    rules.reference, self.average
                )
                self._band(step)
            return False, None
        if self.limit_since is None:
            self.limit_since = step
        if 0 <= rules.limit_steps <= step - self.limit_since:
            self.halted_until = step + rules.band_halt
            return True, "price_band"
        return False, None
