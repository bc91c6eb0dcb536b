"""Value traders, arbitrage, scheduled shocks and late entrants, order by order, in plain Python. Imports nothing of ours."""

import math
from dataclasses import dataclass
from fractions import Fraction

from reference.draws import Draws
from reference.street import IOC, MARKET, Message, Street, inward


@dataclass(frozen=True)
class ValueRules:
    """Threshold as a share of price, rates in lots per second (and per tick of the gap), the cap in lots."""

    dt: float
    threshold: float
    rate_per_price: float
    rate_cap: float
    position_cap: float
    signal_seconds: float | None
    cause: str


class ValueTrader:
    """Buys below and sells above the value, faster the wider the gap between it and what the trader looks at.

    That is the mid, or its average over ``signal_seconds``. Fractions of a lot wait for the next step.
    """

    def __init__(self, rules: ValueRules, account: int, price: float) -> None:
        self.rules, self.account = rules, account
        self.average = price
        self.carry = 0.0
        self.seen: set[str] = set()

    def end_step(self, mid: float) -> None:
        """Renew the average mid."""
        if self.rules.signal_seconds is not None:
            weight = 1.0 - math.exp(-self.rules.dt / self.rules.signal_seconds)
            self.average += weight * (mid - self.average)

    def act(self, street: Street) -> None:
        """Trade towards the value, never through it."""
        rules = self.rules
        signal = street.mid if rules.signal_seconds is None else self.average
        gap = abs(street.value - signal) - rules.threshold * street.value
        if gap <= 0.0 or rules.rate_per_price == 0.0 or street.halted:
            return
        speed = min(rules.rate_per_price * gap, rules.rate_cap)
        lots = math.floor(self.carry + speed * rules.dt)
        self.carry += speed * rules.dt - lots
        side = 1 if street.value > signal else -1
        room = math.floor(rules.position_cap) - side * street.positions.get(self.account, 0)
        self.seen.add("buys" if side > 0 else "sells")
        if speed == rules.rate_cap:
            self.seen.add("fastest")
        if room < lots:
            self.seen.add("full")
        limit = inward(street.value, side)
        street.send(Message(self.account, side, limit, min(lots, room), IOC, rules.cause))


@dataclass(frozen=True)
class ShockRules:
    """Lots in all, the side, seconds."""

    dt: float
    quantity: int
    side: int
    at_seconds: float
    duration_seconds: float
    placebo: bool


class Shock:
    """Market orders spread over some steps, whose sum so far is never more than a lot off its even share."""

    def __init__(self, rules: ShockRules, account: int) -> None:
        self.rules, self.account = rules, account
        self.done = 0
        self.begins = False

    def act(self, street: Street) -> None:
        """Send what is due; while trading is halted the schedule waits."""
        rules = self.rules
        first = round(rules.at_seconds / rules.dt)
        steps = max(1, round(rules.duration_seconds / rules.dt))
        self.begins = False
        if street.halted or street.step < first or self.done == steps:
            return
        self.begins = self.done == 0
        so_far, after = (rules.quantity * k // steps for k in (self.done, self.done + 1))
        extra = 1 if rules.placebo and self.begins else 0
        self.done += 1
        street.send(Message(self.account, rules.side, 0, after - so_far + extra, MARKET, "shock"))


@dataclass(frozen=True)
class EntrantRules:
    """Lots, shares and seconds; names are those of the scenario."""

    dt: float
    run_seconds: float
    count: int
    lots: int
    after_shock_share: float
    shock_seconds: float
    window_seconds: float
    inverse_leverage: tuple[float, float]
    trend_seconds: float
    trend_probability: float
    trend_saturation: float
    market_limit: float
    atoms: int


@dataclass
class Entrant:
    """One account that comes late; ``inverse`` is collateral over notional."""

    number: int
    step: int
    lots: int
    inverse: float


class Entrants:
    """Accounts that come during the run and take the side of the recent trend, most of them.

    They share a number of lots by exponential weights; most come within a window that begins with the shock.
    """

    def __init__(self, rules: EntrantRules, draws: Draws, first_account: int) -> None:
        self.rules, self.draws, self.first_account = rules, draws, first_account
        self.mids: dict[int, float] = {}
        self.stood_still = 0
        self.collateral: dict[int, int] = {}
        self.seen: set[str] = set()
        self.all = sorted(self._drawn(), key=lambda one: (one.step, one.number))

    def _drawn(self) -> list[Entrant]:
        rules, draws, found = self.rules, self.draws, []
        weights = [draws.exponential("ENTRANT", 0, number, 2) for number in range(rules.count)]
        total, so_far, given = sum(weights), 0.0, 0
        for number in range(rules.count):
            seconds = draws.uniform("ENTRANT", 0, number, 1)
            if draws.uniform("ENTRANT", 0, number, 0) < rules.after_shock_share:
                window = min(rules.window_seconds, max(0.0, rules.run_seconds - rules.shock_seconds))
                seconds = rules.shock_seconds + seconds * window
            else:
                seconds *= rules.run_seconds
            so_far += weights[number]
            upto = math.floor(so_far / total * rules.lots + 0.5) if number < rules.count - 1 else rules.lots
            low, high = rules.inverse_leverage
            inverse = low + (high - low) * draws.uniform("ENTRANT", 0, number, 3)
            found.append(Entrant(number, math.floor(seconds / rules.dt), upto - given, inverse))
            given = upto
        return found

    def end_step(self, step: int, mid: float) -> None:
        """Remember the mid."""
        self.mids[step] = mid

    def act(self, street: Street) -> None:
        """Let those enter whose time has come; it stands still while trading is halted."""
        rules = self.rules
        self.collateral = {}
        if street.step < 0:
            return
        self.stood_still += street.halted
        while self.all and self.all[0].step <= street.step - self.stood_still:
            entrant = self.all.pop(0)
            account = self.first_account + entrant.number
            side = self._side(street, entrant)
            limit = inward(street.mid * (1.0 + side * rules.market_limit), side)
            worth = entrant.lots * street.mid * rules.atoms
            self.collateral[account] = int(worth * entrant.inverse) + 1
            street.send(Message(account, side, limit, entrant.lots, IOC, "speculation"))

    def _side(self, street: Street, entrant: Entrant) -> int:
        rules = self.rules
        past = self.mids.get(street.step - max(1, round(rules.trend_seconds / rules.dt)))
        trend = math.log(street.mid / past) if past is not None else 0.0
        strength = min(1.0, max(-1.0, trend / rules.trend_saturation))
        drawn = self.draws.uniform("ENTRANT", 0, entrant.number, 4)
        side = 1 if drawn < 0.5 + rules.trend_probability * strength else -1
        if side == (1 if drawn < 0.5 else -1):
            self.seen.add("as drawn")
        else:
            self.seen.add("turned by a rise" if trend > 0.0 else "turned by a fall")
        return side


@dataclass(frozen=True)
class CrossRules:
    """Arbitrage between two markets: prices in quote currency, quantities in lots of the market that this is about."""

    dt: float
    threshold: float
    rate_per_price: float
    rate_cap: float
    position_cap: float
    tick: float
    lot: float
    other_tick: float
    other_lot: float


class CrossArbitrage:
    """Buys in one market while the other is dearer, sells as much there, and the other way round."""

    def __init__(self, rules: CrossRules, account: int, other_account: int) -> None:
        self.rules, self.account, self.other_account = rules, account, other_account
        self.carry, self.open = 0.0, Fraction(0)
        # Lots are decimal numbers: as those they have a ratio.
        self.ratio = Fraction(str(rules.lot)) / Fraction(str(rules.other_lot))
        self.seen: set[str] = set()

    def act(self, here: Street, there: Street) -> None:
        """Trade here, then there what was filled here; both mids must be those of now."""
        rules = self.rules
        if here.one_sided or there.one_sided:
            return
        price, other = here.mid * rules.tick, there.mid * rules.other_tick
        gap = abs(other - price) - rules.threshold * price
        if gap <= 0.0:
            return
        speed = min(rules.rate_per_price * gap, rules.rate_cap)
        lots = math.floor(self.carry + speed * rules.dt)
        self.carry += speed * rules.dt - lots
        side = 1 if other > price else -1
        room = math.floor(rules.position_cap) - side * here.positions.get(self.account, 0)
        self.seen.add("buys" if side > 0 else "sells")
        if room < lots:
            self.seen.add("full")
        if min(lots, room) <= 0:
            return
        limit = inward(other / rules.tick, side)
        order = Message(self.account, side, limit, min(lots, room), IOC, "arbitrage")
        _, filled = here.send(order)
        # What is bought here is sold there, in whole lots of its own; the rest is sold with the next.
        self.open += side * filled * self.ratio
        hedge = int(self.open)
        other_side = -1 if hedge > 0 else 1
        _, sold = there.send(Message(self.other_account, other_side, 0, abs(hedge), MARKET, "arbitrage"))
        self.open += other_side * sold
