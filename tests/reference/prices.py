"""Index, impact prices and funding in plain Python: lists, dictionaries and fractions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class Source:
    """One source of an index; times in steps, ``market`` None for the fundamental."""

    start: float
    market: int | None = None
    scale: float = 1.0
    weight: float = 1.0
    delay: int = 0
    update: int = 1
    deviation: float = 0.0
    noise: float = 0.0
    noise_steps: int = 1
    outages: Sequence[tuple[int, int]] = ()
    value: float = field(init=False)
    published: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin with the price at the start."""
        self.value = self.start


@dataclass
class Index:
    """An index over sources; ``normal(block, number)`` gives the draws of their errors."""

    sources: Sequence[Source]
    value: float
    first_step: int
    normal: Callable[[int, int], float]
    median: bool = False
    clamp: float = 0.03
    stale: int = 0
    history: dict[tuple[int | None, int], float] = field(default_factory=dict)
    halted: set[int] = field(default_factory=set, init=False)

    def step(
        self, step: int, fundamental: float, mids: Sequence[float], halted: Sequence[bool] = ()
    ) -> float:
        """Take in one step's prices and return the index; a source whose market is halted publishes nothing."""
        self.halted = {market for market, stands in enumerate(halted) if stands}
        self.history[None, step] = fundamental
        for market, mid in enumerate(mids):
            self.history[market, step] = mid
        for number, source in enumerate(self.sources):
            self._publish(number, source, step)
        live = [(source.value, source.weight) for source in self.sources if self._is_live(source, step)]
        live.sort(key=lambda pair: pair[0])
        if live:
            self.value = self._combined(live)
        return self.value

    def _publish(self, number: int, source: Source, step: int) -> None:
        if source.market in self.halted or any(first <= step < end for first, end in source.outages):
            return
        seen = step - source.delay
        if (source.market, seen) not in self.history:
            return
        price = self.history[source.market, seen] * source.scale
        if source.noise:
            price *= 1.0 + source.noise * self.normal(seen // source.noise_steps, number)
        since = math.inf if source.published is None else step - source.published
        moved = source.deviation and abs(price - source.value) > source.deviation * source.value
        if since >= source.update or moved:
            source.value, source.published = price, step

    def _is_live(self, source: Source, step: int) -> bool:
        published = source.published
        if published is None:
            published = self.first_step - source.update
        return source.weight > 0.0 and (not self.stale or step - published <= self.stale)

    def _combined(self, live: list[tuple[float, float]]) -> float:
        middle = weighted_median(live)
        if self.median:
            return middle
        limit = self.clamp * middle
        held = [weight * max(-limit, min(limit, value - middle)) for value, weight in live]
        return middle + math_sum(held) / math_sum([weight for _, weight in live])


def math_sum(numbers: Sequence[float]) -> float:
    """Add from left to right, one rounding each."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """Median of (value, weight) pairs, ascending: where half of the weight is reached."""
    half, reached = 0.5 * math_sum([weight for _, weight in pairs]), 0.0
    for place, (value, weight) in enumerate(pairs[:-1]):
        reached += weight
        if reached == half:
            return 0.5 * (value + pairs[place + 1][0])
        if reached > half:
            return value
    return pairs[-1][0]


def rounded(amount: Fraction) -> int:
    """Nearest integer, half up."""
    return math.floor(amount + Fraction(1, 2))


def funding_payments(positions: Sequence[int], unit: float) -> tuple[list[int], int]:
    """Atoms that each position pays at ``unit`` atoms a lot (taken to 2**-31 atoms), and the residue, paid less received."""
    per_lot = Fraction(rounded(Fraction(unit) * 2**31), 2**31)
    payments = [rounded(position * per_lot) for position in positions]
    return payments, sum(payments)


def funding_rates(
    premiums: Sequence[float], *, share: float, interest: float, clamp: float, cap: float, linear: bool
) -> list[Fraction]:
    """Exact estimates of an interval's rate after each of its premiums."""
    rates = []
    for count in range(1, len(premiums) + 1):
        weights = [Fraction(k + 1 if linear else 1) for k in range(count)]
        total = sum((weight * Fraction(p) for weight, p in zip(weights, premiums, strict=False)), Fraction())
        average = total / sum(weights)
        gap = max(-Fraction(clamp), min(Fraction(clamp), Fraction(interest) - average))
        rate = Fraction(share) * (average + gap)
        rates.append(max(-Fraction(cap), min(Fraction(cap), rate)))
    return rates


def average_price(levels: Sequence[tuple[int, int]], value: int) -> Fraction | None:
    """Average price of spending ``value`` (ticks x lots) over (tick, lots), best first; None when they hold less."""
    left, lots = Fraction(value), Fraction()
    for tick, quantity in levels:
        taken = min(Fraction(quantity), left / tick)
        lots += taken
        left -= taken * tick
        if left == 0:
            return Fraction(value) / lots
    return None
