"""Arms of one or several scenarios on the same draws: what each costs, how they differ, and how sure that is."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cascade_sim.comparison import PLACE, RUN_COLUMNS, Comparison
from cascade_sim.domain.errors import CascadeError, RunFailed, ScenarioError, UnknownNameError, expectation
from cascade_sim.lab.arms import CONTROLS, Arm, is_list, named, scenario_of, text_of, varied
from cascade_sim.lab.replicas import ReplicasInterrupted, run_replicas, stacked
from cascade_sim.manifest import build_study_manifest
from cascade_sim.metrics import METRICS, Metric, summary_keys
from cascade_sim.metrics.paired import (
    RESAMPLES,
    Difference,
    confidence_sequence,
    holm,
    needed,
    paired_difference,
    tail_mean,
    verdict,
)
from cascade_sim.model import check_inputs
from cascade_sim.scenario import Scenario, as_scenario
from cascade_sim.scenario.tree import plain_tree

Progress = Callable[[int, int], None]
Scenarios = Scenario | str | PathLike[str] | Sequence[Scenario | str | PathLike[str]]

PRIMARY = ("max_adverse_excursion", "bad_debt")
"""What a comparison is decided by, unless it says otherwise."""
LEVEL = 0.05
_LOOK_EVERY = 20
"""Replications between two looks of a comparison that stops when it is decided."""
_SECONDARY_RESAMPLES = 1999


class ComparisonInterrupted(KeyboardInterrupt):
    """The interrupt of a comparison.

    Attributes
    ----------
    comparison : Comparison or None
        What had finished; None where that is less than a run.
    """

    def __init__(self, comparison: Comparison | None) -> None:
        finished = 0 if comparison is None else len(comparison.runs)
        super().__init__(f"{finished} runs had finished")
        self.comparison = comparison


class Cell(NamedTuple):
    """One scenario of a comparison: an arm of it, under a setting.

    Attributes
    ----------
    scenario : str
        Name of the scenario.
    setting : str
        What ``across`` changes, empty for nothing.
    arm : Arm
    resolved : Scenario
    """

    scenario: str
    setting: str
    arm: Arm
    resolved: Scenario


def compare(
    scenario: Scenarios,
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    arms: Mapping[str, Mapping[str, Any]] | Sequence[Arm] | None = None,
    controls: bool = False,
    across: Mapping[str, Sequence[Any]] | None = None,
    replications: int = 50,
    seed: int = 0,
    primary: Sequence[str] = PRIMARY,
    margins: Mapping[str, float] | None = None,
    until_decided: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare arms on common random numbers.

    Parameters
    ----------
    scenario : Scenario, str, path, or a sequence of them
        What the arms change; text and paths as for `cascade_sim.load_scenario`.
    vary : mapping, optional
        Values by dotted path: an arm for every combination, the first of them the one that the others are compared with.
    arms : mapping or sequence, optional
        In place of ``vary``: overrides by the name of the arm; the first is the one that the others are compared with.
    controls : bool
        Whether to add the first arm with `impact_off` and with `placebo` on.
    across : mapping, optional
        Values by dotted path under which the comparison is repeated, one change at a time.
    replications : int
        Runs of every arm, at least 2; with ``until_decided`` at most so many.
    seed : int
        Seed of the first replication of every arm, not negative; the following have the following ones, so that
        ``run(scenario, seed + k)`` is replication k.
    primary : sequence of str
        Metrics that decide.
    margins : mapping, optional
        Differences that do not matter, by metric, in its unit; by default those of the metrics themselves.
    until_decided : bool
        Stop once every primary metric of every arm is decided by a confidence sequence, which may be looked at any time.
    workers : int, optional
        Threads, by default one per processor; results do not depend on it.
    progress : callable, optional
        Called now and then with (runs done, runs in all).

    Returns
    -------
    Comparison
        A run that fails is a row with the reason; the others go on.

    Raises
    ------
    ScenarioError, UnknownNameError, DataFileError
        Before the first run, if the request is wrong.
    ComparisonInterrupted
        After Ctrl-C; it carries what had finished.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    scenarios = _scenarios(scenario)
    chosen = _arms(vary, arms, controls=controls)
    settings = _settings(across)
    goals = _goals(primary, margins)
    if isinstance(replications, bool) or replications < 2:
        raise ScenarioError(expectation("replications", "at least 2", replications))
    if isinstance(seed, bool) or seed < 0:
        raise ScenarioError(expectation("seed", "a number of at least 0", seed))
    cells = _cells(scenarios, settings, chosen)
    study = _Study(cells, replications, seed, workers, progress)
    design = {
        "scenarios": list(scenarios),
        "arms": [arm._asdict() for arm in chosen],
        "across": {path: [plain_tree(value) for value in values] for path, values in (across or {}).items()},
        "settings": list(settings),
        "replications": replications,
        "seed": seed,
        "primary": list(goals),
        "margins": goals,
        "until_decided": until_decided,
        "level": LEVEL,
        "currencies": _currencies(next(iter(scenarios.values()))),
    }
    interrupted = False
    try:
        study.run(lambda: until_decided and _is_decided(study.frame(), cells, goals), until_decided)
    except KeyboardInterrupt:
        interrupted = True
    runs = study.frame()
    if runs.empty:
        if interrupted:
            raise ComparisonInterrupted(None) from None
        raise RunFailed("expected at least one run that finishes, received none")
    design |= {"replications": study.done, "units": study.units}
    manifest = build_study_manifest(
        command_line=sys.argv,
        started_at=started,
        ended_at=datetime.now(UTC),
        wall_seconds=time.perf_counter() - clock,
        status="stopped" if interrupted else "finished",
    )
    texts = {name: each.to_yaml() for name, each in scenarios.items()}
    comparison = Comparison(*_tables(runs, cells, goals, study.units), design, manifest, texts)
    if interrupted:
        raise ComparisonInterrupted(comparison) from None
    return comparison


def _scenarios(scenario: Scenarios) -> dict[str, Scenario]:
    """The scenarios by name."""
    given = [scenario] if isinstance(scenario, Scenario | str | PathLike) else list(scenario)
    if not given:
        raise ScenarioError("scenario: expected at least one, received none")
    found: dict[str, Scenario] = {}
    for each in given:
        resolved = as_scenario(each)
        if resolved.name in found:
            raise ScenarioError(
                expectation("scenario", "scenarios of different names", f"{resolved.name} twice")
            )
        found[resolved.name] = resolved
    return found


def _arms(
    vary: Mapping[str, Sequence[Any]] | None,
    arms: Mapping[str, Mapping[str, Any]] | Sequence[Arm] | None,
    *,
    controls: bool,
) -> list[Arm]:
    if (vary is None) == (arms is None):
        received = "neither" if vary is None else "both"
        raise ScenarioError(f"arms: expected either vary or arms, received {received}")
    if vary is not None:
        chosen = varied(vary)
    elif isinstance(arms, Mapping):
        chosen = named(arms)
    else:
        chosen = list(arms or ())
    if len(chosen) < 2 and not controls:
        raise ScenarioError(expectation("arms", "at least two arms to compare", len(chosen)))
    if controls:
        chosen += [Arm(name, {**chosen[0].overrides, **changes}, True) for name, changes in CONTROLS.items()]
    return chosen


def _settings(across: Mapping[str, Sequence[Any]] | None) -> dict[str, dict[str, Any]]:
    """What is changed for all arms at once, by name; first nothing."""
    found: dict[str, dict[str, Any]] = {"": {}}
    for path, values in (across or {}).items():
        if not is_list(values):
            raise ScenarioError(expectation(f"across: {path}", "a list of values", values))
        for value in values:
            found[f"{path}={text_of(value)}"] = {path: plain_tree(value, path)}
    return found


def _goals(primary: Sequence[str], margins: Mapping[str, float] | None) -> dict[str, float | None]:
    """Margin of every primary metric, None where every difference matters."""
    known = [key.name for key in summary_keys() if key.function is not None]
    for name in [*primary, *(margins or {})]:
        if name not in known:
            raise UnknownNameError("metric", name, known)
    if not primary:
        raise ScenarioError(expectation("primary", "at least one metric", "none", known))
    goals: dict[str, float | None] = {}
    for name in primary:
        margin = (margins or {}).get(name, METRICS[name].margin)
        if margin is not None and not (math.isfinite(margin) and margin > 0.0):
            raise ScenarioError(expectation(f"margin of {name}", "a number above 0", margin))
        goals[name] = margin
    for name in margins or {}:
        if name not in goals:
            raise ScenarioError(expectation("margin", "a primary metric", name, goals))
    return goals


def _cells(
    scenarios: Mapping[str, Scenario], settings: Mapping[str, Mapping[str, Any]], arms: Sequence[Arm]
) -> list[Cell]:
    """Every scenario under every setting with every arm, each checked as far as it can be before it runs."""
    cells = []
    for name, scenario in scenarios.items():
        for setting, changes in settings.items():
            try:
                below = scenario.with_overrides(changes) if changes else scenario
            except ScenarioError as error:
                raise ScenarioError(f"across {setting}: {error}") from error
            for arm in arms:
                resolved = scenario_of(below, arm)
                try:
                    check_inputs(resolved)
                except CascadeError as error:
                    raise ScenarioError(f"arm {arm.name}: {error}") from error
                cells.append(Cell(name, setting, arm, resolved))
    return cells


def _currencies(scenario: Scenario) -> dict[str, str]:
    return {"base": scenario.market.base, "quote": scenario.market.quote}


class _Study:
    """The runs of a comparison, a batch of replications of every cell at a time."""

    def __init__(
        self,
        cells: Sequence[Cell],
        replications: int,
        seed: int,
        workers: int | None,
        progress: Progress | None,
    ) -> None:
        self.cells, self.replications, self.seed = cells, replications, seed
        self.workers, self.progress = workers, progress
        self.done = 0
        self.units: dict[str, str] = {}
        self._parts: list[pd.DataFrame] = []
        self._finished = 0

    def run(self, is_enough: Callable[[], bool], in_looks: bool) -> None:
        """Run all replications, or as many as it takes."""
        step = _LOOK_EVERY if in_looks else self.replications
        while self.done < self.replications:
            count = min(step, self.replications - self.done)
            first = self.seed + self.done
            seeds = list(range(first, first + count))
            for cell in self.cells:
                self._run_cell(cell, seeds, self.done)
            self.done += count
            if is_enough():
                return

    def _run_cell(self, cell: Cell, seeds: list[int], first: int) -> None:
        """Run the seeds of a cell."""
        try:
            rows = run_replicas(cell.resolved, seeds, first, workers=self.workers, progress=self._told)
        except ReplicasInterrupted as stop:
            self._keep(cell, stop.rows)
            raise
        self._keep(cell, rows)
        self._finished += len(seeds)

    def _told(self, done: int, _total: int) -> None:
        if self.progress is not None:
            self.progress(self._finished + done, len(self.cells) * self.replications)

    def _keep(self, cell: Cell, rows: pd.DataFrame) -> None:
        self.units |= rows.attrs["units"]
        place = dict(zip(PLACE, (cell.scenario, cell.setting, cell.arm.name), strict=True))
        if len(rows):
            self._parts.append(rows.assign(**place))

    def frame(self) -> pd.DataFrame:
        """The rows so far, cell by cell, in the order of replications."""
        if not self.units:
            return pd.DataFrame(columns=list(RUN_COLUMNS))
        runs = stacked(self._parts)
        order = {(cell.scenario, cell.setting, cell.arm.name): k for k, cell in enumerate(self.cells)}
        cells = [order[key] for key in zip(*(runs[name] for name in PLACE), strict=True)]
        runs = runs.iloc[np.lexsort((runs["replication"].to_numpy(), np.array(cells)))]
        return runs[[*RUN_COLUMNS, *self.units, "fingerprint"]].reset_index(drop=True)


def _is_decided(runs: pd.DataFrame, cells: Sequence[Cell], goals: Mapping[str, float | None]) -> bool:
    """Whether every primary metric of every arm is, by intervals that hold at every look and for all of them at once."""
    open_questions = [cell for cell in cells if not cell.arm.is_control]
    questions = max(1, len(goals) * len([cell for cell in open_questions if cell.arm != cells[0].arm]))
    for cell in open_questions:
        if cell.arm == cells[0].arm:
            continue
        for metric, margin in goals.items():
            own, first = _paired(
                runs, cell.scenario, cell.setting, cell.arm.name, cells[0].arm.name, METRICS[metric]
            )
            low, high = confidence_sequence(own - first, LEVEL / questions)
            inside = margin is not None and -margin <= low and high <= margin
            if not inside and low <= 0.0 <= high:
                return False
    return True


def _rows(runs: pd.DataFrame, scenario: str, setting: str, arm: str) -> pd.DataFrame:
    chosen = (runs["scenario"] == scenario) & (runs["setting"] == setting) & (runs["arm"] == arm)
    return runs[chosen & (runs["status"] == "finished")].set_index("replication")


def _paired(
    runs: pd.DataFrame,
    scenario: str,
    setting: str,
    arm: str,
    first: str,
    metric: Metric | None,
    column: str = "",
) -> tuple[Any, Any]:
    """Values of an arm and of the first, by replication, as they are compared."""
    name = metric.name if metric is not None else column
    own, other = (_rows(runs, scenario, setting, each)[name] for each in (arm, first))
    both = own.index.intersection(other.index)
    left, right = (each.loc[both].to_numpy(np.float64) for each in (own, other))
    return (metric.sized(left), metric.sized(right)) if metric is not None else (left, right)


def _tables(
    runs: pd.DataFrame, cells: Sequence[Cell], goals: Mapping[str, float | None], units: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Runs, arms, differences, ranking."""
    return (
        runs,
        _arm_table(runs, cells, units),
        _differences(runs, cells, goals, units),
        _ranking(runs, cells, goals),
    )


def _arm_table(runs: pd.DataFrame, cells: Sequence[Cell], units: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    for cell in cells:
        own = _rows(runs, cell.scenario, cell.setting, cell.arm.name)
        for name in units:
            values = own[name].to_numpy(np.float64)
            values = values[np.isfinite(values)]
            known = METRICS.get(name)
            compared = known.sized(values) if known is not None else values
            above = compared[compared > 0.0]
            sign = -1 if known is not None and known.cost < 0 else 1
            rows.append(
                dict(zip(PLACE, (cell.scenario, cell.setting, cell.arm.name), strict=True))
                | {
                    "metric": name,
                    "count": len(values),
                    "mean": values.mean() if len(values) else math.nan,
                    "median": np.median(values) if len(values) else math.nan,
                    "share_positive": len(above) / len(values) if len(values) else math.nan,
                    "mean_positive": above.mean() if len(above) else math.nan,
                    "cvar_95": sign * tail_mean(sign * compared),
                }
            )
    return pd.DataFrame(rows)


def _differences(
    runs: pd.DataFrame, cells: Sequence[Cell], goals: Mapping[str, float | None], units: Mapping[str, str]
) -> pd.DataFrame:
    first = cells[0].arm.name
    rows = []
    for cell in cells:
        if cell.arm.name == first:
            continue
        for name in [*goals, *(unit for unit in units if unit not in goals)]:
            known = METRICS.get(name)
            own, other = _paired(runs, cell.scenario, cell.setting, cell.arm.name, first, known, name)
            primary = name in goals
            resamples = RESAMPLES if primary else _SECONDARY_RESAMPLES
            found = paired_difference(own, other, test=primary, resamples=resamples)
            rows.append(
                dict(zip(PLACE, (cell.scenario, cell.setting, cell.arm.name), strict=True))
                | {
                    "metric": name,
                    "primary": primary,
                    "control": cell.arm.is_control,
                    "pairs": found.pairs,
                    "difference": found.estimate,
                    "low": found.low,
                    "high": found.high,
                    "p_value": found.p_value,
                }
            )
    frame = pd.DataFrame(rows)
    frame["p_holm"] = math.nan
    family = ["scenario", "setting", "control"]
    for _, group in frame[frame["primary"]].groupby(family, sort=False):
        frame.loc[group.index, "p_holm"] = holm(group["p_value"])
    frame["margin"] = [
        goals.get(name) if primary else None
        for name, primary in zip(frame["metric"], frame["primary"], strict=True)
    ]
    frame["margin"] = frame["margin"].astype("float64")
    others = {cell.arm.name for cell in cells if not cell.arm.is_control} - {first}
    tests = len(goals) * len(others)
    judged = [_judged(row, goals, tests) for row in frame.to_dict("records")]
    frame["verdict"] = [word for word, _ in judged]
    frame["needed"] = np.array([number or 0 for _, number in judged], np.int64)
    return frame.drop(columns="control")


def _judged(row: Mapping[Any, Any], goals: Mapping[str, float | None], tests: int) -> tuple[str, int | None]:
    """Verdict on a row, and the replications that it would take if it is undecided; nothing on what decides nothing."""
    if not row["primary"]:
        return "", None
    if row["pairs"] < 2:
        return "unknown", None
    margin, cost = goals[row["metric"]], METRICS[row["metric"]].cost
    low, high = sorted((row["low"] * (cost or 1), row["high"] * (cost or 1)))
    word: str = verdict(low, high, row["p_holm"], margin, LEVEL)
    if word == "undecided":
        found = Difference(row["pairs"], row["difference"], row["low"], row["high"], row["p_value"])
        return word, needed(found, margin, tests, LEVEL)
    if cost == 0:
        word = {"worse": "more", "better": "less"}.get(word, word)
    return word, None


def _ranking(runs: pd.DataFrame, cells: Sequence[Cell], goals: Mapping[str, float | None]) -> pd.DataFrame:
    rows = []
    places = dict.fromkeys((cell.scenario, cell.setting) for cell in cells)
    arms = list(dict.fromkeys(cell.arm.name for cell in cells if not cell.arm.is_control))
    for scenario, setting in places:
        for name, margin in goals.items():
            known = METRICS[name]
            means = {
                arm: float(np.nanmean(values)) if np.isfinite(values).any() else math.inf
                for arm in arms
                for values in [known.sized(_rows(runs, scenario, setting, arm)[name].to_numpy(np.float64))]
            }
            order = sorted(arms, key=lambda arm: means[arm] * (known.cost or 1))
            if len(order) < 2:
                continue
            best, second = order[:2]
            own, other = _paired(runs, scenario, setting, second, best, known)
            found = paired_difference(own, other)
            low, high = sorted((found.low * (known.cost or 1), found.high * (known.cost or 1)))
            rows.append(
                {
                    "scenario": scenario,
                    "setting": setting,
                    "metric": name,
                    "first": best,
                    "first_mean": means[best],
                    "second": second,
                    "second_mean": means[second],
                    "difference": found.estimate,
                    "low": found.low,
                    "high": found.high,
                    "decided": verdict(low, high, found.p_value, margin, LEVEL) == "worse",
                }
            )
    columns = [
        "scenario",
        "setting",
        "metric",
        "first",
        "first_mean",
        "second",
        "second_mean",
        "difference",
        "low",
    ]
    return pd.DataFrame(rows, columns=[*columns, "high", "decided"])
