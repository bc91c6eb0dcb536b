"""Scenarios: the only home of defaults, read from YAML, frozen, checked before anything runs."""

from cascade_sim.scenario.scenario import (
    Component,
    Scenario,
    as_scenario,
    load_scenario,
    parse_override,
    scenario_names,
    scenario_schema,
)

__all__ = [
    "Component",
    "Scenario",
    "as_scenario",
    "load_scenario",
    "parse_override",
    "scenario_names",
    "scenario_schema",
]
