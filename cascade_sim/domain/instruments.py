"""Contract terms: what one tick, one lot and one atom of cash are worth."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.domain.units import ATOMS_PER_UNIT, decimal_fraction

_LARGEST_INTEGER = 2**63 - 1
GRID_TOLERANCE = Fraction(1, 10**6)
"""Part of a step within which a price or a quantity counts as being on the grid."""


@dataclass(frozen=True)
class Instrument:
    """A linear contract (spot or perpetual): profit is position times price move, in the quote currency.

    Books count prices in integer ticks and quantities in integer lots; the ledger counts cash in integer
    atoms of 1e-8 of the quote unit. A move of one tick on one lot is a whole number of atoms, which makes
    cash exact.

    Parameters
    ----------
    venue : str
        Name of the venue that lists the contract.
    name : str
        Name of the contract on the venue.
    base, quote : str
        Currency of the quantity and of price, cash and margin.
    tick_size : float
        Smallest price step, quote units per base unit.
    lot_size : float
        Smallest quantity, base units.

    Attributes
    ----------
    atoms_per_tick_lot : int
        Atoms of cash that one lot gains when the price rises by one tick.

    Raises
    ------
    CascadeError
        If a size is not positive and finite, or if ``tick_size * lot_size * 1e8`` is not an integer of at
        least 1.
    """

    venue: str
    name: str
    base: str
    quote: str
    tick_size: float
    lot_size: float
    atoms_per_tick_lot: int = field(init=False)

    def __post_init__(self) -> None:
        for label, size in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            if not (isfinite(size) and size > 0.0):
                raise CascadeError(expectation(label, "a positive finite number", size))
        atoms = decimal_fraction(self.tick_size) * decimal_fraction(self.lot_size) * ATOMS_PER_UNIT
        if atoms.denominator != 1:
            raise CascadeError(
                expectation(
                    "tick_size * lot_size",
                    f"a whole number of atoms (1e-8 {self.quote}), at least 1",
                    float(atoms),
                )
            )
        object.__setattr__(self, "atoms_per_tick_lot", int(atoms))

    def price_to_tick(self, price: float, rounding: str = "nearest") -> int:
        """Convert a price to ticks.

        Parameters
        ----------
        price : float
            Quote units per base unit.
        rounding : {"nearest", "down", "up"}
            What to do between two ticks. A price within a millionth of a tick counts as being on it.

        Returns
        -------
        int

        Raises
        ------
        CascadeError
            If the price is not finite or the rounding is unknown.
        """
        return _to_grid("price", price, self.tick_size, rounding)

    def quantity_to_lot(self, quantity: float, rounding: str = "nearest") -> int:
        """Convert a quantity to lots.

        Parameters
        ----------
        quantity : float
            Base units; may be signed.
        rounding : {"nearest", "down", "up"}
            What to do between two lots.

        Returns
        -------
        int

        Raises
        ------
        CascadeError
            If the quantity is not finite or the rounding is unknown.
        """
        return _to_grid("quantity", quantity, self.lot_size, rounding)

    def tick_to_price(self, tick: int) -> float:
        """Convert ticks to the float nearest to the exact decimal price (22001 ticks of 0.1 are 2200.1)."""
        return float(tick * decimal_fraction(self.tick_size))

    def lot_to_quantity(self, lot: int) -> float:
        """Convert lots to the float nearest to the exact decimal quantity, in base units."""
        return float(lot * decimal_fraction(self.lot_size))

    def ticks_to_prices(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Convert an array of ticks to prices.

        Parameters
        ----------
        ticks : array_like of int or float, any shape
            Ticks, whole or fractional; NaN stays NaN.

        Returns
        -------
        ndarray of float64, same shape
            Quote units per base unit.
        """
        return _from_grid(ticks, self.tick_size)

    def lots_to_quantities(self, lots: ArrayLike) -> NDArray[np.float64]:
        """Convert an array of lots to base units.

        Parameters
        ----------
        lots : array_like of int or float, any shape
            Lots, whole or fractional; NaN stays NaN.

        Returns
        -------
        ndarray of float64, same shape
            Base units.
        """
        return _from_grid(lots, self.lot_size)

    def notional_atoms(self, tick: int, lot: int) -> int:
        """Return price times quantity as exact atoms of cash.

        Parameters
        ----------
        tick : int
            Price in ticks.
        lot : int
            Quantity in lots; the sign is kept.

        Returns
        -------
        int
        """
        return int(tick) * int(lot) * self.atoms_per_tick_lot

    def cash_to_atoms(self, cash: float) -> int:
        """Convert an amount of the quote currency to the nearest number of atoms.

        Parameters
        ----------
        cash : float
            Quote units; may be negative.

        Returns
        -------
        int

        Raises
        ------
        CascadeError
            If the amount is not finite or its atoms do not fit in 64 bits.
        """
        if not isfinite(cash):
            raise CascadeError(expectation("cash", "a finite amount", cash))
        atoms = round(decimal_fraction(cash) * ATOMS_PER_UNIT)
        if abs(atoms) > _LARGEST_INTEGER:
            raise CascadeError(
                expectation("cash", f"at most {_LARGEST_INTEGER / ATOMS_PER_UNIT:.6g} {self.quote}", cash)
            )
        return atoms

    def atoms_to_cash(self, atoms: int) -> float:
        """Convert atoms to quote units (the nearest float)."""
        return int(atoms) / ATOMS_PER_UNIT


def steps_within(values: NDArray[np.float64], size: float, sides: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return limits in ticks, or quantities in lots, rounded so that nothing beyond what was asked for can trade.

    Parameters
    ----------
    values : float64 array
        Prices or quantities.
    size : float
        Tick or lot.
    sides : array_like
        +1 rounds down (limits of buyers, quantities), -1 up (limits of sellers). Values within a millionth of a step
        of the grid count as being on it.
    """
    direction = np.asarray(sides, dtype=np.float64)
    return np.asarray(direction * np.floor(direction * (values / size) + float(GRID_TOLERANCE)))


def _to_grid(label: str, value: float, size: float, rounding: str) -> int:
    if not isfinite(value):
        raise CascadeError(expectation(label, "a finite number", value))
    steps = decimal_fraction(value) / decimal_fraction(size)
    nearest = round(steps)
    if rounding == "nearest" or abs(steps - nearest) <= GRID_TOLERANCE:
        return nearest
    if rounding == "down":
        return steps.numerator // steps.denominator
    if rounding == "up":
        return -(-steps.numerator // steps.denominator)
    raise CascadeError(expectation("rounding", "a known rounding", rounding, ("nearest", "down", "up")))


def _from_grid(steps: ArrayLike, size: float) -> NDArray[np.float64]:
    exact = decimal_fraction(size)
    # Multiplying by 1 and dividing by 10 rounds once; times 0.1 would be off in the last digit.
    scaled: Any = np.asarray(steps, dtype=np.float64) * exact.numerator
    return np.asarray(scaled / exact.denominator, dtype=np.float64)
