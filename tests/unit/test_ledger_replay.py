"""The independent replay of balances from tables."""

import numpy as np
import pandas as pd
import pytest
from tape import INSTRUMENT, LONG, SHORT, cascade_ledger, fill_tape

from cascade_sim.clearing.replay import conservation_error, replay_balances
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.domain.errors import CascadeError
from cascade_sim.recorder import AccountRecords, Recorder


def _run() -> tuple[dict[str, pd.DataFrame], AccountRecords, np.ndarray]:
    ledger, books, opening = cascade_ledger()
    tape = allocate(lay.TAPE)[0]
    fill_tape(tape, "trades", ledger.trades)
    fill_tape(tape, "transfers", ledger.transfers)
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL)
    recorder.drain(tape)
    return recorder.tables(books, {}), books, opening


def test_known_balances() -> None:
    transfers = pd.DataFrame(
        {"from_account_id": [0, 1], "to_account_id": [1, 2], "amount_atom": [2**62, 2**61]}
    )
    trades = pd.DataFrame(
        {
            "aggressor_side": np.array([1, -1], np.int8),
            "quantity_lot": [5, 2],
            "taker_account_id": [1, 1],
            "maker_account_id": [2, 0],
        }
    )
    opening = np.array([0, 3, -3])
    cash, positions = replay_balances(3, transfers, trades, opening)
    assert cash.tolist() == [-(2**62), 2**61, 2**61]
    assert positions.tolist() == [2, 6, -8]
    assert opening.tolist() == [0, 3, -3]


def test_tables_reproduce_the_closing_accounts() -> None:
    tables, books, opening = _run()
    cash, positions = replay_balances(6, tables["transfers"], tables["trades"], opening)
    assert cash.tolist() == books.closing["cash"].tolist()
    assert positions.tolist() == books.closing["position"].tolist()
    assert conservation_error(tables, books.closing, opening) == 0


def test_one_missing_atom_is_seen() -> None:
    tables, books, opening = _run()
    closing = books.closing.copy()
    closing["cash"][LONG] -= 1
    assert conservation_error(tables, closing, opening) == 2
    closing = books.closing.copy()
    closing["position"][[LONG, SHORT]] += (4, -4)
    assert conservation_error(tables, closing, opening) == 8


def test_a_lost_row_is_seen() -> None:
    tables, books, opening = _run()
    shorter = tables | {"transfers": tables["transfers"].iloc[:-1]}
    lost = int(tables["transfers"]["amount_atom"].iloc[-1])
    assert conservation_error(shorter, books.closing, opening) == 2 * lost


def test_sums_do_not_overflow() -> None:
    closing = np.zeros(4, lay.ACCOUNT)
    closing["cash"] = 2**62
    empty = pd.DataFrame({"from_account_id": [], "to_account_id": [], "amount_atom": []}, dtype=np.int64)
    trades = pd.DataFrame(
        {"aggressor_side": [], "quantity_lot": [], "taker_account_id": [], "maker_account_id": []},
        dtype=np.int64,
    )
    tables = {"transfers": empty, "trades": trades}
    assert conservation_error(tables, closing, np.zeros(4, np.int64)) == 2 * 4 * 2**62


def test_wrong_input_is_refused() -> None:
    tables, _, opening = _run()
    with pytest.raises(CascadeError, match="opening_positions: expected shape"):
        replay_balances(6, tables["transfers"], tables["trades"], opening[:4])
    with pytest.raises(CascadeError, match="from_account_id: expected ids from 0 to 2"):
        replay_balances(3, tables["transfers"], tables["trades"], opening[:3])
