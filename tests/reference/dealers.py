"""Options dealers, one after another, in plain Python: whose clock strikes, and what each sends. Imports nothing of ours."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from reference.draws import Draws
from reference.street import IOC, Message, Street

YEAR = 365.0 * 86_400.0


class Option(NamedTuple):
    """Strike in ticks, years to expiry at step 0, volatility, forward over the underlying, whether it is a call."""

    strike: float
    years: float
    volatility: float
    forward_ratio: float
    is_call: bool

    def delta(self, price: float, seconds: float) -> float:
        """Delta by Black (1976) in lots of the underlying."""
        forward, years = price * self.forward_ratio, self.years - max(0.0, seconds) / YEAR
        deviation = self.volatility * math.sqrt(years)
        upper = math.log(forward / self.strike) / deviation + 0.5 * deviation
        call = 0.5 * math.erfc(-upper / math.sqrt(2.0))
        return self.forward_ratio * (call if self.is_call else call - 1.0)


@dataclass(frozen=True)
class DealerRules:
    """Seconds, lots, share of price."""

    dt: float
    count: int
    interval_seconds: float
    mark_seconds: float
    band: float
    price_limit: float
    hedging: bool


class Dealers:
    """All dealers; each holds some of every option."""

    def __init__(
        self,
        rules: DealerRules,
        draws: Draws,
        first_account: int,
        options: list[Option],
        inventories: list[list[float]],
        price: float,
    ) -> None:
        self.rules, self.draws, self.first_account = rules, draws, first_account
        self.options, self.inventories = options, inventories
        self.average = price
        self.under_way = [0] * rules.count
        self.deltas: dict[int, float] = {}
        self.seen: set[str] = set()

    def end_step(self, mid: float) -> None:
        """Renew the average mid at which they compute their deltas."""
        seconds = self.rules.mark_seconds
        weight = 1.0 - math.exp(-self.rules.dt / seconds) if seconds > 0.0 else 1.0
        self.average += weight * (mid - self.average)

    def _strikes(self, number: int, step: int) -> bool:
        """Whether a whole number of intervals of the dealer's clock has passed since the step before."""
        rules = self.rules
        time = step * rules.dt + number * rules.interval_seconds / rules.count
        now, before = (math.floor(at / rules.interval_seconds) for at in (time, time - rules.dt))
        return now > before

    def act(self, street: Street) -> None:
        """Let those hedge whose clocks strike: their delta less what they hold or have sent for."""
        rules, step = self.rules, street.step
        self.deltas = {}
        if step < 0 or street.halted or not rules.hedging:
            return
        due = [number for number in range(rules.count) if self._strikes(number, step)]
        for number in sorted(due, key=lambda one: self.draws.word("ROTATION", step, one, 0)):
            held = self.inventories[number]
            seconds = step * rules.dt
            delta = sum(
                lots * option.delta(self.average, seconds)
                for lots, option in zip(held, self.options, strict=True)
            )
            self.deltas[number] = delta
            account = self.first_account + number
            target = -math.floor(delta + 0.5)
            gap = target - street.positions.get(account, 0) - self.under_way[number]
            if abs(gap) < max(1.0, rules.band):
                self.seen.add("within the band")
                continue
            side = 1 if gap > 0 else -1
            self.seen.add("buys" if side > 0 else "sells")
            limit = street.mid + side * (street.mid * rules.price_limit)
            limit = math.floor(limit) if side > 0 else math.ceil(limit)
            if "delta_hedge" in street.late:
                self.under_way[number] += gap
            street.send(Message(account, side, limit, abs(gap), IOC, "delta_hedge"))
