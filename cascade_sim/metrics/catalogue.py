"""The registry of metrics: name, function, unit, where reports list it, documentation."""

from collections.abc import Callable, Mapping, Sequence
from inspect import getdoc
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.metrics.runs import Runs


class Recorded(Protocol):
    """What a table metric reads: a `RunResult`, or anything else that has tables."""

    def columns(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return some columns of a table."""
        ...


Values = NDArray[Any] | Mapping[str, NDArray[np.float64]]
RunsFunction = Callable[[Runs], Values]
TableFunction = Callable[[Any, RunFacts], Any]

GROUPS = ("Price", "Forced closing", "Cost", "Channels", "Run")
"""Headings under which reports list metrics, in order."""


class Metric(NamedTuple):
    """One registered metric.

    Attributes
    ----------
    name : str
        Key of the summary, column of an ensemble.
    function : callable or None
        ``function(runs)`` of a :class:`Runs`: an array with a value per run, NaN where it is undefined, or a mapping of
        arrays where a run has several. None where the value needs more than the run itself and is given to the summary.
    unit : str
        ``quote`` and ``base`` stand for the currencies of the scenario.
    label : str
        Words for tables and reports.
    group : str
        One of :data:`GROUPS`.
    documentation : str
    cost : int
        +1 if more of it is worse, -1 if less of it is, 0 if neither.
    is_size : bool
        Whether what counts is its size, whatever its sign.
    margin : float or None
        Differences within it do not matter, unless a comparison says otherwise.
    """

    name: str
    function: RunsFunction | None
    unit: str
    label: str
    group: str
    documentation: str
    cost: int = 0
    is_size: bool = False
    margin: float | None = None

    def sized(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return values as they are compared: sizes where these count."""
        given = np.asarray(values, dtype=np.float64)
        return np.abs(given) if self.is_size else given


class TableMetric(NamedTuple):
    """A metric that needs recorded tables, and so stands in no summary.

    Attributes
    ----------
    function : callable
        ``function(result, facts)``; None where the metric is undefined.
    unit, documentation : str
        As for :class:`Metric`.
    """

    function: TableFunction
    unit: str
    documentation: str


METRICS: dict[str, Metric] = {}
"""Every metric of a run by name."""
TABLE_METRICS: dict[str, TableMetric] = {}
"""Every metric of recorded tables by name."""


def _checked(name: str, module: str, documentation: str | None) -> str:
    for known in (METRICS, TABLE_METRICS):
        taken: Metric | TableMetric | None = known.get(name)
        if taken is not None and (taken.function is None or taken.function.__module__ != module):
            raise CascadeError(f"metric: name {name!r} is taken")
    if not documentation:
        raise CascadeError(f"metric: expected a docstring of {name!r}, received none")
    return documentation


def metric(
    unit: str,
    group: str,
    label: str = "",
    *,
    cost: int = 0,
    is_size: bool = False,
    margin: float | None = None,
) -> Callable[[RunsFunction], RunsFunction]:
    """Return a decorator that registers a function of :class:`Runs` as a metric under its own name.

    It then stands in every summary, report and ensemble.

    Parameters
    ----------
    unit : str
        Unit of the value; ``quote`` and ``base`` stand for the currencies of the scenario.
    group : str
        One of :data:`GROUPS`.
    label : str
        Words for tables and reports; the first line of the docstring by default.
    cost, is_size, margin
        As for :class:`Metric`.

    Returns
    -------
    callable
        Takes the function and returns it unchanged.

    Raises
    ------
    CascadeError
        If the group is unknown, the name is taken by a function of another module or the function has no docstring.
    """
    if group not in GROUPS:
        raise CascadeError(expectation("metric: group", "a known group", group, GROUPS))

    def enter(function: RunsFunction) -> RunsFunction:
        name = function.__name__
        documentation = _checked(name, function.__module__, getdoc(function))
        words = label or documentation.partition("\n")[0].removesuffix(".")
        METRICS[name] = Metric(name, function, unit, words, group, documentation, cost, is_size, margin)
        return function

    return enter


def given(name: str, unit: str, group: str, label: str, documentation: str) -> None:
    """Register a key of the summary whose value is measured elsewhere, such as by a counterfactual.

    Parameters
    ----------
    name, unit, group, label, documentation : str
        As for :class:`Metric`.
    """
    METRICS[name] = Metric(name, None, unit, label, group, documentation)


def table_metric(unit: str) -> Callable[[TableFunction], TableFunction]:
    """Return a decorator that registers a function of ``(result, facts)`` as a metric of recorded tables.

    Parameters
    ----------
    unit : str
        As for :func:`metric`.

    Returns
    -------
    callable
        Takes the function and returns it unchanged.

    Raises
    ------
    CascadeError
        If the name is taken by a function of another module or the function has no docstring.
    """

    def enter(function: TableFunction) -> TableFunction:
        name = function.__name__
        documentation = _checked(name, function.__module__, getdoc(function))
        TABLE_METRICS[name] = TableMetric(function, unit, documentation)
        return function

    return enter
