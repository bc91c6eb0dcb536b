"""Price band, limit state, circuit breaker, halt and reopening: once a step, before quotes.

The band follows the U.S. plan against extraordinary volatility ("limit up-limit down": a band around an average price, a
limit state, then a pause), the breaker either the market-wide breaker of U.S. equities (levels from the start of the
session, each once) or the dynamic circuit breakers of CME Group (a move from the extreme of a rolling window, which
starts again after a halt).
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import touch
from cascade_sim.core.clearing.open_orders import cancel_slot
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.sessions.reopening import uncross
from cascade_sim.core.venue.window import first_at
from cascade_sim.domain.enums import Cause, EventType, Stage

_HALT = np.int64(EventType.HALT)
_RESUME = np.int64(EventType.RESUME)
_NO_STAGE = np.int64(Stage.NONE)
_QUOTE = np.int64(Cause.QUOTE)


@part
def _drop_best(w, book, accounts, watch, tick):
    """Cancel the orders of one price level."""
    slot = first_at(book, tick)
    while slot != 0:
        cancel_slot(w, book, accounts, watch, slot)
        slot = first_at(book, tick)


@routine
def set_band(w, book, accounts, watch):
    """Set the limits around the reference; orders that could trade beyond them from the other side are cancelled."""
    rules = w.config.venue
    venue = w.venue
    if rules.band == 0:
        return
    highest = float(book.ticks - 1)
    venue.lower = np.int64(min(max(1.0, math.ceil(venue.reference * (1.0 - rules.half_width))), highest))
    venue.upper = np.int64(min(max(1.0, math.floor(venue.reference * (1.0 + rules.half_width))), highest))
    venue.next_update = w.control.step + rules.update_steps
    while book.best_ask < venue.lower:
        _drop_best(w, book, accounts, watch, book.best_ask)
    while book.best_bid > venue.upper:
        _drop_best(w, book, accounts, watch, book.best_bid)
    touch(w, book, lay.MOVE_QUOTE_REVISION)


@part
def _band_price(w):
    """What the reference is read from now."""
    rule = w.config.venue.band_reference
    if rule == lay.BAND_INDEX:
        return w.market.index
    if rule == lay.BAND_AUCTION:
        return w.venue.reference
    return w.venue.average


@part
def _breaker_price(w):
    rule = w.config.venue.breaker_price
    market = w.market
    if rule == lay.BREAKER_LAST:
        # Until something has traded after a halt, the last price is that of another market.
        return w.venue.reopening_price if w.control.next_trade == w.venue.reopening_trade else market.last
    if rule == lay.BREAKER_MID:
        return market.mid
    if rule == lay.BREAKER_MARK:
        return market.mark
    return market.index


@part
def _open_window(w):
    """Begin to watch moves anew."""
    venue = w.venue
    venue.window_start = w.control.step
    venue.high_step = w.control.step
    venue.low_step = w.control.step
    venue.high = _breaker_price(w)
    venue.low = venue.high
    venue.past[w.control.step & (len(venue.past) - 1)] = venue.high


@routine
def _scan_window(w, first):
    """Find the extremes of the window from step ``first`` to now, the latest of equals."""
    venue = w.venue
    venue.high = -np.inf
    venue.low = np.inf
    for step in range(first, w.control.step + 1):
        price = venue.past[step & (len(venue.past) - 1)]
        if price >= venue.high:
            venue.high = price
            venue.high_step = step
        if price <= venue.low:
            venue.low = price
            venue.low_step = step


@part
def _watch_moves(w):
    """Keep the highest and lowest price of the window, or the session's start for both."""
    rules = w.config.venue
    venue = w.venue
    if rules.window_steps == 0:
        venue.high = venue.start_price
        venue.low = venue.start_price
        return
    price = _breaker_price(w)
    step = w.control.step
    venue.past[step & (len(venue.past) - 1)] = price
    first = max(venue.window_start, step - rules.window_steps)
    if min(venue.high_step, venue.low_step) < first:
        _scan_window(w, first)
    if price >= venue.high:
        venue.high = price
        venue.high_step = step
    if price <= venue.low:
        venue.low = price
        venue.low_step = step


@routine
def _halt(w, book, accounts, tape, rule, side, limit, steps):
    """Stop continuous trading for a number of steps and write it down."""
    venue = w.venue
    w.market.halted = 1
    venue.halted_until = w.control.step + max(np.int64(1), steps)
    venue.halt_rule = rule
    begin_event(w, accounts, _HALT, _NO_STAGE, _QUOTE, lay.NO_ACCOUNT)
    w.draft.side = side
    w.draft.rule = rule
    w.draft.limit = limit
    venue.halt_event = commit_event(w, accounts, tape)
    touch(w, book, lay.MOVE_QUOTE_REVISION)


@part
def _levels_reached(w, price, side):
    """How many levels of the breaker a fall (side -1) or rise has reached."""
    rules = w.config.venue
    reached = np.int64(0)
    for level in range(rules.levels):
        move = rules.level_move[level]
        if side < 0:
            hit = rules.on_falls != 0 and price <= w.venue.high * (1.0 - move)
        else:
            hit = rules.on_rises != 0 and price >= w.venue.low * (1.0 + move)
        if hit:
            reached = np.int64(level + 1)
    return reached


@part
def _test_breaker(w, book, accounts, tape):
    """Halt if a further level is reached; returns whether it did."""
    rules = w.config.venue
    venue = w.venue
    if rules.levels == 0:
        return False
    _watch_moves(w)
    price = _breaker_price(w)
    down = _levels_reached(w, price, -1)
    up = _levels_reached(w, price, 1)
    falls = down > venue.levels_down
    if not falls and up <= venue.levels_up:
        return False
    level = (down if falls else up) - 1
    move = rules.level_move[level]
    limit = venue.high * (1.0 - move) if falls else venue.low * (1.0 + move)
    if rules.window_steps == 0:
        venue.levels_down = max(venue.levels_down, down)
        venue.levels_up = max(venue.levels_up, up)
    side = -1 if falls else 1
    _halt(w, book, accounts, tape, lay.HALT_BREAKER, side, limit, rules.level_halt_steps[level])
    return True


@part
def limit_state(w, book):
    """-1 when no bid is left within the band or the best ask is at its lower limit, +1 at the upper, else 0."""
    venue = w.venue
    if book.best_bid < venue.lower or book.best_ask <= venue.lower:
        return -1
    if book.best_ask > venue.upper or book.best_bid >= venue.upper:
        return 1
    return 0


@part
def _test_band(w, book, accounts, watch, tape):
    """Note the limit state, halt when it has lasted, and move the band when that is due."""
    rules = w.config.venue
    venue = w.venue
    if rules.band == 0:
        return
    side = limit_state(w, book)
    if side == 0:
        venue.limit_since = -1
        if w.control.step >= venue.next_update:
            venue.reference = _band_price(w)
            set_band(w, book, accounts, watch)
        return
    if venue.limit_since < 0:
        venue.limit_since = w.control.step
    if rules.limit_steps >= 0 and w.control.step - venue.limit_since >= rules.limit_steps:
        limit = float(venue.lower if side < 0 else venue.upper)
        _halt(w, book, accounts, tape, lay.HALT_BAND, side, limit, rules.band_halt_steps)


@part
def _reopen(w, book, accounts, watch, tape):
    """Hold the auction, put the band around its price, and begin to watch moves anew."""
    venue = w.venue
    w.market.halted = 0
    reference = np.int64(math.floor(w.market.last + 0.5))
    price, volume = uncross(w, book, accounts, watch, tape, reference)
    if volume > 0:
        venue.reference = float(price)
    elif w.market.one_sided == 0:
        venue.reference = w.market.mid
    venue.average = venue.reference
    venue.reopening_trade = w.control.next_trade
    venue.reopening_price = venue.reference
    venue.limit_since = -1
    set_band(w, book, accounts, watch)
    _open_window(w)
    begin_event(w, accounts, _RESUME, _NO_STAGE, _QUOTE, lay.NO_ACCOUNT)
    w.draft.rule = venue.halt_rule
    w.draft.parent = venue.halt_event
    w.draft.quantity = volume
    w.draft.filled = volume
    if volume > 0:
        w.draft.fill = float(price)
    commit_event(w, accounts, tape)


@part
def _stop_clocks(w):
    """Scheduled orders and late entrants wait out a halt: their clocks stand, that of the news does not."""
    w.venue.halted_steps += 1
    for index in range(w.config.shocks):
        shock = w.config.shock[index]
        due = w.control.step - shock.delay
        if shock.first_step <= due <= shock.last_step:
            shock.delay += 1


@part
def _average_price(w):
    venue = w.venue
    by_trades = w.config.venue.band_reference == lay.BAND_LAST_AVERAGE
    price = w.market.last if by_trades else w.market.mid
    if venue.average <= 0.0:
        venue.average = price
    venue.average += (price - venue.average) * w.config.venue.average_memory


@routine
def apply_venue_rules(w, book, accounts, watch, tape):
    """Let a venue's rules act at the start of a step; band and breaker begin with step 0."""
    rules = w.config.venue
    venue = w.venue
    if rules.band == 0 and rules.levels == 0:
        return
    step = w.control.step
    if w.market.halted != 0:
        if step < venue.halted_until:
            _stop_clocks(w)
        else:
            _reopen(w, book, accounts, watch, tape)
        return
    _average_price(w)
    if step < 0:
        return
    if venue.started == 0:
        venue.started = 1
        venue.reopening_trade = -1
        venue.start_price = _breaker_price(w)
        venue.reference = venue.average
        if rules.band_reference == lay.BAND_INDEX:
            venue.reference = w.market.index
        set_band(w, book, accounts, watch)
        _open_window(w)
        return
    if not _test_breaker(w, book, accounts, tape):
        _test_band(w, book, accounts, watch, tape)
    if w.market.halted != 0:
        _stop_clocks(w)
