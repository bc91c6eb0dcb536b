"""The model: agents on an order book, a clearing house over their accounts, one readable step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import mesa
import numpy as np
from numpy.typing import NDArray

from cascade_sim.agents.background_flow import BackgroundFlow
from cascade_sim.agents.base import Cohort, Opening, Participant
from cascade_sim.agents.discretionary import (
    Arbitrageurs,
    OptionCustomers,
    ShockSource,
    UnleveredHolders,
    ValueTraders,
)
from cascade_sim.agents.leveraged_trader import LeveragedTraders, TrendFollowers, entrant_count
from cascade_sim.agents.liquidity_provider import LiquidityProviders
from cascade_sim.agents.options_dealer import OptionsDealers, load_options
from cascade_sim.agents.participant import ParticipantMarket
from cascade_sim.clearing.asking import finite_number, require, rule_place, told_as
from cascade_sim.clearing.brackets import BracketTable, load_brackets
from cascade_sim.clearing.engine import LiquidationEngine
from cascade_sim.core import layout as lay
from cascade_sim.core.book_layout import TICKS
from cascade_sim.core.flow import opening_stock
from cascade_sim.core.hedging import dealers_gamma, update_greeks
from cascade_sim.core.markets import run_markets
from cascade_sim.core.run import run, run_rate_driven
from cascade_sim.core.snapshots import snapshot_depth, snapshot_map
from cascade_sim.core.state import State, System, allocate_system
from cascade_sim.domain.components import import_name
from cascade_sim.domain.enums import AccountClass, SelfTradePolicy
from cascade_sim.domain.errors import CapacityError, RunFailed, ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import volatility_per_sqrt_second
from cascade_sim.market.latency import configure_latency
from cascade_sim.market.mark_price import MarkInputs
from cascade_sim.options.hedging import HedgeInputs
from cascade_sim.recorder import Recorder
from cascade_sim.registry import HEDGINGS, MARK_PRICES, PRICE_FORMATIONS
from cascade_sim.scenario import Scenario

ALL_PHASES = 2**62

SYSTEM_ACCOUNTS = (
    AccountClass.EXTERNAL,
    AccountClass.INSURANCE_FUND,
    AccountClass.FEES,
    AccountClass.ROUNDING,
    AccountClass.PRICE_FORMATION,
)
COHORTS: tuple[type[Cohort], ...] = (
    BackgroundFlow,
    ShockSource,
    ValueTraders,
    Arbitrageurs,
    OptionCustomers,
    UnleveredHolders,
    LiquidityProviders,
    OptionsDealers,
    LeveragedTraders,
    TrendFollowers,
)
PARTICIPANT_ACCOUNTS = 64
"""Accounts kept for agents written in Python, before the traders, whose number varies between scenarios."""
RECORD_LEVELS = {"summary": lay.RECORD_SUMMARY, "series": lay.RECORD_SERIES, "full": lay.RECORD_FULL}
_CAPACITIES = {
    lay.CAPACITY_ORDERS: "orders in the book",
    lay.CAPACITY_TRADES: "fills recorded in one step",
    lay.CAPACITY_EVENTS: "events recorded in one step",
    lay.CAPACITY_TRANSFERS: "transfers recorded in one step",
    lay.CAPACITY_WHEEL: "orders waiting for their expiry",
    lay.CAPACITY_PRICE: "price ticks",
    lay.CAPACITY_SIZE: "lots in one order",
    lay.CAPACITY_FLIGHT: "orders on their way to the book",
}


def check_inputs(scenario: Scenario) -> None:
    """Build every rule and read every input file that a scenario names.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    ScenarioError, DataFileError
        As :class:`CascadeModel` would.
    """
    market, instrument = scenario.market, _instrument(scenario)
    LiquidationEngine.from_scenario(scenario, instrument)
    MARK_PRICES.create(market.mark_price)
    PRICE_FORMATIONS.create(market.price_formation)
    HEDGINGS.create(scenario.dealers.hedging)
    instrument.price_to_tick(load_options(scenario)[1])
    _load_brackets(scenario)


def _instrument(scenario: Scenario) -> Instrument:
    market = scenario.market
    return Instrument(
        market.venue, market.instrument, market.base, market.quote, market.tick_size, market.lot_size
    )


def _load_brackets(scenario: Scenario) -> BracketTable | None:
    brackets = scenario.traders.brackets
    if brackets.path is None:
        return None
    if brackets.symbol is None:
        raise ScenarioError(
            expectation("traders.brackets.symbol", "the name of a contract in the file", None)
        )
    return load_brackets(brackets.path, brackets.symbol)


def needs_markets_driver(scenario: Scenario) -> bool:
    """Whether a scenario uses a mechanism that only the driver for several markets knows."""
    return bool(scenario.markets) or scenario.latency.is_active


class CascadeModel(mesa.Model):  # type: ignore[misc]  # Mesa publishes no types
    """A market of one instrument on one venue, with everything that acts on it.

    Parameters
    ----------
    scenario : Scenario
        Fully resolved.
    rng : int
        Seed; any text of digits is accepted as well.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong; nothing has run then.
    """

    def __init__(self, scenario: Scenario, rng: int | str = 0) -> None:
        self.seed = int(rng)
        super().__init__(rng=self.seed & 0xFFFFFFFF)
        self.scenario = scenario
        market = scenario.market
        self.instrument = _instrument(scenario)
        self.engine = LiquidationEngine.from_scenario(scenario, self.instrument)
        self.mark_rule: Any = MARK_PRICES.create(market.mark_price)
        self.formation: Any = PRICE_FORMATIONS.create(market.price_formation)
        self.options, price, self.chain = load_options(scenario)
        self.initial_tick = self.instrument.price_to_tick(price)
        self.brackets = _load_brackets(scenario)
        self.recorder = Recorder(self.instrument, scenario.run.dt, RECORD_LEVELS[scenario.run.record])
        self.start_accounts: NDArray[Any] | None = None
        self.start_mark = float(self.initial_tick)
        self.dealer_value_start: float | None = None
        self.participants: list[Participant] = []
        self._build()

    def _build(self) -> None:
        """Number the accounts, allocate the state, and let every cohort open its own."""
        scenario = self.scenario
        first = len(SYSTEM_ACCOUNTS)
        self.cohorts: dict[type[Cohort], Cohort] = {}
        self.first_participant = 0
        for kind in COHORTS:
            if kind is LeveragedTraders:
                self.first_participant = first
                first += PARTICIPANT_ACCOUNTS
            count = kind.size(scenario)
            self.cohorts[kind] = kind(self, first, count)
            first += count
        policy = SelfTradePolicy[scenario.market.self_trade.upper()]
        self.system: System = allocate_system(first, entrant_count(scenario), [int(policy)])
        self.state: State = self.system.state(0)
        self._configure()
        opening = Opening(
            scenario, self.instrument, self.state, self.initial_tick, self.options, self.brackets
        )
        classes = self.state.accounts["account_class"]
        classes[: len(SYSTEM_ACCOUNTS)] = SYSTEM_ACCOUNTS
        classes[self.first_participant :] = AccountClass.PARTICIPANT
        for cohort in self.cohorts.values():
            classes[cohort.accounts] = cohort.account_class
        self.state.book.anonymous = self.cohorts[BackgroundFlow].first_account
        opening.holders = self.cohorts[UnleveredHolders].accounts
        fund = self.instrument.cash_to_atoms(scenario.clearing.insurance_fund)
        opening.deposit([self.state.world.config.fund_account], fund)
        for cohort in self.cohorts.values():
            cohort.open(opening)
        self.cohorts[UnleveredHolders].fund(opening)
        self._opening = opening
        self._advance = self._choose_driver()
        self._finish_opening()

    def _choose_driver(self) -> Callable[[int, int], int]:
        """The compiled driver that has everything this scenario needs, and no more than it has to."""
        if needs_markets_driver(self.scenario):
            return functools.partial(run_markets, *self.system)
        fixed = int(self.state.world.config.flow.kind) == lay.FLOW_FIXED
        return functools.partial(run if fixed else run_rate_driven, *self.state)

    def _configure(self) -> None:
        """Write what belongs to no cohort into the kernel configuration."""
        scenario, world = self.scenario, self.state.world
        config, dt = world.config, self.scenario.run.dt
        config.seed = np.random.SeedSequence(self.seed & 0xFFFFFFFFFFFFFFFF).generate_state(1, np.uint64)[0]
        config.value_seed, config.own_weight = config.seed, 1.0
        config.dt, config.steps, config.burn_in = dt, scenario.run.steps, scenario.run.burn_in_steps
        config.atoms = self.instrument.atoms_per_tick_lot
        config.largest_order = min(2**31 - 1, 2**62 // (TICKS * self.instrument.atoms_per_tick_lot))
        config.maker_fee, config.taker_fee = scenario.market.maker_fee_rate, scenario.market.taker_fee_rate
        config.volatility = volatility_per_sqrt_second(scenario.fundamental.volatility) * math.sqrt(dt)
        config.record = RECORD_LEVELS[scenario.run.record]
        config.check_every = 1000
        (
            config.external_account,
            config.fund_account,
            config.fee_account,
            config.rounding_account,
            config.formation_account,
        ) = range(len(SYSTEM_ACCOUNTS))
        config.dealers.gamma_every = 1
        config.dealers.customer_account = self.cohorts[OptionCustomers].first_account
        config.mark_rule = getattr(self.mark_rule, "compiled", lay.RULE_PYTHON)
        config.mark_memory = 1.0
        if hasattr(self.mark_rule, "memory"):
            with told_as(rule_place(MARK_PRICES, self.mark_rule, "memory")):
                config.mark_memory = self.mark_rule.memory(dt)
        config.basis_memory = config.mark_memory
        config.mark_instant = int(getattr(self.mark_rule, "instant", False))
        config.mark_follows_index = int(getattr(self.mark_rule, "follows_index", False))
        self.formation.configure(config, self.instrument)
        self.engine.configure(config, scenario, self.brackets)
        for name in world.config.switches.dtype.names:
            config.switches[name] = int(getattr(scenario.switches, name))
        market = world.market
        for name in (
            "fundamental",
            "previous_fundamental",
            "quoted_fundamental",
            "mid",
            "mark",
            "index",
            "last",
            "linear_price",
        ):
            market[name] = self.initial_tick
        for name in ("slow_mid", "hedge_mid", "provider_mid", "own_mid"):
            market[name] = self.initial_tick
        world.totals.first_liquidation_step = -1
        world.totals.first_adl_step = -1
        world.control.step = -scenario.run.burn_in_steps
        configure_latency(world, scenario)

    def _finish_opening(self) -> None:
        """Close the books of the opening and place the orders that rest from the beginning."""
        state = self.state
        accounts = state.accounts
        state.world.totals.open_interest = int(np.maximum(accounts["position"], 0).sum())
        self.opening_positions = accounts["position"].copy()
        self.opening_transfers = self._opening.transfers()
        state.world.control.next_transfer = len(self.opening_transfers)
        opening_stock(state.world, state.book, accounts, state.watch, state.tape)
        if self.scenario.run.burn_in_steps == 0:
            self._note_start()

    def _note_start(self) -> None:
        """Remember the accounts as step 0 begins."""
        self.start_accounts = np.array(self.state.accounts, copy=True, subok=False)
        self.start_mark = float(self.state.world.market.mark)
        self.dealer_value_start = self.dealer_option_value()
        self.state.world.totals.messages_start = int(self.state.book.messages)

    @property
    def step_number(self) -> int:
        """The step that comes next; negative during burn-in."""
        return int(self.state.world.control.step)

    @property
    def finished(self) -> bool:
        """Whether the last step has been made."""
        return self.step_number >= self.scenario.run.steps

    def add_participant(self, participant: Participant) -> Participant:
        """Give an agent written in Python an account; returns it.

        Raises
        ------
        ScenarioError
            If there are more than 64, or the run has begun.
        """
        used = len(self.participants)
        if used >= PARTICIPANT_ACCOUNTS or self.step_number != -self.scenario.run.burn_in_steps:
            expected = f"at most {PARTICIPANT_ACCOUNTS} participants, all before the first step"
            raise ScenarioError(expectation("participant", expected, used + 1))
        participant.account = self.first_participant + used
        self.participants.append(participant)
        self._opening.deposit([participant.account], self.instrument.cash_to_atoms(participant.capital))
        self.opening_transfers = self._opening.transfers()
        self.state.world.config.participants = len(self.participants)
        if self.scenario.run.burn_in_steps == 0:
            self._note_start()
        return participant

    def close(self) -> None:
        """Give the memory of the run back; what was recorded has to be collected before, and the model is done.

        Mesa ties a model and its agents to each other, so without this the memory waits for the garbage collector,
        which counts objects and does not see how large these are.
        """
        del self.state, self.system, self.recorder, self._opening, self._advance
        self.start_accounts = None

    def step(self) -> None:
        """Make one step, phase by phase, in the order that is part of the public contract."""
        self._phase(lay.PHASE_NEWS)
        self._phase(lay.PHASE_QUOTES)
        self._phase(lay.PHASE_FLOW)
        self._phase(lay.PHASE_SHOCK)
        self._phase(lay.PHASE_TRADE)
        self._phase(lay.PHASE_HEDGE)
        self._phase(lay.PHASE_MARK)
        self._phase(lay.PHASE_LIQUIDATE)
        self._phase(lay.PHASE_RECORD)
        self._between_steps()

    def _phase(self, phase: int) -> None:
        control = self.state.world.control
        if control.phase != phase:
            raise RunFailed(expectation("phase", str(phase), int(control.phase)))
        while True:
            status = self._advance(control.step + 1, 1)
            if status == lay.RETURN_DONE:
                return
            self._answer(status)

    def run(self, until: int | None = None, progress: Callable[[int, int], None] | None = None) -> None:
        """Advance to the start of step ``until`` (default: the end) in compiled code.

        Parameters
        ----------
        until : int, optional
            Step number; the run stops before it.
        progress : callable, optional
            Called with (steps done, steps in all), burn-in included.
        """
        run_config = self.scenario.run
        end = run_config.steps if until is None else min(until, run_config.steps)
        total = run_config.steps + run_config.burn_in_steps
        while self.step_number < end:
            status = self._advance(self._next_stop(end), ALL_PHASES)
            if status != lay.RETURN_DONE:
                self._answer(status)
            elif self.state.world.control.phase == 0:
                self._between_steps()
            if progress is not None:
                progress(self.step_number + run_config.burn_in_steps, total)

    def _next_stop(self, end: int) -> int:
        """The next step before which Python has something to do: step 0, a snapshot, the end."""
        step = self.step_number
        if step < 0:
            return min(0, end)
        every = (self.scenario.run.depth_every_steps, self.scenario.run.map_every_steps)
        stops = [end]
        if self.recorder.level >= lay.RECORD_FULL:
            stops += [(step // interval + 1) * interval for interval in every]
        return min(stops)

    def _between_steps(self) -> None:
        """What happens between two steps in either driver: the start of the run, and snapshots."""
        step = self.step_number
        if step == 0 and self.start_accounts is None:
            self._note_start()
        if step < 0 or self.recorder.level < lay.RECORD_FULL:
            return
        market = self.state.world.market
        if (
            step % self.scenario.run.depth_every_steps == 0
            and self.state.world.config.formation == lay.FORMATION_BOOK
        ):
            self.recorder.add_depth(snapshot_depth(self.state.book, float(market.mid), step))
        if step % self.scenario.run.map_every_steps == 0:
            rows = snapshot_map(self.state.accounts, self.state.watch, float(market.mark), step)
            self.recorder.add_liquidation_map(rows)

    def _answer(self, status: int) -> None:
        """Do what the kernels cannot: drain the tape, ask a rule written in Python, let Python agents act."""
        world = self.state.world
        if status == lay.RETURN_DRAIN:
            self.recorder.drain(self.state.tape)
        elif status in (lay.RETURN_PRIORITY, lay.RETURN_SIZING, lay.RETURN_ADL):
            self.engine.answer(status, self.state)
        elif status == lay.RETURN_MARK:
            world.market.asked_mark = self._ask_mark()
            world.control.answered = 1
        elif status == lay.RETURN_HEDGE:
            world.control.request_quantity = self._ask_hedge(int(world.control.request_account))
            world.control.answered = 1
        elif status == lay.RETURN_AGENTS:
            market = ParticipantMarket(self.state, self.instrument)
            for participant in self.participants:
                with told_as(f"participant {import_name(type(participant))}.decide()", market.step):
                    participant.decide(market.of(participant.account))
            market.send_orders()
            world.control.answered = 1
        else:
            what = _CAPACITIES.get(int(world.control.capacity), "an unknown capacity")
            raise CapacityError(
                f"step {self.step_number}: expected room for more {what}, received more than fit"
            )

    def _ask_mark(self) -> float:
        market, tick = self.state.world.market, self.instrument.tick_size
        inputs = MarkInputs(
            mid=float(market.mid) * tick,
            last=float(market.last) * tick,
            index=float(market.index) * tick,
            mark=float(market.mark) * tick,
            basis=float(market.basis) * tick,
            one_sided=bool(market.one_sided),
            dt=self.scenario.run.dt,
        )
        place = rule_place(MARK_PRICES, self.mark_rule, "mark")
        with told_as(place, self.step_number):
            answer = self.mark_rule.mark(inputs)
        price = finite_number(place, self.step_number, answer, "price")
        require(place, self.step_number, price > 0.0, "a price above 0", price)
        return price / tick

    def _ask_hedge(self, number: int) -> int:
        world, lot, tick = self.state.world, self.instrument.lot_size, self.instrument.tick_size
        dealer = world.dealers[number]
        rule: Any = self.cohorts[OptionsDealers].rule
        count = int(world.config.dealers.options)
        gamma = float(dealer.inventory[:count] @ world.options["gamma"][:count])
        inputs = HedgeInputs(
            delta=float(dealer.delta) * lot,
            position=int(self.state.accounts[int(dealer.account)].position + dealer.pending) * lot,
            gamma=gamma * lot / tick,
            price=float(world.market.hedge_mid) * tick,
            lot_size=lot,
        )
        place = rule_place(HEDGINGS, rule, "trade")
        with told_as(place, self.step_number):
            answer = rule.trade(inputs)
        quantity = finite_number(place, self.step_number, answer, "quantity")
        largest = int(world.config.largest_order)
        expected = f"at most {largest * lot:g} base units either way"
        require(place, self.step_number, abs(quantity) <= largest * lot, expected, quantity)
        return round(quantity / lot)

    def dealer_option_value(self) -> float | None:
        """Value of all dealers' options at the mark in quote currency, by Black (1976); None without options."""
        if self.options is None or self.scenario.dealers.count == 0:
            return None
        grid, inventory = self.options
        elapsed = max(0.0, self.step_number * self.scenario.run.dt) / (365.0 * 86400.0)
        mark = float(self.state.world.market.mark) * self.instrument.tick_size
        return float(inventory @ grid.aged(elapsed).prices(mark))

    def gamma_per_percent(self) -> float:
        """Base units that all dealers together must trade per 1 % move from the present mark; negative when short."""
        world = self.state.world
        if world.config.dealers.count == 0:
            return 0.0
        mark = float(world.market.mark)
        update_greeks(world, mark)
        return float(dealers_gamma(world)) * 0.01 * mark * self.instrument.lot_size
