"""Options dealers: an inventory over strikes and expiries, hedged in the book."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.agents.base import Opening, Population
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.hedging import update_greeks
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.units import SECONDS_PER_YEAR
from cascade_sim.options.chain import Chain, load_chain
from cascade_sim.options.contracts import OptionGrid
from cascade_sim.options.inventory import synthetic_inventory
from cascade_sim.registry import HEDGINGS
from cascade_sim.scenario import Scenario

Floats = NDArray[np.float64]


def load_chain_of(scenario: Scenario) -> Chain | None:
    """Return the option chain that a scenario names, or None."""
    chain = scenario.options.chain
    if chain.path is None:
        return None
    return load_chain(
        chain.path, chain.minimum_open_interest, coin=chain.coin, contract_size=chain.contract_size
    )


def speak_of_chain(scenario: Scenario) -> Scenario:
    """Return the scenario with the coin of its option chain as what is traded, in every market that has one.

    A run that started from options on one coin and reported another would be wrong in every unit. Linear options also
    say the currency; those settled in their coin leave open which kind of dollar the market is in.
    """
    own = scenario.market_scenarios()
    if all(each.options.chain.path is None for each in own.values()):
        return scenario
    chains: dict[Any, Chain | None] = {}
    changes: list[dict[str, Any]] = []
    for each in own.values():
        if each.options.chain not in chains:
            chains[each.options.chain] = load_chain_of(each)
        changes.append(_named_after(chains[each.options.chain], each))
    if not any(changes):
        return scenario
    further = {
        name: {"market": change} for name, change in zip(list(own)[1:], changes[1:], strict=True) if change
    }
    return scenario.with_overrides({"market": changes[0]} | ({"markets": further} if further else {}))


def _named_after(chain: Chain | None, scenario: Scenario) -> dict[str, Any]:
    """Return what must change for a market to trade the coin of a chain."""
    if chain is None:
        return {}
    market, wanted = scenario.market, {"base": chain.coin}
    if not chain.settles_in_coin:
        wanted["quote"] = chain.quote
    if market.base != chain.coin and market.instrument.startswith(f"{market.base}-"):
        wanted["instrument"] = chain.coin + market.instrument.removeprefix(market.base)
    return {key: value for key, value in wanted.items() if getattr(market, key) != value}


def load_options(scenario: Scenario) -> tuple[tuple[OptionGrid, Floats] | None, float, Chain | None]:
    """Return the dealers' options and inventory (base units), the price at the start, and the chain read if any.

    Options that expire within the run are left out: their settlement is not simulated.
    """
    options, dealers = scenario.options, scenario.dealers
    chain = load_chain_of(scenario)
    if chain is not None:
        if dealers.count == 0:
            return None, chain.forward, chain
        inventory = chain.dealer_inventory(options.chain.dealer_share, options.chain.sign)
        return _alive(chain.grid, inventory, scenario), chain.forward, chain
    price = scenario.market.initial_price
    if dealers.count == 0 or dealers.gamma_per_percent == 0.0:
        return None, price, None
    grid, inventory = synthetic_inventory(
        initial_price=price,
        target_gamma_per_percent=dealers.gamma_per_percent,
        volatility=options.implied_volatility,
        strikes=options.strikes,
        strike_range=(options.strike_low, options.strike_high),
        strike_centre=options.strike_center,
        strike_deviation=options.strike_width,
        expiry_days=options.expiry_days,
        expiry_weights=options.expiry_weights,
    )
    return _alive(grid, inventory, scenario), price, None


def _alive(grid: OptionGrid, inventory: Floats, scenario: Scenario) -> tuple[OptionGrid, Floats]:
    keep = (grid.years > scenario.run.duration_seconds / SECONDS_PER_YEAR) & (inventory != 0.0)
    count = int(keep.sum())
    if not 1 <= count <= lay.LARGE.options:
        expected = f"1 to {lay.LARGE.options} options that outlive the run and have a dealer"
        raise ScenarioError(expectation("options", expected, count))
    return (
        OptionGrid(
            strike=grid.strike[keep],
            years=grid.years[keep],
            is_call=grid.is_call[keep],
            implied_volatility=grid.implied_volatility[keep],
            open_interest=grid.open_interest[keep],
            forward_ratio=grid.forward_ratio[keep],
        ),
        inventory[keep],
    )


class OptionsDealers(Population):
    """Hold options against customers and hedge delta on a clock of their own."""

    account_class = AccountClass.OPTIONS_DEALER

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """One account each."""
        if scenario.dealers.count > lay.LARGE.dealers:
            raise ScenarioError(
                expectation("dealers.count", f"at most {lay.LARGE.dealers}", scenario.dealers.count)
            )
        return scenario.dealers.count

    def open(self, opening: Opening) -> None:
        """Configure hedging and the options, and say what the dealers share."""
        self.rule: Any = HEDGINGS.create(opening.scenario.dealers.hedging)
        world, scenario = opening.state.world, opening.scenario
        config = world.config.dealers
        config.first_account = self.first_account
        config.gamma_every = max(1, opening.steps(10.0))
        config.smoothing = opening.memory(self.rule.mark_seconds)
        config.interval = self.rule.interval_seconds
        config.band = max(1.0, opening.lots(self.rule.band))
        config.price_limit = self.rule.price_limit
        config.rule = getattr(self.rule, "compiled", lay.RULE_PYTHON)
        if self.count:
            capital = opening.instrument.cash_to_atoms(scenario.dealers.capital)
            opening.deposit(self.first_account, self.count, capital)
        if opening.options is None or self.count == 0:
            return
        config.count = self.count
        grid, inventory = opening.options
        config.options = grid.size
        for i in range(grid.size):
            option = world.options[i]
            option.strike = opening.ticks(float(grid.strike[i]))
            option.years = grid.years[i]
            option.volatility = grid.implied_volatility[i]
            option.forward_ratio = grid.forward_ratio[i]
            option.is_call = int(grid.is_call[i])
        arrays, every = world.grid, slice(grid.size)
        arrays.log_ratio[every] = np.log(grid.forward_ratio / (grid.strike / opening.instrument.tick_size))
        arrays.years[every], arrays.volatility[every] = grid.years, grid.implied_volatility
        arrays.sign[every], arrays.scale[every] = np.where(grid.is_call, 1.0, -1.0), grid.forward_ratio
        self._plan(opening, grid, inventory)

    def _plan(self, opening: Opening, grid: OptionGrid, inventory: Floats) -> None:
        """Say what is shared out, at which premium, and what the options' Greeks are before the first step."""
        world, plan = opening.state.world, opening.plan.dealers
        plan.gamma_shape = max(1, round(opening.scenario.dealers.share_concentration))
        plan.premium = float(inventory @ grid.prices(opening.initial_tick * opening.instrument.tick_size))
        plan.lot_size = opening.instrument.lot_size
        plan.inventory[: grid.size] = inventory
        update_greeks(world, float(opening.initial_tick))
        for i in range(self.count):
            dealer = world.dealers[i]
            dealer.account = self.first_account + i
            dealer.phase = i * self.rule.interval_seconds / self.count
