"""The independent replay of the ledger: balances from the result tables alone, against the kernels'."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.domain.errors import CascadeError, expectation

Integers = NDArray[np.int64]
Table = pd.DataFrame | Iterable[pd.DataFrame]
"""A table, or its pieces in order."""


def replay_balances(
    accounts_count: int, transfers: Table, trades: Table, opening_positions: Any
) -> tuple[Integers, Integers]:
    """Recompute cash and positions of every account from nothing but tables.

    Parameters
    ----------
    accounts_count : int
        Number of accounts n.
    transfers : DataFrame, or an iterable of its pieces
        Complete transfers table (``from_account_id``, ``to_account_id``, ``amount_atom``); cash starts from
        zero.
    trades : DataFrame, or an iterable of its pieces
        Trades table (``aggressor_side``, ``quantity_lot``, ``taker_account_id``, ``maker_account_id``).
    opening_positions : array_like of int, shape (n,)
        Signed positions in lots before the first trade of the table.

    Returns
    -------
    cash : int64 array, shape (n,)
        Atoms.
    positions : int64 array, shape (n,)
        Signed lots.

    Raises
    ------
    CascadeError
        If the opening positions have another shape or an account id lies outside 0 .. n - 1.
    """
    positions = np.array(opening_positions, dtype=np.int64)
    if positions.shape != (accounts_count,):
        raise CascadeError(
            expectation("opening_positions", f"shape ({accounts_count},)", str(positions.shape))
        )
    cash = np.zeros(accounts_count, np.int64)
    for rows in _pieces(transfers):
        payer = _ids(rows, "from_account_id", accounts_count)
        payee = _ids(rows, "to_account_id", accounts_count)
        amount = rows["amount_atom"].to_numpy(np.int64)
        np.add.at(cash, payee, amount)
        np.subtract.at(cash, payer, amount)
    for rows in _pieces(trades):
        taker = _ids(rows, "taker_account_id", accounts_count)
        maker = _ids(rows, "maker_account_id", accounts_count)
        signed = rows["quantity_lot"].to_numpy(np.int64) * rows["aggressor_side"].to_numpy(np.int64)
        np.add.at(positions, taker, signed)
        np.subtract.at(positions, maker, signed)
    return cash, positions


def _pieces(table: Table) -> Iterable[pd.DataFrame]:
    return [table] if isinstance(table, pd.DataFrame) else table


def conservation_error(tables: Mapping[str, Table], closing: Any, opening_positions: Any) -> int:
    """Return by how much the tables and the closing accounts contradict each other or conservation.

    Parameters
    ----------
    tables : mapping of DataFrame, or of iterables of their pieces
        ``transfers`` and ``trades`` of a fully recorded run.
    closing : structured ndarray with int64 fields ``cash`` and ``position``, shape (n,)
        Accounts at the end, atoms and lots.
    opening_positions : array_like of int, shape (n,)
        Positions in lots as the run was set up, before burn-in.

    Returns
    -------
    int
        Sum over accounts of the absolute differences of replayed and closing cash (atoms) and positions
        (lots), plus the absolute sums of all closing cash and positions. 0 if and only if everything
        agrees.

    Raises
    ------
    CascadeError
        As for `replay_balances`.
    """
    cash, positions = replay_balances(len(closing), tables["transfers"], tables["trades"], opening_positions)
    held, owned = np.asarray(closing["cash"]), np.asarray(closing["position"])
    error = _absolute_difference(cash, held) + _absolute_difference(positions, owned)
    return error + abs(_exact_sum(held)) + abs(_exact_sum(owned))


def _ids(frame: pd.DataFrame, column: str, count: int) -> Integers:
    ids = frame[column].to_numpy(np.int64)
    if len(ids) and not (ids.min() >= 0 and ids.max() < count):
        raise CascadeError(expectation(column, f"ids from 0 to {count - 1}", f"{ids.min()} to {ids.max()}"))
    return ids


def _exact_sum(values: Integers) -> int:
    """Sum without overflow: high and low halves apart."""
    low = values & np.int64(0xFFFFFFFF)
    return (int((values >> 32).sum()) << 32) + int(low.sum())


def _absolute_difference(left: Integers, right: Integers) -> int:
    wrong = np.flatnonzero(left != right)
    return sum(abs(int(a) - int(b)) for a, b in zip(left[wrong], right[wrong], strict=True))
