"""What a floor may ask of another without importing it."""

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from cascade_sim.domain.enums import Cause, OrderType, Side


@runtime_checkable
class OrderReport(Protocol):
    """What an order did at once."""

    @property
    def order_id(self) -> int:
        """Identifier of what rests in the book; 0 if nothing rests."""
        ...

    @property
    def fills(self) -> NDArray[Any]:
        """Immediate fills, structured: ``price_tick``, ``quantity`` (lots), ``maker``, ``taker``."""
        ...


@runtime_checkable
class OrderSink(Protocol):
    """Where agents and the clearing house send orders: a book, or a price formation that behaves like one."""

    def submit(
        self,
        account: int,
        side: Side,
        quantity: int,
        price: int | None,
        order_type: OrderType,
        cause: Cause,
        parent: int,
    ) -> OrderReport:
        """Send one order.

        Parameters
        ----------
        account : int
            Owner of the order.
        side : Side
            Direction.
        quantity : int
            Lots, positive.
        price : int or None
            Limit in ticks; ``None`` only for a market order.
        order_type : OrderType
            How it may execute and rest.
        cause : Cause
            Why it was sent.
        parent : int
            Identifier of the event that provoked it; 0 for none.

        Returns
        -------
        OrderReport
            What filled at once and what rests.
        """
        ...


@runtime_checkable
class MarketView(Protocol):
    """What a rule or an agent may see of one instrument on one venue; prices are NaN where there is none."""

    @property
    def mark(self) -> float:
        """Price that margin is measured at (quote units per base unit)."""
        ...

    @property
    def index(self) -> float:
        """Price from outside the book (quote units per base unit)."""
        ...

    @property
    def last(self) -> float:
        """Price of the last trade (quote units per base unit)."""
        ...

    @property
    def best_bid(self) -> float:
        """Highest resting buy price (quote units per base unit); NaN if there is none."""
        ...

    @property
    def best_ask(self) -> float:
        """Lowest resting sell price (quote units per base unit); NaN if there is none."""
        ...

    @property
    def step(self) -> int:
        """Current step; 0 is the end of burn-in."""
        ...

    @property
    def time_seconds(self) -> float:
        """Seconds since the end of burn-in; negative before it."""
        ...

    def depth(self, side: Side, distance: float) -> float:
        """Return what rests within a distance of the mid.

        Parameters
        ----------
        side : Side
            ``BUY`` for bids, ``SELL`` for asks.
        distance : float
            Fraction of the mid price, e.g. 0.001 for 0.1 %.

        Returns
        -------
        float
            Base units; NaN when the mid is undefined.
        """
        ...
