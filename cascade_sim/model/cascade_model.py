"""The model: agents on order books, a clearing house over their accounts, one readable step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mesa

from cascade_sim.agents.base import Participant
from cascade_sim.agents.cohort import Cohort
from cascade_sim.agents.desk import OrderDesk
from cascade_sim.agents.options_dealer import speak_of_chain
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.portfolios import open_queue
from cascade_sim.core.drivers.loop import full, lean
from cascade_sim.core.drivers.state import State, System, allocate_system, grow_system
from cascade_sim.core.ground.memory import clear
from cascade_sim.domain.errors import CapacityError, RunFailed, ScenarioError, UnknownNameError, expectation
from cascade_sim.market.prices import configure_prices, needs_prices
from cascade_sim.model.joining import join, scenario_groups
from cascade_sim.model.market import Market
from cascade_sim.model.market import check_inputs as check_market_inputs
from cascade_sim.scenario import Scenario

__all__ = ["CascadeModel", "Market", "check_inputs", "needs_markets_driver"]

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
    lay.CAPACITY_TRADES: f"{_FLOW}, background.market_size, shock.duration_seconds, clearing.accounts_per_step",
    lay.CAPACITY_EVENTS: "clearing.accounts_per_step, clearing.rounds_per_step, traders.count, run.dt",
    lay.CAPACITY_TRANSFERS: "traders.count, clearing.accounts_per_step, market.funding.interval_seconds, run.record",
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


class CascadeModel(mesa.Model):  # type: ignore[misc]  # Mesa publishes no types
    """A world of one or several markets with everything that acts on them.

    The attributes of the first market (``state``, ``instrument``, ``recorder``, ``cohorts`` and so on, see
    ``Market``) are the model's as well; ``markets`` holds all of them by name.

    Parameters
    ----------
    settings : Scenario
        Fully resolved. Mesa has a ``scenario`` of its own, as an attribute and as an argument with which its
        dashboard builds a model anew; nothing here goes by that name.
    rng : int
        Seed; any text of digits is accepted as well.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong; nothing has run then.
    """

    def __init__(self, settings: Scenario, rng: int | str = 0) -> None:
        self.seed = int(rng)
        super().__init__(rng=self.seed & 0xFFFFFFFF)
        settings = speak_of_chain(settings)
        self.settings = settings
        self.markets: dict[str, Market] = {}
        self.desks: dict[str, OrderDesk] = {}
        groups = {name: scenario_groups(own) for name, own in settings.market_scenarios().items()}
        several = bool(settings.markets)
        for name, own in settings.market_scenarios().items():
            further = name if self.markets else None
            self.markets[name] = Market(self, own, self.seed, further, several=several)
        everyone = list(self.markets.values())
        self.main = everyone[0]
        self.system: System = allocate_system(
            max(market.account_count for market in everyone),
            max(market.entrants for market in everyone),
            [market.self_trade for market in everyone],
            settings.portfolios.count if settings.switches.cross_margin else 0,
        )
        for number, market in enumerate(everyone):
            market.open(self.system.state(number))
        contracts = {name: market.instrument for name, market in self.markets.items()}
        for market in everyone:
            world = market.state.world
            configure_prices(world, market.settings, market.mark_rule, market.instrument, contracts)
        self._couple()
        self._advance = self._choose_driver()
        for number, market in enumerate(everyone):
            market.attach(self.system, number)
        self._open()
        for name, wanted in groups.items():
            for group in wanted:
                for agent in group.create(self):
                    join(self, agent, self.markets[name], group.path)

    def _open(self) -> None:
        """Open the accounts of every market from the seed."""
        for market in self.markets.values():
            market.open_world()
        if len(self.system.portfolios):
            open_queue(self.system.worlds, self.system.portfolios)
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

    def __getattr__(self, name: str) -> Any:
        """Attributes of the first market."""
        main = self.__dict__.get("main")
        if main is None or name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(main, name)

    @property
    def state(self) -> State:
        """Arrays of the first market."""
        return self.main.state

    @property
    def step_number(self) -> int:
        """The step that comes next; negative during burn-in."""
        return self.main.step_number

    @property
    def finished(self) -> bool:
        """Whether the last step has been made."""
        return self.step_number >= self.settings.run.steps

    def add_participant(self, participant: Participant, market: str | None = None) -> Participant:
        """Let an agent written in Python trade; returns it.

        Parameters
        ----------
        participant : Participant
        market : str, optional
            Name of a further market; the first by default.

        Raises
        ------
        ScenarioError
            If the run has begun, or the participant has joined already.
        UnknownNameError
            If there is no such market.
        """
        self._admit(participant, Participant, market)
        return participant

    def add_cohort(self, cohort: Cohort, market: str | None = None) -> Cohort:
        """Let a cohort written in numpy trade; as :meth:`add_participant`."""
        self._admit(cohort, Cohort, market)
        return cohort

    def _admit(self, agent: Any, kind: type[Any], market: str | None) -> None:
        label = kind.noun
        if not isinstance(agent, kind):
            raise ScenarioError(expectation(label, f"a {kind.__name__}", type(agent).__name__))
        if self.step_number != -self.settings.run.burn_in_steps or self.state.world.control.phase != 0:
            raise ScenarioError(expectation(label, f"{label}s before the first step", "later"))
        join(self, agent, self.main if market is None else self.market_named(market))

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

        Mesa ties a model and its agents to each other, so without this the memory waits for the garbage collector,
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
