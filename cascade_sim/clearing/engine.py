"""The liquidation engine's friendly side: chosen rules, their compiled codes, and answers to what kernels ask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.asking import finite_numbers, require, rule_place, told_as
from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.clearing.views import DistressedAccounts, Parts, counterparties_view, distressed_view
from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import State
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.registry import DELEVERAGINGS, EXECUTIONS, MARGINS, PRIORITIES, SIZINGS, Registry
from cascade_sim.scenario import Scenario


def _scores(registry: Registry[Any], rule: Any, view: Any, step: int) -> NDArray[np.float64]:
    place = rule_place(registry, rule, "score")
    with told_as(place, step):
        answer = rule.score(view)
    return finite_numbers(place, step, answer, len(view), "score")


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
        initial = [clearing.initial_margin] if brackets is None else list(1.0 / brackets.max_leverage)
        ends = [np.inf] if brackets is None else list(brackets.max_notional)
        target.initial.tiers = len(initial)
        target.initial.rate[: len(initial)] = initial
        target.initial.end[: len(initial)] = [self._atoms(end) for end in ends]
        target.whole.enabled = int(brackets is not None and brackets.whole_position)
        if brackets is not None and brackets.whole_position:
            target.whole.ends[: len(rates)] = [self._atoms(end) for end in brackets.max_notional]
        target.priority = getattr(self.priority, "compiled", lay.RULE_PYTHON)
        target.sizing = getattr(self.sizing, "compiled", lay.RULE_PYTHON)
        target.adl = getattr(self.adl, "compiled", lay.RULE_PYTHON)
        if hasattr(self.sizing, "configure"):
            with told_as(rule_place(SIZINGS, self.sizing, "configure")):
                self.sizing.configure(target, dt, self.instrument.lot_size)
        target.accounts_per_step = clearing.accounts_per_step
        target.rounds = clearing.rounds_per_step
        target.fee_rate = clearing.liquidation_fee_rate
        target.floor = clearing.insurance_floor
        target.unwind_rate = clearing.unwind_rate * dt
        target.unwind_limit = clearing.unwind_price_limit

    def _atoms(self, end: float) -> float:
        """Return the end of a bracket in atoms, which may be nowhere."""
        return np.inf if end == np.inf else float(self.instrument.cash_to_atoms(float(end)))

    def answer(self, status: int, state: State, parts: Parts) -> None:
        """Answer a request of the liquidation kernels: scores or a size, written where they look for them.

        Parameters
        ----------
        status : int
            What is asked for, a RETURN code.
        state : State
            The market that asks.
        parts : Parts
            Of that market.

        Raises
        ------
        RunFailed
            If the rule raises anything, or answers with something else than it must.
        """
        control = parts.control
        step = int(control.step)
        units = (self.instrument.lot_size, self.instrument.tick_size)
        if status == lay.RETURN_PRIORITY:
            count = int(control.listed)
            view = distressed_view(state, state.scratch[0, :count], *units, parts)
            state.scores[0, :count] = _scores(PRIORITIES, self.priority, view, step)
        elif status == lay.RETURN_SIZING:
            view = distressed_view(state, np.array([control.request_account], np.int64), *units, parts)
            lots = self._lots(view, step)
            control.request_quantity = int(min(max(lots, 1.0), abs(int(view.position_lot[0]))))
        else:
            count = int(control.request_quantity)
            others = counterparties_view(state, state.scratch[1, :count], *units)
            state.scores[1, :count] = _scores(DELEVERAGINGS, self.adl, others, step)
        control.answered = 1

    def _lots(self, view: DistressedAccounts, step: int) -> float:
        place = rule_place(SIZINGS, self.sizing, "lots")
        with told_as(place, step):
            answer = self.sizing.lots(view)
        lots = float(finite_numbers(place, step, answer, 1, "number of lots")[0])
        require(
            place, step, lots > 0.0, "more than 0 lots to close (positions are signed, lots are not)", lots
        )
        return lots
