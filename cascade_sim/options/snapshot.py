"""Read a snapshot of listed options, CSV or JSON, into one table; `cascade_sim.options.formats` knows who writes how."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.domain.errors import DataFileError, ScenarioError, expectation
from cascade_sim.domain.files import LARGEST_CHAIN, bounded_integer, read_bounded
from cascade_sim.options.formats import (
    COLUMNS,
    NUMBERS,
    OKX,
    TARDIS,
    Format,
    format_of,
    merged_by,
)

LONGEST_SNAPSHOT = pd.Timedelta(hours=1)

_FORMAT = "a Deribit book summary, OKX rows or a Tardis options_chain as CSV or JSON"


def read_snapshot(
    path: str | Path, coin: str | None = None, contract_size: float | None = None
) -> tuple[pd.DataFrame, int]:
    """Read the rows of a snapshot and parse their instrument names.

    Parameters
    ----------
    path : str or Path
        A CSV file with a header, or JSON: the answer of an endpoint (the whole of it or its list of rows), or a list
        of answers whose rows are joined by instrument.
    coin : str, optional
        Options to keep where the file holds those on several coins: a coin (``XRP``), or coin and currency
        (``XRP_USDC``) where a coin has options in more than one.
    contract_size : float, optional
        Base units per contract where the file counts open interest in contracts.

    Returns
    -------
    options : DataFrame
        One row per option: `COLUMNS`, `TERMS` and ``mark_iv`` (fraction, NaN where the file has none). ``inverse``
        tells marks in the coin from marks in the quote currency. Numbers that the file leaves empty are NaN.
    others : int
        Rows left out because their instrument is no option: spot, futures, perpetuals, combinations.

    Raises
    ------
    DataFileError
        If the file is missing, empty, binary, neither CSV nor JSON, lacks a column, holds text where a
        number is meant, an instrument name of another form, one instrument twice, no option at all, options on
        several coins of which none is named, or rows created more than an hour apart.
    ScenarioError
        If a coin is named that it has no options on, or it counts contracts whose size is not given.
    """
    path = Path(path)
    rows = _parse(path, _read_text(path))
    form = format_of(rows)
    open_interest_in_contracts = form is OKX and "oiCcy" not in rows.columns
    rows, missing = form.renamed(_newest(rows) if form is TARDIS else rows)
    if missing:
        received = f"no column {', '.join(missing)} among {', '.join(map(str, rows.columns))}"
        wanted = ", ".join(names[0] for ours, names in form.columns.items() if ours in COLUMNS)
        raise _error(path, f"the columns {wanted}", received)
    names = rows["instrument_name"].astype(str)
    is_other = names.str.fullmatch(form.other)
    rows = rows[~is_other].reset_index(drop=True)
    if "mark_iv" not in rows.columns:
        rows = rows.assign(mark_iv=np.nan)
    for name in (*NUMBERS, "mark_iv"):
        label = form.columns[name][0]
        rows = rows.assign(**{name: _numbers(path, label, rows[name])})
    rows = rows.assign(
        creation_timestamp=rows["creation_timestamp"] * form.milliseconds,
        mark_iv=rows["mark_iv"] * form.volatility_unit,
    )
    options = _with_terms(path, rows, form)
    if options.empty:
        raise _error(path, "at least one option", "none")
    options = _of_one_coin(path, options, coin)
    if open_interest_in_contracts:
        if contract_size is None:
            expected = f"base units per contract, since {path} counts open interest (oi) in contracts"
            raise ScenarioError(expectation("options.chain.contract_size", expected, None))
        options = options.assign(open_interest=options["open_interest"] * contract_size)
    _check(path, options)
    return options, int(is_other.sum())


def _newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each symbol: a file of a day holds every change of an option."""
    when = pd.to_numeric(rows["timestamp"], errors="coerce") if "timestamp" in rows.columns else None
    if when is None:
        return rows
    last = rows.assign(_when=when).sort_values("_when", kind="stable").drop_duplicates("symbol", keep="last")
    recent = last["_when"] >= last["_when"].max() - LONGEST_SNAPSHOT / pd.Timedelta(microseconds=1)
    kept: pd.DataFrame = last[recent | last["_when"].isna()].drop(columns="_when").sort_index()
    return kept


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
    rows = _listed(content)
    if not isinstance(rows, list):
        received = content.get("error", content) if isinstance(content, dict) else content
        raise _error(path, "a list of book summaries under 'result' or 'data'", received)
    # Several answers in one file: their rows are of the same instruments.
    rows = [row for part in rows for row in (_listed(part) if isinstance(_listed(part), list) else [part])]
    wrong = [row for row in rows if not isinstance(row, dict)]
    if wrong or not rows:
        raise _error(path, "a list of book summaries", wrong[0] if wrong else rows)
    if any("instId" in row for row in rows):
        rows = merged_by("instId")(rows)
    return pd.DataFrame.from_records(rows)


def _listed(content: Any) -> Any:
    """Return the rows of an answer: ``result`` of Deribit's, ``data`` of OKX's, or the content itself if it is none."""
    if isinstance(content, dict):
        return content.get("result", content.get("data"))
    return content


def _numbers(path: Path, name: str, values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    # What pandas 2 makes of text differs from the nearest double in a third of all numbers of 17 digits.
    text = numbers.notna() & values.map(lambda value: isinstance(value, str))
    numbers[text] = values[text].map(float)
    wrong = (numbers.isna() & values.notna()) | np.isinf(numbers)
    if wrong.any():
        raise _error(path, f"finite numbers in column {name}", _plain(values[wrong].iloc[0]))
    return numbers


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _with_terms(path: Path, rows: pd.DataFrame, form: Format) -> pd.DataFrame:
    names = rows["instrument_name"].astype(str)
    terms = form.terms(names)
    strikes = terms["strike"]
    wrong = (
        ~names.str.fullmatch(form.option) | terms["expiry"].isna() | ~((strikes > 0.0) & (strikes < np.inf))
    )
    if wrong.any():
        raise _error(path, f"instrument names like {form.example}", names[wrong].iloc[0])
    options = pd.concat([rows, terms], axis=1)
    if form is OKX:
        options["underlying_index"] = names.str.extract(r"^(.*)-[^-]+-[CP]$")[0]
    return options


def _of_one_coin(path: Path, options: pd.DataFrame, coin: str | None) -> pd.DataFrame:
    families = sorted(options["family"].unique())
    if coin is None:
        if len(families) > 1:
            expected = "options on one coin, or options.chain.coin to name one"
            raise _error(path, expected, ", ".join(families))
        return options
    wanted = coin.upper()
    if wanted not in families:
        of_coin = sorted(options["family"][options["coin"] == wanted].unique())
        if len(of_coin) != 1:
            raise ScenarioError(
                expectation("options.chain.coin", f"a coin that {path} holds options on", coin, families)
            )
        wanted = of_coin[0]
    return options[options["family"] == wanted].reset_index(drop=True)


def _check(path: Path, options: pd.DataFrame) -> None:
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
