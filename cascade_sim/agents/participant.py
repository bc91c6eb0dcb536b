"""Participants, and a market as agents written in Python see it: prices for all, the order API of a participant."""

from __future__ import annotations

import math
from math import nan
from typing import Any, NamedTuple, Self

import mesa
import numpy as np

from cascade_sim.agents.desk import Floats, OrderDesk, serial
from cascade_sim.agents.parameters import Parameters
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.worth import equities
from cascade_sim.domain.enums import Cause, OrderType, Refusal, Side
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation
from cascade_sim.domain.units import ATOMS_PER_UNIT

_LIMIT, _MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
_CODES = {kind: int(kind) for kind in OrderType if kind is not OrderType.REDUCE_ONLY}
_KEPT_IDS = 64


class OpenOrder(NamedTuple):
    """An order that rests: price in quote currency, what is left of it in base units."""

    order_id: int
    side: Side
    price: float
    quantity: float


class Fill(NamedTuple):
    """A trade of an account: price in quote currency, quantity in base units.

    ``order_id`` is 0 when the trade came from no order of the agent's own, such as a forced sale; ``cause`` says so.
    """

    order_id: int
    side: Side
    quantity: float
    price: float
    is_maker: bool
    cause: Cause
    step: int


class RefusedOrder(NamedTuple):
    """An order that the venue did not take, or not all of it: what was asked for in base units, and why."""

    order_id: int
    side: Side
    quantity: float
    reason: Refusal


def order_kind(priced: bool, order_type: OrderType | None, reduce_only: bool) -> int:
    """Return the code of an order for the batch.

    Raises
    ------
    ScenarioError
        If the type does not go with the price.
    """
    if order_type is None:
        usual = int(OrderType.IOC) if reduce_only else _LIMIT
        code = usual if priced else _MARKET
    elif order_type not in _CODES:
        known = [kind.name for kind in _CODES]
        expected = "an order type (and reduce_only=True for orders that only reduce)"
        raise ScenarioError(
            expectation("order_type", expected, getattr(order_type, "name", order_type), known)
        )
    else:
        code = _CODES[order_type]
        if not priced and code != _MARKET:
            raise ScenarioError(expectation("price", f"a limit for an order of type {order_type.name}", None))
        if priced and code == _MARKET:
            raise ScenarioError(expectation("order_type", "a type with a limit price", order_type.name))
    if reduce_only:
        code += lay.REQUEST_REDUCE_ONLY
    return code


def spending_kind(
    sized: bool, given: bool, priced: bool, order_type: OrderType | None, reduce_only: bool
) -> int:
    """Return the code of a market order by its notional; ``sized``, ``given``, ``priced``: what it came with.

    Raises
    ------
    ScenarioError
        If there is a quantity beside the notional, or neither; or a price, or a type that has one.
    """
    if sized == given:
        expected = "either a quantity or a notional"
        raise ScenarioError(expectation("quantity", expected, "both" if given else "neither"))
    if priced or order_type not in (None, OrderType.MARKET):
        label, received = ("price", "a limit") if priced else ("order_type", order_type)
        received = getattr(received, "name", received)
        raise ScenarioError(
            expectation(label, "none for an order by its notional, which trades at any price", received)
        )
    return lay.REQUEST_BY_NOTIONAL + (lay.REQUEST_REDUCE_ONLY if reduce_only else 0)


class MarketPrices:
    """What everybody sees of a market, as the trading phase began. Prices in quote currency, NaN where there is none."""

    __slots__ = ("_desk", "_owner", "due", "entity", "first_account", "seen")

    def __init__(self, desk: OrderDesk, owner: Any, first_account: int) -> None:
        self._desk, self._owner, self.first_account = desk, owner, first_account
        self.due, self.seen, self.entity = 0, desk.fill_number, -1

    @property
    def name(self) -> str:
        """Name of the market; that of the venue for the first."""
        return self._desk.name

    @property
    def step(self) -> int:
        """Current step; negative during burn-in."""
        return self._desk.step

    @property
    def time_seconds(self) -> float:
        """Seconds since the end of burn-in."""
        return self._desk.time_seconds

    @property
    def mid(self) -> float:
        """Mean of best bid and best ask; NaN while one side of the book is empty."""
        return self._desk.mid

    @property
    def mark(self) -> float:
        """Price that margin is measured at."""
        return self._desk.mark

    @property
    def index(self) -> float:
        """Price from outside the book."""
        return self._desk.index

    @property
    def last(self) -> float:
        """Price of the last trade."""
        return self._desk.last

    @property
    def best_bid(self) -> float:
        """Highest resting buy price."""
        return self._desk.best_bid

    @property
    def best_ask(self) -> float:
        """Lowest resting sell price."""
        return self._desk.best_ask

    @property
    def spread(self) -> float:
        """Best ask less best bid."""
        return self._desk.best_ask - self._desk.best_bid

    @property
    def tick_size(self) -> float:
        """Quote currency per tick; limit prices between two go down for a buyer, up for a seller."""
        return self._desk.tick

    @property
    def lot_size(self) -> float:
        """Base units per lot; quantities are rounded down to whole lots."""
        return self._desk.lot

    def depth(self, side: Side, distance: float) -> float:
        """Return base units that rest within a fraction ``distance`` of the mid: ``BUY`` for bids, ``SELL`` for asks."""
        return self._desk.depth(side, distance)

    def history(self, name: str, seconds: float) -> Floats:
        """Return past prices at the end of each step, oldest first, not beyond the beginning of burn-in.

        Parameters
        ----------
        name : {"mid"}
            What to look back at; a one-sided book keeps its last mid.
        seconds : float
            How far.

        Returns
        -------
        float64 array, read-only
            Quote currency, one value per step.
        """
        if name != "mid":
            raise ScenarioError(expectation("history", "a price that is kept", name, ["mid"]))
        return self._desk.history(seconds)

    def returns(self, seconds: float) -> float:
        """Return the log change of the mid over the last ``seconds``; NaN before there is so much history."""
        return self._desk.returns(seconds)

    def of(self, name: str) -> Self:
        """Return another market of the world as this agent sees it; to trade there it needs an account there.

        Raises
        ------
        UnknownNameError
            If there is no such market.
        """
        desks = self._desk.desks
        if name not in desks:
            raise UnknownNameError("market", name, list(desks))
        view: Self = self._owner.view_of(desks[name])
        return view

    @property
    def fill_number(self) -> int:
        """Number of fills that agents of this market have been shown."""
        return self._desk.fill_number

    def _account(self) -> int:
        if self.first_account < 0:
            where = f"market {self._desk.name}"
            raise ScenarioError(expectation(where, "an account there (also_in)", "none"))
        return self.first_account


class ParticipantMarket(MarketPrices):
    """A market as one participant sees it, and where it sends its orders.

    Quantities in base units, prices in quote currency. Orders wait until every agent has decided and then enter in an
    order hashed from (account, step), each agent's in the order in which it sent them.
    """

    __slots__ = ("_amended", "_most", "_refused", "resting")

    def __init__(self, desk: OrderDesk, owner: Participant, account: int) -> None:
        super().__init__(desk, owner, account)
        self.resting: dict[int, int] = {}
        self._amended: dict[int, int] = {}
        self._most = _KEPT_IDS
        self._refused: list[RefusedOrder] = []

    @property
    def position(self) -> float:
        """Signed position, base units."""
        return float(self._desk.quantity(self._desk.positions.item(self._account())))

    @property
    def cash(self) -> float:
        """Quote currency: capital less what the open position cost."""
        return self._desk.cash.item(self._account()) / ATOMS_PER_UNIT

    @property
    def equity(self) -> float:
        """Cash and position at the mark, quote currency."""
        return float(equities(self.cash, self.position, self._desk.mark))

    def uniform(self, draw: int = 0) -> float:
        """Return a random number between 0 and 1, addressed by seed, step, this participant and ``draw``."""
        return float(self._desk.uniforms(self._account(), 1, draw)[0])

    def buy(
        self,
        quantity: float | None = None,
        price: float | None = None,
        order_type: OrderType | None = None,
        reduce_only: bool = False,
        *,
        notional: float | None = None,
    ) -> int:
        """Send an order to buy.

        Parameters
        ----------
        quantity : float
            Base units, at least one lot; rounded down to whole lots.
        price : float, optional
            Limit. Between two ticks it is rounded down for a buyer and up for a seller: nothing trades beyond it. Without
            it the order trades at any price.
        order_type : OrderType, optional
            By default ``LIMIT`` with a price (what does not trade rests), ``MARKET`` without.
        reduce_only : bool
            Cut the order to what closes the position when it reaches the venue. By default it does not rest (``IOC``). With
            an ``order_type`` that may rest it is cut to what other such orders leave of the position, and again, the newest
            first, whenever the position shrinks or turns, so that it never opens anything.
        notional : float, optional
            Instead of a quantity: trade at any price as many whole lots as this amount of quote currency pays for when the
            order reaches the venue, from the best price outwards, and never more.

        Returns
        -------
        int
            Id of the order, for :meth:`cancel`, :attr:`open_orders` and :attr:`fills`.

        Raises
        ------
        ScenarioError
            If an argument is out of range or the arguments contradict each other.
        """
        if quantity is None or notional is not None:
            return self._spend(1.0, quantity, price, order_type, reduce_only, notional)
        return self._send(1.0, quantity, price, order_type, reduce_only)

    def sell(
        self,
        quantity: float | None = None,
        price: float | None = None,
        order_type: OrderType | None = None,
        reduce_only: bool = False,
        *,
        notional: float | None = None,
    ) -> int:
        """Send an order to sell; as :meth:`buy`, a ``notional`` being what it may bring in."""
        if quantity is None or notional is not None:
            return self._spend(-1.0, quantity, price, order_type, reduce_only, notional)
        return self._send(-1.0, quantity, price, order_type, reduce_only)

    def submit(
        self, side: Side, quantity: float, price: float | None = None, order_type: OrderType | None = None
    ) -> int:
        """Send an order by its side; with a price it is immediate or cancel unless ``order_type`` says otherwise."""
        if side not in (1, -1):
            raise ScenarioError(expectation("side", "Side.BUY or Side.SELL", side))
        if order_type is None and price is not None:
            order_type = OrderType.IOC
        return self._send(float(side), quantity, price, order_type, False)

    def cancel(self, order_id: int) -> bool:
        """Cancel an order, also one sent a moment ago; returns whether it may still rest.

        Raises
        ------
        ScenarioError
            If no order with this id was ever sent.
        """
        desk = self._desk
        number = desk.tickets
        self._check_id(order_id, number + len(desk.requests) // 4)
        # An order of this phase has no place in the book yet: minus one minus its row stands for it.
        found = -1 - (order_id - number - 1) if order_id > number else self.resting.get(order_id, 0)
        if found == 0:
            return False
        desk.requests.extend((float(self._account()), lay.REQUEST_CANCEL, 1.0, float(found)))
        return True

    def amend(self, order_id: int, quantity: float | None = None, price: float | None = None) -> int:
        """Change an order that rests.

        A smaller quantity at the same price keeps its place in the queue. A larger one, or another price, goes to the end
        of its queue, as a cancellation and a new limit order would, and trades where the new price crosses; the venue may
        refuse it as it may any order.

        Parameters
        ----------
        order_id : int
        quantity : float, optional
            Base units that are to rest; as many as are left by default.
        price : float, optional
            The present limit by default.

        Returns
        -------
        int
            Id of the order from now on; 0 if it rests no more.

        Raises
        ------
        ScenarioError
            If an argument is out of range, or no order with this id was ever sent.
        """
        desk = self._desk
        self._check_id(order_id, desk.tickets)
        if quantity is not None:
            self._check_quantity(quantity)
        if price is not None:
            self._check_price(price)
        known = self.resting.get(order_id, 0)
        lots = int(desk.resting(np.array([known], np.int64))[0, 1]) if known else 0
        if lots == 0:
            return 0
        account, wanted = float(self._account()), 0.0 if quantity is None else quantity
        limit = nan if price is None else price
        desk.requests.extend((account, lay.REQUEST_AMEND, 1.0, float(known)))
        desk.requests.extend((account, _LIMIT, math.copysign(wanted, lots), limit))
        ticket = desk.tickets + (len(desk.requests) >> 2)
        self._amended[ticket] = order_id
        return ticket

    def told(self, ticket: int, order_id: int) -> None:
        """Take note of an order that came to rest, or stays where it was under another number."""
        before = self._amended.pop(ticket, 0)
        if before and self.resting.get(before) == order_id:
            del self.resting[before]
        self.resting[ticket] = order_id

    def cancel_all(self) -> int:
        """Cancel every order that rests; returns how many that were."""
        return sum(map(self.cancel, [order.order_id for order in self.open_orders]))

    @property
    def open_orders(self) -> list[OpenOrder]:
        """Orders that rest, oldest first."""
        desk = self._desk
        if not self.resting:
            return []
        found = desk.resting(np.fromiter(self.resting.values(), np.int64, len(self.resting))).tolist()
        return [
            OpenOrder(ticket, Side(1 if lots > 0 else -1), desk.price(tick), desk.quantity(abs(lots)))
            for ticket, (tick, lots) in zip(self.resting, found, strict=True)
            if lots != 0
        ]

    @property
    def fills(self) -> list[Fill]:
        """Trades of the account since this participant last decided, oldest first."""
        account = self._account()
        rows = self._desk.fills(account, account + 1, self.seen)
        if not len(rows):
            return []
        tickets = {serial(order_id): ticket for ticket, order_id in self.resting.items()}
        return [self._fill(row, tickets) for row in rows]

    @property
    def refusals(self) -> list[RefusedOrder]:
        """Orders that it sent when it last decided and that were refused, or cut to what closes, with the reason.

        Orders that take time to the venue are looked at when they arrive, and not listed here.
        """
        return list(self._refused)

    def told_refused(self, ticket: int, row: Any) -> None:
        """Take note of an order that was refused."""
        quantity = self._desk.quantity(int(row["quantity"]))
        self._refused.append(
            RefusedOrder(ticket, Side(int(row["side"])), quantity, Refusal(int(row["refused"])))
        )

    def _fill(self, row: Any, tickets: dict[int, int]) -> Fill:
        order_id, is_maker = int(row["order_id"]), bool(row["is_maker"])
        return Fill(
            tickets.get(order_id, 0) if is_maker else order_id,
            Side(int(row["side"])),
            self._desk.quantity(int(row["quantity"])),
            self._desk.price(float(row["price"])),
            is_maker,
            Cause(int(row["cause"])),
            int(row["step"]),
        )

    def after(self) -> None:
        """Forget what has been read, and ids of orders that are gone, once there may be many."""
        self._refused.clear()
        if self._amended:
            self._amended = {new: old for new, old in self._amended.items() if new > self._desk.tickets}
        if len(self.resting) > self._most:
            left = (
                self._desk.resting(np.fromiter(self.resting.values(), np.int64, len(self.resting)))[:, 1] != 0
            )
            self.resting = {
                ticket: order_id
                for (ticket, order_id), rests in zip(self.resting.items(), left.tolist(), strict=True)
                if rests
            }
            self._most = max(_KEPT_IDS, 2 * len(self.resting))

    def _send(
        self, sign: float, quantity: float, price: float | None, order_type: OrderType | None, reduce: bool
    ) -> int:
        desk = self._desk
        # One by one these are most of what an order costs, so they are written out.
        try:
            good = desk.least < quantity <= desk.largest
        except (TypeError, ValueError):
            good = False
        if not good:
            self._check_quantity(quantity)
        if price is None:
            limit, kind = nan, _MARKET
        else:
            limit, kind = price, _LIMIT
            try:
                good = desk.lowest < price < desk.highest
            except (TypeError, ValueError):
                good = False
            if not good:
                self._check_price(price)
        if order_type is not None or reduce:
            kind = order_kind(price is not None, order_type, reduce)
        requests = desk.requests
        requests.extend((self._account(), kind, sign * quantity, limit))
        return desk.tickets + (len(requests) >> 2)

    def _spend(
        self,
        sign: float,
        quantity: float | None,
        price: float | None,
        order_type: OrderType | None,
        reduce: bool,
        notional: float | None,
    ) -> int:
        kind = spending_kind(
            quantity is not None, notional is not None, price is not None, order_type, reduce
        )
        desk, amount = self._desk, float("nan") if notional is None else notional
        try:
            good = 0.0 < amount <= desk.largest_notional
        except (TypeError, ValueError):
            good = False
        if not good:
            expected = f"a number above 0 and at most {desk.largest_notional:g}"
            raise ScenarioError(expectation("notional", expected, notional))
        desk.requests.extend((self._account(), kind, sign * amount, nan))
        return desk.tickets + (len(desk.requests) >> 2)

    def _check_quantity(self, quantity: float) -> None:
        desk = self._desk
        try:
            good = desk.least < quantity <= desk.largest
        except (TypeError, ValueError):
            good = False
        if not good:
            expected = f"at least one lot of {desk.lot:g} and at most {desk.largest:g}"
            raise ScenarioError(expectation("quantity", expected, quantity))

    def _check_price(self, price: float) -> None:
        desk = self._desk
        try:
            good = desk.lowest < price < desk.highest
        except (TypeError, ValueError):
            good = False
        if not good:
            expected = f"a number from {desk.tick:g} to {(desk.ticks - 1) * desk.tick:g}"
            raise ScenarioError(expectation("price", expected, price))

    def _check_id(self, order_id: Any, last: int) -> None:
        if not (isinstance(order_id, int) and 0 < order_id <= last):
            raise ScenarioError(expectation("order_id", "the id of an order that was sent", order_id))


class Participant(Parameters, mesa.Agent):  # type: ignore[misc]  # Mesa publishes no types
    """A trader written in Python, with one account; subclasses override :meth:`decide`.

    It sees the market as the trading phase began. Its orders enter before the compiled discretionary traders. Annotated
    attributes of a subclass are its parameters.

    Parameters
    ----------
    model : CascadeModel
        The model it joins, before the first step.
    capital : float
        Quote currency, brought in from outside.
    margined : bool
        Whether the clearing house closes the account when its equity falls below its maintenance margin, and refuses
        orders that its equity does not carry at the initial margin; without a margin it may owe without limit.
    **parameters
        Of the subclass.

    Attributes
    ----------
    wake_every_seconds : float, optional
        Time between two decisions; every step by default.
    also_in : sequence of str
        Further markets in which it has an account as well, with the same capital again.
    account : int
        Its account in its own market.
    """

    noun = "participant"
    capital: float = 1e6
    margined: bool = False
    wake_every_seconds: float | None = None
    also_in: tuple[str, ...] = ()
    account = -1
    account_count = 1

    def __init__(self, model: mesa.Model, capital: float | None = None, **parameters: Any) -> None:
        mesa.Agent.__init__(self, model)
        given = parameters if capital is None else {"capital": capital, **parameters}
        self.set_parameters(given)
        self.views: dict[str, ParticipantMarket] = {}

    def view_of(self, desk: OrderDesk) -> ParticipantMarket:
        """Return a market as this participant sees it."""
        if desk.name not in self.views:
            self.views[desk.name] = ParticipantMarket(desk, self, -1)
        return self.views[desk.name]

    def open_view(self, desk: OrderDesk, first_account: int) -> ParticipantMarket:
        """Return the market in which the participant has the account ``first_account``."""
        self.views[desk.name] = view = ParticipantMarket(desk, self, first_account)
        return view

    def decide(self, market: ParticipantMarket) -> None:
        """Look at ``market`` and send orders with ``market.buy`` and ``market.sell``."""
        raise NotImplementedError(f"{type(self).__name__} must decide what to do each step")
