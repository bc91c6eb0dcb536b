"""The summary of a run and a row of an ensemble: every metric of a run, from the same functions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.manifest import json_ready
from cascade_sim.metrics.catalogue import GROUPS, METRICS, Metric, given, metric
from cascade_sim.metrics.runs import Runs

Integers = NDArray[np.int64]

given(
    "permanent_impact",
    "quote per base",
    "Channels",
    "permanent impact, by probe",
    "Permanent move of the mid per base unit bought, by paired probe runs (Kyle's lambda).",
)
given(
    "leverage_n",
    "-",
    "Channels",
    "leverage number n",
    "Impact times the density of forced quantity around the mark: what a forced sale triggers of its own size.",
)
given(
    "gamma_x",
    "-",
    "Channels",
    "gamma number x",
    "Impact times what the dealers trade per unit of price: what a hedge triggers of its own size; negative when short.",
)
given(
    "branching_ratio",
    "-",
    "Channels",
    "branching ratio, causal record",
    "Forced quantity that follows from a unit of forced quantity; None until causes are recorded.",
)
given(
    "cascade_sizes",
    "-",
    "Channels",
    "cascade sizes",
    "Forced quantity by root cause; None until causes are recorded.",
)
given(
    "amplification",
    "-",
    "Channels",
    "amplification by the mechanisms",
    "Excursion with all mechanisms on over that with none, on the same draws; from a counterfactual.",
)
given(
    "added_move_bp",
    "log bp",
    "Channels",
    "move added by the mechanisms",
    "Size of the excursion with all mechanisms on less that with none; from a counterfactual.",
)
given(
    "interaction_bp",
    "log bp",
    "Channels",
    "interaction of the mechanisms",
    "What all mechanisms add together beyond what each adds alone; from a counterfactual.",
)
given(
    "attribution",
    "log bp",
    "Channels",
    "move by mechanism, Shapley",
    "The added move shared over the mechanisms (Shapley 1953); from a counterfactual.",
)


@metric("-", "Run", "steps")
def steps(runs: Runs) -> Integers:
    """Steps after burn-in."""
    return np.asarray(np.maximum(runs.total("step"), 0))


@metric("-", "Run", "messages")
def messages(runs: Runs) -> Integers:
    """Messages that the books received after burn-in."""
    return runs.total("messages")


@metric("-", "Run", "trades")
def trades(runs: Runs) -> Integers:
    """Fills after burn-in."""
    return runs.total("trades")


@metric("-", "Run", "orders refused for initial margin, whole or in part, or as worth too little")
def refused_orders(runs: Runs) -> Integers:
    """Orders after burn-in that were refused for want of initial margin, whole or in part, or as worth too little."""
    return runs.total("refused_orders")


@metric("atoms", "Run", "conservation error, must be 0")
def conservation_error(runs: Runs) -> Integers:
    """Cash and positions of all accounts away from zero, failed checks and crossed books; must be 0.

    Of a single run also what replaying its recorded transfers and trades leaves.
    """
    return runs.total("conservation_error")


given(
    "markets",
    "-",
    "Run",
    "figures of every market",
    "The metrics of every market that are one number, by name.",
)


def summary_keys() -> list[Metric]:
    """Return every key of a summary in its order: by heading, then as they were registered."""
    return sorted(METRICS.values(), key=lambda known: GROUPS.index(known.group))


def summarise(runs: Runs, extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the summary of a run.

    Parameters
    ----------
    runs : Runs
        One run.
    extras : mapping, optional
        Values of keys that need more than the run itself: ``conservation_error`` with what its tables tell,
        ``permanent_impact``, ``leverage_n``, ``gamma_x``, ``markets``, and those of a counterfactual. They take precedence.

    Returns
    -------
    dict
        Every key of :func:`summary_keys`, in that order; plain numbers, lists and dicts, None where
        a value is undefined or was not measured, never NaN.

    Raises
    ------
    CascadeError
        If there is not one run, or ``extras`` holds an unknown key.
    """
    if len(runs) != 1:
        raise CascadeError(expectation("runs", "one run", len(runs)))
    known = summary_keys()
    extra = dict(extras or {})
    names = [key.name for key in known]
    for name in extra:
        if name not in names:
            raise CascadeError(expectation("extras", "a key of the summary", name, names))
    ready = json_ready(
        {key.name: extra[key.name] if key.name in extra else _value(key, runs) for key in known}
    )
    assert isinstance(ready, dict)
    return ready


def _value(key: Metric, runs: Runs) -> Any:
    """The value of a metric of one run."""
    if key.function is None:
        return None
    found = key.function(runs)
    if isinstance(found, Mapping):
        return {name: each[0].item() for name, each in found.items()}
    return found[0].item()


def columns(runs: Runs) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return every metric of every run, a row each, and the units of the columns.

    Parameters
    ----------
    runs : Runs
        Any number of runs.

    Returns
    -------
    DataFrame, dict
        Columns as :func:`summary_keys`, NaN where a summary has None; a metric with several values has a column for each,
        ``NAME_PART``.
    """
    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    for key in summary_keys():
        if key.function is None:
            continue
        found = key.function(runs)
        parts = (
            {f"{key.name}_{part}": each for part, each in found.items()}
            if isinstance(found, Mapping)
            else {key.name: found}
        )
        values |= parts
        units |= dict.fromkeys(parts, key.unit)
    return pd.DataFrame(values), units


def figures_of_one_market(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a summary says of a market in one number each.

    Parameters
    ----------
    summary : mapping
        As `summarise` returns it.

    Returns
    -------
    dict
        In the order of the summary; None where a figure is undefined.
    """
    measured = {name for name, known in METRICS.items() if known.function is not None}
    return {
        name: value for name, value in summary.items() if name in measured and not isinstance(value, Mapping)
    }
