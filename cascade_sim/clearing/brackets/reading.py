"""Read leverage brackets: tables as CSV, ccxt's tiers as JSON or as the object itself, Hyperliquid's margin tables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cascade_sim.clearing.brackets.table import BracketTable, deductions_of
from cascade_sim.clearing.brackets.units import UNITS, Bounds, Contract, to_quote, unit_of
from cascade_sim.domain.errors import CascadeError, DataFileError, ScenarioError, expectation
from cascade_sim.domain.files import LARGEST_BRACKETS, bounded_integer, read_bounded

Mode = Literal["marginal", "whole_position"]
MODES: tuple[Mode, ...] = ("marginal", "whole_position")

_COLUMNS = ("symbol", "min_notional", "max_notional", "maint_margin_rate", "max_leverage")
_CSV_NAMES = {
    "symbol": ("symbol", "asset_or_tier"),
    "min_notional": ("min_notional", "notional_from"),
    "max_notional": ("max_notional", "notional_to"),
    "maint_margin_rate": ("maint_margin_rate", "maintenance_margin"),
    "max_leverage": ("max_leverage",),
}
_WANTED = f"a CSV file with columns {', '.join(_COLUMNS)}, or the JSON of ccxt's leverage tiers or of Hyperliquid's meta"
_LARGEST_GAP = 1.0
"""Between the end of a bracket and the start of the next: exchanges that count contracts start at the next contract."""
_RELATIVE_TOLERANCE = 1e-9
_SINGLE_TABLES_BELOW = 50
"""Hyperliquid's tables of lower numbers are not listed: one bracket whose leverage limit is the number."""
_HYPERLIQUID_MAINTENANCE = 0.5
"""Hyperliquid's maintenance rate, share of the initial rate at the leverage limit of a bracket."""

Source = str | Path | Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class _Tier:
    """One row as it stands in the file; ``low`` None begins where the one before ends, ``deduction`` None is not given."""

    low: float | None
    high: float
    rate: float
    leverage: float
    deduction: float | None
    currency: str | None = None
    fields: frozenset[str] = frozenset()


def load_brackets(
    source: Source,
    symbol: str,
    *,
    mode: Mode = "marginal",
    unit: Literal["quote", "base", "contracts"] | None = None,
    contract_size: float | None = None,
    price: float | None = None,
) -> BracketTable:
    """Load the brackets of one symbol.

    Parameters
    ----------
    source : str, Path, mapping or sequence
        A CSV file with columns symbol, min_notional, max_notional, maint_margin_rate, max_leverage and, where the
        exchange states deductions, maint_amount_cum. Or the JSON file of ccxt's leverage tiers: a list of tiers
        per symbol, or of one symbol. Or that structure itself, as ``fetch_leverage_tiers`` and
        ``fetch_market_leverage_tiers`` return it. Or the JSON of Hyperliquid's ``meta``. A rate may be a fraction
        or a text like ``0.5%``. An empty upper end of the last bracket is none, and a bracket that begins up to one
        unit after the end of the one before begins at that end.
    symbol : str
        As in the file (``BTC/USDT:USDT``), or as the exchange writes a perpetual (``BTCUSDT``).
    mode : {"marginal", "whole_position"}
        Whether a rate is charged on what lies within its bracket or on the whole position. Marginal deductions
        that the file lacks are computed, those that it has are checked.
    unit : {"quote", "base", "contracts"}, optional
        What bounds and deductions count; None for what the file says. ccxt calls contracts (OKX, MEXC, Kraken)
        and coins (contracts that settle in their base) by the name of the quote currency.
    contract_size : float, optional
        One contract in base units; in quote currency where the contract settles in its base.
    price : float, optional
        Quote currency per base unit, at which coins are converted.

    Returns
    -------
    BracketTable
        Bounds and deductions in quote currency.

    Raises
    ------
    DataFileError
        If the source cannot be read, lacks a column or the symbol, or holds brackets that break their rules.
    ScenarioError
        If a parameter is wrong, or the unit cannot be told, or converting takes a size or price not given.
    """
    bounds = Bounds(unit, contract_size, price)
    if mode not in MODES:
        raise ScenarioError(expectation("traders.brackets.mode", "a known mode", mode, MODES))
    where = str(source) if isinstance(source, str | Path) else "leverage tiers"
    rows = _rows(where, source, symbol)
    name = _find(where, symbol, list(rows))
    tiers = [_tier(where, name, row) for row in rows[name]]
    if not tiers:
        raise DataFileError(expectation(where, f"a bracket of {name}", "none"))
    factor = _factor(where, name, tiers, bounds)
    try:
        return _build(name, tiers, factor, mode)
    except CascadeError as error:
        raise DataFileError(f"{where}: {error}") from error


def _factor(where: str, name: str, tiers: Sequence[_Tier], bounds: Bounds) -> float:
    contract, first = Contract(name), tiers[0]
    unit = bounds.unit or unit_of(contract, first.currency, first.fields)
    if unit is None:
        expected = f"what the bounds of {name} in {where} count, which their file does not tell"
        raise ScenarioError(expectation("traders.brackets.unit", expected, None, UNITS))
    return to_quote(contract, unit, bounds)


def _build(name: str, tiers: Sequence[_Tier], factor: float, mode: Mode) -> BracketTable:
    ordered = sorted(tiers, key=lambda tier: tier.high)
    lows, slack = _contiguous(name, ordered)
    rates = [tier.rate for tier in ordered]
    given = [tier.deduction for tier in ordered]
    deductions = [0.0] * len(ordered)
    if mode == "marginal":
        deductions = deductions_of(lows, rates)
        _check_deductions(name, lows, given, deductions, slack)
        if not any(slack):
            deductions = [
                computed if stated is None else stated
                for stated, computed in zip(given, deductions, strict=True)
            ]
    elif any(given):
        expected = "none where mode is whole_position: deductions go with marginal rates"
        raise CascadeError(expectation(f"brackets of {name}, deduction", expected, given))
    return BracketTable(
        symbol=name,
        min_notional=[low * factor for low in lows],  # type: ignore[arg-type]
        max_notional=[tier.high * factor for tier in ordered],  # type: ignore[arg-type]
        maintenance_rate=rates,  # type: ignore[arg-type]
        max_leverage=[tier.leverage for tier in ordered],  # type: ignore[arg-type]
        deduction=[value * factor for value in deductions],  # type: ignore[arg-type]
        whole_position=mode == "whole_position",
    )


def _contiguous(name: str, ordered: Sequence[_Tier]) -> tuple[list[float], list[float]]:
    """Return where each bracket begins, the end of the one before, and how far off that the file is."""
    ends = [0.0, *(tier.high for tier in ordered[:-1])]
    slack = []
    for tier, end in zip(ordered, ends, strict=True):
        gap = 0.0 if tier.low is None else tier.low - end
        allowed = _LARGEST_GAP if end > 0.0 else 0.0
        if not -_RELATIVE_TOLERANCE * end <= gap <= allowed * (1.0 + _RELATIVE_TOLERANCE):
            starts = [other.low for other in ordered]
            expected = "0 and then each bracket's end, or at most one unit above it"
            raise CascadeError(expectation(f"brackets of {name}, min_notional", expected, starts))
        slack.append(abs(gap))
    return ends, slack


def _check_deductions(
    name: str,
    lows: Sequence[float],
    given: Sequence[float | None],
    computed: Sequence[float],
    slack: Sequence[float],
) -> None:
    allowed = 0.0
    for place, (low, value, expected, gap) in enumerate(zip(lows, given, computed, slack, strict=True)):
        # A gap leaves open at which of its ends an exchange joins the two lines.
        allowed += gap
        tolerance = _RELATIVE_TOLERANCE * max(low, 1.0) + allowed
        if value is not None and abs(value - expected) > tolerance:
            wanted = f"{expected:g} in bracket {place + 1} (continuity)"
            raise CascadeError(expectation(f"brackets of {name}, deduction", wanted, value))


def _rows(where: str, source: Source, symbol: str) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of every symbol, with the names of `_COLUMNS` or of ccxt."""
    if not isinstance(source, str | Path):
        return _structure(where, source, symbol)
    text = _text(where, Path(source))
    if Path(source).suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        try:
            content = json.loads(text, parse_int=bounded_integer)
        except (ValueError, RecursionError) as error:
            raise DataFileError(expectation(where, _WANTED, f"text that is not JSON: {error}")) from error
        return _structure(where, content, symbol)
    return _table(where, text)


def _text(where: str, path: Path) -> str:
    try:
        data = read_bounded(path, LARGEST_BRACKETS)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte, a file too large
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataFileError(expectation(where, _WANTED, reason)) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(expectation(where, _WANTED, f"a file that is not CSV: {error}")) from error
    if not text.strip():
        raise DataFileError(expectation(where, _WANTED, "an empty file"))
    return text


def _table(where: str, text: str) -> dict[str, list[Mapping[str, Any]]]:
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataFileError(expectation(where, _WANTED, f"a file that is not CSV: {error}")) from error
    found = {
        name: next((each for each in names if each in table.columns), None)
        for name, names in _CSV_NAMES.items()
    }
    missing = [name for name, column in found.items() if column is None]
    if missing:
        raise DataFileError(expectation(where, _WANTED, f"no column {', '.join(missing)}"))
    renamed = {column: name for name, column in found.items() if column is not None}
    kept = [*renamed, *(name for name in ("maint_amount_cum", "venue") if name in table.columns)]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    venues: dict[str, Any] = {}
    for row in table[kept].rename(columns=renamed).to_dict("records"):
        name = str(row["symbol"])
        venue = row.get("venue")
        if venues.setdefault(name, venue) != venue:
            expected = f"{name} of one venue"
            raise DataFileError(expectation(where, expected, f"{venues[name]} and {venue}"))
        rows.setdefault(name, []).append({str(key): value for key, value in row.items()})
    return rows


def _structure(where: str, content: Any, symbol: str) -> dict[str, list[Mapping[str, Any]]]:
    if isinstance(content, Sequence) and not isinstance(content, str) and content:
        first = content[0]
        if isinstance(first, Mapping) and "marginTables" in first:
            return _hyperliquid(where, first)
    if isinstance(content, Mapping) and "marginTables" in content:
        return _hyperliquid(where, content)
    if isinstance(content, Mapping):
        return {str(name): _mappings(where, tiers) for name, tiers in content.items()}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in _mappings(where, content):
        # The tiers of one market name no symbol where an exchange does not repeat it.
        rows.setdefault(str(row.get("symbol") or symbol), []).append(row)
    return rows


def _mappings(where: str, tiers: Any) -> list[Mapping[str, Any]]:
    wrong: Any = tiers
    if isinstance(tiers, Iterable) and not isinstance(tiers, str | Mapping):
        rows = list(tiers)
        others = [row for row in rows if not isinstance(row, Mapping)]
        if not others:
            return rows
        wrong = others[0]
    raise DataFileError(expectation(where, _WANTED, wrong))


def _hyperliquid(where: str, meta: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return tiers from ``meta``: leverage limits only, each with half of its initial rate as maintenance rate."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    try:
        listed = {int(number): table["marginTiers"] for number, table in meta["marginTables"]}
        for asset in meta["universe"]:
            number = int(asset.get("marginTableId", asset["maxLeverage"]))
            single = [{"lowerBound": 0, "maxLeverage": number}] if number < _SINGLE_TABLES_BELOW else None
            tiers = listed[number] if number in listed or single is None else single
            starts = [tier["lowerBound"] for tier in tiers]
            rows[str(asset["name"])] = [
                {
                    "minNotional": tier["lowerBound"],
                    "maxNotional": end,
                    "maintenanceMarginRate": _HYPERLIQUID_MAINTENANCE / float(tier["maxLeverage"]),
                    "maxLeverage": tier["maxLeverage"],
                }
                for tier, end in zip(tiers, [*starts[1:], None], strict=True)
            ]
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        expected = "Hyperliquid's meta with universe and marginTables"
        raise DataFileError(expectation(where, expected, f"{type(error).__name__}: {error}")) from error
    return rows


def _tier(where: str, name: str, row: Mapping[str, Any]) -> _Tier:
    """Read one row under the names of a CSV file or of ccxt."""

    def number(*names: str) -> float | None:
        key = next((each for each in names if each in row), names[0])
        return _number(where, name, key, row.get(key))

    info = row.get("info")
    fields = frozenset(map(str, info)) if isinstance(info, Mapping) else frozenset[str]()
    high = number("max_notional", "maxNotional")
    rate = number("maint_margin_rate", "maintenanceMarginRate")
    leverage = number("max_leverage", "maxLeverage")
    for key, value in (("maintenance rate", rate), ("max_leverage", leverage)):
        if value is None:
            raise DataFileError(expectation(where, f"a number as {key} of every bracket of {name}", None))
    deduction = number("maint_amount_cum")
    if deduction is None and isinstance(info, Mapping):
        deduction = _number(where, name, "cum", info.get("cum"))
    currency = row.get("currency")
    return _Tier(
        low=number("min_notional", "minNotional"),
        high=inf if high is None else high,
        rate=rate,  # type: ignore[arg-type]
        leverage=leverage,  # type: ignore[arg-type]
        deduction=deduction,
        currency=str(currency) if isinstance(currency, str) else None,
        fields=fields,
    )


def _number(where: str, name: str, key: str, value: Any) -> float | None:
    """Read a number or a text that is one, ``0.5%`` included; None where there is none."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    try:
        percent = isinstance(value, str) and value.strip().endswith("%")
        number = float(value.strip()[:-1]) / 100.0 if percent else float(value)
    except (TypeError, ValueError) as error:
        raise DataFileError(expectation(where, f"numbers in column {key} for {name}", value)) from error
    if not isfinite(number) and not (number == inf and key.lower().startswith("max")):
        raise DataFileError(expectation(where, f"numbers in column {key} for {name}", value))
    return number


def _find(where: str, symbol: str, known: list[str]) -> str:
    if symbol in known:
        return symbol
    compact = {_compact(name): name for name in known}
    if symbol.upper() in compact:
        return compact[symbol.upper()]
    near = get_close_matches(symbol.upper(), compact, n=3, cutoff=0.5)
    nearest = f"; near: {', '.join(compact[name] for name in near)}" if near else ""
    raise DataFileError(expectation(where, f"one of its {len(known)} symbols", symbol) + nearest)


def _compact(name: str) -> str:
    """Write ``BTC/USDT:USDT`` as ``BTCUSDT``; a dated contract keeps its date, ``BTCUSDT-241227``."""
    pair, _, settlement = name.partition(":")
    _, dash, date = settlement.partition("-")
    return (pair.replace("/", "") + dash + date).upper()
