"""Lengths and rates said in steps, in time, and both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cascade_sim as cs
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.scenario.lengths import in_time
from cascade_sim.scenario.market import Run


def changed(**changes: Any) -> cs.Scenario:
    """Return gamma_shock without its shock and with some fields changed; the first underscore stands for the dot."""
    quiet = {
        "shock.quantity": 0.0,
        "shock.news": 0.0,
        "shock.at_seconds": 0.0,
        "shock.duration_seconds": 1e-6,
    }
    said = {name.replace("_", ".", 1): value for name, value in changes.items()}
    return cs.load_scenario("gamma_shock").with_overrides(quiet | said)


def test_the_horizon_holds_when_the_step_changes() -> None:
    fine = changed(run_dt=0.5)
    assert (fine.run.seconds, fine.run.steps, fine.run.burn_in_steps) == (14_400.0, 28_800, 1_800)
    coarse = changed(run_dt=7.0)
    assert (coarse.run.steps, coarse.run.burn_in_steps) == (2057, 129)
    assert changed(run_seconds=1e-3).run.steps == 1


def test_steps_are_counted_in_the_step_that_is_said_with_them() -> None:
    said = changed(run_steps=2700, run_dt=0.5, run_burn_in_steps=10)
    assert (said.run.seconds, said.run.steps) == (1350.0, 2700)
    assert (said.run.burn_in_seconds, said.run.burn_in_steps) == (5.0, 10)
    assert said.with_overrides({"run.dt": 1.0}).run.steps == 1350
    assert changed(run_steps=1e3).run.steps == 1000


@pytest.mark.parametrize("dt", [1e-6, 0.1, 0.3, 1.0 / 3.0, 7.7, 1e3])
def test_a_number_of_steps_survives_being_said_in_time(dt: float) -> None:
    for steps in (1, 7, 999_983):
        said = in_time({"run": {"dt": dt, "steps": steps, "burn_in_steps": steps - 1}})["run"]
        run = Run(**said)
        assert (run.steps, run.burn_in_steps) == (steps, steps - 1)


def test_what_is_nearer_wins(tmp_path: Path) -> None:
    below = tmp_path / "below.yaml"
    below.write_text("base: calm\nrun: {steps: 100}\n")
    above = tmp_path / "above.yaml"
    above.write_text("base: below.yaml\nrun: {seconds: 40}\n")
    top = tmp_path / "top.yaml"
    top.write_text("base: above.yaml\nrun: {steps: 30, dt: 2}\n")
    lengths = [cs.load_scenario(path).run.steps for path in (below, above, top)]
    assert lengths == [100, 40, 30]


def test_what_is_written_reads_back() -> None:
    scenario = changed(run_steps=77, run_dt=0.3)
    assert "steps: 77" not in scenario.to_yaml()
    assert cs.Scenario.from_mapping(scenario.tree()) == scenario


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run.steps": 0}, r"^run.steps: expected a number >= 1, received 0"),
        ({"run.steps": "x"}, r"^run.steps: expected a whole number, received 'x'"),
        ({"run.steps": True}, r"^run.steps: expected a whole number, received true"),
        ({"run.steps": 2.5}, r"^run.steps: expected a whole number, received 2.5"),
        ({"run.burn_in_steps": -1}, r"^run.burn_in_steps: expected a number >= 0, received -1"),
        ({"run.steps": 10**10}, r"^run.steps: expected a number <= 1e\+09, received"),
        ({"run.seconds": 0.0}, r"^run.seconds: expected a number > 0, received 0"),
        (
            {"run.steps": 5, "run.seconds": 5.0},
            r"^run.seconds: expected either this or run.steps, received both",
        ),
        (
            {"run": {"steps": 5, "seconds": 5.0}},
            r"^run.seconds: expected either this or run.steps, received both",
        ),
        ({"run.steps": 5, "run.dt": 0.0}, r"^run.dt: expected"),
        ({"run.step": 5}, r"^run.step: expected a known key, received 'step'"),
        ({"clearing.accounts_per_second": 0.0}, r"^clearing.accounts_per_second: expected a number > 0"),
    ],
)
def test_what_is_no_length_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        cs.load_scenario("gamma_shock").with_overrides(changes)


def test_the_old_name_of_the_engines_limit_warns_and_means_what_it_meant() -> None:
    with pytest.warns(
        FutureWarning, match=r"clearing.accounts_per_step is deprecated: say clearing.accounts_per_second"
    ):
        scenario = changed(clearing_accounts_per_step=2, run_dt=0.5)
    assert scenario.clearing.accounts_per_second == 4.0
    with pytest.raises(
        ScenarioError, match=r"^clearing.accounts_per_step: expected a number >= 1, received 0"
    ):
        changed(clearing_accounts_per_step=0)
    both = {"clearing.accounts_per_step": 2, "clearing.accounts_per_second": 2.0}
    with pytest.raises(ScenarioError, match=r"accounts_per_second: expected either"):
        cs.load_scenario("gamma_shock").with_overrides(both)


def closed_by_step(scenario: cs.Scenario) -> np.ndarray:
    """Accounts that the engine handled in each step from the shock on."""
    result = cs.run(scenario, seed=3, probe=False)
    closed = result.events[result.events["type"].isin(["liquidation", "takeover", "adl"])]
    closed = closed[closed["account_class"] != "insurance_fund"]
    handled = closed.groupby("step")["account_id"].nunique()
    return handled.reindex(range(scenario.run.steps), fill_value=0).to_numpy()


SMALL = {
    "run.seconds": 90.0,
    "run.burn_in_seconds": 10.0,
    "traders.count": 300,
    "traders.open_interest": 40_000.0,
    "dealers.count": 0,
    "background.patient_orders": 200,
    "clearing.insurance_fund": 0.0,
    "clearing.sizing": {"name": "full"},
    "shock.at_seconds": 10.0,
    "shock.duration_seconds": 10.0,
    "shock.quantity": 4_000.0,
    "shock.news": -0.08,
}


@pytest.mark.parametrize(("rate", "dt"), [(0.5, 1.0), (1.5, 1.0), (3.0, 0.5), (0.2, 0.5)])
def test_fractions_of_the_engines_limit_add_up(rate: float, dt: float) -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides(
        SMALL | {"clearing.accounts_per_second": rate, "run.dt": dt}
    )
    handled = closed_by_step(scenario)
    steps = np.arange(1, scenario.run.steps + 1)
    allowed = np.diff(np.floor(np.concatenate(([0], steps)) * rate * dt + 1e-9))
    assert (handled <= allowed).all()
    # Somebody is always waiting, so that what is allowed is used.
    busy = slice(int(30.0 / dt), int(60.0 / dt))
    assert handled[busy].sum() == allowed[busy].sum() > 0


def test_those_who_wait_are_seen_in_steps_that_allow_nobody() -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides(SMALL | {"clearing.accounts_per_second": 0.1})
    result = cs.run(scenario, seed=3, probe=False)
    late = result.series[(result.series["step"] >= 30) & (result.series["step"] < 60)]
    assert (late["queue_accounts"] > 0).all()
    assert late["throughput_binding"].all()
    assert result.summary["throughput_bound_seconds"] >= 60.0
