"""The model: two drivers, one market; conservation; what a change leaves alone."""

import inspect
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import mesa
import numba
import numpy as np
import pandas as pd
import pytest

import cascade_sim as cs
from cascade_sim.agents.background_flow import BackgroundFlow
from cascade_sim.clearing.views import Counterparties, DistressedAccounts
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.rng import PURPOSE_LIMIT, uniforms_of
from cascade_sim.lab.single import collect, measure_conservation

pytestmark = pytest.mark.kernel

SMALL: dict[str, Any] = {
    "run.steps": 150,
    "run.burn_in_steps": 30,
    "run.depth_every_steps": 40,
    "run.map_every_steps": 40,
    "traders.count": 400,
    "traders.open_interest": 40_000.0,
    "traders.entrants.quantity": 500.0,
    "traders.stop_loss.share": 0.1,
    "traders.top_up.share": 0.1,
    "clearing.insurance_fund": 30_000.0,
    "dealers.count": 3,
    "liquidity.count": 4,
    "options.strikes": 6,
    "shock.at_seconds": 20.0,
    "shock.duration_seconds": 20.0,
    "shock.quantity": 2_000.0,
    "shock.news": -0.03,
}


def small(**changes: Any) -> cs.Scenario:
    """Return a little gamma_shock that liquidates, deleverages and ends within seconds."""
    return cs.load_scenario("gamma_shock").with_overrides({**SMALL, **changes})


def raw_tables(model: cs.CascadeModel) -> dict[str, bytes]:
    """Return every recorded field as bytes; the padding between fields and the sign of NaN mean nothing."""
    model.recorder.drain(model.state.tape)
    fields = {}
    for name in ("series", "events", "trades", "transfers", "depth"):
        table = model.recorder.raw(name)
        for field in table.dtype.names or ():
            values = np.ascontiguousarray(table[field])
            if values.dtype.kind == "f":
                values = np.where(np.isnan(values), np.nan, values)
            fields[f"{name}.{field}"] = values.tobytes()
    return fields


def test_drivers_are_bit_identical() -> None:
    fused, chunked, stepped = (cs.CascadeModel(small(), rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 33, 41, 150):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
    assert (
        fused.state.accounts.tobytes() == stepped.state.accounts.tobytes() == chunked.state.accounts.tobytes()
    )


@pytest.mark.parametrize("formation", ["order_book", "linear_impact"])
def test_nobody_ends_a_step_closed_and_in_debt(formation: str) -> None:
    # Fees and stop-losses that fill beyond the bankruptcy price both leave debts behind.
    settings = {
        "market.price_formation.name": formation,
        "market.taker_fee_rate": 0.004,
        "traders.stop_loss.share": 0.9,
        "clearing.insurance_fund": 0.0,
        "shock.news": -0.25,
        "shock.duration_seconds": 2.0,
    }
    model = cs.CascadeModel(small(**settings), rng=3)
    while not model.finished:
        model.step()
        margined = (model.state.accounts["traits"] & lay.FLAG_MARGINED) != 0
        closed = model.state.accounts[margined & (model.state.accounts["position"] == 0)]
        assert int(closed["cash"].min(initial=0)) >= 0
    result = collect(model)
    assert measure_conservation(model, result) == 0
    debts = result.events.query("type == 'takeover' and quantity == 0")
    assert len(debts) > 0
    assert (debts["loss"] > 0.0).all()
    assert model.state.world.totals.bad_debt >= round(debts["loss"].sum() * 1e8)


def test_the_queue_is_what_the_throughput_limit_left_waiting() -> None:
    model = cs.CascadeModel(small(**{"clearing.accounts_per_second": 1}), rng=3)
    model.run()
    series = collect(model).series
    waiting = series["queue_accounts"] > 0
    assert waiting.sum() > 5
    assert (waiting == (series["queue_notional"] > 0.0)).all()
    assert (waiting == series["throughput_binding"]).all()
    assert (series["queue_accounts"] < series["distressed_accounts"]).loc[waiting].all()


def test_fills_outside_the_book_pay_no_trading_fee() -> None:
    settings = {"market.price_formation.name": "linear_impact", "market.taker_fee_rate": 0.001}
    model = cs.CascadeModel(small(**settings, **{"clearing.insurance_fund": 0.0, "shock.news": -0.1}), rng=3)
    model.run()
    model.recorder.drain(model.state.tape)
    trades = model.recorder.raw("trades")
    outside = np.isin(trades["taker_cause"], [int(cs.Cause.DELEVERAGING), int(cs.Cause.BACKSTOP)])
    outside &= trades["on_book"] == 0
    assert outside.sum() > 0
    assert (trades["taker_fee"][outside] == 0).all()
    assert (trades["taker_fee"][trades["on_book"] != 0] > 0).all()


def test_everything_is_conserved_and_the_run_did_something() -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.run()
    result = collect(model)
    assert measure_conservation(model, result) == 0
    kinds = set(result.events["type"].astype(str))
    assert {"shock", "breach", "liquidation", "hedge"} <= kinds
    assert int(model.state.accounts["position"].sum()) == 0
    assert int(model.state.world.totals.crossed_books) == 0


def test_same_seed_same_result_and_other_seed_another() -> None:
    first, second, other = (cs.CascadeModel(small(), rng=seed) for seed in (3, 3, 4))
    for model in (first, second, other):
        model.run()
    assert raw_tables(first) == raw_tables(second)
    assert raw_tables(first) != raw_tables(other)


def test_more_traders_or_no_dealers_leave_the_fundamental_and_the_background_draws_alone() -> None:
    base = cs.CascadeModel(small(), rng=3)
    more = cs.CascadeModel(small(**{"traders.count": 1_400}), rng=3)
    none = cs.CascadeModel(small(**{"dealers.count": 0}), rng=3)
    paths = []
    for model in (base, more, none):
        model.run(until=25)
        model.recorder.drain(model.state.tape)
        series = model.recorder.raw("series")
        paths.append(series["fundamental"][series["step"] < 25])
        assert model.state.world.config.seed == base.state.world.config.seed
        assert (
            model.populations[BackgroundFlow].first_account == base.populations[BackgroundFlow].first_account
        )
    np.testing.assert_array_equal(paths[0], paths[1])
    np.testing.assert_array_equal(paths[0], paths[2])
    trades = [model.recorder.raw("trades") for model in (base, more)]
    early = [table[table["step"] < 0][["step", "price_tick", "quantity_lot"]] for table in trades]
    np.testing.assert_array_equal(early[0], early[1])


@dataclass(frozen=True)
class PythonWorst:
    """The same order as ``worst_margin_ratio_first``, not compiled."""

    def score(self, accounts: DistressedAccounts) -> np.ndarray[Any, Any]:
        """Return the margin ratio."""
        return accounts.margin_ratio


@dataclass(frozen=True)
class PythonRank:
    """The same ranking as ``profit_leverage``, not compiled."""

    def score(self, accounts: Counterparties) -> np.ndarray[Any, Any]:
        """Return minus profit times leverage, or profit over leverage."""
        gain, leverage = accounts.profit_ratio, accounts.leverage
        return np.where(gain > 0.0, -(gain * leverage), -(gain / leverage))


def with_python_rules(model: cs.CascadeModel, **rules: object) -> cs.CascadeModel:
    """Replace compiled rules by Python ones of the same meaning."""
    for name, rule in rules.items():
        object.__setattr__(model.engine, name, rule)
        model.state.world.config.clearing[name] = -1
    return model


def test_python_rules_decide_as_the_compiled_ones() -> None:
    compiled = cs.CascadeModel(small(), rng=3)
    python = with_python_rules(
        cs.CascadeModel(small(), rng=3),
        priority=PythonWorst(),
        sizing=compiled.engine.sizing,
        adl=PythonRank(),
    )
    compiled.run()
    python.run()
    assert raw_tables(compiled) == raw_tables(python)
    assert int(compiled.state.world.totals.liquidated_accounts) > 0


class Momentum(cs.Participant):
    """Buys what has risen over the last step."""

    seen = 0.0

    def decide(self, market: Any) -> None:
        """Follow the last move of the mid with one unit."""
        if self.seen and market.mid > self.seen and market.position < 5.0:
            market.submit(cs.Side.BUY, 1.0)
        self.seen = market.mid


def test_a_participant_written_in_python_trades() -> None:
    fused, stepped = cs.CascadeModel(small(), rng=3), cs.CascadeModel(small(), rng=3)
    for model in (fused, stepped):
        model.add_participant(Momentum(model))
    fused.run(until=20)
    while stepped.step_number < 20:
        stepped.step()
    assert raw_tables(fused) == raw_tables(stepped)
    assert int(fused.state.accounts[fused.participants[0].account].position) > 0
    assert measure_conservation(fused, collect(fused)) == 0


def test_linear_impact_moves_the_price_by_quantity_and_nothing_else() -> None:
    quiet = {
        "market.price_formation": {"name": "linear_impact", "impact": 0.01},
        "market.mark_price.name": "last",
        "fundamental.volatility": 0.0,
        "background.market_rate": 0.0,
        "traders.count": 0,
        "traders.open_interest": 0.0,
        "dealers.count": 0,
        "value_traders.rate_per_price": 0.0,
        "arbitrage.rate_per_price": 0.0,
        "shock.news": 0.0,
    }
    model = cs.CascadeModel(small(**quiet), rng=1)
    model.run()
    assert float(model.state.world.market.mark) * 0.1 == pytest.approx(2200.0 - 0.01 * 2000.0, abs=1e-9)
    assert measure_conservation(model, collect(model)) == 0


def test_draws_are_addressed() -> None:
    entities = np.arange(2_000, dtype=np.int64)
    values = uniforms_of(entities, np.uint64(5), PURPOSE_LIMIT, 7, 0)
    assert abs(values.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.1
    assert len(np.unique(values)) == len(values)
    np.testing.assert_array_equal(
        uniforms_of(entities[::-7], np.uint64(5), PURPOSE_LIMIT, 7, 0), values[::-7]
    )
    assert not np.isin(uniforms_of(entities, np.uint64(5), PURPOSE_LIMIT, 8, 0), values).any()


def test_series_explains_every_move_of_the_mark() -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.run()
    series = collect(model).series
    moves = series[[name for name in series if name.startswith("mark_move_")]].sum(axis=1)
    log_change = 1e4 * np.log(series["mark"] / series["mark"].shift(1))
    pd.testing.assert_series_equal(
        moves[1:], log_change[1:], check_names=False, check_dtype=False, atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("name", ["gamma_shock", "spot_and_perpetual"])
def test_what_mesa_calls_a_scenario_is_left_to_mesa(name: str) -> None:
    scenario = cs.load_scenario(name)
    model = cs.CascadeModel(scenario, rng=1)
    assert model.settings is scenario
    # Mesa's dashboard refuses a model whose scenario is anything but Mesa's own, and gives its own to a model that
    # takes an argument of that name.
    theirs = getattr(model, "scenario", None)
    assert not theirs or type(theirs).__module__.split(".")[0] == "mesa"
    assert "scenario" not in inspect.signature(type(model).__init__).parameters


def test_no_attribute_of_the_model_hides_one_of_mesa() -> None:
    plain = type("Plain", (mesa.Model,), {})
    model, bare = cs.CascadeModel(small(), rng=1), plain(rng=1)
    bases = set(cs.CascadeModel.__mro__) - set(mesa.Model.__mro__)
    named = {name for base in bases for name in vars(base)}
    own = (named - set(vars(plain))) | (set(vars(model)) - set(vars(bare)))
    assert {"settings", "state", "add_cohort"} <= own
    assert {name for name in own & set(dir(bare)) if not name.startswith("__")} == {"step"}


def test_mesa_sees_a_model_that_it_can_step_and_build_anew() -> None:
    model = cs.CascadeModel(small(), rng=3)
    twin = type(model)(settings=model.settings, rng="3")  # a dashboard passes an edited seed as text
    own = cs.CascadeModel(small(), rng=3)
    collector = mesa.DataCollector(
        model_reporters={"step": "step_number", "mark": lambda it: float(it.state.world.market.mark)}
    )
    for _ in range(3):
        model.step()
        collector.collect(model)
        own.run(until=own.step_number + 1)
    while twin.step_number < model.step_number:
        twin.step()
    assert raw_tables(model) == raw_tables(own) == raw_tables(twin)
    assert collector.get_model_vars_dataframe()["step"].tolist() == [-29, -28, -27]


def test_mesa_lists_every_cohort_and_every_agent_of_a_model_by_its_class() -> None:
    class Idle(cs.Participant):
        def decide(self, market: Any) -> None:
            """Do nothing."""

    model = cs.CascadeModel(small(), rng=3)
    model.add_participant(Idle(model))
    listed = [type(agent).__name__ for agent in model.agents]
    assert listed == [kind.__name__ for kind in model.populations] + ["Idle"]
    assert all(isinstance(agent, mesa.Agent) for agent in model.populations.values())
    assert all(isinstance(cohort, kind) for kind, cohort in model.populations.items())


def test_a_model_has_what_is_written_down_and_no_other_attribute_of_its_markets() -> None:
    model = cs.CascadeModel(small(), rng=1)
    for name in (
        "state",
        "instrument",
        "engine",
        "recorder",
        "desk",
        "populations",
        "participants",
        "start_mark",
    ):
        assert getattr(model, name) is not None
        assert getattr(type(model), name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'opening'"):
        model.opening  # noqa: B018
    with pytest.raises(AttributeError):
        model.state = None


def test_no_rounds_mean_as_many_as_it_takes() -> None:
    busy = {"clearing.accounts_per_second": 400}
    runs = {}
    for rounds in (0, 1, 400):
        model = cs.CascadeModel(small(**busy, **{"clearing.rounds_per_step": rounds}), rng=3)
        model.run()
        runs[rounds] = raw_tables(model)
    assert runs[0] == runs[400]
    assert runs[0] != runs[1]


def test_what_an_absent_mechanism_says_stops_no_run() -> None:
    extremes: dict[str, Any] = {
        "liquidity.count": 0,
        "liquidity.volatility_return_seconds": 1e6,
        "liquidity.size": 1e12,
        "liquidity.inventory_limit": 1e12,
        "traders.entrants.share": 0.0,
        "traders.entrants.quantity": 1e9,
        "traders.entrants.trend_seconds": 1e6,
        "traders.entrants.inverse_leverage": [0.001, 0.002],
        "venue.circuit_breaker.window_seconds": 1e6,
        "options.chain.minimum_open_interest": 1e9,
        "run.event_window_seconds": None,
    }
    model = cs.CascadeModel(small(**extremes), rng=3)
    model.run()
    assert model.finished
    assert measure_conservation(model.main, collect(model.main)) == 0


QUICK = {
    "run.steps": 30,
    "run.event_window_seconds": None,
    "shock.at_seconds": 1.0,
    "shock.duration_seconds": 5.0,
}


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="what leaves the compiler alone needs compiled kernels")
def test_a_run_without_agents_in_python_leaves_mesa_and_the_compiler_alone() -> None:
    code = (
        "import sys, cascade_sim as cs\n"
        f"cs.run(cs.load_scenario('gamma_shock').with_overrides({QUICK}), seed=1)\n"
        "big = {'mesa', 'scipy.spatial', 'networkx', 'matplotlib', 'numba.np.linalg'}\n"
        "sys.exit(' '.join(big & set(sys.modules)))"
    )
    for _ in range(2):  # what has to be compiled is after the first
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
