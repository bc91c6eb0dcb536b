"""The liquidation engine's friendly side: chosen rules, their compiled codes, and answers to what kernels ask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.clearing.views import counterparties_view, distressed_view
from cascade_sim.core import layout as lay
from cascade_sim.core.state import State
from cascade_sim.domain.errors import RunFailed, ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.registry import DELEVERAGINGS, EXECUTIONS, MARGINS, PRIORITIES, SIZINGS
from cascade_sim.scenario import Scenario


def checked_scores(rule: object, values: Any, count: int) -> NDArray[np.float64]:
    """Return a rule's answer as float64 (count,), or raise RunFailed naming the rule and what it returned."""
    scores = np.asarray(values)
    if scores.shape != (count,) or scores.dtype.kind not in "fiu" or not np.isfinite(scores).all():
        raise RunFailed(
            expectation(
                type(rule).__name__, f"{count} finite numbers", f"{scores.dtype} of shape {scores.shape}"
            )
        )
    return scores.astype(np.float64)


@dataclass(frozen=True)
class LiquidationEngine:
    """Priority, sizing and deleveraging rules of one run."""

    priority: Any
    sizing: Any
    adl: Any
    instrument: Instrument

    @classmethod
    def from_scenario(cls, scenario: Scenario, instrument: Instrument) -> "LiquidationEngine":
        """Build the rules that the scenario names; raises ScenarioError for a wrong name or parameter."""
        clearing = scenario.clearing
        MARGINS.create(clearing.margin)
        EXECUTIONS.create(clearing.execution)
        return cls(
            priority=PRIORITIES.create(clearing.priority),
            sizing=SIZINGS.create(clearing.sizing),
            adl=DELEVERAGINGS.create(clearing.adl),
            instrument=instrument,
        )

    def configure(self, config: Any, scenario: Scenario, brackets: BracketTable | None) -> None:
        """Write rules, margin tiers and limits into the kernel configuration."""
        clearing, dt = scenario.clearing, scenario.run.dt
        target = config.clearing
        rates = [clearing.maintenance_margin] if brackets is None else list(brackets.maintenance_rate)
        deductions = [0.0] if brackets is None else list(brackets.deduction)
        if len(rates) > lay.TIER_CAPACITY:
            raise ScenarioError(
                expectation("traders.brackets", f"at most {lay.TIER_CAPACITY} tiers", len(rates))
            )
        target.tiers = len(rates)
        target.tier_rate[: len(rates)] = rates
        target.tier_deduction[: len(rates)] = [
            self.instrument.cash_to_atoms(float(value)) for value in deductions
        ]
        target.priority = getattr(self.priority, "compiled", lay.RULE_PYTHON)
        target.sizing = getattr(self.sizing, "compiled", lay.RULE_PYTHON)
        target.adl = getattr(self.adl, "compiled", lay.RULE_PYTHON)
        if hasattr(self.sizing, "configure"):
            self.sizing.configure(target, dt, self.instrument.lot_size)
        target.accounts_per_step = clearing.accounts_per_step
        target.rounds = clearing.rounds_per_step
        target.fee_rate = clearing.liquidation_fee_rate
        target.floor = clearing.insurance_floor
        target.unwind_rate = clearing.unwind_rate * dt
        target.unwind_limit = clearing.unwind_price_limit

    def answer(self, status: int, state: State) -> None:
        """Answer a request of the liquidation kernels: scores or a size, written where they look for them."""
        control = state.world.control
        units = (self.instrument.lot_size, self.instrument.tick_size)
        if status == lay.RETURN_PRIORITY:
            count = int(control.listed)
            view = distressed_view(state, state.scratch[0, :count], *units)
            state.scores[0, :count] = checked_scores(self.priority, self.priority.score(view), count)
        elif status == lay.RETURN_SIZING:
            view = distressed_view(state, np.array([control.request_account], np.int64), *units)
            lots = checked_scores(self.sizing, self.sizing.lots(view), 1)[0]
            control.request_quantity = int(min(max(lots, 1.0), abs(int(view.position_lot[0]))))
        else:
            count = int(control.request_quantity)
            others = counterparties_view(state, state.scratch[1, :count], *units)
            state.scores[1, :count] = checked_scores(self.adl, self.adl.score(others), count)
        control.answered = 1
