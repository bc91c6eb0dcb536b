"""A hedging rule in a file of its own."""

from dataclasses import dataclass
from typing import ClassVar

from cascade_sim.options.hedging import HedgeInputs, back_to_flat
from cascade_sim.registry import HEDGINGS


@HEDGINGS.register("half_way")
@dataclass(frozen=True)
class HalfWay:
    """Trade half of what would make delta flat, on a clock."""

    interval_seconds: ClassVar[float] = 10.0
    mark_seconds: ClassVar[float] = 20.0
    band: ClassVar[float] = 1.0
    price_limit: ClassVar[float] = 0.003

    def trade(self, inputs: HedgeInputs) -> float:
        """Return base units to trade, bought positive."""
        return 0.5 * back_to_flat(inputs, self.band)
