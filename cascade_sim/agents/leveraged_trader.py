"""Leveraged traders: a population drawn at the start, and late entrants who follow the trend."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.agents.base import Cohort, Opening
from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.core import layout as lay
from cascade_sim.core.ledger import refresh_all_triggers
from cascade_sim.core.margin import liquidation_prices
from cascade_sim.core.rng import PURPOSE_ENTRANT, PURPOSE_TRADER, fill_normal, fill_uniform
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.scenario import Scenario

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def entrant_count(scenario: Scenario) -> int:
    """Return how many of the traders enter late."""
    if scenario.traders.entrants.quantity <= 0.0:
        return 0
    return round(scenario.traders.count * scenario.traders.entrants.share)


def split_total(weights: Floats, total: int) -> Integers:
    """Split ``total`` lots in proportion to ``weights`` (n,); the parts are whole and sum to it exactly."""
    if len(weights) == 0:
        return np.zeros(0, np.int64)
    edges = np.floor(np.cumsum(weights) / weights.sum() * total + 0.5).astype(np.int64)
    edges[-1] = total
    parts: Integers = np.diff(edges, prepend=0).astype(np.int64)
    return parts


class LeveragedTraders(Cohort):
    """Isolated-margin accounts: size lognormal, inverse leverage uniform or from real brackets."""

    account_class = AccountClass.LEVERAGED_TRADER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Traders present at the start."""
        return scenario.traders.count - entrant_count(scenario)

    def draw(self, opening: Opening, draw: int, normal: bool = False) -> Floats:
        """One number per trader, addressed by the trader's own index."""
        out = np.empty(self.count)
        fill: Any = fill_normal if normal else fill_uniform
        fill(out, opening.state.world.config.seed, PURPOSE_TRADER, 0, 0, draw)
        return out

    def open(self, opening: Opening) -> None:
        """Draw the population and open its positions against the holders."""
        brackets = opening.brackets
        traders = opening.scenario.traders
        opening.state.world.config.traders.count = self.count
        if self.count == 0 or traders.open_interest <= 0.0:
            return
        lots = self._sizes(opening)
        spread = 1.0 + traders.entry_spread * self.draw(opening, 3, normal=True)
        entry: Integers = np.maximum(np.round(opening.initial_tick * spread), 1.0).astype(np.int64)
        inverse = self._inverse_leverage(opening, np.abs(lots) * entry, brackets)
        entry = self._margin_anew(opening, lots, entry, inverse)
        atoms = opening.instrument.atoms_per_tick_lot
        collateral = np.ceil(inverse * np.abs(lots) * entry * atoms).astype(np.int64)
        opening.deposit(self.accounts, collateral)
        opening.open_positions(self.accounts, lots, entry)
        rows = opening.state.accounts
        rows["traits"][self.accounts] = lay.FLAG_MARGINED | lay.FLAG_ACTIVE
        refresh_all_triggers(opening.state.world, rows, opening.state.watch)
        self._open_stops(opening, lots, entry)
        self._open_top_ups(opening, lots, collateral)

    def _sizes(self, opening: Opening) -> Integers:
        """Signed lots whose sums per side are exactly the scenario's."""
        traders = opening.scenario.traders
        total = round(opening.lots(traders.open_interest))
        worth = float(total) * opening.initial_tick * opening.instrument.atoms_per_tick_lot
        if worth > lay.LARGEST_CASH:
            most = lay.LARGEST_CASH / ATOMS_PER_UNIT
            expected = f"a notional of at most {most:.3g} in quote currency"
            raise ScenarioError(expectation("traders.open_interest", expected, traders.open_interest))
        with np.errstate(over="ignore"):
            weights = np.exp(traders.size_dispersion * self.draw(opening, 1, normal=True))
        if not (np.isfinite(weights).all() and weights.min() > 0.0):
            expected = "a dispersion that leaves every size finite"
            raise ScenarioError(expectation("traders.size_dispersion", expected, traders.size_dispersion))
        longs = self.draw(opening, 0) < traders.long_share
        wanted = round(total * traders.long_share)
        if wanted > 0 and not longs.any():
            longs[0] = True
        if wanted < total and longs.all():
            longs[-1] = False
        lots = np.zeros(self.count, np.int64)
        lots[longs] = split_total(weights[longs], wanted)
        lots[~longs] = -split_total(weights[~longs], total - wanted)
        return lots

    def _inverse_leverage(
        self, opening: Opening, tick_lots: Integers, brackets: BracketTable | None
    ) -> Floats:
        traders = opening.scenario.traders
        low, high = traders.inverse_leverage
        uniform = self.draw(opening, 5)
        if brackets is None:
            return low + (high - low) * uniform
        notional = tick_lots * opening.instrument.tick_size * opening.instrument.lot_size
        floor = np.maximum(brackets.initial_rate(notional), traders.brackets.minimum_inverse_leverage)
        least = np.maximum(low, floor)
        return least + np.maximum(high - least, 0.0) * uniform

    def _margin_anew(self, opening: Opening, lots: Integers, entry: Integers, inverse: Floats) -> Integers:
        """Move entries whose liquidation price would lie too near the initial price to the initial price."""
        traders, clearing = opening.scenario.traders, opening.state.world.config.clearing
        tiers = int(clearing.tiers)
        start = opening.initial_tick
        atoms = opening.instrument.atoms_per_tick_lot
        position = (lots * atoms).astype(np.float64)
        cash = inverse * np.abs(position) * entry - position * entry
        price = liquidation_prices(
            position, cash, clearing.tier_rate[:tiers], clearing.tier_deduction[:tiers]
        )
        side = np.where(lots > 0, 1.0, -1.0)
        near = side * (start - price) / start < traders.nearest_trigger_share * traders.inverse_leverage[0]
        return np.where(near & (lots != 0), start, entry)

    def _open_stops(self, opening: Opening, lots: Integers, entry: Integers) -> None:
        stop = opening.scenario.traders.stop_loss
        holders = (self.draw(opening, 7) < stop.share) & (lots != 0)
        if not holders.any():
            return
        opening.state.world.config.traders.stops = 1
        distance = stop.distance_low + (stop.distance_high - stop.distance_low) * self.draw(opening, 8)
        watch, bound = opening.state.watch, opening.state.world.watch_bound
        longs, shorts = holders & (lots > 0), holders & (lots < 0)
        watch[lay.WATCH_STOP_LONG, self.accounts[longs]] = (entry * (1.0 - distance))[longs]
        watch[lay.WATCH_STOP_SHORT, self.accounts[shorts]] = (entry * (1.0 + distance))[shorts]
        bound[lay.WATCH_STOP_LONG] = watch[lay.WATCH_STOP_LONG].max()
        bound[lay.WATCH_STOP_SHORT] = watch[lay.WATCH_STOP_SHORT].min()

    def _open_top_ups(self, opening: Opening, lots: Integers, collateral: Integers) -> None:
        """Trigger of a margin call: the price at which equity is ``trigger_ratio`` times the maintenance margin."""
        top_up = opening.scenario.traders.top_up
        willing = (self.draw(opening, 9) < top_up.share) & (lots != 0)
        config = opening.state.world.config
        if not willing.any():
            return
        config.traders.top_ups = 1
        config.traders.top_up_ratio = top_up.trigger_ratio
        config.traders.top_up_share = top_up.amount
        tiers = int(config.clearing.tiers)
        rates = config.clearing.tier_rate[:tiers] * top_up.trigger_ratio
        deductions = config.clearing.tier_deduction[:tiers] * top_up.trigger_ratio
        position = (lots * opening.instrument.atoms_per_tick_lot).astype(np.float64)
        cash = opening.state.accounts["cash"][self.accounts].astype(np.float64)
        price = liquidation_prices(position, cash, rates, deductions)
        watch, bound = opening.state.watch, opening.state.world.watch_bound
        longs, shorts = willing & (lots > 0), willing & (lots < 0)
        watch[lay.WATCH_TOP_UP_LONG, self.accounts[longs]] = price[longs]
        watch[lay.WATCH_TOP_UP_SHORT, self.accounts[shorts]] = price[shorts]
        bound[lay.WATCH_TOP_UP_LONG] = watch[lay.WATCH_TOP_UP_LONG].max()
        bound[lay.WATCH_TOP_UP_SHORT] = watch[lay.WATCH_TOP_UP_SHORT].min()


class TrendFollowers(Cohort):
    """Late entrants: highly leveraged accounts that open a position during the run, in the direction of the trend."""

    account_class = AccountClass.TREND_FOLLOWER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Accounts that enter late."""
        return entrant_count(scenario)

    def open(self, opening: Opening) -> None:
        """Draw arrival, size and leverage of each; nothing is opened yet."""
        scenario, config = opening.scenario, opening.state.world.config.traders
        entrants = scenario.traders.entrants
        config.trend_steps = opening.steps(entrants.trend_seconds)
        if config.trend_steps >= lay.MID_RING:
            raise ScenarioError(
                expectation(
                    "traders.entrants.trend_seconds",
                    f"fewer than {lay.MID_RING} steps",
                    int(config.trend_steps),
                )
            )
        config.trend_probability = entrants.trend_probability
        config.trend_saturation = entrants.trend_saturation
        config.market_limit = 0.02
        config.first_account = self.first_account
        if self.count == 0:
            return
        draws = np.empty((4, self.count))
        for draw in range(4):
            fill_uniform(draws[draw], opening.state.world.config.seed, PURPOSE_ENTRANT, 0, 0, draw)
        duration = scenario.run.duration_seconds
        start = scenario.shock.at_seconds
        window = min(entrants.window_seconds, max(0.0, duration - start))
        late = draws[0] < entrants.after_shock_share
        arrival = np.where(late, start + draws[1] * window, draws[1] * duration)
        low, high = entrants.inverse_leverage
        rows = np.zeros(self.count, lay.TRADER)
        rows["arrival_step"] = np.floor(arrival / scenario.run.dt)
        rows["account"] = self.accounts
        rows["quantity"] = split_total(-np.log(draws[2]), round(opening.lots(entrants.quantity)))
        rows["inverse_leverage"] = low + (high - low) * draws[3]
        opening.state.traders[:] = rows[np.argsort(rows["arrival_step"], kind="stable")]
        opening.state.accounts["traits"][self.accounts] = lay.FLAG_MARGINED | lay.FLAG_LATE
