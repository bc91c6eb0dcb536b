"""Units: atoms of cash, years in seconds, basis points, and decimals taken at face value."""

from collections.abc import Iterable
from fractions import Fraction
from math import isfinite, log, sqrt

from cascade_sim.domain.errors import CascadeError, expectation

ATOMS_PER_UNIT = 100_000_000
"""Cash is counted in atoms of 1e-8 of the quote (settlement) unit."""

SECONDS_PER_DAY = 86_400.0
SECONDS_PER_YEAR = 365.0 * SECONDS_PER_DAY
"""A year has 365 days: the market never closes."""

BASIS_POINTS_PER_UNIT = 10_000.0


def added(values: Iterable[float]) -> float:
    """Return the sum of floats, added one after the other.

    The built-in ``sum`` compensates rounding from Python 3.12 on, so it would give other last digits there.

    Parameters
    ----------
    values : iterable of float

    Returns
    -------
    float
    """
    total = 0.0
    for value in values:
        total += value
    return total


def decimal_fraction(value: float) -> Fraction:
    """Return the decimal that a float was written as, exactly.

    ``0.1`` becomes 1/10 and not the binary number nearest to it, so that products of sizes are exact.

    Parameters
    ----------
    value : float
        A finite number.

    Returns
    -------
    Fraction

    Raises
    ------
    CascadeError
        If the number is not finite.
    """
    if not isfinite(value):
        raise CascadeError(expectation("value", "a finite number", value))
    return Fraction(repr(float(value)))


def volatility_per_sqrt_second(annualised: float) -> float:
    """Convert an annualised volatility to one per square root of a second (365-day year).

    Parameters
    ----------
    annualised : float
        Fraction per square root of a year, e.g. 0.55.

    Returns
    -------
    float
        Fraction per square root of a second.
    """
    return annualised / sqrt(SECONDS_PER_YEAR)


def log_basis_points(price: float, reference: float) -> float:
    """Return the log move from a reference price, in basis points.

    Parameters
    ----------
    price, reference : float
        Positive prices in the same unit.

    Returns
    -------
    float
        ``1e4 * ln(price / reference)``; negative when the price fell.

    Raises
    ------
    CascadeError
        If a price is not positive and finite.
    """
    for label, value in (("price", price), ("reference", reference)):
        if not (isfinite(value) and value > 0.0):
            raise CascadeError(expectation(label, "a positive finite price", value))
    return BASIS_POINTS_PER_UNIT * log(price / reference)
