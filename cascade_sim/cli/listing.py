"""Commands that say what exists: scenarios, rules, switches, metrics, and a scenario as it is resolved."""

import json
from contextlib import suppress
from itertools import takewhile
from typing import Annotated, Any

import typer

from cascade_sim.cli.output import Overrides, load, say
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation

app = typer.Typer()


@app.command("scenarios")
def scenarios_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the scenario library, a line each; a name shows the scenario whole."""
    from cascade_sim.scenario import load_scenario, scenario_names

    if name is not None:
        scenario = load_scenario(name)
        say(scenario.to_commented_yaml(_parameter_notes(scenario)), nl=False)
        return
    width = max(map(len, scenario_names())) + 2
    for known in scenario_names():
        say(f"{known:<{width}}{load_scenario(known).title}")


def _parameter_notes(scenario: Any) -> dict[str, str]:
    """Return what the documentation of its rules says about each of their parameters, by dotted path."""
    from cascade_sim.registry import REGISTRIES

    notes = {}
    for path, component in scenario.components().items():
        # A class of the user's own is not imported to show what a file holds.
        if path not in REGISTRIES or ":" in component.name:
            continue
        lines = REGISTRIES[path].describe(component.name).documentation.splitlines()
        for name in component.parameters:
            start = next((k for k, line in enumerate(lines) if line.startswith(f"{name} : ")), len(lines))
            meaning = " ".join(
                line.strip() for line in takewhile(lambda text: text.startswith(" "), lines[start + 1 :])
            )
            unit = "s; " if name.endswith("_seconds") else ""
            notes[f"{path}.{name}"] = f"{unit}{meaning}".removesuffix(".")
    return notes


@app.command("rules")
def rules_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List every rule, a line each; a name, or the module:Class of a rule of your own, shows documentation and parameters."""
    from cascade_sim.registry import REGISTRIES

    if name is None:
        width = max(len(known) for registry in REGISTRIES.values() for known in registry.names()) + 2
        for kind, registry in REGISTRIES.items():
            for known in registry.names():
                say(f"{kind:<26}{known:<{width}}{registry.describe(known).summary}")
        return
    if ":" in name:
        # What one class can be, it is described as once.
        kinds = _kinds_of_own(name)
        _describe(", ".join(kinds), REGISTRIES[kinds[0]].describe(name))
        return
    found = [(kind, registry) for kind, registry in REGISTRIES.items() if name in registry.names()]
    if not found:
        raise UnknownNameError(
            "rule", name, [known for registry in REGISTRIES.values() for known in registry.names()]
        )
    for kind, registry in found:
        _describe(kind, registry.describe(name))


def _kinds_of_own(name: str) -> list[str]:
    """Return the scenario paths that take a class of the user's own, at least one."""
    from cascade_sim.domain.components import import_name
    from cascade_sim.registry import REGISTRIES, import_class

    component = import_class("rules", name)
    kinds, known = [], []
    for kind, registry in REGISTRIES.items():
        if registry.offer is None or not registry.offer.methods:
            continue
        known.append(f"{kind} ({', '.join(registry.offer.methods)})")
        with suppress(ScenarioError):
            registry.offer.check_class(kind, component, registry.modules)
            kinds.append(kind)
    if not kinds:
        raise ScenarioError(
            expectation("rules", "a class with the method of a kind", import_name(component), known)
        )
    return kinds


def _describe(kinds: str, description: Any) -> None:
    """Print the documentation and the parameters of a rule."""
    say(f"{kinds}: {description.name}\n\n{description.documentation}\n")
    for parameter in description.parameters:
        default = "required" if parameter.required else parameter.default
        say(f"  {parameter.name}: {parameter.type}, default {default}")


@app.command("switches")
def switches_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the switches of counterfactual arms, a line each."""
    from cascade_sim.scenario import load_scenario, scenario_names

    fields = type(load_scenario(scenario_names()[0]).switches).model_fields
    if name is not None and name not in fields:
        raise UnknownNameError("switch", name, list(fields))
    for known, described in fields.items():
        if name in (None, known):
            say(f"{known:<24}{described.description}")


@app.command("metrics")
def metrics_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the metrics, a line each; a name shows its documentation."""
    from cascade_sim.metrics import TABLE_METRICS, summary_keys

    listed = {key.name: key for key in summary_keys()} | TABLE_METRICS
    if name is not None:
        if name not in listed:
            raise UnknownNameError("metric", name, list(listed))
        say(f"{name} ({listed[name].unit})\n\n{listed[name].documentation}")
        return
    for known, metric in listed.items():
        say(f"{known:<28}{metric.unit:<22}{metric.documentation.splitlines()[0]}")


@app.command("show")
def show_command(
    scenario: Annotated[str, typer.Argument(help="Name from the library or path to YAML.")],
    diff: Annotated[str | None, typer.Option(help="Show only what differs from this scenario.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of scenarios.")] = False,
    overrides: Overrides = None,
) -> None:
    """Print a scenario, fully resolved."""
    if schema:
        from cascade_sim.scenario import scenario_schema

        say(json.dumps(scenario_schema(), indent=2))
        return
    resolved = load(scenario, overrides)
    if diff is None:
        say(resolved.to_yaml(), nl=False)
        return
    other = load(diff, None).leaves()
    mine = resolved.leaves()
    for path in sorted(mine.keys() | other.keys()):
        if mine.get(path) != other.get(path):
            say(f"{path}: {other.get(path)} -> {mine.get(path)}")
