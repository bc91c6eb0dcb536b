"""Background flow of each kind, order by order, in plain Python. Imports nothing of ours."""

import math
from dataclasses import dataclass

from reference.draws import Draws
from reference.street import IOC, LIMIT, MARKET, SLIDE, TICKS, Message, Street, inward

CAUSE = "background"


@dataclass(frozen=True)
class FixedRateRules:
    """Settings in ticks, lots, seconds and shares; names are those of the scenario."""

    dt: float
    limit_rate: float
    limit_size: float
    distance_scale: float
    distance_tail: float
    distance_cap: float
    lifetime_seconds: float
    value_sensitivity: float
    value_tilt_cap: float
    market_rate: float
    market_size: float
    market_limit: float
    imbalance_strength: float
    imbalance_memory_seconds: float
    patient_orders: int
    patient_size: float
    patient_minimum_distance: float
    patient_distance: float
    patient_lifetime_seconds: float


@dataclass(frozen=True)
class SantaFeRules:
    """Rates per second, of one side; limit orders per tick of the window, cancellations per order."""

    dt: float
    market_rate: float
    limit_rate: float
    cancel_rate: float
    window_ticks: int
    order_size: int


@dataclass(frozen=True)
class QueueRules:
    """Rates per second, of one side; by distance from the opposite best price, cancellations per order."""

    dt: float
    market_rate: float
    limit_rates: tuple[float, ...]
    cancel_rates: tuple[float, ...]
    order_size: int


Rules = FixedRateRules | SantaFeRules | QueueRules


def whole(mean: float, size: float) -> int:
    """Nearest whole number of lots, at least one."""
    return max(1, math.floor(mean * size + 0.5))


class Flow:
    """The crowd of one account; orders that it lets rest have a life that was drawn with them."""

    def __init__(self, draws: Draws, account: int) -> None:
        self.draws, self.account = draws, account
        self.ends: dict[int, list[int]] = {}
        self.seen: set[str] = set()

    def send(self, street: Street, side: int, tick: int, lots: int, kind: int, lifetime: float = 0.0) -> None:
        """Send an order whose life, in steps, ends within the last of the whole steps that it gets."""
        steps = int(lifetime) + 1 if lifetime > 0.0 else 0
        message = Message(self.account, side, tick, lots, kind, CAUSE, steps)
        number, _ = street.send(message)
        if number and steps:
            self.ends.setdefault(street.step + steps, []).append(number)

    def expire(self, street: Street) -> None:
        """Cancel what ends in this step."""
        street.cancel(self.ends.pop(street.step, []))
        street.look(CAUSE)

    def open(self, street: Street) -> None:
        """Place what rests before the first step."""
        raise NotImplementedError

    def act(self, street: Street) -> None:
        """Send the orders of one step."""
        raise NotImplementedError


class FixedRates(Flow):
    """Poisson arrivals that look at no book: limit orders, patient orders, market orders of a persistent imbalance."""

    def __init__(self, rules: FixedRateRules, draws: Draws, account: int) -> None:
        super().__init__(draws, account)
        self.rules = rules
        self.imbalance = 0.0

    def open(self, street: Street) -> None:
        """Place twice the mean number of patient orders of a side."""
        for number in range(2 * self.rules.patient_orders):
            self._patient(street, "PATIENT_STOCK", 0, number)

    def act(self, street: Street) -> None:
        """Send limit orders, patient orders, market orders."""
        rules, draws, step = self.rules, self.draws, street.step
        self.expire(street)
        pull = rules.value_sensitivity * (street.value - street.mid) / street.value
        if abs(pull) > rules.value_tilt_cap:
            self.seen.add("tilted most")
        buying = 0.5 + math.copysign(min(abs(pull), rules.value_tilt_cap), pull)
        for number in range(draws.poisson("LIMIT_COUNT", step, 0, 0, rules.limit_rate * rules.dt)):
            self._limit(street, number, buying)
        arrivals = 2 * rules.patient_orders * rules.dt / rules.patient_lifetime_seconds
        for number in range(draws.poisson("PATIENT_COUNT", step, 0, 0, arrivals)):
            self._patient(street, "PATIENT", step, number)
        memory = math.exp(-rules.dt / rules.imbalance_memory_seconds)
        self.imbalance *= memory
        self.imbalance += math.sqrt(1.0 - memory**2) * draws.normal("IMBALANCE", step, 0, 0)
        buying = 0.5 + 0.5 * math.tanh(rules.imbalance_strength * self.imbalance)
        for number in range(draws.poisson("MARKET_COUNT", step, 0, 0, rules.market_rate * rules.dt)):
            side = 1 if draws.uniform("MARKET", step, number, 0) < buying else -1
            lots = whole(rules.market_size, draws.exponential("MARKET", step, number, 1))
            worst = street.mid * (1.0 + side * rules.market_limit)
            self.send(street, side, inward(worst, side), lots, IOC)

    def _limit(self, street: Street, number: int, buying: float) -> None:
        rules, draws, step = self.rules, self.draws, street.step
        side = 1 if draws.uniform("LIMIT", step, number, 0) < buying else -1
        pareto = draws.uniform("LIMIT", step, number, 1) ** (-1.0 / rules.distance_tail) - 1.0
        away = min(rules.distance_scale * pareto, rules.distance_cap * street.mid)
        if away == rules.distance_cap * street.mid:
            self.seen.add("farthest")
        tick = street.opposite(side) - side * (1 + int(away))
        lots = whole(rules.limit_size, draws.exponential("LIMIT", step, number, 2))
        life = rules.lifetime_seconds / rules.dt * draws.exponential("LIMIT", step, number, 3)
        self.send(street, side, tick, lots, LIMIT, life)

    def _patient(self, street: Street, purpose: str, step: int, number: int) -> None:
        """An order at a distance from the value, that takes from nobody."""
        rules, draws = self.rules, self.draws
        side = 1 if draws.uniform(purpose, step, number, 0) < 0.5 else -1
        away = rules.patient_minimum_distance
        away += rules.patient_distance * draws.exponential(purpose, step, number, 1)
        tick = math.floor(max(0.0, street.value * (1.0 - side * away)) + 0.5)
        lots = whole(rules.patient_size, draws.exponential(purpose, step, number, 2))
        life = rules.patient_lifetime_seconds / rules.dt * draws.exponential(purpose, step, number, 3)
        self.send(street, side, tick, lots, SLIDE, life)


class SantaFe(Flow):
    """Limit orders anywhere in a window behind the opposite best price, market orders, exponential lives."""

    def __init__(self, rules: SantaFeRules, draws: Draws, account: int) -> None:
        super().__init__(draws, account)
        self.rules = rules

    def open(self, street: Street) -> None:
        """Fill the window around the mid with as many orders as rest where nobody takes any."""
        rules, draws, entity = self.rules, self.draws, 0
        for side in (1, -1):
            for level in range(rules.window_ticks):
                tick = int(street.mid) + (-level if side > 0 else 1 + level)
                mean = rules.limit_rate / rules.cancel_rate
                count = draws.poisson("PATIENT_STOCK", 0, entity, 8, mean)
                for _ in range(max(count, int(level == 0))):
                    life = draws.exponential("PATIENT_STOCK", 0, entity, 3) / (rules.cancel_rate * rules.dt)
                    self.send(street, side, tick, rules.order_size, LIMIT, life)
                    entity += 1
                entity += 1

    def act(self, street: Street) -> None:
        """Send the events of one step, of either side and kind as their rates have it."""
        rules, draws, step = self.rules, self.draws, street.step
        self.expire(street)
        limits, markets = rules.limit_rate * rules.window_ticks * rules.dt, rules.market_rate * rules.dt
        for number in range(draws.poisson("LIMIT_COUNT", step, 0, 0, 2.0 * (limits + markets))):
            side = 1 if draws.uniform("SANTA_FE", step, number, 0) < 0.5 else -1
            if draws.uniform("SANTA_FE", step, number, 1) < markets / (limits + markets):
                self.send(street, side, 0, rules.order_size, MARKET)
                continue
            away = 1 + math.floor(rules.window_ticks * draws.uniform("SANTA_FE", step, number, 2))
            life = draws.exponential("SANTA_FE", step, number, 3) / (rules.cancel_rate * rules.dt)
            self.send(street, side, street.opposite(side) - side * away, rules.order_size, LIMIT, life)


class Queues(Flow):
    """Queues that are born and die at rates by distance from the opposite best price, event after event."""

    def __init__(self, rules: QueueRules, draws: Draws, account: int) -> None:
        super().__init__(draws, account)
        self.rules = rules

    def open(self, street: Street) -> None:
        """Place at every distance as many orders as rest where nobody takes any."""
        rules, draws, entity = self.rules, self.draws, 0
        for side in (1, -1):
            for level, (born, gone) in enumerate(zip(rules.limit_rates, rules.cancel_rates, strict=True)):
                tick = int(street.mid) + (-level if side > 0 else 1 + level)
                count = draws.poisson("PATIENT_STOCK", 0, entity, 8, born / gone)
                for _ in range(max(count, int(level == 0))):
                    self.send(street, side, tick, rules.order_size, LIMIT)
                    entity += 1
                entity += 1

    def _at(self, street: Street, side: int, distance: int) -> int | None:
        """Price of one side at a distance from the opposite best, if there is one."""
        opposite = street.book.best(-side)
        return None if opposite is None else opposite - side * distance

    def _queue(self, street: Street, side: int, distance: int) -> list[int]:
        """Numbers of its own orders at that price, oldest first."""
        tick = self._at(street, side, distance)
        if tick is None or not 0 < tick < TICKS:
            return []
        mine = (order for order in street.book.resting if order.owner == self.account)
        return sorted(order.number for order in mine if order.tick == tick)

    def _rates(self, street: Street) -> list[tuple[float, int, str, int]]:
        """Everything that may happen next: its rate, side, what it is, distance."""
        rules, found = self.rules, []
        distances = range(1, len(rules.limit_rates) + 1)
        for side in (1, -1):
            found.append((rules.market_rate, side, "market", 0))
            found += [(rules.limit_rates[d - 1], side, "limit", d) for d in distances]
            found += [
                (rules.cancel_rates[d - 1] * len(self._queue(street, side, d)), side, "cancel", d)
                for d in distances
            ]
        return found

    def act(self, street: Street) -> None:
        """Let one thing after another happen until the step is over."""
        draws, step, number, time = self.draws, street.step, 0, 0.0
        self.expire(street)
        while True:
            rates = self._rates(street)
            total = sum(rate for rate, *_ in rates)
            time += draws.exponential("SANTA_FE", step, number, 0) / total
            if time > self.rules.dt:
                return
            choice = total * draws.uniform("SANTA_FE", step, number, 1)
            self._happen(street, rates, choice, draws.uniform("SANTA_FE", step, number, 2))
            number += 1

    def _happen(
        self, street: Street, rates: list[tuple[float, int, str, int]], choice: float, which: float
    ) -> None:
        size = self.rules.order_size
        for rate, side, what, distance in rates:
            if choice >= rate:
                choice -= rate
                continue
            if what == "market":
                self.send(street, side, 0, size, MARKET)
            elif what == "limit":
                tick = self._at(street, side, distance)
                if tick is not None and tick > 0:
                    self.send(street, side, tick, size, LIMIT)
            else:
                queue = self._queue(street, side, distance)
                street.cancel([queue[int(which * len(queue))]])
                street.look(CAUSE)
            return


def flow(rules: Rules, draws: Draws, account: int) -> Flow:
    """Return the flow that has these rules."""
    if isinstance(rules, FixedRateRules):
        return FixedRates(rules, draws, account)
    return (
        SantaFe(rules, draws, account) if isinstance(rules, SantaFeRules) else Queues(rules, draws, account)
    )
