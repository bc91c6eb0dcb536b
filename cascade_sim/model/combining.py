"""The tables of several markets of one run put together: accounts, trades, transfers and events numbered anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.result import RESULT_TABLES, RunResult, cast_table

_NUMBERED = {"events": "event_id", "trades": "trade_id", "transfers": "transfer_id"}
_ACCOUNTS = {
    "accounts": ("account_id",),
    "events": ("account_id", "payer_account_id"),
    "trades": ("taker_account_id", "maker_account_id"),
    "transfers": ("from_account_id", "to_account_id"),
}
_REFERENCES = {
    "events": {"parent_event_id": "events", "breach_id": "events", "root_event_id": "events"},
    "trades": {"taker_event_id": "events"},
    "transfers": {"event_id": "events", "trade_id": "trades"},
}
"""Columns that name a row of a table, by table."""


def combine(results: Sequence[RunResult], account_counts: Sequence[int]) -> RunResult:
    """Put the tables of the markets of one run under one another.

    Parameters
    ----------
    results : sequence of RunResult
        One per market, the first market's first; each numbers its accounts, events, trades and transfers from 0.
    account_counts : sequence of int
        Accounts of each market.

    Returns
    -------
    RunResult
        Rows in order of step, then market, then their old number. Accounts of a market follow those of the markets
        before it; events, trades and transfers are numbered in the order of the rows.
    """
    offsets = np.concatenate(([0], np.cumsum(account_counts)))
    numbers = {
        name: _numbers([getattr(each, name) for each in results], key) for name, key in _NUMBERED.items()
    }
    tables: dict[str, Any] = {}
    for name in RESULT_TABLES:
        parts = []
        for market, each in enumerate(results):
            part = getattr(each, name).copy()
            for column in _ACCOUNTS.get(name, ()):
                part[column] = part[column] + int(offsets[market])
            for column, target in _REFERENCES.get(name, {}).items():
                part[column] = _renumbered(part[column], numbers[target][market])
            if name in _NUMBERED:
                part[_NUMBERED[name]] = numbers[name][market]
            parts.append(part.assign(_market=market))
        tables[name] = _stacked(name, parts)
    return RunResult(**tables)


def _numbers(frames: Sequence[pd.DataFrame], key: str) -> list[NDArray[np.int64]]:
    """New numbers of the rows of each frame; an old number is the row's place in its frame."""
    steps = np.concatenate([frame["step"].to_numpy(np.int64) for frame in frames])
    markets = np.concatenate([np.full(len(frame), market) for market, frame in enumerate(frames)])
    old = np.concatenate([frame[key].to_numpy(np.int64) for frame in frames])
    new = np.empty(len(steps), np.int64)
    new[np.lexsort((old, markets, steps))] = np.arange(len(steps))
    return np.split(new, np.cumsum([len(frame) for frame in frames])[:-1])


def _renumbered(column: pd.Series, new: NDArray[np.int64]) -> NDArray[np.int64]:
    """New numbers of the rows that a column names, -1 where it names none."""
    named = column.fillna(-1).to_numpy(np.int64)
    return np.where(named >= 0, new[named], -1) if len(new) else np.full(len(named), -1)


def _stacked(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    plain = [
        part.astype(
            {column: object for column in part if isinstance(part[column].dtype, pd.CategoricalDtype)}
        )
        for part in parts
    ]
    table = pd.concat([part for part in plain if len(part)] or plain[:1], ignore_index=True)
    order = ["_market"]
    if "step" in table:
        order.insert(0, "step")
    if name in _NUMBERED:
        order.append(_NUMBERED[name])
    table = table.sort_values(order, kind="stable", ignore_index=True)
    return cast_table(name, {column: table[column] for column in table.columns if column != "_market"})
