"""The index as venues build it: sources with weights, delays, heartbeats and outages, combined by mean or median."""

from cascade_sim.core.ground.compile import leaf, part, routine
from cascade_sim.core.ground.rng import PURPOSE_INDEX, normal, stream
from cascade_sim.core.prices.funding import sample_premium
from cascade_sim.core.prices.mark_rules import note_book, note_impact


@leaf
def _is_down(source, step):
    down = False
    for k in range(source.outages):
        down = down or source.outage_first[k] <= step < source.outage_end[k]
    return down


@part
def _reading(worlds, w, number):
    """What a source would publish now: its price ``delay`` steps ago, with its own error; 0 before there is any."""
    source = w.prices.source[number]
    seen = w.control.step - source.delay
    if source.market >= 0:
        other = worlds[source.market].market
        # The ring gets this step's mid in the mark phase, which some markets may have been through and others not.
        price = other.mid if source.delay == 0 else other.mid_ring[seen & (len(other.mid_ring) - 1)]
    else:
        price = w.prices.value_ring[seen & (len(w.prices.value_ring) - 1)]
    price *= source.scale
    if source.noise > 0.0:
        key = stream(w.config.seed, PURPOSE_INDEX, seen // source.noise_steps)
        price *= 1.0 + source.noise * normal(key, number, 0)
    return price


@part
def _publish(worlds, w, number):
    """Let a source renew its value when it is due or has moved far enough; one that is down holds what it said.

    A source whose market is halted is down.
    """
    source = w.prices.source[number]
    step = w.control.step
    if _is_down(source, step):
        return
    if source.market >= 0 and worlds[source.market].market.halted != 0:
        return
    price = _reading(worlds, w, number)
    if price <= 0.0:
        return
    moved = source.deviation > 0.0 and abs(price - source.value) > source.deviation * source.value
    if moved or step - source.published >= source.update:
        source.value = price
        source.published = step


@part
def _list_live(w):
    """Sort the values of sources that are not stale, with their weights, into the work arrays; returns their number."""
    prices = w.prices
    count = 0
    for number in range(w.config.prices.index_sources):
        source = prices.source[number]
        stale = w.config.prices.index_stale
        if source.weight <= 0.0 or (stale > 0 and w.control.step - source.published > stale):
            continue
        place = count
        while place > 0 and prices.sorted_value[place - 1] > source.value:
            prices.sorted_value[place] = prices.sorted_value[place - 1]
            prices.sorted_weight[place] = prices.sorted_weight[place - 1]
            place -= 1
        prices.sorted_value[place] = source.value
        prices.sorted_weight[place] = source.weight
        count += 1
    return count


@routine
def weighted_median(values, weights, count):
    """Median of ``count`` ascending values: where half of the weight is reached, between two values if exactly there."""
    total = 0.0
    for k in range(count):
        total += weights[k]
    reached = 0.0
    for k in range(count - 1):
        reached += weights[k]
        if reached > 0.5 * total:
            return values[k]
        if reached == 0.5 * total:
            return 0.5 * (values[k] + values[k + 1])
    return values[count - 1]


@part
def _combine(w, count):
    prices = w.prices
    median = weighted_median(prices.sorted_value, prices.sorted_weight, count)
    if w.config.prices.index_median != 0:
        return median
    limit = w.config.prices.index_clamp * median
    total = 0.0
    weight = 0.0
    for k in range(count):
        distance = max(-limit, min(limit, prices.sorted_value[k] - median))
        total += prices.sorted_weight[k] * distance
        weight += prices.sorted_weight[k]
    # Averaged as distances, sources that agree give exactly what they agree on.
    return median + total / weight


@routine
def update_index(worlds, market):
    """Let the sources of one market's index publish, then combine those that are not stale; none: the index stands."""
    w = worlds[market]
    w.prices.value_ring[w.control.step & (len(w.prices.value_ring) - 1)] = w.market.fundamental
    for number in range(w.config.prices.index_sources):
        _publish(worlds, w, number)
    count = _list_live(w)
    if count > 0:
        w.market.index = _combine(w, count)


@routine
def before_mark(worlds, books, market):
    """What a market's mark is made of, where that is more than the mid, the last trade and the fundamental."""
    w, book = worlds[market], books[market]
    config = w.config.prices
    if config.index_sources > 0:
        update_index(worlds, market)
    if config.impact_value > 0.0:
        note_impact(w, book)
    if config.needs_book != 0:
        note_book(w, book)
    if config.funding_interval > 0:
        sample_premium(w)
