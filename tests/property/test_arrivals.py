"""Orders under way against an event queue in plain Python: who enters the book, in which step, in which order."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.gateway import Gateway

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.drivers.state import State, allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.ground.rng import PURPOSE_ARRIVAL, PURPOSE_LATENCY, uniforms_of
from cascade_sim.core.layout.book import INDEX_MASK
from cascade_sim.core.layout.flight import FLIGHT_SLOTS
from cascade_sim.core.sessions.arrivals import orders_arrive, orders_set_out
from cascade_sim.domain.enums import Cause, OrderType

SEED = 11
STEPS = 12
PHASES = (lay.PHASE_FLOW, lay.PHASE_TRADE)
CAUSES = {lay.PHASE_FLOW: (Cause.BACKGROUND,), lay.PHASE_TRADE: (Cause.SPECULATION, Cause.EXECUTION)}
DELAYS = st.tuples(st.sampled_from([0.0, 0.0, 0.4, 1.0, 2.0, 3.6]), st.sampled_from([0.0, 0.0, 0.3, 1.5]))


class Order(NamedTuple):
    """One order of a programme: the accounts are few, so that one often sends several."""

    step: int
    phase: int
    which: int
    sender: int


ORDERS = st.lists(
    st.builds(
        Order, st.integers(0, STEPS - 2), st.sampled_from(PHASES), st.integers(0, 1), st.integers(1, 3)
    ),
    max_size=40,
)


@kernel
def arrive(w, book, accounts, watch, tape):  # type: ignore[no-untyped-def]  # records have no static type
    """Begin the phase that the world is in."""
    orders_arrive(w, book, accounts, watch, tape)


@kernel
def set_out(w, book, accounts, watch, tape):  # type: ignore[no-untyped-def]  # records have no static type
    """End it."""
    orders_set_out(w, book, accounts, watch, tape)


def new_world(delays: dict[Cause, tuple[float, float]], limit: int, steps: int) -> State:
    state = allocate_state(8, 0, 0)
    config = state.world.config
    config.seed, config.steps, config.atoms, config.largest_order = SEED, steps, 1, 1_000
    config.latency.active, config.latency.messages = 1, limit
    for phase, causes in CAUSES.items():
        for cause in causes:
            delay, jitter = delays[cause]
            config.latency.delay[cause], config.latency.jitter[cause] = delay, jitter
            config.latency.late[cause] = delay + jitter > 0.0
            config.latency.phase[cause] = phase
    state.world.market.mid = state.world.market.fundamental = 5_000.0
    return state


def send(state: State, account: int, cause: Cause, label: int) -> int:
    """Send a bid at a price of its own, by which it is found again in the book."""
    arguments = (account, 1, 1 + label, 1, int(OrderType.LIMIT), int(cause), -1)
    order_id, _ = place(state.world, state.book, state.accounts, state.watch, state.tape, *arguments)
    return int(order_id)


def hook(state: State, function: Any) -> None:
    function(state.world, state.book, state.accounts, state.watch, state.tape)


def entered(state: State) -> list[int]:
    """Return the labels of all orders in the book in the order in which they came to rest."""
    rows = state.book.orders[1 : int(state.book.fresh_slot)]
    prices = np.asarray(rows["key"], np.int64) & INDEX_MASK
    return (prices[np.argsort(rows["serial"])] - 1).tolist()


def exponential(account: int, step: int, draw: int) -> float:
    key = np.array([account], np.int64)
    return -math.log(uniforms_of(key, np.uint64(SEED), PURPOSE_LATENCY, step, draw)[0])


def rank(account: int, step: int) -> float:
    return float(uniforms_of(np.array([account], np.int64), np.uint64(SEED), PURPOSE_ARRIVAL, step, 0)[0])


@pytest.mark.kernel
@given(ORDERS, st.tuples(DELAYS, DELAYS, DELAYS), st.sampled_from([0, 0, 1, 2, 5, 1_000]))
def test_arrivals_are_those_of_an_event_queue(
    programme: list[Order], times: tuple[tuple[float, float], ...], limit: int
) -> None:
    delays = dict(zip((Cause.BACKGROUND, Cause.SPECULATION, Cause.EXECUTION), times, strict=True))
    state, twin = new_world(delays, limit, STEPS), Gateway(limit, rank)
    control = state.world.control
    for step in range(STEPS):
        control.step, control.phase = step, lay.PHASE_QUOTES
        twin.begin_step()
        twin.begin_phase(step, lay.PHASE_QUOTES)
        hook(state, arrive)
        hook(state, set_out)
        for phase in PHASES:
            control.phase = phase
            twin.begin_phase(step, phase)
            hook(state, arrive)
            previous: dict[Cause, tuple[int, int]] = {}
            for label, order in enumerate(programme):
                if (order.step, order.phase) != (step, phase):
                    continue
                cause = CAUSES[phase][order.which % len(CAUSES[phase])]
                # The jitter of an order is drawn at sender, cause, and its place among orders sent in one go.
                last, number = previous.get(cause, (-1, -1))
                number = number + 1 if last == order.sender else 0
                previous[cause] = (order.sender, number)
                delay, jitter = delays[cause]
                if jitter > 0.0:
                    delay += jitter * exponential(order.sender, step, (int(cause) << 32) + number)
                due, late = step + math.floor(delay + 0.5), sum(delays[cause]) > 0.0
                immediate = twin.send(step, phase, order.sender, due, late, label)
                order_id = send(state, order.sender, cause, label)
                assert (order_id > 0) == immediate
            twin.end_phase(step)
            hook(state, set_out)
            assert entered(state) == [label for _, label in twin.book]
            assert int(state.world.flight.waiting) == len(twin.queue)
    assert int(control.capacity) == 0


@pytest.mark.kernel
def test_a_way_longer_than_the_wheel() -> None:
    due = FLIGHT_SLOTS + 900
    state = new_world(
        dict.fromkeys((Cause.BACKGROUND, Cause.SPECULATION, Cause.EXECUTION), (due, 0.0)), 0, 2 * due
    )
    control = state.world.control
    control.phase = lay.PHASE_FLOW
    for label, account in enumerate((3, 1, 3, 2)):
        assert send_in_step(state, 0, account, label) < 0
    for step in (900, due - 1):
        control.step = step
        hook(state, arrive)
        hook(state, set_out)
        assert entered(state) == []
    control.step = due
    hook(state, arrive)
    order = sorted((3, 1, 3, 2), key=lambda account: rank(account, due))
    labels = {3: [0, 2], 1: [1], 2: [3]}
    assert entered(state) == [label for account in dict.fromkeys(order) for label in labels[account]]


def send_in_step(state: State, step: int, account: int, label: int) -> int:
    state.world.control.step = step
    hook(state, arrive)
    order_id = send(state, account, Cause.BACKGROUND, label)
    hook(state, set_out)
    return order_id


@pytest.mark.kernel
def test_what_would_arrive_after_the_end_is_forgotten_and_a_full_pool_is_noticed() -> None:
    delays = dict.fromkeys((Cause.BACKGROUND, Cause.SPECULATION, Cause.EXECUTION), (3.0, 0.0))
    state = new_world(delays, 0, 4)
    world = state.world
    world.control.phase = lay.PHASE_FLOW
    for step in (1, 2, 3):
        assert send_in_step(state, step, 1, 0) < 0
    assert int(world.flight.fresh) == 1
    assert not np.any(world.flight.head)
    world.control.step = 0
    world.flight.fresh, world.flight.free = len(world.flight.pool) - 2, 0
    for expected in (0, lay.CAPACITY_FLIGHT):
        assert send_in_step(state, 0, 1, 0) < 0
        assert int(world.control.capacity) == expected
