"""Leveraged traders: a population drawn at the start, and late entrants who follow the trend."""

from cascade_sim.agents.activity import configure_activity
from cascade_sim.agents.base import Opening, Population
from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.scenario import Scenario


def entrant_count(scenario: Scenario) -> int:
    """Return how many of the traders enter late."""
    if scenario.traders.entrants.quantity <= 0.0:
        return 0
    return round(scenario.traders.count * scenario.traders.entrants.share)


class LeveragedTraders(Population):
    """Isolated-margin accounts: size lognormal, inverse leverage uniform or from real brackets."""

    account_class = AccountClass.LEVERAGED_TRADER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Traders present at the start."""
        return scenario.traders.count - entrant_count(scenario)

    def open(self, opening: Opening) -> None:
        """Say what the population is drawn from; it opens its positions against the holders."""
        traders, plan = opening.scenario.traders, opening.plan.traders
        opening.state.world.config.traders.count = self.count
        if self.count == 0 or traders.open_interest <= 0.0:
            return
        plan.first_account, plan.accounts = self.first_account, self.count
        plan.lots = self._total(opening)
        plan.long_lots = round(int(plan.lots) * traders.long_share)
        plan.long_share = traders.long_share
        plan.size_dispersion, plan.entry_spread = traders.size_dispersion, traders.entry_spread
        plan.inverse_low, plan.inverse_high = traders.inverse_leverage
        plan.nearest_trigger = traders.nearest_trigger_share * traders.inverse_leverage[0]
        plan.tick_size, plan.lot_size = opening.instrument.tick_size, opening.instrument.lot_size
        if opening.brackets is not None:
            plan.brackets = len(opening.brackets.max_notional)
            plan.bracket_end[: int(plan.brackets)] = opening.brackets.max_notional
            plan.bracket_rate[: int(plan.brackets)] = 1.0 / opening.brackets.max_leverage
            plan.least_inverse = traders.brackets.minimum_inverse_leverage
        configure_activity(opening, self.first_account, self.count)

    def _total(self, opening: Opening) -> int:
        """Lots of all positions together."""
        traders = opening.scenario.traders
        total = round(opening.lots(traders.open_interest))
        worth = float(total) * opening.initial_tick * opening.instrument.atoms_per_tick_lot
        if worth > lay.LARGEST_CASH:
            most = lay.LARGEST_CASH / ATOMS_PER_UNIT
            expected = f"a notional of at most {most:.3g} in quote currency"
            raise ScenarioError(expectation("traders.open_interest", expected, traders.open_interest))
        return total


class TrendFollowers(Population):
    """Late entrants: highly leveraged accounts that open a position during the run, in the direction of the trend."""

    account_class = AccountClass.TREND_FOLLOWER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Accounts that enter late."""
        return entrant_count(scenario)

    def open(self, opening: Opening) -> None:
        """Say what arrival, size and leverage of each are drawn from; nothing is opened yet."""
        scenario, config = opening.scenario, opening.state.world.config.traders
        entrants = scenario.traders.entrants
        config.trend_steps = max(1, opening.steps(entrants.trend_seconds)) if self.count > 0 else 0
        if config.trend_steps >= lay.LARGE.lookback:
            raise ScenarioError(
                expectation(
                    "traders.entrants.trend_seconds",
                    f"fewer than {lay.LARGE.lookback} steps",
                    int(config.trend_steps),
                )
            )
        config.trend_probability = entrants.trend_probability
        config.trend_saturation = entrants.trend_saturation
        config.market_limit = 0.02
        config.first_account = self.first_account
        if self.count == 0:
            return
        duration, start = scenario.run.duration_seconds, scenario.shock.at_seconds
        plan = opening.plan.entrants
        plan.first_account, plan.accounts = self.first_account, self.count
        plan.lots = round(opening.lots(entrants.quantity))
        plan.after_shock_share, plan.shock_seconds, plan.run_seconds = (
            entrants.after_shock_share,
            start,
            duration,
        )
        plan.window_seconds = min(entrants.window_seconds, max(0.0, duration - start))
        plan.inverse_low, plan.inverse_high = entrants.inverse_leverage
