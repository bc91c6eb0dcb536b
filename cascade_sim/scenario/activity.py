"""Sections about what leveraged traders do during the run."""

from cascade_sim.scenario.base import Count, Section, measure


class TakeProfit(Section):
    """Orders that close a position at market once the price has moved far enough in its favour."""

    share: float = measure(0.0, "Traders who hold one", "share of traders", ge=0, le=1)
    distance_low: float = measure(
        0.02, "Nearest take-profit, uniform up to the farthest", "share of entry price", gt=0, lt=1
    )
    distance_high: float = measure(0.1, "Farthest take-profit", "share of entry price", gt=0, lt=1)


class Reentry(Section):
    """Traders who come back after their position was closed, by themselves or by force."""

    probability: float = measure(
        0.0, "Probability that a trader who finds its position closed comes back", "probability", ge=0, le=1
    )
    limit: Count = measure(3, "Returns of a trader at most", "returns", ge=0, le=30_000)
    delay_seconds: float = measure(
        600.0, "Mean time from noticing the closure to the return, exponential", "s", ge=0
    )


class Activity(Section):
    """What leveraged traders do of their own accord."""

    wake_rate: float = measure(
        0.0, "Wake-ups of each trader, at exponential times; at most one a step", "per second", ge=0
    )
    momentum_share: float = measure(
        0.3, "Traders who, awake, add or cut in the direction of the trend", "share of traders", ge=0, le=1
    )
    rebalance_share: float = measure(
        0.2, "Others who, awake, return to their leverage; the rest hold", "share of others", ge=0, le=1
    )
    trend_seconds: float = measure(300.0, "Look-back of the trend", "s", gt=0)
    trend_saturation: float = measure(
        0.004, "Trend at which every trader who follows it acts; in proportion below", "share of price", gt=0
    )
    change: float = measure(
        0.2, "What a follower of the trend adds or cuts at once", "share of its first position", gt=0, le=1
    )
    band: float = measure(
        0.1, "Distance from the intended position that others tolerate", "share of that position", ge=0, le=1
    )
    market_limit: float = measure(
        0.02, "How far from mid these orders may execute", "share of price", gt=0, lt=1
    )
    take_profit: TakeProfit = TakeProfit()
    reentry: Reentry = Reentry()
