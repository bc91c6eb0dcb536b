"""What a run leaves behind: the tape of the kernels, copied in chunks and turned into result tables."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim._recorder_parts.accounts import AccountRecords, account_columns, measure_flows
from cascade_sim._recorder_parts.events import event_columns
from cascade_sim._recorder_parts.market import depth_columns, impact_estimator, map_columns, series_columns
from cascade_sim._recorder_parts.money import trade_columns, transfer_columns
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import CascadeError, UnknownNameError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.tables import cast_table, empty_table

__all__ = ["RAW_TABLES", "AccountRecords", "Recorder", "run_totals"]

RAW_TABLES: Mapping[str, "np.dtype[Any]"] = {
    "series": lay.SERIES,
    "events": lay.EVENT,
    "trades": lay.TRADE,
    "transfers": lay.TRANSFER,
    "depth": lay.DEPTH_ROW,
    "liquidation_map": lay.MAP_ROW,
}
"""Names and dtypes of the raw arrays, in ticks, lots, atoms and steps."""


class Recorder:
    """Append-only record of one run.

    Parameters
    ----------
    instrument : Instrument
        Contract terms, which turn ticks, lots and atoms into prices, quantities and cash.
    dt : float
        Seconds per step, positive.
    level : int
        What the kernels write down: ``layout.RECORD_SUMMARY`` nothing, ``RECORD_SERIES`` series and events,
        ``RECORD_FULL`` fills and transfers as well.

    Raises
    ------
    CascadeError
        If ``dt`` is not positive or there is no such level.
    """

    def __init__(self, instrument: Instrument, dt: float, level: int) -> None:
        if not dt > 0.0:
            raise CascadeError(expectation("dt", "a positive number of seconds", dt))
        if level not in (lay.RECORD_SUMMARY, lay.RECORD_SERIES, lay.RECORD_FULL):
            raise CascadeError(expectation("level", "a record level", level, ("0", "1", "2")))
        self.instrument = instrument
        self.dt = dt
        self.level = level
        self._chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in RAW_TABLES}

    def drain(self, tape: Any) -> None:
        """Copy the filled rows of a tape and leave it empty.

        Parameters
        ----------
        tape : record
            One record of :data:`layout.TAPE`; its counts are set to 0.
        """
        for name in RAW_TABLES:
            count = int(tape[f"{name}_count"])
            if count:
                self._chunks[name].append(np.array(tape[name][:count], copy=True, subok=False))
                tape[f"{name}_count"] = 0

    def raw(self, name: str) -> NDArray[Any]:
        """Return everything recorded so far under a name.

        Parameters
        ----------
        name : str
            A key of :data:`RAW_TABLES`.

        Returns
        -------
        structured ndarray, shape (n,)
            In kernel units. Not to be written to.

        Raises
        ------
        UnknownNameError
            If there is no such array.
        """
        if name not in RAW_TABLES:
            raise UnknownNameError("raw table", name, RAW_TABLES)
        chunks = self._chunks[name]
        if not chunks:
            return np.empty(0, RAW_TABLES[name])
        if len(chunks) > 1:
            chunks[:] = [np.concatenate(chunks)]
        return chunks[0]

    def tables(
        self, accounts: AccountRecords, rules: Mapping[Any, str], *, linear_impact: bool = False
    ) -> dict[str, pd.DataFrame]:
        """Build every result table in user units.

        Parameters
        ----------
        accounts : AccountRecords
            Accounts before and after, and what else the tape does not hold.
        rules : mapping
            Name of the component that decides, by ``Stage`` (or its lower-case name) or, for events outside
            the liquidation pipeline, by the lower-case name of the type of event, e.g. ``"hedge"``.
        linear_impact : bool
            Whether prices were formed by linear impact instead of a book.

        Returns
        -------
        dict of DataFrame
            Keys and columns of :data:`columns.TABLES` without ``compare``. What the level leaves out is
            empty, and so is ``causes``; below ``RECORD_FULL`` the profit columns of ``accounts`` are NaN.
            ``transfers`` is complete: replayed from zero it gives the cash of every account.

        Raises
        ------
        CascadeError
            If a rule is keyed by something that is neither a stage nor a type of event.
        """
        instrument, dt, classes = self.instrument, self.dt, accounts.classes
        trades, transfers, events = self.raw("trades"), self.raw("transfers"), self.raw("events")
        full = self.level >= lay.RECORD_FULL
        tiers = (accounts.tier_rate, accounts.tier_deduction)
        flows = measure_flows(trades, transfers, accounts, instrument.atoms_per_tick_lot) if full else None
        opening = accounts.opening_transfers if full else np.empty(0, lay.TRANSFER)
        builders: dict[str, Callable[[], Mapping[str, Any]]] = {
            "series": lambda: series_columns(self.raw("series"), instrument, dt),
            "events": lambda: event_columns(events, classes, rules, tiers, instrument, dt),
            "trades": lambda: trade_columns(trades, classes, instrument, dt),
            "transfers": lambda: transfer_columns(
                opening, trades, transfers, accounts.fee_account, instrument
            ),
            "accounts": lambda: account_columns(accounts, flows, instrument),
            "depth": lambda: depth_columns(self.raw("depth"), instrument),
            "liquidation_map": lambda: map_columns(self.raw("liquidation_map"), instrument),
        }
        # One after the other: plain and cast columns of all tables at once would double the memory of a run.
        result = {name: cast_table(name, build()) for name, build in builders.items()}
        result["series"].attrs["impact_estimator"] = impact_estimator(linear_impact)
        return result | {"causes": empty_table("causes")}


def run_totals(world: Any, book: Any, instrument: Instrument) -> dict[str, int | float]:
    """Return the run-wide totals of the kernels in user units.

    Parameters
    ----------
    world, book : record
        One record each of :data:`layout.WORLD` and :data:`book_layout.BOOK` at the end of the run.
    instrument : Instrument
        Contract terms.

    Returns
    -------
    dict
        From step 0 on: ``messages`` and ``trades`` (numbers); ``liquidated_accounts``, ``adl_accounts``
        (accounts); ``liquidated_quantity`` (base units closed in the book); ``book_notional``,
        ``backstop_notional``, ``adl_notional``, ``bad_debt``, ``adl_loss``, ``socialised_loss``,
        ``external_capital``, ``fees`` (quote).
    """
    totals = world["totals"]
    result: dict[str, int | float] = {
        "messages": int(book["messages"]) - int(totals["messages_start"]),
        "liquidated_quantity": instrument.lot_to_quantity(int(totals["liquidated_quantity"])),
    }
    result |= {name: int(totals[name]) for name in ("trades", "liquidated_accounts", "adl_accounts")}
    in_quote = {
        "book_notional": "liquidated_book",
        "backstop_notional": "liquidated_fund",
        "adl_notional": "liquidated_adl",
        "bad_debt": "bad_debt",
        "adl_loss": "adl_loss",
        "socialised_loss": "socialised",
        "external_capital": "external",
        "fees": "fees",
    }
    return result | {name: instrument.atoms_to_cash(int(totals[source])) for name, source in in_quote.items()}
