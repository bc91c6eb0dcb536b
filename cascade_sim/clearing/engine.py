"""The liquidation engine's friendly side: chosen rules, their compiled codes, and answers to what kernels ask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.asking import finite_numbers, require, require_pair, rule_place, told_as
from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.clearing.views import (
    DistressedAccounts,
    Parts,
    counterparties_view,
    distressed_view,
    market_view,
    party_view,
)
from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import State
from cascade_sim.core.layout.book import MARKET_TICKS
from cascade_sim.domain.enums import Stage
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument, steps_within
from cascade_sim.registry import DELEVERAGINGS, EXECUTIONS, MARGINS, PRIORITIES, SIZINGS, WATERFALL, Registry
from cascade_sim.scenario import Scenario

ENGINE_ASKS = (
    lay.RETURN_PRIORITY,
    lay.RETURN_SIZING,
    lay.RETURN_EXECUTION,
    lay.RETURN_STAGE,
    lay.RETURN_ADL,
)
"""Requests of kernels that :meth:`LiquidationEngine.answer` answers."""


def _scores(registry: Registry[Any], rule: Any, view: Any, step: int) -> NDArray[np.float64]:
    place = rule_place(registry, rule, "score")
    with told_as(place, step):
        answer = rule.score(view)
    return finite_numbers(place, step, answer, len(view), "score")


@dataclass(frozen=True)
class LiquidationEngine:
    """The rules of one run: margin model, priority, sizing, execution, the stages of the waterfall, ranking of winners."""

    margin: Any
    priority: Any
    sizing: Any
    execution: Any
    stages: tuple[Any, ...]
    adl: Any
    instrument: Instrument

    @classmethod
    def from_scenario(cls, scenario: Scenario, instrument: Instrument) -> "LiquidationEngine":
        """Build the rules that the scenario names; raises ScenarioError for a wrong name or parameter."""
        clearing = scenario.clearing
        return cls(
            margin=MARGINS.create(clearing.margin),
            priority=PRIORITIES.create(clearing.priority),
            sizing=SIZINGS.create(clearing.sizing),
            execution=EXECUTIONS.create(clearing.execution),
            stages=_stages(scenario),
            adl=DELEVERAGINGS.create(clearing.adl),
            instrument=instrument,
        )

    @property
    def walked(self) -> tuple[Any, ...]:
        """The stages behind the book, as the kernels count them."""
        return tuple(stage for stage in self.stages if getattr(stage, "compiled", None) != Stage.BOOK)

    @property
    def parties(self) -> tuple[Any, ...]:
        """The stages of the user's own, each of which has an account, in order."""
        return tuple(stage for stage in self.stages if not hasattr(stage, "compiled"))

    def configure(
        self, config: Any, scenario: Scenario, brackets: BracketTable | None, first_party: int
    ) -> None:
        """Write rules, margin tiers, limits and stages into the kernel configuration.

        Parameters
        ----------
        config : numpy record of layout.CONFIG
        scenario : Scenario
        brackets : BracketTable or None
        first_party : int
            Account of the first of `parties`; the others follow.
        """
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
        target.throughput = clearing.accounts_per_second * scenario.run.dt
        target.rounds = clearing.rounds_per_step
        target.fee_rate = clearing.liquidation_fee_rate
        target.execution = getattr(self.execution, "compiled", lay.RULE_PYTHON)
        self._configure_stages(target, scenario, int(config.fund_account), first_party)

    def _configure_stages(self, target: Any, scenario: Scenario, fund: int, first_party: int) -> None:
        stages = [(int(getattr(stage, "compiled", Stage.BACKSTOP)), stage) for stage in self.walked]
        target.book, target.stages = int(len(stages) < len(self.stages)), len(stages)
        if Stage.FUND not in (code for code, _ in stages):
            # It still receives fees and what losses are shared for.
            stages.append((int(Stage.FUND), None))
        target.parties = len(stages)
        atoms, dt, clearing = self.instrument.cash_to_atoms, scenario.run.dt, scenario.clearing
        numbers = iter(range(first_party, first_party + len(self.parties)))
        for place, (code, stage) in enumerate(stages):
            entry = target.waterfall[place]
            entry.stage, entry.account = code, lay.NO_ACCOUNT
            entry.most_notional = entry.most_leverage = np.inf
            if code == Stage.FUND:
                entry.account, entry.floor = fund, clearing.insurance_floor
                entry.unwind_rate = clearing.unwind_rate * dt
                entry.unwind_limit = clearing.unwind_price_limit
                if clearing.insurance_max_notional is not None:
                    entry.most_notional = atoms(clearing.insurance_max_notional)
                if clearing.insurance_max_leverage is not None:
                    entry.most_leverage = clearing.insurance_max_leverage
            elif code == Stage.BACKSTOP:
                entry.account = next(numbers)
                entry.unwind_rate = getattr(stage, "unwind_rate", clearing.unwind_rate) * dt
                entry.unwind_limit = getattr(stage, "unwind_price_limit", clearing.unwind_price_limit)

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
        elif status == lay.RETURN_EXECUTION:
            view = distressed_view(state, np.array([control.request_account], np.int64), *units, parts)
            self._order(view, control, market_view(state, *units), step)
        elif status == lay.RETURN_STAGE:
            view = distressed_view(state, np.array([control.request_account], np.int64), *units, parts)
            entry = state.world.config.clearing.waterfall[int(control.place)]
            party = int(entry.account)
            stage = self.walked[int(control.place)]
            self._takeover(stage, view, control, party_view(state, party, *units), step)
        elif status == lay.RETURN_ADL:
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

    def _order(self, view: DistressedAccounts, control: Any, market: Any, step: int) -> None:
        place = rule_place(EXECUTIONS, self.execution, "orders")
        decided = int(control.decided)
        with told_as(place, step):
            answer = self.execution.orders(view, np.array([decided], np.int64), market)
        lots, limits = require_pair(place, step, answer, 1, ("number of lots", "limit price"))
        expected = f"0 to {decided} lots, which is what is to be closed"
        require(place, step, 0.0 <= lots[0] <= decided, expected, lots[0])
        require(place, step, lots[0] == 0.0 or limits[0] > 0.0, "a limit price above 0", limits[0])
        control.request_quantity = int(lots[0])
        control.request_tick = self._ticks(limits, -np.sign(view.position_lot))

    def _takeover(self, stage: Any, view: DistressedAccounts, control: Any, party: Any, step: int) -> None:
        place = rule_place(WATERFALL, stage, "take")
        with told_as(place, step):
            answer = stage.take(view, party)
        lots, prices = require_pair(place, step, answer, 1, ("number of lots", "price"))
        require(place, step, lots[0] >= 0.0, "at least 0 lots (positions are signed, lots are not)", lots[0])
        require(place, step, lots[0] == 0.0 or prices[0] > 0.0, "a price above 0", prices[0])
        control.request_quantity = int(min(lots[0], abs(int(view.position_lot[0]))))
        # A price between two ticks is rounded in favour of the account, so that no debt of a fraction is left.
        control.request_tick = self._ticks(prices, -np.sign(view.position_lot))

    def _ticks(self, prices: NDArray[np.float64], sides: NDArray[np.int64]) -> int:
        ticks = steps_within(prices, self.instrument.tick_size, sides)[0]
        return int(min(max(ticks, 1.0), MARKET_TICKS - 1.0))


def _stages(scenario: Scenario) -> tuple[Any, ...]:
    """Build the stages of the waterfall; raises ScenarioError for a list that cannot be walked."""
    listed = scenario.clearing.waterfall
    names = [stage.name for stage in listed]
    path, room = "clearing.waterfall", lay.WATERFALL_CAPACITY - 1
    if len(names) > room:
        raise ScenarioError(expectation(path, f"at most {room} stages", len(names)))
    stages = tuple(WATERFALL.create(stage) for stage in listed)
    for place, stage in enumerate(stages):
        if hasattr(stage, "compiled") and names.count(names[place]) > 1:
            raise ScenarioError(expectation(path, "each built-in stage once", names))
        if getattr(stage, "compiled", None) == Stage.BOOK and place > 0:
            raise ScenarioError(expectation(path, "book as the first stage or not at all", names))
    return stages
