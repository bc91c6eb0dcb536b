"""The market as a participant written in Python sees it, and the batch of orders it sends."""

from dataclasses import dataclass

from cascade_sim.core.ledger import place
from cascade_sim.core.state import State
from cascade_sim.domain.enums import Cause, OrderType, Side
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument


@dataclass(frozen=True)
class _Order:
    account: int
    side: Side
    lots: int
    tick: int
    order_type: OrderType


class ParticipantMarket:
    """Prices in quote currency as the trading phase began; orders wait until every participant has decided."""

    def __init__(self, state: State, instrument: Instrument) -> None:
        market, tick = state.world.market, instrument.tick_size
        self._state, self._instrument = state, instrument
        self._account = -1
        self._orders: list[_Order] = []
        self.step = int(state.world.control.step)
        self.time_seconds = self.step * float(state.world.config.dt)
        self.mid = float(market.mid) * tick
        self.mark = float(market.mark) * tick
        self.index = float(market.index) * tick
        self.last = float(market.last) * tick

    def of(self, account: int) -> "ParticipantMarket":
        """Return the market as the owner of ``account``."""
        self._account = account
        return self

    @property
    def position(self) -> float:
        """Signed position of the participant, base units."""
        return int(self._state.accounts[self._account].position) * self._instrument.lot_size

    def submit(
        self, side: Side, quantity: float, price: float | None = None, order_type: OrderType = OrderType.IOC
    ) -> None:
        """Send an order: base units and quote currency; without a price a market order.

        Raises
        ------
        ScenarioError
            If the quantity is below one lot.
        """
        lots = self._instrument.quantity_to_lot(quantity)
        if lots < 1:
            raise ScenarioError(
                expectation("quantity", f"at least one lot of {self._instrument.lot_size}", quantity)
            )
        tick = 0 if price is None else self._instrument.price_to_tick(price)
        kind = OrderType.MARKET if price is None else OrderType(order_type)
        self._orders.append(_Order(self._account, Side(side), lots, tick, kind))

    def send_orders(self) -> None:
        """Enter everything that was submitted, in order."""
        state = self._state
        for order in self._orders:
            place(
                state.world,
                state.book,
                state.accounts,
                state.watch,
                state.tape,
                order.account,
                int(order.side),
                order.tick,
                order.lots,
                int(order.order_type),
                int(Cause.EXECUTION),
                -1,
            )
