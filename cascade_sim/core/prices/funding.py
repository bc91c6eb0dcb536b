"""The funding rate of a perpetual: a premium sampled every step, averaged over the interval, clamped and capped."""

from cascade_sim.core.ground.compile import leaf, routine


@leaf
def _premium(w):
    """Premium over the index as a fraction of it; the last one while the book cannot say."""
    index = w.market.index
    prices = w.prices
    if w.config.prices.funding_impact == 0:
        if w.market.one_sided != 0 or w.market.halted != 0:
            return prices.premium
        return (w.market.mid - index) / index
    if prices.impact_bid <= 0.0 or prices.impact_ask <= 0.0:
        return prices.premium
    return (max(0.0, prices.impact_bid - index) - max(0.0, index - prices.impact_ask)) / index


@routine
def sample_premium(w):
    """Take this step's premium into the average of the interval and renew the estimate of its rate.

    rate = cap(share x (average + clamp(interest - average))), with interest and clamp over the period that venues quote
    rates for and ``share`` the part of it that one interval is.
    """
    config = w.config.prices
    prices = w.prices
    step = w.control.step
    if step < 0:
        return
    place = step % config.funding_interval
    prices.premium = _premium(w)
    weight = place + 1.0 if config.funding_linear != 0 else 1.0
    prices.premium_sum += weight * prices.premium
    prices.premium_weight += weight
    average = prices.premium_sum / prices.premium_weight
    bound = config.funding_clamp
    rate = config.funding_share * (average + max(-bound, min(bound, config.funding_interest - average)))
    prices.funding_rate = max(-config.funding_cap, min(config.funding_cap, rate))
    left = config.funding_interval - 1 - place
    prices.funding_basis = prices.settled_rate * left / config.funding_interval
