"""Background order flow: fixed exogenous rates for scenarios, rates that follow the book for validation.

``fixed rates``: arrivals are Poisson with rates that never look at the book and lifetimes are drawn at birth, so that
two runs of one seed share every draw whatever else happens in them. ``santa_fe``: Daniels et al. (2003); a cancellation
rate per order is the same as an exponential lifetime. ``queues``: Cont, Stoikov and Talreja (2010), rates per distance.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import limit_tick, place, touch
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.ground.rng import (
    PURPOSE_IMBALANCE,
    PURPOSE_LIMIT,
    PURPOSE_LIMIT_COUNT,
    PURPOSE_MARKET,
    PURPOSE_MARKET_COUNT,
    PURPOSE_PATIENT,
    PURPOSE_PATIENT_COUNT,
    PURPOSE_PATIENT_STOCK,
    PURPOSE_SANTA_FE,
    exponential,
    normal,
    poisson,
    stream,
    uniform,
)
from cascade_sim.core.ground.wheel import release, schedule, turn
from cascade_sim.core.layout.book import NO_ASK
from cascade_sim.core.venue.book import cancel, order_id_of
from cascade_sim.core.venue.window import first_at, next_at
from cascade_sim.domain.enums import Cause, OrderType

_LIMIT = np.int64(OrderType.LIMIT)
_IOC = np.int64(OrderType.IOC)
_MARKET = np.int64(OrderType.MARKET)
_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_CAUSE = np.int64(Cause.BACKGROUND)


@routine
def schedule_expiry(w, order_id, lifetime_steps):
    """Put an order on the timing wheel; it is cancelled ``lifetime_steps`` steps from now (at least one).

    The life of an order on its way (negative id) begins when it reaches the book.
    """
    if order_id < 0:
        w.flight.pool[-order_id].lifetime = lifetime_steps
        return
    due = w.control.step + max(1, lifetime_steps)
    if due > w.config.steps:
        return
    if schedule(w.wheel, w.control.step, due, order_id) == 0:
        w.control.capacity = lay.CAPACITY_WHEEL


@part
def expire(w, book):
    """Cancel the orders whose life ends in this step."""
    wheel = w.wheel
    chunk = turn(wheel, w.control.step)
    if chunk < 0:
        w.control.capacity = lay.CAPACITY_WHEEL
    while chunk > 0:
        for k in range(wheel.chunks[chunk].held):
            cancel(book, wheel.chunks[chunk].load[k])
        chunk = release(wheel, chunk)
    touch(w, book, _CAUSE)


@part
def _lots(mean, draw):
    return max(np.int64(1), np.int64(math.floor(mean * draw + 0.5)))


@leaf
def _steps(mean, draw):
    """A lifetime in steps; the cap only keeps the integer conversion defined, far beyond any run."""
    return np.int64(min(mean * draw, 1.0e12)) + 1


@part
def _limit_orders(w, book, accounts, watch, tape):
    flow = w.config.flow
    step = w.control.step
    market = w.market
    count = poisson(stream(w.config.seed, PURPOSE_LIMIT_COUNT, step), 0, 0, flow.limit_rate)
    key = stream(w.config.seed, PURPOSE_LIMIT, step)
    tilt = flow.value_sensitivity * (market.fundamental - market.mid) / market.fundamental
    tilt = min(max(tilt, -flow.value_tilt_cap), flow.value_tilt_cap)
    for k in range(count):
        side = 1 if uniform(key, k, 0) < 0.5 + tilt else -1
        distance = flow.distance_scale * (uniform(key, k, 1) ** (-1.0 / flow.distance_tail) - 1.0)
        offset = 1 + np.int64(min(distance, flow.distance_cap * market.mid))
        if side > 0:
            reference = book.best_ask if book.best_ask < NO_ASK else np.int64(market.mid) + 1
        else:
            reference = book.best_bid if book.best_bid > 0 else np.int64(market.mid)
        tick = reference - side * offset
        size = _lots(flow.limit_size, exponential(key, k, 2))
        account = w.config.background_account
        order_id, _ = place(
            w, book, accounts, watch, tape, account, side, tick, size, _LIMIT, _CAUSE, lay.NO_EVENT
        )
        if order_id != 0:
            schedule_expiry(w, order_id, _steps(flow.lifetime, exponential(key, k, 3)))


@routine
def _patient_order(w, book, accounts, watch, tape, key, entity):
    flow = w.config.flow
    side = 1 if uniform(key, entity, 0) < 0.5 else -1
    distance = flow.patient_minimum + flow.patient_distance * exponential(key, entity, 1)
    size = _lots(flow.patient_size, exponential(key, entity, 2))
    tick = np.int64(w.market.fundamental * max(0.0, 1.0 - side * distance) + 0.5)
    account = w.config.background_account
    order_id, _ = place(
        w, book, accounts, watch, tape, account, side, tick, size, _SLIDE, _CAUSE, lay.NO_EVENT
    )
    if order_id != 0:
        schedule_expiry(w, order_id, _steps(flow.patient_lifetime, exponential(key, entity, 3)))


@part
def _patient_orders(w, book, accounts, watch, tape):
    flow = w.config.flow
    count = poisson(stream(w.config.seed, PURPOSE_PATIENT_COUNT, w.control.step), 0, 0, flow.patient_rate)
    key = stream(w.config.seed, PURPOSE_PATIENT, w.control.step)
    for k in range(count):
        _patient_order(w, book, accounts, watch, tape, key, k)


@part
def _market_orders(w, book, accounts, watch, tape):
    flow = w.config.flow
    step = w.control.step
    market = w.market
    shock = normal(stream(w.config.seed, PURPOSE_IMBALANCE, step), 0, 0)
    memory = flow.imbalance_memory
    market.imbalance = market.imbalance * memory + math.sqrt(1.0 - memory * memory) * shock
    probability = 0.5 + 0.5 * math.tanh(flow.imbalance_strength * market.imbalance)
    count = poisson(stream(w.config.seed, PURPOSE_MARKET_COUNT, step), 0, 0, flow.market_rate)
    key = stream(w.config.seed, PURPOSE_MARKET, step)
    for k in range(count):
        side = 1 if uniform(key, k, 0) < probability else -1
        size = _lots(flow.market_size, exponential(key, k, 1))
        tick = limit_tick(market.mid * (1.0 + side * flow.market_limit), side)
        account = w.config.background_account
        place(w, book, accounts, watch, tape, account, side, tick, size, _IOC, _CAUSE, lay.NO_EVENT)


@part
def _santa_fe(w, book, accounts, watch, tape):
    """Unit limit orders uniform over a window from the opposite best, market orders, exponential lifetimes."""
    flow = w.config.flow
    step = w.control.step
    per_side = flow.limit_rate * flow.window_ticks
    total = 2.0 * (per_side + flow.market_rate)
    count = poisson(stream(w.config.seed, PURPOSE_LIMIT_COUNT, step), 0, 0, total)
    key = stream(w.config.seed, PURPOSE_SANTA_FE, step)
    account = w.config.background_account
    for k in range(count):
        side = 1 if uniform(key, k, 0) < 0.5 else -1
        if uniform(key, k, 1) * (per_side + flow.market_rate) < flow.market_rate:
            place(
                w,
                book,
                accounts,
                watch,
                tape,
                account,
                side,
                0,
                flow.order_size,
                _MARKET,
                _CAUSE,
                lay.NO_EVENT,
            )
            continue
        distance = 1 + np.int64(uniform(key, k, 2) * flow.window_ticks)
        if side > 0:
            tick = (book.best_ask if book.best_ask < NO_ASK else np.int64(w.market.mid) + 1) - distance
        else:
            tick = (book.best_bid if book.best_bid > 0 else np.int64(w.market.mid)) + distance
        order_id, _ = place(
            w, book, accounts, watch, tape, account, side, tick, flow.order_size, _LIMIT, _CAUSE, lay.NO_EVENT
        )
        if order_id != 0:
            schedule_expiry(w, order_id, _steps(flow.lifetime, exponential(key, k, 3)))


@part
def _queue_tick(book, side, distance):
    """Price of one side at ``distance`` ticks from the opposite best quote, 0 where there is no such quote."""
    if side > 0:
        return book.best_ask - distance if book.best_ask < NO_ASK else 0
    return book.best_bid + distance if book.best_bid > 0 else 0


@routine
def _queue_length(w, book, side, distance):
    """How many orders of the flow rest at a distance; those of others live and die as their owners like."""
    length = 0
    tick = _queue_tick(book, side, distance)
    if tick > 0 and tick < book.ticks:
        slot = first_at(book, tick)
        while slot != 0:
            if book.orders[slot].owner == w.config.background_account:
                length += 1
            slot = next_at(book, slot)
    return length


@part
def _cancel_in_queue(w, book, tick, pick):
    """Cancel the flow's order number ``pick`` (from the front) of a price level."""
    slot = first_at(book, tick)
    while slot != 0:
        if book.orders[slot].owner == w.config.background_account:
            if pick == 0:
                break
            pick -= 1
        slot = next_at(book, slot)
    cancel(book, order_id_of(book, slot))
    touch(w, book, _CAUSE)


@routine
def _queue_event(w, book, accounts, watch, tape, choice, pick):
    """Carry out the event that ``choice``, uniform on [0, total rate), selects."""
    flow = w.config.flow
    account = w.config.background_account
    size = flow.order_size
    for side in (1, -1):
        if choice < flow.market_rate:
            place(w, book, accounts, watch, tape, account, side, 0, size, _MARKET, _CAUSE, lay.NO_EVENT)
            return
        choice -= flow.market_rate
        for level in range(flow.levels):
            rate = flow.level_rates[level]
            if choice < rate:
                tick = _queue_tick(book, side, level + 1)
                if tick > 0:
                    place(
                        w,
                        book,
                        accounts,
                        watch,
                        tape,
                        account,
                        side,
                        tick,
                        size,
                        _LIMIT,
                        _CAUSE,
                        lay.NO_EVENT,
                    )
                return
            choice -= rate
        for level in range(flow.levels):
            length = _queue_length(w, book, side, level + 1)
            rate = length * flow.level_cancel_rates[level]
            if choice < rate:
                _cancel_in_queue(w, book, _queue_tick(book, side, level + 1), np.int64(pick * length))
                return
            choice -= rate


@part
def _queues(w, book, accounts, watch, tape):
    """Continuous-time birth-death queues within the step; the total rate is recomputed after each event."""
    flow = w.config.flow
    key = stream(w.config.seed, PURPOSE_SANTA_FE, w.control.step)
    elapsed = 0.0
    k = 0
    while True:
        total = 2.0 * flow.market_rate
        for level in range(flow.levels):
            resting = _queue_length(w, book, 1, level + 1) + _queue_length(w, book, -1, level + 1)
            total += 2.0 * flow.level_rates[level] + flow.level_cancel_rates[level] * resting
        elapsed += exponential(key, k, 0) / total
        if elapsed > w.config.dt:
            return
        _queue_event(w, book, accounts, watch, tape, uniform(key, k, 1) * total, uniform(key, k, 2))
        k += 1


@routine
def rate_driven_flow(w, book, accounts, watch, tape):
    """One step of a flow whose rates follow the book (Santa Fe, or Cont-Stoikov-Talreja queues), after the expiries."""
    if w.config.flow.kind == lay.FLOW_SANTA_FE:
        _santa_fe(w, book, accounts, watch, tape)
    else:
        _queues(w, book, accounts, watch, tape)


@routine
def background_flow(w, book, accounts, watch, tape):
    """Phase 3: expiries, limit orders, patient orders, market orders of this step.

    Returns RETURN_FLOW when the driver must call :func:`rate_driven_flow`, else RETURN_DONE.
    """
    control = w.control
    if w.config.formation == lay.FORMATION_BOOK and control.answered == 0:
        expire(w, book)
    if w.config.flow.kind != lay.FLOW_FIXED:
        if control.answered == 0:
            return lay.RETURN_FLOW
        control.answered = 0
        return lay.RETURN_DONE
    if w.config.formation == lay.FORMATION_BOOK:
        _limit_orders(w, book, accounts, watch, tape)
        _patient_orders(w, book, accounts, watch, tape)
    _market_orders(w, book, accounts, watch, tape)
    return lay.RETURN_DONE


@kernel
def opening_stock(worlds, books, accounts, watch, tapes):
    """Place the orders that rest before the first step, in the stationary number of each mode.

    Takes one row each, as :func:`core.drivers.opening.open_world` does.
    """
    _place_stock(worlds[0], books[0], accounts[0], watch[0], tapes[0])


@part
def _place_stock(w, book, accounts, watch, tape):
    flow = w.config.flow
    key = stream(w.config.seed, PURPOSE_PATIENT_STOCK, 0)
    account = w.config.background_account
    if w.config.formation == lay.FORMATION_LINEAR:
        return
    if flow.kind == lay.FLOW_FIXED:
        for k in range(2 * flow.patient_orders):
            _patient_order(w, book, accounts, watch, tape, key, k)
        return
    middle = np.int64(w.market.mid)
    entity = 0
    levels = flow.window_ticks if flow.kind == lay.FLOW_SANTA_FE else flow.levels
    for side in (1, -1):
        for level in range(levels):
            tick = middle - level if side > 0 else middle + 1 + level
            if flow.kind == lay.FLOW_SANTA_FE:
                mean = flow.limit_rate * flow.lifetime
            else:
                mean = flow.level_rates[level] / flow.level_cancel_rates[level]
            count = max(poisson(key, entity, 8, mean), 1 if level == 0 else 0)
            for _ in range(count):
                order_id, _filled = place(
                    w,
                    book,
                    accounts,
                    watch,
                    tape,
                    account,
                    side,
                    tick,
                    flow.order_size,
                    _LIMIT,
                    _CAUSE,
                    lay.NO_EVENT,
                )
                if flow.kind == lay.FLOW_SANTA_FE:
                    schedule_expiry(w, order_id, _steps(flow.lifetime, exponential(key, entity, 3)))
                entity += 1
            entity += 1
