"""A synthetic options book of dealers, for markets that start from parameters instead of a listed chain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.domain.units import SECONDS_PER_DAY, SECONDS_PER_YEAR
from cascade_sim.options.contracts import OptionGrid, gamma_per_percent


def synthetic_inventory(
    *,
    initial_price: float,
    target_gamma_per_percent: float,
    volatility: float,
    strikes: int,
    strike_range: tuple[float, float],
    strike_centre: float,
    strike_deviation: float,
    expiry_days: Sequence[float],
    expiry_weights: Sequence[float],
) -> tuple[OptionGrid, NDArray[np.float64]]:
    """Spread one signed position over a grid of strikes and expiries.

    The position in strike K and expiry T is proportional to w_T exp(-(ln(K / P0) - ln(1 + c))^2 / (2
    sd^2)): the weights are shares of contracts, not of gamma. All of them together are scaled to the target
    gamma at P0. Options are out of the money: puts below P0, calls from P0 up. The forwards of all expiries
    equal the price.

    Parameters
    ----------
    initial_price : float
        P0, quote currency per base unit.
    target_gamma_per_percent : float
        Change of the book's delta per +1 % at P0, base units; negative for a book that is short gamma.
    volatility : float
        Implied volatility of every option, annualised fraction.
    strikes : int
        Number of strikes, at least 2, evenly spaced.
    strike_range : pair of float
        Lowest and highest strike as multiples of P0.
    strike_centre, strike_deviation : float
        c, relative to P0 (-0.03 is 3 % below), and sd, in log strike.
    expiry_days, expiry_weights : sequences of float
        Days to expiry, and the share of contracts in each; weights are normalised.

    Returns
    -------
    grid : OptionGrid
        ``strikes * len(expiry_days)`` options in order of expiry, then strike; open interest is the size of
        the position.
    inventory : array, shape (n,)
        Signed positions in base units, all of the target's sign.

    Raises
    ------
    CascadeError
        If a parameter is out of its range.
    """
    days, weights = np.asarray(expiry_days, dtype=np.float64), np.asarray(expiry_weights, dtype=np.float64)
    _check_expiries(days, weights)
    _check_strikes(initial_price, volatility, strikes, strike_range, strike_centre, strike_deviation)
    if not np.isfinite(target_gamma_per_percent):
        raise CascadeError(expectation("gamma_per_percent", "a finite number", target_gamma_per_percent))
    moneyness = np.linspace(*strike_range, strikes)
    deviates = (np.log(moneyness) - np.log1p(strike_centre)) / strike_deviation
    shape = np.outer(weights / weights.sum(), np.exp(-0.5 * deviates**2)).ravel()
    strike = np.tile(initial_price * moneyness, days.size)
    terms = {
        "strike": strike,
        "years": np.repeat(days * SECONDS_PER_DAY / SECONDS_PER_YEAR, strikes),
        "is_call": strike >= initial_price,
        "implied_volatility": np.full(strike.size, volatility),
        "forward_ratio": np.ones(strike.size),
    }
    unit = gamma_per_percent(OptionGrid(open_interest=shape, **terms), shape, initial_price)
    if not unit > 0.0:
        raise CascadeError(
            expectation("strike_range", "strikes that have gamma at the initial price", strike_range)
        )
    inventory = shape * (target_gamma_per_percent / unit)
    return OptionGrid(open_interest=np.abs(inventory), **terms), inventory


def _check_expiries(days: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    if days.ndim != 1 or days.size == 0 or not (np.isfinite(days) & (days > 0.0)).all():
        raise CascadeError(expectation("expiry_days", "positive numbers of days", days.tolist()))
    right = (
        weights.shape == days.shape
        and (np.isfinite(weights) & (weights >= 0.0)).all()
        and weights.sum() > 0.0
    )
    if not right:
        expected = f"{days.size} weights, not negative and not all zero"
        raise CascadeError(expectation("expiry_weights", expected, weights.tolist()))


def _check_strikes(
    initial_price: float,
    volatility: float,
    strikes: int,
    strike_range: tuple[float, float],
    strike_centre: float,
    strike_deviation: float,
) -> None:
    positive = {
        "initial_price": initial_price,
        "volatility": volatility,
        "strike_deviation": strike_deviation,
    }
    for name, value in positive.items():
        if not (np.isfinite(value) and value > 0.0):
            raise CascadeError(expectation(name, "a positive finite number", value))
    if strikes < 2:
        raise CascadeError(expectation("strikes", "at least 2", strikes))
    if not 0.0 < strike_range[0] < strike_range[1] < np.inf:
        raise CascadeError(expectation("strike_range", "two increasing positive multiples", strike_range))
    if not -1.0 < strike_centre < np.inf:
        raise CascadeError(expectation("strike_centre", "a number above -1", strike_centre))
