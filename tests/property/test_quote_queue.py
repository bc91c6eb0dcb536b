"""Ladders of liquidity providers in front of an engine of limited speed, against the same queue in plain Python."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference.acting_order import acting_order
from reference.gateway import Gateway

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.providers import quote
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.drivers.state import State, allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.ground.rng import PURPOSE_ARRIVAL, PURPOSE_LATENCY, PURPOSE_ORDERING, uniforms_of
from cascade_sim.core.layout.book import INDEX_MASK
from cascade_sim.core.sessions.arrivals import orders_arrive, orders_set_out
from cascade_sim.domain.enums import Cause, OrderType

SEED = 5
STEPS = 16
PROVIDERS = 3
FIRST = 1
OTHERS = (5, 6)
LOSS, LIMIT = 10, 5
VALUE = 100_000
# Sums of these and a step are whole, and no two quotes of the programme have one price.
HALF_SPREADS = (1_000.0, 2_000.0, 3_000.0)
DISTANCES = (1.0, 1.125, 1.25)


class Programme(NamedTuple):
    """What happens: the engine, the way of the quotes, the clock, pauses by (step, provider), orders of others by step."""

    limit: int
    delay: float
    jitter: float
    levels: int
    every: int
    pause: int
    losses: tuple[tuple[int, int], ...] = ()
    orders: tuple[int, ...] = ()


STEP = st.integers(0, STEPS - 1)
PROGRAMMES = st.builds(
    Programme,
    limit=st.sampled_from([0, 1, 2, 3, 5, 7, 11, 20, 1_000]),
    delay=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.6]),
    jitter=st.sampled_from([0.0, 0.0, 0.4, 2.0]),
    levels=st.integers(1, len(DISTANCES)),
    every=st.integers(1, 3),
    pause=st.integers(0, 6),
    losses=st.lists(st.tuples(STEP, st.integers(0, PROVIDERS - 1)), max_size=5).map(tuple),
    orders=st.lists(STEP, max_size=40).map(tuple),
)


@kernel
def arrive(w, book, accounts, watch, tape):  # type: ignore[no-untyped-def]  # records have no static type
    """Begin the phase that the world is in."""
    orders_arrive(w, book, accounts, watch, tape)


@kernel
def set_out(w, book, accounts, watch, tape):  # type: ignore[no-untyped-def]  # records have no static type
    """End it."""
    orders_set_out(w, book, accounts, watch, tape)


@kernel
def send_quotes(w, book, accounts, watch, tape):  # type: ignore[no-untyped-def]  # records have no static type
    """Let the providers do what they do in a step."""
    quote(w, book, accounts, tape)


def hook(state: State, function: Any) -> None:
    function(state.world, state.book, state.accounts, state.watch, state.tape)


def new_world(programme: Programme) -> State:
    """Return a world in which nothing but the clock decides what providers quote, and nothing ever trades."""
    state = allocate_state(8, 0, 0)
    world, config = state.world, state.world.config
    config.seed, config.steps, config.atoms, config.dt, config.largest_order = SEED, 10**6, 1, 1.0, 1_000
    config.switches.liquidity_withdrawal = 1
    config.latency.active, config.latency.messages = 1, programme.limit
    config.latency.delay[Cause.QUOTE], config.latency.jitter[Cause.QUOTE] = programme.delay, programme.jitter
    config.latency.late[Cause.QUOTE] = programme.delay + programme.jitter > 0.0
    config.latency.phase[Cause.QUOTE] = lay.PHASE_QUOTES
    providers = config.providers
    providers.count, providers.first_account, providers.levels = PROVIDERS, FIRST, programme.levels
    providers.requote_steps, providers.pause_steps = programme.every, programme.pause
    providers.return_steps, providers.reference_volatility, providers.noise_seconds = 1, 1.0, 1.0
    providers.fundamental_weight, providers.inventory_limit, providers.skew_cap = 1.0, 1.0, 1.0
    providers.level_distance[: programme.levels] = DISTANCES[: programme.levels]
    providers.level_size[: programme.levels] = 1.0
    for number, provider in enumerate(world.providers[:PROVIDERS]):
        provider["account"], provider["half_spread"] = FIRST + number, HALF_SPREADS[number]
        provider["threshold"], provider["size_factor"] = 1.0, 1.0
        provider["loss_limit"], provider["paused_until"], provider["due"] = LIMIT, lay.NEVER, lay.NEVER
    for name in ("mid", "mark", "provider_mid", "own_mid"):
        world.market[name] = VALUE
    return state


def resting(state: State) -> list[tuple[int, int]]:
    """Return owner and price of everything in the book, in the order of entry."""
    rows = state.book.orders[1 : int(state.book.fresh_slot)]
    rows = rows[rows["quantity_lot"] > 0]
    rows = rows[np.argsort(rows["serial"])]
    prices = np.asarray(rows["key"], np.int64) & INDEX_MASK
    return list(zip(rows["owner"].tolist(), prices.tolist(), strict=True))


def exponential(account: int, step: int) -> float:
    number = int(Cause.QUOTE) << 32
    key = np.array([account], np.int64)
    return -math.log(uniforms_of(key, np.uint64(SEED), PURPOSE_LATENCY, step, number)[0])


def rank(account: int, step: int) -> float:
    return float(uniforms_of(np.array([account], np.int64), np.uint64(SEED), PURPOSE_ARRIVAL, step, 0)[0])


def ladder(number: int, levels: int, step: int) -> list[int]:
    """Prices of a provider's ladder in the order of sending."""
    offsets = [int(HALF_SPREADS[number] * distance) for distance in DISTANCES[:levels]]
    return [VALUE + step - sign * offset for offset in offsets for sign in (1, -1)]


class Providers:
    """What providers do, and what becomes of it in a gateway."""

    def __init__(self, programme: Programme, twin: Gateway) -> None:
        self.programme, self.twin = programme, twin
        self.until = [-1] * PROVIDERS
        self.paused = [False] * PROVIDERS
        self.lost = [False] * PROVIDERS

    def decide(self, step: int) -> None:
        programme, twin = self.programme, self.twin
        if step % programme.every:
            return
        late = programme.delay + programme.jitter > 0.0
        phase = lay.PHASE_QUOTES

        def due(number: int) -> int:
            jitter = programme.jitter * exponential(FIRST + number, step) if programme.jitter else 0.0
            return step + math.floor(programme.delay + jitter + 0.5)

        for number in range(PROVIDERS):
            if step < self.until[number]:
                continue
            if self.paused[number]:
                self.paused[number] = self.lost[number] = False
            if self.lost[number]:
                self.paused[number], self.until[number] = True, step + programme.pause
                twin.cancel_quotes(step, phase, FIRST + number, due(number), late)
        free = [
            number
            for number in range(PROVIDERS)
            if not self.paused[number] and not twin.is_held_back(FIRST + number)
        ]
        for number in free:
            twin.cancel_quotes(step, phase, FIRST + number, due(number), late)
        for number in acting_order(list(range(PROVIDERS)), SEED, int(PURPOSE_ORDERING), step, 0):
            if number in free:
                prices = ladder(number, programme.levels, step)
                twin.quote(step, phase, FIRST + number, due(number), late, prices)


@pytest.mark.kernel
# Three ladders of one provider in front of an engine that is behind: two of them once stood in its list together.
@example(Programme(3, 0.0, 0.0, 3, 1, 6, orders=tuple(range(STEPS)) * 2))
# All pause while ladders wait of which nothing rests yet.
@example(Programme(2, 0.0, 0.0, 3, 1, 5, losses=((1, 0), (1, 1), (1, 2))))
# A pause ends between two rounds of quotes.
@example(Programme(0, 0.0, 0.0, 2, 2, 3, losses=((2, 0),)))
@example(Programme(4, 1.0, 0.0, 3, 1, 4, losses=((5, 2),)))
@given(PROGRAMMES)
def test_ladders_in_front_of_the_engine_are_those_of_a_queue(programme: Programme) -> None:
    state, twin = new_world(programme), Gateway(programme.limit, rank)
    world, control, actors = state.world, state.world.control, Providers(programme, twin)
    label = 0
    for step in range(STEPS):
        control.step = step
        world.market.fundamental = VALUE + step
        twin.begin_step()
        for phase in (lay.PHASE_QUOTES, lay.PHASE_TRADE):
            control.phase = phase
            twin.begin_phase(step, phase)
            hook(state, arrive)
            if phase == lay.PHASE_QUOTES:
                for _, number in (loss for loss in programme.losses if loss[0] == step):
                    world.providers["peak_equity"][number] = LOSS
                    actors.lost[number] = True
                actors.decide(step)
                hook(state, send_quotes)
            else:
                for _ in range(programme.orders.count(step)):
                    label += 1
                    account = OTHERS[label % len(OTHERS)]
                    twin.send(step, phase, account, step, False, label)
                    order = (account, 1, label, 1, int(OrderType.LIMIT), int(Cause.EXECUTION), -1)
                    place(world, state.book, state.accounts, state.watch, state.tape, *order)
            twin.end_phase(step)
            hook(state, set_out)
            assert resting(state) == twin.book
            assert int(world.flight.waiting) == len(twin.queue)
            assert int(state.book.messages) == twin.used
            for number, provider in enumerate(world.providers[:PROVIDERS]):
                mine = twin.quotes.get(FIRST + number, [])
                assert int(provider["quotes"]) == len(mine) <= 2 * programme.levels
                assert provider["waiting"] == sum(each.sender == FIRST + number for each in twin.queue)
    assert int(control.capacity) == 0
