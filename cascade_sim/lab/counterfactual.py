"""The same draws with mechanisms switched off: what each of them, and all of them together, added."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import factorial
from os import PathLike
from typing import Any

import pandas as pd

from cascade_sim.domain.errors import CapacityError, RunInterrupted, UnknownNameError
from cascade_sim.domain.units import added
from cascade_sim.lab.single import EVERYTHING_ON, run, switch_arm, with_impact_if_possible
from cascade_sim.result import ARM_COLUMNS, RunResult, arm_table
from cascade_sim.scenario import Scenario, as_scenario

Subset = frozenset[str]
_CONTROLS = ("impact_off", "placebo")
_OF_THE_WHOLE = frozenset(("markets", "cascade_sizes", "interaction_bp", "attribution"))
"""Keys of a summary that are no figure of a single arm."""


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A run beside its arms.

    Attributes
    ----------
    result : RunResult
        Everything on; its summary holds the counterfactual keys as well, and it keeps the table and the marks of
        the arms, so that a saved result draws the same charts.
    table : DataFrame
        A row per subset of mechanisms: its name (``arm``), a bool column per mechanism (True: on), its scalar summary,
        ``amplification`` (excursion over that of the run with none of them) and ``added_move_bp`` (difference to it).
    summary : dict
        Of ``result``.
    arms : mapping
        Label -> time and mark of every other arm, a row per step.
    """

    result: RunResult
    table: pd.DataFrame
    summary: dict[str, Any]
    arms: Mapping[str, pd.DataFrame] = field(repr=False)


def _check(scenario: Scenario, mechanisms: Sequence[str]) -> tuple[str, ...]:
    known = list(type(scenario.switches).model_fields)
    for name in mechanisms:
        if name not in known:
            raise UnknownNameError("mechanism", name, known)
    return tuple(dict.fromkeys(mechanisms))


def _label(on: Subset, mechanisms: Sequence[str]) -> str:
    """Name an arm by what differs from the run with everything on, as briefly as that can be said."""
    if len(on) == len(mechanisms):
        return EVERYTHING_ON
    active = [name.replace("_", " ") for name in mechanisms if name in on]
    missing = [name.replace("_", " ") for name in mechanisms if name not in on]
    if len(missing) == 1:
        return f"without {missing[0]}"
    if not active:
        return "without both" if len(missing) == 2 else "without any of them"
    return f"only {active[0]}" if len(active) == 1 else f"only {' and '.join(active)}"


def shapley(values: Mapping[Subset, float], mechanisms: Sequence[str]) -> dict[str, float]:
    """Share what all mechanisms together add (Shapley 1953); the parts sum to all minus none.

    Parameters
    ----------
    values : mapping
        Measure of every subset of ``mechanisms``.
    mechanisms : sequence of str
    """
    count = len(mechanisms)
    parts = {}
    for name in mechanisms:
        others = [other for other in mechanisms if other != name]
        total = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for chosen in combinations(others, size):
                before = frozenset(chosen)
                total += weight * (values[before | {name}] - values[before])
        parts[name] = total
    return parts


def counterfactual(
    scenario: Scenario | str | PathLike[str],
    seed: int = 0,
    mechanisms: Sequence[str] = ("liquidation", "delta_hedging"),
    progress: Callable[[int, int], None] | None = None,
    *,
    probe: bool = True,
) -> Counterfactual:
    """Run every subset of the mechanisms on the same draws.

    Parameters
    ----------
    scenario : Scenario, str or path
        Text and paths as for `cascade_sim.load_scenario`.
    seed : int
        Shared by all arms.
    mechanisms : sequence of str
        Switches of the scenario. The controls are arms of their own beside everything on: ``placebo`` adds one lot of
        flow, ``impact_off`` closes distressed positions at mark outside the book.
    progress : callable, optional
        Called with (steps done, steps in all) over all arms.
    probe : bool
        As for `cascade_sim.run`; measured after all arms.

    Returns
    -------
    Counterfactual

    Raises
    ------
    UnknownNameError
        If a mechanism is no switch.
    CapacityError, RunInterrupted
        As from `cascade_sim.run`, with the run with everything on and the arms that were finished.
    """
    scenario = as_scenario(scenario)
    chosen = _check(scenario, mechanisms)
    controls = [name for name in chosen if name in _CONTROLS]
    chosen = tuple(name for name in chosen if name not in _CONTROLS)
    subsets = [frozenset(part) for size in range(len(chosen) + 1) for part in combinations(chosen, size)]
    everything = frozenset(chosen)
    per_run = scenario.run.steps + scenario.run.burn_in_steps
    runs = len(subsets) + len(controls)
    finished = 0

    def advance(done: int, _total: int) -> None:
        if progress is not None:
            progress(finished * per_run + done, runs * per_run)

    arms: dict[str, pd.DataFrame] = {}
    # Everything on comes first, so that an interrupt loses as little as it can.
    result = run(scenario, seed, probe=False, progress=advance)
    finished += 1
    summaries: dict[Subset, dict[str, Any]] = {everything: result.summary}

    def run_arm(label: str, arm: Scenario) -> dict[str, Any]:
        nonlocal finished
        try:
            found = run(arm, seed, record="series", probe=False, progress=advance)
        except (CapacityError, KeyboardInterrupt) as stop:
            raise _kept(stop, label, result, arms) from None
        finished += 1
        # Of an arm only what is compared: whole results of many arms would fill the memory.
        arms[label] = found.columns("series", ARM_COLUMNS).copy()
        return found.summary

    for on in subsets:
        if on != everything:
            summaries[on] = run_arm(_label(on, chosen), switch_arm(scenario, everything - on))
    base = summaries[frozenset()]
    off = dict.fromkeys(controls, False)
    rows = [
        _row(summaries[on], _label(on, chosen), {**{name: name in on for name in chosen}, **off}, base)
        for on in subsets
    ]
    for name in controls:
        arm = scenario.with_overrides({f"switches.{name}": True})
        label = name.replace("_", " ")
        control = run_arm(label, arm)
        rows.append(_row(control, label, {**dict.fromkeys(chosen, True), **off, name: True}, base))
    table = _table(rows)
    # The run with everything on is the last of the subsets.
    result = result.replaced(arms=arm_table(arms), counterfactual=table)
    result.summary.update(_effects(summaries, chosen, rows[len(subsets) - 1]))
    if probe:
        result = with_impact_if_possible(result, scenario, seed)
    return Counterfactual(result=result, table=result.counterfactual, summary=result.summary, arms=arms)


def _kept(
    stop: CapacityError | KeyboardInterrupt, label: str, result: RunResult, arms: Mapping[str, pd.DataFrame]
) -> CapacityError | RunInterrupted:
    """What stopped an arm, carrying the run with everything on and the arms that were finished."""
    capacity = isinstance(stop, CapacityError)
    place = f"the arm {label!r}"
    reason = f"{place}: {stop}" if capacity else f"interrupted in {place}"
    stopped = {"status": "stopped", "stopped_at_step": result.summary.get("steps"), "reason": reason}
    kept = result.replaced(arms=arm_table(arms), manifest={**result.manifest, **stopped})
    if not capacity:
        return RunInterrupted(reason, kept)
    error = CapacityError(reason)
    error.result = kept
    return error


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; a figure that is missing in every arm is a number all the same."""
    table = pd.DataFrame(rows)
    return table.astype({name: "float64" for name in table.columns if table[name].isna().all()})


def _row(
    summary: Mapping[str, Any], label: str, switches: Mapping[str, bool], none: Mapping[str, Any]
) -> dict[str, Any]:
    scalars = {
        key: value
        for key, value in summary.items()
        if key not in _OF_THE_WHOLE and not isinstance(value, Mapping)
    }
    excursion, base = summary["max_adverse_excursion"], none["max_adverse_excursion"]
    known = excursion is not None and base is not None
    scalars["amplification"] = excursion / base if known and base != 0.0 else None
    scalars["added_move_bp"] = abs(excursion) - abs(base) if known else None
    return {"arm": label, **switches, **scalars}


def _effects(
    summaries: Mapping[Subset, Mapping[str, Any]], mechanisms: Sequence[str], row: Mapping[str, Any]
) -> dict[str, Any]:
    effects = {key: row[key] for key in ("amplification", "added_move_bp")}
    measured = {on: summary["max_adverse_excursion"] for on, summary in summaries.items()}
    if any(value is None for value in measured.values()):
        return effects
    values = {on: abs(float(value)) for on, value in measured.items()}
    none = values[frozenset()]
    singles = added(values[frozenset({name})] - none for name in mechanisms)
    effects["interaction_bp"] = values[frozenset(mechanisms)] - none - singles
    effects["attribution"] = shapley(values, mechanisms)
    return effects
