"""From a model to a result: after its run, in the middle of it, and on."""

from typing import Any

import pandas as pd
import pytest
from test_model import SMALL, small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import CapacityError, CascadeError
from cascade_sim.model import Simulation
from cascade_sim.result import RESULT_TABLES

TIMES = {"started_at", "ended_at", "wall_seconds"}


def assert_equal(found: cs.RunResult, expected: cs.RunResult) -> None:
    """Check tables, summary and scenario, and of the manifest all but the times and what a run measures beforehand."""
    for name in RESULT_TABLES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))
    assert found.summary == expected.summary
    assert found.scenario_yaml == expected.scenario_yaml
    left_out = TIMES | {"forced_over_depth"}
    manifests = [{k: v for k, v in each.manifest.items() if k not in left_out} for each in (found, expected)]
    assert manifests[0] == manifests[1]
    assert found.manifest.keys() >= TIMES


@pytest.fixture(scope="module")
def expected() -> cs.RunResult:
    return cs.run(small(), seed=3, probe=False)


@pytest.mark.parametrize("kind", [cs.CascadeModel, Simulation])
def test_after_the_run_it_is_the_result_of_a_run(kind: type[Any], expected: cs.RunResult) -> None:
    model = kind(small(), rng=3)
    model.run()
    assert expected.summary["liquidated_accounts"] > 0
    assert_equal(model.result(), expected)
    assert_equal(model.result(), expected)


def test_a_model_that_was_stepped_gives_it_too(expected: cs.RunResult) -> None:
    model = cs.CascadeModel(small(), rng=3)
    while not model.finished:
        model.step()
    assert_equal(model.result(), expected)


def test_a_result_taken_on_the_way_leaves_the_run_alone(expected: cs.RunResult) -> None:
    model = cs.CascadeModel(small(), rng=3)
    for stop in (-10, 0, 60):
        model.run(until=stop)
        so_far = model.result()
        assert (so_far.manifest["status"], so_far.manifest["stopped_at_step"]) == ("stopped", stop)
        assert so_far.summary["steps"] == max(stop, 0)
        assert (so_far.series["step"] < stop).all()
    rows = expected.series["step"] < 60
    pd.testing.assert_frame_equal(
        so_far.series.drop(columns="funding_rate"),
        expected.series[rows].drop(columns="funding_rate"),
        check_categorical=False,
    )
    model.run()
    assert_equal(model.result(), expected)


def test_a_model_that_has_not_begun_has_an_empty_result() -> None:
    nothing = cs.CascadeModel(small(), rng=3).result()
    assert (nothing.rows("series"), nothing.summary["steps"], nothing.summary["trades"]) == (0, 0, 0)
    assert nothing.rows("accounts") > 400
    assert nothing.manifest["status"] == "stopped"


@pytest.mark.parametrize("record", ["series", "summary"])
def test_it_has_what_was_recorded(record: str) -> None:
    scenario = small(**{"run.record": record})
    model = cs.CascadeModel(scenario, rng=5)
    model.run()
    assert_equal(model.result(), cs.run(scenario, seed=5, probe=False))


def test_several_markets_are_one_result() -> None:
    short = {key: value for key, value in SMALL.items() if key.startswith(("run.", "shock.at", "shock.du"))}
    scenario = cs.load_scenario("spot_and_perpetual").with_overrides(short)
    model = cs.CascadeModel(scenario, rng=2)
    model.run()
    found = model.result()
    assert_equal(found, cs.run(scenario, seed=2, probe=False))
    assert set(found.series["venue"]) == set(model.markets)


def test_it_can_be_saved_and_shown(tmp_path: Any, expected: cs.RunResult) -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.run()
    again = cs.load_result(model.result().save(tmp_path / "run"))
    assert again.summary == expected.summary
    assert "liquidated" in again._repr_html_()


def test_what_a_run_that_failed_had_recorded_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.run(until=20)
    model.state.world.control.capacity = lay.CAPACITY_ORDERS

    def exhausted(*_: Any) -> int:
        return lay.RETURN_CAPACITY

    monkeypatch.setattr(model, "_advance", exhausted)
    with pytest.raises(CapacityError, match="step 20: expected room for more orders"):
        model.run()
    assert model.result().manifest["stopped_at_step"] == 20


def test_a_closed_model_says_so() -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.close()
    with pytest.raises(CascadeError, match="model: expected one that holds its records, received"):
        model.result()
