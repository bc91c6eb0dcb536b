"""The registry of metrics: name, function, unit, documentation."""

from collections.abc import Callable
from inspect import getdoc
from typing import Any, NamedTuple

from cascade_sim.domain.errors import CascadeError
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.result import RunResult

MetricFunction = Callable[[RunResult, RunFacts], Any]


class Metric(NamedTuple):
    """One registered metric.

    Attributes
    ----------
    function : callable
        ``function(result, facts)``; None where the metric is undefined.
    unit : str
        Unit of the value.
    documentation : str
        Docstring of the function.
    """

    function: MetricFunction
    unit: str
    documentation: str


METRICS: dict[str, Metric] = {}
"""Every metric by name. The function reads only tables and facts: the summary of the result may be empty."""


def metric(unit: str) -> Callable[[MetricFunction], MetricFunction]:
    """Return a decorator that registers a function of ``(result, facts)`` as a metric under its own name.

    Parameters
    ----------
    unit : str
        Unit of the value; ``quote`` and ``base`` stand for the currencies of the scenario.

    Returns
    -------
    callable
        Takes the function and returns it unchanged.

    Raises
    ------
    CascadeError
        If the name is taken by a function of another module or the function has no docstring.
    """

    def enter(function: MetricFunction) -> MetricFunction:
        name = function.__name__
        taken = METRICS.get(name)
        if taken is not None and taken.function.__module__ != function.__module__:
            raise CascadeError(f"metric: name {name!r} is taken by {taken.function.__module__}")
        documentation = getdoc(function)
        if not documentation:
            raise CascadeError(f"metric: expected a docstring of {name!r}, received none")
        METRICS[name] = Metric(function, unit, documentation)
        return function

    return enter
