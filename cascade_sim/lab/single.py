"""One run from a scenario and a seed, with its summary and manifest."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from os import PathLike

from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import (
    CapacityError,
    CascadeError,
    RunInterrupted,
    StrainWarning,
)
from cascade_sim.lab.interrupts import Held, held_back
from cascade_sim.lab.probe import forced_density, permanent_impact
from cascade_sim.manifest import IMPACT_PROBE, with_missing
from cascade_sim.model import Simulation, build
from cascade_sim.model.capacities import STRAINED, strain, strain_text
from cascade_sim.model.outcome import collect as collect
from cascade_sim.model.outcome import figures as figures
from cascade_sim.model.outcome import measure_conservation as measure_conservation
from cascade_sim.model.outcome import recorded
from cascade_sim.model.outcome import run_facts as run_facts
from cascade_sim.model.outcome import runs_of as runs_of
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
            result = recorded(model)
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


def _reason(stop: CapacityError | KeyboardInterrupt) -> str:
    return str(stop).partition(": ")[2] if isinstance(stop, CapacityError) else "interrupted"


def switch_arm(scenario: Scenario, off: Collection[str]) -> Scenario:
    """Return the scenario with the switches named in ``off`` turned off."""
    return scenario.with_overrides({f"switches.{name}": False for name in off})


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
