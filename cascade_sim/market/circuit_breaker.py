"""A venue's rules as kernels take them: price band, circuit breaker, caps on positions and open interest, least order."""

import math
from typing import Any

from cascade_sim.core import layout as lay
from cascade_sim.core.layout.book import MARKET_TICKS
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.scenario import Scenario

BAND_REFERENCES = {
    "mid_average": lay.BAND_MID_AVERAGE,
    "last_average": lay.BAND_LAST_AVERAGE,
    "index": lay.BAND_INDEX,
    "auction": lay.BAND_AUCTION,
}
BREAKER_PRICES = {
    "last": lay.BREAKER_LAST,
    "mid": lay.BREAKER_MID,
    "mark": lay.BREAKER_MARK,
    "index": lay.BREAKER_INDEX,
}
NO_CAP = -1


def whole_steps(seconds: float, dt: float) -> int:
    """Number of steps that ``seconds`` take, rounded up; a hair above a whole number is that number."""
    return math.ceil(seconds / dt - 1e-9)


def configure_venue(world: Any, scenario: Scenario, instrument: Instrument) -> None:
    """Write the rules of ``scenario.venue`` into a world whose price formation is configured.

    Parameters
    ----------
    world : record
        One record of :data:`layout.WORLD`; its ``config.venue`` and ``venue`` are written.
    scenario : Scenario
    instrument : Instrument

    Raises
    ------
    ScenarioError
        If a price band or circuit breaker is asked of a market without an order book.
    """
    rules, venue, dt = world.config.venue, scenario.venue, scenario.run.dt
    band, breaker = venue.price_band, venue.circuit_breaker
    halting = band.half_width > 0.0 or bool(breaker.levels)
    if halting and world.config.formation == lay.FORMATION_LINEAR:
        raise ScenarioError(
            expectation(
                "venue",
                "no price_band and no circuit_breaker where market.price_formation has no order book",
                scenario.market.price_formation.name,
            )
        )
    world.venue.lower, world.venue.upper = 1, MARKET_TICKS - 1
    world.venue.limit_since = -1
    rules.gate = int(venue.has_rules)
    rules.band = int(band.half_width > 0.0)
    rules.band_reference = BAND_REFERENCES[band.reference]
    rules.half_width = band.half_width
    rules.average_memory = 1.0 - math.exp(-dt / band.average_seconds)
    rules.update_steps = max(1, whole_steps(band.update_seconds, dt))
    waits = band.limit_state_seconds
    rules.limit_steps = -1 if waits is None else whole_steps(waits, dt)
    rules.band_halt_steps = whole_steps(band.halt_seconds, dt)
    rules.levels = len(breaker.levels)
    for number, (move, seconds) in enumerate(zip(breaker.levels, breaker.halt_seconds, strict=True)):
        rules.level_move[number] = move
        rules.level_halt_steps[number] = whole_steps(seconds, dt)
    window = breaker.window_seconds if breaker.levels else None
    rules.window_steps = 0 if window is None else max(1, whole_steps(window, dt))
    rules.breaker_price = BREAKER_PRICES[breaker.price]
    rules.on_falls = int(breaker.direction != "up")
    rules.on_rises = int(breaker.direction != "down")
    rules.open_interest_cap = _lots(venue.open_interest_cap, instrument)
    rules.minimum_notional = instrument.cash_to_atoms(venue.minimum_notional)
    rules.position_cap[:] = NO_CAP
    for name, cap in venue.position_caps.model_dump().items():
        rules.position_cap[AccountClass[name.upper()]] = _lots(cap, instrument)


def _lots(cap: float | None, instrument: Instrument) -> int:
    """Whole lots within a cap."""
    return NO_CAP if cap is None else math.floor(cap / instrument.lot_size + 1e-9)
