"""The order book alone, for people: price-time priority, integer ticks and lots, every order type."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.core.ground.compile import compilation_enabled
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.layout.book import (
    BOOK,
    FILL,
    FILL_CAPACITY,
    INDEX_BITS,
    INTERRUPT_REPORT_FULL,
    INTERRUPT_SELF_TRADE,
    NO_ASK,
    NO_BID,
    ORDER_SLOT_BITS,
    ORDER_SLOT_MASK,
    STATUS_ORDERS_FULL,
    order_ticks,
)
from cascade_sim.core.venue.book import enter, list_levels, list_queue, open_book, reduce, remove
from cascade_sim.core.venue.replay import MESSAGE, first_wrong_message, replay
from cascade_sim.domain.enums import Cause, OrderType, SelfTradePolicy, Side
from cascade_sim.domain.errors import CapacityError, CascadeError, expectation

FILLS = np.dtype([("price_tick", np.int64), ("quantity", np.int64), ("maker", np.int32), ("taker", np.int32)])
LEVELS = np.dtype([("price_tick", np.int64), ("quantity", np.int64)])
ORDERS = np.dtype(
    [
        ("side", np.int8),
        ("price_tick", np.int64),
        ("quantity", np.int64),
        ("owner", np.int32),
        ("order_type", np.int8),
        ("cause", np.int8),
        ("parent", np.int64),
    ]
)
"""One row per order for :meth:`OrderBook.submit`; the price of a market order is not read."""
_LARGEST = 2**31 - 1
_MARKET, _FOK, _REDUCE_ONLY = int(OrderType.MARKET), int(OrderType.FOK), int(OrderType.REDUCE_ONLY)
_NO_FILLS = np.zeros((0, FILL.itemsize // 8), np.int64)
_MOST_UNSETTLED = 4096


def _complaint(index: int, kind: int, side: int, price: int, quantity: int) -> str:
    """Say which field of a stream's message is wrong."""
    name = f"messages[{index}]"
    if kind not in (0, 1, 2):
        return expectation(name, "kind 0 (limit), 1 (cancel) or 2 (market)", kind)
    if kind == 1:
        return expectation(name, f"the index of an earlier message to cancel, below {index}", price)
    if side not in (1, -1):
        return expectation(name, "side +1 or -1", side)
    if quantity < 1:
        return expectation(name, "quantity of at least 1", quantity)
    return expectation(name, f"price of 1 to {_LARGEST}", price)


def _rows(stream: NDArray[np.int32]) -> Any:
    """One record per message of a contiguous stream: the kernels then know how far apart messages are."""
    return stream.view(MESSAGE).reshape(-1).view(np.recarray)


class Report:
    """What became of one order.

    Attributes
    ----------
    order_id : int
        Id of the order that now rests; 0 if nothing rests.
    remaining : int
        Lots that neither traded nor rest.
    unspent : int
        Of a market order by its notional: ticks x lots that bought nothing.
    """

    __slots__ = ("_raw", "order_id", "remaining", "unspent")

    def __init__(self, order_id: int, raw: NDArray[Any], remaining: int) -> None:
        self.order_id, self._raw, self.remaining, self.unspent = order_id, raw, remaining, 0

    @property
    def fills(self) -> NDArray[Any]:
        """Rows of ``price_tick``, ``quantity``, ``maker`` and ``taker`` (owners), in order; shape (n,)."""
        rows = self._raw.reshape(-1).view(FILL)
        fills = np.empty(len(rows), FILLS)
        for name in FILLS.names or ():
            fills[name] = rows[name]
        return fills


@dataclass(frozen=True)
class RestingOrder:
    """An order in the book: lots left, who sent it, and why."""

    order_id: int
    side: Side
    price_tick: int
    quantity: int
    owner: int
    cause: Cause
    parent: int


class OrderBook:
    """A price-time-priority limit order book.

    Prices are whole ticks from 1 to 2**63 - 2, quantities whole lots. Cancellation by id is O(1).

    Parameters
    ----------
    self_trade : SelfTradePolicy
        What happens when an order meets a resting order of its own owner.
    anonymous : int, optional
        An owner that stands for many traders: its orders may meet under every policy.
    minimum_notional : int
        Least worth of an order, ticks x lots, at its limit or, without one, at the best price that it meets. What is
        worth less is not taken (its report has no order and no fills), unless it may only reduce.
    """

    def __init__(
        self,
        self_trade: SelfTradePolicy = SelfTradePolicy.ALLOW,
        anonymous: int | None = None,
        minimum_notional: int = 0,
    ) -> None:
        if not minimum_notional >= 0:
            raise CascadeError(expectation("minimum_notional", "at least 0 (ticks x lots)", minimum_notional))
        self._minimum = minimum_notional
        self._books = allocate(BOOK)
        self._book = self._books[0]
        # A plain array enters compiled code fastest; without compilation its rows would have no attributes.
        self._entry = np.frombuffer(self._books.data, BOOK) if compilation_enabled() else self._books
        # As words, because rows with fields take ten times as long to copy.
        report = np.frombuffer(self._books.data, BOOK)["fills"][0]
        self._report = report.view(np.int64).reshape(len(report), -1)
        self._positions: dict[int, int] = {}
        self._unsettled: list[tuple[int, NDArray[Any]]] = []
        self._reducing: dict[int, list[int]] = {}
        self._decrements = self_trade == SelfTradePolicy.DECREMENT
        open_book(self._book, int(self_trade))
        if anonymous is not None:
            self._book.anonymous = anonymous

    @property
    def best_bid(self) -> int | None:
        """Highest buying price in ticks, None when nobody buys."""
        tick = int(self._book.best_bid)
        return tick if tick > NO_BID else None

    @property
    def best_ask(self) -> int | None:
        """Lowest selling price in ticks, None when nobody sells."""
        tick = int(self._book.best_ask)
        return tick if tick < NO_ASK else None

    def __len__(self) -> int:
        """Number of resting orders."""
        return int(self._book.live_orders)

    def position(self, owner: int) -> int:
        """Signed lots that ``owner`` has bought less sold through :meth:`limit`, :meth:`market` and :meth:`submit`."""
        self._settle_all()
        return self._positions.get(owner, 0)

    def limit(
        self,
        side: Side,
        price_tick: int,
        quantity: int,
        owner: int,
        order_type: OrderType = OrderType.LIMIT,
        cause: Cause = Cause.BACKGROUND,
        parent: int = -1,
    ) -> Report:
        """Enter an order with a limit price.

        Parameters
        ----------
        side : Side
        price_tick : int
            1 to 2**63 - 2.
        quantity : int
            Lots, at least 1.
        owner : int
            Who sends it, at least 0.
        order_type : OrderType
            ``LIMIT`` rests what does not trade; ``IOC`` drops it; ``FOK`` trades whole or not at all; ``POST_ONLY`` is
            dropped if it would trade, ``POST_ONLY_SLIDE`` moves to the nearest price at which it does not;
            ``REDUCE_ONLY`` is a limit order that never increases or turns the owner's position.
        cause, parent
            Why it was sent, and the event that provoked it.

        Raises
        ------
        CascadeError
            If an argument is out of range; the book is unchanged then.
        CapacityError
            If no order slot is free.
        """
        if not 1 <= price_tick < NO_ASK:
            raise CascadeError(expectation("price_tick", f"1 to {NO_ASK - 1}", price_tick))
        kind = int(order_type)
        if kind == _MARKET:
            known = "an order with a limit price (use market())"
            raise CascadeError(expectation("order_type", known, OrderType(kind).name))
        return self._enter(int(side), price_tick, quantity, owner, kind, int(cause), parent)

    def market(
        self, side: Side, quantity: int, owner: int, cause: Cause = Cause.BACKGROUND, parent: int = -1
    ) -> Report:
        """Trade at any price; what the book cannot fill is dropped. Arguments as for :meth:`limit`."""
        return self._enter(int(side), 0, quantity, owner, _MARKET, int(cause), parent)

    def market_by_notional(
        self, side: Side, notional: int, owner: int, cause: Cause = Cause.BACKGROUND, parent: int = -1
    ) -> Report:
        """Trade at any price as many whole lots as a notional pays for, from the best price outwards.

        Orders of the owner's own are dealt with as the self-trade policy says: the order goes on behind those that are
        cancelled, ends at one that cancels it, and what is decremented is lost to the notional as it is to the order.

        Parameters
        ----------
        side : Side
        notional : int
            Most that the fills may come to, ticks x lots, at least 1.
        owner, cause, parent
            As for :meth:`limit`.

        Returns
        -------
        Report
            ``unspent`` is what no fill was paid with: less than a lot at the next price, or the book is empty, or all of
            it where it is less than the least notional of the book.

        Raises
        ------
        CascadeError
            If an argument is out of range; the book is unchanged then.
        """
        if not notional >= 1:
            raise CascadeError(expectation("notional", "at least 1 (whole ticks x lots)", notional))
        self._check(int(side), 1, owner)
        left, spent, parts = int(notional), 0, [_NO_FILLS]
        best = np.empty((1, 2), np.int64)
        while notional >= self._minimum and list_levels(self._book, -int(side), best) > 0:
            tick, resting = best[0].tolist()
            if left < tick:
                break
            lots = min(left // tick, resting, _LARGEST)
            withdrawn = int(self._book.withdrawn)
            report = self._route(int(side), tick, lots, owner, int(OrderType.IOC), int(cause), parent)
            parts.append(report._raw)
            # What both orders lose where they are of one owner is lost to the amount as well.
            lost = int(self._book.withdrawn) - withdrawn if self._decrements else 0
            left -= tick * (int(report.fills["quantity"].sum()) + lost)
            spent += tick * int(report.fills["quantity"].sum())
            if int(self._book.interrupt) == INTERRUPT_SELF_TRADE:
                break
        result = Report(0, np.concatenate(parts), 0)
        result.unspent = int(notional) - spent
        return result

    def amend(self, order_id: int, quantity: int | None = None, price_tick: int | None = None) -> Report:
        """Change a resting order.

        A smaller quantity at the same price keeps its place in the queue. A larger one, or another price, goes to the end
        of its queue, as a cancellation and a new order would, and trades where the new price crosses.

        Parameters
        ----------
        order_id : int
        quantity : int, optional
            Lots that are to rest, at least 1; as many as now by default.
        price_tick : int, optional
            The present price by default.

        Returns
        -------
        Report
            ``order_id`` is the id under which the order rests from now on; 0 where nothing rests, as when the order was
            gone already. What would be worth too little leaves the order as it is, with ``quantity`` remaining.

        Raises
        ------
        CascadeError
            If an argument is out of range; the book is unchanged then.
        """
        order = self.order(int(order_id))
        if quantity is not None and not 1 <= quantity <= _LARGEST:
            raise CascadeError(expectation("quantity", f"1 to {_LARGEST} lots", quantity))
        if price_tick is not None and not 1 <= price_tick < NO_ASK:
            raise CascadeError(expectation("price_tick", f"1 to {NO_ASK - 1}", price_tick))
        if order is None:
            return Report(0, _NO_FILLS, 0)
        lots = order.quantity if quantity is None else int(quantity)
        tick = order.price_tick if price_tick is None else int(price_tick)
        reducing = any(order.order_id == each.order_id for each in self._resting_reductions(order.owner))
        if (
            (tick, lots) != (order.price_tick, order.quantity)
            and tick * lots < self._minimum
            and not reducing
        ):
            return Report(order.order_id, _NO_FILLS, lots)
        if tick == order.price_tick and lots <= order.quantity:
            if lots < order.quantity:
                reduce(self._book, np.int64(order_id), np.int64(order.quantity - lots))
            return Report(order.order_id, _NO_FILLS, 0)
        kind = OrderType.REDUCE_ONLY if reducing else OrderType.LIMIT
        self.cancel(order.order_id)
        return self.limit(order.side, tick, lots, order.owner, kind, order.cause, order.parent)

    def cancel(self, order_id: int) -> int:
        """Remove a resting order; returns the lots removed, 0 when it does not rest any more."""
        return int(remove(self._entry, int(order_id)))

    def submit(self, batch: NDArray[Any]) -> list[Report]:
        """Enter many orders, rows of :data:`ORDERS`, one after the other."""
        if batch.dtype != ORDERS:
            raise CascadeError(expectation("batch", f"rows of {ORDERS}", str(batch.dtype)))
        reports = []
        for side, tick, quantity, owner, kind, cause, parent in batch.tolist():
            if kind == _MARKET:
                reports.append(self.market(Side(side), quantity, owner, Cause(cause), parent))
            else:
                rest = (OrderType(kind), Cause(cause), parent)
                reports.append(self.limit(Side(side), tick, quantity, owner, *rest))
        return reports

    def replay(self, messages: ArrayLike) -> NDArray[np.int32]:
        """Apply a message stream to this book, as fast as the book goes.

        Parameters
        ----------
        messages : array_like of int32, shape (n, 4)
            Kind, side, price, quantity. Kind 0 is a limit order, 1 cancels the limit order of the message whose index
            stands in place of the price, 2 is a market order. The owner of message i is i mod 1024.

        Returns
        -------
        int32 array, shape (m, 4)
            Price, quantity signed by the taker's side, maker, taker.
        """
        if self._minimum:
            expected = "0 for a book that replays messages"
            raise CascadeError(expectation("minimum_notional", expected, self._minimum))
        stream = np.ascontiguousarray(messages, np.int32)
        if stream.ndim != 2 or stream.shape[1] != 4:
            raise CascadeError(expectation("messages", "an array of shape (n, 4)", stream.shape))
        self._check_stream(stream)
        slots = np.empty(len(stream), np.int32)
        # A fill either ends a resting order or ends the incoming one: at most two per message in the long run.
        tape = np.empty((2 * len(stream) + len(self) + 1, 4), np.int32)
        count = replay(self._book, _rows(stream), slots, tape)
        self._check_capacity()
        return tape[:count]

    def _check_stream(self, stream: NDArray[np.int32]) -> None:
        index = first_wrong_message(_rows(stream))
        if index >= 0:
            raise CascadeError(_complaint(index, *(int(value) for value in stream[index])))

    def depth(self, levels: int = 10) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return bids and asks from the best price outwards, rows of :data:`LEVELS`, at most ``levels`` each."""
        rows = np.empty((2, max(0, min(levels, len(self))), 2), np.int64)
        counts = [
            list_levels(self._book, side, side_rows) for side, side_rows in zip((1, -1), rows, strict=True)
        ]
        bids, asks = (side[:count].view(LEVELS)[:, 0] for side, count in zip(rows, counts, strict=True))
        return bids, asks

    def order(self, order_id: int) -> RestingOrder | None:
        """Return a resting order, None when the id does not rest any more."""
        slot = order_id & ORDER_SLOT_MASK
        row = self._book.orders[slot]
        if order_id <= 0 or int(row.quantity_lot) == 0 or int(row.serial) != order_id >> ORDER_SLOT_BITS:
            return None
        tick = int(order_ticks(self._book, slot))
        return RestingOrder(
            order_id=order_id,
            side=Side.BUY if tick <= int(self._book.best_bid) else Side.SELL,
            price_tick=tick,
            quantity=int(row.quantity_lot),
            owner=int(row.owner),
            cause=Cause(int(row.key) >> INDEX_BITS),
            parent=int(self._book.parents[slot]),
        )

    def queue(self, price_tick: int) -> list[RestingOrder]:
        """Return the orders of one price, oldest first."""
        if not 1 <= price_tick < NO_ASK:
            return []
        slots = np.empty(len(self), np.int64)
        count = int(list_queue(self._book, price_tick, slots))
        serials = self._book.orders[slots[:count]]["serial"].tolist()
        ids = [
            serial << ORDER_SLOT_BITS | slot
            for serial, slot in zip(serials, slots[:count].tolist(), strict=True)
        ]
        return [order for order in map(self.order, ids) if order is not None]

    def _enter(
        self, side: int, tick: int, quantity: int, owner: int, kind: int, cause: int, parent: int
    ) -> Report:
        self._check(side, quantity, owner)
        if self._minimum and self._worth(side, tick, quantity, kind) < self._minimum:
            return Report(0, _NO_FILLS, quantity)
        return self._route(side, tick, quantity, owner, kind, cause, parent)

    @staticmethod
    def _check(side: int, quantity: int, owner: int) -> None:
        if side not in (1, -1):
            raise CascadeError(expectation("side", "BUY (+1) or SELL (-1)", side))
        if not 1 <= quantity <= _LARGEST:
            raise CascadeError(expectation("quantity", f"1 to {_LARGEST} lots", quantity))
        if not 0 <= owner <= _LARGEST:
            raise CascadeError(expectation("owner", f"0 to {_LARGEST}", owner))

    def _worth(self, side: int, tick: int, quantity: int, kind: int) -> int:
        """Return what the least notional is held against; an order that may only reduce is always worth enough."""
        if kind == _REDUCE_ONLY:
            return self._minimum
        if kind == _MARKET:
            best = self.best_ask if side > 0 else self.best_bid
            return 0 if best is None else best * quantity
        return tick * quantity

    def _route(
        self, side: int, tick: int, quantity: int, owner: int, kind: int, cause: int, parent: int
    ) -> Report:
        if self._decrements:
            return self._enter_decrementing(side, tick, quantity, owner, kind, cause, parent)
        return self._enter_checked(side, tick, quantity, owner, kind, cause, parent)

    def _enter_decrementing(
        self, side: int, tick: int, quantity: int, owner: int, kind: int, cause: int, parent: int
    ) -> Report:
        """Enter an order that may lose lots without a trade: what remains is what neither traded nor rests."""
        report = self._enter_checked(side, tick, quantity, owner, kind, cause, parent)
        rests = self.order(report.order_id)
        report.remaining = quantity - int(report.fills["quantity"].sum()) - (rests.quantity if rests else 0)
        return report

    def _enter_checked(
        self, side: int, tick: int, quantity: int, owner: int, kind: int, cause: int, parent: int
    ) -> Report:
        if self._reducing or kind == _REDUCE_ONLY:
            return self._enter_reducing(side, tick, quantity, owner, kind, cause, parent)
        order_id, left, count, interrupt, status = enter(
            self._entry, side, tick, quantity, owner, kind, cause, parent
        )
        if status != 0:
            self._check_capacity()
        if count == 0:
            return Report(order_id, _NO_FILLS, left)
        raw = self._report[:count].copy()
        if interrupt == INTERRUPT_REPORT_FULL and left > 0:
            return self._continued(side, tick, left, owner, kind, cause, parent, [raw])
        self._unsettled.append((side, raw))
        if len(self._unsettled) > _MOST_UNSETTLED:
            self._settle_all()
        return Report(order_id, raw, left)

    def _continued(
        self,
        side: int,
        tick: int,
        left: int,
        owner: int,
        kind: int,
        cause: int,
        parent: int,
        parts: list[NDArray[Any]],
    ) -> Report:
        """Enter what is left of an order again until its report does not run full any more."""
        for part in parts:
            self._settle(part, side)
        while True:
            order_id, left, count, interrupt, _ = enter(
                self._entry, side, tick, left, owner, kind, cause, parent
            )
            parts.append(self._report[:count].copy())
            self._settle(parts[-1], side)
            if interrupt != INTERRUPT_REPORT_FULL or left == 0:
                break
            if kind == _FOK:
                # That it can be filled was seen before its first fill.
                kind = int(OrderType.IOC)
        self._check_capacity()
        return Report(order_id, np.concatenate(parts), left)

    def _enter_reducing(
        self, side: int, tick: int, quantity: int, owner: int, kind: int, cause: int, parent: int
    ) -> Report:
        """Enter an order while some may only reduce: one fill at a time, each may shrink one of them."""
        self._settle_all()
        dropped = 0
        if kind == _REDUCE_ONLY:
            allowed = min(quantity, self._reducible(owner, side))
            dropped, quantity = quantity - allowed, allowed
            if quantity == 0:
                return Report(0, _NO_FILLS, dropped)
        self._book.fill_limit = 1
        try:
            report = self._continued(side, tick, quantity, owner, kind, cause, parent, [])
        finally:
            self._book.fill_limit = FILL_CAPACITY
        if kind == _REDUCE_ONLY and report.order_id:
            self._reducing.setdefault(owner, []).append(report.order_id)
        report.remaining += dropped
        return report

    def _check_capacity(self) -> None:
        if int(self._book.status) == STATUS_ORDERS_FULL:
            self._book.status = 0
            raise CapacityError("order book: expected a free order slot, received more orders than fit")

    def _settle_all(self) -> None:
        """Post the fills that nobody has asked about so far."""
        for side in (1, -1):
            fills = [each for its_side, each in self._unsettled if its_side == side]
            if fills:
                self._settle(np.concatenate(fills), side)
        self._unsettled.clear()

    def _settle(self, fills: NDArray[Any], side: int) -> None:
        rows = fills.reshape(-1).view(FILL)
        columns = (rows[name].tolist() for name in ("maker", "taker", "quantity"))
        for maker, taker, lots in zip(*columns, strict=True):
            self._positions[taker] = self._positions.get(taker, 0) + side * lots
            self._positions[maker] = self._positions.get(maker, 0) - side * lots
            for owner in (maker, taker):
                if owner in self._reducing:
                    self._shrink(owner)

    def _resting_reductions(self, owner: int) -> list[RestingOrder]:
        alive = [order for order in map(self.order, self._reducing.get(owner, [])) if order is not None]
        if alive:
            self._reducing[owner] = [order.order_id for order in alive]
        else:
            self._reducing.pop(owner, None)
        return alive

    def _reducible(self, owner: int, side: int) -> int:
        """Lots that a new reduce-only order may have: the opposite position less those that already wait."""
        position = self.position(owner)
        waiting = sum(order.quantity for order in self._resting_reductions(owner) if order.side == side)
        return max(0, -int(side) * position - waiting)

    def _shrink(self, owner: int) -> None:
        """Cut resting reduce-only orders, newest first, to what the position still allows."""
        position = self.position(owner)
        alive = self._resting_reductions(owner)
        for side in (Side.BUY, Side.SELL):
            orders = [order for order in alive if order.side == side]
            excess = sum(order.quantity for order in orders) - max(0, -int(side) * position)
            for order in reversed(orders):
                if excess <= 0:
                    break
                excess -= int(
                    reduce(self._book, np.int64(order.order_id), np.int64(min(excess, order.quantity)))
                )
        self._resting_reductions(owner)
