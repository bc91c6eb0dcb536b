"""Metrics against small paths whose values can be worked out on paper."""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tape import INSTRUMENT, cascade_ledger, fill_tape

from cascade_sim.columns import SUMMARY_KEYS
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.domain.enums import Cause
from cascade_sim.domain.errors import CascadeError
from cascade_sim.metrics import METRICS, RunFacts, metric, summarise
from cascade_sim.metrics.cascade import densest_share
from cascade_sim.metrics.market_quality import autocorrelation, signature
from cascade_sim.metrics.statistics import median_interval, paired_median_interval
from cascade_sim.recorder import Recorder
from cascade_sim.result import RunResult

TOTALS = {
    "messages": 900,
    "trades": 80,
    "refused_orders": 6,
    "liquidated_accounts": 4,
    "adl_accounts": 2,
    "book_notional": 1000.0,
    "backstop_notional": 200.0,
    "adl_notional": 30.0,
    "bad_debt": 5.0,
    "adl_loss": 7.0,
    "socialised_loss": 3.0,
    "external_capital": 1.0,
}
LOG_MOVES = (0, 0, 0, 0, -100, -250, -400, -300, -210, -190, -100, 60)
"""Log basis points of the mark at the ends of steps -2 .. 9; the shock comes in step 2."""


def _facts(**changes: Any) -> RunFacts:
    base: dict[str, Any] = {
        "steps": 10,
        "burn_in_steps": 2,
        "dt": 30.0,
        "initial_price": 2000.0,
        "first_shock_step": 2,
        "majority_direction": 1,
        "insurance_fund_start": 500.0,
        "totals": TOTALS,
    }
    return RunFacts(**base | changes)


def _series(moves: Any = LOG_MOVES, first: int = -2) -> pd.DataFrame:
    count = len(moves)
    mark = 2000.0 * np.exp(np.array(moves) / 1e4)
    data = {"step": np.arange(first, first + count, dtype=np.int32), "mark": mark, "mid": mark}
    data |= {
        f"{side}_volume_{cause.name.lower()}": np.zeros(count) for side in ("buy", "sell") for cause in Cause
    }
    data |= {f"{side}_depth_{band}bp": np.full(count, 10.0) for side in ("bid", "ask") for band in (10, 100)}
    data |= {
        "spread": np.full(count, 2.0),
        "gamma_exposure": np.zeros(count),
        "one_sided": np.zeros(count, bool),
    }
    return pd.DataFrame(data)


def _events(*rows: tuple[int, str, float]) -> pd.DataFrame:
    kinds = ["breach", "liquidation", "takeover", "adl", "socialise"]
    return pd.DataFrame(
        {
            "step": np.array([row[0] for row in rows], np.int32),
            "type": pd.Categorical([row[1] for row in rows], categories=kinds),
            "filled": np.array([row[2] for row in rows], np.float64),
        }
    )


def _result(**tables: Any) -> RunResult:
    return RunResult(**{"series": _series()} | tables)


def _value(name: str, result: RunResult, facts: RunFacts | None = None) -> Any:
    return METRICS[name].function(result, facts or _facts())


def test_excursion_starts_from_the_mark_before_the_shock() -> None:
    assert _value("max_adverse_excursion", _result()) == pytest.approx(-400.0)
    shifted = _result(series=_series([0, 0, 0, 50, *LOG_MOVES[4:]]))
    assert _value("max_adverse_excursion", shifted) == pytest.approx(-450.0)


def test_excursion_against_shorts_is_up() -> None:
    facts = _facts(majority_direction=-1)
    assert _value("max_adverse_excursion", _result(), facts) == pytest.approx(60.0)
    falling = _result(series=_series([0, 0, 0, 0, *range(-1, -9, -1)]))
    assert _value("max_adverse_excursion", falling, facts) == 0.0
    assert _value("retrace", falling, facts) is None
    assert _value("recovery_seconds", falling, facts) is None


def test_excursion_ends_with_the_window() -> None:
    assert _value("max_adverse_excursion", _result(), _facts(window_end_step=3)) == pytest.approx(-250.0)


def test_excursion_without_burn_in_starts_from_the_initial_price() -> None:
    result = _result(series=_series([-30, -20], first=0))
    facts = _facts(steps=2, burn_in_steps=0, first_shock_step=0)
    assert _value("max_adverse_excursion", result, facts) == pytest.approx(-30.0)


def test_drawdown_is_a_fraction_of_the_running_peak() -> None:
    assert _value("max_drawdown", _result()) == pytest.approx(1.0 - np.exp(-0.04))
    rising = _result(series=_series([0, 0, 100, 500, 300, 700, 450, 700, 700, 700, 700, 700]))
    assert _value("max_drawdown", rising) == pytest.approx(1.0 - np.exp(-0.025))
    burn_in_only = _result(series=_series([900, 0] + [0] * 10))
    assert _value("max_drawdown", burn_in_only) == 0.0


def test_retrace_and_recovery() -> None:
    assert _value("retrace", _result()) == pytest.approx(1.15)
    assert _value("retrace", _result(), _facts(window_end_step=5)) == pytest.approx(0.25)
    # Trough at the end of step 4; -190 in step 7 is the first with half of -400 undone.
    assert _value("recovery_seconds", _result()) == 90.0
    assert _value("recovery_seconds", _result(), _facts(window_end_step=6)) is None


def test_worst_depth_is_a_share_of_calm() -> None:
    series = _series()
    series.loc[series["step"] == 5, ["bid_depth_10bp", "ask_depth_10bp"]] = (1.0, 4.0)
    series.loc[series["step"] == -1, "bid_depth_10bp"] = 1000.0
    assert _value("worst_depth", _result(series=series)) == pytest.approx(0.25)
    assert _value("worst_depth", _result(series=series), _facts(first_shock_step=0)) is None


def test_realised_volatility_uses_minutes() -> None:
    # Two steps of 30 s per return: marks before step 0 and after steps 1, 3, 5, 7, 9.
    returns = np.diff([0, 0, -250, -300, -190, 60]) / 1e4
    expected = np.sqrt(np.mean(returns**2) * 365 * 24 * 60)
    assert _value("realised_volatility", _result()) == pytest.approx(expected)


def test_densest_share_of_hand_made_amounts() -> None:
    assert densest_share(np.array([0.0, 3.0, 4.0, 0.0, 3.0]), 2) == pytest.approx(0.7)
    assert densest_share(np.array([1.0, 1.0]), 9) == 1.0
    assert densest_share(np.zeros(4), 2) is None


def test_densest_liquidations_count_every_route_once() -> None:
    events = _events(
        (3, "breach", 99.0),
        (3, "liquidation", 4.0),
        (3, "adl", 2.0),
        (7, "takeover", 3.0),
        (8, "socialise", 1.0),
    )
    # The window has 8 steps, so the densest 5 % is one step.
    assert _value("densest_liquidation_share", _result(events=events)) == pytest.approx(0.6)
    assert _value("densest_liquidation_share", _result(events=_events((3, "breach", 1.0)))) is None


def test_a_wider_window_covers_more_steps() -> None:
    events = _events((3, "liquidation", 4.0), (4, "liquidation", 2.0), (30, "adl", 4.0))
    assert _value("densest_liquidation_share", _result(events=events), _facts(steps=42)) == pytest.approx(0.6)
    assert _value("densest_liquidation_share", _result(events=events), _facts(steps=22)) == pytest.approx(
        4 / 6
    )


def test_volume_shares_leave_out_burn_in_and_off_book_fills() -> None:
    series = _series()
    window, before = series["step"] == 4, series["step"] == 0
    series.loc[window, ["sell_volume_liquidation", "buy_volume_background", "sell_volume_backstop"]] = (
        3.0,
        4.0,
        5.0,
    )
    series.loc[window, "buy_volume_delta_hedge"] = 1.0
    series.loc[before, "sell_volume_liquidation"] = 50.0
    result = _result(series=series, events=_events((4, "takeover", 3.0)))
    assert _value("liquidation_volume_share", result) == pytest.approx(0.3)
    assert _value("hedge_volume_share", result) == pytest.approx(0.1)
    assert _value("hedge_volume_share", _result()) is None


@pytest.fixture(scope="module")
def recorded() -> RunResult:
    ledger, books, _ = cascade_ledger()
    tape = allocate(lay.TAPE)[0]
    fill_tape(tape, "trades", ledger.trades)
    fill_tape(tape, "transfers", ledger.transfers)
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL)
    recorder.drain(tape)
    tables: dict[str, Any] = dict(recorder.tables(books, {}))
    return RunResult(**tables)


def test_losses_by_class_add_up(recorded: RunResult) -> None:
    losses = _value("loss_by_class", recorded)
    # The trader loses its 1,000 and the 200 it added; the outside puts in 4.
    assert losses["leveraged_trader"] == pytest.approx(1200.0)
    assert losses["external"] == pytest.approx(4.0)
    assert losses["fees"] == pytest.approx(-0.05)
    assert sum(losses.values()) == pytest.approx(0.0, abs=1e-6)
    assert next(iter(losses)) == "external"
    assert _value("loss_by_class", _result()) is None
    accounts = recorded.accounts
    fund = float(accounts.loc[accounts["account_class"] == "insurance_fund", "equity_end"].sum())
    assert _value("insurance_fund_end", recorded) == pytest.approx(fund)
    assert losses["insurance_fund"] == pytest.approx(500.0 - fund)


def test_totals_pass_through() -> None:
    assert _value("liquidated_notional", _result()) == 1230.0
    assert _value("liquidated_accounts", _result()) == 4
    assert _value("external_capital", _result()) == 1.0
    with pytest.raises(CascadeError, match="totals: expected a total of the run, received 'bad_debt'"):
        _value("bad_debt", _result(), _facts(totals={"messages": 1}))


def test_peak_gamma_keeps_its_sign(recorded: RunResult) -> None:
    series = _series()
    series["gamma_exposure"] = [-99.0, 0.0, 1.0, 4.0, -7.0, 6.0, *[0.0] * 6]
    dealers = recorded.accounts.assign(account_class=["options_dealer"] * len(recorded.accounts))
    assert _value("peak_gamma_exposure", _result(series=series, accounts=dealers)) == -7.0
    assert _value("peak_gamma_exposure", _result(series=series, accounts=recorded.accounts)) is None


def test_gamma_drag_is_what_the_whole_book_lost(recorded: RunResult) -> None:
    classes = recorded.accounts["account_class"].astype(object)
    classes[4] = "options_dealer"
    result = dataclasses.replace(recorded, accounts=recorded.accounts.assign(account_class=classes))
    facts = _facts(dealer_option_value_start=-300.0, dealer_option_value_end=700.0)
    # 1,200 lost in futures, 1,000 gained by the options.
    assert _value("gamma_drag", result, facts) == pytest.approx(200.0)
    assert _value("gamma_drag", result) is None
    assert _value("gamma_drag", recorded, facts) is None


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
    series = _series()
    series.loc[series["step"] >= 2, "spread"] = np.nan
    series.loc[series["step"] == 1, "spread"] = 4.0
    series.loc[series["step"] == 3, "one_sided"] = True
    result = _result(series=series)
    assert _value("median_spread", result) == 3.0
    assert _value("median_depth", result) == 20.0
    assert _value("one_sided_share", result) == pytest.approx(1 / 8)
    assert _value("mid_autocorrelation", result) is None


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
        (lambda: _facts(majority_direction=0), "majority_direction: expected"),
        (lambda: _facts(first_shock_step=10), "event window: expected steps within 0 to 9"),
        (lambda: _facts(dt=-1.0), "dt: expected"),
        (lambda: summarise(_result(), _facts(), {"amplificaton": 2.0}), "did you mean 'amplification'"),
    ],
)
def test_wrong_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(CascadeError, match=message):
        call()


def test_summary_holds_every_key_as_plain_json(recorded: RunResult) -> None:
    result = dataclasses.replace(recorded, series=_series())
    summary = summarise(result, _facts(), {"conservation_error": 0, "leverage_n": float("nan")})
    assert list(summary) == [key.name for key in SUMMARY_KEYS]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["steps"], summary["messages"], summary["trades"]) == (10, 900, 80)
    assert summary["max_adverse_excursion"] == pytest.approx(-400.0)
    assert summary["conservation_error"] == 0
    assert summary["insurance_fund_start"] == 500.0
    unmeasured = [
        "permanent_impact",
        "leverage_n",
        "branching_ratio",
        "cascade_sizes",
        "amplification",
        "attribution",
    ]
    assert [summary[name] for name in unmeasured] == [None] * 6
    assert all(type(value) in (int, float, dict, type(None)) for value in summary.values())


def test_summary_without_tables_is_null_where_paths_are_needed() -> None:
    summary = summarise(RunResult(), _facts())
    needs_tables = {"max_adverse_excursion", "max_drawdown", "retrace", "worst_depth", "realised_volatility"}
    assert all(summary[name] is None for name in needs_tables | {"insurance_fund_end", "loss_by_class"})
    assert summary["bad_debt"] == 5.0


def test_every_metric_is_documented_and_named_once() -> None:
    assert all(entry.unit and entry.documentation for entry in METRICS.values())
    documented = {key.name: key.unit for key in SUMMARY_KEYS}
    for name, entry in METRICS.items():
        if name in documented:
            assert entry.unit == documented[name]

    def bad_debt(result: RunResult, facts: RunFacts) -> float:
        """Take a name that is taken."""
        return 0.0

    with pytest.raises(CascadeError, match="'bad_debt' is taken"):
        metric("quote")(bad_debt)

    def silent(result: RunResult, facts: RunFacts) -> float:
        return 0.0

    with pytest.raises(CascadeError, match="expected a docstring of 'silent'"):
        metric("quote")(silent)
    assert "silent" not in METRICS
