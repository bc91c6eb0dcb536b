"""The summary of a run: every documented key, as plain JSON values."""

from collections.abc import Mapping
from typing import Any

from cascade_sim.columns import SUMMARY_KEYS
from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.metrics.catalogue import METRICS, metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.result import RunResult, json_ready

SEVERAL_NUMBERS = frozenset(("loss_by_class", "cascade_sizes"))
"""Metrics that are no single number."""


@metric("-")
def steps(result: RunResult, facts: RunFacts) -> int:
    """Steps after burn-in."""
    return facts.steps


@metric("-")
def messages(result: RunResult, facts: RunFacts) -> int:
    """Messages that the books received after burn-in."""
    return int(facts.total("messages"))


@metric("-")
def trades(result: RunResult, facts: RunFacts) -> int:
    """Fills after burn-in."""
    return int(facts.total("trades"))


@metric("-")
def refused_orders(result: RunResult, facts: RunFacts) -> int:
    """Orders after burn-in that were refused for want of initial margin, whole or in part, or as worth too little."""
    return int(facts.total("refused_orders"))


def summarise(result: RunResult, facts: RunFacts, extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the summary of a run.

    Parameters
    ----------
    result : RunResult
        Tables; its own summary is not read.
    facts : RunFacts
        What the tables do not hold.
    extras : mapping, optional
        Values of documented keys that need more than one run or the kernels' arrays: ``conservation_error``,
        ``permanent_impact``, ``leverage_n``, ``gamma_x``, and those of a counterfactual. They take
        precedence.

    Returns
    -------
    dict
        Every key of :data:`columns.SUMMARY_KEYS`, in that order; plain numbers, lists and dicts, None where
        a value is undefined or was not measured, never NaN.

    Raises
    ------
    CascadeError
        If ``extras`` holds an unknown key or ``facts.totals`` lacks a total.
    """
    names = [key.name for key in SUMMARY_KEYS]
    given = dict(extras or {})
    for name in given:
        if name not in names:
            raise CascadeError(expectation("extras", "a key of the summary", name, names))
    values = {
        name: given[name]
        if name in given
        else (METRICS[name].function(result, facts) if name in METRICS else None)
        for name in names
    }
    ready = json_ready(values)
    assert isinstance(ready, dict)
    return ready


def figures_of_one_market(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a summary says of a market in one number each: what is measured on the tables of one run.

    Parameters
    ----------
    summary : mapping
        As `summarise` returns it, with ``conservation_error``.

    Returns
    -------
    dict
        In the order of the summary; None where a figure is undefined.
    """
    measured = METRICS.keys() | {"conservation_error"}
    return {
        name: value for name, value in summary.items() if name in measured and name not in SEVERAL_NUMBERS
    }
