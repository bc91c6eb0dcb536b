"""Leverage brackets as exchanges and their clients really write them, and the requirement that follows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade_sim.clearing.brackets import BracketTable, load_brackets
from cascade_sim.domain.errors import CascadeError, DataFileError, ScenarioError


def _tiers(*rows: tuple[Any, Any, Any, Any], **extra: Any) -> list[dict[str, Any]]:
    keys = ("minNotional", "maxNotional", "maintenanceMarginRate", "maxLeverage")
    return [
        {"tier": place, **dict(zip(keys, row, strict=True)), **extra}
        for place, row in enumerate(rows, start=1)
    ]


PAIR = ((0, 100, 0.004, 125), (100, 300, 0.005, 100))


def test_a_last_bracket_without_an_end(shared_cases: Path) -> None:
    table = load_brackets(shared_cases / "f05_brackets_open_end.csv", "BTC/USD:USD")
    assert table.max_notional[-1] == np.inf
    assert float(table.maintenance(10e6)) == pytest.approx(355_000.0, rel=1e-12)


def test_a_gap_of_one_contract_is_none(shared_cases: Path) -> None:
    table = load_brackets(shared_cases / "f06_brackets_gap_of_one_contract.csv", "TIAUSDT")
    np.testing.assert_allclose(table.deduction, [0.0, 22.75, 82.75, 207.75], rtol=1e-12)
    assert table.min_notional.tolist() == [0.0, 6500.0, 12000.0, 25000.0]


@pytest.mark.parametrize("starts", [(0, 102), (0, 99), (1, 100)])
def test_other_gaps_are_refused(starts: tuple[int, int]) -> None:
    rows = [(start, *row[1:]) for start, row in zip(starts, PAIR, strict=True)]
    with pytest.raises(DataFileError, match="each bracket's end"):
        load_brackets(_tiers(*rows), "BTCUSDT")


def test_the_tiers_of_ccxt_are_read_as_they_are(shared_cases: Path, tmp_path: Path) -> None:
    path = shared_cases / "f07_brackets_ccxt_without_cum.json"
    content = json.loads(path.read_text())
    only = content["BTC/USDT:USDT"]
    (tmp_path / "one.json").write_text(json.dumps(only))
    for source in (path, content, only, tuple(only), tmp_path / "one.json"):
        table = load_brackets(source, "BTC/USDT:USDT")
        np.testing.assert_allclose(table.deduction, [0.0, 1200.0], rtol=1e-12)
        assert table.max_leverage.tolist() == [100.0, 90.0]


def test_rates_of_the_whole_position(shared_cases: Path) -> None:
    path = shared_cases / "f21_brackets_whole_position_rate.csv"
    table = load_brackets(path, "BTCUSDT", mode="whole_position")
    assert table.maintenance([60_000.0, 50_000.0]).tolist() == [3000.0, 250.0]
    marginal = load_brackets(path, "BTCUSDT")
    assert float(marginal.maintenance(60_000.0)) == pytest.approx(750.0)


def test_a_stated_deduction_is_checked_and_excludes_rates_of_the_whole_position() -> None:
    tiers = _tiers(*PAIR)
    tiers[1]["info"] = {"cum": "0.1"}
    assert load_brackets(tiers, "BTCUSDT").deduction.tolist() == pytest.approx([0.0, 0.1])
    with pytest.raises(DataFileError, match="none where mode is whole_position"):
        load_brackets(tiers, "BTCUSDT", mode="whole_position")
    tiers[1]["info"] = {"cum": "0.2"}
    with pytest.raises(DataFileError, match=r"expected 0.1 in bracket 2 \(continuity\), received 0.2"):
        load_brackets(tiers, "BTCUSDT")


def test_percentages_and_brackets_of_one_rate() -> None:
    rows = ((0, 100, "0.5%", "100"), (100, 300, "0.50 %", 50), (300, None, 0.01, 25))
    table = load_brackets(_tiers(*rows), "BTCUSDT")
    assert table.maintenance_rate.tolist() == [0.005, 0.005, 0.01]
    np.testing.assert_allclose(table.deduction, [0.0, 0.0, 1.5], rtol=1e-12)
    assert float(table.maintenance(200.0)) == 1.0
    with pytest.raises(DataFileError, match=r"0\.5 % is 0\.005"):
        load_brackets(_tiers((0, 100, "0.5%", 100), (100, 200, 1.0, 1)), "BTCUSDT")


def test_hyperliquid_by_table_and_by_its_own_answer(shared_data: Path) -> None:
    path = shared_data / "perp_margin_tiers_other.csv"
    listed = load_brackets(path, "BTC")
    assert float(listed.maintenance(200e6)) == pytest.approx(0.025 * 200e6 - 1.875e6)
    assert load_brackets(path, "Large-Cap").max_notional.tolist() == [np.inf]
    meta = {
        "universe": [
            {"name": "BTC", "maxLeverage": 40, "marginTableId": 56},
            {"name": "kPEPE", "maxLeverage": 10, "marginTableId": 10},
        ],
        "marginTables": [
            [
                56,
                {
                    "description": "tiered 40x",
                    "marginTiers": [
                        {"lowerBound": "0.0", "maxLeverage": 40},
                        {"lowerBound": "150000000.0", "maxLeverage": 20},
                    ],
                },
            ]
        ],
    }
    for answer in (meta, [meta, []]):
        table = load_brackets(answer, "BTC")
        for name in ("min_notional", "max_notional", "maintenance_rate", "max_leverage", "deduction"):
            np.testing.assert_allclose(getattr(table, name), getattr(listed, name), rtol=1e-12)
        assert load_brackets(answer, "kPEPE").maintenance_rate.tolist() == [0.05]
    meta["universe"].append({"name": "ODD", "maxLeverage": 3, "marginTableId": 99})
    with pytest.raises(DataFileError, match="marginTables"):
        load_brackets(meta, "BTC")


def test_a_hundred_brackets_are_too_many_for_no_table() -> None:
    rows = [(100 * k, 100 * (k + 1), 0.001 * (k + 1), 2) for k in range(100)]
    assert load_brackets(_tiers(*rows), "BTCUSDT").deduction.size == 100


@pytest.mark.parametrize(
    ("symbol", "extra", "options", "ends"),
    [
        # OKX: 100 contracts of 0.01 BTC at 60,000 are 60,000 USDT, which ccxt names 100 USDT.
        ("BTC/USDT:USDT", {"info": {"maxSz": "1"}, "currency": "USDT"}, {"contract_size": 0.01}, 60_000.0),
        # Contracts of 100 USD that settle in bitcoin.
        ("BTC/USD:BTC", {"info": {"maxSz": "1"}, "currency": "USD"}, {"contract_size": 100.0}, 10_000.0),
        # Coin-margined brackets of Binance, and of Bybit where the unit is stated.
        ("BTC/USD:BTC", {"info": {"qtyCap": 1}, "currency": "USD"}, {}, 6e6),
        ("BTC/USD:BTC", {"currency": "BTC"}, {"unit": "base"}, 6e6),
        ("BTC/USD:BTC", {}, {"unit": "quote"}, 100.0),
        ("BTC/USDT:USDT", {"currency": "USDT"}, {}, 100.0),
        # A contract that settles in its quote currency, although that is a coin.
        ("ETH/BTC:BTC", {"currency": "BTC"}, {}, 100.0),
    ],
)
def test_bounds_in_contracts_and_coins(
    symbol: str, extra: dict[str, Any], options: dict[str, Any], ends: float
) -> None:
    table = load_brackets({symbol: _tiers(*PAIR, **extra)}, symbol, price=60_000.0, **options)
    np.testing.assert_allclose(table.max_notional, [ends, 3.0 * ends], rtol=1e-12)
    np.testing.assert_allclose(table.deduction, [0.0, 0.001 * ends], rtol=1e-12)


@pytest.mark.parametrize(
    ("symbol", "extra", "options", "said"),
    [
        ("BTC/USD:BTC", {}, {}, "traders.brackets.unit: expected what the bounds of BTC/USD:BTC"),
        ("BTC/USD:BTC-241227", {}, {}, "known: quote, base, contracts"),
        ("XBT/USDT:USDT", {"currency": "XBT"}, {}, "traders.brackets.unit"),
        (
            "BTC/USDT:USDT",
            {"info": {"maxSz": 1}},
            {},
            "traders.brackets.contract_size: expected what one contract",
        ),
        ("BTC/USD:BTC", {"info": {"maxSz": 1}}, {}, "in quote currency"),
        ("BTC/USD:BTC", {}, {"unit": "base"}, "traders.brackets.price"),
        ("BTC/USDT:USDT", {}, {"unit": "lots"}, "traders.brackets.unit: expected a known unit"),
        ("BTC/USDT:USDT", {}, {"mode": "whole"}, "traders.brackets.mode: expected a known mode"),
        ("BTC/USDT:USDT", {}, {"contract_size": 0.0}, "traders.brackets.contract_size"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_set(
    symbol: str, extra: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_brackets({symbol: _tiers(*PAIR, **extra)}, symbol, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({}, "one of its 0 symbols"),
        ({"BTC": []}, "a bracket of BTC"),
        ({"BTC": {"tier": 1}}, "leverage tiers"),
        ([1], "received 1"),
        (
            {"BTC": [{"minNotional": 0, "maxNotional": 1, "maxLeverage": 5}]},
            "maintenance rate of every bracket",
        ),
        ({"BTC": _tiers((0, 1, "many%", 5))}, "received 'many%'"),
        ({"BTC": _tiers((0, "NaN", 0.1, 5))}, "column maxNotional"),
    ],
)
def test_structures_without_brackets_are_refused(source: Any, said: str) -> None:
    with pytest.raises(DataFileError) as caught:
        load_brackets(source, "BTC")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_name_on_two_venues_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    head = "venue,symbol,min_notional,max_notional,maint_margin_rate,max_leverage\n"
    path.write_text(head + "A,BTC,0,,0.01,20\nB,BTC,0,,0.02,20\n")
    with pytest.raises(DataFileError, match="BTC of one venue"):
        load_brackets(path, "BTC")


def test_errors_are_of_one_kind() -> None:
    with pytest.raises(CascadeError):
        BracketTable("BTC", [0.0], [np.inf], [0.01], [20.0], [1.0])  # type: ignore[arg-type]
