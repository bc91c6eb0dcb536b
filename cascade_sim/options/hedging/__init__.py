"""Hedging rules: when and how far an options dealer trades back to a flat delta."""

import math
from dataclasses import dataclass
from typing import ClassVar

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import HEDGINGS


@dataclass(frozen=True)
class HedgeInputs:
    """What a hedging rule sees of one dealer: base units and quote currency.

    ``delta`` is that of the options, ``position`` the hedge held, ``gamma`` the change of delta per unit of price,
    ``lot_size`` the smallest quantity that trades.
    """

    delta: float
    position: float
    gamma: float
    price: float
    lot_size: float


def back_to_flat(inputs: HedgeInputs, band: float) -> float:
    """Return the base units that make delta flat to the nearest lot, 0 within ``band`` base units of it."""
    target = -math.floor(inputs.delta / inputs.lot_size + 0.5)
    gap = target - round(inputs.position / inputs.lot_size)
    return 0.0 if abs(gap) < max(1.0, band / inputs.lot_size) else gap * inputs.lot_size


def _check(path: str, value: float, least: float) -> None:
    if value < least:
        raise ScenarioError(expectation(f"dealers.hedging.{path}", f"at least {least:g}", value))


def _check_clock(rule: "Clock | FixedBand") -> None:
    _check("interval_seconds", rule.interval_seconds, 1e-9)
    _check("mark_seconds", rule.mark_seconds, 0.0)
    _check("band", rule.band, 0.0)
    _check("price_limit", rule.price_limit, 0.0)
    # At the whole price a sell order would be limited at nothing or below.
    if rule.price_limit >= 1.0:
        raise ScenarioError(expectation("dealers.hedging.price_limit", "below 1", rule.price_limit))


@HEDGINGS.register("clock")
@dataclass(frozen=True)
class Clock:
    """Hedge on a clock, staggered over dealers, with delta at a smoothed mid and orders limited near the mid.

    Parameters
    ----------
    interval_seconds : float
        Time between two looks of one dealer.
    mark_seconds : float
        Memory of the average mid at which delta is taken.
    band : float
        Base units of delta below which nothing is traded.
    price_limit : float
        Farthest price of a hedge from the mid, share of price.
    """

    interval_seconds: float = 30.0
    mark_seconds: float = 20.0
    band: float = 1.0
    price_limit: float = 0.003

    compiled: ClassVar[int] = lay.HEDGE_CLOCK

    def __post_init__(self) -> None:
        _check_clock(self)

    def trade(self, inputs: HedgeInputs) -> float:
        """Return base units to trade, bought positive."""
        return back_to_flat(inputs, self.band)


@HEDGINGS.register("fixed_band")
@dataclass(frozen=True)
class FixedBand:
    """Hedge whenever delta leaves a fixed band; otherwise as ``clock``, which looks less often at a narrower band.

    Parameters
    ----------
    band : float
        Base units of delta below which nothing is traded.
    interval_seconds : float
        Time between two looks of one dealer.
    mark_seconds : float
        Memory of the average mid at which delta is taken.
    price_limit : float
        Farthest price of a hedge from the mid, share of price.
    """

    band: float = 10.0
    interval_seconds: float = 1.0
    mark_seconds: float = 20.0
    price_limit: float = 0.003

    compiled: ClassVar[int] = lay.HEDGE_CLOCK

    def __post_init__(self) -> None:
        _check_clock(self)

    def trade(self, inputs: HedgeInputs) -> float:
        """Return base units to trade, bought positive."""
        return back_to_flat(inputs, self.band)


@HEDGINGS.register("none")
@dataclass(frozen=True)
class NoHedging:
    """Keep the opening hedge and trade nothing."""

    interval_seconds: ClassVar[float] = 30.0
    mark_seconds: ClassVar[float] = 20.0
    band: ClassVar[float] = 0.0
    price_limit: ClassVar[float] = 0.003

    compiled: ClassVar[int] = lay.HEDGE_NONE

    def trade(self, inputs: HedgeInputs) -> float:
        """Return nothing to trade."""
        return 0.0
