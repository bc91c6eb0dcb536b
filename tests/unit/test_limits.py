"""Bursts that the records of a run must survive."""

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
