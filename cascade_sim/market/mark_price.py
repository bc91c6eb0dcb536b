"""Mark-price rules. A rule with a ``compiled`` code runs inside the kernels; any other is asked once per step.

A rule that is ``instant`` has no memory and is asked again after every round of liquidation within a step. For one that
``follows_index`` a move of the mark that no order explains counts as news, otherwise as a revision of quotes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import MARK_PRICES


@dataclass(frozen=True)
class MarkInputs:
    """What a mark-price rule sees, all in quote currency.

    ``mid`` is the last two-sided mid; ``one_sided`` says that the book has lost a side since. ``basis`` is the
    exponential average of mid minus index with the weight that the rule's ``memory`` gives.
    """

    mid: float
    last: float
    index: float
    mark: float
    basis: float
    one_sided: bool
    dt: float


def _memory(seconds: float, dt: float) -> float:
    return 1.0 - math.exp(-dt / seconds) if seconds > 0.0 else 1.0


@MARK_PRICES.register("ema_mid")
@dataclass(frozen=True)
class EmaMid:
    """Exponential average of the mid.

    Parameters
    ----------
    time_constant_seconds : float
        Seconds after which 63 % of a step in the mid has arrived; 0 gives the mid itself.
    """

    time_constant_seconds: float = 3.0

    compiled: ClassVar[int] = lay.MARK_EMA_MID

    def __post_init__(self) -> None:
        if self.time_constant_seconds < 0.0:
            raise ScenarioError(
                expectation(
                    "market.mark_price.time_constant_seconds", "at least 0", self.time_constant_seconds
                )
            )

    def memory(self, dt: float) -> float:
        """Weight of the newest observation per step of ``dt`` seconds."""
        return _memory(self.time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        if inputs.one_sided:
            return inputs.mark
        return inputs.mark + (inputs.mid - inputs.mark) * self.memory(inputs.dt)


@MARK_PRICES.register("median")
@dataclass(frozen=True)
class Median:
    """Median of index, index plus smoothed basis, and last trade, as derivative venues publish it.

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    """

    basis_time_constant_seconds: float = 30.0

    compiled: ClassVar[int] = lay.MARK_MEDIAN
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.basis_time_constant_seconds < 0.0:
            raise ScenarioError(
                expectation(
                    "market.mark_price.basis_time_constant_seconds",
                    "at least 0",
                    self.basis_time_constant_seconds,
                )
            )

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        based = inputs.index + inputs.basis
        low, high = min(inputs.index, based), max(inputs.index, based)
        return max(low, min(high, inputs.last))


@MARK_PRICES.register("last")
@dataclass(frozen=True)
class Last:
    """The last trade; under linear impact the current price. It has no memory and moves between rounds."""

    compiled: ClassVar[int] = lay.MARK_LAST
    instant: ClassVar[bool] = True

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.last
