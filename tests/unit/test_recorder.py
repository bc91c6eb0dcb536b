"""Recorder: draining, units, complete transfers, the split of profit and loss, snapshots."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import ATOMS, EXTERNAL, FEES, FUND, INSTRUMENT, LONG, MAKER, SHORT, blank, cascade_ledger, fill_tape

from cascade_sim.columns import TABLES
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.layout.book import BOOK
from cascade_sim.core.layout.codes import DEPTH_BINS, DEPTH_EDGES_BP, MAP_BINS
from cascade_sim.core.record.snapshots import depth_profile, resting_between, trigger_profile
from cascade_sim.core.venue.book import open_book, submit
from cascade_sim.domain.enums import Cause, EventType, OrderType, Outcome, Stage
from cascade_sim.domain.errors import CascadeError, UnknownNameError
from cascade_sim.recorder import Recorder
from cascade_sim.tables import check_table

RULES = {Stage.BOOK: "worst_margin_ratio_first", "hedge": "clock"}


def _series() -> np.ndarray:
    rows = blank(
        12,
        lay.SERIES,
        step=np.arange(-2, 10),
        mid=22000.0,
        last=21999.0,
        mark=22000.0,
        index=22000.0,
        fundamental=22000.0,
        best_bid=21989.0,
        best_ask=22011.0,
        gamma=-50.0,
        impact=2.0,
        forced_sale=300.0,
        forced_buy=100.0,
        open_interest=1000,
        fund_cash=123 * 10**8,
    )
    rows["last"][0] = 0.0
    rows["mid"][3], rows["best_bid"][3], rows["one_sided"][3] = np.nan, np.nan, 1
    rows["bid_depth"][4] = (100.0, 200.0, 300.0, 400.0)
    rows["sell_volume"][7, Cause.LIQUIDATION] = 400
    rows["mark_move"][7, lay.MOVE_NEWS] = -1.5
    rows["distressed"][7:9] = (3, 2)
    return rows


def _events() -> np.ndarray:
    kinds = (
        EventType.BREACH,
        EventType.LIQUIDATION,
        EventType.LIQUIDATION,
        EventType.ADL,
        EventType.TAKEOVER,
        EventType.HEDGE,
    )
    rows = blank(
        len(kinds),
        lay.EVENT,
        event_id=np.arange(6),
        step=(2, 5, 5, 6, 6, 6),
        type=kinds,
        stage=(Stage.TRIGGER, Stage.BOOK, Stage.BOOK, Stage.ADL, Stage.FUND, Stage.NONE),
        cause=Cause.LIQUIDATION,
        account=(LONG, LONG, LONG, LONG, LONG, -1),
        payer=-1,
        parent=(-1, 0, 0, 0, 0, -1),
        breach=(-1, 0, 0, 0, 0, -1),
        root=-1,
        quantity=(1000, 300, 100, 250, 350, 5),
        filled=(0, 300, 100, 250, 350, 5),
        mark=20000.0,
        index=20000.0,
        bankruptcy=(20800.0, 20800.0, 20800.0, 0.0, np.nan, np.nan),
        limit=np.nan,
        fill=np.nan,
        equity_before=10_000_000_000.0,
        equity_after=np.nan,
        maintenance=(25_000_000_000.0, 0.0, np.nan, np.nan, np.nan, np.nan),
        loss=0.0,
        waited=np.nan,
    )
    return rows


@pytest.fixture(scope="module")
def built() -> tuple[dict[str, pd.DataFrame], Any, Any]:
    ledger, books, opening = cascade_ledger()
    tape = allocate(lay.TAPE)[0]
    recorder = Recorder(INSTRUMENT, 2.0, lay.RECORD_FULL)
    half = len(ledger.trades) // 2
    fill_tape(tape, "trades", ledger.trades[:half])
    fill_tape(tape, "series", _series()[:5])
    recorder.drain(tape)
    fill_tape(tape, "trades", ledger.trades[half:])
    fill_tape(tape, "transfers", ledger.transfers)
    fill_tape(tape, "events", _events())
    fill_tape(tape, "series", _series()[5:])
    recorder.drain(tape)
    assert (tape.trades_count, tape.events_count, tape.transfers_count, tape.series_count) == (0, 0, 0, 0)
    tape.trades[:] = 0
    return recorder.tables(books, RULES), books, opening


def test_drained_rows_outlive_the_tape(built: Any) -> None:
    trades = built[0]["trades"]
    assert trades["trade_id"].tolist() == list(range(5))
    assert trades["quantity_lot"].tolist() == [10, 400, 250, 350, 50]


def test_every_table_has_the_documented_columns(built: Any) -> None:
    assert set(built[0]) == set(TABLES)
    for name, table in built[0].items():
        check_table(name, table)


def test_series_is_in_user_units(built: Any) -> None:
    series = built[0]["series"].set_index("step")
    assert series.index.tolist() == list(range(-2, 10))
    row = series.loc[0]
    assert row["time_seconds"] == 0.0
    assert series.loc[-2, "time_seconds"] == -4.0
    assert (row["mid"], row["best_bid"], row["last"]) == (2200.0, 2198.9, 2199.9)
    assert row["spread"] == pytest.approx(10.0)
    assert (row["open_interest"], row["insurance_fund_cash"]) == (10.0, 123.0)
    # -50 lots per tick are -11,000 lots per 1 % (220 ticks) = -110 ETH at 2,200 USD.
    assert row["gamma_exposure"] == pytest.approx(-110.0 * 2200.0)
    # 2 ticks per lot = 0.2 USD per 0.01 ETH = 20 USD per ETH, of 2,200 USD.
    assert row["impact_local"] == pytest.approx(20.0 / 2200.0 * 1e4)
    assert row["branching_local"] == pytest.approx(20.0 / 2200.0 * 1e4 * 3.0 / 100.0)
    assert series.loc[2, "bid_depth_500bp"] == pytest.approx(4.0)
    assert series.loc[5, "sell_volume_liquidation"] == pytest.approx(4.0)
    assert series.loc[5, "mark_move_news"] == pytest.approx(-1.5)


def test_missing_prices_are_nan(built: Any) -> None:
    series = built[0]["series"].set_index("step")
    assert np.isnan(series.loc[-2, "last"])
    assert np.isnan(series.loc[1, ["mid", "best_bid", "spread"]].astype(float)).all()
    assert series.loc[1, "one_sided"]
    assert series.loc[1, "gamma_exposure"] == series.loc[2, "gamma_exposure"]


def test_events_are_in_user_units(built: Any) -> None:
    events = built[0]["events"]
    assert events["type"].tolist() == ["breach", "liquidation", "liquidation", "adl", "takeover", "hedge"]
    assert events["stage"].tolist()[:5] == ["trigger", "book", "book", "adl", "fund"]
    assert events["stage"].isna().tolist() == [False] * 5 + [True]
    assert events["rule"].isna().tolist() == [True, False, False, True, True, False]
    assert events["rule"][1] == "worst_margin_ratio_first"
    assert events["rule"][5] == "clock"
    assert events["account_class"][0] == "leveraged_trader"
    assert events["account_id"].isna().tolist() == [False] * 5 + [True]
    assert events["account_class"].isna().tolist() == [False] * 5 + [True]
    assert events["breach_id"].tolist()[1:3] == [0, 0]
    assert events["breach_id"].isna()[0]
    assert events["quantity"][0] == 10.0
    assert events["notional"][0] == pytest.approx(20000.0)
    assert events["bankruptcy_price"][0] == 2080.0
    assert events["bankruptcy_price"].isna().tolist() == [False] * 3 + [True] * 3
    # 100 USD of equity against 250 USD of requirement, which 1.25 % of 20,000 USD needs.
    assert events["margin_ratio"][0] == pytest.approx(0.4)
    assert events["leverage"][0] == pytest.approx(200.0)
    assert events["margin_ratio"].isna().tolist() == [False] + [True] * 5
    assert events["waited_seconds"].fillna(-1.0).tolist() == [-1.0, 6.0, 6.0, 8.0, 8.0, -1.0]


def test_trades_carry_classes_and_causes(built: Any) -> None:
    trades = built[0]["trades"]
    assert trades["taker_cause"].tolist() == ["value", "liquidation", "deleveraging", "backstop", "backstop"]
    assert trades["maker_class"].tolist() == [
        "unlevered_holder",
        "liquidity_provider",
        "unlevered_holder",
        "insurance_fund",
        "liquidity_provider",
    ]
    assert trades["maker_order_id"].tolist() == [50, 50, 0, 0, 0]
    assert trades["taker_event_id"].isna().tolist() == [True, False, False, False, True]
    assert trades["price"].tolist() == [2199.0, 1990.0, 2080.0, 2000.0, 1995.0]
    assert trades["quantity"][1] == 4.0
    assert trades["taker_fee"][1] == pytest.approx(0.07)
    assert trades["maker_fee"][1] == pytest.approx(-0.02)


def test_a_price_between_ticks_is_kept() -> None:
    row = blank(
        1, lay.TRADE, price_tick=22001, quantity_lot=4, amount=int(22000.5 * 4 * ATOMS), taker_event=-1
    )
    tape = allocate(lay.TAPE)[0]
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL)
    fill_tape(tape, "trades", row)
    recorder.drain(tape)
    _, books, _ = cascade_ledger()
    assert recorder.tables(books, {})["trades"]["price"][0] == pytest.approx(2200.05, abs=1e-9)


def test_transfers_are_complete_and_ordered(built: Any) -> None:
    transfers = built[0]["transfers"]
    assert transfers["transfer_id"].tolist() == list(range(len(transfers)))
    assert transfers["step"].is_monotonic_increasing
    expected = [
        (-11, EXTERNAL, FUND, "collateral"),
        (-11, EXTERNAL, MAKER, "collateral"),
        (-11, EXTERNAL, LONG, "collateral"),
        (-11, EXTERNAL, SHORT, "collateral"),
        (-11, LONG, SHORT, "variation"),
        (-5, MAKER, SHORT, "variation"),
        (-5, MAKER, FEES, "fee"),
        (-5, FEES, SHORT, "fee"),
        (3, EXTERNAL, LONG, "collateral"),
        (5, MAKER, LONG, "variation"),
        (5, LONG, FEES, "fee"),
        (5, FEES, MAKER, "fee"),
        (5, LONG, FUND, "fee"),
        (6, SHORT, LONG, "variation"),
        (6, FUND, LONG, "variation"),
        (6, FUND, LONG, "takeover"),
        (6, SHORT, FUND, "socialised"),
        (6, EXTERNAL, FUND, "external"),
        (8, MAKER, FUND, "variation"),
    ]
    names = ["step", "from_account_id", "to_account_id", "kind"]
    assert list(transfers[names].itertuples(index=False, name=None)) == expected
    assert (transfers["asset"] == "USD").all()
    liquidation = transfers[transfers["trade_id"] == 1]
    assert liquidation["amount_atom"].tolist() == [19900 * 400 * ATOMS, 7_000_000, 2_000_000]
    assert liquidation["event_id"].tolist() == [1, 1, 1]
    assert (transfers["amount_atom"] > 0).all()


def test_accounts_split_their_profit(built: Any) -> None:
    accounts = built[0]["accounts"]
    trader = accounts.loc[LONG]
    # Ten ETH lose 200 USD each at mark. Four are sold 10 USD below mark, 2.5 deleveraged 80 USD above it,
    # 3.5 handed over 0.04 USD below it. Debt: 1,000 + 200 - 22,000 + 4 x 1,990 + 2.5 x 2,080 + 3.5 x 2,000
    # less 16.07 of fees.
    takeover = 656.07
    assert trader["trading_pnl"] == pytest.approx(-10.0 * 200.0 + 3.5 * 0.04, abs=1e-6)
    assert trader["liquidation_loss"] == pytest.approx(
        4 * 10.0 - 2.5 * 80.0 + 3.5 * 0.04 - takeover, abs=1e-6
    )
    assert trader["fees"] == pytest.approx(16.07)
    assert trader["equity_end"] == 0.0
    short = accounts.loc[SHORT]
    assert short["adl_loss"] == pytest.approx(2.5 * 80.0)
    assert short["socialised_loss"] == pytest.approx(11.0)
    assert short["liquidation_loss"] == 0.0
    fund = accounts.loc[FUND]
    assert fund["external_capital"] == pytest.approx(4.0)
    assert fund["fees"] == pytest.approx(-16.0)
    assert fund["liquidation_loss"] == pytest.approx(takeover)
    # Its own sale in the book is trading, although the cause is the backstop's.
    assert fund["trading_pnl"] == pytest.approx(-0.5 * 5.0, abs=1e-6)


def test_profit_identity_holds_for_every_account(built: Any) -> None:
    tables = built[0]
    accounts, transfers = tables["accounts"], tables["transfers"]
    added = np.zeros(len(accounts))
    rows = transfers[(transfers["kind"] == "collateral") & (transfers["step"] >= 0)]
    for row in rows.itertuples():
        added[row.to_account_id] += row.amount_atom / 1e8
        added[row.from_account_id] -= row.amount_atom / 1e8
    assert added[LONG] == 200.0
    explained = accounts["equity_start"] + added + accounts["trading_pnl"] + accounts["external_capital"]
    for name in ("fees", "funding", "liquidation_loss", "adl_loss", "socialised_loss"):
        explained -= accounts[name]
    np.testing.assert_allclose(accounts["equity_end"], explained, atol=1e-6)
    assert accounts["equity_end"].sum() == pytest.approx(0.0, abs=1e-6)


def test_accounts_at_the_start(built: Any) -> None:
    accounts = built[0]["accounts"]
    trader = accounts.loc[LONG]
    assert (trader["position_start"], trader["position_end"], trader["entry_price"]) == (10.0, 0.0, 2200.0)
    assert (trader["collateral_start"], trader["equity_start"]) == (1000.0, 1000.0)
    assert trader["leverage_start"] == pytest.approx(22.0)
    # Equity 1,000 + 10 (P - 2,200) is zero at 2,100 and 1.25 % of 10 P at 2,100 / 0.9875.
    assert trader["bankruptcy_price_start"] == pytest.approx(2100.0)
    assert trader["liquidation_price_start"] == pytest.approx(2100.0 / 0.9875)
    assert np.isnan(accounts.loc[SHORT, "liquidation_price_start"])
    assert accounts["first_breach_step"].isna().all()
    assert accounts["margin_mode"].tolist() == ["none"] * 4 + ["isolated", "none"]
    assert accounts.loc[MAKER, "equity_start"] == pytest.approx(5000.0 + 0.1 * 1.0 - 30e-8)


def test_outcome_and_breach_come_from_the_end(built: Any) -> None:
    _, books, _ = cascade_ledger()
    closing = books.closing.copy()
    closing["outcome"][LONG], closing["first_breach_step"][LONG] = Outcome.TAKEN_OVER, 4
    tables = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL).tables(
        dataclasses.replace(books, closing=closing), {}
    )
    assert tables["accounts"]["outcome"].tolist()[LONG] == "taken_over"
    assert tables["accounts"]["first_breach_step"].tolist()[LONG] == 4


def test_below_full_record_the_split_is_unknown() -> None:
    _, books, _ = cascade_ledger()
    tables = Recorder(INSTRUMENT, 1.0, lay.RECORD_SERIES).tables(books, {})
    assert len(tables["transfers"]) == 0
    assert tables["accounts"]["trading_pnl"].isna().all()
    assert tables["accounts"]["equity_end"].notna().all()


def test_wrong_requests_are_refused() -> None:
    _, books, _ = cascade_ledger()
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL)
    with pytest.raises(UnknownNameError, match="raw table"):
        recorder.raw("prices")
    with pytest.raises(CascadeError, match="rules: expected a stage"):
        recorder.tables(books, {"booking": "fifo"})
    with pytest.raises(CascadeError, match="dt: expected a positive"):
        Recorder(INSTRUMENT, 0.0, lay.RECORD_FULL)
    with pytest.raises(CascadeError, match="level: expected a record level"):
        Recorder(INSTRUMENT, 1.0, 7)
    late = books.opening_transfers.copy()
    late["step"] = 0
    with pytest.raises(CascadeError, match="opening_transfers"):
        dataclasses.replace(books, opening_transfers=late)
    with pytest.raises(CascadeError, match="start: expected 6 rows"):
        dataclasses.replace(books, start=books.start[:3])


def test_depth_snapshot_bins_resting_orders() -> None:
    book = allocate(BOOK)[0]
    open_book(book, 0)
    limit = int(OrderType.LIMIT)
    for side, tick, lots in (
        (1, 19998, 5),
        (1, 19990, 7),
        (1, 17000, 100),
        (-1, 20002, 3),
        (-1, 20200, 11),
        (-1, 22000, 2),
    ):
        submit(book, side, tick, lots, 1, limit, 0, -1)
    tape = allocate(lay.TAPE)[0]
    rows = tape.depth[: 2 * DEPTH_BINS]
    depth_profile(book, 20000.0, 60, rows)
    by_edge = {(int(row["side"]), round(float(row["distance_bp"]))): int(row["quantity"]) for row in rows}
    expected = dict.fromkeys([(side, round(edge)) for side in (1, -1) for edge in DEPTH_EDGES_BP], 0)
    expected |= {(1, 1): 5, (1, 5): 7, (-1, 1): 3, (-1, 100): 11, (-1, 1000): 2}
    assert by_edge == expected
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_SERIES)
    tape.depth_count = len(rows)
    recorder.drain(tape)
    depth = recorder.tables(cascade_ledger()[1], {})["depth"]
    assert depth["quantity"].sum() == pytest.approx(0.28)
    assert depth["step"].unique().tolist() == [60]


@given(
    orders=st.lists(st.tuples(st.integers(1, 700), st.integers(1, 9)), max_size=60),
    first=st.integers(-5, 800),
    last=st.integers(-5, 800),
)
def test_lots_between_two_ticks_are_those_of_every_tick(
    orders: list[tuple[int, int]], first: int, last: int
) -> None:
    book = allocate(BOOK)[0]
    open_book(book, 0)
    for tick, lots in orders:
        submit(book, 1, tick, lots, 1, int(OrderType.LIMIT), 0, -1)
    expected = sum(lots for tick, lots in orders if first <= tick <= last)
    assert resting_between(book, first, last) == expected


def test_liquidation_map_bins_triggers() -> None:
    accounts = allocate(lay.ACCOUNT, 6)
    accounts["position"] = (100, 50, -30, 0, 7, 9)
    watch = np.zeros((lay.WATCHES, 6))
    watch[lay.WATCH_LIQUIDATE_SHORT] = np.inf
    # Mark 20000, bins of 100 ticks: 250 below, 310 below, 1020 above; a closed one, one passed, one far away.
    watch[lay.WATCH_LIQUIDATE_LONG] = (19750.0, 19690.0, 0.0, 19900.0, 20500.0, 15000.0)
    watch[lay.WATCH_LIQUIDATE_SHORT, 2] = 21020.0
    tape = allocate(lay.TAPE)[0]
    rows = tape.liquidation_map[: 2 * MAP_BINS]
    trigger_profile(accounts, watch, 20000.0, 120, rows)
    assert len(rows) == 80
    np.testing.assert_allclose(rows["low"][1:], rows["high"][:-1])
    assert (rows["low"][0], rows["high"][-1]) == (pytest.approx(16000.0), pytest.approx(24000.0))
    filled = rows[rows["quantity"] > 0]
    assert filled["quantity"].tolist() == [50, 100, 30]
    assert filled["accounts"].tolist() == [1, 1, 1]
    assert filled["side"].tolist() == [-1, -1, 1]
    np.testing.assert_allclose(filled["low"], [19600.0, 19700.0, 21000.0])
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_SERIES)
    tape.liquidation_map_count = len(rows)
    recorder.drain(tape)
    table = recorder.tables(cascade_ledger()[1], {})["liquidation_map"]
    assert table["quantity"].sum() == pytest.approx(1.8)
    assert table["price_low"].iloc[0] == pytest.approx(1600.0)
