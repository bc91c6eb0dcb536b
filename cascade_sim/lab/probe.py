"""The impact probe: what one exogenous order leaves behind, by paired runs on the same draws."""

import math
from collections.abc import Callable

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.domain.units import added
from cascade_sim.model import Simulation
from cascade_sim.scenario import Scenario

PAIRS = 8
BURN_IN_SECONDS = 300.0
HORIZON_SECONDS = 60.0


def _mid_after(scenario: Scenario, seed: int) -> float:
    model = Simulation(scenario, rng=seed)
    model.run()
    mid = float(model.state.world.market.mid) * model.instrument.tick_size
    model.close()
    return float(mid)


def permanent_impact(
    scenario: Scenario, seed: int, pairs: int = PAIRS, progress: Callable[[int, int], None] | None = None
) -> float | None:
    """Return R(60 s): the mean shift of the mid one minute after a sale, per unit sold.

    Leveraged traders and dealers are absent, so the number is the market's own. The order is two fifths of what the
    providers quote on one side: large enough to stand out, small enough to stay linear.

    Parameters
    ----------
    scenario : Scenario
        Its market, background, liquidity and discretionary traders are probed.
    seed : int
        Key of the pairs.
    pairs : int
        Paired runs.
    progress : callable, optional
        Called after each run with (runs done, runs in all).

    Returns
    -------
    float or None
        Quote currency per base unit; None where there are no providers whose depth could set the size.
    """
    # The first market alone: what others would do to it is no impact of this order.
    scenario = scenario.alone().model_copy(update={"agents": {}})
    liquidity = scenario.liquidity
    ladder = (
        liquidity.count * liquidity.size * added(liquidity.size_growth**k for k in range(liquidity.levels))
    )
    if scenario.market.price_formation.name == "linear_impact":
        ladder = max(ladder, 1.0)
    if ladder <= 0.0:
        return None
    dt = scenario.run.dt
    quantity = max(scenario.market.lot_size, 0.4 * ladder)
    changes = {
        "run.steps": math.ceil((HORIZON_SECONDS + 2 * dt) / dt),
        "run.burn_in_steps": math.ceil(BURN_IN_SECONDS / dt),
        "run.record": "summary",
        "run.event_window_seconds": None,
        "traders.count": 0,
        "traders.open_interest": 0.0,
        # Nobody has a position that needs anything, and a model may have nothing to say of that.
        "clearing.margin": "isolated_linear",
        "dealers.count": 0,
        "shock.news": 0.0,
        "shock.at_seconds": 0.0,
        "shock.duration_seconds": dt,
        "shock.side": "sell",
        "switches.placebo": False,
    }
    with_order = scenario.with_overrides({**changes, "shock.quantity": quantity})
    without = scenario.with_overrides({**changes, "shock.quantity": 0.0})
    keys = np.random.SeedSequence(seed).generate_state(pairs)
    mids = np.zeros((pairs, 2))
    for number, arm in np.ndindex(mids.shape):
        mids[number, arm] = _mid_after((without, with_order)[arm], int(keys[number]))
        if progress is not None:
            progress(2 * number + arm + 1, mids.size)
    return float(np.mean(mids[:, 0] - mids[:, 1])) / quantity


def forced_density(model: Simulation) -> float:
    """Return base units forced per unit of price on the crowded side, over the first tenth of price beyond the nearest trigger.

    Parameters
    ----------
    model : Simulation
        Before its first step.
    """
    state, instrument = model.state, model.instrument
    lots = np.abs(state.accounts["position"]) * instrument.lot_size
    start = float(model.initial_tick)
    width = 0.1 * start
    best = 0.0
    for row, side in ((lay.WATCH_LIQUIDATE_LONG, 1.0), (lay.WATCH_LIQUIDATE_SHORT, -1.0)):
        triggers = state.watch[row]
        valid = (triggers > 0.0) & np.isfinite(triggers) & (lots > 0.0)
        distance = side * (start - triggers[valid])
        if not valid.any():
            continue
        # The lowest hundredth by distance are stragglers of the entry spread, not the edge of the population.
        nearest = float(np.quantile(distance, 0.01))
        if nearest > width:
            continue
        forced = float(lots[valid][(distance >= nearest) & (distance <= nearest + width)].sum())
        best = max(best, forced / (width * instrument.tick_size))
    return best
