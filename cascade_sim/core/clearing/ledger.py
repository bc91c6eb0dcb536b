"""Cash, positions and fills: every amount is an integer number of atoms posted to two named accounts."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.initial_margin import linear_cost, linear_lots, may_rest, trading_loss
from cascade_sim.core.clearing.margin import initial_rate, maintenance, next_look
from cascade_sim.core.clearing.open_orders import note_entered, note_open
from cascade_sim.core.clearing.reducing import (
    counted_resting,
    reducible,
    reducing_lots,
    remember,
    trim,
)
from cascade_sim.core.clearing.trigger_index import set_triggers
from cascade_sim.core.clearing.worth import equity, notional_of
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.layout.book import FILL_CAPACITY, INTERRUPT_REPORT_FULL, NO_ASK, ORDER_SLOT_BITS
from cascade_sim.core.venue.admission import CALL, UNKNOWN, admit, enter_call, refuse
from cascade_sim.core.venue.book import submit
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, OrderType, Refusal, TransferKind

_COLLATERAL = np.int64(TransferKind.COLLATERAL)
_FEE = np.int64(TransferKind.FEE)
_BACKGROUND = np.int64(Cause.BACKGROUND)
_EXECUTION = np.int64(Cause.EXECUTION)
_FOK = np.int64(OrderType.FOK)
_IOC = np.int64(OrderType.IOC)
_INITIAL_MARGIN = np.int64(Refusal.INITIAL_MARGIN)
_LIQUIDATION = np.int64(Cause.LIQUIDATION)
_NO_ORDER = np.int64(0)


@leaf
def post(w, accounts, account, amount):
    """Add ``amount`` atoms to one account and to the incremental total, which two posts leave at zero."""
    accounts[account].cash += amount
    w.totals.cash += amount


@routine
def transfer(w, accounts, tape, source, target, amount, kind, event):
    """Move cash between two accounts and write it on the tape; returns what was moved.

    That is nothing once a capacity is exhausted: what cannot be recorded does not happen, and the ledger of a run that
    stops there is whole.
    """
    if w.control.capacity != 0:
        return np.int64(0)
    post(w, accounts, source, -amount)
    post(w, accounts, target, amount)
    if kind == _COLLATERAL and w.control.step >= 0:
        w.totals.added[accounts[source].account_class] -= amount
        w.totals.added[accounts[target].account_class] += amount
    number = w.control.next_transfer
    w.control.next_transfer = number + 1
    if w.config.record < lay.RECORD_FULL:
        return amount
    place = tape.transfers_count
    row = tape.transfers[place]
    row.transfer_id = number
    row.step = w.control.step
    row.kind = kind
    row.from_account = source
    row.to_account = target
    row.event = event
    row.trade = -1
    row.amount = amount
    tape.transfers_count = place + 1
    if place + 1 == len(tape.transfers):
        w.control.capacity = lay.CAPACITY_TRANSFERS
    return amount


@routine
def refresh_triggers(w, accounts, watch, account):
    """Recompute the price at which a margined account becomes distressed, after its cash or position changed.

    An account that closed and still owes is distressed at any price: the next screen finds it and has the debt paid.
    """
    row = accounts[account]
    position = row.position
    low, high = 0.0, np.inf
    if (row.traits & lay.FLAG_CROSS) != 0:
        # One leg has no trigger of its own. The next screen looks at the whole portfolio.
        low = np.inf
    elif (row.traits & lay.FLAG_MARGINED) != 0:
        if position != 0:
            low, high = next_look(w, row)
        elif row.cash < 0:
            low = np.inf
    set_triggers(w, accounts, watch, account, low, high)


@kernel
def refresh_all_triggers(w, accounts, watch):
    """Recompute the triggers of every account, after positions were opened."""
    for account in range(len(accounts)):
        refresh_triggers(w, accounts, watch, account)


@part
def _change_position(w, accounts, account, change, price):
    """Move a position by signed lots at ``price``, keeping its average entry price and the open interest."""
    row = accounts[account]
    before = row.position
    after = before + change
    if after == 0:
        row.entry_tick = 0.0
    elif before == 0 or (before > 0) != (after > 0):
        row.entry_tick = price
    elif abs(after) > abs(before):
        row.entry_tick = (row.entry_tick * abs(before) + price * abs(change)) / abs(after)
    row.position = after
    w.totals.position += change
    w.totals.open_interest += max(after, 0) - max(before, 0)


@routine
def exchange(w, accounts, watch, buyer, seller, price, quantity, amount):
    """Settle one fill: ``quantity`` lots from seller to buyer for ``amount`` atoms."""
    post(w, accounts, buyer, -amount)
    post(w, accounts, seller, amount)
    _change_position(w, accounts, buyer, quantity, price)
    _change_position(w, accounts, seller, -quantity, price)
    if accounts[buyer].traits & lay.FLAG_MARGINED:
        refresh_triggers(w, accounts, watch, buyer)
    if accounts[seller].traits & lay.FLAG_MARGINED:
        refresh_triggers(w, accounts, watch, seller)


@part
def _fee(w, accounts, account, amount, rate):
    """Charge a trading fee (negative: rebate) on ``amount`` atoms, rounded once; returns it."""
    fee = np.int64(math.floor(amount * rate + 0.5))
    post(w, accounts, account, -fee)
    post(w, accounts, w.config.fee_account, fee)
    if w.control.step >= 0:
        w.totals.fees += fee
    return fee


@routine
def _report_fill(w, tape, account, side, price, quantity, cause, order_id, is_maker):
    """Write a fill down for the agent that owns the account."""
    place = tape.agent_fills_count
    row = tape.agent_fills[place]
    row.price = price
    row.quantity = quantity
    row.order_id = order_id
    row.account = account
    row.step = w.control.step
    row.request = -1
    row.side = side
    row.is_maker = is_maker
    row.cause = cause
    tape.agent_fills_count = place + 1
    # The next fill may have an agent on either side.
    if place + 1 > len(tape.agent_fills) - 2:
        w.control.capacity = lay.CAPACITY_AGENT_FILLS


@routine
def settle(
    w,
    accounts,
    watch,
    tape,
    side,
    price,
    quantity,
    amount,
    taker,
    maker,
    cause,
    maker_cause,
    taker_order,
    maker_order,
    on_book,
):
    """Settle and record one fill of an order that was sent for ``cause``; ``price`` may lie between ticks.

    Venues charge trading fees on fills in the book (``on_book`` 1), not on takeovers and deleveraging (0). There must
    be room for it on the tape (:func:`fills_left`).
    """
    if side > 0:
        exchange(w, accounts, watch, taker, maker, price, quantity, amount)
    else:
        exchange(w, accounts, watch, maker, taker, price, quantity, amount)
    if on_book != 0 and w.control.open_lots > 0.0:
        note_open(w, accounts, watch, maker, -side, -quantity)
    taker_fee = np.int64(0)
    maker_fee = np.int64(0)
    if on_book != 0 and (w.config.taker_fee != 0.0 or w.config.maker_fee != 0.0):
        taker_fee = _fee(w, accounts, taker, amount, w.config.taker_fee)
        maker_fee = _fee(w, accounts, maker, amount, w.config.maker_fee)
        if accounts[taker].traits & lay.FLAG_MARGINED:
            refresh_triggers(w, accounts, watch, taker)
        if accounts[maker].traits & lay.FLAG_MARGINED:
            refresh_triggers(w, accounts, watch, maker)
    if accounts[taker].traits & lay.FLAG_AGENT:
        _report_fill(w, tape, taker, side, price, quantity, cause, _NO_ORDER, 0)
    if accounts[maker].traits & lay.FLAG_AGENT:
        _report_fill(w, tape, maker, -side, price, quantity, maker_cause, maker_order, 1)
    number = w.control.next_trade
    w.control.next_trade = number + 1
    w.control.sequence += 1
    w.now.turnover += amount
    if w.control.step >= 0:
        w.totals.trades += 1
    if side > 0:
        w.now.buy_volume[cause] += quantity
    else:
        w.now.sell_volume[cause] += quantity
    if w.config.record < lay.RECORD_FULL:
        return
    place = tape.trades_count
    row = tape.trades[place]
    row.trade_id = number
    row.step = w.control.step
    row.sequence = w.control.sequence
    row.price_tick = np.int64(math.floor(price + 0.5))
    row.aggressor_side = side
    row.taker_cause = cause
    row.maker_cause = maker_cause
    row.on_book = on_book
    row.quantity_lot = quantity
    row.amount = amount
    row.taker_order = taker_order
    row.maker_order = maker_order
    row.taker_account = taker
    row.maker_account = maker
    row.taker_event = lay.NO_EVENT
    row.taker_fee = taker_fee
    row.maker_fee = maker_fee
    row.mid_before = np.nan if w.market.one_sided != 0 else w.market.mid
    row.mid_after = row.mid_before
    row.mark = w.market.mark
    tape.trades_count = place + 1
    if place + 1 == len(tape.trades):
        w.control.capacity = lay.CAPACITY_TRADES


@leaf
def fills_left(w, tape):
    """How many fills may follow: what the tape has room for, and none once a capacity is exhausted.

    What cannot be recorded does not happen, so that accounts and records of a run that stops there agree. One at a time
    where a fill may have to be followed by others' reduce-only orders being cut.
    """
    if w.control.capacity != 0:
        return np.int64(0)
    most = FILL_CAPACITY if w.control.reducing == 0 else 1
    left = min(np.int64(most), (len(tape.agent_fills) - tape.agent_fills_count) >> 1)
    if w.config.record < lay.RECORD_FULL:
        return left
    return min(left, len(tape.trades) - tape.trades_count)


@leaf
def touch(w, book, bucket):
    """Attribute the change of the mid since the last call to ``bucket``; a one-sided or halted book keeps its last."""
    market = w.market
    if w.config.formation == lay.FORMATION_LINEAR:
        mid = market.linear_price
        market.one_sided = 0
    elif book.best_bid > 0 and book.best_ask < NO_ASK and market.halted == 0:
        mid = 0.5 * (book.best_bid + book.best_ask)
        market.one_sided = 0
    else:
        market.one_sided = 1
        mid = market.mid
    market.mid_move[bucket] += mid - market.mid
    market.mid = mid


@leaf
def limit_tick(price, side):
    """The tick that an order is limited to which may not trade beyond ``price``: down for buyers, up for sellers."""
    return np.int64(math.floor(price)) if side > 0 else np.int64(math.ceil(price))


@routine
def place_linear(w, book, accounts, watch, tape, account, side, tick, quantity, order_type, cause):
    """Fill against linear permanent impact at the average of the price before and after (Kyle's lambda).

    The price stays within those that a book has: what would move it beyond is not filled.
    """
    market = w.market
    impact = w.config.impact
    quantity = linear_lots(w, book, side, tick, quantity, order_type)
    if quantity <= 0:
        return np.int64(0)
    price, amount = linear_cost(w, side, quantity)
    market.linear_price += side * impact * quantity
    market.last = price
    maker = w.config.formation_account
    settle(
        w, accounts, watch, tape, side, price, quantity, amount, account, maker, cause, _BACKGROUND, 0, 0, 1
    )
    return quantity


@routine
def _can_open(w, book, row, exposed, side, tick, quantity, order_type):
    """Whether equity carries ``exposed`` lots, and is above maintenance once the order has traded what it can at once."""
    worth = equity(w, row)
    value = notional_of(w, exposed)
    if value * initial_rate(w, value) > worth:
        return False
    loss, lots = trading_loss(w, book, side, tick, quantity, order_type)
    held = notional_of(w, abs(row.position + side * lots))
    return lots == 0 or worth - loss * w.config.atoms > maintenance(w, held)


@routine
def within_initial_margin(w, book, accounts, watch, account, side, tick, quantity, order_type):
    """The part of a margined account's order that it may send: all of it, or what only closes. The rest is refused.

    What rests on the same side is reserved: it counts as if it were filled, except orders that may only reduce.
    """
    row = accounts[account]
    resting = np.int64(watch[lay.RESTING_BUY if side > 0 else lay.RESTING_SELL, account])
    if w.control.reducing > 0:
        resting -= reducing_lots(w, book, account, side)
    held = side * row.position
    closing = max(np.int64(0), -held - (resting if may_rest(order_type) else np.int64(0)))
    if quantity <= closing or w.config.clearing.initial.tiers == 0:
        return quantity
    exposed = float(held + resting + quantity)
    if _can_open(w, book, row, exposed, side, tick, quantity, order_type):
        return quantity
    refuse(w, _INITIAL_MARGIN)
    return np.int64(0) if order_type == _FOK else closing


@part
def settle_report(w, book, accounts, watch, tape, account, side, cause):
    """Settle the fills of the book's report, which an order of ``account`` made; returns their lots."""
    filled = np.int64(0)
    number = book.serial
    for index in range(book.fill_count):
        fill = book.fills[index]
        lots = np.int64(fill.quantity)
        price = np.int64(fill.price_tick)
        w.market.last = float(price)
        filled += lots
        settle(
            w,
            accounts,
            watch,
            tape,
            side,
            float(price),
            lots,
            price * lots * w.config.atoms,
            account,
            np.int64(fill.maker),
            cause,
            np.int64(fill.maker_cause),
            number,
            fill.maker_order_id >> ORDER_SLOT_BITS,
            1,
        )
        if w.control.reducing > 0:
            trim(w, book, accounts, watch, account, np.int64(fill.maker))
    return filled


@part
def finish(w, book, tape, first, cause, parent):
    """Note what the trades of an order, those from number ``first`` on, came from and what they left behind."""
    touch(w, book, cause)
    for index in range(first, tape.trades_count):
        tape.trades[index].mid_after = np.nan if w.market.one_sided != 0 else w.market.mid
        tape.trades[index].taker_event = parent


@routine
def place(w, book, accounts, watch, tape, account, side, tick, quantity, order_type, cause, parent):
    """Send one order of ``account`` and settle what trades. Returns ``(order_id, filled)``; id 0: nothing rests.

    A negative id is minus the entry of an order that is on its way to the book (:mod:`cascade_sim.core.venue.flight`).
    ``order_type`` may have ``REQUEST_REDUCE_ONLY`` added to it.
    """
    first = tape.trades_count
    filled = np.int64(0)
    order_id = np.int64(0)
    if quantity <= 0 or w.control.capacity != 0:
        return order_id, filled
    if quantity > w.config.largest_order:
        w.control.capacity = lay.CAPACITY_SIZE
        return order_id, filled
    if w.control.delaying != 0:
        entry = defer(w, account, side, tick, quantity, order_type, cause, parent)
        if entry != 0:
            return -entry, filled
    reduces = order_type >= lay.REQUEST_REDUCE_ONLY
    if reduces or w.control.reducing > 0:
        quantity = reducible(w, book, accounts, watch, account, side, quantity, order_type)
        order_type &= lay.REQUEST_TYPES
        if quantity <= 0:
            return order_id, filled
    if cause == _EXECUTION and not reduces and (accounts[account].traits & lay.FLAG_MARGINED) != 0:
        quantity = within_initial_margin(w, book, accounts, watch, account, side, tick, quantity, order_type)
        if quantity <= 0:
            return order_id, filled
    if w.config.venue.gate != 0:
        resting = UNKNOWN
        if w.control.reducing > 0:
            resting = counted_resting(w, book, accounts, account, side)
        tick, quantity, order_type = admit(
            w, book, accounts, account, side, tick, quantity, order_type, resting
        )
        if quantity <= 0:
            return order_id, filled
        if order_type == CALL:
            order_id = enter_call(w, book, side, tick, quantity, account, cause, parent)
            note_open(w, accounts, watch, account, side, quantity if order_id != 0 else np.int64(0))
            if reduces and order_id != 0:
                remember(w, account, side, order_id)
            return order_id, filled
    if w.config.formation == lay.FORMATION_LINEAR:
        filled = place_linear(
            w, book, accounts, watch, tape, account, side, tick, quantity, order_type, cause
        )
    else:
        tick = min(max(tick, 1), book.ticks - 1)
        left = quantity
        book.withdrawn = 0
        while True:
            book.fill_count = 0
            book.fill_limit = fills_left(w, tape)
            if book.fill_limit == 0:
                break
            order_id, left = submit(book, side, tick, left, account, order_type, cause, parent)
            filled += settle_report(w, book, accounts, watch, tape, account, side, cause)
            if book.interrupt != INTERRUPT_REPORT_FULL or book.fill_count == 0:
                break
            if order_type == _FOK:
                # That it can be filled was seen before its first fill.
                order_type = _IOC
        if (accounts[account].traits & lay.FLAG_MARGINED) != 0:
            note_entered(w, book, accounts, watch, account, side, order_id)
        if reduces and order_id != 0:
            remember(w, account, side, order_id)
    finish(w, book, tape, first, cause, parent)
    return order_id, filled


@routine
def off_book_trade(w, accounts, watch, tape, account, counterparty, quantity, tick, cause, parent):
    """Move ``quantity`` lots of ``account``'s position to ``counterparty`` at ``tick``, outside the book.

    Nothing moves once a capacity is exhausted.
    """
    if w.control.capacity != 0:
        return
    if w.control.reducing > 0:
        w.reducing.stale = 1
    side = -1 if accounts[account].position > 0 else 1
    if cause != _LIQUIDATION:
        w.now.forced += quantity
        w.now.taken += quantity
    first = tape.trades_count
    amount = np.int64(tick) * quantity * w.config.atoms
    settle(
        w,
        accounts,
        watch,
        tape,
        side,
        float(tick),
        quantity,
        amount,
        account,
        counterparty,
        cause,
        cause,
        0,
        0,
        0,
    )
    for index in range(first, tape.trades_count):
        tape.trades[index].taker_event = parent
