"""Delays of a scenario, written into the kernel configuration."""

from typing import Any

from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import Cause
from cascade_sim.scenario import Scenario

_SENDERS = {
    Cause.BACKGROUND: ("background", lay.PHASE_FLOW),
    Cause.QUOTE: ("liquidity_providers", lay.PHASE_QUOTES),
    Cause.VALUE: ("value_traders", lay.PHASE_TRADE),
    Cause.ARBITRAGE: ("arbitrage", lay.PHASE_TRADE),
    Cause.SPECULATION: ("leveraged_traders", lay.PHASE_TRADE),
    Cause.STOP_LOSS: ("leveraged_traders", lay.PHASE_TRADE),
    Cause.DELTA_HEDGE: ("dealers", lay.PHASE_HEDGE),
    Cause.LIQUIDATION: ("liquidation", lay.PHASE_LIQUIDATE),
    Cause.BACKSTOP: ("liquidation", lay.PHASE_LIQUIDATE),
    Cause.EXECUTION: ("participants", lay.PHASE_TRADE),
}
"""Who sends orders for a cause, and the phase in which they decide and arrive."""


def configure_latency(world: Any, scenario: Scenario) -> None:
    """Write the section ``latency`` into a world whose opening price and configuration are set.

    Parameters
    ----------
    world : record
        :data:`layout.WORLD`.
    scenario : Scenario
    """
    latency, config = scenario.latency, world.config.latency
    if not latency.is_active:
        return
    delays, dt = latency.delays(), scenario.run.dt
    for cause, (name, phase) in _SENDERS.items():
        config.delay[cause] = delays[name].delay_seconds / dt
        config.jitter[cause] = delays[name].jitter_seconds / dt
        config.phase[cause] = phase
    config.messages = latency.messages_per_step
    config.late[:] = config.delay + config.jitter > 0.0
    config.active = 1
    world.providers["due"] = lay.NEVER
    world.providers["quoted"] = world.market.quoted_fundamental
