"""Background flow: the crowd that trades for reasons of its own."""

import math

from cascade_sim.agents.base import Opening, Population
from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.scenario import Scenario


class BackgroundFlow(Population):
    """Zero-intelligence orders of one unmargined account (model: background flow)."""

    account_class = AccountClass.BACKGROUND

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account."""
        return 1

    def open(self, opening: Opening) -> None:
        """Write the rates per step into the configuration."""
        flow = opening.state.world.config.flow
        background, dt = opening.scenario.background, opening.scenario.run.dt
        opening.state.world.config.background_account = self.first_account
        if background.name == "fixed_rates":
            flow.kind = lay.FLOW_FIXED
            flow.limit_rate = background.limit_rate * dt
            flow.limit_size = opening.lots(background.limit_size)
            flow.distance_scale = opening.ticks(background.distance_scale)
            flow.distance_tail = background.distance_tail
            flow.distance_cap = background.distance_cap
            flow.lifetime = background.lifetime_seconds / dt
            flow.value_sensitivity = background.value_sensitivity
            flow.value_tilt_cap = background.value_tilt_cap
            flow.market_rate = background.market_rate * dt
            flow.market_size = opening.lots(background.market_size)
            flow.market_limit = background.market_limit
            flow.imbalance_strength = background.imbalance_strength
            flow.imbalance_memory = math.exp(-dt / background.imbalance_memory_seconds)
            flow.patient_orders = background.patient_orders
            flow.patient_rate = 2 * background.patient_orders * dt / background.patient_lifetime_seconds
            flow.patient_size = opening.lots(background.patient_size)
            flow.patient_minimum = background.patient_minimum_distance
            flow.patient_distance = background.patient_distance
            flow.patient_lifetime = background.patient_lifetime_seconds / dt
            return
        flow.order_size = max(1, round(opening.lots(background.order_size)))
        if background.name == "santa_fe":
            flow.kind = lay.FLOW_SANTA_FE
            flow.market_rate = background.market_rate * dt
            flow.limit_rate = background.limit_rate * dt
            flow.cancel_rate = background.cancel_rate * dt
            flow.lifetime = 1.0 / flow.cancel_rate if background.cancel_rate > 0.0 else math.inf
            flow.window_ticks = background.window_ticks
            return
        flow.kind = lay.FLOW_QUEUES
        levels = len(background.limit_rates)
        if levels > lay.QUEUE_RATES:
            raise ScenarioError(
                expectation("background.limit_rates", f"at most {lay.QUEUE_RATES} rates", levels)
            )
        flow.market_rate = background.market_rate
        flow.levels = levels
        flow.level_rates[:levels] = background.limit_rates
        flow.level_cancel_rates[:levels] = background.cancel_rates
