"""Bracket tables: what is read, what is refused, and the requirement they give."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cascade_sim.clearing.brackets import BracketTable, load_brackets
from cascade_sim.domain.errors import CascadeError, DataFileError

FILE_NAME = "binance_usdm_leverage_tiers_20241024.csv"
CSV = """symbol,tier,min_notional,max_notional,maint_margin_rate,max_leverage,maint_amount_cum
ETH/USDT:USDT,2,50000.0,600000.0,0.005,75.0,50.0
ETH/USDT:USDT,1,0.0,50000.0,0.004,100.0,0.0
BTC/USDT:USDT,1,0.0,50000.0,0.004,125.0,0.0
BTC/USDT:USDT-241227,1,0.0,50000.0,0.004,50.0,0.0
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "brackets.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="module")
def listed() -> Path:
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("CASCADE_SIM_DATA", beside)) / FILE_NAME
    if not path.is_file():
        pytest.skip(f"{FILE_NAME} is not there; set CASCADE_SIM_DATA to the folder that holds it")
    return path


def _table(**changes: object) -> BracketTable:
    values: dict[str, object] = {
        "min_notional": [0.0, 5e4, 6e5],
        "max_notional": [5e4, 6e5, 3e6],
        "maintenance_rate": [0.004, 0.005, 0.0065],
        "max_leverage": [125.0, 100.0, 75.0],
        "deduction": [0.0, 50.0, 950.0],
    }
    return BracketTable("BTCUSDT", **{**values, **changes})  # type: ignore[arg-type]


def test_rows_are_ordered_by_tier(small: Path) -> None:
    table = load_brackets(small, "ETH/USDT:USDT")
    assert table.maintenance_rate.tolist() == [0.004, 0.005]
    assert table.deduction.tolist() == [0.0, 50.0]
    assert table.symbol == "ETH/USDT:USDT"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("ETHUSDT", "ETH/USDT:USDT"),
        ("btcusdt", "BTC/USDT:USDT"),
        ("BTCUSDT-241227", "BTC/USDT:USDT-241227"),
    ],
)
def test_exchange_spelling_of_symbols(small: Path, written: str, found: str) -> None:
    assert load_brackets(small, written).symbol == found


def test_unknown_symbol_names_the_nearest(small: Path) -> None:
    with pytest.raises(DataFileError) as caught:
        load_brackets(small, "ETHUSD")
    message = str(caught.value)
    assert "received 'ETHUSD'" in message
    assert "near: ETH/USDT:USDT" in message
    assert "\n" not in message


def test_requirement_and_rates() -> None:
    table = _table()
    notional = np.array([[0.0, 5e4, 5e4 + 1.0], [6e5, 3e6, 6e6]])
    expected = [[0.0, 200.0, 200.005], [2950.0, 18550.0, 38050.0]]
    np.testing.assert_allclose(table.maintenance(notional), expected, rtol=1e-14)
    assert table.tier(notional).tolist() == [[0, 0, 1], [1, 2, 2]]
    np.testing.assert_allclose(table.initial_rate([5e4, 1e5, 1e6]), [1 / 125, 1 / 100, 1 / 75])
    assert float(table.maintenance(1e5)) == 450.0


def test_liquidation_price_is_where_equity_meets_the_requirement() -> None:
    table = _table()
    position, cash = np.array([10.0, -10.0]), np.array([-4e5, 4.5e5])
    price = table.liquidation_price(position, cash)
    equity = cash + position * price
    np.testing.assert_allclose(equity, table.maintenance(np.abs(position) * price), rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"maintenance_rate": [0.004, 0.003, 0.0065]}, "fractions between 0 and 1 that do not decrease"),
        ({"maintenance_rate": [0.4, 0.5, 1.0]}, "fractions between 0 and 1 that do not decrease"),
        ({"max_notional": [5e4, np.inf, np.inf]}, "finite"),
        ({"whole_position": True}, "none where rates are of the whole position"),
        ({"deduction": [0.0, 50.0, 951.0]}, "950 in bracket 3"),
        ({"deduction": [1.0, 50.0, 950.0]}, "0 in bracket 1"),
        ({"min_notional": [0.0, 6e4, 6e5]}, "each bracket's end"),
        ({"min_notional": [1.0, 5e4, 6e5]}, "each bracket's end"),
        ({"max_notional": [5e4, 5e4, 3e6]}, "above min_notional"),
        ({"max_leverage": [75.0, 100.0, 75.0]}, "do not increase"),
        ({"max_leverage": [300.0, 100.0, 75.0]}, "not below the rate"),
        ({"deduction": [0.0, np.nan, 950.0]}, "finite"),
        ({"deduction": [0.0, 50.0]}, "one value per bracket"),
    ],
)
def test_broken_tables_are_refused(changes: dict[str, object], part: str) -> None:
    with pytest.raises(CascadeError, match=part):
        _table(**changes)


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.maintenance(-1.0),
        lambda table: table.maintenance([1.0, np.nan]),
        lambda table: table.liquidation_price([1.0], [1.0, 2.0]),
        lambda table: table.liquidation_price([np.inf], [1.0]),
    ],
)
def test_wrong_arguments_are_refused(call: object) -> None:
    with pytest.raises(CascadeError, match="expected"):
        call(_table())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty file"),
        (b"symbol,tier\nBTC,1\n", "no column min_notional"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not CSV"),
        (CSV.replace("0.005", "high").encode(), "received 'high'"),
        (CSV.replace(",50.0\nETH", ",60.0\nETH").encode(), "continuity"),
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=part) as caught:
        load_brackets(path, "ETHUSDT")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataFileError, match="expected a CSV file"):
            load_brackets(path, "ETHUSDT")


def test_every_listed_table_is_continuous(listed: Path) -> None:
    symbols = pd.read_csv(listed)["symbol"].unique()
    assert len(symbols) == 349
    for symbol in symbols[::10]:
        load_brackets(listed, symbol)
    by_ccxt = {
        symbol: [
            {
                "tier": float(row.tier),
                "symbol": symbol,
                "currency": symbol.partition(":")[2],
                "minNotional": row.min_notional,
                "maxNotional": row.max_notional,
                "maintenanceMarginRate": row.maint_margin_rate,
                "maxLeverage": row.max_leverage,
                "info": {"cum": row.maint_amount_cum, "notionalCap": row.max_notional},
            }
            for row in rows.itertuples()
        ]
        for symbol, rows in pd.read_csv(listed).groupby("symbol")
    }
    for symbol in symbols:
        load_brackets(by_ccxt, symbol)
    bitcoin = load_brackets(listed, "BTCUSDT")
    assert bitcoin.maintenance_rate[:4].tolist() == [0.004, 0.005, 0.0065, 0.01]
    assert bitcoin.max_leverage[0] == 125.0
    assert bitcoin.deduction[1:3].tolist() == [50.0, 950.0]
    assert bitcoin.max_notional[-1] == 1.8e9
