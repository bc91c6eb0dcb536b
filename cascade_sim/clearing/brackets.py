"""Leverage brackets of a listed perpetual: larger positions need a higher rate of margin."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cascade_sim.core import margin
from cascade_sim.domain.errors import CascadeError, DataFileError, expectation
from cascade_sim.domain.files import LARGEST_BRACKETS, read_bounded

_FIELD_OF_COLUMN = {
    "min_notional": "min_notional",
    "max_notional": "max_notional",
    "maint_margin_rate": "maintenance_rate",
    "max_leverage": "max_leverage",
    "maint_amount_cum": "deduction",
}
_COLUMNS = ("symbol", "tier", *_FIELD_OF_COLUMN)
_RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class BracketTable:
    """Margin brackets in order of notional; read-only arrays of shape (tiers,).

    Parameters
    ----------
    symbol : str
        Contract they apply to.
    min_notional, max_notional : array_like
        Bounds in quote currency. The first is zero, each bracket begins where the one before ends; a
        notional on the bound belongs to the lower bracket.
    maintenance_rate : array_like
        Fractions between 0 and 1, increasing.
    max_leverage : array_like
        Not increasing, with 1 / max_leverage not below the maintenance rate.
    deduction : array_like
        Quote currency, with which the requirement is continuous:
        c_k = c_(k-1) + min_notional_k (m_k - m_(k-1)), c_0 = 0.

    Raises
    ------
    CascadeError
        If the brackets break one of these rules.
    """

    symbol: str
    min_notional: NDArray[np.float64]
    max_notional: NDArray[np.float64]
    maintenance_rate: NDArray[np.float64]
    max_leverage: NDArray[np.float64]
    deduction: NDArray[np.float64]

    def __post_init__(self) -> None:
        for item in fields(self)[1:]:
            array = np.array(getattr(self, item.name), dtype=np.float64)
            if array.ndim != 1 or array.size == 0 or array.shape != np.shape(self.min_notional):
                raise self._error(item.name, "one value per bracket", array.shape)
            if not np.isfinite(array).all():
                raise self._error(item.name, "finite numbers", array.tolist())
            array.flags.writeable = False
            object.__setattr__(self, item.name, array)
        self._check_bounds()
        self._check_rates()

    def maintenance(self, notional: ArrayLike) -> NDArray[np.float64]:
        """Return the maintenance requirement.

        Parameters
        ----------
        notional : array_like, any shape
            Absolute value of positions, quote currency. Above the last bracket its rate continues.

        Returns
        -------
        array of the same shape
            notional * rate - deduction of the bracket in force, quote currency.

        Raises
        ------
        CascadeError
            If a notional is negative or NaN.
        """
        values = self._notionals(notional)
        requirement = margin.maintenance_margins(values.ravel(), self.maintenance_rate, self.deduction)
        return requirement.reshape(values.shape)

    def tier(self, notional: ArrayLike) -> NDArray[np.int64]:
        """Return the index, from zero, of the bracket in force; otherwise as `maintenance`."""
        values = self._notionals(notional)
        return margin.bracket_tiers(values.ravel(), self.max_notional).reshape(values.shape)

    def initial_rate(self, notional: ArrayLike) -> NDArray[np.float64]:
        """Return the smallest initial margin rate, 1 / max_leverage of the bracket in force.

        Shape, range and errors as in `maintenance`.
        """
        return 1.0 / self.max_leverage[self.tier(notional)]

    def liquidation_price(self, position: ArrayLike, cash: ArrayLike) -> NDArray[np.float64]:
        """Return the prices at which equity, cash + position * price, equals the requirement.

        Parameters
        ----------
        position : array_like, shape (n,)
            Signed base units.
        cash : array_like, shape (n,)
            Quote currency: collateral less signed quantity times entry price.

        Returns
        -------
        array, shape (n,)
            See `cascade_sim.core.margin.liquidation_price`.

        Raises
        ------
        CascadeError
            If shapes differ or a value is not finite.
        """
        positions, accounts = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (position, cash))
        if positions.ndim != 1 or positions.shape != accounts.shape:
            received = f"{positions.shape} and {accounts.shape}"
            raise self._error("position and cash", "the same one-dimensional shape", received)
        if not (np.isfinite(positions).all() and np.isfinite(accounts).all()):
            raise self._error("position and cash", "finite numbers", "a NaN or infinity")
        return margin.liquidation_prices(positions, accounts, self.maintenance_rate, self.deduction)

    def _notionals(self, notional: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(notional, dtype=np.float64)
        wrong = ~(values >= 0.0)
        if wrong.any():
            raise self._error("notional", "numbers not below 0", float(values[wrong].flat[0]))
        return values

    def _error(self, name: str, expected: str, received: object) -> CascadeError:
        return CascadeError(expectation(f"brackets of {self.symbol}, {name}", expected, received))

    def _check_bounds(self) -> None:
        ordered = self.max_notional > self.min_notional
        if not ordered.all():
            raise self._error("max_notional", "values above min_notional", self.max_notional.tolist())
        ends = np.concatenate(([0.0], self.max_notional[:-1]))
        if not np.array_equal(self.min_notional, ends):
            raise self._error("min_notional", "0 and then each bracket's end", self.min_notional.tolist())

    def _check_rates(self) -> None:
        rates, leverage = self.maintenance_rate, self.max_leverage
        if not (rates[0] > 0.0 and rates[-1] < 1.0 and (np.diff(rates) > 0.0).all()):
            raise self._error("maintenance rate", "increasing fractions between 0 and 1", rates.tolist())
        if not (leverage > 0.0).all() or (np.diff(leverage) > 0.0).any():
            raise self._error("max_leverage", "positive numbers that do not increase", leverage.tolist())
        if (leverage * rates > 1.0 + _RELATIVE_TOLERANCE).any():
            raise self._error("max_leverage", "1 / max_leverage not below the rate", leverage.tolist())
        expected = np.concatenate(([0.0], np.cumsum(self.min_notional[1:] * np.diff(rates))))
        scale = np.maximum(self.min_notional, 1.0)
        wrong = np.abs(self.deduction - expected) > _RELATIVE_TOLERANCE * scale
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            received = float(self.deduction[first])
            raise self._error(
                "deduction", f"{expected[first]:g} in bracket {first + 1} (continuity)", received
            )


def load_brackets(path: str | Path, symbol: str) -> BracketTable:
    """Load the brackets of one symbol.

    Parameters
    ----------
    path : str or Path
        CSV with columns symbol, tier, min_notional, max_notional, maint_margin_rate, max_leverage and
        maint_amount_cum.
    symbol : str
        As in the file (``BTC/USDT:USDT``), or as the exchange writes a perpetual (``BTCUSDT``).

    Returns
    -------
    BracketTable

    Raises
    ------
    DataFileError
        If the file cannot be read, lacks a column or the symbol, or holds brackets that are not continuous.
    """
    path = Path(path)
    table = _read(path)
    name = _find(path, symbol, table["symbol"].astype(str).unique().tolist())
    rows = table[table["symbol"] == name]
    numbers = rows[["tier", *_FIELD_OF_COLUMN]].apply(pd.to_numeric, errors="coerce")
    if numbers.isna().to_numpy().any():
        column = str(numbers.columns[numbers.isna().any()][0])
        received = rows[column][numbers[column].isna()].iloc[0]
        raise DataFileError(expectation(str(path), f"numbers in column {column} for {name}", received))
    numbers = numbers.sort_values("tier")
    try:
        return BracketTable(name, **{item: numbers[column] for column, item in _FIELD_OF_COLUMN.items()})
    except CascadeError as error:
        raise DataFileError(f"{path}: {error}") from error


def _read(path: Path) -> pd.DataFrame:
    wanted = f"a CSV file with columns {', '.join(_COLUMNS)}"
    try:
        text = read_bounded(path, LARGEST_BRACKETS).decode("utf-8-sig")
        table = pd.read_csv(io.StringIO(text), dtype=str)
    except OSError as error:
        raise DataFileError(expectation(str(path), wanted, error.strerror or str(error))) from error
    except pd.errors.EmptyDataError as error:
        raise DataFileError(expectation(str(path), wanted, "an empty file")) from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataFileError(expectation(str(path), wanted, f"a file that is not CSV: {error}")) from error
    except ValueError as error:
        raise DataFileError(expectation(str(path), wanted, str(error))) from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataFileError(expectation(str(path), wanted, f"no column {', '.join(missing)}"))
    return table


def _find(path: Path, symbol: str, known: list[str]) -> str:
    if symbol in known:
        return symbol
    compact = {_compact(name): name for name in known}
    if symbol.upper() in compact:
        return compact[symbol.upper()]
    near = get_close_matches(symbol.upper(), compact, n=3, cutoff=0.5)
    nearest = f"; near: {', '.join(compact[name] for name in near)}" if near else ""
    raise DataFileError(expectation(str(path), f"one of its {len(known)} symbols", symbol) + nearest)


def _compact(name: str) -> str:
    """Write ``BTC/USDT:USDT`` as ``BTCUSDT``; a dated contract keeps its date, ``BTCUSDT-241227``."""
    pair, _, settlement = name.partition(":")
    _, dash, date = settlement.partition("-")
    return (pair.replace("/", "") + dash + date).upper()
