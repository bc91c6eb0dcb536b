"""Many accounts of one agent that decides for all of them at once, in numpy."""

from __future__ import annotations

from math import nan
from typing import Any

import mesa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.agents.desk import Chunk, Floats, Integers, OrderDesk, whole_atoms
from cascade_sim.agents.parameters import Parameters
from cascade_sim.agents.participant import MarketPrices, order_kind, spending_kind
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.worth import equities
from cascade_sim.core.layout.book import ORDER_SLOT_BITS
from cascade_sim.domain.enums import OrderType
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import steps_within
from cascade_sim.domain.units import ATOMS_PER_UNIT

OPEN_ORDERS = np.dtype(
    [
        ("order_id", np.int64),
        ("account", np.int64),
        ("side", np.int8),
        ("price", np.float64),
        ("quantity", np.float64),
    ]
)
"""Orders of a cohort that rest; ``account`` counts from 0 within the cohort."""

FILLS = np.dtype(
    [
        ("order_id", np.int64),
        ("account", np.int64),
        ("side", np.int8),
        ("quantity", np.float64),
        ("price", np.float64),
        ("is_maker", np.bool_),
        ("cause", np.int8),
        ("step", np.int64),
    ]
)
"""Trades of a cohort's accounts. ``order_id`` is 0 where nothing of the order came to rest."""
REFUSALS = np.dtype([("account", np.int64), ("side", np.int8), ("quantity", np.float64), ("reason", np.int8)])
"""Orders of a cohort that were refused, or cut to what closes; ``reason`` is a code of :class:`domain.enums.Refusal`."""
_KEPT_IDS = 4096


class CohortMarket(MarketPrices):
    """A market as a cohort sees it: one price for all accounts, arrays (n,) of what each account has.

    Orders are arrays of one element per order, or single numbers for all. ``accounts`` says whose they are, counted from
    0; by default one order of each account. Orders of quantity 0 are left out.
    """

    __slots__ = ("_all", "_most", "_news", "_noted", "_refused", "count")

    def __init__(self, desk: OrderDesk, owner: Cohort, first_account: int, count: int) -> None:
        super().__init__(desk, owner, first_account)
        self.count = count
        self._all: Integers = first_account + np.arange(count)
        self._news: list[tuple[Integers, Integers]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        self._noted, self._most = 0, _KEPT_IDS
        self._refused = np.zeros(0, REFUSALS)

    def _rows(self) -> slice:
        first = self._account()
        return slice(first, first + self.count)

    @property
    def position(self) -> Floats:
        """Signed positions (n,), base units."""
        return np.asarray(self._desk.quantity(self._desk.positions[self._rows()]))

    @property
    def cash(self) -> Floats:
        """Capital less what the open position cost (n,), quote currency."""
        return np.asarray(self._desk.cash[self._rows()] / ATOMS_PER_UNIT)

    @property
    def equity(self) -> Floats:
        """Cash and position at the mark (n,), quote currency."""
        return np.asarray(equities(self.cash, self.position, self._desk.mark))

    def uniform(self, draw: int = 0) -> Floats:
        """Return random numbers (n,) between 0 and 1, addressed by seed, step, account and ``draw``."""
        return self._desk.uniforms(self._account(), self.count, draw)

    def buy(
        self,
        quantity: ArrayLike | None = None,
        price: ArrayLike | None = None,
        order_type: OrderType | None = None,
        reduce_only: bool = False,
        *,
        notional: ArrayLike | None = None,
        accounts: ArrayLike | None = None,
    ) -> None:
        """Send orders to buy.

        Parameters
        ----------
        quantity : array_like
            Base units, not negative, rounded down to whole lots; below one lot only 0.
        price : array_like, optional
            Limits; between two ticks rounded down for buyers and up for sellers, so that nothing trades beyond them.
            Without them the orders trade at any price.
        order_type : OrderType, optional
            By default ``LIMIT`` with prices, ``MARKET`` without.
        reduce_only : bool
            Cut each order to what closes the position when it reaches the venue. By default it does not rest (``IOC``).
            With an ``order_type`` that may rest it is cut to what other such orders of its account leave of the position,
            and again, the newest first, whenever the position shrinks or turns, so that it never opens anything.
        notional : array_like, optional
            Instead of quantities: each order trades at any price as many whole lots as its amount of quote currency pays
            for when it reaches the venue, from the best price outwards, and never more. Amounts of 0 are left out.
        accounts : array_like of int, optional
            Whose orders they are.

        Raises
        ------
        ScenarioError
            If a number is out of range or shapes do not fit.
        """
        self._send(1, quantity, price, order_type, reduce_only, accounts, notional)

    def sell(
        self,
        quantity: ArrayLike | None = None,
        price: ArrayLike | None = None,
        order_type: OrderType | None = None,
        reduce_only: bool = False,
        *,
        notional: ArrayLike | None = None,
        accounts: ArrayLike | None = None,
    ) -> None:
        """Send orders to sell; as :meth:`buy`, a ``notional`` being what an order may bring in."""
        self._send(-1, quantity, price, order_type, reduce_only, accounts, notional)

    def submit(
        self,
        side: ArrayLike,
        quantity: ArrayLike | None = None,
        price: ArrayLike | None = None,
        order_type: OrderType | None = None,
        *,
        notional: ArrayLike | None = None,
        accounts: ArrayLike | None = None,
    ) -> None:
        """Send orders by their sides (+1 or -1); with prices they are immediate or cancel unless told otherwise."""
        if order_type is None and price is not None:
            order_type = OrderType.IOC
        self._send(side, quantity, price, order_type, False, accounts, notional)

    def cancel(self, order_ids: ArrayLike) -> None:
        """Cancel orders of the cohort by their ids; those that rest no more are left out."""
        wanted = np.atleast_1d(np.asarray(order_ids, np.int64))
        ids, owners = self._known_orders()
        rests = np.isin(ids, wanted)
        self._cancel(ids[rests], owners[rests])

    def amend(
        self, order_ids: ArrayLike, quantity: ArrayLike | None = None, price: ArrayLike | None = None
    ) -> None:
        """Change orders of the cohort that rest; those that rest no more are left out.

        A smaller quantity at the same price keeps its place in the queue and its id. A larger one, or another price, goes
        to the end of its queue as a new order; the venue may refuse it as it may any order.

        Parameters
        ----------
        order_ids : array_like of int, shape (m,)
        quantity : array_like, optional
            Base units that are to rest, at least one lot; as many as are left by default.
        price : array_like, optional
            The present limits by default; rounded as those of :meth:`buy`.

        Raises
        ------
        ScenarioError
            If a number is out of range or shapes do not fit.
        """
        self._account()
        desk, wanted = self._desk, np.atleast_1d(np.asarray(order_ids, np.int64))
        count = len(wanted)
        lots = np.zeros(count, np.int64)
        if quantity is not None:
            given = np.broadcast_to(_numbers("quantity", quantity, count), (count,))
            expected = f"numbers from one lot of {desk.lot:g} to {desk.largest:g}"
            _require("quantity", (given > desk.least) & (given <= desk.largest), expected, given)
            lots = np.maximum(steps_within(given, desk.lot), 1.0).astype(np.int64)
        limits: Floats | None = None
        if price is not None:
            limits = np.broadcast_to(_numbers("price", price, count), (count,))
            expected = f"numbers from {desk.tick:g} to {(desk.ticks - 1) * desk.tick:g}"
            _require("price", (limits > desk.lowest) & (limits < desk.highest), expected, limits)
        ids, owners = self._known_orders(forget=True)
        by_id = np.argsort(ids)
        place = np.searchsorted(ids[by_id], wanted)
        rests = np.flatnonzero(np.isin(wanted, ids))
        if not len(rests):
            return
        wanted, found = wanted[rests], by_id[place[rests]]
        sides = np.sign(desk.resting(wanted)[:, 1])
        ticks = np.zeros(len(rests)) if limits is None else steps_within(limits[rests], desk.tick, sides)
        kinds = np.tile([lay.REQUEST_AMEND, int(OrderType.LIMIT)], len(rests))
        owner, side, size, tick = (np.repeat(each, 2) for each in (owners[found], sides, lots[rests], ticks))
        named = np.column_stack((wanted, np.zeros_like(wanted))).ravel()
        desk.add(Chunk(self, owner, side, size, tick, kinds, named))

    def cancel_all(self, accounts: ArrayLike | None = None) -> None:
        """Cancel every order that rests, of the listed accounts or of all."""
        ids, owners = self._known_orders(forget=True)
        if accounts is not None:
            mine = np.isin(owners, self._chosen(accounts))
            ids, owners = ids[mine], owners[mine]
        self._cancel(ids, owners)

    @property
    def open_orders(self) -> NDArray[Any]:
        """Orders that rest, oldest first, rows of :data:`OPEN_ORDERS`."""
        ids, owners = self._known_orders(forget=True)
        found = self._desk.resting(ids)
        rows = np.zeros(len(found), OPEN_ORDERS)
        rows["order_id"], rows["account"] = ids, owners - self.first_account
        rows["side"] = np.sign(found[:, 1])
        rows["price"] = self._desk.price(found[:, 0])
        rows["quantity"] = self._desk.quantity(np.abs(found[:, 1]))
        return rows

    @property
    def fills(self) -> NDArray[Any]:
        """Trades of the accounts since this cohort last decided, oldest first, rows of :data:`FILLS`."""
        first = self._account()
        raw = self._desk.fills(first, first + self.count, self.seen)
        rows = np.zeros(len(raw), FILLS)
        for name in ("side", "is_maker", "cause", "step"):
            rows[name] = raw[name]
        rows["account"] = raw["account"] - first
        rows["quantity"], rows["price"] = self._desk.quantity(raw["quantity"]), self._desk.price(raw["price"])
        rows["order_id"] = raw["order_id"]
        maker = np.flatnonzero(raw["is_maker"])
        ids, _ = self._known_orders()
        numbers = ids >> ORDER_SLOT_BITS
        if len(ids):
            place = np.minimum(np.searchsorted(numbers, raw["order_id"][maker]), len(ids) - 1)
            known = numbers[place] == raw["order_id"][maker]
            rows["order_id"][maker] = np.where(known, ids[place], 0)
        else:
            rows["order_id"][maker] = 0
        return rows

    @property
    def refusals(self) -> NDArray[Any]:
        """Orders that were refused when the cohort last decided, rows of :data:`REFUSALS`, in the order of execution.

        Orders that take time to the venue are looked at when they arrive, and not listed here.
        """
        return self._refused.copy()

    def told_refused(self, requests: NDArray[Any]) -> None:
        """Take note of orders that were refused, rows of layout.REQUEST."""
        rows = np.zeros(len(requests), REFUSALS)
        rows["account"], rows["side"] = requests["account"] - self.first_account, requests["side"]
        rows["quantity"], rows["reason"] = self._desk.quantity(requests["quantity"]), requests["refused"]
        self._refused = np.concatenate((self._refused, rows))

    def told(self, accounts: Integers, order_ids: Integers) -> None:
        """Take note of what orders came to rest."""
        rests = np.flatnonzero(order_ids > 0)
        self._news.append((accounts[rests], order_ids[rests]))
        self._noted += len(rests)

    def after(self) -> None:
        """Forget what has been read, and ids of orders that are gone, once there may be many."""
        self._refused = self._refused[:0]
        if self._noted > self._most:
            self._known_orders(forget=True)
            self._most = max(_KEPT_IDS, 2 * self._noted)

    def _known_orders(self, *, forget: bool = False) -> tuple[Integers, Integers]:
        """Return ids and accounts of orders that came to rest, oldest first; ``forget`` leaves out those that are gone."""
        owners, ids = (np.concatenate(parts) for parts in zip(*self._news, strict=True))
        if forget:
            rests = self._desk.resting(ids)[:, 1] != 0
            owners, ids = owners[rests], ids[rests]
        if len(self._news) > 1:
            by_age = np.argsort(ids >> ORDER_SLOT_BITS, kind="stable")
            owners, ids = owners[by_age], ids[by_age]
        self._news, self._noted = [(owners, ids)], len(ids)
        return ids, owners.astype(np.int64)

    def _cancel(self, order_ids: Integers, owners: Integers) -> None:
        self._account()
        if len(order_ids):
            self._desk.add(Chunk(self, owners, 1, 0, 0, lay.REQUEST_CANCEL, order_ids))

    def _chosen(self, accounts: ArrayLike) -> Integers:
        chosen = np.atleast_1d(np.asarray(accounts))
        good = chosen.dtype.kind in "iu" or len(chosen) == 0
        if not good or ((chosen < 0) | (chosen >= self.count)).any():
            raise ScenarioError(
                expectation("accounts", f"whole numbers from 0 to {self.count - 1}", accounts)
            )
        return self.first_account + chosen.astype(np.int64)

    def _send(
        self,
        side: ArrayLike,
        quantity: ArrayLike | None,
        price: ArrayLike | None,
        order_type: OrderType | None,
        reduce: bool,
        accounts: ArrayLike | None,
        notional: ArrayLike | None,
    ) -> None:
        self._account()
        owners = self._all if accounts is None else self._chosen(accounts)
        desk, count = self._desk, len(owners)
        sides = np.asarray(side)
        if sides.dtype.kind not in "iuf" or not (np.abs(sides) == 1).all():
            raise ScenarioError(expectation("side", "+1 or -1", side))
        sides = _fitted("side", sides, count)
        if quantity is None or notional is not None:
            given = quantity is not None, notional is not None, price is not None
            self._spend(owners, sides, notional, spending_kind(*given, order_type, reduce))
            return
        kind = order_kind(price is not None, order_type, reduce)
        wanted = _numbers("quantity", quantity, count)
        expected = f"numbers from 0 to {desk.largest:g}"
        _require("quantity", (wanted >= 0.0) & (wanted <= desk.largest), expected, wanted)
        lots = steps_within(wanted, desk.lot)
        sent = lots > 0.0
        whole = bool(sent.all())
        if not whole:
            _require("quantity", sent | (wanted == 0.0), f"0 or at least one lot of {desk.lot:g}", wanted)
        ticks: Any = np.zeros(())
        if price is not None:
            limits = _numbers("price", price, count)
            expected = f"numbers from {desk.tick:g} to {(desk.ticks - 1) * desk.tick:g}"
            inside = (limits > desk.lowest) & (limits < desk.highest)
            _require("price", inside if whole else inside | ~sent, expected, limits)
            ticks = steps_within(limits, desk.tick, sides)
        if not whole:
            sent = np.broadcast_to(sent, (count,))
            owners = owners[sent]
            sides, lots, ticks = (
                each[sent] if each.ndim else each for each in (sides, lots, np.asarray(ticks))
            )
        if len(owners):
            desk.add(Chunk(self, owners, sides, lots, ticks, kind, None))

    def _spend(self, owners: Integers, sides: NDArray[Any], notional: ArrayLike | None, kind: int) -> None:
        desk, count = self._desk, len(owners)
        amounts = _numbers("notional", nan if notional is None else notional, count)
        expected = f"numbers from 0 to {desk.largest_notional:g}"
        _require("notional", (amounts >= 0.0) & (amounts <= desk.largest_notional), expected, amounts)
        sent = np.broadcast_to(amounts > 0.0, (count,))
        sides, amounts = (np.broadcast_to(each, (count,))[sent] for each in (sides, amounts))
        if len(amounts):
            desk.add(Chunk(self, owners[sent], sides, whole_atoms(amounts), 0, kind, None))


def _numbers(label: str, values: ArrayLike, count: int) -> Floats:
    try:
        found = np.asarray(values)
    except ValueError:
        found = np.asarray(None)
    if found.dtype.kind not in "fiu":
        raise ScenarioError(expectation(label, "numbers", values))
    return _fitted(label, found.astype(np.float64, copy=False), count)


def _fitted(label: str, values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return ``values`` if there is one for all or one for each of ``count`` orders."""
    if values.ndim and values.shape != (count,):
        raise ScenarioError(expectation(label, f"one number or an array of {count}", list(values.shape)))
    return values


def _require(label: str, good: NDArray[np.bool_], expected: str, values: Floats) -> None:
    if good.all():
        return
    first = int(np.flatnonzero(~np.atleast_1d(good))[0])
    bad = float(np.broadcast_to(values, np.shape(good)).reshape(-1)[first])
    where = f"{label}[{first}]" if np.ndim(good) else label
    raise ScenarioError(expectation(where, expected, bad))


class Cohort(Parameters, mesa.Agent):  # type: ignore[misc]  # Mesa publishes no types
    """Many accounts of traders of one kind; subclasses override :meth:`decide`, which speaks for all in numpy.

    Annotated attributes of a subclass are its parameters.

    Parameters
    ----------
    model : CascadeModel
        The model it joins, before the first step.
    count : int
        Accounts.
    capital : float
        Quote currency of each account, brought in from outside.
    margined : bool
        Whether the clearing house closes an account whose equity falls below its maintenance margin, and refuses orders
        that its equity does not carry at the initial margin; without a margin it may owe without limit.
    **parameters
        Of the subclass.

    Attributes
    ----------
    wake_every_seconds : float, optional
        Time between two decisions; every step by default.
    also_in : sequence of str
        Further markets in which its accounts trade as well, with the same capital again.
    first_account : int
        First of its accounts in its own market.
    """

    noun = "cohort"
    capital: float = 1e5
    margined: bool = False
    wake_every_seconds: float | None = None
    also_in: tuple[str, ...] = ()
    first_account = -1

    def __init__(self, model: mesa.Model, count: int = 1, **parameters: Any) -> None:
        mesa.Agent.__init__(self, model)
        given: Any = count
        if not (isinstance(given, int) and given >= 1):
            raise ScenarioError(expectation("count", "at least one account", count))
        self.account_count = count
        self.set_parameters(parameters)
        self.views: dict[str, CohortMarket] = {}

    def view_of(self, desk: OrderDesk) -> CohortMarket:
        """Return a market as this cohort sees it."""
        if desk.name not in self.views:
            self.views[desk.name] = CohortMarket(desk, self, -1, self.account_count)
        return self.views[desk.name]

    def open_view(self, desk: OrderDesk, first_account: int) -> CohortMarket:
        """Return the market in which the cohort has its accounts from ``first_account`` on."""
        self.views[desk.name] = view = CohortMarket(desk, self, first_account, self.account_count)
        return view

    def decide(self, market: CohortMarket) -> None:
        """Look at ``market`` and send orders with ``market.buy`` and ``market.sell``."""
        raise NotImplementedError(f"{type(self).__name__} must decide what to do each step")
