"""What leveraged traders do during the run, on clocks of their own or when the mark reaches one of their prices.

They hold, follow the trend, return to their leverage, stop out, take profit, add margin, and come back after they were
closed. A clock strikes at steps that nothing in the market can change. All who act in a step decide on the market as it
is when the first of them acts, and their orders arrive in the order of a random word per trader and step.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.guard_index import reached, set_guards
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import limit_tick, place, refresh_triggers, transfer
from cascade_sim.core.clearing.margin import largest_exposure, price_range, requirement
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.ground.rng import (
    PURPOSE_ACTIVATION,
    PURPOSE_ACTIVITY,
    PURPOSE_REENTRY,
    PURPOSE_TRADER,
    PURPOSE_WAKE,
    exponential,
    stream,
    uniform,
    word,
)
from cascade_sim.core.ground.sorting import order_by_word
from cascade_sim.core.ground.wheel import empty, release, schedule, turn
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, EventType, OrderType, Outcome, Stage, TransferKind

_IOC = np.int64(OrderType.IOC)
_MARKET = np.int64(OrderType.MARKET)
_SPECULATION = np.int64(Cause.SPECULATION)
_STOP_LOSS = np.int64(Cause.STOP_LOSS)
_EVENT_STOP = np.int64(EventType.STOP_LOSS)
_EVENT_CALL = np.int64(EventType.MARGIN_CALL)
_NO_STAGE = np.int64(Stage.NONE)
_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_TOPPED_UP = np.int64(Outcome.TOPPED_UP)
_STOPPED = np.int64(Outcome.STOPPED)

MOMENTUM = 1
REBALANCES = 2
LEFT = 4
RETURNING = 8
BUSY = 16
UNARMED = 32
"""Traits of an actor: what kind it is, whether it has left for good or will return, whether it is listed to act in this
step, whether the order of its return had not been filled when it was sent."""

# What is listed of an actor in a step: its number, what it does, and signed lots, packed into one word.
_GUARD = 0
_TRADE = 1
_ENTER = 2
_LOTS_BITS = 32
_BUY = 1 << 32
_KIND_SHIFT = 33
_NUMBER_SHIFT = 36
_RETURN = 1 << 24
"""Added to the number of a trader on the wheel when it is its return that is due, not its clock."""

# Draws of a trader; those below are the opening's.
_DRAW_STOP, _DRAW_STOP_DISTANCE, _DRAW_CALL = 7, 8, 9
_DRAW_MOMENTUM, _DRAW_REBALANCES, _DRAW_TAKE, _DRAW_TAKE_DISTANCE = 10, 11, 12, 13
# Draws of a return, by its number.
_RETURN_WILL, _RETURN_DELAY, _RETURN_STOP, _RETURN_TAKE, _RETURN_SIDE = 0, 1, 2, 3, 4


@leaf
def _packed(number, kind, lots):
    """One word of the list; ``lots`` is signed."""
    return (number << _NUMBER_SHIFT) | (kind << _KIND_SHIFT) | (_BUY if lots > 0 else 0) | abs(lots)


@leaf
def _wait(w, number, wakes):
    """Steps to the next wake-up: geometric, the whole steps of an exponential time, at least one."""
    key = stream(w.config.seed, PURPOSE_WAKE, 0)
    rate = w.activity.config.wake_rate
    return 1 + np.int64(min(exponential(key, number, wakes) / rate, 1.0e12))


@routine
def _call_price(w, row):
    """The price at which equity is ``call_ratio`` times the maintenance margin; 0 if there is none."""
    config = w.activity.config
    tiers = w.config.clearing.tiers
    scaled = float(row.position * w.config.atoms)
    rates, deductions = config.call_rate[:tiers], config.call_deduction[:tiers]
    # Coming from where leverage is lower: a long from above, a short from below.
    low, high = price_range(w, scaled, float(row.cash), np.inf, rates, deductions)
    price = low if row.position > 0 else high
    return max(0.0, price) if price < np.inf else 0.0


@routine
def _arm(w, row, number, stop_distance, take_distance, call):
    """Set the triggers of a trader whose position is new; a distance of 0 is none. ``call``: answers a margin call."""
    config = w.activity.config
    side = np.int64(1 if row.position > 0 else -1)
    if config.guarded == 0:
        w.activity.actors[number].side = side
        return
    stop = row.entry_tick * (1.0 - side * stop_distance) if stop_distance > 0.0 else 0.0
    take = row.entry_tick * (1.0 + side * take_distance) if take_distance > 0.0 else 0.0
    price = _call_price(w, row) if call else 0.0
    set_guards(w.activity, number, side, stop, take, price)


@leaf
def _disarm(w, number):
    if w.activity.config.guarded != 0:
        set_guards(w.activity, number, np.int64(w.activity.actors[number].side), 0.0, 0.0, 0.0)


@leaf
def _between(low, high, share):
    return low + (high - low) * share


@routine
def _distances(w, number, key, stop_draw, take_draw):
    """Distances of stop-loss and take-profit from the entry price, 0 for traders without."""
    config = w.activity.config
    own = stream(w.config.seed, PURPOSE_TRADER, 0)
    stop, take = 0.0, 0.0
    if uniform(own, number, _DRAW_STOP) < config.stop_share:
        stop = _between(config.stop_low, config.stop_high, uniform(key, number, stop_draw))
    if uniform(own, number, _DRAW_TAKE) < config.take_share:
        take = _between(config.take_low, config.take_high, uniform(key, number, take_draw))
    return stop, take


@part
def _empty(w):
    """Forget the actors of an earlier run in this world."""
    activity = w.activity
    if activity.config.wake_rate > 0.0:
        activity.wheel.free = 0
        activity.wheel.fresh = 0
        empty(activity.wheel, -1, w.config.steps)
    for number in range(activity.config.count):
        actor = activity.actors[number]
        if activity.config.guarded != 0 and actor.side != 0:
            set_guards(activity, number, np.int64(0), 0.0, 0.0, 0.0)
        actor.wakes = 0
        actor.entries = 0
        actor.side = 0
        actor.traits = 0
        actor.leverage = 0.0
    activity.origin = w.control.trigger_origin


@kernel
def open_activity(worlds, accounts):
    """Draw the kind of every trader of a market, set its triggers, and put its first wake-up on the wheel.

    Takes one row each, as :func:`core.drivers.opening.open_world` does.
    """
    _open(worlds[0], accounts[0])


@part
def _open(w, accounts):
    config = w.activity.config
    _empty(w)
    key = stream(w.config.seed, PURPOSE_TRADER, 0)
    for number in range(config.count):
        row = accounts[config.first_account + number]
        actor = w.activity.actors[number]
        if row.position == 0:
            actor.traits = LEFT
            continue
        actor.leverage = abs(row.position) * row.entry_tick * w.config.atoms / row.collateral
        if uniform(key, number, _DRAW_MOMENTUM) < config.momentum_share:
            actor.traits = MOMENTUM
        elif uniform(key, number, _DRAW_REBALANCES) < config.rebalance_share:
            actor.traits = REBALANCES
        stop, take = _distances(w, number, key, _DRAW_STOP_DISTANCE, _DRAW_TAKE_DISTANCE)
        _arm(w, row, number, stop, take, uniform(key, number, _DRAW_CALL) < config.call_share)
        if config.wake_rate > 0.0:
            due = _wait(w, number, 0) - 1
            if due < w.config.steps and schedule(w.activity.wheel, -1, due, number) == 0:
                w.control.capacity = lay.CAPACITY_ACTORS


@part
def _list_reached(w, out):
    """List the traders whose trigger the mark has reached; they do nothing else in this step.

    While trading is halted nobody's price is looked at: their orders could not be executed.
    """
    activity = w.activity
    if activity.config.guarded == 0 or w.market.halted != 0:
        return 0
    count = reached(activity, w.market.mark, out)
    for k in range(count):
        number = out[k]
        activity.actors[number].traits |= BUSY
        out[k] = _packed(number, _GUARD, np.int64(0))
    return count


@routine
def _trend(w):
    """Log return of the mid over the look-back, as a share of the saturating one, between -1 and 1."""
    config = w.activity.config
    market = w.market
    past = market.mid_ring[(w.control.step - config.trend_steps) & (len(market.mid_ring) - 1)]
    trend = math.log(market.mid / past) if past > 0.0 else 0.0
    return min(1.0, max(-1.0, trend / config.trend_saturation))


@leaf
def _affordable(w, row, actor):
    """Lots that the equity carries at the trader's leverage, and that initial margin lets it open."""
    worth = equity(w, row)
    value = min(np.float64(actor.leverage) * worth, largest_exposure(w, worth))
    return value / (w.market.mark * w.config.atoms)


@leaf
def _trend_lots(w, row, actor, number, wakes, trend):
    """Signed lots of a trader who follows the trend: adds up to its leverage, cuts down to nothing."""
    config = w.activity.config
    key = stream(w.config.seed, PURPOSE_ACTIVITY, wakes)
    if uniform(key, number, 0) >= abs(trend):
        return np.int64(0)
    usual = np.float64(actor.leverage) * row.collateral / (w.market.mark * w.config.atoms)
    lots = max(1.0, math.floor(config.change * usual + 0.5))
    held = np.float64(abs(row.position))
    adds = (trend > 0.0) == (row.position > 0)
    room = math.floor(_affordable(w, row, actor)) - held if adds else held
    lots = np.int64(max(0.0, min(lots, room, np.float64(w.config.largest_order))))
    return lots if trend > 0.0 else -lots


@leaf
def _leverage_lots(w, row, actor):
    """Signed lots of a trader who returns to its leverage once it is outside the band."""
    target = _affordable(w, row, actor)
    held = np.float64(abs(row.position))
    gap = target - held
    if target <= 0.0 or abs(gap) <= w.activity.config.band * target:
        return np.int64(0)
    lots = np.int64(min(math.floor(abs(gap)), np.float64(w.config.largest_order)))
    return lots if (gap > 0.0) == (row.position > 0) else -lots


@routine
def _notice_closure(w, actor, number):
    """Decide once, after a position was closed, whether to come back; returns 1 when that is at once."""
    config = w.activity.config
    if actor.traits & (LEFT | RETURNING):
        return 0
    key = stream(w.config.seed, PURPOSE_REENTRY, np.int64(actor.entries) + 1)
    willing = uniform(key, number, _RETURN_WILL) < config.reentry_probability
    if not willing or actor.entries >= config.reentry_limit:
        actor.traits |= LEFT
        return 0
    delay = np.int64(min(config.reentry_delay * exponential(key, number, _RETURN_DELAY), 1.0e12))
    if delay == 0:
        return 1
    actor.traits |= RETURNING
    step = w.control.step
    if (
        step + delay < w.config.steps
        and schedule(w.activity.wheel, step, step + delay, number | _RETURN) == 0
    ):
        w.control.capacity = lay.CAPACITY_ACTORS
    return 0


@part
def _list_awake(w, accounts, out, count, trend):
    """List what the traders do whose clock strikes or whose return is due, and set their clocks anew."""
    activity = w.activity
    config, wheel, step = activity.config, activity.wheel, w.control.step
    chunk = turn(wheel, step)
    if chunk < 0:
        w.control.capacity = lay.CAPACITY_ACTORS
    while chunk > 0:
        for k in range(wheel.chunks[chunk].held):
            load = np.int64(wheel.chunks[chunk].load[k])
            number = load & (_RETURN - 1)
            actor = activity.actors[number]
            row = accounts[config.first_account + number]
            if load != number:
                # Whoever is listed already returns a step later: nobody is listed twice, so the list has room.
                if actor.traits & BUSY == 0:
                    actor.traits |= BUSY
                    out[count] = _packed(number, _ENTER, np.int64(0))
                    count += 1
                elif schedule(wheel, step, step + 1, load) == 0:
                    w.control.capacity = lay.CAPACITY_ACTORS
                continue
            actor.wakes += 1
            due = step + _wait(w, number, np.int64(actor.wakes))
            if due < w.config.steps and schedule(wheel, step, due, number) == 0:
                w.control.capacity = lay.CAPACITY_ACTORS
            lots = np.int64(0)
            if actor.traits & BUSY:
                continue
            if actor.traits & UNARMED:
                actor.traits &= ~UNARMED
                if row.position != 0:
                    _arm_return(w, row, number)
            elif row.position == 0:
                if _notice_closure(w, actor, number) != 0:
                    actor.traits |= BUSY
                    out[count] = _packed(number, _ENTER, np.int64(0))
                    count += 1
            elif actor.traits & MOMENTUM:
                lots = _trend_lots(w, row, actor, number, np.int64(actor.wakes), trend)
            elif actor.traits & REBALANCES:
                lots = _leverage_lots(w, row, actor)
            if lots != 0:
                actor.traits |= BUSY
                out[count] = _packed(number, _TRADE, lots)
                count += 1
        chunk = release(wheel, chunk)
    return count


@routine
def _order_lots(w, book, accounts, watch, tape, account, lots):
    """Send signed lots as immediate or cancel, limited to a distance from the mid."""
    side = 1 if lots > 0 else -1
    tick = limit_tick(w.market.mid * (1.0 + side * w.activity.config.market_limit), side)
    place(w, book, accounts, watch, tape, account, side, tick, abs(lots), _IOC, _SPECULATION, lay.NO_EVENT)


@part
def _trade(w, book, accounts, watch, tape, number, account, lots):
    row = accounts[account]
    _order_lots(w, book, accounts, watch, tape, account, lots)
    if row.position == 0:
        _disarm(w, number)
    elif w.activity.calls[number] > 0.0:
        guard, side = w.activity.guards[number], np.int64(w.activity.actors[number].side)
        stop, take = np.float64(guard.stop), np.float64(guard.profit)
        set_guards(w.activity, number, side, stop, take, _call_price(w, row))


@routine
def _arm_return(w, row, number):
    """Set the triggers of a position with which a trader has come back; it answers no margin call."""
    key = stream(w.config.seed, PURPOSE_REENTRY, np.int64(w.activity.actors[number].entries))
    stop, take = _distances(w, number, key, _RETURN_STOP, _RETURN_TAKE)
    _arm(w, row, number, stop, take, False)


@part
def _enter(w, book, accounts, watch, tape, number, account, trend):
    """Open a position again, with the collateral of the first one; what is missing of it comes from outside."""
    row, actor = accounts[account], w.activity.actors[number]
    actor.entries += 1
    actor.traits &= ~RETURNING
    key = stream(w.config.seed, PURPOSE_REENTRY, np.int64(actor.entries))
    side = np.int64(actor.side)
    if actor.traits & MOMENTUM:
        side = np.int64(1 if uniform(key, number, _RETURN_SIDE) < 0.5 else -1)
        if trend != 0.0:
            side = np.int64(1 if trend > 0.0 else -1)
    if row.cash < row.collateral:
        amount = row.collateral - row.cash
        external = w.config.external_account
        transfer(w, accounts, tape, external, account, amount, _COLLATERAL, lay.NO_EVENT)
        refresh_triggers(w, accounts, watch, account)
    lots = np.float64(actor.leverage) * row.collateral / (w.market.mark * w.config.atoms)
    most = largest_exposure(w, np.float64(row.cash)) / (w.market.mark * w.config.atoms)
    lots = math.floor(min(max(1.0, min(math.floor(lots), np.float64(w.config.largest_order))), most))
    if lots < 1:
        w.totals.refused_orders += 1
    _order_lots(w, book, accounts, watch, tape, account, side * np.int64(lots))
    if row.position != 0:
        _arm_return(w, row, number)
    elif w.control.delaying != 0:
        # The order may be on its way; the next wake-up looks what became of it.
        actor.traits |= UNARMED


@routine
def execute_stop(w, book, accounts, watch, tape, account, side, quantity, lots):
    """Enter a stop-loss for ``lots`` of the ``quantity`` that was decided, and write its event."""
    row = accounts[account]
    begin_event(w, accounts, _EVENT_STOP, _NO_STAGE, _STOP_LOSS, account)
    parent = w.control.next_event
    _, filled = place(w, book, accounts, watch, tape, account, side, 0, lots, _MARKET, _STOP_LOSS, parent)
    w.draft.side = side
    w.draft.quantity = quantity
    w.draft.filled = filled
    commit_event(w, accounts, tape)
    if row.position == 0:
        row.outcome = max(row.outcome, _STOPPED)


@part
def _close(w, book, accounts, watch, tape, account, is_stop):
    """Close a whole position at market: a stop-loss, which is an event, or a take-profit. One is sent at a time."""
    row = accounts[account]
    side = -1 if row.position > 0 else 1
    size = abs(row.position)
    cause = _STOP_LOSS if is_stop else _SPECULATION
    if w.control.delaying != 0:
        if (row.traits & lay.FLAG_STOP_SENT) != 0:
            return
        if defer(w, account, side, 0, size, _MARKET, cause, lay.NO_EVENT) != 0:
            row.traits |= lay.FLAG_STOP_SENT
            return
    if is_stop:
        execute_stop(w, book, accounts, watch, tape, account, side, size, size)
    else:
        place(w, book, accounts, watch, tape, account, side, 0, size, _MARKET, cause, lay.NO_EVENT)


@part
def _top_up(w, accounts, watch, tape, number, account):
    """Answer a margin call once: bring in more collateral from outside."""
    row, guard, config = accounts[account], w.activity.guards[number], w.activity.config
    side = np.int64(w.activity.actors[number].side)
    set_guards(w.activity, number, side, np.float64(guard.stop), np.float64(guard.profit), 0.0)
    amount = np.int64(row.collateral * config.call_amount)
    begin_event(w, accounts, _EVENT_CALL, _NO_STAGE, _SPECULATION, account)
    event = w.control.next_event
    if equity(w, row) < config.call_ratio * requirement(w, row) and amount > 0:
        transfer(w, accounts, tape, w.config.external_account, account, amount, _COLLATERAL, event)
        row.outcome = max(row.outcome, _TOPPED_UP)
        refresh_triggers(w, accounts, watch, account)
    commit_event(w, accounts, tape)


@part
def _answer_trigger(w, book, accounts, watch, tape, number, account):
    """Do what the price calls for: close the position first, and add margin to what is left of it."""
    row, actor, guard = accounts[account], w.activity.actors[number], w.activity.guards[number]
    mark, side = w.market.mark, np.int64(actor.side)
    stopped = guard.stop > 0.0 and side * (mark - guard.stop) <= 0.0
    if row.position != 0 and (stopped or (guard.profit > 0.0 and side * (mark - guard.profit) >= 0.0)):
        _close(w, book, accounts, watch, tape, account, stopped)
    if row.position == 0:
        _disarm(w, number)
        return
    call = w.activity.calls[number]
    if call > 0.0 and side * (mark - call) <= 0.0:
        _top_up(w, accounts, watch, tape, number, account)


@routine
def act(w, book, accounts, watch, scratch, tape):
    """Let the leveraged traders act whose time or price has come, in the order of a random word each.

    Must be called once in every step from step 0 on. ``scratch`` holds the list, the words and the order.
    """
    config = w.activity.config
    listed, words, order = scratch[0], scratch[1], scratch[2]
    trend = _trend(w)
    count = _list_reached(w, listed)
    if config.wake_rate > 0.0:
        count = _list_awake(w, accounts, listed, count, trend)
    if count == 0:
        return
    key = stream(w.config.seed, PURPOSE_ACTIVATION, w.control.step)
    for k in range(count):
        words[k] = np.int64(word(key, listed[k] >> _NUMBER_SHIFT, 0) >> np.uint64(1))
    order_by_word(words, order, count, w.activity.starts)
    for k in range(count):
        packed = listed[order[k]]
        number = packed >> _NUMBER_SHIFT
        account = config.first_account + number
        w.activity.actors[number].traits &= ~BUSY
        kind = (packed >> _KIND_SHIFT) & 7
        if kind == _GUARD:
            _answer_trigger(w, book, accounts, watch, tape, number, account)
        elif kind == _TRADE:
            lots = packed & (_BUY - 1)
            signed = lots if packed & _BUY else -lots
            _trade(w, book, accounts, watch, tape, number, account, signed)
        else:
            _enter(w, book, accounts, watch, tape, number, account, trend)
