"""Intervals for medians across replications."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.domain.errors import CascadeError, expectation


class Interval(NamedTuple):
    """An estimate with its confidence interval, in the unit of the data."""

    estimate: float
    low: float
    high: float


def median_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> Interval:
    """Return the median of independent values with a bootstrap percentile interval.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        At least two, finite.
    confidence : float
        Between 0 and 1.
    resamples : int
        Bootstrap samples.
    seed : int
        Seed of the resampling: equal input gives equal output.

    Returns
    -------
    Interval

    Raises
    ------
    CascadeError
        If there are fewer than two values, one is not finite, or the confidence lies outside (0, 1).

    Notes
    -----
    Percentile intervals (Efron and Tibshirani 1993, chapter 13): the acceleration of the BCa interval is
    undefined for a median, whose jackknife values are nearly all equal.
    """
    data = _finite("values", values)
    if not 0.0 < confidence < 1.0:
        raise CascadeError(expectation("confidence", "a number between 0 and 1", confidence))
    from scipy import stats  # half a second that a single run does not need

    bounds = stats.bootstrap(
        (data,),
        np.median,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(data)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(np.median(data)), float(bounds.low), float(bounds.high))


def paired_median_interval(
    treated: ArrayLike,
    control: ArrayLike,
    *,
    contrast: Literal["difference", "ratio"] = "difference",
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the median of a contrast between paired replications with a bootstrap interval over pairs.

    Parameters
    ----------
    treated, control : array_like of float, shape (n,)
        Values of replications that share their draws, in the same order; finite, at least two pairs.
    contrast : {"difference", "ratio"}
        Treated minus control, or treated over control (control then without zeros).
    confidence, resamples, seed
        As for `median_interval`.

    Returns
    -------
    Interval

    Raises
    ------
    CascadeError
        If the lengths differ, the contrast is unknown or undefined, and as for `median_interval`.
    """
    left, right = _finite("treated", treated), _finite("control", control)
    if len(left) != len(right):
        raise CascadeError(expectation("control", f"{len(left)} values, one per pair", len(right)))
    if contrast == "difference":
        values = left - right
    elif contrast == "ratio":
        if (right == 0.0).any():
            raise CascadeError(expectation("control", "values other than 0 for a ratio", 0.0))
        values = left / right
    else:
        raise CascadeError(expectation("contrast", "a known contrast", contrast, ("difference", "ratio")))
    return median_interval(values, confidence=confidence, resamples=resamples, seed=seed)


def _finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or len(data) < 2 or not np.isfinite(data).all():
        raise CascadeError(
            expectation(name, "at least two finite numbers in one dimension", str(data.tolist()))
        )
    return data
