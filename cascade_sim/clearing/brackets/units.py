"""What the bounds of brackets count: quote currency, coins or contracts, and how they become quote currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cascade_sim.domain.errors import ScenarioError, expectation

Unit = Literal["quote", "base", "contracts"]
UNITS: tuple[Unit, ...] = ("quote", "base", "contracts")

_UNIT_OF_FIELD: Mapping[str, Unit | None] = {
    "maxSz": "contracts",
    "maxVol": "contracts",
    "contracts": "contracts",
    "qtyCap": "base",
    "max_size": None,
    "maxSize": None,
    "quantity": None,
    "max_limit": None,
}
"""What an exchange's own field counts that ccxt renames to ``maxNotional``; None where it depends on the contract."""


@dataclass(frozen=True)
class Bounds:
    """How to read the bounds of a file.

    Parameters
    ----------
    unit : {"quote", "base", "contracts"}, optional
        What they count; None for what the file itself says.
    contract_size : float, optional
        One contract in base units, or in quote currency where the contract settles in its base.
    price : float, optional
        Quote currency per base unit at which coins are converted.
    """

    unit: Unit | None = None
    contract_size: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in UNITS:
            raise ScenarioError(expectation("traders.brackets.unit", "a known unit", self.unit, UNITS))
        for name, value in (("contract_size", self.contract_size), ("price", self.price)):
            if value is not None and not 0.0 < value < float("inf"):
                raise ScenarioError(expectation(f"traders.brackets.{name}", "a positive number", value))


@dataclass(frozen=True)
class Contract:
    """A symbol as ccxt writes it, ``BTC/USDT:USDT``; parts that are not there are empty."""

    symbol: str

    @property
    def base(self) -> str:
        """The coin."""
        return self.symbol.partition("/")[0] if "/" in self.symbol else ""

    @property
    def quote(self) -> str:
        """The currency of the price."""
        return self.symbol.partition("/")[2].partition(":")[0]

    @property
    def settles_in_base(self) -> bool:
        """Whether collateral and profit are in the coin."""
        settlement = self.symbol.partition(":")[2].partition("-")[0]
        return settlement != "" and settlement == self.base != self.quote


def unit_of(contract: Contract, currency: str | None, fields: frozenset[str]) -> Unit | None:
    """Return what the bounds of a contract count by what its file says, or None where that cannot be told.

    Parameters
    ----------
    contract : Contract
    currency : str or None
        What the file says that they are in.
    fields : frozenset of str
        Names of the exchange's own fields beside them.
    """
    for name, unit in _UNIT_OF_FIELD.items():
        if name in fields:
            return unit
    if contract.settles_in_base:
        return None
    if currency and contract.base and currency == contract.base:
        return None
    return "quote"


def to_quote(contract: Contract, unit: Unit, bounds: Bounds) -> float:
    """Return the factor that turns bounds in ``unit`` into quote currency.

    Raises
    ------
    ScenarioError
        If it takes a contract size or a price that is not given.
    """
    if unit == "quote":
        return 1.0
    factor = 1.0
    if unit == "contracts":
        if bounds.contract_size is None:
            what = "quote currency" if contract.settles_in_base else "base units"
            expected = (
                f"what one contract of {contract.symbol} is, in {what}, since its bounds count contracts"
            )
            raise ScenarioError(expectation("traders.brackets.contract_size", expected, None))
        factor = bounds.contract_size
        if contract.settles_in_base:
            return factor
    if bounds.price is None:
        expected = (
            f"a price that turns the bounds of {contract.symbol}, which count {unit}, into quote currency"
        )
        raise ScenarioError(expectation("traders.brackets.price", expected, None))
    return factor * bounds.price
