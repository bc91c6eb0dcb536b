"""Bursts that the records of a run must survive."""

import os
from pathlib import Path

import pytest

import cascade_sim as cs
from cascade_sim.lab.single import collect, measure_conservation


def test_socialising_over_everybody_overflows_nothing() -> None:
    # Without backstop and deleveraging every bankruptcy is shared by all winners: many transfers in one step.
    switches = {"switches.adl": False, "switches.backstop": False}
    scenario = cs.load_scenario("gamma_shock").with_overrides({**switches, "run.steps": 4_200})
    model = cs.CascadeModel(scenario, rng=1)
    model.run()
    assert int(model.state.world.totals.socialised) > 0
    assert measure_conservation(model, collect(model)) == 0
    assert len(model.recorder.raw("transfers")) > 50_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_many_runs_in_one_process_do_not_pile_up() -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides({"run.steps": 3_800, "run.record": "series"})

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    cs.run(scenario, 0)
    before = resident_mib()
    for seed in range(1, 6):
        cs.run(scenario, seed)
    assert resident_mib() - before < 40.0
