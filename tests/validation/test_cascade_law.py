"""Exact laws of liquidation and hedging on linear permanent impact, through the public engine.

A linear price (Kyle 1985), traders of equal size with uniform inverse leverage, a mark that follows at once and a full
close make liquidations a branching process: trigger prices have constant density, so n = impact x size x density is the
mean number of accounts that one liquidation liquidates. Steps stand for episodes: each begins with the same shock below
the lowest price so far, where nobody has been liquidated yet, and the engine runs its rounds until quiet.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from reference.branching import (
    amplification,
    autoregressive_variance_ratio,
    autoregressive_volatility,
    borel_tanner,
    chi_square,
    fano_branching_ratio,
    generalized_poisson,
)
from scipy.stats import chi2

import cascade_sim as cs
from cascade_sim.domain.enums import AccountClass, Cause, EventType, Stage
from cascade_sim.lab.single import collect, measure_conservation

PRICE = 100.0
LOW, HIGH, MAINTENANCE = 0.01, 0.51, 0.005
EDGE = PRICE * (1.0 - LOW) / (1.0 - MAINTENANCE)
"""Highest liquidation price; the support below it is (HIGH - LOW) PRICE / (1 - MAINTENANCE) wide."""
WIDTH = PRICE * (HIGH - LOW) / (1.0 - MAINTENANCE)
IMPACT = 0.004
EPISODES = 20_000
THETA = 2.0
USED = 0.5
"""Share of the support that the mean path of one population may use up."""

QUIET: dict[str, Any] = {
    "market.initial_price": PRICE,
    "market.tick_size": 0.01,
    "market.lot_size": 1e-6,
    "market.price_formation": {"name": "linear_impact", "impact": IMPACT},
    "market.mark_price": {"name": "last"},
    "run.dt": 0.01,
    "run.burn_in_steps": 0,
    "run.record": "series",
    "fundamental.volatility": 0.0,
    "background.market_rate": 0.0,
    "background.patient_orders": 0,
    "liquidity.count": 0,
    "value_traders.rate_per_price": 0.0,
    "arbitrage.rate_per_price": 0.0,
    "holders.count": 1,
    "traders.count": 0,
    "traders.open_interest": 0.0,
    "traders.entrants.share": 0.0,
    "traders.entrants.quantity": 0.0,
    "traders.entrants.trend_seconds": 0.01,
    "dealers.count": 0,
    "clearing.sizing": {"name": "full"},
    "clearing.accounts_per_second": 10**7,
    "clearing.rounds_per_step": 10**7,
    "clearing.liquidation_fee_rate": 0.0,
    "clearing.insurance_fund": 1e6,
    "clearing.maintenance_margin": MAINTENANCE,
    "clearing.initial_margin": 0.0099,
    "shock.quantity": 0.0,
    "shock.news": 0.0,
    "shock.at_seconds": 0.0,
    "shock.duration_seconds": 0.01,
}
"""Nothing happens: no noise, no quotes, no accounts. Laws add what they are about."""


def quiet(**changes: Any) -> cs.Scenario:
    """Return the empty world with double underscores for dots in the names of what changes."""
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    return cs.load_scenario("gamma_shock").with_overrides({**QUIET, **overrides})


def population(count: int, ratio: float) -> dict[str, Any]:
    """Longs of equal size and uniform inverse leverage with branching ratio ``ratio`` at IMPACT."""
    size = ratio / (IMPACT * count / WIDTH)
    return {
        "traders__count": count,
        "traders__open_interest": count * size,
        "traders__long_share": 1.0,
        "traders__inverse_leverage": [LOW, HIGH],
        "traders__entry_spread": 0.0,
        "traders__size_dispersion": 0.0,
        "traders__nearest_trigger_share": 0.0,
    }


def dealer(feedback: float) -> dict[str, Any]:
    """One dealer who hedges every step and whose options have the same gamma at every price.

    Equal contracts at equally spaced strikes: the sum of K^2 / F^2 times a lognormal density of K does not depend on F,
    and the strikes are closer than its standard deviation, so the sum differs from the integral by less than 1e-8.
    ``feedback`` is impact times gamma, negative for short gamma.
    """
    days = 30.0
    return {
        "dealers__count": 1,
        "dealers__gamma_per_percent": feedback / IMPACT * 0.01 * PRICE,
        "dealers__hedging": {
            "name": "clock",
            "interval_seconds": 0.001,
            "mark_seconds": 0.0,
            "band": 0.0,
            "price_limit": 0.9,
        },
        "options__strikes": 51,
        "options__strike_low": 0.5,
        "options__strike_high": 1.5,
        "options__strike_center": 0.0,
        "options__strike_width": 1e6,
        "options__expiry_days": [days],
        "options__expiry_weights": [1.0],
        "options__implied_volatility": 0.03 / math.sqrt(days / 365.0),
    }


def steady_sale(steps: int, drop: float) -> dict[str, Any]:
    """A shock that alone moves the price by ``drop`` in each of ``steps`` steps."""
    return {
        "run__steps": steps,
        "shock__quantity": steps * drop / IMPACT,
        "shock__duration_seconds": 0.01 * steps,
    }


class Run(NamedTuple):
    """A finished run: prices in quote units at the ends of its steps, the initial price first."""

    model: cs.CascadeModel
    series: NDArray[Any]
    price: NDArray[np.float64]
    value: NDArray[np.float64]


def finished(model: cs.CascadeModel) -> Run:
    """Run a model to its end."""
    model.run()
    model.recorder.drain(model.state.tape)
    series = model.recorder.raw("series")
    tick = model.instrument.tick_size
    price, value = (np.append(PRICE, series[name] * tick) for name in ("mark", "fundamental"))
    assert int(model.state.accounts["cash"].sum()) == 0
    assert int(model.state.accounts["position"].sum()) == 0
    assert int(model.state.world.totals.check_failures) == 0
    return Run(model, series, price, value)


def liquidated(run: Run, size: float) -> NDArray[np.int64]:
    """Accounts liquidated in each step; every close was whole and went to the market."""
    lots = round(size / run.model.instrument.lot_size)
    sold = run.series["sell_volume"][:, int(Cause.LIQUIDATION)] / lots
    counts: NDArray[np.int64] = np.rint(sold).astype(np.int64)
    # Positions are whole lots that sum to the open interest: some hold one more than others.
    assert np.abs(sold - counts).max() < 1e-3
    assert float(run.model.state.world.totals.closed[Stage.FUND]) == 0.0
    return counts


def roots_of(run: Run, steps: int) -> NDArray[np.int64]:
    """Accounts in each step that the shock itself liquidates: those whose mark is the first of the step."""
    events = run.model.recorder.raw("events")
    events = events[events["type"] == int(EventType.LIQUIDATION)]
    first = np.append(-1, events["step"][:-1]) != events["step"]
    mark = np.full(steps, np.nan)
    mark[events["step"][first]] = events["mark"][first]
    return np.bincount(events["step"][events["mark"] == mark[events["step"]]], minlength=steps)


@cache
def episodes(ratio: float, count: int = 5000) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Sizes and roots of EPISODES cascades, and the drawdown over its exogenous part."""
    drop = THETA * WIDTH / count
    before = math.ceil((PRICE - EDGE) / drop)
    each = round(USED * WIDTH / drop / amplification(ratio, 0.0))
    sizes, roots, falls = [], [], 0.0
    settings = population(count, ratio) | steady_sale(before + each, drop)
    for seed in range(math.ceil(EPISODES / each)):
        run = finished(cs.CascadeModel(quiet(**settings), rng=seed))
        size = liquidated(run, settings["traders__open_interest"] / count)
        assert not size[: before - 1].any()
        sizes.append(size[before:])
        roots.append(roots_of(run, before + each)[before:])
        falls += (run.price[before] - run.price[-1]) / drop
    return np.concatenate(sizes), np.concatenate(roots), falls / (len(sizes) * each)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.8])
def test_cascade_sizes_are_generalized_poisson(ratio: float) -> None:
    sizes, _, amplified = episodes(ratio)
    assert len(sizes) >= EPISODES
    assert sizes.mean() == pytest.approx(THETA / (1.0 - ratio), rel=0.03)
    assert amplified == pytest.approx(amplification(ratio, 0.0), rel=0.02)
    assert fano_branching_ratio(sizes) == pytest.approx(ratio, abs=0.03)
    statistic, freedom = chi_square(np.bincount(sizes), generalized_poisson(THETA, ratio, 2000))
    assert freedom > 10
    assert chi2.sf(statistic, freedom) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("roots", [1, 2, 3])
def test_cascades_from_given_roots_are_borel_tanner(roots: int) -> None:
    ratio = 0.6
    sizes, first, _ = episodes(ratio)
    chosen = sizes[first == roots]
    assert len(chosen) > 2000
    statistic, freedom = chi_square(np.bincount(chosen - roots), borel_tanner(roots, ratio, 2000))
    assert freedom > 10
    assert chi2.sf(statistic, freedom) > 1e-3


@pytest.mark.slow
def test_any_path_falls_by_its_own_fall_over_one_minus_n() -> None:
    ratio, ratios = 0.6, []
    for seed in range(4):
        noise = {"run__steps": 4000, "fundamental__volatility": 0.001 * math.sqrt(365.0 * 86400.0 / 0.01)}
        settings = population(20_000, ratio) | noise
        on = finished(cs.CascadeModel(quiet(**settings), rng=seed))
        off = finished(cs.CascadeModel(quiet(**settings, switches__liquidation=False), rng=seed))
        np.testing.assert_array_equal(on.value, off.value)
        falls = [EDGE - run.price.min() for run in (on, off)]
        assert 0.05 * WIDTH < falls[0] < 0.95 * WIDTH
        ratios.append(falls[0] / falls[1])
    assert np.mean(ratios) == pytest.approx(amplification(ratio, 0.0), rel=0.02)


def ramp(ratio: float, feedback: float, seed: int, count: int = 20_000) -> float:
    """Fall of the price over that of its exogenous part under a steady sale of 50 triggers a step."""
    drop = 50.0 * WIDTH / count
    before = math.ceil((PRICE - EDGE) * (1.0 + feedback) / drop)
    steps = before + int(USED * WIDTH / drop / amplification(ratio, feedback))
    settings = steady_sale(steps, drop)
    if ratio > 0.0:
        settings |= population(count, ratio)
    if feedback != 0.0:
        settings |= dealer(feedback)
    run = finished(cs.CascadeModel(quiet(**settings), rng=seed))
    low = np.minimum.accumulate(run.price)
    # Hedges lag a step: the first steps in the support approach the rate that the later ones keep.
    start = before + 20
    return float((low[start] - low[-1]) / ((steps - start) * drop))


@cache
def mean_ramp(ratio: float, feedback: float) -> float:
    """Mean of :func:`ramp` over four populations."""
    return float(np.mean([ramp(ratio, feedback, seed) for seed in range(4)]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ratio", "feedback"),
    [(0.4, 0.0), (0.0, -0.4), (0.4, -0.4), (0.3, -0.3), (0.4, 0.4), (0.4, 0.55)],
)
def test_liquidation_and_hedging_amplify_jointly(ratio: float, feedback: float) -> None:
    assert mean_ramp(ratio, feedback) == pytest.approx(amplification(ratio, feedback), rel=0.02)


@pytest.mark.slow
def test_joint_amplification_is_that_of_resistors_not_the_product() -> None:
    alone, hedged, both = mean_ramp(0.4, 0.0), mean_ramp(0.0, -0.4), mean_ramp(0.4, -0.4)
    assert both == pytest.approx(1.0 / (1.0 / alone + 1.0 / hedged - 1.0), rel=0.02)
    assert both > 1.7 * alone * hedged


class Pulses(cs.Participant):
    """Sells the same quantity every so many steps."""

    def __init__(self, model: cs.CascadeModel, quantity: float, every: int) -> None:
        super().__init__(model)
        self.quantity, self.every = quantity, every

    def decide(self, market: Any) -> None:
        """Sell on the clock."""
        if market.step % self.every == 0:
            market.submit(cs.Side.SELL, self.quantity)


@pytest.mark.slow
def test_short_gamma_raises_the_branching_ratio_to_n_over_one_plus_x() -> None:
    ratio, feedback, count, rest = 0.4, -0.4, 5000, 30
    drop = THETA * WIDTH / count
    before = math.ceil((PRICE - EDGE) * (1.0 + feedback) / drop)
    each = round(USED * WIDTH / drop / amplification(ratio, feedback))
    settings = population(count, ratio) | dealer(feedback) | {"run__steps": (before + each) * rest}
    sizes, falls = [], []
    for seed in range(24):
        model = cs.CascadeModel(quiet(**settings), rng=seed)
        model.add_participant(Pulses(model, drop / IMPACT, rest))
        run = finished(model)
        size = liquidated(run, settings["traders__open_interest"] / count)
        sizes.append(size.reshape(-1, rest).sum(axis=1)[before:])
        falls.append(-np.diff(run.price[::rest])[before:] / drop)
    found = np.concatenate(sizes)
    theta, effective = THETA / (1.0 + feedback), ratio / (1.0 + feedback)
    assert np.concatenate(falls).mean() == pytest.approx(amplification(ratio, feedback), rel=0.02)
    assert found.mean() == pytest.approx(theta / (1.0 - effective), rel=0.03)
    assert fano_branching_ratio(found) == pytest.approx(effective, abs=0.03)
    statistic, freedom = chi_square(np.bincount(found), generalized_poisson(theta, effective, 2000))
    assert chi2.sf(statistic, freedom) > 1e-3


@pytest.mark.parametrize("feedback", [-0.75, -0.5, -0.25, 0.25, 0.5])
def test_hedging_a_single_move_ends_at_the_implicit_solution(feedback: float) -> None:
    news = {"run__steps": 300, "shock__news": 0.01}
    run = finished(cs.CascadeModel(quiet(**dealer(feedback), **news), rng=1))
    assert run.model.gamma_per_percent() == pytest.approx(feedback / IMPACT * 0.01 * run.price[-1], rel=1e-6)
    move = run.value[-1] - PRICE
    assert (run.price[-1] - PRICE) / move == pytest.approx(amplification(0.0, feedback), rel=1e-6)


@pytest.mark.parametrize("feedback", [-0.75, -0.5, -0.25, 0.25, 0.5])
def test_hedging_with_a_lag_makes_returns_autoregressive(feedback: float) -> None:
    noise = {"run__steps": 100_000, "fundamental__volatility": 1e-4 * math.sqrt(365.0 * 86400.0 / 0.01)}
    run = finished(cs.CascadeModel(quiet(**dealer(feedback), **noise), rng=1))
    change, shock = np.diff(run.price), np.diff(run.value)
    # The whole path, up to hedges in whole lots: dP = e - x dP of the step before.
    assert np.abs(change[1:] + feedback * change[:-1] - shock[1:]).max() < 1e-5 * shock.std()
    assert change.std() / shock.std() == pytest.approx(autoregressive_volatility(feedback), rel=0.01)
    assert np.corrcoef(change[1:], change[:-1])[0, 1] == pytest.approx(-feedback, abs=0.01)
    lag = 50
    ratio = np.var(run.price[lag:] - run.price[:-lag]) / (lag * change.var())
    assert ratio == pytest.approx(autoregressive_variance_ratio(feedback, lag), rel=0.06)


@pytest.mark.parametrize("feedback", [-1.05, 1.05, -0.95, 0.95])
def test_hedging_is_unstable_beyond_one_for_either_sign(feedback: float) -> None:
    news = {"run__steps": 100, "shock__news": 1e-5}
    change = np.diff(finished(cs.CascadeModel(quiet(**dealer(feedback), **news), rng=1)).price)
    growth = change[1:] / change[:-1]
    np.testing.assert_allclose(growth, -feedback, atol=1e-3)
    assert (abs(change[-1]) > abs(change[0])) == (abs(feedback) > 1.0)


@pytest.mark.parametrize(("side", "liquidation", "bankruptcy"), [(1, 90.4523, 90.0), (-1, 109.4527, 110.0)])
def test_liquidation_and_bankruptcy_prices(side: int, liquidation: float, bankruptcy: float) -> None:
    leverage, steps, drop = 10.0, 5500, 0.002
    one = {
        "traders__count": 1,
        "traders__open_interest": 1.0,
        "traders__long_share": 1.0 if side > 0 else 0.0,
        "traders__inverse_leverage": [1.0 / leverage, 1.0 / leverage + 1e-12],
        "traders__entry_spread": 0.0,
        "traders__nearest_trigger_share": 0.0,
        "shock__side": "sell" if side > 0 else "buy",
    }
    run = finished(cs.CascadeModel(quiet(**one, **steady_sale(steps, drop)), rng=1))
    exact = PRICE * (1.0 - side / leverage) / (1.0 - side * MAINTENANCE)
    assert exact == pytest.approx(liquidation, abs=5e-5)
    events = run.model.recorder.raw("events")
    (closed,) = events[events["type"] == int(EventType.LIQUIDATION)]
    tick = run.model.instrument.tick_size
    assert 0.0 <= side * (exact - closed["mark"] * tick) <= drop
    assert closed["bankruptcy"] * tick == pytest.approx(bankruptcy, rel=1e-9)
    assert closed["maintenance"] == pytest.approx(MAINTENANCE * closed["mark"] * 1e6, rel=1e-9)


@pytest.mark.parametrize("backstop", [True, False])
@pytest.mark.parametrize("adl", [True, False])
@pytest.mark.parametrize("fund", [0.0, 1e5])
@pytest.mark.parametrize("fee", [0.0, 0.0004])
def test_every_cascade_conserves_cash_and_leaves_nobody_in_debt(
    backstop: bool, adl: bool, fund: float, fee: float
) -> None:
    crash = {
        "run__steps": 50,
        "run__record": "full",
        "shock__news": -0.05,
        "clearing__insurance_fund": fund,
        "clearing__liquidation_fee_rate": 0.002,
        "market__taker_fee_rate": fee,
        "switches__backstop": backstop,
        "switches__adl": adl,
    }
    model = cs.CascadeModel(quiet(**population(500, 0.5), **crash), rng=3)
    run = finished(model)
    assert measure_conservation(model, collect(model)) == 0
    accounts, totals = model.state.accounts, model.state.world.totals
    mark = float(model.state.world.market.mark)
    atoms = model.instrument.atoms_per_tick_lot
    worth = accounts["cash"] + accounts["position"] * mark * atoms
    assert abs(worth.sum()) <= 1e-9 * np.abs(worth).sum()
    traders = accounts["account_class"] == int(AccountClass.LEVERAGED_TRADER)
    assert int(totals.liquidated_accounts) > 20
    assert float(worth[traders].min()) >= 0.0
    assert run.price[-1] < PRICE * math.exp(-0.05)
    taken = float(totals.closed[[Stage.FUND, Stage.SOCIALISED]].sum())
    deleveraged = float(totals.closed[Stage.ADL])
    assert (deleveraged > 0.0) == (adl and (fund == 0.0 or not backstop))
    # A fund without capital still takes positions over while fees make it solvent.
    if not adl or (backstop and fund > 0.0):
        assert taken > 0.0
    elif not backstop:
        assert taken == 0.0


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_splitting_an_order_changes_neither_price_nor_cost(steps: int) -> None:
    quantity = 250.0
    settings = {
        "run__steps": steps,
        "shock__quantity": quantity,
        "shock__duration_seconds": 0.01 * steps,
        "shock__side": "buy",
    }
    run = finished(cs.CascadeModel(quiet(**settings), rng=1))
    assert run.price[-1] == pytest.approx(PRICE + IMPACT * quantity, rel=1e-12)
    accounts = run.model.state.accounts
    (paid,) = -accounts["cash"][accounts["account_class"] == int(AccountClass.SHOCK)]
    exact = (PRICE * quantity + 0.5 * IMPACT * quantity**2) * 1e8
    # Each fill is rounded to an atom of cash once.
    assert abs(int(paid) - exact) <= 0.5 * steps + 0.5


class RoundTrip(cs.Participant):
    """Buys in three parts and sells in two."""

    def decide(self, market: Any) -> None:
        """Trade the plan of this step."""
        plan = (30.0, 50.0, 20.0, -65.0, -35.0)
        if market.step < len(plan):
            lots = plan[market.step]
            market.submit(cs.Side.BUY if lots > 0.0 else cs.Side.SELL, abs(lots))


def test_a_round_trip_costs_nothing() -> None:
    model = cs.CascadeModel(quiet(run__steps=10), rng=1)
    trader = model.add_participant(RoundTrip(model))
    run = finished(model)
    row = model.state.accounts[trader.account]
    assert max(run.price) == pytest.approx(PRICE + IMPACT * 100.0, rel=1e-12)
    assert run.price[-1] == pytest.approx(PRICE, rel=1e-12)
    assert int(row.position) == 0
    assert abs(int(row.cash) - model.instrument.cash_to_atoms(trader.capital)) <= 3
