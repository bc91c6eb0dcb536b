"""The order in which dealers hedge whose clocks strike in one step, and what it leaves to the phase after it."""

import numpy as np
from test_model import small

import cascade_sim as cs
from cascade_sim.core.ground.rng import PURPOSE_ROTATION, stream, word
from cascade_sim.lab.single import run


def test_dealers_of_one_step_hedge_in_the_order_of_a_hash_of_dealer_and_step() -> None:
    changes = {"dealers.hedging.interval_seconds": 1.0, "dealers.hedging.band": 0.0}
    scenario = small(**changes)
    model = cs.CascadeModel(scenario, rng=4)
    seed, first = model.state.world.config.seed, int(model.state.world.config.dealers.first_account)
    result = run(scenario, seed=4, probe=False)
    hedges = result.events[result.events["type"] == "hedge"]
    orders = set()
    for step, rows in hedges.groupby("step"):
        numbers = rows.sort_values("sequence")["account_id"].to_numpy(np.int64) - first
        key = np.uint64(stream(seed, PURPOSE_ROTATION, np.int64(step)))
        assert list(numbers) == sorted(numbers, key=lambda number: int(word(key, np.int64(number), 0)))
        orders.add(tuple(numbers))
    assert len(orders) == 6


def test_a_hedge_takes_nothing_from_the_throughput_of_the_liquidation_engine() -> None:
    model = cs.CascadeModel(small(**{"dealers.hedging.interval_seconds": 1.0}), rng=4)
    while not model.finished:
        model.step()
        assert model.state.world.control.handled == 0
        assert model.state.world.control.listed == 0
