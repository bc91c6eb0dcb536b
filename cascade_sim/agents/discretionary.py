"""Single-account cohorts: value traders, arbitrage, the source of shocks, unlevered holders, option customers."""

import math

import numpy as np

from cascade_sim.agents.base import Opening, Population
from cascade_sim.domain.enums import AccountClass
from cascade_sim.scenario import Scenario


class ValueTraders(Population):
    """Trade slowly toward the fundamental when the average mid has left it by more than a threshold."""

    account_class = AccountClass.VALUE_TRADER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account."""
        return 1

    def open(self, opening: Opening) -> None:
        """Write rates per step into the configuration."""
        values, config = opening.scenario.value_traders, opening.state.world.config
        dt = opening.scenario.run.dt
        config.slow_memory = opening.memory(values.signal_seconds)
        config.value.account = self.first_account
        config.value.threshold = values.threshold
        config.value.rate = opening.lots(values.rate_per_price) * opening.instrument.tick_size * dt
        config.value.rate_cap = opening.lots(values.rate_cap) * dt
        config.value.position_cap = opening.lots(values.position_cap)
        opening.deposit(self.first_account, 1, opening.instrument.cash_to_atoms(values.capital))


class Arbitrageurs(Population):
    """Trade the mid toward the fundamental beyond a small threshold."""

    account_class = AccountClass.ARBITRAGEUR

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account."""
        return 1

    def open(self, opening: Opening) -> None:
        """Write rates per step into the configuration."""
        values, config = opening.scenario.arbitrage, opening.state.world.config.arbitrage
        dt = opening.scenario.run.dt
        config.account = self.first_account
        config.threshold = values.threshold
        config.rate = opening.lots(values.rate_per_price) * opening.instrument.tick_size * dt
        config.rate_cap = opening.lots(values.rate_cap) * dt
        config.position_cap = opening.lots(values.position_cap)
        opening.deposit(self.first_account, 1, opening.instrument.cash_to_atoms(values.capital))


class CrossArbitrageurs(Population):
    """Hold one account in every market of a world with several, and trade one against another."""

    account_class = AccountClass.ARBITRAGEUR

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account, in worlds of several markets."""
        return 1

    def open(self, opening: Opening) -> None:
        """Write the terms of this market into the configuration; who trades with whom is known to the world."""
        values, config = opening.scenario.cross_arbitrage, opening.state.world.config.cross
        dt = opening.scenario.run.dt
        config.account = self.first_account
        config.threshold = values.threshold
        config.rate_cap = opening.lots(values.rate_cap) * dt
        config.position_cap = opening.lots(values.position_cap)
        config.tick, config.lot = opening.instrument.tick_size, opening.instrument.lot_size
        opening.deposit(self.first_account, 1, opening.instrument.cash_to_atoms(values.capital))

    def trade_against(self, opening: Opening, partner: int) -> None:
        """Let this market be traded against the market number ``partner``."""
        config = opening.state.world.config.cross
        config.partner = partner
        config.rate = opening.lots(opening.scenario.cross_arbitrage.rate_per_price) * opening.scenario.run.dt


class ShockSource(Population):
    """Sends the scheduled exogenous orders."""

    account_class = AccountClass.SHOCK

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account."""
        return 1

    def open(self, opening: Opening) -> None:
        """Write the schedule into the configuration."""
        shock, config = opening.scenario.shock, opening.state.world.config
        config.shock_account = self.first_account
        if not shock.is_active and not opening.scenario.switches.placebo:
            return
        first = opening.steps(shock.at_seconds)
        row = config.shock[0]
        row.first_step = first
        row.last_step = first + max(1, opening.steps(shock.duration_seconds)) - 1
        row.quantity = round(opening.lots(shock.quantity))
        row.side = -1 if shock.side == "sell" else 1
        row.news = shock.news
        config.shocks = 1


class UnleveredHolders(Population):
    """The named other side of leveraged open interest: fully collateralised, never liquidated, can be deleveraged."""

    account_class = AccountClass.UNLEVERED_HOLDER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """As many accounts as the scenario says."""
        return scenario.holders.count

    def open(self, opening: Opening) -> None:
        """Name the accounts that take the other side of what opens."""
        holders = opening.plan.holders
        holders.first_account, holders.accounts = self.first_account, self.count
        holders.collateral_share = opening.scenario.holders.collateral_share


class OptionCustomers(Population):
    """Hold the other side of the dealers' options: options are in zero net supply."""

    account_class = AccountClass.OPTION_CUSTOMER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account."""
        return 1

    def open(self, opening: Opening) -> None:
        """Bring in capital enough for the premium they may owe."""
        if opening.options is None:
            return
        grid, inventory = opening.options
        price = opening.initial_tick * opening.instrument.tick_size
        worth = float(np.abs(inventory) @ grid.prices(price))
        if math.isfinite(worth):
            opening.deposit(self.first_account, 1, opening.instrument.cash_to_atoms(worth + 1.0))
