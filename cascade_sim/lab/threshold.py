"""The least value of a parameter that breaks a target in most runs: reverse stress, and critical points of any kind."""

import math
import re
from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cascade_sim.domain.errors import RunFailed, ScenarioError, UnknownNameError, expectation
from cascade_sim.lab.experiment import DERIVED
from cascade_sim.lab.replicas import FAILED, run_replicas
from cascade_sim.metrics import METRICS, summary_keys
from cascade_sim.scenario import Scenario, as_scenario

_TARGET = re.compile(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*([-+0-9.eE_]+)\s*\Z")
_COMPARE: dict[str, Callable[[Any, float], Any]] = {
    ">": lambda values, bound: values > bound,
    ">=": lambda values, bound: values >= bound,
    "<": lambda values, bound: values < bound,
    "<=": lambda values, bound: values <= bound,
}


class Target(NamedTuple):
    """What counts as broken.

    Attributes
    ----------
    metric : str
        Of an ensemble; moves count by their size.
    relation : str
        One of ``>``, ``>=``, ``<``, ``<=``.
    bound : float
    """

    metric: str
    relation: str
    bound: float

    def broken(self, rows: pd.DataFrame) -> Any:
        """Whether each run breaks it, shape (runs,); a figure that is undefined does not."""
        values = METRICS[self.metric].sized(rows[self.metric].to_numpy(np.float64))
        return _COMPARE[self.relation](values, self.bound)


class Threshold(NamedTuple):
    """The least value that breaks a target.

    Attributes
    ----------
    value : float
        Breaks it in at least half of the runs; NaN if nothing up to the end of the range does.
    low, high : float
        95 % interval of the median over seeds of the least value, by order statistics; ``low`` is the beginning of the
        range where so many runs are broken there already, ``high`` NaN where too few are at its end.
    evaluated : DataFrame
        A row per value that was tried: ``value``, ``runs``, ``broken``, ``share``, mean of the metric.
    """

    value: float
    low: float
    high: float
    evaluated: pd.DataFrame


def parse_target(text: str) -> Target:
    """Read a target such as ``bad_debt>100000``.

    Raises
    ------
    ScenarioError, UnknownNameError
        If it is none, or names no metric.
    """
    found = _TARGET.match(text)
    if found is None:
        raise ScenarioError(expectation("target", "METRIC>VALUE, with one of > >= < <=", text))
    name, relation, bound = found.groups()
    known = [key.name for key in summary_keys() if key.function is not None]
    if name not in known:
        raise UnknownNameError("metric", name, known)
    try:
        value = float(bound)
    except ValueError:
        raise ScenarioError(expectation("target", "a number behind the relation", bound)) from None
    return Target(name, relation, value)


def find_threshold(
    scenario: Scenario | str | PathLike[str],
    target: Target | str,
    path: str,
    low: float,
    high: float,
    *,
    replications: int = 21,
    seed: int = 0,
    tolerance: float = 0.01,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Threshold:
    """Find the least value of a parameter at which most runs break a target.

    Parameters
    ----------
    scenario : Scenario, str or path
    target : Target or str
        What counts as broken, such as ``"bad_debt>100000"``.
    path : str
        Dotted path of the parameter, or a derived factor of :data:`lab.experiment.DERIVED`.
    low, high : float
        Range, of one sign if it is searched evenly in ratios: where both ends are above 0 the search halves ratios.
    replications : int
        Seeds, the same at every value; at least 5.
    seed : int
        Of the first replication.
    tolerance : float
        Width of the bracket at the end, as a share of the range (of its logarithm where ratios are halved).
    workers : int, optional
        Threads.
    progress : callable, optional
        Called with (values tried, values at most).

    Returns
    -------
    Threshold

    Raises
    ------
    ScenarioError, UnknownNameError
        If the request is wrong.
    RunFailed
        If runs fail at some value.

    Notes
    -----
    The search takes for granted that more of the parameter never makes a target whole again; ``evaluated`` shows whether
    the shares say so. The interval of a median by order statistics holds for any distribution: the least values of the
    seeds number k and n + 1 - k, k by the binomial distribution.
    """
    base = as_scenario(scenario)
    wanted = parse_target(target) if isinstance(target, str) else target
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ScenarioError(expectation("range", "from below to, both finite", f"{low:g} to {high:g}"))
    if isinstance(replications, bool) or replications < 5:
        raise ScenarioError(expectation("replications", "at least 5", replications))
    if not 0.0 < tolerance < 1.0:
        raise ScenarioError(expectation("tolerance", "a number between 0 and 1", tolerance))
    for end in (low, high):
        _with(base, path, end)
    search = _Search(
        base, wanted, path, low, high, range(seed, seed + replications), workers, progress, tolerance
    )
    first = _order(replications)
    value = search.least(-(-replications // 2))
    interval = search.least(first), search.least(replications + 1 - first)
    return Threshold(value, *interval, search.table())


def _order(count: int) -> int:
    """The order statistic below the median whose interval with its mirror holds 95 %."""
    from scipy.stats import binom

    return max(1, int(binom.ppf(0.025, count, 0.5)))


def _with(scenario: Scenario, path: str, value: float) -> Scenario:
    if path in DERIVED:
        return DERIVED[path].set(scenario, value)
    return scenario.with_overrides({path: value})


class _Search:
    """Values that were tried, and how many runs each of them breaks."""

    def __init__(
        self,
        base: Scenario,
        target: Target,
        path: str,
        low: float,
        high: float,
        seeds: range,
        workers: int | None,
        progress: Callable[[int, int], None] | None,
        tolerance: float,
    ) -> None:
        self.base, self.target, self.path, self.seeds, self.workers = base, target, path, seeds, workers
        self.in_ratios = low > 0.0
        self.ends = (math.log(low), math.log(high)) if self.in_ratios else (low, high)
        self.values = {self.ends[0]: low, self.ends[1]: high}
        self.tolerance, self.progress = tolerance, progress
        self.broken: dict[float, int] = {}
        self.means: dict[float, float] = {}
        # Three searches, whose first steps are the same.
        self.most = 2 + 3 * math.ceil(math.log2(1.0 / tolerance))

    def value_at(self, place: float) -> float:
        """The value at a place of the search."""
        return self.values.get(place, math.exp(place) if self.in_ratios else place)

    def count(self, place: float) -> int:
        """How many runs are broken there."""
        if place not in self.broken:
            scenario = _with(self.base, self.path, self.value_at(place))
            rows = run_replicas(scenario, list(self.seeds), workers=self.workers)
            failed = rows[rows["status"] == FAILED]
            if len(failed):
                raise RunFailed(f"{self.path}={self.value_at(place):g}: {failed['reason'].iloc[0]}")
            self.broken[place] = int(np.count_nonzero(self.target.broken(rows)))
            self.means[place] = float(rows[self.target.metric].mean())
            if self.progress is not None:
                self.progress(len(self.broken), max(self.most, len(self.broken)))
        return self.broken[place]

    def least(self, wanted: int) -> float:
        """The least value at which so many runs are broken, to the tolerance; NaN if there is none."""
        low, high = self.ends
        if self.count(low) >= wanted:
            return self.value_at(low)
        if self.count(high) < wanted:
            return math.nan
        while high - low > self.tolerance * (self.ends[1] - self.ends[0]):
            middle = 0.5 * (low + high)
            if self.count(middle) >= wanted:
                high = middle
            else:
                low = middle
        return self.value_at(high)

    def table(self) -> pd.DataFrame:
        """What was tried, by value."""
        places = sorted(self.broken)
        return pd.DataFrame(
            {
                "value": [self.value_at(place) for place in places],
                "runs": len(self.seeds),
                "broken": [self.broken[place] for place in places],
                "share": [self.broken[place] / len(self.seeds) for place in places],
                self.target.metric: [self.means[place] for place in places],
            }
        )
