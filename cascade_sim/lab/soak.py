"""A run for as long as one likes, in which everything that must always hold is looked at on the way.

The engine keeps totals, indexes and pools up to date move by move. A mistake in that is small at first: a slot that is
not given back, an account in the wrong list, an atom too many. Here each is compared with a count from scratch.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.margin import liquidation_prices, whole_position_prices
from cascade_sim.core.drivers.state import State
from cascade_sim.core.layout.book import (
    INDEX_MASK,
    NO_ASK,
    NO_BID,
    ORDER_SLOT_BITS,
    ORDER_SLOT_MASK,
    WINDOW,
    order_ticks,
)
from cascade_sim.core.layout.flight import FLIGHT_SLOTS
from cascade_sim.model import Simulation, build
from cascade_sim.scenario import Scenario, load_scenario

SOAK = Path(__file__).parents[1] / "scenarios" / "benchmark" / "soak.yaml"
"""Two busy markets in which everything is switched on."""
CHECKS = 50
"""How often a soak stops to look."""
GROWTH_MIB = 64.0
"""Resident memory that a run may gain after its first tenth: pages of prices and slots that it had not used yet."""
_STEPS_AT_ONCE = 16
_MIB = 1024.0

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Soaked:
    """What a soak found.

    Attributes
    ----------
    messages : int
        Messages that the books of all markets took.
    steps : int
        Steps they took them in.
    failures : tuple of str
        What did not hold, with market and step.
    seconds : float
        Time inside the engine; the checks are not counted.
    peak_mib, growth_mib : float or None
        Largest resident memory of the process, and what it gained after the first tenth of the messages; None where
        the system does not say.
    """

    messages: int
    steps: int
    failures: tuple[str, ...]
    seconds: float
    peak_mib: float | None
    growth_mib: float | None


def peak_mib() -> float | None:
    """Return the largest resident memory of this process in MiB; None where ``/proc`` is missing."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(
        float(line.split()[1]) / _MIB for line in status.read_text().splitlines() if line.startswith("VmHWM")
    )


def walk(heads: Integers, following: Integers) -> Integers:
    """Count how often each node is met when every list is followed to its end; 0 ends a list.

    Parameters
    ----------
    heads : int64, shape (lists,)
        First nodes.
    following : int64, shape (nodes,)
        The node behind each node.

    Returns
    -------
    int64, shape (nodes,)
        More than one for a node that is in two lists, or behind which a list turns back on itself; nodes are not
        followed again.
    """
    met = np.zeros(len(following), np.int64)
    now = heads[heads > 0]
    while len(now):
        np.add.at(met, now, 1)
        now = following[now[met[now] == 1]]
        now = now[now > 0]
    return met


def _integers(values: Any) -> Integers:
    return np.asarray(values).astype(np.int64)


def _pool_is_whole(heads: Integers, free: int, following: Integers, used: int) -> bool:
    """Whether every node from 1 to ``used`` is in a list or free, once."""
    met = walk(np.append(heads, free), following[: used + 1])
    return bool((met[1:] == 1).all())


def check_ledger(state: State) -> Iterator[str]:
    """Yield what is wrong with cash, positions and open interest."""
    totals, rows = state.world.totals, state.accounts
    if int(totals.cash) != 0 or int(totals.position) != 0:
        yield "a running total is not zero"
    if int(rows["cash"].sum()) != 0 or int(rows["position"].sum()) != 0:
        yield "accounts do not add up to zero"
    if int(totals.open_interest) != int(np.maximum(rows["position"], 0).sum()):
        yield "open interest is not what the accounts hold"
    if int(totals.check_failures) or int(totals.crossed_books):
        yield "a check of the engine failed"


def check_book(state: State) -> Iterator[str]:
    """Yield what is wrong with slots, queues, levels and best prices; the pool of an auction is level 0."""
    book = state.book
    used = int(book.fresh_slot) - 1
    orders = book.orders[: used + 1]
    lots, following = _integers(orders["quantity_lot"]), _integers(orders["next"])
    live = np.flatnonzero(lots)
    levels = book.levels
    heads, sums = _integers(levels["head"]), np.asarray(levels["quantity_lot"])
    occupied = np.flatnonzero(heads)
    if int(book.live_orders) != len(live):
        yield "live orders are miscounted"
    if not _pool_is_whole(heads[occupied], int(book.free_slot), following, used):
        yield "an order slot is lost or in two lists"
    places = _integers(orders["key"])[live] & INDEX_MASK
    expected = np.zeros(len(levels), np.int64)
    np.add.at(expected, places, lots[live])
    if not np.array_equal(expected, sums):
        yield "a level does not hold the lots of its orders"
    if not np.array_equal(np.unique(places), occupied):
        yield "an occupied price is empty, or an empty one occupied"
    behind = live[following[live] > 0]
    if (_integers(orders["previous"])[following[behind]] != behind).any():
        yield "a queue is not linked back"
    bits = np.flatnonzero(np.unpackbits(book.bits_low.view(np.uint8), bitorder="little"))
    if not np.array_equal(bits, occupied):
        yield "the bitset does not show the occupied prices"
    origin, far = int(book.origin), places >= WINDOW
    ticks = order_ticks(book, live)[places > 0]
    if (far[places > 0] != ((ticks <= origin) | (ticks >= origin + WINDOW))).any():
        yield "an order is on the wrong side of an end of the window"
    bids, asks = ticks[ticks <= int(book.best_bid)], ticks[ticks > int(book.best_bid)]
    best = int(bids.max(initial=NO_BID)), int(asks.min(initial=NO_ASK))
    if best != (int(book.best_bid), int(book.best_ask)):
        yield "the best prices are not those of the orders"


def check_open_orders(state: State) -> Iterator[str]:
    """Yield what is wrong with what margined accounts are said to have resting."""
    book, world, rows = state.book, state.world, state.accounts
    orders = book.orders[: int(book.fresh_slot)]
    live = np.flatnonzero(_integers(orders["quantity_lot"]))
    places, owners = _integers(orders["key"])[live] & INDEX_MASK, _integers(orders["owner"])[live]
    ticks = order_ticks(book, live)
    buys = np.where(places > 0, ticks <= int(book.best_bid), world.venue.limit[live] > 0)
    margined = np.asarray(rows["traits"])[owners] & lay.FLAG_MARGINED != 0
    expected = np.zeros((2, len(rows)))
    np.add.at(
        expected, (np.where(buys, 0, 1)[margined], owners[margined]), orders["quantity_lot"][live][margined]
    )
    if not np.array_equal(expected, state.watch[[lay.RESTING_BUY, lay.RESTING_SELL]]):
        yield "the open lots of an account are not those of its orders"
    if float(world.control.open_lots) != expected.sum():
        yield "open lots are miscounted"


def check_reductions(state: State) -> Iterator[str]:
    """Yield what is wrong with the orders that may only reduce."""
    book, world = state.book, state.world
    used = int(world.reducing.fresh)
    pool = world.reducing.pool[: used + 1]
    heads, following = _integers(world.reducing.head), _integers(pool["next"])
    if not _pool_is_whole(heads, int(world.reducing.free), following, used):
        yield "an entry of a reduce-only order is lost"
    listed = pool[np.flatnonzero(pool["order_id"])]
    if len(listed) != int(world.control.reducing):
        yield "reduce-only orders are miscounted"
    slots = listed["order_id"] & ORDER_SLOT_MASK
    orders = book.orders[slots]
    alive = (orders["quantity_lot"] > 0) & (orders["serial"] == listed["order_id"] >> ORDER_SLOT_BITS)
    slots, owners, lots = slots[alive], listed["account"][alive], _integers(orders["quantity_lot"])[alive]
    if (_integers(book.orders["owner"][slots]) != owners).any():
        yield "a reduce-only order is another account's"
    places = _integers(book.orders["key"][slots]) & INDEX_MASK
    limits = np.asarray(world.venue.limit)[slots]
    buys = np.where(places > 0, order_ticks(book, slots) <= int(book.best_bid), limits > 0)
    for side, those in ((1, buys), (-1, ~buys)):
        waits = np.zeros(len(state.accounts), np.int64)
        np.add.at(waits, owners[those], lots[those])
        if (waits > np.maximum(0, -side * np.asarray(state.accounts["position"]))).any():
            yield "a reduce-only order would open a position"


def check_triggers(state: State) -> Iterator[str]:
    """Yield what is wrong with the liquidation triggers and their index."""
    world, rows, watch = state.world, state.accounts, state.watch
    clearing = world.config.clearing
    cash, position = np.asarray(rows["cash"]), np.asarray(rows["position"])
    traits = np.asarray(rows["traits"])
    margined = (traits & lay.FLAG_MARGINED != 0) & (traits & lay.FLAG_CROSS == 0)
    held = np.flatnonzero(margined & (position != 0))
    tiers = int(clearing.tiers)
    scaled = (position[held] * int(world.config.atoms)).astype(np.float64)
    owned, rates = cash[held].astype(np.float64), np.array(clearing.tier_rate[:tiers])
    long, lows = position[held] > 0, watch[lay.WATCH_LIQUIDATE_LONG, held]
    if int(clearing.whole.enabled):
        ends, mark = np.array(clearing.whole.ends[:tiers]), float(world.market.mark)
        prices = whole_position_prices(scaled, owned, mark, rates, ends)
        # The next screen looks at a long at or below its trigger anyway, and sets it anew if the long is safe.
        prices = np.where(long & (mark <= lows), lows, prices)
    else:
        prices = liquidation_prices(scaled, owned, rates, np.array(clearing.tier_deduction[:tiers]))
    if (lows != np.where(long, prices, 0.0)).any():
        yield "the trigger of a long is out of date"
    if (watch[lay.WATCH_LIQUIDATE_SHORT, held] != np.where(long, np.inf, prices)).any():
        yield "the trigger of a short is out of date"
    following = np.append(0, _integers(rows["next"]))
    for row, none in ((lay.WATCH_LIQUIDATE_LONG, 0.0), (lay.WATCH_LIQUIDATE_SHORT, np.inf)):
        met = walk(_integers(world.triggers[row].head), following)
        if not np.array_equal(met[1:], (watch[row] != none).astype(np.int64)):
            yield "the index of triggers does not list every account that has one, once"


def _check_wheel(wheel: Any, step: int, what: str) -> Iterator[str]:
    used = int(wheel.fresh)
    chunks = wheel.chunks[: used + 1]
    heads, following = _integers(wheel.head), _integers(chunks["next"])
    if not _pool_is_whole(heads, int(wheel.free), following, used):
        yield f"a chunk of {what} is lost or in two lists"
    waiting = np.flatnonzero(walk(heads, following))
    held = np.arange(chunks["due"].shape[1]) < _integers(chunks["held"])[waiting, None]
    if (chunks["due"][waiting][held] < step).any():
        yield f"{what} that was due is still waiting"


def check_clocks(state: State) -> Iterator[str]:
    """Yield what is wrong with the timing wheels of orders and of traders, between two steps."""
    step = int(state.world.control.step)
    yield from _check_wheel(state.world.wheel, step, "the wheel of orders")
    activity = state.world.activity
    if int(activity.config.enabled) and float(activity.config.wake_rate) > 0.0:
        yield from _check_wheel(activity.wheel, step, "the wheel of traders")


def check_actors(state: State) -> Iterator[str]:
    """Yield what is wrong with the index of stop-losses, take-profits and margin calls."""
    activity = state.world.activity
    count = int(activity.config.count) if int(activity.config.enabled) else 0
    long = np.asarray(activity.actors["side"][:count]) > 0
    guards = activity.guards[:count]
    take = np.asarray(guards["profit"]) > 0.0
    lose = (np.asarray(guards["stop"]) > 0.0) | (np.asarray(activity.calls[:count]) > 0.0)
    for direction, expected in enumerate((np.where(long, lose, take), np.where(long, take, lose))):
        following = np.append(0, _integers(guards["link"][:, direction, 0]))
        met = walk(_integers(activity.lists[direction].head), following)
        if not np.array_equal(met[1:], expected.astype(np.int64)):
            yield "the index of stops does not list every trader who has one, once"


def check_flight(state: State) -> Iterator[str]:
    """Yield what is wrong with the pool of orders on their way, between two steps."""
    flight = state.world.flight
    if int(state.world.config.latency.active) == 0:
        return
    used, waiting = int(flight.fresh), int(flight.waiting)
    pool = flight.pool[: used + 1]
    following = _integers(pool["next"])
    heads = _integers(flight.head[: lay.PHASES * FLIGHT_SLOTS])
    front = int(flight.front) if waiting else 0
    if int(flight.sent) != 0:
        yield "an order was sent and never set out"
    if not _pool_is_whole(np.append(heads, front), int(flight.free), following, used):
        yield "an order on its way is lost or in two lists"
    if int(walk(np.array([front]), following).sum()) != waiting:
        yield "the queue in front of the book is miscounted"
    away = np.flatnonzero(walk(heads, following))
    if (pool["due"][away] < int(state.world.control.step)).any():
        yield "an order that was due has not arrived"


CHECKED: tuple[Callable[[State], Iterator[str]], ...] = (
    check_ledger,
    check_book,
    check_triggers,
    check_open_orders,
    check_reductions,
    check_clocks,
    check_actors,
    check_flight,
)
"""Every check of one market; each may run between any two steps."""


def violations(model: Simulation) -> list[str]:
    """Return everything that does not hold in a model between two steps.

    Parameters
    ----------
    model : Simulation

    Returns
    -------
    list of str
        Market, step and what is wrong; empty when all is well.
    """
    return [
        f"{name}, step {model.step_number}: {line}"
        for name, market in model.markets.items()
        for check in CHECKED
        for line in check(market.state)
    ]


def messages_of(model: Simulation) -> int:
    """Return the messages that all books of a model have taken."""
    return sum(int(market.state.book.messages) for market in model.markets.values())


def soak(messages: int, seed: int = 0, scenario: Scenario | None = None) -> Soaked:
    """Run a busy world until its books have taken a number of messages, and look at it :data:`CHECKS` times.

    Parameters
    ----------
    messages : int
        At least so many are made.
    seed : int
        Seed of the run.
    scenario : Scenario, optional
        :data:`SOAK` by default. Its steps should be more than the messages need.

    Returns
    -------
    Soaked
    """
    model = build(scenario or load_scenario(SOAK), rng=seed)
    failures: list[str] = []
    seconds, early = 0.0, None
    for check in range(1, CHECKS + 1):
        began = time.perf_counter()
        while messages_of(model) * CHECKS < messages * check and not model.finished:
            model.run(until=model.step_number + _STEPS_AT_ONCE)
        seconds += time.perf_counter() - began
        failures += violations(model)
        if check == max(1, CHECKS // 10):
            early = peak_mib()
    done, steps = messages_of(model), model.step_number
    model.close()
    if done < messages:
        failures.append(f"step {steps}: the run ended after {done} of {messages} messages")
    late = peak_mib()
    growth = None if late is None or early is None else late - early
    if growth is not None and growth > GROWTH_MIB:
        failures.append(f"resident memory grew by {growth:.0f} MiB after the first tenth of the messages")
    return Soaked(done, steps, tuple(failures), seconds, late, growth)
