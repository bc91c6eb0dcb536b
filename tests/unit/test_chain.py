"""Option snapshots: what is read, what is dropped or refused, and the gamma of what remains."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cascade_sim.core.prices import greeks
from cascade_sim.domain.errors import CascadeError, DataFileError, UnknownNameError
from cascade_sim.options.chain import DROP_REASONS, Chain, load_chain
from cascade_sim.options.contracts import OptionGrid, gamma_per_percent
from cascade_sim.options.inventory import synthetic_inventory

FILE_NAME = "deribit_eth_options_20240108.csv"
CREATED = pd.Timestamp("2024-01-08 08:00:00", tz="UTC")
# name, index, forward, volatility, open interest
LISTED = [
    ("ETH-10JAN24-2300-C", "SYN.ETH-10JAN24", 2210.0, 0.9, 10.0),
    ("ETH-19JAN24-2200-P", "ETH-19JAN24", 2230.0, 0.7, 40.0),
    ("ETH-19JAN24-2000-C", "ETH-19JAN24", 2230.0, 0.8, 20.0),
    ("ETH-29MAR24-3000-C", "ETH-29MAR24", 2290.0, 0.65, 100.0),
]


def _years(name: str) -> float:
    expiry = pd.to_datetime(name.split("-")[1], format="%d%b%y", utc=True) + pd.Timedelta(hours=8)
    return (expiry - CREATED).total_seconds() / (365.0 * 86_400.0)


def _row(name: str, index: str, forward: float, volatility: float, open_interest: float) -> dict[str, object]:
    strike, kind = name.split("-")[2:]
    price = greeks.black76_price(kind == "C", forward, float(strike), _years(name), volatility)
    return {
        "instrument_name": name,
        "underlying_index": index,
        "underlying_price": forward,
        "mark_price": price / forward,
        "open_interest": open_interest,
        "creation_timestamp": int(CREATED.timestamp() * 1000),
        "bid_price": None,
    }


def _rows() -> list[dict[str, object]]:
    return [_row(*listed) for listed in LISTED]


def _save(folder: Path, rows: object) -> Path:
    path = folder / "chain.json"
    path.write_text(json.dumps({"jsonrpc": "2.0", "result": rows, "usIn": 1}))
    return path


@pytest.fixture(scope="module")
def real_file() -> Path:
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("CASCADE_SIM_DATA", beside)) / FILE_NAME
    if not path.is_file():
        pytest.skip(f"{FILE_NAME} is not there; set CASCADE_SIM_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="module")
def real(real_file: Path) -> Chain:
    return load_chain(real_file)


def test_volatility_terms_and_forward_come_back(tmp_path: Path) -> None:
    chain = load_chain(_save(tmp_path, _rows()))
    assert chain.coin == "ETH"
    assert chain.snapshot_time == CREATED
    assert (chain.forward_source, chain.forward) == ("ETH-19JAN24", 2230.0)
    for name, _, forward, volatility, open_interest in LISTED:
        i = chain.names.index(name)
        assert chain.grid.implied_volatility[i] == pytest.approx(volatility, rel=1e-9)
        assert chain.grid.years[i] == pytest.approx(_years(name), rel=1e-12)
        assert chain.grid.strike[i] == float(name.split("-")[2])
        assert chain.grid.is_call[i] == name.endswith("C")
        assert chain.grid.open_interest[i] == open_interest
        assert chain.grid.forwards(chain.forward)[i] == pytest.approx(forward, rel=1e-14)
    assert chain.dropped["reason"].tolist() == list(DROP_REASONS)
    assert chain.dropped["count"].sum() == 0


def test_csv_bare_list_and_full_answer_agree(tmp_path: Path) -> None:
    first = load_chain(_save(tmp_path, _rows()))
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(_rows()))
    table = tmp_path / "chain.csv"
    pd.DataFrame(_rows()).to_csv(table)
    for path in (bare, table):
        other = load_chain(path)
        assert other.names == first.names
        np.testing.assert_array_equal(other.grid.implied_volatility, first.grid.implied_volatility)


def test_nearest_synthetic_forward_where_no_future_is_listed(tmp_path: Path) -> None:
    rows = [{**row, "underlying_index": "SYN.ETH"} for row in _rows()]
    assert load_chain(_save(tmp_path, rows)).forward == 2210.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instrument_name": "ETH-8JAN24-2200-P"}, "expired"),
        ({"underlying_price": None}, "no_underlying_price"),
        ({"mark_price": None}, "no_mark_price"),
        ({"mark_price": 0.0}, "no_mark_price"),
        ({"mark_price": -0.01}, "price_outside_bounds"),
        ({"mark_price": 1.0}, "price_outside_bounds"),
        ({"instrument_name": "ETH-19JAN24-4460-P", "mark_price": 0.999}, "price_outside_bounds"),
        ({"instrument_name": "ETH-19JAN24-4460-P", "mark_price": 1.0}, "zero_time_value"),
        ({"open_interest": 4.9}, "open_interest_below_minimum"),
        ({"open_interest": None}, "open_interest_below_minimum"),
        ({"instrument_name": "ETH-PERPETUAL"}, "not_an_option"),
        ({"instrument_name": "ETH-29MAR24"}, "not_an_option"),
    ],
)
def test_what_cannot_be_used_is_counted(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    rows = _rows()
    rows[1] = {**rows[1], **changes}
    chain = load_chain(_save(tmp_path, rows), minimum_open_interest=5.0)
    assert chain.grid.size == len(LISTED) - 1
    table = chain.dropped.set_index("reason")
    assert table["count"].to_dict() == {name: int(name == reason) for name in DROP_REASONS}
    if reason not in ("not_an_option", "open_interest_below_minimum"):
        assert table.loc[reason, "open_interest"] == 40.0


def test_dealer_inventory_follows_the_sign_rule(tmp_path: Path) -> None:
    chain = load_chain(_save(tmp_path, _rows()))
    held = 0.5 * chain.grid.open_interest
    put = ~chain.grid.is_call
    np.testing.assert_array_equal(chain.dealer_inventory(0.5, "customers_long"), -held)
    np.testing.assert_array_equal(chain.dealer_inventory(0.5, "customers_short"), held)
    mixed = chain.dealer_inventory(0.5, "calls_sold_puts_bought")
    np.testing.assert_array_equal(mixed, np.where(put, -held, held))
    with pytest.raises(UnknownNameError, match="customers_long"):
        chain.dealer_inventory(0.5, "customer_long")
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(CascadeError, match="from 0 to 1"):
            chain.dealer_inventory(share, "customers_long")


def test_gamma_per_percent_is_the_slope_of_delta(tmp_path: Path) -> None:
    chain = load_chain(_save(tmp_path, _rows()))
    inventory = chain.dealer_inventory(1.0, "customers_long")
    for forward in (chain.forward, 2000.0):
        up, down = (inventory @ chain.grid.delta_and_gamma(forward * (1 + step))[0] for step in (1e-5, -1e-5))
        assert chain.gamma_per_percent(inventory, forward) == pytest.approx((up - down) / 2e-3, rel=1e-6)
    assert chain.gamma_per_percent(inventory) == chain.gamma_per_percent(inventory, chain.forward) < 0.0


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"instrument_name": "ETH-19JAN24-2200"}, "ETH-19JAN24-2200'"),
        ({"instrument_name": "ETH_USDC-19JAN24-2200-P"}, "ETH_USDC"),
        ({"instrument_name": "ETH-31FEB24-2200-P"}, "31FEB24"),
        ({"instrument_name": "ETH-19JAN24-0-P"}, "ETH-19JAN24-0-P"),
        ({"instrument_name": None}, "instrument names like"),
        ({"instrument_name": "BTC-19JAN24-2200-P"}, "options on one coin"),
        ({"instrument_name": LISTED[0][0]}, "every instrument once"),
        ({"mark_price": "dear"}, "finite numbers in column mark_price, received 'dear'"),
        ({"mark_price": math.inf}, "finite numbers"),
        ({"open_interest": -1.0}, "not below 0"),
        ({"creation_timestamp": None}, "creation_timestamp"),
        ({"creation_timestamp": 1e30}, "milliseconds"),
        ({"creation_timestamp": 1704600000000}, "within an hour"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, changes: dict[str, object], part: str) -> None:
    rows = _rows()
    rows[1] = {**rows[1], **changes}
    path = _save(tmp_path, rows)
    with pytest.raises(DataFileError) as caught:
        load_chain(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", b"", "an empty file"),
        ("a.json", b" \n", "an empty file"),
        ("a.json", b"instrument_name,mark_price\n", "not JSON"),
        ("a.csv", b'{"result": [', "not JSON"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\xff\x00", "not UTF-8"),
        ("a.csv", b"a,b\n1,\x00\n", "binary"),
        ("a.csv", b'a,b\n"1,2\n3,4,5\n', "Deribit book summary"),
        ("a.csv", b"instrument_name,mark_price\nETH-19JAN24-2200-P,0.1\n", "no column underlying_index"),
        ("a.json", b'{"error": {"code": -32602, "message": "Invalid params"}}', "Invalid params"),
        ("a.json", b"{}", "received {}"),
        ("a.json", b"3", "received 3"),
        ("a.json", b'{"result": []}', r"received []"),
        ("a.json", b'{"result": [1]}', "received 1"),
        ("a.json", b'{"result": [{"instrument_name": "ETH-19JAN24-2200-P"}]}', "no column"),
        ("a.json", b"[" * 100_000, "not JSON"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataFileError) as caught:
        load_chain(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert part in message
    assert "\n" not in message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataFileError, match="expected a readable file"):
            load_chain(path)


def test_nothing_usable_says_why(tmp_path: Path) -> None:
    rows = [{**row, "mark_price": None} for row in _rows()[:2]]
    with pytest.raises(DataFileError, match="at least one usable option, received '2 no_mark_price'"):
        load_chain(_save(tmp_path, rows))
    futures = [{**_rows()[0], "instrument_name": "ETH-PERPETUAL"}]
    with pytest.raises(DataFileError, match="at least one option"):
        load_chain(_save(tmp_path, futures))
    with pytest.raises(CascadeError, match="minimum_open_interest"):
        load_chain(_save(tmp_path, _rows()), minimum_open_interest=-1.0)


def test_real_snapshot_gamma(real: Chain) -> None:
    """Own forward of each expiry, quote-currency gamma, 365-day years, 1 % of every forward."""
    short = real.dealer_inventory(1.0, "customers_long")
    assert real.gamma_per_percent(short) == pytest.approx(-28_563.0, abs=0.5)
    assert real.gamma_per_percent(real.dealer_inventory(0.1, "customers_short")) == pytest.approx(
        2856.3, abs=0.05
    )
    assert real.grid.open_interest.sum() == 2_337_624.0
    assert (real.forward_source, real.forward) == ("ETH-12JAN24", 2226.35)


def test_real_snapshot_drops_three_worthless_rows(real: Chain) -> None:
    table = real.dropped.set_index("reason")
    assert {name: count for name, count in table["count"].items() if count} == {
        "no_mark_price": 1,
        "price_outside_bounds": 1,
        # ETH-9JAN24-2900-P is worth 0.4 millionths of a coin more than its intrinsic value, marks are millionths.
        "zero_time_value": 1,
    }
    assert table["open_interest"].sum() == 0.0
    assert real.grid.size == 681


def test_real_snapshot_as_json_is_the_same(real: Chain, real_file: Path, tmp_path: Path) -> None:
    rows = json.loads(pd.read_csv(real_file).to_json(orient="records", double_precision=15))
    other = load_chain(_save(tmp_path, rows))
    assert other.names == real.names
    np.testing.assert_allclose(other.grid.implied_volatility, real.grid.implied_volatility, rtol=1e-9)


def test_real_marks_are_reproduced(real: Chain, real_file: Path) -> None:
    rows = pd.read_csv(real_file).set_index("instrument_name").loc[list(real.names)]
    values = (rows["mark_price"] * rows["underlying_price"]).to_numpy()
    np.testing.assert_allclose(real.grid.prices(real.forward), values, rtol=1e-9)


def test_grid_refuses_what_is_no_contract() -> None:
    right = {
        "strike": [2000.0, 2200.0],
        "years": [0.1, 0.1],
        "is_call": [True, False],
        "implied_volatility": [0.6, 0.6],
        "open_interest": [1.0, 2.0],
        "forward_ratio": [1.0, 1.0],
    }
    grid = OptionGrid(**right)  # type: ignore[arg-type]
    assert grid.aged(0.04).years.tolist() == pytest.approx([0.06, 0.06])
    with pytest.raises(ValueError, match="read-only"):
        grid.strike[0] = 1.0
    for name, wrong in {
        "strike": [0.0, 2200.0],
        "years": [0.1, math.nan],
        "is_call": [True],
        "implied_volatility": [-0.1, 0.6],
        "open_interest": [1.0, math.inf],
        "forward_ratio": [1.0, 0.0],
    }.items():
        with pytest.raises(CascadeError, match=name):
            OptionGrid(**{**right, name: wrong})  # type: ignore[arg-type]
    for forward in (0.0, math.nan):
        with pytest.raises(CascadeError, match="forward"):
            grid.prices(forward)
    for inventory in ([1.0], [1.0, math.nan]):
        with pytest.raises(CascadeError, match="inventory"):
            gamma_per_percent(grid, inventory, 2200.0)


STANDARD = {
    "initial_price": 2200.0,
    "target_gamma_per_percent": -1500.0,
    "volatility": 0.6,
    "strikes": 50,
    "strike_range": (0.7, 1.3),
    "strike_centre": -0.03,
    "strike_deviation": 0.06,
    "expiry_days": (1.5, 8.0, 30.0),
    "expiry_weights": (0.40, 0.35, 0.25),
}


def test_synthetic_inventory_has_the_target_gamma_and_profile() -> None:
    grid, inventory = synthetic_inventory(**STANDARD)  # type: ignore[arg-type]
    assert grid.size == 150
    assert (inventory < 0.0).all()
    assert gamma_per_percent(grid, inventory, 2200.0) == pytest.approx(-1500.0, rel=1e-12)
    by_expiry = inventory.reshape(3, 50).sum(axis=1) / inventory.sum()
    np.testing.assert_allclose(by_expiry, [0.40, 0.35, 0.25], rtol=1e-12)
    quoted = {-0.04: 1.05, -0.06: 0.98, -0.10: 0.73, 0.04: 0.78}
    for move, ratio in quoted.items():
        found = gamma_per_percent(grid, inventory, 2200.0 * (1.0 + move)) / -1500.0
        assert found == pytest.approx(ratio, abs=0.015)


def test_synthetic_inventory_may_be_long() -> None:
    grid, inventory = synthetic_inventory(**{**STANDARD, "target_gamma_per_percent": 50.0})  # type: ignore[arg-type]
    assert gamma_per_percent(grid, inventory, 2200.0) == pytest.approx(50.0, rel=1e-12)
    np.testing.assert_array_equal(grid.open_interest, inventory)
    np.testing.assert_array_equal(grid.is_call, grid.strike >= 2200.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_price", 0.0),
        ("target_gamma_per_percent", math.nan),
        ("volatility", 0.0),
        ("strikes", 1),
        ("strike_range", (1.3, 0.7)),
        ("strike_range", (50.0, 60.0)),
        ("strike_centre", -1.0),
        ("strike_deviation", 0.0),
        ("expiry_days", ()),
        ("expiry_days", (1.5, 8.0, 0.0)),
        ("expiry_weights", (0.5, 0.5)),
        ("expiry_weights", (0.0, 0.0, 0.0)),
        ("expiry_weights", (-1.0, 1.0, 1.0)),
    ],
)
def test_synthetic_inventory_refuses(name: str, value: object) -> None:
    with pytest.raises(CascadeError, match=name.removeprefix("target_")):
        synthetic_inventory(**{**STANDARD, name: value})  # type: ignore[arg-type]


def test_what_a_run_uses_of_a_chain_and_why_not_the_rest(tmp_path: Path) -> None:
    rows = _rows()
    rows[2]["mark_price"] = None
    rows[3]["open_interest"] = 0.0
    use = load_chain(_save(tmp_path, rows)).use(run_seconds=3 * 86_400.0)
    assert (use["instruments"], use["used"]) == (4, 1)
    assert use["dropped"] == {
        "no_mark_price": {"count": 1, "open_interest": 20.0},
        "expires_within_the_run": {"count": 1, "open_interest": 10.0},
        "no_open_interest": {"count": 1, "open_interest": 0.0},
    }
    assert json.loads(json.dumps(use)) == use
    assert (use["forward"], use["forward_source"]) == (2230.0, "ETH-19JAN24")
    assert use["snapshot_time"] == "2024-01-08T08:00:00+00:00"


def test_numbers_of_a_file_are_named_as_they_are_written(tmp_path: Path) -> None:
    rows = [{**row, "mark_price": math.inf} for row in _rows()]
    with pytest.raises(DataFileError, match=r"finite numbers in column mark_price, received inf$"):
        load_chain(_save(tmp_path, rows))
