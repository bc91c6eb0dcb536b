"""Section about what a venue accepts and when it stops trading."""

from typing import Literal

from cascade_sim.scenario.base import NonNegativeNumbers, PositiveNumbers, Section, choice, measure


class PriceBand(Section):
    """Limits on trade prices around a reference, and the halt that follows a lasting limit state."""

    half_width: float = measure(
        0.0, "Distance of the limits from the reference; 0 for no band", "share of price", ge=0, lt=1
    )
    reference: Literal["mid_average", "last_average", "index", "auction"] = choice(
        "mid_average",
        "What the limits are set around: an average of mid or last, the index, or the last auction price "
        "(before the first auction the price at step 0)",
    )
    average_seconds: float = measure(300.0, "Time constant of that average", "s", gt=0)
    update_seconds: float = measure(
        30.0, "Time between two updates of the limits; a step where a step is longer", "s", gt=0
    )
    limit_state_seconds: float | None = measure(
        None, "Time in a limit state after which trading halts; null for never", "s", ge=0
    )
    halt_seconds: float = measure(300.0, "Length of that halt", "s", gt=0)


class CircuitBreaker(Section):
    """Halts after a large move, of a rolling window or since the session began."""

    levels: NonNegativeNumbers = measure(
        (), "Moves that halt trading, in ascending order; none for no breaker", "share of price"
    )
    halt_seconds: PositiveNumbers = measure((), "Length of the halt at each level", "s")
    window_seconds: float | None = measure(
        None,
        "Window from whose extreme a move counts; null for from step 0, each level once",
        "s",
        gt=0,
    )
    price: Literal["last", "mid", "mark", "index"] = choice("last", "Price that is watched")
    direction: Literal["down", "up", "both"] = choice("both", "Moves that count")


def _cap(who: str) -> float | None:
    field: float | None = measure(
        None, f"Largest position of {who}, own resting orders included; null for none", "base units", ge=0
    )
    return field


class PositionCaps(Section):
    """Largest positions by class of account; what only reduces a position is always accepted."""

    value_trader: float | None = _cap("the value traders")
    arbitrageur: float | None = _cap("the arbitrageurs")
    shock: float | None = _cap("the seller or buyer behind the shock")
    liquidity_provider: float | None = _cap("each liquidity provider")
    options_dealer: float | None = _cap("each options dealer")
    leveraged_trader: float | None = _cap("each leveraged trader")
    trend_follower: float | None = _cap("each late entrant")
    participant: float | None = _cap("each agent written in Python")


class Venue(Section):
    """Rules about what may trade and when; all off unless said otherwise."""

    price_band: PriceBand = PriceBand()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    position_caps: PositionCaps = PositionCaps()
    open_interest_cap: float | None = measure(
        None,
        "Open interest beyond which orders that trade at once may only reduce; null for none",
        "base units",
        ge=0,
    )

    minimum_notional: float = measure(
        0.0,
        "Least worth of an order, at its limit or, without one, at the mark; what only reduces a position is always "
        "accepted; 0 for none",
        "quote units",
        ge=0,
    )

    @property
    def has_rules(self) -> bool:
        """Whether anything is on."""
        capped = (
            self.minimum_notional > 0.0
            or self.open_interest_cap is not None
            or any(cap is not None for cap in self.position_caps.model_dump().values())
        )
        return capped or self.price_band.half_width > 0.0 or bool(self.circuit_breaker.levels)
