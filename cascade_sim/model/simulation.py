"""A world of markets that runs: everything of the model but what Mesa adds to it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cascade_sim.agents.base import Population
from cascade_sim.agents.desk import OrderDesk
from cascade_sim.agents.options_dealer import speak_of_chain
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.looks import open_queue
from cascade_sim.core.drivers.loop import full, lean
from cascade_sim.core.drivers.state import State, System, allocate_system, grow_system, plain
from cascade_sim.core.ground.memory import clear
from cascade_sim.domain.errors import CapacityError, CascadeError, RunFailed, UnknownNameError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.market.prices import configure_prices, needs_prices
from cascade_sim.model.capacities import needs_of
from cascade_sim.model.market import Market
from cascade_sim.model.market import check_inputs as check_market_inputs
from cascade_sim.scenario import Scenario

if TYPE_CHECKING:
    from cascade_sim.clearing.brackets import BracketTable
    from cascade_sim.clearing.engine import LiquidationEngine
    from cascade_sim.options.chain import Chain
    from cascade_sim.recorder import Recorder
    from cascade_sim.result import RunResult

STEPS_PER_CALL = 512
"""Steps between two looks at the progress of a run and at requests to stop it: a fraction of a second."""

ALL_PHASES = 2**62
CAPACITIES = {
    lay.CAPACITY_ORDERS: "orders in the book",
    lay.CAPACITY_TRADES: "fills recorded in one step",
    lay.CAPACITY_EVENTS: "events recorded in one step",
    lay.CAPACITY_TRANSFERS: "transfers recorded in one step",
    lay.CAPACITY_WHEEL: "orders waiting for their expiry",
    lay.CAPACITY_PRICE: "price ticks",
    lay.CAPACITY_SIZE: "lots in one order",
    lay.CAPACITY_AGENT_FILLS: "fills of Python agents in one step",
    lay.CAPACITY_FLIGHT: "orders on their way to the book",
    lay.CAPACITY_QUEUE: "orders waiting for the engine, which takes too few a step",
    lay.CAPACITY_AUCTION: "crossing orders in one call auction",
    lay.CAPACITY_ACTORS: "wake-ups and returns of traders",
}
_FLOW = "background.limit_rate, background.market_rate, run.dt"
CAPACITY_FIELDS = {
    lay.CAPACITY_ORDERS: f"{_FLOW}, background.lifetime_seconds, background.patient_orders, liquidity.levels",
    lay.CAPACITY_TRADES: f"{_FLOW}, background.market_size, shock.duration_seconds, clearing.accounts_per_second",
    lay.CAPACITY_EVENTS: "clearing.accounts_per_second, clearing.rounds_per_step, traders.count, run.dt",
    lay.CAPACITY_TRANSFERS: "traders.count, clearing.accounts_per_second, market.funding.interval_seconds, run.record",
    lay.CAPACITY_WHEEL: f"{_FLOW}, background.lifetime_seconds, background.patient_orders",
    lay.CAPACITY_PRICE: "market.tick_size, market.initial_price, liquidity.levels, liquidity.level_growth, "
    "liquidity.half_spread, liquidity.spread_volatility_exponent, background.distance_cap",
    lay.CAPACITY_SIZE: "market.lot_size, shock.quantity, traders.open_interest, traders.entrants.quantity, "
    "background.market_size, value_traders.rate_cap, arbitrage.rate_cap, dealers.gamma_per_percent",
    lay.CAPACITY_AGENT_FILLS: "agents (how many, and what they send in one step), run.dt",
    lay.CAPACITY_FLIGHT: f"latency.messages_per_step, latency.background.delay_seconds, {_FLOW}, liquidity.count, "
    "liquidity.levels, liquidity.requote_seconds",
    lay.CAPACITY_QUEUE: f"latency.messages_per_step, {_FLOW}, liquidity.count, liquidity.levels",
    lay.CAPACITY_AUCTION: f"venue.price_band.halt_seconds, venue.circuit_breaker.halt_seconds, {_FLOW}",
    lay.CAPACITY_ACTORS: "traders.count, traders.activity.wake_rate, traders.activity.reentry.delay_seconds",
}
"""Fields of a scenario that decide how much of a capacity is used."""


def capacity_text(code: int) -> str:
    """What was expected and received when the capacity of that code ran out, and the fields that decide."""
    what = CAPACITIES.get(code, "an unknown capacity")
    fields = f"; fields that decide: {CAPACITY_FIELDS[code]}" if code in CAPACITY_FIELDS else ""
    return f"expected room for more {what}, received more than fit{fields}"


def check_inputs(scenario: Scenario) -> None:
    """Build every rule, find every agent and read every input file that a scenario names.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    ScenarioError, DataFileError
        As :class:`CascadeModel` would.
    """
    check_market_inputs(scenario)
    for each in scenario.market_scenarios().values():
        if each.agents:  # they need Mesa, which takes as long to import as everything else that runs
            from cascade_sim.model.joining import scenario_groups

            scenario_groups(each)


def needs_markets_driver(scenario: Scenario) -> bool:
    """Whether a scenario uses a mechanism that only the driver for several markets knows."""
    return (
        bool(scenario.markets)
        or scenario.portfolios.count > 0
        or needs_prices(scenario)
        or scenario.venue.has_rules
        or scenario.latency.is_active
    )


class Simulation:
    """A world of one or several markets with everything compiled that acts on them.

    It has what `CascadeModel` has except agents written in Python, and needs no Mesa. What a market has (see `Market`),
    ``markets`` holds by name; the properties here are those of the first. ``sizes`` is the size class, the smallest with room
    for what the scenario asks for (`layout.Sizes`).

    Parameters
    ----------
    settings : Scenario
        Fully resolved.
    rng : int
        Seed; any text of digits is accepted as well.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong; nothing has run then.
    """

    def __init__(self, settings: Scenario, rng: int | str = 0) -> None:
        self.seed, self.built_at = int(rng), time.perf_counter()
        settings = speak_of_chain(settings)
        self.settings = settings
        self.markets: dict[str, Market] = {}
        self.desks: dict[str, OrderDesk] = {}
        several = bool(settings.markets)
        for name, own in settings.market_scenarios().items():
            further = name if self.markets else None
            self.markets[name] = Market(self, own, self.seed, further, several=several)
        everyone = list(self.markets.values())
        self.main = everyone[0]
        self.sizes = lay.smallest(needs_of(everyone))
        self.system: System = allocate_system(
            max(market.account_count for market in everyone),
            max(market.entrants for market in everyone),
            [market.self_trade for market in everyone],
            settings.portfolios.count if settings.switches.cross_margin else 0,
            self.sizes,
        )
        for number, market in enumerate(everyone):
            market.open(self.system.state(number), self.sizes)
        contracts = {name: market.instrument for name, market in self.markets.items()}
        for market in everyone:
            world = market.state.world
            configure_prices(world, market.settings, market.mark_rule, market.instrument, contracts)
        self._couple()
        self._advance = self._choose_driver()
        for number, market in enumerate(everyone):
            market.attach(self.system, number)
        self._open()

    def seat(self, kind: type[Population]) -> type[Population]:
        """Return the class to make a compiled population of: the kind itself, or one that also is what a model needs."""
        return kind

    def _open(self) -> None:
        """Open the accounts of every market from the seed."""
        for number, market in enumerate(self.markets.values()):
            market.open_world(self.system.rows(number))
        if len(self.system.portfolios):
            open_queue(plain(self.system.worlds), plain(self.system.portfolios))
        # The opening works with lists of all accounts; the run needs them as long as those who act.
        clear(self.system.scratch)
        clear(self.system.scores)

    def _couple(self) -> None:
        """Let markets of one asset follow one value, correlate the values of others, and let arbitrage connect."""
        everyone = list(self.markets.values())
        first = everyone[0].state.world.config
        values: dict[str, Any] = {}
        traded: dict[tuple[str, str], int] = {}
        for number, market in enumerate(everyone):
            config, contract = market.state.world.config, market.instrument
            config.value_of = number
            if contract.base in values:
                for name in ("value_of", "value_seed", "common_seed", "own_weight", "common_weight"):
                    config[name] = values[contract.base][name]
            elif number > 0:
                correlation = market.settings.fundamental.correlation
                config.common_seed, config.common_weight = first.value_seed, correlation
                config.own_weight = (1.0 - correlation * correlation) ** 0.5
            values.setdefault(contract.base, config)
            if number > 0 and self.settings.portfolios.count > 0:
                market.share_portfolios(self.main)
            partner = traded.setdefault((contract.base, contract.quote), number)
            if partner != number:
                market.arbitrage_against(partner)

    def _choose_driver(self) -> Callable[[int, int], int]:
        """The compiled driver that has everything this scenario needs, and no more than it has to."""
        return functools.partial(full if self.needs_full_driver else lean, *self.system.arrays())

    @property
    def needs_full_driver(self) -> bool:
        """Whether the world uses any of the mechanisms that the lean driver leaves out."""
        world = self.state.world
        fixed = int(world.config.flow.kind) == lay.FLOW_FIXED
        return needs_markets_driver(self.settings) or not fixed or bool(world.activity.config.enabled)

    @property
    def state(self) -> State:
        """Arrays of the first market."""
        return self.main.state

    @property
    def instrument(self) -> Instrument:
        """Contract of the first market."""
        return self.main.instrument

    @property
    def initial_tick(self) -> int:
        """Price of the first market at the start, in ticks."""
        return self.main.initial_tick

    @property
    def engine(self) -> LiquidationEngine:
        """Liquidation engine of the first market, with its rules."""
        return self.main.engine

    @property
    def mark_rule(self) -> Any:
        """Rule by which the first market forms its mark."""
        return self.main.mark_rule

    @property
    def chain(self) -> Chain | None:
        """Option chain that the first market starts from, None without one."""
        return self.main.chain

    @property
    def brackets(self) -> BracketTable | None:
        """Margin brackets of the first market, None for a single tier."""
        return self.main.brackets

    @property
    def recorder(self) -> Recorder:
        """What the first market has recorded."""
        return self.main.recorder

    @property
    def desk(self) -> OrderDesk:
        """Where agents written in Python meet the first market."""
        return self.main.desk

    @property
    def populations(self) -> dict[type[Population], Population]:
        """Compiled populations of the first market by class."""
        return self.main.populations

    @property
    def participants(self) -> list[Any]:
        """Agents written in Python that act in the first market."""
        return self.main.participants

    @property
    def first_participant(self) -> int:
        """First of the accounts that the first market keeps for agents written in Python."""
        return self.main.first_participant

    @property
    def account_count(self) -> int:
        """Accounts of the first market."""
        return self.main.account_count

    @property
    def start_accounts(self) -> NDArray[Any] | None:
        """Accounts of the first market as step 0 began, None before; see `Market.start_accounts`."""
        return self.main.start_accounts

    @property
    def start_mark(self) -> float:
        """Mark of the first market as step 0 began, in ticks; until then the price at the start."""
        return self.main.start_mark

    @property
    def opening_transfers(self) -> NDArray[Any]:
        """Every transfer of the opening of the first market, rows of `layout.TRANSFER`."""
        return self.main.opening_transfers

    @property
    def opening_positions(self) -> NDArray[Any]:
        """Position of every account of the first market before its first step, in lots; a full record keeps it."""
        positions: NDArray[Any] = self.main.opening_positions
        return positions

    @property
    def dealer_value_start(self) -> float | None:
        """Value of the options of the first market's dealers as step 0 began, None without options."""
        return self.main.dealer_value_start

    def gamma_per_percent(self) -> float:
        """Base units that the dealers of the first market must trade per 1 % move; see `Market.gamma_per_percent`."""
        return self.main.gamma_per_percent()

    def dealer_option_value(self) -> float | None:
        """Value of the options of the first market's dealers in quote currency, None without options."""
        return self.main.dealer_option_value()

    @property
    def step_number(self) -> int:
        """The step that comes next; negative during burn-in."""
        return self.main.step_number

    @property
    def finished(self) -> bool:
        """Whether the last step has been made."""
        return self.step_number >= self.settings.run.steps

    def market_named(self, name: str) -> Market:
        """Return a market; raises UnknownNameError if there is none of that name."""
        if name not in self.markets:
            raise UnknownNameError("market", name, list(self.markets))
        return self.markets[name]

    def make_room(self, accounts: int) -> None:
        """Give every market at least so many rows of accounts, before the first step."""
        held = self.system.accounts.shape[1]
        if accounts <= held:
            return
        # Agents that join one by one would copy all accounts each time.
        self.system = grow_system(self.system, accounts + held // 8)
        for number, market in enumerate(self.markets.values()):
            market.attach(self.system, number)
        self._advance = self._choose_driver()

    def close(self) -> None:
        """Give the memory of the run back; what was recorded has to be collected before, and the model is done.

        A model and its markets refer to each other, so without this the memory waits for the garbage collector,
        which counts objects and does not see how large these are.
        """
        for market in self.markets.values():
            market.close()
        self.desks.clear()
        del self.system, self._advance

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
        control = self.main.parts.control
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
        run_config = self.settings.run
        end = run_config.steps if until is None else min(until, run_config.steps)
        total = run_config.steps + run_config.burn_in_steps
        while self.step_number < end:
            status = self._advance(self._next_stop(end), ALL_PHASES)
            if status != lay.RETURN_DONE:
                self._answer(status)
            elif self.main.parts.control.phase == 0:
                self._between_steps()
            if progress is not None:
                progress(self.step_number + run_config.burn_in_steps, total)

    def result(self) -> RunResult:
        """Return what has been recorded as a result: tables, summary, manifest, scenario.

        After :meth:`run` it is what `cascade_sim.run` returns with ``probe=False``. A model that has not made its last step
        gives what it has so far, may go on, and may be asked again.

        Returns
        -------
        RunResult
            Of a model with steps left the manifest has the status ``stopped``.

        Raises
        ------
        CascadeError
            After :meth:`close`.
        RunFailed
            If the ledger does not balance.
        """
        if not hasattr(self, "system"):
            raise CascadeError(expectation("model", "one that holds its records", "one that was closed"))
        from cascade_sim.model.outcome import result_of  # what only steps needs no tables

        return result_of(self)

    def _next_stop(self, end: int) -> int:
        """The next step before which Python has something to do: step 0, news of the progress, the end."""
        step = self.step_number
        return min(step + STEPS_PER_CALL, end, 0 if step < 0 else end)

    def _between_steps(self) -> None:
        """What happens between two steps in either driver: the start of the run."""
        if self.step_number == 0:
            for market in self.markets.values():
                if not market.has_started:
                    market.note_start()

    def _answer(self, status: int) -> None:
        """Do what the kernels cannot, for the market that asks."""
        market = list(self.markets.values())[int(self.main.parts.control.market)]
        if status == lay.RETURN_CAPACITY:
            text = capacity_text(int(market.state.world.control.capacity))
            raise CapacityError(f"step {self.step_number}: {text}")
        else:
            market.answer(status)


def build(settings: Scenario, rng: int | str = 0) -> Simulation:
    """Build the world of a scenario: with Mesa where agents written in Python take part, which are Mesa's, else without.

    Parameters
    ----------
    settings : Scenario
    rng : int
        As for `Simulation`.

    Returns
    -------
    Simulation
        A `CascadeModel` if the scenario names agents.

    Raises
    ------
    ScenarioError, DataFileError
        As for `Simulation`.
    """
    if any(each.agents for each in settings.market_scenarios().values()):
        from cascade_sim.model.cascade_model import CascadeModel

        return CascadeModel(settings, rng)
    return Simulation(settings, rng)
