"""Rows of listed options as Deribit, OKX and Tardis write them, brought to one set of columns.

Deribit: ``public/get_book_summary_by_currency``. Marks of coin-settled options (``BTC-31JAN25-92000-P``) are in the coin,
those of linear ones (``XRP_USDC-26JUN26-2d4-C``, d is the decimal point) in the currency behind the underscore. OKX: the
fields of ``public/mark-price``, ``open-interest`` and ``opt-summary`` in one row (``BTC-USD-250131-92000-P``). Tardis:
``options_chain`` files, which hold many rows per option, the last of which counts. Options expire at 08:00 UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

EXPIRY_HOUR = 8
TERMS = ("coin", "quote", "family", "strike", "is_call", "expiry", "inverse")
NUMBERS = ("mark_price", "underlying_price", "open_interest", "creation_timestamp")
COLUMNS = ("instrument_name", "underlying_index", *NUMBERS)

_COIN = r"(?P<coin>[A-Z0-9]+)(?:_(?P<quote>[A-Z0-9]+))?"
_DERIBIT = re.compile(_COIN + r"-(?P<expiry>\d{1,2}[A-Z]{3}\d{2})-(?P<strike>\d+(?:[dD]\d+)?)-(?P<kind>[CP])")
_DERIBIT_OTHER = re.compile(
    r"[A-Z0-9]+_[A-Z0-9]+"  # spot
    r"|[A-Z0-9]+(_[A-Z0-9]+)?-(PERPETUAL|\d{1,2}[A-Z]{3}\d{2})"
    r"|[A-Z0-9]+(_[A-Z0-9]+)?-[A-Z]+-.+"  # combinations: BTC-FS-28FEB25_31JAN25, BTC-CBUT-31JAN25-90000_95000_100000
)
_OKX = re.compile(
    r"(?P<coin>[A-Z0-9]+)-(?P<quote>[A-Z0-9]+)-(?P<expiry>\d{6})-(?P<strike>\d+(?:\.\d+)?)-(?P<kind>[CP])"
)
_OKX_OTHER = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-SWAP|-\d{6})?")
_DOLLAR = "USD"
"""Settlement of contracts that no stable coin is named in: the coin itself."""


@dataclass(frozen=True)
class Format:
    """How one source writes options.

    Parameters
    ----------
    name : str
        For messages.
    marker : tuple of str
        Columns that tell it from the others.
    columns : mapping
        Our column -> its column; one of several where it has more than one.
    option, other : pattern
        Names of options with their terms, and of instruments that are none.
    expiry_format : str
        Of the day in a name.
    example : str
        A name.
    milliseconds : float
        One unit of its clock.
    volatility_unit : float
        One unit of its ``mark_iv`` as a fraction.
    """

    name: str
    marker: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    option: re.Pattern[str]
    other: re.Pattern[str]
    expiry_format: str
    example: str
    milliseconds: float
    volatility_unit: float

    def is_that_of(self, rows: pd.DataFrame) -> bool:
        """Whether rows have the columns that tell this format."""
        return all(name in rows.columns for name in self.marker)

    def renamed(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Return rows under our columns and ``mark_iv``, and the names of the columns that are missing."""
        found: dict[str, Any] = {}
        missing = []
        for ours, theirs in self.columns.items():
            present = next((name for name in theirs if name in rows.columns), None)
            if present is not None:
                found[ours] = rows[present]
            elif ours in COLUMNS:
                missing.append(theirs[0])
        return pd.DataFrame(found, index=rows.index), missing

    def terms(self, names: pd.Series) -> pd.DataFrame:
        """Return `TERMS` of option names; rows with a wrong name or day have no expiry."""
        parts = names.str.extract(f"^{self.option.pattern}$")
        expiry = pd.to_datetime(parts["expiry"], format=self.expiry_format, errors="coerce", utc=True)
        quote = parts["quote"].fillna(_DOLLAR)
        inverse = quote == _DOLLAR
        family = parts["coin"].where(inverse, parts["coin"] + "_" + quote)
        return pd.DataFrame(
            {
                "coin": parts["coin"],
                "quote": quote,
                "family": family,
                "strike": parts["strike"].str.replace("[dD]", ".", regex=True).astype(float),
                "is_call": parts["kind"] == "C",
                "expiry": expiry + pd.Timedelta(hours=EXPIRY_HOUR),
                "inverse": inverse,
            }
        )


DERIBIT = Format(
    name="Deribit",
    marker=("instrument_name",),
    columns={name: (name,) for name in (*COLUMNS, "mark_iv")},
    option=_DERIBIT,
    other=_DERIBIT_OTHER,
    expiry_format="%d%b%y",
    example="ETH-26JAN24-2400-C",
    milliseconds=1.0,
    volatility_unit=0.01,
)
TARDIS = Format(
    name="Tardis options_chain",
    marker=("symbol", "strike_price", "expiration"),
    columns={
        "instrument_name": ("symbol",),
        "underlying_index": ("underlying_index",),
        "mark_price": ("mark_price",),
        "underlying_price": ("underlying_price",),
        "open_interest": ("open_interest",),
        "creation_timestamp": ("timestamp",),
        "mark_iv": ("mark_iv",),
    },
    option=_DERIBIT,
    other=_DERIBIT_OTHER,
    expiry_format="%d%b%y",
    example="ETH-26JAN24-2400-C (of exchange deribit)",
    milliseconds=1e-3,
    volatility_unit=0.01,
)
OKX = Format(
    name="OKX",
    marker=("instId",),
    columns={
        "instrument_name": ("instId",),
        "mark_price": ("markPx",),
        "underlying_price": ("fwdPx",),
        "open_interest": ("oiCcy", "oi"),
        "creation_timestamp": ("ts",),
        "mark_iv": ("markVol",),
        "underlying_index": ("instId",),
    },
    option=_OKX,
    other=_OKX_OTHER,
    expiry_format="%y%m%d",
    example="BTC-USD-250131-92000-P",
    milliseconds=1.0,
    volatility_unit=1.0,
)
FORMATS = (TARDIS, OKX, DERIBIT)
"""Ordered by how much tells them apart."""


def format_of(rows: pd.DataFrame) -> Format:
    """Return the format whose columns rows have; that of Deribit where none does, which then names what is missing."""
    return next((each for each in FORMATS if each.is_that_of(rows)), DERIBIT)


def merged_by(key: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Return a function that joins rows of one instrument that several answers give, later fields added to earlier."""

    def merge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        joined: dict[Any, dict[str, Any]] = {}
        for row in rows:
            known = joined.setdefault(row.get(key), {})
            joined[row.get(key)] = {**row, **known}
        return list(joined.values())

    return merge


def rounding_of(numbers: Any, coarsest: float) -> float:
    """Return the step that numbers are rounded to, a power of ten, by the digits that they have; 0 if they are not.

    Parameters
    ----------
    numbers : array_like of float
        NaN is left out.
    coarsest : float
        The largest step that is believed: a few round numbers do not make a coarse scale.
    """
    values = np.asarray(numbers, dtype=np.float64)
    values = values[np.isfinite(values)]
    for digits in range(10):
        step = 10.0**-digits
        if step <= coarsest * (1.0 + 1e-9) and np.array_equal(np.round(values, digits), values):
            return step
    return 0.0
