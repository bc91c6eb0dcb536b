"""Where agents written in Python meet one market: what they see, their orders of a phase, and what became of them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import ceil, floor, inf, log, nan
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.asking import told_as
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.batch import execute_batch, look_up
from cascade_sim.core.drivers.state import State, System
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.ground.rng import PURPOSE_AGENT, PURPOSE_ORDERING, fill_uniform
from cascade_sim.core.layout.book import NO_ASK, ORDER_SLOT_BITS
from cascade_sim.core.venue.book import depth_within
from cascade_sim.domain.components import import_name
from cascade_sim.domain.enums import Cause, OrderType, Side
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import GRID_TOLERANCE, Instrument, steps_within
from cascade_sim.domain.units import ATOMS_PER_UNIT, decimal_fraction

if TYPE_CHECKING:
    from cascade_sim.agents.cohort import Cohort
    from cascade_sim.agents.participant import Participant

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COLUMNS = 4
"""Numbers of an order of a participant on its way into the batch: account, kind, signed quantity, price or order id."""
LARGEST_AMOUNT = 2**62
"""Atoms that a market order may come to."""
_MARKET = int(OrderType.MARKET)


class Member(Protocol):
    """An agent's own view of a market, as the desk keeps it."""

    due: int
    seen: int

    def after(self) -> None:
        """Forget what has been dealt with, once the agent has decided."""
        ...


class Chunk(NamedTuple):
    """Orders of one cohort: accounts, sides, lots, ticks and kinds (arrays or numbers), and ids of what to cancel or amend."""

    member: Any
    accounts: Integers
    sides: Any
    lots: Any
    ticks: Any
    kinds: Any
    order_ids: Any

    @property
    def amends(self) -> bool:
        """Whether these are amendments: two rows each, which order and what it is to be."""
        return np.ndim(self.kinds) > 0


def whole_atoms(amounts: Floats) -> Floats:
    """Return amounts of quote currency in whole atoms, rounded down; what a double cannot tell from a whole number is one."""
    atoms = amounts * ATOMS_PER_UNIT
    return np.asarray(np.maximum(np.floor(atoms + np.maximum(float(GRID_TOLERANCE), np.spacing(atoms))), 1.0))


def entity_of(label: int, number: int) -> int:
    """Return the entity that draws of an agent's account number ``number`` of its kind are addressed by."""
    return (label << 24) + number


class OrderDesk:
    """One market as agents written in Python see and use it.

    Prices are those of the moment at which the trading phase began. Orders of a phase are collected and executed
    together, by one call, in the order hashed from (entity, step).

    Parameters
    ----------
    name : str
        Name of the market.
    instrument : Instrument
    desks : mapping
        Every market's desk by name.
    dt : float
        Seconds per step.
    first_step : int
        Where burn-in begins.
    """

    def __init__(
        self, name: str, instrument: Instrument, desks: Mapping[str, OrderDesk], dt: float, first_step: int
    ) -> None:
        self.name, self.instrument, self.desks, self.dt = name, instrument, desks, dt
        self.first_step = first_step
        self.lot, self.tick = instrument.lot_size, instrument.tick_size
        # Multiplied and divided, sizes such as 0.1 are exact: 22001 ticks are 2200.1.
        self._tick_parts = decimal_fraction(self.tick).as_integer_ratio()
        self._lot_parts = decimal_fraction(self.lot).as_integer_ratio()
        # As far off the grid as still counts as on it.
        self._slack = 0.5 * float(GRID_TOLERANCE)
        self.least = (1.0 - self._slack) * self.lot
        self.lowest = (1.0 - self._slack) * self.tick
        self.agents: list[tuple[Any, Any]] = []
        self.views: dict[int, Any] = {}
        self.requests = array("d")
        self.tickets = 0
        self.fill_number = 0
        self.step = first_step
        self._entities = np.zeros(0, np.int64)
        self._buffer = np.zeros(0, lay.REQUEST).view(np.recarray)
        self._chunks: list[Chunk] = []
        self._log: list[NDArray[Any]] = []
        self._log_start = self._tape_start = 0
        self._batch: tuple[Integers, int, int] | None = None
        self._readers: list[Any] = []

    def attach(self, system: System, number: int) -> None:
        """Use the arrays of market ``number`` of a system."""

        def column(records: Any, *names: str) -> NDArray[Any]:
            found = records.view(np.ndarray)[number : number + 1]
            for name in names:
                found = found[name]
            return np.asarray(found)

        self.state: State = system.state(number)
        market = {
            name: column(system.worlds, "market", name)
            for name in ("mid", "mark", "index", "last", "one_sided")
        }
        self._columns = {**market, "step": column(system.worlds, "control", "step")}
        self._quotes = {name: column(system.books, name) for name in ("best_bid", "best_ask")}
        self._mid_ring: Floats = column(system.worlds, "market", "mid_ring")[0]
        self.positions: Integers = column(system.accounts)[0]["position"]
        self.cash: Integers = column(system.accounts)[0]["cash"]
        self._fill_count = column(system.tapes, "agent_fills_count")
        self._fill_rows = column(system.tapes, "agent_fills")[0]
        config = self.state.world.config
        self.largest = int(config.largest_order) * self.lot
        self.largest_notional = LARGEST_AMOUNT / ATOMS_PER_UNIT
        self.ticks = int(self.state.book.ticks)
        self.highest = (self.ticks - 1.0 + self._slack) * self.tick
        self.seed = config.seed
        self.linear = int(config.formation) == lay.FORMATION_LINEAR
        # Most accounts are no agent's: memory that nobody writes to is not taken.
        grown: Integers = np.asarray(allocate(np.dtype(np.int64), len(self.positions))).view(np.ndarray)
        grown[: len(self._entities)] = self._entities
        self._entities = grown

    def join(self, agent: Any, view: Any, accounts: Integers, entity: int) -> None:
        """Let an agent with ``accounts`` (n,) use this market; the entities of its accounts begin at ``entity``."""
        self._entities[accounts] = entity + np.arange(len(accounts))
        view.entity = entity
        self.views[int(accounts[0])] = view
        self._readers.append(view)
        if agent is not None:
            view.due = _due(agent, self.first_step - 1, self.dt)
            self.agents.append((agent, view))

    def entity(self, account: int) -> int:
        """Return the entity of an account."""
        return int(self._entities[account])

    @property
    def next_due(self) -> int:
        """First step in which an agent of this market wants to act."""
        return int(min((view.due for _, view in self.agents), default=lay.NEVER_DUE))

    def look(self) -> None:
        """Take the market as it is now, and the fills since the last time."""
        values = {name: column.item(0) for name, column in self._columns.items()}
        self.step = values["step"]
        self.time_seconds = self.step * self.dt
        self.raw_mid = values["mid"]
        self.mid: float = nan if values["one_sided"] else self.price(values["mid"])
        self.mark: float = self.price(values["mark"])
        self.index: float = self.price(values["index"])
        self.last: float = self.price(values["last"])
        bid, ask = self._quotes["best_bid"].item(0), self._quotes["best_ask"].item(0)
        self.best_bid: float = self.price(bid) if bid > 0 and not self.linear else nan
        self.best_ask: float = self.price(ask) if ask < NO_ASK and not self.linear else nan
        self._past: dict[int, Floats] = {}
        self._depth: dict[tuple[int, float], float] = {}
        self._fills_by_account: dict[int, NDArray[Any]] | None = None
        self._count_fills()

    def ask(self) -> None:
        """Let every agent that is due decide; their orders wait for :meth:`execute`."""
        step, agent = self.step, None
        number = self.fill_number
        try:
            for agent, view in self.agents:
                if view.due > step:
                    continue
                agent.decide(view)
                view.seen = number
                view.after()
                if agent.also_in:
                    for other in agent.views.values():
                        other.seen = other.fill_number
                        other.after()
                view.due = step + 1 if agent.wake_every_seconds is None else _due(agent, step, self.dt)
        except BaseException:
            with told_as(f"{agent.noun} {import_name(type(agent))}.decide()", step):  # type: ignore[union-attr]
                raise
        self._forget_fills()

    # What agents ask.

    def price(self, ticks: Any) -> Any:
        """Convert ticks, a number or an array, to quote currency."""
        return ticks * self._tick_parts[0] / self._tick_parts[1]

    def quantity(self, lots: Any) -> Any:
        """Convert lots, a number or an array, to base units."""
        return lots * self._lot_parts[0] / self._lot_parts[1]

    def depth(self, side: Side, distance: float) -> float:
        """Return what rests within a fraction ``distance`` of the mid; see :class:`domain.protocols.MarketView`."""
        if side not in (1, -1):
            raise ScenarioError(expectation("side", "Side.BUY or Side.SELL", side))
        known = self._depth.get((int(side), distance))
        if known is not None:
            return known
        if not distance >= 0.0:
            raise ScenarioError(expectation("distance", "a fraction of the mid, at least 0", distance))
        if self.mid != self.mid or self.linear:
            return nan
        edge = self.raw_mid * (1.0 - int(side) * min(distance, float(self.ticks)))
        limit = max(1, ceil(edge)) if side > 0 else min(self.ticks - 1, floor(edge))
        lots = int(depth_within(self.state.book, int(side), np.int64(limit)))
        return self._depth.setdefault((int(side), distance), self.quantity(lots))

    def history(self, seconds: float) -> Floats:
        """Return the mids at the end of the last steps, oldest first."""
        steps = self._steps(seconds)
        known = self._past.get(steps)
        if known is None:
            length = min(steps, self.step - self.first_step)
            places = np.arange(self.step - length, self.step) & (len(self._mid_ring) - 1)
            known = np.asarray(self.price(self._mid_ring[places]))
            known.flags.writeable = False
            self._past[steps] = known
        return known

    def returns(self, seconds: float) -> float:
        """Return the log change of the mid over the last ``seconds``; NaN before there is so much history."""
        steps = self._steps(seconds)
        if steps > self.step - self.first_step or self.mid != self.mid:
            return nan
        past = self.price(self._mid_ring.item((self.step - steps) & (len(self._mid_ring) - 1)))
        return log(self.mid / past)

    def _steps(self, seconds: float) -> int:
        longest = (len(self._mid_ring) - 1) * self.dt
        if not 0.5 * self.dt < seconds <= longest:
            expected = f"a time of one step, {self.dt:g} s, to {longest:g} s"
            raise ScenarioError(expectation("seconds", expected, seconds))
        return round(seconds / self.dt)

    def uniforms(self, account: int, size: int, draw: int) -> Floats:
        """Return draws of consecutive accounts in this step."""
        out = np.empty(size)
        fill_uniform(out, self.seed, PURPOSE_AGENT, self.step, self.entity(account), draw)
        return out

    def resting(self, order_ids: Integers) -> Integers:
        """Return tick and signed lots left (n, 2) of orders in the book."""
        found = np.empty((len(order_ids), 2), np.int64)
        look_up(self.state.world, self.state.book, order_ids, found)
        return found

    # What becomes of their orders.

    def add(self, chunk: Chunk) -> None:
        """Take orders of a cohort."""
        self._chunks.append(chunk)

    @property
    def waiting(self) -> bool:
        """Whether there are orders to execute."""
        return bool(self.requests or self._chunks)

    def execute(self) -> None:
        """Execute all orders of the phase: the one place where orders of Python agents reach the book."""
        if self._batch is not None:
            self._unseen_fills()
        mine = len(self.requests) // COLUMNS
        ends = [mine]
        for chunk in self._chunks:
            ends.append(ends[-1] + len(chunk.accounts))
        total = ends[-1]
        if len(self._buffer) < total:
            self._buffer = np.zeros(max(total, 2 * len(self._buffer)), lay.REQUEST).view(np.recarray)
            self._order = np.empty(len(self._buffer), np.int64)
            self._heads = np.empty(1 << len(self.views).bit_length(), np.int64)
        batch = self._buffer[:total]
        plain = batch.view(np.ndarray)
        self._fill_in(plain[:mine])
        for chunk, start, end in zip(self._chunks, ends, ends[1:], strict=False):
            _fill_in_chunk(plain[start:end], chunk, self._first_of(chunk))
        plain["cause"] = int(Cause.EXECUTION)
        plain["refused"] = 0
        state = self.state
        execute_batch(
            state.world,
            state.book,
            state.accounts,
            state.watch,
            state.tape,
            batch,
            self._order[:total],
            self._heads,
        )
        self._tell(plain[:mine])
        for chunk, start, end in zip(self._chunks, ends, ends[1:], strict=False):
            if chunk.order_ids is not None and not chunk.amends:
                continue
            rows = plain[start:end]
            refused = np.flatnonzero(rows["refused"])
            if len(refused):
                chunk.member.told_refused(rows[refused])
            if chunk.amends:
                # What keeps its place keeps its id, which the cohort knows.
                rows = rows[1::2][rows["order_id"][1::2] != rows["order_id"][::2]]
            chunk.member.told(rows["account"], rows["order_id"])
        self._batch = (plain["order_id"].copy(), mine, self.tickets)
        self.tickets += mine
        self.requests = array("d")
        self._chunks = []

    def _first_of(self, chunk: Chunk) -> int:
        """Return which order of a cohort enters first, the others in turn: nobody is always ahead of the others."""
        out = np.empty(1)
        fill_uniform(out, self.seed, PURPOSE_ORDERING, self.step, chunk.member.entity, 2)
        rows = 2 if chunk.amends else 1
        return rows * int(out[0] * (len(chunk.accounts) // rows))

    def _fill_in(self, rows: NDArray[Any]) -> None:
        """Write the orders of participants into rows of the batch."""
        if not len(rows):
            return
        table = np.frombuffer(self.requests, np.float64).reshape(-1, COLUMNS)
        kinds, signed, last = table[:, 1].astype(np.int64), table[:, 2], table[:, 3]
        naming = (kinds == lay.REQUEST_CANCEL) | (kinds == lay.REQUEST_AMEND)
        # What an order is amended to may leave its quantity, 0, and its price, NaN, as they are.
        left = np.zeros(len(rows))
        left[1:] = kinds[:-1] == lay.REQUEST_AMEND
        priced = ((kinds & (lay.REQUEST_TYPES)) != _MARKET) & ~np.isnan(last)
        rows["account"] = table[:, 0]
        rows["entity"] = self._entities[rows["account"]]
        rows["kind"] = kinds
        rows["side"] = np.where(signed < 0.0, -1, 1)
        spending = (kinds & (lay.REQUEST_TYPES)) == lay.REQUEST_BY_NOTIONAL
        rows["quantity"] = np.maximum(steps_within(np.abs(signed), self.lot), 1.0 - left)
        if spending.any():
            rows["quantity"][spending] = whole_atoms(np.abs(signed[spending]))
        rows["tick"] = steps_within(np.where(priced & ~naming, last, 0.0), self.tick, rows["side"])
        rows["order_id"] = np.where(naming, last, 0.0)

    def _tell(self, rows: NDArray[Any]) -> None:
        """Tell participants which of their orders rest now, and which were refused."""
        kinds = rows["kind"]
        entered = (rows["order_id"] > 0) & (kinds != lay.REQUEST_CANCEL) & (kinds != lay.REQUEST_AMEND)
        found = np.flatnonzero(entered)
        triples = zip(
            rows["account"][found].tolist(), found.tolist(), rows["order_id"][found].tolist(), strict=True
        )
        views, first = self.views, self.tickets + 1
        for account, row, order_id in triples:
            views[account].told(first + row, order_id)
        for row in np.flatnonzero(rows["refused"]).tolist():
            views[int(rows["account"][row])].told_refused(first + row, rows[row])

    def drain(self) -> None:
        """Make room on the tape, between two wake-ups."""
        self._count_fills()
        self._forget_fills()

    def _count_fills(self) -> None:
        self.fill_number = self._tape_start + self._fill_count.item(0)
        self._fills_by_account = None

    def _forget_fills(self) -> None:
        """Empty the tape of fills; those that somebody has yet to see are put aside."""
        if self.fill_number == self._log_start:
            return
        seen = min((view.seen for view in self._readers), default=self.fill_number)
        if seen < self.fill_number:
            self._log = [self._unseen_fills()[seen - self._log_start :].copy()]
        else:
            self._log = []
        self._log_start, self._tape_start, self._batch = seen, self.fill_number, None
        self._fill_count[0] = 0

    def _unseen_fills(self) -> NDArray[Any]:
        """Return all fills that somebody has not seen yet.

        The order id of a taker's fill becomes the one its agent knows; a maker's stays its serial number.
        """
        rows = self._fill_rows[: self._fill_count.item(0)]
        if self._batch is not None:
            order_ids, mine, tickets = self._batch
            known = np.flatnonzero(rows["request"] >= 0)
            request = rows["request"][known].astype(np.int64)
            rows["order_id"][known] = np.where(request < mine, tickets + 1 + request, order_ids[request])
            rows["request"][known] = -1
            self._batch = None
        return np.concatenate((*self._log, rows)) if self._log else rows

    def fills(self, first: int, end: int, seen: int) -> NDArray[Any]:
        """Return fills of accounts ``first`` to before ``end`` from number ``seen`` on, rows of layout.AGENT_FILL."""
        rows = self._unseen_fills()
        if not len(rows):
            return rows
        if end - first > 1:
            rows = rows[max(0, seen - self._log_start) :]
            return rows[(rows["account"] >= first) & (rows["account"] < end)]
        if self._fills_by_account is None:
            by_account = np.argsort(rows["account"], kind="stable")
            owners, starts = np.unique(rows["account"][by_account], return_index=True)
            groups = np.split(by_account, starts[1:])
            self._fills_by_account = dict(zip(owners.tolist(), groups, strict=True))
        numbers = self._fills_by_account.get(first)
        if numbers is None:
            return rows[:0]
        return np.asarray(rows[numbers[numbers >= seen - self._log_start]])


def _fill_in_chunk(rows: NDArray[Any], chunk: Chunk, first: int) -> None:
    """Write the orders of a cohort into rows of the batch, in turn from number ``first`` on."""
    rows["entity"] = chunk.member.entity
    columns = {
        "kind": chunk.kinds,
        "account": chunk.accounts,
        "side": chunk.sides,
        "quantity": chunk.lots,
        "tick": chunk.ticks,
        "order_id": 0 if chunk.order_ids is None else chunk.order_ids,
    }
    after = len(rows) - first
    for name, values in columns.items():
        if np.ndim(values) == 0:
            rows[name] = values
        else:
            rows[name][:after] = values[first:]
            rows[name][after:] = values[:first]


def _due(agent: Participant | Cohort, step: int, dt: float) -> int:
    """First step after ``step`` in which an agent acts."""
    every: Any = agent.wake_every_seconds
    if every is None:
        return step + 1
    if not isinstance(every, int | float) or not 0.0 < every < inf:
        where = f"{agent.noun} {import_name(type(agent))}.wake_every_seconds"
        raise ScenarioError(expectation(where, "a positive time or None", every))
    steps = max(1, round(every / dt))
    return (step // steps + 1) * steps


def serial(order_id: int) -> int:
    """Return the serial number in the id of an order."""
    return order_id >> ORDER_SLOT_BITS


def tell_all(home: OrderDesk) -> None:
    """Let the agents of a market act: look at every market, decide, and have all orders executed."""
    for desk in home.desks.values():
        desk.look()
    home.ask()
    for desk in home.desks.values():
        if desk.waiting:
            desk.execute()
