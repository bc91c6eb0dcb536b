"""How orders become prices: the matching book, or linear permanent impact for exact laws."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.registry import PRICE_FORMATIONS


@PRICE_FORMATIONS.register("order_book")
@dataclass(frozen=True)
class BookFormation:
    """Orders meet in a price-time-priority limit order book."""

    compiled: ClassVar[int] = lay.FORMATION_BOOK

    def configure(self, config: Any, instrument: Instrument) -> None:
        """Write the rule's numbers into the kernel configuration."""
        config.formation = self.compiled


@PRICE_FORMATIONS.register("linear_impact")
@dataclass(frozen=True)
class LinearImpact:
    """Each traded unit moves the price by ``impact`` for good (Kyle 1985); there is no book.

    A named counterparty account fills every order at the average of the price before and after, so splitting an order
    changes nothing. News moves the price one for one. Quotes and resting orders do nothing here.

    Parameters
    ----------
    impact : float
        Quote currency per base unit, at least 0.
    """

    impact: float = 0.0035

    compiled: ClassVar[int] = lay.FORMATION_LINEAR

    def __post_init__(self) -> None:
        if self.impact < 0.0:
            raise ScenarioError(
                expectation("market.price_formation.impact", "a number of at least 0", self.impact)
            )

    def configure(self, config: Any, instrument: Instrument) -> None:
        """Write the rule's numbers into the kernel configuration."""
        config.formation = self.compiled
        config.impact = self.impact * instrument.lot_size / instrument.tick_size
