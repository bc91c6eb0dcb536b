"""A circuit breaker in the gamma shock, over paired seeds."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

import cascade_sim as cs
from cascade_sim.lab.single import collect, measure_conservation

pytestmark = pytest.mark.slow

SEEDS = range(500, 506)


@cache
def shocked(name: str, seed: int) -> tuple[cs.RunResult, int]:
    """Tables and takeovers of a run that conserves exactly."""
    model = cs.CascadeModel(cs.load_scenario(name).with_overrides({"run.record": "series"}), rng=seed)
    model.run()
    result = collect(model)
    assert measure_conservation(model, result) == 0
    return result, int(model.state.world.totals.bad_debt)


def halts_of(events: pd.DataFrame) -> list[tuple[int, int]]:
    """First step of each halt, and the step in which trading resumes."""
    starts, ends = (events.query(f"type == '{kind}'")["step"].tolist() for kind in ("halt", "resume"))
    return list(zip(starts, ends, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_breaker_halts_the_fall_and_liquidations_wait(seed: int) -> None:
    result, _ = shocked("gamma_shock_halted", seed)
    events, series = result.events, result.series.set_index("step")
    halts = halts_of(events)
    assert halts
    for start, end in halts:
        assert end - start == 300
        stood = series.loc[start : end - 1]
        assert stood["halted"].all()
        assert (stood["mark"] == stood["mark"].iloc[0]).all()
        assert (stood.filter(regex="_volume_").to_numpy() == 0.0).all()
        assert not series.loc[end, "halted"]
        assert series.loc[end, "mid"] > 0.0
    assert int(series["halted"].sum()) == 300 * len(halts)
    closed = events.query("type == 'liquidation'")["step"]
    assert not any(closed.between(start, end - 1).any() for start, end in halts)
    # Who is distressed when trading stops is still waiting when it resumes, and is closed then.
    start, end = halts[-1]
    waiting = series.loc[start : end - 1, "queue_accounts"]
    assert waiting.iloc[-1] == waiting.max() > 0
    assert closed.between(end, end + 30).any()
    # The price at which the market reopens is one that buyers and sellers agreed on.
    assert (events.query("type == 'resume'")["filled"] > 0.0).all()


def test_halts_leave_less_debt() -> None:
    free, halted = (
        [shocked(name, seed)[1] for seed in SEEDS] for name in ("gamma_shock", "gamma_shock_halted")
    )
    assert np.mean(np.less(halted, free)) >= 0.8
    assert sum(halted) < 0.6 * sum(free)
