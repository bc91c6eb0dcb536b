"""Liquidity providers: ladders around a private centre."""

import math

import numpy as np

from cascade_sim.agents.base import Opening, Population
from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.scenario import Scenario


class LiquidityProviders(Population):
    """Quote every step, lean against inventory, withdraw under volatility and losses."""

    account_class = AccountClass.LIQUIDITY_PROVIDER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account each."""
        if scenario.liquidity.count > lay.LARGE.providers:
            raise ScenarioError(
                expectation("liquidity.count", f"at most {lay.LARGE.providers}", scenario.liquidity.count)
            )
        if scenario.liquidity.levels > lay.LARGE.levels:
            raise ScenarioError(
                expectation("liquidity.levels", f"at most {lay.LARGE.levels}", scenario.liquidity.levels)
            )
        return scenario.liquidity.count

    def open(self, opening: Opening) -> None:
        """Configure the ladders, and say how providers differ."""
        world = opening.state.world
        liquidity, config = opening.scenario.liquidity, world.config.providers
        dt = opening.scenario.run.dt
        config.count, config.levels, config.first_account = self.count, liquidity.levels, self.first_account
        config.skew = opening.ticks(liquidity.impact_per_unit) / opening.lots(1.0) * self.count
        config.skew_exponent = liquidity.skew_volatility_exponent
        config.skew_cap = liquidity.skew_volatility_cap
        config.reference_volatility = liquidity.reference_volatility
        config.smoothing = opening.memory(liquidity.volatility_smoothing_seconds)
        config.return_steps = (
            max(1, opening.steps(liquidity.volatility_return_seconds)) if self.count > 0 else 1
        )
        if config.return_steps >= lay.LARGE.lookback:
            path, expected = "liquidity.volatility_return_seconds", f"fewer than {lay.LARGE.lookback} steps"
            raise ScenarioError(expectation(path, expected, int(config.return_steps)))
        config.requote_steps = max(1, opening.steps(liquidity.requote_seconds))
        config.half_life = 1.0 - 0.5 ** (dt / liquidity.volatility_half_life_seconds)
        config.threshold_exponent = liquidity.withdrawal_exponent
        config.minimum_share = liquidity.minimum_size_share
        config.recovery = 1.0 - math.exp(-dt * config.requote_steps / liquidity.return_seconds)
        config.spread_exponent = liquidity.spread_volatility_exponent
        config.noise = liquidity.belief_noise
        config.noise_seconds = liquidity.belief_noise_seconds
        config.fundamental_weight = liquidity.fundamental_weight
        config.own_average = opening.memory(liquidity.own_average_seconds)
        config.inventory_limit = opening.lots(liquidity.inventory_limit)
        config.pause_steps = opening.steps(liquidity.loss_pause_seconds)
        steps = np.arange(liquidity.levels)
        config.level_distance[: liquidity.levels] = liquidity.level_growth**steps
        config.level_size[: liquidity.levels] = opening.lots(liquidity.size) * liquidity.size_growth**steps
        for i in range(self.count):
            opening.state.world.providers[i].account = self.first_account + i
        self._plan(opening)

    def _plan(self, opening: Opening) -> None:
        """Means and spreads of what differs between providers."""
        liquidity, plan = opening.scenario.liquidity, opening.plan.providers
        plan.half_spread = opening.ticks(liquidity.half_spread)
        plan.half_spread_dispersion = liquidity.half_spread_dispersion
        plan.threshold = liquidity.withdrawal_threshold
        plan.threshold_dispersion = liquidity.withdrawal_dispersion
        plan.loss_limit = liquidity.loss_limit
        plan.loss_limit_dispersion = liquidity.loss_limit_dispersion
        plan.capital = opening.instrument.cash_to_atoms(liquidity.capital)
        opening.deposit(self.first_account, self.count, int(plan.capital))
