"""A market of a few accounts and no agents, whose venue has rules."""

from typing import Any

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.drivers.loop import full
from cascade_sim.core.drivers.state import State, System, allocate_system
from cascade_sim.core.layout.book import MARKET_TICKS, WINDOW
from cascade_sim.domain.enums import AccountClass, Cause, OrderType, SelfTradePolicy

ACCOUNTS = 8
FEES = ACCOUNTS - 1


class VenueWorld:
    """Arrays of one market, with what tests do to it."""

    def __init__(self, price: int = 100, maker_fee: float = 0.0, taker_fee: float = 0.0) -> None:
        self.system: System = allocate_system(ACCOUNTS, 0, [int(SelfTradePolicy.ALLOW)])
        self.state: State = self.system.state(0)
        world = self.state.world
        config, market = world.config, world.market
        config.atoms, config.largest_order, config.dt, config.steps = 1_000, 2**31 - 1, 1.0, 10**6
        config.minute_steps = 60
        config.maker_fee, config.taker_fee, config.fee_account = maker_fee, taker_fee, FEES
        config.record, config.own_weight = lay.RECORD_FULL, 1.0
        for name in ("fundamental", "index", "mid", "mark", "last"):
            market[name] = price
        self.rules = config.venue
        self.rules.gate, self.rules.levels, self.rules.level_move[0] = 1, 1, 0.99
        self.rules.open_interest_cap, self.rules.limit_steps = -1, -1
        self.rules.position_cap[:] = -1
        self.venue = world.venue
        self.venue.lower, self.venue.upper, self.venue.limit_since = 1, MARKET_TICKS - 1, -1
        self.state.accounts["account_class"] = AccountClass.PARTICIPANT

    def place(
        self, account: int, side: int, tick: int, lots: int, kind: OrderType = OrderType.LIMIT
    ) -> tuple[int, int]:
        """Send an order; returns its id and what was filled."""
        state = self.state
        order_id, filled = place(
            state.world,
            state.book,
            state.accounts,
            state.watch,
            state.tape,
            account,
            side,
            tick,
            lots,
            int(kind),
            int(Cause.EXECUTION),
            -1,
        )
        return int(order_id), int(filled)

    def begin_step(self, step: int) -> None:
        """Run the phases of news and quotes of a step, with the venue's rules between them."""
        control = self.state.world.control
        control.step, control.phase, control.prepared = step, 0, 0
        assert full(*self.system, step + 1, 2) == lay.RETURN_DONE

    def halt(self) -> None:
        """Stop trading until the next step that begins."""
        self.state.world.market.halted = 1
        self.venue.started = 1

    def queues(self) -> dict[int, list[tuple[int, int]]]:
        """Owner and lots of every resting order by tick, oldest first."""
        book, found = self.state.book, dict[int, list[tuple[int, int]]]()
        for index in np.flatnonzero(book.levels["quantity_lot"]).tolist():
            slot = int(book.levels[index].head)
            while slot:
                order = book.orders[slot]
                # Level 0 is the pool of the call.
                tick = (
                    int(book.origin) + index
                    if 0 < index < WINDOW
                    else int(book.far_ticks[slot])
                    if index
                    else 0
                )
                found.setdefault(tick, []).append((int(order.owner), int(order.quantity_lot)))
                slot = int(order.next)
        return found

    def trades(self) -> Any:
        """Rows of the tape."""
        return self.state.tape.trades[: int(self.state.tape.trades_count)]

    def events(self) -> Any:
        """Rows of the tape."""
        return self.state.tape.events[: int(self.state.tape.events_count)]
