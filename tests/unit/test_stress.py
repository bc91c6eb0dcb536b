"""Stresses as arms, and the least value that breaks a target."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_ensemble import small

import cascade_sim as cs
from cascade_sim.cli import main
from cascade_sim.domain.errors import RunFailed, ScenarioError, UnknownNameError
from cascade_sim.lab import threshold
from cascade_sim.lab.arms import scenario_of
from cascade_sim.lab.stresses import AS_IT_IS, arms_of, library_names, load_stresses
from cascade_sim.lab.threshold import Target, find_threshold, parse_target


@pytest.mark.parametrize("library", library_names())
@pytest.mark.parametrize("name", ["gamma_shock", "spot_and_perpetual"])
def test_every_stress_of_the_library_fits_a_scenario(library: str, name: str) -> None:
    scenario = cs.load_scenario(name)
    arms = arms_of(scenario, load_stresses(library))
    assert arms[0].name == AS_IT_IS
    assert len(arms) > 5
    for arm in arms[1:]:
        changed = scenario_of(scenario, arm)
        assert changed.scenario_hash != scenario.scenario_hash, arm.name


def test_values_may_be_multiplied() -> None:
    scenario = small()
    (_, arm) = arms_of(scenario, {"more": {"shock.quantity": {"times": 2}, "switches.adl": False}})
    assert arm.overrides == {"shock.quantity": 2.0 * scenario.shock.quantity, "switches.adl": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stresses: {}", "stresses: expected changes by the name"),
        ("stresses: {a: 3}", "stresses: expected changes by the name"),
        ("- a", "stresses: expected changes by the name"),
        (
            "stresses: {a: {clearing.priority.name: {times: 2}}}",
            "stress a: clearing.priority.name: expected a number",
        ),
        ("stresses: {a: {shock.quantity: {times: x}}}", "stress a: shock.quantity.times: expected a number"),
    ],
)
def test_wrong_libraries_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        arms_of(small(), load_stresses(file))
    with pytest.raises(UnknownNameError, match="markett"):
        load_stresses("markett")


def test_targets_are_read() -> None:
    assert parse_target("bad_debt>100000") == Target("bad_debt", ">", 1e5)
    assert parse_target(" worst_depth <= 0.5 ") == Target("worst_depth", "<=", 0.5)
    rows = pd.DataFrame({"max_adverse_excursion": [-300.0, 200.0, np.nan], "bad_debt": [0.0, 5.0, 1.0]})
    assert parse_target("max_adverse_excursion>=250").broken(rows).tolist() == [True, False, False]
    assert parse_target("bad_debt<1").broken(rows).tolist() == [True, False, False]
    for text in ("bad_debt", "bad_debt=3", "bad_debt>x", ">3"):
        with pytest.raises(ScenarioError, match="target: expected"):
            parse_target(text)
    with pytest.raises(UnknownNameError, match="bad_dept"):
        parse_target("bad_dept>3")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Runs whose bad debt is the quantity of the shock over a number of the seed: each breaks at a value that is known."""
    numbers = np.random.default_rng(4).lognormal(0.0, 0.5, 21)

    def replicas(scenario: cs.Scenario, seeds: list[int], **_: Any) -> pd.DataFrame:
        debt = scenario.shock.quantity / numbers[np.array(seeds)]
        return pd.DataFrame({"status": "finished", "reason": "", "bad_debt": debt})

    monkeypatch.setattr(threshold, "run_replicas", replicas)
    return np.sort(numbers)


def test_the_least_value_is_the_median_of_those_of_the_seeds(known: np.ndarray) -> None:
    found = find_threshold(small(), "bad_debt>1000", "shock.quantity", 10.0, 100_000.0, tolerance=1e-4)
    # The range is four decades: a ten-thousandth of it is 0.1 %.
    assert found.value == pytest.approx(1000.0 * known[10], rel=1e-3)
    # Of 21 the sixth and the sixteenth: fewer than six heads have a probability of 1.3 %, fewer than seven of 3.9 %.
    assert (found.low, found.high) == (
        pytest.approx(1000.0 * known[5], rel=1e-3),
        pytest.approx(1000.0 * known[15], rel=1e-3),
    )
    assert found.evaluated["value"].is_monotonic_increasing
    assert found.evaluated["share"].is_monotonic_increasing
    assert len(found.evaluated) <= 2 + 3 * 14


def test_ranges_that_hold_no_threshold_say_so(known: np.ndarray) -> None:
    nowhere = find_threshold(small(), "bad_debt>1000", "shock.quantity", 1.0, 50.0)
    assert math.isnan(nowhere.value)
    assert len(nowhere.evaluated) == 2
    everywhere = find_threshold(small(), "bad_debt>1", "shock.quantity", 100.0, 200.0)
    assert (everywhere.value, everywhere.low, everywhere.high) == (100.0, 100.0, 100.0)


def test_wrong_searches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes, message in (
        ({"low": 5.0, "high": 5.0}, "range: expected from below to"),
        ({"replications": 4}, "replications: expected at least 5"),
        ({"tolerance": 0.0}, "tolerance: expected a number between"),
        ({"path": "shock.quantitty"}, "shock.quantitty: expected a known key"),
        ({"low": -5.0}, "shock.quantity: expected a number >= 0"),
    ):
        asked: dict[str, Any] = {
            "target": "bad_debt>1",
            "path": "shock.quantity",
            "low": 1.0,
            "high": 10.0,
        } | changes
        with pytest.raises(ScenarioError, match=message):
            find_threshold(small(), **asked)

    def fails(*_: Any, **__: Any) -> pd.DataFrame:
        return pd.DataFrame({"status": ["failed"], "reason": ["on purpose"], "bad_debt": [np.nan]})

    monkeypatch.setattr(threshold, "run_replicas", fails)
    with pytest.raises(RunFailed, match=r"shock.quantity=1: on purpose"):
        find_threshold(small(), "bad_debt>1", "shock.quantity", 1.0, 10.0)


def command(*words: object) -> int:
    """Run the command line in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_the_command_runs_stresses_and_looks_for_the_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "little.yaml").write_text(small(name="little").to_yaml())
    (tmp_path / "own.yaml").write_text("stresses: {more: {shock.quantity: {times: 2}}}")
    words = ["stress", "little.yaml", "--library", "own.yaml", "--replications", 3, "--no-charts", "--json"]
    assert command(*words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in summary["arms"]} == {AS_IT_IS, "more"}
    assert (tmp_path / "results" / "stress-little-0" / "summary.json").is_file()
    assert command(*words) == 2
    capsys.readouterr()
    reverse = ["stress", "little.yaml", "--target", "max_adverse_excursion>200", "--vary", "shock.quantity"]
    assert command(*reverse, "--from", 10, "--to", 9000, "--replications", 5, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert 10.0 <= found["low"] <= found["value"]
    assert command(*reverse) == 2
    assert "expected --vary, --from and --to" in capsys.readouterr().err
    assert command("stress", "little.yaml", "--from", 3) == 2
    assert "expected --target beside them" in capsys.readouterr().err
