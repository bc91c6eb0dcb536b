"""Liquidation cascades in an agent-based market with a real limit order book.

Start with :func:`load_scenario` and :func:`run`; names below are imported when first used.
"""

from importlib import import_module
from typing import Any

from cascade_sim.__about__ import __version__

_HOME = {
    "AccountClass": "cascade_sim.domain.enums",
    "Cause": "cascade_sim.domain.enums",
    "OrderType": "cascade_sim.domain.enums",
    "SelfTradePolicy": "cascade_sim.domain.enums",
    "Side": "cascade_sim.domain.enums",
    "Scenario": "cascade_sim.scenario",
    "load_scenario": "cascade_sim.scenario",
    "scenario_names": "cascade_sim.scenario",
    "RunResult": "cascade_sim.result",
    "load_result": "cascade_sim.result",
    "OrderBook": "cascade_sim.market.order_book",
    "CascadeModel": "cascade_sim.model.cascade_model",
    "Participant": "cascade_sim.agents.participant",
    "Cohort": "cascade_sim.agents.cohort",
    "run": "cascade_sim.lab.single",
    "counterfactual": "cascade_sim.lab.counterfactual",
    "run_ensemble": "cascade_sim.lab.ensemble",
    "EnsembleInterrupted": "cascade_sim.lab.ensemble",
    "compare": "cascade_sim.lab.compare",
    "ComparisonInterrupted": "cascade_sim.lab.compare",
    "sweep": "cascade_sim.lab.sweep",
    "load_sweep": "cascade_sim.lab.sweep",
    "SweepInterrupted": "cascade_sim.lab.sweep",
    "Comparison": "cascade_sim.comparison",
    "load_comparison": "cascade_sim.comparison",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that the command line starts quickly."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
