"""A table of leverage brackets: requirement, leverage limit and liquidation price by size of position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.core.clearing import margin
from cascade_sim.domain.errors import CascadeError, expectation

_RELATIVE_TOLERANCE = 1e-9
_ARRAYS = ("min_notional", "max_notional", "maintenance_rate", "max_leverage", "deduction")


def deductions_of(min_notional: Sequence[float], rates: Sequence[float]) -> list[float]:
    """Return the deductions with which a requirement at marginal rates is continuous.

    Parameters
    ----------
    min_notional, rates : sequences of float
        Where each bracket begins, quote currency, and its maintenance rate, a fraction.

    Returns
    -------
    list of float
        c_0 = 0, c_k = c_(k-1) + min_notional_k (m_k - m_(k-1)), quote currency.
    """
    steps = np.asarray(min_notional[1:], dtype=np.float64) * np.diff(np.asarray(rates, dtype=np.float64))
    return [0.0, *np.cumsum(steps).tolist()]


@dataclass(frozen=True, eq=False)
class BracketTable:
    """Margin brackets in order of notional; read-only arrays of shape (tiers,).

    Parameters
    ----------
    symbol : str
        Contract they apply to.
    min_notional, max_notional : array_like
        Bounds in quote currency. The first is zero, each bracket begins where the one before ends; a
        notional on the bound belongs to the lower bracket. The last may end nowhere (infinity).
    maintenance_rate : array_like
        Fractions between 0 and 1, not decreasing: two brackets may differ in leverage alone.
    max_leverage : array_like
        Not increasing, with 1 / max_leverage not below the maintenance rate.
    deduction : array_like
        Quote currency, with which the requirement is continuous:
        c_k = c_(k-1) + min_notional_k (m_k - m_(k-1)), c_0 = 0. All zero for rates of the whole position.
    whole_position : bool
        Whether the rate of the bracket in force is charged on the whole notional, so that the requirement
        jumps where a bracket begins, instead of on what lies within the bracket.

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
    whole_position: bool = False

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.ndim != 1 or array.size == 0 or array.shape != np.shape(self.min_notional):
                raise self._error(name, "one value per bracket", array.shape)
            open_end = name == "max_notional" and array[-1] == np.inf
            if not np.isfinite(array[:-1] if open_end else array).all():
                raise self._error(name, "finite numbers", array.tolist())
            array.flags.writeable = False
            object.__setattr__(self, name, array)
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
            notional * rate - deduction of the bracket in force, quote currency; with `whole_position`
            notional * rate.

        Raises
        ------
        CascadeError
            If a notional is negative or NaN.
        """
        values = self._notionals(notional)
        if self.whole_position:
            return values * self.maintenance_rate[self.tier(values)]
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

    def liquidation_price(
        self, position: ArrayLike, cash: ArrayLike, price: float = np.inf
    ) -> NDArray[np.float64]:
        """Return the prices at which equity, cash + position * price, first is no more than the requirement.

        Parameters
        ----------
        position : array_like, shape (n,)
            Signed base units.
        cash : array_like, shape (n,)
            Quote currency: collateral less signed quantity times entry price.
        price : float
            Where the market stands, which matters with `whole_position` alone: a long that falls into a lower
            bracket may be safe again. Infinity for coming from above.

        Returns
        -------
        array, shape (n,)
            See `cascade_sim.core.clearing.margin.liquidation_price`; with `whole_position`
            `cascade_sim.core.clearing.margin.whole_position_prices`, infinity for a long that is distressed at ``price``.

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
        if not price > 0.0:
            raise self._error("price", "a positive number", price)
        if self.whole_position:
            return margin.whole_position_prices(
                positions, accounts, float(price), self.maintenance_rate, self.max_notional
            )
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
        if not (rates[0] > 0.0 and rates[-1] < 1.0 and (np.diff(rates) >= 0.0).all()):
            expected = 'fractions between 0 and 1 that do not decrease (0.5 % is 0.005 or "0.5%")'
            raise self._error("maintenance rate", expected, rates.tolist())
        if not (leverage > 0.0).all() or (np.diff(leverage) > 0.0).any():
            raise self._error("max_leverage", "positive numbers that do not increase", leverage.tolist())
        if (leverage * rates > 1.0 + _RELATIVE_TOLERANCE).any():
            raise self._error("max_leverage", "1 / max_leverage not below the rate", leverage.tolist())
        if self.whole_position:
            if self.deduction.any():
                raise self._error(
                    "deduction", "none where rates are of the whole position", self.deduction.tolist()
                )
            return
        continuous = np.array(deductions_of(self.min_notional.tolist(), rates.tolist()))
        scale = np.maximum(self.min_notional, 1.0)
        wrong = np.abs(self.deduction - continuous) > _RELATIVE_TOLERANCE * scale
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            received = float(self.deduction[first])
            raise self._error(
                "deduction", f"{continuous[first]:g} in bracket {first + 1} (continuity)", received
            )
