"""A grid of option contracts: what they are, and what a book of positions in them costs to hedge."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.core.prices import greeks
from cascade_sim.domain.errors import CascadeError, expectation

PERCENT = 0.01


@dataclass(frozen=True, eq=False)
class OptionGrid:
    """Terms and market state of n European options, one base unit each; read-only arrays of shape (n,).

    Parameters
    ----------
    strike : array_like
        Quote currency per base unit, positive.
    years : array_like
        Years of 365 days to expiry; zero or less is expired.
    is_call : array_like of bool
        False for a put.
    implied_volatility : array_like
        Annualised, as a fraction; not negative.
    open_interest : array_like
        Base units, not negative.
    forward_ratio : array_like
        Forward of the option's expiry divided by the reference forward of the whole grid, positive. When
        the market moves, all forwards keep their ratios to each other.

    Raises
    ------
    CascadeError
        If shapes differ or a value is out of its range.
    """

    strike: NDArray[np.float64]
    years: NDArray[np.float64]
    is_call: NDArray[np.bool_]
    implied_volatility: NDArray[np.float64]
    open_interest: NDArray[np.float64]
    forward_ratio: NDArray[np.float64]

    def __post_init__(self) -> None:
        for item in fields(self):
            kind = np.bool_ if item.name == "is_call" else np.float64
            array: NDArray[np.generic] = np.array(getattr(self, item.name), dtype=kind)
            if array.ndim != 1 or array.shape != np.shape(self.strike):
                known = f"one dimension and as many values as strikes ({np.size(self.strike)})"
                raise CascadeError(expectation(item.name, known, array.shape))
            array.flags.writeable = False
            object.__setattr__(self, item.name, array)
        _check_range("years", self.years, None)
        for name in ("strike", "forward_ratio"):
            _check_range(name, getattr(self, name), 0.0, strict=True)
        for name in ("implied_volatility", "open_interest"):
            _check_range(name, getattr(self, name), 0.0)

    @property
    def size(self) -> int:
        """Number of options."""
        return self.strike.size

    def aged(self, years: float) -> OptionGrid:
        """Return the grid ``years`` later, everything else unchanged."""
        return replace(self, years=self.years - years)

    def forwards(self, forward: float) -> NDArray[np.float64]:
        """Return the forward of every option's expiry, shape (n,), at a reference forward."""
        _check_forward(forward)
        return forward * self.forward_ratio

    def prices(self, forward: float) -> NDArray[np.float64]:
        """Return Black-76 prices, shape (n,), in quote currency per option, at a reference forward."""
        arguments = self.forwards(forward), self.strike, self.years, self.implied_volatility
        return greeks.black76_prices(self.is_call, *arguments)

    def delta_and_gamma(
        self, forward: float, premium_adjusted: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the delta and gamma of every option by the forward of its own expiry.

        Parameters
        ----------
        forward : float
            Reference forward, quote currency per base unit.
        premium_adjusted : bool
            Count the premium, paid in the base coin, as part of the holding.

        Returns
        -------
        delta, gamma : arrays, shape (n,)
            Base units per option, and per unit of quote currency.

        Raises
        ------
        CascadeError
            If the forward is not positive and finite.
        """
        delta, gamma = np.empty(self.size), np.empty(self.size)
        arguments = self.is_call, self.forwards(forward), self.strike, self.years, self.implied_volatility
        greeks.delta_and_gamma(*arguments, premium_adjusted, delta, gamma)
        return delta, gamma


def gamma_per_percent(grid: OptionGrid, inventory: ArrayLike, forward: float) -> float:
    """Return the change of a book's delta when every forward rises by 1 %, to first order.

    Parameters
    ----------
    grid : OptionGrid
        Contracts.
    inventory : array_like, shape (n,)
        Signed positions, base units; positive is long the option.
    forward : float
        Reference forward, quote currency per base unit.

    Returns
    -------
    float
        sum of position * gamma * F / 100, in base units per +1 %. Negative for a book that is short gamma:
        to stay neutral its holder buys that much into a rise of 1 % and sells it into a fall. Gamma is that
        of the price in quote currency, not premium-adjusted, taken at the forward of the option's own
        expiry.

    Raises
    ------
    CascadeError
        If the inventory has another shape than the grid or is not finite, or the forward is not positive.

    Notes
    -----
    Gamma exposure "per 1 % move" in the usage of the options market, in base units instead of money.
    """
    positions = np.asarray(inventory, dtype=np.float64)
    if positions.shape != (grid.size,):
        raise CascadeError(expectation("inventory", f"shape ({grid.size},)", positions.shape))
    _check_range("inventory", positions, None)
    _, gamma = grid.delta_and_gamma(forward)
    return float(np.sum(positions * gamma * grid.forwards(forward)) * PERCENT)


def _check_forward(forward: float) -> None:
    if not (np.isfinite(forward) and forward > 0.0):
        raise CascadeError(expectation("forward", "a positive finite price", forward))


def _check_range(name: str, values: NDArray[np.float64], least: float | None, strict: bool = False) -> None:
    wrong = ~np.isfinite(values)
    expected = "finite numbers"
    if least is not None:
        wrong |= values <= least if strict else values < least
        expected += f" {'above' if strict else 'not below'} {least:g}"
    if wrong.any():
        raise CascadeError(expectation(name, expected, float(values[wrong][0])))
