"""Spread, depth, and how returns behave: the calm market, measured from step 0 up to the first shock."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cascade_sim.domain.units import SECONDS_PER_YEAR
from cascade_sim.metrics.catalogue import Recorded, table_metric
from cascade_sim.metrics.facts import RunFacts

SIGNATURE_LAGS_SECONDS = (1, 5, 10, 30, 60, 300, 600, 1800)


def between(frame: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Return the rows of a table ordered by step whose step lies in ``first`` .. ``last``, both included."""
    steps = frame["step"].to_numpy()
    left, right = np.searchsorted(steps, first, side="left"), np.searchsorted(steps, last, side="right")
    return frame.iloc[int(left) : int(right)]


def two_sided_depth(frame: pd.DataFrame, band: int) -> NDArray[np.float64]:
    """Return bid plus ask quantity within ``band`` basis points of mid, base units, float64."""
    bid, ask = (frame[f"{side}_depth_{band}bp"].to_numpy(np.float64) for side in ("bid", "ask"))
    return np.asarray(bid + ask)


def log_returns(prices: ArrayLike, lag: int = 1) -> NDArray[np.float64]:
    """Return overlapping log returns over ``lag`` entries; NaN where either price is missing.

    Parameters
    ----------
    prices : array_like of float, shape (n,)
        Positive or NaN.
    lag : int
        At least 1.

    Returns
    -------
    float64 array, shape (max(n - lag, 0),)
    """
    logs = np.log(np.asarray(prices, dtype=np.float64))
    return np.asarray(logs[lag:] - logs[:-lag])


def autocorrelation(values: ArrayLike, lag: int = 1) -> float | None:
    """Return the correlation of a series with itself ``lag`` entries later, over pairs that are both finite.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        NaN is missing.
    lag : int
        At least 1.

    Returns
    -------
    float or None
        None with fewer than three pairs or without variation.
    """
    series = np.asarray(values, dtype=np.float64)
    left, right = series[:-lag], series[lag:]
    both = np.isfinite(left) & np.isfinite(right)
    left, right = left[both], right[both]
    if len(left) < 3 or np.ptp(left) == 0.0 or np.ptp(right) == 0.0:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def signature(prices: ArrayLike, dt: float, lags_seconds: Sequence[float]) -> dict[str, float | None]:
    """Return annualised volatility by sampling interval, from overlapping returns (mean not removed).

    Parameters
    ----------
    prices : array_like of float, shape (n,)
        One price per step; NaN is missing.
    dt : float
        Seconds per step.
    lags_seconds : sequence of float
        Intervals; those that are not whole numbers of steps are left out.

    Returns
    -------
    dict
        Seconds (as text) to volatility; None with fewer than two returns.
    """
    result: dict[str, float | None] = {}
    for seconds in lags_seconds:
        lag = round(seconds / dt)
        if lag < 1 or abs(lag * dt - seconds) > 1e-9 * seconds:
            continue
        returns = log_returns(prices, lag)
        returns = returns[np.isfinite(returns)]
        variance = np.mean(returns**2) * SECONDS_PER_YEAR / seconds if len(returns) >= 2 else None
        result[f"{seconds:g}"] = None if variance is None else float(np.sqrt(variance))
    return result


def _calm(result: Recorded, facts: RunFacts, *columns: str) -> pd.DataFrame:
    last = facts.steps - 1 if facts.first_shock_step is None else facts.first_shock_step - 1
    return between(result.columns("series", ("step", *columns)), 0, last)


@table_metric("bp")
def median_spread(result: Recorded, facts: RunFacts) -> float | None:
    """Median spread of the calm market over the steps with two sides; None without any."""
    spread = _calm(result, facts, "spread")["spread"].to_numpy(np.float64)
    spread = spread[np.isfinite(spread)]
    return float(np.median(spread)) if len(spread) else None


@table_metric("base")
def median_depth(result: Recorded, facts: RunFacts) -> float | None:
    """Median quantity within 1 % of mid in the calm market, bids and asks together; None without calm."""
    depth = two_sided_depth(_calm(result, facts, "bid_depth_100bp", "ask_depth_100bp"), 100)
    return float(np.median(depth)) if len(depth) else None


@table_metric("fraction")
def one_sided_share(result: Recorded, facts: RunFacts) -> float | None:
    """Share of the steps of the event window that end with an empty side of the book."""
    series = result.columns("series", ("step", "one_sided"))
    window = between(series, facts.window_start, facts.window_end)
    return float(window["one_sided"].mean()) if len(window) else None


@table_metric("-")
def mid_autocorrelation(result: Recorded, facts: RunFacts) -> float | None:
    """First autocorrelation of one-step log returns of the mid in the calm market; None without variation."""
    return autocorrelation(log_returns(_calm(result, facts, "mid")["mid"]))


@table_metric("annualised by seconds")
def volatility_signature(result: Recorded, facts: RunFacts) -> dict[str, float | None]:
    """Annualised volatility of the mid in the calm market by sampling interval; flat for a diffusion."""
    return signature(_calm(result, facts, "mid")["mid"], facts.dt, SIGNATURE_LAGS_SECONDS)
