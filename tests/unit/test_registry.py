"""The registry: names, parameters, refusals, and components named by where they live."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from cascade_sim.domain.errors import CascadeError, ScenarioError, UnknownNameError
from cascade_sim.registry import REGISTRIES, Registry
from cascade_sim.scenario import Scenario


class Rule(Protocol):
    def score(self) -> float: ...


KIND = "clearing.priority"


@dataclass(frozen=True)
class Weighted:
    """Score by a weight.

    Second paragraph.
    """

    weight: float = 0.5
    rounds: int = 3
    strict: bool = True
    label: str = "a"
    mode: Literal["up", "down"] = "up"
    level: Literal[1, 2] = 1
    limits: tuple[float, ...] = (1.0, 2.0)
    window: tuple[int, int] | None = None
    steps: list[int] = field(default_factory=lambda: [1])

    def score(self) -> float:
        return self.weight


@dataclass(frozen=True)
class Needy:
    """Has no default."""

    weight: float

    def __post_init__(self) -> None:
        if self.weight < 0.0:
            raise ValueError("weight must not be negative")


@pytest.fixture
def registry() -> Registry[Any]:
    made: Registry[Any] = Registry(KIND)
    made.register("weighted")(Weighted)
    made.register("needy")(Needy)
    return made


def refused(registry: Registry[Any], specification: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        registry.create(specification)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_are_sorted_and_create_takes_every_form(registry: Registry[Any]) -> None:
    assert registry.names() == ("needy", "weighted")
    assert registry.create("weighted") == Weighted()
    assert registry.create({"name": "weighted", "rounds": 4}) == Weighted(rounds=4)
    specification = Scenario.from_mapping({"clearing": {"priority": {"name": "weighted", "limits": [3, 4]}}})
    assert registry.create(specification.clearing.priority) == Weighted(limits=(3.0, 4.0))


def test_values_are_converted_to_what_is_declared(registry: Registry[Any]) -> None:
    made = registry.create({"name": "weighted", "weight": 2, "rounds": 1e3, "window": [1, 2], "limits": []})
    assert made == Weighted(weight=2.0, rounds=1000, window=(1, 2), limits=())
    assert type(made.weight) is float
    assert type(made.rounds) is int


def test_an_unknown_name_lists_the_known_ones(registry: Registry[Any]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.create("weihgted")
    assert str(caught.value) == (
        f"{KIND}: expected a known name, received 'weihgted', known: needy, weighted; "
        "did you mean 'weighted'?"
    )


def test_an_unknown_parameter_lists_the_known_ones(registry: Registry[Any]) -> None:
    line = refused(registry, {"name": "weighted", "wieght": 1.0})
    assert line.startswith(
        f"{KIND}: expected a parameter of weighted, received 'wieght', known: weight, rounds,"
    )
    assert line.endswith("did you mean 'weight'?")


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("weight", True, "a finite number, received true"),
        ("weight", "1", "a finite number, received '1'"),
        ("weight", float("nan"), "a finite number, received nan"),
        ("weight", float("inf"), "a finite number, received inf"),
        ("weight", 10**400, "a finite number, received 1000"),
        ("weight", None, "a finite number, received null"),
        ("rounds", 1.5, "a whole number, received 1.5"),
        ("rounds", False, "a whole number, received false"),
        ("strict", 1, "true or false, received 1"),
        ("label", 3, "text, received 3"),
        ("mode", "left", "one of 'up', 'down', received 'left'"),
        ("level", True, "one of 1, 2, received true"),
        ("limits", 1.0, "a list, each a finite number, received 1.0"),
        ("limits", [1.0, True], "a list, each a finite number, received [1.0, True]"),
        ("window", [1], "a list of 2: a whole number, a whole number or null, received [1]"),
        ("steps", [1, "2"], "a list, each a whole number, received [1, '2']"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(
    registry: Registry[Any], parameter: str, value: Any, expected: str
) -> None:
    line = refused(registry, {"name": "weighted", parameter: value})
    assert line.startswith(f"{KIND}.{parameter}: expected {expected}")


def test_a_missing_parameter_and_a_component_that_objects(registry: Registry[Any]) -> None:
    assert refused(registry, "needy") == f"{KIND}.weight: expected a finite number, received nothing"
    assert refused(registry, {"name": "needy", "weight": -1}) == (
        f"{KIND}: weight must not be negative (received weight=-1.0)"
    )
    assert refused(registry, {"weight": 1}) == f"{KIND}.name: expected the name of a component, received null"


def test_complete_writes_every_default_out(registry: Registry[Any]) -> None:
    complete = registry.complete({"name": "weighted", "weight": 2})
    assert complete == {
        "name": "weighted",
        "weight": 2.0,
        "rounds": 3,
        "strict": True,
        "label": "a",
        "mode": "up",
        "level": 1,
        "limits": [1.0, 2.0],
        "window": None,
        "steps": [1],
    }
    assert registry.create(complete) == Weighted(weight=2.0)


def test_describe_tells_types_and_defaults(registry: Registry[Any]) -> None:
    described = registry.describe("weighted")
    assert described.summary == "Score by a weight."
    assert described.documentation.endswith("Second paragraph.")
    assert [(parameter.name, parameter.type, parameter.default) for parameter in described.parameters][
        :3
    ] == [
        ("weight", "a finite number", 0.5),
        ("rounds", "a whole number", 3),
        ("strict", "true or false", True),
    ]
    assert described.parameters[-1].default == [1]
    assert not described.parameters[0].required
    assert registry.describe("needy").parameters[0].required


def test_registration_wants_a_new_snake_name_and_a_frozen_dataclass(registry: Registry[Any]) -> None:
    class Plain:
        pass

    @dataclass
    class Thawed:
        weight: float = 1.0

    class Inherits(Weighted):
        pass

    with pytest.raises(CascadeError, match="expected a snake_case name to register, received 'CamelCase'"):
        registry.register("CamelCase")
    for refused_class in (Plain, Thawed, Inherits):
        with pytest.raises(CascadeError, match="expected a frozen dataclass"):
            registry.register("fresh")(refused_class)
    with pytest.raises(CascadeError, match="name 'weighted' is taken by"):
        registry.register("weighted")(Needy)
    assert registry.create("weighted") == Weighted()


def test_the_same_class_defined_again_takes_its_place(registry: Registry[Any]) -> None:
    def define(default: float) -> type[Any]:
        @registry.register("again")
        @dataclass(frozen=True)
        class Again:
            weight: float = default

        return Again

    define(1.0)
    define(2.0)
    assert registry.create("again").weight == 2.0


def test_a_component_by_its_import_path(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from dataclasses import dataclass\n"
        "VALUE = 3\n"
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        "    '''Mine.'''\n"
        "    weight: float = 1.0\n"
        "class Loose:\n"
        "    pass\n"
    )
    (tmp_path / "registry_guest.py").write_text(source)
    (tmp_path / "registry_broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = registry.create({"name": "registry_guest:Mine", "weight": 2})
    assert made.weight == 2.0
    assert registry.name_of(made) == "registry_guest:Mine"
    assert registry.name_of(Weighted()) == "weighted"
    assert registry.describe("registry_guest:Mine").summary == "Mine."
    assert "registry_guest:Mine" not in registry.names()

    assert "expected a class of the module, received 'Mien'" in refused(registry, "registry_guest:Mien")
    assert "did you mean 'Mine'?" in refused(registry, "registry_guest:Mien")
    assert "expected a class of the module, received 'VALUE'" in refused(registry, "registry_guest:VALUE")
    assert "expected a frozen dataclass, received class registry_guest:Loose" in refused(
        registry, "registry_guest:Loose"
    )
    assert "(ModuleNotFoundError: No module named 'no_such_module')" in refused(
        registry, "no_such_module:Mine"
    )
    assert "(RuntimeError: two lines)" in refused(registry, "registry_broken:Mine")
    assert "expected a name or package.module:Class, received 'a:b:c'" in refused(registry, "a:b:c")


def test_modules_are_imported_at_the_first_look_up_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from dataclasses import dataclass\n"
        "from registry_home import HOME\n"
        "@HOME.register('built_in')\n"
        "@dataclass(frozen=True)\n"
        "class BuiltIn:\n"
        "    weight: float = 1.0\n"
    )
    home = "from cascade_sim.registry import Registry\nHOME = Registry('home', modules=('registry_rules',))\n"
    (tmp_path / "registry_home.py").write_text(home)
    (tmp_path / "registry_rules.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import registry_home  # type: ignore[import-not-found]

    assert "registry_rules" not in sys.modules
    assert registry_home.HOME.names() == ("built_in",)
    assert "registry_rules" in sys.modules


def test_a_module_that_cannot_be_imported_is_not_forgotten() -> None:
    registry: Registry[Any] = Registry("home", modules=("no_such_module",))
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.names()


def test_every_component_of_a_scenario_has_a_registry() -> None:
    assert {path.partition("[")[0] for path in Scenario().components()} == set(REGISTRIES)
    assert all(registry.kind == path for path, registry in REGISTRIES.items())
