"""An order book that is obviously right and slow: price-time priority on sorted Python lists. Imports nothing of ours."""

from dataclasses import dataclass

LIMIT, MARKET, IOC, FOK, POST_ONLY, SLIDE, REDUCE_ONLY = range(7)
ALLOW, CANCEL_RESTING, CANCEL_INCOMING, CANCEL_BOTH, DECREMENT = range(5)


@dataclass
class Order:
    """One resting order; ``number`` counts arrivals."""

    number: int
    side: int
    tick: int
    quantity: int
    owner: int
    reduce_only: bool = False


class ReferenceBook:
    """The rules, written down as plainly as possible."""

    def __init__(
        self, policy: int = ALLOW, anonymous: int = -1, ticks: int = 2**63 - 1, minimum: int = 0
    ) -> None:
        self.minimum = minimum
        self.policy = policy
        self.anonymous = anonymous
        self.ticks = ticks
        self.resting: list[Order] = []
        self.waiting: list[Order] = []
        self.positions: dict[int, int] = {}
        self.arrivals = 0
        self.decremented = 0
        self.stopped = False

    def best(self, side: int) -> int | None:
        """Best price of one side (+1 bids)."""
        ticks = [order.tick for order in self.resting if order.side == side]
        if not ticks:
            return None
        return max(ticks) if side > 0 else min(ticks)

    def queue(self, side: int) -> list[Order]:
        """Orders of one side in the sequence in which they trade."""
        orders = [order for order in self.resting if order.side == side]
        return sorted(orders, key=lambda order: (-side * order.tick, order.number))

    def crosses(self, side: int, tick: int) -> bool:
        """Whether an order of ``side`` at ``tick`` would meet the other side."""
        opposite = self.best(-side)
        return opposite is not None and side * (tick - opposite) >= 0

    def fillable(self, side: int, tick: int, owner: int) -> int:
        """Quantity that could trade at once under the self-trade policy."""
        total = 0
        for order in self.queue(-side):
            if side * (tick - order.tick) < 0:
                break
            if self.policy != ALLOW and order.owner == owner != self.anonymous:
                if self.policy != CANCEL_RESTING:
                    break
                continue
            total += order.quantity
        return total

    def cancel(self, number: int) -> int:
        """Remove an order by arrival number; returns the quantity removed."""
        for order in self.resting:
            if order.number == number:
                self.resting.remove(order)
                return order.quantity
        return 0

    def amend(
        self, number: int, quantity: int, tick: int
    ) -> tuple[int, list[tuple[int, int, int, int]], int]:
        """Change an order: smaller at its price it keeps its place, else it is cancelled and entered anew."""
        for order in self.resting:
            if order.number == number:
                small = tick * quantity < self.minimum and not order.reduce_only
                if small and (tick, quantity) != (order.tick, order.quantity):
                    return number, [], quantity
                if tick == order.tick and quantity <= order.quantity:
                    order.quantity = quantity
                    return number, [], 0
                self.resting.remove(order)
                kind = REDUCE_ONLY if order.reduce_only else LIMIT
                return self.enter(order.side, tick, quantity, order.owner, kind)
        return 0, [], 0

    def payable(self, side: int, notional: int, owner: int) -> tuple[int, int]:
        """Lots that an order would take while the notional pays for them, and the last price; 0 and 0 for nothing."""
        lots = last = 0
        for order in self.queue(-side):
            own = self.policy != ALLOW and order.owner == owner != self.anonymous
            if own and self.policy == CANCEL_RESTING:
                last = order.tick if notional >= order.tick else last
                continue
            taken = min(order.quantity, notional // order.tick)
            if taken:
                lots, last, notional = lots + taken, order.tick, notional - taken * order.tick
            if taken < order.quantity or (own and self.policy in (CANCEL_INCOMING, CANCEL_BOTH)):
                break
        return lots, last

    def spend(
        self, side: int, notional: int, owner: int, most: int = 2**62
    ) -> tuple[list[tuple[int, int, int, int]], int]:
        """Trade whole lots as long as the notional pays for them; returns fills and what was not spent.

        What is decremented is lost to the notional as well; an order that is cancelled spends no more.
        """
        fills: list[tuple[int, int, int, int]] = []
        if notional < self.minimum:
            return fills, notional
        left = notional
        while (tick := self.best(-side)) is not None and left >= tick:
            level = sum(
                order.quantity for order in self.resting if order.side == -side and order.tick == tick
            )
            if most == 0:
                break
            _, made, _ = self._enter(side, tick, min(level, left // tick, most), owner, IOC)
            most -= sum(lots for _, lots, _, _ in made) + self.decremented
            fills += made
            spent = sum(tick * lots for _, lots, _, _ in made)
            notional -= spent
            left -= spent + tick * self.decremented
            if self.stopped:
                break
        return fills, notional

    def reductions(self, owner: int, side: int) -> list[Order]:
        """Reduce-only orders of an owner, in the book or ``waiting`` elsewhere."""
        orders = self.resting + self.waiting
        return [o for o in orders if o.reduce_only and o.owner == owner and o.side == side]

    def reducible(self, owner: int, side: int) -> int:
        """Lots that a new reduce-only order that may rest can have."""
        held = sum(order.quantity for order in self.reductions(owner, side))
        return max(0, -side * self.positions.get(owner, 0) - held)

    def shrink(self, owner: int) -> None:
        """Cut the reduce-only orders of an owner to the position, the newest first."""
        for side in (1, -1):
            orders = self.reductions(owner, side)
            excess = sum(o.quantity for o in orders) - max(0, -side * self.positions.get(owner, 0))
            for order in sorted(orders, key=lambda o: -o.number):
                cut = min(max(excess, 0), order.quantity)
                order.quantity -= cut
                excess -= cut
                if order.quantity == 0:
                    (self.resting if order in self.resting else self.waiting).remove(order)

    def enter(
        self, side: int, tick: int, quantity: int, owner: int, kind: int
    ) -> tuple[int, list[tuple[int, int, int, int]], int]:
        """Enter an order; returns (arrival number or 0, fills (tick, quantity, maker, taker), remaining)."""
        price = self.best(-side) if kind == MARKET else tick
        if kind != REDUCE_ONLY and (price or 0) * quantity < self.minimum:
            return 0, [], quantity
        return self._enter(side, tick, quantity, owner, kind)

    def _enter(
        self, side: int, tick: int, quantity: int, owner: int, kind: int
    ) -> tuple[int, list[tuple[int, int, int, int]], int]:
        dropped, self.decremented, self.stopped = 0, 0, False
        if kind == REDUCE_ONLY:
            allowed = min(quantity, self.reducible(owner, side))
            dropped, quantity = quantity - allowed, allowed
            if quantity == 0:
                return 0, [], dropped
        if kind == MARKET:
            tick = self.ticks - 1 if side > 0 else 1
        if kind == SLIDE and self.crosses(side, tick):
            opposite = self.best(-side)
            assert opposite is not None
            tick = opposite - side
            if not 1 <= tick < self.ticks:
                return 0, [], quantity
        if kind == POST_ONLY and self.crosses(side, tick):
            return 0, [], quantity
        if kind == FOK and self.fillable(side, tick, owner) < quantity:
            return 0, [], quantity
        fills = []
        while quantity > 0 and self.crosses(side, tick):
            order = self.queue(-side)[0]
            if self.policy != ALLOW and order.owner == owner != self.anonymous:
                self.stopped = self.policy in (CANCEL_INCOMING, CANCEL_BOTH)
                if self.policy == CANCEL_INCOMING:
                    return 0, fills, quantity + dropped
                if self.policy == DECREMENT:
                    lots = min(quantity, order.quantity)
                    self.decremented += lots
                    quantity, dropped, order.quantity = quantity - lots, dropped + lots, order.quantity - lots
                    if order.quantity > 0:
                        continue
                self.resting.remove(order)
                if self.policy == CANCEL_BOTH:
                    return 0, fills, quantity + dropped
                continue
            lots = min(quantity, order.quantity)
            fills.append((order.tick, lots, order.owner, owner))
            quantity -= lots
            order.quantity -= lots
            if order.quantity == 0:
                self.resting.remove(order)
            self.positions[owner] = self.positions.get(owner, 0) + side * lots
            self.positions[order.owner] = self.positions.get(order.owner, 0) - side * lots
            for holder in (order.owner, owner):
                self.shrink(holder)
        if quantity == 0 or kind in (MARKET, IOC, FOK):
            return 0, fills, quantity + dropped
        self.arrivals += 1
        self.resting.append(Order(self.arrivals, side, tick, quantity, owner, kind == REDUCE_ONLY))
        return self.arrivals, fills, dropped
