"""What a model has come to: its tables and figures as a result, at the end of a run or wherever it stands."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.replay import conservation_error
from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import plain
from cascade_sim.core.record.figures import finish_figures
from cascade_sim.domain.errors import RecordsRefused, RunFailed, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.metrics import RunFacts, Runs, summarise
from cascade_sim.metrics.summary import figures_of_one_market
from cascade_sim.model.combining import combine
from cascade_sim.recorder import AccountRecords
from cascade_sim.result import RunResult, build_manifest
from cascade_sim.scenario import Scenario

if TYPE_CHECKING:
    from cascade_sim.model.market import Market
    from cascade_sim.model.simulation import Simulation


def result_of(model: Simulation) -> RunResult:
    """Return what a model has come to as a result: that of `cascade_sim.run` without the impact probe.

    Parameters
    ----------
    model : Simulation
        Finished or not; it may go on afterwards.

    Returns
    -------
    RunResult
        Of a model that has steps left its manifest says ``stopped``, and in which step.
    """
    stop = None
    if not model.finished:
        stop = {"stopped_at_step": model.step_number, "reason": "where its result was taken"}
    result = recorded(model)
    ended, seconds = datetime.now(UTC), time.perf_counter() - model.built_at
    manifest = build_manifest(
        scenario_hash=model.settings.scenario_hash,
        seed=model.seed,
        command_line=sys.argv,
        started_at=ended - timedelta(seconds=seconds),
        ended_at=ended,
        wall_seconds=seconds,
        stop=stop,
    )
    return result.replaced(manifest=result.manifest | manifest, scenario_yaml=model.settings.to_yaml())


def recorded(model: Simulation) -> RunResult:
    """Turn what a model has recorded into tables and figures, those of the probe left out; it may go on afterwards."""
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
