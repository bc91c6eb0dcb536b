"""Metrics against small paths whose values can be worked out on paper: the kernels that keep the figures, and their twin."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference import figures as twin
from tape import CLASSES, FUND, INSTRUMENT, LONG, MAKER, SHORT

from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.record.figures import begin_figures, finish_figures, observe
from cascade_sim.core.venue.book import submit
from cascade_sim.domain.enums import AccountClass, Cause, OrderType, SelfTradePolicy, Stage
from cascade_sim.domain.errors import CascadeError
from cascade_sim.metrics import (
    METRICS,
    TABLE_METRICS,
    RunFacts,
    Runs,
    columns,
    metric,
    summarise,
    summary_keys,
)
from cascade_sim.metrics.market_quality import autocorrelation, signature
from cascade_sim.metrics.statistics import median_interval, paired_median_interval
from cascade_sim.result import RunResult

LOG_MOVES = (0, 0, 0, 0, -100, -250, -400, -300, -210, -190, -100, 60)
"""Log basis points of the mark at the ends of steps -2 .. 9; the shock comes in step 2."""
DT = 30.0
START = 20_000.0
"""Ticks: a mark of 2,000."""
_TRADER = int(AccountClass.LEVERAGED_TRADER)


@kernel
def _begin(worlds, books, accounts):
    begin_figures(worlds[0], books[0], accounts[0])


@kernel
def _observe(worlds, books):
    observe(worlds[0], books[0])


@dataclass
class Walk:
    """A world whose marks are given, step by step.

    Attributes
    ----------
    moves
        Log basis points of the mark at the ends of steps from 0 on.
    shock
        First step of the event window, None without a shock.
    last
        Last step of the window, by default the last of all.
    majority
        Lots of the leveraged traders as step 0 begins.
    volumes
        Step -> cause -> lots that takers bought.
    forced, taken
        Step -> lots closed by force, and of them outside the book.
    binding
        Steps in which the limits of the engine bind.
    depth
        Step -> lots that rest on each side of the mid, 10 otherwise.
    """

    moves: Any = LOG_MOVES[2:]
    shock: int | None = 2
    last: int | None = None
    majority: int = 1
    volumes: Any = ()
    forced: Any = ()
    taken: Any = ()
    binding: Any = ()
    depth: Any = ()
    start: float = 0.0
    stop_after: int | None = None

    def run(self) -> Runs:
        """Begin, let every step pass, and finish."""
        state = allocate_state(len(CLASSES), 0, int(SelfTradePolicy.CANCEL_RESTING))
        rows = [
            np.asarray(each).reshape(1, *np.shape(each)) for each in (state.world, state.book, state.accounts)
        ]
        world, steps = state.world, len(self.moves)
        state.accounts["account_class"] = CLASSES
        state.accounts["position"][[LONG, SHORT]] = self.majority, -self.majority
        config = world.config
        config.dt, config.steps, config.atoms = DT, steps, INSTRUMENT.atoms_per_tick_lot
        config.fund_account = FUND
        config.window_first = self.shock or 0
        config.window_last = steps - 1 if self.last is None else self.last
        config.calm_last = steps - 1 if self.shock is None else self.shock - 1
        config.minute_steps = 2
        length = int(config.window_last) - int(config.window_first) + 1
        config.forced_bins = min(length, lay.FORCED_BINS)
        config.densest_bins = max(1, round(lay.DENSEST_SHARE * config.forced_bins))
        world.totals.first_liquidation_step = world.totals.first_adl_step = -1
        world.market.mark = world.market.mid = START * np.exp(self.start / 1e4)
        arrays = [each.view(np.ndarray) for each in rows]
        _begin(*arrays)
        for step, move in enumerate(self.moves[: self.stop_after]):
            world.control.step = step
            world.market.mark = START * np.exp(move / 1e4)
            world.market.mid = START
            for tick, side in ((int(START) - 5, 1), (int(START) + 5, -1)):
                lots = dict(self.depth).get(step, 10)
                world.control.next_event = -1
                submit(state.book, side, tick, lots, MAKER, int(OrderType.LIMIT), int(Cause.QUOTE), -1)
            for cause, lots in dict(self.volumes).get(step, {}).items():
                world.now.buy_volume[cause] = lots
            world.now.forced = dict(self.forced).get(step, 0)
            world.now.taken = dict(self.taken).get(step, 0)
            world.now.throughput_binding = step in self.binding
            _observe(*arrays[:2])
            world.now.buy_volume[:] = 0
            for tick in (int(START) - 5, int(START) + 5):
                _clear(state.book, tick)
        world.control.step = steps if self.stop_after is None else self.stop_after
        row = np.zeros(1, lay.FIGURE_ROW).view(np.recarray)
        finish_figures(*arrays, row, lay.RETURN_DONE, 0)
        return Runs(row, INSTRUMENT, DT, 500.0)


def _clear(book: Any, tick: int) -> None:
    """Take away what rests at a price, which is not crossed, by trading against it."""
    side = -1 if tick < START else 1
    submit(book, side, tick, 10_000, SHORT, int(OrderType.IOC), int(Cause.BACKGROUND), -1)


def value(name: str, **changes: Any) -> Any:
    """A metric of a walk, None where it is undefined."""
    found = METRICS[name].function(Walk(**changes).run())  # type: ignore[misc]
    assert isinstance(found, np.ndarray)
    return None if np.isnan(found[0]) else found[0]


@pytest.mark.kernel
def test_excursion_starts_from_the_mark_before_the_shock() -> None:
    assert value("max_adverse_excursion") == pytest.approx(-400.0)
    assert value("max_adverse_excursion", moves=[0, 50, *LOG_MOVES[4:]]) == pytest.approx(-450.0)


@pytest.mark.kernel
def test_excursion_against_shorts_is_up() -> None:
    assert value("max_adverse_excursion", majority=-1) == pytest.approx(60.0)
    falling = {"moves": [0, 0, *range(-1, -9, -1)], "majority": -1}
    assert value("max_adverse_excursion", **falling) == 0.0
    assert value("retrace", **falling) is None
    assert value("recovery_seconds", **falling) is None
    # Up by 400 in step 4; 190 in step 7 is the first with half undone.
    mirrored = {"moves": [-move for move in LOG_MOVES[2:]], "majority": -1}
    assert value("recovery_seconds", **mirrored) == 90.0
    assert value("retrace", **mirrored) == pytest.approx(1.15)


@pytest.mark.kernel
def test_excursion_ends_with_the_window() -> None:
    assert value("max_adverse_excursion", last=3) == pytest.approx(-250.0)


@pytest.mark.kernel
def test_excursion_without_a_shock_starts_where_step_0_begins() -> None:
    walk = {"moves": [-30, -20], "shock": None}
    assert value("max_adverse_excursion", **walk) == pytest.approx(-30.0)
    assert value("max_adverse_excursion", start=5.0, **walk) == pytest.approx(-35.0)
    assert value("mark_start", start=5.0, **walk) == pytest.approx(2000.0 * np.exp(5e-4))


@pytest.mark.kernel
def test_a_run_that_stopped_before_its_shock_has_no_window() -> None:
    early = {"stop_after": 2}
    names = (
        "max_adverse_excursion",
        "retrace",
        "recovery_seconds",
        "worst_depth",
        "mark_start",
        "mark_lowest",
    )
    assert [value(name, **early) for name in names] == [None] * len(names)
    assert value("max_drawdown", **early) == 0.0
    assert value("steps", **early) == 2


@pytest.mark.kernel
def test_drawdown_is_a_fraction_of_the_running_peak() -> None:
    assert value("max_drawdown") == pytest.approx(1.0 - np.exp(-0.04))
    rising = [100, 500, 300, 700, 450, 700, 700, 700, 700, 700]
    assert value("max_drawdown", moves=rising) == pytest.approx(1.0 - np.exp(-0.025))
    assert value("max_drawdown", moves=[0] * 10) == 0.0


@pytest.mark.kernel
def test_retrace_and_recovery() -> None:
    assert value("retrace") == pytest.approx(1.15)
    assert value("retrace", last=5) == pytest.approx(0.25)
    # Trough at the end of step 4; -190 in step 7 is the first with half of -400 undone.
    assert value("recovery_seconds") == 90.0
    assert value("recovery_seconds", last=6) is None
    # A deeper trough begins the count anew.
    again = [0, 0, -100, -20, -300, -200, -100, 0, 0, 0]
    assert value("recovery_seconds", moves=again) == 60.0


@pytest.mark.kernel
def test_worst_depth_is_a_share_of_calm() -> None:
    assert value("worst_depth", depth={0: 8, 1: 12, 5: 3}) == pytest.approx(0.3)
    assert value("worst_depth", shock=0) is None
    assert value("worst_depth", shock=None, depth={5: 0.0}) == 0.0


@pytest.mark.kernel
def test_realised_volatility_uses_minutes() -> None:
    # Two steps of 30 s per return: marks before step 0 and after steps 1, 3, 5, 7, 9.
    returns = np.diff([0, 0, -250, -300, -190, 60]) / 1e4
    expected = np.sqrt(np.mean(returns**2) * 365 * 24 * 60)
    assert value("realised_volatility") == pytest.approx(expected)
    assert value("realised_volatility", moves=[1, 2, 3], shock=None) is None


@pytest.mark.kernel
def test_the_densest_part_of_the_window_is_a_twentieth() -> None:
    # The window has 8 steps, so the densest 5 % is one step.
    amounts = {1: 50, 3: 6, 7: 3, 8: 1}
    assert value("densest_liquidation_share", forced=amounts) == pytest.approx(0.6)
    assert value("densest_liquidation_share") is None
    amounts = {3: 4, 4: 2, 30: 4}
    assert value("densest_liquidation_share", forced=amounts, moves=[0] * 42) == pytest.approx(0.6)
    assert value("densest_liquidation_share", forced=amounts, moves=[0] * 31) == pytest.approx(0.4)


def test_a_long_window_is_counted_in_parts() -> None:
    # The 8,000 steps from step 2 on are two to a part, and the densest are 200 parts: from step 402 on, or from 400 on.
    inside = {2: 1, 401: 1, 402: 3, 800: 4, 8001: 1}
    assert value("densest_liquidation_share", forced=inside, moves=[0] * 8002) == pytest.approx(0.7)


@pytest.mark.kernel
def test_volume_shares_leave_out_calm_and_off_book_fills() -> None:
    volumes = {
        0: {Cause.LIQUIDATION: 50},
        4: {Cause.LIQUIDATION: 3, Cause.BACKGROUND: 4, Cause.BACKSTOP: 5, Cause.DELTA_HEDGE: 1},
    }
    walk = {"volumes": volumes, "taken": {4: 3}}
    assert value("liquidation_volume_share", **walk) == pytest.approx(0.3)
    assert value("hedge_volume_share", **walk) == pytest.approx(0.1)
    assert value("hedge_volume_share") is None


@pytest.mark.kernel
def test_throughput_is_counted_in_seconds() -> None:
    assert value("throughput_bound_seconds", binding={0, 4, 5}) == 90.0
    assert value("throughput_bound_seconds") == 0.0


def row(**fields: Any) -> Runs:
    """One run whose row holds these fields, of a world that has begun."""
    rows = np.zeros(1, lay.FIGURE_ROW)
    rows["figures"]["mark_begun"] = rows["figures"]["mark_start"] = rows["mark_end"] = START
    for name, given in fields.items():
        if name in (rows["figures"].dtype.names or ()):
            rows["figures"][name] = given
        else:
            rows[name] = given
    return Runs(rows, INSTRUMENT, DT, 500.0)


def told(name: str, runs: Runs) -> Any:
    """The value of a metric of one run."""
    return summarise(runs)[name]


def test_losses_by_class_add_up() -> None:
    # The trader loses 1,000 and the 200 that it added; the outside puts in 4 on top.
    runs = row()
    began, ended = runs.rows["figures"]["began"][0], runs.rows["ended"][0]
    atoms = 10**8
    for rows in (began, ended):
        rows["accounts"][[AccountClass.EXTERNAL, AccountClass.INSURANCE_FUND, _TRADER]] = 1
    began["cash"][[AccountClass.EXTERNAL, AccountClass.INSURANCE_FUND, _TRADER]] = [
        -1500 * atoms,
        500 * atoms,
        1000 * atoms,
    ]
    ended["cash"][[AccountClass.EXTERNAL, AccountClass.INSURANCE_FUND, _TRADER]] = [
        -1704 * atoms,
        1704 * atoms,
        0,
    ]
    runs.rows["added"][0][[AccountClass.EXTERNAL, _TRADER]] = [-200 * atoms, 200 * atoms]
    losses = told("loss_by_class", runs)
    assert losses == {"external": 4.0, "insurance_fund": -1204.0, "leveraged_trader": 1200.0}
    assert told("insurance_fund_end", runs) == 1704.0
    assert told("insurance_fund_start", runs) == 500.0


def test_a_position_counts_at_mark() -> None:
    runs = row(mark_end=START + 100.0)
    for rows in (runs.rows["figures"]["began"][0], runs.rows["ended"][0]):
        rows["accounts"][_TRADER], rows["position"][_TRADER] = 1, 300
    # 3 ETH gain 10 each.
    assert told("loss_by_class", runs) == {"leveraged_trader": -30.0}


def test_totals_are_in_user_units() -> None:
    closed = np.zeros(lay.STAGES)
    closed[[Stage.BOOK, Stage.FUND, Stage.ADL, Stage.SOCIALISED]] = [5e8, 1e8, 2e8, 3e8]
    runs = row(
        messages=100,
        trades=12,
        liquidated_accounts=3,
        bad_debt=25 * 10**7,
        liquidated_quantity=400,
        closed=closed,
        decided=4e10,
        shortfall=1e7,
        first_liquidation_step=4,
        first_adl_step=-1,
    )
    assert [told(name, runs) for name in ("messages", "trades", "liquidated_accounts")] == [100, 12, 3]
    assert told("bad_debt", runs) == 2.5
    assert told("liquidated_quantity", runs) == 4.0
    assert told("liquidated_notional", runs) == 11.0
    assert (told("backstop_notional", runs), told("adl_notional", runs)) == (4.0, 2.0)
    assert told("liquidation_shortfall", runs) == pytest.approx(2.5)
    assert told("liquidation_shortfall", row()) is None
    assert (told("first_liquidation_seconds", runs), told("first_adl_seconds", runs)) == (120.0, None)


def test_peak_gamma_keeps_its_sign() -> None:
    runs = row(peak_gamma=-7e11)
    assert told("peak_gamma_exposure", runs) is None
    runs.rows["ended"]["accounts"][0][AccountClass.OPTIONS_DEALER] = 2
    # Lots x ticks, a thousandth of an ETH x USD, and 1 % of it.
    assert told("peak_gamma_exposure", runs) == pytest.approx(-7e11 * 0.1 * 0.01 * 0.01)


def test_gamma_drag_is_what_the_whole_book_lost() -> None:
    runs = row(options_begun=-300e8, options_ended=700e8)
    dealers = int(AccountClass.OPTIONS_DEALER)
    runs.rows["figures"]["began"][0]["cash"][dealers] = 1200 * 10**8
    runs.rows["ended"][0]["accounts"][dealers] = 1
    assert told("gamma_drag", runs) is None
    runs.rows["options"] = 6
    # 1,200 lost in futures, 1,000 gained by the options.
    assert told("gamma_drag", runs) == pytest.approx(200.0)


def test_autocorrelation_of_known_series() -> None:
    assert autocorrelation([1.0, -1.0] * 10) == pytest.approx(-1.0)
    assert autocorrelation([1.0, 2.0, 3.0, 4.0, np.nan, 5.0, 6.0, 7.0]) == pytest.approx(1.0)
    assert autocorrelation([2.0] * 9) is None
    assert autocorrelation([1.0, 2.0]) is None
    values = np.random.default_rng(3).normal(size=400)
    assert autocorrelation(values, 3) == pytest.approx(np.corrcoef(values[3:], values[:-3])[0, 1])


def test_signature_of_an_alternating_price() -> None:
    prices = 100.0 * np.exp(np.tile([0.0, 1e-3], 50))
    found = signature(prices, 5.0, (1, 5, 10, 12, 1000))
    assert list(found) == ["5", "10", "1000"]
    assert found["5"] == pytest.approx(1e-3 * np.sqrt(365 * 86400 / 5))
    assert found["10"] == pytest.approx(0.0, abs=1e-9)
    assert found["1000"] is None


def test_market_quality_looks_at_the_calm_part() -> None:
    mark = 2000.0 * np.exp(np.array(LOG_MOVES) / 1e4)
    series = pd.DataFrame(
        {"step": np.arange(-2, 10, dtype=np.int32), "mid": mark, "spread": 2.0, "one_sided": False}
    )
    series[["bid_depth_100bp", "ask_depth_100bp"]] = 10.0
    series.loc[series["step"] >= 2, "spread"] = np.nan
    series.loc[series["step"] == 1, "spread"] = 4.0
    series.loc[series["step"] == 3, "one_sided"] = True
    result = RunResult(series=series)
    facts = RunFacts(steps=10, dt=30.0, first_shock_step=2)
    told = {name: entry.function(result, facts) for name, entry in TABLE_METRICS.items()}
    assert told["median_spread"] == 3.0
    assert told["median_depth"] == 20.0
    assert told["one_sided_share"] == pytest.approx(1 / 8)
    assert told["mid_autocorrelation"] is None


def test_median_interval_covers_and_repeats() -> None:
    values = np.random.default_rng(5).normal(3.0, 1.0, 80)
    first, again = median_interval(values, seed=9), median_interval(values, seed=9)
    assert first == again
    assert first.estimate == pytest.approx(np.median(values))
    assert first.low < first.estimate < first.high
    # The standard error of a normal median is 1.2533 sigma / sqrt(n) = 0.14.
    assert 0.3 < first.high - first.low < 0.9
    wide = median_interval(values, confidence=0.99, seed=9)
    assert wide.low < first.low
    assert wide.high > first.high
    assert median_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_pairing_removes_what_the_arms_share() -> None:
    control = np.random.default_rng(6).normal(100.0, 50.0, 60)
    treated = control + np.linspace(1.9, 2.1, 60)
    found = paired_median_interval(treated, control)
    assert found.estimate == pytest.approx(2.0)
    assert found.high - found.low < 0.2
    ratio = paired_median_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], contrast="ratio")
    assert ratio == (2.0, 2.0, 2.0)


def test_the_twin_finds_the_densest_part_by_trying_all() -> None:
    assert twin.densest_share(np.array([0.0, 3.0, 4.0, 0.0, 3.0]), 2) == pytest.approx(0.7)
    assert twin.densest_share(np.array([1.0, 1.0]), 9) == 1.0
    assert twin.densest_share(np.zeros(4), 2) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: median_interval([1.0]), "values: expected at least two finite numbers"),
        (lambda: median_interval([1.0, np.nan]), "values: expected at least two finite numbers"),
        (lambda: median_interval([1.0, 2.0], confidence=1.0), "confidence: expected a number between"),
        (lambda: paired_median_interval([1.0, 2.0], [1.0, 2.0, 3.0]), "control: expected 2 values"),
        (
            lambda: paired_median_interval([1.0, 2.0], [0.0, 1.0], contrast="ratio"),
            "control: expected values other",
        ),
        (lambda: RunFacts(10, 1.0, 10), "event window: expected steps within 0 to 9"),
        (lambda: RunFacts(10, -1.0, None), "dt: expected"),
        (lambda: summarise(row(), {"amplificaton": 2.0}), "did you mean 'amplification'"),
        (
            lambda: summarise(Runs(np.zeros(2, lay.FIGURE_ROW), INSTRUMENT, 1.0, 0.0)),
            "runs: expected one run",
        ),
        (lambda: metric("quote", "Costs"), "group: expected a known group, received 'Costs'"),
    ],
)
def test_wrong_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(CascadeError, match=message):
        call()


def test_summary_holds_every_key_as_plain_json() -> None:
    summary = summarise(Walk().run(), {"conservation_error": 0, "leverage_n": float("nan")})
    assert list(summary) == [key.name for key in summary_keys()]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["steps"] == 10
    assert summary["max_adverse_excursion"] == pytest.approx(-400.0)
    unmeasured = [
        "permanent_impact",
        "leverage_n",
        "branching_ratio",
        "cascade_sizes",
        "amplification",
        "attribution",
    ]
    assert [summary[name] for name in unmeasured] == [None] * 6
    assert all(type(each) in (int, float, dict, type(None)) for each in summary.values())


def test_a_row_of_an_ensemble_is_a_summary() -> None:
    runs = Walk().run()
    frame, units = columns(Runs(np.repeat(runs.rows, 3), INSTRUMENT, DT, 500.0))
    summary = summarise(runs)
    losses = summary.pop("loss_by_class")
    flat = summary | {f"loss_by_class_{name}": loss for name, loss in losses.items()}
    assert list(units) == list(frame.columns)
    for name in frame.columns:
        expected = np.nan if flat[name] is None else flat[name]
        np.testing.assert_array_equal(frame[name], [expected] * 3)
    given = {key.name for key in summary_keys() if key.function is None}
    assert set(flat) - given == set(frame.columns)


def test_every_metric_is_documented_and_named_once() -> None:
    assert all(entry.unit and entry.label and entry.documentation for entry in METRICS.values())
    assert all(entry.unit and entry.documentation for entry in TABLE_METRICS.values())
    assert not METRICS.keys() & TABLE_METRICS.keys()

    def bad_debt(runs: Runs) -> Any:
        """Take a name that is taken."""
        return np.zeros(len(runs))

    with pytest.raises(CascadeError, match="'bad_debt' is taken"):
        metric("quote", "Cost")(bad_debt)

    def gamma_x(runs: Runs) -> Any:
        """Take the name of what is measured elsewhere."""
        return np.zeros(len(runs))

    with pytest.raises(CascadeError, match="'gamma_x' is taken"):
        metric("-", "Channels")(gamma_x)

    def silent(runs: Runs) -> Any:
        return np.zeros(len(runs))

    with pytest.raises(CascadeError, match="expected a docstring of 'silent'"):
        metric("quote", "Cost")(silent)
    assert "silent" not in METRICS
