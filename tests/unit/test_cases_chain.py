"""Option chains of other coins and sources than the first, and what a run that starts from one says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cascade_sim as cs
from cascade_sim.agents.options_dealer import speak_of_chain
from cascade_sim.core.prices import greeks
from cascade_sim.domain.errors import CascadeError, DataFileError, ScenarioError
from cascade_sim.model import CascadeModel, check_inputs
from cascade_sim.options.chain import load_chain
from cascade_sim.options.formats import rounding_of

CREATED = pd.Timestamp("2025-01-17 00:37:02", tz="UTC")
FORWARD = 99_067.37
TERMS = (
    ("31JAN25", 92_000.0, "P", 0.60),
    ("31JAN25", 110_000.0, "C", 0.65),
    ("31JAN25", 99_000.0, "C", 0.58),
)


def _years(day: str) -> float:
    expiry = pd.to_datetime(day, format="%d%b%y", utc=True) + pd.Timedelta(hours=8)
    return float((expiry - CREATED).total_seconds() / (365.0 * 86_400.0))


def _marks() -> list[tuple[str, float, str, float, float]]:
    return [
        (day, strike, kind, volatility, price / FORWARD)
        for day, strike, kind, volatility in TERMS
        for price in [greeks.black76_price(kind == "C", FORWARD, strike, _years(day), volatility)]
    ]


def _deribit() -> list[dict[str, Any]]:
    return [
        {
            "instrument_name": f"BTC-{day}-{strike:.0f}-{kind}",
            "underlying_index": f"BTC-{day}",
            "underlying_price": FORWARD,
            "mark_price": mark,
            "mark_iv": 100.0 * volatility,
            "open_interest": 10.0,
            "creation_timestamp": CREATED.timestamp() * 1e3,
        }
        for day, strike, kind, volatility, mark in _marks()
    ]


def _okx() -> list[dict[str, Any]]:
    return [
        {
            "instId": f"BTC-USD-250131-{strike:.0f}-{kind}",
            "markPx": repr(mark),
            "fwdPx": str(FORWARD),
            "markVol": str(volatility),
            "oi": "1000",
            "oiCcy": "10",
            "ts": str(int(CREATED.timestamp() * 1e3)),
        }
        for _, strike, kind, volatility, mark in _marks()
    ]


def _save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_chain_on_bitcoin(shared_cases: Path) -> None:
    path = shared_cases / "f01_btc_chain.json"
    chain = load_chain(path)
    assert (chain.coin, chain.quote, chain.forward) == ("BTC", "USD", 99_067.37)
    by_name = dict(zip(chain.names, 100.0 * chain.grid.implied_volatility, strict=True))
    for name, percent in (
        ("BTC-31JAN25-92000-P", 60.14),
        ("BTC-7FEB25-106000-P", 60.86),
        ("BTC-27JUN25-230000-C", 74.14),
    ):
        assert by_name[name] == pytest.approx(percent, abs=0.005)
    assert chain.volatility_gap == pytest.approx(0.0, abs=1e-4)
    scenario = cs.load_scenario("gamma_shock").with_overrides({"options.chain.path": str(path)})
    check_inputs(scenario)
    with pytest.raises(ScenarioError) as caught:
        check_inputs(scenario.with_overrides({"market.tick_size": 0.0001}))
    message = str(caught.value)
    assert message.startswith("market.tick_size: ")
    works = float(message.partition("such as ")[2].partition(",")[0])
    check_inputs(scenario.with_overrides({"market.tick_size": works}))


def test_linear_options_are_worth_their_mark(shared_cases: Path) -> None:
    path = shared_cases / "f02_usdc_linear_options.json"
    with pytest.raises(
        DataFileError, match=r"options\.chain\.coin to name one, received 'SOL_USDC, XRP_USDC'"
    ):
        load_chain(path)
    for coin, strikes, values in (
        ("XRP", [2.2, 2.4], [0.06, 0.17]),
        ("xrp_usdc", [2.2, 2.4], [0.06, 0.17]),
        ("SOL", [70.0, 80.0], [1.4, 2.3]),
    ):
        chain = load_chain(path, coin=coin)
        assert chain.coin == coin[:3].upper()
        assert chain.quote == "USDC"
        assert chain.grid.strike.tolist() == strikes
        np.testing.assert_allclose(chain.grid.prices(chain.forward), values, rtol=1e-9)
    with pytest.raises(
        ScenarioError, match=r"options\.chain\.coin: .*received 'ADA', known: SOL_USDC, XRP_USDC"
    ):
        load_chain(path, coin="ADA")


def test_instruments_of_every_kind_in_one_answer(shared_cases: Path) -> None:
    use = load_chain(shared_cases / "f03_all_kinds.json").use()
    assert (use["instruments"], use["used"]) == (5, 1)
    assert use["dropped"] == {"not_an_option": {"count": 4, "open_interest": 0.0}}


def test_a_coin_in_two_currencies_is_named_in_full(tmp_path: Path) -> None:
    linear = [
        {**row, "instrument_name": row["instrument_name"].replace("BTC-", "BTC_USDC-")} for row in _deribit()
    ]
    for row in linear:
        row["mark_price"] *= FORWARD
    path = _save(tmp_path / "two.json", _deribit() + linear)
    inverse, other = load_chain(path, coin="BTC"), load_chain(path, coin="BTC_USDC")
    assert (inverse.quote, other.quote) == ("USD", "USDC")
    np.testing.assert_allclose(inverse.grid.implied_volatility, other.grid.implied_volatility, rtol=1e-6)


@pytest.mark.parametrize("strike", ["8D6", "8d6"])
def test_strikes_with_a_decimal_point(tmp_path: Path, strike: str) -> None:
    row = {
        "instrument_name": f"AVAX_USDC-31JAN25-{strike}-C",
        "underlying_index": "SYN",
        "underlying_price": 8.5,
        "mark_price": 0.75,
        "open_interest": 1.0,
        "creation_timestamp": CREATED.timestamp() * 1e3,
    }
    assert load_chain(_save(tmp_path / "a.json", [row])).grid.strike.tolist() == [8.6]


def test_okx_and_tardis_read_as_deribit(tmp_path: Path) -> None:
    expected = load_chain(_save(tmp_path / "deribit.json", _deribit()))
    okx = _okx()
    parts = [
        {"code": "0", "data": [{key: row[key] for key in keys} for row in okx]}
        for keys in (
            ("instId", "markPx", "ts"),
            ("instId", "oi", "oiCcy", "ts"),
            ("instId", "fwdPx", "markVol", "ts"),
        )
    ]
    tardis = []
    for age in (7200e6, 60e6, 0.0):
        for row in _deribit():
            day, strike, kind = row["instrument_name"].split("-")[1:]
            tardis.append(
                {
                    "exchange": "deribit",
                    "symbol": row["instrument_name"],
                    "timestamp": CREATED.timestamp() * 1e6 - age,
                    "type": {"C": "call", "P": "put"}[kind],
                    "strike_price": strike,
                    "expiration": day,
                    "open_interest": 10.0 if age == 0.0 else 99.0,
                    "mark_price": row["mark_price"],
                    "mark_iv": row["mark_iv"],
                    "underlying_index": row["underlying_index"],
                    "underlying_price": FORWARD,
                }
            )
    tardis.append({**tardis[0], "symbol": "BTC-31JAN25-80000-P"})
    pd.DataFrame(tardis).to_csv(tmp_path / "tardis.csv", index=False)
    for path in (
        _save(tmp_path / "okx.json", {"code": "0", "data": okx}),
        _save(tmp_path / "parts.json", parts),
        tmp_path / "tardis.csv",
    ):
        found = load_chain(path)
        assert (found.coin, found.quote, found.forward) == ("BTC", "USD", FORWARD)
        for name in ("strike", "is_call", "open_interest", "years"):
            np.testing.assert_allclose(
                getattr(found.grid, name), getattr(expected.grid, name), rtol=1e-9, err_msg=f"{path}"
            )
        np.testing.assert_allclose(found.grid.implied_volatility, expected.grid.implied_volatility, rtol=1e-9)
        assert found.volatility_gap == pytest.approx(0.0, abs=1e-9)


def test_open_interest_in_contracts_needs_their_size(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "oiCcy"} for row in _okx()]
    path = _save(tmp_path / "okx.json", rows)
    with pytest.raises(
        ScenarioError, match=r"options\.chain\.contract_size: expected base units per contract"
    ):
        load_chain(path)
    assert load_chain(path, contract_size=0.01).grid.open_interest.tolist() == [10.0] * 3


def test_marks_that_contradict_the_stated_volatilities_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "mark_iv": 1.3 * row["mark_iv"]} for row in _deribit()]
    with pytest.raises(DataFileError, match="marks that give the volatilities the file states"):
        load_chain(_save(tmp_path / "a.json", rows))


def test_options_within_rounding_of_their_intrinsic_value_are_counted_out(tmp_path: Path) -> None:
    rows = [{**row, "mark_price": round(row["mark_price"], 4)} for row in _deribit()]
    del rows[0]["mark_iv"]
    deep = 1.0 - 20_000.0 / FORWARD
    for name, mark in (
        ("BTC-31JAN25-20000-C", round(deep + 0.00004, 4)),
        ("BTC-31JAN25-20000-P", 0.0001),
    ):
        rows.append({**rows[1], "instrument_name": name, "mark_price": mark, "mark_iv": None})
    chain = load_chain(_save(tmp_path / "a.json", rows))
    assert "BTC-31JAN25-20000-C" not in chain.names
    assert "BTC-31JAN25-20000-P" in chain.names
    counts = chain.dropped.set_index("reason")["count"]
    assert counts["zero_time_value"] == 1


def test_the_step_of_rounding_is_read_from_digits() -> None:
    assert rounding_of([0.0123, 0.5, np.nan], 1e-4) == 1e-4
    assert rounding_of([0.01, 0.5], 1e-4) == 1e-4
    assert rounding_of([0.000853, 0.149997], 1e-4) == 1e-6
    assert rounding_of([1.0 / 3.0], 1e-4) == 0.0


def test_the_market_is_that_of_the_chain(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.json", _deribit())
    changes: dict[str, Any] = {
        "options.chain.path": str(path),
        "market.tick_size": 1.0,
        "run.steps": 40,
        "run.burn_in_steps": 4,
        "traders.count": 30,
        "shock.at_seconds": 5.0,
        "shock.duration_seconds": 5.0,
    }
    plain = cs.load_scenario("gamma_shock")
    assert speak_of_chain(plain) is plain
    result = cs.run(plain.with_overrides(changes), seed=1)
    market = result.scenario_tree["market"]
    assert (market["base"], market["quote"], market["instrument"]) == ("BTC", "USD", "BTC-PERP")
    assert result.manifest["option_chain"]["coin"] == "BTC"
    both = cs.load_scenario("spot_and_perpetual").with_overrides(changes)
    model = CascadeModel(both, rng=1)
    assert {each.instrument.base for each in model.markets.values()} == {"BTC"}
    assert {each.instrument.name for each in model.markets.values()} == {"BTC-PERP", "BTC-SPOT"}
    linear = [
        {**row, "instrument_name": row["instrument_name"].replace("BTC-", "BTC_USDC-")} for row in _deribit()
    ]
    for row in linear:
        row["mark_price"] *= FORWARD
    path = _save(tmp_path / "b.json", linear)
    named = speak_of_chain(plain.with_overrides(changes | {"options.chain.path": str(path)}))
    assert (named.market.base, named.market.quote) == ("BTC", "USDC")
    with pytest.raises(CascadeError, match=r"market\.tick_size"):
        check_inputs(named.with_overrides({"market.tick_size": 0.0001}))
