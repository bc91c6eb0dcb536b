"""Liquidity providers: a ladder around a private centre, skewed by inventory, thinned and widened by volatility.

Where the engine takes a limited number of messages, a provider sends no new ladder while anything of its own waits for
the engine: venues hold back a connection that has unanswered messages, and nobody adds to a queue of quotes that are
out of date before they enter. Only the cancellation with which a pause begins is sent all the same, behind what waits.
"""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.ledger import touch
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.ground.rng import PURPOSE_BELIEF, PURPOSE_ORDERING, normal, stream, word
from cascade_sim.core.venue.admission import submit_quote
from cascade_sim.core.venue.book import cancel, submit
from cascade_sim.core.venue.flight import defer
from cascade_sim.domain.enums import Cause, EventType, OrderType, Stage

_SLIDE = np.int64(OrderType.POST_ONLY_SLIDE)
_QUOTE = np.int64(Cause.QUOTE)
_WITHDRAWAL = np.int64(EventType.WITHDRAWAL)
_RETURN = np.int64(EventType.RETURN)
_NO_STAGE = np.int64(Stage.NONE)


@part
def acting_order(seed, step, count, order):
    """Fill ``order`` (count,) with the indices 0 .. count - 1 sorted by hash of (step, index)."""
    key = stream(seed, PURPOSE_ORDERING, step)
    for i in range(count):
        mine = word(key, i, 0)
        j = i
        while j > 0 and word(key, order[j - 1], 0) > mine:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i


@part
def _hold_quotes(w, provider, bucket):
    """How many quotes, the first ones, rest for now because their cancellation is on its way or waits for the engine.

    ``bucket`` is what the move of the mid will be attributed to. Quotes that have not entered yet are cancelled as well:
    while any of them waits the engine is busy, and a cancellation that is sent now waits behind them.
    """
    kept = provider.quotes
    if w.config.latency.late[_QUOTE] == 0:
        if w.config.latency.messages == 0:
            return np.int64(0)
        gone = min(w.flight.left, kept)
        w.flight.left -= gone
        kept -= gone
        if kept == 0 and provider.waiting == 0:
            return kept
    defer(w, provider.account, np.int64(1), bucket, np.int64(0), _SLIDE, _QUOTE, lay.NO_EVENT)
    return kept


@routine
def _cancel_quotes(w, book, index, bucket):
    provider = w.providers[index]
    kept = np.int64(0)
    if w.control.delaying != 0:
        kept = _hold_quotes(w, provider, bucket)
    for k in range(kept, provider.quotes):
        cancel(book, provider.ids[k])
    provider.quotes = kept


@part
def _update_pause(w, book, accounts, tape, index):
    """Apply the loss limit, counted from the provider's peak equity; returns whether it stays out."""
    provider = w.providers[index]
    row = accounts[provider.account]
    step = w.control.step
    if step < provider.paused_until:
        return True
    worth = np.int64(equity(w, row))
    if provider.paused != 0:
        # A pause may end between two rounds of quotes: it is over in the first one after it.
        begin_event(w, accounts, _RETURN, _NO_STAGE, _QUOTE, provider.account)
        commit_event(w, accounts, tape)
        provider.peak_equity = worth
    provider.peak_equity = max(provider.peak_equity, worth)
    if provider.peak_equity - worth > provider.loss_limit:
        provider.paused_until = step + w.config.providers.pause_steps
        begin_event(w, accounts, _WITHDRAWAL, _NO_STAGE, _QUOTE, provider.account)
        w.draft.loss = float(provider.peak_equity - worth)
        commit_event(w, accounts, tape)
        _cancel_quotes(w, book, index, lay.MOVE_WITHDRAWAL)
        return True
    return False


@part
def _size_factor(w, provider, stress):
    """Share of full size: leaves at once when volatility exceeds the threshold, returns with a time constant."""
    config = w.config.providers
    target = 1.0
    if stress > provider.threshold:
        target = max(config.minimum_share, (stress / provider.threshold) ** (-config.threshold_exponent))
    if target < provider.size_factor:
        provider.size_factor = target
    else:
        provider.size_factor += (target - provider.size_factor) * config.recovery
    return provider.size_factor


@part
def _quote(w, book, accounts, provider, side, price, size):
    """Post one level; a price that would cross slides to the nearest that does not."""
    tick = np.int64(math.floor(price)) if side > 0 else np.int64(math.ceil(price))
    lots = np.int64(size + 0.5)
    if lots < 1 or tick < 1:
        return
    if lots > w.config.largest_order:
        w.control.capacity = lay.CAPACITY_SIZE
        return
    account = provider.account
    if w.control.delaying != 0 and defer(w, account, side, tick, lots, _SLIDE, _QUOTE, lay.NO_EVENT) != 0:
        return
    if w.config.venue.gate != 0:
        order_id = submit_quote(w, book, accounts, account, side, tick, lots)
    else:
        order_id, _ = submit(book, side, tick, lots, account, _SLIDE, _QUOTE, lay.NO_EVENT)
    if order_id != 0:
        # A ladder begins with an empty list and has two quotes a level.
        provider.ids[provider.quotes] = order_id
        provider.quotes += 1


@routine
def _requote(w, book, accounts, index, stress, noise_key):
    config = w.config.providers
    market = w.market
    provider = w.providers[index]
    inventory = float(accounts[provider.account].position)
    spread = provider.half_spread * max(1.0, stress) ** config.spread_exponent
    skew = config.skew * min(config.skew_cap, max(1.0, stress) ** config.skew_exponent)
    weight = config.fundamental_weight
    belief = weight * market.fundamental + (1.0 - weight) * market.own_mid
    centre = belief * (1.0 + config.noise * normal(noise_key, index, 0)) - skew * inventory
    share = _size_factor(w, provider, stress)
    if provider.waiting > 0:
        return
    bid_share = share * min(1.0, max(0.0, 1.0 - inventory / config.inventory_limit))
    ask_share = share * min(1.0, max(0.0, 1.0 + inventory / config.inventory_limit))
    w.venue.quoted[0] = 0
    w.venue.quoted[1] = 0
    for level in range(config.levels):
        distance = spread * config.level_distance[level]
        size = config.level_size[level]
        _quote(w, book, accounts, provider, 1, centre - distance, size * bid_share)
        _quote(w, book, accounts, provider, -1, centre + distance, size * ask_share)


@part
def measure_volatility(w):
    """Update the providers' volatility estimate; returns it over the reference level.

    The estimate uses returns of a smoothed mid: the raw mid of a book with gaps would feed on itself.
    """
    config = w.config.providers
    market = w.market
    market.provider_mid += (market.mid - market.provider_mid) * config.smoothing
    step = w.control.step
    past = market.smooth_ring[(step - config.return_steps) & (len(market.smooth_ring) - 1)]
    market.smooth_ring[step & (len(market.smooth_ring) - 1)] = market.provider_mid
    if past > 0.0:
        change = math.log(market.provider_mid / past)
        rate = change * change / (config.return_steps * w.config.dt)
        market.volatility += (rate - market.volatility) * config.half_life
    return math.sqrt(market.volatility) / config.reference_volatility


@routine
def quote(w, book, accounts, tape):
    """Phase 2: when the clock is due, every provider that is free to cancels its quotes and posts a new ladder."""
    config = w.config.providers
    if config.count == 0 or w.config.formation == lay.FORMATION_LINEAR:
        return
    stress = measure_volatility(w)
    if w.config.switches.liquidity_withdrawal == 0:
        # Whatever stress does is withdrawal: ladders neither shrink nor widen nor lean more.
        stress = 0.0
    if w.control.step % config.requote_steps != 0:
        return
    acting_order(w.config.seed, w.control.step, config.count, w.acting)
    if w.config.switches.liquidity_withdrawal != 0:
        for k in range(config.count):
            w.providers[k].paused = _update_pause(w, book, accounts, tape, k)
    touch(w, book, lay.MOVE_WITHDRAWAL)
    before = w.market.mid
    for k in range(config.count):
        if w.providers[k].paused == 0 and w.providers[k].waiting == 0:
            _cancel_quotes(w, book, k, lay.MOVE_QUOTE_REVISION)
    epoch = np.int64(math.floor(w.control.step * w.config.dt / config.noise_seconds))
    noise_key = stream(w.config.seed, PURPOSE_BELIEF, epoch)
    for k in range(config.count):
        index = w.acting[k]
        if w.providers[index].paused == 0:
            _requote(w, book, accounts, index, stress, noise_key)
    touch(w, book, lay.MOVE_QUOTE_REVISION)
    news = config.fundamental_weight * (w.market.fundamental - w.market.quoted_fundamental)
    w.market.quoted_fundamental = w.market.fundamental
    if w.market.mid != before and w.config.latency.late[_QUOTE] == 0:
        w.market.mid_move[lay.MOVE_QUOTE_REVISION] -= news
        w.market.mid_move[lay.MOVE_NEWS] += news
