"""Liquidity providers, one after another, in plain Python: what each of them sends in a round of quotes.

A provider quotes a ladder around its private centre, which is the value it believes in, shifted against its inventory.
Quotes never lie nearer to the centre than they were meant to. Under stress, volatility over its reference, ladders widen
and shrink and lean more; a provider that has lost too much from its peak stays out for a while. Imports nothing of ours.
"""

import math
from dataclasses import dataclass, field

from reference.draws import Draws
from reference.street import SLIDE, Cancellation, Message, Street


@dataclass(frozen=True)
class ProviderRules:
    """Settings in ticks, lots, atoms and seconds; names are those of the scenario."""

    count: int
    levels: int
    dt: float
    half_spread: float
    half_spread_dispersion: float
    level_growth: float
    size: float
    size_growth: float
    impact_per_lot: float
    skew_volatility_exponent: float
    skew_volatility_cap: float
    reference_volatility: float
    volatility_smoothing_seconds: float
    volatility_return_seconds: float
    volatility_half_life_seconds: float
    requote_seconds: float
    withdrawal_threshold: float
    withdrawal_dispersion: float
    withdrawal_exponent: float
    minimum_size_share: float
    return_seconds: float
    spread_volatility_exponent: float
    belief_noise: float
    belief_noise_seconds: float
    fundamental_weight: float
    own_average_seconds: float
    inventory_limit: float
    loss_limit: float
    loss_limit_dispersion: float
    loss_pause_seconds: float
    withdrawal: bool


@dataclass
class Provider:
    """One provider; ``share`` of full size, ``out_until`` the step in which it may come back."""

    number: int
    account: int
    half_spread: float
    threshold: float
    loss_limit: int
    peak: int
    share: float = 1.0
    out: bool = False
    out_until: int = -(10**9)
    quotes: list[int] = field(default_factory=list)


class Providers:
    """All providers of a market, with what they remember.

    Parameters
    ----------
    rules : ProviderRules
    draws : Draws
    first_account : int
    capital : int
        Equity of each at the start, in atoms.
    price : float
        Mid at the start.

    Attributes
    ----------
    happened : list of (int, str, int, int)
        Step, "withdrawal" or "return", account, what it had lost in atoms.
    seen : set of str
        What the market made providers do, for tests that want to have seen all of it.
    """

    def __init__(
        self, rules: ProviderRules, draws: Draws, first_account: int, capital: int, price: float
    ) -> None:
        self.rules, self.draws = rules, draws
        self.smooth = self.own_average = self.quoted_value = price
        self.smoothed: dict[int, float] = {}
        self.variance = 0.0
        self.happened: list[tuple[int, str, int, int]] = []
        self.seen: set[str] = set()

        def around(mean: float, width: float, number: int, draw: int) -> float:
            return mean * (1.0 + width * (2.0 * draws.uniform("PROVIDER", 0, number, draw) - 1.0))

        self.all = [
            Provider(
                number,
                first_account + number,
                around(rules.half_spread, rules.half_spread_dispersion, number, 0),
                around(rules.withdrawal_threshold, rules.withdrawal_dispersion, number, 1),
                round(around(rules.loss_limit, rules.loss_limit_dispersion, number, 2)),
                capital,
            )
            for number in range(rules.count)
        ]

    def stress(self, step: int, mid: float) -> float:
        """Volatility of the smoothed mid over its reference; renewed once a step."""
        rules = self.rules
        self.smooth += (mid - self.smooth) * (1.0 - math.exp(-rules.dt / rules.volatility_smoothing_seconds))
        self.smoothed[step] = self.smooth
        back = max(1, round(rules.volatility_return_seconds / rules.dt))
        if step - back in self.smoothed:
            squared = math.log(self.smooth / self.smoothed[step - back]) ** 2 / (back * rules.dt)
            memory = 0.5 ** (rules.dt / rules.volatility_half_life_seconds)
            self.variance = memory * self.variance + (1.0 - memory) * squared
        return math.sqrt(self.variance) / rules.reference_volatility

    def end_step(self, mid: float) -> None:
        """Renew their average of the mid, in which the mid of this step counts in the next."""
        weight = 1.0 - math.exp(-self.rules.dt / self.rules.own_average_seconds)
        self.own_average += weight * (mid - self.own_average)

    def act(self, street: Street, equity: dict[int, int]) -> None:
        """Send a round of quotes if one is due; ``equity`` in atoms by account."""
        rules = self.rules
        if not self.all:
            return
        stress = self.stress(street.step, street.mid)
        if street.step % self._round_steps():
            return
        for provider in self.all if rules.withdrawal else []:
            self._count_losses(provider, equity[provider.account], street)
        street.look("withdrawal")
        before = street.mid
        for provider in self.all:
            if not provider.out:
                self._cancel(provider, street, "quote_revision")
        turn = sorted(self.all, key=lambda one: self.draws.word("ORDERING", street.step, one.number, 0))
        for provider in turn:
            if not provider.out:
                self._quote(provider, street, stress)
        street.look("quote_revision")
        news = rules.fundamental_weight * (street.value - self.quoted_value)
        self.quoted_value = street.value
        if street.mid != before and "quote" not in street.late:
            street.moves["news"] = street.moves.get("news", 0.0) + news
            street.moves["quote_revision"] -= news

    def _round_steps(self) -> int:
        return max(1, round(self.rules.requote_seconds / self.rules.dt))

    def _count_losses(self, provider: Provider, equity: int, street: Street) -> None:
        """Let a provider go that has lost more than its limit since its peak, and come back when its time is over."""
        if street.step < provider.out_until:
            return
        if provider.out:
            provider.out, provider.peak = False, equity
            self.happened.append((street.step, "return", provider.account, 0))
        provider.peak = max(provider.peak, equity)
        if provider.peak - equity > provider.loss_limit:
            provider.out = True
            provider.out_until = street.step + round(self.rules.loss_pause_seconds / self.rules.dt)
            lost = provider.peak - equity
            self.happened.append((street.step, "withdrawal", provider.account, lost))
            self._cancel(provider, street, "withdrawal")

    def _cancel(self, provider: Provider, street: Street, bucket: str) -> None:
        if "quote" in street.late:
            street.sent.append(Cancellation(provider.account, bucket))
            return
        street.cancel(provider.quotes)
        provider.quotes = []

    def _size(self, provider: Provider, stress: float) -> float:
        """Share of full size: what stress leaves, at once; it comes back slowly."""
        rules = self.rules
        if not rules.withdrawal:
            return 1.0
        left = 1.0
        if stress > provider.threshold:
            left = max(rules.minimum_size_share, (provider.threshold / stress) ** rules.withdrawal_exponent)
            self.seen.add("shrunk")
        if left >= provider.share:
            seconds = rules.dt * self._round_steps()
            left = left + (provider.share - left) * math.exp(-seconds / rules.return_seconds)
        provider.share = left
        return left

    def _quote(self, provider: Provider, street: Street, stress: float) -> None:
        rules, account = self.rules, provider.account
        factor = max(1.0, stress) if rules.withdrawal else 1.0
        widened = factor**rules.spread_volatility_exponent
        leaning = min(rules.skew_volatility_cap, factor**rules.skew_volatility_exponent)
        if factor > 1.0:
            self.seen.add("stressed")
        if leaning == rules.skew_volatility_cap > 1.0:
            self.seen.add("skew capped")
        inventory = street.positions.get(account, 0)
        epoch = math.floor(street.step * rules.dt / rules.belief_noise_seconds)
        error = rules.belief_noise * self.draws.normal("BELIEF", epoch, provider.number, 0)
        weight = rules.fundamental_weight
        belief = (weight * street.value + (1.0 - weight) * self.own_average) * (1.0 + error)
        # Impact per lot that all hold together: each moves by as much as if everybody had traded as it did.
        centre = belief - rules.impact_per_lot * rules.count * leaning * inventory
        size = self._size(provider, stress)
        fullness = inventory / rules.inventory_limit
        bids, asks = (size * min(1.0, max(0.0, 1.0 - sign * fullness)) for sign in (1, -1))
        if abs(fullness) >= 1.0:
            self.seen.add("full")
        for level in range(rules.levels):
            away = provider.half_spread * widened * rules.level_growth**level
            full = rules.size * rules.size_growth**level
            for side, share in ((1, bids), (-1, asks)):
                tick = math.floor(centre - away) if side > 0 else math.ceil(centre + away)
                lots = math.floor(full * share + 0.5)
                if tick >= 1 and lots >= 1:
                    message = Message(account, side, tick, lots, SLIDE, "quote")
                    number, _ = street.send(message, looks=False)
                    if number:
                        provider.quotes.append(number)
