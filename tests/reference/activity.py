"""Leveraged traders who act on a price with linear impact: lists, a heap, and a scan over everybody in every step.

The rules are those of the scenario section ``traders.activity``. Random numbers come from outside.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.reference.agenda import Agenda

WAKE, ACTIVITY, REENTRY, ACTIVATION, TRADER = "WAKE", "ACTIVITY", "REENTRY", "ACTIVATION", "TRADER"
_RETURN = 10**6


def single(value: float) -> float:
    """Round to single precision, in which trigger prices and leverage are kept."""
    return float(np.float32(value))


@dataclass
class Trader:
    """One account: position in lots, cash in atoms (collateral less the cost of the position), prices in ticks."""

    number: int
    position: int
    cash: int
    collateral: int
    entry: float
    leverage: float = 0.0
    kind: str = "hold"
    side: int = 0
    stop: float = 0.0
    take: float = 0.0
    call: float = 0.0
    wakes: int = 0
    entries: int = 0
    left: bool = False
    returning: bool = False
    stopped: bool = False
    topped_up: bool = False


@dataclass
class Rules:
    """Settings in ticks, lots and steps; names are those of the scenario."""

    wake_rate: float
    momentum_share: float
    rebalance_share: float
    trend_steps: int
    trend_saturation: float
    change: float
    band: float
    market_limit: float
    stop: tuple[float, float, float]
    take: tuple[float, float, float]
    call: tuple[float, float, float]
    reentry: tuple[float, int, float]
    maintenance: float


@dataclass
class LinearMarket:
    """A market in which every lot moves the price by ``impact`` for good."""

    traders: list[Trader]
    rules: Rules
    price: float
    impact: float
    atoms: int
    steps: int
    uniform: Callable[[str, int, int, int], float]
    word: Callable[[str, int, int, int], int]
    step: int = 0
    mark: float = 0.0
    mids: list[float] = field(default_factory=list)
    actions: list[tuple[int, int, str]] = field(default_factory=list)
    agenda: Agenda = field(default_factory=Agenda)

    def __post_init__(self) -> None:
        self.mark = self.price
        for trader in self.traders:
            self._open(trader)

    def _open(self, trader: Trader) -> None:
        rules, number = self.rules, trader.number
        if trader.position == 0:
            trader.left = True
            return
        trader.leverage = single(abs(trader.position) * trader.entry * self.atoms / trader.collateral)
        if self.uniform(TRADER, 0, number, 10) < rules.momentum_share:
            trader.kind = "momentum"
        elif self.uniform(TRADER, 0, number, 11) < rules.rebalance_share:
            trader.kind = "rebalance"
        self._arm(trader, self.uniform(TRADER, 0, number, 8), self.uniform(TRADER, 0, number, 13))
        if self.uniform(TRADER, 0, number, 9) < rules.call[0]:
            trader.call = self._call_price(trader)
        self.agenda.put(self._wait(trader) - 1, number)

    def _wait(self, trader: Trader) -> int:
        time = -math.log(self.uniform(WAKE, 0, trader.number, trader.wakes))
        return 1 + int(time / self.rules.wake_rate)

    def _arm(self, trader: Trader, stop_share: float, take_share: float) -> None:
        rules = self.rules
        trader.side = 1 if trader.position > 0 else -1
        trader.stop = trader.take = trader.call = 0.0
        if self.uniform(TRADER, 0, trader.number, 7) < rules.stop[0]:
            distance = rules.stop[1] + (rules.stop[2] - rules.stop[1]) * stop_share
            trader.stop = single(trader.entry * (1.0 - trader.side * distance))
        if self.uniform(TRADER, 0, trader.number, 12) < rules.take[0]:
            distance = rules.take[1] + (rules.take[2] - rules.take[1]) * take_share
            trader.take = single(trader.entry * (1.0 + trader.side * distance))

    def _call_price(self, trader: Trader) -> float:
        """Price at which cash + position x price = ratio x maintenance margin, for a single tier."""
        rate = self.rules.maintenance * self.rules.call[1]
        side = 1 if trader.position > 0 else -1
        worth = abs(float(trader.position * self.atoms)) * (1.0 - side * rate)
        return single(max(0.0, -side * trader.cash / worth))

    def _fill(self, trader: Trader | None, lots: int, limit: float | None) -> None:
        """Buy (lots > 0) or sell at the average of the price before and after."""
        side, size = (1 if lots > 0 else -1), abs(lots)
        if limit is not None:
            price = self.price * (1.0 + side * limit)
            tick = math.floor(price) if side > 0 else math.ceil(price)
            size = min(size, max(0, math.floor(side * (tick - self.price) / self.impact)))
        if size <= 0:
            return
        after = self.price + side * self.impact * size
        paid = 0.5 * (self.price + after)
        self.price = after
        if trader is None:
            return
        before = trader.position
        trader.position += side * size
        trader.cash -= side * math.floor(paid * size * self.atoms + 0.5)
        if trader.position == 0:
            trader.entry = 0.0
        elif before == 0:
            trader.entry = paid
        elif abs(trader.position) > abs(before):
            trader.entry = (trader.entry * abs(before) + paid * size) / abs(trader.position)

    def equity(self, trader: Trader) -> float:
        """Equity at the mark in atoms."""
        return trader.cash + trader.position * self.mark * self.atoms

    def _triggered(self, trader: Trader) -> bool:
        below, above = (max(trader.stop, trader.call), trader.take)
        if trader.side < 0:
            below, above = trader.take, min(x if x > 0.0 else math.inf for x in (trader.stop, trader.call))
        elif above == 0.0:
            above = math.inf
        return self.mark <= below or self.mark >= above

    def _trend(self) -> float:
        back = self.step - self.rules.trend_steps
        if back < 0:
            return 0.0
        return min(1.0, max(-1.0, math.log(self.price / self.mids[back]) / self.rules.trend_saturation))

    def _wish(self, trader: Trader, trend: float) -> int:
        """Signed lots that a trader with a position wants to trade when it wakes up."""
        rules, worth = self.rules, self.mark * self.atoms
        own = 1 if trader.position > 0 else -1
        held = abs(trader.position)
        affordable = trader.leverage * self.equity(trader) / worth
        if trader.kind == "momentum":
            if self.uniform(ACTIVITY, trader.wakes, trader.number, 0) >= abs(trend):
                return 0
            side = 1 if trend > 0.0 else -1
            usual = trader.leverage * trader.collateral / worth
            lots = max(1, math.floor(rules.change * usual + 0.5))
            lots = min(lots, math.floor(affordable) - held if side == own else held)
            return side * max(0, lots)
        if trader.kind == "rebalance" and affordable > 0.0:
            gap = affordable - held
            if abs(gap) > rules.band * affordable:
                return (own if gap > 0.0 else -own) * math.floor(abs(gap))
        return 0

    def _wake(self, trader: Trader, busy: bool, trend: float) -> tuple[str, int] | None:
        """Set the clock anew and say what the trader does: an order, a return, or nothing."""
        trader.wakes += 1
        self.agenda.put(self.step + self._wait(trader), trader.number)
        if busy:
            return None
        if trader.position != 0:
            lots = self._wish(trader, trend)
            return ("trade", lots) if lots != 0 else None
        if trader.left or trader.returning:
            return None
        probability, limit, delay = self.rules.reentry
        turn = trader.entries + 1
        if trader.entries >= limit or self.uniform(REENTRY, turn, trader.number, 0) >= probability:
            trader.left = True
            return None
        wait = int(delay * -math.log(self.uniform(REENTRY, turn, trader.number, 1)))
        if wait == 0:
            return "enter", 0
        trader.returning = True
        self.agenda.put(self.step + wait, trader.number + _RETURN)
        return None

    def _answer(self, trader: Trader) -> None:
        side = trader.side
        stopped = trader.stop > 0.0 and side * (self.mark - trader.stop) <= 0.0
        taken = trader.take > 0.0 and side * (self.mark - trader.take) >= 0.0
        if trader.position != 0 and (stopped or taken):
            self._fill(trader, -trader.position, None)
            trader.stopped |= stopped
        if trader.position == 0:
            trader.stop = trader.take = trader.call = 0.0
        elif trader.call > 0.0 and side * (self.mark - trader.call) <= 0.0:
            trader.call = 0.0
            required = self.rules.maintenance * abs(trader.position) * self.mark * self.atoms
            if self.equity(trader) < self.rules.call[1] * required:
                trader.cash += int(trader.collateral * self.rules.call[2])
                trader.topped_up = True

    def _enter(self, trader: Trader, trend: float) -> None:
        trader.entries += 1
        trader.returning = False
        side = trader.side
        if trader.kind == "momentum":
            side = 1 if self.uniform(REENTRY, trader.entries, trader.number, 4) < 0.5 else -1
            if trend != 0.0:
                side = 1 if trend > 0.0 else -1
        trader.cash = max(trader.cash, trader.collateral)
        lots = max(1, math.floor(trader.leverage * trader.collateral / (self.mark * self.atoms)))
        self._fill(trader, side * lots, self.rules.market_limit)
        if trader.position != 0:
            draws = [self.uniform(REENTRY, trader.entries, trader.number, draw) for draw in (2, 3)]
            self._arm(trader, *draws)

    def advance(self, shock: int) -> None:
        """Make one step that begins with ``shock`` lots from somebody else."""
        if shock != 0:
            self._fill(None, shock, None)
        trend = self._trend()
        todo: dict[int, tuple[str, int]] = {
            trader.number: ("answer", 0) for trader in self.traders if self._triggered(trader)
        }
        for load in self.agenda.take(self.step):
            trader = self.traders[load % _RETURN]
            if load >= _RETURN:
                if trader.number in todo:
                    self.agenda.put(self.step + 1, load)
                else:
                    todo[trader.number] = ("enter", 0)
                continue
            wish = self._wake(trader, trader.number in todo, trend)
            if wish is not None:
                todo[trader.number] = wish
        for number in sorted(todo, key=lambda one: self.word(ACTIVATION, self.step, one, 0)):
            trader, (what, lots) = self.traders[number], todo[number]
            self.actions.append((self.step, number, what))
            if what == "answer":
                self._answer(trader)
            elif what == "enter":
                self._enter(trader, trend)
            else:
                self._fill(trader, lots, self.rules.market_limit)
                if trader.position == 0:
                    trader.stop = trader.take = trader.call = 0.0
                elif trader.call > 0.0:
                    trader.call = self._call_price(trader)
        self.mark = self.price
        self.mids.append(self.price)
        self.step += 1
