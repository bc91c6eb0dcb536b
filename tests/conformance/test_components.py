"""What every component of every registry keeps to, whatever its kind."""

import dataclasses
import json
import pickle
import re
from typing import Any

import pytest
import yaml
from conformance.cases import COMPONENTS, model_with, parameter_text, parameters, specifications
from test_model import raw_tables

from cascade_sim.domain.errors import ScenarioError, UnknownNameError
from cascade_sim.registry import REGISTRIES
from cascade_sim.scenario import Scenario

PARAMETERS = tuple(parameters())
QUICK = {"run.steps": 40, "shock.at_seconds": 4.0, "traders.count": 120}
UNIT = re.compile(
    r"\b(seconds?|steps?|shares?|fractions?|base units?|quote currency|per cent|%|ticks?|lots?|accounts?|number of)\b",
    re.IGNORECASE,
)
EITHER_SIGN = re.compile(r"\b(either sign|signed|negative)\b", re.IGNORECASE)

every_component = pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=lambda part: part)
every_parameter = pytest.mark.parametrize(
    ("kind", "name", "parameter", "annotation"), PARAMETERS, ids=[".".join(case[:3]) for case in PARAMETERS]
)


def test_every_registry_holds_something_and_some_component_has_parameters() -> None:
    assert {kind for kind, _ in COMPONENTS} == set(REGISTRIES)
    assert len(PARAMETERS) > 0


@every_component
def test_named_in_snake_case_and_found_by_name_and_by_place(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    component = registry.get(name)
    place = f"{component.__module__}:{component.__qualname__}"
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert registry.get(place) is component
    assert registry.create(place) == registry.create(name)
    assert registry.name_of(component) == registry.name_of(registry.create(place)) == name
    with pytest.raises(UnknownNameError):
        registry.create(name + "_no_such")


@every_component
def test_made_by_its_name_alone_and_equal_whenever_made(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    for specification in specifications(registry, name):
        first, second = registry.create(specification), registry.create(specification)
        assert first == second
        assert hash(first) == hash(second)
        assert registry.complete(specification) == specification
        assert registry.complete(json.loads(json.dumps(specification))) == specification
        for parameter in dataclasses.fields(first):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(first, parameter.name, None)
    assert registry.create(name) == registry.create(registry.complete(name))


@every_component
def test_survives_pickling(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    assert pickle.loads(pickle.dumps(registry.get(name))) is registry.get(name)
    for specification in specifications(registry, name):
        component = registry.create(specification)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            copy = pickle.loads(pickle.dumps(component, protocol))
            assert copy == component
            assert type(copy) is type(component)


@every_component
def test_says_what_it_does(kind: str, name: str) -> None:
    described = REGISTRIES[kind].describe(name)
    assert re.match(r"[A-Z].+[.)]$", described.summary)
    assert len(described.summary.split()) >= 4
    # A dataclass without a docstring is given its signature for one.
    assert not described.documentation.startswith(REGISTRIES[kind].get(name).__name__ + "(")


@every_parameter
def test_says_what_a_parameter_means_and_its_unit(
    kind: str, name: str, parameter: str, annotation: Any
) -> None:
    text = parameter_text(REGISTRIES[kind].get(name), parameter)
    assert len(text.split()) >= 3, f"{kind} {name}: no entry for {parameter}"
    if annotation in (int, float):
        assert UNIT.search(f"{text} {parameter.replace('_', ' ')}"), f"{parameter}: no unit in {text!r}"


@every_parameter
def test_refuses_bad_values(kind: str, name: str, parameter: str, annotation: Any) -> None:
    registry = REGISTRIES[kind]
    bad: list[Any] = [object(), {"a": 1}]
    if annotation in (int, float):
        bad += [float("nan"), float("inf"), -float("inf"), True, "1", None, [1.0]]
        if not EITHER_SIGN.search(parameter_text(registry.get(name), parameter)):
            bad += [-1, -1e-6, -1e12]
    for value in bad:
        with pytest.raises(ScenarioError) as caught:
            registry.create({"name": name, parameter: value})
        assert str(caught.value).startswith(f"{kind}.{parameter}: expected "), str(caught.value)


@every_component
def test_refuses_parameters_it_does_not_have(kind: str, name: str) -> None:
    with pytest.raises(ScenarioError, match=f"{kind}: expected a parameter of {name}, received 'no_such'"):
        REGISTRIES[kind].create({"name": name, "no_such": 1.0})


@every_component
def test_a_scenario_holds_it(kind: str, name: str) -> None:
    for specification in specifications(REGISTRIES[kind], name):
        scenario = Scenario().with_overrides({kind: specification})
        again = Scenario.from_mapping(yaml.safe_load(scenario.to_yaml()))
        assert again == scenario
        found = again.components()
        held = found[kind] if kind in found else found[f"{kind}[0]"]
        assert REGISTRIES[kind].complete(held) == specification


@every_component
def test_runs_and_repeats_itself(kind: str, name: str) -> None:
    for specification in specifications(REGISTRIES[kind], name):
        models = [model_with(kind, specification, **QUICK) for _ in range(2)]
        for model in models:
            model.run()
        first, second = (raw_tables(model) for model in models)
        assert first == second
        assert int(models[0].state.world.totals.trades) > 0
        assert int(models[0].state.world.totals.check_failures) == 0
