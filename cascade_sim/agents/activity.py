"""From the scenario to the actors: what leveraged traders do during the run."""

from typing import Any

import numpy as np

from cascade_sim.agents.base import Opening
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.scenario import Scenario


def uses_activity(scenario: Scenario) -> bool:
    """Whether any leveraged trader acts during the run, on its clock or at a price."""
    traders = scenario.traders
    stops = traders.stop_loss.share > 0.0 and scenario.switches.stop_losses
    prices = traders.activity.take_profit.share + traders.top_up.share
    return bool(stops or prices > 0.0 or traders.activity.wake_rate > 0.0)


def configure_activity(opening: Opening, first_account: int, count: int) -> None:
    """Write down what ``count`` traders from ``first_account`` do; their clocks start when their positions are open.

    Raises
    ------
    ScenarioError
        If there are more than can act, or the trend looks back too far.
    """
    scenario = opening.scenario
    if not uses_activity(scenario) or count == 0:
        return
    if count > lay.LARGE.actors:
        expected = f"at most {lay.LARGE.actors} traders who act (traders.activity, stop_loss, top_up)"
        raise ScenarioError(expectation("traders.count", expected, count))
    _configure(opening, opening.state.world.activity.config)
    config = opening.state.world.activity.config
    config.first_account, config.count, config.enabled = first_account, count, 1


def _configure(opening: Opening, config: Any) -> None:
    scenario, traders = opening.scenario, opening.scenario.traders
    activity, take, reentry = traders.activity, traders.activity.take_profit, traders.activity.reentry
    config.wake_rate = activity.wake_rate * scenario.run.dt
    config.trend_steps = max(1, opening.steps(activity.trend_seconds))
    if config.trend_steps >= lay.LARGE.lookback:
        expected = f"fewer than {lay.LARGE.lookback} steps"
        raise ScenarioError(expectation("traders.activity.trend_seconds", expected, int(config.trend_steps)))
    for name in ("momentum_share", "rebalance_share", "trend_saturation", "change", "band", "market_limit"):
        config[name] = getattr(activity, name)
    config.stop_share = traders.stop_loss.share if scenario.switches.stop_losses else 0.0
    config.stop_low, config.stop_high = traders.stop_loss.distance_low, traders.stop_loss.distance_high
    config.take_share, config.take_low, config.take_high = take.share, take.distance_low, take.distance_high
    config.call_share, config.call_ratio = traders.top_up.share, traders.top_up.trigger_ratio
    config.call_amount = traders.top_up.amount
    clearing = opening.state.world.config.clearing
    config.call_rate = np.asarray(clearing.tier_rate) * traders.top_up.trigger_ratio
    config.call_deduction = np.asarray(clearing.tier_deduction) * traders.top_up.trigger_ratio
    config.guarded = int(max(config.stop_share, config.take_share, config.call_share) > 0.0)
    config.reentry_probability, config.reentry_limit = reentry.probability, reentry.limit
    config.reentry_delay = reentry.delay_seconds / scenario.run.dt
