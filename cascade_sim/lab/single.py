"""One run from a scenario and a seed, with its summary and manifest."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.replay import conservation_error
from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import plain
from cascade_sim.core.record.figures import finish_figures
from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import (
    CapacityError,
    CascadeError,
    RecordsRefused,
    RunFailed,
    RunInterrupted,
    StrainWarning,
    expectation,
)
from cascade_sim.domain.instruments import Instrument
from cascade_sim.lab.interrupts import Held, held_back
from cascade_sim.lab.probe import forced_density, permanent_impact
from cascade_sim.lab.several import combine
from cascade_sim.manifest import IMPACT_PROBE, with_missing
from cascade_sim.metrics import RunFacts, Runs, summarise
from cascade_sim.metrics.summary import figures_of_one_market
from cascade_sim.model import Market, Simulation, build
from cascade_sim.model.capacities import STRAINED, strain, strain_text
from cascade_sim.recorder import AccountRecords
from cascade_sim.result import RunResult, build_manifest
from cascade_sim.scenario import Scenario, as_scenario

Progress = Callable[[int, int], None]
EVERYTHING_ON = "everything on"
"""Name of the run itself among its counterfactual arms."""


def run(
    scenario: Scenario | str | PathLike[str],
    seed: int = 0,
    *,
    record: str | None = None,
    probe: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """Run a scenario once.

    Parameters
    ----------
    scenario : Scenario, str or path
        What to simulate; text and paths as for `cascade_sim.load_scenario`.
    seed : int
        Key of every draw; equal seeds give equal results.
    record : {"full", "series", "summary"}, optional
        What to keep; the scenario's own choice by default.
    probe : bool
        Whether to measure the permanent impact by paired probe runs, which the summary's ``permanent_impact``,
        ``leverage_n`` and ``gamma_x`` need.
    progress : callable, optional
        Called now and then with (steps done, steps in all).

    Returns
    -------
    RunResult
        If the probe fails, its figures are None, the manifest says why under ``missing``, and Python warns.

    Raises
    ------
    ScenarioError, DataFileError
        Before the first step, if the request was wrong.
    CapacityError, RunFailed
        If the run could not be finished.
    RunInterrupted
        After Ctrl-C. Like a `CapacityError` it carries the ``result`` of what was recorded until then.
    """
    scenario = as_scenario(scenario)
    if record is not None and record != scenario.run.record:
        scenario = scenario.with_overrides({"run.record": record})
    started, clock = datetime.now(UTC), time.perf_counter()
    model = build(scenario, rng=seed)
    # The coin of an option chain is that of the market.
    scenario = model.settings
    strains = {name: strain(market) for name, market in model.markets.items()}
    for name, ratio in strains.items():
        if ratio >= STRAINED:
            warnings.warn(f"market {name}: {strain_text(ratio)}", StrainWarning, stacklevel=2)
    first, result, stop = model.step_number, None, None
    try:
        # What has been recorded takes a while to become tables: nothing of that is to be lost either.
        with held_back(lambda: model.step_number > first) as held:
            stop = _advance(model, progress, held)
            step, finished = model.step_number, model.finished
            result = _result(model)
    except KeyboardInterrupt as interrupt:
        if result is None:
            raise
        stop = stop or interrupt
    model.close()
    cut_short = stop is not None and not finished
    manifest = result.manifest | build_manifest(
        scenario_hash=scenario.scenario_hash,
        seed=seed,
        command_line=sys.argv,
        started_at=started,
        ended_at=datetime.now(UTC),
        wall_seconds=time.perf_counter() - clock,
        stop={"stopped_at_step": step, "reason": _reason(stop)} if stop is not None and cut_short else None,
    )
    manifest["forced_over_depth"] = {
        name: ratio if math.isfinite(ratio) else None for name, ratio in strains.items()
    }
    result = result.replaced(manifest=manifest, scenario_yaml=scenario.to_yaml())
    if isinstance(stop, CapacityError):
        stop.result = result
        raise stop
    if stop is not None:
        if probe and finished:
            result = result.replaced(manifest=with_missing(result.manifest, {IMPACT_PROBE: "interrupted"}))
        place = f"in step {step} of {scenario.run.steps}" if cut_short else "after the last step"
        raise RunInterrupted(f"interrupted {place}", result) from None
    return with_impact_if_possible(result, scenario, seed) if probe else result


def _advance(
    model: Simulation, progress: Progress | None, held: Held
) -> CapacityError | KeyboardInterrupt | None:
    """Run a model to its end, or to where it stops; returns what stopped it."""
    first = model.step_number

    def advance(done: int, total: int) -> None:
        held.let_through()
        if progress is not None:
            progress(done, total)

    try:
        model.run(progress=advance)
    except CapacityError as error:
        return error
    except KeyboardInterrupt as error:
        if model.step_number == first:
            raise
        return error
    return None


def _use_of_brackets(market: Market) -> dict[str, Any] | None:
    """Return where the positions of a market began in its margin brackets, None without brackets."""
    table = market.brackets
    if table is None:
        return None
    began = market.start_accounts
    rows = began if began is not None else np.asarray(market.state.accounts)[: market.account_count]
    margined = (rows["traits"] & lay.FLAG_MARGINED != 0) & (rows["position"] != 0)
    instrument = market.instrument
    lots, mark = np.abs(rows["position"][margined]).astype(np.float64), market.start_mark
    notional = lots * mark * instrument.lot_size * instrument.tick_size
    last = float(table.max_notional[-1])
    return {
        "symbol": table.symbol,
        "mode": "whole_position" if table.whole_position else "marginal",
        "tiers": len(table.max_notional),
        "quote": instrument.quote,
        "last_notional": last if np.isfinite(last) else None,
        "accounts": int(margined.sum()),
        "accounts_above": int((notional > last).sum()),
    }


def _result(model: Simulation) -> RunResult:
    """Turn what a model has recorded into tables and figures, those of the probe left out."""
    markets = list(model.markets.values())
    results = [collect(market) for market in markets]
    errors = [int(measure_conservation(*each)) for each in zip(markets, results, strict=True)]
    error = sum(int(each) for each in errors)
    if any(errors):
        raise RunFailed(expectation("conservation_error", "0 atoms", error))
    summaries = [
        summarise(figures(model, name), {"conservation_error": off})
        for name, off in zip(model.markets, errors, strict=True)
    ]
    # Tables hold every market; the summary is that of the first, and says the main figures of all.
    told = {name: figures_of_one_market(each) for name, each in zip(model.markets, summaries, strict=True)}
    summary = summaries[0] | {"conservation_error": error, "markets": told}
    counts = [market.account_count for market in markets]
    result = results[0] if len(results) == 1 else combine(results, counts)
    use: dict[str, Any] = {}
    if model.chain is not None:
        use["option_chain"] = model.chain.use(model.settings.run.duration_seconds)
    brackets = _use_of_brackets(markets[0])
    if brackets is not None:
        use["margin_brackets"] = brackets
    return result.replaced(summary=summary, manifest=use)


def _reason(stop: CapacityError | KeyboardInterrupt) -> str:
    return str(stop).partition(": ")[2] if isinstance(stop, CapacityError) else "interrupted"


def switch_arm(scenario: Scenario, off: Collection[str]) -> Scenario:
    """Return the scenario with the switches named in ``off`` turned off."""
    return scenario.with_overrides({f"switches.{name}": False for name in off})


def _rules(model: Market) -> dict[str, str]:
    scenario = model.settings
    stages = [stage.name for stage in scenario.clearing.waterfall if stage.name != "book"]
    return {
        **{f"waterfall.{place}": name for place, name in enumerate(stages)},
        "trigger": scenario.clearing.margin.name,
        "book": scenario.clearing.priority.name,
        "fund": "insurance_fund",
        "adl": scenario.clearing.adl.name,
        "socialised": "pro_rata_profit",
        "hedge": scenario.dealers.hedging.name,
    }


def collect(model: Market) -> RunResult:
    """Build the tables of a market that has run; the summary is left empty."""
    with suppress(RecordsRefused):  # the rows are kept all the same
        model.recorder.drain(model.state.tape)
    accounts, config = model.state.accounts[: model.account_count], model.state.world.config
    tiers, whole = int(config.clearing.tiers), config.clearing.whole
    began = model.start_accounts
    start = began if began is not None else accounts
    records = AccountRecords(
        classes=np.array(accounts["account_class"], dtype=np.int8),
        start=np.array(start[: model.account_count], copy=True, subok=False),
        closing=np.array(accounts, copy=True, subok=False),
        opening_transfers=model.opening_transfers,
        start_mark=model.start_mark,
        closing_mark=float(model.state.world.market.mark),
        tier_rate=np.array(config.clearing.tier_rate[:tiers]),
        tier_deduction=np.array(config.clearing.tier_deduction[:tiers]),
        tier_end=np.array(whole.ends[:tiers]) if int(whole.enabled) else None,
        fee_account=int(config.fee_account),
    )
    linear = int(config.formation) == lay.FORMATION_LINEAR
    tables: dict[str, Any] = dict(model.recorder.tables(records, _rules(model), linear_impact=linear))
    return RunResult(**tables)


def measure_conservation(model: Market, result: RunResult) -> int:
    """Return the conservation error in atoms and lots: replayed tables where recorded, totals and a full scan always."""
    accounts, totals = model.state.accounts[: model.account_count], model.state.world.totals
    error = int(totals.check_failures) + int(totals.crossed_books)
    if model.recorder.level >= lay.RECORD_FULL:
        tables = {
            "transfers": result.pieces("transfers", ("from_account_id", "to_account_id", "amount_atom")),
            "trades": result.pieces(
                "trades", ("quantity_lot", "aggressor_side", "taker_account_id", "maker_account_id")
            ),
        }
        return error + conservation_error(tables, accounts, model.opening_positions[: model.account_count])
    return error + abs(int(accounts["cash"].sum())) + abs(int(accounts["position"].sum()))


def figures(model: Simulation, market: str) -> Runs:
    """Return what a market of a model has come to, as the metrics take it."""
    number = list(model.markets).index(market)
    row = plain(np.zeros(1, lay.FIGURE_ROW).view(np.recarray))
    worlds, books, accounts, *_ = model.system.rows(number)
    finish_figures(worlds, books, accounts, row, lay.RETURN_DONE, 0)
    settled = model.markets[market]
    return runs_of(row, settled.settings, settled.instrument)


def runs_of(rows: NDArray[Any], scenario: Scenario, instrument: Instrument) -> Runs:
    """Return rows of :data:`layout.FIGURE_ROW` of runs of a scenario as the metrics take them."""
    return Runs(rows, instrument, scenario.run.dt, scenario.clearing.insurance_fund)


def run_facts(model: Market) -> RunFacts:
    """Return what table metrics need beside the tables; of a run that stopped, up to the last step that was completed."""
    scenario, steps = model.settings, max(0, model.step_number)
    shock = int(model.state.world.config.shock[0].first_step) if scenario.shock.is_active else None
    if shock is not None and shock >= steps:
        shock = None
    return RunFacts(
        steps=steps,
        dt=scenario.run.dt,
        first_shock_step=shock,
        window_end_step=scenario.run.last_of_window(shock or 0, steps) if steps > 0 else None,
    )


def with_impact(
    result: RunResult, scenario: Scenario, seed: int, progress: Progress | None = None
) -> RunResult:
    """Return a result with the figures of the impact probe: permanent impact and the two dimensionless numbers.

    Parameters
    ----------
    result : RunResult
        A finished run, or everything on with its counterfactual arms.
    scenario : Scenario
        What was run.
    seed : int
        Its seed.
    progress : callable, optional
        Called with (runs done, runs in all).

    Returns
    -------
    RunResult
    """
    impact = permanent_impact(scenario, seed, progress=progress)
    if impact is None:
        return result
    fresh = build(scenario.alone().with_overrides({"run.record": "summary"}), rng=seed)
    price = fresh.instrument.tick_to_price(fresh.initial_tick)
    numbers = {
        "permanent_impact": impact,
        "leverage_n": impact * forced_density(fresh),
        "gamma_x": impact * fresh.gamma_per_percent() / (0.01 * price),
    }
    fresh.close()
    table = result.counterfactual.copy()
    if len(table):
        table.loc[table["arm"] == EVERYTHING_ON, list(numbers)] = list(numbers.values())
    return result.replaced(summary={**result.summary, **numbers}, counterfactual=table)


def with_impact_if_possible(result: RunResult, scenario: Scenario, seed: int) -> RunResult:
    """Return a result with the figures of the impact probe, or saying why it has none.

    Parameters
    ----------
    result : RunResult
        As for `with_impact`.
    scenario : Scenario
    seed : int

    Returns
    -------
    RunResult

    Raises
    ------
    RunInterrupted
        After Ctrl-C; it carries the result without these figures.
    """
    try:
        return with_impact(result, scenario, seed)
    except KeyboardInterrupt:
        kept = result.replaced(manifest=with_missing(result.manifest, {IMPACT_PROBE: "interrupted"}))
        raise RunInterrupted("interrupted in the impact probe, the run itself is finished", kept) from None
    except Exception as error:
        # Whatever it was: the run is finished and must not be lost with what was to be measured beside it.
        reason = str(error) if isinstance(error, CascadeError) else error_text(error)
        warnings.warn(f"the impact probe failed: {reason}", RuntimeWarning, stacklevel=3)
        return result.replaced(manifest=with_missing(result.manifest, {IMPACT_PROBE: reason}))
