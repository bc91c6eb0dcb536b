"""Arrival of the orders that were on their way (:mod:`cascade_sim.core.venue.flight`), and how many messages a step takes.

Before a phase begins, the orders of its causes that are due arrive, sorted by a hash of (account, step); orders of one
account keep the order in which they were sent. They enter as they were decided, with their old limits, but a stop-loss
or close-out never enlarges or turns what its account holds by then. If the engine takes a limited number of messages
per step, new orders and cancellations alike, the rest waits in order of arrival. An order's own expiry, takeovers and
deleveraging need no message.

A ladder of quotes always follows the cancellation of the one before it, which is carried out in full before anything
behind it: a provider never has more than one ladder in the book, and its list of ids never holds more than one.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import execute_stop
from cascade_sim.core.actors.background import schedule_expiry
from cascade_sim.core.actors.hedging import execute_hedge
from cascade_sim.core.clearing.cancellation import write_cancellation
from cascade_sim.core.clearing.ledger import place, touch
from cascade_sim.core.clearing.liquidation import close_out
from cascade_sim.core.clearing.spending import amount_lots, spend
from cascade_sim.core.clearing.waterfall import execute_unwind
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.rng import PURPOSE_ARRIVAL, stream, word
from cascade_sim.core.ground.sorting import sort_by_score
from cascade_sim.core.layout.flight import FLIGHT_SLOTS
from cascade_sim.core.venue.admission import UNKNOWN, submit_quote
from cascade_sim.core.venue.book import cancel, submit
from cascade_sim.core.venue.flight import append_due, append_waiting, arrival_step
from cascade_sim.domain.enums import Cause, OrderType

_QUOTE = np.int64(Cause.QUOTE)
_SPECULATION = np.int64(Cause.SPECULATION)
_VALUE = np.int64(Cause.VALUE)
_ARBITRAGE = np.int64(Cause.ARBITRAGE)
_STOP_LOSS = np.int64(Cause.STOP_LOSS)
_HEDGE = np.int64(Cause.DELTA_HEDGE)
_LIQUIDATION = np.int64(Cause.LIQUIDATION)
_BACKSTOP = np.int64(Cause.BACKSTOP)
_MARKET = np.int64(OrderType.MARKET)
_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)


@part
def _reduced(position, side, quantity):
    """What a reduce-only order of ``quantity`` lots may still trade."""
    return max(np.int64(0), min(quantity, -side * position))


@routine
def _enter_by_notional(w, book, accounts, watch, tape, message):
    """Let a market order for an amount trade what the amount pays for now."""
    side, account, kind = np.int64(message.side), np.int64(message.account), np.int64(message.order_type)
    row = accounts[account]
    if (row.traits & lay.FLAG_MARGINED) != 0 and message.decided <= row.distressed_step:
        # It was on its way when the orders of its account were cancelled.
        most = w.config.largest_order
        lots, _ = amount_lots(w, book, account, side, message.quantity, most)
        kept = _reduced(row.position, side, lots)
        if kept < lots:
            waited = float(w.control.step - message.decided)
            write_cancellation(w, accounts, tape, account, side, lots - kept, waited)
        kind |= lay.REQUEST_REDUCE_ONLY
    spend(
        w,
        book,
        accounts,
        watch,
        tape,
        account,
        side,
        message.quantity,
        kind,
        np.int64(message.cause),
        message.parent,
    )


@part
def _enter(w, book, accounts, watch, tape, message):
    """Place an order that has no event of its own to write, or whose event is written already."""
    side, quantity, cause = np.int64(message.side), message.quantity, np.int64(message.cause)
    account = np.int64(message.account)
    if cause == _VALUE:
        room = np.int64(w.config.value.position_cap) - side * accounts[account].position
        quantity = min(quantity, room)
    elif cause == _ARBITRAGE:
        room = np.int64(w.config.arbitrage.position_cap) - side * accounts[account].position
        quantity = min(quantity, room)
    elif (
        cause == _SPECULATION
        and (accounts[account].traits & lay.FLAG_STOP_SENT) != 0
        and message.order_type == _MARKET
    ):
        # A take-profit closes what is left of the position and no more.
        accounts[account].traits &= ~lay.FLAG_STOP_SENT
        quantity = _reduced(accounts[account].position, side, quantity)
    row = accounts[account]
    if (row.traits & lay.FLAG_MARGINED) != 0 and message.decided <= row.distressed_step:
        # It was on its way when the orders of its account were cancelled.
        kept = _reduced(row.position, side, quantity)
        if kept < quantity:
            waited = float(w.control.step - message.decided)
            write_cancellation(w, accounts, tape, account, side, quantity - kept, waited)
        quantity = kept
    kind = np.int64(message.order_type)
    order_id, _ = place(
        w, book, accounts, watch, tape, account, side, message.tick, quantity, kind, cause, message.parent
    )
    if order_id > 0 and message.lifetime > 0:
        schedule_expiry(w, order_id, message.lifetime)


@part
def _enter_quote(w, book, accounts, message):
    """Carry out a provider's cancellation, as far as the engine allows, or one quote of its new ladder."""
    config = w.config.providers
    provider = w.providers[message.account - config.first_account]
    if message.quantity > 0:
        account, side = provider.account, np.int64(message.side)
        if w.config.venue.gate != 0:
            w.venue.quoted[0 if side > 0 else 1] = UNKNOWN
            order_id = submit_quote(w, book, accounts, account, side, message.tick, message.quantity)
        else:
            order_id, _ = submit(
                book, side, message.tick, message.quantity, account, _SLIDE, _QUOTE, lay.NO_EVENT
            )
        if order_id != 0:
            provider.ids[provider.quotes] = order_id
            provider.quotes += 1
        touch(w, book, lay.MOVE_QUOTE_REVISION)
        return True
    kept = np.int64(0)
    if w.config.latency.messages > 0:
        kept = max(np.int64(0), provider.quotes - w.flight.left)
        w.flight.left -= provider.quotes - kept
    for k in range(kept, provider.quotes):
        cancel(book, provider.ids[k])
    provider.quotes = kept
    touch(w, book, message.tick)
    if kept > 0:
        return False
    if w.config.latency.late[_QUOTE] != 0 and message.tick == lay.MOVE_QUOTE_REVISION:
        news = config.fundamental_weight * (message.value - provider.quoted) / config.count
        provider.quoted = message.value
        w.market.mid_move[lay.MOVE_QUOTE_REVISION] -= news
        w.market.mid_move[lay.MOVE_NEWS] += news
    return True


@part
def _others_may_pay(row):
    """Whether an account is a leg of a portfolio that is not bankrupt as a whole."""
    return (row.traits & lay.FLAG_CROSS) != 0 and (row.traits & lay.FLAG_BANKRUPT) == 0


@part
def _enter_with_event(w, book, accounts, watch, tape, message):
    """Enter an order whose event is written now, with what it waited for (steps since the decision)."""
    side, quantity, cause = np.int64(message.side), message.quantity, np.int64(message.cause)
    account = np.int64(message.account)
    row = accounts[account]
    step = w.control.step
    event = w.control.next_event
    lots = _reduced(row.position, side, quantity)
    if cause == _STOP_LOSS:
        row.traits &= ~lay.FLAG_STOP_SENT
        execute_stop(w, book, accounts, watch, tape, account, side, quantity, lots)
    elif cause == _HEDGE:
        number = account - w.config.dealers.first_account
        w.dealers[number].pending -= side * quantity
        execute_hedge(w, book, accounts, watch, tape, number, side, message.tick, quantity)
    elif cause == _LIQUIDATION:
        close_out(w, book, accounts, watch, tape, account, side, message.tick, quantity, lots, message.value)
        row.cooldown_until = step + max(1, w.config.clearing.cooldown_steps)
        if equity(w, row) <= 0.0 and not _others_may_pay(row):
            # The pipeline takes a bankrupt account over at once.
            row.cooldown_until = step
    else:
        execute_unwind(w, book, accounts, watch, tape, account, side, message.tick, quantity, lots)
    place_of_event = tape.events_count - 1
    if place_of_event >= 0 and tape.events[place_of_event].event_id == event:
        tape.events[place_of_event].waited = step - message.decided


@leaf
def _forget(flight, entry):
    flight.pool[entry].next = flight.free
    flight.free = entry


@routine
def _deliver(w, book, accounts, watch, tape, entry):
    """Carry one message out and free its entry; returns whether it is done with."""
    message = w.flight.pool[entry]
    cause = np.int64(message.cause)
    done = True
    if cause == _QUOTE:
        done = _enter_quote(w, book, accounts, message)
    elif message.parent < 0 and (
        cause == _STOP_LOSS or cause == _HEDGE or cause == _LIQUIDATION or cause == _BACKSTOP
    ):
        _enter_with_event(w, book, accounts, watch, tape, message)
    elif message.order_type & lay.REQUEST_TYPES == lay.REQUEST_BY_NOTIONAL:
        _enter_by_notional(w, book, accounts, watch, tape, message)
    else:
        _enter(w, book, accounts, watch, tape, message)
    if done:
        _forget(w.flight, entry)
    return done


@part
def _work_off(w, book, accounts, watch, tape):
    """Take messages from the front of the queue while the engine can take any in this step."""
    flight = w.flight
    while flight.waiting > 0 and flight.left > 0:
        entry = flight.front
        message = flight.pool[entry]
        following = np.int64(message.next)
        is_quote = message.cause == _QUOTE
        sender = np.int64(message.account)
        if not is_quote or message.quantity != 0:
            flight.left -= 1
        if not _deliver(w, book, accounts, watch, tape, entry):
            return
        flight.front = following
        flight.waiting -= 1
        if is_quote:
            w.providers[sender - w.config.providers.first_account].waiting -= 1


@part
def _list_due(w):
    """List what arrives in this phase and step in ``flight.entry`` in the order of sending; returns how many."""
    flight = w.flight
    phase, step = w.control.phase, w.control.step
    slot = phase * FLIGHT_SLOTS + (step & (FLIGHT_SLOTS - 1))
    entry = np.int64(flight.head[slot])
    flight.head[slot] = 0
    flight.tail[slot] = 0
    count = 0
    while entry != 0:
        following = np.int64(flight.pool[entry].next)
        if flight.pool[entry].due == step:
            flight.entry[count] = entry
            count += 1
        else:
            append_due(flight, phase, entry)
        entry = following
    return count


@routine
def _arrive(w, book, accounts, watch, tape):
    """Let the orders that are due in this phase arrive; with a limit on messages they queue up first."""
    flight = w.flight
    count = _list_due(w)
    key = stream(w.config.seed, PURPOSE_ARRIVAL, w.control.step)
    for k in range(count):
        account = np.int64(flight.pool[np.int64(flight.entry[k])].account)
        flight.listed[k] = k
        flight.score[k] = np.float64(word(key, account, 0) >> np.uint64(12))
    sort_by_score(flight.listed, flight.score, count)
    for k in range(count):
        entry = np.int64(flight.entry[flight.listed[k]])
        if w.config.latency.messages > 0:
            append_waiting(w, entry)
        else:
            _deliver(w, book, accounts, watch, tape, entry)


@routine
def orders_arrive(w, book, accounts, watch, tape):
    """Before a phase: what waits enters, as much as this step allows; from here on orders take their time.

    Call :func:`orders_set_out` when the phase is over: nothing that happens between phases is delayed.
    """
    control = w.control
    if control.phase == lay.PHASE_QUOTES:
        w.flight.left = w.config.latency.messages
    elif control.phase == lay.PHASE_RECORD and w.flight.waiting > 0:
        w.now.throughput_binding = 1
    if w.flight.head[control.phase * FLIGHT_SLOTS + (control.step & (FLIGHT_SLOTS - 1))] != 0:
        _arrive(w, book, accounts, watch, tape)
    _work_off(w, book, accounts, watch, tape)
    control.delaying = 1


@part
def _set_out(w, book, accounts, watch, tape):
    """Send what was decided in this phase on its way; what takes less than half a step arrives now."""
    flight = w.flight
    step = w.control.step
    entry = flight.sent
    flight.sent = 0
    while entry != 0:
        message = flight.pool[entry]
        following = np.int64(message.next)
        due = arrival_step(w, np.int64(message.account), np.int64(message.cause))
        message.due = due
        if due > step:
            if due < w.config.steps:
                append_due(flight, w.config.latency.phase[message.cause], entry)
            else:
                _forget(flight, entry)
        elif w.config.latency.messages > 0:
            append_waiting(w, entry)
        else:
            _deliver(w, book, accounts, watch, tape, entry)
        entry = following


@routine
def orders_set_out(w, book, accounts, watch, tape):
    """After a phase: its orders are on their way, and from here on orders enter at once again."""
    w.control.delaying = 0
    if w.flight.sent != 0:
        _set_out(w, book, accounts, watch, tape)
