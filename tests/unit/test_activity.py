"""What leveraged traders do of their own accord, against plain Python and exact laws."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.agents.activity import configure_activity
from cascade_sim.agents.leveraged_trader import LeveragedTraders
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import BUSY, LEFT, RETURNING
from cascade_sim.core.ground import rng
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.ground.sorting import order_by_word
from cascade_sim.domain.enums import Cause, Outcome
from cascade_sim.domain.errors import CapacityError, ScenarioError
from cascade_sim.lab.ensemble import run_ensemble
from cascade_sim.lab.scaling import active_model
from cascade_sim.lab.single import collect, measure_conservation
from tests.reference.activity import LinearMarket, Rules, Trader

EVERYTHING: dict[str, Any] = {
    "traders.stop_loss.share": 0.4,
    "traders.top_up.share": 0.3,
    "traders.activity.wake_rate": 0.05,
    "traders.activity.take_profit.share": 0.4,
    "traders.activity.take_profit.distance_low": 0.005,
    "traders.activity.take_profit.distance_high": 0.03,
    "traders.activity.trend_seconds": 15.0,
    "traders.activity.reentry.probability": 0.7,
    "traders.activity.reentry.limit": 2,
    "traders.activity.reentry.delay_seconds": 8.0,
}
ALONE: dict[str, Any] = {
    "run.steps": 150,
    "run.burn_in_steps": 0,
    "run.record": "summary",
    "market.price_formation": {"name": "linear_impact", "impact": 0.05},
    "market.mark_price": {"name": "last"},
    "fundamental.volatility": 0.0,
    "background.market_rate": 0.0,
    "value_traders.rate_per_price": 0.0,
    "arbitrage.rate_per_price": 0.0,
    "liquidity.count": 1,
    "dealers.count": 0,
    "traders.count": 40,
    "traders.open_interest": 4000.0,
    "traders.long_share": 0.6,
    "traders.inverse_leverage": [0.03, 0.12],
    "traders.entrants.share": 0.0,
    "switches.liquidation": False,
    "shock.at_seconds": 20.0,
    "shock.duration_seconds": 30.0,
    "shock.quantity": 1500.0,
    "shock.news": 0.0,
    "traders.top_up.share": 0.8,
    "traders.top_up.trigger_ratio": 2.0,
    "traders.activity.rebalance_share": 0.5,
    "traders.activity.reentry.delay_seconds": 3.0,
}
"""Nobody but the traders and the shock moves a price that answers every lot alike."""


@kernel
def draw_word(seed, purpose, step, entity, draw):  # type: ignore[no-untyped-def]
    """Return 63 of the bits at an address."""
    return np.int64(rng.word(rng.stream(seed, purpose, step), entity, draw) >> np.uint64(1))


@kernel
def draw_uniform(seed, purpose, step, entity, draw):  # type: ignore[no-untyped-def]
    """Return the uniform number at an address."""
    return rng.uniform(rng.stream(seed, purpose, step), entity, draw)


@kernel
def sort_words(words, order, starts):  # type: ignore[no-untyped-def]
    """Order all words."""
    order_by_word(words, order, len(words), starts)


def actors(model: cs.CascadeModel) -> Any:
    return model.state.world.activity.actors[: int(model.state.world.activity.config.count)]


def twin_of(model: cs.CascadeModel) -> LinearMarket:
    """Return the reference market in the state in which a model opens."""
    world, accounts = model.state.world, model.state.accounts
    traders, seed = model.settings.traders, world.config.seed
    activity, stop, top_up = traders.activity, traders.stop_loss, traders.top_up
    dt = model.settings.run.dt
    first = model.populations[LeveragedTraders].first_account

    def purpose(name: str) -> Any:
        return getattr(rng, f"PURPOSE_{name}")

    rows = [accounts[first + number] for number in range(traders.count)]
    return LinearMarket(
        traders=[
            Trader(k, int(row.position), int(row.cash), int(row.collateral), float(row.entry_tick))
            for k, row in enumerate(rows)
        ],
        rules=Rules(
            wake_rate=activity.wake_rate * dt,
            momentum_share=activity.momentum_share,
            rebalance_share=activity.rebalance_share,
            trend_steps=round(activity.trend_seconds / dt),
            trend_saturation=activity.trend_saturation,
            change=activity.change,
            band=activity.band,
            market_limit=activity.market_limit,
            stop=(stop.share, stop.distance_low, stop.distance_high),
            take=(
                activity.take_profit.share,
                activity.take_profit.distance_low,
                activity.take_profit.distance_high,
            ),
            call=(top_up.share, top_up.trigger_ratio, top_up.amount),
            reentry=(
                activity.reentry.probability,
                activity.reentry.limit,
                activity.reentry.delay_seconds / dt,
            ),
            maintenance=model.settings.clearing.maintenance_margin,
        ),
        price=float(world.market.mid),
        impact=float(world.config.impact),
        atoms=int(world.config.atoms),
        steps=model.settings.run.steps,
        uniform=lambda name, *address: draw_uniform(seed, purpose(name), *address),
        word=lambda name, *address: draw_word(seed, purpose(name), *address),
    )


def shock_lots(model: cs.CascadeModel) -> int:
    shock, step = model.state.world.config.shock[0], model.step_number
    steps, done = int(shock.last_step - shock.first_step) + 1, step - int(shock.first_step)
    if not 0 <= done < steps:
        return 0
    return int(shock.side) * (int(shock.quantity) * (done + 1) // steps - int(shock.quantity) * done // steps)


@pytest.mark.kernel
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_actions_are_those_of_the_reference(side: str) -> None:
    model = cs.CascadeModel(small(**{**EVERYTHING, **ALONE, "shock.side": side}), rng=11)
    twin = twin_of(model)
    first = model.populations[LeveragedTraders].first_account
    last = first + len(twin.traders)
    while not model.finished:
        twin.advance(shock_lots(model))
        model.step()
        rows, market = model.state.accounts[first:last], model.state.world.market
        assert float(market.mid) == twin.price
        assert float(market.mark) == twin.mark
        assert rows["position"].tolist() == [trader.position for trader in twin.traders]
        assert rows["cash"].tolist() == [trader.cash for trader in twin.traders]
        assert actors(model)["wakes"].tolist() == [trader.wakes for trader in twin.traders]
    kinds = {what for _, _, what in twin.actions}
    assert kinds == {"answer", "enter", "trade"}
    together = len(twin.actions) - len({step for step, _, _ in twin.actions})
    assert together > 20
    stopped = [trader.number for trader in twin.traders if trader.stopped]
    added = [trader.number for trader in twin.traders if trader.topped_up]
    assert stopped
    assert added
    outcome = model.state.accounts["outcome"][first:last]
    assert np.flatnonzero(outcome == Outcome.STOPPED).tolist() == stopped
    assert set(np.flatnonzero(outcome == Outcome.TOPPED_UP)) == set(added) - set(stopped)


@pytest.mark.parametrize("formation", ["order_book", "linear_impact"])
def test_chunked_and_stepped_runs_are_one_run(formation: str) -> None:
    scenario = small(**EVERYTHING, **{"market.price_formation.name": formation})
    fused, chunked, stepped = (cs.CascadeModel(scenario, rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 33, 41, 150):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
    assert fused.state.accounts.tobytes() == stepped.state.accounts.tobytes()
    assert int(actors(fused)["wakes"].sum()) > 1000


@pytest.mark.parametrize("formation", ["order_book", "linear_impact"])
def test_nothing_is_lost_or_made(formation: str) -> None:
    scenario = small(
        **EVERYTHING, **{"market.price_formation.name": formation, "market.taker_fee_rate": 0.001}
    )
    model = cs.CascadeModel(scenario, rng=5)
    model.run()
    assert measure_conservation(model, collect(model)) == 0
    entries = actors(model)["entries"]
    assert 0 < entries.max() <= scenario.traders.activity.reentry.limit
    assert not (actors(model)["traits"] & BUSY).any()


def test_clocks_strike_alike_whatever_the_market_does() -> None:
    arms: list[dict[str, Any]] = [
        {},
        {"switches.liquidation": False, "switches.stop_losses": False},
        {"shock.side": "buy", "background.limit_rate": 9.0},
        {"traders.activity.reentry.probability": 0.0, "traders.activity.momentum_share": 1.0},
        {"market.price_formation.name": "linear_impact"},
    ]
    models = [cs.CascadeModel(small(**{**EVERYTHING, **arm}), rng=9) for arm in arms]
    for until in (1, 2, 3, 20, 60, 150):
        for model in models:
            model.run(until=until)
        wakes = [actors(model)["wakes"].tolist() for model in models]
        assert all(other == wakes[0] for other in wakes)
    prices = {float(model.state.world.market.mid) for model in models}
    assert len(prices) == len(arms)


def test_wake_ups_are_bernoulli_in_every_step() -> None:
    rate, steps = 0.3, 150
    model = cs.CascadeModel(small(**{"traders.activity.wake_rate": rate}), rng=2)
    model.run()
    awake = actors(model)["wakes"][(actors(model)["traits"] & LEFT) == 0].astype(float)
    share = 1.0 - math.exp(-rate)
    error = math.sqrt(share * (1.0 - share) * steps / len(awake))
    assert abs(awake.mean() - share * steps) < 4.0 * error
    assert awake.var() == pytest.approx(share * (1.0 - share) * steps, rel=0.3)


def test_what_is_off_changes_nothing() -> None:
    quiet = {"traders.stop_loss.share": 0.0, "traders.top_up.share": 0.0}
    fields = {"momentum_share": 1.0, "change": 0.9, "reentry.limit": 9, "take_profit.distance_high": 0.5}
    base, other = small(**quiet), small(**quiet, **{f"traders.activity.{k}": v for k, v in fields.items()})
    # Take-profits that no price reaches: the driver that knows them makes the run of the one that does not.
    far = small(
        **quiet,
        **{
            "traders.activity.take_profit.share": 1.0,
            "traders.activity.take_profit.distance_low": 0.98,
            "traders.activity.take_profit.distance_high": 0.99,
        },
    )
    runs = [cs.CascadeModel(scenario, rng=6) for scenario in (base, other, far)]
    assert [int(model.state.world.activity.config.enabled) for model in runs] == [0, 0, 1]
    for model in runs:
        model.run()
    assert raw_tables(runs[0]) == raw_tables(runs[1]) == raw_tables(runs[2])


def test_markets_side_by_side_act_as_one_alone() -> None:
    alone = cs.CascadeModel(small(**EVERYTHING), rng=4)
    apart = {"quote": "EUR", "instrument": "BTC-PERP", "base": "BTC"}
    both = cs.CascadeModel(small(**EVERYTHING, markets={"other": {"market": apart}}), rng=4)
    for model in (alone, both):
        model.run()
    traders = alone.populations[LeveragedTraders].accounts
    assert alone.state.accounts[traders].tobytes() == both.state.accounts[traders].tobytes()
    second = both.markets["other"].state.world.activity
    assert int(second.actors["wakes"][: int(second.config.count)].sum()) > 1000


def test_an_ensemble_repeats_single_runs() -> None:
    scenario = small(**EVERYTHING, **{"run.record": "summary"})
    rows = run_ensemble(scenario, range(5), workers=1)
    for seed in (0, 4):
        model = cs.CascadeModel(scenario, rng=seed)
        model.run()
        totals, accounts = model.state.world.totals, model.state.accounts
        assert rows.trades[seed] == int(totals.trades)
        assert rows.liquidated_accounts[seed] == int(totals.liquidated_accounts)
        mark = model.instrument.ticks_to_prices(np.array([float(model.state.world.market.mark)]))
        assert rows.mark_end[seed] == mark[0]
        assert int(accounts["cash"].sum()) == int(rows.conservation_error[seed]) == 0


@pytest.mark.parametrize("burn_in", [0, 30])
def test_a_summary_keeps_what_accounts_began_with(burn_in: int) -> None:
    runs = []
    for record in ("summary", "full"):
        model = cs.CascadeModel(
            small(**EVERYTHING, **{"run.record": record, "run.burn_in_steps": burn_in}), rng=8
        )
        model.run()
        runs.append(model)
    few, all_of_them = (model.start_accounts for model in runs)
    assert few is not None
    assert all_of_them is not None
    for name in ("cash", "position", "entry_tick", "collateral", "account_class"):
        np.testing.assert_array_equal(few[name], all_of_them[name])
    assert (few["cash"] != runs[0].state.accounts["cash"]).any()


def test_the_benchmark_market_stays_sane() -> None:
    model = active_model(2_000)
    model.run(until=20_000)
    market, totals = model.state.world.market, model.state.world.totals
    assert abs(float(market.mid) / float(market.fundamental) - 1.0) < 0.03
    assert int(market.one_sided) == 0
    assert 18.0 < int(model.state.book.messages) / 20_000 < 24.0
    assert int(totals.check_failures) == int(totals.crossed_books) == int(totals.cash) == 0


def test_take_profits_are_speculation_and_leave_no_mark_on_the_account() -> None:
    settings = {
        **ALONE,
        "traders.stop_loss.share": 0.0,
        "traders.top_up.share": 0.0,
        "traders.long_share": 1.0,
        "traders.activity.take_profit.share": 1.0,
        "traders.activity.take_profit.distance_low": 0.01,
        "traders.activity.take_profit.distance_high": 0.0100001,
        "shock.side": "buy",
        "shock.quantity": 10_000.0,
        "run.record": "full",
    }
    model = cs.CascadeModel(small(**settings), rng=1)
    first = model.populations[LeveragedTraders].first_account
    held = model.state.accounts["position"][first : first + 40].copy()
    model.run()
    assert not model.state.accounts["position"][first : first + 40].any()
    assert (model.state.accounts["outcome"][first : first + 40] == Outcome.UNTOUCHED).all()
    table = collect(model).trades
    sold = table[table.taker_account_id.between(first, first + 39)]
    assert set(sold.taker_cause) == {Cause.SPECULATION.name.lower()}
    assert len(sold) == np.count_nonzero(held)


def test_those_who_do_not_return_have_left() -> None:
    settings = {**EVERYTHING, **ALONE, "traders.activity.reentry.probability": 0.0, "run.steps": 150}
    model = cs.CascadeModel(small(**settings), rng=11)
    model.run()
    first = model.populations[LeveragedTraders].first_account
    closed = model.state.accounts["position"][first : first + 40] == 0
    left = (actors(model)["traits"] & LEFT) != 0
    assert left.any()
    assert not (left & ~closed).any()
    assert not (actors(model)["traits"] & RETURNING).any()
    assert not actors(model)["entries"].any()


@pytest.mark.kernel
@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 64, 1000])
@pytest.mark.parametrize("high", [2, 1 << 62])
def test_order_by_word(count: int, high: int) -> None:
    words: NDArray[np.int64] = np.random.default_rng(count).integers(0, high, count)
    words *= (1 << 62) // high
    order = np.full(count, -1)
    sort_words(words, order, np.zeros(17, np.int64))
    assert order.tolist() == np.argsort(words, kind="stable").tolist()


def test_too_many_traders_and_too_long_a_trend_are_refused() -> None:
    opening: Any = SimpleNamespace(scenario=small(**EVERYTHING))
    with pytest.raises(ScenarioError, match=r"traders.count: expected at most 8388608 traders who act"):
        configure_activity(opening, 0, lay.LARGE.actors + 1)
    trend = {"traders.activity.trend_seconds": float(lay.LARGE.lookback)}
    with pytest.raises(
        ScenarioError, match=r"traders.activity.trend_seconds: expected fewer than 131072 steps"
    ):
        cs.CascadeModel(small(**{**EVERYTHING, **trend}), rng=1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"traders.activity.take_profit.distance_low": 0.2},
            "traders.activity.take_profit.distance_low: expected at most "
            "traders.activity.take_profit.distance_high, 0.1, received 0.2",
        ),
        (
            {"traders.activity.reentry.probability": 0.5},
            "traders.activity.reentry.probability: expected 0 when traders.activity.wake_rate is 0, since traders "
            "notice a closure when they wake, received 0.5",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        cs.load_scenario("gamma_shock").with_overrides(changes)
    assert str(caught.value) == line


def test_a_full_wheel_ends_the_run() -> None:
    model = cs.CascadeModel(small(**EVERYTHING), rng=1)
    model.state.world.activity.wheel.fresh = lay.STANDARD.wakes + 1
    with pytest.raises(CapacityError, match="wake-ups and returns of traders"):
        model.run()
