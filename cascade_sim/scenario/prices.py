"""Sections about the index and about funding."""

from typing import Annotated, Literal

from pydantic import Field

from cascade_sim.scenario.base import NonNegative, Section, choice, measure

MOST_SOURCES = 16
MOST_OUTAGES = 8
LONGEST_DELAY = (1 << 17) - 1
"""Steps of history that an index can look back on."""

Window = Annotated[tuple[NonNegative, NonNegative], Field(strict=False)]
Windows = Annotated[tuple[Window, ...], Field(strict=False, max_length=MOST_OUTAGES)]


class Funding(Section):
    """Payments between longs and shorts that tie a perpetual to its index; off with an interval of 0.

    At the end of each interval a position pays position x price x rate; longs pay when the rate is positive.
    rate = interval / rate period x (average premium + clamp(interest - average premium)), at most the cap either way.
    """

    interval_seconds: float = measure(0.0, "Time between two payments; 0 for no funding", "s", ge=0)
    rate_seconds: float = measure(
        28_800.0, "Period that interest, clamp and premium are quoted over", "s", gt=0
    )
    interest_rate: float = measure(
        1e-4, "Interest of quote over base currency", "share of notional per rate period", ge=-0.1, le=0.1
    )
    clamp: float = measure(
        5e-4,
        "Bound on interest minus premium; within it the rate is the interest",
        "share of notional per rate period",
        ge=0,
        le=1,
    )
    cap: float = measure(0.04, "Largest rate of one interval, either way", "share of notional", ge=0, le=1)
    premium: Literal["mid", "impact"] = choice(
        "mid", "Compared with the index: the mid, or the impact prices of market.impact_notional"
    )
    average: Literal["equal", "linear"] = choice(
        "equal", "Weights of the premiums of an interval: equal, or growing with time"
    )
    price: Literal["mark", "index"] = choice("mark", "Price that positions are multiplied with")


class IndexSource(Section):
    """A price that an index is made of."""

    market: str | None = choice(
        None, "Market of this world whose mid is read; null for the fundamental value", min_length=1
    )
    weight: float = measure(1.0, "Weight; 0 for a source that is ignored", "1", ge=0)
    delay_seconds: float = measure(0.0, "Age of what is read", "s", ge=0)
    update_seconds: float = measure(0.0, "Time between two publications; 0 for every step", "s", ge=0)
    deviation: float = measure(
        0.0,
        "Move since the last publication that brings the next one at once; 0 for none",
        "share of price",
        ge=0,
    )
    noise: float = measure(
        0.0, "Standard deviation of the source's own error", "share of price", ge=0, le=0.1
    )
    noise_seconds: float = measure(60.0, "How often that error is drawn anew", "s", gt=0)
    outages: Windows = measure(
        (), "Pairs [from, to] since step 0 between which the source publishes nothing", "s"
    )


class Index(Section):
    """The price of the underlying from outside the book; without sources the fundamental value itself."""

    sources: dict[str, IndexSource] = choice({}, "Sources by name", max_length=MOST_SOURCES)
    rule: Literal["mean", "median"] = choice(
        "mean", "Weighted mean or weighted median of the sources that are not stale"
    )
    clamp: float = measure(
        0.03,
        "Largest distance from the median at which a source enters the mean; beyond it counts as that far",
        "share of price",
        gt=0,
        le=1,
    )
    stale_seconds: float = measure(
        0.0, "Age of a publication beyond which its source is left out; 0 for none", "s", ge=0
    )
