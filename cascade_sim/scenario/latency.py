"""The section about the time between a decision and the arrival of its order, and about the engine's messages."""

from cascade_sim.scenario.base import Count, Section, measure


class Delay(Section):
    """How long the orders of one class take to the book: a fixed delay plus exponential jitter, to the nearest step."""

    delay_seconds: float = measure(0.0, "Least time from decision to arrival", "s", ge=0)
    jitter_seconds: float = measure(
        0.0, "Mean of what is added, drawn for each order and exponentially distributed", "s", ge=0
    )


class Latency(Section):
    """Time from decision to arrival of orders, by class of sender, and messages that the engine takes per step.

    Takeovers and deleveraging do not go through the book and take no time; neither do the scheduled shock and arbitrage
    between markets, whose two legs depend on each other.
    """

    background: Delay = Delay()
    liquidity_providers: Delay = Delay()
    value_traders: Delay = Delay()
    arbitrage: Delay = Delay()
    leveraged_traders: Delay = Delay()
    dealers: Delay = Delay()
    liquidation: Delay = Delay()
    participants: Delay = Delay()
    messages_per_step: Count = measure(
        0,
        "Orders and cancellations of quotes that the engine takes in a step, the rest waits; 0 for no limit",
        "messages per step",
        ge=0,
    )

    def delays(self) -> dict[str, Delay]:
        """Delay by class of sender."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in fields.items() if isinstance(value, Delay)}

    @property
    def is_active(self) -> bool:
        """Whether any order takes time or may have to wait."""
        delayed = any(delay.delay_seconds + delay.jitter_seconds > 0.0 for delay in self.delays().values())
        return delayed or self.messages_per_step > 0
