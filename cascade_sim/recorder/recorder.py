"""What a run leaves behind: the tape of the kernels, copied in chunks and turned into result tables."""

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import CascadeError, RecordsRefused, UnknownNameError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.recorder.accounts import AccountRecords, account_columns, measure_flows
from cascade_sim.recorder.events import event_columns, find_breaches
from cascade_sim.recorder.market import depth_columns, impact_estimator, map_columns, series_columns
from cascade_sim.recorder.money import trade_columns, transfer_columns, transfer_pieces
from cascade_sim.recorder.rows import Rows
from cascade_sim.table_files import ROW_GROUP, TableFile, write_pieces
from cascade_sim.tables import cast_table, empty_table

__all__ = ["RAW_TABLES", "AccountRecords", "Recorder"]

RAW_TABLES: Mapping[str, "np.dtype[Any]"] = {
    "series": lay.SERIES,
    "events": lay.EVENT,
    "trades": lay.TRADE,
    "transfers": lay.TRANSFER,
    "depth": lay.DEPTH_ROW,
    "liquidation_map": lay.MAP_ROW,
}
"""Names and dtypes of the raw arrays, in ticks, lots, atoms and steps."""
Pieces = Callable[[], Iterator[Mapping[str, Any]]]
MEMORY_BYTES = 64 << 20
"""Bytes of raw rows that stay in memory; those of a longer run go to a temporary file, and its tables are files."""


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
        self._rows = {name: Rows(dtype) for name, dtype in RAW_TABLES.items()}
        self._spilled = False

    def drain(self, tape: Any) -> None:
        """Copy the filled rows of a tape and leave it empty.

        Parameters
        ----------
        tape : record
            One record of :data:`layout.TAPE`; its counts are set to 0.

        Raises
        ------
        RecordsRefused
            If the records of a long run find no room on the disk. All of them are kept, in memory, and the tape is
            empty: the run can stop there and be collected.
        """
        refusal = None
        for name, rows in self._rows.items():
            count = int(tape[f"{name}_count"])
            if count:
                try:
                    rows.append(tape[name][:count])
                except RecordsRefused as error:
                    refusal = error
                tape[f"{name}_count"] = 0
        if not self._spilled and sum(rows.nbytes for rows in self._rows.values()) > MEMORY_BYTES:
            self._spilled = True
            for rows in self._rows.values():
                try:
                    rows.spill()
                except RecordsRefused as error:
                    refusal = error
        if refusal is not None:
            raise refusal

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
        return self._rows[name].all()

    def tables(
        self, accounts: AccountRecords, rules: Mapping[Any, str], *, linear_impact: bool = False
    ) -> dict[str, pd.DataFrame | TableFile]:
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
        dict of DataFrame or TableFile
            Keys and columns of :data:`columns.TABLES`. What the level leaves out is
            empty, and so is ``causes``; below ``RECORD_FULL`` the profit columns of ``accounts`` are NaN.
            ``transfers`` is complete: replayed from zero it gives the cash of every account. Tables of a run that
            recorded more than :data:`MEMORY_BYTES` are files; where the disk takes none, compressed in memory.

        Raises
        ------
        CascadeError
            If a rule is keyed by something that is neither a stage nor a type of event.
        RecordsRefused
            If records do not come back from the disk.
        """
        size = ROW_GROUP if self._spilled else None
        flows = None
        if self.level >= lay.RECORD_FULL:
            trades, transfers = self._pieces("trades", size), self._pieces("transfers", size)
            flows = measure_flows(trades, transfers, accounts, self.instrument.atoms_per_tick_lot)
        attrs = {"series": {"impact_estimator": impact_estimator(linear_impact)}}
        result: dict[str, pd.DataFrame | TableFile] = {}
        # One after the other: plain and cast columns of all tables at once would double the memory of a run.
        for name, columns in self._columns(accounts, rules, size).items():
            frames = partial(_cast, name, columns, attrs.get(name, {}))
            result[name] = next(frames()) if size is None else _stored(name, frames)
        result["accounts"] = cast_table("accounts", account_columns(accounts, flows, self.instrument))
        result["causes"] = empty_table("causes")
        return result

    def _pieces(self, name: str, size: int | None) -> Iterator[NDArray[Any]]:
        """Rows under a name, ``size`` at a time; as a whole when None, even if there are none."""
        return iter([self._rows[name].all()]) if size is None else self._rows[name].pieces(size)

    def _columns(
        self, accounts: AccountRecords, rules: Mapping[Any, str], size: int | None
    ) -> dict[str, Pieces]:
        """Columns of every table that comes off the tape, in pieces of ``size`` rows, or in one, as often as asked for."""
        instrument, dt, classes = self.instrument, self.dt, accounts.classes
        tiers = (accounts.tier_rate, accounts.tier_deduction, accounts.tier_end)
        breaches = find_breaches(self._pieces("events", size))

        def built(name: str, build: Callable[[NDArray[Any]], Mapping[str, Any]]) -> Pieces:
            return lambda: (build(rows) for rows in self._pieces(name, size))

        return {
            "series": built("series", lambda raw: series_columns(raw, instrument, dt)),
            "events": built(
                "events", lambda raw: event_columns(raw, classes, rules, tiers, breaches, instrument, dt)
            ),
            "trades": built("trades", lambda raw: trade_columns(raw, classes, instrument, dt)),
            "transfers": lambda: self._transfers(accounts, size),
            "depth": built("depth", lambda raw: depth_columns(raw, instrument)),
            "liquidation_map": built("liquidation_map", lambda raw: map_columns(raw, instrument)),
        }

    def _transfers(self, accounts: AccountRecords, size: int | None) -> Iterator[Mapping[str, Any]]:
        trades, transfers = self._rows["trades"], self._rows["transfers"]
        opening = accounts.opening_transfers if self.level >= lay.RECORD_FULL else np.empty(0, lay.TRANSFER)
        fees, instrument = accounts.fee_account, self.instrument
        if size is None:
            whole = transfer_columns(opening, trades.all(), transfers.all(), fees, instrument)
            return iter([whole])
        return transfer_pieces(opening, trades, transfers, fees, instrument, size)


def _cast(name: str, pieces: Pieces, attrs: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """Documented frames of pieces of a table; an empty one if there are none."""
    empty = True
    for columns in pieces():
        empty = False
        frame = cast_table(name, columns)
        frame.attrs.update(attrs)
        del columns  # what comes next should not have to fit beside it
        yield frame
        del frame
    if empty:
        frame = empty_table(name)
        frame.attrs.update(attrs)
        yield frame


def _stored(name: str, frames: Callable[[], Iterator[pd.DataFrame]]) -> TableFile:
    """Write frames to a temporary file without a name as they come; to memory where the disk takes none."""
    try:
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
        try:
            write_pieces(name, frames(), stream)
            stream.flush()  # what is refused later would be taken for damage
            return TableFile(name, stream)
        except BaseException:
            with suppress(OSError):  # what is still buffered finds no room either
                stream.close()
            raise
    except OSError:
        memory = io.BytesIO()
        write_pieces(name, frames(), memory)
        return TableFile(name, memory)
