"""Tables of who traded with whom and who paid whom."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.enums import TransferKind
from cascade_sim.domain.instruments import Instrument
from cascade_sim.recorder.events import class_codes
from cascade_sim.recorder.market import Columns, cash, constant, place, price
from cascade_sim.recorder.rows import Rows, StepReader


def trade_columns(raw: NDArray[Any], classes: NDArray[np.int8], instrument: Instrument, dt: float) -> Columns:
    """Build the trades table from rows of :data:`layout.TRADE`.

    ``price`` is what was paid per unit: on the tick for fills in a book, between ticks where impact is
    linear. Fills outside the book have a ``maker_order_id`` of 0.
    """
    lots, ticks = np.ascontiguousarray(raw["quantity_lot"]), raw["price_tick"].astype(np.int64)
    amount = raw["amount"]
    scale = instrument.atoms_per_tick_lot
    with np.errstate(divide="ignore", invalid="ignore"):
        paid = np.where(amount == ticks * lots * scale, ticks, amount / (lots * float(scale)))
    data: Columns = {
        name: raw[name] for name in ("trade_id", "step", "sequence", "price_tick", "quantity_lot")
    }
    data |= place(instrument, len(raw))
    data |= {
        "time_seconds": raw["step"] * dt,
        "price": price(instrument, paid),
        "quantity": instrument.lots_to_quantities(lots),
        "aggressor_side": raw["aggressor_side"],
        "taker_event_id": raw["taker_event"],
        "mark": price(instrument, raw["mark"]),
    }
    for role in ("taker", "maker"):
        data[f"{role}_order_id"] = raw[f"{role}_order"]
        data[f"{role}_account_id"] = raw[f"{role}_account"]
        data[f"{role}_class"] = class_codes(classes, raw[f"{role}_account"])
        data[f"{role}_cause"] = raw[f"{role}_cause"]
        data[f"{role}_fee"] = cash(raw[f"{role}_fee"])
    for when in ("before", "after"):
        data[f"mid_{when}"] = price(instrument, raw[f"mid_{when}"])
    return data


@dataclass(frozen=True)
class _Places:
    """Row numbers in the transfers table: of each fill's variation and fees, and of the other transfers."""

    variation: NDArray[np.int64]
    taker_fee: NDArray[np.int64]
    maker_fee: NDArray[np.int64]
    other: NDArray[np.int64]
    count: int


def _places(opening: int, trades: NDArray[Any], transfers: NDArray[Any]) -> _Places:
    """Lay out the table: the opening, then step by step the fills and behind them the other transfers."""
    with_taker, with_maker = trades["taker_fee"] != 0, trades["maker_fee"] != 0
    rows = 1 + with_taker.astype(np.int64) + with_maker
    ends = opening + np.cumsum(rows)
    trade_steps = np.ascontiguousarray(trades["step"])
    # Both lists are ordered by step: places are found by search instead of sorting everything.
    fills_before = np.searchsorted(trade_steps, transfers["step"], side="right")
    others_before = np.searchsorted(np.ascontiguousarray(transfers["step"]), trade_steps, side="left")
    begun = np.concatenate(([opening], ends))
    other = begun[fills_before] + np.arange(len(transfers))
    first = ends - rows + others_before
    last = first + rows - 1
    count = opening + int(rows.sum()) + len(transfers)
    return _Places(first, (first + 1)[with_taker], last[with_maker], other, count)


def transfer_columns(
    opening: NDArray[Any],
    trades: NDArray[Any],
    transfers: NDArray[Any],
    fee_account: int,
    instrument: Instrument,
) -> Columns:
    """Build the complete transfers table, numbered from 0 in the order of steps.

    Parameters
    ----------
    opening : structured ndarray of layout.TRANSFER
        Come first.
    trades : structured ndarray of layout.TRADE, ordered by step
        For each fill the buyer pays the seller, then taker and maker pay their fees (or receive them) if any.
    transfers : structured ndarray of layout.TRANSFER, ordered by step
        As on the tape; inside a step they come behind the fills.
    fee_account : int
        Account that collects trading fees.
    instrument : Instrument
        Contract terms.
    """
    places = _places(len(opening), trades, transfers)
    step = np.empty(places.count, np.int32)
    payer, payee = np.empty(places.count, np.int32), np.empty(places.count, np.int32)
    event, trade = np.full(places.count, -1, np.int64), np.full(places.count, -1, np.int64)
    amount, kind = np.empty(places.count, np.int64), np.empty(places.count, np.int8)
    for at, rows in ((np.arange(len(opening)), opening), (places.other, transfers)):
        step[at], kind[at], amount[at] = rows["step"], rows["kind"], rows["amount"]
        payer[at], payee[at] = rows["from_account"], rows["to_account"]
        event[at], trade[at] = rows["event"], rows["trade"]
    bought = trades["aggressor_side"] > 0
    taker, maker = (
        np.ascontiguousarray(trades["taker_account"]),
        np.ascontiguousarray(trades["maker_account"]),
    )
    everyone = slice(None)
    parts: list[tuple[NDArray[np.int64], Any, Any, Any, Any, TransferKind]] = [
        (
            places.variation,
            everyone,
            np.where(bought, taker, maker),
            np.where(bought, maker, taker),
            trades["amount"],
            TransferKind.VARIATION,
        )
    ]
    for where, fees, party in (
        (places.taker_fee, trades["taker_fee"], taker),
        (places.maker_fee, trades["maker_fee"], maker),
    ):
        charged = np.flatnonzero(fees)
        paid, who = fees[charged], party[charged]
        source, target = np.where(paid > 0, who, fee_account), np.where(paid > 0, fee_account, who)
        parts.append((where, charged, source, target, np.abs(paid), TransferKind.FEE))
    for at, chosen, source, target, paid, reason in parts:
        step[at], event[at], trade[at] = (
            trades[name][chosen] for name in ("step", "taker_event", "trade_id")
        )
        payer[at], payee[at], amount[at], kind[at] = source, target, paid, reason
    return {
        "transfer_id": np.arange(places.count),
        "step": step,
        "event_id": event,
        "trade_id": trade,
        "from_account_id": payer,
        "to_account_id": payee,
        "asset": constant(instrument.quote, places.count),
        "amount_atom": amount,
        "kind": kind,
    }


def transfer_pieces(
    opening: NDArray[Any], trades: Rows, transfers: Rows, fee_account: int, instrument: Instrument, count: int
) -> Iterator[Columns]:
    """Build the table of :func:`transfer_columns` in pieces of ``count`` rows, with one step at most beside them.

    Parameters
    ----------
    opening, fee_account, instrument
        As for :func:`transfer_columns`.
    trades, transfers : Rows
        Of layout.TRADE and layout.TRANSFER, ordered by step.
    count : int
        Rows of each piece but the last, which has what is left.
    """
    kept: list[Columns] = []
    held = done = 0
    for columns in _by_steps(opening, trades, transfers, fee_account, instrument, count):
        kept.append(columns)
        held += len(columns["step"])
        while held >= count:
            joined = _joined(kept)
            yield _numbered({name: values[:count] for name, values in joined.items()}, done, instrument)
            kept = [{name: values[count:] for name, values in joined.items()}]
            held, done = held - count, done + count
    if held:
        yield _numbered(_joined(kept), done, instrument)


def _by_steps(
    opening: NDArray[Any], trades: Rows, transfers: Rows, fee_account: int, instrument: Instrument, count: int
) -> Iterator[Columns]:
    """Columns of whole steps, as many as were read at once."""
    fills, others = StepReader(trades, count), StepReader(transfers, count)
    none = np.empty(0, trades.dtype), np.empty(0, transfers.dtype)
    yield transfer_columns(opening, *none, fee_account, instrument)
    while True:
        ends = [end for end in (fills.horizon(), others.horizon()) if end is not None]
        if not ends:
            return
        taken = fills.take(min(ends)), others.take(min(ends))
        if not len(taken[0]) and not len(taken[1]):  # one step fills all that was read
            taken = fills.take(min(ends) + 1), others.take(min(ends) + 1)
        yield transfer_columns(opening[:0], *taken, fee_account, instrument)


def _joined(parts: list[Columns]) -> Columns:
    return {
        name: np.concatenate([columns[name] for columns in parts])
        for name in parts[0]
        if name not in ("transfer_id", "asset")
    }


def _numbered(columns: Columns, first: int, instrument: Instrument) -> Columns:
    count = len(columns["step"])
    ids = {"transfer_id": np.arange(first, first + count), "asset": constant(instrument.quote, count)}
    return columns | ids
