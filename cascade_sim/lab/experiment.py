"""Experiment files: a scenario, what is varied in it, how often it is repeated, and what is measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade_sim import own_code
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation
from cascade_sim.domain.files import LARGEST_SCENARIO, read_bounded
from cascade_sim.lab.arms import Arm, is_list, named, scenario_of, text_of
from cascade_sim.lab.probe import permanent_impact
from cascade_sim.metrics import METRICS
from cascade_sim.scenario import Scenario, as_scenario, load_scenario
from cascade_sim.scenario.messages import error_line
from cascade_sim.scenario.tree import plain_tree, tree_hash
from cascade_sim.scenario.yaml_text import parse_yaml, write_yaml

MOST_POINTS = 1_000_000
MOST_RUNS = 100_000_000


class _Part(BaseModel):
    """A part of an experiment file: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Part):
    """A factor between two numbers."""

    low: float = Field(alias="from", description="Lower end")
    high: float = Field(alias="to", description="Upper end")
    scale: Literal["linear", "log"] = Field(default="linear", description="Even steps, or even ratios")
    count: Annotated[int, Field(ge=2, le=10_000)] | None = Field(
        default=None, description="Values of a grid, both ends among them"
    )


class Sampling(_Part):
    """How points are laid out."""

    method: Literal["grid", "random", "sobol", "latin_hypercube"] = Field(
        default="grid", description="Every combination, or points in the space of the factors"
    )
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = Field(
        default=None, description="Number of points, of all methods but the grid"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Of the points")


class Stop(_Part):
    """When a point has been repeated often enough."""

    metric: str = Field(description="What is to be known")
    half_width: Annotated[float, Field(gt=0)] = Field(description="Half of the 95 % interval of its mean")
    most: Annotated[int, Field(ge=2, le=1_000_000)] = Field(description="Replications at most")


class Experiment(_Part):
    """An experiment.

    Factors are dotted paths of the scenario, or one of the derived names of :data:`DERIVED`.
    """

    name: str = Field(min_length=1, max_length=100, description="Short name")
    title: str = Field(default="", description="One line")
    scenario: str = Field(description="Name or path of the scenario")
    overrides: dict[str, Any] = Field(default={}, description="What is changed in it for all points")
    factors: dict[str, list[Any] | Range] = Field(default={}, description="What varies from point to point")
    sampling: Sampling = Field(default=Sampling(), description="How points are laid out")
    arms: dict[str, dict[str, Any] | None] = Field(default={}, description="Arms of every point by name")
    mechanisms: list[str] = Field(
        default=[], description="Switches: every point also with each subset of them off"
    )
    replications: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Runs of every point and arm"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Seed of the first replication")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="Seeds one by one, in place of the above"
    )
    metrics: list[str] = Field(default=[], description="What charts show; every figure is kept")
    stop: Stop | None = Field(default=None, description="Repeat until a mean is known")


class Point(NamedTuple):
    """One point of an experiment.

    Attributes
    ----------
    number : int
    factors : dict
        Value by factor.
    scenario : Scenario or None
        None where it cannot be made.
    reason : str
        Why not.
    """

    number: int
    factors: dict[str, Any]
    scenario: Scenario | None
    reason: str = ""


class Cell(NamedTuple):
    """What is run: an arm of a point, with some mechanisms off.

    Attributes
    ----------
    point : int
    arm : str
    off : str
        Mechanisms that are off, joined by a plus; empty for none.
    scenario : Scenario or None
    reason : str
        Why there is none.
    """

    point: int
    arm: str
    off: str
    scenario: Scenario | None
    reason: str = ""


@dataclass(frozen=True)
class Design:
    """An experiment whose points are laid out.

    Attributes
    ----------
    experiment : Experiment
    points : DataFrame
        A row per point: ``point`` and a column per factor.
    cells : list of Cell
    seeds : callable
        ``seeds(first, count)``: seeds of some replications.
    base : Scenario
        The scenario with the overrides of the experiment.
    """

    experiment: Experiment
    points: pd.DataFrame
    cells: list[Cell]
    base: Scenario

    @property
    def replications(self) -> int:
        """Runs of every cell before anybody asks for more."""
        given = self.experiment
        return len(given.seeds) if given.seeds is not None else given.replications or 1

    def seeds(self, first: int, count: int) -> list[int]:
        """Return the seeds of some replications, the same for every cell."""
        if self.experiment.seeds is not None:
            return self.experiment.seeds[first : first + count]
        begin = self.experiment.seed + first
        return list(range(begin, begin + count))

    @property
    def experiment_id(self) -> str:
        """SHA-256 of everything that decides the results."""
        tree = self.experiment.model_dump(mode="json", by_alias=True, exclude={"title", "metrics"})
        return tree_hash({"experiment": tree, "scenario": self.base.tree()})

    def to_yaml(self) -> str:
        """Return the experiment as YAML."""
        tree = self.experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return write_yaml(tree)


def load_experiment(source: str | PathLike[str] | Mapping[str, Any]) -> tuple[Experiment, Path]:
    """Read an experiment from YAML or a mapping.

    Parameters
    ----------
    source : str, path or mapping
        A file, or what one holds. Classes of the user's own that it names are looked for beside it as well.

    Returns
    -------
    Experiment, Path
        And the folder that its paths are relative to.

    Raises
    ------
    ScenarioError
        If it is refused, in one line.
    """
    if isinstance(source, Mapping):
        return _checked(plain_tree(source), "experiment"), Path()
    path = Path(source)
    try:
        content = read_bounded(path, LARGEST_SCENARIO)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        expected = "expected a readable YAML file, received an error"
        raise ScenarioError(f"{fspath(source)!r}: {expected}: {reason}") from error
    document = parse_yaml(content, fspath(source))
    own_code.note(document, path.parent)
    return _checked(document, fspath(source)), path.parent


def _checked(document: Any, source: str) -> Experiment:
    if not isinstance(document, Mapping):
        raise ScenarioError(expectation(source, "a mapping", document))
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        raise ScenarioError(f"{source}: {error_line(Experiment, error)}") from error


def lay_out(experiment: Experiment, folder: Path | None = None) -> Design:
    """Lay out the points of an experiment, and make the scenario of every cell.

    Parameters
    ----------
    experiment : Experiment
    folder : path, optional
        What the path of its scenario is relative to.

    Returns
    -------
    Design
        Cells whose scenario is refused say why.

    Raises
    ------
    ScenarioError, UnknownNameError
        If the experiment itself is wrong.
    """
    base = _base(experiment, folder or Path())
    _check(experiment, base)
    factors = list(experiment.factors)
    rows = _rows(experiment)
    arms = named(experiment.arms) if experiment.arms else [Arm("", {})]
    if len(rows) * len(arms) * 2 ** len(experiment.mechanisms) > MOST_POINTS:
        raise ScenarioError(
            expectation("factors", f"at most {MOST_POINTS} points, arms and subsets", len(rows))
        )
    points = [_point(base, number, dict(zip(factors, row, strict=True))) for number, row in enumerate(rows)]
    cells = [cell for point in points for arm in arms for cell in _cells(point, arm, experiment.mechanisms)]
    columns = {name: [point.factors[name] for point in points] for name in factors}
    frame = pd.DataFrame(
        {"point": range(len(points)), **{n: _column(values) for n, values in columns.items()}}
    )
    return Design(experiment, frame, cells, base)


def _column(values: list[Any]) -> list[Any]:
    """Values of a factor as a column: numbers, or text."""
    if all(isinstance(value, int | float) for value in values):
        return values
    return [text_of(value) for value in values]


def _base(experiment: Experiment, folder: Path) -> Scenario:
    name = experiment.scenario
    beside = folder / name
    scenario = (
        load_scenario(beside) if name.endswith((".yaml", ".yml")) and beside.is_file() else as_scenario(name)
    )
    try:
        return scenario.with_overrides(experiment.overrides) if experiment.overrides else scenario
    except ScenarioError as error:
        raise ScenarioError(f"overrides: {error}") from error


def _check(experiment: Experiment, base: Scenario) -> None:
    known = [name for name, metric in METRICS.items() if metric.function is not None]
    # Figures of a counterfactual stand in the table as well.
    known += ["amplification", "added_move_bp"] if experiment.mechanisms else []
    for name in [*experiment.metrics, *([experiment.stop.metric] if experiment.stop else [])]:
        if name not in known:
            raise UnknownNameError("metric", name, known)
    switches = list(type(base.switches).model_fields)
    for name in experiment.mechanisms:
        if name not in switches:
            raise UnknownNameError("mechanism", name, switches)
    if experiment.seeds is not None:
        if experiment.replications is not None or experiment.seed:
            raise ScenarioError("seeds: expected either seeds or seed and replications, received both")
        if not experiment.seeds or len(set(experiment.seeds)) != len(experiment.seeds):
            raise ScenarioError(expectation("seeds", "at least one seed, each once", experiment.seeds))
        if experiment.stop is not None:
            raise ScenarioError("stop: expected seed and replications beside it, received seeds")
    if experiment.stop is not None and experiment.stop.most < (experiment.replications or 1):
        raise ScenarioError(expectation("stop.most", "no fewer than replications", experiment.stop.most))
    paths = base.leaves()
    for name in experiment.factors:
        if "." not in name and name not in DERIVED:
            raise UnknownNameError("factor", name, [*DERIVED, *paths])


def _rows(experiment: Experiment) -> list[tuple[Any, ...]]:
    """Values of the factors at every point."""
    sampling, factors = experiment.sampling, experiment.factors
    for name, factor in factors.items():
        if isinstance(factor, Range):
            _check_range(name, factor)
        elif not is_list(factor):
            raise ScenarioError(expectation(f"factors.{name}", "a list of values, or from and to", factor))
    if sampling.method == "grid":
        if sampling.points is not None:
            raise ScenarioError("sampling.points: expected a count of every range of a grid, received points")
        axes = [_values(name, factor) for name, factor in factors.items()]
        if math.prod(map(len, axes)) > MOST_POINTS:
            raise ScenarioError(
                expectation("factors", f"at most {MOST_POINTS} points", math.prod(map(len, axes)))
            )
        return list(product(*axes))
    if sampling.points is None:
        raise ScenarioError(
            f"sampling.points: expected the number of points of {sampling.method}, received nothing"
        )
    if not factors:
        raise ScenarioError("factors: expected at least one, received none")
    unit = _unit_points(sampling, len(factors))
    columns = [_spread(factor, unit[:, k]) for k, factor in enumerate(factors.values())]
    return list(zip(*columns, strict=True))


def _check_range(name: str, factor: Range) -> None:
    if not factor.low < factor.high:
        raise ScenarioError(
            expectation(f"factors.{name}", "from below to", f"{factor.low:g} to {factor.high:g}")
        )
    if factor.scale == "log" and factor.low <= 0.0:
        raise ScenarioError(
            expectation(f"factors.{name}.from", "a number above 0 on a log scale", factor.low)
        )


def _values(name: str, factor: list[Any] | Range) -> list[Any]:
    if not isinstance(factor, Range):
        return [plain_tree(value, name) for value in factor]
    if factor.count is None:
        raise ScenarioError(
            f"factors.{name}.count: expected the number of values of a grid, received nothing"
        )
    return _spread(factor, np.linspace(0.0, 1.0, factor.count))


def _spread(factor: list[Any] | Range, unit: Any) -> list[Any]:
    """Values of a factor at places from 0 to 1."""
    if not isinstance(factor, Range):
        return [factor[min(int(place * len(factor)), len(factor) - 1)] for place in unit]
    if factor.scale == "log":
        low, high = math.log(factor.low), math.log(factor.high)
        values = [math.exp(low + (high - low) * float(place)) for place in unit]
    else:
        values = [factor.low + (factor.high - factor.low) * float(place) for place in unit]
    # The ends are what was said, to the last digit.
    return [
        factor.low if place == 0.0 else factor.high if place == 1.0 else v
        for place, v in zip(unit, values, strict=True)
    ]


def _unit_points(sampling: Sampling, dimensions: int) -> Any:
    """Points of the unit cube, shape (points, dimensions).

    scipy draws other points for ``rng=1`` than for ``seed=1``: the generator is made here.
    """
    from scipy.stats import qmc  # half a second that a grid does not need

    rng = np.random.default_rng(sampling.seed)
    count = sampling.points or 1
    if sampling.method == "random":
        return rng.random((count, dimensions))
    if sampling.method == "latin_hypercube":
        return qmc.LatinHypercube(dimensions, rng=rng).random(count)
    if count & (count - 1):
        raise ScenarioError(
            expectation("sampling.points", "a power of two, for which Sobol points are balanced", count)
        )
    return qmc.Sobol(dimensions, rng=rng).random(count)


def _point(base: Scenario, number: int, factors: dict[str, Any]) -> Point:
    """A point, with its scenario or the reason why there is none."""
    plain = {name: value for name, value in factors.items() if name not in DERIVED}
    try:
        scenario = base.with_overrides(plain) if plain else base
        for name, value in factors.items():
            if name in DERIVED:
                scenario = DERIVED[name].set(scenario, value)
    except ScenarioError as error:
        return Point(number, factors, None, str(error))
    return Point(number, factors, scenario)


def cell_keys(experiment: Experiment, points: int) -> list[tuple[int, str, str]]:
    """Return point, arm and mechanisms that are off of every cell, in order, without making any scenario."""
    arms = list(experiment.arms) or [""]
    return [
        (point, arm, "+".join(off))
        for point in range(points)
        for arm in arms
        for off in _subsets(experiment.mechanisms)
    ]


def _subsets(mechanisms: Sequence[str]) -> list[tuple[str, ...]]:
    """Every subset of the mechanisms, none of them first."""
    return [part for size in range(len(mechanisms) + 1) for part in combinations(mechanisms, size)]


def _cells(point: Point, arm: Arm, mechanisms: Sequence[str]) -> list[Cell]:
    """An arm of a point with every subset of the mechanisms off, none of them first."""
    cells = []
    for off in _subsets(mechanisms):
        label = "+".join(off)
        if point.scenario is None:
            cells.append(Cell(point.number, arm.name, label, None, point.reason))
            continue
        try:
            scenario = scenario_of(point.scenario, arm)
            if off:
                scenario = scenario.with_overrides({f"switches.{name}": False for name in off})
        except ScenarioError as error:
            cells.append(Cell(point.number, arm.name, label, None, str(error)))
            continue
        cells.append(Cell(point.number, arm.name, label, scenario))
    return cells


class Derived(NamedTuple):
    """A factor that is one number and sets something else.

    Attributes
    ----------
    set : callable
        ``set(scenario, value)``: the scenario with it.
    unit, documentation : str
    """

    set: Callable[[Scenario, Any], Scenario]
    unit: str
    documentation: str


def _number(name: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > least:
        raise ScenarioError(expectation(name, f"a number above {least:g}", value))
    return float(value)


def _with_leverage(scenario: Scenario, value: Any) -> Scenario:
    """``traders.inverse_leverage`` becomes a narrow pair around one over the leverage: a fifth below to a quarter above."""
    leverage = _number("leverage", value, 0.0)
    return scenario.with_overrides({"traders.inverse_leverage": [0.8 / leverage, 1.25 / leverage]})


def _with_gamma_x(scenario: Scenario, value: Any) -> Scenario:
    """``dealers.gamma_per_percent`` becomes what makes the gamma number so large, at the impact that a probe measures."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScenarioError(expectation("gamma_x", "a number", value))
    impact = _impact(scenario)
    if not impact > 0.0:
        raise ScenarioError(
            f"gamma_x: expected a market with impact, received {impact:g} quote per base unit"
        )
    price = scenario.market.initial_price
    return scenario.with_overrides({"dealers.gamma_per_percent": float(value) * 0.01 * price / impact})


_impacts: dict[str, float] = {}


def _impact(scenario: Scenario) -> float:
    """Permanent impact of the market of a scenario, which traders and dealers have no part in."""
    key = tree_hash({**scenario.tree(), "traders": {}, "dealers": {}, "shock": {}, "clearing": {}})
    if key not in _impacts:
        _impacts[key] = permanent_impact(scenario, 0) or 0.0
    return _impacts[key]


DERIVED: dict[str, Derived] = {
    "leverage": Derived(
        _with_leverage,
        "times",
        "Leverage of the leveraged traders: sets traders.inverse_leverage to [0.8, 1.25] over it",
    ),
    "gamma_x": Derived(
        _with_gamma_x,
        "-",
        "The gamma number: impact times what the dealers trade per unit of price; sets dealers.gamma_per_percent",
    ),
}
"""Factors that are one number and set something else, by name."""
