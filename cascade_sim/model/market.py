"""One market of a world: its contract, rules, populations, accounts and recorder."""

from __future__ import annotations

import math
from typing import Any
from zlib import crc32

import numpy as np
import numpy.lib.recfunctions as rfn
from numpy.typing import NDArray

from cascade_sim.agents.background_flow import BackgroundFlow
from cascade_sim.agents.base import Opening, Population
from cascade_sim.agents.desk import OrderDesk, tell_all
from cascade_sim.agents.discretionary import (
    Arbitrageurs,
    CrossArbitrageurs,
    OptionCustomers,
    ShockSource,
    UnleveredHolders,
    ValueTraders,
)
from cascade_sim.agents.leveraged_trader import LeveragedTraders, TrendFollowers, entrant_count
from cascade_sim.agents.liquidity_provider import LiquidityProviders
from cascade_sim.agents.options_dealer import OptionsDealers, load_options
from cascade_sim.agents.portfolio_trader import PortfolioTraders
from cascade_sim.clearing.asking import finite_number, require, rule_place, told_as
from cascade_sim.clearing.brackets import BracketTable, load_brackets
from cascade_sim.clearing.engine import ENGINE_ASKS, LiquidationEngine
from cascade_sim.clearing.margin import MarginMarket, margin_table
from cascade_sim.clearing.views import parts_of
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.hedging import dealers_gamma, update_greeks
from cascade_sim.core.drivers.opening import Opener
from cascade_sim.core.drivers.state import State, System, plain
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.domain.enums import AccountClass, SelfTradePolicy
from cascade_sim.domain.errors import RunFailed, ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import volatility_per_sqrt_second
from cascade_sim.market.circuit_breaker import configure_venue
from cascade_sim.market.latency import configure_latency
from cascade_sim.market.mark_price import MarkInputs
from cascade_sim.market.prices import check_sources
from cascade_sim.model.capacities import check_capacities, check_opening, largest_order, start_tick, ticks_of
from cascade_sim.options.hedging import HedgeInputs
from cascade_sim.recorder import Recorder
from cascade_sim.registry import HEDGINGS, MARK_PRICES, PRICE_FORMATIONS
from cascade_sim.scenario import Scenario

SYSTEM_ACCOUNTS = (
    AccountClass.EXTERNAL,
    AccountClass.INSURANCE_FUND,
    AccountClass.FEES,
    AccountClass.ROUNDING,
    AccountClass.PRICE_FORMATION,
)
POPULATIONS: tuple[type[Population], ...] = (
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
    PortfolioTraders,
)
PARTICIPANT_ACCOUNTS = 64
"""Accounts kept for agents written in Python, before the traders, whose number varies between scenarios."""
RECORD_LEVELS = {"summary": lay.RECORD_SUMMARY, "series": lay.RECORD_SERIES, "full": lay.RECORD_FULL}

_CHANGING = ("cash", "position", "entry_tick")
"""Fields of an account that burn-in can change and that say what it held when the run began."""


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
    scenarios = scenario.market_scenarios()
    for each in scenarios.values():
        _check_market(each)
        check_sources(each, scenarios)


def _check_market(scenario: Scenario) -> None:
    market, instrument = scenario.market, instrument_of(scenario)
    engine = LiquidationEngine.from_scenario(scenario, instrument)
    MARK_PRICES.create(market.mark_price)
    PRICE_FORMATIONS.create(market.price_formation)
    HEDGINGS.create(scenario.dealers.hedging)
    price = load_options(scenario)[1]
    tick = start_tick(scenario, instrument, price)
    _margin_table(engine, scenario, price)
    check_capacities(scenario, instrument, tick)


def instrument_of(scenario: Scenario) -> Instrument:
    """Return the contract of a market's scenario."""
    market = scenario.market
    return Instrument(
        market.venue, market.instrument, market.base, market.quote, market.tick_size, market.lot_size
    )


def _margin_table(engine: LiquidationEngine, scenario: Scenario, price: float) -> BracketTable | None:
    """Return the tiers that the margin model asks for in a market that begins at ``price``."""
    market, clearing = scenario.market, scenario.clearing
    asked = MarginMarket(
        symbol=market.instrument,
        quote=market.quote,
        price=price,
        open_interest=scenario.traders.open_interest + scenario.portfolios.open_interest,
        maintenance_margin=clearing.maintenance_margin,
        initial_margin=clearing.initial_margin,
        brackets=_load_brackets(scenario, price),
    )
    return margin_table(engine.margin, asked)


def _load_brackets(scenario: Scenario, price: float) -> BracketTable | None:
    brackets = scenario.traders.brackets
    if brackets.path is None:
        return None
    if brackets.symbol is None:
        raise ScenarioError(
            expectation("traders.brackets.symbol", "the name of a contract in the file", None)
        )
    return load_brackets(
        brackets.path,
        brackets.symbol,
        mode=brackets.mode,
        unit=brackets.unit,
        contract_size=brackets.contract_size,
        price=price if brackets.price is None else brackets.price,
    )


def market_seed(seed: int, name: str | None) -> np.uint64:
    """Key of every draw of a market; a further market's depends on its name, not on how many others there are.

    Parameters
    ----------
    seed : int
        Seed of the run.
    name : str, optional
        Name of a further market; None for the first.
    """
    spawn = () if name is None else (crc32(name.encode()),)
    sequence = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF, spawn_key=spawn)
    return np.uint64(sequence.generate_state(1, np.uint64)[0])


class Market:
    """One instrument on one venue, with everything that acts on it.

    Parameters
    ----------
    model : Simulation
        The model that the populations join.
    settings : Scenario
        Fully resolved for this market.
    seed : int
        Seed of the run.
    name : str, optional
        Name of a further market; None for the first.
    several : bool
        Whether the world has more than this market.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong.
    """

    def __init__(
        self,
        model: Any,
        settings: Scenario,
        seed: int,
        name: str | None = None,
        *,
        several: bool = False,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.name = name
        market = settings.market
        self.instrument = instrument_of(settings)
        self.engine = LiquidationEngine.from_scenario(settings, self.instrument)
        self.mark_rule: Any = MARK_PRICES.create(market.mark_price)
        self.formation: Any = PRICE_FORMATIONS.create(market.price_formation)
        self.options, price, self.chain = load_options(settings)
        self.initial_tick = start_tick(settings, self.instrument, price)
        check_capacities(settings, self.instrument, self.initial_tick)
        self.brackets = _margin_table(self.engine, settings, price)
        self.recorder = Recorder(self.instrument, settings.run.dt, RECORD_LEVELS[settings.run.record])
        self.self_trade = int(SelfTradePolicy[market.self_trade.upper()])
        self._start: NDArray[Any] | None = None
        self.start_mark = float(self.initial_tick)
        self.dealer_value_start: float | None = None
        self.participants: list[Any] = []
        self.agent_accounts = 0
        self.kinds: dict[str, int] = {}
        self.desk = OrderDesk(
            name or market.venue, self.instrument, model.desks, settings.run.dt, -settings.run.burn_in_steps
        )
        model.desks[self.desk.name] = self.desk
        self.entrants = entrant_count(settings)
        self._number_accounts(model, POPULATIONS + (CrossArbitrageurs,) * several)

    def _number_accounts(self, model: Any, kinds: tuple[type[Population], ...]) -> None:
        first = len(SYSTEM_ACCOUNTS)
        self.populations: dict[type[Population], Population] = {}
        self.first_participant = 0
        for kind in kinds:
            if kind is LeveragedTraders:
                self.first_participant = first
                first += PARTICIPANT_ACCOUNTS
            count = kind.size(self.settings)
            self.populations[kind] = model.seat(kind)(model, first, count)
            first += count
        self.first_party = first
        self.account_count = first + len(self.engine.parties)

    def open(self, state: State, sizes: lay.Sizes = lay.STANDARD) -> None:
        """Write everything that the scenario decides into ``state``, which is of a size class; nothing has been drawn yet."""
        scenario = self.settings
        self.state = state
        self._configure()
        opening = Opening(
            scenario,
            self.instrument,
            self.state,
            self.initial_tick,
            self.options,
            self.brackets,
            sizes,
        )
        classes = self.state.accounts["account_class"]
        classes[: len(SYSTEM_ACCOUNTS)] = SYSTEM_ACCOUNTS
        classes[self.first_participant : self.account_count] = AccountClass.PARTICIPANT
        for population in self.populations.values():
            first = population.first_account
            classes[first : first + population.count] = population.account_class
        self.state.book.anonymous = self.populations[BackgroundFlow].first_account
        fund = self.instrument.cash_to_atoms(scenario.clearing.insurance_fund)
        opening.deposit(int(self.state.world.config.fund_account), 1, fund)
        classes[self.first_party : self.account_count] = AccountClass.BACKSTOP
        for number, party in enumerate(self.engine.parties, start=self.first_party):
            opening.deposit(number, 1, self.instrument.cash_to_atoms(party.capital))
        for population in self.populations.values():
            population.open(opening)
        self._set_window()
        self.opening = opening
        self.parts = parts_of(state)

    def _configure(self) -> None:
        """Write what belongs to no population into the kernel configuration."""
        scenario, world = self.settings, self.state.world
        config, dt = world.config, self.settings.run.dt
        config.seed = market_seed(self.seed, self.name)
        config.value_seed, config.own_weight = config.seed, 1.0
        config.dt, config.steps, config.burn_in = dt, scenario.run.steps, scenario.run.burn_in_steps
        config.atoms = self.instrument.atoms_per_tick_lot
        config.largest_order = largest_order(self.instrument, self.initial_tick)
        book = self.state.book
        book.ticks = ticks_of(self.initial_tick)
        book.origin = world.control.trigger_origin = max(0, self.initial_tick - WINDOW // 2)
        config.maker_fee, config.taker_fee = scenario.market.maker_fee_rate, scenario.market.taker_fee_rate
        config.volatility = volatility_per_sqrt_second(scenario.fundamental.volatility) * math.sqrt(dt)
        config.record = RECORD_LEVELS[scenario.run.record]
        config.depth_every, config.map_every = scenario.run.depth_every_steps, scenario.run.map_every_steps
        # A full scan costs as much as there are accounts; spread over steps it stays small beside them.
        config.check_every = max(1000, self.account_count // 20)
        (
            config.external_account,
            config.fund_account,
            config.fee_account,
            config.rounding_account,
            config.formation_account,
        ) = range(len(SYSTEM_ACCOUNTS))
        config.dealers.gamma_every = 1
        config.dealers.customer_account = self.populations[OptionCustomers].first_account
        config.mark_rule = getattr(self.mark_rule, "compiled", lay.RULE_PYTHON)
        config.mark_memory = 1.0
        if hasattr(self.mark_rule, "memory"):
            with told_as(rule_place(MARK_PRICES, self.mark_rule, "memory")):
                config.mark_memory = self.mark_rule.memory(dt)
        config.basis_memory = config.mark_memory
        config.mark_instant = int(getattr(self.mark_rule, "instant", False))
        config.mark_follows_index = int(getattr(self.mark_rule, "follows_index", False))
        self.formation.configure(config, self.instrument)
        configure_venue(world, scenario, self.instrument)
        self.engine.configure(config, scenario, self.brackets, self.first_party)
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

    def _set_window(self) -> None:
        """Write down the event window: from the first shock, or step 0, as long as the scenario says or to the end.

        The market is calm before the first shock, all the time without one.
        """
        config, run = self.state.world.config, self.settings.run
        shock = int(config.shock[0].first_step) if self.settings.shock.is_active else None
        if shock is not None and shock >= run.steps:
            shock = None
        first = shock or 0
        last = run.last_of_window(first, run.steps)
        config.window_first, config.window_last = first, last
        config.calm_last = run.steps - 1 if shock is None else shock - 1
        config.minute_steps = max(1, round(60.0 / run.dt))
        config.forced_bins = min(last - first + 1, lay.FORCED_BINS)
        config.densest_bins = max(1, round(lay.DENSEST_SHARE * config.forced_bins))

    def open_world(self, rows: tuple[NDArray[Any], ...]) -> None:
        """Open every account from the seed, and place the orders that rest from the beginning.

        ``rows`` are the market's arrays as :meth:`core.drivers.state.System.rows` returns them.
        """
        opener = Opener(rows, plain(self.opening.plans))
        keeps_all = self.recorder.level >= lay.RECORD_FULL
        self.opened = [self.opening.open_world(opener, keeps_all)]
        check_opening(self)
        if keeps_all:
            self.opening_positions = self.state.accounts["position"].copy()
        opener.open_orders()
        if self.settings.run.burn_in_steps == 0:
            self.note_start()

    def arbitrage_against(self, partner: int) -> None:
        """Let arbitrageurs trade this market against the market number ``partner`` of the world."""
        population = self.populations[CrossArbitrageurs]
        assert isinstance(population, CrossArbitrageurs)
        population.trade_against(self.opening, partner)

    def share_portfolios(self, first: Market) -> None:
        """Make the portfolio accounts of this market further legs of those of the first."""
        population = self.populations[PortfolioTraders]
        assert isinstance(population, PortfolioTraders)
        population.join(self.opening, first.opening.plan.portfolios.shared_seed)

    @property
    def start_accounts(self) -> NDArray[Any] | None:
        """Rows of layout.ACCOUNT as step 0 began, None before; times and outcomes are not kept for a mere summary."""
        if self._start is None:
            return None
        rows = np.array(self.state.accounts, copy=True, subok=False)
        rows["collateral"][(rows["traits"] & lay.FLAG_LATE) != 0] = 0
        for name in self._start.dtype.names or ():
            rows[name] = self._start[name]
        return rows

    @property
    def has_started(self) -> bool:
        """Whether the accounts as step 0 began are remembered."""
        return self._start is not None

    def note_start(self) -> None:
        """Remember the accounts as step 0 begins."""
        rows = np.asarray(self.state.accounts)
        # A run that keeps its summary alone may have a million accounts: what changes in them is kept, and no more.
        kept = list(_CHANGING) if self.recorder.level < lay.RECORD_SERIES else list(rows.dtype.names or ())
        # Repacking copies only what is not packed already.
        self._start = rfn.repack_fields(rows[kept]).copy()
        self.start_mark = float(self.state.world.market.mark)
        self.dealer_value_start = self.dealer_option_value()

    def attach(self, system: System, number: int) -> None:
        """Use the arrays of market ``number`` of a system with the same content, before anything has moved."""
        self.state = self.opening.state = system.state(number)
        self.opening_positions = self.state.accounts["position"].copy()
        self.desk.attach(system, number)

    @property
    def opening_transfers(self) -> NDArray[Any]:
        """Every transfer of the opening, rows of :data:`layout.TRANSFER`."""
        return np.concatenate(self.opened)

    def close(self) -> None:
        """Give the memory of the run back."""
        del self.state, self.parts, self.recorder, self.opening, self.desk
        self._start = None

    @property
    def step_number(self) -> int:
        """The step that comes next; negative during burn-in."""
        return int(self.parts.control.step)

    def answer(self, status: int) -> None:
        """Do what the kernels of this market cannot: drain the tape, ask a rule written in Python."""
        if status in ENGINE_ASKS:
            self.engine.answer(status, self.state, self.parts)
            return
        world = self.state.world
        if status == lay.RETURN_DRAIN:
            self.recorder.drain(self.state.tape)
            self.desk.drain()
        elif status == lay.RETURN_AGENTS:
            tell_all(self.desk)
            world.control.next_agents = self.desk.next_due
            world.control.answered = 1
        elif status == lay.RETURN_MARK:
            world.market.asked_mark = self._ask_mark()
            world.control.answered = 1
        elif status == lay.RETURN_HEDGE:
            world.control.request_quantity = self._ask_hedge(int(world.control.request_account))
            world.control.answered = 1
        else:
            raise RunFailed(expectation("request", "one that Python can answer", status))

    def _ask_mark(self) -> float:
        market, tick = self.state.world.market, self.instrument.tick_size
        prices = self.state.world.prices
        inputs = MarkInputs(
            mid=float(market.mid) * tick,
            last=float(market.last) * tick,
            index=float(market.index) * tick,
            mark=float(market.mark) * tick,
            basis=float(market.basis) * tick,
            one_sided=bool(market.one_sided),
            dt=self.settings.run.dt,
            delayed_index=float(prices.delayed_index) * tick,
            impact_mid=float(prices.impact_mid) * tick,
            book_median=float(prices.book_median) * tick,
            book_average=float(prices.book_average) * tick,
            funding_basis=float(prices.funding_basis),
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
        dealers = self.populations[OptionsDealers]
        assert isinstance(dealers, OptionsDealers)
        rule: Any = dealers.rule
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
        if self.options is None or self.settings.dealers.count == 0:
            return None
        grid, inventory = self.options
        elapsed = max(0.0, self.step_number * self.settings.run.dt) / (365.0 * 86400.0)
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
