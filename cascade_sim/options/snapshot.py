"""Read a Deribit book-summary snapshot, CSV or the JSON of the public endpoint, into one table of options.

Endpoint: ``public/get_book_summary_by_currency`` with ``kind=option``. A CSV has one row per instrument and
the same field names as columns. Instrument names are COIN-DMMMYY-STRIKE-C or -P; options expire at 08:00
UTC.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.domain.errors import DataFileError, expectation
from cascade_sim.domain.files import LARGEST_CHAIN, bounded_integer, read_bounded

NUMBERS = ("mark_price", "underlying_price", "open_interest", "creation_timestamp")
COLUMNS = ("instrument_name", "underlying_index", *NUMBERS)
EXPIRY_HOUR = 8
LONGEST_SNAPSHOT = pd.Timedelta(hours=1)

_FORMAT = "a Deribit book summary as CSV or JSON"
_OPTION = re.compile(r"(?P<coin>[A-Z]+)-(?P<expiry>\d{1,2}[A-Z]{3}\d{2})-(?P<strike>\d+)-(?P<kind>[CP])")
_NOT_OPTION = re.compile(r"[A-Z]+-(PERPETUAL|\d{1,2}[A-Z]{3}\d{2})")


def read_snapshot(path: str | Path) -> tuple[pd.DataFrame, int]:
    """Read the rows of a snapshot and parse their instrument names.

    Parameters
    ----------
    path : str or Path
        A CSV file with a header, or the JSON answer of the endpoint (the whole of it or its ``result`` list).

    Returns
    -------
    options : DataFrame
        One row per option: `COLUMNS`, and ``coin``, ``strike`` (float), ``is_call`` (bool) and ``expiry``
        (UTC). Numbers that the file leaves empty are NaN.
    futures : int
        Rows left out because their instrument is a future or a perpetual.

    Raises
    ------
    DataFileError
        If the file is missing, empty, binary, neither CSV nor JSON, lacks a column, holds text where a
        number is meant, an instrument name of another form, one instrument twice, several coins, no option
        at all, or rows created more than an hour apart.
    """
    path = Path(path)
    rows = _parse(path, _read_text(path))
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        received = f"no column {', '.join(missing)} among {', '.join(map(str, rows.columns))}"
        raise _error(path, f"the columns {', '.join(COLUMNS)}", received)
    rows = rows[list(COLUMNS)]
    for name in NUMBERS:
        rows = rows.assign(**{name: _numbers(path, name, rows[name])})
    names = rows["instrument_name"].astype(str)
    futures = names.str.fullmatch(_NOT_OPTION)
    options = _with_terms(path, rows[~futures].reset_index(drop=True))
    _check(path, options)
    return options, int(futures.sum())


def _error(path: Path, expected: str, received: Any) -> DataFileError:
    return DataFileError(expectation(str(path), expected, received))


def _read_text(path: Path) -> str:
    try:
        data = read_bounded(path, LARGEST_CHAIN)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte, a file too large
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _error(path, "a readable file", reason) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(path, _FORMAT, "bytes that are not UTF-8 text") from error
    if "\0" in text:
        raise _error(path, _FORMAT, "binary data")
    if not text.strip():
        raise _error(path, _FORMAT, "an empty file")
    return text


def _parse(path: Path, text: str) -> pd.DataFrame:
    if path.suffix.lower() == ".json" or text.lstrip()[0] in "{[":
        return _parse_json(path, text)
    try:
        return pd.read_csv(io.StringIO(text), dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _error(path, _FORMAT, str(error)) from error


def _parse_json(path: Path, text: str) -> pd.DataFrame:
    try:
        content = json.loads(text, parse_int=bounded_integer)
    except (ValueError, RecursionError) as error:
        raise _error(path, _FORMAT, f"text that is not JSON: {error}") from error
    rows = content.get("result") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        received = content.get("error", content) if isinstance(content, dict) else content
        raise _error(path, "a list of book summaries under 'result'", received)
    wrong = [row for row in rows if not isinstance(row, dict)]
    if wrong or not rows:
        raise _error(path, "a list of book summaries", wrong[0] if wrong else rows)
    return pd.DataFrame.from_records(rows)


def _numbers(path: Path, name: str, values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = (numbers.isna() & values.notna()) | np.isinf(numbers)
    if wrong.any():
        raise _error(path, f"finite numbers in column {name}", _plain(values[wrong].iloc[0]))
    return numbers


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _with_terms(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    names = rows["instrument_name"].astype(str)
    terms = names.str.extract(_OPTION.pattern + "$")
    expiry = pd.to_datetime(terms["expiry"], format="%d%b%y", errors="coerce", utc=True)
    strikes = terms["strike"].astype(float)
    wrong = ~names.str.fullmatch(_OPTION.pattern) | expiry.isna() | ~((strikes > 0.0) & (strikes < np.inf))
    if wrong.any():
        raise _error(path, "instrument names like ETH-26JAN24-2400-C", names[wrong].iloc[0])
    return rows.assign(
        coin=terms["coin"],
        strike=terms["strike"].astype(float),
        is_call=terms["kind"] == "C",
        expiry=expiry + pd.Timedelta(hours=EXPIRY_HOUR),
    )


def _check(path: Path, options: pd.DataFrame) -> None:
    if options.empty:
        raise _error(path, "at least one option", "none")
    coins = sorted(options["coin"].unique())
    if len(coins) > 1:
        raise _error(path, "options on one coin", ", ".join(coins))
    repeated = options["instrument_name"].duplicated()
    if repeated.any():
        raise _error(path, "every instrument once", options["instrument_name"][repeated].iloc[0])
    negative = options["open_interest"] < 0.0
    if negative.any():
        raise _error(path, "open interest not below 0", float(options["open_interest"][negative].iloc[0]))
    created = options["creation_timestamp"]
    if created.isna().any():
        missing = options["instrument_name"][created.isna()].iloc[0]
        raise _error(path, "a creation_timestamp in every row", f"none for {missing}")
    if not created.between(0.0, 4e12).all():
        raise _error(path, "creation_timestamp in milliseconds since 1970", float(created.max()))
    span = pd.Timedelta(milliseconds=float(created.max() - created.min()))
    if span > LONGEST_SNAPSHOT:
        raise _error(path, "rows of one snapshot, created within an hour", f"rows {span} apart")
