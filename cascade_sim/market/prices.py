"""From a scenario to the kernels' index, mark and funding."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.registry import MARK_PRICES
from cascade_sim.scenario import Scenario

FUNDAMENTAL = -1


def needs_prices(scenario: Scenario) -> bool:
    """Whether a scenario has an index of sources, funding, or a mark that reads the book."""
    if scenario.index.sources or scenario.market.funding.interval_seconds > 0.0:
        return True
    rule: Any = MARK_PRICES.create(scenario.market.mark_price)
    return bool(getattr(rule, "needs_book", False) or getattr(rule, "needs_impact", False))


def check_sources(scenario: Scenario, markets: Iterable[str]) -> None:
    """Check that the sources of an index read markets that exist.

    Parameters
    ----------
    scenario : Scenario
        Of one market.
    markets : iterable of str
        Names of every market of the run.

    Raises
    ------
    UnknownNameError
        If one does not.
    """
    for name, source in scenario.index.sources.items():
        if source.market is not None and source.market not in markets:
            raise UnknownNameError(f"index.sources.{name}.market", source.market, markets)


def configure_prices(
    world: Any, scenario: Scenario, rule: Any, instrument: Instrument, markets: Mapping[str, Instrument]
) -> None:
    """Write what the index, the mark rule and funding need into a world whose prices are at their start.

    Parameters
    ----------
    world : record
        One record of :data:`layout.WORLD`; ``market`` and ``control.step`` hold their first values.
    scenario : Scenario
        Of this market.
    rule : object
        Its mark-price rule.
    instrument : Instrument
        Its contract.
    markets : mapping
        Contract of every market of the run by name, in the order of their numbers.

    Raises
    ------
    ScenarioError
        If the mark looks back too far, or a source reads a market that does not exist.
    """
    start = float(world.market.index)
    for name in ("delayed_index", "impact_mid", "book_median", "book_average"):
        world.prices[name] = start
    _configure_index(world, scenario, instrument, markets)
    _configure_mark(world, scenario, rule, instrument)
    _configure_funding(world.config.prices, scenario)


def _configure_index(
    world: Any, scenario: Scenario, instrument: Instrument, markets: Mapping[str, Instrument]
) -> None:
    check_sources(scenario, markets)
    index, dt, config = scenario.index, scenario.run.dt, world.config.prices
    numbers = list(markets)
    config.index_sources = len(index.sources)
    config.index_median = int(index.rule == "median")
    config.index_clamp = index.clamp
    config.index_stale = round(index.stale_seconds / dt)
    for number, source in enumerate(index.sources.values()):
        row = world.prices.source[number]
        row["market"], row["scale"] = FUNDAMENTAL, 1.0
        if source.market is not None:
            row["market"] = numbers.index(source.market)
            row["scale"] = markets[source.market].tick_size / instrument.tick_size
        row["weight"], row["delay"] = source.weight, round(source.delay_seconds / dt)
        row["update"] = max(1, round(source.update_seconds / dt))
        row["deviation"], row["noise"] = source.deviation, source.noise
        row["noise_steps"] = max(1, round(source.noise_seconds / dt))
        row["outages"] = len(source.outages)
        for k, (first, end) in enumerate(source.outages):
            row["outage_first"][k], row["outage_end"][k] = round(first / dt), round(end / dt)
        row["value"] = world.market.index
        row["published"] = int(world.control.step) - int(row["update"])


def _configure_mark(world: Any, scenario: Scenario, rule: Any, instrument: Instrument) -> None:
    config, dt = world.config.prices, scenario.run.dt
    config.mark_clamp = getattr(rule, "clamp", np.inf)
    delay = round(rule.delay_seconds / dt) if hasattr(rule, "delay_seconds") else -1
    if delay >= lay.LARGE.lookback:
        expected = f"at most {lay.LARGE.lookback - 1} steps of {dt:g} s"
        raise ScenarioError(expectation("market.mark_price.delay_seconds", expected, rule.delay_seconds))
    config.mark_delay = delay
    config.needs_book = int(getattr(rule, "needs_book", False))
    config.book_memory = rule.book_memory(dt) if hasattr(rule, "book_memory") else 0.0
    needs_impact = getattr(rule, "needs_impact", False)
    config.basis_of_impact = int(needs_impact)
    funded = scenario.market.funding.interval_seconds > 0.0
    if needs_impact or (funded and scenario.market.funding.premium == "impact"):
        atoms = instrument.cash_to_atoms(scenario.market.impact_notional)
        config.impact_value = atoms / instrument.atoms_per_tick_lot


def _configure_funding(config: Any, scenario: Scenario) -> None:
    funding = scenario.market.funding
    config.funding_interval = round(funding.interval_seconds / scenario.run.dt)
    config.funding_share = funding.interval_seconds / funding.rate_seconds
    config.funding_interest, config.funding_clamp = funding.interest_rate, funding.clamp
    config.funding_cap = funding.cap
    config.funding_linear = int(funding.average == "linear")
    config.funding_impact = int(funding.premium == "impact")
    config.funding_at_index = int(funding.price == "index")
