"""Tables of the market: series, depth, liquidation map."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.columns import DEPTH_BANDS_BP
from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import CLOSED_BY, Cause
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import ATOMS_PER_UNIT, BASIS_POINTS_PER_UNIT

Columns = dict[str, Any]


def constant(name: str, count: int) -> "pd.Categorical[Any]":
    """Return a category column of one name."""
    return pd.Categorical.from_codes(np.zeros(count, np.int8), categories=pd.Index([name], dtype=str))


def place(instrument: Instrument, count: int) -> Columns:
    """Return the venue and instrument columns of a table of ``count`` rows."""
    return {"venue": constant(instrument.venue, count), "instrument": constant(instrument.name, count)}


def cash(atoms: Any) -> NDArray[np.float64]:
    """Convert atoms, integer or fractional, to quote currency."""
    # Adding zero turns the negative zero of "paid nothing" into a plain one.
    return np.asarray(np.asarray(atoms, np.float64) / ATOMS_PER_UNIT + 0.0)


def price(instrument: Instrument, ticks: NDArray[Any]) -> NDArray[np.float64]:
    """Convert ticks to quote currency; what is not a positive price is NaN."""
    prices = instrument.ticks_to_prices(ticks)
    prices[~(prices > 0.0)] = np.nan
    return prices


def series_columns(raw: NDArray[Any], instrument: Instrument, dt: float) -> Columns:
    """Build the series table from rows of :data:`layout.SERIES`.

    Notes
    -----
    ``gamma_exposure`` is lots per tick x (1 % of the price) x price, at the mid or, where the book is
    one-sided, the mark. ``queue_accounts`` are those that the throughput limit of the step left waiting; accounts
    in their cooldown are distressed but wait for nothing. ``branching_local`` is ``impact_local`` times the larger
    of the two forced quantities within 1 %, per basis point.
    """
    count = len(raw)
    quantity = instrument.lots_to_quantities
    ticks = {name: np.ascontiguousarray(raw[name]) for name in ("mid", "mark", "best_bid", "best_ask")}
    at = np.where(np.isnan(ticks["mid"]), ticks["mark"], ticks["mid"])
    spread = (ticks["best_ask"] - ticks["best_bid"]) / ticks["mid"] * BASIS_POINTS_PER_UNIT
    data: Columns = {"step": raw["step"], "time_seconds": raw["step"] * dt, **place(instrument, count)}
    for name in ("mid", "last", "mark", "index", "fundamental", "best_bid", "best_ask"):
        data[name] = price(instrument, raw[name])
    data["halted"] = raw["halted"] != 0
    # The kernels know no mid while trading is halted and call both cases one-sided.
    empty = np.isnan(raw["best_bid"]) | np.isnan(raw["best_ask"])
    data["one_sided"] = np.where(data["halted"], empty, raw["one_sided"] != 0)
    data["throughput_binding"] = raw["throughput_binding"] != 0
    data["spread"] = np.where(raw["one_sided"] != 0, np.nan, spread)
    for side in ("bid", "ask"):
        depth = quantity(raw[f"{side}_depth"])
        data |= {f"{side}_depth_{band}bp": depth[:, k] for k, band in enumerate(DEPTH_BANDS_BP)}
    for side in ("buy", "sell"):
        volume = quantity(raw[f"{side}_volume"])
        data |= {f"{side}_volume_{cause.name.lower()}": volume[:, cause] for cause in Cause}
    moves = raw["mark_move"]
    data |= {f"mark_move_{source}": moves[:, bucket] for source, bucket in _MOVES.items()}
    data["open_interest"] = quantity(raw["open_interest"])
    data["funding_rate"] = raw["funding_rate"]
    data["distressed_accounts"] = raw["distressed"]
    data["queue_accounts"] = raw["queue_accounts"]
    data["queue_notional"] = cash(raw["queue_notional"])
    for by, stages in CLOSED_BY.items():
        data[f"liquidated_notional_{by}"] = cash(raw["closed"][:, list(stages)].sum(axis=1))
    for name, source in _CASH_COLUMNS.items():
        data[name] = cash(raw[source])
    # The insurance fund has columns of its own.
    data["backstop_equity"] = cash(raw["party_equity"])
    per_percent = 0.01 * quantity(raw["gamma"] * at)
    data["gamma_exposure"] = per_percent * instrument.ticks_to_prices(at)
    data["dealer_unhedged_delta"] = quantity(raw["unhedged"])
    data["forced_sale_next_1pct"] = quantity(raw["forced_sale"])
    data["forced_buy_next_1pct"] = quantity(raw["forced_buy"])
    data["impact_local"] = raw["impact"] / at * BASIS_POINTS_PER_UNIT / instrument.lot_size
    forced = np.maximum(data["forced_sale_next_1pct"], data["forced_buy_next_1pct"])
    data["branching_local"] = data["impact_local"] * forced / 100.0
    return data


_MOVES = {cause.name.lower(): int(cause) for cause in Cause} | {
    "quote_revision": int(lay.MOVE_QUOTE_REVISION),
    "liquidity_withdrawal": int(lay.MOVE_WITHDRAWAL),
    "news": int(lay.MOVE_NEWS),
}
"""Bucket of the kernels by what moved the mark."""
_CASH_COLUMNS = {
    "insurance_fund_cash": "fund_cash",
    "insurance_fund_equity": "fund_equity",
    "bad_debt_cumulative": "bad_debt",
    "socialised_cumulative": "socialised",
}


def impact_estimator(linear: bool) -> str:
    """Name the estimator of ``impact_local`` for the metadata of the series."""
    band = lay.BAND_BP[2]
    return "coefficient of linear impact" if linear else f"thinner side of depth within {band:.0f} bp"


def depth_columns(raw: NDArray[Any], instrument: Instrument) -> Columns:
    """Build the depth table from rows of :data:`snapshots.DEPTH_ROW`."""
    data: Columns = {name: raw[name] for name in ("step", "side", "distance_bp")}
    return data | place(instrument, len(raw)) | {"quantity": instrument.lots_to_quantities(raw["quantity"])}


def map_columns(raw: NDArray[Any], instrument: Instrument) -> Columns:
    """Build the liquidation map from rows of :data:`snapshots.MAP_ROW`."""
    return {
        "step": raw["step"],
        "instrument": constant(instrument.name, len(raw)),
        "price_low": instrument.ticks_to_prices(raw["low"]),
        "price_high": instrument.ticks_to_prices(raw["high"]),
        "side": raw["side"],
        "quantity": instrument.lots_to_quantities(raw["quantity"]),
        "accounts": raw["accounts"],
    }
