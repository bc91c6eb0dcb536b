"""Runs whose traders lie in real brackets: what is said of them, and rates of the whole position in the engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cascade_sim as cs
from cascade_sim.cli import main
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.input_words import bracket_words
from cascade_sim.lab.soak import violations
from cascade_sim.model import CascadeModel, check_inputs

SHORT: dict[str, Any] = {
    "run.steps": 240,
    "run.burn_in_steps": 10,
    "traders.count": 400,
    "traders.open_interest": 3_000.0,
    "shock.at_seconds": 20.0,
    "shock.duration_seconds": 60.0,
}


def _scenario(path: Path, symbol: str, **changes: Any) -> cs.Scenario:
    own = {"traders.brackets.path": str(path), "traders.brackets.symbol": symbol}
    return cs.load_scenario("gamma_shock").with_overrides(SHORT | own | changes)


def test_a_run_at_rates_of_the_whole_position(shared_cases: Path) -> None:
    path = shared_cases / "f21_brackets_whole_position_rate.csv"
    # Nobody opens at less than the leverage limit of a bracket allows: the larger ones need a deeper fall.
    deep = {"shock.news": -0.12}
    scenario = _scenario(path, "BTCUSDT", **{"traders.brackets.mode": "whole_position"}, **deep)
    result = cs.run(scenario, seed=3)
    assert result.summary["conservation_error"] == 0
    assert result.summary["liquidated_accounts"] > 0
    breaches = result.events[result.events["type"] == "breach"]
    notional = breaches["quantity"] * breaches["mark"]
    rate = np.where(notional <= 50_000.0, 0.005, 0.05)
    assert set(rate) == {0.005, 0.05}
    ratio = breaches["equity_before"] / (rate * notional)
    # Ratios are stored in 32 bits.
    np.testing.assert_allclose(breaches["margin_ratio"], ratio, rtol=1e-6)
    assert (breaches["margin_ratio"] <= 1.0 + 1e-6).all()
    leverage = np.where(breaches["equity_before"] > 0.0, notional / breaches["equity_before"], np.nan)
    np.testing.assert_allclose(breaches["leverage"], leverage, rtol=1e-6)
    marginal = cs.run(_scenario(path, "BTCUSDT", **deep), seed=3)
    assert marginal.summary["liquidated_accounts"] != result.summary["liquidated_accounts"]


def test_triggers_stay_those_of_the_table(shared_cases: Path) -> None:
    path = shared_cases / "f21_brackets_whole_position_rate.csv"
    model = CascadeModel(_scenario(path, "BTCUSDT", **{"traders.brackets.mode": "whole_position"}), rng=3)
    while not model.finished:
        model.step()
        if model.step_number % 40 == 0:
            assert violations(model) == []
    model.close()


def test_a_run_says_how_many_accounts_lie_above_the_last_bracket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "brackets.csv"
    path.write_text(
        "symbol,tier,min_notional,max_notional,maint_margin_rate,max_leverage\nETH,1,0,5,0.005,50\nETH,2,5,9,0.01,40\n"
    )
    out = tmp_path / "run"
    words = [f"{key}={value}" for key, value in SHORT.items()]
    words += [f"traders.brackets.path={path}", "traders.brackets.symbol=ETH"]
    changes = [word for text in words for word in ("--set", text)]
    with pytest.raises(SystemExit) as caught:
        main(["run", "--no-charts", "--out", str(out), *changes])
    assert caught.value.code in (0, None)
    use = json.loads((out / "manifest.json").read_text())["margin_brackets"]
    # Bounds of 5 and 9 coins, read as quote currency: nobody holds a position of less than 9 dollars.
    assert use["accounts_above"] == use["accounts"] > 300
    (said,) = bracket_words(use)
    assert said in capsys.readouterr().out.splitlines()
    by_coin = {"traders.brackets.unit": "base"}
    use = cs.run(_scenario(path, "ETH", **by_coin), seed=0).manifest["margin_brackets"]
    assert 0 < use["accounts_above"] < 0.5 * use["accounts"]
    assert use["last_notional"] == pytest.approx(9 * cs.load_scenario("gamma_shock").market.initial_price)


def test_contracts_need_a_size_and_quote_currency_none(tmp_path: Path) -> None:
    path = tmp_path / "okx.json"
    tier = {"minNotional": 0, "maxNotional": 1e6, "maintenanceMarginRate": 0.005, "maxLeverage": 50}
    path.write_text(json.dumps({"ETH/USDT:USDT": [{**tier, "info": {"maxSz": "1000000"}}]}))
    scenario = _scenario(path, "ETH/USDT:USDT")
    with pytest.raises(ScenarioError, match=r"traders\.brackets\.contract_size"):
        check_inputs(scenario)
    check_inputs(scenario.with_overrides({"traders.brackets.contract_size": 0.1}))
    with pytest.raises(
        ScenarioError, match=r"contract_size: expected null where traders\.brackets\.unit is quote"
    ):
        scenario.with_overrides({"traders.brackets.contract_size": 0.1, "traders.brackets.unit": "quote"})
