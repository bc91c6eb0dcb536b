"""Fundamental value, index and mark: what the world believes the price is, once per step."""

import math

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.compile import kernel, leaf, part, routine
from cascade_sim.core.ground.rng import PURPOSE_NEWS, normal, stream
from cascade_sim.core.prices.mark_rules import median_of_three, note_index, other_mark

_ACROSS_BP = 1.0e4
_LARGEST_VALUE = 1.0e18
"""Ticks; what is computed from a value below it are numbers."""


@routine
def news(w, book):
    """Phase 1: the fundamental takes a step of its exogenous path plus scheduled news (log moves)."""
    market = w.market
    step = w.control.step
    config = w.config
    noise = config.own_weight * normal(stream(config.value_seed, PURPOSE_NEWS, step), 0, 0)
    if config.common_weight != 0.0:
        noise += config.common_weight * normal(stream(config.common_seed, PURPOSE_NEWS, step), 0, 0)
    change = config.volatility * noise
    for index in range(w.config.shocks):
        shock = w.config.shock[index]
        if shock.first_step <= step <= shock.last_step:
            change += shock.news / (shock.last_step - shock.first_step + 1)
    market.previous_fundamental = market.fundamental
    market.fundamental = market.fundamental * math.exp(change)
    if not 0.0 < market.fundamental < _LARGEST_VALUE:
        w.control.capacity = lay.CAPACITY_PRICE
    if config.prices.index_sources == 0:
        market.index = market.fundamental
    if w.config.formation == lay.FORMATION_LINEAR:
        move = market.fundamental - market.previous_fundamental
        market.linear_price += move
        if not 1.0 <= market.linear_price < book.ticks:
            w.control.capacity = lay.CAPACITY_PRICE
        market.mid += move
        market.mid_move[lay.MOVE_NEWS] += move


@leaf
def _candidate(w):
    """The mark that the configured rule gives now. A one-sided book leaves rules that need a mid where they were."""
    market = w.market
    rule = w.config.mark_rule
    if rule == lay.MARK_LAST:
        if w.config.formation == lay.FORMATION_LINEAR:
            return market.linear_price
        return market.last
    if rule == lay.MARK_MEDIAN:
        return median_of_three(market.index, market.index + market.basis, market.last)
    if rule > lay.MARK_LAST:
        return other_mark(w)
    if market.one_sided != 0:
        return market.mark
    return market.mark + (market.mid - market.mark) * w.config.mark_memory


@routine
def set_mark(w, mark):
    """Set the mark and attribute its log move (basis points) to the moves of the mid that it caught up with."""
    market = w.market
    change = mark - market.mark
    gap = 0.0
    for bucket in range(lay.MOVES):
        market.mark_gap[bucket] += market.mid_move[bucket]
        market.mid_move[bucket] = 0.0
        gap += market.mark_gap[bucket]
    scale = _ACROSS_BP / market.mark
    if change != 0.0:
        scale = _ACROSS_BP * math.log(mark / market.mark) / change
    share = 0.0
    if abs(gap) > 1.0e-9 * mark:
        share = min(1.0, max(0.0, change / gap))
    explained = 0.0
    for bucket in range(lay.MOVES):
        part = share * market.mark_gap[bucket]
        market.mark_gap[bucket] -= part
        market.mark_move[bucket] += part * scale
        explained += part
    rest = lay.MOVE_NEWS if w.config.mark_follows_index != 0 else lay.MOVE_QUOTE_REVISION
    market.mark_move[rest] += (change - explained) * scale
    market.mark_gap[rest] -= change - explained
    market.mark = mark


@part
def _set_new_mark(w):
    """Take the mark from the rule; returns RETURN_MARK when it must be asked for first, else RETURN_DONE."""
    control = w.control
    if w.config.mark_rule == lay.RULE_PYTHON:
        if control.answered == 0:
            return lay.RETURN_MARK
        control.answered = 0
        set_mark(w, w.market.asked_mark)
    else:
        set_mark(w, _candidate(w))
    return lay.RETURN_DONE


@routine
def instant_mark(w):
    """Refresh a mark that has no memory, between the rounds of a step; returns as :func:`mark` does."""
    if w.config.mark_instant == 0:
        return lay.RETURN_DONE
    return _set_new_mark(w)


@kernel
def mark(w):
    """Phase 7. Returns RETURN_MARK when a rule that is not compiled must give the mark, else RETURN_DONE."""
    market = w.market
    control = w.control
    if control.answered == 0 and market.one_sided == 0:
        fair = w.prices.impact_mid if w.config.prices.basis_of_impact != 0 else market.mid
        market.basis += (fair - market.index - market.basis) * w.config.basis_memory
    if w.config.prices.mark_delay >= 0:
        note_index(w)
    status = _set_new_mark(w)
    if status != lay.RETURN_DONE:
        return status
    market.mark_held = market.one_sided
    market.slow_mid += (market.mid - market.slow_mid) * w.config.slow_memory
    market.hedge_mid += (market.mid - market.hedge_mid) * w.config.dealers.smoothing
    market.own_mid += (market.mid - market.own_mid) * w.config.providers.own_average
    market.mid_ring[np.int64(control.step) & (len(market.mid_ring) - 1)] = market.mid
    return lay.RETURN_DONE
