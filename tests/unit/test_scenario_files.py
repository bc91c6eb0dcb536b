"""Scenarios as text: round trips, the hash, files and what they are based on."""

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_sim.core.layout import LARGE
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.scenario import Component, Scenario, load_scenario, scenario_names
from cascade_sim.scenario.checks import MOST_OPTIONS
from cascade_sim.scenario.yaml_text import parse_yaml

DEFAULT = Scenario()


@pytest.mark.parametrize("name", scenario_names())
def test_yaml_round_trip(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    file = tmp_path / "resolved.yaml"
    file.write_text(scenario.to_yaml())
    loaded = load_scenario(file)
    assert loaded == scenario
    assert loaded.scenario_hash == scenario.scenario_hash
    # The stock reader must agree, since others read the file without this package.
    assert yaml.safe_load(scenario.to_yaml()) == scenario.tree()


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=30),
    st.floats(1e-12, 1e12, allow_subnormal=False),
    st.lists(
        st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e12, 1e12), st.booleans(), st.text(max_size=8))
    ),
)
def test_any_text_and_number_survives_yaml(text: str, number: float, listed: list[Any]) -> None:
    scenario = Scenario.from_mapping(
        {
            "title": text,
            "shock": {"quantity": number},
            "clearing": {"priority": {"name": "random", "listed": listed, "text": text}},
        }
    )
    assert Scenario.from_mapping(parse_yaml(scenario.to_yaml(), "text")) == scenario


@pytest.mark.parametrize(
    "text", ["1e-4", "off", "010", "null", "~", "1:30", "2024-01-08", ".inf", "<<", "=", ""]
)
def test_text_that_looks_like_something_else_stays_text(text: str, tmp_path: Path) -> None:
    scenario = DEFAULT.with_overrides({"title": text})
    file = tmp_path / "a.yaml"
    file.write_text(scenario.to_yaml())
    assert load_scenario(file).title == text


def test_the_hash_sees_values_and_nothing_else() -> None:
    first = DEFAULT.scenario_hash
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert Scenario.from_mapping(DEFAULT.tree()).scenario_hash == first
    reordered = dict(reversed(DEFAULT.tree().items()))
    assert Scenario.from_mapping(reordered).scenario_hash == first
    assert DEFAULT.with_overrides({"dealers.hedging.interval_seconds": 30}).scenario_hash == first
    assert DEFAULT.with_overrides({"shock.quantity": 6000}).scenario_hash == first
    changed: list[dict[str, Any]] = [
        {"shock.quantity": 6000.0000001},
        {"dealers.hedging.interval_seconds": 31},
        {"dealers.hedging.name": "none"},
        {"switches.adl": False},
        {"run.event_window_seconds": 100},
        {"title": "other"},
    ]
    assert len({DEFAULT.with_overrides(overrides).scenario_hash for overrides in changed} | {first}) == 7


def test_a_scenario_survives_pickling() -> None:
    scenario = load_scenario("short_squeeze").with_overrides({"clearing.sizing.ramp": [1, [2, 3]]})
    copy = pickle.loads(pickle.dumps(scenario))
    assert copy == scenario
    assert copy.scenario_hash == scenario.scenario_hash


def test_components_by_path() -> None:
    components = DEFAULT.components()
    assert components["clearing.priority"].name == "worst_margin_ratio_first"
    assert components["market.mark_price"].parameters == {"time_constant_seconds": 3.0}
    assert Component.model_validate("random") == Component(name="random")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.yaml", "base: gamma_shock\nshock: {quantity: 1e2}\nclearing: {priority: random}\n"
    )
    scenario = load_scenario(file)
    assert (scenario.name, scenario.shock.quantity, scenario.clearing.priority.name) == (
        "mine",
        100.0,
        "random",
    )
    changes = {"name": "mine", "shock.quantity": 100, "clearing.priority": "random"}
    assert scenario == load_scenario("gamma_shock").with_overrides(changes)
    assert load_scenario(str(file)) == scenario
    assert "base" not in scenario.tree()


def test_bases_stand_on_bases_relative_to_the_file(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    write(below / "first.yaml", "base: calm\ndealers: {hedging: {name: fixed_band, band: 7}}\n")
    write(below / "second.yaml", "base: first.yaml\nname: two\ndealers: {hedging: {band: 8}}\n")
    file = write(tmp_path / "third.yaml", "base: below/second.yaml\nshock: {quantity: 5}\n")
    scenario = load_scenario(file)
    assert scenario.name == "third"
    assert scenario.dealers.hedging.parameters == {"band": 8}
    assert scenario.traders.open_interest == 40000.0
    assert Scenario.from_mapping({"base": "calm", "shock": {"quantity": 3}}).traders.long_share == 0.6


def test_a_name_without_suffix_may_be_a_file_but_the_library_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "bare", "shock: {quantity: 5}\n")
    write(tmp_path / "calm", "shock: {quantity: 5}\n")
    assert load_scenario("bare").shock.quantity == 5.0
    assert load_scenario("calm").shock.quantity == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping of sections, received null"),
        ("- 1\n", "expected a mapping of sections, received [1]"),
        ("shock: {quantity: 1\n", "expected YAML, received an error at line 2"),
        (
            "a: 1\n---\nb: 2\n",
            "expected YAML, received an error at line 2, column 1: but found another document",
        ),
        (
            "shock: {}\nshock: {}\n",
            "expected YAML, received an error at line 2, column 1: key 'shock' is given twice",
        ),
        ("1: 2\n", "expected YAML, received an error at line 1, column 1: key 1 is not text"),
        ("shock: !!python/name:os.system {}\n", "expected YAML, received an error at line 1"),
        ("shock: &a {quantity: *a}\n", "line 1, column 8: anchors and aliases are not accepted here (&a)"),
        ("shock: {quantity: *a}\n", "anchors and aliases are not accepted here (*a)"),
        ("shock: {<<: {quantity: 1}}\n", "merge keys (<<) are not accepted here"),
        ("shock: {quantity: .inf}\n", "shock.quantity: expected a finite number, received inf"),
        ("shock: {quantty: 1}\n", "shock.quantty: expected a known key, received 'quantty', known: quantity"),
        ("base: 3\n", "base: expected the name or path of a scenario, received 3, known: calm"),
        (
            "base: gama_shock\n",
            "scenario: expected a known name, received 'gama_shock', known: calm, gamma_shock",
        ),
        (
            "base: nowhere.yaml\n",
            "'nowhere.yaml': expected a readable YAML file, received an error: No such file",
        ),
        (
            "base: bad.yaml\n",
            "base: expected a chain that ends, received 'bad.yaml', which is based on itself",
        ),
    ],
)
def test_a_refused_file(text: str, expected: str, tmp_path: Path) -> None:
    file = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    line = str(caught.value)
    assert expected in line
    assert "\n" not in line


def test_a_refused_file_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "bad.yaml", "shock: {quantity: -1}\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert str(caught.value) == f"{file}: shock.quantity: expected a number >= 0, received -1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "gama_shock",
            "scenario: expected a known name, received 'gama_shock', known: calm, gamma_shock, "
            "gamma_shock_halted, long_gamma, long_squeeze, short_squeeze, spot_and_perpetual; did you mean 'gamma_shock'?",
        ),
        (
            "none.yaml",
            "'none.yaml': expected a readable YAML file, received an error: No such file or directory",
        ),
        ("./none", "'./none': expected a readable YAML file, received an error: No such file or directory"),
        ("a\0.yaml", "'a\\x00.yaml': expected a readable YAML file, received an error: embedded null byte"),
    ],
)
def test_a_scenario_that_is_not_there(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    assert str(caught.value) == expected


def test_a_few_lines_of_aliases_cannot_stand_for_billions_of_values(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join(10 * [f'*a{k - 1}'])}]" for k in range(1, 10)]
    file = write(tmp_path / "bomb.yaml", "\n".join(lines))
    with pytest.raises(ScenarioError, match="line 1, column 5: anchors and aliases are not accepted"):
        load_scenario(file)


@pytest.mark.parametrize("name", scenario_names())
def test_the_commented_form_explains_every_field_and_reads_back(name: str) -> None:
    scenario = load_scenario(name)
    text = scenario.to_commented_yaml({"dealers.hedging.band": "base units left alone"})
    assert Scenario.from_mapping(parse_yaml(text, "text")) == scenario
    length = rf"^  seconds: {scenario.run.seconds} +# s; Length after burn-in; run.steps says it in steps$"
    assert re.search(length, text, re.MULTILINE)
    if "band" in scenario.dealers.hedging.parameters:
        assert re.search(r"^    band: [0-9.]+ +# base units left alone$", text, re.MULTILINE)
    assert "\n# The venue and its contract.\nmarket:\n" in text
    fields = [line for line in text.splitlines() if re.match(r"  \w+: ", line)]
    assert len(fields) > 90
    assert [line for line in fields if " # " not in line] == []


@pytest.mark.parametrize(
    "text", ["a\n\n b  ", "# x", "", "a " * 200, "tab\t", "\x85 q" * 60, "  lead\n\ttab"]
)
def test_any_text_survives_the_commented_form(text: str) -> None:
    scenario = DEFAULT.with_overrides({"title": text, "clearing.priority.text": text})
    assert Scenario.from_mapping(parse_yaml(scenario.to_commented_yaml(), "text")) == scenario


def test_files_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(
        ScenarioError, match="expected a readable YAML file, received an error: Is a directory"
    ):
        load_scenario(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\xd8\x80")
    with pytest.raises(ScenarioError, match="expected YAML, received an error"):
        load_scenario(binary)


def test_every_number_is_bounded() -> None:
    numbers = {
        path: value
        for path, value in DEFAULT.leaves().items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert len(numbers) > 110
    for path in numbers:
        for value in (1e13, 1e300, 10**18):
            with pytest.raises(ScenarioError, match=f"^{re.escape(path)}: expected a number"):
                DEFAULT.with_overrides({path: value})


def test_the_bound_on_options_is_that_of_the_dealers() -> None:
    assert LARGE.options == MOST_OPTIONS
